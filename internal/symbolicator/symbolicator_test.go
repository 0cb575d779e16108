package symbolicator_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"salvage/config"
	"salvage/config/configtest"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/internal/access"
	"salvage/internal/blob/memblob"
	"salvage/internal/diskcache"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/internal/symbolicator"
	"salvage/internal/symstore"
	"salvage/metrics"
)

func defaults[T any, P interface {
	*T
	config.Component
}](t testing.TB) (o T) {
	configtest.Load(t, P(&o), nil)
	return o
}

type rig struct {
	*symbolicator.Symbolicator
	t   testing.TB
	mux http.ServeMux
}

func newRig(t testing.TB) *rig {
	t.Helper()
	ctx := context.Background()
	db, err := sqldb.Open(ctx, "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	log, registry := slog.New(slog.DiscardHandler), metrics.New("test")
	q, err := queue.New(ctx, queue.Config{DB: db, Now: time.Now, Log: log, Metrics: registry}, true)
	if err != nil {
		t.Fatal(err)
	}
	tokens := access.New(db, time.Now, log)
	t.Cleanup(tokens.Close)
	r := &rig{t: t}
	store, err := symstore.New(symstore.Config{
		Options: defaults[symstore.Options](t), Blobs: memblob.New(), DB: db, Queue: q, Gate: &access.Gate{Store: tokens}, Scratch: t.TempDir(),
		Ready: func(id string) { r.Ready(id) }, Metrics: registry, Log: log, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Symbolicator, err = symbolicator.New(symbolicator.Config{
		Options: defaults[symbolicator.Options](t), Store: store, Cache: defaults[diskcache.Options](t), Dir: t.TempDir(), Metrics: registry, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	r.Install(r.mux.Handle)
	return r
}

// put uploads a symbol file without building from it.
func (r *rig) put(text string) (debugID string) {
	r.t.Helper()
	res, err := r.Store.Put(context.Background(), strings.NewReader(text), symstore.PutInfo{Name: "x"})
	if err != nil {
		r.t.Fatal(err)
	}
	return res.DebugID
}

func (r *rig) build(debugID string) {
	r.t.Helper()
	if err := r.Store.Build(context.Background(), debugID); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) post(path, body string) (status int, text string) {
	w := httptest.NewRecorder()
	r.mux.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
	return w.Code, strings.TrimSpace(w.Body.String())
}

// demoapp is the worked example of symbols-server.md §3.10, with a size for the inlined call's lines.
const demoapp = `MODULE Linux x86_64 00112233445566778899AABBCCDDEEFF0 demoapp
INFO CODE_ID 33221100554477668899AABBCCDDEEFF
FILE 0 /src/main.c
FILE 1 /src/util.h
INLINE_ORIGIN 0 clamp
FUNC 1000 40 0 main
INLINE 0 12 0 0 1010 10
1000 10 10 0
1010 10 5 1
1020 20 14 0
PUBLIC 2000 0 _start
STACK CFI INIT 1000 40 .cfa: $rsp 8 + .ra: .cfa 8 - ^
`

const demoID = "00112233445566778899AABBCCDDEEFF0"

func TestV5(t *testing.T) {
	r := newRig(t)
	r.build(r.put(demoapp))
	lower := strings.ToLower(demoID)
	status, text := r.post("/symbolicate/v5", fmt.Sprintf(`{"memoryMap":[["demoapp",%q],["none","FF0"],["odd\u007f\"<ü>","00000000000000000000000000000000A"],["demoapp",%q],["",""]],
		"stacks":[[[0,4112],[0,4128],[0,8196],[0,4165],[-1,5],[0,-1]],[],[[2,1],[3,4112],[4,3],[0,99999999999999999999]]]}`, demoID, lower))
	main := `"module":"demoapp","module_offset":"0x1010","function":"main","function_offset":"0x10","function_size":"0x40","file":"/src/main.c","line":12,"inlines":[{"function":"clamp","file":"/src/util.h","line":5}]}`
	want := `{"results":[{"stacks":[[{"frame":0,` + main + `,` +
		`{"frame":1,"module":"demoapp","module_offset":"0x1020","function":"main","function_offset":"0x20","function_size":"0x40","file":"/src/main.c","line":14},` +
		`{"frame":2,"module":"demoapp","module_offset":"0x2004","function":"_start","function_offset":"0x4"},` +
		`{"frame":3,"module":"demoapp","module_offset":"0x1045"},` +
		`{"frame":4,"module":"<unknown>","module_offset":"0x5"},` +
		`{"frame":5,"module":"demoapp","module_offset":"-0x1"}],[],[` +
		`{"frame":0,"module":"odd\u007f\"<ü>","module_offset":"0x1"},{"frame":1,` + main + `,` +
		`{"frame":2,"module":"<unknown>","module_offset":"0x3"},{"frame":3,"module":"demoapp","module_offset":"0x7fffffffffffffff"}]],` +
		`"found_modules":{"demoapp/` + demoID + `":true,"none/FF0":null,"odd\u007f\"<ü>/00000000000000000000000000000000A":false,"demoapp/` + lower + `":true,"/":null},` +
		`"module_errors":{"odd\u007f\"<ü>/00000000000000000000000000000000A":[{"name":"not found","message":"no symbols for the module were found"}]}}]}`
	if status != 200 || text != want {
		t.Errorf("%d\n got %s\nwant %s", status, text, want)
	}
	if status, text := r.post("/symbolicate/v5", `{"jobs":[],"memoryMap":7}`); status != 200 || text != `{"results":[]}` {
		t.Errorf("%d %s", status, text)
	}
	second := strings.Split(want, `{"frame":1,`) // up to the next frame's number
	second[1] = `{"frame":2,` + strings.Split(second[1], `,{"frame"`)[0]
	if _, text := r.post("/symbolicate/v5", `{"memoryMap":[["demoapp","`+demoID+`"]],"stacks":[[[0,4128],[0,4129],[0,4128]]]}`); !strings.Contains(text, second[1]+`]],`) || strings.Count(text, `"0x1021"`) != 1 {
		t.Errorf("neighbours: %s", text)
	}
	// A module that one job asks for is found in the map of another, and an id that is none fails alone.
	_, text = r.post("/symbolicate/v5", `{"jobs":[{"memoryMap":[["demoapp","`+demoID+`"],["x","xyz"]],"stacks":[[[0,4096],[1,1]]]},{"memoryMap":[["demoapp","`+demoID+`"]],"stacks":[[]]}]}`)
	var answer struct {
		Results []struct {
			Found  map[string]*bool `json:"found_modules"`
			Errors map[string]any   `json:"module_errors"`
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Results) != 2 || !*answer.Results[1].Found["demoapp/"+demoID] ||
		*answer.Results[0].Found["x/xyz"] || len(answer.Results[0].Errors) != 1 {
		t.Errorf("%v %s", err, text)
	}
}

func TestV4(t *testing.T) {
	r := newRig(t)
	r.build(r.put(demoapp))
	status, text := r.post("/symbolicate/v4", `{"version":4,"memoryMap":[["demoapp","`+demoID+`"],["none","FF0"],["gone","`+demoID[:32]+`1"]],"stacks":[[[0,4112],[0,4165],[-1,5],[2,255]]]}`)
	if want := `{"symbolicatedStacks":[["main (in demoapp)","0x1045 (in demoapp)","0x5 (in <unknown>)","0xff (in gone)"]],"knownModules":[true,null,false]}`; status != 200 || text != want {
		t.Errorf("%d\n got %s\nwant %s", status, text, want)
	}
	for _, body := range []string{`{"jobs":[]}`, `{"jobs":[{"memoryMap":[],"stacks":[[]]},{"memoryMap":[],"stacks":[[]]}]}`} {
		if status, text := r.post("/symbolicate/v4", body); status != 400 {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

// TestRequests has Eliot's refusals, in its words and order (symbols-server.md §3.3).
func TestRequests(t *testing.T) {
	r := newRig(t)
	job := func(modules, stacks string) string { return `{"memoryMap":` + modules + `,"stacks":` + stacks + `}` }
	for body, title := range map[string]string{
		``: "Payload is not valid JSON", `{`: "Payload is not valid JSON", `null`: "job 0 is invalid", `5`: "job 0 is invalid", `[]`: "job 0 is invalid",
		`{"jobs":[` + strings.Repeat(`{},`, 10) + `{}]}`: "please limit number of jobs in a single request to <= 10",
		`{"jobs":"x"}`: "jobs must be a list", `{"jobs":[5]}`: "job 0 is invalid", `{"jobs":[null]}`: "job 0 is invalid",
		`{}`: "job 0 is invalid: no stacks specified", `{"stacks":[]}`: "job 0 is invalid: no memoryMap specified",
		job(`5`, `[]`):                                       "job 0 has invalid modules: modules must be a list",
		job(`null`, `[]`):                                    "job 0 has invalid modules: modules must be a list",
		job(`[["a","B"],["a"]]`, `[]`):                       "job 0 has invalid modules: module index 1 does not have a debug_filename and debug_id",
		job(`[["a",null]]`, `[]`):                            "job 0 has invalid modules: module index 0 does not have a debug_filename and debug_id",
		job(`[["a\u0000","B"]]`, `[]`):                       "job 0 has invalid modules: module index 0 has an invalid debug_filename",
		job(`[["`+strings.Repeat("a", 1025)+`","B"]]`, `[]`): "job 0 has invalid modules: module index 0 has an invalid debug_filename",
		job(`[["a","`+strings.Repeat("a", 1025)+`"]]`, `[]`): "job 0 has invalid modules: module index 0 has an invalid debug_id",
		job(`[]`, `{}`):                                      "job 0 has invalid stacks: stacks must be a list of lists",
		job(`[]`, `[]`):                                      "job 0 has invalid stacks: no stacks specified",
		job(`[]`, `[[], 7]`):                                 "job 0 has invalid stacks: stack 1 is not a list",
		job(`[]`, `[[], {}]`):                                "job 0 has invalid stacks: stack 1 is not a list",
		job(`[]`, `[[[-1,0], 7]]`):                           "job 0 has invalid stacks: stack 0 frame 1 is not a list of two items",
		job(`[]`, `[[[]]]`):                                  "job 0 has invalid stacks: stack 0 frame 0 is not a list of two items",
		job(`[]`, `[[[1]]]`):                                 "job 0 has invalid stacks: stack 0 frame 0 is not a list of two items",
		job(`[]`, `[[[-1, 2, 3]]]`):                          "job 0 has invalid stacks: stack 0 frame 0 is not a list of two items",
		job(`[]`, `[[["a",2]]]`):                             "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_index",
		job(`[]`, `[[[0.5,2]]]`):                             "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_index",
		job(`[]`, `[[[true,2]]]`):                            "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_index",
		job(`[]`, `[[[0,2]]]`):                               "job 0 has invalid stacks: stack 0 frame 0 has a module_index that isn't in modules",
		job(`[["a","B"]]`, `[[[-2,2]]]`):                     "job 0 has invalid stacks: stack 0 frame 0 has a module_index that isn't in modules",
		job(`[["a","B"]]`, `[[ [0 , 1.0]]]`):                 "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset",
		job(`[["a","B"]]`, `[[[0,-2]]]`):                     "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset",
		job(`[["a","B"]]`, `[[[0,1e3]]]`):                    "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset",
		job(`[["a","B"]]`, `[[[0,"1"]]]`):                    "job 0 has invalid stacks: stack 0 frame 0 has an invalid module_offset",
		job(`[["a","B"]]`, `[[[0,-]]]`):                      "Payload is not valid JSON",
		`{"jobs":[` + job(`[]`, `[[]]`) + `,{}]}`:            "job 1 is invalid: no stacks specified",
	} {
		status, text := r.post("/symbolicate/v5", body)
		want, _ := json.Marshal(map[string]string{"title": title})
		if status != 400 || text != string(want) {
			t.Errorf("%.80s: %d %s, want %s", body, status, text, want)
		}
	}
	for _, body := range []string{job(`[["a","B"]]`, " [ [ [ 0 ,\n 7 ] , [-1,-1] ] , [ ] ] "), `{"memoryMap":[],"stacks":[[]],"other":{}}`} {
		if status, text := r.post("/symbolicate/v5", body); status != 200 || !json.Valid([]byte(text)) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
}

// TestDamagedRequests: every prefix of a request, and every request with one byte changed, gets an answer.
func TestDamagedRequests(t *testing.T) {
	r := newRig(t)
	r.build(r.put(demoapp))
	body := `{"jobs":[{"memoryMap":[["demoapp","` + demoID + `"]],"stacks":[[[0,4112],[-1,5]],[]]}]}`
	for i := range body {
		for _, damaged := range []string{body[:i], body[:i] + "\x00" + body[i+1:], body[:i] + "9" + body[i+1:], body[:i] + "]" + body[i+1:]} {
			if status, text := r.post("/symbolicate/v5", damaged); status != 200 && status != 400 || !json.Valid([]byte(text)) {
				t.Errorf("%q: %d %s", damaged, status, text)
			}
		}
	}
}

func TestCORS(t *testing.T) {
	r := newRig(t)
	req := httptest.NewRequest("OPTIONS", "/symbolicate/v5", nil)
	req.Header.Set("Origin", "https://profiler.firefox.com")
	req.Header.Set("Access-Control-Request-Method", "POST")
	req.Header.Set("Access-Control-Request-Headers", "content-type")
	w := httptest.NewRecorder()
	r.mux.ServeHTTP(w, req)
	h := w.Header()
	if w.Code != 200 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Headers") != "content-type" || h.Get("Access-Control-Max-Age") != "86400" {
		t.Errorf("%d %v", w.Code, h)
	}
	w = httptest.NewRecorder()
	r.mux.ServeHTTP(w, httptest.NewRequest("GET", "/symbolicate/v5", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "POST, OPTIONS" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
	for origin, want := range map[string]string{"": "", "https://x.example": "*"} {
		req := httptest.NewRequest("POST", "/symbolicate/v5", strings.NewReader("{"))
		req.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		r.mux.ServeHTTP(w, req)
		if got := w.Header().Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("origin %q: %q", origin, got)
		}
	}
}

// TestReasons follows a module from nothing to its symbols, to lost and damaged ones, and back: what a
// session says, and what its crash is said to lack.
func TestReasons(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	id, err := debugid.Parse(demoID)
	if err != nil {
		t.Fatal(err)
	}
	m := &minidump.Module{Name: `C:\x\demoapp`, DebugFile: "/y/demoapp", DebugID: id, CodeID: "33"}
	check := func(step, reason, function string, symRank, cfiRank metadb.Rank) {
		t.Helper()
		p := r.Session(ctx)
		defer p.Close()
		if s := p.Symbols(m); s.Missing || s.Loaded {
			t.Errorf("%s: nobody has asked: %+v", step, s)
		}
		got := ""
		if names := p.Names(m, 0x1020); len(names) > 0 {
			got = names[0].Function
		}
		_, known := p.Covered(m, 0x1020)
		_, rules := p.Rules(m, 0x1020)
		s := p.Symbols(m)
		if got != function || known != (function != "") || s.Loaded != (function != "") || s.Missing != (function == "") || s.Reason != reason || rules != (cfiRank > 0) {
			t.Errorf("%s: function %q, known %v, rules %v, %+v", step, got, known, rules, s)
		}
		ranks := map[metadb.Kind]metadb.Rank{}
		for _, x := range p.Missing() {
			ranks[x.Kind] = x.Rank
			if x.DebugID != demoID || x.DebugFile != "demoapp" || x.CodeFile != "demoapp" || x.CodeID != "33" {
				t.Errorf("%s: %+v", step, x)
			}
		}
		if len(ranks) != 2 || ranks[metadb.Symcache] != symRank || ranks[metadb.Cficache] != cfiRank {
			t.Errorf("%s: missing %v", step, ranks)
		}
		if err := p.Err(); err != nil {
			t.Errorf("%s: %v", step, err)
		}
	}
	const preparing = "its symbols are being prepared"
	check("nothing", "no symbols for the module were found", "", metadb.None, metadb.None)
	r.put(demoapp)
	check("uploaded", preparing, "", metadb.None, metadb.None)
	r.build(demoID)
	check("built", "", "main", metadb.Fair, metadb.Poor)
	// Lost in storage, and not in the local cache of another process.
	for _, damage := range []func(kind metadb.Kind){
		func(kind metadb.Kind) { _ = r.Store.Blobs.Delete(ctx, symstore.DerivedKey(demoID, kind)) },
		func(kind metadb.Kind) {
			w, err := r.Store.Blobs.Create(ctx, symstore.DerivedKey(demoID, kind))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Write([]byte("damaged"))
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, kind := range []metadb.Kind{metadb.Symcache, metadb.Cficache} {
			damage(kind)
		}
		r.Ready(demoID) // forgets the local file
		if err := r.Store.DB.Tx(ctx, func(tx *sql.Tx) error { _, err := tx.Exec("DELETE FROM jobs"); return err }); err != nil {
			t.Fatal(err)
		}
		check("damaged", preparing, "", metadb.None, metadb.None)
		check("still damaged", preparing, "", metadb.None, metadb.None)
		if _, err := r.Store.Queue.Get(ctx, symstore.Job, demoID); err != nil {
			t.Errorf("nobody makes it again: %v", err)
		}
		if d, err := r.Store.Derived(ctx, demoID, metadb.Symcache); err != nil || d.Rank != metadb.None || d.Reason != preparing {
			t.Errorf("what is known of it: %+v, %v", d, err)
		}
		r.build(demoID)
		check("made again", "", "main", metadb.Fair, metadb.Poor)
	}
	none := &minidump.Module{Name: "vdso"}
	p := r.Session(ctx)
	defer p.Close()
	if names := p.Names(none, 1); names != nil || p.Symbols(none).Reason != "the dump has no debug id for the module" || len(p.Missing()) != 0 {
		t.Errorf("a module without an id: %v %+v", names, p.Symbols(none))
	}
}

// TestBest: a crash waits for nothing where there can be nothing better.
func TestBest(t *testing.T) {
	r := newRig(t)
	image, err := os.ReadFile("../../debug/testdata/tiny-gcc-dwarf4.elf")
	if err != nil {
		t.Fatal(err)
	}
	id := r.put(string(image))
	r.build(id)
	parsed, err := debugid.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	m := &minidump.Module{DebugID: parsed}
	p := r.Session(context.Background())
	defer p.Close()
	p.Names(m, 0)
	p.Rules(m, 0)
	if s, missing := p.Symbols(m), p.Missing(); !s.Loaded || len(missing) != 0 {
		t.Errorf("%+v, %+v", s, missing)
	}
}

// TestErr: what may pass is told apart from what is not there.
func TestErr(t *testing.T) {
	r := newRig(t)
	id, _ := debugid.Parse(demoID)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := r.Session(ctx)
	defer p.Close()
	p.Names(&minidump.Module{DebugID: id}, 1)
	if err := p.Err(); !errors.Is(err, errs.Unavailable) && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(`{"memoryMap":[["demoapp","` + demoID + `"]],"stacks":[[[0,4112],[-1,5]],[]]}`)
	f.Add(`{"jobs":[{"memoryMap":[],"stacks":[[]]}]}`)
	r := newRig(f)
	r.build(r.put(demoapp))
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/symbolicate/v5", "/symbolicate/v4"} {
			if status, text := r.post(path, body); status != 200 && status != 400 || !json.Valid([]byte(text)) {
				t.Errorf("%s: %d %s", path, status, text)
			}
		}
	})
}

// BenchmarkV5 answers ten jobs of warm modules.
func BenchmarkV5(b *testing.B) {
	r := newRig(b)
	var jobs []string
	for i := range 10 {
		id := fmt.Sprintf("%032XA", i+1)
		var sym strings.Builder
		fmt.Fprintf(&sym, "MODULE Linux x86_64 %s lib%d.so\nFILE 0 /src/a.c\n", id, i)
		for f := range 10000 {
			fmt.Fprintf(&sym, "FUNC %x 40 0 function_number_%d\n%x 20 %d 0\n%x 20 %d 0\n", f*64, f, f*64, f, f*64+32, f+1)
		}
		r.build(r.put(sym.String()))
		var stack []string
		for f := range 100 {
			stack = append(stack, fmt.Sprintf("[0,%d]", f*64*97%640000+5))
		}
		jobs = append(jobs, fmt.Sprintf(`{"memoryMap":[["lib%d.so","%s"]],"stacks":[[%s]]}`, i, id, strings.Join(stack, ",")))
	}
	body := `{"jobs":[` + strings.Join(jobs, ",") + `]}`
	for b.Loop() {
		if status, _ := r.post("/symbolicate/v5", body); status != 200 {
			b.Fatal(status)
		}
	}
}

func TestText(t *testing.T) {
	r := newRig(t)
	r.build(r.put(demoapp))
	for in, want := range map[string]string{
		"": "", "nothing\nhere": "nothing\nhere",
		"#0 demoapp+0x1010\n#1  0x7f DEMOAPP + 0x2004 (x)\nend": "#0 demoapp+0x1010\n    clamp at /src/util.h:5 (inlined)\n    main at /src/main.c:12\n" +
			"#1  0x7f DEMOAPP + 0x2004 (x)\n    _start\nend",
		"none+0x5 demoapp+0x1045": "none+0x5 demoapp+0x1045\n    no name: no symbols for the module were found\n    no name: the module has no symbol there\n",
		` {"memoryMap":[["demoapp","` + demoID + `"]],"stacks":[[[0,4128]]]}`: `{"results":[{"stacks":[[{"frame":0,"module":"demoapp","module_offset":"0x1020","function":"main","function_offset":"0x20","function_size":"0x40",` +
			`"file":"/src/main.c","line":14}]],"found_modules":{"demoapp/` + demoID + `":true}}]}` + "\n",
	} {
		if got, err := r.Text(context.Background(), in); err != nil || got != want {
			t.Errorf("%q: %v\n got %s\nwant %s", in, err, got, want)
		}
	}
	if _, err := r.Text(context.Background(), "{"); !errors.Is(err, errs.Invalid) {
		t.Error(err)
	}
	many := strings.Repeat("a+0x1 ", 20000)
	if got, err := r.Text(context.Background(), many); err != nil || strings.Count(got, "no name") != 10000 {
		t.Errorf("%d, %v", strings.Count(got, "no name"), err)
	}
}
