package processor_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"salvage/config"
	"salvage/config/configtest"
	"salvage/debug/minidump/minidumptest"
	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/blob/memblob"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/crashindex/memindex"
	"salvage/internal/debugtest"
	"salvage/internal/diskcache"
	"salvage/internal/errs"
	"salvage/internal/processor"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/internal/symbolicator"
	"salvage/internal/symstore"
	"salvage/metrics"
)

// rig is a processor over a store in memory.
type rig struct {
	*processor.Processor
	t     *testing.T
	now   time.Time
	token string // may do everything
	mux   http.ServeMux
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx := t.Context()
	db, err := sqldb.Open(ctx, "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	r := &rig{t: t, now: time.Date(2026, 8, 18, 12, 0, 0, 0, time.UTC)}
	now := func() time.Time { return r.now }
	log, registry := slog.New(slog.DiscardHandler), metrics.New("test")
	tokens := access.New(db, now, log)
	t.Cleanup(tokens.Close)
	if r.token, _, err = tokens.EnsureAdmin(ctx, ""); err != nil {
		t.Fatal(err)
	}
	q, err := queue.New(ctx, queue.Config{DB: db, Now: now, Log: log, Metrics: registry}, true)
	if err != nil {
		t.Fatal(err)
	}
	store, gate := memblob.New(), &access.Gate{Store: tokens, PublicRead: true}
	symbols, err := symstore.New(symstore.Config{
		Options: defaults[symstore.Options](t), Blobs: store, DB: db, Queue: q, Gate: gate, Scratch: t.TempDir(), Metrics: registry, Log: log, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	names, err := symbolicator.New(symbolicator.Config{
		Options: defaults[symbolicator.Options](t), Store: symbols, Cache: defaults[diskcache.Options](t), Dir: t.TempDir(), Metrics: registry, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	r.Processor = processor.New(processor.Config{
		Options: defaults[processor.Options](t), Store: store, DB: db, Queue: q, Gate: gate, Symbols: names, Index: memindex.New(),
		Scratch: t.TempDir(), Metrics: registry, Log: log, Now: now, Version: "test",
	})
	r.Install(r.mux.Handle)
	return r
}

// defaults returns options as nobody set them.
func defaults[T any, P interface {
	*T
	config.Component
}](t *testing.T) (o T) {
	configtest.Load(t, P(&o), nil)
	return o
}

var id = crash.ID("6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818")

func (r *rig) put(key string, data []byte) {
	r.t.Helper()
	if err := blob.Put(r.t.Context(), r.Store, key, bytes.NewReader(data)); err != nil {
		r.t.Fatal(err)
	}
}

// accept stores a crash as the collector does.
func (r *rig) accept(id crash.ID, annotations map[string]any, dumps map[string][]byte) {
	r.t.Helper()
	raw := crash.Raw{ID: id, Submitted: r.now, Annotations: annotations, Metadata: crash.Metadata{DumpChecksums: map[string]string{}}}
	for name, dump := range dumps {
		raw.Metadata.DumpChecksums[name] = "sum of " + name
		if dump != nil {
			r.put(id.DumpKey(name), dump)
		}
	}
	text, err := json.Marshal(&raw)
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(id.RawKey(), text)
}

// process processes a crash and returns what a reader sees.
func (r *rig) process(id crash.ID, protected bool) map[string]any {
	r.t.Helper()
	if err := r.Process(r.t.Context(), id); err != nil {
		r.t.Fatal(err)
	}
	header := ""
	if protected {
		header = r.token
	}
	status, doc := r.get("/api/ProcessedCrash/?crash_id="+string(id), header)
	if status != 200 {
		r.t.Fatalf("%d %v", status, doc)
	}
	return doc.(map[string]any)
}

func (r *rig) do(method, target, token string, form url.Values) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		req.Header.Set("Auth-Token", token)
	}
	w := httptest.NewRecorder()
	r.mux.ServeHTTP(w, req)
	return w
}

func (r *rig) get(target, token string) (status int, doc any) {
	r.t.Helper()
	w := r.do("GET", target, token, nil)
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		r.t.Fatalf("%s: %v: %s", target, err, w.Body)
	}
	return w.Code, doc
}

// dump is a crash of a process with one module, made up.
func dump() []byte {
	b := minidumptest.New(false)
	b.Time = 1755500000
	b.System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux})
	return b.Bytes()
}

