package minidump

import (
	"cmp"
	"slices"
	"sort"

	"salvage/debug/internal/cursor"
)

// Region is a piece of the process's memory.
type Region struct {
	Addr uint64
	Data []byte // aliases the dump; never reaches past the end of the address space
}

// Contains reports whether the byte at addr is in the region.
func (r Region) Contains(addr uint64) bool { return addr-r.Addr < uint64(len(r.Data)) }

// Read returns n bytes at addr, or nil if not all of them are in the region. The result aliases the dump.
func (r Region) Read(addr, n uint64) []byte {
	off := addr - r.Addr
	if size := uint64(len(r.Data)); off > size || n > size-off {
		return nil
	}
	return r.Data[off : off+n : off+n]
}

func (r Region) last() uint64 { return r.Addr + uint64(len(r.Data)) - 1 }

// Memory is the memory of the process as far as it was written. The zero Memory is empty.
type Memory struct {
	// Regions holds the Memory64 list, then the memory list, in file order, without what has no bytes in
	// the file. They may overlap.
	Regions []Region
	index   []Region // see arrange
}

// At returns the region that has the byte at addr; of several the one that reaches furthest beyond it.
func (m *Memory) At(addr uint64) (Region, bool) {
	i := sort.Search(len(m.index), func(i int) bool { return m.index[i].Addr > addr }) - 1
	if i < 0 || !m.index[i].Contains(addr) {
		return Region{}, false
	}
	return m.index[i], true
}

// Read returns n bytes at addr, or nil if no region has them all: reads do not cross regions. The result
// aliases the dump.
func (m *Memory) Read(addr, n uint64) []byte {
	r, _ := m.At(addr)
	return r.Read(addr, n)
}

// arrange builds the index: of the regions by address those that reach beyond all before them. Their starts and
// their ends ascend, so the last that starts at or before an address has it if any region does, and
// reaches furthest. Writers do not compare what they add: stacks, the code around the program counter,
// what the application registered.
func (m *Memory) arrange() {
	sorted := slices.Clone(m.Regions)
	slices.SortStableFunc(sorted, func(a, b Region) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(b.last(), a.last()))
	})
	m.index = sorted[:0]
	for _, r := range sorted {
		if n := len(m.index); n == 0 || r.last() > m.index[n-1].last() {
			m.index = append(m.index, r)
		}
	}
}

// memory reads both memory lists. A region that is cut off by the end of the file keeps the bytes that are
// there: dumps of full memory are large, and uploads of them often incomplete.
func (p *parser) memory() {
	if c, _, ok := p.open(StreamMemory64List); ok {
		count, base := c.U64(), rva(c.U64())
		if !p.failed(&c) {
			p.records(&c, count, 16, p.limits.Regions, func(_ uint32, c *cursor.Cursor) {
				addr, size := c.U64(), c.U64()
				p.addRegion(addr, base, size)
				if base += rva(size); uint64(base) < size {
					base = ^rva(0) // nothing is there any more
				}
			})
		}
	}
	p.list(StreamMemoryList, 16, p.limits.Regions, func(_ uint32, c *cursor.Cursor) {
		addr := c.U64()
		l := readLocation(c)
		p.addRegion(addr, l.rva, l.size)
	})
	p.d.Memory.arrange()
}

func (p *parser) addRegion(addr uint64, off rva, size uint64) {
	if r := p.region(addr, off, size); r.Data != nil {
		p.d.Memory.Regions = append(p.d.Memory.Regions, r)
	}
}

// region returns what the file has of a memory region, the zero Region if that is nothing.
func (p *parser) region(addr uint64, off rva, size uint64) (r Region) {
	c := p.from(off)
	n := min(size, c.Len())
	switch {
	case off == 0 || size == 0: // known, but not written
		return r
	case addr+(size-1) < addr:
		p.problem("bad record", "region of %#x bytes at %#x ends beyond the address space", size, addr)
		return r
	case n < size:
		p.problem("truncated", "region at %#x: %#x of %#x bytes are in the file", addr, n, size)
	}
	if n > 0 {
		r = Region{addr, c.Bytes(n)}
	}
	return r
}

// MemoryInfo describes a range of the address space, whether its bytes are in the dump or not
// (MINIDUMP_MEMORY_INFO).
type MemoryInfo struct {
	Base, Size           uint64
	AllocationBase       uint64
	AllocationProtection uint32 // PAGE_… when the memory was allocated
	State                uint32 // MEM_COMMIT 0x1000, MEM_RESERVE 0x2000, MEM_FREE 0x10000
	Protection           uint32 // PAGE_…
	Type                 uint32 // MEM_PRIVATE 0x20000, MEM_MAPPED 0x40000, MEM_IMAGE 0x1000000
}

// Readable reports whether the protection allows reads. Copy-on-write pages do not count, as in rust-minidump.
func (m *MemoryInfo) Readable() bool {
	return m.Protection&(0x02|0x04|0x20|0x40) != 0 // PAGE_READONLY, READWRITE, EXECUTE_READ, EXECUTE_READWRITE
}

// Writable reports whether the protection allows writes.
func (m *MemoryInfo) Writable() bool {
	return m.Protection&(0x04|0x08|0x40|0x80) != 0 // PAGE_READWRITE, WRITECOPY, EXECUTE_READWRITE, EXECUTE_WRITECOPY
}

// Executable reports whether the protection allows execution.
func (m *MemoryInfo) Executable() bool {
	return m.Protection&(0x10|0x20|0x40|0x80) != 0 // PAGE_EXECUTE…
}

func (p *parser) memoryInfo() {
	p.extendedList(StreamMemoryInfoList, 16, 48, 8, p.limits.Regions, func(_ uint32, c *cursor.Cursor) {
		m := MemoryInfo{Base: c.U64(), AllocationBase: c.U64(), AllocationProtection: c.U32()}
		c.Skip(4)
		m.Size, m.State, m.Protection, m.Type = c.U64(), c.U32(), c.U32(), c.U32()
		p.d.MemoryInfo = append(p.d.MemoryInfo, m)
	})
}
