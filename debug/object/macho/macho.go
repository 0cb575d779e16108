// Package macho reads Apple's executables, libraries, object files and the debug files in dSYM bundles:
// identity, sections, symbols, exports, where functions start, and the map of a linked image to the object
// files that its debug information stayed in. Universal (fat) files are taken apart by Slices.
//
// It does no I/O: Parse takes the bytes, usually memory-mapped. Parse reads headers only; everything else is
// read when asked for. A File is immutable and safe for concurrent use; names and contents it returns alias
// its bytes, unless they were compressed or relocated.
//
// Layouts and constants are those of Apple's <mach-o/loader.h>, <mach-o/nlist.h>, <mach-o/fat.h> and
// <mach-o/stab.h>. Malformed input yields a *debug.FormatError or less in the File and an entry in
// Problems, never a panic.
package macho

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"salvage/debug"
	"salvage/debug/debugid"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// File is what the load commands of a Mach-O file say.
type File struct {
	CPU, Subtype uint32 // Arch names them; without the bits that say capabilities
	Type         uint32 // one of Type…, or another
	Is64         bool
	BigEndian    bool
	UUID         [16]byte // zero: none
	Name         string   // that a library gives itself, its install name
	Segments     []Segment
	Sections     []Section // of all segments, numbered from 1 in symbols
	// Problems says what of the headers cannot be used.
	Problems []debug.Problem

	data           []byte
	symbols        []byte // the symbol table
	symbolCount    int
	strings        []byte
	exports        []byte // trie
	functionStarts []byte
}

// File types.
const (
	TypeObject = 1
	TypeCore   = 4
	TypeDSYM   = 10
)

// CPUs.
const (
	CPUX86     = 7
	CPUARM     = 12
	CPUPPC     = 18
	CPUX8664   = 1<<24 | CPUX86
	CPUARM64   = 1<<24 | CPUARM
	CPUPPC64   = 1<<24 | CPUPPC
	CPUARM6432 = 2<<24 | CPUARM
)

// Segment is a range of memory. An object file has one without a name, which holds all of its sections.
type Segment struct {
	Name             string
	Addr, Size       uint64
	Offset, FileSize uint64
}

// Section is a part of a segment.
type Section struct {
	Name, Segment string // as in the file: cut at 16 characters
	Addr, Size    uint64
	Offset        uint64
	Flags         uint32
	relocations   []byte
}

const (
	sectionTypeMask  = 0xff
	sectionZeroFill  = 1    // S_ZEROFILL
	sectionGBZero    = 0xc  // S_GB_ZEROFILL
	sectionTLSZero   = 0x12 // S_THREAD_LOCAL_ZEROFILL
	sectionPureCode  = 1 << 31
	sectionSomeCode  = 1 << 10
	relocationSize   = 8
	subtypeMask      = 0x00ffffff
	maxInstallName   = 4096
	commandSegment   = 1
	commandSymTab    = 2
	commandIDDylib   = 0xd
	commandSegment64 = 0x19
	commandUUID      = 0x1b
	commandDyldInfo  = 0x22
	commandStarts    = 0x26
	commandExports   = 0x33
	commandRequired  = 1 << 31 // LC_REQ_DYLD: set in commands that the dynamic linker must know
)

// magic reads the first four bytes; ok is false if they are none of a thin file.
func magic(data []byte) (is64, bigEndian, ok bool) {
	if len(data) < 4 {
		return false, false, false
	}
	switch string(data[:4]) {
	case "\xce\xfa\xed\xfe":
		return false, false, true
	case "\xcf\xfa\xed\xfe":
		return true, false, true
	case "\xfe\xed\xfa\xce":
		return false, true, true
	case "\xfe\xed\xfa\xcf":
		return true, true, true
	}
	return false, false, false
}

// Probe reports whether data starts like a Mach-O file of one architecture.
func Probe(data []byte) bool {
	_, _, ok := magic(data)
	return ok
}

