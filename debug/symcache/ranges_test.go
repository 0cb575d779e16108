package symcache_test

import (
	"bytes"
	"math/rand/v2"
	"sort"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
)

// Ranges near and far, joined of several tables, against a search through all of them.
func TestRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range 1000 {
		var all []symcache.TestRange
		var parts [][]symcache.TestRange
		at, scope := rng.Uint64N(4)<<(62*rng.Uint64N(2)), uint32(rng.IntN(5))
		for range rng.IntN(4) {
			var p []symcache.TestRange
			for range 1 + rng.IntN(60) {
				r := symcache.TestRange{Start: at, Scope: scope, Line: uint32(rng.IntN(3))}
				switch rng.IntN(8) {
				case 0:
					r.Scope, r.Line = symcache.NoScope, 0
				case 1:
					scope = []uint32{0, 1<<32 - 2, scope + 1, scope ^ 7}[rng.IntN(4)] % (1<<32 - 1)
				case 2:
					r.Line = rng.Uint32()
				}
				p = append(p, r)
				step := uint64(1 + rng.IntN(9))
				switch rng.IntN(30 + round%100) {
				case 0:
					step = 1<<32 - 3 + rng.Uint64N(6)
				case 1:
					step = 1 << rng.IntN(50)
				case 2:
					if at < 1<<62 {
						step = 1 << 63
					}
				}
				at += step
			}
			parts = append(parts, p)
			all = append(all, p...)
		}
		if len(all) > 0 && all[len(all)-1].Start < all[0].Start {
			continue // over the end of the address space
		}
		find, starts, directory, err := symcache.RangeTable(parts)
		if err != nil || len(starts) != len(all) {
			t.Fatalf("round %d: %d of %d ranges, %v", round, len(starts), len(all), err)
		}
		if directory > 4*(len(all)+2) {
			t.Errorf("round %d: a directory of %d bytes for %d ranges", round, directory, len(all))
		}
		for i, r := range all {
			if starts[i] != r.Start {
				t.Fatalf("round %d: range %d starts at %#x, want %#x", round, i, starts[i], r.Start)
			}
			for _, addr := range []uint64{r.Start - 1, r.Start, r.Start + 1, r.Start + 1<<33, 1<<64 - 1} {
				want := symcache.TestRange{Scope: symcache.NoScope}
				if k := sort.Search(len(all), func(k int) bool { return all[k].Start > addr }); k > 0 {
					want = all[k-1]
				}
				if got := find(addr); got != want {
					t.Fatalf("round %d: find(%#x) = %+v, want %+v", round, addr, got, want)
				}
			}
		}
	}
}

// A file of several parts, batches and tasks of the writer gives the same bytes on one goroutine and on many, and
// every record's answer.
func TestLarge(t *testing.T) {
	sym := synthetic(12 << 20)
	data, st := build(t, sym, symcache.Options{Workers: 1})
	if again, _ := build(t, sym, symcache.Options{Workers: 5}); !bytes.Equal(data, again) {
		t.Error("output depends on the number of workers")
	}
	c := open(t, data)
	if err := c.Verify(); err != nil {
		t.Fatal(err)
	}
	last := -1
	for r := range c.Ranges() {
		if int(r.Start) <= last {
			t.Fatalf("a range at %#x follows one at %#x", r.Start, last)
		}
		last = int(r.Start)
	}
	functions := 0
	var buf []symcache.Frame
	_, err := breakpad.Parse(sym, breakpad.Handler{Batch: func(b *symbols.Batch) error {
		for _, fn := range b.Functions {
			functions++
			for _, l := range b.Lines[fn.Lines.Lo:fn.Lines.Hi] {
				for _, addr := range []uint64{l.Addr, l.Addr + uint64(l.Size) - 1} {
					buf = c.Lookup(addr, buf[:0])
					if len(buf) == 0 || !bytes.Equal(c.File(buf[0]), b.Strings.Bytes(l.File)) || buf[0].Line != l.Line ||
						!bytes.Equal(c.Name(buf[len(buf)-1]), b.Strings.Bytes(fn.Name)) {
						t.Fatalf("%#x: %s, want %s:%d in %s", addr, frames(c, addr), b.Strings.Bytes(l.File), l.Line, b.Strings.Bytes(fn.Name))
					}
					if got := c.Function(buf[len(buf)-1]); got.Addr != fn.Addr || got.Size != fn.Size {
						t.Fatalf("%#x: function %+v, want %+v", addr, got, fn)
					}
				}
			}
			if c.Covers(fn.Addr-1) || c.Covers(fn.Addr+fn.Size) {
				t.Fatalf("the gap around %#x is covered", fn.Addr)
			}
		}
		return nil
	}}, breakpad.Options{})
	if err != nil || functions != st.Functions || functions < 3*4096/2 {
		t.Errorf("%d functions, %+v, %v", functions, st, err)
	}
}

// One name inlined in two languages is two functions; each time it is the same one.
func TestLanguages(t *testing.T) {
	var out bytes.Buffer
	_, err := symcache.Build(t.Context(), &out, new(symbols.Module), func(emit func(*symbols.Batch) error) error {
		b := symbols.NewBatch(symbols.NewStrings())
		f, g := b.Strings.Intern([]byte("f")), b.Strings.Intern([]byte("g"))
		for i := range uint32(6) {
			addr := uint64(i) * 16
			b.Inlines = append(b.Inlines, symbols.Inline{Addr: addr, Size: 8, Name: g, Language: symbols.LanguageC + symbols.Language(i%3)})
			b.Functions = append(b.Functions, symbols.Function{Addr: addr, Size: 16, Name: f, Inlines: symbols.Span{Lo: i, Hi: i + 1}})
		}
		return emit(b)
	}, symcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, out.Bytes())
	for i := range uint64(6) {
		got := c.Lookup(i*16, nil)
		if want := symbols.LanguageC + symbols.Language(i%3); len(got) != 2 || c.Function(got[0]).Language != want || string(c.Name(got[0])) != "g" {
			t.Errorf("call %d: %s of %+v, want language %s", i, c.Name(got[0]), c.Function(got[0]), want)
		}
		if before := c.Lookup(i%3*16, nil); before[0] != got[0] {
			t.Errorf("call %d: %+v, before %+v", i, got[0], before[0])
		}
	}
}
