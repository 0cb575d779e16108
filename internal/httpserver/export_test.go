package httpserver

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const MaxAddresses = maxAddresses

var (
	AvailableMemory = availableMemory
	PprofHandler    = pprofHandler
)

func (s *Server) Serve(ctx context.Context, ln net.Listener) error { return s.serve(ctx, ln) }

func (s *Server) ClientAddr(r *http.Request) netip.Addr { return s.clientAddr(r) }

// Addresses returns a limiter by address, and the number of those it remembers.
func Addresses(rate float64, burst int) (take func(netip.Addr) time.Duration, n func() int) {
	a := newAddresses(rate, burst)
	return a.take, func() int { return len(a.young) + len(a.old) }
}

func LayerNames() (names []string) {
	for _, l := range layers {
		names = append(names, l.name)
	}
	return names
}
