package collector_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"salvage/config/configtest"
	"salvage/internal/blob"
	"salvage/internal/blob/memblob"
	"salvage/internal/collector"
	"salvage/internal/crash"
	"salvage/internal/httpserver"
	"salvage/metrics/metricstest"
)

var now = time.Date(2026, 8, 18, 12, 0, 0, 0, time.UTC)

// rig is a collector over memory.
type rig struct {
	store  blob.Store
	server *httptest.Server
	rec    *metricstest.Recorder
	free   uint64
}

func newRig(t *testing.T, kv map[string]string) *rig {
	t.Helper()
	r := &rig{store: memblob.New(), free: 1 << 40}
	registry, rec := metricstest.New(t)
	r.rec = rec
	var o collector.Options
	configtest.Load(t, &o, kv)
	c := collector.New(collector.Config{
		Options: o, Store: r.store, Metrics: registry, Now: func() time.Time { return now }, Free: func() (uint64, error) { return r.free, nil },
	})
	r.server = httptest.NewServer(server(t, c))
	t.Cleanup(r.server.Close)
	return r
}

func server(t testing.TB, c *collector.Collector) *httpserver.Server {
	t.Helper()
	var cfg httpserver.Config
	configtest.Load(t, &cfg, nil)
	cfg.Log = slog.New(slog.DiscardHandler)
	s, err := httpserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.Install(s.Handle)
	return s
}

// post sends a body and returns status and answer.
func (r *rig) post(t *testing.T, body io.Reader, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("POST", r.server.URL+"/submit", body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("Content-Type %s", got)
	}
	return res.StatusCode, string(text)
}

