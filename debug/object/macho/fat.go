package macho

import (
	"encoding/binary"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// Slice is the file of one architecture inside a universal file.
type Slice struct {
	CPU, Subtype uint32
	Data         []byte
}

const (
	fatMagic   = 0xcafebabe
	fatMagic64 = 0xcafebabf
	// maxSlices tells universal files from Java classes, which have the same magic and then their version, 45
	// or more. Apple has never shipped more than a handful.
	maxSlices = 40
)

// ProbeFat reports whether data starts like a universal file.
func ProbeFat(data []byte) bool {
	if len(data) < 8 {
		return false
	}
	m, n := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	return (m == fatMagic || m == fatMagic64) && n > 0 && n <= maxSlices
}

// DSYMFolder is where in a dSYM bundle, which is a folder, the debug files are: one, unless somebody put several
// bundles together.
const DSYMFolder = "Contents/Resources/DWARF"

// Slices returns the files in a universal file, in its order. They are no larger than it in total. A universal
// file in another is refused.
func Slices(data []byte) ([]Slice, error) {
	if !ProbeFat(data) {
		return nil, &debug.FormatError{Format: "macho", Reason: "not a universal file", Err: debug.ErrUnsupported}
	}
	c := cursor.New(data, "macho", "architectures").BigEndian(true)
	wide := c.U32() == fatMagic64
	count := c.U32()
	slices := make([]Slice, 0, count)
	left := uint64(len(data))
	for range count {
		s := Slice{CPU: c.U32(), Subtype: c.U32() & subtypeMask}
		var at, size uint64
		if wide {
			at, size = c.U64(), c.U64()
			c.Skip(8)
		} else {
			at, size = uint64(c.U32()), uint64(c.U32())
			c.Skip(4)
		}
		if c.Err() == nil && (at > uint64(len(data)) || size > uint64(len(data))-at) {
			c.Fail("architecture ends outside the file", debug.ErrTruncated)
		}
		if c.Err() == nil && size > left {
			c.Fail("architectures overlap", nil)
		}
		if c.Err() != nil {
			return nil, c.Err()
		}
		left -= size
		s.Data = data[at : at+size : at+size]
		if ProbeFat(s.Data) {
			c.Fail("universal file inside another", debug.ErrUnsupported)
			return nil, c.Err()
		}
		slices = append(slices, s)
	}
	return slices, nil
}
