package dwarf_test

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"salvage/debug/dwarf"
	"salvage/debug/symbols"
)

// unitOf makes a unit of DWARF 4 with the given declarations and entries, 32 bits and little-endian.
func unitOf(abbrev, entries []byte) *dwarf.Sections {
	info := binary.LittleEndian.AppendUint32(nil, uint32(7+len(entries)))
	info = append(info, 4, 0, 0, 0, 0, 0, 8)
	return &dwarf.Sections{Info: append(info, entries...), Abbrev: abbrev}
}

// Declarations: 1 the unit, 2 a function with a place, 3 one with a list of ranges, 4 an inlined call with a place
// that has others in it, 5 a variable, 6 the unit with a line table.
var growthAbbrev = []byte{
	1, 0x11, 1, 0x11, 0x01, 0, 0,
	2, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0,
	3, 0x2e, 0, 0x03, 0x08, 0x55, 0x17, 0, 0,
	4, 0x1d, 1, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0x59, 0x0b, 0, 0,
	5, 0x34, 0, 0x03, 0x08, 0x3a, 0x0b, 0x3b, 0x0b, 0x49, 0x13, 0, 0,
	6, 0x11, 1, 0x11, 0x01, 0x10, 0x17, 0, 0,
	0,
}

func addr(b []byte, a uint64) []byte { return binary.LittleEndian.AppendUint64(b, a) }
func word(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func root() []byte                   { return addr([]byte{1}, 0x1000) }
func function(b []byte, a uint64, size uint32) []byte {
	return word(addr(append(b, 2, 'f', 0), a), size)
}

// grown are inputs that ask for n times the work.
var grown = map[string]func(n int) *dwarf.Sections{
	"range lists": func(n int) *dwarf.Sections { // of n functions, each with 8 ranges of its own
		b := root()
		s := new(dwarf.Sections)
		for i := range n {
			b = word(append(b, 3, 'f', 0), uint32(len(s.Ranges)))
			for k := range 8 {
				at := uint64(64 * (8*i + k))
				s.Ranges = addr(addr(s.Ranges, at), at+32)
			}
			s.Ranges = addr(addr(s.Ranges, 0), 0)
		}
		u := unitOf(growthAbbrev, append(b, 0))
		u.Ranges = s.Ranges
		return u
	},
	"one range list": func(n int) *dwarf.Sections { // of n ranges, of one function
		b := word(append(root(), 3, 'f', 0), 0)
		u := unitOf(growthAbbrev, append(b, 0))
		for i := range uint64(n) {
			u.Ranges = addr(addr(u.Ranges, 64*i), 64*i+32)
		}
		u.Ranges = addr(addr(u.Ranges, 0), 0)
		return u
	},
	"sequences": func(n int) *dwarf.Sections { // n of them, in falling order, and a function for each
		b := word(addr([]byte{6}, 0x1000), 0)
		var program []byte
		for i := range uint64(n) {
			b = append(function(b, 0x1000+64*i, 32), 0)
			program = addr(append(program, 0, 9, 2), 0x1000+64*(uint64(n)-1-i))
			program = append(program, 1, 2, 8, 3, 1, 1, 2, 24, 0, 1, 1) // copy, advance, line, copy, advance, end
		}
		u := unitOf(growthAbbrev, append(b, 0))
		header := []byte{1, 1, 1, 0xfb, 14, 10, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 'a', 0, 0, 0, 0, 0}
		line := word([]byte{4, 0}, uint32(len(header)))
		line = append(append(line, header...), program...)
		u.Line = append(word(nil, uint32(len(line))), line...)
		return u
	},
	"inlined calls": func(n int) *dwarf.Sections { // nests 64 deep
		b := root()
		for i := range uint64(max(1, n/64)) {
			start := uint32(11 + len(b))
			b = function(b, 0x1000+128*i, 128)
			for k := range uint64(64) {
				b = word(append(b, 4), start)
				b = append(word(addr(b, 0x1000+128*i+k/2), uint32(128-k)), 7)
			}
			b = append(b, make([]byte, 65)...)
		}
		return unitOf(growthAbbrev, append(b, 0))
	},
	"origins": func(n int) *dwarf.Sections { // inlined calls, each of which says that it is the one before
		b := function(root(), 0x1000, 4096)
		last := uint32(11 + 9)
		for i := range n {
			here := uint32(11 + len(b))
			b = word(append(b, 4), last)
			b = append(word(addr(b, 0x1000+uint64(i%4000)), 1), 7, 0)
			last = here
		}
		return unitOf(growthAbbrev, append(b, 0, 0))
	},
	"declarations": func(n int) *dwarf.Sections { // of which the last is used
		var abbrev []byte
		for i := range n {
			abbrev = binary.AppendUvarint(abbrev, uint64(7+i))
			abbrev = append(abbrev, 0x34, 0, 0x03, 0x08, 0, 0)
		}
		return unitOf(append(abbrev, growthAbbrev...), append(append(function(root(), 0x1000, 8), 0), 0))
	},
	"variables": func(n int) *dwarf.Sections {
		b := function(root(), 0x1000, 8)
		for range n {
			b = word(append(b, 5, 'v', 0, 1, 1), 11)
		}
		return unitOf(growthAbbrev, append(b, 0, 0))
	},
}

// work returns the allocations and the allocated bytes of reading s.
func work(t *testing.T, s *dwarf.Sections) (count, size float64) {
	t.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var res dwarf.Result
	functions := 0
	err := dwarf.Symbols(context.Background(), s, dwarf.Options{Workers: 1}, &res)(func(b *symbols.Batch) error {
		functions += len(b.Functions)
		b.Free()
		return nil
	})
	runtime.ReadMemStats(&after)
	if err != nil || len(res.Problems) > 0 || functions == 0 {
		t.Fatalf("%v, %v, %d functions", err, res.Problems, functions)
	}
	return float64(after.Mallocs - before.Mallocs), float64(after.TotalAlloc - before.TotalAlloc)
}

// What is allocated grows no faster than the input, and hardly at all with entries that are of no use.
func TestAllocationsGrow(t *testing.T) {
	for name, input := range grown {
		t.Run(name, func(t *testing.T) {
			const n = 8000
			work(t, input(n)) // what is kept for reuse is there after this
			a, _ := work(t, input(n))
			b, _ := work(t, input(2*n))
			c, cBytes := work(t, input(4*n))
			t.Logf("%v, %v, %v allocations, %v bytes", a, b, c, cBytes)
			const base = 100 // whatever the input
			if b > 2.2*a+base || c > 2.2*b+base {
				t.Error("grows faster than the input")
			}
			// Arrays are kept for reuse, so bytes do not grow evenly; a function with a name of one letter and a range
			// takes 20 bytes of input.
			s := input(4 * n)
			if size := len(s.Info) + len(s.Abbrev) + len(s.Line) + len(s.Ranges); cBytes > 40*float64(size)+1<<20 {
				t.Errorf("%v bytes for %d of input", cBytes, size)
			}
			if name == "variables" && c > 0.05*4*n {
				t.Errorf("%v allocations for %d entries", c, 4*n)
			}
		})
	}
}
