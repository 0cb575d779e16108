package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"salvage/metrics"
)

// backend is a Memory that says when it is flushed and closed.
type backend struct {
	metrics.Memory
	mu      sync.Mutex
	flushes []time.Duration
	lost    int
	closed  bool
	err     error
	late    int // events after Close
}

func (b *backend) Emit(e metrics.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		b.late++
	}
	b.Memory.Emit(e)
}

func (b *backend) Flush(since time.Duration) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flushes = append(b.flushes, since)
	return b.lost
}

func (b *backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.err
}

type memory interface{ Events() []metrics.Event }

// lines returns the events of m.
func lines(m memory) string {
	var b strings.Builder
	for _, e := range m.Events() {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

func checkLines(t *testing.T, what string, m memory, want string) {
	t.Helper()
	if got := lines(m); got != want {
		t.Errorf("%s got:\n%swant:\n%s", what, got, want)
	}
}

func TestEvents(t *testing.T) {
	r := metrics.New("app")
	c := r.Counter("c", "C.", metrics.Tag("result", "ok"), metrics.Tag("host"))
	g, h, tm := r.Gauge("g", "G."), r.Histogram("h", "H.", metrics.Tag("a")), r.Timer("t", "T.", metrics.Tag("result"))
	c.With("ok", "web1").Add(5) // before anybody listens
	var m metrics.Memory
	if err := r.Configure(metrics.Output{Backend: &m}); err != nil {
		t.Fatal(err)
	}
	c.With("ok", "").Inc()
	c.With("ok", "Web 1").Add(2)
	c.Inc()
	g.Set(4)
	g.Add(-6.5)
	h.With("x").Observe(.25)
	tm.Observe(12345678 * time.Nanosecond)
	tm.Start().StopErr(nil)
	sub := r.Sub("part").Sub("of")
	sub.Counter("it", "I.").Inc()
	events := m.Events()
	checkLines(t, "Memory", &m, fmt.Sprintf(`counter app.c [result:ok host_] 1
counter app.c [result:ok host:web_1] 2
counter app.c [result:other host:other] 1
gauge app.g 4
gauge app.g -2.5
histogram app.h [a:x] 0.25
timer app.t [result:other] 0.012345678
timer app.t [result:success] %v
counter app.part.of.it 1
`, events[7].Value))
	if v := events[6].Milliseconds(); v != 12.345678 {
		t.Errorf("%v ms", v)
	}
	if err := r.Configure(); err != nil {
		t.Fatal(err)
	}
	c.Inc()
	if n := len(m.Events()); n != len(events) {
		t.Errorf("%d events after the backend was gone", n-len(events))
	}
	if (*metrics.Registry)(nil).Sub("x") != nil {
		t.Error("Sub of a nil registry")
	}
}

// Each backend has tags and filters of its own, and sees nothing of the others'.
func TestTagsAndFilters(t *testing.T) {
	r := metrics.New("")
	c := r.Counter("c", "C.", metrics.Tag("a"))
	d := r.Counter("d", "D.")
	var plain, tagged, filtered metrics.Memory
	own := []string{"host:Web1", "env"}
	rename := func(e metrics.Event) (metrics.Event, bool) {
		e.Key, e.Tags = "x."+e.Key, append(slices.Clone(e.Tags), "late:1")
		return e, true
	}
	drop := func(e metrics.Event) (metrics.Event, bool) {
		return e, e.Key != "d" && !slices.Contains(e.Tags, "a:secret")
	}
	r.Configure(
		metrics.Output{Backend: &tagged, Tags: own},
		metrics.Output{Backend: &filtered, Tags: []string{"host:web2"}, Filters: []metrics.Filter{drop, rename}},
		metrics.Output{Backend: &plain},
	)
	own[0] = "changed"
	for range 2 {
		c.With("x").Inc()
	}
	c.With("secret").Inc()
	d.Inc()
	checkLines(t, "tagged", &tagged, "counter c [a:x host:web1 env] 1\ncounter c [a:x host:web1 env] 1\ncounter c [a:secret host:web1 env] 1\ncounter d [host:web1 env] 1\n")
	checkLines(t, "filtered", &filtered, "counter x.c [a:x host:web2 late:1] 1\ncounter x.c [a:x host:web2 late:1] 1\n")
	checkLines(t, "plain", &plain, "counter c [a:x] 1\ncounter c [a:x] 1\ncounter c [a:secret] 1\ncounter d 1\n")
}

func TestAggregate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New("")
		c := r.Counter("c", "C.", metrics.Tag("a"))
		r.Counter("idle", "I.")
		g, tm := r.Gauge("g", "G."), r.Timer("t", "T.")
		c.With("x").Add(3)
		sum, each, slow := &backend{}, &backend{}, &backend{}
		r.Configure(
			metrics.Output{Backend: sum, Every: time.Second, Aggregate: true, Tags: []string{"b"}},
			metrics.Output{Backend: each, Every: 2 * time.Second},
			metrics.Output{Backend: slow, Every: -1, Aggregate: true},
		)
		g.Set(1)
		c.With("x").Inc()
		c.With("x").Inc()
		tm.Observe(time.Second)
		time.Sleep(1500 * time.Millisecond)
		g.Set(2)
		g.Set(3)
		time.Sleep(time.Second)
		c.Inc()
		next := &backend{err: errors.New("close")}
		each.err = errors.New("each")
		if err := r.Configure(metrics.Output{Backend: next, Every: time.Second, Aggregate: true}); err == nil || err.Error() != "each" {
			t.Errorf("Configure: %v", err)
		}
		c.Inc()
		if err := r.Configure(); err == nil || err.Error() != "close" {
			t.Errorf("Configure: %v", err)
		}
		checkLines(t, "sum", sum, `timer t [b] 1
counter c [a:x b] 5
gauge g [b] 1
gauge g [b] 3
counter c [a:other b] 1
gauge g [b] 3
`)
		checkLines(t, "each", each, "gauge g 1\ncounter c [a:x] 1\ncounter c [a:x] 1\ntimer t 1\ngauge g 2\ngauge g 3\ncounter c [a:other] 1\n")
		checkLines(t, "slow", slow, "timer t 1\ncounter c [a:other] 1\ncounter c [a:x] 5\ngauge g 3\n")
		checkLines(t, "next", next, "counter c [a:other] 1\ngauge g 3\n")
		for what, check := range map[string]struct {
			b    *backend
			want []time.Duration
		}{
			"sum":  {sum, []time.Duration{time.Second, time.Second, time.Second / 2}},
			"each": {each, []time.Duration{2 * time.Second, time.Second / 2}},
			"slow": {slow, []time.Duration{2500 * time.Millisecond}},
			"next": {next, []time.Duration{0}},
		} {
			if !slices.Equal(check.b.flushes, check.want) || !check.b.closed {
				t.Errorf("%s: flushed after %v, want %v; closed %v", what, check.b.flushes, check.want, check.b.closed)
			}
		}
	})
}

