package elf

import (
	"salvage/debug/debugid"
	"salvage/debug/internal/cursor"
)

const (
	noteBuildID = 3 // NT_GNU_BUILD_ID
	noteHeader  = 12
	// A PlayStation's PT_SCE_DYNLIBDATA, which starts with a fingerprint of 20 bytes.
	segmentSCEDynLibData = 0x61000000
	sceFingerprint       = 20
	maxLinkName          = 4096 // PATH_MAX
	maxLinkSection       = 1 << 16
)

// BuildID returns the build id, nil if there is none: that of the notes in segments, else of the notes
// in sections. It aliases the file.
//
// Only notes of owner "GNU" count: core files have notes of the same type number, with owner "CORE".
//
// PlayStation binaries have no such note, but a segment whose first 20 bytes identify the file
// (libraries of PS4 and PS5 titles); Sentry's tools take those, and so do we.
func (f *File) BuildID() []byte {
	// Notes may overlap, so the work is bounded by what is read in all.
	budget := 4 * uint64(len(f.data))
	search := func(data []byte, align uint64) []byte {
		if uint64(len(data)) > budget {
			return nil
		}
		budget -= uint64(len(data))
		return f.findBuildID(data, align)
	}
	for i := range f.Segments {
		if s := &f.Segments[i]; s.Type == SegmentNote {
			if id := search(f.contents(s), s.Align); id != nil {
				return id
			}
		}
	}
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Type == SectionNote || s.Name == ".note.gnu.build-id" {
			if data, err := f.RawData(s); err == nil {
				if id := search(data, s.Align); id != nil {
					return id
				}
			}
		}
	}
	for i := range f.Segments {
		if s := &f.Segments[i]; s.Type == segmentSCEDynLibData {
			if data := f.contents(s); len(data) >= sceFingerprint {
				return data[:sceFingerprint:sceFingerprint]
			}
		}
	}
	return nil
}

// findBuildID searches notes. Names and descriptions are padded to 4 bytes, to 8 where the segment or
// section is aligned to 8 (gABI chapter 5, "Note Section", as the GNU tools read it).
func (f *File) findBuildID(data []byte, align uint64) []byte {
	if align != 8 {
		align = 4
	}
	c := f.cursor(data)
	pad := func() { c.Skip(min(-c.Offset()&(align-1), c.Len())) }
	for c.Len() >= noteHeader {
		nameSize, size, kind := uint64(c.U32()), uint64(c.U32()), c.U32()
		name := c.Bytes(nameSize)
		pad()
		id := c.Bytes(size)
		pad()
		if c.Err() == nil && kind == noteBuildID && len(id) > 0 && string(name) == "GNU\x00" {
			return id
		}
	}
	return nil
}

// DebugID returns the debug id: the build id's, else Breakpad's fallback, the bytes of the first page of
// .text folded into sixteen. Without both it is zero; so is the fallback of a separate debug file, which
// has no .text in it.
func (f *File) DebugID() debugid.ID {
	id := f.BuildID()
	if id == nil {
		const page = 4096 // on every machine
		var folded [16]byte
		text, _ := f.RawData(f.Section(".text"))
		for i, b := range text[:min(len(text), page)] {
			folded[i%16] ^= b
		}
		id = folded[:]
	}
	return debugid.FromBuildID(id, f.BigEndian)
}

// CodeID returns the code id, which is the whole build id. The fallback of DebugID has none.
func (f *File) CodeID() debugid.CodeID { return debugid.CodeIDFromBuildID(f.BuildID()) }

// DebugLink returns the file name and the CRC-32 of the separate debug file named in .gnu_debuglink.
func (f *File) DebugLink() (name string, crc uint32, ok bool) {
	data, _ := f.Data(f.Section(".gnu_debuglink"), maxLinkSection)
	return DebugLink(data, f.BigEndian)
}

// DebugLink reads the contents of a section .gnu_debuglink, which PE files have as well.
func DebugLink(section []byte, bigEndian bool) (name string, crc uint32, ok bool) {
	c := cursor.New(section, "debuglink", "").BigEndian(bigEndian)
	b := c.CString(maxLinkName)
	c.Skip(-c.Offset() & 3)
	crc = c.U32()
	return string(b), crc, c.Err() == nil && len(b) > 0
}

// DebugAltLink returns the file name and the id of the supplementary debug file, which several debug files
// share (dwz). They are in .gnu_debugaltlink, the id being the build id, or in .debug_sup (DWARF5 7.3.6),
// where the supplementary file has one, too. The id may alias the file.
func (f *File) DebugAltLink() (name string, id []byte, ok bool) {
	if data, err := f.Data(f.Section(".gnu_debugaltlink"), maxLinkSection); err == nil {
		c := f.cursor(data)
		b := c.CString(maxLinkName)
		return string(b), c.Rest(), c.Err() == nil && len(b) > 0
	}
	supplementary, name, id := f.debugSup()
	return name, id, !supplementary && name != ""
}

// SupplementID returns what DebugAltLink of another file says if it is f that it means.
func (f *File) SupplementID() []byte {
	if supplementary, _, id := f.debugSup(); supplementary {
		return id
	}
	return f.BuildID()
}

// debugSup reads .debug_sup. Supplementary is whether f is the file that others refer to.
func (f *File) debugSup() (supplementary bool, name string, id []byte) {
	data, _ := f.Data(f.Section(".debug_sup"), maxLinkSection)
	c := f.cursor(data)
	version, is := c.U16(), c.U8()
	b := c.CString(maxLinkName)
	id = c.Bytes(c.ULEB())
	if c.Err() != nil || version < 2 || version > 5 || is > 1 {
		return false, "", nil
	}
	return is == 1, string(b), id
}
