// Package memindex keeps the index in memory, for tests: slow and plain, the model that other engines are
// compared with.
package memindex

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
)

type engine struct {
	mu   sync.RWMutex
	docs map[crash.ID]crashindex.Doc
}

// New returns an empty index.
func New() crashindex.Index {
	return crashindex.New(&engine{docs: map[crash.ID]crashindex.Doc{}})
}

func (e *engine) Put(_ context.Context, docs []crashindex.Doc) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, d := range docs {
		e.docs[d.ID] = d
	}
	return nil
}

func (e *engine) Delete(_ context.Context, ids []crash.ID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		delete(e.docs, id)
	}
	return nil
}

func (e *engine) Search(_ context.Context, q crashindex.Query) (r crashindex.Result, _ error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var docs []crashindex.Doc
	for _, d := range e.docs {
		if matches(q, d) {
			docs = append(docs, d)
		}
	}
	r.Total = len(docs)
	slices.SortFunc(docs, func(a, b crashindex.Doc) int {
		for _, s := range q.Sort {
			if c := compare(s, a, b); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.ID, b.ID)
	})
	for _, d := range docs[min(q.Offset, len(docs)):min(q.Offset+q.Limit, len(docs))] {
		hit := crashindex.Hit{ID: d.ID, Submitted: d.Submitted}
		for _, name := range q.Columns {
			hit.Values = append(hit.Values, d.Values[name])
		}
		r.Hits = append(r.Hits, hit)
	}
	for _, f := range q.Facets {
		terms := byValue(docs, f.Field)
		var facet []crashindex.Term
		for v, of := range terms {
			facet = append(facet, crashindex.Term{Value: v, Count: len(of), Histogram: histogram(of, f.Histogram)})
		}
		slices.SortFunc(facet, func(a, b crashindex.Term) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), a.Value.Compare(b.Value))
		})
		r.Facets = append(r.Facets, facet[:min(f.Size, len(facet))])
	}
	for _, name := range q.Cardinality {
		r.Cardinality = append(r.Cardinality, len(byValue(docs, name)))
	}
	r.Histogram = histogram(docs, q.Histogram)
	return r, nil
}

func matches(q crashindex.Query, d crashindex.Doc) bool {
	if d.Submitted.Before(q.From) || !d.Submitted.Before(q.To) {
		return false
	}
	for _, f := range q.Filters {
		if holds(f, d.Values[f.Field]) == f.Not {
			return false
		}
	}
	return true
}

func holds(f crashindex.Filter, have crashindex.Value) bool {
	if f.Op == crashindex.IsNull || have.IsNull() {
		return f.Op == crashindex.IsNull && have.IsNull()
	}
	return slices.ContainsFunc(f.Values, func(v crashindex.Value) bool {
		switch f.Op {
		case crashindex.Is:
			return have == v
		case crashindex.Contains:
			return strings.Contains(have.Text, v.Text)
		case crashindex.StartsWith:
			return strings.HasPrefix(have.Text, v.Text)
		case crashindex.AtLeast:
			return have.Int >= v.Int
		default:
			return have.Int <= v.Int
		}
	})
}

func compare(s crashindex.Sort, a, b crashindex.Doc) int {
	var c int
	if s.Field == crashindex.ByDate {
		c = a.Submitted.Compare(b.Submitted)
	} else {
		v, w := a.Values[s.Field], b.Values[s.Field]
		switch {
		case v.IsNull() && w.IsNull():
			return 0
		case v.IsNull():
			return 1
		case w.IsNull():
			return -1
		}
		c = v.Compare(w)
	}
	if s.Desc {
		return -c
	}
	return c
}

// byValue returns the docs that have a value of the field, by that value.
func byValue(docs []crashindex.Doc, field string) map[crashindex.Value][]crashindex.Doc {
	of := map[crashindex.Value][]crashindex.Doc{}
	for _, d := range docs {
		if v, ok := d.Values[field]; ok {
			of[v] = append(of[v], d)
		}
	}
	return of
}

func histogram(docs []crashindex.Doc, interval time.Duration) (bins []crashindex.Bin) {
	if interval == 0 {
		return nil
	}
	counts := map[time.Time]int{}
	for _, d := range docs {
		y, m, day := d.Submitted.Date()
		start := time.Date(y, m, day, 0, 0, 0, 0, time.UTC)
		if interval == crashindex.Hour {
			start = start.Add(time.Duration(d.Submitted.Hour()) * time.Hour)
		}
		counts[start]++
	}
	for _, start := range slices.SortedFunc(maps.Keys(counts), time.Time.Compare) {
		bins = append(bins, crashindex.Bin{Start: start, Count: counts[start]})
	}
	return bins
}
