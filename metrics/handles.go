package metrics

import (
	"math"
	"sync/atomic"
	"time"
)

// Counter counts what happens; it never goes down. The handle of a metric with tags counts, when used
// without With, under "other" for each tag.
type Counter struct {
	n atomic.Int64
	origin
	vec *vec[Counter]
}

// Counter declares a counter. The key is lower-case words joined by dots; help is required.
func (r *Registry) Counter(key, help string, opts ...Opt) *Counter {
	if r == nil {
		return nil
	}
	return declare(r, KindCounter, key, help, opts, func(v *vec[Counter], o origin) *Counter {
		return &Counter{origin: o, vec: v}
	}, func(c *Counter) Series { return Series{Value: float64(c.n.Load()), origin: &c.origin} })
}

// With returns the handle for the given tag values. It may be kept.
func (c *Counter) With(values ...string) *Counter {
	if c == nil {
		return nil
	}
	return c.vec.with(&c.origin, values)
}

// Inc adds one.
func (c *Counter) Inc() {
	if c != nil {
		c.n.Add(1)
		if c.taps.Load() != nil {
			c.emit(1)
		}
	}
}

// Add adds n, which must not be negative.
func (c *Counter) Add(n int64) {
	if n < 0 {
		panic("metrics: negative count")
	}
	if c != nil {
		c.n.Add(n)
		if c.taps.Load() != nil {
			c.emit(float64(n))
		}
	}
}

// Gauge is a value that goes up and down.
type Gauge struct {
	value atomicFloat
	origin
	vec *vec[Gauge]
}

// Gauge declares a gauge, as Counter does a counter.
func (r *Registry) Gauge(key, help string, opts ...Opt) *Gauge {
	if r == nil {
		return nil
	}
	return declare(r, KindGauge, key, help, opts, func(v *vec[Gauge], o origin) *Gauge {
		return &Gauge{origin: o, vec: v}
	}, func(g *Gauge) Series { return Series{Value: g.value.load(), origin: &g.origin} })
}

// With returns the handle for the given tag values. It may be kept.
func (g *Gauge) With(values ...string) *Gauge {
	if g == nil {
		return nil
	}
	return g.vec.with(&g.origin, values)
}

// Set sets the value.
func (g *Gauge) Set(v float64) {
	if g != nil {
		g.value.bits.Store(math.Float64bits(v))
		if g.taps.Load() != nil {
			g.emit(v)
		}
	}
}

// Add adds d, which may be negative.
func (g *Gauge) Add(d float64) {
	if g != nil {
		v := g.value.add(d)
		if g.taps.Load() != nil {
			g.emit(v)
		}
	}
}

// Histogram is the distribution of a value.
type Histogram struct {
	distribution
	origin
	vec *vec[Histogram]
}

// Histogram declares a histogram, as Counter does a counter. Without Buckets they follow the unit.
func (r *Registry) Histogram(key, help string, opts ...Opt) *Histogram {
	if r == nil {
		return nil
	}
	return declare(r, KindHistogram, key, help, opts, func(v *vec[Histogram], o origin) *Histogram {
		return &Histogram{newDistribution(o.desc.Bounds), o, v}
	}, func(h *Histogram) Series { return h.read(&h.origin) })
}

// With returns the handle for the given tag values. It may be kept.
func (h *Histogram) With(values ...string) *Histogram {
	if h == nil {
		return nil
	}
	return h.vec.with(&h.origin, values)
}

// Observe adds a value to the distribution. NaN is ignored.
func (h *Histogram) Observe(v float64) {
	if h == nil || v != v {
		return
	}
	h.observe(v)
	if h.taps.Load() != nil {
		h.emit(v)
	}
}

// Timer is the distribution of durations, in seconds.
type Timer struct {
	distribution
	origin
	vec *vec[Timer]
}

// Timer declares a timer, as Counter does a counter.
func (r *Registry) Timer(key, help string, opts ...Opt) *Timer {
	if r == nil {
		return nil
	}
	return declare(r, KindTimer, key, help, opts, func(v *vec[Timer], o origin) *Timer {
		return &Timer{newDistribution(o.desc.Bounds), o, v}
	}, func(t *Timer) Series { return t.read(&t.origin) })
}

const (
	resultTag     = "result"
	resultSuccess = "success"
	resultFail    = "fail"
)

