package elf

import (
	"bytes"
	"cmp"
	"iter"
	"slices"

	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// Table is one of the two symbol tables of a file.
type Table uint8

// The symbol tables.
const (
	Static  Table = iota // .symtab, which strip removes
	Dynamic              // .dynsym, which the dynamic linker needs
)

// Symbol is an entry of a symbol table.
type Symbol struct {
	Name       []byte // aliases the file; with the version some linkers append after @
	Addr, Size uint64 // as in the file: on ARM an odd address says Thumb, in a relocatable object it counts from the section
	Type, Bind uint8
	Visibility uint8
	// Section is an index into File.Sections, 0 if the symbol is defined elsewhere. The reserved numbers,
	// such as that of absolute symbols, are sign-extended: from SectionReserved up.
	Section uint32
}

// Symbol types, and the first section number that names none.
const (
	SymbolNoType = 0
	SymbolFunc   = 2
	SymbolFile   = 4
	SymbolIFunc  = 10 // STT_GNU_IFUNC

	SectionReserved = 0xffff0000 | firstReserved
)

var symbolSize = [2]uint64{16, 24}

// Symbols iterates over the symbols of a table in file order, without the null symbol. A table that is
// not in the file has none; one that is cut off has none either. In a file without sections the dynamic
// table is found by way of its hash table.
func (f *File) Symbols(t Table) iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		rows, strings, more := f.symbolTable(t)
		size := symbolSize[f.class()]
		count := uint64(len(rows)) / size
		names := newNames(strings, int(count))
		c := f.cursor(rows[min(size, uint64(len(rows))):])
		for i := uint64(1); i < count; i++ {
			s, name := f.symbol(&c)
			switch {
			case s.Section == moreSections && 4*i+4 <= uint64(len(more)):
				index := f.cursor(more[4*i:])
				s.Section = index.U32()
			case s.Section >= firstReserved:
				s.Section |= 0xffff0000
			}
			s.Name = names.at(uint64(name))
			if !yield(s) {
				return
			}
		}
	}
}

func (f *File) symbol(c *cursor.Cursor) (s Symbol, name uint32) {
	var info uint8
	name = c.U32()
	if f.Is64 {
		info, s.Visibility, s.Section = c.U8(), c.U8()&3, uint32(c.U16())
		s.Addr, s.Size = c.U64(), c.U64()
	} else {
		s.Addr, s.Size = uint64(c.U32()), uint64(c.U32())
		info, s.Visibility, s.Section = c.U8(), c.U8()&3, uint32(c.U16())
	}
	s.Type, s.Bind = info&0xf, info>>4
	return s, name
}

// symbolTable returns the entries of a table, their strings, and the section numbers that are too large
// for the entries.
func (f *File) symbolTable(t Table) (rows, strings, more []byte) {
	kind := uint32(SectionSymTab)
	if t == Dynamic {
		kind = SectionDynSym
	}
	s := f.sectionOfType(kind)
	switch {
	case s != nil:
		rows, err := f.RawData(s)
		if err != nil || s.Flags&SectionCompressed != 0 {
			return nil, nil, nil
		}
		for i := range f.Sections {
			if x := &f.Sections[i]; x.Type == SectionSymTabIndex && f.sectionAt(uint64(x.Link)) == s {
				more, _ = f.RawData(x)
			}
		}
		strings, _ = f.RawData(f.sectionAt(uint64(s.Link)))
		return rows, strings, more
	case t == Dynamic && len(f.Sections) == 0:
		d := f.dynamic()
		rows := f.memory(d.symTab)
		return rows[:min(uint64(len(rows)), f.dynamicCount(d)*symbolSize[f.class()])], d.strings, nil
	}
	return nil, nil, nil
}

// dynamicCount returns the number of dynamic symbols, which only the hash tables know.
func (f *File) dynamicCount(d dynamic) uint64 {
	if d.hash != 0 {
		c := f.cursor(f.memory(d.hash))
		c.Skip(4) // nbucket
		return uint64(c.U32())
	}
	if d.gnuHash == 0 {
		return 0
	}
	// Buckets hold the first symbol of a chain each, and chains are in order: the last symbol is the
	// end, marked by an odd hash, of the chain that starts last.
	c := f.cursor(f.memory(d.gnuHash))
	buckets, first, bloom := uint64(c.U32()), uint64(c.U32()), uint64(c.U32())
	c.Skip(4)                    // bloom shift
	c.Table(bloom, 4<<f.class()) // words
	last := uint64(0)
	for b := f.cursor(c.Table(buckets, 4)); b.Len() > 0; {
		last = max(last, uint64(b.U32()))
	}
	if last < first {
		return first
	}
	c.Table(last-first, 4)
	for c.Len() > 0 {
		last++
		if c.U32()&1 != 0 {
			break
		}
	}
	return last
}

// Function is a symbol that names code.
type Function struct {
	Name       []byte // aliases the file
	Addr, Size uint64 // relative to ImageBase; Size 0: up to the next one
	File       []byte // of a local symbol: the source file, without folder, where the table says it; aliases the file
}

