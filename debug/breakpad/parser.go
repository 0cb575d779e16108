package breakpad

import (
	"bytes"
	"cmp"
	"slices"

	"salvage/debug/debugid"
	"salvage/debug/symbols"
)

// A batch is handed on at the next function once it has this many records.
const batchRecords = 32 << 10

type parser struct {
	h       Handler
	strict  bool
	maxLine int
	file    File

	strings *symbols.Strings
	batch   *symbols.Batch
	publics []public
	files   idTable
	origins idTable

	inFunc   bool // line and INLINE records belong to the last function of batch
	skipFunc bool // … or to a function that was dropped
	inCFI    bool
	inLong   bool // skipping the rest of a line that was too long

	// The old INLINE dialect, which names no call files; see inlineRecord.
	originFiles map[symbols.StringID]symbols.StringID
	oldParents  []symbols.StringID
	oldInFunc   bool
}

type public struct {
	symbols.Public
	params uint32
}

func newParser(h Handler, o Options) *parser {
	s := symbols.NewStrings()
	p := &parser{h: h, strict: o.Strict, maxLine: cmp.Or(o.MaxLine, defaultMaxLine), strings: s}
	if h.Batch != nil {
		p.batch = symbols.NewBatch(s)
	}
	p.files.strings, p.origins.strings = s, s
	return p
}

// consume parses the complete lines of data and returns how many bytes they are.
func (p *parser) consume(data []byte) (int, error) {
	end := bytes.LastIndexByte(data, '\n') + 1
	for pos := 0; pos < end; {
		if p.inFunc && !p.inLong {
			if l, n := fastLine(data[pos:end]); n > 0 {
				pos += n
				p.file.Counts.Lines++
				p.lineRecord(l)
				continue
			}
		}
		n := bytes.IndexByte(data[pos:end], '\n')
		line := data[pos : pos+n]
		pos += n + 1
		p.file.Counts.Lines++
		if err := p.line(line); err != nil {
			return 0, err
		}
	}
	return end, nil
}

// skipLong drops the start of a line that is too long; the rest goes when its newline arrives.
func (p *parser) skipLong(buf []byte) []byte {
	p.inLong = true
	return buf[:0]
}

// finish parses the last line, which may lack its newline, and hands on what is left.
func (p *parser) finish(tail []byte) error {
	if len(tail) > 0 || p.inLong {
		p.file.Counts.Lines++
		if err := p.line(tail); err != nil {
			return err
		}
	}
	if p.batch == nil {
		return nil
	}
	p.endFunc()
	// Arrange lets the last of equal addresses speak: with this order the greatest name, as
	// rust-minidump has it.
	slices.SortStableFunc(p.publics, func(a, b public) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr),
			bytes.Compare(p.strings.Bytes(a.Name), p.strings.Bytes(b.Name)), cmp.Compare(a.params, b.params))
	})
	for _, s := range p.publics {
		p.batch.Publics = append(p.batch.Publics, s.Public)
	}
	return p.h.Batch(p.batch)
}

// line parses one line of any kind, without its newline.
func (p *parser) line(line []byte) error {
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	if p.inLong || len(line) > p.maxLine {
		p.inLong = false
		return p.bad(&p.file.Counts.TooLong, "line too long", line)
	}
	f := fields{rest: line}
	first := f.next()
	if len(first) == 0 {
		return nil // blank lines separate nothing
	}
	ok := false
	var err error
	switch string(first) {
	case "MODULE":
		ok = p.module(&f)
	case "INFO":
		ok = p.info(&f)
	case "FILE":
		ok = p.define(&f, &p.files, &p.file.Counts.Files)
	case "INLINE_ORIGIN":
		ok = p.origin(&f)
	case "FUNC":
		ok, err = p.function(&f)
	case "INLINE":
		ok = p.inlineRecord(&f)
	case "PUBLIC":
		ok = p.public(&f)
	case "STACK":
		ok, err = p.stack(&f)
	default:
		if !isHex(first) {
			return p.bad(&p.file.Counts.Unknown, "unknown record", line)
		}
		ok = p.slowLine(first, &f)
	}
	if err != nil {
		return err
	}
	if !ok {
		return p.bad(&p.file.Counts.Bad, "bad line", line)
	}
	return nil
}

