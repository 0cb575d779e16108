package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"salvage/config"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/metrics"
	"salvage/metrics/metricstest"
)

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(start) > 5*time.Second {
			buf := make([]byte, 1<<16)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
			break
		}
	}
	os.Exit(code)
}

// logs collects log lines, without times.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// requests returns the lines of requests.
func (l *logs) requests() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, `"msg":"request"`) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func (l *logs) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type rig struct {
	*httpserver.Server
	t    *testing.T
	logs *logs
	rec  *metricstest.Recorder
}

// newRig returns a server with default options that may be changed first.
func newRig(t *testing.T, change func(*httpserver.Config)) *rig {
	t.Helper()
	var c httpserver.Config
	if _, err := config.Load(&c, config.LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	l := &logs{}
	c.Addr = "127.0.0.1:0"
	c.Log = slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	var rec *metricstest.Recorder
	c.Metrics, rec = metricstest.New(t)
	c.JSONPaths = []string{"/api/"}
	if change != nil {
		change(&c)
	}
	s, err := httpserver.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{s, t, l, rec}
}

// run starts the server for the length of the test and returns its URL.
func (g *rig) run() string {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	g.t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			g.t.Errorf("Run = %v", err)
		}
	})
	return "http://" + g.Addr()
}

// do sends a request with headers as "Name: value" and returns the answer with its body.
func do(t *testing.T, method, url string, body io.Reader, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func check(t *testing.T, resp *http.Response, body string, status int, want string) {
	t.Helper()
	if resp.StatusCode != status || !strings.Contains(body, want) {
		t.Errorf("status %d, want %d; body %q, want %q in it", resp.StatusCode, status, body, want)
	}
}

func hello(w http.ResponseWriter, r *http.Request) error {
	_, err := io.WriteString(w, "hello")
	return err
}

func failing(err error) httpserver.Func {
	return func(http.ResponseWriter, *http.Request) error { return err }
}

// readFirst reads the body before it answers.
func readFirst(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	fmt.Fprint(w, len(b))
	return nil
}

func TestMiddlewareOrder(t *testing.T) {
	want := []string{"request id", "log", "recover", "metrics", "security headers", "cross-origin protection", "limits", "auth"}
	if got := httpserver.LayerNames(); !slices.Equal(got, want) {
		t.Errorf("layers %q, want %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	g := newRig(t, nil)
	secret := errors.New("dial 10.0.0.7: <secret>")
	g.Handle("GET /api/internal", httpserver.JSON(failing(secret)))
	g.Handle("GET /page", httpserver.HTML(failing(errs.Public(errs.NotFound, "No crash <%s>.", "x"))))
	g.Handle("GET /raw", httpserver.Raw(failing(errs.Unavailable)))
	g.Handle("GET /stale", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Content-Encoding", "gzip")
		return errs.Corrupt
	}))
	url := g.run()

	resp, body := do(t, "GET", url+"/api/internal", nil, "X-Request-Id: abc-1")
	check(t, resp, body, 500, "")
	if want := `{"error":"Something went wrong.","request_id":"abc-1"}` + "\n"; body != want {
		t.Errorf("body %q, want %q", body, want)
	}
	resp, body = do(t, "GET", url+"/page", nil, "X-Request-Id: abc-2")
	check(t, resp, body, 404, "<h1>No crash &lt;x&gt;.</h1>")
	check(t, resp, body, 404, "abc-2")
	resp, body = do(t, "GET", url+"/raw", nil)
	check(t, resp, body, 503, "This is not available right now; try again.\n")
	if got := resp.Header.Get("Retry-After"); got != "10" {
		t.Errorf("Retry-After %q, want 10", got)
	}
	resp, body = do(t, "GET", url+"/stale", nil)
	check(t, resp, body, 422, "damaged")
	if h := resp.Header; h.Get("Cache-Control") != "no-store" || h.Get("Content-Encoding") != "" || !strings.HasPrefix(h.Get("Content-Type"), "text/plain") {
		t.Errorf("headers of the answer that was not given: %v", h)
	}

	var levels []string
	for _, line := range g.logs.requests() {
		levels = append(levels, regexp.MustCompile(`"level":"(\w+)"`).FindStringSubmatch(line)[1])
	}
	if want := []string{"ERROR", "INFO", "WARN", "INFO"}; !slices.Equal(levels, want) {
		t.Errorf("levels %v, want %v", levels, want)
	}
	if n := strings.Count(g.logs.all(), "10.0.0.7"); n != 1 {
		t.Errorf("the internal error is logged %d times", n)
	}
}

func TestUnknownRoutes(t *testing.T) {
	g := newRig(t, nil)
	g.Handle("POST /api/thing", httpserver.JSON(hello))
	g.Handle("/sub/", httpserver.HTML(hello))
	url := g.run()
	for _, tt := range []struct {
		method, path string
		status       int
		contentType  string
		body         string
	}{
		{"GET", "/api/nothing", 404, "application/json; charset=utf-8", `{"error":"There is nothing here."`},
		{"GET", "/nothing/<b>", 404, "text/html; charset=utf-8", "<h1>There is nothing here.</h1>"},
		{"GET", "/api/thing", 405, "application/json; charset=utf-8", `{"error":"This does not take GET, only POST."`},
		{"GET", "/sub", 200, "text/plain; charset=utf-8", "hello"}, // after a redirect
	} {
		resp, body := do(t, tt.method, url+tt.path, nil)
		check(t, resp, body, tt.status, tt.body)
		if got := resp.Header.Get("Content-Type"); got != tt.contentType {
			t.Errorf("%s: content type %q, want %q", tt.path, got, tt.contentType)
		}
		if got := resp.Header.Get("Allow"); tt.status == 405 && got != "POST" {
			t.Errorf("%s: Allow %q", tt.path, got)
		}
	}
	g.rec.Counter("http.requests").Tags("route:none", "status:4xx").Value(3)
}

func TestHead(t *testing.T) {
	g := newRig(t, nil)
	g.Handle("GET /x", httpserver.Raw(hello))
	g.Handle("GET /api/x", httpserver.JSON(failing(errs.NotFound)))
	url := g.run()
	for path, want := range map[string]int{"/x": 200, "/api/x": 404, "/none": 404, "/__lbheartbeat__": 200} {
		resp, body := do(t, "HEAD", url+path, nil)
		if resp.StatusCode != want || body != "" {
			t.Errorf("HEAD %s = %d %q, want %d", path, resp.StatusCode, body, want)
		}
	}
}

func TestRequestID(t *testing.T) {
	g := newRig(t, nil)
	g.Handle("GET /id", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(w, httpserver.RequestID(r.Context()))
		return err
	}))
	url := g.run()
	for _, tt := range []struct {
		sent []string
		keep bool
	}{
		{[]string{"X-Request-Id: 7f9c2e.A_b-1"}, true},
		{[]string{"X-Request-Id: " + strings.Repeat("a", 64)}, true},
		{[]string{"X-Request-Id: " + strings.Repeat("a", 65)}, false},
		{[]string{`X-Request-Id: a","level":"ERROR`}, false},
		{[]string{"X-Request-Id: <script>"}, false},
		{[]string{"X-Request-Id: é"}, false},
		{[]string{"X-Request-Id: a", "X-Request-Id: b"}, false},
		{nil, false},
	} {
		resp, body := do(t, "GET", url+"/id", nil, tt.sent...)
		kept := len(tt.sent) > 0 && body == strings.TrimPrefix(tt.sent[0], "X-Request-Id: ")
		if kept != tt.keep || resp.Header.Get("X-Request-Id") != body || !regexp.MustCompile(`^[\w.-]{1,64}$`).MatchString(body) {
			t.Errorf("sent %q: id %q, in the header %q; want it kept: %v", tt.sent, body, resp.Header.Get("X-Request-Id"), tt.keep)
		}
	}
}

