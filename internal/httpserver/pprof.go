package httpserver

import (
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"salvage/config"
)

// loopbackAddr accepts addresses only this machine can reach, and none.
var loopbackAddr = config.Parser[string]{Name: "address", Syntax: "loopback host:port, or empty", Parse: func(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	s, err := config.Addr.Parse(s)
	if err == nil && !isLoopback(s) {
		err = errors.New("is not a loopback address")
	}
	return s, err
}}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// pprofHandler serves Go's profiles. It refuses requests for another host, which come from web pages
// whose name was made to resolve to this machine.
func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			http.Error(w, "not for this host", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