// With returns the handle for the given tag values. It may be kept. The value of a tag named "result"
// may be left out: StopErr sets it, and everything else counts under "other".
func (t *Timer) With(values ...string) *Timer {
	if t == nil {
		return nil
	}
	i, n := t.resultIndex(), len(t.desc.Tags)
	if i < 0 || len(values) != n-1 {
		return t.vec.with(&t.origin, values)
	}
	var full [maxTags]string
	copy(full[:], values[:i])
	full[i] = other
	copy(full[i+1:], values[i:])
	return t.vec.with(&t.origin, full[:n])
}

func (t *Timer) resultIndex() int {
	for i := range t.desc.Tags {
		if t.desc.Tags[i].Name == resultTag {
			return i
		}
	}
	return -1
}

// Observe adds a duration. A negative one counts as zero.
func (t *Timer) Observe(d time.Duration) {
	if t == nil {
		return
	}
	s := max(0, d.Seconds())
	t.observe(s)
	if t.taps.Load() != nil {
		t.emit(s)
	}
}

// Span is a piece of work being timed. The zero Span is of no timer.
type Span struct {
	timer *Timer
	start time.Time
}

// Start starts a span of work.
func (t *Timer) Start() Span {
	if t == nil {
		return Span{}
	}
	return Span{t, time.Now()}
}

// Stop records the time since Start. As "defer t.Start().Stop()" it records when the function panics, too.
func (s Span) Stop() {
	if s.timer != nil {
		s.timer.Observe(time.Since(s.start))
	}
}

// StopErr is Stop for a timer with a tag named "result", whose value becomes "fail" if *err is not nil,
// else "success". Deferred itself, as "defer span.StopErr(&err)", it records a panic as "fail" and lets
// it go on. On a timer without that tag it is Stop.
func (s Span) StopErr(err *error) {
	if s.timer == nil {
		return
	}
	result := resultSuccess
	if err != nil && *err != nil {
		result = resultFail
	}
	p := recover()
	if p != nil {
		result = resultFail
	}
	s.timer.withResult(result).Observe(time.Since(s.start))
	if p != nil {
		panic(p)
	}
}

func (t *Timer) withResult(result string) *Timer {
	i := t.resultIndex()
	if i < 0 {
		return t
	}
	var full [maxTags]string
	for j := range t.desc.Tags {
		full[j] = other
	}
	copy(full[:], t.values)
	full[i] = result
	return t.vec.find(full[:len(t.desc.Tags)])
}

// distribution counts values by bucket.
type distribution struct {
	bounds  []float64
	buckets []atomic.Uint64 // one more than bounds
	sum     atomicFloat
}

func newDistribution(bounds []float64) distribution {
	return distribution{bounds: bounds, buckets: make([]atomic.Uint64, len(bounds)+1)}
}

func (d *distribution) observe(v float64) {
	lo, hi := 0, len(d.bounds) // the first bound that is not below v
	for lo < hi {
		if m := int(uint(lo+hi) / 2); d.bounds[m] < v {
			lo = m + 1
		} else {
			hi = m
		}
	}
	d.buckets[lo].Add(1)
	d.sum.add(v)
}

func (d *distribution) read(o *origin) Series {
	s := Series{Buckets: make([]uint64, len(d.buckets)), Sum: d.sum.load(), origin: o}
	for i := range d.buckets {
		s.Buckets[i] = d.buckets[i].Load()
		s.Count += s.Buckets[i]
	}
	return s
}

// defaultBounds returns bounds for the durations of requests and jobs, for sizes of files, and for
// counts of things.
func defaultBounds(unit string) []float64 {
	switch unit {
	case "seconds":
		return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 60, 300}
	case "bytes":
		return []float64{1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, 1 << 32}
	}
	return []float64{0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5, 1e6}
}

type atomicFloat struct{ bits atomic.Uint64 }

func (f *atomicFloat) load() float64 { return math.Float64frombits(f.bits.Load()) }

// add adds d and returns the sum.
func (f *atomicFloat) add(d float64) float64 {
	for {
		old := f.bits.Load()
		sum := math.Float64frombits(old) + d
		if f.bits.CompareAndSwap(old, math.Float64bits(sum)) {
			return sum
		}
	}
}