// gzipped is a dump as some clients send it.
func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

func TestFields(t *testing.T) {
	r := newRig(t)
	r.accept(id, map[string]any{
		"ProductName": "demo\x00 ", "prod": "other", "ver": "12.3b1", "StartupTime": "1755499000", "CrashTime": "1755499100", "InstallTime": "soon",
		"TotalPhysicalMemory": "much", "URL": "SECRET", "Comments": "SECRET", "unknown": "SECRET", "MozCrashReason": "byte index SECRET", "Nothing": nil,
		"ptype": "browser", "SecondsSinceLastCrash": "77", "strange key": "x", "OOMAllocationSize": 5, "Notes": map[string]any{"no": "text"}, "BuildID": "2026",
		"Breadcrumbs": `{"values":[{"message":"SECRET"}]}`,
	}, map[string][]byte{crash.MinidumpName: gzipped(dump()), "upload_file_minidump_browser": []byte("MDMP SECRET")})
	public, all := r.process(id, false), r.process(id, true)
	if text, _ := json.Marshal(public); bytes.Contains(text, []byte("SECRET")) {
		t.Errorf("the public sees %s", text)
	}
	for field, want := range map[string]any{
		"product": "demo", "version": "12.3b1", "major_version": 12.0, "process_type": "parent", "uptime": 100.0, "install_age": 100.0, "crash_time": 1755499100.0,
		"client_crash_date": "2025-08-18 06:38:20", "last_crash": 77.0, "oom_allocation_size": 5.0, "build": "2026", "total_physical_memory": nil, "app_notes": nil,
		"moz_crash_reason": "sanitized--see moz_crash_reason_raw", "moz_crash_reason_raw": "byte index SECRET", "url": "SECRET", "user_comments": "SECRET",
		"crash_id": string(id), "uuid": string(id), "minidump_sha256_hash": "sum of upload_file_minidump", "success": true, "mdsw_status_string": "OK",
		"os_name": "Linux", "cpu_arch": "amd64", "signature": "OOM | small | EMPTY: no frame data available; OK", "unknown": nil,
		"submitted_timestamp": "2026-08-18T12:00:00.000000+00:00",
	} {
		if got := all[field]; got != want {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if got := fmt.Sprint(all["crash_report_keys"]); strings.Contains(got, "strange") || strings.Contains(got, "Nothing") || !strings.Contains(got, "upload_file_minidump_browser") {
		t.Errorf("keys: %s", got)
	}
	if got := fmt.Sprint(all["additional_minidumps"]); got != "[upload_file_minidump_browser]" {
		t.Errorf("other dumps: %s", got)
	}
	if other, _ := all["upload_file_minidump_browser"].(map[string]any); other["mdsw_status_string"] != "UnreadableMinidump" || other["success"] != false || public["upload_file_minidump_browser"] != nil {
		t.Errorf("other dump: %v, public: %v", other, public["upload_file_minidump_browser"])
	}
	notes := all["processor_notes"].(string)
	for _, want := range []string{"TotalPhysicalMemory has a value that is no integer", "Notes has a value that is no string", "non-integer value of \"InstallTime\"", "invalidkeys", "upload_file_minidump_browser: the dump cannot be read"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes lack %q: %s", want, notes)
		}
	}
	if history := all["processor_history"].([]any); len(history) != 1 || !strings.HasPrefix(history[0].(string), ">>> Start processing: 2026-08-18T12:00:00Z (salvage test)\n") {
		t.Errorf("history: %v", history)
	}
}

// TestDumps processes every dump of the fixtures: no rule fails, and the walk is what the stack walker says.
func TestDumps(t *testing.T) {
	root := debugtest.Path(t, ".")
	n := 0
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".dmp" {
			return err
		}
		n++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r := newRig(t)
		r.t = t
		r.accept(id, map[string]any{"ProductName": "demo"}, map[string][]byte{crash.MinidumpName: data})
		doc := r.process(id, true)
		notes, _ := doc["processor_notes"].(string)
		if strings.Contains(notes, "failed") || doc["success"] != true || doc["signature"] == "" {
			t.Errorf("%s: %v %s", path, doc["signature"], notes)
		}
		if doc["mdsw_status_string"] != "OK" {
			return nil
		}
		walk := doc["json_dump"].(map[string]any)
		if strings.Contains(notes, "thread 0 is taken") && doc["crashing_thread"] != nil {
			t.Errorf("%s: the signature does not know the crashing thread", path)
		}
		if fmt.Sprint(doc["crashing_thread"]) != fmt.Sprint(walk["crash_info"].(map[string]any)["crashing_thread"]) || doc["thread_count"] != walk["thread_count"] {
			t.Errorf("%s: crashing thread %v of %v", path, doc["crashing_thread"], doc["thread_count"])
		}
		return nil
	})
	if err != nil || n < 20 {
		t.Errorf("%d dumps, %v", n, err)
	}
}

