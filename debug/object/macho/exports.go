package macho

import (
	"cmp"
	"iter"
	"slices"

	"salvage/debug/symbols"
)

// Export is a symbol that other images can link to.
type Export struct {
	Name []byte
	Addr uint64 // relative to ImageBase
}

const (
	exportKindMask = 3
	exportAbsolute = 2
	exportForward  = 8    // of another library's
	exportResolver = 0x10 // the address is a stub's; a function that picks the code follows

	// A name is what stands on the way from the root of the trie, so names can have any length in total. This
	// many bytes for each byte of the trie, and a base, are granted; libraries need about five.
	exportNameRatio = 64
	exportNameBase  = 1 << 20
)

// contains reports whether addr is in one of the extents, which are ascending and apart.
func contains(extents []symbols.Extent, addr uint64) bool {
	i, exact := slices.BinarySearchFunc(extents, addr, func(e symbols.Extent, addr uint64) int { return cmp.Compare(e.Addr, addr) })
	return exact || i > 0 && addr-extents[i-1].Addr < extents[i-1].Size
}

// Exports iterates over the exports trie in its order, without what is passed on from other libraries. Each
// node is read once, whatever leads to it; what is damaged is left out. Names do not alias the file.
func (f *File) Exports() iter.Seq[Export] {
	return func(yield func(Export) bool) {
		trie := f.exports
		if len(trie) == 0 {
			return
		}
		type edge struct {
			label, node uint64 // offsets
			prefix      int    // of the name, in bytes
		}
		var (
			name   []byte
			todo   = []edge{{}}
			seen   = make([]uint64, len(trie)/64+1) // bits
			budget = exportNameRatio*len(trie) + exportNameBase
		)
		seen[0] = 1
		for len(todo) > 0 {
			e := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			name = name[:e.prefix]
			if e.node != 0 {
				name = append(name, cut(trie[e.label:])...)
			}
			c := f.cursor(trie[e.node:], "exports")
			size := c.ULEB()
			if size > 0 {
				t := c.Sub(size)
				flags, addr := t.ULEB(), t.ULEB()
				if t.Err() == nil && flags&exportForward == 0 && flags&exportKindMask != exportAbsolute {
					if budget -= len(name); budget < 0 || !yield(Export{slices.Clone(name), addr}) {
						return
					}
				}
			}
			first := len(todo)
			for range c.U8() {
				label := uint64(len(trie)) - c.Len()
				budget -= len(c.CString(c.Len())) + 1
				node := c.ULEB()
				if c.Err() != nil || budget < 0 {
					break
				}
				if node < uint64(len(trie)) && seen[node/64]>>(node%64)&1 == 0 {
					seen[node/64] |= 1 << (node % 64)
					todo = append(todo, edge{label, node, len(name)})
				}
			}
			slices.Reverse(todo[first:])
		}
	}
}
