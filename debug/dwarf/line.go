package dwarf

import (
	"cmp"
	"slices"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// lineTable is the line program of a unit after running it.
type lineTable struct {
	rows      []lineRow  // of all sequences, each ascending
	sequences []sequence // by start
	files     []fileName
	dirs      [][]byte
	version   uint16
	ids       []symbols.StringID // of files; 0: not interned yet
}

type lineRow struct {
	addr uint64
	file uint32
	line uint32
}

// sequence is a run of rows; the address behind the last one is end.
type sequence struct {
	start, end uint64
	lo, hi     int // rows
}

type fileName struct {
	name []byte
	dir  uint64
}

func (t *lineTable) reset() {
	*t = lineTable{rows: t.rows[:0], sequences: t.sequences[:0], files: t.files[:0], dirs: t.dirs[:0], ids: t.ids[:0]}
}

// lines runs the line program of u into w.table. What cannot be read is left out.
func (w *walker) lines(u *unit) {
	w.table.reset()
	if u.lines != nil {
		u = u.lines
	}
	if !u.hasLines {
		return
	}
	c := u.f.cursor(u.f.Line, ".debug_line")
	c.Skip(u.stmtList)
	if err := w.runLines(u, &c); err != nil {
		w.fail(err.Error())
	}
	slices.SortStableFunc(w.table.sequences, func(a, b sequence) int { return cmp.Compare(a.start, b.start) })
}

// lineHeader is the part of a line program's header that its opcodes need (DWARF5 6.2.4).
type lineHeader struct {
	minInstLength, maxOps, lineRange, opcodeBase uint8
	lineBase                                     int8
	addrSize, offSize                            uint8
	opcodeLengths                                []byte
}

func (w *walker) runLines(u *unit, c *cursor.Cursor) error {
	t := &w.table
	h := lineHeader{addrSize: u.addrSize, offSize: 4, maxOps: 1}
	length := uint64(c.U32())
	if length == 0xffffffff {
		length, h.offSize = c.U64(), 8
	}
	p := c.Sub(min(length, c.Len()))
	// Units share line tables only where dwz made them partial units, which are not run.
	if w.lineWork += length; w.lineWork > 16*uint64(len(u.f.Line))+1<<20 {
		p.Fail("line tables are shared without end", debug.ErrTooLarge)
	}
	t.version = p.U16()
	if p.Err() == nil && (t.version < 2 || t.version > 5) {
		p.Fail("line table of an unknown version", debug.ErrUnsupported)
	}
	if t.version >= 5 {
		h.addrSize = p.U8()
		p.U8() // segment selectors, which nobody writes
	}
	headerLength := p.Uint(h.offSize)
	program := p.At(headerLength, p.Len()-min(headerLength, p.Len()))
	head := p.Sub(headerLength)
	h.minInstLength = head.U8()
	if t.version >= 4 {
		h.maxOps = max(1, head.U8())
	}
	head.U8() // default of is_stmt, which symbolication does not ask for
	h.lineBase = int8(head.U8())
	h.lineRange = head.U8()
	h.opcodeBase = head.U8()
	if head.Err() == nil && (h.opcodeBase == 0 || h.lineRange == 0) {
		head.Fail("line table without opcodes", nil)
	}
	if head.Err() != nil {
		return head.Err()
	}
	h.opcodeLengths = head.Bytes(uint64(h.opcodeBase - 1))
	if t.version >= 5 {
		w.fileTable(u, h, &head, true)
		w.fileTable(u, h, &head, false)
	} else {
		for head.Len() > 0 {
			dir := head.CString(maxPath)
			if len(dir) == 0 {
				break
			}
			t.dirs = append(t.dirs, dir)
		}
		for head.Len() > 0 {
			f := fileName{name: head.CString(maxPath)}
			if len(f.name) == 0 {
				break
			}
			f.dir = head.ULEB()
			head.ULEB()
			head.ULEB() // time, size
			t.files = append(t.files, f)
		}
	}
	if err := head.Err(); err != nil {
		return err
	}
	w.runProgram(h, &program)
	return program.Err()
}

// maxPath bounds one path or directory name; PATH_MAX is 4096 on Linux, and Windows allows 32 767.
const maxPath = 64 << 10

// fileTable reads the directory or the file table of version 5 (DWARF5 6.2.4.1).
func (w *walker) fileTable(u *unit, h lineHeader, c *cursor.Cursor, dirs bool) {
	type format struct{ content, form uint64 }
	var formats []format
	for range c.U8() {
		formats = append(formats, format{c.ULEB(), c.ULEB()})
	}
	count := c.ULEB()
	if len(formats) == 0 && count > 0 {
		c.Fail("file table without a format", nil)
	}
	lineUnit := *u
	lineUnit.offSize = h.offSize
	for range count {
		if c.Err() != nil {
			return
		}
		before := c.Len()
		var f fileName
		for _, ft := range formats {
			var v value
			v.form = uint16(ft.form)
			switch ft.form {
			case formString:
				// Aliases the line section, not .debug_info: taken here.
				if s := c.CString(maxPath); ft.content == lnctPath {
					f.name = s
				}
				continue
			case formLineStrp, formStrp, formStrpSup:
				v.v = c.Uint(h.offSize)
			case formUdata, formStrx:
				v.v = c.ULEB()
			case formData1, formStrx1:
				v.v = uint64(c.U8())
			case formData2, formStrx2:
				v.v = uint64(c.U16())
			case formStrx3:
				v.v = c.Uint(3)
			case formData4, formStrx4:
				v.v = uint64(c.U32())
			case formData8:
				v.v = c.U64()
			case formData16:
				c.Skip(16)
			case formBlock:
				c.Skip(c.ULEB())
			default:
				c.Fail("unknown form in a file table", debug.ErrUnsupported)
				return
			}
			switch ft.content {
			case lnctPath:
				f.name = w.r.str(&lineUnit, v)
			case lnctDirectoryIndex:
				f.dir = v.v
			}
		}
		if c.Len() == before {
			c.Fail("file table of empty entries", nil)
		}
		if dirs {
			w.table.dirs = append(w.table.dirs, f.name)
		} else {
			w.table.files = append(w.table.files, f)
		}
	}
}

// runProgram runs the opcodes (DWARF5 6.2.5). Each takes at least one byte and gives at most one row.
func (w *walker) runProgram(h lineHeader, c *cursor.Cursor) {
	t := &w.table
	var addr, opIndex uint64
	file, line := uint64(1), uint32(1)
	first := len(t.rows)
	advance := func(n uint64) {
		if h.maxOps == 1 {
			addr += uint64(h.minInstLength) * n
			return
		}
		opIndex += n
		addr += uint64(h.minInstLength) * (opIndex / uint64(h.maxOps))
		opIndex %= uint64(h.maxOps)
	}
	emit := func() {
		n := len(t.rows)
		if n > first && t.rows[n-1].addr == addr { // the last row of an address counts
			t.rows = t.rows[:n-1]
		} else if n > first && t.rows[n-1].addr > addr {
			return // addresses only rise in a sequence
		}
		t.rows = append(t.rows, lineRow{addr, uint32(min(file, 1<<32-1)), line})
	}
	for c.Len() > 0 {
		op := c.U8()
		if op >= h.opcodeBase {
			op -= h.opcodeBase
			advance(uint64(op / h.lineRange))
			line += uint32(int32(h.lineBase) + int32(op%h.lineRange))
			emit()
			continue
		}
		switch op {
		case 0:
			ext := c.Sub(c.ULEB())
			switch ext.U8() {
			case lneEndSequence:
				if n := len(t.rows); n > first {
					if end := addr; end > t.rows[first].addr && end-t.rows[first].addr < 1<<32 && w.keepSequence(t.rows[first].addr, h.addrSize) {
						t.sequences = append(t.sequences, sequence{t.rows[first].addr, end, first, n})
					} else {
						t.rows = t.rows[:first]
					}
				}
				addr, opIndex, file, line, first = 0, 0, 1, 1, len(t.rows)
			case lneSetAddress:
				addr, opIndex = ext.Uint(uint8(min(ext.Len(), 9))), 0
			case lneDefineFile:
				f := fileName{name: ext.CString(maxPath)}
				f.dir = ext.ULEB()
				t.files = append(t.files, f)
			}
		case lnsCopy:
			emit()
		case lnsAdvancePC:
			advance(c.ULEB())
		case lnsAdvanceLine:
			line += uint32(c.SLEB())
		case lnsSetFile:
			file = c.ULEB()
		case lnsSetColumn, lnsSetISA:
			c.ULEB()
		case lnsConstAddPC:
			advance(uint64((255 - h.opcodeBase) / h.lineRange))
		case lnsFixedAdvancePC:
			addr, opIndex = addr+uint64(c.U16()), 0
		case lnsNegateStmt, lnsSetBasicBlock, lnsSetPrologueEnd, lnsSetEpilogueBegin:
		default:
			for range h.opcodeLengths[op-1] {
				c.ULEB()
			}
		}
	}
	// A sequence without its end has no size; what it says about its last row cannot be trusted.
	t.rows = t.rows[:first]
}

// keepSequence reports whether a sequence that starts at addr describes code of the image.
func (w *walker) keepSequence(addr uint64, addrSize uint8) bool {
	tombstone := ^uint64(0) >> (64 - 8*uint(min(max(addrSize, 1), 8)))
	return addr < tombstone-1 && symbols.InCode(w.r.opts.Executable, addr)
}

// appendLines appends the rows that cover [low, high) to the batch.
func (w *walker) appendLines(u *unit, b *symbols.Batch, low, high uint64) {
	t := &w.table
	// From the last sequence that starts at or below low, and of several that start there, as functions
	// folded into one have them, the first.
	byStart := func(s sequence, at uint64) int { return cmp.Compare(s.start, at) }
	i, found := slices.BinarySearchFunc(t.sequences, low, byStart)
	if !found && i > 0 {
		i, _ = slices.BinarySearchFunc(t.sequences, t.sequences[i-1].start, byStart)
	}
	for ; i < len(t.sequences) && t.sequences[i].start < high; i++ {
		s := t.sequences[i]
		if s.end <= low {
			continue
		}
		rows := t.rows[s.lo:s.hi]
		k, found := slices.BinarySearchFunc(rows, low, func(r lineRow, at uint64) int { return cmp.Compare(r.addr, at) })
		if !found {
			k = max(0, k-1)
		}
		for ; k < len(rows) && rows[k].addr < high; k++ {
			end := s.end
			if k+1 < len(rows) {
				end = rows[k+1].addr
			}
			start := max(rows[k].addr, low)
			if end = min(end, high); start < end {
				// Functions share rows where code was folded; without a limit overlapping functions and
				// sequences would make the work quadratic.
				if w.rowWork++; w.rowWork > 64*len(t.rows)+1<<16 {
					w.fail("functions share lines without end")
					return
				}
				if !w.wanted(start, end) {
					continue
				}
				b.Lines = append(b.Lines, symbols.Line{
					Addr: start - w.r.opts.ImageBase, Size: uint32(min(end-start, 1<<32-1)), File: w.file(u, uint64(rows[k].file)), Line: rows[k].line,
				})
			}
		}
	}
}

// file returns the path of the i-th file of the line table: joined with its directory and the unit's
// compilation directory, as LLVM's tools join them. Files are numbered from 1 before version 5.
func (w *walker) file(u *unit, i uint64) symbols.StringID {
	t := &w.table
	if t.version < 5 {
		i--
	}
	if i >= uint64(len(t.files)) {
		return 0
	}
	for len(t.ids) < len(t.files) {
		t.ids = append(t.ids, 0)
	}
	if t.ids[i] == 0 {
		t.ids[i] = w.intern(w.path(u, t.files[i]))
	}
	return t.ids[i]
}

func (w *walker) path(u *unit, f fileName) []byte {
	t := &w.table
	if isAbsolute(f.name) {
		return f.name
	}
	var dir []byte
	d := f.dir
	// Directory 0 is the compilation directory: said in the table since version 5, implied before.
	needComp := true
	if t.version >= 5 {
		needComp = d != 0
	} else {
		d--
	}
	if d < uint64(len(t.dirs)) {
		dir = t.dirs[d]
	}
	p := w.pathBuf[:0]
	if needComp && !isAbsolute(dir) {
		p = appendPath(p, u.compDir)
	}
	p = appendPath(p, dir)
	w.pathBuf = appendPath(p, f.name)
	return w.pathBuf
}

func appendPath(p, elem []byte) []byte {
	if len(elem) == 0 {
		return p
	}
	if len(p) > 0 && p[len(p)-1] != '/' && p[len(p)-1] != '\\' {
		sep := byte('/')
		if isWindows(p) {
			sep = '\\'
		}
		p = append(p, sep)
	}
	return append(p, elem...)
}

func isAbsolute(p []byte) bool {
	return len(p) > 0 && (p[0] == '/' || p[0] == '\\') || len(p) > 2 && p[1] == ':' && (p[2] == '\\' || p[2] == '/')
}

func isWindows(p []byte) bool { return len(p) > 2 && p[1] == ':' || len(p) > 0 && p[0] == '\\' }
