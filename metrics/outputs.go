package metrics

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is one use of a handle, or what counted up since the last one of the same counter.
type Event struct {
	Kind  Kind
	Key   string
	Tags  []string // "name:value", or "name" where the value is empty; not to be changed or kept
	Value float64  // what a counter gained, what a gauge is now, what was observed: seconds, for a timer
}

// Milliseconds returns the value of a timer's event in the unit that statsd has for it, with no digit below
// the nanosecond.
func (e Event) Milliseconds() float64 { return math.Round(e.Value*1e9) / 1e6 }

// String returns the event as "counter collector.throttle [result:accept host:web1] 1".
func (e Event) String() string {
	tags := ""
	if len(e.Tags) > 0 {
		tags = fmt.Sprintf(" %v", e.Tags)
	}
	return fmt.Sprintf("%s %s%s %v", e.Kind, e.Key, tags, e.Value)
}

// Backend is where events go. Its methods may be called from several goroutines at once, and must not use
// metrics of the registry they serve. A backend that is an io.Closer is closed after its last Flush.
type Backend interface {
	// Emit takes an event. It holds up the caller, who is counting something.
	Emit(e Event)
	// Flush hands on what was held back, and returns the number of events that were lost since the last
	// Flush, which was so long ago.
	Flush(since time.Duration) (lost int)
}

// Filter returns what becomes of an event, and false if nothing. Tags go into a new slice, if they change.
type Filter func(Event) (Event, bool)

// Output is a backend and what is done to events on the way to it, first to last: Tags are added, Filters
// asked.
type Output struct {
	Backend Backend
	Name    string        // in the metric of lost events
	Every   time.Duration // between two Flush; 0 is ten seconds, and less never, but for the last one
	// Aggregate is for backends that sum up what they get, as statsd does: the uses of a counter since the
	// last Flush are one event, and a gauge is reported before each Flush. Histograms and timers are not
	// touched: each value counts for a percentile. Without any output that wants each event, a counter or
	// a gauge costs as little as without backends.
	Aggregate bool
	Tags      []string // as "host:web1"
	Filters   []Filter
}

type output struct {
	Output
	flushed   time.Time
	reported  map[*origin]float64 // what the counters were when it heard last
	stop, end chan struct{}
}

// taps are the outputs that want events of one kind or another.
type taps struct {
	mu      sync.RWMutex // held while events are handed over
	closed  bool
	outputs []*output
}

// Configure sets where events go, in place of what was there before, which gets a last Flush and is closed; the
// error is of closing. To stop a program, call Configure without outputs.
//
// Events meanwhile go to either the old or the new outputs. An output that aggregates goes on where the last
// such one ended, the first with what was counted since the start; others hear of events from now on. So
// nothing is lost or doubled, but that a count in the moment when outputs that do not aggregate take over
// from such that do waits for the next that do.
func (r *Registry) Configure(outputs ...Output) error {
	var next []*output
	each, all := &taps{}, &taps{}
	for _, o := range outputs {
		if o.Every == 0 {
			o.Every = 10 * time.Second
		}
		o.Tags = slices.Clone(o.Tags)
		for i, t := range o.Tags {
			name, value, _ := strings.Cut(t, ":")
			o.Tags[i] = cleanTag(name, value)
		}
		out := &output{Output: o, flushed: time.Now(), stop: make(chan struct{}), end: make(chan struct{})}
		next, all.outputs = append(next, out), append(all.outputs, out)
		if !o.Aggregate {
			each.outputs = append(each.outputs, out)
		}
	}
	if r == nil {
		return closeAll(next)
	}
	r.configure.Lock()
	defer r.configure.Unlock()
	old := []*taps{r.changes.Swap(each.orNil()), r.values.Swap(all.orNil())}
	for _, t := range old {
		if t != nil {
			t.mu.Lock() // until those that are about to hand over an event have done so
			t.closed = true
			t.mu.Unlock()
		}
	}
	gone := r.outputs
	for _, o := range gone {
		close(o.stop)
		<-o.end
	}
	if r.outputs = next; len(gone) > 0 {
		readings := r.readings()
		for _, o := range gone {
			r.flush(o, readings)
		}
		if slices.ContainsFunc(gone, func(o *output) bool { return o.Aggregate }) {
			r.reported = countsOf(readings)
		}
	}
	for _, o := range next {
		o.reported = r.reported
		if o.Every > 0 {
			go r.run(o)
		} else {
			close(o.end)
		}
	}
	return closeAll(gone)
}

func closeAll(outputs []*output) error {
	var errs []error
	for _, o := range outputs {
		if c, ok := o.Backend.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

func (t *taps) orNil() *taps {
	if len(t.outputs) == 0 {
		return nil
	}
	return t
}

// emit hands an event over to the outputs that there are.
func (o *origin) emit(v float64) {
	for t := o.taps.Load(); t != nil; t = o.taps.Load() {
		t.mu.RLock()
		if t.closed { // it was replaced just now
			t.mu.RUnlock()
			continue
		}
		for _, out := range t.outputs {
			out.emit(o, v)
		}
		t.mu.RUnlock()
		return
	}
}

var scratch = sync.Pool{New: func() any { return new([]string) }}

func (out *output) emit(o *origin, v float64) {
	e := Event{o.desc.Kind, o.desc.Key, o.tags, v}
	if len(out.Tags) > 0 {
		buf := scratch.Get().(*[]string)
		defer scratch.Put(buf)
		*buf = append(append((*buf)[:0], e.Tags...), out.Tags...)
		e.Tags = *buf
	}
	for _, f := range out.Filters {
		var ok bool
		if e, ok = f(e); !ok {
			return
		}
	}
	out.Backend.Emit(e)
}

func (r *Registry) run(o *output) {
	defer close(o.end)
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.flush(o, r.readings())
		case <-o.stop:
			return
		}
	}
}

// readings returns the series of all counters and gauges.
func (r *Registry) readings() []Series {
	var out []Series
	for _, f := range r.sorted() {
		if !f.Kind.distributes() {
			out = append(out, f.series()...)
		}
	}
	return out
}

func countsOf(readings []Series) map[*origin]float64 {
	counts := map[*origin]float64{}
	for _, s := range readings {
		if s.origin.desc.Kind == KindCounter {
			counts[s.origin] = s.Value
		}
	}
	return counts
}

// flush reports the readings to an output that aggregates, and flushes it.
func (r *Registry) flush(o *output, readings []Series) {
	if o.Aggregate {
		for _, s := range readings {
			if s.origin.desc.Kind == KindGauge {
				o.emit(s.origin, s.Value)
			} else if n := s.Value - o.reported[s.origin]; n != 0 {
				o.emit(s.origin, n)
			}
		}
		o.reported = countsOf(readings)
	}
	now := time.Now()
	lost := o.Backend.Flush(now.Sub(o.flushed))
	if o.flushed = now; lost > 0 {
		r.lost.With(o.Name).Add(int64(lost))
	}
}
