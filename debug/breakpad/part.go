package breakpad

import (
	"bytes"
	"fmt"
	"math"

	"salvage/debug/debugid"
	"salvage/debug/symbols"
)

// part is a run of lines and what is in it: names as numbers of this part, files and origins as the
// numbers of their records.
type part struct {
	*reader
	file       File // with counts and what MODULE and INFO say
	bad        []badLine
	batch      *symbols.Batch
	publics    []symbols.Public
	defs       []definition
	old        []oldInline
	cfiRecords []CFI
	winRecords []Win

	data  []byte
	names []symbols.Name // of functions, publics and definitions, in data and then in text
	text  []byte         // for the merger to keep

	inFunc   bool // line and INLINE records belong to the last function of batch
	skipFunc bool // … or to a function that was dropped
	inCFI    bool
	skipCFI  bool // the block is not wanted
}

type badLine struct {
	line       uint64
	kind, text string
}

// definition is a FILE or INLINE_ORIGIN record.
type definition struct {
	origin, hasFile bool // with the file of the origin, as the old dialect has it
	number, file    uint32
	name            symbols.StringID
	inlines         uint32 // how many inlined calls of the part come before it
}

// oldInline is an INLINE record of the old dialect.
type oldInline struct {
	function uint32
	inlines  symbols.Span
}

// noCallFile marks an inlined call without call file, until the merger has seen it.
const noCallFile = symbols.LanguageFSharp

// reset empties p but keeps its arrays.
func (p *part) reset() {
	*p = part{
		reader: p.reader, batch: p.batch, bad: p.bad[:0], publics: p.publics[:0], defs: p.defs[:0], old: p.old[:0],
		cfiRecords: p.cfiRecords[:0], winRecords: p.winRecords[:0], names: p.names[:0],
	}
}

// parse reads all lines of data.
func (p *part) parse(data []byte) {
	p.data = data
	if p.Batch != nil && p.batch == nil {
		p.batch = symbols.NewBatch(nil)
	}
	end := bytes.LastIndexByte(data, '\n') + 1 // only the last line of a file may lack it
	for pos := 0; pos < end; {
		rest := data[pos:end]
		n := 0
		switch {
		case p.inFunc:
			if n = p.fastLine(rest); n == 0 {
				n = p.fastInline(rest)
			}
		case p.Wanted != nil:
			if n = p.unwanted(rest); n > 0 {
				n += bytes.IndexByte(rest[n:], '\n') + 1
			}
		}
		pos += n
		if n > 0 {
			p.file.Counts.Lines++
			continue
		}
		n = bytes.IndexByte(rest, '\n')
		pos += n + 1
		if p.line(rest[:n]); p.Strict && len(p.bad) > 0 {
			return
		}
	}
	if end < len(data) {
		p.line(data[end:])
	}
	p.endFunc()
	p.text = data
	if p.Wanted != nil {
		return
	}
	size := uint32(0)
	for _, n := range p.names {
		size += n.Hi - n.Lo
	}
	p.text = make([]byte, 0, size)
	for i, n := range p.names {
		at := uint32(len(p.text))
		p.text = append(p.text, data[n.Lo:n.Hi]...)
		p.names[i] = symbols.Name{Lo: at, Hi: uint32(len(p.text)), Hash: symbols.Hash(p.text[at:])}
	}
}

// unwanted returns 0 or, if b starts with a record of a function or a block of rules that is not wanted,
// how many bytes to skip before its newline.
func (p *part) unwanted(b []byte) int {
	switch c := b[0]; {
	case c >= '0' && c <= '9' || c >= 'a' && c <= 'f':
		return 1
	case c == 'I' && bytes.HasPrefix(b, []byte("INLINE ")):
		return len("INLINE ")
	case c == 'S' && bytes.HasPrefix(b, []byte("STACK CFI ")) && (p.CFI == nil || p.skipCFI && b[len("STACK CFI ")] != 'I'):
		return len("STACK CFI ")
	}
	return 0
}

// fail accounts for a line that cannot be used.
func (p *part) fail(counter *uint64, kind string, line []byte) {
	*counter++
	if len(p.bad) < maxProblems {
		p.bad = append(p.bad, badLine{p.file.Counts.Lines, kind, fmt.Sprintf("%q", line[:min(len(line), 80)])})
	}
}

// name keeps a piece of a line and returns its number, from 0. In parts over 4 GiB, which hold a single
// function, names get lost.
func (p *part) name(b []byte) symbols.StringID {
	var n symbols.Name
	if len(b) > 0 && uint64(len(p.data)) <= math.MaxUint32 {
		n.Lo = uint32(cap(p.data) - cap(b))
		n.Hi = n.Lo + uint32(len(b))
	}
	p.names = append(p.names, n)
	return symbols.StringID(len(p.names) - 1)
}

