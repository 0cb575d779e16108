package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/minidump"
	"salvage/debug/object"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
	"salvage/internal/mmap"
)

// debugFile is a debug file and the file it is opened over.
type debugFile struct {
	*object.Object
	file *mmap.File
}

// symbols returns what is in the file. If the pages that will be asked for are known (not nil), that of a
// .sym are those alone, and its unwind rules go, likewise, to rules, which may be nil.
func (f debugFile) symbols(ctx context.Context, asked pages, rules *cfi.Builder, rep *object.Report) symbols.Source {
	if !breakpad.Probe(f.file.Data) {
		f.Forget = f.file.Forget
		return f.Symbols(ctx, rep)
	}
	return func(emit func(*symbols.Batch) error) error {
		h, o := breakpad.Handler{Batch: emit}, breakpad.Options{Done: f.file.Forget}
		if rules != nil {
			h.CFI, h.Win = rules.StackCFI, rules.StackWin
		}
		if asked != nil {
			o.Wanted = asked.overlap
		}
		file, err := breakpad.Parse(f.file.Data, h, o)
		if err != nil {
			return err
		}
		rep.Problems = file.Problems
		rep.Lost = file.Counts.Bad + file.Counts.Unknown + file.Counts.TooLong
		return nil
	}
}

// names makes a lookup file in memory; see symbols.
func (f debugFile) names(ctx context.Context, asked pages, rules *cfi.Builder, rep *object.Report) (*symcache.Cache, error) {
	var out bytes.Buffer
	if asked == nil {
		out.Grow(len(f.file.Data) / 2) // what is not written takes no memory
	}
	if _, err := symcache.Build(ctx, &out, &f.Module, f.symbols(ctx, asked, rules, rep), symcache.Options{}); err != nil {
		return nil, err
	}
	return symcache.Parse(out.Bytes())
}

// pages are numbers of pages of 4 KiB of a module, ascending.
type pages []uint64

const pageShift = 12

// maxStacks is how many bytes of stacks are looked through: some seconds of work.
const maxStacks = 256 << 20

func (p pages) has(addr uint64) bool { return p.overlap(addr, 1) }

func (p pages) overlap(addr, size uint64) bool {
	last := addr + max(size, 1) - 1
	if last < addr {
		last = ^uint64(0)
	}
	i, _ := slices.BinarySearch(p, addr>>pageShift)
	return i < len(p) && p[i] <= last>>pageShift
}

// add adds the page of addr; sort makes the pages ready for use.
func (p *pages) add(addr uint64) {
	if page := addr >> pageShift; len(*p) == 0 || (*p)[len(*p)-1] != page {
		*p = append(*p, page)
	}
}

func (p *pages) sort() {
	slices.Sort(*p)
	*p = slices.Compact(*p)
}

// addresses are all that will be asked for.
type addresses struct {
	sorted []uint64
	from   []uint32 // of each 2^shift addresses from the first on: index of the first of sorted that is not before them
	shift  uint
}

func newAddresses(list []uint64) *addresses {
	a := &addresses{sorted: list}
	slices.Sort(a.sorted)
	if n := len(list); n > 0 {
		for (list[n-1]-list[0])>>a.shift > 2*uint64(n) {
			a.shift++
		}
		for i, addr := range list {
			for uint64(len(a.from)) <= (addr-list[0])>>a.shift {
				a.from = append(a.from, uint32(i))
			}
		}
	}
	return a
}

// overlap reports whether one of them is among the size from addr on.
func (a *addresses) overlap(addr, size uint64) bool {
	i := 0
	if len(a.sorted) > 0 && addr > a.sorted[0] {
		bucket := (addr - a.sorted[0]) >> a.shift
		if bucket >= uint64(len(a.from)) {
			return false
		}
		i = int(a.from[bucket])
	}
	for ; i < len(a.sorted); i++ {
		if a.sorted[i] >= addr {
			return a.sorted[i]-addr < size
		}
	}
	return false
}

// askedIn returns the pages of modules that a walk of d is going to ask for: where the registers and the
// words on the stacks point. It may ask for others, as where a signature has to come off a pointer. Nil: there
// are more stacks than is worth it, as where a hostile dump has the same memory for each of its threads.
func askedIn(d *minidump.Dump) map[*minidump.Module]*pages {
	size := 0
	for i := range d.Threads {
		if size += len(d.Threads[i].Stack.Data); size > maxStacks {
			return nil
		}
	}
	asked := map[*minidump.Module]*pages{}
	var m *minidump.Module // the last one
	word := func(addr uint64) {
		if m == nil || addr-m.Addr > uint64(m.Size) {
			if m = d.ModuleAt(addr); m == nil {
				return
			}
		}
		p := asked[m]
		if p == nil {
			p = new(pages)
			asked[m] = p
		}
		// A return address is looked up as the call before it.
		p.add(addr - m.Addr)
		p.add(max(addr-m.Addr, 4) - 4)
	}
	context := func(c *minidump.Context) {
		if c != nil {
			for _, r := range c.Regs {
				word(r)
			}
		}
	}
	var order binary.ByteOrder = binary.LittleEndian
	if d.BigEndian {
		order = binary.BigEndian
	}
	for i := range d.Threads {
		t := &d.Threads[i]
		context(t.Context)
		stack := t.Stack.Data
		if t.Context != nil && t.Context.CPU.PointerSize() == 4 {
			for ; len(stack) >= 4; stack = stack[4:] {
				word(uint64(order.Uint32(stack)))
			}
			continue
		}
		for ; len(stack) >= 8; stack = stack[8:] {
			word(order.Uint64(stack))
		}
	}
	if d.Exception != nil {
		context(d.Exception.Context)
	}
	for _, p := range asked {
		p.sort()
	}
	return asked
}
