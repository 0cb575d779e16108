// Package pe reads Windows executables and libraries, PE32 and PE32+: identity, sections, exports, the COFF
// symbol table that GNU's linkers leave in, and what names the PDB.
//
// It does no I/O: Parse takes the bytes, usually memory-mapped. Parse reads headers only; everything
// else is read when asked for. A File is immutable and safe for concurrent use; names and contents it
// returns alias its bytes. Addresses are relative to ImageBase, as in the file.
//
// Layouts and constants are those of Microsoft's "PE Format" specification. Malformed input yields a
// *debug.FormatError or less in the File and an entry in Problems, never a panic.
package pe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// File is what the headers of a PE file say.
type File struct {
	Machine     uint16 // one of Machine…, or another; Arch names it
	Timestamp   uint32
	DLL         bool
	Is64        bool // PE32+
	ImageBase   uint64
	SizeOfImage uint32
	Sections    []Section // in file order
	// Problems says what of the headers cannot be used.
	Problems []debug.Problem

	data        []byte
	directories []byte // of 8 bytes each
	symbols     []byte // the COFF symbol table
	strings     []byte // and its strings, with the size before them
}

// Machines.
const (
	MachineX86     = 0x14c
	MachineARM     = 0x1c0
	MachineThumb   = 0x1c2
	MachineARMNT   = 0x1c4
	MachineAMD64   = 0x8664
	MachineARM64   = 0xaa64
	MachineARM64EC = 0xa641
	MachineARM64X  = 0xa64e
)

// Arch returns the CPU of a machine number under the name Breakpad uses, or "unknown". PDB files have the
// same numbers.
func Arch(machine uint16) string {
	switch machine {
	case MachineX86:
		return "x86"
	case MachineAMD64:
		return "x86_64"
	case MachineARM, MachineThumb, MachineARMNT:
		return "arm"
	case MachineARM64, MachineARM64EC, MachineARM64X:
		return "arm64"
	}
	return "unknown"
}

// Arch returns the CPU under the name Breakpad uses, or "unknown".
func (f *File) Arch() string { return Arch(f.Machine) }

// Section is a section header.
type Section struct {
	Name             string // long names resolved
	Addr, Size       uint32 // in memory
	Offset, FileSize uint32
	Flags            uint32
}

const (
	flagCode    = 0x20       // IMAGE_SCN_CNT_CODE
	flagExecute = 0x20000000 // IMAGE_SCN_MEM_EXECUTE

	fileDLL = 0x2000 // IMAGE_FILE_DLL

	magicPE32     = 0x10b
	magicPE32Plus = 0x20b
)

// HasCode reports whether the section holds code that is executed.
func (s *Section) HasCode() bool { return s.Flags&(flagCode|flagExecute) != 0 }

// memory returns the size in memory, which some linkers leave out.
func (s *Section) memory() uint32 {
	if s.Size > 0 {
		return s.Size
	}
	return s.FileSize
}

// Sizes of records.
const (
	sectionSize   = 40
	symbolSize    = 18
	directorySize = 8
	maxSections   = 0xffff
)

// Data directories.
const (
	directoryExport    = 0
	directoryException = 3
	directoryDebug     = 6
)

// Probe reports whether data starts like a PE file. So does any program for DOS, which Parse refuses.
func Probe(data []byte) bool { return bytes.HasPrefix(data, []byte("MZ")) }

