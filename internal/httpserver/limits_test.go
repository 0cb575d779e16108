package httpserver_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"salvage/internal/httpserver"
)

// flood holds a request to url while f runs.
func flood(t *testing.T, url string, body io.Reader, entered <-chan bool, leave chan<- bool, f func()) {
	t.Helper()
	done := make(chan string, 1)
	go func() {
		resp, err := http.Post(url, "", body)
		if err != nil {
			done <- err.Error()
			return
		}
		resp.Body.Close()
		done <- resp.Status
	}()
	select {
	case <-entered:
	case status := <-done:
		t.Fatalf("the request that was first: %s", status)
	}
	f()
	leave <- true
	if status := <-done; status != "200 OK" {
		t.Errorf("the request that was first: %s", status)
	}
}

func TestShedding(t *testing.T) {
	g := newRig(t, nil)
	entered, leave := make(chan bool), make(chan bool)
	hold := httpserver.JSON(func(w http.ResponseWriter, r *http.Request) error {
		if r.URL.RawQuery == "" {
			entered <- true
			<-leave
		}
		return hello(w, r)
	})
	one := httpserver.Limit(httpserver.Limits{Name: "one", Requests: 1})
	g.Handle("POST /one", one(hold))
	g.Handle("POST /two", one(hold))
	g.Handle("POST /bytes", httpserver.Limit(httpserver.Limits{Name: "bytes", Body: 100, Bytes: 50})(hold))
	url := g.run()

	flood(t, url+"/one", nil, entered, leave, func() {
		resp, body := do(t, "POST", url+"/two?go", nil) // shares the limit
		check(t, resp, body, 503, `{"error":"Too much at once; try again."`)
		if got := resp.Header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After %q, want 1", got)
		}
	})
	resp, body := do(t, "POST", url+"/one?go", nil)
	check(t, resp, body, 200, "hello") // the place is free again

	// 80 of 50 bytes, but alone.
	flood(t, url+"/bytes", strings.NewReader(strings.Repeat("x", 80)), entered, leave, func() {
		resp, body := do(t, "POST", url+"/bytes?go", strings.NewReader("x"))
		check(t, resp, body, 503, "Too much at once")
	})
	flood(t, url+"/bytes", strings.NewReader(strings.Repeat("x", 40)), entered, leave, func() {
		resp, body := do(t, "POST", url+"/bytes?go", strings.NewReader(strings.Repeat("x", 10)))
		check(t, resp, body, 200, "hello")
		resp, body = do(t, "POST", url+"/bytes?go", strings.NewReader(strings.Repeat("x", 11)))
		check(t, resp, body, 503, "Too much at once")
		resp, body = do(t, "POST", url+"/bytes?go", io.MultiReader(strings.NewReader("x"))) // counts as 100
		check(t, resp, body, 503, "Too much at once")
	})

	g.rec.Counter("http.shed").Tags("limit:one", "reason:requests").Value(1)
	g.rec.Counter("http.shed").Tags("limit:bytes", "reason:bytes").Value(3)
}

// The limit of all requests together leaves health alone.
func TestSheddingOfAll(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) { c.MaxRequests = 1 })
	entered, leave := make(chan bool), make(chan bool)
	g.Handle("POST /hold", httpserver.Raw(func(w http.ResponseWriter, r *http.Request) error {
		entered <- true
		<-leave
		return nil
	}))
	g.Handle("GET /x", httpserver.Raw(hello))
	url := g.run()
	flood(t, url+"/hold", nil, entered, leave, func() {
		resp, body := do(t, "GET", url+"/x", nil)
		check(t, resp, body, 503, "Too much at once")
		resp, body = do(t, "GET", url+"/__heartbeat__", nil)
		check(t, resp, body, 200, "ok")
	})
	g.rec.Counter("http.shed").Tags("limit:all", "reason:requests").Value(1)
}

func TestAddressLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		take, _ := httpserver.Addresses(2, 3) // one every 500 ms
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for range 3 {
			if wait := take(a); wait != 0 {
				t.Fatalf("within the burst: wait %s", wait)
			}
		}
		for range 5 { // refusals cost nothing
			if wait := take(a); wait != 500*time.Millisecond {
				t.Fatalf("beyond the burst: wait %s", wait)
			}
		}
		if wait := take(b); wait != 0 {
			t.Errorf("another address: wait %s", wait)
		}
		<-time.After(499 * time.Millisecond)
		if wait := take(a); wait != time.Millisecond {
			t.Errorf("after 499 ms: wait %s", wait)
		}
		<-time.After(time.Millisecond)
		if wait := take(a); wait != 0 {
			t.Errorf("after 500 ms: wait %s", wait)
		}
		<-time.After(time.Hour) // full, and not fuller
		for i := range 4 {
			if wait := take(a); (wait == 0) != (i < 3) {
				t.Errorf("request %d after an hour: wait %s", i, wait)
			}
		}
		// One IPv6 network, two others.
		for i := range 4 {
			if wait := take(netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i))); (wait == 0) != (i < 3) {
				t.Errorf("address %d of a /64: wait %s", i, wait)
			}
		}
		if wait := take(netip.MustParseAddr("2001:db8:0:1::1")); wait != 0 {
			t.Errorf("another /64: wait %s", wait)
		}
	})
}

func TestAddressMemory(t *testing.T) {
	take, n := httpserver.Addresses(0.001, 1)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 100_000 {
		if wait := take(addr(i)); wait != 0 {
			t.Fatalf("new address %d: wait %s", i, wait)
		}
		if i%1000 == 0 && i > 0 && take(addr(0)) == 0 { // asks now and then, so it is never forgotten
			t.Fatalf("the busy address was forgotten after %d others", i)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n() > httpserver.MaxAddresses {
		t.Errorf("%d addresses remembered, want at most %d", n(), httpserver.MaxAddresses)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("100,000 addresses take %d bytes", grown)
	}
	if take(addr(99_999)) == 0 {
		t.Error("the last address was forgotten")
	}
}

func TestAddressLimitOfRoute(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) { c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	g.Handle("GET /x", httpserver.Limit(httpserver.Limits{Name: "x", Rate: 0.1, Burst: 1})(httpserver.Raw(hello)))
	for _, tt := range []struct {
		remote, forwarded string
		status            int
	}{
		{"192.0.2.1:1", "", 200}, {"192.0.2.1:2", "", 503}, {"192.0.2.1:3", "198.51.100.9", 503}, // no proxy of ours: not believed
		{"10.1.1.1:1", "198.51.100.1", 200}, {"10.1.1.1:1", "198.51.100.1", 503}, {"10.1.1.1:1", "6.6.6.6, 198.51.100.1", 503},
		{"10.1.1.1:1", "198.51.100.2", 200},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		g.ServeHTTP(w, r)
		if w.Code != tt.status || tt.status == 503 && w.Header().Get("Retry-After") != "10" {
			t.Errorf("from %s for %q: status %d, Retry-After %q; want %d", tt.remote, tt.forwarded, w.Code, w.Header().Get("Retry-After"), tt.status)
		}
	}
	g.rec.Counter("http.shed").Tags("limit:x", "reason:address").Value(4)
}

func TestClientAddr(t *testing.T) {
	g := newRig(t, func(c *httpserver.Config) {
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	})
	for _, tt := range []struct{ remote, forwarded, want string }{
		{"[::ffff:192.0.2.1]:80", "", "192.0.2.1"},
		{"10.0.0.1:80", "", "10.0.0.1"},
		{"10.0.0.1:80", "junk", "10.0.0.1"},
		{"10.0.0.1:80", "192.0.2.7, 10.0.0.2, fd00::3", "192.0.2.7"},
		{"10.0.0.1:80", "10.0.0.9", "10.0.0.9"},
		{"10.0.0.1:80", "1.1.1.1, junk, 10.0.0.2", "10.0.0.2"},
		{"[2001:db8::1]:80", "1.1.1.1", "2001:db8::1"},
		{"pipe", "", "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		r.Header.Set("X-Forwarded-For", tt.forwarded)
		if got := g.ClientAddr(r).String(); got != tt.want {
			t.Errorf("from %s for %q: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}
