package demangle

import "strings"

// fast reads the C++ names that most are: of functions whose scopes and parameters are classes, templates of types,
// packs and numbers, functions, arrays, and pointers and references to those. Its text is what the library makes of them for Plain, in one
// pass without a tree; of all else it says false.
type fast struct {
	rest   string
	bad    bool
	depth  int
	size   int       // of all text made
	subs   []string  // what S_, S0_ … mean; empty if it is of use only where a pack is spread
	params []fastArg // what T_, T0_ … mean
}

// fastArg is a type or number, or a pack of them.
type fastArg struct {
	text string
	pack []string // not nil if it is one
}

// mark stands in the text of the type of a function or an array where what points to it goes, behind a space if
// nothing does yet. It is taken out where the text is complete.
const mark = "\x01"

func unmarked(t string) string {
	if i := strings.IndexByte(t, mark[0]); i >= 0 {
		return t[:i] + t[i+1:]
	}
	return t
}

const (
	fastDepth = 64
	fastSize  = 1 << maxOutput // of text, what is built from other text included
)

func fastPlain(mangled string) (string, bool) {
	rest, ok := strings.CutPrefix(mangled, "_Z")
	if !ok {
		return "", false
	}
	p := fast{rest: rest, subs: make([]string, 0, 16)}
	for _, special := range fastSpecial {
		if p.eat(special.code) {
			name := special.text + unmarked(p.typ())
			return name, !p.bad && p.rest == ""
		}
	}
	name, last, quals := p.name(true)
	if p.bad || p.rest == "" {
		return name + quals, !p.bad && quals == ""
	}
	if last.args != nil {
		p.params = last.args
		if !last.structor {
			p.typ() // returned
		}
	}
	text := name + p.parameters() + quals
	return text, !p.bad && p.rest == "" && !strings.Contains(text, mark)
}

// parameters reads those of a function.
func (p *fast) parameters() string {
	if p.eat("v") {
		return "()"
	}
	out := append(make([]byte, 0, 2*len(p.rest)), '(')
	put := func(t string) {
		if len(out) > 1 {
			out = append(out, ", "...)
		}
		out = append(out, unmarked(t)...)
	}
	for p.rest != "" && p.peek() != 'E' {
		if p.eat("Dp") {
			for _, t := range p.spread() {
				put(t)
			}
			continue
		}
		t := p.typ()
		if t == "void" {
			p.fail()
		}
		put(t)
	}
	return p.made(string(append(out, ')')))
}

var fastSpecial = []struct{ code, text string }{{"TV", "vtable for "}, {"TI", "typeinfo for "}, {"TS", "typeinfo name for "}}

// fastPart is the last part of a name: what its constructor is called, and its template arguments, if any.
type fastPart struct {
	base     string
	args     []fastArg
	structor bool
}

func (p *fast) fail() string {
	p.bad, p.rest = true, ""
	return ""
}

func (p *fast) peek() byte {
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *fast) eat(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *fast) number() int {
	n := 0
	for digit(p.peek()) && n < maxInput {
		n = 10*n + int(p.rest[0]-'0')
		p.rest = p.rest[1:]
	}
	return n
}

func (p *fast) source() string {
	n := p.number()
	if n == 0 || n > len(p.rest) {
		return p.fail()
	}
	s := p.rest[:n]
	if p.rest = p.rest[n:]; s == "_GLOBAL__N_1" {
		return "(anonymous namespace)"
	} else if strings.HasPrefix(s, "_GLOBAL_") || strings.ContainsAny(s, "<>&*:, "+mark) {
		return p.fail()
	}
	return s
}

func (p *fast) made(s string) string {
	if p.size += len(s); p.size > fastSize {
		return p.fail()
	}
	return s
}

func (p *fast) add(s string) { p.subs = append(p.subs, s) }