func TestLogLine(t *testing.T) {
	g := newRig(t, nil)
	g.Handle("POST /submit/{x}", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		httpserver.AddLog(r.Context(), slog.String("crash_id", "bp-1"), slog.Int("dumps", 2))
		return hello(w, r)
	}))
	g.Handle("GET /bad", httpserver.JSON(failing(fmt.Errorf("parse: %w", errs.Invalid))))
	url := g.run()
	do(t, "POST", url+"/submit/1?token=secret", nil, "X-Request-Id: r1", "Cookie: secret")
	do(t, "GET", url+"/bad", nil, "X-Request-Id: r2")
	do(t, "GET", url+"/__lbheartbeat__", nil, "X-Request-Id: r3")
	want := `{"level":"INFO","msg":"request","request_id":"r1","method":"POST","path":"/submit/1","route":"POST /submit/{x}","status":200,"bytes":5,"ms":0,"crash_id":"bp-1","dumps":2}
{"level":"INFO","msg":"request","request_id":"r2","method":"GET","path":"/bad","route":"GET /bad","status":400,"bytes":56,"ms":0,"error":"parse: invalid"}
{"level":"DEBUG","msg":"request","request_id":"r3","method":"GET","path":"/__lbheartbeat__","route":"GET /__lbheartbeat__","status":200,"bytes":0,"ms":0}`
	if got := regexp.MustCompile(`"ms":[\d.]+`).ReplaceAllString(strings.Join(g.logs.requests(), "\n"), `"ms":0`); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	httpserver.AddLog(context.Background(), slog.Int("x", 1)) // of no request: nothing
}

