// Package pdb reads program databases, the debug information that Microsoft's linker and LLVM's lld-link
// write beside Windows programs, into the form of package symbols: functions with their lines and inlined
// calls, and public symbols.
//
// It does no I/O: Parse takes the bytes, usually memory-mapped, and reads what identifies the file and its
// tables; the modules (object files) are read by the Source, in parallel. A File is immutable and safe for
// concurrent use. What cannot be used of a module is left out and reported as a Problem; the other modules
// are unharmed.
//
// The layouts are those of Microsoft's microsoft-pdb sources and of LLVM's "The PDB File Format"; numbers are
// from cvinfo.h. Malformed input yields a *debug.FormatError or Problems, never a panic. Memory: streams
// whose blocks do not follow each other are copied, at most twice the file; types take 4 bytes each of at
// least 4 in the file; names made of types are bounded by 64 KiB and 16 times its bytes for each module.
package pdb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
	"sync"

	"salvage/debug"
	"salvage/debug/debugid"
	"salvage/debug/internal/cursor"
)

// File is an opened PDB.
type File struct {
	ID      debugid.ID // GUID, and the age of the DBI stream, which images refer to
	Machine uint16     // as in PE files
	// Problems says what cannot be used of the tables that all modules share.
	Problems []debug.Problem

	msf       *container
	modules   []module
	sections  []section // that symbols refer to, from number 1 on
	omap      []omapEntry
	public    []public       // by address
	contribs  []contribution // by address
	types     records
	ids       records
	fileNames []byte // the strings of /names
	frames    []byte // FRAMEDATA of x86
	fpo       []byte

	cross       crossModules
	definedOnce sync.Once
	defined     map[string]uint64 // sizes of composite types by name
}

type section struct {
	addr, size uint32
	code       bool
}

// public is a symbol of the linker: functions of all kinds, under their linkage names.
type public struct {
	addr, size uint32
	name       []byte
}

// contribution is a piece of code that one module gave.
type contribution struct{ addr, size uint32 }

// module is an object file.
type module struct {
	name                 []byte
	stream               uint16
	symbolSize, c11, c13 uint32
	duplicate            bool // has the stream of another module
}

// Streams with fixed numbers.
const (
	streamInfo  = 1
	streamTypes = 2
	streamDBI   = 3
	streamIDs   = 4
)

// Streams of the optional debug header, by index.
const (
	headerFPO              = 0
	headerOmapFromSource   = 4
	headerSections         = 5
	headerFrameData        = 9
	headerOriginalSections = 10
)

const (
	dbiHeaderSize    = 64
	moduleHeaderSize = 64
	sectionRecord    = 40
	namesSignature   = 0xeffeeffe
	contribV60       = 0xeffe0000 + 19970605
	contribV2        = 0xeffe0000 + 20140516
	// Signature of feature in the info stream: the linker was told /DEBUG:FASTLINK.
	featureMinimal = 0x494e494d
	sectionCode    = 0x20
	sectionExecute = 0x20000000
	fastLink       = "made with /DEBUG:FASTLINK, so the symbols are still in the object files: link with /DEBUG:FULL, or complete it with mspdbcmf.exe"
)

// Probe reports whether data starts like a PDB, of whatever version.
func Probe(data []byte) bool {
	return bytes.HasPrefix(data, []byte(magic)) || bytes.HasPrefix(data, []byte(magicPDB20)) || bytes.HasPrefix(data, []byte(magicMSFZ))
}

// Parse opens a PDB over data and retains it. A PDB of /DEBUG:FASTLINK, of version 2.0 or compressed is
// refused with debug.ErrUnsupported and a reason that says what to do.
func Parse(data []byte) (*File, error) {
	m, err := openContainer(data)
	if err != nil {
		return nil, err
	}
	f := &File{msf: m}
	names, err := f.info()
	if err != nil {
		return nil, err
	}
	symbolRecords, err := f.dbi()
	if err != nil {
		return nil, err
	}
	if f.types, err = f.records("types", streamTypes); err != nil {
		f.problem("types", err)
	}
	if f.ids, err = f.records("ids", streamIDs); err != nil {
		f.problem("ids", err)
	}
	if names != 0 {
		s, err := m.stream("/names", names)
		if err != nil {
			f.problem("/names", err)
		}
		c := cursor.New(s, "pdb", "/names")
		if c.U32() == namesSignature {
			c.Skip(4)
			n := uint64(c.U32())
			f.fileNames = c.Bytes(min(n, c.Len()))
		}
	}
	f.publics(symbolRecords)
	return f, nil
}

