package statsd_test

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"salvage/metrics"
	"salvage/metrics/statsd"
)

// server is a UDP socket on the loopback.
type server struct {
	t    *testing.T
	conn *net.UDPConn
}

func listen(t *testing.T) server {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadBuffer(1 << 22)
	return server{t, conn}
}

func (s server) dial(o statsd.Options) *statsd.Client {
	s.t.Helper()
	c, err := statsd.Dial(s.conn.LocalAddr().String(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// next returns the next datagram.
func (s server) next() string {
	s.t.Helper()
	buf := make([]byte, 1<<16)
	s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := s.conn.Read(buf)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(buf[:n])
}

// all returns the datagrams that are there. A client that was closed has sent all of its own.
func (s server) all() (out []string) {
	s.t.Helper()
	end, err := net.Dial("udp", s.conn.LocalAddr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer end.Close()
	fmt.Fprint(end, "end")
	for {
		d := s.next()
		if d == "end" {
			return out
		}
		out = append(out, d)
	}
}

func event(k metrics.Kind, v float64, tags ...string) metrics.Event {
	return metrics.Event{Kind: k, Key: "KEY", Value: v, Tags: tags}
}

// Datagrams of Markus's StatsdMetrics over pystatsd 4.0.1 and DatadogMetrics over datadogpy 0.53.0, prefix pre and
// namespace ns (companions.md §1.6). Differences: plain statsd has tags in the key unless they are to be dropped, since
// series that differ by tag would overwrite each other; values are never in exponential form, which
// not every server reads; a tag cannot end the field it is in.
func TestDatagrams(t *testing.T) {
	const ns = time.Nanosecond
	seconds := func(d time.Duration) float64 { return d.Seconds() }
	for _, tt := range []struct {
		name         string
		event        metrics.Event
		statsd       string
		dropped, dog string // dropped: plain statsd without tags, if it differs
	}{
		{"incr 5", event(metrics.KindCounter, 5), "pre.KEY:5|c", "", "ns.KEY:5|c\n"},
		{"incr with tags", event(metrics.KindCounter, 5, "t1:v1", "t2"), "pre.KEY.t1.v1.t2:5|c", "pre.KEY:5|c", "ns.KEY:5|c|#t1:v1,t2\n"},
		{"incr 1e21", event(metrics.KindCounter, 1e21), "pre.KEY:1000000000000000000000|c", "", "ns.KEY:1000000000000000000000|c\n"},
		{"gauge 7", event(metrics.KindGauge, 7), "pre.KEY:7|g", "", "ns.KEY:7|g\n"},
		{"gauge 0.5", event(metrics.KindGauge, .5), "pre.KEY:0.5|g", "", "ns.KEY:0.5|g\n"},
		{"gauge 0", event(metrics.KindGauge, 0), "pre.KEY:0|g", "", "ns.KEY:0|g\n"},
		{"gauge -7", event(metrics.KindGauge, -7, "t:v"), "pre.KEY.t.v:0|g\npre.KEY.t.v:-7|g", "pre.KEY:0|g\npre.KEY:-7|g", "ns.KEY:-7|g|#t:v\n"},
		{"timing 1234", event(metrics.KindTimer, 1.234), "pre.KEY:1234.000000|ms", "", "ns.KEY:1234|ms\n"},
		{"timing 12.345678", event(metrics.KindTimer, seconds(12345678*ns)), "pre.KEY:12.345678|ms", "", "ns.KEY:12.345678|ms\n"},
		{"timing 1 ns", event(metrics.KindTimer, seconds(ns)), "pre.KEY:0.000001|ms", "", "ns.KEY:0.000001|ms\n"},
		{"histogram 0.5", event(metrics.KindHistogram, .5), "pre.KEY:0.500000|ms", "", "ns.KEY:0.5|h\n"},
		{"tag with more", event(metrics.KindHistogram, 1, "we ird:va,lue|x\n#@", "é:ü/z.y"), "pre.KEY.we ird.va_lue_x___.é.ü_z_y:1.000000|ms", "pre.KEY:1.000000|ms", "ns.KEY:1|h|#we ird:va_lue_x___,é:ü/z.y\n"},
		{"key with more", metrics.Event{Key: "a:b|c\n", Value: 1}, "pre.a_b_c_:1|c", "", "ns.a_b_c_:1|c\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.dropped == "" {
				tt.dropped = tt.statsd
			}
			for i, o := range []statsd.Options{{Prefix: "pre"}, {Prefix: ".pre.", DropTags: true}, {Prefix: "ns", DogStatsD: true}} {
				want := []string{tt.statsd, tt.dropped, tt.dog}[i]
				s := listen(t)
				c := s.dial(o)
				c.Emit(tt.event)
				if lost := c.Flush(0); lost != 0 {
					t.Errorf("lost %d", lost)
				}
				if got := s.next(); got != want {
					t.Errorf("%+v: got %q, want %q", o, got, want)
				}
			}
		})
	}
}

// The whole way: counts since the start, then deltas; gauges each time; every timing; a last flush at the end.
func TestRegistry(t *testing.T) {
	plain, dog := listen(t), listen(t)
	r := metrics.New("salvage")
	c := r.Counter("throttle", "T.", metrics.Tag("result", "accept", "reject"))
	g, tm := r.Gauge("depth", "D."), r.Timer("save", "S.", metrics.Tag("result", "success", "fail"))
	c.With("accept").Add(3)
	c.With("accept").Inc()
	r.Configure(
		metrics.Output{Backend: plain.dial(statsd.Options{}), Every: time.Hour, Aggregate: true},
		metrics.Output{Backend: dog.dial(statsd.Options{DogStatsD: true, Prefix: "ns"}), Every: time.Hour, Aggregate: true, Tags: []string{"host:web1"}},
	)
	g.Set(-2)
	tm.With("fail").Observe(1500 * time.Microsecond)
	tm.With("success").Observe(2 * time.Millisecond)
	c.With("reject").Inc()
	if err := r.Configure(metrics.Output{Backend: dog.dial(statsd.Options{DogStatsD: true}), Every: time.Hour, Aggregate: true}); err != nil {
		t.Fatal(err)
	}
	c.With("reject").Inc()
	if err := r.Configure(); err != nil {
		t.Fatal(err)
	}
	check := func(got []string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
	check(plain.all(), "salvage.save.result.fail:1.500000|ms\nsalvage.save.result.success:2.000000|ms\nsalvage.depth:0|g\nsalvage.depth:-2|g\n"+
		"salvage.throttle.result.accept:4|c\nsalvage.throttle.result.reject:1|c")
	check(dog.all(), "ns.salvage.save:1.5|ms|#result:fail,host:web1\nns.salvage.save:2|ms|#result:success,host:web1\nns.salvage.depth:-2|g|#host:web1\n"+
		"ns.salvage.throttle:4|c|#result:accept,host:web1\nns.salvage.throttle:1|c|#result:reject,host:web1\n",
		"salvage.depth:-2|g\nsalvage.throttle:1|c|#result:reject\n")
}

// Datagrams hold whole events, as many as fit, whatever their sizes.
func TestBatches(t *testing.T) {
	options := []statsd.Options{{}, {DogStatsD: true}, {DogStatsD: true, MaxSize: 1, Queue: 300}}
	for size := 40; size < 60; size++ { // so that some are full to the byte
		options = append(options, statsd.Options{MaxSize: size, Queue: 300}, statsd.Options{DogStatsD: true, MaxSize: size, Queue: 300})
	}
	for _, o := range options {
		s := listen(t)
		c := s.dial(o)
		size, end := o.MaxSize, 0 // of the line feed
		if o.DogStatsD {
			end = 1
		}
		if size == 0 {
			size = []int{512, 1432}[end]
		}
		var want []string
		for i := range 300 {
			key := strings.Repeat("k", 1+i%37)
			c.Emit(metrics.Event{Kind: metrics.KindGauge, Key: key, Value: float64(-i)})
			lines := fmt.Sprintf("%s:%d|g", key, -i)
			if !o.DogStatsD && i > 0 {
				lines = key + ":0|g\n" + lines
			}
			if last := len(want) - 1; last >= 0 && len(want[last])+1+len(lines)+end <= size {
				want[last] += "\n" + lines
			} else {
				want = append(want, lines)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		got := s.all()
		for i := range want {
			want[i] += "\n"[:end]
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: got\n%q\nwant\n%q", o, got, want)
		}
	}
}

// A network that takes nothing holds nobody up; what finds no room is counted by the event.
func TestQueue(t *testing.T) {
	network, far := net.Pipe() // a write waits for a read
	c := statsd.NewClient(network, statsd.Options{DogStatsD: true, Queue: 2, MaxSize: 20})
	flush := func(n int) (lost int) {
		for i := range 3 {
			c.Emit(metrics.Event{Key: fmt.Sprintf("k%d.%d", n, i), Value: 1})
		}
		return c.Flush(0)
	}
	// Lines of 9 bytes: a flush makes a datagram of two and one of one event.
	first := flush(0)
	lost := first
	for n := 1; n < 5; n++ {
		lost += flush(n)
	}
	c.Emit(metrics.Event{Key: "nan", Value: math.NaN()})
	c.Emit(metrics.Event{Key: "inf", Value: math.Inf(-1)})
	if n := c.Flush(0); n != 2 {
		t.Errorf("lost %d, want what is no number", n)
	}
	var read []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 100)
		for {
			n, err := far.Read(buf)
			if err != nil {
				return
			}
			read = append(read, string(buf[:n]))
		}
	}()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	<-done
	events := strings.Count(strings.Join(read, ""), "\n")
	if events+lost != 15 || len(read) < 2 || len(read) > 3 {
		t.Errorf("%d events arrived in %d datagrams, %d are lost; want 15 events, and datagrams for the queue and the one being sent", events, len(read), lost)
	}
	c.Emit(metrics.Event{Key: "late", Value: 1})
	if n := c.Flush(0); n != 1 {
		t.Errorf("%d lost after Close, want 1", n)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Where nothing can be sent, Close says what was lost.
func TestUnsent(t *testing.T) {
	network, far := net.Pipe()
	far.Close()
	c := statsd.NewClient(network, statsd.Options{})
	c.Emit(event(metrics.KindCounter, 1))
	c.Emit(event(metrics.KindGauge, -1))
	if err := c.Close(); err == nil || !strings.Contains(err.Error(), "2 events were lost") {
		t.Errorf("Close: %v", err)
	}
	if _, err := statsd.Dial("127.0.0.1", statsd.Options{}); err == nil {
		t.Error("no port, no error")
	}
}

// Many senders: each line arrives whole and once.
func TestConcurrent(t *testing.T) {
	s := listen(t)
	c := s.dial(statsd.Options{DogStatsD: true, Queue: 10000})
	var wg sync.WaitGroup
	const workers, rounds = 4, 500
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				c.Emit(metrics.Event{Key: fmt.Sprint("w", w), Value: float64(i)})
				if i%100 == 0 {
					c.Flush(0)
				}
			}
		})
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, line := range strings.Split(strings.Join(s.all(), ""), "\n") {
		seen[line]++
	}
	for w := range workers {
		for i := range rounds {
			if line := fmt.Sprintf("w%d:%d|c", w, i); seen[line] != 1 {
				t.Fatalf("%q arrived %d times", line, seen[line])
			}
		}
	}
}

func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("-short runs with the race detector, under which sync.Pool forgets on purpose")
	}
	s := listen(t)
	for _, o := range []statsd.Options{{}, {DogStatsD: true}} {
		r := metrics.New("app")
		r.Configure(metrics.Output{Backend: s.dial(o), Every: time.Hour, Aggregate: true, Tags: []string{"host:web1"}})
		tm := r.Timer("t", "T.", metrics.Tag("rule"))
		if n := testing.AllocsPerRun(5000, func() { tm.With("x").Observe(1234567) }); n != 0 {
			t.Errorf("%+v: %v allocations", o, n)
		}
		r.Configure()
	}
}

