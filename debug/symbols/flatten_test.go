package symbols_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"salvage/debug/symbols"
)

// function is a test input in a small notation: addresses in hex, names and files as they are.
type function struct {
	addr, size uint64
	lines      []string // "addr size line file"
	inlines    []string // "depth addr size callline callfile name"
}

func (f function) flatten(t *testing.T) (rows []string, r symbols.Repairs) {
	t.Helper()
	s := symbols.NewStrings()
	b := symbols.NewBatch(s)
	for _, text := range f.lines {
		var l symbols.Line
		var file string
		if _, err := fmt.Sscanf(text, "%x %x %d %s", &l.Addr, &l.Size, &l.Line, &file); err != nil {
			t.Fatal(text, err)
		}
		l.File = s.Intern([]byte(file))
		b.Lines = append(b.Lines, l)
	}
	for _, text := range f.inlines {
		var in symbols.Inline
		var file, name string
		if _, err := fmt.Sscanf(text, "%d %x %x %d %s %s", &in.Depth, &in.Addr, &in.Size, &in.CallLine, &file, &name); err != nil {
			t.Fatal(text, err)
		}
		in.CallFile, in.Name = s.Intern([]byte(file)), s.Intern([]byte(name))
		b.Inlines = append(b.Inlines, in)
	}
	fn := symbols.Function{
		Addr: f.addr, Size: f.size, Name: s.Intern([]byte("f")),
		Lines: symbols.Span{Hi: uint32(len(b.Lines))}, Inlines: symbols.Span{Hi: uint32(len(b.Inlines))},
	}
	var fl symbols.Flattener
	fl.Flatten(b, &fn)
	for _, row := range fl.Rows {
		text, line := fmt.Sprintf("%x", row.Addr), row.Line
		for i := row.Scope; i != symbols.NoScope; i = fl.Scopes[i].Caller {
			sc := fl.Scopes[i]
			text += fmt.Sprintf(" %s@%s:%d", s.Bytes(sc.Name), s.Bytes(sc.File), line)
			line = sc.CallLine
		}
		rows = append(rows, text)
	}
	return rows, fl.Repairs
}

func TestFlatten(t *testing.T) {
	for _, tt := range []struct {
		name    string
		in      function
		want    []string
		repairs symbols.Repairs
	}{
		{
			name: "lines alone; a gap has line 0",
			in:   function{addr: 0x10, size: 0x10, lines: []string{"12 4 7 a.c", "16 2 8 b.c"}},
			want: []string{"10 f@:0", "12 f@a.c:7", "16 f@b.c:8", "18 f@:0"},
		},
		{
			name: "nothing at all",
			in:   function{addr: 0x10, size: 0x10},
			want: []string{"10 f@:0"},
		},
		{
			name: "equal neighbours merge",
			in:   function{addr: 0x10, size: 8, lines: []string{"10 4 7 a.c", "14 4 7 a.c"}},
			want: []string{"10 f@a.c:7"},
		},
		{
			name: "two levels of inlining, lines in any order",
			in: function{
				addr: 0x10, size: 0x20,
				lines:   []string{"18 8 30 h", "10 8 1 a", "20 10 2 a"},
				inlines: []string{"1 1c 4 20 h g", "0 18 8 10 a h"},
			},
			want: []string{"10 f@a:1", "18 h@h:30 f@a:10", "1c g@h:30 h@h:20 f@a:10", "20 f@a:2"},
		},
		{
			name: "a line across the border of an inlined call is cut there",
			in:   function{addr: 0, size: 0x10, lines: []string{"0 10 5 a"}, inlines: []string{"0 4 4 9 a h"}},
			want: []string{"0 f@a:5", "4 h@a:5 f@a:9", "8 f@a:5"},
		},
		{
			name: "an inlined call in two pieces is one scope each time",
			in:   function{addr: 0, size: 0x10, lines: []string{"0 10 5 a"}, inlines: []string{"0 0 4 9 a h", "0 8 4 9 a h"}},
			want: []string{"0 h@a:5 f@a:9", "4 f@a:5", "8 h@a:5 f@a:9", "c f@a:5"},
		},
		{
			// dump_syms joins neighbouring ranges of one callee even where they belong to two calls.
			name: "a piece merged across two parents is split again",
			in: function{
				addr: 0, size: 0x10, lines: []string{"0 10 5 a"},
				inlines: []string{"0 0 4 1 a p", "0 4 4 2 a p", "1 0 8 3 a c"},
			},
			want:    []string{"0 c@a:5 p@a:3 f@a:1", "4 c@a:5 p@a:3 f@a:2", "8 f@a:5"},
			repairs: symbols.Repairs{OverlapInlines: 1},
		},
		{
			name:    "a sibling that starts inside another starts behind it",
			in:      function{addr: 0, size: 0x10, inlines: []string{"0 0 6 1 a p", "0 4 4 2 a q"}},
			want:    []string{"0 p@:0 f@a:1", "6 q@:0 f@a:2", "8 f@:0"},
			repairs: symbols.Repairs{OverlapInlines: 1},
		},
		{
			name: "a missing level hangs under the nearest open one",
			in:   function{addr: 0, size: 8, inlines: []string{"0 0 8 1 a p", "3 2 2 2 a q"}},
			want: []string{"0 p@:0 f@a:1", "2 q@:0 p@a:2 f@a:1", "4 p@:0 f@a:1"},
		},
		{
			name: "records outside the function or without size",
			in: function{
				addr: 0x10, size: 0x10,
				lines:   []string{"8 10 1 a", "1c 8 2 a", "18 0 3 a", "40 4 4 a"},
				inlines: []string{"0 40 4 1 a p", "0 18 0 1 a q", "0 0 8 1 a r"},
			},
			want:    []string{"10 f@a:1", "18 f@:0", "1c f@a:2"},
			repairs: symbols.Repairs{EmptyRecords: 2, OutsideParent: 5},
		},
		{
			name:    "of overlapping lines the one that starts first keeps its bytes",
			in:      function{addr: 0, size: 0x10, lines: []string{"0 8 1 a", "4 8 2 a", "5 2 3 a"}},
			want:    []string{"0 f@a:1", "8 f@a:2", "c f@:0"},
			repairs: symbols.Repairs{OverlapLines: 2},
		},
		{
			name: "the end of the address space",
			in:   function{addr: 1<<64 - 16, size: 16, lines: []string{"fffffffffffffff0 20 1 a"}},
			want: []string{"fffffffffffffff0 f@a:1"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, repairs := tt.in.flatten(t)
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("rows:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if repairs != tt.repairs {
				t.Errorf("repairs %+v, want %+v", repairs, tt.repairs)
			}
		})
	}
}

