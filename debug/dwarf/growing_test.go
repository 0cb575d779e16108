package dwarf_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"salvage/debug/dwarf"
	"salvage/debug/symbols"
)

// crossing are n ≤ 60 units, each with functions whose names are in the unit before, in the last one, and in that
// through another.
func crossing(n int) *dwarf.Sections {
	abbrev := []byte{
		1, 0x11, 1, 0, 0,
		2, 0x2e, 0, 0x03, 0x08, 0, 0, // a declaration
		3, 0x2e, 0, 0x47, 0x10, 0x11, 0x01, 0x12, 0x06, 0, 0, // a definition of one anywhere
		4, 0x2e, 0, 0x47, 0x10, 0, 0, // a declaration of one anywhere
		0,
	}
	const declared, through, size = 12, 15, 11 + 1 + 3 + 5 + 3*17 + 1
	s := &dwarf.Sections{Abbrev: abbrev}
	for i := range uint32(n) {
		at := func(unit, entry uint32) uint32 { return unit*size + entry }
		b := word([]byte{1, 2, 'A' + byte(i), 0, 4}, at((i+uint32(n)/2)%uint32(n), declared))
		for k, to := range []uint32{at(max(i, 1)-1, declared), at(uint32(n)-1, declared), at(uint32(n)-1, through)} {
			b = word(addr(word(append(b, 3), to), 0x1000+0x100*uint64(i)+0x10*uint64(k)), 16)
		}
		s.Info = append(s.Info, unitOf(nil, append(b, 0)).Info...)
	}
	if len(s.Info) != n*size {
		panic(len(s.Info))
	}
	return s
}

// growing hands on Info[:end] in pieces, waiting before each. It never closes if end is beyond the section.
func growing(t *testing.T, s *dwarf.Sections, end, step int, wait func(done int)) *dwarf.Sections {
	pieces := make(chan []byte)
	grows := *s
	grows.Info, grows.Growing, grows.InfoSize = nil, pieces, uint64(len(s.Info))
	go func() {
		for done := 0; done < min(end, len(s.Info)); {
			wait(done)
			done = min(done+step, end, len(s.Info))
			own := append([]byte(nil), s.Info[:done]...) // the buffer may be another one each time
			select {
			case pieces <- own:
			case <-t.Context().Done():
				return
			}
		}
		if end <= len(s.Info) {
			close(pieces)
		}
	}()
	return &grows
}

// What comes of a section that grows is what comes of the whole, however it grows: references lead forward and
// back, it ends inside a unit, or is no good from the start or from somewhere on.
func TestGrowing(t *testing.T) {
	damaged := func(off int) *dwarf.Sections {
		s := crossing(40)
		copy(s.Info[off:], "\xf0\xff\xff\xff") // no length
		return s
	}
	unit := len(crossing(1).Info)
	for name, input := range map[string]*dwarf.Sections{
		"good": crossing(40), "bad first": damaged(0), "bad later": damaged(17 * unit), "none": {}, "file": sections(t, "../testdata/tiny-gcc-dwarf5.elf"),
	} {
		for _, end := range []int{len(input.Info), len(input.Info) - 1, len(input.Info) / 2, 3} {
			if end < 0 || end > len(input.Info) {
				continue
			}
			var want dwarf.Result
			cut := *input
			cut.Info = cut.Info[:min(end, len(cut.Info))]
			text, wantErr := list(dwarf.Symbols(t.Context(), &cut, dwarf.Options{Workers: 1}, &want))
			if name == "good" && end == len(input.Info) {
				if strings.Count(text, "\n") != 120 || strings.Contains(text, "  ") || want.Units != 40 || want.Skipped > 0 {
					t.Fatalf("%+v\n%s", want, text)
				}
			}
			for _, step := range []int{1, unit - 1, unit, 7*unit + 3, 1 << 20} {
				for _, workers := range []int{1, 3} {
					var res dwarf.Result
					s := growing(t, input, end, step, func(int) {})
					got, err := list(dwarf.Symbols(t.Context(), s, dwarf.Options{Workers: workers}, &res))
					if got != text || fmt.Sprint(err, res) != fmt.Sprint(wantErr, want) {
						t.Errorf("%s, %d of %d bytes, %d at a time, %d workers: %v %+v\n%s\nwant %v %+v\n%s",
							name, end, len(input.Info), step, workers, err, res, got, wantErr, want, text)
					}
				}
			}
		}
	}
}