func TestBadDumps(t *testing.T) {
	for status, data := range map[string][]byte{"EmptyMinidump": {}, "MissingMinidump": nil, "UnreadableMinidump": []byte("PMDM")} {
		r := newRig(t)
		r.accept(id, nil, map[string][]byte{crash.MinidumpName: data})
		doc := r.process(id, false)
		if doc["mdsw_status_string"] != status || !strings.HasSuffix(doc["signature"].(string), "; "+status) || doc["json_dump"] != nil {
			t.Errorf("%s: %v, %v", status, doc["mdsw_status_string"], doc["signature"])
		}
	}
	r := newRig(t)
	r.accept(id, nil, nil)
	if doc := r.process(id, false); !strings.HasPrefix(doc["signature"].(string), "EMPTY") {
		t.Errorf("without a dump: %v", doc["signature"])
	}
}

// TestRuleFails: a rule that panics or fails costs what it fills in; one that may succeed later stops the
// processing, and nothing is written.
func TestRuleFails(t *testing.T) {
	for name, apply := range map[string]func() error{
		"panic": func() error { panic("SECRET") }, "error": func() error { return errors.New("SECRET") },
	} {
		processor.InsertRule(t, name, apply)
		r := newRig(t)
		r.accept(id, map[string]any{"ProductName": "demo"}, nil)
		doc := r.process(id, false)
		if notes := doc["processor_notes"].(string); !strings.Contains(notes, "rule "+name+" failed") || strings.Contains(notes, "SECRET") || doc["product"] != "demo" {
			t.Errorf("%s: %v", name, doc)
		}
	}
	processor.InsertRule(t, "busy", func() error { return errs.Public(errs.Unavailable, "busy") })
	r := newRig(t)
	r.accept(id, nil, nil)
	if err := r.Process(t.Context(), id); !errors.Is(err, errs.Unavailable) {
		t.Error(err)
	}
	if status, _ := r.get("/api/ProcessedCrash/?crash_id="+string(id), ""); status != 404 {
		t.Errorf("status %d", status)
	}
}

