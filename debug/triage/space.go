package triage

import (
	"cmp"
	"slices"

	"salvage/debug/minidump"
)

// span is a range of the address space with one protection. Last is inclusive, so that a span may end the
// address space.
type span struct {
	first, last          uint64
	read, write, execute bool
	guard                bool // PAGE_GUARD: the next access raises an exception
}

// space is what a dump knows of the address space: spans by address that do not overlap.
type space []span

// pageGuard is PAGE_GUARD of winnt.h.
const pageGuard = 0x100

// newSpace takes the memory info list or, without one, the mappings of Linux. Of spans that overlap the one
// that starts first is kept, of several that start together the smallest.
func newSpace(d *minidump.Dump) space {
	var all space
	add := func(first, size uint64, s span) {
		if last := first + size - 1; size > 0 && last >= first {
			s.first, s.last = first, last
			all = append(all, s)
		}
	}
	for i := range d.MemoryInfo {
		m := &d.MemoryInfo[i]
		add(m.Base, m.Size, span{read: m.Readable(), write: m.Writable(), execute: m.Executable(), guard: m.Protection&pageGuard != 0})
	}
	if len(d.MemoryInfo) == 0 {
		for _, m := range d.Linux.Maps {
			if m.Start < m.End {
				add(m.Start, m.End-m.Start, span{read: m.Read, write: m.Write, execute: m.Execute})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b span) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.last, b.last)) })
	kept := all[:0]
	for _, s := range all {
		if n := len(kept); n == 0 || s.first > kept[n-1].last {
			kept = append(kept, s)
		}
	}
	return kept
}

// find returns the index of the span with addr, or −1.
func (s space) find(addr uint64) int {
	i, found := slices.BinarySearchFunc(s, addr, func(p span, addr uint64) int { return cmp.Compare(p.first, addr) })
	if !found {
		i--
	}
	if i < 0 || addr > s[i].last {
		return -1
	}
	return i
}

func (s *span) accessible() bool { return s.read || s.write || s.execute }

// maxGuard bounds what counts as a guard page without being marked as one: two of the largest pages in use.
const maxGuard = 2 << 14

// guardPage reports whether addr is likely in a guard page: one that is marked so or, as systems other than
// Windows know no mark, a small span without any permission right beside one with some.
func (s space) guardPage(addr uint64) bool {
	i := s.find(addr)
	if i < 0 || s[i].guard {
		return i >= 0
	}
	if s[i].accessible() || s[i].last-s[i].first >= maxGuard {
		return false
	}
	return i > 0 && s[i-1].last+1 == s[i].first && s[i-1].accessible() ||
		i+1 < len(s) && s[i].last+1 == s[i+1].first && s[i+1].accessible()
}

// operation is what an instruction was about to do to memory.
type operation uint8

const (
	unknownOperation operation = iota
	reading
	writing
	executing
)

// allows reports whether a span permits an operation; of an unknown one it says unknown.
func (s *span) allows(o operation, unknown bool) bool {
	switch o {
	case reading:
		return s.read
	case writing:
		return s.write
	case executing:
		return s.execute
	}
	return unknown
}

// distance returns how far addr, which is in none, is from the nearest span that permits an operation.
func (s space) distance(addr uint64, o operation) (nearest uint64, ok bool) {
	for i := range s {
		p := &s[i]
		if !p.allows(o, true) {
			continue
		}
		d := p.first - addr
		if addr >= p.first {
			d = addr - p.last
		}
		if !ok || d < nearest {
			nearest, ok = d, true
		}
	}
	return nearest, ok
}
