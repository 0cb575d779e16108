package symstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"salvage/config/configtest"
	"salvage/debug/object"
	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/blob/memblob"
	"salvage/internal/debugtest"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/internal/metadb"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/internal/symstore"
	"salvage/metrics/metricstest"
)

// rig is a store over memory, with its server. Its clock is a second further each time it is read.
type rig struct {
	*symstore.Store
	cfg    symstore.Config
	rec    *metricstest.Recorder
	server *httptest.Server
	token  string
	mu     sync.Mutex
	now    time.Time
	told   []string // by Ready
	steps  []string
	fail   string // step to panic at
}

func newRig(t testing.TB, kv map[string]string) *rig {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &rig{now: time.UnixMilli(1700000000000)}
	registry, rec := metricstest.New(t)
	r.rec = rec
	log := slog.New(slog.DiscardHandler)
	clock := func() time.Time {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now = r.now.Add(time.Second)
		return r.now
	}
	q, err := queue.New(t.Context(), queue.Config{DB: db, Now: clock, Log: log}, true)
	if err != nil {
		t.Fatal(err)
	}
	tokens := access.New(db, clock, log)
	t.Cleanup(tokens.Close)
	if _, r.token, err = tokens.Create(t.Context(), "ci", access.UploadSymbols, time.Time{}); err != nil {
		t.Fatal(err)
	}
	var o symstore.Options
	configtest.Load(t, &o, kv)
	r.cfg = symstore.Config{
		Options: o, Blobs: memblob.New(), DB: db, Queue: q, Gate: &access.Gate{Store: tokens, Loopback: true}, Scratch: t.TempDir(), Metrics: registry, Log: log, Now: clock,
		Ready: func(id string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.told = append(r.told, id)
		},
		Failpoint: func(step string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.steps = append(r.steps, step)
			if step == r.fail {
				panic("stopped at " + step)
			}
		},
	}
	if r.Store, err = symstore.New(r.cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := os.ReadDir(r.cfg.Scratch)
		if err != nil || len(left) > 0 {
			t.Errorf("left in scratch: %v, %v", left, err)
		}
	})
	var hc httpserver.Config
	configtest.Load(t, &hc, nil)
	hc.Log = log
	s, err := httpserver.New(hc)
	if err != nil {
		t.Fatal(err)
	}
	r.Install(s.Handle)
	s.Handle("GET /", httpserver.HTML(func(w http.ResponseWriter, req *http.Request) error {
		if handled, err := r.Download(w, req); handled || err != nil {
			return err
		}
		return errs.NotFound
	}))
	r.server = httptest.NewServer(s)
	t.Cleanup(r.server.Close)
	return r
}

// again returns a store of a new process over the same data.
func (r *rig) again(t testing.TB) {
	t.Helper()
	r.fail = ""
	c := r.cfg
	c.Metrics = nil
	var err error
	if r.Store, err = symstore.New(c); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) put(t testing.TB, f file) symstore.Result {
	t.Helper()
	res, err := r.Put(t.Context(), bytes.NewReader(f.data), symstore.PutInfo{Name: f.name, Uploader: "me"})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// refuse puts what must be refused, and returns the sentence.
func (r *rig) refuse(t testing.TB, kind *errs.Kind, f file, info symstore.PutInfo) string {
	t.Helper()
	before := r.keys(t)
	if info.Name == "" {
		info.Name = f.name
	}
	res, err := r.Put(t.Context(), bytes.NewReader(f.data), info)
	if errs.KindOf(err) != kind {
		t.Errorf("Put(%.40q, %+.40q) = %+v, %v; want %v", f.name, info, res, err, kind)
	}
	if after := r.keys(t); !slices.Equal(before, after) {
		t.Errorf("a refused file changed what is stored: %q", after)
	}
	return errs.Sentence(err)
}

// jobs returns the keys of the jobs of a kind.
func (r *rig) jobs(t testing.TB, kind string) (keys []string) {
	t.Helper()
	r.view(t, func(tx *sql.Tx) error {
		rows, err := tx.Query("SELECT key FROM jobs WHERE kind = $1 ORDER BY key", kind)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key string
			if err := rows.Scan(&key); err != nil {
				return err
			}
			keys = append(keys, key)
		}
		return rows.Err()
	})
	return keys
}