// Split and supplementary files go with one that grows.
func TestGrowingCompanions(t *testing.T) {
	p, err := dwarf.OpenPackage(packed())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []dwarf.Options{{}, {Companions: dwarf.Companions{Split: p.Split}}, {Companions: dwarf.Companions{Alt: crossing(2)}}} {
		var want, res dwarf.Result
		text, err := list(dwarf.Symbols(t.Context(), skeletons(), o, &want))
		got, err2 := list(dwarf.Symbols(t.Context(), growing(t, skeletons(), len(skeletons().Info), 1, func(int) {}), o, &res))
		if got != text || fmt.Sprint(err, want) != fmt.Sprint(err2, res) {
			t.Errorf("%v %+v\n%swant %v %+v\n%s", err2, res, got, err, want, text)
		}
	}
}

// Units are walked before the section is whole.
func TestGrowingIsWalked(t *testing.T) {
	s := unitOf(growthAbbrev, append(function(root(), 0x1000, 16), 0, 0))
	unit := len(s.Info)
	s.Info = append(s.Info, s.Info...)
	walked := make(chan bool, 2)
	grows := growing(t, s, len(s.Info), unit, func(done int) {
		if done == unit {
			select {
			case <-walked:
			case <-time.After(time.Minute):
				t.Error("the first unit is not walked")
			}
		}
	})
	err := dwarf.Symbols(t.Context(), grows, dwarf.Options{}, new(dwarf.Result))(func(*symbols.Batch) error { walked <- true; return nil })
	if err != nil || len(walked) != 1 {
		t.Error(err, len(walked))
	}
}

