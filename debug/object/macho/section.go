package macho

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"salvage/debug"
	"salvage/debug/internal/inflate"
)

// ErrNotInFile says that the contents of a section are not in this file: sections that only take memory,
// and in a dSYM those that stayed in the image. They are not zeros. Test with errors.Is.
var ErrNotInFile = errors.New("not in the file")

func isAbsent(err error) bool { return errors.Is(err, ErrNotInFile) }

func (s *Section) fail(reason string, cause error) error {
	return &debug.FormatError{Format: "macho", Section: s.Name, Offset: s.Offset, Reason: reason, Err: cause}
}

// RawData returns the bytes of s as they are in the file. They alias the file. The error is ErrNotInFile,
// also for a nil section, or debug.ErrTruncated where the file ends before the section.
func (f *File) RawData(s *Section) ([]byte, error) {
	if s == nil {
		return nil, &debug.FormatError{Format: "macho", Reason: "no such section", Err: ErrNotInFile}
	}
	kind := s.Flags & sectionTypeMask
	switch {
	case s.Offset == 0 || kind == sectionZeroFill || kind == sectionGBZero || kind == sectionTLSZero:
		return nil, s.fail("section has no contents", ErrNotInFile)
	case s.Offset > uint64(len(f.data)) || s.Size > uint64(len(f.data))-s.Offset:
		return nil, s.fail("section ends outside the file", debug.ErrTruncated)
	}
	return f.data[s.Offset : s.Offset+s.Size : s.Offset+s.Size], nil
}

// Data returns the contents of s: inflated into a new buffer if it is a __zdebug_ section, relocated in one
// if it is a section of an object file that refers to symbols. Errors are those of RawData, and
// debug.ErrTooLarge if a buffer of more than limit bytes would be needed.
func (f *File) Data(s *Section, limit uint64) ([]byte, error) {
	raw, err := f.RawData(s)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(s.Name, "__zdebug_") {
		// As in ELF files of older GNU tools: "ZLIB", the size as 8 bytes, big-endian in every file.
		if len(raw) < 12 || string(raw[:4]) != "ZLIB" {
			return nil, s.fail("no ZLIB header", nil)
		}
		data, err := inflate.Zlib(raw[12:], binary.BigEndian.Uint64(raw[4:]), limit)
		if err != nil {
			return nil, s.fail("cannot inflate", err)
		}
		return data, nil
	}
	return f.relocated(s, raw, limit)
}

// relocated adds the addresses of symbols. Relocations against sections need nothing: the address in the
// object file is in place already.
func (f *File) relocated(s *Section, raw []byte, limit uint64) ([]byte, error) {
	data := raw
	size := int(symbolSize(f.Is64))
	for rows := s.relocations; len(rows) >= relocationSize; rows = rows[relocationSize:] {
		c := f.cursor(rows[:relocationSize], s.Name)
		at, info := c.U32(), c.U32()
		symbol, relative, length, external, kind := info&0xffffff, info>>24&1, info>>25&3, info>>27&1, info>>28
		if f.BigEndian {
			symbol, relative, length, external, kind = info>>8, info>>7&1, info>>5&3, info>>4&1, info&15
		}
		// A scattered one (bit 31) is against a section; kind 0 is the plain address on every CPU.
		if at>>31 != 0 || external == 0 || relative != 0 || kind != 0 || length < 2 || int(symbol) >= f.symbolCount {
			continue
		}
		width := uint64(1) << length
		if uint64(at)+width > uint64(len(raw)) {
			continue
		}
		row := f.cursor(f.symbols[int(symbol)*size:], "symbols")
		target := f.symbol(&row)
		if target.Type&symbolTypeMask != symbolInSection {
			continue
		}
		if &data[0] == &raw[0] {
			if uint64(len(raw)) > limit {
				return nil, s.fail("cannot relocate", debug.ErrTooLarge)
			}
			data = slices.Clone(raw)
		}
		place := f.cursor(raw[at:], s.Name)
		v := place.Uint(uint8(width)) + target.Addr
		order := binary.ByteOrder(binary.LittleEndian)
		if f.BigEndian {
			order = binary.BigEndian
		}
		if width == 8 {
			order.PutUint64(data[at:], v)
		} else {
			order.PutUint32(data[at:], uint32(v))
		}
	}
	return data, nil
}

// At returns the bytes of the image from an address, relative to ImageBase, to the end of its section in the
// file; nil if the file has none there.
func (f *File) At(addr uint64) []byte {
	addr += f.ImageBase()
	for i := range f.Sections {
		if s := &f.Sections[i]; addr >= s.Addr && addr-s.Addr < s.Size {
			if data, err := f.RawData(s); err == nil {
				return data[addr-s.Addr:]
			}
		}
	}
	return nil
}
