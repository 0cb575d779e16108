package elf

import (
	"cmp"
	"slices"

	"salvage/debug/symbols"
)

// pageSize is the smallest page of any system that runs ELF files: what a segment's address is rounded
// down to when it is mapped. Larger pages give another base only for files that put their first segment
// inside one.
const pageSize = 4096

// ImageBase returns the address that corresponds to the base of a loaded module in a crash dump: the
// lowest address of a PT_LOAD segment, rounded down to a page. It is 0 for most shared objects and
// position-independent executables, 0x400000 or so for others, and 0 for relocatable objects and files
// without segments. A separate debug file has the base of its image.
func (f *File) ImageBase() uint64 {
	base, found := uint64(0), false
	for i := range f.Segments {
		if s := &f.Segments[i]; s.Type == SegmentLoad && (!found || s.Addr < base) {
			base, found = s.Addr, true
		}
	}
	if f.Type == TypeRel {
		return 0
	}
	return base &^ (pageSize - 1)
}

// Executable returns the address ranges that hold code, ascending and apart: those of the executable
// segments, or of the executable sections of a file without segments to load. Those of a relocatable object
// are one range.
func (f *File) Executable() []symbols.Extent {
	var code []symbols.Extent
	segments := false
	for i := range f.Segments {
		s := &f.Segments[i]
		segments = segments || s.Type == SegmentLoad
		if s.executable() {
			code = append(code, symbols.Extent{Addr: s.Addr, Size: s.MemSize})
		}
	}
	for i := range f.Sections {
		if s := &f.Sections[i]; !segments && s.executable() {
			code = append(code, symbols.Extent{Addr: s.Addr, Size: s.Size})
		}
	}
	slices.SortFunc(code, func(a, b symbols.Extent) int { return cmp.Compare(a.Addr, b.Addr) })
	merged := code[:0]
	for _, e := range code {
		e.Size = min(e.Size, ^uint64(0)-e.Addr)
		if e.Size == 0 {
			continue
		}
		if f.Type == TypeRel { // apart by no more than their alignment
			e.Size, e.Addr = e.Addr+e.Size, 0
		}
		if last := len(merged) - 1; last >= 0 && e.Addr <= merged[last].Addr+merged[last].Size {
			merged[last].Size = max(merged[last].Size, e.Addr+e.Size-merged[last].Addr)
			continue
		}
		merged = append(merged, e)
	}
	return merged
}

// inside reports whether addr is in one of the ranges Executable returned.
func inside(code []symbols.Extent, addr uint64) bool {
	i, exact := slices.BinarySearchFunc(code, addr, func(e symbols.Extent, addr uint64) int { return cmp.Compare(e.Addr, addr) })
	return exact || i > 0 && addr-code[i-1].Addr < code[i-1].Size
}

// Tags of dynamic entries.
const (
	dynamicHash    = 4
	dynamicStrTab  = 5
	dynamicSymTab  = 6
	dynamicStrSize = 10
	dynamicSOName  = 14
	dynamicGNUHash = 0x6ffffef5
)

// dynamic is what the dynamic table of an image says.
type dynamic struct {
	soName, symTab, hash, gnuHash uint64
	strings                       []byte
}

// dynamic reads the dynamic table: the section of that type, or the segment in a file without sections.
// Debug files keep the segment, though what it leads to stayed in the image.
func (f *File) dynamic() (d dynamic) {
	var entries []byte
	if s := f.sectionOfType(SectionDynamic); s != nil {
		entries, _ = f.RawData(s)
		d.strings, _ = f.RawData(f.sectionAt(uint64(s.Link)))
	}
	for i := range f.Segments {
		if s := &f.Segments[i]; s.Type == SegmentDynamic && len(f.Sections) == 0 {
			entries = f.contents(s)
		}
	}
	var strTab, strSize uint64
	for c := f.cursor(entries); c.Len() > 0; {
		tag, value := f.word(&c), f.word(&c)
		if tag == 0 || c.Err() != nil { // DT_NULL
			break
		}
		switch tag {
		case dynamicSOName:
			d.soName = value
		case dynamicSymTab:
			d.symTab = value
		case dynamicHash:
			d.hash = value
		case dynamicGNUHash:
			d.gnuHash = value
		case dynamicStrTab:
			strTab = value
		case dynamicStrSize:
			strSize = value
		}
	}
	if d.strings == nil && len(f.Sections) == 0 {
		d.strings = f.memory(strTab)
		d.strings = d.strings[:min(uint64(len(d.strings)), strSize)]
	}
	return d
}

// SOName returns the name a shared object gives itself, or "".
func (f *File) SOName() string {
	d := f.dynamic()
	if d.soName == 0 {
		return ""
	}
	n := newNames(d.strings, 1)
	return string(n.at(d.soName))
}

// memory returns what the file has of the segment that is loaded at addr, from addr on.
func (f *File) memory(addr uint64) []byte {
	for i := range f.Segments {
		s := &f.Segments[i]
		if s.Type != SegmentLoad || addr < s.Addr {
			continue
		}
		if data := f.contents(s); addr-s.Addr < uint64(len(data)) {
			return data[addr-s.Addr:]
		}
	}
	return nil
}
