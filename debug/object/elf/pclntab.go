package elf

import (
	"slices"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// Go programs carry a table of their functions for the runtime, which survives strip and -ldflags=-w: names,
// files, lines and inlined calls. Its layout is that of the Go versions 1.16 to 1.26: runtime/symtab.go,
// internal/abi/symtab.go and cmd/link/internal/ld/pcln.go of their sources.

// Magic numbers of the table.
const (
	go116 = 0xfffffffa // also 1.17
	go118 = 0xfffffff0 // also 1.19
	go120 = 0xfffffff1 // and later
)

// Indices of a function's tables.
const (
	pcdataInlineTree   = 2
	funcdataInlineTree = 3
)

// goTable is an opened table of functions.
type goTable struct {
	f           *File
	magic       uint32
	quantum     uint64 // of code addresses
	ptr         uint8
	count       uint64
	text        uint64 // what entries count from; 0 in version 1.16, where they are addresses
	gofunc      uint64 // address that funcdata counts from, 0 if not known
	names       []byte
	cus, files  []byte
	pcs, tables []byte

	strings *symbols.Strings
	nameIDs map[uint64]symbols.StringID
	fileIDs map[uint64]symbols.StringID
	nameBuf names
	fileBuf names
	steps   uint64 // left
}

// pcRun says that code up to end, counted from a function's entry, has a value.
type pcRun struct {
	end   uint64
	value int32
}

// HasGoTable reports whether the file has Go's table of functions.
func (f *File) HasGoTable() bool {
	t, err := f.goTable()
	return err == nil && t.count > 0
}

func (f *File) goSection() *Section {
	if s := f.Section(".gopclntab"); s != nil {
		return s
	}
	return f.Section(".data.rel.ro.gopclntab") // of position-independent executables
}

func (f *File) goTable() (*goTable, error) {
	s := f.goSection()
	data, err := f.RawData(s)
	if err != nil {
		return nil, err
	}
	c := cursor.New(data, "pclntab", "").BigEndian(f.BigEndian)
	t := &goTable{f: f, magic: c.U32()}
	c.Skip(2)
	t.quantum, t.ptr = uint64(c.U8()), c.U8()
	if c.Err() == nil && (t.magic != go116 && t.magic != go118 && t.magic != go120 || t.quantum == 0 || t.ptr != 4 && t.ptr != 8) {
		c.Fail("table of another version of Go", debug.ErrUnsupported)
	}
	t.count = c.Uint(t.ptr)
	c.Uint(t.ptr) // number of files
	if t.magic != go116 {
		t.text = c.Uint(t.ptr) // 0 since Go 1.26
	}
	offsets := make([]uint64, 5)
	for i := range offsets {
		offsets[i] = c.Uint(t.ptr)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	for i, part := range []*[]byte{&t.names, &t.cus, &t.files, &t.pcs, &t.tables} {
		if offsets[i] > uint64(len(data)) {
			return nil, &debug.FormatError{Format: "pclntab", Reason: "part of the table is outside it", Err: debug.ErrTruncated}
		}
		*part = data[offsets[i]:]
	}
	if entry := uint64(2 * t.entrySize()); t.count > uint64(len(t.tables))/entry {
		return nil, &debug.FormatError{Format: "pclntab", Reason: "fewer functions than declared", Err: debug.ErrTruncated}
	}
	t.moduleData(s.Addr, offsets[0])
	return t, nil
}

// entrySize is that of an entry address and of an offset in the index of functions.
func (t *goTable) entrySize() uint8 {
	if t.magic == go116 {
		return t.ptr
	}
	return 4
}

// moduleData finds the runtime's description of the program, which has the addresses that others count from. It
// starts with the address of the table, then that of the names.
func (t *goTable) moduleData(table, names uint64) {
	if t.magic == go116 { // all is in the table
		return
	}
	if t.text == 0 {
		if s := t.f.Section(".text"); s != nil {
			t.text = s.Addr
		}
	}
	const textWord = 22
	gofuncWord := uint64(40)
	if t.magic == go118 {
		gofuncWord = 38 // without the counters of coverage
	}
	size := uint64(t.ptr)
	found := func(word func(i uint64) uint64) bool {
		text, gofunc := word(textWord), word(gofuncWord)
		if word(1) != table+names || t.f.memory(text) == nil {
			return false
		}
		t.text, t.gofunc = text, gofunc
		return true
	}
	for _, name := range []string{".go.module", ".noptrdata", ".data", ".data.rel.ro"} {
		data, err := t.f.RawData(t.f.Section(name))
		if err != nil {
			continue
		}
		for c := t.f.cursor(data); c.Len() >= (gofuncWord+1)*size; {
			at := c
			if c.Uint(t.ptr) == table && found(func(i uint64) uint64 {
				w := at.At(i*size, size)
				return w.Uint(t.ptr)
			}) {
				return
			}
		}
	}
	// The words of a position-independent file may be in its relocations alone.
	relocated := map[uint64]uint64{}
	var starts []uint64
	for i := range t.f.Sections {
		s := &t.f.Sections[i]
		if s.Type != sectionRela || s.Flags&SectionAlloc == 0 {
			continue
		}
		rows, err := t.f.RawData(s)
		if err != nil {
			continue
		}
		for c := t.f.cursor(rows); c.Len() > 0; {
			off := t.f.word(&c)
			t.f.word(&c)
			value := t.f.word(&c)
			relocated[off] = value
			if value == table {
				starts = append(starts, off)
			}
		}
	}
	for _, start := range starts {
		if found(func(i uint64) uint64 { return relocated[start+i*size] }) {
			return
		}
	}
}

// GoSymbols delivers the functions of Go's table with their lines and inlined calls, relative to ImageBase. It
// returns how many functions could not be read whole.
func (f *File) GoSymbols(emit func(*symbols.Batch) error) (lost int, err error) {
	t, err := f.goTable()
	if err != nil {
		return 0, err
	}
	t.strings = symbols.NewStrings()
	t.nameIDs, t.fileIDs = map[uint64]symbols.StringID{}, map[uint64]symbols.StringID{}
	t.nameBuf, t.fileBuf = newNames(t.names, int(t.count)), newNames(t.files, int(t.count))
	// Functions share short tables; a hostile file could let all share one long one.
	t.steps = 64*uint64(len(t.pcs)) + 1<<20
	entries := cursor.New(t.tables, "pclntab", "").BigEndian(f.BigEndian)
	b := symbols.NewBatch(t.strings)
	next, offset := t.text+entries.Uint(t.entrySize()), entries.Uint(t.entrySize())
	var w goFunction
	for range t.count {
		entry, at := next, offset
		next = t.text + entries.Uint(t.entrySize())
		if entries.Len() >= uint64(t.entrySize()) {
			offset = entries.Uint(t.entrySize())
		}
		if next <= entry || next-entry > 1<<32-1 || entry < f.ImageBase() {
			if next != entry {
				lost++
			}
			continue
		}
		if !w.read(t, b, entry, next-entry, at) {
			lost++
		}
		if len(b.Functions)+len(b.Lines)+len(b.Inlines) > 32<<10 {
			if err := emit(b); err != nil {
				return lost, err
			}
			b = symbols.NewBatch(t.strings)
		}
	}
	return lost, emit(b)
}

// goFunction is what is read of one function; its buffers are used again.
type goFunction struct {
	files, lines, tree []pcRun
}

// read adds a function whose description is at an offset of t.tables.
func (w *goFunction) read(t *goTable, b *symbols.Batch, entry, size, at uint64) bool {
	c := cursor.New(t.tables, "pclntab", "").BigEndian(t.f.BigEndian)
	c.Skip(at)
	c.Uint(t.entrySize()) // entry
	name := uint64(c.U32())
	c.Skip(8) // size of arguments, offset of deferreturn
	c.U32()   // table of the stack pointer
	files, lines, tables, cu := c.U32(), c.U32(), uint64(c.U32()), uint64(c.U32())
	if t.magic == go120 {
		c.U32() // first line
	}
	c.Skip(3) // kind, flags
	data := uint64(c.U8())
	start := c
	pcdata := c.Sub(4 * tables)
	if c.Err() != nil {
		return false
	}
	fn := symbols.Function{Addr: entry - t.f.ImageBase(), Size: size, Name: t.name(name), Language: symbols.LanguageGo}
	fn.Lines.Lo, fn.Inlines.Lo = uint32(len(b.Lines)), uint32(len(b.Inlines))
	ok := true
	w.files, ok = t.runs(w.files[:0], files, size, ok)
	w.lines, ok = t.runs(w.lines[:0], lines, size, ok)
	if n := len(w.lines); n > 0 { // behind is padding
		fn.Size = w.lines[n-1].end
	}
	w.tree = w.tree[:0]
	var calls []byte
	if tables > pcdataInlineTree && data > funcdataInlineTree {
		pcdata.Skip(4 * pcdataInlineTree)
		if calls = t.funcdata(start, tables); calls != nil {
			w.tree, ok = t.runs(w.tree, pcdata.U32(), size, ok)
		}
	}
	pos := uint64(0)
	for i, k := 0, 0; i < len(w.lines) && k < len(w.files); {
		end := min(w.lines[i].end, w.files[k].end)
		if line := w.lines[i].value; line > 0 && end > pos {
			b.Lines = append(b.Lines, symbols.Line{
				Addr: fn.Addr + pos, Size: uint32(end - pos), File: t.file(cu, w.files[k].value), Line: uint32(line),
			})
		}
		pos = end
		if w.lines[i].end == end {
			i++
		}
		if w.files[k].end == end {
			k++
		}
	}
	pos = 0
	for _, r := range w.tree {
		if r.value >= 0 {
			ok = w.inlined(t, b, calls, cu, fn.Addr, pos, r) && ok
		}
		pos = r.end
	}
	fn.Lines.Hi, fn.Inlines.Hi = uint32(len(b.Lines)), uint32(len(b.Inlines))
	b.Functions = append(b.Functions, fn)
	return ok
}

// maxGoInlines bounds how deep inlined calls nest. The compiler stops at a budget of work long before.
const maxGoInlines = 1000

// inlined adds the calls that a piece of code from pos on is inlined through, the outermost first.
func (w *goFunction) inlined(t *goTable, b *symbols.Batch, calls []byte, cu, addr, pos uint64, r pcRun) bool {
	first := len(b.Inlines)
	size, nameAt, parentAt := uint64(16), uint64(4), uint64(8)
	if t.magic != go120 {
		size, nameAt, parentAt = 20, 12, 16
	}
	for i := r.value; i >= 0; {
		if uint64(i) >= uint64(len(calls))/size || len(b.Inlines)-first == maxGoInlines || t.steps == 0 {
			b.Inlines = b.Inlines[:first]
			return false
		}
		t.steps--
		c := t.f.cursor(calls[uint64(i)*size:])
		name, parent := c.At(nameAt, 4), c.At(parentAt, 4)
		// The position of an instruction at the place of the call.
		call := uint64(parent.U32())
		b.Inlines = append(b.Inlines, symbols.Inline{
			Addr: addr + pos, Size: r.end - pos, Name: t.name(uint64(name.U32())), Language: symbols.LanguageGo,
			CallFile: t.file(cu, valueAt(w.files, call)), CallLine: uint32(max(0, valueAt(w.lines, call))),
		})
		i = valueAt(w.tree, call)
	}
	chain := b.Inlines[first:]
	slices.Reverse(chain)
	for i := range chain {
		chain[i].Depth = uint32(i)
	}
	return true
}

// funcdata returns what the table of a function's inlined calls starts with, nil if there is none or its place is
// not known. Start is where its arrays of offsets start.
func (t *goTable) funcdata(start cursor.Cursor, tables uint64) []byte {
	start.Skip(4 * tables)
	if t.magic == go116 {
		start.Skip(-start.Offset() & uint64(t.ptr-1))
		start.Skip(funcdataInlineTree * uint64(t.ptr))
		if addr := start.Uint(t.ptr); addr != 0 {
			return t.f.memory(addr)
		}
		return nil
	}
	start.Skip(4 * funcdataInlineTree)
	off := start.U32()
	if off == 1<<32-1 || t.gofunc == 0 || start.Err() != nil {
		return nil
	}
	return t.f.memory(t.gofunc + uint64(off))
}

// runs decodes a table of values by address, at an offset of t.pcs, up to size.
func (t *goTable) runs(buf []pcRun, at uint32, size uint64, ok bool) ([]pcRun, bool) {
	if at == 0 { // no table
		return buf, ok
	}
	c := cursor.New(t.pcs, "pclntab", "")
	c.Skip(uint64(at))
	value, pos := int32(-1), uint64(0)
	for first := true; pos < size; first = false {
		if t.steps == 0 {
			return buf, false
		}
		t.steps--
		delta := uint32(c.ULEB())
		if c.Err() != nil {
			return buf, false
		}
		if delta == 0 && !first {
			break
		}
		value += int32(-(delta & 1) ^ (delta >> 1))
		if pos += c.ULEB() * t.quantum; c.Err() != nil || pos > 1<<32 {
			return buf, false
		}
		buf = append(buf, pcRun{min(pos, size), value})
	}
	return buf, ok
}

// valueAt returns the value at a position of a function, −1 if there is none.
func valueAt(runs []pcRun, pos uint64) int32 {
	i, _ := slices.BinarySearchFunc(runs, pos, func(r pcRun, pos uint64) int {
		if r.end <= pos {
			return -1
		}
		return 1
	})
	if i == len(runs) {
		return -1
	}
	return runs[i].value
}

func (t *goTable) name(off uint64) symbols.StringID {
	id, ok := t.nameIDs[off]
	if !ok {
		id = t.strings.Intern(t.nameBuf.at(off))
		t.nameIDs[off] = id
	}
	return id
}

// file returns the path of a compilation unit's i-th file.
func (t *goTable) file(cu uint64, i int32) symbols.StringID {
	at := 4 * (cu + uint64(i))
	if i < 0 || at+4 > uint64(len(t.cus)) {
		return 0
	}
	c := t.f.cursor(t.cus[at:])
	off := uint64(c.U32())
	id, ok := t.fileIDs[off]
	if !ok {
		id = t.strings.Intern(t.fileBuf.at(off))
		t.fileIDs[off] = id
	}
	return id
}