func TestMetrics(t *testing.T) {
	g := newRig(t, nil)
	seen := make(chan bool, 1)
	g.Handle("POST /x/{id}", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		g.rec.Gauge("http.inflight.requests").Value(1)
		g.rec.Gauge("http.inflight").Value(3)
		seen <- true
		return nil
	}))
	url := g.run()
	do(t, "POST", url+"/x/1", strings.NewReader("abc"))
	<-seen
	g.rec.Counter("http.requests").Tags("route:post_/x/_id_", "status:2xx").Value(1)
	g.rec.Timer("http.duration").Tags("route:post_/x/_id_").Once()
	g.rec.Gauge("http.inflight.requests").Value(0)
	g.rec.Gauge("http.inflight").Value(0)
}

func TestPanic(t *testing.T) {
	g := newRig(t, nil)
	g.Handle("GET /api/early", httpserver.JSON(func(w http.ResponseWriter, r *http.Request) error { panic("boom 1") }))
	g.Handle("GET /late", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		io.WriteString(w, "half an ans")
		http.NewResponseController(w).Flush()
		panic("boom 2")
	}))
	g.Handle("GET /lateerror", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		io.WriteString(w, "half an ans")
		return errors.New("disk gone")
	}))
	url := g.run()
	resp, body := do(t, "GET", url+"/api/early", nil)
	check(t, resp, body, 500, `{"error":"Something went wrong."`)
	if strings.Contains(body, "boom") {
		t.Errorf("the panic is told to the client: %q", body)
	}
	for _, path := range []string{"/late", "/lateerror"} {
		if resp, err := http.Get(url + path); err == nil {
			if b, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("%s looks complete: %q", path, b)
			}
			resp.Body.Close()
		}
	}
	g.rec.Counter("http.panics").Value(2)
	g.rec.Counter("http.requests").Tags("route:get_/api/early", "status:5xx").Value(1)
	lines := g.logs.requests()
	if strings.Count(g.logs.all(), "boom 1") != 1 || !strings.Contains(lines[0], `"level":"ERROR"`) || !strings.Contains(lines[0], "httpserver_test.TestPanic.func1") || !strings.Contains(lines[0], `"status":500`) {
		t.Errorf("log of the panic: %s", g.logs.all())
	}
}

func TestBodyLimits(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) { c.MaxBody = 10 })
	g.Handle("POST /small", httpserver.Raw(readFirst))
	g.Handle("POST /big", httpserver.Limit(httpserver.Limits{Name: "big", Body: 1000})(httpserver.Raw(readFirst)))
	url := g.run()
	for _, tt := range []struct {
		path    string
		n       int
		chunked bool
		status  int
		body    string
	}{
		{"/small", 10, false, 200, "10"}, {"/small", 10, true, 200, "10"},
		{"/small", 11, false, 413, "larger than 10 bytes"}, {"/small", 11, true, 413, "larger than 10 bytes"},
		{"/big", 1000, false, 200, "1000"}, {"/big", 1000, true, 200, "1000"},
		{"/big", 1001, false, 413, "larger than 1000 bytes"}, {"/big", 1001, true, 413, "larger than 1000 bytes"},
	} {
		var r io.Reader = strings.NewReader(strings.Repeat("x", tt.n))
		if tt.chunked {
			r = io.MultiReader(r)
		}
		resp, body := do(t, "POST", url+tt.path, r)
		check(t, resp, body, tt.status, tt.body)
	}
}

// A client that breaks off is no failure of ours.
func TestBrokenBody(t *testing.T) {
	g := newRig(t, nil)
	g.Handle("POST /x", httpserver.Raw(readFirst))
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/x", io.MultiReader(strings.NewReader("abc"), errReader{io.ErrUnexpectedEOF}))
	g.ServeHTTP(w, r)
	if w.Code != 400 || !strings.Contains(g.logs.all(), "unexpected EOF") || strings.Contains(g.logs.all(), "ERROR") {
		t.Errorf("status %d, log %s", w.Code, g.logs.all())
	}

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Handle("GET /slow", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error { return r.Context().Err() }))
	g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/slow", nil))
	if lines := g.logs.requests(); !strings.Contains(lines[1], `"status":499`) || !strings.Contains(lines[1], "INFO") {
		t.Errorf("log of a client that hung up: %s", lines[1])
	}
	g.rec.Counter("http.requests").Tags("status:5xx").Value(0)
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestSecurityHeaders(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) { c.MaxRequests = 1 })
	g.Handle("GET /page", httpserver.HTML(hello))
	g.Handle("GET /data", httpserver.Raw(hello))
	g.Handle("GET /own", httpserver.HTML(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Security-Policy", "own")
		return nil
	}))
	url := g.run()
	for path, policy := range map[string]string{"/page": "script-src 'self'", "/data": "default-src 'none'; frame-ancestors 'none'", "/none": "form-action 'self'", "/own": "own"} {
		resp, _ := do(t, "GET", url+path, nil)
		h := resp.Header
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, policy) || strings.Contains(csp, "unsafe") || path != "/own" && !strings.Contains(csp, "frame-ancestors 'none'") ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
}

