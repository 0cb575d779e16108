package minidump

import (
	"math"
	"strings"

	"salvage/debug/debugid"
	"salvage/debug/internal/cursor"
)

// Crashpad is what a Crashpad client and its handler say about a crash (MinidumpCrashpadInfo of
// Crashpad's minidump_extensions.h). An annotation that cannot be read is left out alone; those with the
// same name are all kept, in file order.
type Crashpad struct {
	Version            uint32
	ReportID, ClientID string     // hyphenated lower-case UUIDs; empty if zero
	Annotations        []KeyValue // of the process
	Modules            []CrashpadModule
}

// KeyValue is a simple annotation.
type KeyValue struct{ Key, Value string }

// CrashpadModule holds the annotations of one module.
type CrashpadModule struct {
	Index       uint32   // of the module: Module.Index
	List        []string // messages without names: of dyld, abort, the Objective-C runtime
	Annotations []KeyValue
	Objects     []Annotation
}

// Annotation is a typed annotation.
type Annotation struct {
	Name  string
	Type  uint16 // 0 invalid, 1 string, from 0x8000 the client's own
	Value []byte // of any type; aliases the dump
}

// AnnotationString is the type of an annotation whose value is text.
const AnnotationString = 1

func (p *parser) crashpad() {
	var annotations, modules location
	info := read(p, StreamCrashpadInfo, func(c *cursor.Cursor) Crashpad {
		i := Crashpad{c.U32(), p.uuid(c), p.uuid(c), nil, nil}
		annotations, modules = readLocation(c), readLocation(c)
		return i
	})
	if info == nil {
		return
	}
	if info.Version == 0 {
		p.problem("unsupported", "version 0")
		return
	}
	p.d.Crashpad = info
	info.Annotations = p.keyValues(annotations)
	p.annotationList(modules, 12, func(c *cursor.Cursor) {
		m := CrashpadModule{Index: c.U32()}
		r := p.at(readLocation(c))
		version := r.U32()
		list, simple, objects := readLocation(&r), readLocation(&r), readLocation(&r)
		if p.failed(&r) {
			return
		}
		if version == 0 {
			p.problem("unsupported", "module %d: version 0", m.Index)
			return
		}
		p.annotationList(list, 4, func(c *cursor.Cursor) {
			if s, ok := p.utf8(c); ok {
				m.List = append(m.List, s)
			}
		})
		m.Annotations = p.keyValues(simple)
		p.annotationList(objects, 12, func(c *cursor.Cursor) {
			name, ok := p.utf8(c)
			a := Annotation{Name: name, Type: c.U16()}
			c.Skip(2)
			if value := rva(c.U32()); value != 0 {
				v := p.from(value)
				if a.Value = v.Bytes(uint64(v.U32())); p.failed(&v) {
					return
				}
			}
			if ok {
				m.Objects = append(m.Objects, a)
			}
		})
		info.Modules = append(info.Modules, m)
	})
}

// annotationList hands on the records of a list: a count, then records of size bytes. All lists draw on one
// budget, since a file may make many modules share one list.
func (p *parser) annotationList(l location, size uint64, record func(*cursor.Cursor)) {
	if l.size == 0 {
		return
	}
	c := p.at(l)
	count := uint64(c.U32())
	if p.failed(&c) {
		return
	}
	limit := uint32(min(p.annotations, math.MaxUint32))
	p.records(&c, count, size, limit, func(_ uint32, c *cursor.Cursor) {
		if p.annotations == 0 { // the lists of modules before this one used it up
			p.problem("too large", "more than %d annotations", p.limits.Annotations)
			return
		}
		p.annotations--
		record(c)
	})
}

func (p *parser) keyValues(l location) (kv []KeyValue) {
	p.annotationList(l, 8, func(c *cursor.Cursor) {
		key, ok1 := p.utf8(c)
		value, ok2 := p.utf8(c)
		if ok1 && ok2 {
			kv = append(kv, KeyValue{key, value})
		}
	})
	return kv
}

// utf8 reads the offset of a MinidumpUTF8String from c, and that: its length, the text, a NUL.
func (p *parser) utf8(c *cursor.Cursor) (string, bool) {
	s := p.from(rva(c.U32()))
	n := uint64(s.U32())
	p.charge(&s, n)
	text := s.Bytes(n)
	if s.U8() != 0 {
		s.Fail("string without terminator", nil)
	}
	if p.failed(&s) {
		return "", false
	}
	return strings.ToValidUTF8(string(text), "\uFFFD"), true
}

// uuid reads a UUID, which is stored as a GUID is.
func (p *parser) uuid(c *cursor.Cursor) string {
	var g [16]byte
	copy(g[:], c.Bytes(16))
	if g == [16]byte{} {
		return ""
	}
	if p.d.BigEndian {
		return debugid.ID{UUID: g}.String()
	}
	return debugid.FromGUID(g, 0).String()
}
