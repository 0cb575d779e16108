package demangle

import (
	"slices"
	"strconv"
	"strings"
)

// Hostile names: types and scopes nest no deeper than this, and no more nodes are printed than that. Back
// references make a short name print a long one, which maxOutput bounds.
const (
	msvcDepth = 200
	msvcNodes = 1 << 18
)

// msvc returns the readable form of a name as Microsoft's compilers mangle it, and of a type descriptor's.
func msvc(linkage string, style msvcStyle) (string, bool) {
	prefix := ""
	if rest, ok := strings.CutPrefix(linkage, "__imp_"); ok {
		prefix, linkage = "__imp_", rest
	}
	if !strings.HasPrefix(linkage, "?") && !strings.HasPrefix(linkage, ".?") || strings.HasPrefix(linkage, "??@") {
		return "", false // ??@ is a digest: there is no name in it
	}
	p := msvcParser{rest: linkage}
	s := p.symbol()
	if p.spelt {
		p = msvcParser{rest: linkage, spelt: true}
		s = p.symbol()
	}
	if p.bad || p.rest != "" {
		return "", false
	}
	w := msvcPrinter{style: style, out: append(make([]byte, 0, 4*len(linkage)), prefix...)}
	w.symbol(s)
	if w.nodes > msvcNodes || len(w.out) > 1<<maxOutput {
		return "", false
	}
	return string(w.out), true
}

// msvcParser reads what is left of a name. After a mistake it is bad and nothing is left.
type msvcParser struct {
	rest  string
	bad   bool
	depth int
	names []msvcMemo  // what a digit in place of a name means, at most ten
	types []*msvcType // the same of a parameter's type
	spelt bool        // an anonymous namespace is spelt each time, as clang 14 does, and is not among names
}

// msvcMemo is a name that can be referred to. Key is what it is spelt as, which tells it from others.
type msvcMemo struct {
	key  string
	name *msvcName
}

// msvcSymbol is what a linkage name stands for: a function, a variable, or text alone.
type msvcSymbol struct {
	name    msvcPath
	fn      *msvcType
	typ     *msvcType // of a variable, or what a descriptor describes
	storage string    // of a static member, in undname's words
	before  string    // in undname's words, before the name: the qualifiers of a table
	after   []msvcPath
	text    string // in place of all: a string literal
}

// msvcPath is a name with its scopes, the innermost first.
type msvcPath []*msvcName

type msvcName struct {
	text    string
	kind    byte // '~' and '0' of structors, '=' of conversions, 0 of all others
	args    []msvcArg
	generic bool        // has arguments, if only none
	class   *msvcName   // of a structor
	target  *msvcType   // of a conversion
	of      *msvcSymbol // what text is said of: a local scope's function, the variable of an initializer
	close   string      // after of
}

// msvcArg is an argument of a template: a type, or what text says, or a symbol; or an object with its members.
type msvcArg struct {
	text    string
	typ     *msvcType
	symbol  *msvcSymbol
	offsets []string // of a pointer to a member
	list    []msvcArg
	braces  bool
}

func (p *msvcParser) fail() { p.bad, p.rest = true, "" }

func (p *msvcParser) enter() bool {
	if p.depth++; p.depth > msvcDepth {
		p.fail()
	}
	return !p.bad
}

func (p *msvcParser) eat(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *msvcParser) need(s string) {
	if !p.eat(s) {
		p.fail()
	}
}