// keys lists everything stored.
func (r *rig) keys(t *testing.T) (keys []string) {
	t.Helper()
	for info, err := range r.store.List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func (r *rig) get(t *testing.T, key string) string {
	t.Helper()
	b, _, err := r.store.Get(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	data, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const multipart = "multipart/form-data; boundary=b7e1"

// form makes a body of parts; "\n" in them is a line end of the wire.
func form(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		head, text, _ := strings.Cut(p, "\n\n")
		b.WriteString("--b7e1\r\n" + strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n" + text + "\r\n")
	}
	return b.String() + "--b7e1--\r\n"
}

const (
	product = "Content-Disposition: form-data; name=\"ProductName\"\n\nFenix"
	extra   = "Content-Disposition: form-data; name=\"extra\"\nContent-Type: application/json\n\n{\"ProductName\":\"Fenix\",\"Uptime\":5,\"Email\":\"a@example.org\"}"
	dump    = "Content-Disposition: form-data; name=\"upload_file_minidump\"; filename=\"x.dmp\"\nContent-Type: application/octet-stream\n\nMDMP\r\n\x00\xff--b7e"
)

func zip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

var accepted = regexp.MustCompile(`^CrashID=bp-([0-9a-f-]{29}0260818)\n$`)

func (r *rig) accept(t *testing.T, body string, header ...string) crash.Raw {
	t.Helper()
	code, text := r.post(t, strings.NewReader(body), header...)
	m := accepted.FindStringSubmatch(text)
	if code != 200 || m == nil {
		t.Fatalf("answer %d %q", code, text)
	}
	var raw crash.Raw
	if err := json.Unmarshal([]byte(r.get(t, crash.ID(m[1]).RawKey())), &raw); err != nil {
		t.Fatal(err)
	}
	if raw.ID != crash.ID(m[1]) || !raw.Submitted.Equal(now) {
		t.Errorf("raw crash of %s at %v", raw.ID, raw.Submitted)
	}
	return raw
}

func TestSubmit(t *testing.T) {
	r := newRig(t, map[string]string{"rate": "0"})
	memory := "Content-Disposition: form-data; name=\"memory_report\"; filename=\"m.gz\"\nContent-Type: application/gzip\n\nreport"
	raw := r.accept(t, form(product, dump, memory, "Content-Disposition: form-data; name=Version\n\n85.0"), "Content-Type", multipart, "User-Agent", "demo/1.0")
	if got := r.get(t, raw.ID.DumpKey("upload_file_minidump")); got != "MDMP\r\n\x00\xff--b7e" {
		t.Errorf("dump %q", got)
	}
	if got := r.get(t, raw.ID.DumpKey("memory_report")); got != "report" {
		t.Errorf("memory report %q", got)
	}
	if fmt.Sprint(raw.Annotations) != "map[ProductName:Fenix Version:85.0]" {
		t.Errorf("annotations %v", raw.Annotations)
	}
	m := raw.Metadata
	if m.Payload != "multipart" || m.PayloadCompressed != "0" || m.UserAgent != "demo/1.0" || m.ThrottleRule != "accept_everything" || len(m.DumpChecksums) != 2 ||
		fmt.Sprint(m.CollectorNotes) != "[unknown content type: memory_report application/gzip]" {
		t.Errorf("metadata %+v", m)
	}
	r.rec.Counter("collector.incoming_crash").Times(1)
	r.rec.Counter("collector.throttle").Tags("result:accept").Times(1)
	r.rec.Counter("collector.malformed").Never()
}

// Crashpad sends chunked, the whole body gzipped; Mozilla all annotations in one part.
func TestForms(t *testing.T) {
	r := newRig(t, map[string]string{"rate": "0"})
	for name, body := range map[string]string{"sized": zip(form(extra, dump)), "with junk around": zip("preamble\r\n" + form(extra, dump) + "epilogue")} {
		raw := r.accept(t, body, "Content-Type", multipart, "Content-Encoding", "gzip")
		if fmt.Sprint(raw.Annotations) != "map[ProductName:Fenix Uptime:5]" || raw.Metadata.Payload != "json" || raw.Metadata.PayloadCompressed != "1" ||
			fmt.Sprint(raw.Metadata.CollectorNotes) != "[Removed Email from raw crash.]" || raw.Metadata.PayloadSize != int64(len(body)) {
			t.Errorf("%s: %+v", name, raw)
		}
	}
	code, text := r.post(t, struct{ io.Reader }{strings.NewReader(zip(form(product, dump)))}, "Content-Type", multipart, "Content-Encoding", "gzip")
	if code != 200 || !accepted.MatchString(text) {
		t.Errorf("chunked: %d %q", code, text)
	}
	raw := r.accept(t, form(product, extra, "Content-Disposition: form-data; name=\"Uptime\"\n\n7", dump, dump), "Content-Type", "multipart/mixed; boundary=\"b7e1\"")
	if fmt.Sprint(raw.Annotations) != "map[ProductName:Fenix Uptime:7]" ||
		!strings.Contains(fmt.Sprint(raw.Metadata.CollectorNotes), "both json-encoded extra and formdata parts") {
		t.Errorf("JSON and text: %+v", raw)
	}
	raw = r.accept(t, form(product, "Content-Disposition: form-data; name=\"Bad\"\n\n\xff\xfe", "Content-Disposition: form-data; name=\"Latin\"\nContent-Type: text/plain; charset=iso-8859-1\n\n\xe9",
		"Content-Disposition: form-data; name=\"Odd\"\nContent-Type: text/plain; charset=klingon\n\nx", "Content-Disposition: form-data\n\nnameless"), "Content-Type", multipart)
	if fmt.Sprint(raw.Annotations) != "map[Latin:é ProductName:Fenix]" || len(raw.Metadata.CollectorNotes) != 2 {
		t.Errorf("charsets: %+v", raw)
	}
	for _, key := range r.keys(t) {
		if strings.Contains(r.get(t, key), "a@example.org") {
			t.Errorf("%s has the Email", key)
		}
	}
}

func TestMalformed(t *testing.T) {
	r := newRig(t, map[string]string{"rate": "0"})
	good := form(product, dump)
	for _, tt := range []struct {
		reason, body string
		header       []string
	}{
		{"no_content_type", good, nil},
		{"wrong_content_type", good, []string{"Content-Type", "text/plain; boundary=b7e1"}},
		{"wrong_content_type", good, []string{"Content-Type", "Multipart/form-data; boundary=b7e1"}},
		{"no_boundary", good, []string{"Content-Type", "multipart/form-data"}},
		{"no_boundary", good, []string{"Content-Type", "multipart/form-data; charset=x; boundary=b7e1"}},
		{"no_boundary", good, []string{"Content-Type", "multipart/form-data; boundary="}},
		{"no_content_length", "", []string{"Content-Type", multipart}},
		{"bad_gzip", good, []string{"Content-Type", multipart, "Content-Encoding", "gzip"}},
		{"bad_gzip", zip(good)[:60], []string{"Content-Type", multipart, "Content-Encoding", "gzip"}},
		{"bad_gzip", zip(good)[:len(zip(good))-3], []string{"Content-Type", multipart, "Content-Encoding", "gzip"}},
		{"invalid_payload_structure", "hello", []string{"Content-Type", multipart}},
		{"invalid_payload_structure", good[:60], []string{"Content-Type", multipart}},
		{"invalid_payload_structure", form("Content-Disposition: form-data; name=\"a\"\nContent-Transfer-Encoding: base64\n\naGk="), []string{"Content-Type", multipart}},
		{"invalid_json", form("Content-Disposition: form-data; name=\"extra\"\nContent-Type: application/json\n\n{"), []string{"Content-Type", multipart}},
		{"invalid_json", form("Content-Disposition: form-data; name=\"extra\"\nContent-Type: application/json\n\n{\"a\":\"\xff\"}"), []string{"Content-Type", multipart}},
		{"invalid_json", form("Content-Disposition: form-data; name=\"extra\"\nContent-Type: application/json\n\n{} {}"), []string{"Content-Type", multipart}},
		{"invalid_json_value", form("Content-Disposition: form-data; name=\"extra\"\nContent-Type: application/json\n\n[1]"), []string{"Content-Type", multipart}},
		{"invalid_dump_name", form(product, strings.Replace(dump, "upload_file_minidump", "raw-_crash", 1)), []string{"Content-Type", multipart}},
		{"no_annotations", form(dump), []string{"Content-Type", multipart}},
	} {
		code, text := r.post(t, strings.NewReader(tt.body), tt.header...)
		if code != 400 || text != "Discarded=malformed_"+tt.reason {
			t.Errorf("want %s, got %d %q", tt.reason, code, text)
		}
	}
	code, text := r.post(t, strings.NewReader(form(product, "Content-Disposition: form-data; name=\"uuid\"\n\nx", dump)), "Content-Type", multipart)
	if code != 401 || text != "Discarded=unauthorized_uuid" {
		t.Errorf("a uuid of its own: %d %q", code, text)
	}
	if keys := r.keys(t); len(keys) > 0 {
		t.Errorf("something of it was kept: %v", keys)
	}
	r.rec.Counter("collector.incoming_crash").Times(1)
	r.rec.Counter("collector.malformed").Tags("reason:bad_gzip").Times(3)
}

func TestLimits(t *testing.T) {
	r := newRig(t, map[string]string{"max_body": "200000", "max_inflated": "3000000", "max_inflation": "20", "max_annotations": "1000", "max_parts": "5", "reserve": "1GiB", "rate": "0"})
	big := "Content-Disposition: form-data; name=\"upload_file_minidump\"; filename=\"x\"\nContent-Type: application/octet-stream\n\n"
	for name, body := range map[string]string{
		"annotations": form("Content-Disposition: form-data; name=\"a\"\n\n" + strings.Repeat("x", 1001)),
		"parts":       form(product, product, product, product, product, product),
		"body":        form(product, big+strings.Repeat("x", 200000)),
	} {
		if code, text := r.post(t, strings.NewReader(body), "Content-Type", multipart); code != 413 || !strings.Contains(text, "limit") && !strings.Contains(text, "More than") {
			t.Errorf("%s: %d %q", name, code, text)
		}
	}
	for name, n := range map[string]int{"ratio": 2_500_000, "inflated": 200_000_000} {
		if code, text := r.post(t, strings.NewReader(zip(form(product, big+strings.Repeat("\x00", n)))), "Content-Type", multipart, "Content-Encoding", "gzip"); code != 413 {
			t.Errorf("%s: %d %q", name, code, text)
		}
	}
	if code, _ := r.post(t, strings.NewReader(form(product, product, product, product, dump)), "Content-Type", multipart); code != 200 {
		t.Errorf("at the limit: %d", code)
	}
	r.free = 1<<30 - 1
	if code, text := r.post(t, strings.NewReader(form(product)), "Content-Type", multipart); code != 503 || !strings.Contains(text, "1024 MB") {
		t.Errorf("without space: %d %q", code, text)
	}
	r.rec.Counter("collector.refused").Times(1)
	if keys := r.keys(t); len(keys) != 2 {
		t.Errorf("kept: %v", keys)
	}
}

// A client that goes away leaves nothing.
func TestBrokenConnection(t *testing.T) {
	r := newRig(t, map[string]string{"rate": "0"})
	body, w := io.Pipe()
	go func() {
		io.WriteString(w, form(product, dump)[:150])
		w.CloseWithError(errors.New("gone"))
	}()
	req, _ := http.NewRequest("POST", r.server.URL+"/submit", body)
	req.Header.Set("Content-Type", multipart)
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Errorf("answer %d", res.StatusCode)
	}
	r.server.Close() // waits for the handler
	if keys := r.keys(t); len(keys) > 0 {
		t.Errorf("kept: %v", keys)
	}
}

func FuzzSubmit(f *testing.F) {
	f.Add([]byte(form(product, extra, dump)), multipart, "")
	f.Add([]byte(zip(form(product, dump))), "multipart/mixed; boundary=\"b7e1\"", "gzip")
	var o collector.Options
	f.Fuzz(func(t *testing.T, body []byte, contentType, encoding string) {
		configtest.Load(t, &o, map[string]string{"max_body": "1MiB", "max_inflated": "2MiB", "rate": "0"})
		store := memblob.New()
		c := collector.New(collector.Config{Options: o, Store: store, Now: func() time.Time { return now }})
		s := server(t, c)
		req := httptest.NewRequest("POST", "/submit", bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Content-Encoding", encoding)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		stored := 0
		for range store.List(context.Background(), "", "") {
			stored++
		}
		if ok := strings.HasPrefix(w.Body.String(), "CrashID=bp-"); ok != (w.Code == 200) || ok != (stored > 0) {
			t.Errorf("%d %q, %d objects stored", w.Code, w.Body, stored)
		}
	})
}