// Parse reads the headers of data and retains it. It fails only where they cannot be used.
func Parse(data []byte) (*File, error) {
	fail := func(off uint64, reason string, cause error) (*File, error) {
		return nil, &debug.FormatError{Format: "pe", Offset: off, Reason: reason, Err: cause}
	}
	const headerOffset = 0x3c // e_lfanew
	if !Probe(data) {
		return fail(0, "wrong magic", nil)
	}
	c := cursor.New(data, "pe", "")
	c.Skip(headerOffset)
	at := uint64(c.U32())
	if c.Err() != nil {
		return nil, c.Err()
	}
	c = cursor.New(data, "pe", "")
	c.Skip(at)
	if string(c.Bytes(4)) != "PE\x00\x00" {
		if c.Err() != nil {
			return nil, c.Err()
		}
		return fail(at, "a program for DOS or 16-bit Windows", debug.ErrUnsupported)
	}
	f := &File{Machine: c.U16(), data: data}
	sections := uint64(c.U16())
	f.Timestamp = c.U32()
	symbolTable, symbolCount := uint64(c.U32()), uint64(c.U32())
	optionalSize := uint64(c.U16())
	f.DLL = c.U16()&fileDLL != 0
	o := c.Sub(optionalSize)
	switch o.U16() {
	case magicPE32:
		o.Skip(26)
		f.ImageBase = uint64(o.U32())
	case magicPE32Plus:
		f.Is64 = true
		o.Skip(22)
		f.ImageBase = o.U64()
	default:
		if c.Err() != nil {
			return nil, c.Err()
		}
		return fail(c.Offset()-optionalSize, "no header of an image", debug.ErrUnsupported)
	}
	o.Skip(24)
	f.SizeOfImage = o.U32()
	o.Skip(32)
	if f.Is64 {
		o.Skip(16)
	}
	directories := uint64(o.U32())
	if o.Err() != nil {
		return nil, o.Err()
	}
	f.directories = o.Table(min(directories, o.Len()/directorySize), directorySize)
	f.coffSymbols(symbolTable, symbolCount)

	have := min(sections, c.Len()/sectionSize)
	if have < sections {
		f.problem("sections", "cut off", "%d of %d headers are inside the file", have, sections)
	}
	budget := len(f.strings) + maxSections
	outside := 0
	for rows := c.Table(have, sectionSize); len(rows) > 0; rows = rows[sectionSize:] {
		s := f.section(rows, &budget)
		if s.FileSize > 0 && uint64(s.Offset)+uint64(min(s.FileSize, s.Size)) > uint64(len(data)) {
			outside++
		}
		f.Sections = append(f.Sections, s)
	}
	if outside > 0 {
		f.problem("sections", "cut off", "%d of %d sections are not inside the file", outside, len(f.Sections))
	}
	return f, nil
}

func (f *File) problem(where, kind, detail string, args ...any) {
	f.Problems = append(f.Problems, debug.Problem{Where: where, Kind: kind, Detail: fmt.Sprintf(detail, args...)})
}

// section reads a header. Names that do not fit are "/" and their decimal offset in the string table, or
// "//" and the offset in base 64.
func (f *File) section(row []byte, budget *int) (s Section) {
	c := cursor.New(row, "pe", "sections")
	name := cut(c.Bytes(8))
	s.Size, s.Addr, s.FileSize, s.Offset = c.U32(), c.U32(), c.U32(), c.U32()
	c.Skip(12)
	s.Flags = c.U32()
	s.Name = string(name)
	offset, err := uint64(0), error(nil)
	switch {
	case len(name) > 2 && name[1] == '/' && name[0] == '/':
		for _, b := range name[2:] {
			i := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", b)
			if i < 0 {
				return s
			}
			offset = offset<<6 | uint64(i)
		}
	case len(name) > 1 && name[0] == '/':
		if offset, err = strconv.ParseUint(string(name[1:]), 10, 32); err != nil {
			return s
		}
	default:
		return s
	}
	if long := f.string(offset); len(long) > 0 && len(long) <= *budget {
		*budget -= len(long)
		s.Name = string(long)
	}
	return s
}

// cut returns the bytes before the first NUL.
func cut(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i:i]
	}
	return b
}

// coffSymbols finds the symbol table and the strings behind it. Separate tables are no error: linkers of
// Microsoft write none.
func (f *File) coffSymbols(table, count uint64) {
	size := uint64(len(f.data))
	if table == 0 || table > size {
		return
	}
	have := min(count, (size-table)/symbolSize)
	if have < count {
		f.problem("symbols", "cut off", "%d of %d symbols are inside the file", have, count)
	}
	f.symbols = f.data[table : table+have*symbolSize]
	rest := f.data[table+have*symbolSize:]
	if len(rest) >= 4 {
		f.strings = rest[:min(uint64(len(rest)), uint64(max(4, binary.LittleEndian.Uint32(rest))))]
	}
}

