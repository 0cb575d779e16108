package indextest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/crashindex/memindex"
	"salvage/internal/errs"
)

type (
	query = crashindex.Query
	bin   = crashindex.Bin
	term  = crashindex.Term
)

const (
	is         = crashindex.Is
	contains   = crashindex.Contains
	startsWith = crashindex.StartsWith
	atLeast    = crashindex.AtLeast
	atMost     = crashindex.AtMost
	isNull     = crashindex.IsNull
)

var rules = []rule{
	{"RoundTrip", "a hit has the id, the time in whole milliseconds and the columns asked, in their order; null where there is none", func(s *suite) {
		d := doc(1)
		var columns []string
		var want []crashindex.Value
		for i, f := range crashindex.Fields {
			v := crashindex.Text("value of " + f.Name)
			if f.Type == crashindex.Integer {
				v = crashindex.Int(int64(-i))
			}
			d.Values[f.Name] = v
			columns, want = append(columns, f.Name), append(want, v)
		}
		at := d.Submitted
		d.Submitted = at.Add(1_999_999).In(time.FixedZone("", 3600))
		s.put(d, doc(2, "uptime", 0))
		slices.Reverse(columns)
		slices.Reverse(want)
		r := s.search(query{Columns: append(columns, "uptime"), Limit: 9})
		s.equal("hits", r.Hits, []crashindex.Hit{
			{ID: ID(2), Submitted: start.Add(2 * time.Minute), Values: append(append([]crashindex.Value{crashindex.Int(0)}, make([]crashindex.Value, len(columns)-1)...), crashindex.Int(0))},
			{ID: ID(1), Submitted: at.Add(time.Millisecond), Values: append(want, want[0])},
		})
		s.equal("without columns", s.search(query{Limit: 1}).Hits, []crashindex.Hit{{ID: ID(2), Submitted: start.Add(2 * time.Minute)}})
	}},
	{"Empty", "an empty index, and a search that nothing matches, give zeros and as many facets as were asked", func(s *suite) {
		q := query{Limit: 9, Facets: []crashindex.Facet{{Field: "product", Size: 3, Histogram: crashindex.Hour}, {Field: "uptime", Size: 3}}, Cardinality: []string{"product"}, Histogram: crashindex.Day, From: start, To: start.Add(time.Hour)}
		want := crashindex.Result{Facets: make([][]term, 2), Cardinality: []int{0}}
		s.equal("empty", s.search(q), want)
		s.put(doc(100, "product", "p"), doc(1))
		q.Filters = []crashindex.Filter{filter("product", is, "other")}
		s.equal("no match", s.search(q), want)
		q.Filters, q.From = nil, q.To
		s.equal("no time", s.search(q), want)
	}},
	{"Replace", "Put replaces the doc with all its fields and its time; of two in one call the last counts; Put of nothing is nothing", func(s *suite) {
		s.put(doc(1, "product", "a", "version", "1", "uptime", 5), doc(2, "product", "b"))
		moved := doc(1, "product", "c")
		moved.Submitted = start.Add(time.Hour)
		s.put(doc(1, "product", "x"), doc(2, "product", "b"), moved)
		s.put()
		r := s.search(query{Columns: []string{"product", "version", "uptime"}, Limit: 9, Facets: []crashindex.Facet{{Field: "product", Size: 9}, {Field: "version", Size: 9}}})
		s.equal("result", r, crashindex.Result{
			Total: 2,
			Hits: []crashindex.Hit{
				{ID: ID(1), Submitted: moved.Submitted, Values: []crashindex.Value{crashindex.Text("c"), {}, {}}},
				{ID: ID(2), Submitted: start.Add(2 * time.Minute), Values: []crashindex.Value{crashindex.Text("b"), {}, {}}},
			},
			Facets: [][]term{{{Value: crashindex.Text("b"), Count: 1}, {Value: crashindex.Text("c"), Count: 1}}, nil},
		})
	}},
	{"Delete", "Delete removes the docs of these ids; that there is none is no error", func(s *suite) {
		s.put(doc(1, "product", "a"), doc(2, "product", "a"), doc(3, "product", "b"))
		for range 2 {
			if err := s.Delete(ctx, []crash.ID{ID(3), ID(9), ID(1), ID(3)}); err != nil {
				s.Fatal(err)
			}
			s.finds(where(), 2)
			s.finds(where(filter("product", is, "b")))
		}
		if err := s.Delete(ctx, nil); err != nil {
			s.Error(err)
		}
		s.put(doc(3, "product", "b"))
		s.finds(where(filter("product", is, "b")), 3)
	}},
	{"Retained", "what Put was given can be changed afterwards, and Search does not change its query", func(s *suite) {
		docs := []crashindex.Doc{doc(1, "product", "a")}
		s.put(docs...)
		docs[0].Values["product"] = crashindex.Text("b")
		s.finds(where(filter("product", is, "a")), 1)
		filters := []crashindex.Filter{filter("product", is, "a\x00")}
		values := filters[0].Values
		s.finds(where(filters...), 1)
		s.equal("values", values, []crashindex.Value{value("a\x00")})
		s.equal("filters", filters, []crashindex.Filter{filter("product", is, "a\x00")})
	}},
	{"Time", "From is part of the time asked and To is not, to the millisecond; parts of one count for the next", func(s *suite) {
		s.put(doc(0), doc(1), doc(2), doc(3))
		at := start.Add(time.Minute)
		for _, tt := range []struct {
			from, to time.Time
			want     []int
		}{
			{at, at.Add(time.Minute), []int{1}},
			{at.Add(1), at.Add(time.Minute + 1), []int{2}},
			{at.Add(-time.Millisecond), at, nil},
			{at.Add(-time.Millisecond + 1), at.Add(1), []int{1}},
			{time.Time{}, at.Add(time.Minute).In(time.FixedZone("", -3600)), []int{0, 1}},
			{at.Add(time.Minute), time.Time{}, []int{2, 3}},
			{time.Time{}, time.Time{}, []int{0, 1, 2, 3}},
			{at, at, nil},
			{at.Add(time.Hour), at, nil},
			{time.Date(-9000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), []int{0, 1, 2, 3}},
		} {
			q := where()
			q.From, q.To = tt.from, tt.to
			s.finds(q, tt.want...)
		}
	}},
	{"Filters", "all filters hold, each for one of its values; Not is the opposite, so a null is not anything", func(s *suite) {
		s.put(doc(1, "product", "a", "uptime", 10), doc(2, "product", "b", "uptime", -20), doc(3, "product", "abc"), doc(4, "uptime", 0))
		for _, tt := range []struct {
			filter    crashindex.Filter
			want, not []int
		}{
			{filter("product", is, "a"), []int{1}, []int{2, 3, 4}},
			{filter("product", is, "a", "none", "b"), []int{1, 2}, []int{3, 4}},
			{filter("product", is, "none"), nil, []int{1, 2, 3, 4}},
			{filter("product", contains, "b"), []int{2, 3}, []int{1, 4}},
			{filter("product", contains, "c", "a"), []int{1, 3}, []int{2, 4}},
			{filter("product", startsWith, "a"), []int{1, 3}, []int{2, 4}},
			{filter("product", startsWith, "b", "ab"), []int{2, 3}, []int{1, 4}},
			{filter("product", isNull), []int{4}, []int{1, 2, 3}},
			{filter("uptime", is, 0, -20), []int{2, 4}, []int{1, 3}},
			{filter("uptime", atLeast, 0), []int{1, 4}, []int{2, 3}},
			{filter("uptime", atMost, 0), []int{2, 4}, []int{1, 3}},
			{filter("uptime", atMost, -21, -20), []int{2}, []int{1, 3, 4}},
			{filter("uptime", atLeast, math.MinInt), []int{1, 2, 4}, []int{3}},
			{filter("uptime", isNull), []int{3}, []int{1, 2, 4}},
		} {
			s.finds(where(tt.filter), tt.want...)
			s.finds(where(not(tt.filter)), tt.not...)
		}
		s.finds(where(filter("product", contains, "a"), filter("uptime", atLeast, 0)), 1)
		s.finds(where(filter("uptime", atLeast, -20), filter("uptime", atMost, 0), not(filter("product", isNull))), 2)
		s.finds(where(filter("version", is, "a"))) // the text is another field's
	}},
	{"Exact", "text is compared byte by byte: case matters in ASCII and beyond, no form of a letter is another's, and no character stands for others", func(s *suite) {
		values := []string{"ab", "Ab", "aB", "é", "É", "e\u0301", "a%b", "a_b", "a*b", "a?b", "[a]", `a\b`, `a\%b`, "a'b", `a"b`, "a; DROP TABLE crash_index --", " ab", "ab ", "ß", "ss", "éa", "日本語", "İ", "i", "日本", "\u00a0", "$1", "\U0001F600"}
		for i, v := range values {
			s.put(doc(i, "signature", v))
		}
		for i, v := range values {
			s.finds(where(filter("signature", is, v)), i)
			for _, tt := range []struct {
				op    crashindex.Op
				holds func(string, string) bool
			}{{contains, strings.Contains}, {startsWith, strings.HasPrefix}} {
				var want []int
				for j, w := range values {
					if tt.holds(w, v) {
						want = append(want, j)
					}
				}
				s.finds(where(filter("signature", tt.op, v)), want...)
			}
		}
		for _, v := range []string{"%", "_", "*", "?", `\`, "%b", "a_", "'", "B"} {
			var want []int
			for j, w := range values {
				if strings.Contains(w, v) {
					want = append(want, j)
				}
			}
			s.finds(where(filter("signature", contains, v)), want...)
		}
		if n := s.search(query{Cardinality: []string{"signature"}}).Cardinality[0]; n != len(values) {
			s.Errorf("%d different of %d", n, len(values))
		}
	}},
	{"Untrusted", "bytes that are not UTF-8 become U+FFFD, NUL goes, text beyond MaxText characters is cut; an empty text is null; a query's texts are treated the same", func(s *suite) {
		long := strings.Repeat("é", crashindex.MaxText)
		for i, tt := range []struct{ put, want string }{
			{"a\xff\xfeb", "a\ufffd\ufffdb"}, {"a\x00b\x00", "ab"}, {long, long}, {long + "x", long}, {"\x00" + long + "x", long},
			{strings.Repeat("x", 1<<20), strings.Repeat("x", crashindex.MaxText)}, {long[:len(long)-2] + "\xc3", long[:len(long)-2] + "\ufffd"},
			{"\x00", ""}, {"", ""}, {"a\nb\x1b\u202e", "a\nb\x1b\u202e"}, {"\xed\xa0\x80", "\ufffd\ufffd\ufffd"},
		} {
			d := doc(i)
			d.Values["reason"] = crashindex.Value{Type: crashindex.Keyword, Text: tt.put}
			s.put(d)
			q := query{From: d.Submitted, To: d.Submitted.Add(1), Columns: []string{"reason"}, Limit: 1}
			r := s.search(q)
			s.equal(fmt.Sprintf("%.20q", tt.put), r.Hits[0].Values[0], crashindex.Text(tt.want))
			if tt.want == "" {
				q.Filters = []crashindex.Filter{filter("reason", isNull)}
				s.finds(q, i)
				continue
			}
			for _, op := range []crashindex.Op{is, contains, startsWith} {
				q.Filters = []crashindex.Filter{filter("reason", op, tt.put)}
				s.finds(q, i)
			}
		}
	}},
	{"Integers", "an Integer has 64 bits and a sign", func(s *suite) {
		s.put(doc(1, "uptime", math.MaxInt), doc(2, "uptime", math.MinInt), doc(3, "uptime", 0))
		s.finds(where(filter("uptime", is, math.MaxInt)), 1)
		s.finds(where(filter("uptime", atMost, math.MinInt)), 2)
		s.finds(query{Sort: []crashindex.Sort{{Field: "uptime"}}}, 2, 3, 1)
	}},
	{"Sort", "the newest come first unless asked otherwise; null comes last; those that are equal are in the order of their ids", func(s *suite) {
		a, b := doc(8, "product", "x"), doc(9, "product", "x")
		a.Submitted, b.Submitted = start, start
		s.put(b, a, doc(1, "product", "b"), doc(2, "product", "B", "uptime", 7), doc(3), doc(4, "product", "é", "uptime", 7), doc(5, "uptime", 10))
		by := func(sort ...crashindex.Sort) query { return query{Sort: sort} }
		date := crashindex.ByDate
		s.finds(by(), 5, 4, 3, 2, 1, 8, 9)
		s.finds(by(crashindex.Sort{Field: date}), 8, 9, 1, 2, 3, 4, 5)
		s.finds(by(crashindex.Sort{Field: "product"}), 2, 1, 8, 9, 4, 3, 5)
		s.finds(by(crashindex.Sort{Field: "product", Desc: true}), 4, 8, 9, 1, 2, 3, 5)
		s.finds(by(crashindex.Sort{Field: "uptime"}), 2, 4, 5, 1, 3, 8, 9)
		s.finds(by(crashindex.Sort{Field: "uptime", Desc: true}, crashindex.Sort{Field: date, Desc: true}), 5, 4, 2, 3, 1, 8, 9)
	}},
	{"Window", "Limit and Offset cut the same list, and Total counts all of it", func(s *suite) {
		for i := range 10 {
			s.put(doc(i))
		}
		for _, tt := range []struct{ limit, offset, first, n int }{{3, 0, 9, 3}, {3, 8, 1, 2}, {0, 0, 0, 0}, {5, 10, 0, 0}, {1, crashindex.MaxWindow - 1, 0, 0}} {
			r := s.search(query{Limit: tt.limit, Offset: tt.offset})
			if r.Total != 10 || len(r.Hits) != tt.n || tt.n > 0 && r.Hits[0].ID != ID(tt.first) {
				s.Errorf("limit %d, offset %d: %+v", tt.limit, tt.offset, r)
			}
		}
	}},
	{"Facets", "a facet has the values of the most crashes first, then by value, without null, of the crashes that match; cardinality counts different ones", func(s *suite) {
		s.put(doc(1, "product", "a", "uptime", 2), doc(2, "product", "b", "uptime", -1), doc(3, "product", "b"), doc(4, "product", "B"), doc(5, "version", "a"), doc(6, "product", "c", "uptime", 2), doc(7, "product", "other"))
		count := func(v any, n int) term { return term{Value: value(v), Count: n} }
		q := query{
			Filters:     []crashindex.Filter{not(filter("product", is, "other"))},
			Facets:      []crashindex.Facet{{Field: "product", Size: 3}, {Field: "uptime", Size: 1}, {Field: "product", Size: 9}, {Field: "version", Size: 1}, {Field: "reason", Size: 1}},
			Cardinality: []string{"uptime", "product", "reason"},
		}
		r := s.search(q)
		s.equal("facets", r.Facets, [][]term{
			{count("b", 2), count("B", 1), count("a", 1)},
			{count(2, 2)},
			{count("b", 2), count("B", 1), count("a", 1), count("c", 1)},
			{count("a", 1)},
			nil,
		})
		s.equal("cardinality", r.Cardinality, []int{2, 4, 0})
		s.equal("hits", r.Hits, []crashindex.Hit(nil))
	}},
	{"Histograms", "bins start at full hours and days of UTC, are in the order of time and never empty; each value of a facet can have its own", func(s *suite) {
		s.put(doc(0, "product", "a", "uptime", 1), doc(1, "product", "b", "uptime", 1), doc(2, "product", "a"), doc(62, "product", "a"), doc(3*24*60, "product", "c"))
		day, hour := start.Truncate(crashindex.Day), start.Truncate(time.Hour)
		q := query{From: start, To: start.Add(4 * crashindex.Day), Histogram: crashindex.Day, Facets: []crashindex.Facet{{Field: "product", Size: 2, Histogram: crashindex.Hour}, {Field: "uptime", Size: 1, Histogram: crashindex.Day}}}
		r := s.search(q)
		next := day.Add(crashindex.Day)
		s.equal("days", r.Histogram, []bin{{Start: day, Count: 1}, {Start: next, Count: 3}, {Start: next.Add(2 * crashindex.Day), Count: 1}})
		s.equal("facets", r.Facets, [][]term{
			{
				{Value: value("a"), Count: 3, Histogram: []bin{{Start: hour, Count: 1}, {Start: next, Count: 1}, {Start: next.Add(time.Hour), Count: 1}}},
				{Value: value("b"), Count: 1, Histogram: []bin{{Start: next, Count: 1}}},
			},
			{{Value: value(1), Count: 2, Histogram: []bin{{Start: day, Count: 1}, {Start: next, Count: 1}}}},
		})
		q.Histogram, q.To = crashindex.Hour, start.Add(time.Hour)
		s.equal("hours", s.search(q).Histogram, []bin{{Start: hour, Count: 1}, {Start: next, Count: 2}})
		q = query{Histogram: crashindex.Day}
		s.equal("all days", len(s.search(q).Histogram), 3)
	}},
	{"Bounds", "submissions are from Earliest on and before Latest", func(s *suite) {
		first, last := doc(1), doc(2)
		first.Submitted, last.Submitted = crashindex.Earliest, crashindex.Latest.Add(-1)
		s.put(first, last)
		s.finds(query{}, 2, 1)
		s.equal("days", s.search(query{Histogram: crashindex.Day}).Histogram, []bin{{Start: crashindex.Earliest, Count: 1}, {Start: crashindex.Latest.Add(-crashindex.Day), Count: 1}})
		for _, at := range []time.Time{crashindex.Earliest.Add(-1), crashindex.Latest, {}} {
			d := doc(3)
			d.Submitted = at
			s.fails(at.String(), s.Put(ctx, []crashindex.Doc{d}), errs.Invalid)
		}
	}},
	{"Invalid", "what is beyond the limits, unknown or of another type is Invalid, and a Put with it changes nothing", func(s *suite) {
		s.put(doc(1, "product", "a"))
		for _, bad := range []crashindex.Doc{
			doc(2, "no_field", "x"), doc(2, "Product", "x"), doc(2, "id", "x"), doc(2, "product", 1), doc(2, "uptime", "1"),
			{ID: "", Submitted: start}, {ID: crash.ID(crash.Prefix + string(ID(2))), Submitted: start}, {ID: "00000001-0000-4000-8000-000000269999", Submitted: start},
			{ID: ID(2), Submitted: start, Values: map[string]crashindex.Value{"product": {Type: 9, Text: "x"}}},
		} {
			s.fails(fmt.Sprintf("%+v", bad), s.Put(ctx, []crashindex.Doc{doc(1, "product", "b"), bad}), errs.Invalid)
		}
		many := make([]crashindex.Doc, crashindex.MaxBatch+1)
		ids := make([]crash.ID, len(many))
		for i := range many {
			many[i], ids[i] = doc(i), ID(i)
		}
		s.fails("many", s.Put(ctx, many), errs.Invalid)
		s.fails("delete many", s.Delete(ctx, ids), errs.Invalid)
		s.fails("delete", s.Delete(ctx, []crash.ID{ID(1), "x' OR 'a'='a"}), errs.Invalid)
		s.finds(where(filter("product", is, "a")), 1)
		repeat := func(n int, v any) (vs []any) {
			for range n {
				vs = append(vs, v)
			}
			return vs
		}
		day, hour := crashindex.Day, time.Hour
		for i, q := range []query{
			where(filter("no", is, "x")), where(filter("", is, "x")), where(filter("product; --", is, "x")), where(filter(crashindex.ByDate, is, "x")),
			where(filter("product", is)), where(filter("product", is, nil)), where(filter("product", is, "")), where(filter("product", is, "a", "\x00")), where(filter("product", is, 1)), where(filter("product", 0, "x")), where(filter("product", 99, "x")),
			where(filter("product", atLeast, "x")), where(filter("product", atMost, 1)), where(filter("uptime", contains, "x")), where(filter("uptime", startsWith, 1)), where(filter("uptime", is, "1")), where(filter("product", isNull, "x")),
			where(filter("product", is, repeat(crashindex.MaxValues+1, "a")...)), where(filter("product", is, repeat(crashindex.MaxValues, "a")...), filter("uptime", is, 1)), where(slices.Repeat([]crashindex.Filter{filter("product", is, "a")}, crashindex.MaxFilters+1)...),
			{Columns: []string{"no"}}, {Columns: []string{"id"}}, {Columns: slices.Repeat([]string{"product"}, crashindex.MaxColumns+1)},
			{Sort: []crashindex.Sort{{}}}, {Sort: []crashindex.Sort{{Field: "submitted"}}}, {Sort: slices.Repeat([]crashindex.Sort{{Field: "product"}}, crashindex.MaxColumns+1)},
			{Limit: -1}, {Offset: -1}, {Limit: crashindex.MaxLimit + 1}, {Limit: 1, Offset: crashindex.MaxWindow}, {Offset: math.MaxInt, Limit: 1},
			{Facets: []crashindex.Facet{{Field: "no", Size: 1}}}, {Facets: []crashindex.Facet{{Field: "product"}}}, {Facets: []crashindex.Facet{{Field: "product", Size: crashindex.MaxWindow + 1}}}, {Facets: slices.Repeat([]crashindex.Facet{{Field: "product", Size: 1}}, crashindex.MaxFacets+1)},
			{Facets: slices.Repeat([]crashindex.Facet{{Field: "product", Size: crashindex.MaxWindow}}, 11)},
			{Facets: []crashindex.Facet{{Field: "product", Size: 3, Histogram: day}}}, {Facets: []crashindex.Facet{{Field: "product", Size: 1, Histogram: time.Minute}}},
			{Cardinality: []string{"no"}}, {Cardinality: slices.Repeat([]string{"product"}, crashindex.MaxFacets+1)},
			{Histogram: hour}, {Histogram: -day}, {Histogram: 2 * day}, {Histogram: 1}, {From: start, To: start.Add((crashindex.MaxBuckets+1)*hour - 59*time.Minute), Histogram: hour},
		} {
			_, err := s.Search(ctx, q)
			s.fails(fmt.Sprintf("query %d: %+v", i, q), err, errs.Invalid)
		}
	}},
	{"Limits", "what is within the limits works", func(s *suite) {
		many := make([]crashindex.Doc, crashindex.MaxBatch)
		ids := make([]crash.ID, len(many))
		for i := range many {
			many[i], ids[i] = doc(i, "product", fmt.Sprint("p", i), "uptime", i), ID(i)
		}
		s.put(many...)
		f, either := filter("product", contains), filter("product", is)
		for i := range crashindex.MaxValues {
			f.Values, either.Values = append(f.Values, value(fmt.Sprint("p", i))), append(either.Values, value(fmt.Sprint("p", i)))
		}
		filters := append([]crashindex.Filter{f}, slices.Repeat([]crashindex.Filter{not(filter("product", isNull))}, crashindex.MaxFilters-1)...)
		facets := slices.Repeat([]crashindex.Facet{{Field: "product", Size: 1000}}, crashindex.MaxFacets)
		sort := slices.Repeat([]crashindex.Sort{{Field: "product"}, {Field: "uptime"}}, crashindex.MaxColumns/2)
		const matching = 1000 // p1 is in p100, and so on; p0 is there as well
		r := s.search(query{Filters: filters, Facets: facets, Sort: sort, Columns: slices.Repeat([]string{"product"}, crashindex.MaxColumns), Limit: crashindex.MaxLimit, Offset: crashindex.MaxWindow - crashindex.MaxLimit,
			Cardinality: slices.Repeat([]string{"uptime"}, crashindex.MaxFacets), From: start, To: start.Add(crashindex.Day), Histogram: time.Hour})
		if r.Total != matching || len(r.Facets[crashindex.MaxFacets-1]) != matching || r.Cardinality[0] != matching {
			s.Errorf("total %d, %d terms", r.Total, len(r.Facets[0]))
		}
		r = s.search(query{From: start, To: start.Add(time.Minute), Filters: filters, Facets: []crashindex.Facet{{Field: "product", Size: crashindex.MaxWindow, Histogram: time.Hour}}})
		if r.Total != 1 || len(r.Facets[0]) != 1 {
			s.Errorf("%+v", r)
		}
		r = s.search(query{Facets: []crashindex.Facet{{Field: "uptime", Size: 2, Histogram: crashindex.Day}}})
		s.equal("2 of many", len(r.Facets[0]), 2)
		r = s.search(query{From: start, To: start.Add(crashindex.Day), Filters: []crashindex.Filter{either}, Facets: []crashindex.Facet{{Field: "product", Size: 4000, Histogram: time.Hour}}})
		hour := start.Truncate(time.Hour)
		s.equal("hours", len(s.search(query{From: hour, To: hour.Add(crashindex.MaxBuckets * time.Hour), Histogram: time.Hour}).Histogram), 18)
		s.equal("nested", len(r.Facets[0]), crashindex.MaxValues)
		if err := s.Delete(ctx, ids); err != nil {
			s.Fatal(err)
		}
		s.finds(query{})
	}},
	{"Cancelled", "with a context that has ended nothing happens, and the error says so", func(s *suite) {
		s.put(doc(1))
		ended, cancel := context.WithCancel(ctx)
		cancel()
		s.fails("Put", s.Put(ended, []crashindex.Doc{doc(2)}), context.Canceled)
		s.fails("Delete", s.Delete(ended, []crash.ID{ID(1)}), context.Canceled)
		_, err := s.Search(ended, query{})
		s.fails("Search", err, context.Canceled)
		s.finds(query{}, 1)
	}},
	{"Concurrent", "a search sees all of a Put or nothing of it, also in the parts of its result", func(s *suite) {
		var wg sync.WaitGroup
		put := func(version int) {
			var docs []crashindex.Doc
			for i := range 20 {
				docs = append(docs, doc(i, "version", fmt.Sprint(version)))
			}
			if err := s.Put(ctx, docs); err != nil {
				s.Error(err)
			}
		}
		put(0)
		done := make(chan struct{})
		for w := range 2 {
			wg.Go(func() {
				for i := range 15 {
					put(2*i + w)
				}
			})
		}
		go func() { wg.Wait(); close(done) }()
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			default:
			}
			r := s.search(query{Limit: 100, Columns: []string{"version"}, Facets: []crashindex.Facet{{Field: "version", Size: 9}}})
			if r.Total != 20 || len(r.Hits) != 20 || len(r.Facets[0]) != 1 || r.Facets[0][0].Count != 20 {
				s.Errorf("%d crashes, %d hits, versions %+v", r.Total, len(r.Hits), r.Facets[0])
				<-done
				return
			}
			for _, h := range r.Hits {
				if h.Values[0] != r.Facets[0][0].Value {
					s.Errorf("a hit of version %s, all are %s", h.Values[0], r.Facets[0][0].Value)
				}
			}
		}
	}},
	{"Random", "any search over any crashes gives what the plain model gives; a filter and its opposite share out all crashes", func(s *suite) {
		searches, found := 0, 0
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 0))
			model := memindex.New()
			if err := s.Delete(ctx, ids(0, idRange)); err != nil {
				s.Fatal(err)
			}
			for step := range 40 {
				switch docs := randomDocs(r); {
				case step%10 == 9:
					some := ids(r.IntN(idRange), 10)
					if err := cmpErr(s.Delete(ctx, some), model.Delete(ctx, some)); err != nil {
						s.Fatal(err)
					}
				case step%3 == 0:
					if err := cmpErr(s.Put(ctx, docs), model.Put(ctx, docs)); err != nil {
						s.Fatal(err)
					}
				}
				for range 4 {
					q := randomQuery(r)
					searches++
					got, err := s.Search(ctx, q)
					want, wantErr := model.Search(ctx, q)
					if err := cmpErr(err, wantErr); err != nil {
						s.Fatal(err)
					}
					if err == nil && got.Total > 0 {
						found++
					}
					if !reflect.DeepEqual(got, want) {
						s.Fatalf("seed %d, step %d: %+v\n got %+v\nwant %+v", seed, step, q, got, want)
					}
					if err != nil || len(q.Filters) != 1 {
						continue
					}
					q.Filters = []crashindex.Filter{q.Filters[0]}
					q.Filters[0].Not = !q.Filters[0].Not
					others := s.search(q).Total
					q.Filters = nil
					if all := s.search(q).Total; got.Total+others != all {
						s.Errorf("seed %d, step %d: %d and %d are not %d", seed, step, got.Total, others, all)
					}
				}
			}
		}
		if found < searches/3 {
			s.Errorf("only %d of %d searches find something", found, searches)
		}
	}},
}

const idRange = 60

func ids(from, n int) (all []crash.ID) {
	for i := range n {
		all = append(all, ID((from+i)%idRange))
	}
	return all
}

func cmpErr(got, want error) error {
	if errs.KindOf(got) != errs.KindOf(want) {
		return fmt.Errorf("error %v, want %v", got, want)
	}
	return nil
}

var randomTexts = []string{"a", "A", "b", "ab", "aB", "a%b", "a_b", `a\`, "é", "É", "e\u0301", "日本", "'", "%", "_", "\xff", "a\x00b", "\ufffd", " ", "10", "9", strings.Repeat("x", crashindex.MaxText+1), "x", ""}

// few fields, so that searches match
var randomFields = []string{"signature", "product", "version", "uptime", "build_id"}

func randomValue(r *rand.Rand, field string) crashindex.Value {
	f, _ := crashindex.Lookup(field)
	if f.Type == crashindex.Integer {
		return crashindex.Int(int64(r.IntN(6) - 2))
	}
	return crashindex.Text(randomTexts[r.IntN(len(randomTexts))])
}

func randomDocs(r *rand.Rand) (docs []crashindex.Doc) {
	for range r.IntN(20) {
		d := doc(r.IntN(idRange))
		d.Submitted = randomTime(r)
		for _, f := range randomFields {
			if r.IntN(4) > 0 {
				d.Values[f] = randomValue(r, f)
			}
		}
		docs = append(docs, d)
	}
	return docs
}

func randomTime(r *rand.Rand) time.Time {
	return start.Add(time.Duration(r.IntN(100)) * 41 * time.Minute).Add(time.Duration(r.IntN(3) - 1))
}

func randomQuery(r *rand.Rand) (q query) {
	field := func() string { return randomFields[r.IntN(len(randomFields))] }
	interval := func() time.Duration { return []time.Duration{0, crashindex.Hour, crashindex.Day}[r.IntN(3)] }
	q.From, q.To = start.Add(-crashindex.Day), start.Add(5*crashindex.Day)
	if r.IntN(3) > 0 {
		q.From = randomTime(r)
	}
	if r.IntN(3) > 0 {
		q.To = randomTime(r)
	}
	for range r.IntN(3) {
		f := crashindex.Filter{Field: field(), Not: r.IntN(2) == 0}
		ops := []crashindex.Op{is, contains, startsWith, isNull}
		if of, _ := crashindex.Lookup(f.Field); of.Type == crashindex.Integer {
			ops = []crashindex.Op{is, atLeast, atMost, isNull}
		}
		f.Op = ops[r.IntN(len(ops))]
		for range 1 + r.IntN(4) {
			if v := randomValue(r, f.Field); f.Op != isNull && !v.IsNull() {
				f.Values = append(f.Values, v)
			}
		}
		q.Filters = append(q.Filters, f)
	}
	for range r.IntN(3) {
		q.Columns = append(q.Columns, field())
		q.Sort = append(q.Sort, crashindex.Sort{Field: append(randomFields, crashindex.ByDate)[r.IntN(len(randomFields)+1)], Desc: r.IntN(2) == 0})
		q.Facets = append(q.Facets, crashindex.Facet{Field: field(), Size: 1 + r.IntN(6), Histogram: interval()})
		q.Cardinality = append(q.Cardinality, field())
	}
	q.Limit, q.Offset, q.Histogram = r.IntN(30), r.IntN(10), interval()
	return q
}
