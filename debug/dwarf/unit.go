package dwarf

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// reader is what all walkers share. While they run it gets no more than units.
type reader struct {
	main, alt *file // alt may be nil
	opts      Options
	tables    map[abbrevKey]*abbrevTable

	end        uint64         // of the last file: see file.base
	counted    map[*byte]bool // sections whose size is in the sums below
	infoSize   uint64         // of sections that hold entries and strings
	abbrevSize uint64         // of .debug_abbrev
	rangeSize  uint64         // of range lists
	abbrevWork uint64
	splitWork  uint64
	splits     map[uint64]*file // by id of their unit
}

// file is the sections that the references of a unit lead into.
type file struct {
	Sections
	base  uint64 // of its .debug_info, where those of all files lie one behind the other
	units []unit // in order of offset

	// While units are added: how much of .debug_info was looked at.
	mu    sync.Mutex
	more  *sync.Cond
	read  uint64
	whole atomic.Bool // no more will come: units may be used without the lock

	stuck  bool  // where the next unit starts is not known
	failed error // there is not even one
}

func newReader(s *Sections, o Options) *reader {
	r := &reader{opts: o, tables: map[abbrevKey]*abbrevTable{}, counted: map[*byte]bool{}, splits: map[uint64]*file{}}
	r.main = r.add(s)
	return r
}

// add adds a file, whose units are not read yet.
func (r *reader) add(s *Sections) *file {
	f := &file{Sections: *s, base: r.end}
	f.more = sync.NewCond(&f.mu)
	f.Str, f.LineStr = cutStrings(f.Str), cutStrings(f.LineStr)
	if f.Growing != nil {
		r.infoSize += f.InfoSize
	} else {
		f.InfoSize = uint64(len(f.Info))
	}
	r.end += f.InfoSize
	count := func(sum *uint64, sections ...[]byte) {
		for _, data := range sections {
			if len(data) > 0 && !r.counted[&data[0]] {
				r.counted[&data[0]] = true
				*sum += uint64(len(data))
			}
		}
	}
	count(&r.infoSize, f.Info, f.Str, f.LineStr, f.Line)
	count(&r.abbrevSize, f.Abbrev)
	count(&r.rangeSize, f.Ranges, f.RngLists)
	return f
}

// cutStrings cuts off what is behind the last NUL and so no string. Without this, every reference there
// would be a long search.
func cutStrings(data []byte) []byte { return data[:bytes.LastIndexByte(data, 0)+1] }

// unit is one unit of .debug_info and what its root entry says.
type unit struct {
	f        *file
	lines    *unit  // whose line table and addresses it uses: of a split unit its skeleton's
	split    *unit  // of a skeleton: the unit in its .dwo file, nil if that is not known
	info     []byte // .debug_info up to its end
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
	id                                           uint64 // of a split unit and its skeleton
	dwoName                                      []byte
}

func (f *file) cursor(data []byte, section string) cursor.Cursor {
	return cursor.New(data, "dwarf", section).BigEndian(f.BigEndian)
}

// readUnits reads the units of all files, those of the main file while it grows.
func (r *reader) readUnits(ctx context.Context, res *Result) error {
	f := r.main
	defer f.end()
	if r.opts.Alt != nil {
		r.alt = r.add(r.opts.Alt)
		if err := r.fileUnits(r.alt, res); err != nil {
			res.problem(debug.Problem{Where: "supplementary file", Kind: "bad unit header", Detail: err.Error()})
		}
	}
	for f.Growing != nil {
		select {
		case info, ok := <-f.Growing:
			if !ok {
				return r.fileUnits(f, res)
			}
			f.Info = info
			// Split units come with sections of their own, which walkers that run would not see.
			if r.opts.Split == nil {
				r.moreUnits(f, false, res)
			}
		case <-ctx.Done():
			return nil
		}
	}
	return r.fileUnits(f, res)
}

// link finds the unit that u is the skeleton of.
func (r *reader) link(u *unit, res *Result) {
	var s *Sections
	f := r.splits[u.id]
	if f == nil && r.opts.Split != nil {
		s = r.opts.Split(u.id)
	}
	if f == nil && s == nil {
		res.Missing = append(res.Missing, Skeleton{string(u.dwoName), string(u.compDir), u.id})
		return
	}
	where := fmt.Sprintf("split unit %016x", u.id)
	if f == nil {
		f = r.add(s)
		r.splits[u.id] = f
		if err := r.fileUnits(f, res); err != nil {
			res.problem(debug.Problem{Where: where, Kind: "bad unit header", Detail: err.Error()})
		}
	}
	for i := range f.units {
		v := f.units[i]
		if v.id != u.id || !v.isCompile || v.kind == utSkeleton {
			continue
		}
		// One id for many units, all of which would read the same, is not what compilers make.
		if r.splitWork += v.end - v.off; r.splitWork > 16*r.infoSize {
			res.problem(debug.Problem{Where: where, Kind: "bad unit", Detail: "too many skeleton units have its id"})
			return
		}
		v.lines, v.low, v.addrBase, v.gnuRanges = u, u.low, u.addrBase, u.gnuRanges
		if len(u.compDir) > 0 {
			v.compDir = u.compDir
		}
		if v.addrSize != u.addrSize || v.abbrevs == nil {
			break
		}
		u.split = &v
		return
	}
	res.problem(debug.Problem{Where: where, Kind: "bad unit", Detail: "not in its .dwo file, or not usable"})
}

