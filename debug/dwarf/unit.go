package dwarf

import (
	"bytes"
	"fmt"
	"slices"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// reader is what all walkers share; it does not change once they run.
type reader struct {
	s      *Sections
	opts   Options
	units  []unit // in order of offset
	tables map[abbrevKey]*abbrevTable

	abbrevWork uint64
}

func newReader(s *Sections, o Options) *reader {
	cut := *s
	for _, strings := range []*[]byte{&cut.Str, &cut.LineStr} {
		// Behind the last NUL is no string; without this, every reference there would be a long search.
		*strings = (*strings)[:bytes.LastIndexByte(*strings, 0)+1]
	}
	return &reader{s: &cut, opts: o, tables: map[abbrevKey]*abbrevTable{}}
}

// unit is one unit of .debug_info and what its root entry says.
type unit struct {
	off, end uint64 // of the unit
	first    uint64 // offset of the root entry
	body     uint64 // offset behind the root entry
	version  uint16
	addrSize uint8
	offSize  uint8
	kind     uint8
	abbrevs  *abbrevTable // nil: the unit is unusable

	isCompile, hasChildren                       bool
	language                                     symbols.Language
	low                                          uint64 // base of range lists
	compDir                                      []byte
	stmtList                                     uint64
	hasLines                                     bool
	strOffsetsBase, addrBase, rngBase, gnuRanges uint64
}

func (r *reader) cursor(data []byte, section string) cursor.Cursor {
	return cursor.New(data, "dwarf", section).BigEndian(r.s.BigEndian)
}

// parseUnits reads the headers and root entries of all units. Units whose root cannot be read stay, so
// that others can still refer to what is behind them, but are not walked.
func (r *reader) parseUnits(res *Result) error {
	c := r.cursor(r.s.Info, ".debug_info")
	for c.Len() > 0 {
		u, err := r.unitHeader(&c)
		if err != nil {
			if len(r.units) == 0 {
				return err
			}
			res.problem(debug.Problem{Where: fmt.Sprintf(".debug_info at %#x", u.off), Kind: "bad unit header", Detail: err.Error()})
			break // where the next unit starts is not known
		}
		if u.first == 0 { // padding, or a version of the future
			continue
		}
		if err := r.unitRoot(&u, res); err != nil {
			u.abbrevs = nil
			res.problem(debug.Problem{Where: fmt.Sprintf("unit at %#x", u.off), Kind: "bad unit", Detail: err.Error()})
		}
		r.units = append(r.units, u)
	}
	res.Units = len(r.units)
	return nil
}

// unitHeader reads a header (DWARF5 7.5.1) and moves c behind the unit.
func (r *reader) unitHeader(c *cursor.Cursor) (u unit, err error) {
	u.off = c.Offset()
	length := uint64(c.U32())
	u.offSize = 4
	if length == 0xffffffff {
		length, u.offSize = c.U64(), 8
	} else if length >= 0xfffffff0 {
		c.Fail("reserved unit length", nil)
	}
	if length > c.Len() && c.Err() == nil {
		// The file was cut: walk what is there.
		length = c.Len()
	}
	b := c.Sub(length)
	u.end = c.Offset()
	if length == 0 {
		return u, c.Err()
	}
	u.version = b.U16()
	if err := c.Err(); err != nil {
		return u, err
	}
	if u.version < 2 || u.version > 5 {
		return u, b.Err()
	}
	var abbrevOff uint64
	u.kind = utCompile
	if u.version >= 5 {
		u.kind = b.U8()
		u.addrSize = b.U8()
		abbrevOff = b.Uint(u.offSize)
		switch u.kind {
		case utSkeleton, utSplitCompile:
			b.Skip(8)
		case utType, utSplitType:
			b.Skip(8 + uint64(u.offSize))
		}
	} else {
		abbrevOff = b.Uint(u.offSize)
		u.addrSize = b.U8()
	}
	if b.Err() != nil || u.addrSize != 4 && u.addrSize != 8 && u.addrSize != 2 {
		return u, nil // skipped: the length still leads to the next unit
	}
	u.first = b.Offset()
	u.abbrevs, err = r.abbrevs(abbrevKey{abbrevOff, u.addrSize, u.offSize, u.version})
	if err != nil {
		u.abbrevs = nil
	}
	return u, nil
}

// unitRoot reads the root entry of a unit.
func (r *reader) unitRoot(u *unit, res *Result) error {
	if u.abbrevs == nil {
		return fmt.Errorf("unusable abbreviations")
	}
	c := r.cursor(r.s.Info[:u.end], ".debug_info")
	c.Skip(u.first)
	var e entry
	a := r.readEntry(&c, u, &e)
	if err := c.Err(); err != nil {
		return err
	}
	if a == nil {
		return nil // a unit of nothing but a null entry
	}
	u.body, u.hasChildren, u.isCompile = c.Offset(), a.hasChildren, a.tag == tagCompileUnit
	// Where a unit of version 5 says no base, it is that of the first (only) contribution, behind
	// its header.
	header := uint64(8)
	if u.offSize == 8 {
		header = 16
	}
	if u.version >= 5 {
		u.strOffsetsBase, u.addrBase, u.rngBase = header, header, header+4
	}
	for s, base := range map[slot]*uint64{
		slotStrOffsetsBase: &u.strOffsetsBase, slotAddrBase: &u.addrBase, slotRnglistsBase: &u.rngBase, slotGNURangesBase: &u.gnuRanges,
	} {
		if e.has(s) {
			*base = e.values[s].v
		}
	}
	u.language = languageOf(e.values[slotLanguage].v)
	u.compDir = r.str(u, e.values[slotCompDir])
	u.stmtList, u.hasLines = e.values[slotStmtList].v, e.has(slotStmtList)
	if e.has(slotLowPC) {
		u.low, _ = r.addr(u, e.values[slotLowPC])
	}
	if dwo := r.str(u, e.values[slotDwoName]); len(dwo) > 0 {
		res.Split = append(res.Split, string(dwo))
	}
	return nil
}

// unitAt returns the unit that an offset of .debug_info lies in, or nil.
func (r *reader) unitAt(off uint64) *unit {
	i, found := slices.BinarySearchFunc(r.units, off, func(u unit, off uint64) int {
		switch {
		case u.end <= off:
			return -1
		case u.off > off:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &r.units[i]
}