// Whatever a filter makes of a key and a tag: one line a value, with the fields where they belong.
func FuzzEmit(f *testing.F) {
	f.Add("a.b", "t:v", 1.5, true)
	f.Add("a:b|c\n", "x,y|#z", -1.0, false)
	f.Add("", "", math.Inf(1), true)
	f.Fuzz(func(t *testing.T, key, tag string, v float64, dog bool) {
		network, far := net.Pipe()
		c := statsd.NewClient(network, statsd.Options{DogStatsD: dog, DropTags: len(key)%2 == 0, Prefix: tag})
		c.Emit(metrics.Event{Kind: metrics.KindHistogram, Key: key, Value: v, Tags: []string{tag, "end"}})
		lost := c.Flush(0)
		if v-v != 0 {
			if lost != 1 {
				t.Errorf("%v was not lost", v)
			}
			network.Close()
			return
		}
		buf := make([]byte, 1<<20)
		n, err := far.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		line := strings.TrimSuffix(string(buf[:n]), "\n")
		if strings.ContainsAny(line, "\n\r") || strings.Contains(line, "@") {
			t.Errorf("%q", line)
		}
		key, rest, _ := strings.Cut(line, ":")
		fields := strings.Split(rest, "|")
		if strings.ContainsAny(key, "|,#") || len(fields) != map[bool]int{true: 3, false: 2}[dog] || dog && strings.Count(fields[2], ",") != 1 {
			t.Errorf("%q has fields %q", line, fields)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}
