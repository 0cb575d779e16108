package macho

import (
	"bytes"
	"iter"
	"slices"

	"salvage/debug/internal/cursor"
)

// Symbol is an entry of the symbol table.
type Symbol struct {
	Name    []byte // aliases the file; as it is there, with the underscore that C names get
	Type    uint8  // n_type
	Section uint8  // number, from 1; 0: none
	Flags   uint16 // n_desc
	Addr    uint64 // or whatever else n_value is

	name uint32
}

// Bits of a symbol's type, and types of debugging entries.
const (
	symbolStab      = 0xe0
	symbolTypeMask  = 0x0e
	symbolInSection = 0x0e

	stabFunction = 0x24 // N_FUN
	stabSource   = 0x64 // N_SO
	stabObject   = 0x66 // N_OSO
)

func symbolSize(is64 bool) uint64 {
	if is64 {
		return 16
	}
	return 12
}

// Symbols iterates over the symbol table in file order.
func (f *File) Symbols() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		n := newNames(f.strings, f.symbolCount)
		for c := f.cursor(f.symbols, "symbols"); c.Len() > 0; {
			s := f.symbol(&c)
			s.Name = n.at(uint64(s.name))
			if !yield(s) {
				return
			}
		}
	}
}

func (f *File) symbol(c *cursor.Cursor) (s Symbol) {
	s.name, s.Type, s.Section, s.Flags = c.U32(), c.U8(), c.U8(), c.U16()
	s.Addr = f.word(c)
	return s
}

// names is a string table. Names may share their ends, so every one can be as long as the table; a budget
// keeps the work linear: the whole table once and 256 bytes for every name.
type names struct {
	data   []byte
	budget uint64
}

func newNames(data []byte, count int) names {
	return names{data, uint64(len(data)) + 256*uint64(count)}
}

// at returns the string at off, nil if there is none.
func (n *names) at(off uint64) []byte {
	if off >= uint64(len(n.data)) {
		return nil
	}
	b := n.data[off:]
	b = cut(b[:min(uint64(len(b)), n.budget)])
	n.budget -= uint64(len(b))
	return b
}

// Function is a symbol or export that names code.
type Function struct {
	Name       []byte // aliases the file
	Addr, Size uint64 // relative to ImageBase; Size 0: nothing is known to end it
}

// Functions returns what names code: the symbols of sections with code in file order, and before them the
// exports at addresses that no symbol names. Debugging entries are none, nor is what lies below ImageBase. One
// leading underscore, which C's names get, is taken off; names of Objective-C and Swift, and the placeholders
// __hidden# of bitcode, are left as they are.
//
// A function ends where the next symbol is, where the table of function starts has another, or where its
// section starts or ends.
func (f *File) Functions() []Function {
	base, code := f.ImageBase(), f.Executable()
	named := make([]Function, 0, f.symbolCount)
	ends := make([]uint64, 0, f.symbolCount)
	for s := range f.functions() {
		named = append(named, Function{Name: plain(s.Name), Addr: s.Addr - base})
		ends = append(ends, s.Addr-base)
	}
	slices.Sort(ends)
	starts := ends
	var all []Function
	for e := range f.Exports() {
		if _, twice := slices.BinarySearch(starts, e.Addr); !twice && contains(code, e.Addr+base) {
			all = append(all, Function{Name: plain(e.Name), Addr: e.Addr})
			ends = append(ends, e.Addr)
		}
	}
	all = append(all, named...)
	for start := range f.FunctionStarts() {
		ends = append(ends, start)
	}
	for i := range f.Sections {
		if s := &f.Sections[i]; s.HasCode() && s.Addr >= base {
			ends = append(ends, s.Addr-base, s.Addr+s.Size-base)
		}
	}
	slices.Sort(ends)
	ends = slices.Compact(ends)
	for i := range all {
		if n, exact := slices.BinarySearch(ends, all[i].Addr); exact && n+1 < len(ends) {
			all[i].Size = ends[n+1] - all[i].Addr
		}
	}
	return all
}

// functions iterates over the symbols of sections with code.
func (f *File) functions() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		base := f.ImageBase()
		for s := range f.Symbols() {
			if s.Type&symbolStab != 0 || s.Type&symbolTypeMask != symbolInSection || len(s.Name) == 0 || s.Addr < base {
				continue
			}
			if s.Section == 0 || int(s.Section) > len(f.Sections) || !f.Sections[s.Section-1].HasCode() {
				continue
			}
			if !yield(s) {
				return
			}
		}
	}
}

// HasSymbols reports whether the file has anything that names code.
func (f *File) HasSymbols() bool {
	for range f.functions() {
		return true
	}
	base, code := f.ImageBase(), f.Executable()
	for e := range f.Exports() {
		if contains(code, e.Addr+base) {
			return true
		}
	}
	return false
}

func plain(name []byte) []byte {
	if len(name) > 1 && name[0] == '_' && !bytes.HasPrefix(name, []byte("__hidden#")) {
		return name[1:]
	}
	return name
}

// FunctionStarts iterates over the addresses of functions, relative to ImageBase and ascending, that the
// linker listed. Most of them have a symbol as well.
func (f *File) FunctionStarts() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		addr := uint64(0)
		for c := f.cursor(f.functionStarts, "function starts"); c.Len() > 0; {
			delta := c.ULEB()
			if delta == 0 || addr+delta < addr {
				return
			}
			if addr += delta; !yield(addr) {
				return
			}
		}
	}
}
