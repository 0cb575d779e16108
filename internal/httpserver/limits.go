package httpserver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"salvage/internal/errs"
)

// Limits bounds what a route takes. Zero leaves a thing as it is for all routes, or unbounded.
type Limits struct {
	Name     string        // tag of the metrics
	Body     int64         // largest body, in bytes
	Read     time.Duration // to receive the body, from the headers on
	Write    time.Duration // to send the answer, from the headers on
	Requests int           // at once
	Bytes    int64         // of all bodies at once: declared lengths, or Body where none is. A request alone is always taken
	Rate     float64       // requests a second from one address (IPv6: /64), on average
	Burst    int           // requests from one address at once after a while of none; at least 1
}

// Limit puts limits on h, shared by all handlers the result is applied to. Body too large is
// errs.TooLarge; everything else is refused with errs.Shed, before the body is read, and never queued.
func Limit(l Limits) func(h http.Handler) http.Handler {
	shared := newLimiter(l)
	return func(h http.Handler) http.Handler {
		e := *endpointOf(h)
		e.limits = shared
		return &e
	}
}

// Reasons of shedding, for metrics.
const (
	shedRequests = "requests"
	shedBytes    = "bytes"
	shedAddress  = "address"
)

// overload is the error of a request that was shed.
type overload struct {
	limit, reason string
	after         time.Duration // when to try again; 0: soon
}

func (o *overload) Error() string { return fmt.Sprintf("shed by limit %s: %s", o.limit, o.reason) }
func (o *overload) Unwrap() error { return errs.Shed }

type limiter struct {
	Limits
	addresses *addresses // nil without Rate

	mu       sync.Mutex
	requests int
	bytes    int64
}

func newLimiter(l Limits) *limiter {
	out := &limiter{Limits: l}
	if l.Rate > 0 {
		out.addresses = newAddresses(l.Rate, l.Burst)
	}
	return out
}

// admit takes a request with a body of the given size in, or returns an *overload.
func (l *limiter) admit(client netip.Addr, size int64) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.Requests > 0 && l.requests >= l.Requests:
		return nil, &overload{l.Name, shedRequests, 0}
	case l.Bytes > 0 && l.requests > 0 && size > l.Bytes-l.bytes:
		return nil, &overload{l.Name, shedBytes, 0}
	case l.addresses != nil: // last: a request that is refused anyway costs its address nothing
		if wait := l.addresses.take(client); wait > 0 {
			return nil, &overload{l.Name, shedAddress, wait}
		}
	}
	l.requests++
	l.bytes += size
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.requests--
		l.bytes -= size
	}, nil
}

// maxAddresses is how many addresses a limit remembers at most. Beyond, it forgets the ones that were
// not heard of for longest: an address that is forgotten may burst again.
const maxAddresses = 1 << 16

// addresses is a token bucket for each address. A bucket is one time, of when it will be full again
// (the generic cell rate algorithm); there are two generations of them, the older of which is dropped
// when the younger is full.
//
// Its methods are not safe for concurrent use.
type addresses struct {
	interval, burst time.Duration // between tokens; for all tokens of a bucket
	start           time.Time

	young, old map[uint64]time.Duration // since start
}

func newAddresses(rate float64, burst int) *addresses {
	interval := time.Duration(min(max(1, float64(time.Second)/rate), float64(24*time.Hour)))
	tokens := min(int64(max(1, burst)), math.MaxInt64/4/int64(interval))
	return &addresses{interval: interval, burst: time.Duration(tokens) * interval, start: time.Now(), young: map[uint64]time.Duration{}}
}

// take takes a token of addr's and returns 0, or returns when there will be one.
func (a *addresses) take(addr netip.Addr) time.Duration {
	b := addr.As16()
	key := binary.BigEndian.Uint64(b[:]) // who has one IPv6 address has all of its /64
	if addr.Is4() {
		key = uint64(binary.BigEndian.Uint32(b[12:])) // in ::/64, where no client is
	}
	now := time.Since(a.start)
	full, ok := a.young[key]
	if !ok {
		full = a.old[key]
	}
	next := max(full, now) + a.interval
	wait := next - a.burst - now
	if wait > 0 {
		next = full
	}
	if !ok && len(a.young) >= maxAddresses/2 {
		a.young, a.old = map[uint64]time.Duration{}, a.young
	}
	a.young[key] = next
	return max(0, wait)
}

// withLimits applies the limits of all requests and those of the route.
func (s *Server) withLimits(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := requestOf(r.Context())
		if q.route.operator { // health must be told apart from overload
			next.ServeHTTP(w, r)
			return
		}
		maxBody := s.cfg.MaxBody
		if l := q.route.limits; l != nil && l.Body > 0 {
			maxBody = l.Body
		}
		if r.ContentLength > maxBody {
			fail(w, r, tooLarge(maxBody))
			return
		}
		size := r.ContentLength
		if size < 0 {
			size = maxBody
		}
		for _, l := range []*limiter{s.all, q.route.limits} {
			if l == nil {
				continue
			}
			release, err := l.admit(q.client, size)
			if o, ok := errors.AsType[*overload](err); ok {
				s.counts.shed.With(o.limit, o.reason).Inc()
				fail(w, r, err)
				return
			}
			defer release()
			l.setDeadlines(w)
		}
		s.counts.inflightBytes.Add(float64(size))
		defer s.counts.inflightBytes.Add(-float64(size))
		if r.Body != http.NoBody {
			// The outermost writer, since MaxBytesReader tells it to close the connection.
			r.Body = body{http.MaxBytesReader(q.w.ResponseWriter, r.Body, maxBody)}
		}
		next.ServeHTTP(w, r)
	})
}

// setDeadlines replaces the deadlines of the connection by the route's for this request. A writer that
// has none, in a test, stays without.
func (l *limiter) setDeadlines(w http.ResponseWriter) {
	c, now := http.NewResponseController(w), time.Now()
	if l.Read > 0 {
		_ = c.SetReadDeadline(now.Add(l.Read))
	}
	if l.Write > 0 {
		_ = c.SetWriteDeadline(now.Add(l.Write))
	}
}

// body is a request's body whose errors have a kind: they are the client's.
type body struct{ io.ReadCloser }

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return n, tooLarge(e.Limit)
	}
	return n, fmt.Errorf("%w: %w", errs.Public(errs.Invalid, "The body ended early, is malformed or took too long."), err)
}

func tooLarge(limit int64) error {
	return errs.Public(errs.TooLarge, "The body is larger than %d bytes.", limit)
}
