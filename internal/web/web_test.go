package web_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"salvage/config"
	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/blob/memblob"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/crashindex/memindex"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/internal/metadb"
	"salvage/internal/processor"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/internal/web"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// rig is the pages behind the server's middleware, over stores in memory.
type rig struct {
	*testing.T
	config web.Config
	web    *web.Web
	server *httpserver.Server
	admin  string // a token
	ids    int
}

func newRig(t *testing.T, change func(*web.Config)) *rig {
	t.Helper()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	db, err := sqldb.Open(ctx, "sqlite::memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	clock := func() time.Time { return now }
	tokens := access.New(db, clock, log)
	t.Cleanup(tokens.Close)
	q, err := queue.New(ctx, queue.Config{DB: db, Now: clock, Log: log, Attempts: 1}, true)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, config: web.Config{
		Index: memindex.New(), Store: memblob.New(), DB: db, Queue: q, Gate: &access.Gate{Store: tokens, Loopback: true}, Log: log, Now: clock,
		Walk: func(_ context.Context, dump []byte) (map[string]any, error) {
			if string(dump) == "bad" {
				return nil, errs.Public(errs.Corrupt, "This is no minidump.")
			}
			return decode(t, walkJSON(t)), nil
		},
		Symbolicate: func(_ context.Context, text string) (string, error) {
			if text == "bad" {
				return "", errs.Public(errs.Invalid, "There is nothing to symbolicate.")
			}
			return "answer: " + text, nil
		},
	}}
	if change != nil {
		change(&r.config)
	}
	_, r.admin, err = tokens.Create(ctx, "ops", access.Admin, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if r.web, err = web.New(r.config); err != nil {
		t.Fatal(err)
	}
	c := httpserver.Config{Log: log}
	if _, err := config.Load(&c, config.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if r.server, err = httpserver.New(c); err != nil {
		t.Fatal(err)
	}
	r.web.Install(r.server.Handle)
	return r
}

func walkJSON(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/linux_inline.json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decode(t testing.TB, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

// response of the pages.
type response struct {
	*http.Response
	body string
}

// do sends a request of 127.0.0.1; headers are "Name: value".
func (r *rig) do(method, target string, body io.Reader, headers ...string) response {
	r.Helper()
	req := httptest.NewRequestWithContext(r.Context(), method, target, body)
	req.Host, req.RemoteAddr = "127.0.0.1:8080", netip.MustParseAddrPort("127.0.0.1:5000").String()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	w := httptest.NewRecorder()
	r.server.ServeHTTP(w, req)
	return response{w.Result(), w.Body.String()}
}

func (r *rig) get(target string, headers ...string) response {
	r.Helper()
	return r.do("GET", target, nil, headers...)
}

func (r *rig) post(target string, form url.Values, headers ...string) response {
	r.Helper()
	return r.do("POST", target, strings.NewReader(form.Encode()), append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)...)
}

// asAdmin is the header of somebody who may do everything.
func (r *rig) asAdmin() string { return "Auth-Token: " + r.admin }

// want checks a status and what the body has.
func (p response) want(t *testing.T, status int, parts ...string) response {
	t.Helper()
	if p.StatusCode != status {
		t.Errorf("status %d, want %d\n%.600s", p.StatusCode, status, p.body)
	}
	for _, part := range parts {
		if !strings.Contains(p.body, part) {
			t.Errorf("the page does not have %q\n%.3000s", part, p.body)
		}
	}
	return p
}

func (p response) without(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if i := strings.Index(p.body, part); i >= 0 {
			t.Errorf("the page has %q: …%s…", part, p.body[max(0, i-100):min(len(p.body), i+100)])
		}
	}
}

// newID makes ids that are the same in every run.
func (r *rig) newID(at time.Time) crash.ID {
	r.ids++
	return crash.ID(fmt.Sprintf("%08x-0000-4000-8000-000000%s", r.ids, at.Format("060102")))
}

// put stores v as JSON.
func (r *rig) put(key string, v any) {
	r.Helper()
	data, err := crash.Marshal(v)
	if err != nil {
		r.Fatal(err)
	}
	if err := blob.Put(r.Context(), r.config.Store, key, bytes.NewReader(data)); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) putRaw(id crash.ID, annotations map[string]any) {
	r.Helper()
	r.put(id.RawKey(), &crash.Raw{ID: id, Submitted: now, Annotations: annotations, Metadata: crash.Metadata{CollectorNotes: []string{}, UserAgent: "curl"}})
}

// putProcessed stores doc split by who may read it.
func (r *rig) putProcessed(id crash.ID, doc map[string]any) {
	r.Helper()
	p, err := crash.Split(doc)
	if err != nil {
		r.Fatal(err)
	}
	r.put(id.ProcessedKey(), p)
}

// doc is a processed crash as the processor makes it, of a recorded walk.
func (r *rig) doc(id crash.ID) map[string]any {
	r.Helper()
	return map[string]any{
		"crash_id": string(id), "uuid": string(id), "product": "CrashApp", "version": "1.0", "build": "20261124062100", "release_channel": "release",
		"signature": "func | bar | foo | main", "reason": "SIGILL / ILL_ILLOPN", "address": "0x00000000002161b6", "date_processed": "2026-11-24T06:21:07.000000+00:00",
		"submitted_timestamp": "2026-11-24T06:21:07.000000+00:00", "os_pretty_version": "Debian 11", "os_version": "5.10.28", "cpu_arch": "amd64", "cpu_count": 72,
		"uptime": 4, "process_type": "parent", "json_dump": decode(r, walkJSON(r)), "success": true, "mdsw_status_string": "OK",
		"processor_notes": ">>> Start processing: 2026-11-24T06:21:09Z (salvage dev)", "processor_history": []string{">>> Start processing: 2026-11-23T06:21:09Z (salvage dev)"},
		"signature_steps":    []any{map[string]any{"rule": "SignatureGenerationRule", "frame": 0, "inline": true, "name": "func", "verdict": "prefix", "pattern": "func"}, map[string]any{"rule": "X", "before": "a", "after": "b"}},
		"user_comments":      "it broke when I opened my letter",
		"url":                "https://bank.example/account/7",
		"collector_metadata": map[string]any{"user_agent": "curl/8"},
		"moz_crash_reason":   "assertion failed: cart.len() > 0",
		"crash_time":         1796104867, // 2026-12-01 06:01:07
		"breadcrumbs": []any{
			map[string]any{"timestamp": "2026-12-01T05:58:01", "message": "", "category": "route", "type": "Navigation", "level": "Info", "data": map[string]any{"to": "/cart", "from": "/<shop>"}},
			map[string]any{"timestamp": 1796104866.5, "message": "cart is empty", "category": "cart", "level": "Error"},
			map[string]any{"timestamp": "2026-12-01T06:00:01Z", "message": "GET", "category": "http", "type": "Http", "level": "Warning", "data": map[string]any{"status": 503}},
		},
	}
}

// javaException is an exception that another one led to, each with a message.
func javaException(message any) map[string]any {
	frame := func(module, function string, line int, file string) map[string]any {
		return map[string]any{"module": module, "function": function, "in_app": line > 0, "lineno": line, "filename": file}
	}
	root := map[string]any{"module": "java.lang", "type": "NullPointerException", "frames": []any{frame("org.demo.Store", "load", 41, "Store.kt"), frame("jdk.Method", "invoke0", -2, "Method.java")}}
	outer := map[string]any{"module": "org.demo", "type": "Failed<T>", "frames": []any{frame("org.demo.App", "start", 14, "App.kt")},
		"suppressed": []any{map[string]any{"values": []any{map[string]any{"stacktrace": map[string]any{"module": "a", "type": "Closed"}}}}}}
	if message != nil {
		root["value"], outer["value"] = message, message
	}
	return map[string]any{"exception": map[string]any{"values": []any{map[string]any{"stacktrace": root}, map[string]any{"stacktrace": outer}}}}
}

// index adds a crash to the index.
func (r *rig) index(id crash.ID, at time.Time, values map[string]string) {
	r.Helper()
	d := crashindex.Doc{ID: id, Submitted: at, Values: map[string]crashindex.Value{}}
	for name, v := range values {
		d.Values[name] = crashindex.Text(v)
	}
	if err := r.config.Index.Put(r.Context(), []crashindex.Doc{d}); err != nil {
		r.Fatal(err)
	}
}

// demo fills the stores as weeks of use would, and returns the id of a crash with everything.
func (r *rig) demo() crash.ID {
	r.Helper()
	crashes := []struct {
		product, version, signature, reason, platform string
		weight                                        func(day int) int // crashes, by days ago
	}{
		{"CrashApp", "1.0", "func | bar | foo | main", "SIGILL / ILL_ILLOPN", "Debian 11", func(d int) int { return max(0, 14-2*d) }},
		{"CrashApp", "0.9", "mozalloc_abort | std::__throw_bad_alloc | Decoder<std::vector<unsigned char>>::grow", "EXCEPTION_BREAKPOINT", "Windows 11", func(d int) int { return 5 + d*7%4 }},
		{"Shop", "3.1", "java.util.NoSuchElementException: at org.shop.cart.Repo.find", "", "Android 15", func(d int) int { return 3 + d*5%3 }},
		{"CrashApp", "1.0", "libfoo.so@0x2dd1 | libfoo.so@0x31a0", "SIGSEGV / SEGV_MAPERR", "Debian 11", func(d int) int { return d % 3 }},
	}
	var first crash.ID
	for i, c := range crashes {
		for d := range 28 {
			for k := range c.weight(d) {
				at := now.AddDate(0, 0, -d).Add(-time.Duration(i*13+k*29+7) * time.Minute)
				id := r.newID(at)
				if first == "" {
					first = id
				}
				r.index(id, at, map[string]string{"product": c.product, "version": c.version, "signature": c.signature, "reason": c.reason, "platform": "Linux", "platform_pretty_version": c.platform})
			}
		}
	}
	r.putRaw(first, map[string]any{
		"ProductName": "CrashApp", "Version": "1.0", "BuildID": "20261124062100", "ReleaseChannel": "release", "Comments": "it broke when I opened my letter",
		"URL": "https://bank.example/account/7", "Winsock_LSP": "a long list\nof providers", "my-own-key": "protected since unknown", "Breadcrumbs": "[]", "TotalPhysicalMemory": "33554432",
	})
	doc := r.doc(first)
	doc["total_physical_memory"] = 33554432
	r.putProcessed(first, doc)
	err := r.config.DB.Tx(r.Context(), func(tx *sql.Tx) error {
		for i, f := range []metadb.Symbol{
			{DebugFile: "linux_inline", DebugID: "BBA6FA10B8AAB33D00000000000000000", Name: "linux_inline.dbg", Format: "elf", Arch: "amd64", SymRank: metadb.Best, CfiRank: metadb.Fair, Size: 3 << 20, Uploader: "build machine"},
			{DebugFile: "crash_app.pdb", DebugID: "5A9832E5287241C1838ED98914E9B7FF1", CodeFile: "crash_app.exe", CodeID: "5A9832E54000", Name: "crash_app.sym", Format: "breakpad", Arch: "x86", SymRank: metadb.Fair, CfiRank: metadb.Poor, Size: 812_345},
			{DebugFile: "libc.so.6", DebugID: "03249E25E469D3A3D7D5C64107C6E7B00", Name: "libc.so.6", Format: "elf", Arch: "amd64", SymRank: metadb.Poor, CfiRank: metadb.Best, Size: 1 << 30},
		} {
			f.Key, f.Uploaded = fmt.Sprint("v1/", f.DebugFile, "/", f.DebugID, "/", f.Name), now.Add(-time.Duration(i)*time.Hour)
			if err := metadb.PutSymbol(r.Context(), tx, &f); err != nil {
				return err
			}
		}
		for _, id := range []string{"a", "b", "c"} {
			missing := []metadb.Missing{{DebugID: "178755DD8CAF0765454517F01B557DA20", Kind: metadb.Symcache, DebugFile: "libstdc++.so.6", CodeID: "dd558717af8c6507454517f01b557da2"}}
			if id != "c" {
				missing = append(missing, metadb.Missing{DebugID: "12419DF23C487B3BBA03DE3509113BB20", Kind: metadb.Symcache, DebugFile: "ld-linux-x86-64.so.2"})
			}
			if _, err := metadb.SetMissing(r.Context(), tx, id, missing); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	return first
}

// waiting returns a crash that is not processed yet, with a job if state is not empty: waiting, running, again or
// parked.
func (r *rig) waiting(state string) crash.ID {
	r.Helper()
	id := r.newID(now)
	r.putRaw(id, map[string]any{"ProductName": "CrashApp"})
	if state == "" {
		return id
	}
	if err := r.config.Queue.Add(r.Context(), processor.Job, queue.Now, string(id)); err != nil {
		r.Fatal(err)
	}
	if state != "waiting" {
		set := map[string]string{"parked": "parked = $1, attempts = 5", "running": "owner = 'x', due = $1", "again": "due = $1 + 60000, attempts = 1"}[state]
		err := r.config.DB.Tx(r.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec("UPDATE jobs SET reason = 'the dump of SECRETUSER is damaged', "+set+" WHERE key = $2", now.UnixMilli(), string(id))
			return err
		})
		if err != nil {
			r.Fatal(err)
		}
	}
	return id
}
