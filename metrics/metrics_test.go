package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"salvage/metrics"
)

func mustPanic(t *testing.T, with string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, with) {
			t.Errorf("panic: %s, want %q in it", got, with)
		}
	}()
	f()
}

// dump returns one line a series, without unused metrics of the registry itself.
func dump(r *metrics.Registry) string {
	var b strings.Builder
	for _, f := range r.Snapshot().Families {
		if (strings.HasSuffix(f.Key, "metrics.overflow") || strings.HasSuffix(f.Key, "metrics.lost")) && len(f.Series) == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s %s %s\n", f.Kind, f.Key, f.Unit)
		for _, s := range f.Series {
			if f.Kind == metrics.KindCounter || f.Kind == metrics.KindGauge {
				fmt.Fprintf(&b, "  %q %v\n", s.Tags, s.Value)
			} else {
				fmt.Fprintf(&b, "  %q %d %v %v\n", s.Tags, s.Count, s.Sum, s.Buckets)
			}
		}
	}
	return b.String()
}

func checkDump(t *testing.T, r *metrics.Registry, want string) {
	t.Helper()
	if got := dump(r); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func TestSnapshot(t *testing.T) {
	r := metrics.New("app")
	g := r.Gauge("z.gauge", "G.", metrics.Unit("bytes"))
	g.Set(5)
	g.Add(-7.5)
	c := r.Counter("counter", "C.")
	c.Inc()
	c.Add(41)
	h := r.Histogram("hist", "H.", metrics.Buckets(1, 2.5, 10))
	for _, v := range []float64{-1, 1, 1.1, 2.5, 2.6, 10, 10.5, math.Inf(1), math.NaN()} {
		h.Observe(v)
	}
	tm := r.Timer("timer", "T.", metrics.Buckets(.5, 1))
	tm.Observe(250 * time.Millisecond)
	tm.Observe(750 * time.Millisecond)
	tm.Observe(-time.Hour)
	r.Counter("unused", "U.", metrics.Tag("a"))
	checkDump(t, r, `counter app.counter 
  [] 42
histogram app.hist 
  [] 8 +Inf [2 2 2 2]
timer app.timer seconds
  [] 3 1 [2 1 0]
counter app.unused 
gauge app.z.gauge bytes
  [] -2.5
`)
}

func TestTags(t *testing.T) {
	r := metrics.New("")
	c := r.Counter("c", "C.", metrics.Tag("result", "accept", "reject"), metrics.Tag("host"))
	bound := c.With("accept", "web1")
	bound.Inc()
	c.With("accept", "web1").Inc()
	if c.With("accept", "web1") != bound {
		t.Error("With returned two handles for the same values")
	}
	c.With("ACCEPT", "Web1").Inc()
	c.With("defer", "web1").Add(10)
	c.With("maybe", "web1").Add(10)
	c.With("reject", "").Inc()
	c.With("reject", "a:b,c|d#e\nf é/g.h_i-j").Inc()
	c.With("reject", strings.Repeat("x", 300)).Inc()
	c.Inc()
	c.With("nope", "other").Inc()
	for i := range 100 { // more than the first tables hold
		c.With("reject", fmt.Sprint("h", i%50)).Inc()
	}
	g := r.Gauge("g", "G.", metrics.Tag("a"))
	g.With("y").Set(1)
	g.With("x").Set(0)
	h := r.Histogram("h", "H.", metrics.Tag("a"), metrics.Buckets(1))
	h.With("x").Observe(2)
	want := `counter c 
  ["accept" "web1"] 3
  ["other" "other"] 2
  ["other" "web1"] 20
  ["reject" ""] 1
  ["reject" "a_b_c_d_e_f__/g.h_i-j"] 1
`
	var hosts []string
	for i := range 50 {
		hosts = append(hosts, fmt.Sprintf("  [\"reject\" \"h%d\"] 2\n", i))
	}
	got := dump(r)
	for _, line := range hosts {
		if !strings.Contains(got, line) {
			t.Errorf("no %s", line)
		}
		got = strings.ReplaceAll(got, line, "")
	}
	want += "  [\"reject\" \"" + strings.Repeat("x", 200-len("host:")) + "\"] 1\n"
	want += `gauge g 
  ["x"] 0
  ["y"] 1
histogram h 
  ["x"] 1 2 [0 1]
`
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	mustPanic(t, `counter "c": wrong number of tag values`, func() { c.With("accept") })
	mustPanic(t, "With on a handle", func() { bound.With("accept", "web1") })
	mustPanic(t, "wrong number", func() { r.Counter("d", "D.").With("x") })
	mustPanic(t, "negative count", func() { c.Add(-1) })
}

func TestMaxSeries(t *testing.T) {
	r := metrics.New("p")
	c := r.Counter("c", "C.", metrics.Tag("a"), metrics.Tag("b"), metrics.MaxSeries(2))
	for range 2 {
		for _, v := range []string{"1", "2", "3", "4"} {
			c.With(v, v).Inc()
		}
	}
	checkDump(t, r, `counter p.c 
  ["1" "1"] 2
  ["2" "2"] 2
  ["other" "other"] 4
counter p.metrics.overflow 
  ["p.c"] 4
`)
	many := r.Counter("many", "M.", metrics.Tag("a"))
	for i := range 1500 {
		many.With(fmt.Sprint(i)).Inc()
	}
	for _, f := range r.Snapshot().Families {
		if f.Key == "p.many" && len(f.Series) != 1001 {
			t.Errorf("%d series, want 1000 and the overflow", len(f.Series))
		}
	}
}

func TestTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metrics.New("")
		plain := r.Timer("plain", "P.", metrics.Buckets(1))
		rule := r.Timer("rule", "R.", metrics.Tag("rule"), metrics.Tag("result", "success", "fail"), metrics.Tag("host"), metrics.Buckets(1))
		only := r.Timer("only", "O.", metrics.Tag("result"), metrics.Buckets(1))
		work := func(s metrics.Span, failure error, panics any) (err error) {
			defer s.StopErr(&err)
			time.Sleep(2 * time.Second)
			if panics != nil {
				panic(panics)
			}
			return failure
		}
		failure := errors.New("x")
		s := plain.Start()
		time.Sleep(time.Second)
		s.Stop()
		work(plain.Start(), failure, nil)
		work(rule.With("a", "h").Start(), failure, nil)
		work(rule.With("a", "h").Start(), nil, nil)
		work(rule.With("a", "h").Start(), nil, nil)
		rule.With("a", "h").Start().Stop()
		work(rule.With("b", "fail", "h").Start(), nil, nil)
		mustPanic(t, "boom", func() { work(rule.With("c", "h").Start(), nil, "boom") })
		mustPanic(t, "boom", func() { work(plain.Start(), nil, "boom") })
		rule.With("unused", "h")
		only.Start().StopErr(nil)
		only.With().Start().StopErr(&failure)
		checkDump(t, r, `timer only seconds
  ["fail"] 1 0 [1 0]
  ["success"] 1 0 [1 0]
timer plain seconds
  [] 3 5 [1 2]
timer rule seconds
  ["a" "fail" "h"] 1 2 [0 1]
  ["a" "other" "h"] 1 0 [1 0]
  ["a" "success" "h"] 2 4 [0 2]
  ["b" "fail" "h"] 0 0 [0 0]
  ["b" "success" "h"] 1 2 [0 1]
  ["c" "fail" "h"] 1 2 [0 1]
`)
		mustPanic(t, "wrong number", func() { rule.With("a") })
		mustPanic(t, "With on a handle", func() { only.With("success").With() })
	})
}