// Parse reads the load commands of data and retains it. It fails only where the header cannot be used.
func Parse(data []byte) (*File, error) {
	f := &File{data: data}
	var ok bool
	if f.Is64, f.BigEndian, ok = magic(data); !ok {
		return nil, &debug.FormatError{Format: "macho", Reason: "wrong magic", Err: debug.ErrUnsupported}
	}
	c := f.cursor(data, "")
	c.Skip(4)
	f.CPU, f.Subtype, f.Type = c.U32(), c.U32()&subtypeMask, c.U32()
	count, size := uint64(c.U32()), uint64(c.U32())
	c.Skip(4)
	if f.Is64 {
		c.Skip(4)
	}
	if c.Err() != nil {
		return nil, c.Err()
	}
	if size > c.Len() {
		f.problem("load commands", "cut off", "%d of %d bytes are inside the file", c.Len(), size)
		size = c.Len()
	}
	commands := c.Sub(size)
	for range count {
		start := commands.Offset()
		kind, length := commands.U32(), uint64(commands.U32())
		if length < 8 {
			commands.Fail("command without length", nil)
		}
		command := commands.Sub(length - 8)
		if commands.Err() != nil {
			f.problem("load commands", "cut off", "at %#x: %v", start, commands.Err())
			break
		}
		if f.command(kind&^commandRequired, start, &command); command.Err() != nil {
			f.problem("load commands", "bad command", "%v", command.Err())
		}
	}
	outside := 0
	for i := range f.Sections {
		if _, err := f.RawData(&f.Sections[i]); err != nil && !isAbsent(err) {
			outside++
		}
	}
	if outside > 0 {
		f.problem("sections", "cut off", "%d of %d sections are not inside the file", outside, len(f.Sections))
	}
	return f, nil
}

func (f *File) cursor(data []byte, section string) cursor.Cursor {
	return cursor.New(data, "macho", section).BigEndian(f.BigEndian)
}

func (f *File) problem(where, kind, detail string, args ...any) {
	const maxProblems = 20
	if len(f.Problems) < maxProblems {
		f.Problems = append(f.Problems, debug.Problem{Where: where, Kind: kind, Detail: fmt.Sprintf(detail, args...)})
	}
}

func (f *File) word(c *cursor.Cursor) uint64 {
	if f.Is64 {
		return c.U64()
	}
	return uint64(c.U32())
}

// command reads a load command behind its kind and length; start is where it starts in the file.
func (f *File) command(kind uint32, start uint64, c *cursor.Cursor) {
	switch kind {
	case commandUUID:
		copy(f.UUID[:], c.Bytes(16))
	case commandIDDylib:
		at := uint64(c.U32())
		c.Skip(12)
		if at -= 8 + 16; at > c.Len() {
			c.Fail("name outside its command", nil)
			return
		}
		c.Skip(at)
		f.Name = string(cut(c.Rest()[:min(c.Len(), maxInstallName)]))
	case commandSegment, commandSegment64:
		if (kind == commandSegment64) != f.Is64 {
			c.Fail("segment of the other width", nil)
			return
		}
		f.segment(c)
	case commandSymTab:
		at, count := uint64(c.U32()), uint64(c.U32())
		size := symbolSize(f.Is64)
		have := f.inFile("symbols", at, count*size)
		f.symbolCount = len(have) / int(size)
		f.symbols = have[:f.symbolCount*int(size)]
		at = uint64(c.U32())
		f.strings = f.inFile("strings", at, uint64(c.U32()))
	case commandDyldInfo:
		c.Skip(32)
		fallthrough
	case commandExports:
		at := uint64(c.U32())
		if trie := f.inFile("exports", at, uint64(c.U32())); len(trie) > 0 {
			f.exports = trie
		}
	case commandStarts:
		at := uint64(c.U32())
		f.functionStarts = f.inFile("function starts", at, uint64(c.U32()))
	}
}

// inFile returns what is in the file of a table; what names it in problems.
func (f *File) inFile(what string, at, size uint64) []byte {
	if size == 0 {
		return nil
	}
	all := uint64(len(f.data))
	have := min(size, all-min(at, all))
	if have < size {
		f.problem(what, "cut off", "%d of %d bytes are inside the file", have, size)
	}
	at = min(at, all)
	return f.data[at : at+have : at+have]
}

func (f *File) segment(c *cursor.Cursor) {
	s := Segment{Name: string(cut(c.Bytes(16)))}
	s.Addr, s.Size, s.Offset, s.FileSize = f.word(c), f.word(c), f.word(c), f.word(c)
	c.Skip(8)
	count := c.U32()
	c.Skip(4)
	if c.Err() != nil {
		return
	}
	f.Segments = append(f.Segments, s)
	for range count {
		x := Section{Name: string(cut(c.Bytes(16))), Segment: string(cut(c.Bytes(16)))}
		x.Addr, x.Size, x.Offset = f.word(c), f.word(c), uint64(c.U32())
		c.Skip(4)
		relocations := uint64(c.U32())
		relocationCount := uint64(c.U32())
		x.Flags = c.U32()
		c.Skip(8)
		if f.Is64 {
			c.Skip(4)
		}
		if c.Err() != nil {
			return
		}
		// Offsets of sections are of 32 bits also in files of more than 4 GiB; those of segments are not.
		if at := s.Offset + x.Addr - s.Addr; x.Offset != 0 && uint32(at) == uint32(x.Offset) {
			x.Offset = at
		}
		x.relocations = f.inFile("relocations", relocations, relocationCount*relocationSize)
		f.Sections = append(f.Sections, x)
	}
}

