package httpserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"salvage/internal/errs"
	"salvage/internal/httpserver"
)

func TestMiddlewareOrder(t *testing.T) {
	want := []string{"request id", "log", "recover", "metrics", "security headers", "cross-origin protection", "limits"}
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
		{"GET", "/nothing/<b>", 404, "text/html; charset=utf-8", "<h1>There is nothing here.</h1>"},
		{"GET", "/api/thing", 405, "text/html; charset=utf-8", "<h1>This does not take GET, only POST.</h1>"},
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
	g.rec.Counter("http.requests").Tags("route:none", "status:4xx").Value(2)
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