func TestNil(t *testing.T) {
	var r *metrics.Registry
	c, g, h, tm := r.Counter("!", ""), r.Gauge("!", ""), r.Histogram("!", ""), r.Timer("!", "")
	c.With("a").Inc()
	c.Add(1)
	g.With("a").Set(1)
	g.Add(1)
	h.With("a").Observe(1)
	tm.With("a").Observe(1)
	tm.Start().Stop()
	tm.Start().StopErr(nil)
	metrics.Span{}.Stop()
	if len(r.Snapshot().Families) != 0 || len(r.Describe()) != 0 || r.WriteMarkdown(io.Discard) != nil {
		t.Error("a nil registry has metrics")
	}
}

func TestDeclarationPanics(t *testing.T) {
	r := metrics.New("")
	r.Counter("a.b", "A.")
	mustPanic(t, `"a.b": declared twice`, func() { r.Gauge("a.b", "A.") })
	mustPanic(t, `"a_b": declared twice`, func() { r.Counter("a_b", "A.") })
	mustPanic(t, "declared twice", func() { r.Counter("metrics.overflow", "A.") })
	mustPanic(t, "no help", func() { r.Counter("c", "") })
	for _, key := range []string{"", "A", "1", ".a", "a.", "a..b", "a b", "_a", "a-b", "é"} {
		mustPanic(t, "the key is not", func() { r.Counter(key, "C.") })
	}
	mustPanic(t, "the key is not", func() { metrics.New("P") })
	mustPanic(t, `tag "A" is not`, func() { r.Counter("c", "C.", metrics.Tag("A")) })
	mustPanic(t, `tag "a.b" is not`, func() { r.Counter("c", "C.", metrics.Tag("a.b")) })
	mustPanic(t, `tag "a" is declared twice`, func() { r.Counter("c", "C.", metrics.Tag("a"), metrics.Tag("a")) })
	for _, v := range []string{"", "A", "a b", "a:b"} {
		mustPanic(t, "unusable value", func() { r.Counter("c", "C.", metrics.Tag("a", v)) })
	}
	mustPanic(t, "more than 8 tags", func() {
		var tags []metrics.Opt
		for i := range 9 {
			tags = append(tags, metrics.Tag(fmt.Sprint("t", i)))
		}
		r.Counter("c", "C.", tags...)
	})
	for _, b := range [][]float64{{2, 1}, {1, 1}, {math.NaN()}, {1, math.Inf(1)}} {
		mustPanic(t, "not finite and ascending", func() { r.Histogram("c", "C.", metrics.Buckets(b...)) })
	}
	mustPanic(t, "buckets without", func() { r.Gauge("c", "C.", metrics.Buckets(1)) })
	mustPanic(t, "unit of a timer", func() { r.Timer("c", "C.", metrics.Unit("ms")) })
	if n := len(r.Describe()); n != 3 {
		t.Errorf("%d metrics declared, want a.b, metrics.lost and metrics.overflow: refused ones must leave nothing", n)
	}
}

