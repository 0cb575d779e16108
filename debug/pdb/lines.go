package pdb

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"

	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// The line information of a module is made of subsections ("C13"): runs of code with their lines, the
// files that these refer to by offset, and where the functions begin that the module inlines.

const (
	subsectionLines    = 0xf2
	subsectionFiles    = 0xf4 // checksums
	subsectionInlinees = 0xf6

	linesHaveColumns = 1
	inlineesMore     = 1 // signature: each has more files

	// Line numbers that say "step over" and "step into" to a debugger: code that has no line.
	lineNever  = 0xf00f00
	lineAlways = 0xfeefee
	lineMask   = 0xffffff
)

// row says that [start, end), relative to the start of a function or a section, comes from a line.
type row struct {
	start, end uint32
	file, line uint32 // file is an offset into the module's files; noFile if unknown
}

const noFile = ^uint32(0)

// run is one piece of code with lines.
type run struct {
	addr, size uint32 // before OMAP
	lo, hi     int    // of lineInfo.rows, whose addresses are relative to addr
}

// inlinee is where a function begins that is inlined somewhere.
type inlinee struct{ id, file, line uint32 }

// lineInfo is the line information of a module.
type lineInfo struct {
	runs     []run // ascending, apart
	rows     []row
	files    []byte
	inlinees []inlinee // by id
	imports  []imports
	names    map[uint32]symbols.StringID
}

func (l *lineInfo) reset() {
	*l = lineInfo{runs: l.runs[:0], rows: l.rows[:0], inlinees: l.inlinees[:0], names: map[uint32]symbols.StringID{}}
}

// read reads the subsections. What cannot be read is left out.
func (l *lineInfo) read(f *File, data []byte) error {
	l.reset()
	c := cursor.New(data, "pdb", "lines")
	var failed error
	eachSubsection(&c, func(kind uint32, s *cursor.Cursor) {
		switch kind {
		case subsectionLines:
			l.run(f, s)
		case subsectionFiles:
			l.files = s.Rest()
		case subsectionImports:
			l.imports = readImports(s)
		case subsectionInlinees:
			more := s.U32() == inlineesMore
			for s.Len() >= 12 {
				in := inlinee{s.U32(), s.U32(), s.U32()}
				if more {
					s.Skip(4 * uint64(s.U32()))
				}
				if s.Err() == nil {
					l.inlinees = append(l.inlinees, in)
				}
			}
		}
		if failed == nil {
			failed = s.Err()
		}
	})
	slices.SortStableFunc(l.inlinees, func(a, b inlinee) int { return cmp.Compare(a.id, b.id) })
	slices.SortStableFunc(l.runs, func(a, b run) int { return cmp.Compare(a.addr, b.addr) })
	// Of code that was folded the lines of the first function remain.
	kept, end := 0, uint64(0)
	for _, r := range l.runs {
		if uint64(r.addr) >= end {
			end = uint64(r.addr) + uint64(r.size)
			l.runs[kept] = r
			kept++
		}
	}
	l.runs = l.runs[:kept]
	return cmp.Or(failed, c.Err())
}

// eachSubsection calls yield with the kind and contents of each subsection.
func eachSubsection(c *cursor.Cursor, yield func(kind uint32, s *cursor.Cursor)) {
	for c.Len() >= 8 {
		kind, size := c.U32(), uint64(c.U32())
		s := c.Sub(size)
		c.Skip(min(-c.Offset()&3, c.Len()))
		yield(kind, &s)
	}
}

// run reads one subsection of lines: blocks, one for each change of the file.
func (l *lineInfo) run(f *File, c *cursor.Cursor) {
	offset, segment, flags, size := c.U32(), c.U16(), c.U16(), c.U32()
	addr, ok := f.code(segment, offset)
	if c.Err() != nil || !ok || size == 0 {
		return
	}
	lo := len(l.rows)
	for c.Len() >= 12 {
		file, count, blockSize := c.U32(), uint64(c.U32()), uint64(c.U32())
		if blockSize < 12 {
			c.Fail("block smaller than its header", nil)
			return
		}
		b := c.Sub(blockSize - 12)
		if flags&linesHaveColumns != 0 && b.Err() == nil && b.Len() < count*12 {
			b.Fail("block smaller than its lines", nil)
		}
		for lines := b.Table(count, 8); len(lines) > 0; lines = lines[8:] {
			start, line := binary.LittleEndian.Uint32(lines), binary.LittleEndian.Uint32(lines[4:])&lineMask
			if line == lineNever || line == lineAlways {
				line = 0
			}
			if start < size {
				l.rows = append(l.rows, row{start: start, file: file, line: line})
			}
		}
		if b.Err() != nil {
			c.Fail("block ends outside its lines", b.Err())
			break
		}
	}
	rows := l.rows[lo:]
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.start, b.start) })
	kept := lo
	for i, r := range rows {
		r.end = size
		if i+1 < len(rows) {
			r.end = rows[i+1].start
		}
		if r.end > r.start { // of several at one place the last counts
			l.rows[kept] = r
			kept++
		}
	}
	l.rows = l.rows[:kept]
	if kept > lo { // clang gives code that is inlined at the start of a function no line there
		l.rows[lo].start = 0
	}
	l.runs = append(l.runs, run{addr: addr, size: size, lo: lo, hi: kept})
}

// at appends the rows of [addr, addr+size) to buf, relative to addr.
func (l *lineInfo) at(addr, size uint32, buf []row) []row {
	end := uint64(addr) + uint64(size)
	i := sort.Search(len(l.runs), func(i int) bool { return uint64(l.runs[i].addr)+uint64(l.runs[i].size) > uint64(addr) })
	for ; i < len(l.runs) && uint64(l.runs[i].addr) < end; i++ {
		r := &l.runs[i]
		rows := l.rows[r.lo:r.hi]
		if addr > r.addr {
			rows = rows[sort.Search(len(rows), func(i int) bool { return rows[i].end > addr-r.addr }):]
		}
		for _, x := range rows {
			start, stop := uint64(r.addr)+uint64(x.start), uint64(r.addr)+uint64(x.end)
			if start >= end {
				break
			}
			x.start, x.end = uint32(max(start, uint64(addr))-uint64(addr)), uint32(min(stop, end)-uint64(addr))
			buf = append(buf, x)
		}
	}
	return buf
}

// inlinee returns where the inlined function of an id begins.
func (l *lineInfo) inlinee(id uint32) (in inlinee, ok bool) {
	i := sort.Search(len(l.inlinees), func(i int) bool { return l.inlinees[i].id >= id })
	if i < len(l.inlinees) && l.inlinees[i].id == id {
		return l.inlinees[i], true
	}
	return in, false
}

// file returns the path of a file of the module.
func (l *lineInfo) file(f *File, s *symbols.Strings, offset uint32) symbols.StringID {
	if offset == noFile {
		return 0
	}
	id, ok := l.names[offset]
	if !ok {
		if uint64(offset) < uint64(len(l.files)) {
			c := cursor.New(l.files[offset:], "pdb", "files")
			if at := uint64(c.U32()); c.Err() == nil && at < uint64(len(f.fileNames)) {
				name := f.fileNames[at:]
				id = s.Intern(cut(name[:min(len(name), maxPath)]))
			}
		}
		l.names[offset] = id
	}
	return id
}

// maxPath bounds a path; Windows allows 32 767 characters.
const maxPath = 64 << 10
