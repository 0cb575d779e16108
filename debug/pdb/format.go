package pdb

import (
	"bytes"
	"fmt"
	"strconv"
)

// The names of functions as people read them: symbols have the name with its scope, ids (of inlined
// functions) have both apart, and neither has the arguments, which are types. They are written as Mozilla's
// and Sentry's tools do, so that one function has one name whoever reads its PDB, but for what those leave
// out: volatile, "..." for variable arguments, the class of a pointer to a member.

const (
	maxName      = 128 << 10 // the longest names known, of C++, have 82 KB
	maxTypeDepth = 64
	maxTypeSteps = 20_000 // of one name
)

// formatter writes names. Its result is valid until the next.
type formatter struct {
	f     *File
	out   []byte
	steps int
}

func (w *formatter) start() { w.out, w.steps = w.out[:0], 0 }

func (w *formatter) put(s string) {
	if len(w.out) < maxName {
		w.out = append(w.out, s[:min(len(s), maxName-len(w.out))]...)
	}
}

func (w *formatter) name(b []byte) {
	if len(b) == 0 {
		w.put("<name omitted>")
	}
	w.put(string(b[:min(len(b), maxName)]))
}

// function returns the name of a procedure with the arguments of its type; without them if that is no type
// of functions, or 0, as for assembly.
func (w *formatter) function(name []byte, typ uint32) []byte {
	w.start()
	w.name(name)
	w.arguments(typ, 0)
	return w.out
}

// id returns the name of a function that is known by its id.
func (w *formatter) id(id uint32) []byte {
	w.start()
	w.putID(id, 0)
	return w.out
}

// functionOf returns the type of a function id, 0 if it is none.
func (w *formatter) functionOf(id uint32) uint32 {
	kind, c := w.f.ids.at(id)
	if kind != leafFunctionID && kind != leafMethodID {
		return 0
	}
	c.Skip(4)
	return c.U32()
}

func (w *formatter) deep(depth int) bool {
	if w.steps++; depth > maxTypeDepth || w.steps > maxTypeSteps || len(w.out) >= maxName {
		return true
	}
	return false
}

func (w *formatter) missing(n uint32) { w.put(fmt.Sprintf("<missing type 0x%x>", n)) }

func (w *formatter) putID(id uint32, depth int) {
	if w.deep(depth) {
		return
	}
	kind, c := w.f.ids.at(id)
	switch kind {
	case leafFunctionID:
		scope, typ := c.U32(), c.U32()
		if scope != 0 {
			w.putID(scope, depth+1)
			w.put("::")
		}
		w.name(text(&c))
		w.arguments(typ, depth+1)
	case leafMethodID:
		class, typ := c.U32(), c.U32()
		w.typ(class, depth+1)
		w.put("::")
		w.name(text(&c))
		w.arguments(typ, depth+1)
	case leafStringID:
		c.Skip(4)
		name := text(&c)
		if rest, ok := bytes.CutPrefix(name, []byte("?A0x")); ok {
			if _, err := strconv.ParseUint(string(rest), 16, 32); err == nil {
				w.put("`anonymous namespace'")
				return
			}
		}
		w.put(string(name[:min(len(name), maxName)]))
	default:
		w.missing(id)
	}
}

// arguments writes the arguments of a function's type in parentheses, and the qualifiers of a method.
func (w *formatter) arguments(typ uint32, depth int) {
	kind, c := w.f.types.at(typ)
	switch kind {
	case leafProcedure:
		c.Skip(8)
		w.put("(")
		w.list(c.U32(), 0, depth+1)
		w.put(")")
	case leafMethod:
		c.Skip(4)
		class, this := c.U32(), c.U32()
		c.Skip(4)
		list := c.U32()
		qualifiers, extra := w.this(class, this)
		w.put("(")
		w.list(list, extra, depth+1)
		w.put(")")
		if qualifiers != "" {
			w.put(" " + qualifiers)
		}
	}
}

