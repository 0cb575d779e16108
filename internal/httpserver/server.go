// Package httpserver is the listener of a Salvage server: ordered middleware, one mapping of errors to
// answers, limits, health.
//
// It knows no feature and no user: services register routes with Handle, and what an answer to an error
// looks like follows from the adapter of the route (JSON, HTML, Raw), never from the request. Everything
// here is safe for concurrent use, but routes and checks are registered before Run.
//
// An endpoint that panics is answered with 500, logged with its stack and counted.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"salvage/config"
	"salvage/metrics"
)

// Config is what a server needs. Its options fill the exported fields that have one; loading nothing
// fills them with their defaults.
type Config struct {
	Addr      string // port 0 picks a free one
	PprofAddr string // of a second, loopback listener; empty for none

	ReadHeaderTimeout, ReadTimeout, WriteTimeout, IdleTimeout time.Duration
	ShutdownTimeout, CheckTimeout                             time.Duration

	MaxHeader   int64
	MaxBody     int64 // where a route has no limit of its own
	MaxRequests int
	Proxies     []netip.Prefix

	Log            *slog.Logger      // required
	Metrics        *metrics.Registry // nil counts nothing
	MetricsHandler http.Handler      // answers GET /metrics; nil for none
}

// Options declares the options of c.
func (c *Config) Options(s *config.Spec) {
	positive := config.Check(func(d time.Duration) error { return atLeastOne(int64(d)) })
	timeout := func(dst *time.Duration, key, value, doc string) {
		config.Var(s, dst, key, config.Duration, config.Default(value), positive, config.Doc(doc))
	}
	config.Var(s, &c.Addr, "listen", config.Addr, config.Default("127.0.0.1:8080"), config.Doc("Address to listen on."))
	config.Var(s, &c.PprofAddr, "pprof", loopbackAddr, config.Default(""), config.Example("127.0.0.1:6060"), config.Doc("Loopback address that serves Go's profiles; none if empty."))
	timeout(&c.ReadHeaderTimeout, "read_header_timeout", "10s", "Longest time a client may take to send the headers of a request.")
	timeout(&c.ReadTimeout, "read_timeout", "30s", "Longest time a client may take to send a request. Upload routes have their own.")
	timeout(&c.WriteTimeout, "write_timeout", "1m", "Longest time from the headers of a request to the end of its answer. Upload and download routes have their own.")
	timeout(&c.IdleTimeout, "idle_timeout", "2m", "How long an idle connection stays open.")
	timeout(&c.ShutdownTimeout, "shutdown_timeout", "30s", "How long requests in flight may take to finish when the server stops.")
	timeout(&c.CheckTimeout, "check_timeout", "5s", "How long a check of `/__heartbeat__` may take.")
	config.Var(s, &c.MaxHeader, "max_header", config.Bytes, config.Default("64KiB"), config.Check(atLeastOne), config.Doc("Largest headers of a request."))
	config.Var(s, &c.MaxBody, "max_body", config.Bytes, config.Default("1MiB"), config.Check(atLeastOne), config.Doc("Largest body of a request. Upload routes have their own limit."))
	config.Var(s, &c.MaxRequests, "max_requests", config.Int, config.Default("512"), config.Check(func(n int) error { return atLeastOne(int64(n)) }), config.Doc("Requests handled at once; more are answered with 503. Health is always answered."))
	config.Var(s, &c.Proxies, "proxies", config.List(prefix), config.Default(""), config.Example("10.0.0.0/8"), config.Doc("Networks of reverse proxies, whose X-Forwarded-For names the client. Limits by address need it behind a proxy."))
}

func atLeastOne(n int64) error {
	if n < 1 {
		return errors.New("must be above zero")
	}
	return nil
}

var prefix = config.Parser[netip.Prefix]{Name: "network", Syntax: "address/bits", Parse: func(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(s))
	if err != nil {
		return p, errors.New("is not a network")
	}
	return p.Masked(), nil
}}

// Server answers HTTP requests.
type Server struct {
	cfg     Config
	mux     *http.ServeMux
	handler http.Handler
	all     *limiter // what applies to all requests together
	checks  health
	counts  counts
	ready   chan struct{} // closed when Run listens, or cannot
	addr    string
}

