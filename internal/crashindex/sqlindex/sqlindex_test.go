package sqlindex_test

import (
	"context"
	"database/sql"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/crashindex/indextest"
	"salvage/internal/crashindex/sqlindex"
	"salvage/internal/sqldb"
)

var ctx = context.Background()

func openDB(t testing.TB, name string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(ctx, "sqlite:"+name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestIndex(t *testing.T) {
	indextest.Run(t, func(t testing.TB) crashindex.Index {
		return sqlindex.New(openDB(t, filepath.Join(t.TempDir(), "x.db")))
	})
}

// The same where statements look for the values that match, as they do when there are many, and with the one
// connection of a database in memory.
func TestManyValues(t *testing.T) {
	defer sqlindex.SetMaxListed(1)()
	indextest.Run(t, func(t testing.TB) crashindex.Index { return sqlindex.New(openDB(t, ":memory:")) })
}

// plan returns how SQLite finds the crashes of a condition.
func plan(t *testing.T, db *sqldb.DB, where string, args []any) (plan string) {
	t.Helper()
	if err := db.View(ctx, func(tx *sql.Tx) error {
		var n int
		return tx.QueryRow("EXPLAIN QUERY PLAN SELECT version, count(*) FROM crash_index WHERE "+where+" GROUP BY 1", args...).Scan(&n, &n, &n, &plan)
	}); err != nil {
		t.Fatal(err)
	}
	return plan
}

// A search reads the crashes of its signature, else of its product, else of its time.
func TestPlan(t *testing.T) {
	db := openDB(t, ":memory:")
	put(t, sqlindex.New(db), indextest.Made(1000))
	text := func(field, v string) crashindex.Filter {
		return crashindex.Filter{Field: field, Op: crashindex.Is, Values: []crashindex.Value{crashindex.Text(v)}}
	}
	product, signature := text("product", "Shop"), text("signature", indextest.Made(1)[0].Values["signature"].Text)
	week := crashindex.Query{From: indextest.Week.From, To: indextest.Week.To}
	for _, tt := range []struct {
		filters []crashindex.Filter
		index   string
	}{
		{nil, "crash_index_submitted (submitted>? AND submitted<?)"},
		{[]crashindex.Filter{product}, "crash_index_product (product=? AND submitted>? AND submitted<?)"},
		{[]crashindex.Filter{product, signature}, "crash_index_signature (signature=? AND submitted>? AND submitted<?)"},
	} {
		q := week
		q.Filters = tt.filters
		where, args, err := sqlindex.Condition(db, q)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan(t, db, where, args); !strings.HasSuffix(got, tt.index) {
			t.Errorf("%s: %s, want %s", where, got, tt.index)
		}
	}
}

var docs = flag.Int("docs", 20_000, "crashes that benchmarks make; 300000 for the figures in the commit")

func put(t testing.TB, x crashindex.Index, made []crashindex.Doc) {
	t.Helper()
	for i := 0; i < len(made); i += crashindex.MaxBatch {
		if err := x.Put(ctx, made[i:min(i+crashindex.MaxBatch, len(made))]); err != nil {
			t.Fatal(err)
		}
	}
}

func number(t testing.TB, db *sqldb.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.View(ctx, func(tx *sql.Tx) error { return tx.QueryRow(query, args...).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// What no crash has any more is not kept, and what one still has is, through all that Put and Delete do.
func TestValues(t *testing.T) {
	db := openDB(t, ":memory:")
	x := sqlindex.New(db)
	made := indextest.Made(200)
	check := func(after string) {
		t.Helper()
		used := "SELECT NULL AS id"
		for _, f := range crashindex.Fields {
			if f.Type == crashindex.Keyword {
				used += " UNION ALL SELECT " + f.Name + " FROM crash_index"
			}
		}
		if n := number(t, db, "SELECT count(*) FROM crash_index_values v WHERE refs <> (SELECT count(*) FROM ("+used+") u WHERE u.id = v.id) OR refs < 1"); n != 0 {
			t.Errorf("%s: %d values with wrong refs", after, n)
		}
		if n := number(t, db, "SELECT count(*) FROM ("+used+") u WHERE u.id IS NOT NULL AND u.id NOT IN (SELECT id FROM crash_index_values)"); n != 0 {
			t.Errorf("%s: %d values lost", after, n)
		}
		if n := number(t, db, "SELECT count(*) - count(DISTINCT field || ' ' || text) FROM crash_index_values"); n != 0 {
			t.Errorf("%s: %d values twice", after, n)
		}
	}
	put(t, x, made)
	check("put")
	put(t, x, made[50:150])
	check("the same again")
	changed := indextest.Made(400)[200:]
	for i := range changed {
		changed[i].ID = made[i].ID
	}
	put(t, x, append(changed[:100], changed[90:110]...))
	check("others in their place")
	var ids []crash.ID
	for _, d := range made {
		ids = append(ids, d.ID)
	}
	for _, part := range [][]crash.ID{ids[:120], ids[100:150], ids[100:]} {
		if err := x.Delete(ctx, part); err != nil {
			t.Fatal(err)
		}
		check("delete")
	}
	if n := number(t, db, "SELECT (SELECT count(*) FROM crash_index) + (SELECT count(*) FROM crash_index_values)"); n != 0 {
		t.Errorf("%d rows stay", n)
	}
}

// The same text in two fields, and two texts with the same hash, are different values.
func TestSameHash(t *testing.T) {
	db := openDB(t, ":memory:")
	x := sqlindex.New(db)
	made := indextest.Made(2)
	at := made[0].Submitted
	doc := func(i int, product, version string) crashindex.Doc {
		return crashindex.Doc{ID: made[i].ID, Submitted: at, Values: map[string]crashindex.Value{"product": crashindex.Text(product), "version": crashindex.Text(version)}}
	}
	put(t, x, []crashindex.Doc{doc(0, "a", "a")})
	// No two texts with the same 64 bits are at hand: b gets those of a.
	if err := db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE crash_index_values SET text = 'b' WHERE field = 'product'")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	put(t, x, []crashindex.Doc{doc(1, "a", "a")})
	r, err := x.Search(ctx, crashindex.Query{
		Filters: []crashindex.Filter{{Field: "product", Op: crashindex.Is, Values: []crashindex.Value{crashindex.Text("a")}}},
		Facets:  []crashindex.Facet{{Field: "product", Size: 9}, {Field: "version", Size: 9}},
	})
	if err != nil || r.Total != 1 || len(r.Facets[0]) != 1 || r.Facets[0][0].Value.Text != "a" || len(r.Facets[1]) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A Put that fails on its way, here in the database, leaves everything as it was.
func TestWhole(t *testing.T) {
	db := openDB(t, ":memory:")
	x := sqlindex.New(db)
	made := indextest.Made(40)
	put(t, x, made[:20])
	last := string(made[39].ID)
	if err := db.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("CREATE TRIGGER t BEFORE INSERT ON crash_index WHEN new.id = '" + last + "' BEGIN SELECT raise(ABORT, 'no'); END")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	values := number(t, db, "SELECT sum(refs) FROM crash_index_values")
	for i := range 10 {
		made[i].Submitted = made[i].Submitted.Add(time.Second)
	}
	if err := x.Put(ctx, append(made[:10:10], made[20:]...)); err == nil {
		t.Fatal("no error")
	}
	if n := number(t, db, "SELECT sum(refs) FROM crash_index_values"); n != values {
		t.Errorf("%d refs, were %d", n, values)
	}
	if n := number(t, db, "SELECT count(*) FROM crash_index WHERE submitted = $1", made[0].Submitted.UnixMilli()); n != 0 {
		t.Error("a part is there")
	}
}

// A crash that is indexed is still there after the program has ended, in the same order.
func TestReopen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.db")
	first := openDB(t, name)
	put(t, sqlindex.New(first), indextest.Made(100))
	want, err := sqlindex.New(first).Search(ctx, indextest.Week)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	got, err := sqlindex.New(openDB(t, name)).Search(ctx, indextest.Week)
	if err != nil || got.Total == 0 || got.Total != want.Total || got.Hits[0].ID != want.Hits[0].ID {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// A search ends with its context, however much there is to read.
func TestSearchEnds(t *testing.T) {
	x := sqlindex.New(openDB(t, filepath.Join(t.TempDir(), "x.db")))
	put(t, x, indextest.Made(3000))
	ended, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	q := crashindex.Query{}
	for range crashindex.MaxFacets {
		q.Facets = append(q.Facets, crashindex.Facet{Field: "proto_signature", Size: 1000})
	}
	if r, err := x.Search(ended, q); err == nil || ended.Err() == nil {
		t.Errorf("%d crashes, %v", r.Total, err)
	}
	if _, err := x.Search(ctx, indextest.Week); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Each field has its column, and each column its field.
func TestColumns(t *testing.T) {
	db := openDB(t, ":memory:")
	columns := map[string]bool{"id": true, "submitted": true}
	for _, f := range crashindex.Fields {
		columns[f.Name] = true
	}
	err := db.View(ctx, func(tx *sql.Tx) error {
		rows, err := tx.Query("SELECT name FROM pragma_table_info('crash_index')")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			if !columns[name] {
				t.Errorf("column %s has no field", name)
			}
			delete(columns, name)
		}
		return rows.Err()
	})
	if err != nil || len(columns) > 0 {
		t.Errorf("without a column: %v, %v", columns, err)
	}
}

func BenchmarkSearch(b *testing.B) {
	name := filepath.Join(b.TempDir(), "x.db")
	db := openDB(b, name)
	x := sqlindex.New(db)
	start := time.Now()
	put(b, x, indextest.Made(*docs))
	took := time.Since(start)
	info, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	all := indextest.Week
	all.From = all.To.Add(-29 * crashindex.Day)
	every := all
	every.Filters = nil
	signature := crashindex.Query{
		Filters:     []crashindex.Filter{{Field: "signature", Op: crashindex.Is, Values: []crashindex.Value{crashindex.Text("module5::Class5::method(int*) | run(int*)")}}},
		Limit:       20,
		Columns:     []string{"product", "version", "platform", "reason", "address"},
		Facets:      []crashindex.Facet{{Field: "version", Size: 10}, {Field: "platform", Size: 10}, {Field: "proto_signature", Size: 10}},
		Cardinality: []string{"address"},
		Histogram:   crashindex.Day,
	}
	part := all
	part.Filters = []crashindex.Filter{{Field: "proto_signature", Op: crashindex.Contains, Values: []crashindex.Value{crashindex.Text("Caller123::")}}}
	for _, q := range []struct {
		name  string
		query crashindex.Query
	}{{"Week", indextest.Week}, {"Product", all}, {"All", every}, {"Signature", signature}, {"Contains", part}} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			var total int
			for b.Loop() {
				r, err := x.Search(ctx, q.query)
				if err != nil {
					b.Fatal(err)
				}
				total = r.Total
			}
			b.ReportMetric(float64(total), "crashes")
		})
	}
	b.Logf("%d crashes put in %.1f s; the file has %.1f MB", *docs, took.Seconds(), float64(info.Size())/1e6)
}

func BenchmarkPut(b *testing.B) {
	x := sqlindex.New(openDB(b, filepath.Join(b.TempDir(), "x.db")))
	made := indextest.Made(*docs)
	for i := 0; b.Loop(); i++ {
		if err := x.Put(ctx, made[i%len(made):i%len(made)+1]); err != nil {
			b.Fatal(err)
		}
	}
}
