package sqldb_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"salvage/internal/errs"
	"salvage/internal/sqldb"
)

const childEnv = "SQLDB_TEST_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		child(name)
	}
	os.Exit(m.Run())
}

func open(t testing.TB, spec string) *sqldb.DB {
	t.Helper()
	d, err := sqldb.Open(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// openItems opens a database with a table of its own.
func openItems(t testing.TB, name string) *sqldb.DB {
	t.Helper()
	d := open(t, "sqlite:"+name)
	mustExec(t, d, "CREATE TABLE IF NOT EXISTS items (id BIGINT PRIMARY KEY, name TEXT UNIQUE)")
	return d
}

func run(d *sqldb.DB, query string, args ...any) error {
	return d.Tx(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
}

func mustExec(t testing.TB, d *sqldb.DB, query string, args ...any) {
	t.Helper()
	if err := run(d, query, args...); err != nil {
		t.Fatal(err)
	}
}

func value(t testing.TB, d *sqldb.DB, query string, args ...any) (s string) {
	t.Helper()
	if err := d.View(context.Background(), func(tx *sql.Tx) error { return tx.QueryRow(query, args...).Scan(&s) }); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a?b#c%20 d&é.db")
	if runtime.GOOS == "windows" {
		name = filepath.Join(t.TempDir(), "a#c%20 d&é.db")
	}
	d := open(t, "sqlite:"+name)
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	// Each connection of each pool.
	write, read := d.Pools()
	for _, pool := range []*sql.DB{write, read, read} {
		conn, err := pool.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		want := map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "2000", "cache_size": "-2048", "journal_size_limit": "8388608", "query_only": "0"}
		if pool == read {
			want["query_only"] = "1"
		}
		for pragma, want := range want {
			var got string
			if err := conn.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s = %s, %v; want %s", pragma, got, err, want)
			}
		}
	}
	if write.Stats().MaxOpenConnections != 1 || read.Stats().MaxOpenConnections != 4 {
		t.Error("sizes of the pools")
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, spec := range []string{"", "sqlite", "sqlite:", "postgres://u:secret@h/d", "sqlite:a\x00b", "/a.db"} {
		_, err := sqldb.Open(context.Background(), spec)
		if !errors.Is(err, errs.Invalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v", spec, err)
		}
	}
	if _, err := sqldb.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "no", "folder.db")); err == nil {
		t.Error("a folder was made")
	}
	name := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(name, []byte(strings.Repeat("not a database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqldb.Open(context.Background(), "sqlite:"+name); !errors.Is(err, errs.Corrupt) {
		t.Errorf("Open of another file = %v, want Corrupt", err)
	}
}

func TestMemory(t *testing.T) {
	d, other := open(t, "sqlite::memory:"), open(t, "sqlite::memory:")
	const insert = "INSERT INTO tokens VALUES ('i', 'h', 'n', 'p', 0, 0, 0, 0, 0)"
	mustExec(t, d, insert)
	mustExec(t, other, insert) // is not the same
	// A cancelled transaction must not lose the one connection.
	ctx, cancel := context.WithCancel(context.Background())
	err := d.Tx(ctx, func(tx *sql.Tx) error {
		cancel()
		_, err := tx.ExecContext(ctx, "DELETE FROM tokens")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n := value(t, d, "SELECT count(*) FROM tokens"); n != "1" {
		t.Errorf("%s tokens", n)
	}
}

func TestMigrations(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	versions, err := sqldb.MigrateTo(ctx, filepath.Join(dir, "list.db"), 0)
	if err != nil || len(versions) < 2 {
		t.Fatalf("%v, %v", versions, err)
	}
	schema := func(d *sqldb.DB) string {
		return value(t, d, "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE name <> 'sqlite_sequence' ORDER BY name)")
	}
	want := schema(open(t, "sqlite:"+filepath.Join(dir, "empty.db")))
	for i, v := range versions {
		if v != int64(i+1) {
			t.Errorf("migration %d has number %d", i+1, v)
		}
		name := filepath.Join(dir, fmt.Sprintf("%d.db", v))
		if _, err := sqldb.MigrateTo(ctx, name, v); err != nil {
			t.Fatal(err)
		}
		raw, err := sql.Open("sqlite", name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Exec("INSERT INTO tokens VALUES ('i', 'h', 'kept', 'p', 0, 0, 0, 0, 0)"); err != nil {
			t.Fatal(err)
		}
		raw.Close()
		for range 2 { // also when there is nothing to do
			d := open(t, "sqlite:"+name)
			if got := schema(d); got != want {
				t.Errorf("from %d:\n%s\nfrom empty:\n%s", v, got, want)
			}
			if got := value(t, d, "SELECT name FROM tokens"); got != "kept" {
				t.Errorf("from %d: token %q", v, got)
			}
			d.Close()
		}
	}
}

func TestNewerVersion(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.db")
	d := open(t, "sqlite:"+name)
	mustExec(t, d, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (4711, 1)")
	before := value(t, d, "SELECT count(*) FROM goose_db_version")
	d.Close()
	_, err := sqldb.Open(context.Background(), "sqlite:"+name)
	if !errors.Is(err, errs.Unsupported) || !strings.Contains(errs.Sentence(err), "4711") {
		t.Errorf("%v: %q", err, errs.Sentence(err))
	}
	raw, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	var after string
	if err := raw.QueryRow("SELECT count(*) FROM goose_db_version").Scan(&after); err != nil || after != before {
		t.Errorf("%s versions before, %s after, %v", before, after, err)
	}
}

func TestTx(t *testing.T) {
	ctx := context.Background()
	d := openItems(t, filepath.Join(t.TempDir(), "x.db"))
	mustExec(t, d, "INSERT INTO items VALUES ($2, $1)", "one", 1) // parameters by number
	own := errors.New("own")
	if err := d.Tx(ctx, func(tx *sql.Tx) error {
		tx.Exec("DELETE FROM items")
		return own
	}); err != own {
		t.Errorf("own error came back as %v", err)
	}
	func() {
		defer func() { recover() }()
		d.Tx(ctx, func(tx *sql.Tx) error {
			tx.Exec("DELETE FROM items")
			panic("x")
		})
	}()
	cancelled, cancel := context.WithCancel(ctx)
	if err := d.Tx(cancelled, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM items")
		cancel()
		return err
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n := value(t, d, "SELECT count(*) FROM items WHERE name = 'one'"); n != "1" {
		t.Errorf("%s items after three transactions that failed", n)
	}
	// A View keeps its state, and does not keep writers out.
	if err := d.View(ctx, func(tx *sql.Tx) error {
		for want := range 2 {
			var n int
			if err := tx.QueryRow("SELECT count(*) FROM items WHERE name = 'two'").Scan(&n); err != nil || n != 0 {
				t.Errorf("read %d: %d items, %v", want, n, err)
			}
			mustExec(t, d, "INSERT INTO items VALUES (2, 'two') ON CONFLICT DO NOTHING")
		}
		_, err := tx.Exec("DELETE FROM items")
		return err
	}); err == nil {
		t.Error("View wrote")
	}
}

func TestKinds(t *testing.T) {
	d := openItems(t, filepath.Join(t.TempDir(), "x.db"))
	mustExec(t, d, "INSERT INTO items VALUES (1, 'one')")
	public := errs.Public(errs.TooLarge, "big")
	for _, tt := range []struct {
		name string
		do   func(tx *sql.Tx) error
		want *errs.Kind
	}{
		{"no row", func(tx *sql.Tx) error { return tx.QueryRow("SELECT id FROM items WHERE id = 9").Scan(new(int)) }, errs.NotFound},
		{"no row, wrapped", func(tx *sql.Tx) error { return fmt.Errorf("x: %w", sql.ErrNoRows) }, errs.NotFound},
		{"primary key", func(tx *sql.Tx) error { _, err := tx.Exec("INSERT INTO items VALUES (1, 'x')"); return err }, errs.Conflict},
		{"unique", func(tx *sql.Tx) error { _, err := tx.Exec("INSERT INTO items VALUES (2, 'one')"); return err }, errs.Conflict},
		{"foreign key", func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT INTO sessions VALUES ('h', 'nobody', 0, 0)")
			return err
		}, errs.Internal},
		{"double quotes", func(tx *sql.Tx) error { return tx.QueryRow(`SELECT "text"`).Scan(new(string)) }, errs.Internal},
		{"full", func(tx *sql.Tx) error {
			if _, err := tx.Exec("PRAGMA max_page_count = 1"); err != nil {
				return err
			}
			_, err := tx.Exec("INSERT INTO items VALUES (3, $1)", strings.Repeat("x", 1<<20))
			return err
		}, errs.Unavailable},
		{"own", func(tx *sql.Tx) error { return public }, errs.TooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := d.Tx(context.Background(), tt.do); errs.KindOf(err) != tt.want {
				t.Errorf("kind of %v is %v, want %v", err, errs.KindOf(err), tt.want)
			}
		})
	}
	mustExec(t, d, "DELETE FROM items WHERE id = 1") // the connection is still good
}

// Another process, as another connection here, holds the database: briefly, so that Tx waits, and too
// long, so that it gives up.
func TestBusy(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "x.db")
	d := openItems(t, name)
	other, err := sql.Open("sqlite", "file:"+name+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2500*time.Millisecond, func() { tx.Commit() }) // longer than SQLite waits once
	start := time.Now()
	if err := run(d, "INSERT INTO items VALUES (1, 'one')"); err != nil {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if tx, err = other.Begin(); err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start = time.Now()
	if err := d.Tx(ctx, func(*sql.Tx) error { return nil }); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("with a deadline: %v after %v", err, time.Since(start))
	}
	if testing.Short() {
		return
	}
	if err := run(d, "DELETE FROM items"); !errors.Is(err, errs.Unavailable) {
		t.Errorf("held for long: %v, want Unavailable", err)
	}
}

func TestConcurrent(t *testing.T) {
	d := openItems(t, filepath.Join(t.TempDir(), "x.db"))
	mustExec(t, d, "INSERT INTO items VALUES (0, '0')")
	const workers, rounds = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range rounds {
				// Reads and then writes: a lost update, or busy, without immediate transactions.
				if err := d.Tx(context.Background(), func(tx *sql.Tx) error {
					var n int
					if err := tx.QueryRow("SELECT CAST(name AS BIGINT) FROM items WHERE id = 0").Scan(&n); err != nil {
						return err
					}
					_, err := tx.Exec("UPDATE items SET name = $1 WHERE id = 0", strconv.Itoa(n+1))
					return err
				}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			last := 0
			for range rounds {
				n, _ := strconv.Atoi(value(t, d, "SELECT name FROM items WHERE id = 0"))
				if n < last {
					t.Errorf("%d after %d", n, last)
				}
				last = n
			}
		})
	}
	wg.Wait()
	if got := value(t, d, "SELECT name FROM items WHERE id = 0"); got != strconv.Itoa(workers*rounds) {
		t.Errorf("counted %s, want %d", got, workers*rounds)
	}
}

// child counts up in the database and says each number once it is committed.
func child(name string) {
	d, err := sqldb.Open(context.Background(), "sqlite:"+name)
	for err == nil {
		var n int
		err = d.Tx(context.Background(), func(tx *sql.Tx) error {
			if err := tx.QueryRow("SELECT coalesce(max(id), 0) + 1 FROM items").Scan(&n); err != nil {
				return err
			}
			_, err := tx.Exec("INSERT INTO items VALUES ($1, $2)", n, strconv.Itoa(n)+strings.Repeat("x", 5000))
			return err
		})
		if err == nil {
			fmt.Println(n)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A process that is killed has lost nothing that it said was kept.
func TestKill(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.db")
	openItems(t, name).Close()
	last := 0
	for round := range 10 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+name)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said, first := last, last
		for s := bufio.NewScanner(out); s.Scan(); {
			if said, err = strconv.Atoi(s.Text()); err != nil {
				t.Fatal(err)
			}
			if said == first+20+round*7 {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		if said < first+20 {
			t.Fatalf("round %d: the child said %d after %d", round, said, first)
		}
		d := open(t, "sqlite:"+name)
		last, _ = strconv.Atoi(value(t, d, "SELECT max(id) FROM items"))
		n, _ := strconv.Atoi(value(t, d, "SELECT count(*) FROM items"))
		if last < said || last > said+1 || n != last {
			t.Errorf("round %d: the child said %d; there are %d up to %d", round, said, n, last)
		}
		if ok := value(t, d, "PRAGMA integrity_check"); ok != "ok" {
			t.Errorf("round %d: %s", round, ok)
		}
		d.Close()
	}
}

// Reads beside a writer, with the pools as they are and with a single connection for all.
func BenchmarkReadWhileWriting(b *testing.B) {
	for _, pools := range []string{"two", "one"} {
		b.Run(pools, func(b *testing.B) {
			d := openItems(b, filepath.Join(b.TempDir(), "x.db"))
			mustExec(b, d, "INSERT INTO items VALUES (0, 'x')")
			view := d.View
			if pools == "one" {
				view = d.Tx
			}
			done := make(chan bool)
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := 1; ; i++ {
					select {
					case <-done:
						return
					default:
						if err := run(d, "INSERT INTO items VALUES ($1, $2)", i, strconv.Itoa(i)); err != nil {
							b.Error(err)
						}
					}
				}
			})
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := view(context.Background(), func(tx *sql.Tx) error {
						return tx.QueryRow("SELECT name FROM items WHERE id = 0").Scan(new(string))
					}); err != nil {
						b.Error(err)
					}
				}
			})
			close(done)
			wg.Wait()
		})
	}
}

func BenchmarkTx(b *testing.B) {
	d := openItems(b, filepath.Join(b.TempDir(), "x.db"))
	for i := 0; b.Loop(); i++ {
		mustExec(b, d, "INSERT INTO items VALUES ($1, $2)", i, strconv.Itoa(i))
	}
}
