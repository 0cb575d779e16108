package elf

import (
	"encoding/binary"
	"errors"
	"strings"

	"salvage/debug"
	"salvage/debug/internal/inflate"
)

// ErrNotInFile says that the contents of a section are not in this file: sections that only take memory,
// and in a separate debug file those that stayed in the image. They are not zeros. Test with errors.Is.
var ErrNotInFile = errors.New("not in the file")

// Compression types (ch_type).
const (
	uncompressed = 0 // no type
	compressZlib = 1
	compressZstd = 2
)

// Section returns the first section of the given name, or nil. A name .debug_… also finds
// .zdebug_…, as older GNU tools call a compressed section.
func (f *File) Section(name string) *Section {
	for i := range f.Sections {
		if f.Sections[i].Name == name {
			return &f.Sections[i]
		}
	}
	if rest, ok := strings.CutPrefix(name, ".debug_"); ok {
		return f.Section(".zdebug_" + rest)
	}
	return nil
}

func (f *File) sectionOfType(kind uint32) *Section {
	for i := range f.Sections {
		if f.Sections[i].Type == kind {
			return &f.Sections[i]
		}
	}
	return nil
}

func (f *File) sectionAt(index uint64) *Section {
	if index >= uint64(len(f.Sections)) {
		return nil
	}
	return &f.Sections[index]
}

// RawData returns the bytes of s as they are in the file, compressed or not. They alias the file. The
// error is ErrNotInFile, also for a nil section, or debug.ErrTruncated where the file ends before the section.
func (f *File) RawData(s *Section) ([]byte, error) {
	switch {
	case s == nil:
		return nil, &debug.FormatError{Format: "elf", Reason: "no such section", Err: ErrNotInFile}
	case s.Type == 0 || s.Type == SectionNoBits:
		return nil, s.fail("section has no contents", ErrNotInFile)
	case s.Offset > uint64(len(f.data)) || s.Size > uint64(len(f.data))-s.Offset:
		return nil, s.fail("section ends outside the file", debug.ErrTruncated)
	}
	return f.data[s.Offset : s.Offset+s.Size : s.Offset+s.Size], nil
}

// Data returns the contents of s, inflated into a new buffer if they are compressed: SHF_COMPRESSED
// with zlib or Zstandard, and GNU's older .zdebug_…. Otherwise they alias the file. Errors are those of
// RawData, debug.ErrTooLarge if a buffer of more than limit bytes would be needed, and
// debug.ErrUnsupported for another compression. Of a relocatable object debug sections and .eh_frame have
// their relocations applied, in a new buffer.
func (f *File) Data(s *Section, limit uint64) ([]byte, error) { return f.Grow(s, limit, nil) }

// Grow is Data that, if Grows says so and grown is not nil, calls it with the contents so far, each time more,
// and how much of RawData they took. It ends with an error if grown returns false.
func (f *File) Grow(s *Section, limit uint64, grown func(contents []byte, taken int) bool) ([]byte, error) {
	raw, err := f.RawData(s)
	if err != nil {
		return nil, err
	}
	how, size, data, err := f.compression(s, raw)
	if err != nil {
		return nil, err
	}
	switch how {
	case uncompressed:
	case compressZlib:
		if head := len(raw) - len(data); grown != nil {
			data, err = inflate.ZlibGrowing(data, size, limit, func(out []byte, taken int) bool { return grown(out, head+taken) })
		} else {
			data, err = inflate.Zlib(data, size, limit)
		}
	case compressZstd:
		data, err = inflate.Zstd(data, size, limit)
	default:
		return nil, s.fail("unknown compression", debug.ErrUnsupported)
	}
	if err != nil {
		return nil, s.fail("cannot inflate", err)
	}
	return f.relocated(s, data), nil
}

// Grows reports whether the contents of s can be had piece by piece while they are inflated, and how many
// bytes they claim to be.
func (f *File) Grows(s *Section) (size uint64, ok bool) {
	raw, err := f.RawData(s)
	if err != nil || f.Type == TypeRel {
		return 0, false
	}
	how, size, _, err := f.compression(s, raw)
	return size, how == compressZlib && err == nil
}

