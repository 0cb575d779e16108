// Package symcache reads and writes symbol cache files, which answer "which functions, files and lines
// cover this address" without parsing debug information.
//
// It does no I/O: Parse takes the bytes, usually memory-mapped. A Cache is immutable and safe for
// concurrent use; names it returns alias those bytes and are valid as long as they are. Addresses are
// relative to the image base.
//
// The layout is specified in FORMAT.md. Malformed input yields a *debug.FormatError from Parse or
// Verify, or an answer with less in it from Lookup, never a panic.
package symcache

import (
	"encoding/binary"
	"iter"

	"salvage/debug"
	"salvage/debug/debugid"
	"salvage/debug/internal/tables"
	"salvage/debug/symbols"
)

// format of the files. Revision counts changes of the builder that change its output.
//
// Version history: 1 first version; 2 ranges as differences, in blocks under a directory, extents apart.
var format = tables.Format{Name: "symcache", Magic: [4]byte{'S', 'L', 'V', 'S'}, Version: 2, Revision: 2}

// Tables; see FORMAT.md.
const (
	tableMeta = iota + 1
	tableDirectory
	tableBlocks
	tableRanges
	tableScopes
	tableFunctions
	tableExtents
	tableStrings
)

// Sizes of the tables' records.
const (
	metaSize     = 48
	scopeSize    = 16
	functionSize = 8
	extentSize   = 16
)

const (
	noScope = ^uint32(0) // in scopes: no caller

	flagPDB20     = 1 // in meta
	flagPublic    = 1 // in functions, above the language
	languageShift = 8
	paramsShift   = 16
)

// Frame is one function at an address: handles into the cache, not text. The zero value is not valid.
type Frame struct {
	function uint32 // index
	file     uint32 // string offset
	Line     uint32 // 0: unknown
	Inlined  bool   // into the next frame
}

// Function is what a cache knows about a function besides its name.
type Function struct {
	Addr, Size uint64 // Size 0: unknown, as for a public without one
	Language   symbols.Language
	Params     uint16 // bytes of parameters on the stack, of x86; 0: none, or unknown
	Public     bool   // known from a symbol table only
	HasAddr    bool   // false for functions that are only ever inlined
}

// Cache is an opened file.
type Cache struct {
	file                                *tables.File
	module                              symbols.Module
	ranges                              rangeIndex
	scopes, functions, extents, strings []byte
}

// Probe reports whether data looks like the start of a cache, of whatever version.
func Probe(data []byte) bool { return len(data) >= 4 && [4]byte(data) == format.Magic }

// Parse opens a cache over data and retains it. A file of another version or builder revision gives an
// error for which errors.Is(err, debug.ErrVersion) holds: build it again.
func Parse(data []byte) (*Cache, error) {
	f, err := tables.Open(data, format)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		file: f, scopes: f.Table(tableScopes), functions: f.Table(tableFunctions), extents: f.Table(tableExtents), strings: f.Table(tableStrings),
	}
	bad := func(reason string) (*Cache, error) {
		return nil, &debug.FormatError{Format: format.Name, Reason: reason}
	}
	m := f.Table(tableMeta)
	if len(m) != metaSize {
		return bad("meta table of another size")
	}
	if len(c.scopes)%scopeSize+len(c.functions)%functionSize+len(c.extents)%extentSize != 0 {
		return bad("table with a partial record")
	}
	var ok bool
	if c.ranges, ok = openRanges(f); !ok {
		return bad("tables of ranges that do not belong together")
	}
	c.module = symbols.Module{
		ID:        debugid.ID{UUID: [16]byte(m), Age: u32(m, 4), PDB20: u32(m, 5)&flagPDB20 != 0},
		ImageBase: binary.LittleEndian.Uint64(m[24:]),
		CodeID:    debugid.CodeID(c.str(u32(m, 8))),
		OS:        string(c.str(u32(m, 9))), Arch: string(c.str(u32(m, 10))), Name: string(c.str(u32(m, 11))),
	}
	return c, nil
}

// Verify checks the checksums of the whole file. Do it once, when a file enters a cache.
func (c *Cache) Verify() error { return c.file.Verify() }

// Module returns the binary that the cache was built from; its strings are copies.
func (c *Cache) Module() symbols.Module { return c.module }

