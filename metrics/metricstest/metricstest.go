// Package metricstest checks in tests what was counted.
//
// Each test has a registry of its own, so tests may run in parallel. A check that does not hold is an
// error of the test whose text shows the expectation, what came near it, and all events in their order.
package metricstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvage/metrics"
)

// Recorder answers questions about a registry.
type Recorder struct {
	t      testing.TB
	r      *metrics.Registry
	events metrics.Memory
}

// New returns an empty registry without prefix and its recorder.
func New(t testing.TB) (*metrics.Registry, *Recorder) {
	rec := &Recorder{t: t, r: metrics.New("")}
	rec.r.Configure(metrics.Output{Backend: &rec.events, Every: -1})
	return rec.r, rec
}

// Events returns what was recorded in its order.
func (r *Recorder) Events() []metrics.Event { return r.events.Events() }

// Query is a metric, or those of its series that Tags selects. Its other methods check their sum.
type Query struct {
	rec  *Recorder
	kind metrics.Kind
	key  string
	tags []string
}

// Counter asks for a counter.
func (r *Recorder) Counter(key string) *Query { return &Query{r, metrics.KindCounter, key, nil} }

// Gauge asks for a gauge.
func (r *Recorder) Gauge(key string) *Query { return &Query{r, metrics.KindGauge, key, nil} }

// Histogram asks for a histogram.
func (r *Recorder) Histogram(key string) *Query { return &Query{r, metrics.KindHistogram, key, nil} }

// Timer asks for a timer.
func (r *Recorder) Timer(key string) *Query { return &Query{r, metrics.KindTimer, key, nil} }

// Tags returns the query for only those series that have all the given tags, written "name:value".
func (q *Query) Tags(tags ...string) *Query {
	return &Query{q.rec, q.kind, q.key, slices.Concat(q.tags, tags)}
}

// Value checks the count of a counter, the value of a gauge, or the sum of what a histogram or a timer
// (in seconds) observed.
func (q *Query) Value(want float64) {
	q.rec.t.Helper()
	q.check(fmt.Sprintf("value %v", want), series.total, func(got float64) bool { return got == want })
}

// Times checks how often a histogram or a timer was used. A counter counts itself; asking how often a
// gauge was set is an error.
func (q *Query) Times(want int) {
	q.rec.t.Helper()
	q.check(fmt.Sprintf("%d times", want), series.times, func(got float64) bool { return got == float64(want) })
}

// Once is Times(1).
func (q *Query) Once() { q.rec.t.Helper(); q.Times(1) }

// Never is Times(0). The metric must be declared, or a misspelt key would pass.
func (q *Query) Never() { q.rec.t.Helper(); q.Times(0) }

// AtLeastOnce checks that a counter, histogram or timer was used.
func (q *Query) AtLeastOnce() {
	q.rec.t.Helper()
	q.check("at least once", series.times, func(got float64) bool { return got >= 1 })
}

// maxShown is the most events that a failure shows.
const maxShown = 200

func (q *Query) check(want string, measure func(series) float64, holds func(float64) bool) {
	q.rec.t.Helper()
	declared, got := false, 0.0
	for _, f := range q.rec.r.Describe() {
		declared = declared || f.Key == q.key && f.Kind == q.kind
	}
	var near []string
	for _, s := range q.rec.all() {
		switch missing := s.missing(q.tags); {
		case s.desc.Key == q.key && s.desc.Kind != q.kind:
			near = append(near, fmt.Sprintf("%s (is a %s)", s, s.desc.Kind))
		case s.desc.Key == q.key && len(missing) > 0:
			near = append(near, fmt.Sprintf("%s (has no %s)", s, strings.Join(missing, " ")))
		case s.desc.Key == q.key:
			got += measure(s)
		case !declared && (strings.Contains(s.desc.Key, q.key) || strings.Contains(q.key, s.desc.Key)):
			near = append(near, s.String())
		}
	}
	setOnly := q.kind == metrics.KindGauge && !strings.HasPrefix(want, "value")
	if declared && !setOnly && holds(got) {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "metricstest: want %s %s%s: %s; ", q.kind, q.key, tagText(q.tags), want)
	switch {
	case !declared:
		b.WriteString("no such metric is declared")
	case setOnly:
		b.WriteString("a gauge does not know how often it was set")
	default:
		fmt.Fprintf(&b, "got %v", got)
	}
	for _, n := range near {
		b.WriteString("\n  near: " + n)
	}
	events := q.rec.Events()
	fmt.Fprintf(&b, "\n  all %d events:", len(events))
	for i, e := range events {
		if i == maxShown {
			b.WriteString("\n    and more")
			break
		}
		b.WriteString("\n    " + e.String())
	}
	q.rec.t.Error(b.String())
}

type series struct {
	desc metrics.Desc
	metrics.Series
}

// all returns the series that recorded anything.
func (r *Recorder) all() []series {
	var out []series
	for _, f := range r.r.Snapshot().Families {
		for _, s := range f.Series {
			if s.Value != 0 || s.Count > 0 {
				out = append(out, series{f.Desc, s})
			}
		}
	}
	return out
}

func (s series) total() float64 { return s.Value + s.Sum }

func (s series) times() float64 { return s.Value + float64(s.Count) }

// missing returns the wanted tags that s does not have.
func (s series) missing(want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(tag string) bool { return slices.Contains(s.tags(), tag) })
}

func (s series) tags() []string {
	var out []string
	for i, v := range s.Tags {
		out = append(out, s.desc.Tags[i].Name+":"+v)
	}
	return out
}

func (s series) String() string {
	text := fmt.Sprintf("%s %s%s", s.desc.Kind, s.desc.Key, tagText(s.tags()))
	if s.desc.Kind == metrics.KindHistogram || s.desc.Kind == metrics.KindTimer {
		return fmt.Sprintf("%s %d times, sum %v", text, s.Count, s.Sum)
	}
	return fmt.Sprintf("%s %v", text, s.Value)
}

func tagText(tags []string) string {
	if len(tags) == 0 {
		return ""
	}
	return " [" + strings.Join(tags, " ") + "]"
}