func TestCrossOrigin(t *testing.T) {
	g := newRig(t, nil)
	g.Handle("POST /login", httpserver.HTML(hello))
	g.Handle("GET /login", httpserver.HTML(hello))
	g.Handle("POST /api/do", httpserver.JSON(hello))
	g.Handle("POST /upload", httpserver.CrossOrigin(httpserver.Limit(httpserver.Limits{Name: "upload"})(httpserver.Raw(hello))))
	url := g.run()
	for _, tt := range []struct {
		method, path, header string
		status               int
	}{
		{"POST", "/login", "Sec-Fetch-Site: cross-site", 403},
		{"POST", "/login", "Sec-Fetch-Site: same-site", 403},
		{"POST", "/login", "Origin: https://evil.example", 403},
		{"POST", "/login", "Origin: null", 403},
		{"POST", "/api/do", "Sec-Fetch-Site: cross-site", 403},
		{"POST", "/login", "Sec-Fetch-Site: same-origin", 200},
		{"POST", "/login", "Origin: " + url, 200},
		{"POST", "/login", "Auth-Token: no browser", 200},
		{"GET", "/login", "Sec-Fetch-Site: cross-site", 200},
		{"POST", "/upload", "Sec-Fetch-Site: cross-site", 200},
		{"POST", "/upload", "Origin: https://evil.example", 200},
	} {
		resp, body := do(t, tt.method, url+tt.path, nil, tt.header)
		want := map[int]string{200: "hello", 403: "This request comes from another site."}[tt.status]
		check(t, resp, body, tt.status, want)
	}
}

// Limit and CrossOrigin that another handler hides would be without effect.
func TestHiddenAnnotations(t *testing.T) {
	g := newRig(t, nil)
	inner := httpserver.Limit(httpserver.Limits{Name: "x", Requests: 1})(httpserver.Raw(hello))
	g.Handle("GET /x", http.HandlerFunc(inner.ServeHTTP))
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
	if w.Code != 500 || !strings.Contains(g.logs.all(), "must be outermost") {
		t.Errorf("status %d, log %s", w.Code, g.logs.all())
	}
}

func TestAuthIsInnermost(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) {
		c.MaxBody = 1
		c.Auth = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Authenticated", httpserver.RequestID(r.Context()))
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), "user", "u"))) //lint:ignore SA1029 a test
			})
		}
	})
	g.Handle("POST /x/{id}", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		fmt.Fprint(w, r.PathValue("id"), r.Context().Value("user"))
		return nil
	}))
	w := httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("POST", "/x/7", nil))
	if w.Body.String() != "7u" || w.Header().Get("Authenticated") == "" {
		t.Errorf("%q, %v", w.Body, w.Header())
	}
	w = httptest.NewRecorder()
	g.ServeHTTP(w, httptest.NewRequest("POST", "/x/7", strings.NewReader("too long")))
	if w.Code != 413 || w.Header().Get("Authenticated") != "" {
		t.Errorf("auth asked about a request that is refused: %d %v", w.Code, w.Header())
	}
}

// flood holds a request to url while f runs.
func flood(t *testing.T, url string, body io.Reader, entered <-chan bool, leave chan<- bool, f func()) {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		resp, err := http.Post(url, "", body)
		if err != nil {
			done <- err.Error()
			return
		}
		resp.Body.Close()
		done <- resp.Status
	}()
	select {
	case <-entered:
	case status := <-done:
		t.Fatalf("the request that was first: %s", status)
	}
	f()
	leave <- true
	if status := <-done; status != "200 OK" {
		t.Errorf("the request that was first: %s", status)
	}
}

