// Package metadb keeps what the database knows of symbol files and of the crashes that lack them.
//
// Its functions work inside a transaction of the caller, since they only mean something together with
// others: a derived file becomes ready and the crashes that waited for it are queued in one transaction; a
// crash says what it lacked and asks whether that has come meanwhile in another. Whichever comes first,
// the second one sees it.
package metadb

import (
	"context"
	"database/sql"
	"strings"
	"time"
)

// Kind of a derived file.
type Kind string

// The kinds.
const (
	Symcache Kind = "symcache"
	Cficache Kind = "cficache"
	Mapping  Kind = "mapping" // of ProGuard or R8: the original itself
)

// Rank says how good an original is for making a derived file of a kind; higher ones win.
type Rank int

// Ranks: a symcache is best made from full debug information, else from a .sym with FUNC records, else from
// a symbol table; a cficache from the image, else from the debug file, else from a .sym.
const (
	None Rank = iota
	Poor
	Fair
	Best
)

// Symbol is an original: a file that was uploaded.
type Symbol struct {
	Key                string // of the object in blob storage
	DebugFile, DebugID string
	CodeFile, CodeID   string
	Name               string // last part of the key
	Format, Arch       string // for people
	SymRank, CfiRank   Rank   // None: it gives none
	Size               int64
	SHA256             string
	Uploaded           time.Time
	Uploader           string // name of the token
}

// MappingFormat is the Format of mapping files.
const MappingFormat = "proguard"

// Rank is how good a derived file of a kind it gives.
func (s *Symbol) Rank(k Kind) Rank {
	switch {
	case k == Symcache:
		return s.SymRank
	case k == Cficache:
		return s.CfiRank
	case s.Format == MappingFormat:
		return Best
	}
	return None
}

const symbolColumns = "key, debug_file, debug_id, code_file, code_id, name, format, arch, sym_rank, cfi_rank, size, sha256, uploaded, uploader"

// PutSymbol adds an original, or replaces the one of its key.
func PutSymbol(ctx context.Context, tx *sql.Tx, s *Symbol) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO symbols ("+symbolColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
		ON CONFLICT (key) DO UPDATE SET code_file = excluded.code_file, code_id = excluded.code_id, format = excluded.format, arch = excluded.arch,
			sym_rank = excluded.sym_rank, cfi_rank = excluded.cfi_rank, size = excluded.size, sha256 = excluded.sha256,
			uploaded = excluded.uploaded, uploader = excluded.uploader`,
		s.Key, s.DebugFile, s.DebugID, s.CodeFile, s.CodeID, s.Name, s.Format, s.Arch, s.SymRank, s.CfiRank, s.Size, s.SHA256, s.Uploaded.UnixMilli(), s.Uploader)
	return err
}

// GetSymbol returns the original of a key; sql.ErrNoRows if there is none.
func GetSymbol(ctx context.Context, tx *sql.Tx, key string) (Symbol, error) {
	return scanSymbol(tx.QueryRowContext(ctx, "SELECT "+symbolColumns+" FROM symbols WHERE key = $1", key))
}

// SymbolsByDebugID returns the originals of a debug id, by key.
func SymbolsByDebugID(ctx context.Context, tx *sql.Tx, id string) ([]Symbol, error) {
	return symbols(ctx, tx, "debug_id = $1 ORDER BY key", id)
}

// SymbolsByCodeID returns the originals of a code id, by key.
func SymbolsByCodeID(ctx context.Context, tx *sql.Tx, id string) ([]Symbol, error) {
	return symbols(ctx, tx, "code_id = $1 AND code_id <> '' ORDER BY key", id)
}

// RecentSymbols returns up to limit originals whose debug file, code file or id contains text, the latest
// first.
func RecentSymbols(ctx context.Context, tx *sql.Tx, text string, limit int) ([]Symbol, error) {
	pattern := "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(strings.ToLower(text)) + "%"
	return symbols(ctx, tx, `lower(debug_file) LIKE $1 ESCAPE '\' OR lower(code_file) LIKE $1 ESCAPE '\' OR lower(debug_id) LIKE $1 ESCAPE '\'
		OR lower(code_id) LIKE $1 ESCAPE '\' ORDER BY uploaded DESC, key LIMIT $2`, pattern, limit)
}

func symbols(ctx context.Context, tx *sql.Tx, where string, args ...any) (all []Symbol, err error) {
	return collect(ctx, tx, scanSymbol, "SELECT "+symbolColumns+" FROM symbols WHERE "+where, args...)
}

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(...any) error }

func scanSymbol(r row) (s Symbol, err error) {
	var uploaded int64
	err = r.Scan(&s.Key, &s.DebugFile, &s.DebugID, &s.CodeFile, &s.CodeID, &s.Name, &s.Format, &s.Arch, &s.SymRank, &s.CfiRank, &s.Size, &s.SHA256, &uploaded, &s.Uploader)
	s.Uploaded = time.UnixMilli(uploaded)
	return s, err
}