// u32 returns the i-th little-endian word of b, which the caller has checked to be there.
func u32(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

// Lookup appends the frames at addr to buf, innermost first, and returns it. It appends nothing where
// nothing is known, and does not allocate if buf has room.
func (c *Cache) Lookup(addr uint64, buf []Frame) []Frame {
	buf, _ = c.LookupRange(addr, buf)
	return buf
}

// Covers reports whether anything is known at addr.
func (c *Cache) Covers(addr uint64) bool { return !c.ranges.find(addr).none }

// LookupRange is Lookup that also returns where the code begins that belongs to the same line.
func (c *Cache) LookupRange(addr uint64, buf []Frame) (frames []Frame, start uint64) {
	r := c.ranges.find(addr)
	return c.frames(r, buf), r.start
}

// frames appends the frames of a range.
func (c *Cache) frames(r rangeState, buf []Frame) []Frame {
	if r.none {
		return buf
	}
	scope, line := r.scope, r.line
	for limit := uint32(len(c.scopes) / scopeSize); scope < limit; {
		s := c.scopes[int(scope)*scopeSize:]
		caller := u32(s, 2)
		buf = append(buf, Frame{function: u32(s, 0), file: u32(s, 1), Line: line, Inlined: caller != noScope})
		limit = scope // callers come first, which also ends the chain
		scope, line = caller, u32(s, 3)
	}
	return buf
}

// IDs returns numbers that are equal where the functions and the files of frames of one cache are. Those of
// functions are less than the cache has functions.
func (f Frame) IDs() (function, file uint32) { return f.function, f.file }

// Name returns the linkage name of a frame's function, where the source had one, else its plain name;
// empty if it has none. It aliases the cache.
func (c *Cache) Name(f Frame) []byte {
	if r := c.function(f.function); r != nil {
		return c.str(u32(r, 0))
	}
	return nil
}

// NumFunctions returns how many functions and publics there are, those without an address included.
func (c *Cache) NumFunctions() int { return len(c.functions) / functionSize }

// FunctionName is Name of the function that IDs calls fn.
func (c *Cache) FunctionName(fn uint32) []byte { return c.Name(Frame{function: fn}) }

// File returns the path of a frame's source file; empty if unknown. It aliases the cache.
func (c *Cache) File(f Frame) []byte { return c.str(f.file) }

// Function returns what else is known about a frame's function.
func (c *Cache) Function(f Frame) Function {
	r := c.function(f.function)
	if r == nil {
		return Function{}
	}
	flags := u32(r, 1)
	fn := Function{Language: symbols.Language(flags >> languageShift), Params: uint16(flags >> paramsShift), Public: flags&flagPublic != 0}
	if uint64(f.function) < uint64(len(c.extents)/extentSize) {
		e := c.extents[int(f.function)*extentSize:]
		fn.Addr, fn.Size, fn.HasAddr = binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint64(e[8:]), true
	}
	return fn
}

func (c *Cache) function(i uint32) []byte {
	if uint64(i) >= uint64(len(c.functions)/functionSize) {
		return nil
	}
	return c.functions[int(i)*functionSize:]
}

// str returns the string at an offset: a length and its bytes.
func (c *Cache) str(off uint32) []byte {
	if uint64(off) >= uint64(len(c.strings)) {
		return nil
	}
	n, k := binary.Uvarint(c.strings[off:])
	rest := c.strings[off:]
	if k <= 0 || n > uint64(len(rest)-k) {
		return nil
	}
	return rest[k : k+int(n) : k+int(n)]
}

// Range is one row of the cache's table: up to the next row's start, its Frames are the answer.
type Range struct {
	Start uint64
	Empty bool // nothing is known here

	state rangeState
}

// Frames is Lookup of any address of r, a range of c.
func (c *Cache) Frames(r Range, buf []Frame) []Frame { return c.frames(r.state, buf) }

// Ranges yields the rows of the table in order.
func (c *Cache) Ranges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for block := range c.ranges.len() {
			r, d := c.ranges.open(block)
			for i, n := 0, 1; ; n++ {
				if !yield(Range{r.start, r.none, r}) {
					return
				}
				if i = r.next(d, i, ^uint64(0)); i < 0 || n == blockRanges {
					break
				}
			}
		}
	}
}

// Functions yields every function that has an address, in the order it was delivered; publics last.
func (c *Cache) Functions() iter.Seq[Frame] {
	return func(yield func(Frame) bool) {
		for i := range min(len(c.extents)/extentSize, len(c.functions)/functionSize) {
			if !yield(Frame{function: uint32(i), file: ^uint32(0)}) {
				return
			}
		}
	}
}
