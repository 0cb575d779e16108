package demangle

import (
	"math"
	"strconv"
	"strings"
)

type typeKind uint8

const (
	typePrimitive typeKind = iota
	typeTag                // struct, class, union, enum
	typePointer
	typeMember // a pointer to a member
	typeArray
	typeFunction
)

type msvcQuals uint8

const (
	qualConst msvcQuals = 1 << iota
	qualVolatile
	qualRestrict
	qualUnaligned
)

func (q msvcQuals) String() string {
	s := ""
	for i, word := range []string{" const", " volatile", " __restrict"} {
		if q>>i&1 != 0 {
			s += word
		}
	}
	return s
}

type msvcType struct {
	kind  typeKind
	quals msvcQuals
	text  string    // a primitive type's name, the word before a tag, or *, & and &&
	name  msvcPath  // of a tag, or of the class that a member is of
	elem  *msvcType // pointed to, of the array, or returned; nil: nothing is returned
	dims  []uint64

	// Of functions.
	params                   []*msvcType
	call, ref                string
	access                   string // and static, virtual
	thunk                    string // how a thunk adjusts this
	variadic, bare, noexcept bool   // bare: parameters are not known
}

// How a type's qualifiers are written: not, before it, or after a question mark.
type typeMode uint8

const (
	typeDrop typeMode = iota
	typeMangle
	typeResult
)

var msvcPrimitives = map[string]string{
	"X": "void", "D": "char", "C": "signed char", "E": "unsigned char", "F": "short", "G": "unsigned short",
	"H": "int", "I": "unsigned int", "J": "long", "K": "unsigned long", "M": "float", "N": "double",
	"O": "long double", "_D": "__int8", "_E": "unsigned __int8", "_F": "__int16", "_G": "unsigned __int16",
	"_H": "__int32", "_I": "unsigned __int32", "_J": "__int64", "_K": "unsigned __int64", "_L": "__int128",
	"_M": "unsigned __int128", "_N": "bool", "_W": "wchar_t", "_S": "char16_t", "_U": "char32_t", "_Q": "char8_t",
	"_P": "auto", "_T": "decltype(auto)", "$$T": "std::nullptr_t",
}

func (p *msvcParser) typ(mode typeMode) *msvcType {
	if !p.enter() {
		return &msvcType{}
	}
	defer func() { p.depth-- }()
	var q msvcQuals
	if mode == typeMangle || mode == typeResult && p.eat("?") {
		q, _ = p.qualifiers()
	}
	t := p.bareType()
	t.quals |= q
	return t
}

func (p *msvcParser) bareType() *msvcType {
	switch c := p.peek(); {
	case 'T' <= c && c <= 'W':
		p.next()
		if c == 'W' && !strings.ContainsRune("01234567", rune(p.next())) {
			p.fail()
		}
		return &msvcType{kind: typeTag, text: [...]string{"union ", "struct ", "class ", "enum "}[c-'T'], name: p.typeName()}
	case c == 'A' || c == 'B' || 'P' <= c && c <= 'S' || strings.HasPrefix(p.rest, "$$Q") || strings.HasPrefix(p.rest, "$$R"):
		return p.pointer()
	case c == 'Y':
		return p.array()
	case p.eat("$$A8@@"):
		return p.signature(true)
	case p.eat("$$A6"):
		return p.signature(false)
	case p.eat("?"): // a type that only the compiler knows
		t := &msvcType{kind: typeTag, name: msvcPath{p.typePiece()}}
		p.need("@")
		return t
	}
	n := 1
	if strings.HasPrefix(p.rest, "_") {
		n = 2
	} else if strings.HasPrefix(p.rest, "$$") {
		n = 3
	}
	code := p.rest[:min(n, len(p.rest))]
	name, ok := msvcPrimitives[code]
	if p.rest = p.rest[len(code):]; !ok {
		p.fail()
	}
	return &msvcType{text: name}
}

