// Package metrics declares counters, gauges, histograms and timers, counts, and tells whoever should know.
//
// # Declare and count
//
// A component declares its metrics once, with help, unit and tags, and keeps the handles; what is
// documented, checked in tests and exported all comes from these declarations:
//
//	accepted := r.Counter("collector.throttle", "Crash reports by verdict.", metrics.Tag("result", "accept", "reject"))
//	accepted.With("accept").Inc()
//
// A tag with declared values has no others: they count as "other", as do further values of a tag once a
// metric has a thousand combinations. A timer times work however it ends:
//
//	defer save.Start().StopErr(&err) // an error or a panic is result:fail
//
// Handles are safe for concurrent use, and using one takes a few nanoseconds and no allocation. They count
// from the start, whether anybody asks or not. A nil *Registry is valid, its handles are nil, and nil
// handles discard: a library can take a registry and need not care.
//
// A mistake in a declaration or a wrong number of tag values is a programmer's error and panics; a
// surprising tag value never does.
//
// # Read, or be told
//
// Snapshot returns what was counted so far; package metrics/prometheus serves it. Configure sets outputs, and
// replaces them at any time without losing an event:
//
//	client, err := statsd.Dial("127.0.0.1:8125", statsd.Options{DogStatsD: true})
//	…
//	r.Configure(
//		metrics.Output{Backend: client, Name: "dogstatsd", Every: time.Second, Aggregate: true, Tags: []string{"host:web1"}},
//		metrics.Output{Backend: metrics.Rollup(slog.Default())},
//	)
//	defer r.Configure() // sends what is left
//
// The backends here are Log, Rollup, CloudWatch and Memory; package metrics/statsd has those for the
// network. Another one has two methods; see Backend.
//
// # Document and test
//
// WriteMarkdown and WriteYAML write the reference of what is declared, and package metrics/metricstest checks
// what was counted.
package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Kind is the kind of a metric.
type Kind uint8

// The kinds.
const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
	KindTimer
)

func (k Kind) String() string {
	return [...]string{"counter", "gauge", "histogram", "timer"}[k]
}

func (k Kind) distributes() bool { return k == KindHistogram || k == KindTimer }

// Desc describes a declared metric.
type Desc struct {
	Key    string // with the registry's prefix
	Kind   Kind
	Help   string
	Unit   string // "bytes"; timers have "seconds"; empty if the metric just counts
	Tags   []TagDesc
	Bounds []float64 // upper bounds of the buckets of histograms and timers, ascending

	maxSeries int
}

// TagDesc describes a tag. Without Allowed, any value is.
type TagDesc struct {
	Name    string
	Allowed []string
}

// Registry holds the metrics of a program. Its methods are safe for concurrent use.
type Registry struct {
	prefix string
	*state
}

// state is what a registry shares with those that Sub made of it.
type state struct {
	overflow, lost *Counter

	mu       sync.Mutex
	families map[string]*family // by key with underscores for dots, which is the name some exporters use

	// What each use of a counter or gauge, and of a histogram or timer, goes to. Nil inside while nobody asks.
	changes, values atomic.Pointer[taps]

	configure sync.Mutex
	outputs   []*output
	reported  map[*origin]float64 // counts that outputs got that are gone
}

type family struct {
	Desc
	series func() []Series
}

// New returns a registry whose keys all start with prefix and a dot. An empty prefix adds nothing.
func New(prefix string) *Registry {
	r := &Registry{prefix, &state{families: map[string]*family{}}}
	r.overflow = r.Counter("metrics.overflow", "Lookups of tag combinations beyond a metric's limit, which were counted under the tag value other.", Tag("metric"))
	r.lost = r.Counter("metrics.lost", "Events that a backend had to drop.", Tag("backend"))
	return r
}

// Sub returns r with a longer prefix: metrics declared there are in r, under the prefix of r, a dot, prefix
// and another dot.
func (r *Registry) Sub(prefix string) *Registry {
	if r == nil {
		return nil
	}
	return &Registry{r.key(prefix), r.state}
}

func (r *Registry) key(key string) string {
	if r.prefix == "" {
		return key
	}
	return r.prefix + "." + key
}

// Opt is a property of a metric.
type Opt func(*Desc)

// Tag adds a tag; With takes the values in the order of declaration. Where allowed values are given,
// all others count as "other".
func Tag(name string, allowed ...string) Opt {
	return func(d *Desc) { d.Tags = append(d.Tags, TagDesc{name, allowed}) }
}

// Unit names what is counted or measured: "bytes".
func Unit(u string) Opt { return func(d *Desc) { d.Unit = u } }

