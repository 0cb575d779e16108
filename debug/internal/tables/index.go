package tables

import (
	"encoding/binary"
	"iter"

	"salvage/debug"
)

// Index finds the range an address is in, in two tables: starts, 4 bytes each, ascending inside a
// segment, and segments, one for each reach of 32 bits in use.
//
//	segment: base u64, index of its first start u32, number of its starts u32
//
// A range ends where the next one starts; the last has no end.
type Index struct{ starts, segments []byte }

const (
	startSize   = 4
	segmentSize = 16
)

// WriteIndex writes the tables of an index over ascending addresses and returns how many there were.
func (t *Writer) WriteIndex(startsTag, segmentsTag uint32, addrs iter.Seq[uint64]) uint64 {
	type segment struct {
		base  uint64
		first uint64
	}
	var segments []segment
	count := uint64(0)
	t.Table(startsTag)
	for addr := range addrs {
		if n := len(segments); n == 0 || addr-segments[n-1].base > 1<<32-1 {
			segments = append(segments, segment{addr, count})
		}
		t.U32(uint32(addr - segments[len(segments)-1].base))
		count++
	}
	t.Table(segmentsTag)
	for i, s := range segments {
		end := count
		if i+1 < len(segments) {
			end = segments[i+1].first
		}
		t.U64(s.base)
		t.U32(uint32(s.first))
		t.U32(uint32(end - s.first))
	}
	return count
}

// OpenIndex returns the index in two tables of f.
func (f *File) OpenIndex(startsTag, segmentsTag uint32) (Index, error) {
	x := Index{f.Table(startsTag), f.Table(segmentsTag)}
	if len(x.starts)%startSize != 0 || len(x.segments)%segmentSize != 0 {
		return Index{}, &debug.FormatError{Format: f.format.Name, Reason: "index with a partial record"}
	}
	return x, nil
}

// Len returns the number of ranges.
func (x Index) Len() int { return len(x.starts) / startSize }

// Find returns the number of the range that addr is in and where it starts; −1 if addr is before all.
func (x Index) Find(addr uint64) (i int, start uint64) {
	lo, hi := 0, len(x.segments)/segmentSize
	for lo < hi {
		if mid := (lo + hi) / 2; binary.LittleEndian.Uint64(x.segments[mid*segmentSize:]) <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return -1, 0
	}
	base, first, count := x.segment(lo - 1)
	if count == 0 {
		return -1, 0
	}
	// Out of the segment's reach, its last range decides.
	target := uint32(min(addr-base, 1<<32-1))
	// The last start at or below target, in halving steps.
	at := first
	for left := count; left > 1; {
		half := left / 2
		if x.start(at+half) <= target {
			at += half
		}
		left -= half
	}
	if x.start(at) > target {
		return -1, 0
	}
	return at, base + uint64(x.start(at))
}

// All yields the numbers and starts of all ranges in order.
func (x Index) All() iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		for s := range len(x.segments) / segmentSize {
			base, first, count := x.segment(s)
			for i := first; i < first+count; i++ {
				if !yield(i, base+uint64(x.start(i))) {
					return
				}
			}
		}
	}
}

// segment returns the i-th segment, cut to the starts there are.
func (x Index) segment(i int) (base uint64, first, count int) {
	s := x.segments[i*segmentSize:]
	n := uint64(x.Len())
	f, c := uint64(binary.LittleEndian.Uint32(s[8:])), uint64(binary.LittleEndian.Uint32(s[12:]))
	f = min(f, n)
	return binary.LittleEndian.Uint64(s), int(f), int(min(c, n-f))
}

func (x Index) start(i int) uint32 { return binary.LittleEndian.Uint32(x.starts[i*startSize:]) }
