package dwarf

import (
	"bytes"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// value is an attribute value: a number, an offset or, for inline strings, an offset of .debug_info.
type value struct {
	v    uint64
	form uint16 // 0: absent
}

// entry holds the attributes of one debugging information entry that are kept.
type entry struct {
	values [slotCount]value
	set    [slotCount]slot // slots in use, to clear them
	n      uint8
}

func (e *entry) has(s slot) bool { return e.values[s].form != 0 }

func (e *entry) reset() {
	for _, s := range e.set[:e.n] {
		e.values[s] = value{}
	}
	e.n = 0
}

func (e *entry) put(s slot, v value) {
	if e.values[s].form == 0 {
		e.set[e.n] = s
		e.n++
		e.values[s] = v
	}
}

// readEntry reads the entry at c into e and returns its declaration, nil for a null entry. Failures
// are latched in c.
func readEntry(c *cursor.Cursor, u *unit, e *entry) *abbrev {
	e.reset()
	code := c.ULEB()
	if code == 0 {
		return nil
	}
	a := u.abbrevs.get(code)
	if a == nil {
		c.Fail("entry with an undeclared abbreviation", nil)
		return nil
	}
	for i := range a.ops {
		o := &a.ops[i]
		if o.form == 0 {
			c.Skip(uint64(o.size))
			continue
		}
		v := value{o.implicit, o.form}
		if o.fixed {
			if o.size > 0 {
				v.v = fixedValue(c, o.size)
			}
		} else if !v.read(c, u) {
			return nil
		}
		if o.slot != slotNone {
			e.put(o.slot, v)
		}
	}
	return a
}

func fixedValue(c *cursor.Cursor, size uint32) uint64 {
	if size == 16 { // a checksum
		c.Skip(16)
		return 0
	}
	return c.Uint(uint8(size))
}

// read reads a value of a form that does not say its size. It reports whether what is behind it can be read.
func (v *value) read(c *cursor.Cursor, u *unit) bool {
	form := uint64(v.form)
	for form == formIndirect {
		if form = c.ULEB(); form == formImplicitConst || c.Err() != nil {
			c.Fail("indirect form without a value", nil)
			return false
		}
	}
	v.form = uint16(form)
	if size, fixed := fixedSize(form, u.addrSize, u.offSize, u.version); fixed {
		if v.v = 1; size > 0 {
			v.v = fixedValue(c, size)
		}
		return true
	}
	switch form {
	case formUdata, formRefUdata, formStrx, formAddrx, formLoclistx, formRnglistx, formGNUAddrIndex, formGNUStrIndex:
		v.v = c.ULEB()
	case formSdata:
		v.v = uint64(c.SLEB())
	case formString:
		v.v = c.Offset()
		n := bytes.IndexByte(c.Rest(), 0)
		if n < 0 {
			c.Fail("string without terminator", debug.ErrTruncated)
		}
		c.Skip(uint64(n + 1))
	case formBlock, formExprloc:
		c.Skip(c.ULEB())
	case formBlock1:
		c.Skip(uint64(c.U8()))
	case formBlock2:
		c.Skip(uint64(c.U16()))
	case formBlock4:
		c.Skip(uint64(c.U32()))
	default:
		c.Fail("unknown attribute form", debug.ErrUnsupported)
		return false
	}
	return true
}

// str returns the string of a value, nil if it has none or it cannot be read. It aliases a section.
func (r *reader) str(u *unit, v value) []byte {
	switch v.form {
	case formString:
		return cstring(u.info, v.v)
	case formStrp:
		return cstring(u.f.Str, v.v)
	case formLineStrp:
		return cstring(u.f.LineStr, v.v)
	case formGNUStrpAlt, formStrpSup:
		if r.alt != nil {
			return cstring(r.alt.Str, v.v)
		}
	case formStrx, formStrx1, formStrx2, formStrx3, formStrx4, formGNUStrIndex:
		off, ok := u.f.indexed(u.f.StrOffsets, u.strOffsetsBase, v.v, u.offSize)
		if !ok {
			return nil
		}
		return cstring(u.f.Str, off)
	}
	return nil
}

// addr returns the address of a value.
func (r *reader) addr(u *unit, v value) (uint64, bool) {
	switch v.form {
	case formAddr:
		return v.v, true
	case formAddrx, formAddrx1, formAddrx2, formAddrx3, formAddrx4, formGNUAddrIndex:
		return r.main.indexed(r.main.Addr, u.addrBase, v.v, u.addrSize)
	}
	return 0, false
}

// indexed returns the i-th element behind base.
func (f *file) indexed(section []byte, base, i uint64, size uint8) (uint64, bool) {
	if i > uint64(len(section))/uint64(size) || base > uint64(len(section)) {
		return 0, false
	}
	c := f.cursor(section, "indexed")
	c.Skip(base + i*uint64(size))
	v := c.Uint(size)
	return v, c.Err() == nil
}

// ref returns the offset of .debug_info that a reference points to, and the file: nil if that is not known.
func (r *reader) ref(u *unit, v value) (*file, uint64) {
	switch v.form {
	case formRef1, formRef2, formRef4, formRef8, formRefUdata:
		if v.v < u.end-u.off {
			return u.f, u.off + v.v
		}
	case formRefAddr:
		return u.f, v.v
	case formGNURefAlt, formRefSup4, formRefSup8:
		return r.alt, v.v
	}
	return nil, 0 // formRefSig8: leads to types only
}

func cstring(section []byte, off uint64) []byte {
	if off >= uint64(len(section)) {
		return nil
	}
	s := section[off:]
	n := bytes.IndexByte(s, 0)
	if n < 0 {
		return nil
	}
	return s[:n:n]
}