func TestShedding(t *testing.T) {
	g := newRig(t, nil)
	entered, leave := make(chan bool), make(chan bool)
	hold := httpserver.JSON(func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.RawQuery == "" {
			entered <- true
			<-leave
		}
		return hello(w, r)
	})
	one := httpserver.Limit(httpserver.Limits{Name: "one", Requests: 1})
	g.Handle("POST /one", one(hold))
	g.Handle("POST /two", one(hold))
	g.Handle("POST /bytes", httpserver.Limit(httpserver.Limits{Name: "bytes", Body: 100, Bytes: 50})(hold))
	url := g.run()

	flood(t, url+"/one", nil, entered, leave, func() {
		resp, body := do(t, "POST", url+"/two?go", nil) // shares the limit
		check(t, resp, body, 503, `{"error":"Too much at once; try again."`)
		if got := resp.Header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q, want 1", got)
		}
	})
	resp, body := do(t, "POST", url+"/one?go", nil)
	check(t, resp, body, 200, "hello") // the place is free again

	// 80 of 50 bytes, but alone.
	flood(t, url+"/bytes", strings.NewReader(strings.Repeat("x", 80)), entered, leave, func() {
		resp, body := do(t, "POST", url+"/bytes?go", strings.NewReader("x"))
		check(t, resp, body, 503, "Too much at once")
	})
	flood(t, url+"/bytes", strings.NewReader(strings.Repeat("x", 40)), entered, leave, func() {
		resp, body := do(t, "POST", url+"/bytes?go", strings.NewReader(strings.Repeat("x", 10)))
		check(t, resp, body, 200, "hello")
		resp, body = do(t, "POST", url+"/bytes?go", strings.NewReader(strings.Repeat("x", 11)))
		check(t, resp, body, 503, "Too much at once")
		resp, body = do(t, "POST", url+"/bytes?go", io.MultiReader(strings.NewReader("x"))) // counts as 100
		check(t, resp, body, 503, "Too much at once")
	})

	g.rec.Counter("http.shed").Tags("limit:one", "reason:requests").Value(1)
	g.rec.Counter("http.shed").Tags("limit:bytes", "reason:bytes").Value(3)
}

// The limit of all requests together leaves health alone.
func TestSheddingOfAll(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) { c.MaxRequests = 1 })
	entered, leave := make(chan bool), make(chan bool)
	g.Handle("POST /hold", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		entered <- true
		<-leave
		return nil
	}))
	g.Handle("GET /x", httpserver.Raw(hello))
	url := g.run()
	flood(t, url+"/hold", nil, entered, leave, func() {
		resp, body := do(t, "GET", url+"/x", nil)
		check(t, resp, body, 503, "Too much at once")
		resp, body = do(t, "GET", url+"/__heartbeat__", nil)
		check(t, resp, body, 200, "ok")
	})
	g.rec.Counter("http.shed").Tags("limit:all", "reason:requests").Value(1)
}

func TestAddressLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		take, _ := httpserver.Addresses(2, 3) // one every 500 ms
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for range 3 {
			if wait := take(a); wait != 0 {
				t.Fatalf("within the burst: wait %s", wait)
			}
		}
		for range 5 { // refusals cost nothing
			if wait := take(a); wait != 500*time.Millisecond {
				t.Fatalf("beyond the burst: wait %s", wait)
			}
		}
		if wait := take(b); wait != 0 {
			t.Errorf("another address: wait %s", wait)
		}
		<-time.After(499 * time.Millisecond)
		if wait := take(a); wait != time.Millisecond {
			t.Errorf("after 499 ms: wait %s", wait)
		}
		<-time.After(time.Millisecond)
		if wait := take(a); wait != 0 {
			t.Errorf("after 500 ms: wait %s", wait)
		}
		<-time.After(time.Hour) // full, and not fuller
		for i := range 4 {
			if wait := take(a); (wait == 0) != (i < 3) {
				t.Errorf("request %d after an hour: wait %s", i, wait)
			}
		}
		// One IPv6 network, two others.
		for i := range 4 {
			if wait := take(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i))); (wait == 0) != (i < 3) {
				t.Errorf("address %d of a /64: wait %s", i, wait)
			}
		}
		if wait := take(netip.MustParseAddr("2001:db8:0:1::1")); wait != 0 {
			t.Errorf("another /64: wait %s", wait)
		}
	})
}