// Random functions against a slow model that asks every address on its own.
func TestFlattenModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		s := symbols.NewStrings()
		b := symbols.NewBatch(s)
		size := uint64(1 + rng.IntN(40))
		// A properly nested tree of calls: what every compiler writes.
		var nest func(lo, hi uint64, depth uint32)
		nest = func(lo, hi uint64, depth uint32) {
			for lo < hi && depth < 6 {
				start := lo + rng.Uint64N(hi-lo)
				end := start + 1 + rng.Uint64N(hi-start)
				if rng.IntN(3) > 0 {
					b.Inlines = append(b.Inlines, symbols.Inline{
						Addr: 100 + start, Size: end - start, Name: s.Intern([]byte(fmt.Sprint("n", rng.IntN(5)))),
						CallFile: s.Intern([]byte(fmt.Sprint("c", rng.IntN(3)))), CallLine: uint32(rng.IntN(4)), Depth: depth,
					})
					nest(start, end, depth+1)
				}
				lo = end
			}
		}
		nest(0, size, 0)
		for at := uint64(0); at < size; {
			n := min(1+rng.Uint64N(5), size-at)
			if rng.IntN(4) > 0 {
				b.Lines = append(b.Lines, symbols.Line{Addr: 100 + at, Size: uint32(n), File: s.Intern([]byte(fmt.Sprint("l", rng.IntN(3)))), Line: uint32(1 + rng.IntN(3))})
			}
			at += n
		}
		fn := symbols.Function{
			Addr: 100, Size: size, Name: s.Intern([]byte("f")),
			Lines: symbols.Span{Hi: uint32(len(b.Lines))}, Inlines: symbols.Span{Hi: uint32(len(b.Inlines))},
		}
		want := make([]string, size)
		for at := range size {
			addr := 100 + at
			var file symbols.StringID
			var line uint32
			for _, l := range b.Lines {
				if addr >= l.Addr && addr < l.Addr+uint64(l.Size) {
					file, line = l.File, l.Line
				}
			}
			chain := []symbols.Inline{{Name: fn.Name}}
			for _, in := range b.Inlines { // pre-order, so outer ones come first
				if addr >= in.Addr && addr < in.Addr+in.Size {
					chain = append(chain, in)
				}
			}
			for i := len(chain) - 1; i >= 0; i-- {
				want[at] += fmt.Sprintf(" %d@%d:%d", chain[i].Name, file, line)
				file, line = chain[i].CallFile, chain[i].CallLine
			}
		}
		rng.Shuffle(len(b.Inlines), func(i, j int) { b.Inlines[i], b.Inlines[j] = b.Inlines[j], b.Inlines[i] })
		rng.Shuffle(len(b.Lines), func(i, j int) { b.Lines[i], b.Lines[j] = b.Lines[j], b.Lines[i] })
		var fl symbols.Flattener
		fl.Flatten(b, &fn)
		for i, row := range fl.Rows {
			end := 100 + size
			if i+1 < len(fl.Rows) {
				end = fl.Rows[i+1].Addr
			}
			for addr := row.Addr; addr < end; addr++ {
				got, line := "", row.Line
				for sc := row.Scope; sc != symbols.NoScope; sc = fl.Scopes[sc].Caller {
					got += fmt.Sprintf(" %d@%d:%d", fl.Scopes[sc].Name, fl.Scopes[sc].File, line)
					line = fl.Scopes[sc].CallLine
				}
				if got != want[addr-100] {
					t.Fatalf("round %d, address %d: got%s, want%s", round, addr, got, want[addr-100])
				}
			}
		}
		if fl.Repairs != (symbols.Repairs{}) {
			t.Fatalf("round %d: repairs of sound input: %+v", round, fl.Repairs)
		}
	}
}

