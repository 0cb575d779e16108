package pdb

import (
	"cmp"
	"container/heap"
	"slices"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// site is an inlined call in a function.
type site struct {
	parent      int // site it is in; −1: the function itself
	depth       uint32
	inlinee     uint32
	annotations []byte
	rows        []row // of the code in it, with what is inlined into it in turn; ascending, apart
}

// Operations of an inlined call's annotations: CodeViewInfo's BA_OP_…
const (
	opEnd                 = 0
	opCodeOffset          = 1
	opCodeOffsetBase      = 2
	opChangeCodeOffset    = 3
	opChangeCodeLength    = 4
	opChangeFile          = 5
	opChangeLine          = 6
	opLineEndDelta        = 7
	opRangeKind           = 8
	opColumnStart         = 9
	opColumnEndDelta      = 10
	opCodeOffsetAndLine   = 11
	opCodeLengthAndOffset = 12
	opColumnEnd           = 13
)

// annotation reads a number of 1, 2 or 4 bytes, the length in the upper bits of the first.
func annotation(c *cursor.Cursor) uint32 {
	b := uint32(c.U8())
	switch {
	case b&0x80 == 0:
		return b
	case b&0xc0 == 0x80:
		return b&0x3f<<8 | uint32(c.U8())
	case b&0xe0 == 0xc0:
		v := b&0x1f<<24 | uint32(c.U8())<<16
		v |= uint32(c.U8()) << 8
		return v | uint32(c.U8())
	}
	c.Fail("annotation of an unknown length", nil)
	return 0
}

// signed takes the sign from the lowest bit.
func signed(v uint32) uint32 {
	if v&1 != 0 {
		return -(v >> 1)
	}
	return v >> 1
}

// decode runs the annotations of a site, whose rows are relative to the start of a function of a size.
// A row goes up to the next unless its length is told.
func (s *site) decode(in inlinee, size uint32) error {
	c := cursor.New(s.annotations, "pdb", "inline site")
	offset, base, file, line := uint32(0), uint32(0), in.file, in.line
	open := false // the last row has no end yet
	emit := func(length uint32) {
		start := base + offset
		if n := len(s.rows); open && n > 0 {
			s.rows[n-1].end = start
		}
		s.rows = append(s.rows, row{start: start, end: start + length, file: file, line: line})
		open = length == 0
	}
	for c.Len() > 0 {
		switch annotation(&c) {
		case opEnd:
			c.Skip(c.Len())
		case opCodeOffset:
			offset = annotation(&c)
		case opCodeOffsetBase:
			base = annotation(&c)
		case opChangeCodeOffset:
			offset += annotation(&c)
			emit(0)
		case opChangeCodeLength:
			length := annotation(&c)
			if n := len(s.rows); open && n > 0 {
				s.rows[n-1].end = s.rows[n-1].start + length
				open = false
			}
			offset += length
		case opChangeFile:
			file = annotation(&c)
		case opChangeLine:
			line += signed(annotation(&c))
		case opLineEndDelta, opRangeKind, opColumnStart, opColumnEndDelta, opColumnEnd:
			annotation(&c)
		case opCodeOffsetAndLine:
			v := annotation(&c)
			offset += v & 0xf
			line += signed(v >> 4)
			emit(0)
		case opCodeLengthAndOffset:
			length := annotation(&c)
			offset += annotation(&c)
			emit(length)
		default:
			c.Fail("unknown annotation", debug.ErrUnsupported)
		}
	}
	s.rows = tidy(s.rows, size)
	return c.Err()
}

// tidy sorts rows and makes them apart and inside a function of a size: a row ends where the next starts.
func tidy(rows []row, size uint32) []row {
	if !slices.IsSortedFunc(rows, compareRows) {
		slices.SortStableFunc(rows, compareRows)
	}
	kept := 0
	for i, r := range rows {
		r.end = min(r.end, size)
		if i+1 < len(rows) {
			r.end = min(r.end, rows[i+1].start)
		}
		if r.end > r.start {
			rows[kept] = r
			kept++
		}
	}
	return rows[:kept]
}

func compareRows(a, b row) int { return cmp.Compare(a.start, b.start) }

// inliner puts the inlined calls of a function into its lines.
type inliner struct {
	l     *lineInfo
	sites []site // callers before what they call
	work  int    // left; see limit
	rest  []row
	heap  rowHeap
	lines []row // of the innermost functions
	calls []call
}

// call is a piece of an inlined call whose place in the caller is one line.
type call struct {
	row  // file and line are those of the call
	site int
}

// Callers are looked through again for each call in them. A file can ask for quadratically many looks; this
// many for each row, and a base, are granted.
const (
	workPerRow = 64
	workBase   = 64 << 10
)

// run computes the lines and calls of a function of a size with the given rows of its own. It reports
// whether all could be used.
func (w *inliner) run(own []row, size uint32) (whole bool) {
	whole = true
	rows := len(own)
	for i := range w.sites {
		s := &w.sites[i]
		if in, ok := w.l.inlinee(s.inlinee); ok {
			if s.decode(in, size) != nil {
				whole = false
			}
		}
		rows += len(s.rows)
	}
	w.work = workPerRow*(rows+len(w.sites)) + workBase
	// What is inlined into a call is part of it, also where the call has no line for it.
	for i := len(w.sites) - 1; i >= 0 && w.work > 0; i-- {
		if s := &w.sites[i]; s.parent >= 0 {
			w.cover(&w.sites[s.parent], s.rows)
		}
	}
	w.calls = w.calls[:0]
	for i := range w.sites {
		s := &w.sites[i]
		caller := own
		if s.parent >= 0 {
			caller = w.sites[s.parent].rows
		}
		w.split(i, s.rows, caller)
	}
	w.overlay(own)
	return whole && w.work > 0
}

// cover adds to a call the parts of rows that it lacks, with its file but without a line.
func (w *inliner) cover(s *site, rows []row) {
	file := noFile
	if len(s.rows) > 0 {
		file = s.rows[0].file
	}
	have := s.rows
	w.rest = w.rest[:0]
	for _, r := range rows {
		for len(have) > 0 && have[0].end <= r.start {
			have = have[1:]
			w.work--
		}
		pos := r.start
		for _, h := range have {
			if h.start >= r.end {
				break
			}
			if h.start > pos {
				w.rest = append(w.rest, row{pos, h.start, file, 0})
			}
			pos = h.end
			w.work--
		}
		if pos < r.end {
			w.rest = append(w.rest, row{pos, r.end, file, 0})
		}
		w.work--
	}
	if len(w.rest) > 0 {
		s.rows = append(slices.Clip(s.rows), w.rest...)
		slices.SortFunc(s.rows, compareRows)
		w.work -= len(s.rows)
	}
}

// split adds the calls of a site: its code, cut where the line of the caller changes.
func (w *inliner) split(site int, rows, caller []row) {
	for i := 0; i < len(rows) && w.work > 0; {
		pos, end := rows[i].start, rows[i].end
		for i++; i < len(rows) && rows[i].start == end; i++ {
			end = rows[i].end
		}
		k, _ := slices.BinarySearchFunc(caller, pos, func(r row, pos uint32) int {
			if r.end <= pos {
				return -1
			}
			return 1
		})
		for caller = caller[k:]; pos < end && w.work > 0; {
			c := call{row: row{pos, end, noFile, 0}, site: site}
			if len(caller) > 0 && caller[0].start <= pos {
				c.file, c.line = caller[0].file, caller[0].line
				c.end = min(end, caller[0].end)
				if caller[0].end <= end {
					caller = caller[1:]
				}
			} else if len(caller) > 0 {
				c.end = min(end, caller[0].start)
			}
			if n := len(w.calls) - 1; n >= 0 && w.calls[n].site == site && w.calls[n].end == c.start && w.calls[n].file == c.file && w.calls[n].line == c.line {
				w.calls[n].end = c.end
			} else {
				w.calls = append(w.calls, c)
			}
			pos = c.end
			w.work--
		}
	}
}

// overlay computes the lines of the innermost functions: at each place the row of the deepest call.
func (w *inliner) overlay(own []row) {
	w.lines = w.lines[:0]
	if len(w.sites) == 0 {
		w.lines = append(w.lines, own...)
		return
	}
	all := w.heap.all[:0]
	for _, r := range own {
		all = append(all, depthRow{r, 0})
	}
	for i := range w.sites {
		for _, r := range w.sites[i].rows {
			all = append(all, depthRow{r, w.sites[i].depth + 1})
		}
	}
	slices.SortStableFunc(all, func(a, b depthRow) int { return compareRows(a.row, b.row) })
	w.heap = rowHeap{all: all, open: w.heap.open[:0]}
	next, pos := 0, uint32(0)
	for next < len(all) || len(w.heap.open) > 0 {
		for len(w.heap.open) > 0 && all[w.heap.open[0]].end <= pos {
			heap.Pop(&w.heap)
		}
		if len(w.heap.open) == 0 {
			if next == len(all) {
				break
			}
			pos = max(pos, all[next].start)
		}
		for next < len(all) && all[next].start <= pos {
			heap.Push(&w.heap, next)
			next++
		}
		top := all[w.heap.open[0]]
		if top.end <= pos {
			continue
		}
		end := top.end
		if next < len(all) {
			end = min(end, all[next].start)
		}
		if n := len(w.lines) - 1; n >= 0 && w.lines[n].end == pos && w.lines[n].file == top.file && w.lines[n].line == top.line {
			w.lines[n].end = end
		} else {
			w.lines = append(w.lines, row{pos, end, top.file, top.line})
		}
		pos = end
	}
}

type depthRow struct {
	row
	depth uint32
}

// rowHeap has the open rows, the deepest first, of equals the one that came first.
type rowHeap struct {
	all  []depthRow
	open []int
}

func (h *rowHeap) Len() int { return len(h.open) }
func (h *rowHeap) Less(i, j int) bool {
	a, b := h.all[h.open[i]].depth, h.all[h.open[j]].depth
	return a > b || a == b && h.open[i] < h.open[j]
}
func (h *rowHeap) Swap(i, j int) { h.open[i], h.open[j] = h.open[j], h.open[i] }
func (h *rowHeap) Push(x any)    { h.open = append(h.open, x.(int)) }
func (h *rowHeap) Pop() any {
	last := h.open[len(h.open)-1]
	h.open = h.open[:len(h.open)-1]
	return last
}
