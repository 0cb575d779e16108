// Package sqldb is the connection to the SQL database: opening, migrating, transactions and what an
// error means. The tables belong to the packages over it; it knows no row.
//
// Today that is SQLite; PostgreSQL comes through the same functions, so statements and migrations keep
// to what both accept:
//
//   - types TEXT, BIGINT, DOUBLE PRECISION. Times are BIGINT, milliseconds since 1970; flags BIGINT 0 or
//     1; hashes hexadecimal TEXT. Not BLOB or BYTEA, BOOLEAN, TIMESTAMP, JSON, SERIAL or AUTOINCREMENT:
//     programs make the ids;
//   - parameters $1, $2, …;
//   - strings in 'single' quotes; ON CONFLICT, RETURNING, partial indexes, REFERENCES, CHECK;
//   - no statement after one that failed: PostgreSQL has aborted the transaction. Avoid the failure
//     with ON CONFLICT, or return the error;
//   - no migration that undoes; a released file is never edited.
//
// A DB is safe for concurrent use. Errors carry the kinds of errs: NotFound for no row, Conflict for a
// value that must be unique, Unavailable for a database that is busy, out of space or failing to read
// or write, Corrupt for one that is damaged.
package sqldb

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"salvage/internal/errs"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	readers  = 4
	idleTime = time.Minute // then a reader's connection is closed and its page cache with it

	// SQLite itself waits busyTimeout for another process, then Tx tries again.
	busyTimeout = 2 * time.Second
	tries       = 3
)

// pragmas of every connection. FULL, since a commit is what stands behind "your crash is kept": with
// NORMAL a power cut takes the commits since the last checkpoint back. FULL costs one fsync a commit.
// There is no ANALYZE or PRAGMA optimize on purpose: this SQLite has STAT4, and its statistics led the
// planner from covering indexes to skip-scans, 5 to 14 times slower.
const pragmas = "_journal_mode=WAL&_synchronous=FULL&_foreign_keys=on" +
	"&_pragma=cache_size(-2048)" + // KiB a connection, at most
	"&_pragma=journal_size_limit(8388608)" + // what a burst may leave of the log
	"&_dqs=0&_defensive=1&_error_rc=1"

// DB is an open database.
type DB struct {
	write *sql.DB // one connection: writers queue here, not in SQLite, which would poll
	read  *sql.DB // the same as write for a database in memory
}

// Open opens the database that spec names, creates it if it is not there, and brings it to the newest
// version. spec is "sqlite:" and the path of a file in an existing folder, or "sqlite::memory:" for
// one in memory, with a single connection, for tests. A database that a newer program has written is
// refused, unchanged, as Unsupported.
func Open(ctx context.Context, spec string) (*DB, error) {
	scheme, name, _ := strings.Cut(spec, ":")
	if scheme != "sqlite" || name == "" || strings.Contains(name, "\x00") {
		// Without the spec: that of another engine may hold a password.
		return nil, errs.Public(errs.Invalid, "Name the database as sqlite:/path/of/a/file.db.")
	}
	d, err := openSQLite(name)
	if err == nil {
		if err = migrate(ctx, goose.DialectSQLite3, d.write); err != nil {
			d.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sqldb.Open(%s): %w", spec, classify(err))
	}
	return d, nil
}

func openSQLite(name string) (*DB, error) {
	uri := "file::memory:"
	if name != ":memory:" {
		path, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		// SQLite would make it readable for all; its other files follow this one's mode.
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		f.Close()
		path = filepath.ToSlash(path)
		if !strings.HasPrefix(path, "/") {
			path = "/" + path // of a Windows drive
		}
		uri = (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String()
	}
	uri += fmt.Sprintf("?_busy_timeout=%d&%s", busyTimeout.Milliseconds(), pragmas)
	write, err := sql.Open("sqlite", uri+"&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if name == ":memory:" {
		return &DB{write, write}, nil
	}
	read, err := sql.Open("sqlite", uri+"&_query_only=on")
	if err != nil {
		write.Close()
		return nil, err
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	read.SetConnMaxIdleTime(idleTime)
	return &DB{write, read}, nil
}

// migrate brings the database to the newest version, each step in a transaction of its own.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	have, known, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > known {
		return errs.Public(errs.Unsupported, "The database is of a newer Salvage: it has version %d, and this program knows versions up to %d. Run the newer program, or restore a backup from before it.", have, known)
	}
	_, err = p.Up(ctx)
	return err
}

// Close ends all connections. It waits for transactions under way.
func (d *DB) Close() error {
	err := d.write.Close()
	if d.read != d.write {
		err = errors.Join(d.read.Close(), err)
	}
	return err
}

// Tx runs fn in a transaction that may write. When Tx returns nil, what fn wrote is on the disk; when
// it returns an error or fn panics, nothing of it is kept. Writers take turns from their first line
// on, so fn sees no other's writes come in between.
//
// fn may run more than once, when another process held the database: it changes nothing but the
// transaction, and sets its results rather than adding to them. It uses neither Tx nor View, for
// which it would wait forever.
func (d *DB) Tx(ctx context.Context, fn func(*sql.Tx) error) error {
	return run(ctx, d.write, nil, fn)
}

// View runs fn on one state of the database, whatever others write meanwhile. fn only reads, is brief,
// since a log cannot shrink under a reader, and keeps to the rules of Tx.
func (d *DB) View(ctx context.Context, fn func(*sql.Tx) error) error {
	return run(ctx, d.read, &sql.TxOptions{ReadOnly: true}, fn)
}

func run(ctx context.Context, pool *sql.DB, o *sql.TxOptions, fn func(*sql.Tx) error) error {
	for try := 1; ; try++ {
		err := once(ctx, pool, o, fn)
		if code(err)&0xff != lib.SQLITE_BUSY || try == tries {
			return classify(err)
		}
		select { // since SQLite does not wait for every kind of busy
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 20 * time.Millisecond):
		}
	}
}

func once(ctx context.Context, pool *sql.DB, o *sql.TxOptions, fn func(*sql.Tx) error) error {
	tx, err := pool.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit
	if err := fn(tx); err != nil {
		return err
	}
	err = tx.Commit()
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
		return ctx.Err() // database/sql rolled back when ctx ended, before Commit
	}
	return err
}

// code returns SQLite's extended result code, 0 for an error that is not its.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// classify gives an error of the database its kind and leaves others alone.
func classify(err error) error {
	var kind *errs.Kind
	switch c := code(err); {
	case errors.As(err, &kind):
		return err
	case errors.Is(err, sql.ErrNoRows):
		kind = errs.NotFound
	case c == lib.SQLITE_CONSTRAINT_UNIQUE, c == lib.SQLITE_CONSTRAINT_PRIMARYKEY:
		kind = errs.Conflict
	default:
		switch c & 0xff {
		case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_FULL, lib.SQLITE_IOERR:
			kind = errs.Unavailable
		case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
			kind = errs.Corrupt
		default:
			return err
		}
	}
	return fmt.Errorf("%w: %w", kind, err)
}