// Counts add up while handles are looked up, tables grow, and snapshots are taken.
func TestConcurrent(t *testing.T) {
	r := metrics.New("")
	c := r.Counter("c", "C.", metrics.Tag("a"), metrics.MaxSeries(100))
	g := r.Gauge("g", "G.")
	h := r.Histogram("h", "H.", metrics.Tag("a"), metrics.Buckets(10, 100))
	const workers, rounds, values = 8, 20, 200
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range rounds * values {
				v := fmt.Sprint(i % values)
				c.With(v).Inc()
				g.Add(1)
				h.With(v).Observe(float64(i % values))
				if i%values == 0 {
					r.Snapshot()
				}
			}
		})
	}
	wg.Wait()
	sum := map[string]float64{}
	for _, f := range r.Snapshot().Families {
		for _, s := range f.Series {
			if s.Tags != nil && f.Key == "c" && s.Tags[0] != "other" && s.Value != workers*rounds {
				t.Errorf("c %q = %v, want %d", s.Tags, s.Value, workers*rounds)
			}
			sum[f.Key] += s.Value + float64(s.Count)
			sum[f.Key+" sum"] += s.Sum
		}
	}
	const total = workers * rounds * values
	if sum["c"] != total || sum["g"] != total || sum["h"] != total || sum["h sum"] != total*(values-1)/2 || sum["metrics.overflow"] != total/2 {
		t.Errorf("sums %v, want %d each", sum, total)
	}
}

func TestWriteMarkdown(t *testing.T) {
	r := metrics.New("app")
	r.Timer("t", "How long\nit | took.", metrics.Tag("result", "success", "fail"), metrics.Tag("host"))
	r.Gauge("b", "Bytes.", metrics.Unit("bytes"))
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	want := "| Metric | Kind | Unit | Tags | About |\n|---|---|---|---|---|\n" +
		"| `app.b` | gauge | bytes |  | Bytes. |\n" +
		"| `app.metrics.lost` | counter |  | `backend` | Events that a backend had to drop. |\n" +
		"| `app.metrics.overflow` | counter |  | `metric` | Lookups of tag combinations beyond a metric's limit, which were counted under the tag value other. |\n" +
		"| `app.t` | timer | seconds | `result`: success, fail; `host` | How long it \\| took. |\n"
	if b.String() != want {
		t.Errorf("WriteMarkdown:\n%s\nwant:\n%s", b.String(), want)
	}
}

