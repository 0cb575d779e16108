// Command search times questions to the crash index, the same that peers.py asks DuckDB and ClickHouse:
//
//	search csv N             N made crashes, to standard output, the same ones every time
//	search fill DB FILE      puts those of the CSV FILE into the index of a new database DB
//	search run DB N          asks each question N times and prints p50_ms, p95_ms and what was found
package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"time"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/crashindex/sqlindex"
	"salvage/internal/sqldb"
)

func main() {
	err := errors.New("search csv N, search fill DB FILE or search run DB N")
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "csv":
			err = write(os.Args[2])
		case "fill":
			err = fill(os.Args[2], os.Args[3])
		case "run":
			err = run(os.Args[2], os.Args[3])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "search:", err)
		os.Exit(1)
	}
}

// end is when the last crash was submitted; there are as many each hour of the 180 days before.
var end = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// columns are id, submitted in milliseconds, and these.
var columns = []string{"signature", "product", "version", "platform", "reason", "cpu_arch"}

func write(count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	fmt.Fprint(w, "id,submitted,signature,product,version,platform,reason,cpu_arch\n")
	rng := rand.New(rand.NewPCG(1, 2))
	signatures := rand.NewZipf(rng, 1.2, 8, 19_999)
	few := rand.NewZipf(rng, 1.5, 1, 39)
	for i := range n {
		at := end.Add(-time.Duration(float64(n-i) / float64(n) * float64(180*24*time.Hour)))
		id := fmt.Sprintf("%08x-%04x-4%03x-8%03x-%05x0%s", rng.Uint32(), rng.Uint32N(1<<16), rng.Uint32N(1<<12), rng.Uint32N(1<<12), rng.Uint32N(1<<20), at.Format("060102"))
		s := signatures.Uint64()
		fmt.Fprintf(w, "%s,%d,lib%d | ns::Type%d::method,Product%d,%d.0.%d,%s,%s,%s\n", id, at.UnixMilli(), s%90, s, few.Uint64()%5, 100+few.Uint64(), few.Uint64()%3,
			[]string{"Windows", "Linux", "macOS", "Android"}[few.Uint64()%4], []string{"SIGSEGV / SEGV_MAPERR", "EXCEPTION_ACCESS_VIOLATION_READ", "SIGABRT", "EXC_BAD_ACCESS"}[few.Uint64()%4], []string{"amd64", "arm64", "x86"}[few.Uint64()%3])
	}
	return w.Flush()
}

func fill(path, source string) error {
	index, done, err := open(path)
	if err != nil {
		return err
	}
	defer done()
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReaderSize(f, 1<<20))
	if _, err := r.Read(); err != nil {
		return err
	}
	var batch []crashindex.Doc
	for {
		row, err := r.Read()
		if err != nil && err != io.EOF {
			return err
		}
		if err == nil {
			ms, err := strconv.ParseInt(row[1], 10, 64)
			if err != nil {
				return err
			}
			doc := crashindex.Doc{ID: crash.ID(row[0]), Submitted: time.UnixMilli(ms), Values: map[string]crashindex.Value{}}
			for i, c := range columns {
				doc.Values[c] = crashindex.Text(row[2+i])
			}
			batch = append(batch, doc)
		}
		if len(batch) == crashindex.MaxBatch || err == io.EOF {
			if err := index.Put(context.Background(), batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if err == io.EOF {
			return nil
		}
	}
}

func open(path string) (crashindex.Index, func() error, error) {
	db, err := sqldb.Open(context.Background(), "sqlite:"+path)
	if err != nil {
		return nil, nil, err
	}
	return sqlindex.New(db), db.Close, nil
}

// questions are filters, each with three facets and a histogram of 28 days.
var questions = []struct {
	name    string
	filters []crashindex.Filter
}{
	{"all", nil},
	{"product", []crashindex.Filter{{Field: "product", Op: crashindex.Is, Values: []crashindex.Value{crashindex.Text("Product1")}}}},
	{"contains", []crashindex.Filter{{Field: "signature", Op: crashindex.Contains, Values: []crashindex.Value{crashindex.Text("Type77")}}}},
}

func run(path, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	index, done, err := open(path)
	if err != nil {
		return err
	}
	defer done()
	for _, q := range questions {
		var times []float64
		var got crashindex.Result
		for range n {
			start := time.Now()
			got, err = index.Search(context.Background(), crashindex.Query{
				From: end.Add(-28 * crashindex.Day), To: end, Filters: q.filters, Limit: 50, Histogram: crashindex.Day,
				Facets: []crashindex.Facet{{Field: "signature", Size: 50}, {Field: "version", Size: 50}, {Field: "platform", Size: 50}},
			})
			if err != nil {
				return err
			}
			times = append(times, time.Since(start).Seconds()*1e3)
		}
		slices.Sort(times)
		top := got.Facets[0][0]
		fmt.Printf("%s p50_ms=%.1f p95_ms=%.1f total=%d signature=%q count=%d days=%d\n", q.name, times[n/2], times[n*95/100], got.Total, top.Value.Text, top.Count, len(got.Histogram))
	}
	return nil
}
