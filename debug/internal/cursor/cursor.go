// Package cursor reads fixed and variable length values from untrusted bytes.
//
// A Cursor is a value over a byte slice. Its first failure is latched: from then on every read returns
// zero and the remaining data is gone, so loops that run "until empty" end. Callers check Err once per
// record group. Slices it returns alias the input.
//
// Malformed input yields a *debug.FormatError with the absolute offset, never a panic.
package cursor

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"

	"salvage/debug"
)

// Cursor is a bounds-checked reader. Copies are independent.
type Cursor struct {
	data []byte
	off  uint64 // bytes consumed from the start of data's origin
	err  *debug.FormatError

	format, section string
	big             bool
}

// New returns a little-endian cursor over data. Format and section name the input in errors.
func New(data []byte, format, section string) Cursor {
	return Cursor{data: data, format: format, section: section}
}

// BigEndian returns c reading big-endian values if big is set, little-endian ones otherwise.
func (c Cursor) BigEndian(big bool) Cursor { c.big = big; return c }

// Len returns how many bytes are left.
func (c *Cursor) Len() uint64 { return uint64(len(c.data)) }

// Offset returns the absolute offset of the next byte.
func (c *Cursor) Offset() uint64 { return c.off }

// Rest returns the bytes that are left without consuming them.
func (c *Cursor) Rest() []byte { return c.data }

// Err returns the first failure as a *debug.FormatError, or nil.
func (c *Cursor) Err() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

// Fail latches a failure at the current offset unless one is latched already.
func (c *Cursor) Fail(reason string, cause error) {
	if c.err == nil {
		c.err = &debug.FormatError{Format: c.format, Section: c.section, Offset: c.off, Reason: reason, Err: cause}
	}
	c.data = nil
}

// Bytes consumes and returns the next n bytes.
func (c *Cursor) Bytes(n uint64) []byte {
	if n > uint64(len(c.data)) {
		c.Fail("value ends outside its section", debug.ErrTruncated)
		return nil
	}
	b := c.data[:n:n]
	c.data = c.data[n:]
	c.off += n
	return b
}

// Skip consumes n bytes.
func (c *Cursor) Skip(n uint64) { c.Bytes(n) }

// U8 reads one byte.
func (c *Cursor) U8() uint8 {
	if len(c.data) == 0 {
		c.Bytes(1)
		return 0
	}
	v := c.data[0]
	c.data = c.data[1:]
	c.off++
	return v
}

// U16 reads two bytes in the cursor's byte order.
func (c *Cursor) U16() uint16 {
	b := c.Bytes(2)
	if b == nil {
		return 0
	}
	if c.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

// U32 reads four bytes in the cursor's byte order.
func (c *Cursor) U32() uint32 {
	b := c.Bytes(4)
	if b == nil {
		return 0
	}
	if c.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

// U64 reads eight bytes in the cursor's byte order.
func (c *Cursor) U64() uint64 {
	b := c.Bytes(8)
	if b == nil {
		return 0
	}
	if c.big {
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}

// Uint reads an unsigned value of size bytes: 1 to 8. Any other size is a failure.
func (c *Cursor) Uint(size uint8) uint64 {
	switch size {
	case 1:
		return uint64(c.U8())
	case 2:
		return uint64(c.U16())
	case 4:
		return uint64(c.U32())
	case 8:
		return c.U64()
	case 3, 5, 6, 7:
		var v uint64
		for i, x := range c.Bytes(uint64(size)) {
			if c.big {
				v = v<<8 | uint64(x)
			} else {
				v |= uint64(x) << (8 * i)
			}
		}
		return v
	}
	c.Fail("unsupported value size", debug.ErrUnsupported)
	return 0
}

// ULEB reads an unsigned LEB128 value. Truncation, a value over 64 bits and an encoding longer than
// ten bytes are failures.
func (c *Cursor) ULEB() uint64 {
	if len(c.data) > 0 && c.data[0] < 0x80 { // the common case, inlined
		v := uint64(c.data[0])
		c.data = c.data[1:]
		c.off++
		return v
	}
	v, n := binary.Uvarint(c.data)
	if n <= 0 {
		c.badLEB(n)
		return 0
	}
	c.data = c.data[n:]
	c.off += uint64(n)
	return v
}

// SLEB reads a signed LEB128 value under the rules of ULEB.
func (c *Cursor) SLEB() int64 {
	var v int64
	for i, b := range c.data {
		if i == 10 {
			break
		}
		if i == 9 && b != 0 && b != 0x7f {
			break
		}
		v |= int64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if shift := 7 * (i + 1); shift < 64 && b&0x40 != 0 {
				v |= -1 << shift
			}
			c.data = c.data[i+1:]
			c.off += uint64(i + 1)
			return v
		}
	}
	if len(c.data) < 10 {
		c.badLEB(0)
	} else {
		c.badLEB(-1)
	}
	return 0
}

func (c *Cursor) badLEB(n int) {
	if n == 0 {
		c.Fail("LEB128 value ends outside its section", debug.ErrTruncated)
	} else {
		c.Fail("LEB128 value over 64 bits", nil)
	}
}

// CString consumes a NUL-terminated string of at most limit bytes and returns it without the NUL.
// The terminator must be inside the section.
func (c *Cursor) CString(limit uint64) []byte {
	window := c.data
	if limit < uint64(len(window)) {
		window = window[:limit+1]
	}
	i := bytes.IndexByte(window, 0)
	if i < 0 {
		c.Fail("string without terminator", debug.ErrTruncated)
		return nil
	}
	s := c.Bytes(uint64(i))
	c.Skip(1)
	return s
}

// UTF16 consumes n bytes of UTF-16 in the cursor's byte order and returns them as UTF-8; unpaired
// surrogates become U+FFFD and an odd last byte is a failure.
func (c *Cursor) UTF16(n uint64) string {
	b := c.Bytes(n)
	if n%2 != 0 {
		c.Fail("UTF-16 string of odd length", nil)
		return ""
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		if c.big {
			units[i] = binary.BigEndian.Uint16(b[2*i:])
		} else {
			units[i] = binary.LittleEndian.Uint16(b[2*i:])
		}
	}
	return string(utf16.Decode(units))
}

// Sub consumes n bytes and returns a cursor confined to them; the parent advances by n whatever the
// child reads. A child of a failed read starts out failed.
func (c *Cursor) Sub(n uint64) Cursor {
	child := *c
	child.data = c.Bytes(n)
	child.err = c.err
	return child
}

// At returns a cursor over n bytes starting off bytes after the current position. It consumes nothing.
func (c *Cursor) At(off, n uint64) Cursor {
	child := *c
	child.Skip(off)
	return child.Sub(n)
}

// Table consumes count elements of elemSize bytes and returns them as one slice, so that a count
// taken from the input never decides an allocation.
func (c *Cursor) Table(count, elemSize uint64) []byte {
	hi, n := bits.Mul64(count, elemSize)
	if hi != 0 {
		c.Fail("table larger than its section", debug.ErrTruncated)
		return nil
	}
	return c.Bytes(n)
}