func (p *msvcParser) pointer() *msvcType {
	t := &msvcType{kind: typePointer, text: "*"}
	switch {
	case p.eat("$$Q"):
		t.text = "&&"
	case p.eat("$$R"):
		t.text, t.quals = "&&", qualVolatile
	default:
		switch p.next() {
		case 'A':
			t.text = "&"
		case 'B':
			t.text, t.quals = "&", qualVolatile
		case 'Q':
			t.quals = qualConst
		case 'R':
			t.quals = qualVolatile
		case 'S':
			t.quals = qualConst | qualVolatile
		}
	}
	if p.eat("6") {
		t.elem = p.signature(false)
		return t
	}
	t.quals |= p.extensions()
	if t.text == "*" && p.eat("8") {
		t.kind, t.name = typeMember, p.typeName()
		t.elem = p.signature(true)
		return t
	}
	q, member := p.qualifiers()
	if member {
		if t.text != "*" {
			p.fail()
		}
		t.kind, t.name = typeMember, p.typeName()
	}
	t.elem = p.typ(typeDrop)
	t.elem.quals |= q
	return t
}

func (p *msvcParser) array() *msvcType {
	p.need("Y")
	t := &msvcType{kind: typeArray}
	rank := p.unsigned()
	if rank == 0 {
		p.fail()
	}
	for ; rank > 0 && !p.bad; rank-- {
		t.dims = append(t.dims, p.unsigned())
	}
	var q msvcQuals
	if p.eat("$$C") {
		var member bool
		if q, member = p.qualifiers(); member {
			p.fail()
		}
	}
	t.elem = p.typ(typeDrop)
	t.quals = q
	return t
}

// extensions reads what Microsoft adds to the qualifiers of a pointer: of 64 bits (not told), restrict, unaligned.
func (p *msvcParser) extensions() (q msvcQuals) {
	p.eat("E")
	if p.eat("I") {
		q |= qualRestrict
	}
	if p.eat("F") {
		q |= qualUnaligned
	}
	return q
}

func (p *msvcParser) qualifiers() (q msvcQuals, member bool) {
	switch c := p.next(); {
	case 'A' <= c && c <= 'D':
		return msvcQuals(c - 'A'), false
	case 'Q' <= c && c <= 'T':
		return msvcQuals(c - 'Q'), true
	}
	p.fail()
	return 0, false
}

func (p *msvcParser) convention() string {
	switch c := p.next(); {
	case 'A' <= c && c <= 'P':
		return [...]string{"__cdecl", "__pascal", "__thiscall", "__stdcall", "__fastcall", "", "__clrcall", "__eabi"}[(c-'A')/2]
	case c == 'Q':
		return "__vectorcall"
	case c == 'S':
		return "__attribute__((__swiftcall__)) "
	case c == 'W':
		return "__attribute__((__swiftasynccall__)) "
	case c == 'w':
		return "__regcall"
	}
	p.fail()
	return ""
}

// function reads what follows the name of a function: what it is of its class, and its type.
func (p *msvcParser) function() *msvcType {
	external := ""
	if p.eat("$$J") {
		if external = "extern \"C\" "; !digit(p.next()) {
			p.fail()
		}
	}
	c := p.next()
	if c == '9' { // of C: no type
		return &msvcType{kind: typeFunction, bare: true, access: "extern \"C\" "}
	}
	var access, thunk string
	words := [...]string{"private: ", "protected: ", "public: "}
	member := false
	switch {
	case c == 'Y' || c == 'Z':
	case 'A' <= c && c <= 'X':
		access = words[(c-'A')/8]
		switch (c - 'A') % 8 / 2 {
		case 0:
			member = true
		case 1:
			access += "static "
		case 2:
			access, member = access+"virtual ", true
		case 3:
			access, member = access+external, true
			thunk, external = "`adjustor{"+p.offset()+"}'", ""
			if c < 'I' {
				break
			}
			access += "virtual "
		}
	case c == '$':
		extended := p.eat("R")
		if c = p.next(); c < '0' || c > '5' {
			p.fail()
			return &msvcType{kind: typeFunction}
		}
		access, member = words[(c-'0')/2]+"virtual ", true
		if thunk = "`vtordisp{"; extended {
			thunk = "`vtordispex{" + p.signed() + ", " + p.signed() + ", "
		}
		thunk += p.signed() + ", "
		thunk += p.offset() + "}'"
	default:
		p.fail()
	}
	t := p.signature(member)
	t.access, t.thunk = access+external, thunk
	return t
}

