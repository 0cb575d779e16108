package crashindex

import (
	"slices"
	"time"

	"salvage/internal/crash"
	"salvage/internal/errs"
)

// Limits of a query.
const (
	MaxFilters = 50
	MaxValues  = 100    // of all filters together
	MaxFacets  = 20     // also of Cardinality
	MaxColumns = 50     // also of Sort
	MaxLimit   = 1000   // hits; this and the next are Socorro's (crash-pipeline.md §5.1)
	MaxWindow  = 10_000 // Offset + Limit; also a facet's Size
	// MaxBuckets is for all counts of a result together: the Size of each facet, times the bins of its
	// histograms if it has them, and the bins of the query's own, all as if none were empty. For
	// histograms, it takes From and To to stay below.
	MaxBuckets = 100_000
)

// Query is a question: which crashes, and what to tell about them. All are counted; the zero Query counts
// all crashes and returns none.
type Query struct {
	From, To time.Time // submitted from From on and before To; zero: no such bound
	Filters  []Filter  // all must hold

	Columns       []string // fields that each hit shows
	Sort          []Sort   // the first matters most; none: the newest first
	Limit, Offset int      // of hits: how many, after how many

	Facets      []Facet
	Cardinality []string      // fields whose values are counted
	Histogram   time.Duration // Hour or Day: crashes in each; 0: not asked
}

// Filter says something of a field: that Op holds for at least one of Values or, with Not, that this is not
// so. For a null, only IsNull holds: "not a" is also true of a crash without a value.
//
// Text is compared byte by byte: case matters, Unicode forms differ, and no character stands for others. Values are
// cleaned like those of docs, so that a text too long finds itself.
type Filter struct {
	Field  string
	Op     Op
	Values []Value // none for IsNull, else at least one, and none that is null
	Not    bool
}

// Op is the operator of a filter.
type Op byte

// The operators.
const (
	Is         Op = iota + 1
	Contains      // of a Keyword
	StartsWith    // of a Keyword
	AtLeast       // of an Integer
	AtMost        // of an Integer
	IsNull
)

// Sort orders hits by a field, or by ByDate. Null comes last in both directions; equal ones are in the order
// of their ids.
type Sort struct {
	Field string
	Desc  bool
}

// ByDate sorts by the time of submission. The name is SuperSearch's.
const ByDate = "date"

// Facet asks for the values of a field with the most crashes.
type Facet struct {
	Field     string
	Size      int           // how many values: 1 to MaxWindow
	Histogram time.Duration // Hour or Day: for each value its crashes in each; 0: not asked
}

// Intervals of histograms, which start at full hours and days of UTC.
const (
	Hour = time.Hour
	Day  = 24 * time.Hour
)

// Result is the answer to a Query. Facets and Cardinality are in the order of the query's.
type Result struct {
	Total       int // crashes that match
	Hits        []Hit
	Facets      [][]Term
	Cardinality []int // different values, null not among them
	Histogram   []Bin
}

// Hit is a crash that matches.
type Hit struct {
	ID        crash.ID
	Submitted time.Time // in whole milliseconds, UTC
	Values    []Value   // in the order of Query.Columns
}

// Term is a value and how many of the crashes that match have it. A facet has the terms of the most crashes first,
// those of as many in the order of Value.Compare. Null is not among them.
type Term struct {
	Value     Value
	Count     int
	Histogram []Bin
}

// Bin is the crashes submitted in an hour or a day, in the order of Start. Empty ones are left out.
type Bin struct {
	Start time.Time // UTC
	Count int
}