// What outputs that do not aggregate heard of, or nobody, is not forgotten for those that do.
func TestAggregateLater(t *testing.T) {
	r := metrics.New("")
	c := r.Counter("c", "C.")
	each := func() metrics.Output { return metrics.Output{Backend: &metrics.Memory{}, Every: -1} }
	c.Inc()
	r.Configure(each())
	c.Inc()
	var first, second backend
	r.Configure(metrics.Output{Backend: &first, Every: -1, Aggregate: true}, each())
	c.Inc()
	r.Configure(each())
	c.Inc()
	r.Configure()
	c.Inc()
	r.Configure(metrics.Output{Backend: &second, Every: -1, Aggregate: true})
	r.Configure()
	checkLines(t, "first", &first, "counter c 3\n")
	checkLines(t, "second", &second, "counter c 2\n")
}

// What a backend loses is counted, and reported to the others.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New("app")
		var m metrics.Memory
		r.Configure(metrics.Output{Backend: &backend{lost: 3}, Name: "Stats-D"}, metrics.Output{Backend: &m})
		time.Sleep(25 * time.Second)
		r.Configure()
		checkDump(t, r, "counter app.metrics.lost \n  [\"stats-d\"] 9\n")
		checkLines(t, "Memory", &m, strings.Repeat("counter app.metrics.lost [backend:stats-d] 3\n", 2))
	})
}

func TestConfigureNil(t *testing.T) {
	b := &backend{err: io.ErrClosedPipe}
	if err := (*metrics.Registry)(nil).Configure(metrics.Output{Backend: b}); !errors.Is(err, io.ErrClosedPipe) || !b.closed {
		t.Errorf("%v, closed %v", err, b.closed)
	}
}

// Backends are swapped while others count: each event and each count reaches exactly one of them, and none
// that is closed.
func TestReconfigure(t *testing.T) {
	for _, aggregate := range []bool{false, true} {
		t.Run(fmt.Sprint("aggregate ", aggregate), func(t *testing.T) {
			r := metrics.New("")
			c := r.Counter("c", "C.", metrics.Tag("worker"))
			tm := r.Timer("t", "T.")
			const workers, rounds = 4, 5000
			var wg sync.WaitGroup
			counting := make(chan struct{})
			var all []*backend
			swap := func() {
				b := &backend{}
				all = append(all, b)
				r.Configure(metrics.Output{Backend: b, Every: time.Millisecond, Aggregate: aggregate})
			}
			swap()
			for w := range workers {
				wg.Go(func() {
					for range rounds {
						c.With(fmt.Sprint(w)).Inc()
						tm.Observe(time.Second)
					}
				})
			}
			go func() { wg.Wait(); close(counting) }()
			for done := false; !done; {
				select {
				case <-counting:
					done = true
				default:
				}
				swap()
			}
			r.Configure()
			sums := map[string]float64{}
			for _, b := range all {
				if b.late > 0 || !b.closed {
					t.Fatalf("%d events after Close; closed %v", b.late, b.closed)
				}
				for _, e := range b.Events() {
					sums[e.Key+fmt.Sprint(e.Tags)] += e.Value
				}
			}
			t.Logf("%d backends", len(all))
			for w := range workers {
				if got := sums[fmt.Sprintf("c[worker:%d]", w)]; got != rounds {
					t.Errorf("worker %d: backends heard of %v, want %d", w, got, rounds)
				}
			}
			if sums["t[]"] != workers*rounds {
				t.Errorf("backends heard of %v timings, want %d", sums["t[]"], workers*rounds)
			}
		})
	}
}

