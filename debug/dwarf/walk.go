package dwarf

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// A batch is closed at the end of a function once it has this many records.
const batchRecords = 32 << 10

// walker walks units one after the other. Each has its own strings, which all its batches share.
type walker struct {
	r       *reader
	strings *symbols.Strings
	names   map[uint64]nameOf // by offset of the entry that is referred to
	table   lineTable
	hasRows bool // table is that of the current unit

	batch     *symbols.Batch
	done      []*symbols.Batch
	pending   []symbols.Inline // of the open functions, outer ones first
	rangeBuf  []pcRange        // of the open functions
	covered   []pcRange        // of the functions of the unit
	lineWork  uint64
	rowWork   int // rows handed on in the current unit
	open      []openFunction
	entry     entry
	pathBuf   []byte
	rangeWork uint64
	nameWork  uint64
	failed    string // first failure in the current unit

	missingAlt bool // something of the current unit is in a supplementary file that is not known
}

// openFunction is a subprogram whose children are being read.
type openFunction struct {
	depth           int // of its entry
	name            symbols.StringID
	language        symbols.Language
	ranges, inlines int // where its part of rangeBuf and pending starts
	inlineDepths    int // where its part of the stack of inlined calls starts
}

func newWalker(r *reader) *walker {
	return &walker{r: r, strings: symbols.NewStrings(), names: map[uint64]nameOf{}}
}

func (w *walker) fail(reason string) {
	if w.failed == "" {
		w.failed = reason
	}
}

// unit walks one unit.
func (w *walker) unit(ctx context.Context, u *unit) unitResult {
	w.failed, w.hasRows, w.done, w.rowWork, w.missingAlt = "", false, nil, 0, false
	if len(w.names) > 1<<16 { // mostly of use inside one unit
		clear(w.names)
	}
	if w.r.opts.Wanted != nil && u.abbrevs != nil {
		if b := w.unasked(u); b != nil {
			return unitResult{batches: []*symbols.Batch{b}}
		}
	}
	where := fmt.Sprintf("unit at %#x", u.off)
	if u.split != nil {
		u = u.split
		where = fmt.Sprintf("split unit %016x", u.id)
	}
	w.open, w.pending, w.rangeBuf, w.covered = w.open[:0], w.pending[:0], w.rangeBuf[:0], w.covered[:0]
	if u.abbrevs == nil || u.kind == utType || u.kind == utSplitType {
		return unitResult{}
	}
	w.batch = symbols.NewBatch(w.strings)
	if u.hasChildren {
		w.children(ctx, u)
	}
	res := unitResult{batches: w.done}
	if len(w.batch.Functions) > 0 {
		res.batches = append(res.batches, w.batch)
	} else {
		w.batch.Free()
	}
	if u.isCompile {
		res.fill = w.fill(u)
	}
	res.missingAlt = w.missingAlt
	if w.failed != "" {
		res.problem = &debug.Problem{Where: where, Kind: "unit read in part", Detail: w.failed}
	}
	return res
}

// unasked returns functions without names in place of a unit that nobody asks about: they hide of the symbol table what
// its own do. Nil: some may be asked about, or the unit does not say where its code is; version 2 has no lists of
// ranges, and says it in part.
func (w *walker) unasked(u *unit) *symbols.Batch {
	if u.version < 3 {
		return nil
	}
	c := u.f.cursor(u.info, ".debug_info")
	c.Skip(u.first)
	readEntry(&c, u, &w.entry)
	w.rangeBuf = w.ranges(u, &w.entry, w.rangeBuf[:0])
	for _, r := range w.rangeBuf {
		low, high := r.low, r.high
		if w.r.opts.Symbol != nil { // all of a symbol is asked about where a part is
			for _, at := range [...]uint64{r.low, r.high - 1} {
				if s := w.r.opts.Symbol(at); s.Name != nil {
					low, high = min(low, s.Low), max(high, s.High)
				}
			}
		}
		if w.wanted(low, high) {
			return nil
		}
	}
	if len(w.rangeBuf) == 0 {
		return nil
	}
	b := symbols.NewBatch(w.strings)
	for _, r := range w.rangeBuf {
		b.Functions = append(b.Functions, symbols.Function{Addr: r.low - w.r.opts.ImageBase, Size: r.high - r.low})
	}
	return b
}

