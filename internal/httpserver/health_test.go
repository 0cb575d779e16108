package httpserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"salvage/internal/httpserver"
)

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
