package symcache

import (
	"encoding/binary"

	"salvage/debug/internal/tables"
)

const (
	blockRanges = 16 // of a block at most: what a lookup decodes one by one
	blockSize   = 12 // of a block's entry
	maxDelta    = 1 << 32
)

// rangeTable is the table of ranges while it is written: in blocks, so that it can be read from the
// middle, and each range as its difference from the one before. See FORMAT.md.
type rangeTable struct {
	blocks []rangeBlock
	data   []byte
	count  uint64
	state  rangeState
	room   int // for ranges of the last block
}

type rangeBlock struct{ start, offset uint64 }

// rangeState is a range, and what the next one is the difference from.
type rangeState struct {
	start       uint64
	scope, line uint32
	none        bool // nothing is known here; scope and line are those of the range before
}

// put adds a range, scope may be noScope. Starts ascend.
func (t *rangeTable) put(start uint64, scope, line uint32) {
	old, now := t.state, rangeState{start, scope, line, scope == noScope}
	if now.none {
		now.scope, now.line = old.scope, old.line
	}
	if t.room == 0 || start-old.start >= maxDelta {
		t.blocks = append(t.blocks, rangeBlock{start, uint64(len(t.data))})
		t.room = blockRanges
		if now.none {
			now.scope, now.line = noScope, 0 // the sum in 32 bits is 0
		}
		t.data = binary.AppendUvarint(t.data, uint64(now.scope+1))
		t.data = binary.AppendUvarint(t.data, uint64(now.line))
	} else {
		head := (start - old.start) << 1
		switch {
		case now.none:
			t.data = append(binary.AppendUvarint(t.data, head|1), 0)
		case old.none || now.scope != old.scope:
			t.data = binary.AppendUvarint(t.data, head|1)
			t.data = binary.AppendUvarint(t.data, uint64(zigzag(now.scope-old.scope))+1)
			t.data = binary.AppendUvarint(t.data, uint64(zigzag(now.line-old.line)))
		default:
			t.data = binary.AppendUvarint(t.data, head)
			t.data = binary.AppendUvarint(t.data, uint64(zigzag(now.line-old.line)))
		}
	}
	t.state = now
	t.room--
	t.count++
}

// zigzag makes small numbers of small differences of either sign.
func zigzag(d uint32) uint32   { return d<<1 ^ uint32(int32(d)>>31) }
func unzigzag(z uint32) uint32 { return z>>1 ^ -(z & 1) }

// writeRanges writes the tables of ranges, one behind the other, as one. The directory has one entry for each
// 2^shift bytes of addresses from the first range on: the last block that starts at or before them; at most as
// many as there are blocks, and one more.
func writeRanges(w *tables.Writer, parts []rangeTable) (count, bytes uint64) {
	var blocks []rangeBlock
	for _, p := range parts {
		for _, b := range p.blocks {
			blocks = append(blocks, rangeBlock{b.start, b.offset + bytes})
		}
		count, bytes = count+p.count, bytes+uint64(len(p.data))
	}
	w.Table(tableDirectory)
	if n := len(blocks); n > 0 {
		first, shift := blocks[0].start, 0
		span := blocks[n-1].start - first
		for span>>shift >= uint64(n) {
			shift++
		}
		w.U32(uint32(shift))
		block := 0
		for bucket := range span>>shift + 1 {
			for block+1 < n && blocks[block+1].start <= first+bucket<<shift {
				block++
			}
			w.U32(uint32(block))
		}
		w.U32(uint32(n - 1))
	}
	w.Table(tableBlocks)
	for _, b := range blocks {
		w.U64(b.start)
		w.U32(uint32(b.offset))
	}
	w.Table(tableRanges)
	for _, p := range parts {
		w.Bytes(p.data)
	}
	return count, bytes
}

// rangeIndex is an opened table of ranges.
type rangeIndex struct {
	directory, blocks, data []byte
	first                   uint64 // start of all
	shift                   uint32
}

// openRanges reports whether the sizes of the tables make sense.
func openRanges(f *tables.File) (x rangeIndex, ok bool) {
	x.directory, x.blocks, x.data = f.Table(tableDirectory), f.Table(tableBlocks), f.Table(tableRanges)
	if len(x.blocks) == 0 {
		return x, len(x.directory)+len(x.data) == 0
	}
	if len(x.directory)%4 != 0 || len(x.directory) < 12 || len(x.blocks)%blockSize != 0 {
		return x, false
	}
	x.first, x.shift = x.start(0), u32(x.directory, 0)
	x.directory = x.directory[4:]
	return x, true
}

func (x *rangeIndex) len() uint32 { return uint32(len(x.blocks) / blockSize) }

func (x *rangeIndex) start(block uint32) uint64 {
	return binary.LittleEndian.Uint64(x.blocks[int(block)*blockSize:])
}

// find returns the range that addr is in.
func (x *rangeIndex) find(addr uint64) rangeState {
	if len(x.blocks) == 0 || addr < x.first {
		return rangeState{none: true}
	}
	// The block is between those of its bucket's start and of the next one's.
	last := x.len() - 1
	lo, hi := last, last
	if bucket := (addr - x.first) >> x.shift; bucket < uint64(len(x.directory)/4-1) {
		lo, hi = min(u32(x.directory, int(bucket)), last), min(u32(x.directory, int(bucket)+1), last)
	}
	for lo < hi {
		if mid := hi - (hi-lo)/2; x.start(mid) <= addr {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	r, d := x.open(lo)
	for i, n := 0, 1; n < blockRanges; n++ {
		if i = r.next(d, i, addr); i < 0 {
			break
		}
	}
	return r
}

// open returns the first range of a block and the bytes of the others.
func (x *rangeIndex) open(block uint32) (r rangeState, rest []byte) {
	at := x.blocks[int(block)*blockSize:]
	lo, hi := uint64(u32(at[8:], 0)), uint64(len(x.data))
	if block+1 < x.len() {
		hi = min(hi, uint64(u32(at[blockSize+8:], 0)))
	}
	d := x.data[min(lo, hi):hi]
	scope, i := uvarint(d, 0)
	line, i := uvarint(d, i)
	if i < 0 {
		return rangeState{start: x.start(block), none: true}, nil
	}
	return rangeState{x.start(block), uint32(scope) - 1, uint32(line), scope == 0}, d[i:]
}

// next makes r the range behind it, which is at d[i:], and returns where the one behind that is: −1, with
// r unchanged, if there is none or it starts behind addr.
func (r *rangeState) next(d []byte, i int, addr uint64) int {
	head, i := uvarint(d, i)
	if i < 0 || head>>1 > addr-r.start {
		return -1
	}
	now := *r
	now.start += head >> 1
	if head&1 != 0 {
		var scope uint64
		if scope, i = uvarint(d, i); scope == 0 {
			if i >= 0 {
				r.start, r.none = now.start, true
			}
			return i
		}
		now.scope, now.none = now.scope+unzigzag(uint32(scope-1)), false
	}
	line, i := uvarint(d, i)
	now.line += unzigzag(uint32(line))
	if i >= 0 {
		*r = now
	}
	return i
}

// uvarint decodes a number at d[i:] and returns where the next one is; −1 if there is none, or i is −1.
func uvarint(d []byte, i int) (uint64, int) {
	if uint(i) < uint(len(d)) && d[i] < 0x80 {
		return uint64(d[i]), i + 1
	}
	return longUvarint(d, i)
}

func longUvarint(d []byte, i int) (uint64, int) {
	if i < 0 {
		return 0, -1
	}
	v, n := binary.Uvarint(d[i:])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}