// fileUnits reads the headers and root entries of the units of a file. Units whose root cannot be read
// stay, so that others can still refer to what is behind them, but are not walked.
func (r *reader) fileUnits(f *file, res *Result) error {
	r.moreUnits(f, true, res)
	f.end()
	return f.failed
}

// moreUnits adds the units that are there, last if no more of .debug_info will come.
func (r *reader) moreUnits(f *file, last bool, res *Result) {
	var found []unit
	c := f.cursor(f.Info, ".debug_info")
	c.Skip(f.read)
	for c.Len() > 0 && !f.stuck {
		if !last && !complete(c) {
			break
		}
		u, err := r.unitHeader(f, &c)
		if err != nil {
			f.stuck = true
			if len(f.units)+len(found) == 0 {
				f.failed = err
			} else {
				res.problem(debug.Problem{Where: fmt.Sprintf(".debug_info at %#x", u.off), Kind: "bad unit header", Detail: err.Error()})
			}
			break
		}
		if u.first == 0 { // padding, or a version of the future
			continue
		}
		u.info = f.Info[:u.end]
		if err := r.unitRoot(&u); err != nil {
			u.abbrevs = nil
			res.problem(debug.Problem{Where: fmt.Sprintf("unit at %#x", u.off), Kind: "bad unit", Detail: err.Error()})
		}
		found = append(found, u)
	}
	if f == r.main {
		for i := range found {
			if u := &found[i]; u.abbrevs != nil && (u.kind == utSkeleton || len(u.dwoName) > 0) {
				r.link(u, res)
			}
		}
	}
	f.mu.Lock()
	f.units, f.read = append(f.units, found...), c.Offset()
	f.mu.Unlock()
	f.more.Broadcast()
}

// complete reports whether all of the unit at c is there.
func complete(c cursor.Cursor) bool {
	length := uint64(c.U32())
	if length == 0xffffffff {
		length = c.U64()
	}
	return c.Err() == nil && length <= c.Len()
}

// end says that there will be no more units.
func (f *file) end() {
	f.mu.Lock()
	f.whole.Store(true)
	f.mu.Unlock()
	f.more.Broadcast()
}

// until waits until ok, which may look at f, or there will be no more units. It returns those that are there.
func (f *file) until(ok func() bool) []unit {
	if !f.whole.Load() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for !f.whole.Load() && !ok() {
			f.more.Wait()
		}
	}
	return f.units
}

// unit returns the i-th unit, for which it may wait, or nil if there is none.
func (f *file) unit(i int) *unit {
	if units := f.until(func() bool { return i < len(f.units) }); i < len(units) {
		return &units[i]
	}
	return nil
}

// unitHeader reads a header (DWARF5 7.5.1) and moves c behind the unit.
func (r *reader) unitHeader(f *file, c *cursor.Cursor) (u unit, err error) {
	u.f, u.off = f, c.Offset()
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
			u.id = b.U64()
		case utType, utSplitType:
			b.Skip(8 + uint64(u.offSize))
		}
	} else {
		abbrevOff = b.Uint(u.offSize)
		u.addrSize = b.U8()
	}
	if b.Err() != nil || u.addrSize != 4 && u.addrSize != 8 && u.addrSize != 2 || u.kind == 0 || u.kind > utSplitType {
		return u, nil // skipped: the length still leads to the next unit
	}
	u.first = b.Offset()
	u.abbrevs, err = r.abbrevs(f, abbrevKey{nil, abbrevOff, u.addrSize, u.offSize, u.version})
	if err != nil {
		u.abbrevs = nil
	}
	return u, nil
}

// unitRoot reads the root entry of a unit.
func (r *reader) unitRoot(u *unit) error {
	if u.abbrevs == nil {
		return fmt.Errorf("unusable abbreviations")
	}
	c := u.f.cursor(u.info, ".debug_info")
	c.Skip(u.first)
	var e entry
	a := readEntry(&c, u, &e)
	if err := c.Err(); err != nil {
		return err
	}
	if a == nil {
		return nil // a unit of nothing but a null entry
	}
	u.body, u.hasChildren, u.isCompile = c.Offset(), a.hasChildren, a.tag == tagCompileUnit || a.tag == tagSkeletonUnit
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
	u.dwoName = r.str(u, e.values[slotDwoName])
	if e.has(slotDwoID) {
		u.id = e.values[slotDwoID].v
	}
	return nil
}

// unitAt returns the unit that an offset of .debug_info lies in, or nil. It waits where it may still come.
func (f *file) unitAt(off uint64) *unit {
	units := f.until(func() bool { return off < f.read })
	i, found := slices.BinarySearchFunc(units, off, func(u unit, off uint64) int {
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
	return &units[i]
}
