// Package indextest holds the tests that every engine of package crashindex passes, and made crashes to
// measure them with.
package indextest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
)

// Run checks that the indexes which open returns, each of them empty, keep the contract of
// crashindex.Index: one subtest for each rule, which prints its sentence on failure.
func Run(t *testing.T, open func(testing.TB) crashindex.Index) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the contract: %s", rule.sentence)
				}
			})
			rule.check(&suite{T: t, Index: open(t)})
		})
	}
}

type rule struct {
	name, sentence string
	check          func(s *suite)
}

// suite is one test with its index; its methods fail the test.
type suite struct {
	*testing.T
	crashindex.Index
}

var ctx = context.Background()

// start is the time of the suite's crashes: a minute before a day ends.
var start = time.Date(2026, 8, 18, 23, 59, 0, 0, time.UTC)

// ID is the id of a made crash, different for each n.
func ID(n int) crash.ID { return crash.ID(fmt.Sprintf("%08x-0000-4000-8000-000000260818", n)) }

// doc is crash n, submitted n minutes after start, with fields and values by turns.
func doc(n int, values ...any) crashindex.Doc {
	d := crashindex.Doc{ID: ID(n), Submitted: start.Add(time.Duration(n) * time.Minute), Values: map[string]crashindex.Value{}}
	for i := 0; i < len(values); i += 2 {
		d.Values[values[i].(string)] = value(values[i+1])
	}
	return d
}

func value(v any) crashindex.Value {
	switch v := v.(type) {
	case int:
		return crashindex.Int(int64(v))
	case string:
		return crashindex.Text(v)
	}
	return crashindex.Value{}
}

func filter(field string, op crashindex.Op, values ...any) crashindex.Filter {
	f := crashindex.Filter{Field: field, Op: op}
	for _, v := range values {
		f.Values = append(f.Values, value(v))
	}
	return f
}

func not(f crashindex.Filter) crashindex.Filter {
	f.Not = true
	return f
}

func (s *suite) put(docs ...crashindex.Doc) {
	s.Helper()
	if err := s.Put(ctx, docs); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) search(q crashindex.Query) crashindex.Result {
	s.Helper()
	r, err := s.Search(ctx, q)
	if err != nil {
		s.Fatalf("%+v: %v", q, err)
	}
	return r
}

// finds checks which crashes match, in the order of the query, and that Total says how many.
func (s *suite) finds(q crashindex.Query, want ...int) {
	s.Helper()
	q.Limit = 100
	r := s.search(q)
	var ids, wantIDs []crash.ID
	for _, h := range r.Hits {
		ids = append(ids, h.ID)
	}
	for _, n := range want {
		wantIDs = append(wantIDs, ID(n))
	}
	if !reflect.DeepEqual(ids, wantIDs) || r.Total != len(want) {
		s.Errorf("%+v: %d of %v, want %v", q, r.Total, ids, wantIDs)
	}
}

// where is a search with filters, the oldest first.
func where(filters ...crashindex.Filter) crashindex.Query {
	return crashindex.Query{Filters: filters, Sort: []crashindex.Sort{{Field: crashindex.ByDate}}}
}

func (s *suite) equal(what string, got, want any) {
	s.Helper()
	if !reflect.DeepEqual(got, want) {
		s.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// fails checks that err has the kind, or is the error, want.
func (s *suite) fails(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

// Made returns n made crashes of 28 days before 19 August 2026, the oldest first, the same in each call: few
// signatures have most of them, and a fifth have a stack of their own.
func Made(n int) []crashindex.Doc {
	r := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(r, 1.2, 4, 4999)
	pick := func(of ...string) crashindex.Value { return crashindex.Text(of[min(r.IntN(len(of)), r.IntN(len(of)))]) }
	end := time.Date(2026, 8, 19, 0, 0, 0, 0, time.UTC)
	docs := make([]crashindex.Doc, n)
	for i := range docs {
		signature := int(zipf.Uint64())
		stack := fmt.Sprintf("module%d::Class%d::method(int*)", signature%37, signature)
		proto, modules := stack, ""
		variant := r.IntN(20)
		if r.IntN(5) == 0 {
			variant = i
		}
		for frame := range 12 {
			proto += fmt.Sprintf(" | namespace%d::Caller%d::run(unsigned int)", frame, (signature*7+frame)%900)
			modules += fmt.Sprintf("lib%d.so/%033X;", (signature+frame)%40, (signature+frame)%40+variant%3)
		}
		v := map[string]crashindex.Value{
			"signature":               crashindex.Text(stack + " | run(int*)"),
			"product":                 pick("CrashApp", "Shop", "Agent"),
			"version":                 pick("1.0", "0.9", "0.8", "3.1", "3.0", "2.9.1"),
			"release_channel":         pick("release", "beta", "nightly"),
			"build_id":                crashindex.Int(20260701000000 + int64(r.IntN(30))*1_000_000),
			"process_type":            pick("parent", "content", "gpu"),
			"platform":                pick("Windows NT", "Linux", "Mac OS X", "Android"),
			"platform_version":        pick("10.0.26100", "10.0.19045", "6.8.0", "15.5"),
			"platform_pretty_version": pick("Windows 11", "Windows 10", "Ubuntu 24.04", "macOS 15"),
			"cpu_arch":                pick("amd64", "arm64", "x86"),
			"reason":                  pick("EXCEPTION_ACCESS_VIOLATION_READ", "SIGSEGV / SEGV_MAPERR", "SIGABRT", "EXC_BAD_ACCESS"),
			"address":                 crashindex.Text(fmt.Sprintf("0x%016x", r.Uint64()>>(16+r.IntN(2)*47))),
			"crashing_thread_name":    pick("main", "worker", "render"),
			"proto_signature":         crashindex.Text(fmt.Sprintf("%s | start%d", proto, variant)),
			"topmost_filenames":       crashindex.Text(fmt.Sprintf("src/module%d/class%d.cc", signature%37, signature)),
			"modules_in_stack":        crashindex.Text(modules),
			"uptime":                  crashindex.Int(int64(r.ExpFloat64() * 3600)),
		}
		age := time.Duration(float64(n-i) / float64(n) * 28 * float64(crashindex.Day))
		id := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%05x0%s", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.IntN(1<<20), end.Add(-age).Format("060102"))
		docs[i] = crashindex.Doc{ID: crash.ID(id), Submitted: end.Add(-age), Values: v}
	}
	return docs
}

// Week is the query that Bench measures over Made: of a product the last 7 days, with filter, three facets, two
// histograms and the newest crashes.
var Week = crashindex.Query{
	From:    time.Date(2026, 8, 12, 0, 0, 0, 0, time.UTC),
	To:      time.Date(2026, 8, 19, 0, 0, 0, 0, time.UTC),
	Filters: []crashindex.Filter{filter("product", crashindex.Is, "CrashApp")},
	Columns: []string{"signature", "product", "version", "platform"},
	Limit:   20,
	Facets: []crashindex.Facet{
		{Field: "signature", Size: 20, Histogram: crashindex.Day},
		{Field: "version", Size: 10},
		{Field: "platform_pretty_version", Size: 10},
	},
	Histogram: crashindex.Day,
}