// string returns the string at an offset of the string table; nil if there is none.
func (f *File) string(offset uint64) []byte {
	if offset < 4 || offset >= uint64(len(f.strings)) {
		return nil
	}
	return cut(f.strings[offset:])
}

// Section returns the section of the given name, nil if there is none.
func (f *File) Section(name string) *Section {
	if i := slices.IndexFunc(f.Sections, func(s Section) bool { return s.Name == name }); i >= 0 {
		return &f.Sections[i]
	}
	return nil
}

// Data returns the contents of s that are in the file, at most its size in memory: without the padding to
// the file's alignment.
func (f *File) Data(s *Section) ([]byte, error) {
	start, n := uint64(s.Offset), uint64(s.FileSize)
	if s.Size > 0 {
		n = min(n, uint64(s.Size))
	}
	if start > uint64(len(f.data)) || n > uint64(len(f.data))-start {
		return nil, &debug.FormatError{Format: "pe", Section: s.Name, Offset: start, Reason: "section ends outside the file", Err: debug.ErrTruncated}
	}
	return f.data[start : start+n : start+n], nil
}

// At returns the bytes of the image from an address to the end of its section in the file; nil if the
// file has none there.
func (f *File) At(addr uint32) []byte {
	for i := range f.Sections {
		s := &f.Sections[i]
		if n := addr - s.Addr; addr >= s.Addr && n < s.FileSize {
			start, end := uint64(s.Offset)+uint64(n), min(uint64(len(f.data)), uint64(s.Offset)+uint64(s.FileSize))
			if start >= end {
				return nil
			}
			return f.data[start:end:end]
		}
	}
	return nil
}

// directory returns the address and size of a data directory.
func (f *File) directory(n int) (addr, size uint32) {
	if d := f.directories; len(d) >= (n+1)*directorySize {
		addr, size = binary.LittleEndian.Uint32(d[n*directorySize:]), binary.LittleEndian.Uint32(d[n*directorySize+4:])
	}
	return addr, size
}

// directoryData returns the contents of a data directory, as far as they are in the file.
func (f *File) directoryData(n int) []byte {
	addr, size := f.directory(n)
	data := f.At(addr)
	return data[:min(uint64(len(data)), uint64(size))]
}

// HasCode reports whether the file has its code in it: not so separate debug files.
func (f *File) HasCode() bool {
	return slices.ContainsFunc(f.Sections, func(s Section) bool {
		return s.HasCode() && s.FileSize > 0 && s.Offset > 0
	})
}

// HasDebugInfo reports whether the file has DWARF in it. What a PDB has is not in the file.
func (f *File) HasDebugInfo() bool {
	s := f.Section(".debug_info")
	return s != nil && s.FileSize > 0
}

// HasUnwindInfo reports whether the file has a table of functions with unwind information, whatever the CPU.
func (f *File) HasUnwindInfo() bool { return len(f.ExceptionTable()) > 0 }

// ExceptionTable returns the function table, .pdata: RUNTIME_FUNCTION entries.
func (f *File) ExceptionTable() []byte { return f.directoryData(directoryException) }

// Executable returns the address ranges that hold code, ascending and apart.
func (f *File) Executable() []symbols.Extent {
	extents := []symbols.Extent{} // not nil: nothing else is code
	for i := range f.Sections {
		if s := &f.Sections[i]; s.HasCode() && s.memory() > 0 {
			extents = append(extents, symbols.Extent{Addr: uint64(s.Addr), Size: uint64(s.memory())})
		}
	}
	slices.SortFunc(extents, func(a, b symbols.Extent) int { return cmp.Compare(a.Addr, b.Addr) })
	kept := 0
	for _, e := range extents {
		if kept > 0 {
			if last := &extents[kept-1]; e.Addr <= last.Addr+last.Size {
				last.Size = max(last.Size, e.Addr+e.Size-last.Addr)
				continue
			}
		}
		extents[kept] = e
		kept++
	}
	return extents[:kept]
}
