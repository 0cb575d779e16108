package symbols_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"salvage/debug/symbols"
)

func TestArrange(t *testing.T) {
	const inf = ^uint64(0)
	for _, tt := range []struct {
		name    string
		funcs   []symbols.Extent
		publics []symbols.Public
		want    string
	}{
		{name: "nothing"},
		{name: "apart, unsorted", funcs: []symbols.Extent{{0x30, 4}, {0x10, 4}}, want: "10-14 f1, 30-34 f0"},
		{name: "the first delivered wins", funcs: []symbols.Extent{{0x14, 8}, {0x10, 8}, {0x18, 8}}, want: "10-14 f1, 14-1c f0, 1c-20 f2"},
		{name: "what surrounds it goes on", funcs: []symbols.Extent{{0x14, 4}, {0x10, 16}}, want: "10-14 f1, 14-18 f0, 18-20 f1"},
		{name: "inside an earlier one", funcs: []symbols.Extent{{0x10, 16}, {0x14, 4}}, want: "10-20 f0"},
		{name: "the same place twice", funcs: []symbols.Extent{{0x10, 16}, {0x10, 16}}, want: "10-20 f0"},
		{name: "without size", funcs: []symbols.Extent{{0x10, 0}, {0x10, 4}, {0x20, 0}}, want: "10-14 f1"},
		{name: "end of the address space", funcs: []symbols.Extent{{inf - 7, 100}}, want: "fffffffffffffff8-ffffffffffffffff f0"},
		{
			name: "publics fill gaps", funcs: []symbols.Extent{{0x10, 8}, {0x20, 8}},
			publics: []symbols.Public{{Addr: 0x18}, {Addr: 0x8}},
			want:    "8-10 p1, 10-18 f0, 18-20 p0, 20-28 f1",
		},
		{name: "the last public has no end", publics: []symbols.Public{{Addr: 8}, {Addr: 16}}, want: "8-10 p0, 10-ffffffffffffffff p1"},
		{name: "a public with size ends", publics: []symbols.Public{{Addr: 8, Size: 2}, {Addr: 16, Size: 4}}, want: "8-a p0, 10-14 p1"},
		{
			// symbolic splits the function here, rust-minidump's result is this one.
			name: "a public inside a function shows behind it only", funcs: []symbols.Extent{{0x10, 8}},
			publics: []symbols.Public{{Addr: 0x14}}, want: "10-18 f0, 18-ffffffffffffffff p0",
		},
		{name: "none behind a function that starts at it", funcs: []symbols.Extent{{0x10, 8}}, publics: []symbols.Public{{Addr: 0x10}}, want: "10-18 f0"},
		{
			name: "none across a function", funcs: []symbols.Extent{{0x10, 8}},
			publics: []symbols.Public{{Addr: 0x8}}, want: "8-10 p0, 10-18 f0",
		},
		{
			name:    "at one address the largest, then the last",
			publics: []symbols.Public{{Addr: 8, Size: 4}, {Addr: 8}, {Addr: 8, Size: 4}}, want: "8-c p2",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			symbols.Arrange(tt.funcs, tt.publics).Pieces(func(p symbols.Piece) {
				what := fmt.Sprint("f", p.Function)
				if p.Function < 0 {
					what = fmt.Sprint("p", p.Public)
				}
				got = append(got, fmt.Sprintf("%x-%x %s", p.Start, p.End, what))
			})
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("got  %s\nwant %s", s, tt.want)
			}
		})
	}
}

// Random extents against a model that asks every address on its own.
func TestArrangeModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 2000 {
		var funcs []symbols.Extent
		var publics []symbols.Public
		for range rng.IntN(8) {
			funcs = append(funcs, symbols.Extent{Addr: rng.Uint64N(60) << (16 * rng.IntN(2)), Size: rng.Uint64N(12)})
		}
		for range rng.IntN(6) {
			publics = append(publics, symbols.Public{Addr: rng.Uint64N(70), Size: rng.Uint64N(3) * rng.Uint64N(6)})
		}
		got := map[uint64]string{}
		last := uint64(0)
		symbols.Arrange(funcs, publics).Pieces(func(p symbols.Piece) {
			if p.Start < last || p.End <= p.Start {
				t.Fatalf("round %d: piece %x-%x after %x", round, p.Start, p.End, last)
			}
			last = p.End
			for a := p.Start; a < min(p.End, 100); a++ {
				got[a] = fmt.Sprint(p.Function, p.Public)
			}
		})
		for a := range uint64(100) {
			want := ""
			nearest, found := uint64(0), false
			for i, f := range funcs {
				if f.Size > 0 && want == "" && a >= f.Addr && a < f.Addr+f.Size {
					want = fmt.Sprint(i, -1)
				}
				if f.Addr <= a && (!found || f.Addr > nearest) {
					nearest, found = f.Addr, true
				}
			}
			if want == "" {
				best := -1
				for i, p := range publics {
					if p.Addr <= a && (best < 0 || p.Addr > publics[best].Addr || p.Addr == publics[best].Addr && p.Size >= publics[best].Size) {
						best = i
					}
				}
				if best >= 0 {
					if p := publics[best]; (!found || p.Addr > nearest) && (p.Size == 0 || a < p.Addr+p.Size) {
						want = fmt.Sprint(-1, best)
					}
				}
			}
			if got[a] != want {
				t.Fatalf("round %d, address %#x: got %q, want %q\n%v\n%v", round, a, got[a], want, funcs, publics)
			}
		}
	}
}