// compression returns how the contents raw of s are compressed, their size, and what is behind the header.
func (f *File) compression(s *Section, raw []byte) (how uint32, size uint64, data []byte, err error) {
	if s.Flags&SectionCompressed != 0 {
		c := f.cursor(raw)
		how = c.U32()
		if f.Is64 {
			c.Skip(4) // ch_reserved
		}
		size = f.word(&c)
		f.word(&c) // ch_addralign
		if c.Err() != nil {
			return 0, 0, nil, s.fail("compression header cut off", debug.ErrTruncated)
		}
		if how == uncompressed {
			return 0, 0, nil, s.fail("unknown compression", debug.ErrUnsupported)
		}
		return how, size, c.Rest(), nil
	}
	if strings.HasPrefix(s.Name, ".zdebug_") {
		// "ZLIB", the size as 8 bytes, big-endian in every file.
		if len(raw) < 12 || string(raw[:4]) != "ZLIB" {
			return 0, 0, nil, s.fail("no ZLIB header", nil)
		}
		return compressZlib, binary.BigEndian.Uint64(raw[4:]), raw[12:], nil
	}
	return uncompressed, uint64(len(raw)), raw, nil
}

func (s *Section) fail(reason string, cause error) error {
	return &debug.FormatError{Format: "elf", Section: s.Name, Offset: s.Offset, Reason: reason, Err: cause}
}

// present reports whether the section of the given name has contents in the file.
func (f *File) present(name string) bool {
	data, err := f.RawData(f.Section(name))
	return err == nil && len(data) > 0
}

// maxDebugData bounds an inflated .gnu_debugdata: a symbol table. That of the largest program known, 200 MB
// of Chromium, takes 40 MB.
const maxDebugData = 512 << 20

// debugData returns the file in .gnu_debugdata, nil if there is none: an ELF file, packed by xz, whose .symtab
// has the functions that .dynsym has not ("MiniDebugInfo" in GDB's manual). It has the sections of f without
// their contents.
func (f *File) debugData() *File {
	raw, err := f.Data(f.Section(".gnu_debugdata"), maxDebugData)
	if err != nil {
		return nil
	}
	data, err := inflate.File(raw, maxDebugData)
	if err != nil {
		return nil
	}
	mini, err := Parse(data)
	if err != nil || mini.Machine != f.Machine || mini.Is64 != f.Is64 || mini.BigEndian != f.BigEndian {
		return nil
	}
	return mini
}

// HasDebugInfo reports whether the file has DWARF (.debug_info) in it.
func (f *File) HasDebugInfo() bool { return f.present(".debug_info") }

// HasUnwindInfo reports whether the file has DWARF unwind rules in it: .eh_frame or .debug_frame, or,
// in a file without sections, the segment that leads to the former.
func (f *File) HasUnwindInfo() bool {
	if f.present(".eh_frame") || f.present(".debug_frame") {
		return true
	}
	if len(f.Sections) > 0 {
		return false
	}
	for i := range f.Segments {
		if s := &f.Segments[i]; s.Type == SegmentGNUEHFrame && len(f.contents(s)) > 0 {
			return true
		}
	}
	return false
}

// HasCode reports whether the file is an image: code is really in it. A separate debug file has the
// sections of its image, but not their contents.
func (f *File) HasCode() bool {
	for i := range f.Sections {
		if s := &f.Sections[i]; s.executable() {
			if data, err := f.RawData(s); err == nil && len(data) > 0 {
				return true
			}
		}
	}
	if len(f.Sections) > 0 { // segments of a debug file may still announce contents
		return false
	}
	for i := range f.Segments {
		if s := &f.Segments[i]; s.executable() && len(f.contents(s)) > 0 {
			return true
		}
	}
	return false
}

func (s *Section) executable() bool {
	return s != nil && s.Flags&(SectionAlloc|SectionExecutable) == SectionAlloc|SectionExecutable
}

func (s *Segment) executable() bool { return s.Type == SegmentLoad && s.Flags&SegmentExecutable != 0 }

// contents returns what the file has of a segment.
func (f *File) contents(s *Segment) []byte {
	size := uint64(len(f.data))
	if s.Offset > size {
		return nil
	}
	end := s.Offset + min(s.FileSize, size-s.Offset)
	return f.data[s.Offset:end:end]
}