func (w *walker) children(ctx context.Context, u *unit) {
	c := u.f.cursor(u.info, ".debug_info")
	c.Skip(u.body)
	w.entries(ctx, u, &c)
	if err := c.Err(); err != nil {
		w.fail(err.Error())
	}
	for len(w.open) > 0 { // entries ended early: keep what was read
		w.closeFunction(u)
	}
}

// entries reads all entries below a unit's root without recursion: depth counts the levels, and stacks
// remember at which depth functions and inlined calls were opened.
func (w *walker) entries(ctx context.Context, u *unit, c *cursor.Cursor) {
	depth := 1
	var inlined []int // depths of the open inlined calls
	for n := 0; depth > 0 && c.Len() > 0; n++ {
		if n&0xffff == 0xffff && ctx.Err() != nil {
			return
		}
		e := &w.entry
		a := readEntry(c, u, e)
		if a == nil { // a null entry ends a level
			depth--
			if k := len(inlined) - 1; k >= 0 && inlined[k] == depth {
				inlined = inlined[:k]
			}
			if k := len(w.open) - 1; k >= 0 && w.open[k].depth == depth {
				w.closeFunction(u)
			}
			continue
		}
		switch a.tag {
		case tagSubprogram:
			start := len(w.rangeBuf)
			w.rangeBuf = w.ranges(u, e, w.rangeBuf)
			if len(w.rangeBuf) > start {
				var name symbols.StringID
				var language symbols.Language
				if slices.ContainsFunc(w.rangeBuf[start:], func(r pcRange) bool { return w.wanted(r.low, r.high) }) {
					name, language = w.name(u, e)
				}
				w.open = append(w.open, openFunction{
					depth: depth, name: name, language: language, ranges: start, inlines: len(w.pending), inlineDepths: len(inlined),
				})
				if !a.hasChildren {
					w.closeFunction(u)
				}
			}
		case tagInlinedSubroutine:
			if len(w.open) > 0 {
				w.inline(u, e, uint32(len(inlined)-w.open[len(w.open)-1].inlineDepths))
			}
			if a.hasChildren {
				inlined = append(inlined, depth)
			}
		}
		if !a.hasChildren {
			continue
		}
		if a.skipChildren && e.has(slotSibling) {
			if f, next := w.r.ref(u, e.values[slotSibling]); f == u.f && next > c.Offset() && next <= u.end {
				c.Skip(next - c.Offset())
				continue
			}
		}
		depth++
	}
}

// inline adds the ranges of an inlined call to the open function.
func (w *walker) inline(u *unit, e *entry, depth uint32) {
	start := len(w.rangeBuf)
	w.rangeBuf = w.ranges(u, e, w.rangeBuf)
	found := w.rangeBuf[start:]
	w.rangeBuf = w.rangeBuf[:start]
	if w.r.opts.Wanted != nil {
		found = slices.DeleteFunc(found, func(r pcRange) bool { return !w.wanted(r.low, r.high) })
	}
	if len(found) == 0 {
		return
	}
	in := symbols.Inline{Depth: depth, CallLine: uint32(e.values[slotCallLine].v)}
	callFile := e.values[slotCallFile]
	in.Name, in.Language = w.name(u, e)
	if callFile.form != 0 {
		w.needLines(u)
		in.CallFile = w.file(u, callFile.v)
	}
	for _, r := range found {
		in.Addr, in.Size = r.low-w.r.opts.ImageBase, r.high-r.low
		w.pending = append(w.pending, in)
	}
}

func (w *walker) wanted(low, high uint64) bool {
	return w.r.opts.Wanted == nil || w.r.opts.Wanted(low-w.r.opts.ImageBase, high-low)
}

func (w *walker) needLines(u *unit) {
	if !w.hasRows {
		w.hasRows = true
		w.lines(u)
	}
}