// cut returns the bytes before the first NUL.
func cut(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i:i]
	}
	return b
}

// Arch returns the CPU under the name Breakpad uses, in Apple's spelling where that tells subtypes apart:
// x86_64h, arm64e, armv7s.
func (f *File) Arch() string { return Arch(f.CPU, f.Subtype) }

// Arch names a CPU and its subtype; "unknown" if it has no name here.
func Arch(cpu, subtype uint32) string {
	subtype &= subtypeMask
	switch cpu {
	case CPUX86:
		return "x86"
	case CPUX8664:
		if subtype == 8 {
			return "x86_64h"
		}
		return "x86_64"
	case CPUARM64:
		if subtype == 2 {
			return "arm64e"
		}
		return "arm64"
	case CPUARM6432:
		return "arm64_32"
	case CPUARM:
		names := [...]string{5: "armv4t", 6: "armv6", 7: "armv5", 9: "armv7", 10: "armv7f", 11: "armv7s", 12: "armv7k", 13: "armv8", 14: "armv6m", 15: "armv7m", 16: "armv7em"}
		if subtype < uint32(len(names)) && names[subtype] != "" {
			return names[subtype]
		}
		return "arm"
	case CPUPPC:
		return "ppc"
	case CPUPPC64:
		return "ppc64"
	}
	return "unknown"
}

// DebugID returns the UUID with age 0: of an image and its dSYM the same. It is zero if there is none.
func (f *File) DebugID() debugid.ID { return debugid.ID{UUID: f.UUID} }

// CodeID returns the UUID, or nothing if there is none.
func (f *File) CodeID() debugid.CodeID {
	if f.UUID == [16]byte{} {
		return ""
	}
	return debugid.CodeID(hex.EncodeToString(f.UUID[:]))
}

// ImageBase returns the address of the segment __TEXT, where the header of a loaded image is; 0 for object files.
func (f *File) ImageBase() uint64 {
	for i := range f.Segments {
		if f.Segments[i].Name == "__TEXT" {
			return f.Segments[i].Addr
		}
	}
	return 0
}

// HasCode reports whether the section holds instructions.
func (s *Section) HasCode() bool { return s.Flags&(sectionPureCode|sectionSomeCode) != 0 }

// Executable returns the address ranges of the sections with code, ascending and apart.
func (f *File) Executable() []symbols.Extent {
	extents := []symbols.Extent{} // not nil: nothing else is code
	for i := range f.Sections {
		if s := &f.Sections[i]; s.HasCode() {
			extents = append(extents, symbols.Extent{Addr: s.Addr, Size: s.Size})
		}
	}
	return merge(extents)
}

// merge orders extents and joins those that touch, in place.
func merge(extents []symbols.Extent) []symbols.Extent {
	slices.SortFunc(extents, func(a, b symbols.Extent) int { return cmp.Compare(a.Addr, b.Addr) })
	kept := 0
	for _, e := range extents {
		e.Size = min(e.Size, ^uint64(0)-e.Addr)
		if e.Size == 0 {
			continue
		}
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

// HasCode reports whether the file is an image: code is really in it. A debug file has the sections
// of its image, but not their contents.
func (f *File) HasCode() bool {
	return slices.ContainsFunc(f.Sections, func(s Section) bool {
		data, err := f.RawData(&s)
		return s.HasCode() && err == nil && len(data) > 0
	})
}

// HasDebugInfo reports whether the file has DWARF in it.
func (f *File) HasDebugInfo() bool { return f.present(".debug_info") }

// HasUnwindInfo reports whether the file has unwind rules in it: DWARF's or Apple's compact ones.
func (f *File) HasUnwindInfo() bool {
	return f.present("__unwind_info") || f.present(".eh_frame") || f.present(".debug_frame")
}

func (f *File) present(name string) bool {
	data, err := f.RawData(f.Section(name))
	return err == nil && len(data) > 0
}

// Section returns the first section of a name, nil if there is none. A name with a dot is that of ELF: it
// finds __debug_… and the compressed __zdebug_…, whose names end after 16 characters.
func (f *File) Section(name string) *Section {
	find := func(name string) *Section {
		name = name[:min(len(name), 16)]
		if i := slices.IndexFunc(f.Sections, func(s Section) bool { return s.Name == name }); i >= 0 {
			return &f.Sections[i]
		}
		return nil
	}
	if rest, ok := strings.CutPrefix(name, "."); ok {
		if s := find("__" + rest); s != nil {
			return s
		}
		if s := find("__z" + rest); s != nil {
			return s
		}
	}
	return find(name)
}
