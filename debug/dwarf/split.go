package dwarf

import (
	"cmp"
	"context"
	"slices"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// Skeletons returns the skeleton units of a file, each of which says where its unit is. Info need only be
// had if a unit of the file may be one: see MayBeSkeletons.
func Skeletons(s *Sections) ([]Skeleton, error) {
	var res Result
	err := newReader(s, Options{}).readUnits(context.Background(), &res)
	return res.Missing, err
}

// MayBeSkeletons reports whether a .debug_abbrev declares units that are in other files, which spares
// inflating .debug_info where it does not.
func MayBeSkeletons(abbrev []byte) bool {
	c := cursor.New(abbrev, "dwarf", ".debug_abbrev")
	for c.Len() > 0 {
		if c.ULEB() == 0 {
			continue
		}
		c.ULEB()
		c.U8()
		for c.Len() > 0 {
			attr, form := c.ULEB(), c.ULEB()
			if form == formImplicitConst {
				c.SLEB()
			}
			if attr == atDwoName || attr == atGNUDwoName {
				return true
			}
			if attr == 0 && form == 0 {
				break
			}
		}
	}
	return c.Err() != nil // not read to its end
}

// SplitUnits returns the ids of the units of a .dwo file, whose sections s are.
func SplitUnits(s *Sections) (ids []uint64, err error) {
	r := newReader(s, Options{})
	err = r.fileUnits(r.main, new(Result))
	for i := range r.main.units {
		if u := &r.main.units[i]; u.isCompile && u.abbrevs != nil {
			ids = append(ids, u.id)
		}
	}
	return ids, err
}

// Package is a .dwp file: the units of many .dwo files, put together section by section.
type Package struct {
	sections Sections
	rows     map[uint64]contributions
}

// contributions are the parts of sections that belong to one unit.
type contributions struct{ info, abbrev, strOffsets, rngLists part }

type part struct{ off, size uint32 }

func (p part) of(section []byte) []byte {
	if p.size == 0 {
		return nil
	}
	return section[p.off : uint64(p.off)+uint64(p.size) : uint64(p.off)+uint64(p.size)]
}

// Columns of the index: DWARF5 7.3.5.3, table 7.1, and for version 2 the note "DWARF Package File Format"
// of GCC's wiki.
const (
	sectInfo       = 1
	sectAbbrev     = 3
	sectStrOffsets = 6
	sectRngLists   = 8 // in version 2 .debug_macro, which is not read
)

// OpenPackage reads the index of units, the section .debug_cu_index. The sections s are those named
// .debug_….dwo.
func OpenPackage(s *Sections, index []byte) (*Package, error) {
	c := cursor.New(index, "dwarf", ".debug_cu_index").BigEndian(s.BigEndian)
	version := c.U16()
	if second := c.U16(); s.BigEndian && version == 0 {
		version = second // of 32 bits, before version 5
	}
	if c.Err() == nil && version != 2 && version != 5 {
		c.Fail("index of an unknown version", debug.ErrUnsupported)
	}
	columns, units, slots := uint64(c.U32()), uint64(c.U32()), uint64(c.U32())
	hashes := c.Sub(8 * slots)
	rowOf := c.Sub(4 * slots)
	ids := c.Sub(4 * columns)
	if columns == 0 || units > c.Len()/8/columns {
		c.Fail("index ends outside its section", debug.ErrTruncated)
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	offsets := c.Sub(4 * columns * units)
	sizes := c.Sub(4 * columns * units)
	rows := make([]contributions, units)
	column := make([]uint32, columns)
	for i := range column {
		column[i] = ids.U32()
	}
	for i := range rows {
		for _, id := range column {
			p := part{offsets.U32(), sizes.U32()}
			switch {
			case id == sectInfo:
				rows[i].info = p
			case id == sectAbbrev:
				rows[i].abbrev = p
			case id == sectStrOffsets:
				rows[i].strOffsets = p
			case id == sectRngLists && version == 5:
				rows[i].rngLists = p
			}
		}
	}
	if err := sizes.Err(); err != nil {
		return nil, err
	}
	p := &Package{sections: *s, rows: make(map[uint64]contributions, units)}
	p.sections.Str = cutStrings(s.Str)
	for hashes.Len() > 0 {
		id, row := hashes.U64(), uint64(rowOf.U32())
		if row == 0 { // no unit
			continue
		}
		if row > units {
			c.Fail("index names a row that it has not", nil)
			return nil, c.Err()
		}
		p.rows[id] = rows[row-1]
	}
	if reason := p.check(); reason != "" {
		c.Fail(reason, nil)
		return nil, c.Err()
	}
	return p, nil
}

// check says what is wrong with the contributions. They are inside their sections, and no two overlap: if
// they did, reading all units could take quadratic time. Units that were made together share some.
func (p *Package) check() string {
	for _, column := range []struct {
		section []byte
		part    func(*contributions) part
		shared  bool
	}{
		{p.sections.Info, func(c *contributions) part { return c.info }, false},
		{p.sections.Abbrev, func(c *contributions) part { return c.abbrev }, true},
		{p.sections.StrOffsets, func(c *contributions) part { return c.strOffsets }, true},
		{p.sections.RngLists, func(c *contributions) part { return c.rngLists }, true},
	} {
		parts := make([]part, 0, len(p.rows))
		for _, row := range p.rows {
			if c := column.part(&row); c.size > 0 {
				parts = append(parts, c)
			}
		}
		slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.off, b.off), cmp.Compare(a.size, b.size)) })
		end := uint64(0)
		for i, c := range parts {
			if column.shared && i > 0 && c == parts[i-1] {
				continue
			}
			if uint64(c.off) < end {
				return "contributions of units overlap"
			}
			end = uint64(c.off) + uint64(c.size)
		}
		if end > uint64(len(column.section)) {
			return "contribution of a unit ends outside its section"
		}
	}
	return ""
}

// Has reports whether the unit with the given id is in the package.
func (p *Package) Has(id uint64) bool {
	_, ok := p.rows[id]
	return ok
}

// Split is what Companions takes.
func (p *Package) Split(id uint64) *Sections {
	row, ok := p.rows[id]
	if !ok {
		return nil
	}
	s := p.sections
	s.Info, s.Abbrev = row.info.of(s.Info), row.abbrev.of(s.Abbrev)
	s.StrOffsets, s.RngLists = row.strOffsets.of(s.StrOffsets), row.rngLists.of(s.RngLists)
	return &s
}