func TestAddressMemory(t *testing.T) {
	take, n := httpserver.Addresses(0.001, 1)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 100_000 {
		if wait := take(addr(i)); wait != 0 {
			t.Fatalf("new address %d: wait %s", i, wait)
		}
		if i%1000 == 0 && i > 0 && take(addr(0)) == 0 { // asks now and then, so it is never forgotten
			t.Fatalf("the busy address was forgotten after %d others", i)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n() > httpserver.MaxAddresses {
		t.Errorf("%d addresses remembered, want at most %d", n(), httpserver.MaxAddresses)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("100,000 addresses take %d bytes", grown)
	}
	if take(addr(99_999)) == 0 {
		t.Error("the last address was forgotten")
	}
}

func TestAddressLimitOfRoute(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	g.Handle("GET /x", httpserver.Limit(httpserver.Limits{Name: "x", Rate: 0.1, Burst: 1})(httpserver.Raw(hello)))
	for _, tt := range []struct {
		remote, forwarded string
		status            int
	}{
		{"192.0.2.1:1", "", 200}, {"192.0.2.1:2", "", 503}, {"192.0.2.1:3", "198.51.100.9", 503}, // no proxy of ours: not believed
		{"10.1.1.1:1", "198.51.100.1", 200}, {"10.1.1.1:1", "198.51.100.1", 503}, {"10.1.1.1:1", "6.6.6.6, 198.51.100.1", 503},
		{"10.1.1.1:1", "198.51.100.2", 200},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		g.ServeHTTP(w, r)
		if w.Code != tt.status || tt.status == 503 && w.Header().Get("Retry-After") != "10" {
			t.Errorf("from %s for %q: status %d, Retry-After %q; want %d", tt.remote, tt.forwarded, w.Code, w.Header().Get("Retry-After"), tt.status)
		}
	}
	g.rec.Counter("http.shed").Tags("limit:x", "reason:address").Value(4)
}

func TestClientAddr(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	})
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"[::ffff:192.0.2.1]:80", "", "192.0.2.1"},
		{"10.0.0.1:80", "", "10.0.0.1"},
		{"10.0.0.1:80", "junk", "10.0.0.1"},
		{"10.0.0.1:80", "192.0.2.7, 10.0.0.2, fd00::3", "192.0.2.7"},
		{"10.0.0.1:80", "10.0.0.9", "10.0.0.9"},
		{"10.0.0.1:80", "1.1.1.1, junk, 10.0.0.2", "10.0.0.2"},
		{"[2001:db8::1]:80", "1.1.1.1", "2001:db8::1"},
		{"pipe", "", "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		r.Header.Set("X-Forwarded-For", tt.forwarded)
		if got := g.ClientAddr(r).String(); got != tt.want {
			t.Errorf("from %s for %q: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}

// pipes is a listener of connections inside the process, whose timeouts a bubble controls.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// bubble runs f with a server on pipes, in a bubble of time.
func bubble(t *testing.T, routes func(*rig), f func(t *testing.T, g *rig, p *pipes, stop func(), done <-chan error)) {
	synctest.Test(t, func(t *testing.T) {
		g, p := newRig(t, nil), newPipes()
		routes(g)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- g.Serve(ctx, p) }()
		f(t, g, p, stop, done)
		stop()
		<-time.After(2 * time.Hour) // for what is left to end
	})
}

func TestSlowHeaders(t *testing.T) {
	bubble(t, func(*rig) {}, func(t *testing.T, g *rig, p *pipes, stop func(), done <-chan error) {
		c, start := p.dial(), time.Now()
		defer c.Close()
		go io.Copy(io.Discard, c)
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n")
		for err == nil { // a byte a second
			<-time.After(time.Second)
			_, err = io.WriteString(c, "a")
		}
		if took := time.Since(start); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("cut off after %s, want 10s", took)
		}
	})
}

func TestDeadlines(t *testing.T) {
	routes := func(g *rig) {
		g.Handle("POST /short", httpserver.Raw(readFirst))
		g.Handle("POST /long", httpserver.Limit(httpserver.Limits{Name: "long", Read: time.Hour, Write: 2 * time.Hour})(httpserver.Raw(readFirst)))
	}
	for path, want := range map[string]struct {
		status int
		after  time.Duration
	}{"/short": {400, 30 * time.Second}, "/long": {200, 55 * time.Minute}} {
		bubble(t, routes, func(t *testing.T, g *rig, p *pipes, stop func(), done <-chan error) {
			c, start := p.dial(), time.Now()
			defer c.Close()
			go func() {
				_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 56\r\n\r\nx", path)
				for i := 0; err == nil && i < 55; i++ { // a byte a minute
					<-time.After(time.Minute)
					_, err = io.WriteString(c, "x")
				}
			}()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start).Round(time.Second); resp.StatusCode != want.status || took != want.after {
				t.Errorf("%s: status %d after %s, want %d after %s", path, resp.StatusCode, took, want.status, want.after)
			}
		})
	}
}