// Work stays linear where a file asks for quadratic work: every call crosses every parent.
func TestFlattenWork(t *testing.T) {
	rows := func(n int) int {
		b := symbols.NewBatch(symbols.NewStrings())
		for i := range n {
			b.Inlines = append(b.Inlines,
				symbols.Inline{Addr: uint64(i), Size: 1, Depth: 0, Name: 1},
				symbols.Inline{Addr: uint64(i), Size: uint64(n), Depth: uint32(1 + i), Name: 2})
		}
		fn := symbols.Function{Size: uint64(n), Inlines: symbols.Span{Hi: uint32(len(b.Inlines))}}
		var fl symbols.Flattener
		fl.Flatten(b, &fn)
		return fl.Repairs.OverlapInlines + len(fl.Scopes)
	}
	if a, b := rows(20_000), rows(40_000); float64(b) > 2.2*float64(a) {
		t.Errorf("work grew from %d to %d when the input doubled", a, b)
	}
}

// 400 000 inlined calls in one function and nests a thousand deep exist.
func TestFlattenLarge(t *testing.T) {
	b := symbols.NewBatch(symbols.NewStrings())
	for i := range 400_000 {
		b.Inlines = append(b.Inlines, symbols.Inline{Addr: uint64(i / 1000 * 2000), Size: uint64(2000 - i%1000), Depth: uint32(i % 1000), CallLine: uint32(i)})
	}
	fn := symbols.Function{Size: 800_000, Inlines: symbols.Span{Hi: 400_000}}
	var fl symbols.Flattener
	fl.Flatten(b, &fn)
	depth := 0
	for i := fl.Rows[0].Scope; i != symbols.NoScope; i = fl.Scopes[i].Caller {
		depth++
	}
	if depth != 1001 || fl.Repairs != (symbols.Repairs{}) {
		t.Errorf("depth %d, repairs %+v", depth, fl.Repairs)
	}
}

func TestStrings(t *testing.T) {
	s := symbols.NewStrings()
	late := s.Reserve()
	var ids []symbols.StringID
	for i := range 5000 {
		ids = append(ids, s.Intern([]byte(fmt.Sprint("name ", i))))
	}
	long := s.Intern(make([]byte, 3<<20))
	first := s.Append([]byte("lateother"), []symbols.Name{{Hi: 4}, {Lo: 4, Hi: 4}, {Lo: 4, Hi: 9, Hash: symbols.Hash([]byte("other"))}})
	s.Alias(late, first)
	for i, id := range ids {
		if want := fmt.Sprint("name ", i); string(s.Bytes(id)) != want || s.Intern([]byte(want)) != id {
			t.Fatalf("Bytes(%d) = %q, want %q", id, s.Bytes(id), want)
		}
	}
	if string(s.Bytes(late)) != "late" || len(s.Bytes(long)) != 3<<20 || s.Intern(nil) != 0 || s.Len() != 5006 ||
		len(s.Bytes(first+1)) != 0 || string(s.Bytes(first+2)) != "other" ||
		s.Hash(late) != symbols.Hash([]byte("late")) || s.Hash(first+2) != s.Hash(s.Intern([]byte("other"))) || s.Hash(0) != symbols.Hash(nil) {
		t.Errorf("late %q, long %d, other %q, len %d", s.Bytes(late), len(s.Bytes(long)), s.Bytes(first+2), s.Len())
	}
}