// It ends where nobody wants more, though the section never does and walkers wait for a unit; no goroutine is left.
func TestGrowingStops(t *testing.T) {
	before := runtime.NumGoroutine()
	stop := errors.New("stop")
	alone := unitOf(growthAbbrev, append(function(root(), 0x1000, 16), 0, 0)).Info
	waits := crossing(9)
	for name, tt := range map[string]struct {
		info, abbrev []byte
		emit         func(cancel func()) error
		want         error
	}{
		"no more wanted":          {alone, growthAbbrev, func(func()) error { return stop }, stop},
		"cancelled":               {alone, growthAbbrev, func(cancel func()) error { cancel(); return nil }, context.Canceled},
		"cancelled, in reference": {waits.Info[:len(waits.Info)/9*8], waits.Abbrev, nil, context.Canceled},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		pieces := make(chan []byte)
		go func() {
			pieces <- tt.info
			if tt.emit == nil {
				time.Sleep(10 * time.Millisecond) // by then they wait
				cancel()
			}
		}()
		s := &dwarf.Sections{Growing: pieces, InfoSize: 1 << 20, Abbrev: tt.abbrev}
		err := dwarf.Symbols(ctx, s, dwarf.Options{Workers: 3}, new(dwarf.Result))(func(*symbols.Batch) error {
			if tt.emit == nil { // it may be told of a unit before it sees that it is cancelled
				return nil
			}
			return tt.emit(cancel)
		})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	for range 1000 { // those of other tests end as well
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// Functions that will not be asked for are there, since they hide what is behind them, but have no name.
func TestWanted(t *testing.T) {
	wanted := func(addr, size uint64) bool { return addr <= 0x1010 && 0x1010-addr < size }
	got, err := list(dwarf.Symbols(t.Context(), crossing(1), dwarf.Options{Wanted: wanted}, new(dwarf.Result)))
	if want := "1000+10  unknown, 0 lines, 0 inlines\n1010+10 A unknown, 0 lines, 0 inlines\n1020+10  unknown, 0 lines, 0 inlines\n"; got != want || err != nil {
		t.Errorf("%s%v", got, err)
	}
}

// A unit that nobody asks about is functions where it says it has code. It is walked where it does not say that, and
// where a symbol that is asked about has code in it; names in it are found.
func TestUnasked(t *testing.T) {
	abbrev := []byte{
		1, 0x11, 1, 0x11, 0x01, 0x12, 0x06, 0, 0,
		2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0,
		3, 0x11, 1, 0x55, 0x17, 0, 0,
		4, 0x2e, 0, 0x47, 0x10, 0x11, 0x01, 0x12, 0x06, 0, 0,
		0,
	}
	a := function(word(addr([]byte{1}, 0x1000), 0x40), 0x1010, 8)
	s := unitOf(abbrev, append(a, 0))
	b := word(addr(word([]byte{3, 0, 0, 0, 0, 4}, 11+1+8+4), 0x2000), 8)
	s.Info = append(s.Info, unitOf(nil, append(b, 0)).Info...)
	for _, at := range []uint64{0x2000, 0x2010, 0x3000, 0x3010, 0, 0} {
		s.Ranges = addr(s.Ranges, at)
	}
	line := func(place, name string) string {
		return fmt.Sprintf("%s %s unknown, 0 lines, 0 inlines\n", place, name)
	}
	placeA, placeB := line("800+40", ""), line("1800+10", "")+line("2800+10", "")
	walkedA, walkedB := line("810+8", ""), line("1800+8", "")
	symbol := func(at uint64) dwarf.Symbol {
		for _, s := range []dwarf.Symbol{{Low: 0xff0, High: 0x1008}, {Low: 0x1040, High: 0x1048}, {Low: 0x2008, High: 0x2018}} {
			if s.Low <= at && at < s.High {
				s.Name = []byte("s")
				return s
			}
		}
		return dwarf.Symbol{Low: 0x900, High: 0x900}
	}
	for _, tt := range []struct {
		asked        uint64
		plain, table string // what comes without a symbol table and with one
	}{
		{0x900, placeA + placeB, placeA + placeB},
		{0xfef, placeA + placeB, placeA + placeB},
		{0xff0, placeA + placeB, walkedA + placeB},
		{0xfff, placeA + placeB, walkedA + placeB},
		{0x1000, walkedA + placeB, walkedA + placeB},
		{0x1017, line("810+8", "f") + placeB, line("810+8", "f") + placeB},
		{0x103f, walkedA + placeB, walkedA + placeB},
		{0x1040, placeA + placeB, placeA + placeB},
		{0x1047, placeA + placeB, placeA + placeB},
		{0x1fff, placeA + placeB, placeA + placeB},
		{0x2007, placeA + line("1800+8", "f"), placeA + line("1800+8", "f")},
		{0x2010, placeA + placeB, placeA + walkedB},
		{0x2017, placeA + placeB, placeA + walkedB},
		{0x2018, placeA + placeB, placeA + placeB},
		{0x300f, placeA + walkedB, placeA + walkedB},
	} {
		wanted := func(at, size uint64) bool { return at <= tt.asked-0x800 && tt.asked-0x800-at < size }
		for _, o := range []dwarf.Options{{}, {Symbol: symbol}} {
			want := tt.plain
			if o.Symbol != nil {
				want = tt.table
			}
			o.ImageBase, o.Wanted = 0x800, wanted
			if got, err := list(dwarf.Symbols(t.Context(), s, o, new(dwarf.Result))); got != want || err != nil {
				t.Errorf("%#x, symbols %v:\n%swant\n%s%v", tt.asked, o.Symbol != nil, got, want, err)
			}
		}
	}
}