// New returns a server with the health routes and no other. A timeout or limit that is not set is an
// error: there is no server without.
func New(c Config) (*Server, error) {
	if c.Log == nil {
		return nil, errors.New("httpserver: no log")
	}
	for name, n := range map[string]int64{
		"ReadHeaderTimeout": int64(c.ReadHeaderTimeout), "ReadTimeout": int64(c.ReadTimeout), "WriteTimeout": int64(c.WriteTimeout),
		"IdleTimeout": int64(c.IdleTimeout), "ShutdownTimeout": int64(c.ShutdownTimeout), "CheckTimeout": int64(c.CheckTimeout),
		"MaxHeader": c.MaxHeader, "MaxBody": c.MaxBody, "MaxRequests": int64(c.MaxRequests),
	} {
		if err := atLeastOne(n); err != nil {
			return nil, fmt.Errorf("httpserver: %s %w", name, err)
		}
	}
	if _, err := loopbackAddr.Parse(c.PprofAddr); err != nil {
		return nil, fmt.Errorf("httpserver: pprof address %q %w", c.PprofAddr, err)
	}
	s := &Server{cfg: c, mux: http.NewServeMux(), all: newLimiter(Limits{Name: "all", Requests: c.MaxRequests}), counts: declare(c.Metrics), checks: health{turn: make(chan struct{}, 1)}, ready: make(chan struct{})}
	s.handler = http.HandlerFunc(s.route)
	for i := len(layers) - 1; i >= 0; i-- {
		s.handler = layers[i].wrap(s, s.handler)
	}
	s.installHealth()
	return s, nil
}

// Handle registers a route, as http.ServeMux does: conflicts panic. Where h is no JSON, HTML or Raw
// endpoint, middleware answers as for Raw.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, endpointOf(h)) }

// ServeHTTP answers a request with all middleware, as behind the listener.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Addr waits until Run listens and returns the address; it is empty if Run could not.
func (s *Server) Addr() string {
	<-s.ready
	return s.addr
}

// Run listens and answers until ctx ends; then it stops listening and lets the requests in flight
// finish. Their contexts end only when they outlast the shutdown timeout, which is an error. Run may be
// called once.
func (s *Server) Run(ctx context.Context) error {
	main, pprof, err := s.listen(ctx)
	if err != nil {
		close(s.ready)
		return fmt.Errorf("httpserver: %w", err)
	}
	s.addr = main.Addr().String()
	close(s.ready)
	s.cfg.Log.Info("listening", "addr", s.addr)
	if pprof != nil {
		p := s.newHTTP(pprofHandler())
		p.WriteTimeout = 5 * time.Minute // profiles take the seconds they are asked for
		go p.Serve(pprof)
		defer p.Close()
		s.cfg.Log.Info("serving profiles", "addr", pprof.Addr().String())
	}
	return s.serve(ctx, main)
}

func (s *Server) listen(ctx context.Context) (main, pprof net.Listener, err error) {
	var l net.ListenConfig
	if main, err = l.Listen(ctx, "tcp", s.cfg.Addr); err != nil || s.cfg.PprofAddr == "" {
		return main, nil, err
	}
	if pprof, err = l.Listen(ctx, "tcp", s.cfg.PprofAddr); err != nil {
		main.Close()
	}
	return main, pprof, err
}

func (s *Server) newHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: s.cfg.ReadHeaderTimeout, ReadTimeout: s.cfg.ReadTimeout,
		WriteTimeout: s.cfg.WriteTimeout, IdleTimeout: s.cfg.IdleTimeout, MaxHeaderBytes: int(s.cfg.MaxHeader),
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug), // what net/http says of broken clients
	}
}

// serve is Run on a listener.
func (s *Server) serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx)) // a request in flight outlives ctx
	defer cut()
	h := s.newHTTP(s)
	h.BaseContext = func(net.Listener) context.Context { return base }
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(ln) }()
	select {
	case err := <-failed:
		h.Close()
		return fmt.Errorf("httpserver: %w", err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(base, s.cfg.ShutdownTimeout)
	defer cancel()
	if err := h.Shutdown(patience); err != nil {
		cut()
		h.Close()
		return fmt.Errorf("httpserver: requests cut off after %s: %w", s.cfg.ShutdownTimeout, err)
	}
	return nil
}