// Functions returns the symbols that name code, in an order from which symbols.Arrange chooses as LLVM
// does: the table's own. They are those of .symtab, before them those of .dynsym and of .gnu_debugdata
// at addresses that .symtab does not name (all of them where there is no .symtab, many where strip was
// told to keep a few).
//
// Functions are defined symbols of type FUNC and GNU_IFUNC, and such without a type in executable
// sections, which are labels of assembly code (LLVM counts data as well). Mapping symbols are none, nor
// are symbols below ImageBase. A version (memcpy@@GLIBC_2.14) is cut off, and the bit that says Thumb or
// microMIPS is cleared.
func (f *File) Functions() []Function {
	all := slices.Collect(f.functions(Dynamic))
	if mini := f.debugData(); mini != nil {
		all = MergeFunctions(all, slices.Collect(mini.functions(Static)))
	}
	all = MergeFunctions(all, slices.Collect(f.functions(Static)))
	f.bound(all)
	return all
}

// MergeFunctions returns the functions of two symbol tables of one image: better, and before them those of
// list at addresses that better does not name.
func MergeFunctions(list, better []Function) []Function {
	named := map[uint64]bool{} // addresses of list: whether better names them too
	for _, s := range list {
		named[s.Addr] = false
	}
	for _, s := range better {
		if _, ok := named[s.Addr]; ok {
			named[s.Addr] = true
		}
	}
	return append(slices.DeleteFunc(list, func(s Function) bool { return named[s.Addr] }), better...)
}

// bound gives the last symbol of each range of code the range's end, if it has no size: _fini, which is
// assembly code and mostly that symbol, does not name the constants behind. A range ends with its last
// executable section, since segments hold constants too.
func (f *File) bound(all []Function) {
	base, code := f.ImageBase(), f.Executable()
	for r := range code {
		var end uint64
		for i := range f.Sections {
			if s := &f.Sections[i]; s.executable() && s.Addr-code[r].Addr < code[r].Size {
				end = max(end, min(s.Addr-code[r].Addr+s.Size, code[r].Size))
			}
		}
		if end > 0 {
			code[r].Size = end
		}
	}
	last := make([]uint64, len(code)) // address of the last symbol, +1
	rangeOf := func(fn *Function) int {
		i, exact := slices.BinarySearchFunc(code, fn.Addr+base, func(e symbols.Extent, addr uint64) int { return cmp.Compare(e.Addr, addr) })
		if !exact {
			i--
		}
		if i < 0 || fn.Addr+base-code[i].Addr >= code[i].Size {
			return -1
		}
		return i
	}
	for i := range all {
		if r := rangeOf(&all[i]); r >= 0 {
			last[r] = max(last[r], all[i].Addr+1)
		}
	}
	for i := range all {
		fn := &all[i]
		if r := rangeOf(fn); fn.Size == 0 && r >= 0 && fn.Addr+1 == last[r] {
			fn.Size = code[r].Addr + code[r].Size - base - fn.Addr
		}
	}
}

// HasSymbols reports whether the file has symbols that name code.
func (f *File) HasSymbols() bool {
	for _, t := range []Table{Static, Dynamic} {
		for range f.functions(t) {
			return true
		}
	}
	if mini := f.debugData(); mini != nil {
		for range mini.functions(Static) {
			return true
		}
	}
	return false
}

func (f *File) functions(t Table) iter.Seq[Function] {
	return func(yield func(Function) bool) {
		base, code := f.ImageBase(), f.Executable()
		odd := f.Machine == machineARM || f.Machine == machineMIPS || f.Machine == machineMIPSRS3LE
		var file []byte // of the local symbols that follow
		for s := range f.Symbols(t) {
			switch {
			case s.Type == SymbolFile:
				file = s.Name
				continue
			case s.Section == 0 || s.Section >= SectionReserved || len(s.Name) == 0:
				continue
			case s.Type == SymbolFunc || s.Type == SymbolIFunc:
				if odd {
					s.Addr &^= 1
				}
			case s.Type != SymbolNoType || f.mapping(s.Name):
				continue
			case len(f.Sections) == 0 && !inside(code, s.Addr):
				continue
			case len(f.Sections) > 0 && !f.sectionAt(uint64(s.Section)).executable():
				continue
			}
			if section := f.sectionAt(uint64(s.Section)); f.Type == TypeRel && section != nil {
				s.Addr += section.Addr
			}
			if s.Addr < base {
				continue
			}
			if at := bytes.IndexByte(s.Name, '@'); at > 0 {
				s.Name = s.Name[:at:at]
			}
			fn := Function{Name: s.Name, Addr: s.Addr - base, Size: s.Size}
			if s.Bind == 0 { // STB_LOCAL
				fn.File = file
			}
			if !yield(fn) {
				return
			}
		}
	}
}

// mapping reports whether name is that of a mapping symbol, which says what kind of code or data
// follows: $a, $t, $d, $x, also with a suffix after a dot (ELF for the Arm Architecture §5.5.5), on
// RISC-V with the instruction set after $x (RISC-V ELF psABI).
func (f *File) mapping(name []byte) bool {
	if len(name) < 2 || name[0] != '$' {
		return false
	}
	kinds := ""
	switch f.Machine {
	case machineARM:
		kinds = "atd"
	case machineARM64:
		kinds = "xd"
	case machineRISCV:
		if name[1] == 'x' {
			return true
		}
		kinds = "d"
	}
	return bytes.IndexByte([]byte(kinds), name[1]) >= 0 && (len(name) == 2 || name[2] == '.')
}
