package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"salvage/internal/errs"
)

type check struct {
	name string
	run  func(context.Context) error
	busy atomic.Bool // a run that ignored its end still goes on
}

type health struct {
	all []*check

	started atomic.Int64  // runs, so far
	turn    chan struct{} // of one; whoever put something in may run the checks and use what follows
	last    heartbeat
	failed  []slog.Attr
}

// heartbeat has both of the shapes that monitors know: Antenna's list of errors and Dockerflow's status
// with checks.
type heartbeat struct {
	Status string            `json:"status"` // "ok", "error"
	Checks map[string]string `json:"checks"` // likewise, by name
	Errors []checkError      `json:"errors"` // of those that failed, in the order of AddCheck
}

type checkError struct {
	Name string `json:"name"`
	Msg  string `json:"msg"`
}

// version is Dockerflow's version.json. What is not known is empty.
type version struct {
	Source  string `json:"source"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Build   string `json:"build"`
}

// AddCheck adds a check to /__heartbeat__. It runs at each request there, beside the other checks, with
// a context that ends after the check timeout.
func (s *Server) AddCheck(name string, f func(context.Context) error) {
	s.checks.all = append(s.checks.all, &check{name: name, run: f})
}

func (s *Server) installHealth() {
	handle := func(path string, h http.Handler) {
		e := *endpointOf(h)
		e.operator = true
		s.mux.Handle("GET "+path, &e)
	}
	// operator: is everything this process depends on there? (alerts)
	handle("/__heartbeat__", JSON(s.serveHeartbeat))
	// operator: is this process there? (load balancers)
	handle("/__lbheartbeat__", JSON(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		return nil
	}))
	// operator: what runs here?
	v := readVersion()
	handle("/__version__", JSON(func(w http.ResponseWriter, r *http.Request) error { return WriteJSON(w, http.StatusOK, v) }))
	if s.cfg.MetricsHandler != nil {
		// operator: Prometheus
		handle("/metrics", s.cfg.MetricsHandler)
	}
}

// serveHeartbeat tells the public sentence of what failed; the log line has the rest. Requests that come
// while checks run share the next run.
func (s *Server) serveHeartbeat(w http.ResponseWriter, r *http.Request) error {
	h := &s.checks
	arrived := h.started.Load()
	select {
	case h.turn <- struct{}{}:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	if h.started.CompareAndSwap(arrived, arrived+1) { // else a run started after this request came, and is over
		h.last, h.failed = s.runChecks(context.WithoutCancel(r.Context()))
	}
	last, failed := h.last, h.failed
	<-h.turn
	AddLog(r.Context(), failed...)
	status := http.StatusOK
	if len(failed) > 0 {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Cache-Control", "no-store")
	return WriteJSON(w, status, last)
}

func (s *Server) runChecks(ctx context.Context) (heartbeat, []slog.Attr) {
	results := make([]error, len(s.checks.all))
	var group sync.WaitGroup
	for i, c := range s.checks.all {
		group.Go(func() { results[i] = s.runCheck(ctx, c) })
	}
	group.Wait()
	h := heartbeat{"ok", map[string]string{}, []checkError{}}
	var failed []slog.Attr
	for i, c := range s.checks.all {
		h.Checks[c.name] = "ok"
		if err := results[i]; err != nil {
			h.Status, h.Checks[c.name] = "error", "error"
			h.Errors = append(h.Errors, checkError{c.name, errs.Sentence(err)})
			failed = append(failed, slog.String("check_"+c.name, err.Error()))
		}
		s.counts.heartbeats.With(c.name, h.Checks[c.name]).Inc()
	}
	return h, failed
}

var errCheckTimeout = errs.Public(errs.Unavailable, "The check does not answer.")

// runCheck waits for a check until its time is over, even if the check itself does not.
func (s *Server) runCheck(ctx context.Context, c *check) error {
	if !c.busy.CompareAndSwap(false, true) {
		return errCheckTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CheckTimeout)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		defer c.busy.Store(false)
		defer func() {
			if p := recover(); p != nil {
				s.counts.panics.Inc()
				done <- fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		done <- c.run(ctx)
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done: // it ended just now, which ends ctx
		default:
			return errCheckTimeout
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", errCheckTimeout, err)
	}
	return err
}

func readVersion() version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version{}
	}
	v := version{Source: info.Main.Path, Version: info.Main.Version, Build: info.GoVersion + " " + runtime.GOOS + "/" + runtime.GOARCH}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			v.Commit = setting.Value
		}
	}
	return v
}