// check returns q for an engine: From and To in whole milliseconds and between Earliest and Latest, Values clean,
// Sort given.
func (q Query) check() (Query, error) {
	invalid := func(format string, args ...any) (Query, error) {
		return Query{}, errs.Public(errs.Invalid, format, args...)
	}
	q.From, q.To = bound(q.From, Earliest), bound(q.To, Latest)
	switch {
	case len(q.Filters) > MaxFilters:
		return invalid("A search has at most %d filters.", MaxFilters)
	case len(q.Facets) > MaxFacets || len(q.Cardinality) > MaxFacets:
		return invalid("A search has at most %d facets.", MaxFacets)
	case len(q.Columns) > MaxColumns || len(q.Sort) > MaxColumns:
		return invalid("A search has at most %d columns, and sorts by as many.", MaxColumns)
	case q.Limit < 0 || q.Limit > MaxLimit:
		return invalid("A search returns 0 to %d crashes.", MaxLimit)
	case q.Offset < 0 || q.Offset > MaxWindow-q.Limit:
		return invalid("A search reaches the first %d crashes; ask for a shorter time or for fewer.", MaxWindow)
	}
	q.Filters = slices.Clone(q.Filters)
	values := 0
	for i := range q.Filters {
		if values += len(q.Filters[i].Values); values > MaxValues {
			return invalid("A search has at most %d values in its filters.", MaxValues)
		}
		if err := q.Filters[i].check(); err != nil {
			return Query{}, err
		}
	}
	if len(q.Sort) == 0 {
		q.Sort = []Sort{{ByDate, true}}
	}
	names := slices.Concat(q.Columns, q.Cardinality)
	for _, s := range q.Sort {
		if s.Field != ByDate {
			names = append(names, s.Field)
		}
	}
	bins, err := q.bins(q.Histogram)
	if err != nil {
		return Query{}, err
	}
	buckets := bins // of at most 1.2 million hours, 10,000 times for each of 20 facets: no overflow
	for _, f := range q.Facets {
		names = append(names, f.Field)
		if f.Size < 1 || f.Size > MaxWindow {
			return invalid("A facet has 1 to %d values.", MaxWindow)
		}
		bins, err := q.bins(f.Histogram)
		if err != nil {
			return Query{}, err
		}
		buckets += int64(f.Size) * max(1, bins)
	}
	if buckets > MaxBuckets {
		return invalid("A search returns at most %d counts; ask for a shorter time, for days instead of hours, or for fewer values.", MaxBuckets)
	}
	for _, name := range names {
		if _, err := Lookup(name); err != nil {
			return Query{}, err
		}
	}
	return q, nil
}

// bound returns the first whole millisecond from t on, within the bounds of Submitted; none for a zero t.
func bound(t, none time.Time) time.Time {
	switch {
	case t.IsZero():
		return none
	case t.Before(Earliest):
		return Earliest
	case t.After(Latest):
		return Latest
	}
	return time.UnixMilli(t.Add(time.Millisecond - 1).UnixMilli()).UTC()
}

// bins returns how many intervals the query's time touches, 0 if interval is.
func (q Query) bins(interval time.Duration) (int64, error) {
	switch {
	case interval == 0:
		return 0, nil
	case interval != Hour && interval != Day:
		return 0, errs.Public(errs.Invalid, "A histogram counts hours or days.")
	case !q.From.Before(q.To):
		return 0, nil
	}
	ms := interval.Milliseconds()
	return (q.To.UnixMilli()-1)/ms - q.From.UnixMilli()/ms + 1, nil
}

func (f *Filter) check() error {
	field, err := Lookup(f.Field)
	if err != nil {
		return err
	}
	needs := field.Type
	switch f.Op {
	case Is:
	case Contains, StartsWith:
		needs = Keyword
	case AtLeast, AtMost:
		needs = Integer
	case IsNull:
		if len(f.Values) > 0 {
			return errs.Public(errs.Invalid, "Whether %s is missing is asked without a value.", f.Field)
		}
		return nil
	default:
		return errs.Public(errs.Invalid, "The filter for %s has no operator.", f.Field)
	}
	switch {
	case field.Type != needs:
		return errs.Public(errs.Invalid, "The field %s does not have this operator.", f.Field)
	case len(f.Values) == 0:
		return errs.Public(errs.Invalid, "The filter for %s has no value.", f.Field)
	}
	f.Values = slices.Clone(f.Values)
	for i, v := range f.Values {
		if f.Values[i], err = field.value(v); err != nil {
			return err
		}
		if f.Values[i].IsNull() {
			return errs.Public(errs.Invalid, "A filter for %s has an empty value.", f.Field)
		}
	}
	return nil
}