// line parses one line of any kind, without its newline.
func (p *part) line(line []byte) {
	p.file.Counts.Lines++
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	if len(line) > p.MaxLine {
		p.fail(&p.file.Counts.TooLong, "line too long", line)
		return
	}
	f := fields{rest: line}
	first := f.next()
	if len(first) == 0 {
		return // blank lines separate nothing
	}
	ok := false
	switch string(first) {
	case "MODULE":
		ok = p.module(&f)
	case "INFO":
		ok = p.info(&f)
	case "FILE":
		ok = p.defineFile(&f)
	case "INLINE_ORIGIN":
		ok = p.origin(&f)
	case "FUNC":
		ok = p.function(&f)
	case "INLINE":
		ok = p.inlineRecord(&f)
	case "PUBLIC":
		ok = p.publicRecord(&f)
	case "STACK":
		ok = p.stack(&f)
	default:
		if !isHex(first) {
			p.fail(&p.file.Counts.Unknown, "unknown record", line)
			return
		}
		ok = p.slowLine(first, &f)
	}
	if !ok {
		p.fail(&p.file.Counts.Bad, "bad line", line)
	}
}

func (p *part) module(f *fields) bool {
	os, arch, id := f.next(), f.next(), f.next()
	parsed, err := debugid.Parse(string(id))
	if err != nil {
		return false
	}
	if m := &p.file.Module; m.OS == "" {
		m.OS, m.Arch, m.ID, m.Name = string(os), string(arch), parsed, string(f.text())
	}
	return true
}

func (p *part) info(f *fields) bool {
	p.file.Counts.Info++
	switch string(f.next()) {
	case "CODE_ID":
		if id := debugid.ParseCodeID(string(f.next())); p.file.Module.CodeID == "" {
			p.file.Module.CodeID, p.file.CodeFile = id, string(f.text())
		}
	case "GENERATOR":
		p.file.Generator = string(f.text())
	case "URL":
		p.file.URL = string(f.text())
	}
	return true
}

func (p *part) defineFile(f *fields) bool {
	id, ok := f.dec32()
	if ok {
		p.file.Counts.Files++
		p.define(definition{number: id}, f.text())
	}
	return ok
}

func (p *part) define(d definition, name []byte) {
	if p.batch != nil {
		d.name, d.inlines = p.name(name), uint32(len(p.batch.Inlines))
		p.defs = append(p.defs, d)
	}
}

// origin reads INLINE_ORIGIN id name, or the older INLINE_ORIGIN id file name: the file is told by
// being all digits, as in Breakpad's processor.
func (p *part) origin(f *fields) bool {
	id, ok := f.dec32()
	if !ok {
		return false
	}
	p.file.Counts.Origins++
	d, name := definition{origin: true, number: id}, f.text()
	old := fields{rest: name}
	if file, ok := old.signedDec32(); ok && len(old.rest) > 0 {
		name = old.text()
		d.hasFile, d.file = file >= 0, uint32(file)
	}
	p.define(d, name)
	return true
}

func (p *part) function(f *fields) bool {
	p.inCFI = false
	first := f.next()
	if string(first) == "m" {
		first = f.next()
	}
	addr, ok1 := parseHex(first, 16)
	size, ok2 := f.hex64()
	params, ok3 := f.params()
	p.inFunc, p.skipFunc = false, true
	if !ok1 || !ok2 || !ok3 {
		return false
	}
	p.file.Counts.Functions++
	if p.batch == nil {
		return true
	}
	p.endFunc()
	if size == 0 || addr+size < addr {
		p.file.Counts.Empty++
		return true
	}
	p.inFunc = p.Wanted == nil || p.Wanted(addr, size)
	p.skipFunc = !p.inFunc
	name := []byte(nil)
	if p.inFunc {
		name = f.text()
	}
	lines, inlines := uint32(len(p.batch.Lines)), uint32(len(p.batch.Inlines))
	p.batch.Functions = append(p.batch.Functions, symbols.Function{
		Addr: addr, Size: size, Name: p.name(name), Params: params,
		Lines: symbols.Span{Lo: lines, Hi: lines}, Inlines: symbols.Span{Lo: inlines, Hi: inlines},
	})
	return true
}

// endFunc closes the open function, if any.
func (p *part) endFunc() {
	if p.batch != nil && len(p.batch.Functions) > 0 {
		fn := &p.batch.Functions[len(p.batch.Functions)-1]
		fn.Lines.Hi, fn.Inlines.Hi = uint32(len(p.batch.Lines)), uint32(len(p.batch.Inlines))
	}
}

type lineRecord struct {
	addr             uint64
	size, line, file uint32
}

func (p *part) lineRecord(l lineRecord) {
	p.file.Counts.LineRecords++
	p.batch.Lines = append(p.batch.Lines, symbols.Line{Addr: l.addr, Size: l.size, File: symbols.StringID(l.file), Line: l.line})
}

// slowLine parses a line record that fastLine left: other spacing, a negative line number (which
// counts as none), or one that is not in a function.
func (p *part) slowLine(first []byte, f *fields) bool {
	addr, ok1 := parseHex(first, 16)
	size, ok2 := f.hex32()
	line, ok3 := f.signedDec32()
	file, ok4 := f.dec32()
	if !ok1 || !ok2 || !ok3 || !ok4 || len(f.text()) > 0 {
		return false
	}
	if p.batch == nil || p.skipFunc {
		p.file.Counts.LineRecords++
		return true
	}
	if !p.inFunc {
		return false
	}
	p.lineRecord(lineRecord{addr, size, uint32(max(line, 0)), file})
	return true
}