func TestShutdown(t *testing.T) {
	for _, tt := range []struct {
		name     string
		duration time.Duration
		took     time.Duration
		ok       bool
	}{{"finishes", 20 * time.Second, 20 * time.Second, true}, {"is cut off", time.Hour, 31 * time.Second, false}} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			bubble(t, func(g *rig) {
				g.Handle("GET /slow", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
					select {
					case <-r.Context().Done():
					case <-time.After(tt.duration):
					}
					ended <- r.Context().Err()
					return hello(w, r)
				}))
			}, func(t *testing.T, g *rig, p *pipes, stop func(), done <-chan error) {
				c, start := p.dial(), time.Now()
				defer c.Close()
				io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
				go func() {
					<-time.After(time.Second)
					stop()
				}()
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if (err == nil && resp.StatusCode == 200) != tt.ok {
					t.Errorf("answer %v, %v", resp, err)
				}
				err = <-done
				if (err == nil) != tt.ok || (<-ended == nil) != tt.ok {
					t.Errorf("Run = %v", err)
				}
				if took := time.Since(start); took < tt.took || took > tt.took+time.Second {
					t.Errorf("took %s, want %s", took, tt.took)
				}
			})
		})
	}
}

func TestHeartbeat(t *testing.T) {
	g := newRig(t, nil)
	var broken error
	runs := 0
	g.AddCheck("blob", func(context.Context) error { runs++; return broken })
	g.AddCheck("db", func(context.Context) error { return nil })
	url := g.run()
	resp, body := do(t, "GET", url+"/__heartbeat__", nil)
	check(t, resp, body, 200, "")
	if want := `{"status":"ok","checks":{"blob":"ok","db":"ok"},"errors":[]}` + "\n"; body != want {
		t.Errorf("heartbeat %s want %s", body, want)
	}
	broken = errors.New("dial /secret/path")
	resp, body = do(t, "GET", url+"/__heartbeat__", nil)
	check(t, resp, body, 503, "")
	if want := `{"status":"error","checks":{"blob":"error","db":"ok"},"errors":[{"name":"blob","msg":"Something went wrong."}]}` + "\n"; body != want {
		t.Errorf("heartbeat %s want %s", body, want)
	}
	if log := g.logs.all(); runs != 2 || strings.Count(log, `"check_blob":"dial /secret/path"`) != 1 {
		t.Errorf("%d runs, log %s", runs, log)
	}
	resp, body = do(t, "GET", url+"/__lbheartbeat__", nil)
	if check(t, resp, body, 200, ""); body != "" || resp.Header.Get("Content-Type") != "application/json; charset=utf-8" || runs != 2 {
		t.Errorf("load balancer's heartbeat: %q, %v, %d runs", body, resp.Header, runs)
	}
	resp, body = do(t, "GET", url+"/__version__", nil)
	check(t, resp, body, 200, "")
	var v map[string]string
	if err := json.Unmarshal([]byte(body), &v); err != nil || len(v) != 4 || !strings.HasPrefix(v["build"], runtime.Version()) || v["source"] != "salvage" {
		t.Errorf("version %s", body)
	}
	resp, body = do(t, "GET", url+"/metrics", nil)
	check(t, resp, body, 404, "") // none given
	g.rec.Counter("http.checks").Tags("check:blob", "result:error").Value(1)
}

// A check that hangs is over after its time, is not started again, and is ok when it comes back.
func TestHangingCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *httpserver.Config) { c.Log = slog.New(slog.DiscardHandler) })
		var starts atomic.Int32
		release := make(chan bool)
		g.AddCheck("hangs", func(context.Context) error { starts.Add(1); <-release; return nil })
		g.AddCheck("panics", func(context.Context) error { panic("boom") })
		g.AddCheck("obeys", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		ask := func() string {
			w := httptest.NewRecorder()
			g.ServeHTTP(w, httptest.NewRequest("GET", "/__heartbeat__", nil))
			return w.Body.String()
		}
		for range 2 {
			start := time.Now()
			want := `{"status":"error","checks":{"hangs":"error","obeys":"error","panics":"error"},"errors":[{"name":"hangs","msg":"The check does not answer."},{"name":"panics","msg":"Something went wrong."},{"name":"obeys","msg":"The check does not answer."}]}` + "\n"
			if got := ask(); got != want || time.Since(start) != 5*time.Second {
				t.Errorf("after %s: %s want %s", time.Since(start), got, want)
			}
			synctest.Wait() // until the check that obeys is over, too
		}
		if starts.Load() != 1 {
			t.Errorf("started %d times", starts.Load())
		}
		close(release)
		synctest.Wait()
		if got := ask(); !strings.Contains(got, `"hangs":"ok"`) {
			t.Errorf("after its release: %s", got)
		}
	})
}