// closeFunction adds the innermost open function to the batch, once for each of its ranges.
func (w *walker) closeFunction(u *unit) {
	f := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	ranges, inlines := w.rangeBuf[f.ranges:], w.pending[f.inlines:]
	w.rangeBuf, w.pending = w.rangeBuf[:f.ranges], w.pending[:f.inlines]
	w.needLines(u)
	b := w.batch
	base := w.r.opts.ImageBase
	if len(ranges) > 1 {
		slices.SortStableFunc(ranges, func(a, b pcRange) int { return cmp.Compare(a.low, b.low) })
		slices.SortStableFunc(inlines, func(a, b symbols.Inline) int {
			return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Depth, b.Depth))
		})
	}
	w.covered = append(w.covered, ranges...)
	for i, r := range ranges {
		fn := symbols.Function{Addr: r.low - base, Size: r.high - r.low, Name: f.name, Language: f.language}
		if w.r.opts.Symbol != nil {
			if s := w.r.opts.Symbol(r.low); s.Name != nil && s.Low == r.low {
				fn.Name = w.intern(s.Name)
			}
		}
		fn.Lines.Lo, fn.Inlines.Lo = uint32(len(b.Lines)), uint32(len(b.Inlines))
		w.appendLines(u, b, r.low, r.high)
		if i == len(ranges)-1 {
			b.Inlines = append(b.Inlines, inlines...)
		} else {
			k := 0
			for k < len(inlines) && inlines[k].Addr+base < ranges[i+1].low {
				k++
			}
			b.Inlines = append(b.Inlines, inlines[:k]...)
			inlines = inlines[k:]
		}
		fn.Lines.Hi, fn.Inlines.Hi = uint32(len(b.Lines)), uint32(len(b.Inlines))
		b.Functions = append(b.Functions, fn)
	}
	if len(b.Functions)+len(b.Lines)+len(b.Inlines) >= batchRecords {
		w.done = append(w.done, b)
		w.batch = symbols.NewBatch(w.strings)
	}
}

// paddingSize bounds what is taken for the padding between two functions: linkers align code to 64 bytes
// at most, and line tables run through.
const paddingSize = 64

// fill returns functions for code that has lines but no function: assembly, mostly. Their names and
// extents are those of the symbol table. Code without a symbol is a function without a name, unless it
// is small enough for padding.
func (w *walker) fill(u *unit) *symbols.Batch {
	w.needLines(u)
	slices.SortFunc(w.covered, func(a, b pcRange) int { return cmp.Compare(a.low, b.low) })
	b := symbols.NewBatch(w.strings)
	covered := w.covered
	for _, s := range w.table.sequences { // ascending
		pos := s.start
		for len(covered) > 0 && covered[0].low < s.end {
			w.fillSpan(u, b, pos, covered[0].low)
			pos = max(pos, covered[0].high)
			if covered[0].high > s.end {
				break
			}
			covered = covered[1:]
		}
		w.fillSpan(u, b, pos, s.end)
	}
	if len(b.Functions) == 0 {
		b.Free()
		return nil
	}
	return b
}

func (w *walker) fillSpan(u *unit, b *symbols.Batch, low, high uint64) {
	for low < high {
		// Sequences that overlap would each be filled with all symbols.
		if w.rowWork++; w.rowWork > 64*len(w.table.rows)+1<<16 {
			w.fail("line tables overlap without end")
			return
		}
		s := Symbol{High: high}
		if w.r.opts.Symbol != nil {
			s = w.r.opts.Symbol(low)
		}
		end := min(high, s.High)
		if end <= low {
			return
		}
		if s.Name == nil {
			s.Low, s.High = low, end
		}
		if s.Name != nil || end-low >= paddingSize {
			last := len(b.Functions) - 1
			if addr := s.Low - w.r.opts.ImageBase; last < 0 || b.Functions[last].Addr != addr {
				b.Functions = append(b.Functions, symbols.Function{
					Addr: addr, Size: s.High - s.Low, Name: w.intern(s.Name), Language: u.language, Lines: symbols.Span{Lo: uint32(len(b.Lines))},
				})
				last++
			}
			w.appendLines(u, b, low, end)
			b.Functions[last].Lines.Hi = uint32(len(b.Lines))
		}
		low = end
	}
}
