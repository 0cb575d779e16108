package cfi

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"slices"

	"salvage/debug"
	"salvage/debug/debugid"
	"salvage/debug/internal/tables"
	"salvage/debug/symbols"
)

// format of the files. Revision counts changes of the builder that change its output.
//
// Version history: 1 first version.
var format = tables.Format{Name: "cficache", Magic: [4]byte{'S', 'L', 'V', 'C'}, Version: 1, Revision: 2}

// Tables; see FORMAT.md.
const (
	tableMeta = iota + 1
	tableSegments
	tableStarts
	tableRanges
	tableRules
)

const (
	metaSize = 32
	noRules  = ^uint32(0)

	flagPDB20     = 1
	flagBigEndian = 2

	maxProblems = 20
)

// Builder collects rules. It keeps no reference to what it was given.
type Builder struct {
	cpu       *CPU
	bigEndian bool
	extents   []symbols.Extent
	first     []uint32 // of the rows of each extent
	rows      []builtRow
	seen      *symbols.Strings // compiled rows, each once
	buf       []byte
	text      textBlock
	win       []winRecord
	bad       uint64
	problems  []debug.Problem
}

// builtRow has an offset from its extent's address and the id of its rules, 0 for none.
type builtRow struct {
	offset uint32
	rules  symbols.StringID
}

// NewBuilder returns a builder for rules of one CPU. BigEndian is the byte order of the module.
func NewBuilder(cpu *CPU, bigEndian bool) *Builder {
	return &Builder{cpu: cpu, bigEndian: bigEndian, seen: symbols.NewStrings()}
}

// Bad returns how many entries or records could not be used, and the first of them.
func (b *Builder) Bad() (uint64, []debug.Problem) { return b.bad, b.problems }

// Empty reports whether nothing was added that could be used.
func (b *Builder) Empty() bool {
	b.flushText()
	return len(b.rows)+len(b.win) == 0
}

func (b *Builder) problem(s *FrameSection, at uint64, detail string) {
	b.bad++
	if len(b.problems) < maxProblems {
		name := ".debug_frame"
		if s.EH {
			name = ".eh_frame"
		}
		b.problems = append(b.problems, debug.Problem{Where: fmt.Sprintf("%s at %#x", name, at), Kind: "bad entry", Detail: detail})
	}
}

// begin opens the rows of [addr, addr+size).
func (b *Builder) begin(addr, size uint64) {
	b.extents = append(b.extents, symbols.Extent{Addr: addr, Size: size})
	b.first = append(b.first, uint32(len(b.rows)))
}

func (b *Builder) add(offset uint32, r *row) {
	b.buf = r.appendTo(b.buf[:0])
	b.addRow(offset, b.seen.Intern(b.buf))
}

// addGap says that nothing is known from offset on.
func (b *Builder) addGap(offset uint32) { b.addRow(offset, 0) }

func (b *Builder) addRow(offset uint32, id symbols.StringID) {
	first := int(b.first[len(b.first)-1])
	if n := len(b.rows); n > first {
		last := &b.rows[n-1]
		if last.offset == offset { // the last word on an address counts
			last.rules = id
			return
		}
		if last.rules == id {
			return
		}
	}
	b.rows = append(b.rows, builtRow{offset, id})
}

func sortRows(rows []textRow) {
	slices.SortStableFunc(rows, func(a, b textRow) int { return cmp.Compare(a.offset, b.offset) })
}

// Stats says what Write wrote.
type Stats struct {
	Ranges int    `json:"ranges"`
	Rules  int    `json:"rules"` // different ones
	Bytes  uint64 `json:"bytes"`
	Bad    uint64 `json:"bad"` // entries or records that could not be used
}

// Write writes a cficache. Where entries overlap, the one added first keeps its addresses.
func (b *Builder) Write(w io.Writer, id debugid.ID) (st Stats, err error) {
	b.flushText()
	b.flushWin()
	if uint64(len(b.rows)) >= 1<<32-1 {
		return st, &debug.FormatError{Format: format.Name, Reason: "over 2³² rows", Err: debug.ErrTooLarge}
	}
	pieces := symbols.Arrange(b.extents, nil)
	offsets := make([]uint32, b.seen.Len()) // 0: not written yet
	var rules []byte
	rules = append(rules, 0) // offset 0: no rules
	t := tables.NewWriter(w, format)

	t.Table(tableMeta)
	t.Bytes(id.UUID[:])
	t.U32(id.Age)
	flags := uint32(0)
	if id.PDB20 {
		flags |= flagPDB20
	}
	if b.bigEndian {
		flags |= flagBigEndian
	}
	t.U32(flags)
	var name [8]byte
	copy(name[:], b.cpu.Name)
	t.Bytes(name[:])

	st.Ranges = int(t.WriteIndex(tableStarts, tableSegments, func(yield func(uint64) bool) {
		b.ranges(pieces, func(addr uint64, _ symbols.StringID) { yield(addr) })
	}))
	t.Table(tableRanges)
	b.ranges(pieces, func(_ uint64, id symbols.StringID) {
		if id == 0 {
			t.U32(noRules)
			return
		}
		if offsets[id] == 0 {
			code := b.seen.Bytes(id)
			offsets[id] = uint32(len(rules))
			rules = append(binary.AppendUvarint(rules, uint64(len(code))), code...)
			st.Rules++
		}
		t.U32(offsets[id])
	})
	if uint64(len(rules)) >= 1<<32-1 {
		return st, &debug.FormatError{Format: format.Name, Reason: "over 4 GiB of rules", Err: debug.ErrTooLarge}
	}
	t.Table(tableRules)
	t.Bytes(rules)
	st.Bad = b.bad
	st.Bytes, err = t.Close()
	return st, err
}