func collect[T any](ctx context.Context, tx *sql.Tx, scan func(row) (T, error), query string, args ...any) (all []T, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// Derived is a lookup file made from an original, or the knowledge that none of them gives one.
type Derived struct {
	DebugID  string
	Kind     Kind
	Rank     Rank   // None: there is no file
	Source   string // key of the original
	SHA256   string // of the original
	Revision int    // of the builder
	Size     int64
	Built    time.Time
	Reason   string // why there is none, or what of the original could not be used
}

// PutDerived adds a derived file, or replaces the one of its debug id and kind.
func PutDerived(ctx context.Context, tx *sql.Tx, d *Derived) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO derived (debug_id, kind, rank, source, sha256, revision, size, built, reason)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (debug_id, kind) DO UPDATE SET rank = excluded.rank, source = excluded.source, sha256 = excluded.sha256,
			revision = excluded.revision, size = excluded.size, built = excluded.built, reason = excluded.reason`,
		d.DebugID, d.Kind, d.Rank, d.Source, d.SHA256, d.Revision, d.Size, d.Built.UnixMilli(), d.Reason)
	return err
}

// GetDerived returns the derived file of a debug id; sql.ErrNoRows if nothing is known of one.
func GetDerived(ctx context.Context, tx *sql.Tx, id string, kind Kind) (d Derived, err error) {
	var built int64
	err = tx.QueryRowContext(ctx, "SELECT debug_id, kind, rank, source, sha256, revision, size, built, reason FROM derived WHERE debug_id = $1 AND kind = $2", id, kind).
		Scan(&d.DebugID, &d.Kind, &d.Rank, &d.Source, &d.SHA256, &d.Revision, &d.Size, &built, &d.Reason)
	d.Built = time.UnixMilli(built)
	return d, err
}

// Missing is a derived file that a crash was processed without, or with one of a lower rank than there can be.
type Missing struct {
	DebugID          string
	Kind             Kind
	Rank             Rank // of the one that was used
	DebugFile        string
	CodeFile, CodeID string
}

// SetMissing replaces what a crash lacked, and reports whether something better has become ready than what
// it was processed with.
func SetMissing(ctx context.Context, tx *sql.Tx, crashID string, all []Missing) (better bool, err error) {
	if _, err := tx.ExecContext(ctx, "DELETE FROM missing WHERE crash_id = $1", crashID); err != nil {
		return false, err
	}
	s, err := tx.PrepareContext(ctx, `INSERT INTO missing (crash_id, debug_id, kind, rank, debug_file, code_file, code_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`)
	if err != nil {
		return false, err
	}
	defer s.Close()
	for _, m := range all {
		if _, err := s.ExecContext(ctx, crashID, m.DebugID, m.Kind, m.Rank, m.DebugFile, m.CodeFile, m.CodeID); err != nil {
			return false, err
		}
	}
	var n int
	err = tx.QueryRowContext(ctx, `SELECT count(*) FROM missing m JOIN derived d ON d.debug_id = m.debug_id AND d.kind = m.kind
		WHERE m.crash_id = $1 AND d.rank > m.rank`, crashID).Scan(&n)
	return n > 0, err
}

// WaitingFor returns the crashes that were processed without a derived file as good as rank.
func WaitingFor(ctx context.Context, tx *sql.Tx, id string, kind Kind, rank Rank) (crashIDs []string, err error) {
	return collect(ctx, tx, func(r row) (id string, err error) { return id, r.Scan(&id) },
		"SELECT crash_id FROM missing WHERE debug_id = $1 AND kind = $2 AND rank < $3 ORDER BY crash_id", id, kind, rank)
}

// MissingModule is a module that crashes have no names for.
type MissingModule struct {
	DebugFile, DebugID string
	CodeFile, CodeID   string
	Crashes            int
}

// MissingModules returns up to limit modules without any symcache, those that most crashes lack first.
func MissingModules(ctx context.Context, tx *sql.Tx, limit int) ([]MissingModule, error) {
	scan := func(r row) (m MissingModule, err error) {
		return m, r.Scan(&m.DebugFile, &m.DebugID, &m.CodeFile, &m.CodeID, &m.Crashes)
	}
	return collect(ctx, tx, scan, `SELECT min(debug_file), debug_id, min(code_file), min(code_id), count(*) FROM missing
		WHERE kind = 'symcache' AND rank = 0 GROUP BY debug_id ORDER BY count(*) DESC, debug_id LIMIT $1`, limit)
}

// Mark returns how far some recurring work has come, as SetMark said; empty at first.
func Mark(ctx context.Context, tx *sql.Tx, name string) (value string, err error) {
	err = tx.QueryRowContext(ctx, "SELECT coalesce(max(value), '') FROM marks WHERE name = $1", name).Scan(&value)
	return value, err
}

// SetMark remembers how far some recurring work has come.
func SetMark(ctx context.Context, tx *sql.Tx, name, value string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO marks (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return err
}
