package dwarf

import (
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// pcRange is a range of code before the image base is subtracted.
type pcRange struct{ low, high uint64 }

// ranges appends the ranges of code of an entry to buf: DW_AT_ranges, else low_pc and high_pc
// (DWARF5 2.17). What linkers leave of code they threw away is not code (see code).
func (w *walker) ranges(u *unit, e *entry, buf []pcRange) []pcRange {
	if e.has(slotRanges) {
		if u.version >= 5 {
			return w.rnglist(u, e.values[slotRanges], buf)
		}
		return w.rangeList(u, e.values[slotRanges], buf)
	}
	if !e.has(slotLowPC) || !e.has(slotHighPC) {
		return buf
	}
	low, ok := w.r.addr(u, e.values[slotLowPC])
	if !ok {
		return buf
	}
	high, isAddr := w.r.addr(u, e.values[slotHighPC])
	if !isAddr {
		high = low + e.values[slotHighPC].v
	}
	return w.code(u, low, high, buf)
}

// code appends [low, high) if there is code there.
//
// Linkers that throw a section away still fill in the addresses that debug information has of it: with
// 0 (GNU ld, plus the offset in the section), 1 (GNU ld in range lists, where 0 would end the list), or
// all ones and all ones less one (lld since 11). Code over 4 GiB is damage.
func (w *walker) code(u *unit, low, high uint64, buf []pcRange) []pcRange {
	tombstone := ^uint64(0) >> (64 - 8*uint(u.addrSize))
	if high <= low || low >= tombstone-1 || high > tombstone || high-low > 1<<32-1 {
		return buf
	}
	if !symbols.InCode(w.r.opts.Executable, low) {
		return buf
	}
	return append(buf, pcRange{low, high})
}

// spend accounts for work on shared lists, which a hostile file can make every entry refer to. It
// reports whether any is left.
func (w *walker) spend() bool {
	w.rangeWork++
	// Every entry of a list takes at least two bytes; compilers share few lists between entries.
	if w.rangeWork > 4*w.r.rangeSize+1<<20 {
		w.fail("range lists are shared without end")
		return false
	}
	return true
}

// rangeList reads a list of .debug_ranges (DWARF4 2.17.3), which stays in the image for a split unit, too:
// its offsets count from where the skeleton says.
func (w *walker) rangeList(u *unit, v value, buf []pcRange) []pcRange {
	off, section := v.v, w.r.main.Ranges
	if u.lines != nil {
		off += u.gnuRanges
	}
	if off > uint64(len(section)) {
		return buf
	}
	c := u.f.cursor(section, ".debug_ranges")
	c.Skip(off)
	base, selection := u.low, ^uint64(0)>>(64-8*uint(u.addrSize))
	for w.spend() {
		low, high := c.Uint(u.addrSize), c.Uint(u.addrSize)
		if c.Err() != nil || low == 0 && high == 0 {
			break
		}
		if low == selection {
			base = high
			continue
		}
		if low == high {
			continue
		}
		buf = w.code(u, base+low, base+high, buf)
	}
	return buf
}

// rnglist reads a list of .debug_rnglists (DWARF5 2.17.3).
func (w *walker) rnglist(u *unit, v value, buf []pcRange) []pcRange {
	off := v.v
	if v.form == formRnglistx {
		rel, ok := u.f.indexed(u.f.RngLists, u.rngBase, v.v, u.offSize)
		if !ok {
			return buf
		}
		off = u.rngBase + rel
	}
	if off > uint64(len(u.f.RngLists)) {
		return buf
	}
	c := u.f.cursor(u.f.RngLists, ".debug_rnglists")
	c.Skip(off)
	base := u.low
	for w.spend() {
		var low, high uint64
		ok := true
		switch kind := c.U8(); kind {
		case rleBaseAddressx:
			base, _ = w.addrx(u, &c)
			continue
		case rleStartxEndx:
			var okHigh bool
			low, ok = w.addrx(u, &c)
			high, okHigh = w.addrx(u, &c)
			ok = ok && okHigh
		case rleStartxLength:
			low, ok = w.addrx(u, &c)
			high = low + c.ULEB()
		case rleOffsetPair:
			low, high = base+c.ULEB(), base+c.ULEB()
		case rleBaseAddress:
			base = c.Uint(u.addrSize)
			continue
		case rleStartEnd:
			low, high = c.Uint(u.addrSize), c.Uint(u.addrSize)
		case rleStartLength:
			low = c.Uint(u.addrSize)
			high = low + c.ULEB()
		default: // rleEndOfList, or an entry of unknown size
			return buf
		}
		if c.Err() != nil {
			return buf
		}
		if ok {
			buf = w.code(u, low, high, buf)
		}
	}
	return buf
}

func (w *walker) addrx(u *unit, c *cursor.Cursor) (uint64, bool) {
	return w.r.addr(u, value{c.ULEB(), formAddrx})
}
