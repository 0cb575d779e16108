package httpserver

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"salvage/internal/errs"
	"salvage/metrics"
)

// layers is the middleware of every request, outermost first.
var layers = []struct {
	name string
	wrap func(*Server, http.Handler) http.Handler
}{
	{"request id", (*Server).withRequest},          // first: all others log, count or answer by what it finds out
	{"log", (*Server).withLog},                     // outside of recover: its line has the status and the stack of a panic
	{"recover", (*Server).withRecover},             // outside of everything that may panic
	{"metrics", (*Server).withMetrics},             // outside of all that refuses requests, so those count; a panic passes it and counts
	{"security headers", (*Server).withHeaders},    // refusals have them, too
	{"cross-origin protection", (*Server).withCOP}, // before limits: what a browser was tricked into takes nobody's place
	{"limits", (*Server).withLimits},
}

// request is what middleware knows of a request. It is in the context.
type request struct {
	server  *Server
	id      string
	client  netip.Addr
	route   *endpoint // never nil
	pattern string    // empty for unknown routes
	w       *response

	mu    sync.Mutex // guards what follows: AddLog may be called from goroutines of a handler
	attrs []slog.Attr
	err   error // that was answered
	gone  bool  // err is the client's going away
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	q, _ := ctx.Value(requestKey{}).(*request)
	return q
}

// RequestID returns the id of the request of ctx; empty if there is none.
func RequestID(ctx context.Context) string {
	if q := requestOf(ctx); q != nil {
		return q.id
	}
	return ""
}

// AddLog adds attributes to the log line of the request of ctx.
func AddLog(ctx context.Context, attrs ...slog.Attr) {
	if q := requestOf(ctx); q != nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.attrs = append(q.attrs, attrs...)
	}
}

// response notes what was sent. Deadlines and flushing go through http.ResponseController.
type response struct {
	http.ResponseWriter
	status int // 0 until the answer began
	bytes  int64
}

func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	w.begin()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// ReadFrom keeps sendfile possible.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	n, err := io.Copy(w.ResponseWriter, src)
	w.bytes += n
	return n, err
}

func (w *response) begin() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

// isRequestID reports whether an id from outside may go into logs, answers and other systems.
func isRequestID(s string) bool {
	return s != "" && len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}

const requestIDHeader = "X-Request-Id"

func (s *Server) withRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := &request{server: s, client: s.clientAddr(r), w: &response{ResponseWriter: w}}
		if ids := r.Header[requestIDHeader]; len(ids) == 1 && isRequestID(ids[0]) {
			q.id = ids[0]
		} else {
			q.id = rand.Text()
		}
		w.Header().Set(requestIDHeader, q.id)
		var h http.Handler
		h, q.pattern = s.mux.Handler(r)
		if e, ok := h.(*endpoint); ok {
			q.route = e
		} else {
			q.route = &endpoint{family: familyHTML}
		}
		next.ServeHTTP(q.w, r.WithContext(context.WithValue(r.Context(), requestKey{}, q)))
	})
}

// clientAddr returns the address of the client: of the connection, or the last in X-Forwarded-For that
// is no proxy of ours if the connection is from one. What stands left of it, the client made up.
func (s *Server) clientAddr(r *http.Request) netip.Addr {
	port, _ := netip.ParseAddrPort(r.RemoteAddr)
	addr := port.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && slices.ContainsFunc(s.cfg.Proxies, func(p netip.Prefix) bool { return p.Contains(addr) }); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap().WithZone("")
	}
	return addr
}

// withLog writes one line a request, at a level that follows from the answer.
func (s *Server) withLog(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, q := time.Now(), requestOf(r.Context())
		defer func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.w.begin()
			level := slog.LevelInfo
			switch {
			case q.gone:
			case q.w.status >= 500 && (q.err == nil || errs.KindOf(q.err) == errs.Internal):
				level = slog.LevelError
			case q.w.status >= 500:
				level = slog.LevelWarn
			case q.route.operator:
				level = slog.LevelDebug // they ask all the time
			}
			attrs := []slog.Attr{slog.String("request_id", q.id), slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("route", q.pattern),
				slog.Int("status", q.w.status), slog.Int64("bytes", q.w.bytes), slog.Float64("ms", float64(time.Since(start).Microseconds())/1000)}
			if q.err != nil {
				attrs = append(attrs, slog.String("error", q.err.Error()))
			}
			s.cfg.Log.LogAttrs(r.Context(), level, "request", append(attrs, q.attrs...)...)
		}()
		next.ServeHTTP(w, r)
	})
}

