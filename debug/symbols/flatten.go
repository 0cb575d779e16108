package symbols

import (
	"cmp"
	"container/heap"
	"slices"
)

// NoScope marks "no caller": the scope is the function itself.
const NoScope = ^uint32(0)

const (
	// maxInlineDepth bounds the frames one address can have. Compilers stay below a hundred; synthetic
	// files with a thousand exist and must work.
	maxInlineDepth = 4096
	// An inlined call is queued again whenever it is cut at its parent's end or moved behind a sibling.
	// A file can ask for quadratically many of these; this many a call, and a base, are granted.
	requeuesPerInline = 8
	requeuesBase      = 1024
)

// Row says that code from Addr up to the next row's Addr belongs to Scope at Line.
type Row struct {
	Addr  uint64
	Scope uint32
	Line  uint32
}

// Scope is a function, or an inlined call of one, together with the file that lines in it refer to.
// The frame around it is scope Caller at line CallLine; Caller is always a smaller index.
type Scope struct {
	Name     StringID
	File     StringID
	Caller   uint32 // index into Flattener.Scopes, or NoScope
	CallLine uint32
	Language Language
}

// Flattener turns functions into rows. Its results are valid until the next Flatten.
type Flattener struct {
	Rows    []Row   // strictly ascending; the first starts at the function's address
	Scopes  []Scope // scopes of the rows and, before each, of its callers
	Repairs Repairs // summed over all calls

	stack  []openInline
	again  inlineHeap
	table  []uint32 // hash of scope → index+1
	filled []uint32 // slots in use
}

type openInline struct {
	end                 uint64
	depth               int64 // −1: the function itself
	name                StringID
	language            Language
	caller, callLine    uint32
	lastFile            StringID
	lastScope           uint32
	lastScopeIsResolved bool
}

// Flatten computes the rows of a function of b, sorting its lines and inlines in place.
//
// At each address the innermost inlined call and the line record there decide. Lines that overlap:
// the one that starts first keeps its bytes, of equal starts the one delivered first. An inlined call
// hangs under the nearest open call of smaller depth. Where it reaches beyond that call it is cut, and
// the rest hangs under the next one (writers of .sym files merge ranges across parents); where it
// starts inside a call of its own depth or deeper, it starts behind it. Code without a line record
// has line 0 and no file.
func (f *Flattener) Flatten(b *Batch, fn *Function) {
	f.Rows, f.Scopes, f.stack, f.again = f.Rows[:0], f.Scopes[:0], f.stack[:0], f.again[:0]
	for _, slot := range f.filled {
		f.table[slot] = 0
	}
	f.filled = f.filled[:0]

	lines := f.trimLines(b.Lines[fn.Lines.Lo:fn.Lines.Hi], fn)
	inlines := b.Inlines[fn.Inlines.Lo:fn.Inlines.Hi]
	if !slices.IsSortedFunc(inlines, compareInlines) {
		slices.SortStableFunc(inlines, compareInlines)
	}
	requeues := requeuesPerInline*len(inlines) + requeuesBase
	pos, end := fn.Addr, saturatingEnd(fn.Addr, fn.Size)
	f.stack = append(f.stack, openInline{end: end, depth: -1, name: fn.Name, language: fn.Language, caller: NoScope})
	for pos < end {
		for len(f.stack) > 1 && f.stack[len(f.stack)-1].end <= pos {
			f.stack = f.stack[:len(f.stack)-1]
		}
		next := end
		for len(inlines)+len(f.again) > 0 {
			queued := len(f.again) > 0 && (len(inlines) == 0 || compareInlines(f.again[0], inlines[0]) < 0)
			var in Inline
			if queued {
				in = f.again[0]
			} else {
				in = inlines[0]
			}
			if in.Addr > pos {
				next = min(next, in.Addr)
				break
			}
			if queued {
				heap.Pop(&f.again)
			} else {
				inlines = inlines[1:]
			}
			f.open(in, pos, &requeues)
		}
		top := &f.stack[len(f.stack)-1]
		next = min(next, top.end)
		for len(lines) > 0 && lineEnd(lines[0]) <= pos {
			lines = lines[1:]
		}
		var file StringID
		var line uint32
		if len(lines) > 0 {
			if l := lines[0]; l.Addr <= pos {
				file, line = l.File, l.Line
				next = min(next, lineEnd(l))
			} else {
				next = min(next, l.Addr)
			}
		}
		f.emit(pos, f.scope(top, file), line)
		pos = next
	}
	f.Repairs.OutsideParent += len(inlines) + len(f.again)
}