// name reads a name, of a function or of a type. Of a function's, the whole is no substitution.
func (p *fast) name(function bool) (text string, last fastPart, quals string) {
	if p.eat("N") {
		return p.nested(function)
	}
	switch {
	case p.eat("St"):
		last.base = p.source()
		text = p.made("std::" + last.base)
	case digit(p.peek()):
		last.base = p.source()
		text = last.base
	default:
		p.fail()
	}
	if p.bad {
		return "", last, ""
	}
	if p.peek() == 'I' {
		p.add(text)
		last.args = p.args()
		text = p.template(text, last.args)
	}
	if !function {
		p.add(text)
	}
	return text, last, ""
}

func (p *fast) nested(function bool) (text string, last fastPart, quals string) {
	if p.eat("K") {
		quals = " const"
	}
	sub := true // the text is already one, or never
	for n := 0; !p.eat("E"); n++ {
		if p.bad {
			return
		}
		if !sub {
			p.add(text)
		}
		sub = false
		scope := text
		if n > 0 {
			scope += "::"
		}
		switch c := p.peek(); {
		case digit(c):
			last = fastPart{base: p.source()}
			text = p.made(scope + last.base)
		case c == 'S' && n == 0:
			if p.eat("St") {
				text = "std"
			} else {
				text = p.substitution()
				last = fastPart{}
				if i := strings.LastIndex(text, "::"); !strings.HasSuffix(text, ">") && i >= 0 {
					last.base = text[i+2:]
				} else if !strings.HasSuffix(text, ">") {
					last.base = text
				} else {
					last.base = baseOf(text)
				}
			}
			sub = true
		case c == 'I' && n > 0 && last.args == nil:
			last.args = p.args()
			text = p.template(text, last.args)
		case (c == 'C' || c == 'D') && len(p.rest) > 1 && digit(p.rest[1]) && n > 0 && last.base != "" && function:
			if c == 'D' {
				scope += "~"
			}
			p.rest = p.rest[2:]
			text = p.made(scope + last.base)
			last = fastPart{base: last.base, structor: true}
		default:
			op := ""
			if len(p.rest) > 2 && function && n > 0 {
				op = fastOperators[p.rest[:2]]
			}
			if op != "" && p.rest[2] != 'E' && (p.rest[2] != 'I' || strings.HasSuffix(op, "<")) {
				op = ""
			}
			if op == "" {
				p.fail()
				return
			}
			p.rest = p.rest[2:]
			text = p.made(scope + "operator" + op)
			last = fastPart{}
		}
	}
	if !function {
		if quals != "" || sub || last.structor {
			p.fail()
		}
		p.add(text)
	} else if sub {
		p.fail()
	}
	return text, last, quals
}

// fastOperators are those of members, without arguments of their own.
var fastOperators = map[string]string{
	"nw": " new", "na": " new[]", "dl": " delete", "da": " delete[]", "aS": "=", "cl": "()", "ix": "[]", "pt": "->",
	"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=", "pp": "++", "mm": "--", "pl": "+",
	"mi": "-", "ml": "*", "dv": "/", "pL": "+=", "mI": "-=", "ls": "<<", "rs": ">>", "nt": "!", "de": "*",
}

// baseOf is the name of the template whose arguments end a text.
func baseOf(text string) string {
	depth := 0
	for i := len(text) - 1; i >= 0; i-- {
		switch text[i] {
		case '>':
			depth++
		case '<':
			depth--
			if depth == 0 {
				s := text[:i]
				return s[strings.LastIndex(s, ":")+1:]
			}
		}
	}
	return ""
}

// template writes arguments behind a name.
func (p *fast) template(text string, args []fastArg) string {
	n := len(text) + 3
	for _, a := range args {
		n += len(a.text) + 2
		for _, t := range a.pack {
			n += len(t) + 2
		}
	}
	if p.size += n; p.size > fastSize {
		return p.fail()
	}
	out := make([]byte, 0, n)
	out = append(append(out, text...), '<')
	first := len(out)
	put := func(t string) {
		if len(out) > first {
			out = append(out, ", "...)
		}
		out = append(out, unmarked(t)...)
	}
	for _, a := range args {
		if a.pack == nil {
			put(a.text)
		}
		for _, t := range a.pack {
			put(t)
		}
	}
	if out[len(out)-1] == '>' {
		out = append(out, ' ')
	}
	return string(append(out, '>'))
}