// this returns the qualifiers of a method, those of what its this pointer points to. Where that is something
// else than its class, it is returned as a first argument: Rust's associated functions have it there.
func (w *formatter) this(class, this uint32) (qualifiers string, extra uint32) {
	if this == 0 {
		return "", 0
	}
	kind, c := w.f.types.at(this)
	if kind == leafPointer {
		to := c.U32()
		if to == class {
			return "", 0
		}
		if kind, c := w.f.types.at(to); kind == leafModifier && c.U32() == class {
			return modifiers(c.U16()), 0
		}
	}
	return "", this
}

func (w *formatter) list(list, extra uint32, depth int) {
	first := true
	one := func(t uint32) {
		if !first {
			w.put(", ")
		}
		first = false
		if t == 0 {
			w.put("...")
			return
		}
		w.typ(t, depth)
	}
	if extra != 0 {
		one(extra)
	}
	kind, c := w.f.types.at(list)
	if kind != leafArguments {
		w.missing(list)
		return
	}
	for n := c.U32(); n > 0 && c.Len() >= 4 && !w.deep(depth); n-- {
		one(c.U32())
	}
}

// typ writes the name of a type.
func (w *formatter) typ(n uint32, depth int) { w.qualified(n, "", depth) }

// qualified writes the name of a type with const or volatile: before it, or behind the star of a pointer.
func (w *formatter) qualified(n uint32, qualifiers string, depth int) {
	if w.deep(depth) {
		return
	}
	before := ""
	if qualifiers != "" {
		before = qualifiers + " "
	}
	if n < firstType {
		w.basic(n, qualifiers)
		return
	}
	kind, c := w.f.types.at(n)
	switch kind {
	case leafModifier:
		to, flags := c.U32(), c.U16()
		w.qualified(to, join(qualifiers, modifiers(flags)), depth+1)
	case leafPointer:
		w.pointer(n, qualifiers, depth)
	case leafArray:
		w.put(before)
		w.array(n, depth)
	case leafProcedure, leafMethod:
		w.returned(n, depth)
		w.put("(")
		w.put(")")
		w.arguments(n, depth+1)
	case leafAlias:
		c.Skip(4)
		w.put(before)
		w.name(text(&c))
	case leafBitField:
		w.qualified(c.U32(), qualifiers, depth+1)
	default:
		if name, _, _, ok := composite(kind, &c); ok {
			w.put(before)
			w.name(name)
			return
		}
		w.missing(n)
	}
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}

func modifiers(flags uint16) string {
	switch flags & (modifierConst | modifierVolatile) {
	case modifierConst:
		return "const"
	case modifierVolatile:
		return "volatile"
	case modifierConst | modifierVolatile:
		return "const volatile"
	}
	return ""
}

// basic writes a basic type: its low byte says which, the bits above whether it is a pointer to it.
func (w *formatter) basic(n uint32, qualifiers string) {
	const near16 = 1 // no pointer there can be, but the type of nullptr
	mode := n >> 8 & 0xf
	name, ok := basicTypes[uint8(n)]
	switch {
	case !ok:
		w.missing(n)
	case mode == near16 && uint8(n) == 3:
		w.put("std::nullptr_t")
	case mode != 0 && qualifiers != "":
		w.put(name + "* " + qualifiers)
	case mode != 0:
		w.put(name + "*")
	case qualifiers != "":
		w.put(qualifiers + " " + name)
	default:
		w.put(name)
	}
}

// star is one pointer of a pointer to pointers.
type star struct {
	mode             uint32
	class            uint32 // of a pointer to a member
	pointee, pointer string // qualifiers of what it points to, unless that is a pointer, and of itself
}