// signature reads the type of a function; a member's has the qualifiers of this.
func (p *msvcParser) signature(member bool) *msvcType {
	t := &msvcType{kind: typeFunction}
	if member {
		t.quals = p.extensions()
		if p.eat("G") {
			t.ref = " &"
		} else if p.eat("H") {
			t.ref = " &&"
		}
		q, _ := p.qualifiers()
		t.quals |= q
	}
	t.call = p.convention()
	if !p.eat("@") {
		t.elem = p.typ(typeResult)
	}
	p.parameters(t)
	if p.eat("_E") {
		t.noexcept = true
	} else {
		p.need("Z")
	}
	return t
}

func (p *msvcParser) parameters(t *msvcType) {
	if p.eat("X") {
		return
	}
	for !p.bad {
		switch c := p.peek(); {
		case c == '@':
			p.next()
			return
		case c == 'Z':
			p.next()
			t.variadic = true
			return
		case digit(c):
			if p.next(); int(c-'0') >= len(p.types) {
				p.fail()
				return
			}
			t.params = append(t.params, p.types[c-'0'])
		default:
			before := len(p.rest)
			param := p.typ(typeDrop)
			if len(p.types) < 10 && before-len(p.rest) > 1 {
				p.types = append(p.types, param)
			}
			t.params = append(t.params, param)
		}
	}
}

// arguments reads those of a template, up to the @ that ends them.
func (p *msvcParser) arguments() (args []msvcArg) {
	for !p.bad && !p.eat("@") {
		if !p.eat("$S") && !p.eat("$$V") && !p.eat("$$$V") && !p.eat("$$Z") { // marks of packs
			args = append(args, p.argument())
		}
	}
	return args
}

func (p *msvcParser) argument() msvcArg {
	switch {
	case p.eat("$$Y"): // a template, or an alias
		return msvcArg{typ: &msvcType{kind: typeTag, name: p.typeName()}}
	case p.eat("$$B"):
		return msvcArg{typ: p.typ(typeDrop)}
	case p.eat("$$C"):
		return msvcArg{typ: p.typ(typeMangle)}
	case p.eat("$M"): // of a parameter that is auto: the type, which is not told
		p.typ(typeDrop)
		return p.value()
	case !strings.HasPrefix(p.rest, "$$") && p.eat("$"):
		return p.value()
	}
	return msvcArg{typ: p.typ(typeDrop)}
}

// value reads an argument that is no type, or a member of one.
func (p *msvcParser) value() (a msvcArg) {
	if !p.enter() {
		return a
	}
	defer func() { p.depth-- }()
	c := p.next()
	switch c {
	case '0':
		a.text = p.integer()
	case '1', 'H', 'I', 'J': // a function, and what inheritance adds to it
		a.text = "&"
		if strings.HasPrefix(p.rest, "?") {
			a.symbol = p.argumentSymbol()
		}
		for i := byte('G'); i < c && c != '1'; i++ {
			a.text, a.offsets = "", append(a.offsets, p.signed())
		}
	case 'E':
		a.symbol = p.argumentSymbol()
	case 'F', 'G':
		a.offsets = append(a.offsets, p.signed(), p.signed())
		if c == 'G' {
			a.offsets = append(a.offsets, p.signed())
		}
	case '2', '3': // an object or array: its type, and members up to an @
		a.braces = true
		a.typ = p.typ(typeDrop)
		for !p.bad && !p.eat("@") {
			a.list = append(a.list, p.value())
		}
	case 'T', 'U': // float and double, as bits
		bits := p.unsigned()
		if a.text = strconv.FormatFloat(math.Float64frombits(bits), 'g', -1, 64); c == 'T' {
			a.text = strconv.FormatFloat(float64(math.Float32frombits(uint32(bits))), 'g', -1, 32)
		}
	default:
		p.fail()
	}
	return a
}

func (p *msvcParser) argumentSymbol() *msvcSymbol {
	start := p.rest
	s := p.symbol()
	if len(s.name) == 0 {
		p.fail()
	} else if n := s.name[0]; n.generic {
		rest := strings.TrimPrefix(start, "?")
		p.remember(rest[:min(len(rest), len(start)-len(p.rest))], n)
	}
	return s
}
