package pe

import (
	"bytes"
	"iter"

	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// Symbol is a name for an address.
type Symbol struct {
	Addr uint32
	Name []byte // aliases the file
}

const (
	exportTableSize = 40

	typeFunction   = 0x20 // IMAGE_SYM_DTYPE_FUNCTION << 4
	classExternal  = 2
	classStatic    = 3
	classWeak      = 105
	maxBytesPerSym = 256 // names may share their ends; see elf.Functions
)

// Exports yields what the export table names. Exports without a name, and those that stand for one of
// another library, are left out.
func (f *File) Exports() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		start, size := f.directory(directoryExport)
		t := cursor.New(f.At(start), "pe", "exports")
		if t.Len() < exportTableSize {
			return
		}
		t.Skip(20)
		addrCount, nameCount, addrs, names, ordinals := uint64(t.U32()), uint64(t.U32()), t.U32(), t.U32(), t.U32()
		table := cursor.New(f.At(addrs), "pe", "exports")
		table = cursor.New(table.Table(min(addrCount, table.Len()/4), 4), "pe", "exports")
		n, o := cursor.New(f.At(names), "pe", "exports"), cursor.New(f.At(ordinals), "pe", "exports")
		budget := len(f.data)
		for range nameCount {
			name, ordinal := n.U32(), uint64(o.U16())
			if n.Err() != nil || o.Err() != nil {
				return
			}
			c := table.At(4*ordinal, 4)
			addr := c.U32()
			text := f.At(name)
			text = cut(text[:min(len(text), budget)])
			budget -= len(text)
			if c.Err() != nil || len(text) == 0 || addr == 0 || addr-start < size {
				continue
			}
			if !yield(Symbol{addr, text}) {
				return
			}
		}
	}
}

// Functions returns the symbols that name code: those of the COFF symbol table, which only GNU's tools and
// LLVM's on request write into images, else the exports. In the table they are functions and labels in
// sections with code. For x86 the underscore that C puts before names there is cut off.
func (f *File) Functions() []Symbol {
	code := f.Executable()
	var list []Symbol
	c := cursor.New(f.symbols, "pe", "symbols")
	budget := len(f.strings) + maxBytesPerSym*len(f.symbols)/symbolSize
	for c.Len() >= symbolSize {
		name := f.symbolName(c.Bytes(8))
		value, section, kind, class, aux := c.U32(), int16(c.U16()), c.U16(), c.U8(), uint64(c.U8())
		c.Skip(min(aux*symbolSize, c.Len()))
		if section <= 0 || int(section) > len(f.Sections) || len(name) == 0 {
			continue
		}
		s := &f.Sections[section-1]
		switch {
		case !s.HasCode(), value >= s.memory():
			continue
		case class == classExternal || class == classWeak:
		case class == classStatic && kind == typeFunction:
		default: // sections, files, labels of the assembler
			continue
		}
		if f.Machine == MachineX86 {
			name = bytes.TrimPrefix(name, []byte("_"))
		}
		if budget -= len(name); budget < 0 {
			break
		}
		list = append(list, Symbol{s.Addr + value, name})
	}
	if len(list) > 0 {
		return list
	}
	for s := range f.Exports() {
		if symbols.InCode(code, uint64(s.Addr)) {
			list = append(list, s)
		}
	}
	return list
}

// symbolName reads a name that is in the symbol itself or, behind four zeros, in the string table.
func (f *File) symbolName(b []byte) []byte {
	if bytes.HasPrefix(b, []byte{0, 0, 0, 0}) {
		return f.string(uint64(b[4]) | uint64(b[5])<<8 | uint64(b[6])<<16 | uint64(b[7])<<24)
	}
	return cut(b)
}

// HasSymbols reports whether Functions returns any.
func (f *File) HasSymbols() bool { return len(f.Functions()) > 0 }