func (w *formatter) pointer(n uint32, qualifiers string, depth int) {
	var stars []star // outer first
	for {
		_, c := w.f.types.at(n)
		to, flags := c.U32(), c.U32()
		s := star{mode: flags >> 5 & 7, pointer: qualifiers}
		if s.mode == modeMember || s.mode == modeMethod {
			s.class = c.U32()
		}
		own := ""
		if flags&pointerConst != 0 {
			own = "const"
		}
		if flags&pointerVolatile != 0 {
			own = join(own, "volatile")
		}
		s.pointer = join(s.pointer, own)
		if len(stars) >= maxTypeDepth || w.deep(depth) {
			return
		}
		kind, c := w.f.types.at(to)
		qualifiers = ""
		if kind == leafModifier {
			to = c.U32()
			qualifiers = modifiers(c.U16())
			kind, _ = w.f.types.at(to)
		}
		if kind != leafPointer {
			s.pointee = qualifiers
			stars = append(stars, s)
			n = to
			break
		}
		stars = append(stars, s)
		n = to
	}
	switch kind, _ := w.f.types.at(n); kind {
	case leafProcedure, leafMethod:
		w.returned(n, depth)
		w.put("(")
		w.stars(stars, depth)
		w.put(")")
		w.arguments(n, depth+1)
	default:
		w.typ(n, depth+1)
		w.stars(stars, depth)
	}
}

func (w *formatter) stars(stars []star, depth int) {
	for i := len(stars) - 1; i >= 0; i-- {
		s := stars[i]
		if s.pointee != "" {
			w.put(" " + s.pointee)
		}
		switch s.mode {
		case modeReference:
			w.put("&")
		case modeRValue:
			w.put("&&")
		case modeMember, modeMethod:
			if s.mode == modeMember {
				w.put(" ")
			}
			w.typ(s.class, depth+1)
			w.put("::*")
		default:
			w.put("*")
		}
		if s.pointer != "" {
			w.put(" " + s.pointer)
		}
	}
}

// returned writes the type that a function returns, unless it is a constructor.
func (w *formatter) returned(n uint32, depth int) {
	kind, c := w.f.types.at(n)
	result := c.U32()
	if kind == leafMethod {
		c.Skip(8)
	}
	c.Skip(1)
	if c.U8()&functionIsCtor == 0 {
		w.typ(result, depth+1)
		w.put(" ")
	}
}

// array writes an array of arrays with the number of their elements, which is only known as the size of
// each.
func (w *formatter) array(n uint32, depth int) {
	var sizes []uint64
	for {
		kind, c := w.f.types.at(n)
		if kind != leafArray || len(sizes) >= maxTypeDepth {
			break
		}
		n = c.U32()
		c.Skip(4)
		sizes = append(sizes, number(&c))
	}
	w.typ(n, depth+1)
	sizes = append(sizes, w.size(n, depth))
	for i, size := range sizes[:len(sizes)-1] {
		if of := sizes[i+1]; of > 0 {
			w.put(fmt.Sprintf("[%d]", size/of))
		} else {
			w.put("[]")
		}
	}
}

// size returns the size of a type in bytes, 0 if it is not known.
func (w *formatter) size(n uint32, depth int) uint64 {
	if w.deep(depth) {
		return 0
	}
	if n < firstType {
		if n>>8&0xf != 0 {
			return w.pointerSize()
		}
		return basicSizes[uint8(n)]
	}
	kind, c := w.f.types.at(n)
	switch kind {
	case leafModifier, leafBitField:
		return w.size(c.U32(), depth+1)
	case leafPointer:
		c.Skip(4)
		if size := c.U32() >> 13 & 0x3f; size > 0 {
			return uint64(size)
		}
		return w.pointerSize()
	case leafEnum:
		c.Skip(4)
		return w.size(c.U32(), depth+1)
	}
	name, size, forward, ok := composite(kind, &c)
	if !ok {
		return 0
	}
	if forward {
		size = w.f.definedSize(name)
	}
	return size
}

func (w *formatter) pointerSize() uint64 {
	switch w.f.Machine {
	case 0x8664, 0xaa64, 0xa641, 0xa64e:
		return 8
	}
	return 4
}

// definedSize returns the size of a class, structure or union that a name was declared for.
func (f *File) definedSize(name []byte) uint64 {
	f.definedOnce.Do(func() {
		f.defined = map[string]uint64{}
		for i := range f.types.offsets {
			kind, c := f.types.at(f.types.first + uint32(i))
			if name, size, forward, ok := composite(kind, &c); ok && !forward && kind != leafEnum {
				f.defined[string(name)] = size
			}
		}
	})
	return f.defined[string(name)]
}
