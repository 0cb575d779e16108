package metadb_test

import (
	"database/sql"
	"errors"
	"reflect"
	"testing"
	"time"

	"salvage/internal/metadb"
	"salvage/internal/sqldb"
)

// in runs fn in a transaction of a new database.
func in(t *testing.T, fn func(tx *sql.Tx)) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Tx(t.Context(), func(tx *sql.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestSymbols(t *testing.T) {
	in(t, func(tx *sql.Tx) {
		ctx, list := t.Context(), must[[]metadb.Symbol](t)
		at := time.UnixMilli(1700000000000)
		s := metadb.Symbol{Key: "v1/a/1/a", DebugFile: "a", DebugID: "1", CodeFile: "a", CodeID: "c1", Name: "a", Format: "elf", Arch: "x86_64", SymRank: metadb.Poor, CfiRank: metadb.Best, Size: 5, SHA256: "00", Uploaded: at, Uploader: "ci"}
		dbg := s
		dbg.Key, dbg.Name, dbg.SymRank, dbg.CfiRank, dbg.Uploaded = "v1/a/1/a.dbg", "a.dbg", metadb.Best, metadb.Fair, at.Add(time.Second)
		other := metadb.Symbol{Key: "v1/100%_\\b/2/x", DebugFile: "100%_\\b", DebugID: "2", Uploaded: at}
		for _, s := range []*metadb.Symbol{&s, &dbg, &other} {
			if err := metadb.PutSymbol(ctx, tx, s); err != nil {
				t.Fatal(err)
			}
		}
		s.Size, s.SHA256, s.SymRank, s.Format, s.Uploader = 7, "11", metadb.None, "new", "other"
		if err := metadb.PutSymbol(ctx, tx, &s); err != nil {
			t.Fatal(err)
		}
		if got, err := metadb.GetSymbol(ctx, tx, s.Key); err != nil || got != s {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := metadb.GetSymbol(ctx, tx, "none"); !errors.Is(err, sql.ErrNoRows) {
			t.Error(err)
		}
		if got := list(metadb.SymbolsByDebugID(ctx, tx, "1")); !reflect.DeepEqual(got, []metadb.Symbol{s, dbg}) {
			t.Errorf("by debug id: %+v", got)
		}
		if got := list(metadb.SymbolsByCodeID(ctx, tx, "c1")); len(got) != 2 {
			t.Errorf("by code id: %+v", got)
		}
		if got := list(metadb.SymbolsByCodeID(ctx, tx, "")); len(got) != 0 {
			t.Errorf("by no code id: %+v", got)
		}
		for text, want := range map[string]int{"": 3, "A": 2, "C1": 2, "%": 1, "_\\B": 1, "0%_": 1, "zz": 0, "1": 3} {
			if got := list(metadb.RecentSymbols(ctx, tx, text, 9)); len(got) != want {
				t.Errorf("with %q: %+v", text, got)
			}
		}
		if got := list(metadb.RecentSymbols(ctx, tx, "", 1)); len(got) != 1 || got[0] != dbg {
			t.Errorf("latest: %+v", got)
		}
	})
}

func TestMissing(t *testing.T) {
	in(t, func(tx *sql.Tx) {
		ctx := t.Context()
		set := func(id string, want bool, all ...metadb.Missing) {
			t.Helper()
			if better, err := metadb.SetMissing(ctx, tx, id, all); err != nil || better != want {
				t.Errorf("SetMissing(%s) = %v, %v", id, better, err)
			}
		}
		ready := func(id string, kind metadb.Kind, rank metadb.Rank) {
			t.Helper()
			d := metadb.Derived{DebugID: id, Kind: kind, Rank: rank, Source: "s", SHA256: "h", Revision: 3, Size: 9, Built: time.UnixMilli(5), Reason: "r"}
			if err := metadb.PutDerived(ctx, tx, &d); err != nil {
				t.Fatal(err)
			}
			if got, err := metadb.GetDerived(ctx, tx, id, kind); err != nil || got != d {
				t.Errorf("%+v, %v", got, err)
			}
		}
		waiting := func(id string, kind metadb.Kind, rank metadb.Rank, want ...string) {
			t.Helper()
			if got := must[[]string](t)(metadb.WaitingFor(ctx, tx, id, kind, rank)); !reflect.DeepEqual(got, want) {
				t.Errorf("waiting for %s %s above %d: %v, want %v", id, kind, rank, got, want)
			}
		}
		m := metadb.Missing{DebugID: "1", Kind: metadb.Symcache, DebugFile: "a", CodeFile: "b", CodeID: "c"}
		poor := m
		poor.Rank = metadb.Poor
		cfi := m
		cfi.Kind = metadb.Cficache
		set("x", false, m, cfi, m)
		set("y", false, poor)
		ready("1", metadb.Symcache, metadb.Poor)
		waiting("1", metadb.Symcache, metadb.Poor, "x")
		waiting("1", metadb.Symcache, metadb.Best, "x", "y")
		waiting("1", metadb.Cficache, metadb.Best, "x")
		waiting("2", metadb.Symcache, metadb.Best)
		set("y", false, poor)                                                                         // nothing above what it used
		set("x", true, m)                                                                             // it came in between: the lost wake-up
		set("z", false, poor, m, metadb.Missing{DebugID: "2", Kind: metadb.Symcache, DebugFile: "q"}) // the first of a key counts: poor
		ready("1", metadb.Symcache, metadb.Best)
		set("y", true, poor)
		set("y", false)
		waiting("1", metadb.Symcache, metadb.Best, "x", "z")
		all, err := metadb.MissingModules(ctx, tx, 5)
		if err != nil || !reflect.DeepEqual(all, []metadb.MissingModule{{DebugFile: "a", DebugID: "1", CodeFile: "b", CodeID: "c", Crashes: 1}, {DebugFile: "q", DebugID: "2", Crashes: 1}}) {
			t.Errorf("modules: %+v, %v", all, err)
		}
	})
}

func TestMark(t *testing.T) {
	in(t, func(tx *sql.Tx) {
		for _, want := range []string{"", "20260101", "20260102"} {
			if want != "" {
				if err := metadb.SetMark(t.Context(), tx, "sweep", want); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := metadb.Mark(t.Context(), tx, "sweep"); err != nil || got != want {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
}
