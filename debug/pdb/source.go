package pdb

import (
	"cmp"
	"context"
	"slices"
	"sort"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// Options of Symbols.
type Options struct {
	Workers int // default GOMAXPROCS; the output does not depend on it
}

// Result is filled in by the Source that Symbols returns.
type Result struct {
	Modules  int
	Problems []debug.Problem // the first of them, in order of modules
	Skipped  int             // modules with a problem that hid part of them, and tables of the file
}

const (
	maxProblems  = 20
	batchRecords = 32 << 10 // a batch is closed at the end of a function once it has this many
)

// Symbols returns the functions of all modules in the order of the file, code that has lines but no function
// after them, and the public symbols last.
func (f *File) Symbols(ctx context.Context, o Options, res *Result) symbols.Source {
	return func(emit func(*symbols.Batch) error) error {
		res.Modules = len(f.modules)
		for _, p := range f.Problems {
			res.problem(p)
		}
		if err := f.run(ctx, o, emit, res); err != nil {
			return err
		}
		return f.emitPublics(emit)
	}
}

func (res *Result) problem(p debug.Problem) {
	res.Skipped++
	if len(res.Problems) < maxProblems {
		res.Problems = append(res.Problems, p)
	}
}

// moduleResult is what came of one module.
type moduleResult struct {
	batches []*symbols.Batch
	fill    *symbols.Batch // what has lines but no function; nil if nothing
	thunks  []public
	problem *debug.Problem
}

// run walks the modules on several goroutines and hands their batches on in order.
func (f *File) run(ctx context.Context, o Options, emit func(*symbols.Batch) error, res *Result) error {
	var fills []*symbols.Batch // last, so that functions of other modules come first
	thunks := symbols.NewBatch(symbols.NewStrings())
	walker := func() func(context.Context, int) moduleResult {
		w := &walker{f: f, format: formatter{f: f}, inline: inliner{}}
		w.inline.l = &w.lines
		return func(ctx context.Context, i int) moduleResult { return w.module(ctx, &f.modules[i]) }
	}
	err := symbols.Parallel(ctx, o.Workers, func(i int) bool { return i < len(f.modules) }, walker, func(m moduleResult) error {
		if m.problem != nil {
			res.problem(*m.problem)
		}
		if m.fill != nil {
			fills = append(fills, m.fill)
		}
		f.appendPublics(thunks, m.thunks)
		for _, b := range m.batches {
			if err := emit(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range append(fills, thunks) {
		if err := emit(b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *File) appendPublics(b *symbols.Batch, list []public) {
	var buf []moved
	for _, p := range list {
		buf = f.move(p.addr, max(1, p.size), buf[:0])
		if len(buf) > 0 {
			m := buf[0]
			if p.size == 0 {
				m.size = 0
			}
			b.Publics = append(b.Publics, symbols.Public{Addr: uint64(m.to), Size: uint64(m.size), Name: b.Strings.Intern(p.name)})
		}
	}
}

func (f *File) emitPublics(emit func(*symbols.Batch) error) error {
	for list := range slices.Chunk(f.public, batchRecords) {
		b := symbols.NewBatch(symbols.NewStrings())
		f.appendPublics(b, list)
		if err := emit(b); err != nil {
			return err
		}
	}
	return nil
}

// walker walks modules one after the other.
type walker struct {
	f       *File
	lines   lineInfo
	inline  inliner
	format  formatter
	strings *symbols.Strings
	ids     map[uint32]symbols.StringID // names of inlined functions
	budget  int                         // bytes of names left to the module
	rowWork int                         // rows handed on in the module
	failed  string                      // first failure in the module

	batch    *symbols.Batch
	done     []*symbols.Batch
	language symbols.Language
	proc     procedure // the last
	thunks   []public
	covered  []symbols.Extent // by functions
	open     []scope
	rows     []row
	moves    []moved
}

// procedure is a function, or a part of one elsewhere.
type procedure struct {
	addr, size uint32 // before OMAP
	segment    uint16
	offset     uint32
	name       symbols.StringID
}

// scope is a symbol that others belong to, up to its end.
type scope struct {
	function bool
	site     int // of an inlined call; −1: none
	proc     procedure
}

// Kinds of symbols: S_…
const (
	symbolEnd          = 0x0006
	symbolThunk        = 0x1102
	symbolBlock        = 0x1103
	symbolWith         = 0x1104
	symbolLocalProc    = 0x110f
	symbolGlobalProc   = 0x1110
	symbolCompile2     = 0x1116
	symbolSeparated    = 0x1132
	symbolCompile3     = 0x113c
	symbolLocalProcID  = 0x1146
	symbolGlobalProcID = 0x1147
	symbolInlineSite   = 0x114d
	symbolInlineEnd    = 0x114e
	symbolProcIDEnd    = 0x114f
	symbolLocalDPC     = 0x1155
	symbolLocalDPCID   = 0x1156
	symbolInlineSite2  = 0x115d

	signatureC13 = 4

	// Names of a module may take so many bytes: see the package's comment.
	nameBase      = 64 << 10
	namePerByte   = 16
	maxScopeDepth = 8192
	// paddingSize is as in package dwarf.
	paddingSize = 64
)

var languages = map[uint8]symbols.Language{
	0x00: symbols.LanguageC, 0x01: symbols.LanguageCpp, 0x0a: symbols.LanguageCSharp, 0x0b: symbols.LanguageVisualBasic,
	0x11: symbols.LanguageObjC, 0x12: symbols.LanguageObjCpp, 0x13: symbols.LanguageSwift, 'S': symbols.LanguageSwift,
	0x15: symbols.LanguageRust, 0x16: symbols.LanguageGo, 'D': symbols.LanguageD,
}

func (w *walker) fail(reason string) {
	if w.failed == "" {
		w.failed = reason
	}
}

// module reads one module.
func (w *walker) module(ctx context.Context, m *module) moduleResult {
	if m.stream == noStream {
		return moduleResult{}
	}
	w.failed, w.done, w.thunks, w.language = "", nil, nil, symbols.LanguageUnknown
	w.strings, w.ids, w.proc = symbols.NewStrings(), map[uint32]symbols.StringID{}, procedure{}
	w.open, w.covered, w.inline.sites = w.open[:0], w.covered[:0], w.inline.sites[:0]
	w.batch, w.budget, w.rowWork = symbols.NewBatch(w.strings), 0, 0
	w.lines.reset()
	var res moduleResult
	if m.duplicate {
		w.fail("it has the stream of another module")
	} else if data, err := w.f.msf.stream("module", uint32(m.stream)); err != nil {
		w.fail(err.Error())
	} else {
		w.read(ctx, m, data)
		res.fill = w.fill()
	}
	res.batches, res.thunks = w.done, w.thunks
	if len(w.batch.Functions) > 0 {
		res.batches = append(res.batches, w.batch)
	} else {
		w.batch.Free()
	}
	if w.failed != "" {
		res.problem = &debug.Problem{Where: "module " + string(m.name[:min(len(m.name), 200)]), Kind: "module read in part", Detail: w.failed}
	}
	return res
}

func (w *walker) read(ctx context.Context, m *module, data []byte) {
	w.budget = nameBase + namePerByte*len(data)
	c := cursor.New(data, "pdb", "module")
	records := c.Sub(min(uint64(m.symbolSize), c.Len()))
	if uint64(m.c11) > 0 {
		w.fail("lines in the form of compilers before Visual C++ 2005")
	}
	c.Skip(min(uint64(m.c11), c.Len()))
	if err := w.lines.read(w.f, c.Bytes(min(uint64(m.c13), c.Len()))); err != nil {
		w.fail(err.Error())
	}
	if records.Len() == 0 {
		return
	}
	if records.U32() != signatureC13 {
		w.fail("symbols of an unknown version")
		return
	}
	n := 0
	eachRecord(records.Rest(), func(kind uint16, body []byte) {
		if n++; n&0xffff == 0 && ctx.Err() != nil {
			return
		}
		w.symbol(kind, body)
	})
	for len(w.open) > 0 { // records ended early: keep what was read
		w.close()
	}
}

// symbol reads one record.
func (w *walker) symbol(kind uint16, body []byte) {
	c := cursor.New(body, "pdb", "symbol")
	switch kind {
	case symbolCompile2, symbolCompile3:
		w.language = languages[c.U8()]
	case symbolGlobalProc, symbolLocalProc, symbolGlobalProcID, symbolLocalProcID, symbolLocalDPC, symbolLocalDPCID:
		c.Skip(12)
		size := c.U32()
		c.Skip(8)
		typ, offset, segment := c.U32(), c.U32(), c.U16()
		c.Skip(1)
		p := procedure{segment: segment, offset: offset, size: size}
		var ok bool
		if p.addr, ok = w.f.code(segment, offset); !ok || c.Err() != nil {
			p.size = 0
		} else {
			if kind == symbolGlobalProcID || kind == symbolLocalProcID || kind == symbolLocalDPCID {
				typ = w.format.functionOf(w.f.resolve(typ, w.lines.imports))
			}
			p.name = w.functionName(text(&c), w.f.resolve(typ, w.lines.imports), p.addr)
		}
		w.proc = p
		w.push(scope{function: true, site: -1, proc: p})
	case symbolSeparated:
		c.Skip(8)
		p := procedure{size: c.U32()}
		c.Skip(4)
		offset, parent, segment, parentSegment := c.U32(), c.U32(), c.U16(), c.U16()
		var ok bool
		// It belongs to the function before it.
		if p.addr, ok = w.f.code(segment, offset); !ok || c.Err() != nil || parent != w.proc.offset || parentSegment != w.proc.segment || w.proc.size == 0 {
			p.size = 0
		}
		p.name = w.proc.name
		w.push(scope{function: true, site: -1, proc: p})
	case symbolThunk:
		c.Skip(12)
		offset, segment, size := c.U32(), c.U16(), uint32(c.U16())
		c.Skip(1)
		if addr, ok := w.f.code(segment, offset); ok && c.Err() == nil && size > 0 && w.f.publicAt(addr) == nil {
			if name := text(&c); len(name) > 0 {
				w.thunks = append(w.thunks, public{addr, size, name})
			}
		}
		w.push(scope{site: -1})
	case symbolBlock, symbolWith:
		w.push(scope{site: -1})
	case symbolInlineSite, symbolInlineSite2:
		c.Skip(8)
		s := site{parent: -1, inlinee: c.U32()}
		if kind == symbolInlineSite2 {
			c.Skip(4)
		}
		s.annotations = c.Rest()
		if i := w.caller(); i >= 0 {
			s.parent, s.depth = i, w.inline.sites[i].depth+1
		}
		w.inline.sites = append(w.inline.sites, s)
		w.push(scope{site: len(w.inline.sites) - 1})
	case symbolEnd, symbolInlineEnd, symbolProcIDEnd:
		if len(w.open) > 0 {
			w.close()
		}
	}
}

func (w *walker) push(s scope) {
	if len(w.open) >= maxScopeDepth {
		w.fail("symbols are nested without end")
		s = scope{site: -1}
	}
	w.open = append(w.open, s)
}

// caller returns the innermost open inlined call of the innermost open function, −1 if there is none.
func (w *walker) caller() int {
	for i := len(w.open) - 1; i >= 0 && !w.open[i].function; i-- {
		if w.open[i].site >= 0 {
			return w.open[i].site
		}
	}
	return -1
}

// close ends the innermost scope. The inlined calls since the last function are those of this one.
func (w *walker) close() {
	s := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	if !s.function {
		return
	}
	if s.proc.size > 0 {
		w.function(&s.proc)
	}
	w.inline.sites = w.inline.sites[:0]
}

// functionName returns the name of a procedure. One without a type, as of assembly, has the linker's name
// if that says more.
func (w *walker) functionName(name []byte, typ, addr uint32) symbols.StringID {
	if typ == 0 && (len(name) == 0 || name[0] != '?') {
		if p := w.f.publicAt(addr); p != nil && p.name[0] == '?' {
			return w.strings.Intern(p.name)
		}
	}
	if w.budget <= 0 {
		w.fail("names of functions are too long; those without arguments are given")
		return w.strings.Intern(name)
	}
	full := w.format.function(name, typ)
	w.budget -= len(full)
	return w.strings.Intern(full)
}

func (w *walker) inlineName(id uint32) symbols.StringID {
	name, ok := w.ids[id]
	if !ok {
		if w.budget <= 0 {
			w.fail("names of functions are too long; those without arguments are given")
			return 0
		}
		full := w.format.id(w.f.resolve(id, w.lines.imports))
		w.budget -= len(full)
		name = w.strings.Intern(full)
		w.ids[id] = name
	}
	return name
}

// function adds a function with its lines and inlined calls to the batch.
func (w *walker) function(p *procedure) {
	w.covered = append(w.covered, symbols.Extent{Addr: uint64(p.addr), Size: uint64(p.size)})
	w.rows = w.lines.at(p.addr, p.size, w.rows[:0])
	// Functions that overlap would each have all lines.
	if w.rowWork += len(w.rows); w.rowWork > 16*len(w.lines.rows)+workBase {
		w.fail("functions overlap without end")
		w.rows = w.rows[:0]
	}
	if !w.inline.run(w.rows, p.size) {
		w.fail("inlined calls that cannot be used")
	}
	w.moves = w.f.move(p.addr, p.size, w.moves[:0])
	for i, m := range w.moves {
		if i > 0 && !w.afford(len(w.inline.calls)) {
			w.fail("functions are in too many pieces")
			break
		}
		w.piece(p.name, p.addr, m, w.inline.lines, w.inline.calls)
	}
	if b := w.batch; len(b.Functions)+len(b.Lines)+len(b.Inlines) >= batchRecords {
		w.done = append(w.done, b)
		w.batch = symbols.NewBatch(w.strings)
	}
}

// pieceCost is what a function costs that no record of its own stands for, in bytes.
const pieceCost = 64

// afford charges a function that no record of its own stands for, and n records that are looked through
// for it, to the module's bytes.
func (w *walker) afford(n int) bool {
	w.budget -= pieceCost + n
	return w.budget > 0
}

// piece adds the part of a function that is in one place.
func (w *walker) piece(name symbols.StringID, addr uint32, m moved, rows []row, calls []call) {
	b := w.batch
	fn := symbols.Function{Addr: uint64(m.to), Size: uint64(m.size), Name: name, Language: w.language}
	fn.Lines.Lo, fn.Inlines.Lo = uint32(len(b.Lines)), uint32(len(b.Inlines))
	from := m.from - addr
	clip := func(r row) (at uint64, size uint32) {
		start, end := max(r.start, from), min(uint64(r.end), uint64(from)+uint64(m.size))
		if uint64(start) >= end {
			return 0, 0
		}
		return uint64(m.to) + uint64(start-from), uint32(end - uint64(start))
	}
	rows = rows[sort.Search(len(rows), func(i int) bool { return rows[i].end > from }):]
	for _, r := range rows {
		if uint64(r.start) >= uint64(from)+uint64(m.size) {
			break
		}
		if at, size := clip(r); size > 0 {
			b.Lines = append(b.Lines, symbols.Line{Addr: at, Size: size, File: w.lines.file(w.f, w.strings, r.file), Line: r.line})
		}
	}
	for _, c := range calls {
		if at, size := clip(c.row); size > 0 {
			s := &w.inline.sites[c.site]
			b.Inlines = append(b.Inlines, symbols.Inline{
				Addr: at, Size: uint64(size), Name: w.inlineName(s.inlinee), CallFile: w.lines.file(w.f, w.strings, c.file), CallLine: c.line, Depth: s.depth,
			})
		}
	}
	fn.Lines.Hi, fn.Inlines.Hi = uint32(len(b.Lines)), uint32(len(b.Inlines))
	slices.SortStableFunc(b.Inlines[fn.Inlines.Lo:], func(a, b symbols.Inline) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Depth, b.Depth))
	})
	b.Functions = append(b.Functions, fn)
}

// fill returns functions for code that has lines but no function: assembly, and modules that were stripped
// of their symbols. Their names are the linker's. Code without a name is a function without one, unless it
// is small enough for padding.
func (w *walker) fill() *symbols.Batch {
	slices.SortFunc(w.covered, func(a, b symbols.Extent) int { return cmp.Compare(a.Addr, b.Addr) })
	saved := w.batch
	w.batch = symbols.NewBatch(w.strings)
	covered := w.covered
	for _, r := range w.lines.runs {
		pos, end := uint64(r.addr), uint64(r.addr)+uint64(r.size)
		for len(covered) > 0 && covered[0].Addr < end {
			w.fillSpan(pos, covered[0].Addr)
			pos = max(pos, covered[0].Addr+covered[0].Size)
			if pos > end {
				break
			}
			covered = covered[1:]
		}
		w.fillSpan(pos, end)
	}
	b := w.batch
	w.batch = saved
	if len(b.Functions) == 0 {
		b.Free()
		return nil
	}
	return b
}

func (w *walker) fillSpan(low, high uint64) {
	for low < high {
		i := sort.Search(len(w.f.public), func(i int) bool { return uint64(w.f.public[i].addr) > low })
		end, name := high, []byte(nil)
		if i < len(w.f.public) {
			end = min(end, uint64(w.f.public[i].addr))
		}
		if i > 0 {
			if p := w.f.public[i-1]; low-uint64(p.addr) < uint64(p.size) {
				name = w.f.publicAt(p.addr).name
			}
		}
		if name != nil || end-low >= paddingSize {
			if !w.afford(0) {
				w.fail("too much code without functions")
				return
			}
			rows := w.lines.at(uint32(low), uint32(end-low), nil)
			w.moves = w.f.move(uint32(low), uint32(end-low), w.moves[:0])
			for _, m := range w.moves {
				w.piece(w.strings.Intern(name), uint32(low), m, rows, nil)
			}
		}
		low = end
	}
}
