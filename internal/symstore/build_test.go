package symstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/symcache"
	"salvage/internal/blob"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/symstore"
)

// In whatever order the files of a program come, and whenever the builder runs, the end is the same.
func TestOrder(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	files := []file{a.stripped, a.debug, a.sym}
	keys := []string{"v1/crashapp/" + a.id + "/crashapp", "v1/crashapp/" + a.id + "/crashapp.dbg", "v1/crashapp/" + a.id + "/crashapp.sym"}
	var names, rules []byte
	permutations(3, func(order []int) {
		for _, each := range []bool{false, true} {
			r := newRig(t, nil)
			for _, i := range order {
				if res := r.put(t, files[i]); res.Status != "stored" || res.Key != keys[i] || res.DebugID != a.id || res.CodeID != a.code || res.Warning != "" {
					t.Fatalf("%s: %+v", files[i].name, res)
				}
				if each {
					r.work(t)
				}
			}
			r.work(t)
			s, c := r.derived(t, a.id, metadb.Symcache), r.derived(t, a.id, metadb.Cficache)
			n, u := r.blob(t, symstore.DerivedKey(a.id, metadb.Symcache)), r.blob(t, symstore.DerivedKey(a.id, metadb.Cficache))
			if s.Rank != metadb.Best || s.Source != keys[1] || s.Size != int64(len(n)) || s.Reason != "" || c.Rank != metadb.Best || c.Source != keys[0] || c.Size != int64(len(u)) || c.Reason != "" {
				t.Errorf("order %v: %+v, %+v", order, s, c)
			}
			if names == nil {
				names, rules = n, u
			}
			if !bytes.Equal(n, names) || !bytes.Equal(u, rules) {
				t.Errorf("order %v: other bytes", order)
			}
			for i, f := range files {
				if !bytes.Equal(r.blob(t, keys[i]), f.data) {
					t.Errorf("%s is not what was sent", keys[i])
				}
			}
		}
	})
	// What the truth is, without this package.
	cache, err := symcache.Parse(names)
	if err != nil || cache.Module().ID.Breakpad() != a.id || cache.Module().Name != "crashapp" {
		t.Fatal(err)
	}
	found := false
	for f := range cache.Functions() {
		found = found || string(cache.Name(f)) == "main" && bytes.HasSuffix(cache.File(cache.Lookup(cache.Function(f).Addr, nil)[0]), []byte("crashapp.cpp"))
	}
	if !found {
		t.Error("no main of crashapp.cpp")
	}
	if c, err := cfi.Parse(rules); err != nil || c.ID().Breakpad() != a.id {
		t.Error(err)
	}
}

