// Package sqlindex keeps the index in tables of the SQL database.
//
// crash_index has a row for each crash, with numbers only; crash_index_values has each text of each field
// once. A contains or starts-with reads the different texts of its field, not those of all crashes.
//
// Statements are made of the names in crashindex.Fields and of numbers written here; what comes from
// elsewhere is a parameter. A database other than SQLite needs an order of texts by their bytes (in PostgreSQL,
// the collation C).
package sqlindex

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/sqldb"
)

type engine struct{ db *sqldb.DB }

// New returns the index that db has. Closing db is the caller's.
func New(db *sqldb.DB) crashindex.Index { return crashindex.New(&engine{db}) }

func (e *engine) Put(ctx context.Context, docs []crashindex.Doc) error {
	ids := make([]crash.ID, len(docs))
	for i, d := range docs {
		ids[i] = d.ID
	}
	return e.replace(ctx, ids, docs)
}

func (e *engine) Delete(ctx context.Context, ids []crash.ID) error {
	return e.replace(ctx, ids, nil)
}

// replace removes the crashes ids and adds docs.
func (e *engine) replace(ctx context.Context, ids []crash.ID, docs []crashindex.Doc) error {
	return e.db.Tx(ctx, func(tx *sql.Tx) error {
		refs := map[int64]int{} // what changes, by id of the value
		if err := remove(ctx, tx, ids, refs); err != nil {
			return err
		}
		if err := insert(ctx, tx, docs, refs); err != nil {
			return err
		}
		return count(ctx, tx, refs)
	})
}

// columns are the names of the fields, and texts of those whose columns have ids of values.
var columns, texts = func() (all, texts []string) {
	for _, f := range crashindex.Fields {
		all = append(all, f.Name)
		if f.Type == crashindex.Keyword {
			texts = append(texts, f.Name)
		}
	}
	return all, texts
}()

func remove(ctx context.Context, tx *sql.Tx, ids []crash.ID, refs map[int64]int) error {
	stmt, err := tx.PrepareContext(ctx, "DELETE FROM crash_index WHERE id = $1 RETURNING "+strings.Join(texts, ", "))
	if err != nil {
		return err
	}
	defer stmt.Close()
	values := make([]sql.NullInt64, len(texts))
	for _, id := range ids {
		err := stmt.QueryRowContext(ctx, string(id)).Scan(pointers(values)...)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		for _, v := range values {
			if v.Valid {
				refs[v.Int64]--
			}
		}
	}
	return nil
}

func insert(ctx context.Context, tx *sql.Tx, docs []crashindex.Doc, refs map[int64]int) error {
	if len(docs) == 0 {
		return nil
	}
	names, err := newNames(ctx, tx)
	if err != nil {
		return err
	}
	defer names.find.Close()
	parameters := "$1, $2"
	for i := range columns {
		parameters += fmt.Sprintf(", $%d", i+3)
	}
	stmt, err := tx.PrepareContext(ctx, "INSERT INTO crash_index (id, submitted, "+strings.Join(columns, ", ")+") VALUES ("+parameters+")")
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, d := range docs {
		row := []any{string(d.ID), d.Submitted.UnixMilli()}
		for _, name := range columns {
			switch v := d.Values[name]; v.Type {
			case crashindex.Keyword:
				id, err := names.id(ctx, name, v.Text)
				if err != nil {
					return err
				}
				refs[id]++
				row = append(row, id)
			case crashindex.Integer:
				row = append(row, v.Int)
			default:
				row = append(row, nil)
			}
		}
		if _, err := stmt.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return nil
}

// names gives texts their ids.
type names struct {
	tx    *sql.Tx
	find  *sql.Stmt
	last  int64 // the greatest id there is
	known map[name]int64
}

type name struct{ field, text string }

func newNames(ctx context.Context, tx *sql.Tx) (*names, error) {
	n := &names{tx: tx, known: map[name]int64{}}
	if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM crash_index_values").Scan(&n.last); err != nil {
		return nil, err
	}
	var err error
	n.find, err = tx.PrepareContext(ctx, "SELECT id FROM crash_index_values WHERE field = $1 AND hash = $2 AND text = $3")
	return n, err
}

// hash is for an index of small entries of one size; texts of the same hash are told apart.
func hash(text string) int64 {
	sum := sha256.Sum256([]byte(text))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// id returns the id of a value, of a new row if it is new.
func (n *names) id(ctx context.Context, field, text string) (int64, error) {
	k := name{field, text}
	if id, ok := n.known[k]; ok {
		return id, nil
	}
	h := hash(text)
	var id int64
	err := n.find.QueryRowContext(ctx, field, h, text).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		n.last++
		id = n.last
		_, err = n.tx.ExecContext(ctx, "INSERT INTO crash_index_values (id, field, hash, text, refs) VALUES ($1, $2, $3, $4, 0)", id, field, h, text)
	}
	if err != nil {
		return 0, err
	}
	n.known[k] = id
	return id, nil
}

// count adds refs to those of the values and drops what no crash has any more.
func count(ctx context.Context, tx *sql.Tx, refs map[int64]int) error {
	stmt, err := tx.PrepareContext(ctx, "UPDATE crash_index_values SET refs = refs + $1 WHERE id = $2")
	if err != nil {
		return err
	}
	defer stmt.Close()
	for id, n := range refs {
		if n == 0 {
			continue
		}
		if _, err := stmt.ExecContext(ctx, n, id); err != nil {
			return err
		}
		if n < 0 {
			if _, err := tx.ExecContext(ctx, "DELETE FROM crash_index_values WHERE id = $1 AND refs = 0", id); err != nil {
				return err
			}
		}
	}
	return nil
}

func pointers[T any](values []T) []any {
	p := make([]any, len(values))
	for i := range values {
		p[i] = &values[i]
	}
	return p
}
