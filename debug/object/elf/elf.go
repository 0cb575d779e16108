// Package elf reads ELF files: identity, segments, sections and symbols of executables, shared objects,
// relocatable objects and separate debug files, of both classes and byte orders.
//
// It does no I/O: Parse takes the bytes, usually memory-mapped. Parse reads headers only; everything
// else is read when asked for. A File is immutable and safe for concurrent use; names and contents it
// returns alias its bytes unless they were compressed. Addresses are those of the file unless a method
// says that they are relative to ImageBase.
//
// Layouts and constants are those of the System V gABI, chapters 4 and 5, and its GNU extensions.
// Malformed input yields a *debug.FormatError or less in the File and an entry in Problems, never a panic.
package elf

import (
	"bytes"
	"fmt"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// File is what the headers of an ELF file say.
type File struct {
	Type      uint16 // one of Type…, or another
	Machine   uint16 // e_machine; Arch names it
	Is64      bool
	BigEndian bool
	Entry     uint64
	Segments  []Segment // in file order
	Sections  []Section // by section number; 0 is the null section
	// Problems says what of the headers cannot be used. Tables that cannot be used are empty, tables
	// that end outside the file keep what is inside.
	Problems []debug.Problem

	data  []byte
	flags uint32 // e_flags
}

// File types.
const (
	TypeRel  = 1
	TypeExec = 2
	TypeDyn  = 3
	TypeCore = 4
)

// Segment is a program header.
type Segment struct {
	Type, Flags                            uint32
	Offset, Addr, FileSize, MemSize, Align uint64
}

// Segment types and flags.
const (
	SegmentLoad       = 1
	SegmentDynamic    = 2
	SegmentNote       = 4
	SegmentGNUEHFrame = 0x6474e550

	SegmentExecutable = 1
)

// Section is a section header.
type Section struct {
	Name           string // as in the file: .zdebug_info stays that
	Type           uint32
	Flags          uint64
	Addr           uint64 // in a relocatable object as layOut says
	Offset, Size   uint64
	Link, Info     uint32
	Align, EntSize uint64
}

// Section types and flags.
const (
	SectionSymTab      = 2
	SectionDynamic     = 6
	SectionNote        = 7
	SectionNoBits      = 8
	SectionDynSym      = 11
	SectionSymTabIndex = 18

	SectionAlloc      = 1 << 1
	SectionExecutable = 1 << 2
	SectionCompressed = 1 << 11
)

// Machines with a name, from the gABI's registry.
const (
	machineMIPS      = 8
	machineMIPSRS3LE = 10
	machineARM       = 40
	machineARM64     = 183
	machineRISCV     = 243
)

var archs = map[uint16]string{
	2: "sparc", 3: "x86", machineMIPS: "mips", machineMIPSRS3LE: "mips", 20: "ppc", 21: "ppc64", 22: "s390",
	machineARM: "arm", 43: "sparcv9", 62: "x86_64", machineARM64: "arm64", machineRISCV: "riscv", 258: "loongarch",
}

// Arch returns the CPU under the name Breakpad uses, or "unknown".
func (f *File) Arch() string {
	name := archs[f.Machine]
	switch name {
	case "":
		return "unknown"
	case "mips":
		// 64-bit code in 32-bit files: the ABIs O64 and EABI64 (EF_MIPS_ABI).
		if abi := f.flags & 0xf000; f.Is64 || abi == 0x2000 || abi == 0x4000 {
			return "mips64"
		}
	case "riscv", "loongarch":
		if f.Is64 {
			return name + "64"
		}
	case "s390":
		if f.Is64 {
			return "s390x"
		}
	}
	return name
}

// Sizes of records: 32-bit, 64-bit.
var (
	headerSize  = [2]int{52, 64}
	segmentSize = [2]uint64{32, 56}
	sectionSize = [2]uint64{40, 64}
)

// Numbers that say "see section 0" or name no section.
const (
	moreSegments  = 0xffff // PN_XNUM in e_phnum
	moreSections  = 0xffff // SHN_XINDEX in e_shstrndx and st_shndx
	firstReserved = 0xff00 // SHN_LORESERVE
)

// Probe reports whether data starts like an ELF file.
func Probe(data []byte) bool { return bytes.HasPrefix(data, []byte("\x7fELF")) }

// Parse reads the headers of data and retains it. It fails only where the file header cannot be used.
func Parse(data []byte) (*File, error) {
	fail := func(off uint64, reason string, cause error) (*File, error) {
		return nil, &debug.FormatError{Format: "elf", Offset: off, Reason: reason, Err: cause}
	}
	const ident = 16 // EI_NIDENT
	switch {
	case !Probe(data):
		return fail(0, "wrong magic", nil)
	case len(data) < ident:
		return fail(uint64(len(data)), "file header cut off", debug.ErrTruncated)
	case data[4] != 1 && data[4] != 2:
		return fail(4, "unknown class", debug.ErrUnsupported)
	case data[5] != 1 && data[5] != 2:
		return fail(5, "unknown byte order", debug.ErrUnsupported)
	}
	f := &File{Is64: data[4] == 2, BigEndian: data[5] == 2, data: data}
	if len(data) < headerSize[f.class()] {
		return fail(uint64(len(data)), "file header cut off", debug.ErrTruncated)
	}
	c := f.cursor(data[ident:])
	f.Type, f.Machine = c.U16(), c.U16()
	c.Skip(4) // e_version, which nobody changes
	f.Entry = f.word(&c)
	segments, sections := f.word(&c), f.word(&c)
	f.flags = c.U32()
	c.Skip(2) // e_ehsize
	segmentEntry, segmentCount := uint64(c.U16()), uint64(c.U16())
	sectionEntry, sectionCount, nameSection := uint64(c.U16()), uint64(c.U16()), uint64(c.U16())

	// Numbers too large for the file header are in section 0.
	if zero := f.table("", sections, 1, sectionEntry, sectionSize[f.class()]); zero != nil {
		s := f.section(zero)
		if sectionCount == 0 {
			sectionCount = s.Size
		}
		if segmentCount == moreSegments {
			segmentCount = uint64(s.Info)
		}
		if nameSection == moreSections {
			nameSection = uint64(s.Link)
		}
	}
	rows := f.table("segments", segments, segmentCount, segmentEntry, segmentSize[f.class()])
	for ; len(rows) > 0; rows = rows[segmentEntry:] {
		f.Segments = append(f.Segments, f.segment(rows))
	}
	rows = f.table("sections", sections, sectionCount, sectionEntry, sectionSize[f.class()])
	outside := 0
	for at := rows; len(at) > 0; at = at[sectionEntry:] {
		s := f.section(at)
		if _, err := f.RawData(&s); err != nil && s.Type != 0 && s.Type != SectionNoBits {
			outside++
		}
		f.Sections = append(f.Sections, s)
	}
	if outside > 0 {
		f.problem("sections", "cut off", "%d of %d sections are not inside the file", outside, len(f.Sections))
	}
	if len(f.Sections) == 0 {
		return f, nil
	}
	data, err := f.RawData(f.sectionAt(nameSection))
	if err != nil {
		f.problem("sections", "no names", "section %d of %d: %v", nameSection, len(f.Sections), err)
	}
	names := newNames(data, len(f.Sections))
	for i := range f.Sections {
		c := f.cursor(rows[uint64(i)*sectionEntry:])
		f.Sections[i].Name = string(names.at(uint64(c.U32())))
	}
	if f.Type == TypeRel {
		f.layOut()
	}
	return f, nil
}

// table returns the entries of a header table that are inside the file; what names it in problems,
// "" keeps silent. Entries may be longer than we know.
func (f *File) table(what string, off, count, entry, least uint64) []byte {
	size := uint64(len(f.data))
	switch {
	case off == 0 || count == 0:
		return nil
	case entry < least:
		if what != "" {
			f.problem(what, "bad header", "entries of %d bytes, %d expected", entry, least)
		}
		return nil
	}
	have := uint64(0)
	if off < size {
		have = (size - off) / entry
	}
	if have < count && what != "" {
		f.problem(what, "cut off", "%d of %d headers are inside the file", have, count)
	}
	if have = min(have, count); have == 0 {
		return nil
	}
	return f.data[off : off+have*entry]
}

func (f *File) problem(where, kind, detail string, args ...any) {
	f.Problems = append(f.Problems, debug.Problem{Where: where, Kind: kind, Detail: fmt.Sprintf(detail, args...)})
}

func (f *File) segment(row []byte) (s Segment) {
	c := f.cursor(row)
	s.Type = c.U32()
	if f.Is64 {
		s.Flags = c.U32()
	}
	s.Offset, s.Addr = f.word(&c), f.word(&c)
	f.word(&c) // p_paddr
	s.FileSize, s.MemSize = f.word(&c), f.word(&c)
	if !f.Is64 {
		s.Flags = c.U32()
	}
	s.Align = f.word(&c)
	return s
}

func (f *File) section(row []byte) (s Section) {
	c := f.cursor(row)
	c.Skip(4) // sh_name
	s.Type = c.U32()
	s.Flags, s.Addr, s.Offset, s.Size = f.word(&c), f.word(&c), f.word(&c), f.word(&c)
	s.Link, s.Info = c.U32(), c.U32()
	s.Align, s.EntSize = f.word(&c), f.word(&c)
	return s
}

// class indexes the arrays of sizes.
func (f *File) class() int {
	if f.Is64 {
		return 1
	}
	return 0
}

func (f *File) cursor(data []byte) cursor.Cursor {
	return cursor.New(data, "elf", "").BigEndian(f.BigEndian)
}

// word reads an address, offset or size.
func (f *File) word(c *cursor.Cursor) uint64 {
	if f.Is64 {
		return c.U64()
	}
	return uint64(c.U32())
}

// names is a string table. Strings may share their ends, so every name can be as long as the table; a
// budget keeps the work linear: the whole table once and 256 bytes for every name.
type names struct {
	data   []byte
	budget uint64
}

func newNames(data []byte, count int) names {
	return names{data, uint64(len(data)) + 256*uint64(count)}
}

// at returns the string at off, nil if there is none. It aliases the table.
func (n *names) at(off uint64) []byte {
	if off >= uint64(len(n.data)) {
		return nil
	}
	b := n.data[off:]
	b = b[:min(uint64(len(b)), n.budget)]
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		n.budget -= uint64(len(b))
		return nil
	}
	n.budget -= uint64(end)
	return b[:end:end]
}
