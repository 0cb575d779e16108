package metrics

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The names of kinds in the lines of Markus.
var (
	markusNames     = [...]string{"incr", "gauge", "histogram", "timing"}
	rollupNames     = [...]string{"INCR", "GAUGE", "HISTOGRAM", "HISTOGRAM"}
	cloudWatchNames = [...]string{"count", "gauge", "histogram", "histogram"}
)

// wire returns the value with the unit that statsd and Markus have for it.
func (e Event) wire() float64 {
	if e.Kind == KindTimer {
		return e.Milliseconds()
	}
	return e.Value
}

func appendNumber(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'f', -1, 64) }

// Log writes each event to log as a line of Markus's LoggingMetrics, at level Info; durations are in
// milliseconds. The time is the handler's affair.
//
//	METRICS|incr|collector.throttle|1|#result:accept,host:web1
func Log(log *slog.Logger) Backend { return logger{log} }

type logger struct{ log *slog.Logger }

func (l logger) Emit(e Event) {
	if !l.log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	b := append(append(append([]byte("METRICS|"), markusNames[e.Kind]...), '|'), e.Key...)
	l.log.Info(string(appendTags(append(appendNumber(append(b, '|'), e.wire()), '|'), e.Tags)))
}

func (logger) Flush(time.Duration) int { return 0 }

func appendTags(b []byte, tags []string) []byte {
	for i, t := range tags {
		b = append(append(b, "#,"[min(i, 1)]), t...)
	}
	return b
}

// CloudWatch writes each event to w as a line of Markus's CloudwatchMetrics, which is read from the output
// of a Lambda function: the time in Unix seconds, the value, kind and key. Lines that w does not take are
// lost.
//
//	MONITORING|1488817800|1|count|collector.throttle|#result:accept,host:web1
func CloudWatch(w io.Writer) Backend { return &cloudWatch{w: w} }

type cloudWatch struct {
	mu   sync.Mutex
	w    io.Writer
	buf  []byte
	lost int
}

func (c *cloudWatch) Emit(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := append(strconv.AppendInt(append(c.buf[:0], "MONITORING|"...), time.Now().Unix(), 10), '|')
	b = append(append(append(appendNumber(b, e.wire()), '|'), cloudWatchNames[e.Kind]...), '|')
	c.buf = append(appendTags(append(append(b, e.Key...), '|'), e.Tags), '\n')
	if _, err := c.w.Write(c.buf); err != nil {
		c.lost++
	}
}

func (c *cloudWatch) Flush(time.Duration) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.lost
	c.lost = 0
	return lost
}

// Rollup writes, at each Flush, a line for each series to log, at level Info: counters, then gauges, then
// histograms and timers (in milliseconds), each by key and tags. The lines are those of Markus's
// LoggingRollupMetrics:
//
//	ROLLUP INCR collector.throttle #result:accept: count:2|rate:3/10
//	ROLLUP GAUGE queue.depth: count:1|current:4|min:4|max:4
//	ROLLUP HISTOGRAM collector.save: count:3|min:0.25|avg:2.00|median:1.50|ninety-five:4.25|max:4.25
//
// The rate is the sum and the seconds it took, the median of an even number is the mean of the two in the
// middle, and ninety-five is the smallest value that is not below 95 % of them. A series with 16,384 values
// gets its line at once, since percentiles need each.
func Rollup(log *slog.Logger) Backend { return &rollup{log: log, series: map[string]*window{}} }

const maxWindow = 1 << 14

type rollup struct {
	log    *slog.Logger
	mu     sync.Mutex
	series map[string]*window // by key and tags
	name   []byte
}

// window is what a series had since its last line.
type window struct {
	kind   Kind
	name   string
	values []float64 // of counters and gauges the last one only
	count  int
	sum    float64
	lo, hi float64
}

func (r *rollup) Emit(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.name = append(r.name[:0], e.Key...); len(e.Tags) > 0 {
		r.name = appendTags(append(r.name, ' '), e.Tags)
	}
	w := r.series[string(r.name)]
	if w == nil {
		w = &window{kind: e.Kind, name: string(r.name)}
		r.series[w.name] = w
	}
	v := e.wire()
	if w.count == 0 {
		w.lo, w.hi = v, v
	}
	w.lo, w.hi, w.sum = min(w.lo, v), max(w.hi, v), w.sum+v
	if w.count++; !e.Kind.distributes() {
		w.values = w.values[:0]
	}
	if w.values = append(w.values, v); len(w.values) == maxWindow {
		r.log.Info(w.line(0))
	}
}

func (r *rollup) Flush(since time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range slices.SortedFunc(maps.Values(r.series), func(a, b *window) int {
		return cmp.Or(cmp.Compare(min(a.kind, KindHistogram), min(b.kind, KindHistogram)), cmp.Compare(a.name, b.name))
	}) {
		r.log.Info(w.line(since))
	}
	return 0
}

// line returns what there was and starts anew.
func (w *window) line(since time.Duration) string {
	values := w.values
	slices.Sort(values)
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	line := "ROLLUP " + rollupNames[w.kind] + " " + w.name + ": "
	switch n := len(values); {
	case w.kind == KindCounter:
		line += fmt.Sprintf("count:%d|rate:%s/%d", w.count, number(w.sum), max(1, int(since.Round(time.Second)/time.Second)))
	case n == 0:
		line += "no data"
	case w.kind == KindGauge:
		line += fmt.Sprintf("count:%d|current:%s|min:%s|max:%s", w.count, number(values[0]), number(w.lo), number(w.hi))
	default:
		median := (values[(n-1)/2] + values[n/2]) / 2
		rank := (n*95 + 99) / 100
		line += fmt.Sprintf("count:%d|min:%.2f|avg:%.2f|median:%.2f|ninety-five:%.2f|max:%.2f", n, w.lo, w.sum/float64(n), median, values[rank-1], w.hi)
	}
	if cap(values) > 1024 {
		values = nil // not for each of many series
	}
	*w = window{kind: w.kind, name: w.name, values: values[:0]}
	return line
}

// Memory keeps all events, for tests.
type Memory struct {
	mu     sync.Mutex
	events []Event
}

// Emit keeps e.
func (m *Memory) Emit(e Event) {
	e.Tags = slices.Clone(e.Tags)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// Flush does nothing.
func (m *Memory) Flush(time.Duration) int { return 0 }

// Events returns the events so far in the order in which they came.
func (m *Memory) Events() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.events)
}