// The form of Antenna's statsd_metrics.yaml.
func TestWriteYAML(t *testing.T) {
	r := metrics.New("app")
	r.Timer("t", "How long\nit: | took.", metrics.Tag("result", "success", "fail"), metrics.Tag("host"))
	r.Gauge("b", "# Bytes.", metrics.Unit("bytes"))
	r.Histogram("h", "H.")
	var b strings.Builder
	if err := r.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	want := `---

app.b:
  type: "gauge"
  description: |
    # Bytes.

app.h:
  type: "histogram"
  description: |
    H.

app.metrics.lost:
  type: "incr"
  description: |
    Events that a backend had to drop.

    Tags:

    * ` + "``backend``" + `

app.metrics.overflow:
  type: "incr"
  description: |
    Lookups of tag combinations beyond a metric's limit, which were counted under the tag value other.

    Tags:

    * ` + "``metric``" + `

app.t:
  type: "timing"
  description: |
    How long it: | took.

    Tags:

    * ` + "``result``: ``success``, ``fail``\n    * ``host``\n"
	if b.String() != want {
		t.Errorf("WriteYAML:\n%s\nwant:\n%s", b.String(), want)
	}
	if (*metrics.Registry)(nil).WriteYAML(io.Discard) != nil {
		t.Error("a nil registry has no reference")
	}
}

func TestDefaultBuckets(t *testing.T) {
	r := metrics.New("")
	r.Timer("t", "T.")
	r.Histogram("b", "B.", metrics.Unit("bytes"))
	r.Histogram("n", "N.")
	for _, d := range r.Describe() {
		if d.Kind != metrics.KindCounter && (len(d.Bounds) < 10 || d.Bounds[0] > 1024) {
			t.Errorf("%s: bounds %v", d.Key, d.Bounds)
		}
	}
}

// The promise of the hot paths, whatever the machine's speed.
func TestAllocations(t *testing.T) {
	r := metrics.New("")
	c := r.Counter("c", "C.")
	tagged := r.Counter("tagged", "T.", metrics.Tag("a", "x", "y"), metrics.Tag("b"), metrics.Tag("c"), metrics.Tag("d"))
	g := r.Gauge("g", "G.")
	h := r.Histogram("h", "H.")
	tm := r.Timer("tm", "T.", metrics.Tag("rule"), metrics.Tag("result", "success", "fail"))
	value := fmt.Sprint("dynamic", len(t.Name()))
	err := errors.New("x")
	for name, f := range map[string]func(){
		"Inc": c.Inc, "Set": func() { g.Set(1) }, "Add": func() { g.Add(1) }, "Observe": func() { h.Observe(3) },
		"With": func() { tagged.With("x", value, "z", value).Inc() }, "StopErr": func() { tm.With(value).Start().StopErr(&err) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkCounterInc(b *testing.B) {
	c := metrics.New("").Counter("c", "C.")
	b.ReportAllocs()
	for b.Loop() {
		c.Inc()
	}
}

func BenchmarkTaggedInc(b *testing.B) {
	c := metrics.New("").Counter("c", "C.", metrics.Tag("env"), metrics.Tag("host"))
	hosts := make([]string, 64)
	for i := range hosts {
		hosts[i] = fmt.Sprint("host", i)
		c.With("production", hosts[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.With("production", hosts[i&63]).Inc()
	}
}

func BenchmarkHistogramObserve(b *testing.B) {
	h := metrics.New("").Histogram("h", "H.", metrics.Unit("seconds"))
	values := make([]float64, 64)
	for i := range values {
		values[i] = .0005 * float64(i*i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		h.Observe(values[i&63])
	}
}

func BenchmarkTimer(b *testing.B) {
	t := metrics.New("").Timer("t", "T.", metrics.Tag("result", "success", "fail"))
	var err error
	b.ReportAllocs()
	for b.Loop() {
		t.Start().StopErr(&err)
	}
}

func BenchmarkSnapshot10k(b *testing.B) {
	r := metrics.New("")
	for i := range 10 {
		c := r.Counter(fmt.Sprint("c", i), "C.", metrics.Tag("a"))
		for j := range 1000 {
			c.With(fmt.Sprint(j))
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Snapshot()
	}
}
