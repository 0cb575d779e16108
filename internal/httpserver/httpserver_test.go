package httpserver_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"salvage/config"
	"salvage/internal/httpserver"
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
