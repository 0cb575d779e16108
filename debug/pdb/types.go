package pdb

import (
	"encoding/binary"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// records are those of the type stream (TPI) or the id stream (IPI), by number.
type records struct {
	first   uint32
	offsets []uint32
	data    []byte
}

const (
	typesHeaderSize = 56
	firstType       = 0x1000 // numbers below are basic types
)

func (f *File) records(name string, stream uint32) (r records, err error) {
	s, err := f.msf.stream(name, stream)
	if err != nil || len(s) == 0 {
		return r, err
	}
	c := cursor.New(s, "pdb", name)
	c.Skip(4)
	header := uint64(c.U32())
	begin, end := c.U32(), c.U32()
	size := uint64(c.U32())
	if c.Err() == nil && (header < typesHeaderSize || begin < firstType || end < begin) {
		c.Fail("impossible header", nil)
	}
	c = cursor.New(s, "pdb", name)
	c.Skip(header)
	data := c.Bytes(min(size, c.Len()))
	if c.Err() != nil {
		return r, c.Err()
	}
	r = records{first: begin, data: data}
	if n := min(uint64(end-begin), uint64(len(data))/4); n > 0 {
		r.offsets = make([]uint32, 0, n)
	}
	for off := 0; len(r.offsets) < cap(r.offsets) && len(data)-off >= 4; {
		n := int(binary.LittleEndian.Uint16(data[off:]))
		if n < 2 || n > len(data)-off-2 {
			break
		}
		r.offsets = append(r.offsets, uint32(off))
		off += 2 + n
	}
	if uint32(len(r.offsets)) < end-begin {
		return r, fail(name, header, "stream ends before its records", debug.ErrTruncated)
	}
	return r, nil
}

// at returns the kind and contents of a record, kind 0 if there is none of that number.
func (r *records) at(n uint32) (kind uint16, c cursor.Cursor) {
	if i := n - r.first; n >= r.first && uint64(i) < uint64(len(r.offsets)) {
		b := r.data[r.offsets[i]:]
		size := binary.LittleEndian.Uint16(b)
		return binary.LittleEndian.Uint16(b[2:]), cursor.New(b[4:2+size], "pdb", "type")
	}
	return 0, cursor.Cursor{}
}

// Kinds of records: LF_…
const (
	leafModifier     = 0x1001
	leafPointer      = 0x1002
	leafProcedure    = 0x1008
	leafMethod       = 0x1009 // LF_MFUNCTION
	leafArguments    = 0x1201
	leafBitField     = 0x1205
	leafArray        = 0x1503
	leafClass        = 0x1504
	leafStructure    = 0x1505
	leafUnion        = 0x1506
	leafEnum         = 0x1507
	leafAlias        = 0x150a
	leafInterface    = 0x1519
	leafFunctionID   = 0x1601
	leafMethodID     = 0x1602
	leafSubstrings   = 0x1604
	leafStringID     = 0x1605
	leafClass19      = 0x1608
	leafStructure19  = 0x1609
	propForward      = 0x80
	modifierConst    = 1
	modifierVolatile = 2
	pointerVolatile  = 0x200
	pointerConst     = 0x400
	functionIsCtor   = 2 // of attributes
	modeReference    = 1
	modeMember       = 2
	modeMethod       = 3
	modeRValue       = 4
)

// basicTypes are the names of basic types by the low byte of their number.
var basicTypes = map[uint8]string{
	0x03: "void", 0x08: "HRESULT", 0x10: "signed char", 0x20: "unsigned char", 0x70: "char", 0x71: "wchar_t", 0x7a: "char16_t", 0x7b: "char32_t",
	0x7c: "char8_t", 0x68: "int8_t", 0x69: "uint8_t", 0x11: "short", 0x21: "unsigned short", 0x72: "int16_t", 0x73: "uint16_t",
	0x12: "long", 0x22: "unsigned long", 0x74: "int", 0x75: "unsigned int", 0x13: "long long", 0x23: "unsigned long long",
	0x76: "int64_t", 0x77: "uint64_t", 0x14: "int128_t", 0x24: "uint128_t", 0x78: "int128_t", 0x79: "uint128_t",
	0x46: "float16_t", 0x40: "float", 0x45: "float", 0x44: "float48_t", 0x41: "double", 0x42: "long double", 0x43: "long double",
	0x50: "complex<float>", 0x51: "complex<double>", 0x52: "complex<long double>", 0x53: "complex<long double>",
	0x30: "bool", 0x31: "bool16_t", 0x32: "bool32_t", 0x33: "bool64_t",
}

// basicSizes are the sizes of basic types in bytes.
var basicSizes = map[uint8]uint64{
	0x08: 4, 0x10: 1, 0x20: 1, 0x70: 1, 0x71: 2, 0x7a: 2, 0x7b: 4, 0x7c: 1, 0x68: 1, 0x69: 1, 0x11: 2, 0x21: 2, 0x72: 2, 0x73: 2,
	0x12: 4, 0x22: 4, 0x74: 4, 0x75: 4, 0x13: 8, 0x23: 8, 0x76: 8, 0x77: 8, 0x14: 16, 0x24: 16, 0x78: 16, 0x79: 16,
	0x46: 2, 0x40: 4, 0x45: 4, 0x44: 6, 0x41: 8, 0x42: 10, 0x43: 16, 0x50: 8, 0x51: 16, 0x52: 20, 0x53: 32, 0x30: 1, 0x31: 2, 0x32: 4, 0x33: 8,
}

// number reads a numeric leaf: 16 bits, or a kind and a value of that size.
func number(c *cursor.Cursor) uint64 {
	v := c.U16()
	if v < 0x8000 {
		return uint64(v)
	}
	switch v {
	case 0x8000:
		return uint64(c.U8())
	case 0x8001, 0x8002:
		return uint64(c.U16())
	case 0x8003, 0x8004:
		return uint64(c.U32())
	case 0x8009, 0x800a:
		return c.U64()
	}
	c.Fail("unknown number", debug.ErrUnsupported)
	return 0
}

// text reads a name, which its record need not end.
func text(c *cursor.Cursor) []byte { return cut(c.Rest()) }

// composite reads a class, structure, interface, union or enumeration.
func composite(kind uint16, c *cursor.Cursor) (name []byte, size uint64, forward, ok bool) {
	var properties uint32
	switch kind {
	case leafClass, leafStructure, leafInterface:
		c.Skip(2)
		properties = uint32(c.U16())
		c.Skip(12)
		size = number(c)
	case leafClass19, leafStructure19:
		properties = c.U32()
		c.Skip(14)
		size = number(c)
	case leafUnion:
		c.Skip(2)
		properties = uint32(c.U16())
		c.Skip(4)
		size = number(c)
	case leafEnum:
		c.Skip(2)
		properties = uint32(c.U16())
		c.Skip(8)
	default:
		return nil, 0, false, false
	}
	return text(c), size, properties&propForward != 0, true
}
