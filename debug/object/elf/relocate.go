package elf

import (
	"math"

	"salvage/debug/internal/cursor"
)

// Relocation section types.
const (
	sectionRela = 4
	sectionRel  = 9
)

// relocation is what a type of relocation does to the bytes it is applied to.
type relocation struct {
	size     uint8 // 4 or 8 bytes
	relative bool  // to the place
}

var (
	word32 = relocation{size: 4}
	word64 = relocation{size: 8}
	rel32  = relocation{4, true}
	rel64  = relocation{8, true}
)

// relocations are the types that assemblers write into debug information and unwind rules, by machine, from the
// processor supplements of the gABI. All of them say symbol + addend, some less the place.
var relocations = map[uint16]map[uint32]relocation{
	3:            {1: word32, 2: rel32},                                                 // R_386_32, PC32
	62:           {1: word64, 2: rel32, 10: word32, 11: word32, 24: rel64},              // R_X86_64_64, PC32, 32, 32S, PC64
	machineARM:   {2: word32, 3: rel32},                                                 // R_ARM_ABS32, REL32
	machineARM64: {257: word64, 258: word32, 260: rel64, 261: rel32},                    // R_AARCH64_ABS64, ABS32, PREL64, PREL32
	machineMIPS:  {2: word32, 18: word64, 248: rel32},                                   // R_MIPS_32, 64, PC32
	20:           {1: word32, 24: word32, 26: rel32},                                    // R_PPC_ADDR32, UADDR32, REL32
	21:           {1: word32, 24: word32, 26: rel32, 38: word64, 43: word64, 44: rel64}, // R_PPC64_…, ADDR64, UADDR64, REL64
	22:           {4: word32, 5: rel32, 22: word64, 23: rel64},                          // R_390_32, PC32, 64, PC64
}

// layOut gives the allocated sections of a relocatable object addresses, which it leaves to the linker: sections
// with code in the order of the file from 0 on, then the others. Tools that ask for an address in such a file
// (llvm-symbolizer, addr2line) mean one in the first section with code.
func (f *File) layOut() {
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Flags&SectionAlloc != 0 && s.Addr != 0 {
			return
		}
	}
	end := uint64(0)
	for _, code := range []bool{true, false} {
		for i := range f.Sections {
			s := &f.Sections[i]
			if s.Flags&SectionAlloc == 0 || s.executable() != code {
				continue
			}
			align := max(s.Align, 1)
			if align&(align-1) != 0 || align > 1<<32 {
				align = 1
			}
			start := (end + align - 1) &^ (align - 1)
			if s.Size > math.MaxInt64-start {
				return
			}
			s.Addr, end = start, start+s.Size
		}
	}
}

// relocated returns the contents of a section of a relocatable object with its relocations applied, in a new
// buffer if there are any. A relocation that is not known leaves its place as it is.
func (f *File) relocated(s *Section, data []byte) []byte {
	known := relocations[f.Machine]
	if f.Type != TypeRel || known == nil || s.Flags&SectionAlloc != 0 && s.Name != ".eh_frame" {
		return data
	}
	// Sections of relocations may overlap, so that one file holds any number of them.
	budget := uint64(len(f.data))
	copied := false
	symbols, _, more := f.symbolTable(Static)
	for i := range f.Sections {
		r := &f.Sections[i]
		if r.Type != sectionRel && r.Type != sectionRela || f.sectionAt(uint64(r.Info)) != s {
			continue
		}
		rows, err := f.RawData(r)
		if err != nil || uint64(len(rows)) > budget {
			continue
		}
		budget -= uint64(len(rows))
		if !copied {
			data, copied = append([]byte(nil), data...), true
		}
		for c := f.cursor(rows); c.Len() > 0; {
			off, symbol, kind := f.relocationEntry(&c)
			addend, hasAddend := uint64(0), r.Type == sectionRela
			if hasAddend {
				addend = f.word(&c)
			}
			how, ok := known[kind]
			if !ok || c.Err() != nil || off > uint64(len(data)) || uint64(len(data))-off < uint64(how.size) {
				continue
			}
			place := data[off : off+uint64(how.size)]
			if !hasAddend {
				in := f.cursor(place)
				addend = in.Uint(how.size)
			}
			v := f.symbolValue(symbols, more, symbol) + addend
			if how.relative {
				v -= s.Addr + off
			}
			for j := range place {
				shift := 8 * j
				if f.BigEndian {
					shift = 8 * (len(place) - 1 - j)
				}
				place[j] = byte(v >> shift)
			}
		}
	}
	return data
}

// relocationEntry reads an entry up to its addend. The 64-bit files of MIPS have three types in an entry, of
// which the first, which comes last, is the only one in debug information.
func (f *File) relocationEntry(c *cursor.Cursor) (off uint64, symbol, kind uint32) {
	off = f.word(c)
	switch {
	case !f.Is64:
		info := c.U32()
		return off, info >> 8, info & 0xff
	case f.Machine == machineMIPS:
		symbol = c.U32()
		c.Skip(3)
		return off, symbol, uint32(c.U8())
	}
	info := c.U64()
	return off, uint32(info >> 32), uint32(info)
}

// symbolValue returns the address of a symbol, 0 if it is not defined in the file.
func (f *File) symbolValue(table, more []byte, index uint32) uint64 {
	size := symbolSize[f.class()]
	if uint64(index) >= uint64(len(table))/size {
		return 0
	}
	c := f.cursor(table[uint64(index)*size:])
	s, _ := f.symbol(&c)
	switch {
	case s.Section == moreSections && uint64(index) < uint64(len(more))/4:
		c := f.cursor(more[4*uint64(index):])
		s.Section = c.U32()
	case s.Section >= firstReserved:
		return s.Addr
	}
	if section := f.sectionAt(uint64(s.Section)); s.Section != 0 && section != nil {
		return section.Addr + s.Addr
	}
	return 0
}