// ranges yields the rows of the file: ascending, equal neighbours merged, gaps with id 0.
func (b *Builder) ranges(pieces *symbols.Arrangement, yield func(addr uint64, id symbols.StringID)) {
	end, last := uint64(0), symbols.StringID(0)
	put := func(addr uint64, id symbols.StringID) {
		if id != last {
			yield(addr, id)
			last = id
		}
	}
	pieces.Pieces(func(p symbols.Piece) {
		if p.Start > end {
			put(end, 0)
		}
		end = p.End
		rows := b.rows[b.first[p.Function]:]
		if p.Function+1 < len(b.first) {
			rows = b.rows[b.first[p.Function]:b.first[p.Function+1]]
		}
		addr := b.extents[p.Function].Addr
		for i, r := range rows {
			start, rowEnd := addr+uint64(r.offset), p.End
			if i+1 < len(rows) {
				rowEnd = addr + uint64(rows[i+1].offset)
			}
			if start >= p.End {
				break
			}
			if rowEnd > p.Start {
				put(max(start, p.Start), r.rules)
			}
		}
	})
	put(end, 0)
}

// Cache is an opened cficache.
type Cache struct {
	file      *tables.File
	index     tables.Index
	ranges    []byte
	rules     []byte
	id        debugid.ID
	cpu       *CPU
	bigEndian bool
}

// Parse opens a cficache over data and retains it. A file of another version or builder revision gives an
// error for which errors.Is(err, debug.ErrVersion) holds.
func Parse(data []byte) (*Cache, error) {
	f, err := tables.Open(data, format)
	if err != nil {
		return nil, err
	}
	bad := func(reason string) (*Cache, error) {
		return nil, &debug.FormatError{Format: format.Name, Reason: reason}
	}
	c := &Cache{file: f, ranges: f.Table(tableRanges), rules: f.Table(tableRules)}
	if c.index, err = f.OpenIndex(tableStarts, tableSegments); err != nil {
		return nil, err
	}
	m := f.Table(tableMeta)
	if len(m) != metaSize {
		return bad("meta table of another size")
	}
	if len(c.ranges) != 4*c.index.Len() {
		return bad("tables of starts and ranges differ in length")
	}
	flags := binary.LittleEndian.Uint32(m[20:])
	c.id = debugid.ID{UUID: [16]byte(m), Age: binary.LittleEndian.Uint32(m[16:]), PDB20: flags&flagPDB20 != 0}
	c.bigEndian = flags&flagBigEndian != 0
	name := m[24:32]
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	if c.cpu = CPUByName(string(name)); c.cpu == nil {
		return bad("rules of an unknown CPU")
	}
	return c, nil
}

// Verify checks the checksums of the whole file.
func (c *Cache) Verify() error { return c.file.Verify() }

// ID returns the debug id of the module that the rules are for.
func (c *Cache) ID() debugid.ID { return c.id }

// CPU returns the CPU that the rules are for.
func (c *Cache) CPU() *CPU { return c.cpu }

// Lookup returns the rules at an address relative to the image base.
func (c *Cache) Lookup(addr uint64) (Rules, bool) {
	i, _ := c.index.Find(addr)
	if i < 0 {
		return Rules{}, false
	}
	return c.at(i)
}

func (c *Cache) at(i int) (Rules, bool) {
	off := binary.LittleEndian.Uint32(c.ranges[4*i:])
	if uint64(off) >= uint64(len(c.rules)) { // noRules is beyond any table
		return Rules{}, false
	}
	rest := c.rules[off:]
	n, k := binary.Uvarint(rest)
	if k <= 0 || n == 0 || n > uint64(len(rest)-k) {
		return Rules{}, false
	}
	return Rules{code: rest[k : k+int(n)], cpu: c.cpu, bigEndian: c.bigEndian}, true
}

// Ranges yields the start of each range with its rules; the rules of gaps have no CPU.
func (c *Cache) Ranges() iter.Seq2[uint64, Rules] {
	return func(yield func(uint64, Rules) bool) {
		for i, start := range c.index.All() {
			r, _ := c.at(i)
			if !yield(start, r) {
				return
			}
		}
	}
}