func (p *msvcParser) peek() byte {
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *msvcParser) next() byte {
	c := p.peek()
	if c == 0 {
		p.fail()
		return 0
	}
	p.rest = p.rest[1:]
	return c
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// number reads a digit, which is one less than it means, or digits of 16 from A on and an @.
func (p *msvcParser) number() (n uint64, negative bool) {
	negative = p.eat("?")
	if digit(p.peek()) {
		return uint64(p.next()-'0') + 1, negative
	}
	for i := 0; ; i++ {
		switch c := p.next(); {
		case c == '@':
			return n, negative
		case 'A' <= c && c <= 'P' && i < 16:
			n = n<<4 | uint64(c-'A')
		default:
			p.fail()
			return 0, false
		}
	}
}

func (p *msvcParser) unsigned() uint64 {
	n, negative := p.number()
	if negative {
		p.fail()
	}
	return n
}

// signed reads a number of 32 bits' meaning: offsets are written as what they are modulo 2^32.
func (p *msvcParser) signed() string {
	n, negative := p.number()
	if n>>63 != 0 {
		p.fail()
	}
	v := int64(n)
	if negative {
		v = -v
	}
	return strconv.Itoa(int(int32(v)))
}

// offset reads a number as signed does, and takes it for unsigned.
func (p *msvcParser) offset() string {
	n, _ := strconv.ParseInt(p.signed(), 10, 64)
	return strconv.FormatUint(uint64(uint32(n)), 10)
}

func (p *msvcParser) integer() string {
	n, negative := p.number()
	if negative {
		return "-" + strconv.FormatUint(n, 10)
	}
	return strconv.FormatUint(n, 10)
}

func (p *msvcParser) remember(key string, n *msvcName) {
	if len(p.names) == 10 {
		return
	}
	for _, m := range p.names {
		if m.key == key {
			return
		}
	}
	p.names = append(p.names, msvcMemo{key, n})
}

// msvcTables are the special names that a scope and a short rest follow.
var msvcTables = []struct{ code, name string }{
	{"?_7", "`vftable'"}, {"?_8", "`vbtable'"}, {"?_S", "`local vftable'"}, {"?_R4", "`RTTI Complete Object Locator'"},
}

func (p *msvcParser) symbol() *msvcSymbol {
	s := &msvcSymbol{}
	if !p.enter() {
		return s
	}
	defer func() { p.depth-- }()
	if p.eat(".") {
		s.typ, s.name = p.typ(typeResult), msvcPath{{text: "`RTTI Type Descriptor Name'"}}
		return s
	}
	if p.need("?"); !strings.HasPrefix(p.rest, "?_") {
		return p.declarator()
	}
	for _, t := range msvcTables {
		if p.eat(t.code) {
			return p.table(t.name)
		}
	}
	switch {
	case p.eat("?_C@_"):
		s.text = p.literal()
	case p.eat("?_9"):
		n := &msvcName{}
		s.name = p.scopes(n)
		p.need("$B")
		n.text = "`vcall'{" + strconv.FormatUint(p.unsigned(), 10) + ", {flat}}"
		p.need("A")
		s.fn = &msvcType{kind: typeFunction, thunk: " ", bare: true, call: p.convention()}
	case p.eat("?_B"):
		p.guard(s, "`local static guard'")
	case p.eat("?__J"):
		p.guard(s, "`local static thread guard'")
	case p.eat("?_R0"):
		s.typ, s.name = p.typ(typeResult), msvcPath{{text: "`RTTI Type Descriptor'"}}
		p.need("@8")
	case p.eat("?_R1"):
		text := "`RTTI Base Class Descriptor at (" + strconv.FormatUint(p.unsigned(), 10) + ", " + p.signed()
		text += ", " + strconv.FormatUint(p.unsigned(), 10) + ", " + strconv.FormatUint(p.unsigned(), 10) + ")'"
		s.name = p.scopes(&msvcName{text: text})
		p.need("8")
	case p.eat("?_R2"):
		s.name = p.scopes(&msvcName{text: "`RTTI Base Class Array'"})
		p.need("8")
	case p.eat("?_R3"):
		s.name = p.scopes(&msvcName{text: "`RTTI Class Hierarchy Descriptor'"})
		p.need("8")
	case p.eat("?__E"):
		return p.initializer("`dynamic initializer for ")
	case p.eat("?__F"):
		return p.initializer("`dynamic atexit destructor for ")
	default:
		return p.declarator()
	}
	return s
}

// table reads what follows ??_7 and its like: the class, and the bases whose table it is.
func (p *msvcParser) table(name string) *msvcSymbol {
	s := &msvcSymbol{name: p.scopes(&msvcName{text: name})}
	if c := p.next(); c != '6' && c != '7' {
		p.fail()
	}
	if q, _ := p.qualifiers(); q != 0 {
		s.before = strings.TrimPrefix(q.String(), " ") + " "
	}
	for !p.bad && !p.eat("@") {
		s.after = append(s.after, p.typeName())
	}
	return s
}

func (p *msvcParser) guard(s *msvcSymbol, text string) {
	n := &msvcName{text: text}
	s.name = p.scopes(n)
	if !p.eat("4IA") {
		p.need("5")
	}
	if p.rest != "" && p.peek() != '@' {
		if i := p.unsigned(); i > 0 {
			n.text += "{" + strconv.FormatUint(i, 10) + "}"
		}
	}
}

// initializer reads a function that makes or destroys a variable. The name of a static member is a whole
// symbol; of others only the name is written.
func (p *msvcParser) initializer(text string) *msvcSymbol {
	static := p.eat("?")
	of := p.declarator()
	n := &msvcName{text: text, of: of, close: "''"}
	s := &msvcSymbol{name: msvcPath{n}}
	if of.fn == nil {
		n.text += "`"
		if p.need("@"); static {
			p.need("@")
		}
		s.fn = p.function()
		return s
	}
	if static {
		p.fail()
	}
	n.text += "'"
	s.fn, of.fn = of.fn, nil
	return s
}

// declarator reads a name, and the type of the function or variable that has it.
func (p *msvcParser) declarator() *msvcSymbol {
	first := p.symbolPiece()
	s := &msvcSymbol{name: p.scopes(first)}
	if first.kind == '0' || first.kind == '~' {
		if len(s.name) < 2 {
			p.fail()
			return s
		}
		first.class = s.name[1]
	}
	switch c := p.peek(); {
	case '0' <= c && c <= '4':
		s.storage = [...]string{"private: static ", "protected: static ", "public: static ", "", ""}[p.next()-'0']
		s.typ = p.variable()
	case c == '5': // a guard of a local static
		if p.next(); digit(p.peek()) || 'A' <= p.peek() && p.peek() <= 'P' {
			p.unsigned()
		}
	case '6' <= c && c <= '8': // no type: compilers' own tables
		p.next()
	default:
		s.fn = p.function()
	}
	if first.kind == '=' {
		if s.fn == nil || s.fn.elem == nil {
			p.fail()
			return s
		}
		first.target = s.fn.elem
	}
	return s
}

func (p *msvcParser) variable() *msvcType {
	t := p.typ(typeDrop)
	switch t.kind {
	case typePointer, typeMember:
		t.quals |= p.extensions()
		q, _ := p.qualifiers()
		if t.kind == typeMember {
			p.typeName() // the class again
		}
		t.elem.quals |= q
	default:
		t.quals, _ = p.qualifiers()
	}
	return t
}

// text reads a name of the source up to its @.
func (p *msvcParser) text() string {
	i := strings.IndexByte(p.rest, '@')
	if i <= 0 {
		p.fail()
		return ""
	}
	s := p.rest[:i]
	p.rest = p.rest[i+1:]
	return s
}

func (p *msvcParser) simple() *msvcName {
	s := p.text()
	n := &msvcName{text: s}
	p.remember(s, n)
	return n
}

func (p *msvcParser) backReference() *msvcName {
	i := int(p.next() - '0')
	if i >= len(p.names) {
		p.fail()
		return &msvcName{}
	}
	return p.names[i].name
}

// template reads a name with arguments, which has references of its own.
func (p *msvcParser) template(memo bool) *msvcName {
	start := p.rest
	names, types := p.names, p.types
	p.names, p.types = nil, nil
	p.need("?$")
	n := p.symbolPiece()
	if n.generic {
		p.fail()
	}
	n = &msvcName{text: n.text, kind: n.kind, generic: true}
	n.args = p.arguments()
	p.names, p.types = names, types
	if memo {
		if n.kind != 0 {
			p.fail()
		}
		p.remember(start[:len(start)-len(p.rest)], n)
	}
	return n
}

// symbolPiece reads the innermost name of a symbol. A function template's is not remembered.
func (p *msvcParser) symbolPiece() *msvcName {
	if !p.enter() {
		return &msvcName{}
	}
	defer func() { p.depth-- }()
	switch {
	case digit(p.peek()):
		n := *p.backReference() // the symbol adds to its own
		return &n
	case strings.HasPrefix(p.rest, "?$"):
		return p.template(false)
	case p.eat("?"):
		return p.operator()
	}
	return p.simple()
}

// typePiece reads the innermost name of a type.
func (p *msvcParser) typePiece() *msvcName {
	switch {
	case digit(p.peek()):
		return p.backReference()
	case strings.HasPrefix(p.rest, "?$"):
		return p.template(true)
	}
	return p.simple()
}

func (p *msvcParser) typeName() msvcPath { return p.scopes(p.typePiece()) }

func (p *msvcParser) scopes(first *msvcName) msvcPath {
	path := msvcPath{first}
	for !p.bad && !p.eat("@") {
		path = append(path, p.scope())
	}
	return path
}

var anonymous = &msvcName{text: "`anonymous namespace'"}

func (p *msvcParser) scope() *msvcName {
	if !strings.HasPrefix(p.rest, "?") || strings.HasPrefix(p.rest, "?$") {
		return p.typePiece()
	}
	if strings.HasPrefix(p.rest, "?A") && !localScope(p.rest) {
		key := p.text()
		p.spelt = p.spelt || slices.ContainsFunc(p.names, func(m msvcMemo) bool { return m.key == key })
		if !p.spelt {
			p.remember(key, anonymous)
		}
		return anonymous
	}
	if !localScope(p.rest) {
		return p.simple()
	}
	p.need("?")
	i := uint64(0)
	if !p.eat("@") {
		i = p.unsigned()
	}
	p.need("?")
	return &msvcName{text: "`", of: p.symbol(), close: "'::`" + strconv.FormatUint(i, 10) + "'"}
}

// localScope is whether what follows is ?, a number and a symbol: a block in a function.
func localScope(s string) bool {
	s = s[1:]
	i := strings.IndexByte(s[:min(len(s), 18)], '?')
	switch {
	case i < 1:
		return false
	case i == 1:
		return s[0] == '@' || digit(s[0])
	}
	number := s[:i-1]
	return s[i-1] == '@' && 'B' <= number[0] && strings.Trim(number, "ABCDEFGHIJKLMNOP") == ""
}

var msvcOperators = map[string]string{
	"2": "operator new", "3": "operator delete", "4": "operator=", "5": "operator>>", "6": "operator<<",
	"7": "operator!", "8": "operator==", "9": "operator!=", "A": "operator[]", "C": "operator->", "D": "operator*",
	"E": "operator++", "F": "operator--", "G": "operator-", "H": "operator+", "I": "operator&", "J": "operator->*",
	"K": "operator/", "L": "operator%", "M": "operator<", "N": "operator<=", "O": "operator>", "P": "operator>=",
	"Q": "operator,", "R": "operator()", "S": "operator~", "T": "operator^", "U": "operator|", "V": "operator&&",
	"W": "operator||", "X": "operator*=", "Y": "operator+=", "Z": "operator-=",
	"_0": "operator/=", "_1": "operator%=", "_2": "operator>>=", "_3": "operator<<=", "_4": "operator&=",
	"_5": "operator|=", "_6": "operator^=",
	"_D": "`vbase destructor'", "_E": "`vector deleting destructor'", "_F": "`default constructor closure'",
	"_G": "`scalar deleting destructor'", "_H": "`vector constructor iterator'", "_I": "`vector destructor iterator'",
	"_J": "`vector vbase constructor iterator'", "_K": "`virtual displacement map'", "_L": "`eh vector constructor iterator'",
	"_M": "`eh vector destructor iterator'", "_N": "`eh vector vbase constructor iterator'", "_O": "`copy constructor closure'",
	"_T": "`local vftable constructor closure'", "_U": "operator new[]", "_V": "operator delete[]",
	"_X": "`placement delete closure'", "_Y": "`placement delete[] closure'",
	"__A": "`managed vector constructor iterator'", "__B": "`managed vector destructor iterator'",
	"__C": "`EH vector copy constructor iterator'", "__D": "`EH vector vbase copy constructor iterator'",
	"__G": "`vector copy constructor iterator'", "__H": "`vector vbase copy constructor iterator'",
	"__I": "`managed vector vbase copy constructor iterator'", "__L": "operator co_await", "__M": "operator<=>",
}

func (p *msvcParser) operator() *msvcName {
	rest := p.rest
	for i := 0; i < 2 && p.peek() == '_'; i++ {
		p.next()
	}
	p.next()
	code := rest[:len(rest)-len(p.rest)]
	switch code {
	case "0":
		return &msvcName{kind: '0'}
	case "1":
		return &msvcName{kind: '~'}
	case "B":
		return &msvcName{kind: '='}
	case "__K":
		return &msvcName{text: `operator ""` + p.text()}
	}
	name, ok := msvcOperators[code]
	if !ok {
		p.fail()
	}
	return &msvcName{text: name}
}