func (f *File) problem(where string, err error) {
	f.Problems = append(f.Problems, debug.Problem{Where: where, Kind: "unreadable stream", Detail: err.Error()})
}

// info reads the info stream and returns the number of the stream with the file names, 0 for none.
func (f *File) info() (names uint32, err error) {
	s, err := f.msf.stream("info", streamInfo)
	if err != nil {
		return 0, err
	}
	c := cursor.New(s, "pdb", "info")
	c.Skip(8)
	age := c.U32()
	var guid [16]byte
	copy(guid[:], c.Bytes(16))
	if c.Err() != nil {
		return 0, c.Err()
	}
	if guid != [16]byte{} {
		f.ID = debugid.FromGUID(guid, age)
	}
	text := c.Bytes(uint64(c.U32()))
	c.Skip(4) // number of streams, which the bit vector says again
	c.Skip(4)
	var present []uint32
	for range min(uint64(c.U32()), c.Len()/4) {
		present = append(present, c.U32())
	}
	c.Skip(min(c.Len(), 4*uint64(c.U32())))
	for _, word := range present {
		for ; word != 0; word &= word - 1 {
			at, n := uint64(c.U32()), c.U32()
			if c.Err() == nil && at < uint64(len(text)) && string(cut(text[at:])) == "/names" {
				names = n
			}
		}
	}
	for c.Len() >= 4 {
		if c.U32() == featureMinimal {
			return 0, fail("info", c.Offset()-4, fastLink, debug.ErrUnsupported)
		}
	}
	return names, nil
}

// cut returns the bytes before the first NUL.
func cut(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i:i]
	}
	return b
}

// dbi reads the DBI stream and returns the records of the linker's symbols. Without the stream, as in a
// PDB that a compiler wrote, there are no modules.
func (f *File) dbi() (symbolRecords []byte, err error) {
	s, err := f.msf.stream("DBI", streamDBI)
	if err != nil || len(s) == 0 {
		return nil, err
	}
	c := cursor.New(s, "pdb", "DBI")
	c.Skip(8)
	f.ID.Age = c.U32()
	c.Skip(8)
	recordStream := uint32(c.U16())
	c.Skip(2)
	moduleSize, contribSize, mapSize, fileSize, serverSize := c.U32(), c.U32(), c.U32(), c.U32(), c.U32()
	c.Skip(4)
	headerSize, ecSize := c.U32(), c.U32()
	c.Skip(2)
	f.Machine = c.U16()
	c.Skip(4)
	if c.Err() != nil {
		return nil, c.Err()
	}
	modules := c.Sub(uint64(moduleSize))
	contribs := c.Sub(uint64(contribSize))
	c.Skip(uint64(mapSize) + uint64(fileSize) + uint64(serverSize) + uint64(ecSize))
	header := c.Sub(uint64(headerSize))
	if c.Err() != nil {
		return nil, c.Err()
	}
	if err := f.moduleList(&modules); err != nil {
		f.problem("DBI modules", err)
	}
	optional := func(name string, i uint64) []byte {
		h := header.At(2*i, 2)
		n := h.U16()
		if h.Err() != nil || n == noStream {
			return nil
		}
		s, err := f.msf.stream(name, uint32(n))
		if err != nil {
			f.problem(name, err)
		}
		return s
	}
	omap := optional("OMAP", headerOmapFromSource)
	sections := optional("section headers", headerSections)
	if original := optional("original section headers", headerOriginalSections); len(omap) > 0 && len(original) > 0 {
		sections = original
	}
	f.omap = readOmap(omap)
	f.sectionHeaders(sections)
	f.contributions(&contribs)
	if f.Machine == machineX86 {
		f.frames, f.fpo = optional("frame data", headerFrameData), optional("FPO", headerFPO)
	}
	symbolRecords, err = f.msf.stream("symbol records", recordStream)
	if err != nil {
		f.problem("symbol records", err)
	}
	return symbolRecords, nil
}

const machineX86 = 0x14c