// Each file alone, and what a better one changes.
func TestRanks(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	public := file{"p.sym", sym(id1, "p", "PUBLIC 1000 0 f")}
	stack := file{"p.sym", sym(id1, "p", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^")}
	win := file{"p.sym", sym(id1, "p", funcs, "STACK WIN 4 1000 20 0 0 0 0 0 0 1 $eip 4 + ^ =")}
	bad := file{"p.sym", sym(id1, "p", funcs, "FUNC zz 1 0 g")}
	// A reason may end in what differs from run to run.
	reason := func(got, want string) bool {
		return got == want || strings.HasSuffix(want, ": ") && strings.HasPrefix(got, want)
	}
	split := file{"x.so", library(t, false, "-g", "-gsplit-dwarf")}
	empty := file{"p.sym", sym(id1, "p", "FUNC 1000 0 0 f")}
	for _, tt := range []struct {
		f        file
		sym, cfi metadb.Rank
		has      [3]bool
		reason   [2]string
	}{
		{a.full, metadb.Best, metadb.Best, [3]bool{true, true, true}, [2]string{}},
		{a.stripped, metadb.Poor, metadb.Best, [3]bool{true, false, true}, [2]string{}},
		{a.debug, metadb.Best, metadb.None, [3]bool{true, true, false}, [2]string{"", "none of the files has unwind rules"}},
		{a.sym, metadb.Fair, metadb.Poor, [3]bool{true, true, true}, [2]string{}},
		{public, metadb.Poor, metadb.None, [3]bool{true, false, false}, [2]string{"", "none of the files has unwind rules"}},
		{stack, metadb.None, metadb.Poor, [3]bool{false, false, true}, [2]string{"none of the files has symbols", ""}},
		{win, metadb.Fair, metadb.None, [3]bool{true, true, true}, [2]string{"", "p.sym: none of its unwind rules can be used"}},
		{bad, metadb.Fair, metadb.None, [3]bool{true, true, false}, [2]string{`p.sym: 1 parts of it cannot be used, first line 4: bad line: "FUNC zz 1 0 g"`, "none of the files has unwind rules"}},
		{empty, metadb.None, metadb.None, [3]bool{true, true, false}, [2]string{"p.sym: none of its symbols can be used", "none of the files has unwind rules"}},
		{split, metadb.Poor, metadb.Best, [3]bool{true, true, true}, [2]string{"x.so: part of its debug information is in other files, which are not here: ", ""}},
	} {
		r := newRig(t, nil)
		res := r.put(t, tt.f)
		if has := [3]bool{res.HasSymbols, res.HasDebugInfo, res.HasRules}; has != tt.has {
			t.Errorf("%s: %+v", tt.f.name, res)
		}
		r.work(t)
		s, c := r.derived(t, res.DebugID, metadb.Symcache), r.derived(t, res.DebugID, metadb.Cficache)
		if s.Rank != tt.sym || c.Rank != tt.cfi || !reason(s.Reason, tt.reason[0]) || !reason(c.Reason, tt.reason[1]) {
			t.Errorf("%s: %+v, %+v", tt.f.name, s, c)
		}
		want := []string{}
		for _, d := range []metadb.Derived{c, s} {
			if d.Rank > metadb.None {
				want = append(want, string(d.Kind)+"/"+res.DebugID)
			}
		}
		if keys := r.keys(t); !slices.Equal(keys, append(want, res.Key)) {
			t.Errorf("%s: stored %q", tt.f.name, keys)
		}
	}
}

// A .debug file that has rules of its own gives them as long as there is no image.
func TestDebugFrame(t *testing.T) {
	t.Parallel()
	data := library(t, true, "-g", "-fno-asynchronous-unwind-tables", "-fno-exceptions")
	r := newRig(t, nil)
	res := r.put(t, file{"crashapp.debug", data})
	r.work(t)
	if d := r.derived(t, res.DebugID, metadb.Cficache); d.Rank != metadb.Fair {
		t.Errorf("%+v", d)
	}
}

// The revisions here are those of the formats.
func TestRevisions(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	r := newRig(t, nil)
	r.put(t, a.full)
	r.work(t)
	formats := map[metadb.Kind][]byte{metadb.Symcache: {2, 0, 0, 0, 2, 0, 0, 0}, metadb.Cficache: {1, 0, 0, 0, 2, 0, 0, 0}}
	revisions := map[metadb.Kind]int{metadb.Symcache: 4, metadb.Cficache: 3}
	for k, format := range formats {
		d := r.derived(t, a.id, k)
		// Magic, version, revision: debug/internal/tables.
		if start := r.blob(t, symstore.DerivedKey(a.id, k))[4:12]; d.Revision != revisions[k] || !bytes.Equal(start, format) {
			t.Errorf("%s: the format changed to % x, and the revision here is %d: raise that, and what this test wants", k, start, d.Revision)
		}
		// Another revision is built again, and nobody is queued for it.
		r.waiting(t, "c1", a.id, k, metadb.None)
		d.Revision = 0
		r.tx(t, func(tx *sql.Tx) error { return metadb.PutDerived(t.Context(), tx, &d) })
	}
	built := r.now
	r.put(t, a.full)
	r.work(t)
	for k := range formats {
		if d := r.derived(t, a.id, k); d.Revision != revisions[k] || !d.Built.After(built) {
			t.Errorf("%+v", d)
		}
	}
	if jobs := r.jobs(t, symstore.ProcessJob); len(jobs) > 0 {
		t.Error(jobs)
	}
}

// Crashes are queued when the rank of what they lack grows, and not otherwise.
func TestWaiting(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	r := newRig(t, nil)
	none, best := metadb.None, metadb.Best
	r.waiting(t, "n", a.id, metadb.Symcache, none)
	r.waiting(t, "p", a.id, metadb.Symcache, metadb.Poor)
	r.waiting(t, "b", a.id, metadb.Symcache, best)
	r.waiting(t, "r", a.id, metadb.Cficache, none)
	r.waiting(t, "o", id1, metadb.Symcache, none)
	want := func(when string, ids ...string) {
		t.Helper()
		if got := r.jobs(t, symstore.ProcessJob); !slices.Equal(got, ids) {
			t.Errorf("%s: queued %q, want %q", when, got, ids)
		}
		for _, id := range ids {
			if j, err := r.cfg.Queue.Get(t.Context(), symstore.ProcessJob, id); err != nil || j.Running {
				t.Error(j, err)
			}
		}
		r.tx(t, func(tx *sql.Tx) error {
			_, err := tx.Exec("DELETE FROM jobs WHERE kind = $1", symstore.ProcessJob)
			return err
		})
	}
	r.put(t, a.stripped)
	want("before it is built")
	r.work(t)
	want("names of the symbol table, rules of the image", "n", "r")
	r.put(t, a.stripped)
	r.work(t)
	want("the same again")
	r.put(t, a.sym)
	r.work(t)
	want("a .sym", "n", "p")
	r.put(t, file{"crashapp.sym", append(slices.Clone(a.sym.data), "PUBLIC 3000 0 more\n"...)})
	r.work(t)
	want("a newer .sym of the same rank")
	r.put(t, a.debug)
	r.work(t)
	want("debug info", "n", "p")
	r.put(t, a.sym)
	r.work(t)
	want("a worse one")
	if d := r.derived(t, a.id, metadb.Symcache); d.Rank != best {
		t.Errorf("%+v", d)
	}
}

// Originals that storage lost, or has another content of, are found out.
func TestLost(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	r := newRig(t, nil)
	key := r.put(t, a.debug).Key
	symKey := r.put(t, a.sym).Key
	if err := r.cfg.Blobs.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	r.work(t)
	if d := r.derived(t, a.id, metadb.Symcache); d.Rank != metadb.Fair || d.Source != symKey || !strings.Contains(d.Reason, "crashapp.dbg: ") {
		t.Errorf("%+v", d)
	}
	if res := r.put(t, a.debug); res.Status != "stored" {
		t.Errorf("%+v", res)
	}
	r.work(t)
	if d := r.derived(t, a.id, metadb.Symcache); d.Rank != metadb.Best || d.Source != key {
		t.Errorf("%+v", d)
	}
	// A derived file that is gone is built again when its original is sent again.
	if err := r.cfg.Blobs.Delete(t.Context(), symstore.DerivedKey(a.id, metadb.Symcache)); err != nil {
		t.Fatal(err)
	}
	if res := r.put(t, a.debug); res.Status != "exists" || len(r.jobs(t, symstore.Job)) != 1 {
		t.Errorf("%+v", res)
	}
	r.work(t)
	r.blob(t, symstore.DerivedKey(a.id, metadb.Symcache))
	// Objects of another size than is known are no better.
	for _, k := range []string{symstore.DerivedKey(a.id, metadb.Symcache), key} {
		if err := blob.Put(t.Context(), r.cfg.Blobs, k, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		want := "exists"
		if k == key {
			want = "stored"
		}
		if res := r.put(t, a.debug); res.Status != want || len(r.jobs(t, symstore.Job)) != 1 {
			t.Errorf("%s: %+v", k, res)
		}
		r.work(t)
		if len(r.blob(t, k)) == 1 {
			t.Errorf("%s is not mended", k)
		}
	}
	// Rubbish under the key of an original: the database learns of it, and the other file is used.
	if err := blob.Put(t.Context(), r.cfg.Blobs, key, strings.NewReader("rubbish")); err != nil {
		t.Fatal(err)
	}
	r.tx(t, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM derived")
		return err
	})
	if err := r.Build(t.Context(), a.id); err != nil {
		t.Fatal(err)
	}
	if d := r.derived(t, a.id, metadb.Symcache); d.Rank != metadb.Fair || d.Source != symKey {
		t.Errorf("%+v", d)
	}
	for _, o := range r.rows(t, a.id) {
		if o.Key == key && (o.SymRank != metadb.None || o.Size != 7) {
			t.Errorf("%+v", o)
		}
	}
	if res := r.put(t, a.debug); res.Status != "superseded" {
		t.Errorf("%+v", res)
	}
	r.work(t)
	if d := r.derived(t, a.id, metadb.Symcache); d.Rank != metadb.Best {
		t.Errorf("%+v", d)
	}
	// Another file under the key, because an upload stopped before the database knew of it.
	r = newRig(t, nil)
	key = r.put(t, file{"crashapp.sym", sym(a.id, "crashapp", "PUBLIC 1000 0 f")}).Key
	if err := blob.Put(t.Context(), r.cfg.Blobs, key, bytes.NewReader(a.sym.data)); err != nil {
		t.Fatal(err)
	}
	r.work(t)
	if row, d := r.rows(t, a.id)[0], r.derived(t, a.id, metadb.Symcache); row.SHA256 != hash(a.sym.data) || row.SymRank != metadb.Fair || row.CodeID != a.code || d.Rank != metadb.Fair || d.SHA256 != row.SHA256 {
		t.Errorf("%+v, %+v", row, d)
	}
	// A derived file goes with the last original that gave it.
	r = newRig(t, nil)
	key = r.put(t, a.sym).Key
	r.work(t)
	if err := blob.Put(t.Context(), r.cfg.Blobs, key, strings.NewReader("rubbish")); err != nil {
		t.Fatal(err)
	}
	r.tx(t, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE derived SET revision = 0")
		return err
	})
	if err := r.Build(t.Context(), a.id); err != nil {
		t.Fatal(err)
	}
	if keys := r.keys(t); len(keys) != 1 || r.derived(t, a.id, metadb.Symcache).Rank != metadb.None || r.derived(t, a.id, metadb.Cficache).Rank != metadb.None {
		t.Error(keys)
	}
	// A debug id without any originals is nobody's.
	if err := r.Build(t.Context(), id1); err != nil {
		t.Error(err)
	}
	if _, err := r.Derived(t.Context(), id1, metadb.Symcache); !errors.Is(err, errs.NotFound) {
		t.Error(err)
	}
}

// A damaged file is written down as such, or less is taken from it; the next best one helps out.
func TestDamaged(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	debug := slices.Clone(a.debug.data)
	info := section(t, debug, ".debug_info")
	for i := range info {
		info[i] = 0xa5
	}
	r := newRig(t, nil)
	res := r.put(t, file{"crashapp.debug", debug})
	r.work(t)
	d := r.derived(t, a.id, metadb.Symcache)
	if d.Rank != metadb.Poor || d.Source != res.Key || !strings.Contains(d.Reason, "crashapp.dbg: its debug information has no functions") {
		t.Errorf("%+v", d)
	}
	// Its names are better than none, but the .sym has lines.
	r.put(t, a.sym)
	r.work(t)
	if d = r.derived(t, a.id, metadb.Symcache); d.Rank != metadb.Fair || !strings.HasSuffix(d.Source, ".sym") || d.Reason == "" {
		t.Errorf("%+v", d)
	}
	// One more that has no more than them does not replace them.
	r = newRig(t, nil)
	r.put(t, file{"crashapp.debug", debug})
	r.put(t, file{"crashapp.sym", sym(a.id, "crashapp", "FUNC 1000 0 0 f", "PUBLIC 1000 0 f")})
	r.work(t)
	if d = r.derived(t, a.id, metadb.Symcache); d.Rank != metadb.Poor || d.Source != res.Key || !strings.Contains(d.Reason, "; crashapp.sym: its debug") {
		t.Errorf("%+v", d)
	}
	// Rules of an unknown CPU.
	r = newRig(t, nil)
	text := bytes.Replace(a.sym.data, []byte("x86_64"), []byte("vax"), 1)
	r.put(t, file{"crashapp.sym", text})
	r.work(t)
	if d = r.derived(t, a.id, metadb.Cficache); d.Rank != metadb.None || d.Reason != `crashapp.sym: its CPU, "vax", is not unwound here` {
		t.Errorf("%+v", d)
	}
	// That is remembered: the same file makes no more work, another one does.
	built := d.Built
	if r.put(t, file{"crashapp.sym", text}); len(r.jobs(t, symstore.Job)) != 0 {
		t.Error("an upload that changes nothing makes work")
	}
	if err := r.Build(t.Context(), a.id); err != nil || !r.derived(t, a.id, metadb.Cficache).Built.Equal(built) {
		t.Error("it was tried again:", err)
	}
	r.put(t, a.stripped)
	r.work(t)
	if d = r.derived(t, a.id, metadb.Cficache); d.Rank != metadb.Best {
		t.Errorf("%+v", d)
	}
	// Every cut of an image is refused, or taken and built without an error.
	r = newRig(t, nil)
	accepted, refused := 0, 0
	for n := range 40 {
		cut := a.stripped.data[:len(a.stripped.data)*n/40]
		res, err := r.Put(t.Context(), bytes.NewReader(cut), symstore.PutInfo{Name: "crashapp"})
		if err != nil {
			refused++
			if k := errs.KindOf(err); k != errs.Invalid && k != errs.Corrupt && k != errs.Unsupported {
				t.Errorf("cut at %d: %v", len(cut), err)
			}
			continue
		}
		accepted++
		if !strings.Contains(res.Warning, "It is damaged, or was cut off: ") {
			t.Errorf("cut at %d: %+v", len(cut), res)
		}
		r.work(t)
	}
	if refused < 3 {
		t.Errorf("%d refused, %d accepted", refused, accepted)
	}
}

// Build gives up with its context, and blob storage that is away is tried again.
func TestBuildFails(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	r := newRig(t, nil)
	r.put(t, a.full)
	r.cfg.Blobs = away{r.cfg.Blobs}
	r.again(t)
	if err := r.Build(t.Context(), a.id); !errs.Retryable(err) {
		t.Error(err)
	}
	if _, err := r.Derived(t.Context(), a.id, metadb.Symcache); !errors.Is(err, errs.NotFound) {
		t.Error("a failure that passes was written down:", err)
	}
	r.cfg.Blobs = r.cfg.Blobs.(away).Store
	r.again(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.cfg.Failpoint = func(step string) { cancel() }
	r.again(t)
	if err := r.Build(ctx, a.id); !errs.Retryable(err) {
		t.Error(err)
	}
	if _, err := r.Put(ctx, bytes.NewReader(a.full.data), symstore.PutInfo{Name: "x"}); !errs.Retryable(err) {
		t.Error(err)
	}
}

// away is a store that cannot be read.
type away struct{ blob.Store }

// The job loop runs Build.
func TestQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	ready := r.cfg.Ready
	r.cfg.Ready = func(id string) {
		ready(id)
		for _, k := range []metadb.Kind{metadb.Symcache, metadb.Cficache} {
			d, err := r.Derived(context.Background(), id, k)
			if err != nil || d.Rank == metadb.None {
				continue
			}
			if info, err := r.cfg.Blobs.Stat(context.Background(), symstore.DerivedKey(id, k)); err != nil || info.Size != d.Size {
				t.Errorf("told of a %s that is not there: %v", k, err)
			}
		}
	}
	r.again(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.cfg.Queue.Run(ctx, symstore.Job, func(ctx context.Context, id string) error {
			defer cancel()
			return r.Build(ctx, id)
		})
	}()
	r.put(t, file{"p", sym(id1, "p", funcs)})
	<-done
	if d := r.derived(t, id1, metadb.Symcache); d.Rank != metadb.Fair {
		t.Errorf("%+v", d)
	}
	if !reflect.DeepEqual(r.told, []string{id1, id1, id1}) { // stored, and twice derived
		t.Errorf("told %q", r.told)
	}
}