// withRecover makes an answer of a panic. One that comes when the answer has begun cuts the connection,
// as does http.ErrAbortHandler: a truncated answer must not look complete.
func (s *Server) withRecover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.counts.panics.Inc()
			AddLog(r.Context(), slog.String("stack", string(debug.Stack())))
			fail(w, r, fmt.Errorf("panic: %v", p))
		}()
		next.ServeHTTP(w, r)
	})
}

type counts struct {
	requests                 *metrics.Counter
	duration                 *metrics.Timer
	inflight, inflightBytes  *metrics.Gauge
	panics, shed, heartbeats *metrics.Counter
}

func declare(r *metrics.Registry) counts {
	route := metrics.Tag("route")
	return counts{
		requests:      r.Counter("http.requests", "Requests answered.", route, metrics.Tag("status", "1xx", "2xx", "3xx", "4xx", "5xx")),
		duration:      r.Timer("http.duration", "Time from the headers of a request to the end of its answer.", route),
		inflight:      r.Gauge("http.inflight.requests", "Requests being handled."),
		inflightBytes: r.Gauge("http.inflight", "Bodies of the requests being handled, as limits count them: the declared length, or the most allowed where none is declared.", metrics.Unit("bytes")),
		panics:        r.Counter("http.panics", "Panics of handlers and health checks."),
		shed:          r.Counter("http.shed", "Requests refused for too much at once.", metrics.Tag("limit"), metrics.Tag("reason", shedRequests, shedBytes, shedAddress)),
		heartbeats:    r.Counter("http.checks", "Health checks run.", metrics.Tag("check"), metrics.Tag("result", "ok", "error")),
	}
}

func (s *Server) withMetrics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, returned := requestOf(r.Context()), false
		route := q.pattern
		if route == "" {
			route = "none"
		}
		span := s.counts.duration.With(route).Start()
		s.counts.inflight.Add(1)
		defer func() {
			s.counts.inflight.Add(-1)
			span.Stop()
			status := q.w.status
			switch {
			case status == 0 && returned:
				status = http.StatusOK
			case status == 0: // a panic, which recover is about to answer
				status = http.StatusInternalServerError
			}
			s.counts.requests.With(route, fmt.Sprintf("%dxx", status/100)).Inc()
		}()
		next.ServeHTTP(w, r)
		returned = true
	})
}

const (
	pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	dataPolicy = "default-src 'none'; frame-ancestors 'none'"
)

// withHeaders sets what a handler may override.
func (s *Server) withHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, policy := w.Header(), dataPolicy
		if requestOf(r.Context()).route.family == familyHTML {
			policy = pagePolicy
		}
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "same-origin") // with no-referrer, our own forms have "Origin: null"
		next.ServeHTTP(w, r)
	})
}

// withCOP refuses what another site's page makes a browser send, except for CrossOrigin endpoints.
func (s *Server) withCOP(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !requestOf(r.Context()).route.crossOrigin {
			if err := protection.Check(r); err != nil {
				fail(w, r, fmt.Errorf("%w: %w", errs.Public(errs.Denied, "This request comes from another site."), err))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// route calls the endpoint. What the mux says about unknown paths and methods becomes an error of the
// path's family.
func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	q := requestOf(r.Context())
	if q.pattern != "" {
		s.mux.ServeHTTP(w, r)
		return
	}
	verdict := discard{header: http.Header{}}
	s.mux.ServeHTTP(&verdict, r)
	if verdict.status != http.StatusMethodNotAllowed {
		fail(w, r, errs.NotFound)
		return
	}
	allow := verdict.header.Get("Allow")
	w.Header().Set("Allow", allow)
	answer(w, r, q.route.family, verdict.status, "This does not take "+r.Method+", only "+allow+".")
}

// discard is a response of which only status and header matter.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