func (p *parser) module(f *fields) bool {
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

func (p *parser) info(f *fields) bool {
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

func (p *parser) define(f *fields, t *idTable, count *uint64) bool {
	id, ok := f.dec32()
	if ok {
		*count++
		t.define(id, f.text())
	}
	return ok
}

// origin reads INLINE_ORIGIN id name, or the older INLINE_ORIGIN id file name: the file is told by
// being all digits, as in Breakpad's processor.
func (p *parser) origin(f *fields) bool {
	id, ok := f.dec32()
	if !ok {
		return false
	}
	p.file.Counts.Origins++
	name := f.text()
	old := fields{rest: name}
	if file, ok := old.signedDec32(); ok && len(old.rest) > 0 {
		name = old.text()
		if p.originFiles == nil {
			p.originFiles = map[symbols.StringID]symbols.StringID{}
		}
		if file >= 0 {
			p.originFiles[p.origins.use(id)] = p.files.use(uint32(file))
		}
	}
	p.origins.define(id, name)
	return true
}

func (p *parser) function(f *fields) (ok bool, err error) {
	p.inCFI = false
	first := f.next()
	if string(first) == "m" {
		first = f.next()
	}
	addr, ok1 := parseHex(first, 16)
	size, ok2 := f.hex64()
	_, ok3 := f.hex32() // size of the parameters
	p.inFunc, p.skipFunc = false, true
	if !ok1 || !ok2 || !ok3 {
		return false, nil
	}
	p.file.Counts.Functions++
	if p.batch == nil {
		return true, nil
	}
	p.endFunc()
	if size == 0 || addr+size < addr {
		p.file.Counts.Empty++
		return true, nil
	}
	b := p.batch
	if len(b.Lines)+len(b.Inlines)+len(b.Functions) >= batchRecords {
		if err := p.h.Batch(b); err != nil {
			p.batch = symbols.NewBatch(p.strings) // b is not ours any more
			return false, err
		}
		b = symbols.NewBatch(p.strings)
		p.batch = b
	}
	lines, inlines := uint32(len(b.Lines)), uint32(len(b.Inlines))
	b.Functions = append(b.Functions, symbols.Function{
		Addr: addr, Size: size, Name: p.strings.Intern(f.text()),
		Lines: symbols.Span{Lo: lines, Hi: lines}, Inlines: symbols.Span{Lo: inlines, Hi: inlines},
	})
	p.inFunc, p.skipFunc = true, false
	return true, nil
}

// endFunc closes the open function, if any.
func (p *parser) endFunc() {
	if n := len(p.batch.Functions); n > 0 {
		fn := &p.batch.Functions[n-1]
		fn.Lines.Hi, fn.Inlines.Hi = uint32(len(p.batch.Lines)), uint32(len(p.batch.Inlines))
		if p.oldInFunc && fn.Lines.Lo < fn.Lines.Hi {
			for i := fn.Inlines.Lo; i < fn.Inlines.Hi; i++ {
				if in := &p.batch.Inlines[i]; in.Depth == 0 && in.CallFile == 0 {
					in.CallFile = p.batch.Lines[fn.Lines.Lo].File
				}
			}
		}
	}
	p.oldInFunc = false
	p.oldParents = p.oldParents[:0]
}

type lineRecord struct {
	addr             uint64
	size, line, file uint32
}

func (p *parser) lineRecord(l lineRecord) {
	p.file.Counts.LineRecords++
	p.batch.Lines = append(p.batch.Lines, symbols.Line{Addr: l.addr, Size: l.size, File: p.files.use(l.file), Line: l.line})
}

// slowLine parses a line record that fastLine left: other spacing, a negative line number (which
// counts as none), or one that is not in a function.
func (p *parser) slowLine(first []byte, f *fields) bool {
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
func (p *parser) inlineRecord(f *fields) bool {
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
	in := symbols.Inline{Depth: depth, CallLine: uint32(max(callLine, 0)), Name: p.origins.use(origin)}
	if callFile >= 0 {
		in.CallFile = p.files.use(uint32(callFile))
	}
	if old {
		p.oldInFunc = true
		d := min(int(depth), len(p.oldParents))
		if d > 0 {
			in.CallFile = p.oldParents[d-1]
		}
		p.oldParents = append(p.oldParents[:d], p.originFiles[in.Name])
	}
	for len(f.rest) > 0 {
		addr, ok1 := f.hex64()
		size, ok2 := f.hex32()
		if !ok1 || !ok2 {
			return false // what came before the bad pair stays
		}
		in.Addr, in.Size = addr, uint64(size)
		p.batch.Inlines = append(p.batch.Inlines, in)
	}
	return true
}

func (p *parser) public(f *fields) bool {
	p.inFunc, p.skipFunc, p.inCFI = false, false, false
	first := f.next()
	if string(first) == "m" {
		first = f.next()
	}
	addr, ok1 := parseHex(first, 16)
	params, ok2 := f.hex32()
	if !ok1 || !ok2 {
		return false
	}
	p.file.Counts.Publics++
	if p.batch != nil {
		p.publics = append(p.publics, public{symbols.Public{Addr: addr, Name: p.strings.Intern(f.text())}, params})
	}
	return true
}

func (p *parser) stack(f *fields) (ok bool, err error) {
	p.inFunc, p.skipFunc = false, false
	switch string(f.next()) {
	case "WIN":
		p.inCFI = false
		return p.win(f)
	case "CFI":
	default:
		return false, nil
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
			return false, nil
		}
		p.file.Counts.CFIInits++
		p.inCFI = true
		if c.Size == 0 || c.Addr+c.Size < c.Addr {
			p.file.Counts.Empty++
		}
	} else {
		if c.Addr, ok = parseHex(first, 16); !ok || !p.inCFI {
			return false, nil
		}
		p.file.Counts.CFIRows++
	}
	if c.Rules = f.text(); len(c.Rules) == 0 {
		return false, nil
	}
	if p.h.CFI == nil {
		return true, nil
	}
	return true, p.h.CFI(c)
}

func (p *parser) win(f *fields) (ok bool, err error) {
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
		return false, nil
	}
	w := Win{
		Type: uint8(kind), Addr: addr, CodeSize: v[0], Prologue: v[1], Epilogue: v[2], Params: v[3], SavedRegs: v[4],
		Locals: v[5], MaxStack: v[6], HasProgram: program == 1,
	}
	// Type and flag say the same thing twice; a record where they differ cannot be trusted.
	if w.HasProgram != (kind == 4) {
		return false, nil
	}
	p.file.Counts.Win++
	if rest := f.text(); w.HasProgram {
		w.Program = rest
	} else {
		w.AllocatesBP = string(rest) == "1"
	}
	if p.h.Win == nil {
		return true, nil
	}
	return true, p.h.Win(w)
}
