package symbols

import (
	"cmp"
	"container/heap"
	"slices"
)

// Extent is the place of one function.
type Extent struct{ Addr, Size uint64 }

// Piece says that [Start, End) belongs to the function or the public with the given index; the other
// index is −1.
type Piece struct {
	Start, End       uint64
	Function, Public int
}

// Arrangement is the order in which the functions and publics of an image cover its addresses.
type Arrangement struct {
	funcs   []Extent
	order   []uint32 // indices into funcs by address
	publics []publicAt
}

type publicAt struct {
	addr, size uint64
	index      int
}

// Arrange puts functions and publics side by side. It retains funcs.
func Arrange(funcs []Extent, publics []Public) *Arrangement {
	a := &Arrangement{funcs: funcs, order: sortByAddr(funcs)}
	for i, p := range publics {
		a.publics = append(a.publics, publicAt{p.Addr, p.Size, i})
	}
	// Of several at one address the largest, then the last delivered, speaks: a symbol without size
	// is usually a label.
	slices.SortStableFunc(a.publics, func(x, y publicAt) int {
		return cmp.Or(cmp.Compare(x.addr, y.addr), cmp.Compare(x.size, y.size))
	})
	kept := 0
	for i, p := range a.publics {
		if i+1 < len(a.publics) && a.publics[i+1].addr == p.addr {
			continue
		}
		a.publics[kept] = p
		kept++
	}
	a.publics = a.publics[:kept]
	return a
}

// Pieces calls yield for every covered range in ascending order, without overlap.
//
// Where functions overlap, the one delivered first keeps its bytes (Breakpad's rule; the later one
// keeps what is left of it, where Breakpad forgets it). A public covers bytes of no function only, up
// to the next public, function or its own end, and none behind a function that starts at or after it
// (minidump.md §4.4).
func (a *Arrangement) Pieces(yield func(Piece)) {
	var active indexHeap
	var cur Piece
	pos, lastStart, haveStart, publics := uint64(0), uint64(0), false, a.publics
	gap := func(end uint64) { // fills [pos, end)
		for len(publics) > 1 && publics[1].addr <= pos {
			publics = publics[1:]
		}
		for len(publics) > 0 && publics[0].addr < end {
			p := publics[0]
			pEnd := end
			if len(publics) > 1 {
				pEnd = min(pEnd, publics[1].addr)
			}
			if p.size > 0 {
				pEnd = min(pEnd, saturatingEnd(p.addr, p.size))
			}
			if start := max(p.addr, pos); start < pEnd && (!haveStart || p.addr > lastStart) {
				yield(Piece{Start: start, End: pEnd, Function: -1, Public: p.index})
			}
			if len(publics) > 1 && publics[1].addr < end {
				publics = publics[1:]
				continue
			}
			break
		}
	}
	order := a.order
	for {
		for len(active) > 0 && a.end(active[0]) <= pos {
			heap.Pop(&active)
		}
		if len(active) == 0 {
			if cur.End > cur.Start {
				yield(cur)
				cur = Piece{}
			}
			if len(order) == 0 {
				break
			}
			next := a.funcs[order[0]].Addr
			gap(next)
			pos = next
		}
		for len(order) > 0 && a.funcs[order[0]].Addr <= pos {
			heap.Push(&active, order[0])
			lastStart, haveStart = a.funcs[order[0]].Addr, true
			order = order[1:]
		}
		top := active[0]
		next := a.end(top)
		if len(order) > 0 {
			next = min(next, a.funcs[order[0]].Addr)
		}
		if next <= pos { // a function without size
			continue
		}
		if cur.End == pos && cur.Function == int(top) && cur.End > cur.Start {
			cur.End = next
		} else {
			if cur.End > cur.Start {
				yield(cur)
			}
			cur = Piece{Start: pos, End: next, Function: int(top), Public: -1}
		}
		pos = next
	}
	gap(^uint64(0))
}

func (a *Arrangement) end(i uint32) uint64 { return saturatingEnd(a.funcs[i].Addr, a.funcs[i].Size) }

type indexHeap []uint32

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h indexHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexHeap) Push(x any)        { *h = append(*h, x.(uint32)) }
func (h *indexHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// sortByAddr returns the indices of funcs in stable order of address: a radix sort by 16-bit digits
// that skips digits all addresses share.
func sortByAddr(funcs []Extent) []uint32 {
	order := make([]uint32, len(funcs))
	for i := range order {
		order[i] = uint32(i)
	}
	if slices.IsSortedFunc(funcs, func(a, b Extent) int { return cmp.Compare(a.Addr, b.Addr) }) {
		return order
	}
	other := make([]uint32, len(funcs))
	counts := make([]uint32, 1<<16)
	for shift := 0; shift < 64; shift += 16 {
		clear(counts)
		for _, f := range funcs {
			counts[uint16(f.Addr>>shift)]++
		}
		if counts[uint16(funcs[0].Addr>>shift)] == uint32(len(funcs)) {
			continue
		}
		sum := uint32(0)
		for i, c := range counts {
			counts[i], sum = sum, sum+c
		}
		for _, i := range order {
			d := uint16(funcs[i].Addr >> shift)
			other[counts[d]] = i
			counts[d]++
		}
		order, other = other, order
	}
	return order
}