// work does all jobs of the store.
func (r *rig) work(t testing.TB) {
	t.Helper()
	for _, id := range r.jobs(t, symstore.Job) {
		if err := r.Build(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		r.tx(t, func(tx *sql.Tx) error {
			_, err := tx.Exec("DELETE FROM jobs WHERE kind = $1 AND key = $2", symstore.Job, id)
			return err
		})
	}
}

func (r *rig) view(t testing.TB, fn func(tx *sql.Tx) error) {
	t.Helper()
	if err := r.cfg.DB.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) tx(t testing.TB, fn func(tx *sql.Tx) error) {
	t.Helper()
	if err := r.cfg.DB.Tx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) derived(t testing.TB, id string, k metadb.Kind) metadb.Derived {
	t.Helper()
	d, err := r.Derived(t.Context(), id, k)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (r *rig) rows(t testing.TB, id string) (rows []metadb.Symbol) {
	t.Helper()
	r.view(t, func(tx *sql.Tx) (err error) {
		rows, err = metadb.SymbolsByDebugID(t.Context(), tx, id)
		return err
	})
	return rows
}

// keys lists everything in blob storage.
func (r *rig) keys(t testing.TB) (keys []string) {
	t.Helper()
	for info, err := range r.cfg.Blobs.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func (r *rig) blob(t testing.TB, key string) []byte {
	t.Helper()
	b, _, err := r.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	data, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// file is a file to send.
type file struct {
	name string
	data []byte
}

// app is crashapp in all its forms.
type app struct {
	id, code                   string
	full, stripped, debug, sym file
}

var theApp struct {
	sync.Mutex
	app
}

func crashapp(t testing.TB) app {
	t.Helper()
	theApp.Lock()
	defer theApp.Unlock()
	if theApp.id != "" {
		return theApp.app
	}
	path := debugtest.Crashapp(t, "g++", "-O2", "-rdynamic", "-Wl,--build-id=sha1")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(debugtest.Program(t, "llvm", "objcopy"), args...).CombinedOutput(); err != nil {
			t.Fatalf("objcopy %v: %v\n%s", args, err, out)
		}
	}
	run("--only-keep-debug", path, path+".debug")
	run("--strip-all", path, path+".stripped")
	read := func(name, suffix string) file {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return file{name, data}
	}
	a := app{full: read("crashapp", ""), stripped: read("crashapp", ".stripped"), debug: read("crashapp.debug", ".debug")}
	o, err := object.Open(a.full.data)
	if err != nil {
		t.Fatal(err)
	}
	a.id, a.code = o.Module.ID.Breakpad(), string(o.Module.CodeID)
	a.sym = file{"crashapp.sym", []byte("MODULE Linux x86_64 " + a.id + " crashapp\nINFO CODE_ID " + strings.ToUpper(a.code) + "\nFILE 0 a.cpp\n" +
		"FUNC 1000 20 0 by_sym\n1000 20 7 0\nPUBLIC 2000 0 other\nSTACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n")}
	theApp.app = a
	return a
}

// sym returns a .sym file with the given records.
func sym(id, name string, records ...string) []byte {
	return []byte("MODULE Linux x86_64 " + id + " " + name + "\n" + strings.Join(records, "\n") + "\n")
}

const (
	id1   = "4C4C4400555531444A1DCF2E53B5A6C10"
	funcs = "FUNC 1000 20 0 f\n1000 20 7 0"
)

// permutations yields all orders of n things.
func permutations(n int, yield func([]int)) {
	var rec func(done, left []int)
	rec = func(done, left []int) {
		if len(left) == 0 {
			yield(done)
		}
		for i := range left {
			rec(append(slices.Clone(done), left[i]), slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	rec(nil, all)
}

// waiting says that a crash was processed without a derived file as good as it could be.
func (r *rig) waiting(t testing.TB, crash, id string, k metadb.Kind, rank metadb.Rank) {
	t.Helper()
	r.tx(t, func(tx *sql.Tx) error {
		_, err := metadb.SetMissing(t.Context(), tx, crash, []metadb.Missing{{DebugID: id, Kind: k, Rank: rank}})
		return err
	})
}

// Of two files under one key the richer stays; equally rich, the newer.
func TestSameKey(t *testing.T) {
	t.Parallel()
	poor, fair, fair2 := file{"p.sym", sym(id1, "p", "PUBLIC 1000 0 f")}, file{"p.sym", sym(id1, "p", funcs)}, file{"p.sym", sym(id1, "p", funcs, "PUBLIC 5000 0 g")}
	ruled := file{"p.sym", sym(id1, "p", "PUBLIC 1000 0 f", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^")}
	r := newRig(t, nil)
	for i, step := range []struct {
		f      file
		status string
		now    file
		jobs   int
	}{
		{poor, "stored", poor, 1}, {poor, "exists", poor, 0}, {ruled, "superseded", ruled, 1}, {poor, "kept", ruled, 0}, {fair, "superseded", fair, 1},
		{poor, "kept", fair, 0}, {ruled, "kept", fair, 0}, {fair2, "superseded", fair2, 1}, {fair, "superseded", fair, 1}, {fair, "exists", fair, 0},
	} {
		told := len(r.told)
		res := r.put(t, step.f)
		if res.Status != step.status || (res.Warning != "") != (step.status == "superseded" || step.status == "kept") {
			t.Errorf("step %d: %+v, want %s", i, res, step.status)
		}
		if !bytes.Equal(r.blob(t, res.Key), step.now.data) {
			t.Errorf("step %d: another file is stored", i)
		}
		rows := r.rows(t, id1)
		if len(rows) != 1 || rows[0].Size != int64(len(step.now.data)) || rows[0].Uploader != "me" {
			t.Errorf("step %d: %+v", i, rows)
		}
		if jobs := r.jobs(t, symstore.Job); len(jobs) != step.jobs || len(r.told)-told != step.jobs {
			t.Errorf("step %d: %d jobs, told %q", i, len(jobs), r.told[told:])
		}
		r.work(t)
	}
	r.rec.Counter("symstore.upload").Tags("result:kept").Value(3)
	r.rec.Counter("symstore.upload").Tags("result:exists").Value(2)
	if d := r.derived(t, id1, metadb.Symcache); d.SHA256 != r.rows(t, id1)[0].SHA256 {
		t.Errorf("%+v", d)
	}
}

// What the process leaves behind when it stops at any step, the same upload and the same job mend.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	old := file{"crashapp.sym", sym(a.id, "crashapp", "PUBLIC 1000 0 f")}
	do := func(r *rig) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%v", p)
			}
		}()
		for _, f := range []file{a.stripped, a.sym} {
			if _, err := r.Put(t.Context(), bytes.NewReader(f.data), symstore.PutInfo{Name: f.name}); err != nil {
				return err
			}
			for _, id := range r.jobs(t, symstore.Job) {
				if err := r.Build(t.Context(), id); err != nil {
					return err
				}
			}
		}
		return nil
	}
	start := func() *rig {
		r := newRig(t, nil)
		r.put(t, old)
		r.waiting(t, "c", a.id, metadb.Symcache, metadb.Poor)
		r.steps = nil
		return r
	}
	whole := start()
	if err := do(whole); err != nil {
		t.Fatal(err)
	}
	steps := slices.Compact(slices.Sorted(slices.Values(whole.steps)))
	if want := []string{"answer", "derived cficache", "derived symcache", "done cficache", "done symcache", "original", "ready cficache", "ready symcache", "row"}; !slices.Equal(steps, want) {
		t.Fatalf("steps %q", steps)
	}
	end := func(r *rig) (s string) {
		for _, k := range []metadb.Kind{metadb.Symcache, metadb.Cficache} {
			d := r.derived(t, a.id, k)
			d.Built = time.Time{}
			s += fmt.Sprintf("%+v %x\n", d, r.blob(t, symstore.DerivedKey(a.id, k)))
		}
		for _, o := range r.rows(t, a.id) {
			s += fmt.Sprintf("%s %s %d %d %x\n", o.Key, o.SHA256, o.SymRank, o.CfiRank, r.blob(t, o.Key))
		}
		return s + strings.Join(r.jobs(t, symstore.ProcessJob), " ")
	}
	want := end(whole)
	if !strings.HasSuffix(want, "\nc") {
		t.Fatalf("the crash is not queued: %.200q", want[len(want)-20:])
	}
	for i, step := range whole.steps {
		r := start()
		n := 0
		r.cfg.Failpoint = func(string) {
			if n++; n == i+1 {
				panic("stopped")
			}
		}
		r.again(t)
		if err := do(r); err == nil {
			t.Fatalf("%d %s: not stopped", i, step)
		}
		// Somebody builds before the upload comes again.
		r.cfg.Failpoint = nil
		r.again(t)
		for _, id := range r.jobs(t, symstore.Job) {
			if err := r.Build(t.Context(), id); err != nil {
				t.Errorf("%d %s: %v", i, step, err)
			}
		}
		if err := do(r); err != nil {
			t.Errorf("%d %s: again: %v", i, step, err)
		}
		if got := end(r); got != want {
			t.Errorf("%d %s: ends with\n%.600s\nwant\n%.600s", i, step, got, want)
		}
	}
}

// section returns the bytes of a section of an ELF file of 64 bits.
func section(t *testing.T, data []byte, name string) []byte {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(name)
	if s == nil || s.Flags&elf.SHF_COMPRESSED != 0 {
		t.Fatalf("no plain section %s", name)
	}
	return data[s.Offset : s.Offset+s.FileSize]
}

// The content says what a file is; names from outside lead nowhere.
func TestIdentity(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	lib := library(t, false, "-Wl,-soname,libfoo.so.1")
	for _, tt := range []struct {
		f      file
		info   symstore.PutInfo
		file   string
		name   string
		code   string
		warned bool
	}{
		{f: file{"crashapp", a.full.data}, file: "crashapp", name: "crashapp", code: "crashapp"},
		{f: file{"/usr/bin/crashapp", a.stripped.data}, file: "crashapp", name: "crashapp", code: "crashapp"},
		{f: file{`C:\x\crashapp.debug`, a.debug.data}, file: "crashapp", name: "crashapp.dbg", code: "crashapp"},
		{f: file{"crashapp.DBG.gz", a.debug.data}, file: "crashapp", name: "crashapp.dbg", code: "crashapp"},
		{f: file{"../../../etc/passwd", a.debug.data}, file: "passwd", name: "passwd.dbg", code: "passwd"},
		{f: file{"a b%2f?.so", a.full.data}, file: "a b%2f?.so", name: "a b%2f?.so", code: "a b%2f?.so"},
		{f: file{".debug", a.debug.data}, file: ".debug", name: ".debug.dbg", code: ".debug"},
		{f: file{"x.debug", a.debug.data}, info: symstore.PutInfo{DebugFile: "y/z"}, file: "z", name: "z.dbg", code: "z"},
		{f: file{"libfoo.so.1.2.3", lib}, file: "libfoo.so.1", name: "libfoo.so.1", code: "libfoo.so.1"},
		{f: file{"", lib}, file: "libfoo.so.1", name: "libfoo.so.1", code: "libfoo.so.1"},
		{f: file{"z", lib}, info: symstore.PutInfo{DebugFile: "libfoo.so"}, file: "libfoo.so.1", name: "libfoo.so.1", code: "libfoo.so.1", warned: true},
		{f: file{"z", sym(id1, "a.pdb", `INFO CODE_ID 5A1 C:\x/y\a.dll`, funcs)}, file: "a.pdb", name: "a.sym", code: "a.dll"},
		{f: file{"z", sym(id1, "a.PDB", funcs)}, file: "a.PDB", name: "a.sym"},
		{f: file{"z", sym(id1, ".pdb", funcs)}, file: ".pdb", name: ".pdb.sym"},
		{f: file{"z", sym(id1, "/usr/lib/a b.so", funcs)}, file: "a b.so", name: "a b.so.sym"},
		{f: file{"z.so.sym", sym(id1, "", funcs)}, file: "z.so", name: "z.so.sym"},
		{f: file{"z", sym(id1, "é漢", funcs, "what is this")}, file: "é漢", name: "é漢.sym", warned: true},
		{f: file{"z", sym(strings.ToLower(id1), "a", funcs)}, file: "a", name: "a.sym"},
	} {
		r := newRig(t, nil)
		tt.info.Name = tt.f.name
		res, err := r.Put(t.Context(), bytes.NewReader(tt.f.data), tt.info)
		if err != nil || res.DebugFile != tt.file || res.Name != tt.name || res.CodeFile != tt.code || res.Key != "v1/"+tt.file+"/"+res.DebugID+"/"+tt.name || (res.Warning != "") != tt.warned {
			t.Errorf("%q: %+v, %v", tt.f.name, res, err)
		}
		if keys := r.keys(t); len(keys) != 1 || keys[0] != res.Key {
			t.Errorf("%q: stored %q", tt.f.name, keys)
		}
	}

	r := newRig(t, nil)
	for _, name := range []string{"..", ".", "a/..", "a\x00b", "a\nb", "\xff", strings.Repeat("x", 201), strings.Repeat("x", 199), strings.Repeat("é", 40)} {
		if got := r.refuse(t, errs.Invalid, file{name, a.debug.data}, symstore.PutInfo{}); !strings.HasPrefix(got, "The name of the file, ") {
			t.Errorf("%q: %s", name, got)
		}
		if name = strings.Trim(name, "\n"); !strings.Contains(name, "\n") {
			r.refuse(t, errs.Invalid, file{"z", sym(id1, name, funcs)}, symstore.PutInfo{})
		}
	}
	for _, name := range []string{"", "/", `a\`} {
		if got := r.refuse(t, errs.Invalid, file{name, a.debug.data}, symstore.PutInfo{}); got != "The file does not say its name, and was sent without one." {
			t.Error(got)
		}
	}
	// A hostile code file goes nowhere either, and is refused where it cannot be text of the database.
	r.refuse(t, errs.Invalid, file{"z", sym(id1, "a", "INFO CODE_ID 5A1 b\x00c", funcs)}, symstore.PutInfo{})
	for want, data := range map[string][]byte{
		"The file has no symbols, no debug information and no unwind rules: nothing can be learnt from it.":                                       sym(id1, "a", "INFO GENERATOR x"),
		"The file has no debug id, so nothing would find it. Link with --build-id.":                                                               sym(strings.Repeat("0", 33), "a", funcs),
		"This is not a file that symbols are read from: an ELF, PE or Mach-O file, a PDB, a Breakpad symbol file or a mapping of ProGuard or R8.": []byte("ZM and so on"),
		"The file is empty.": {},
	} {
		kind := errs.Invalid
		if data != nil && bytes.HasPrefix(data, []byte("ZM")) {
			kind = errs.Unsupported
		}
		if got := r.refuse(t, kind, file{"z", data}, symstore.PutInfo{}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	r.rec.Counter("symstore.upload").Tags("result:stored").Never()
	r.rec.Counter("symstore.upload").Tags("result:failed").Never()
}

// A claimed id must be the file's debug id or code id, in any case and spelling.
func TestClaim(t *testing.T) {
	t.Parallel()
	a := crashapp(t)
	r := newRig(t, nil)
	hyphens := strings.ToLower(a.id[:8] + "-" + a.id[8:12] + "-" + a.id[12:16] + "-" + a.id[16:20] + "-" + a.id[20:32])
	for _, id := range []string{a.id, strings.ToLower(a.id), hyphens, a.code, strings.ToUpper(a.code)} {
		if _, err := r.Put(t.Context(), bytes.NewReader(a.full.data), symstore.PutInfo{Name: "crashapp", DebugID: id}); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	r = newRig(t, nil)
	for _, id := range []string{id1, a.id[:32] + "1", a.code[:39], "x" + a.code, "zz", "-"} {
		got := r.refuse(t, errs.Invalid, a.full, symstore.PutInfo{DebugID: id})
		if !strings.Contains(got, a.id) || !strings.Contains(got, id) {
			t.Errorf("%s: %s", id, got)
		}
	}
	// Without a code id nothing matches its absence.
	r.refuse(t, errs.Invalid, file{"a.sym", sym(id1, "a", funcs)}, symstore.PutInfo{DebugID: "zz"})
}

// Of equally good originals the newest is used.
func TestNewest(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"a", "b"}, {"b", "a"}} {
		r := newRig(t, nil)
		r.put(t, file{"x", sym(id1, names[0], funcs)})
		newest := r.put(t, file{"x", sym(id1, names[1], funcs, "PUBLIC 5000 0 g")})
		r.work(t)
		if d := r.derived(t, id1, metadb.Symcache); d.Source != newest.Key || d.SHA256 != newest.SHA256 {
			t.Errorf("%v: %+v", names, d)
		}
	}
}

// While a file is stored nobody else stores one under its key, and one derives at a time; who waits gives
// up with its context.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	data := func(n int) io.Reader {
		return bytes.NewReader(sym(id1, "p", funcs, fmt.Sprintf("PUBLIC 5000 0 g%d", n)))
	}
	busy := 0
	r.cfg.Failpoint = func(step string) {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		var err error
		switch step {
		case "row":
			_, err = r.Put(ctx, data(2), symstore.PutInfo{})
		case "ready symcache":
			err = r.Build(ctx, id1)
		default:
			return
		}
		busy++
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at %q somebody else got in: %v", step, err)
		}
	}
	r.again(t)
	if _, err := r.Put(t.Context(), data(1), symstore.PutInfo{}); err != nil {
		t.Fatal(err)
	}
	r.work(t)
	if busy != 2 {
		t.Error(busy)
	}
	// Another key, and the same once it is free, need not wait.
	r.cfg.Failpoint = nil
	r.again(t)
	if _, err := r.Put(t.Context(), data(2), symstore.PutInfo{}); err != nil {
		t.Error(err)
	}
}

// Two uploads of one key at once, again and again: what is stored is one of them, and the database says which.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var files []file
	for i := range 4 {
		files = append(files, file{"p", sym(id1, "p", funcs, fmt.Sprintf("PUBLIC 5000 0 g%d", i))})
	}
	for range 10 {
		var all sync.WaitGroup
		for _, f := range files {
			all.Go(func() {
				if _, err := r.Put(t.Context(), bytes.NewReader(f.data), symstore.PutInfo{Name: f.name}); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := r.Build(t.Context(), id1); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		row := r.rows(t, id1)[0]
		if got := hash(r.blob(t, row.Key)); got != row.SHA256 {
			t.Fatalf("stored is %s, known %s", got, row.SHA256)
		}
		r.work(t)
		d := r.derived(t, id1, metadb.Symcache)
		if d.SHA256 != row.SHA256 || d.Size != int64(len(r.blob(t, symstore.DerivedKey(id1, metadb.Symcache)))) {
			t.Fatalf("%+v", d)
		}
	}
}

func (away) Get(context.Context, string) (io.ReadCloser, blob.Info, error) {
	return nil, blob.Info{}, errs.Unavailable
}

// The answer to an upload is part of the interface.
func TestResultJSON(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	res := r.put(t, file{"p", sym(id1, "p.pdb", "INFO CODE_ID 5A1F p.dll", funcs)})
	text, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"status":"stored","key":"v1/p.pdb/` + id1 + `/p.sym","debug_file":"p.pdb","debug_id":"` + id1 + `","code_file":"p.dll","code_id":"5a1f","name":"p.sym",` +
		`"format":"breakpad","arch":"x86_64","size":` + fmt.Sprint(res.Size) + `,"sha256":"` + res.SHA256 + `","has_symbols":true,"has_debug_info":true,"has_unwind_rules":false}`
	if string(text) != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// library returns a shared object, or its separate debug file.
func library(t *testing.T, debug bool, flags ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	src, out := filepath.Join(dir, "x.cpp"), filepath.Join(dir, "x.so")
	if err := os.WriteFile(src, []byte("int f() { return 1; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-shared", "-fPIC", "-Wl,--build-id=sha1", "-o", out, src}, flags...)
	if text, err := exec.Command(debugtest.Program(t, "llvm", "g++"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if debug {
		if text, err := exec.Command(debugtest.Program(t, "llvm", "objcopy"), "--only-keep-debug", out).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