// inlineRecord reads both dialects, told apart by the number of fields:
//
//	INLINE depth call_line call_file origin addr size …
//	INLINE depth call_line origin addr size …
//
// The old one says no call file. Breakpad then shows the line record's file for every frame; the file
// of the function that contains the call, which old INLINE_ORIGIN records give, is the better guess,
// and for calls from the function itself the file of its first line.
func (p *part) inlineRecord(f *fields) bool {
	n := countFields(f.rest)
	old := n%2 == 1
	depth, ok1 := f.dec32()
	callLine, ok2 := f.signedDec32()
	callFile, ok3 := int64(-1), true
	if !old {
		callFile, ok3 = f.signedDec32() // −1: an artificial call
	}
	origin, ok4 := f.dec32()
	if n < 5 || !ok1 || !ok2 || !ok3 || !ok4 || !p.inFunc && !p.skipFunc && p.batch != nil {
		return false
	}
	p.file.Counts.Inlines++
	if old {
		p.file.Counts.OldInlines++
	}
	if p.batch == nil || p.skipFunc {
		return true
	}
	in := symbols.Inline{
		Depth: depth, CallLine: uint32(max(callLine, 0)), Name: symbols.StringID(origin), CallFile: symbols.StringID(callFile),
	}
	if callFile < 0 {
		in.Language = noCallFile
	}
	b := p.batch
	lo, ok := uint32(len(b.Inlines)), true
	for len(f.rest) > 0 {
		addr, ok1 := f.hex64()
		size, ok2 := f.hex32()
		if ok = ok1 && ok2; !ok {
			break // what came before the bad pair stays
		}
		in.Addr, in.Size = addr, uint64(size)
		b.Inlines = append(b.Inlines, in)
	}
	if hi := uint32(len(b.Inlines)); old && hi > lo {
		p.old = append(p.old, oldInline{uint32(len(b.Functions) - 1), symbols.Span{Lo: lo, Hi: hi}})
	}
	return ok
}

func (p *part) publicRecord(f *fields) bool {
	p.inFunc, p.skipFunc, p.inCFI = false, false, false
	first := f.next()
	if string(first) == "m" {
		first = f.next()
	}
	addr, ok1 := parseHex(first, 16)
	params, ok2 := f.params()
	if !ok1 || !ok2 {
		return false
	}
	p.file.Counts.Publics++
	if p.batch != nil {
		p.publics = append(p.publics, symbols.Public{Addr: addr, Name: p.name(f.text()), Params: params})
	}
	return true
}

func (p *part) stack(f *fields) (ok bool) {
	p.inFunc, p.skipFunc = false, false
	switch string(f.next()) {
	case "WIN":
		p.inCFI = false
		return p.stackWin(f)
	case "CFI":
	default:
		return false
	}
	var c CFI
	first := f.next()
	if string(first) == "INIT" {
		p.inCFI = false
		var ok1, ok2 bool
		c.Init = true
		c.Addr, ok1 = f.hex64()
		c.Size, ok2 = f.hex64()
		if !ok1 || !ok2 {
			return false
		}
		p.file.Counts.CFIInits++
		p.inCFI, p.skipCFI = true, p.Wanted != nil && !p.Wanted(c.Addr, c.Size)
		if c.Size == 0 || c.Addr+c.Size < c.Addr {
			p.file.Counts.Empty++
		}
	} else {
		if c.Addr, ok = parseHex(first, 16); !ok || !p.inCFI {
			return false
		}
		p.file.Counts.CFIRows++
	}
	if c.Rules = f.text(); len(c.Rules) == 0 {
		return false
	}
	if p.CFI != nil && !p.skipCFI {
		p.cfiRecords = append(p.cfiRecords, c)
	}
	return true
}

func (p *part) stackWin(f *fields) (ok bool) {
	kind, ok1 := parseHex(f.next(), 1)
	addr, ok2 := f.hex64()
	var v [7]uint32
	ok = ok1 && ok2
	for i := range v {
		var okN bool
		v[i], okN = f.hex32()
		ok = ok && okN
	}
	program, ok3 := parseHex(f.next(), 1)
	if !ok || !ok3 || program > 1 {
		return false
	}
	w := Win{
		Type: uint8(kind), Addr: addr, CodeSize: v[0], Prologue: v[1], Epilogue: v[2], Params: v[3], SavedRegs: v[4],
		Locals: v[5], MaxStack: v[6], HasProgram: program == 1,
	}
	// Type and flag say the same thing twice; a record where they differ cannot be trusted.
	if w.HasProgram != (kind == 4) {
		return false
	}
	p.file.Counts.Win++
	if rest := f.text(); w.HasProgram {
		w.Program = rest
	} else {
		w.AllocatesBP = string(rest) == "1"
	}
	if p.Win != nil {
		p.winRecords = append(p.winRecords, w)
	}
	return true
}