// Buckets sets the upper bounds of the buckets of a histogram, or of a timer in seconds: finite and
// ascending. A value equal to a bound is in that bound's bucket.
func Buckets(bounds ...float64) Opt { return func(d *Desc) { d.Bounds = bounds } }

// MaxSeries limits the distinct combinations of tag values; the default is 1000. Further ones are
// counted together, with "other" for all their values, and each lookup counts in metrics.overflow.
func MaxSeries(n int) Opt { return func(d *Desc) { d.maxSeries = n } }

// declare adds a metric to r and returns its base handle: the only one if it has no tags, else the
// one all whose tag values are "other".
func declare[H any](r *Registry, kind Kind, key, help string, opts []Opt, create creator[H], read func(*H) Series) *H {
	key = r.key(key)
	f := &family{Desc: Desc{Key: key, Kind: kind, Help: help, maxSeries: 1000}}
	for _, o := range opts {
		o(&f.Desc)
	}
	f.complete()
	v := &vec[H]{desc: &f.Desc, taps: &r.changes, overflow: r.overflow, create: create}
	if kind.distributes() {
		v.taps = &r.values
	}
	v.table.Store(newTable[H](8))
	v.base = v.newHandle(nil)
	f.series = func() []Series { return v.read(read) }

	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.ReplaceAll(key, ".", "_")
	if r.families[name] != nil {
		f.panic("declared twice")
	}
	r.families[name] = f
	return v.base
}

func (d *Desc) complete() {
	if !isDotted(d.Key) {
		d.panic("the key is not lower-case words joined by dots")
	}
	if d.Help == "" {
		d.panic("no help")
	}
	if len(d.Tags) > maxTags {
		d.panic(fmt.Sprintf("more than %d tags", maxTags))
	}
	for i, t := range d.Tags {
		if !isDotted(t.Name) || strings.Contains(t.Name, ".") {
			d.panic(fmt.Sprintf("tag %q is not a lower-case word", t.Name))
		}
		if slices.ContainsFunc(d.Tags[:i], func(u TagDesc) bool { return u.Name == t.Name }) {
			d.panic(fmt.Sprintf("tag %q is declared twice", t.Name))
		}
		for _, v := range t.Allowed {
			if v == "" || v != cleanValue(t.Name, v) {
				d.panic(fmt.Sprintf("tag %q has the unusable value %q", t.Name, v))
			}
		}
	}
	distributes := d.Kind.distributes()
	switch {
	case d.Kind == KindTimer && d.Unit != "":
		d.panic("the unit of a timer is seconds")
	case !distributes && d.Bounds != nil:
		d.panic("buckets without a distribution")
	case d.Kind == KindTimer:
		d.Unit = "seconds"
	}
	if distributes && d.Bounds == nil {
		d.Bounds = defaultBounds(d.Unit)
	}
	for i, b := range d.Bounds {
		if b-b != 0 || i > 0 && b <= d.Bounds[i-1] {
			d.panic("the buckets are not finite and ascending")
		}
	}
}

func (d *Desc) panic(why string) { panic(fmt.Sprintf("metrics: %s %q: %s", d.Kind, d.Key, why)) }

// isDotted reports whether s is words of lower-case letters, digits and underscores, joined by dots,
// and starts with a letter.
func isDotted(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z':
		case i > 0 && (c >= '0' && c <= '9' || c == '_'):
		case i > 0 && c == '.' && s[i-1] != '.' && i < len(s)-1:
		default:
			return false
		}
	}
	return s != ""
}

// Snapshot is the state of all metrics at a time. Metrics changed meanwhile may be in it before or
// after the change, each by itself.
type Snapshot struct {
	Families []Family // by key
}

// Family is a metric with all its series.
type Family struct {
	Desc
	Series []Series // by tag values; a metric without tags has exactly one
}

// Series is one combination of tag values. Combinations with an "other" appear once they were used.
type Series struct {
	Tags    []string // values, in the order of Desc.Tags; not to be changed
	Value   float64  // of counters and gauges
	Count   uint64   // of observations, for histograms and timers
	Sum     float64  // of the observed values
	Buckets []uint64 // observations by bucket, not cumulative: one per bound, and one above them all

	origin *origin
}

// Snapshot returns the state of all metrics.
func (r *Registry) Snapshot() *Snapshot {
	s := &Snapshot{}
	for _, f := range r.sorted() {
		s.Families = append(s.Families, Family{f.Desc, f.series()})
	}
	return s
}

// Describe returns all declared metrics by key.
func (r *Registry) Describe() []Desc {
	var out []Desc
	for _, f := range r.sorted() {
		out = append(out, f.Desc)
	}
	return out
}

func (r *Registry) sorted() []*family {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*family, 0, len(r.families))
	for _, f := range r.families {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *family) int { return cmp.Compare(a.Key, b.Key) })
	return out
}
