package httpserver_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"salvage/config"
	"salvage/internal/httpserver"
	"salvage/metrics"
)

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