// Requests that come while checks run share one more run.
func TestHeartbeatsShareRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		var runs atomic.Int32
		g.AddCheck("slow", func(context.Context) error { runs.Add(1); <-time.After(time.Second); return nil })
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				g.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/__heartbeat__", nil))
			})
		}
		group.Wait()
		if runs.Load() != 2 {
			t.Errorf("%d runs for 20 requests, want 2", runs.Load())
		}
	})
}

func TestMetricsHandler(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) {
		c.MetricsHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "metrics!") })
	})
	resp, body := do(t, "GET", g.run()+"/metrics", nil)
	check(t, resp, body, 200, "metrics!")
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		change func(*httpserver.Config)
		want   string
	}{
		{func(c *httpserver.Config) { c.Log = nil }, "no log"},
		{func(c *httpserver.Config) { c.ReadHeaderTimeout = 0 }, "ReadHeaderTimeout must be above zero"},
		{func(c *httpserver.Config) { c.MaxBody = -1 }, "MaxBody must be above zero"},
		{func(c *httpserver.Config) { c.PprofAddr = ":6060" }, "is not a loopback address"},
		{func(c *httpserver.Config) { c.PprofAddr = "192.0.2.1:6060" }, "is not a loopback address"},
		{func(c *httpserver.Config) { c.PprofAddr = "localhost.evil.example:6060" }, "is not a loopback address"},
	} {
		var c httpserver.Config
		if _, err := config.Load(&c, config.LoadOptions{}); err != nil {
			t.Fatal(err)
		}
		c.Log = slog.New(slog.DiscardHandler)
		tt.change(&c)
		if _, err := httpserver.New(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New = %v, want %q", err, tt.want)
		}
	}
	_, err := config.Load(&httpserver.Config{}, config.LoadOptions{Sources: []config.Source{config.Map("test", map[string]string{
		"pprof": "0.0.0.0:1", "read_timeout": "0", "proxies": "10.0.0.0", "max_requests": "0",
	})}})
	if e, ok := err.(config.Errors); !ok || len(e) != 4 {
		t.Errorf("Load = %v, want four problems", err)
	}
}

func TestRunFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	g := newRig(t, func(c *httpserver.Config) { c.Addr = ln.Addr().String() })
	if err := g.Run(t.Context()); err == nil || g.Addr() != "" {
		t.Errorf("Run = %v, Addr = %q", err, g.Addr())
	}
}

func TestPprof(t *testing.T) {
	h := httpserver.PprofHandler()
	for host, want := range map[string]int{"127.0.0.1:6060": 200, "localhost:6060": 200, "[::1]:6060": 200, "evil.example:6060": 403} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/debug/pprof/", nil)
		r.Host = host
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("host %s: %d, want %d", host, w.Code, want)
		}
	}
	g := newRig(t, func(c *httpserver.Config) { c.PprofAddr = "127.0.0.1:0" })
	resp, body := do(t, "GET", g.run()+"/debug/pprof/", nil)
	check(t, resp, body, 404, "") // not on the main listener
	addr := regexp.MustCompile(`"serving profiles","addr":"([^"]+)"`)
	for start := time.Now(); !addr.MatchString(g.logs.all()) && time.Since(start) < 5*time.Second; {
		runtime.Gosched()
	}
	resp, body = do(t, "GET", "http://"+addr.FindStringSubmatch(g.logs.all())[1]+"/debug/pprof/cmdline", nil)
	check(t, resp, body, 200, os.Args[0])
}

// A nil registry counts nothing.
func TestWithoutMetrics(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) { c.Metrics = (*metrics.Registry)(nil) })
	g.Handle("GET /x", httpserver.Raw(hello))
	resp, body := do(t, "GET", g.run()+"/x", nil)
	check(t, resp, body, 200, "hello")
}

func TestSendfile(t *testing.T) {
	g := newRig(t, nil)
	file := t.TempDir() + "/f"
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Handle("GET /f", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Error("the writer cannot take a file")
		}
		http.ServeFile(w, r, file)
		return nil
	}))
	if resp, body := do(t, "GET", g.run()+"/f", nil); resp.StatusCode != 200 || len(body) != 100_000 {
		t.Errorf("status %d, %d bytes", resp.StatusCode, len(body))
	}
	for start := time.Now(); len(g.logs.requests()) == 0 && time.Since(start) < 5*time.Second; { // an answer this large arrives before its line
		runtime.Gosched()
	}
	if lines := g.logs.requests(); len(lines) != 1 || !strings.Contains(lines[0], `"bytes":100000`) {
		t.Errorf("log %s", lines)
	}
}