func (p *fast) args() []fastArg {
	p.eat("I")
	args := make([]fastArg, 0, 4)
	for !p.bad && !p.eat("E") {
		switch {
		case p.eat("J"):
			pack := []string{}
			for !p.bad && !p.eat("E") {
				if p.eat("Dp") {
					pack = append(pack, p.spread()...)
				} else {
					pack = append(pack, p.arg())
				}
			}
			args = append(args, fastArg{pack: pack})
		case p.eat("Dp"):
			args = append(args, fastArg{pack: p.spread()})
		default:
			args = append(args, fastArg{text: p.arg()})
		}
	}
	if len(args) == 0 {
		p.fail()
	}
	return args
}

func (p *fast) arg() string {
	if p.eat("L") {
		return p.literal()
	}
	return p.typ()
}

// spread reads a pack, or pointers or references to what is in one, and returns a type for each.
func (p *fast) spread() []string {
	rest := strings.TrimLeft(p.rest, "OPRK")
	outer := p.rest[:len(p.rest)-len(rest)]
	if p.rest = rest; !p.eat("T") || len(outer) > fastDepth || strings.Contains(outer, "KK") {
		p.fail()
		return nil
	}
	i := p.index(len(p.params))
	if i < 0 || p.params[i].pack == nil {
		p.fail()
		return nil
	}
	types := make([]string, len(p.params[i].pack)) // not nil
	for k, t := range p.params[i].pack {
		for j := len(outer) - 1; j >= 0; j-- {
			t = p.pointer(outer[j], t)
		}
		types[k] = t
	}
	for range len(outer) + 2 {
		p.add("")
	}
	return types
}

// literal reads a number: of a built-in type, or of an enumeration.
func (p *fast) literal() string {
	prefix, suffix := "", ""
	if i := strings.IndexByte("ijlmxyb", p.peek()); i >= 0 && p.rest != "" {
		suffix = [...]string{"", "u", "l", "ul", "ll", "ull", "b"}[i]
		p.rest = p.rest[1:]
	} else if c := p.peek(); c == 'N' || digit(c) || c == 'S' {
		prefix = "(" + unmarked(p.typ()) + ")"
	} else {
		return p.fail()
	}
	sign := ""
	if p.eat("n") {
		sign = "-"
	}
	end := strings.IndexByte(p.rest, 'E')
	if end <= 0 || strings.Trim(p.rest[:end], "0123456789") != "" {
		return p.fail()
	}
	n := p.rest[:end]
	p.rest = p.rest[end+1:]
	if suffix == "b" {
		switch sign + n {
		case "0":
			return "false"
		case "1":
			return "true"
		}
		return p.fail()
	}
	return p.made(prefix + sign + n + suffix)
}

// substitution reads S_ and its like.
func (p *fast) substitution() string {
	if p.eat("Sa") {
		return "std::allocator"
	}
	p.eat("S")
	if i := p.index(len(p.subs)); i >= 0 && p.subs[i] != "" {
		return p.subs[i]
	}
	return p.fail()
}

// index reads a number below limit as S_ and T_ have it; it is -1 if it is none.
func (p *fast) index(limit int) int {
	n := 0
	for i := 0; !p.eat("_"); i++ {
		c := p.peek()
		switch {
		case digit(c):
			n = 36*n + int(c-'0')
		case 'A' <= c && c <= 'Z':
			n = 36*n + int(c-'A') + 10
		default:
			p.fail()
			return -1
		}
		if p.rest = p.rest[1:]; i > 2 {
			p.fail()
			return -1
		}
		if strings.HasPrefix(p.rest, "_") {
			n++
		}
	}
	if n >= limit {
		p.fail()
		return -1
	}
	return n
}