// trimLines sorts lines in place, makes them disjoint and inside the function, and drops empty ones.
func (f *Flattener) trimLines(lines []Line, fn *Function) []Line {
	byAddr := func(a, b Line) int { return cmp.Compare(a.Addr, b.Addr) }
	if !slices.IsSortedFunc(lines, byAddr) {
		slices.SortStableFunc(lines, byAddr)
	}
	kept, pos, end := 0, fn.Addr, saturatingEnd(fn.Addr, fn.Size)
	for _, l := range lines {
		lEnd := lineEnd(l)
		switch {
		case l.Size == 0:
			f.Repairs.EmptyRecords++
			continue
		case l.Addr < fn.Addr || lEnd > end:
			f.Repairs.OutsideParent++
		case l.Addr < pos:
			f.Repairs.OverlapLines++
		}
		l.Addr = max(l.Addr, pos)
		lEnd = min(lEnd, end)
		if l.Addr >= lEnd {
			continue
		}
		l.Size, pos = uint32(lEnd-l.Addr), lEnd
		lines[kept] = l
		kept++
	}
	return lines[:kept]
}

// open pushes in, or what is left of it from pos on, onto the stack of open calls.
func (f *Flattener) open(in Inline, pos uint64, requeues *int) {
	inEnd := saturatingEnd(in.Addr, in.Size)
	if in.Size == 0 {
		f.Repairs.EmptyRecords++
		return
	}
	if inEnd <= pos {
		f.Repairs.OutsideParent++
		return
	}
	top := &f.stack[len(f.stack)-1]
	push := top.depth < int64(in.Depth)
	if !push || inEnd > top.end {
		// Behind a sibling, or beyond the parent: the part after top.end comes back.
		f.Repairs.OverlapInlines++
		if inEnd > top.end && len(f.stack) > 1 {
			if *requeues--; *requeues >= 0 {
				rest := in
				rest.Addr, rest.Size = top.end, inEnd-top.end
				heap.Push(&f.again, rest)
			} else {
				f.Repairs.DeepInlines++
			}
		}
	}
	if !push {
		return
	}
	if len(f.stack) > maxInlineDepth {
		f.Repairs.DeepInlines++
		return
	}
	language := in.Language
	if language == LanguageUnknown {
		language = top.language
	}
	caller, end := f.scope(top, in.CallFile), min(inEnd, top.end)
	f.stack = append(f.stack, openInline{
		end: end, depth: int64(in.Depth), name: in.Name, language: language, caller: caller, callLine: in.CallLine,
	})
}

func (f *Flattener) emit(pos uint64, scope, line uint32) {
	if n := len(f.Rows); n > 0 && f.Rows[n-1].Scope == scope && f.Rows[n-1].Line == line {
		return
	}
	f.Rows = append(f.Rows, Row{pos, scope, line})
}

// scope returns the index of the scope of an open call for lines in file, adding it if it is new.
func (f *Flattener) scope(n *openInline, file StringID) uint32 {
	if n.lastScopeIsResolved && n.lastFile == file {
		return n.lastScope
	}
	s := Scope{n.name, file, n.caller, n.callLine, n.language}
	if 2*len(f.Scopes) >= len(f.table) {
		f.growTable()
	}
	slot := f.slot(s)
	for f.table[slot] != 0 && f.Scopes[f.table[slot]-1] != s {
		slot = (slot + 1) & uint32(len(f.table)-1)
	}
	if f.table[slot] == 0 {
		f.Scopes = append(f.Scopes, s)
		f.table[slot] = uint32(len(f.Scopes))
		f.filled = append(f.filled, slot)
	}
	n.lastFile, n.lastScope, n.lastScopeIsResolved = file, f.table[slot]-1, true
	return n.lastScope
}

func (f *Flattener) slot(s Scope) uint32 {
	// Fibonacci hashing, as in Knuth 6.4; the inputs are small dense numbers.
	const k = 0x9e3779b97f4a7c15
	h := (uint64(s.Name)*k ^ uint64(s.File)) * k
	h = (h ^ uint64(s.Caller)<<32 ^ uint64(s.CallLine)) * k
	return uint32(h>>32) & uint32(len(f.table)-1)
}

func (f *Flattener) growTable() {
	f.table = make([]uint32, max(64, 2*len(f.table)))
	f.filled = f.filled[:0]
	for i, s := range f.Scopes {
		slot := f.slot(s)
		for f.table[slot] != 0 {
			slot = (slot + 1) & uint32(len(f.table)-1)
		}
		f.table[slot] = uint32(i + 1)
		f.filled = append(f.filled, slot)
	}
}

func compareInlines(a, b Inline) int {
	if a.Addr != b.Addr {
		return cmp.Compare(a.Addr, b.Addr)
	}
	return cmp.Compare(a.Depth, b.Depth)
}

type inlineHeap []Inline

func (h inlineHeap) Len() int           { return len(h) }
func (h inlineHeap) Less(i, j int) bool { return compareInlines(h[i], h[j]) < 0 }
func (h inlineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *inlineHeap) Push(x any)        { *h = append(*h, x.(Inline)) }
func (h *inlineHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

func lineEnd(l Line) uint64 { return saturatingEnd(l.Addr, uint64(l.Size)) }

func saturatingEnd(addr, size uint64) uint64 {
	if end := addr + size; end >= addr {
		return end
	}
	return ^uint64(0)
}