func TestJobs(t *testing.T) {
	r := newRig(t)
	configtest.Load(t, &r.Options, map[string]string{"sweep": "0"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	defer func() { cancel(); <-done }()
	r.accept(id, nil, map[string][]byte{crash.MinidumpName: dump()})
	if err := r.Enqueue(ctx, id); err != nil {
		t.Fatal(err)
	}
	gone := crash.ID("00000000-5b7a-4c2d-9e3f-0a1b20260818")
	if err := r.Enqueue(ctx, gone); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		_, err := r.Queue.Get(ctx, processor.Job, string(id))
		j, _ := r.Queue.Get(ctx, processor.Job, string(gone))
		if errors.Is(err, errs.NotFound) && !j.Parked.IsZero() {
			if _, err := r.Store.Stat(ctx, id.ProcessedKey()); err != nil {
				t.Error(err)
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("not done")
}

// TestSweep: crashes without a job or a processed crash are found, once, and days that are over are not read
// again.
func TestSweep(t *testing.T) {
	r := newRig(t)
	on := func(day, n int) crash.ID { return crash.ID(fmt.Sprintf("%08d-5b7a-4c2d-9e3f-0a1b202608%02d", n, day)) }
	sweep := func(want ...crash.ID) {
		t.Helper()
		n, err := r.Sweep(t.Context())
		if err != nil || n != len(want) {
			t.Errorf("%d found, %v, want %v", n, err, want)
		}
		for _, id := range want {
			if _, err := r.Queue.Get(t.Context(), processor.Job, string(id)); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	some := map[string][]byte{crash.MinidumpName: dump()}
	r.accept(on(10, 1), nil, some) // long ago
	r.accept(on(18, 2), nil, some)
	r.accept(on(18, 3), nil, some)
	r.process(on(18, 3), false)
	r.accept(on(18, 4), nil, nil)
	if err := r.Enqueue(t.Context(), on(18, 4)); err != nil {
		t.Fatal(err)
	}
	r.put(crash.DayPrefix("20260818")+"stray/raw_crash", nil)
	r.put(on(18, 5).DumpKey(crash.MinidumpName), dump()) // never accepted
	sweep(on(10, 1), on(18, 2))
	sweep()
	r.accept(on(17, 6), nil, some) // the day was over
	r.accept(on(18, 7), nil, some)
	sweep(on(18, 7))
	r.now = time.Date(2026, 8, 19, 0, 59, 0, 0, time.UTC) // submissions of the 18th may go on
	r.accept(on(18, 8), nil, some)
	sweep(on(18, 8))
	r.accept(on(18, 9), nil, some)
	r.now = r.now.Add(2 * time.Minute)
	sweep(on(18, 9))
	r.accept(on(18, 10), nil, some)
	r.accept(on(19, 11), nil, some)
	sweep(on(19, 11))
}

func TestAPI(t *testing.T) {
	r := newRig(t)
	r.accept(id, map[string]any{"ProductName": "demo", "secret": "SECRET"}, map[string][]byte{crash.MinidumpName: dump(), "memory_report": []byte("zip")})
	q := "?crash_id=" + string(id)
	for _, tt := range []struct {
		target, token string
		status        int
		has           string
	}{
		{"/api/RawCrash/" + q, "", 200, `"ProductName":"demo"`},
		{"/api/RawCrash/?crash_id=bp-" + string(id), r.token, 200, "SECRET"},
		{"/api/RawCrash/" + q + "&format=meta", "wrong-token-of-nobody", 403, "not known"},
		{"/api/RawCrash/" + q + "&format=raw", "", 403, "view_protected"},
		{"/api/RawCrash/" + q + "&format=raw", r.token, 200, "MDMP"},
		{"/api/RawCrash/" + q + "&format=raw&name=dump", r.token, 200, "MDMP"},
		{"/api/RawCrash/" + q + "&format=raw&name=memory_report", r.token, 200, "zip"},
		{"/api/RawCrash/" + q + "&format=raw&name=../raw_crash", r.token, 404, "CrashIDNotFound"},
		{"/api/RawCrash/" + q + "&format=xml", "", 400, "xml"},
		{"/api/RawCrash/?crash_id=" + string(id[:35]) + "7", "", 404, "Not found: CrashIDNotFound"},
		{"/api/RawCrash/", "", 400, "is not a crash id"},
		{"/api/ProcessedCrash/" + q, "", 404, "Not found: CrashIDNotFound"},
		{"/api/Nothing/", "", 404, "No service called 'Nothing'"},
		{"/api/ProcessedCrash/?crash_id=x", "", 400, "is not a crash id"},
	} {
		w := r.do("GET", tt.target, tt.token, nil)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.has) || tt.token == "" && strings.Contains(w.Body.String(), "SECRET") {
			t.Errorf("%s: %d %s", tt.target, w.Code, w.Body)
		}
	}
	if w := r.do("GET", "/api/RawCrash/"+q+"&format=raw&name=memory_report", r.token, nil); w.Header().Get("Content-Disposition") != `attachment; filename="`+string(id)+`-memory_report.dmp"` {
		t.Errorf("%v", w.Header())
	}
	post := func(token string, ids ...string) string {
		w := r.do("POST", "/api/Reprocessing/", token, url.Values{"crash_ids": ids})
		return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
	}
	queued := func() bool {
		_, err := r.Queue.Get(t.Context(), processor.Job, string(id))
		return err == nil
	}
	for _, tt := range []struct{ got, want string }{
		{post("", string(id)), "403"}, {post(r.token), "400"}, {post(r.token, slices.Repeat([]string{string(id)}, 1001)...), "400"},
		{post(r.token, string(id), "nonsense"), "400"}, {post(r.token, string(id)+":best"), "400"}, {post(r.token, string(id[:35])+"7"), "404"},
	} {
		if !strings.HasPrefix(tt.got, tt.want) || queued() {
			t.Errorf("%s, want %s; queued: %v", tt.got, tt.want, queued())
		}
	}
	if got := post(r.token, "bp-"+string(id)+":default"); got != "200 null" || !queued() {
		t.Errorf("%s; queued: %v", got, queued())
	}
}

// TestLostWakeUp: symbols that become ready between the walk that lacked them and the row that says so are
// not missed.
func TestLostWakeUp(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	image, err := os.ReadFile(app)
	if err != nil {
		t.Fatal(err)
	}
	dump, _ := debugtest.Crash(t, app, "inline")
	r := newRig(t)
	ctx := t.Context()
	symbols := r.Symbols.Store
	arrive := func(string) {}
	r.Failpoint = func(step string) { arrive(step) }
	arrive = func(step string) {
		if step != "missing" {
			return
		}
		arrive = func(string) {}
		res, err := symbols.Put(ctx, bytes.NewReader(image), symstore.PutInfo{Name: "crashapp"})
		if err == nil {
			err = symbols.Build(ctx, res.DebugID)
		}
		if err != nil {
			t.Error(err)
		}
	}
	r.accept(id, nil, map[string][]byte{crash.MinidumpName: dump})
	if doc := r.process(id, false); !strings.HasPrefix(doc["signature"].(string), "crashapp@0x") {
		t.Errorf("before: %v", doc["signature"])
	}
	if _, err := r.Queue.Get(ctx, processor.Job, string(id)); err != nil {
		t.Fatalf("the crash waits for what is there: %v", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	for range 1000 {
		if _, err := r.Queue.Get(t.Context(), processor.Job, string(id)); errors.Is(err, errs.NotFound) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	<-done
	_, doc := r.get("/api/ProcessedCrash/?crash_id="+string(id), "")
	if got := doc.(map[string]any)["signature"]; got != "shapes::Deref" {
		t.Errorf("after: %v", got)
	}
	res, err := r.Index.Search(t.Context(), crashindex.Query{Limit: 10, Columns: []string{"signature"}})
	if err != nil || res.Total != 1 || res.Hits[0].ID != id || res.Hits[0].Values[0].Text != "shapes::Deref" {
		t.Errorf("index: %+v, %v", res, err)
	}
}