var fastBuiltins = [...]string{
	'v' - 'a': "void", 'w' - 'a': "wchar_t", 'b' - 'a': "bool", 'c' - 'a': "char", 0: "signed char",
	'h' - 'a': "unsigned char", 's' - 'a': "short", 't' - 'a': "unsigned short", 'i' - 'a': "int", 'j' - 'a': "unsigned int",
	'l' - 'a': "long", 'm' - 'a': "unsigned long", 'x' - 'a': "long long", 'y' - 'a': "unsigned long long",
	'n' - 'a': "__int128", 'o' - 'a': "unsigned __int128", 'f' - 'a': "float", 'd' - 'a': "double",
	'e' - 'a': "long double", 'z' - 'a': "...",
}

func (p *fast) typ() string {
	if p.depth++; p.depth > fastDepth {
		p.fail()
	}
	defer func() { p.depth-- }()
	c := p.peek()
	switch {
	case 'a' <= c && c <= 'z' && int(c-'a') < len(fastBuiltins) && fastBuiltins[c-'a'] != "":
		p.rest = p.rest[1:]
		return fastBuiltins[c-'a']
	case c == 'P' || c == 'R' || c == 'O' || c == 'K':
		p.rest = p.rest[1:]
		if c == 'K' && p.peek() == 'K' {
			return p.fail() // the library says it twice
		}
		t := p.pointer(c, p.typ())
		p.add(t)
		return t
	case c == 'F':
		p.rest = p.rest[1:]
		t := p.typ()
		t = p.made(t + " " + mark + p.parameters())
		if strings.Count(t, mark) > 1 || !p.eat("E") {
			return p.fail()
		}
		p.add(t)
		return t
	case c == 'A':
		n := strings.IndexByte(p.rest, '_')
		if n < 2 || strings.Trim(p.rest[1:n], "0123456789") != "" {
			return p.fail()
		}
		size := p.rest[1:n]
		p.rest = p.rest[n+1:]
		t := p.typ()
		if strings.Contains(t, mark) {
			return p.fail()
		}
		t = p.made(t + " " + mark + "[" + size + "]")
		p.add(t)
		return t
	case c == 'N' || digit(c) || strings.HasPrefix(p.rest, "St"):
		t, _, _ := p.name(false)
		return t
	case c == 'T':
		p.rest = p.rest[1:]
		i := p.index(len(p.params))
		if i < 0 || p.params[i].pack != nil || p.peek() == 'I' {
			return p.fail()
		}
		t := p.params[i].text
		p.add(t)
		return t
	case c == 'S':
		t := p.substitution()
		if p.peek() == 'I' {
			t = p.template(t, p.args())
			p.add(t)
		} else if t == "std::allocator" {
			return p.fail()
		}
		return t
	}
	return p.fail()
}

// pointer returns the type that points or refers to t, or is the constant one: c is the letter that says which.
func (p *fast) pointer(c byte, t string) string {
	sign := [...]string{" const", "&&", "*", "&"}[strings.IndexByte("KOPR", c)]
	head, tail := t, ""
	if i := strings.IndexByte(t, mark[0]); i >= 0 {
		head, tail = t[:i], t[i:]
	}
	bare := strings.HasSuffix(head, " ")
	switch {
	case strings.HasSuffix(head, "&") && (c == 'R' || c == 'O'): // they collapse
		if c == 'R' {
			head = strings.TrimRight(head, "&") + "&"
		}
		return p.made(head + tail)
	case c == 'K' && strings.HasSuffix(head, " const"):
		return t
	case c == 'K' && bare && tail[1] == '[' && !strings.HasSuffix(head, " const "):
		return p.made(head + "const " + tail)
	case strings.HasSuffix(head, "&") || c == 'K' && bare:
		return p.fail()
	case bare && tail[1] == '[':
		return p.made(head + "(" + sign + mark + ") " + tail[1:])
	case bare:
		return p.made(head + "(" + sign + mark + ")" + tail[1:])
	}
	return p.made(head + sign + tail)
}