// An event that was on its way to outputs that were replaced meanwhile goes to the new ones.
func TestLateEvent(t *testing.T) {
	r := metrics.New("")
	h := r.Histogram("h", "H.")
	old, next := &backend{}, &backend{}
	r.Configure(metrics.Output{Backend: old})
	begin, end := metrics.Behind(r)
	r.Configure(metrics.Output{Backend: next})
	begin()
	done := make(chan struct{})
	go func() { h.Observe(1); close(done) }()
	time.Sleep(20 * time.Millisecond) // so that it tries
	end()
	<-done
	checkLines(t, "closed", old, "")
	checkLines(t, "new", next, "histogram h 1\n")
	r.Configure()
}

// A backend is not closed before it has taken the event that it is being given.
func TestSlowBackend(t *testing.T) {
	r := metrics.New("")
	h := r.Histogram("h", "H.")
	b := &slowBackend{taking: make(chan struct{}), take: make(chan struct{})}
	r.Configure(metrics.Output{Backend: b})
	go h.Observe(1)
	<-b.taking
	configured := make(chan struct{})
	go func() { r.Configure(); close(configured) }()
	time.Sleep(20 * time.Millisecond) // so that it tries
	close(b.take)
	<-configured
	checkLines(t, "slow", b, "histogram h 1\n")
	if b.late != 0 {
		t.Error("closed before it had the event")
	}
}

type slowBackend struct {
	backend
	taking, take chan struct{}
}

func (b *slowBackend) Emit(e metrics.Event) {
	close(b.taking)
	<-b.take
	b.backend.Emit(e)
}

// The rules of Markus's generate_tag, as added tags follow them.
func TestTagRules(t *testing.T) {
	for tag, want := range map[string]string{
		"env": "env", "env:": "env", "env:  ": "env", "Env:Prod": "env:prod", "a b:c d": "a_b:c_d", "k:a:b": "k:a_b", "k: x ": "k:_x_",
		"k:é/._-,|#@": "k:_/._-____", "1st:x": "a1st:x", "_x": "a_x", "host": "host_", "HOST:": "host_", "device": "device_", "source": "source_",
		"host:foo": "host:foo", ":x": "a:x", strings.Repeat("k", 300): strings.Repeat("k", 200), "k:" + strings.Repeat("v", 300): "k:" + strings.Repeat("v", 198),
	} {
		r := metrics.New("")
		var m metrics.Memory
		r.Configure(metrics.Output{Backend: &m, Tags: []string{tag}})
		r.Counter("c", "C.").Inc()
		if got := m.Events()[0].Tags[0]; got != want {
			t.Errorf("%q became %q, want %q", tag, got, want)
		}
	}
}

// Counters stay cheap beside outputs that aggregate, and handing over events takes no allocation either.
func TestEventAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("-short runs with the race detector, under which sync.Pool forgets on purpose")
	}
	r := metrics.New("")
	c := r.Counter("c", "C.", metrics.Tag("a"))
	h, tm := r.Histogram("h", "H."), r.Timer("t", "T.", metrics.Tag("a"))
	quiet := slog.New(slog.DiscardHandler)
	rollup := metrics.Rollup(quiet)
	for name, o := range map[string]metrics.Output{
		"aggregating": {Backend: nothing{}, Aggregate: true}, "each": {Backend: nothing{}}, "tags": {Backend: nothing{}, Tags: []string{"b"}},
		"filter":      {Backend: nothing{}, Filters: []metrics.Filter{func(e metrics.Event) (metrics.Event, bool) { return e, e.Key != "h" }}},
		"log, silent": {Backend: metrics.Log(quiet)}, "rollup": {Backend: rollup}, "cloudwatch": {Backend: metrics.CloudWatch(io.Discard)},
	} {
		r.Configure(o)
		n := testing.AllocsPerRun(1000, func() {
			c.With("x").Inc()
			h.Observe(3)
			tm.With("x").Observe(1)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	r.Configure()
}

type nothing struct{}

func (nothing) Emit(metrics.Event)      {}
func (nothing) Flush(time.Duration) int { return 0 }