func (f *File) moduleList(c *cursor.Cursor) error {
	seen := map[uint16]bool{}
	for c.Len() >= moduleHeaderSize {
		var m module
		c.Skip(34)
		m.stream = c.U16()
		m.symbolSize, m.c11, m.c13 = c.U32(), c.U32(), c.U32()
		c.Skip(16)
		m.name = c.CString(c.Len())
		c.CString(c.Len())
		c.Skip(min(-c.Offset()&3, c.Len()))
		if c.Err() != nil {
			break
		}
		m.duplicate = seen[m.stream] // a hostile file would have us read one stream for every module
		if m.stream != noStream {
			seen[m.stream] = true
		}
		f.modules = append(f.modules, m)
	}
	return c.Err()
}

func (f *File) sectionHeaders(data []byte) {
	for ; len(data) >= sectionRecord; data = data[sectionRecord:] {
		f.sections = append(f.sections, section{
			size: binary.LittleEndian.Uint32(data[8:]), addr: binary.LittleEndian.Uint32(data[12:]),
			code: binary.LittleEndian.Uint32(data[36:])&(sectionCode|sectionExecute) != 0,
		})
	}
}

// code returns the address of a place in a section, before OMAP. It is none if the section has no code
// or the place is outside: what the linker left of code that it threw away.
func (f *File) code(segment uint16, offset uint32) (addr uint32, ok bool) {
	if segment == 0 || int(segment) > len(f.sections) {
		return 0, false
	}
	s := &f.sections[segment-1]
	if !s.code || offset >= s.size || s.addr+offset < offset {
		return 0, false
	}
	return s.addr + offset, true
}

func (f *File) contributions(c *cursor.Cursor) {
	size := uint64(28)
	switch c.U32() {
	case contribV60:
	case contribV2:
		size += 4
	default:
		return
	}
	for c.Len() >= size {
		r := c.Sub(size)
		segment := r.U16()
		r.Skip(2)
		offset, n := r.U32(), r.U32()
		if addr, ok := f.code(segment, offset); ok && n > 0 {
			f.contribs = append(f.contribs, contribution{addr, n})
		}
	}
	slices.SortStableFunc(f.contribs, func(a, b contribution) int { return cmp.Compare(a.addr, b.addr) })
}

const symbolPublic = 0x110e // S_PUB32

// publics reads the linker's symbols. Each goes up to the next, but not beyond the code of its module.
func (f *File) publics(data []byte) {
	eachRecord(data, func(kind uint16, body []byte) {
		if kind != symbolPublic || len(body) < 11 {
			return
		}
		addr, ok := f.code(binary.LittleEndian.Uint16(body[8:]), binary.LittleEndian.Uint32(body[4:]))
		if name := cut(body[10:]); ok && len(name) > 0 {
			p := public{addr: addr, name: name}
			if i := sort.Search(len(f.contribs), func(i int) bool { return f.contribs[i].addr > addr }) - 1; i >= 0 {
				if c := f.contribs[i]; addr-c.addr < c.size {
					p.size = c.size - (addr - c.addr)
				}
			}
			f.public = append(f.public, p)
		}
	})
	slices.SortStableFunc(f.public, func(a, b public) int { return cmp.Compare(a.addr, b.addr) })
}

// publicAt returns the first public at an address, nil if there is none.
func (f *File) publicAt(addr uint32) *public {
	i := sort.Search(len(f.public), func(i int) bool { return f.public[i].addr >= addr })
	if i < len(f.public) && f.public[i].addr == addr {
		return &f.public[i]
	}
	return nil
}

// eachRecord calls yield with the kind and the contents of each symbol record.
func eachRecord(data []byte, yield func(kind uint16, body []byte)) {
	for len(data) >= 4 {
		n := int(binary.LittleEndian.Uint16(data))
		if n < 2 || n > len(data)-2 {
			return
		}
		yield(binary.LittleEndian.Uint16(data[2:]), data[4:2+n])
		data = data[2+n:]
	}
}

// HasDebugInfo reports whether any module has symbols or lines.
func (f *File) HasDebugInfo() bool {
	return slices.ContainsFunc(f.modules, func(m module) bool { return m.stream != noStream && m.symbolSize > 4 })
}

// HasSymbols reports whether there are public symbols, or modules with symbols.
func (f *File) HasSymbols() bool { return len(f.public) > 0 || f.HasDebugInfo() }
