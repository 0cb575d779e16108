package proguard

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"salvage/debug"
)

// reader takes a file line by line.
type reader struct {
	m       *Mapping
	at      uint32 // of the line
	version version
	inClass bool
	named   bool // a member of the class has been read
	method  bool // which was a method
	// The residuals that comments told of methods of the class, by the hash of name and signature. They
	// hold for all ranges of the method.
	told map[uint64]uint64
}

// version is that of R8's mapping format, as major and minor number: comments of a later one than stated are
// comments and nothing else.
type version [2]int

func (v version) atLeast(major, minor int) bool {
	return v[0] > major || v[0] == major && v[1] >= minor
}

// line reads a line; its bytes lie in the file.
func (r *reader) line(line []byte) {
	r.m.Counts.Lines++
	start := r.at
	r.at += uint32(len(line))
	if start == 0 {
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
		start = r.at - uint32(len(line))
	}
	trimmed := bytes.TrimSpace(line)
	begin := start + uint32(bytes.Index(line, trimmed))
	problem := ""
	switch {
	case len(trimmed) == 0:
	case trimmed[0] == '#':
		if comment := bytes.TrimSpace(trimmed[1:]); len(comment) > 0 && comment[0] == '{' {
			problem = r.comment(comment)
		}
	case r.inClass && (line[0] == ' ' || line[0] == '\t'):
		problem = r.member(trimmed, begin)
	default:
		problem = r.class(trimmed, begin)
	}
	if problem != "" {
		r.m.Counts.Bad++
		if len(r.m.Problems) < maxProblems {
			r.m.Problems = append(r.m.Problems, debug.Problem{Where: "line " + strconv.FormatUint(r.m.Counts.Lines, 10), Kind: "bad line", Detail: problem})
		}
	}
}

// part returns the span of a part of the line that starts at begin.
func part(line, part []byte, begin uint32) span {
	return span{begin + uint32(cap(line)-cap(part)), uint32(len(part))}
}

// arrow splits at the arrow between the original name and the new one.
func arrow(line []byte, i int) (left, right []byte, ok bool) {
	if i < 0 {
		return nil, nil, false
	}
	left, right = bytes.TrimSpace(line[:i]), bytes.TrimSpace(line[i+2:])
	return left, right, len(left) > 0 && len(right) > 0
}

// class reads "original -> obfuscated:".
func (r *reader) class(line []byte, begin uint32) string {
	r.inClass, r.named, r.method = false, false, false
	clear(r.told)
	left, right, ok := arrow(line, bytes.Index(line, []byte("->")))
	if !ok || right[len(right)-1] != ':' {
		return "neither a class nor a member of one"
	}
	right = bytes.TrimSpace(right[:len(right)-1])
	if !isName(left) || !isName(right) {
		return "a class without a name"
	}
	r.inClass = true
	r.m.Counts.Classes++
	n := uint32(len(r.m.members))
	r.m.classes = append(r.m.classes, class{name: part(line, right, begin), original: part(line, left, begin), first: n, last: n})
	return ""
}

// isName reports whether b can be the name of a class or member. Virtual machines allow nearly all
// characters.
func isName(b []byte) bool {
	return len(b) > 0 && b[0] != '.' && b[len(b)-1] != '.' && !bytes.ContainsAny(b, " \t():,")
}

// member reads "[from:to:]type name(types)[:first[:last]] -> obfuscated" or a field.
func (r *reader) member(line []byte, begin uint32) string {
	r.named, r.method = true, false
	left, name, ok := arrow(line, bytes.LastIndex(line, []byte("->")))
	if !ok || !isName(name) {
		return "no arrow and name"
	}
	e := member{from: none, before: none, info: none, name: part(line, name, begin)}
	if isDigit(left[0]) {
		var rest []byte
		if e.from, e.to, rest, ok = lines(left); !ok || len(rest) == 0 || rest[0] != ':' {
			return "the lines are not of the form from:to:"
		}
		left = bytes.TrimSpace(rest[1:])
	}
	end := bytes.LastIndexByte(left, ')')
	if end < 0 {
		if typ, field, ok := bytes.Cut(left, []byte(" ")); !ok || e.from != none || !isName(typ) || !isName(bytes.TrimSpace(field)) {
			return "neither a field nor a method"
		}
		r.m.Counts.Fields++
		return ""
	}
	if rest := bytes.TrimSpace(left[end+1:]); len(rest) > 0 {
		if rest[0] != ':' {
			return "text behind the types"
		}
		rest = bytes.TrimSpace(rest[1:])
		if i := bytes.IndexByte(rest, ':'); i < 0 {
			e.before, rest, ok = number(rest)
			e.behind = e.before
		} else {
			e.before, e.behind, rest, ok = lines(rest)
		}
		if !ok || len(bytes.TrimSpace(rest)) > 0 {
			return "the original lines are no numbers"
		}
	}
	signature := left[:end+1]
	typ, method, _ := bytes.Cut(signature, []byte(" "))
	method, _, ok = bytes.Cut(method, []byte("("))
	method = bytes.TrimSpace(method)
	if !ok || !isName(typ) || !isName(method) {
		return "a method without a type or name"
	}
	e.signature, e.original = part(line, signature, begin), part(line, method, begin)
	if e.residual, ok = r.told[hash(name, signature)]; !ok {
		e.residual = hash(typ, signature[bytes.IndexByte(signature, '('):])
	}
	r.method = true
	r.m.Counts.Methods++
	r.m.members = append(r.m.members, e)
	r.m.classes[len(r.m.classes)-1].last++
	return ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number reads digits.
func number(b []byte) (n int32, rest []byte, ok bool) {
	i := 0
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	v, err := strconv.ParseInt(string(b[:min(i, 11)]), 10, 32)
	return int32(v), b[i:], err == nil && v < math.MaxInt32
}

// lines reads two numbers. R8 once wrote 0 for the second where it meant the first, and at times swapped
// them.
func lines(b []byte) (from, to int32, rest []byte, ok bool) {
	from, b, ok = number(b)
	b = bytes.TrimSpace(b)
	if !ok || len(b) == 0 || b[0] != ':' {
		return 0, 0, nil, false
	}
	to, b, ok = number(bytes.TrimSpace(b[1:]))
	switch {
	case to == 0:
		to = from
	case from > to:
		from, to = to, from
	}
	return from, to, bytes.TrimSpace(b), ok
}

// comment reads what R8 says of the class, method or range above.
func (r *reader) comment(text []byte) string {
	var c struct {
		ID         string
		Version    string
		FileName   *string
		Conditions []string
		Actions    []string
		Positions  map[string]int32
		Signature  string
	}
	if json.Unmarshal(text, &c) != nil {
		return "a comment that is no JSON of R8"
	}
	m := r.m
	of := func() *member { // the range that the comment is about
		if !r.inClass || !r.method {
			return nil
		}
		return &m.members[len(m.members)-1]
	}
	details := func() *info {
		e := of()
		if e == nil {
			return nil
		}
		if e.info == none {
			e.info = int32(len(m.infos))
			m.infos = append(m.infos, info{})
		}
		return &m.infos[e.info]
	}
	switch c.ID {
	case "com.android.tools.r8.mapping":
		r.version = parseVersion(c.Version)
		r.inClass = false
	case "sourceFile":
		if r.inClass && !r.named && c.FileName != nil {
			m.sources = append(m.sources, source{m.classes[len(m.classes)-1].original, *c.FileName})
		}
	case "com.android.tools.r8.residualsignature":
		residual, ok := descriptor(c.Signature)
		if e := of(); e != nil && ok && r.version.atLeast(2, 2) {
			e.residual = residual
			if r.told == nil {
				r.told = map[uint64]uint64{}
			}
			r.told[hash(m.bytes(e.name), m.bytes(e.signature))] = residual
		}
	case "com.android.tools.r8.synthesized":
		if e := of(); e != nil && r.version.atLeast(1, 0) {
			e.flags |= synthesized
		}
	case "com.android.tools.r8.outline":
		if e := of(); e != nil && r.version.atLeast(2, 0) {
			e.flags |= synthesized | outline
		}
	case "com.android.tools.r8.outlineCallsite":
		if !r.version.atLeast(2, 0) {
			return ""
		}
		if d := details(); d != nil {
			d.positions = map[int32]int32{}
			for from, to := range c.Positions {
				if n, rest, ok := number([]byte(from)); ok && len(rest) == 0 {
					d.positions[n] = to
				}
			}
		}
	case "com.android.tools.r8.rewriteFrame":
		if !r.version.atLeast(2, 0) {
			return ""
		}
		w, ok := parseRewrite(c.Conditions, c.Actions)
		if !ok {
			return "a rewriteFrame of an unknown kind"
		}
		if d := details(); d != nil {
			d.rewrites = append(d.rewrites, w)
		}
	}
	return ""
}

func parseVersion(text string) version {
	major, minor, _ := strings.Cut(text, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err != nil || err2 != nil { // "experimental": as if there were none
		return version{}
	}
	return version{a, b}
}

func parseRewrite(conditions, actions []string) (w rewrite, ok bool) {
	for _, c := range conditions {
		descriptor, ok1 := strings.CutPrefix(c, "throws(L")
		descriptor, ok2 := strings.CutSuffix(descriptor, ";)")
		if !ok1 || !ok2 {
			return w, false
		}
		w.throws = append(w.throws, strings.ReplaceAll(descriptor, "/", "."))
	}
	for _, a := range actions {
		count, ok1 := strings.CutPrefix(a, "removeInnerFrames(")
		count, ok2 := strings.CutSuffix(count, ")")
		n, rest, ok3 := number([]byte(count))
		if !ok1 || !ok2 || !ok3 || len(rest) > 0 {
			return w, false
		}
		w.remove = int(min(math.MaxInt32-1, int64(w.remove)+int64(n)))
	}
	return w, true
}

// hash is FNV-1a of two texts.
func hash(a, b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range a {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h *= 1099511628211 // as of a zero between them
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

var primitives = map[byte]string{'B': "byte", 'C': "char", 'D': "double", 'F': "float", 'I': "int", 'J': "long", 'S': "short", 'V': "void", 'Z': "boolean"}

// descriptor returns the residual of a method descriptor such as (La/c;[I)V: the hash of its types as a
// mapping spells them. It is not ok for those of fields.
func descriptor(text string) (residual uint64, ok bool) {
	text, ok = strings.CutPrefix(text, "(")
	if !ok {
		return 0, false
	}
	types := []byte("(")
	var one []byte
	for ok && !strings.HasPrefix(text, ")") {
		if one, text, ok = typeOf(text); len(types) > 1 {
			types = append(types, ',')
		}
		types = append(types, one...)
	}
	if !ok {
		return 0, false
	}
	one, text, ok = typeOf(text[1:])
	return hash(one, append(types, ')')), ok && text == ""
}

// typeOf reads the type that a descriptor starts with.
func typeOf(text string) (name []byte, rest string, ok bool) {
	element := strings.TrimLeft(text, "[")
	arrays := len(text) - len(element)
	if arrays > 255 || element == "" { // JVMS §4.3.2
		return nil, "", false
	}
	if element[0] == 'L' {
		class, after, ok := strings.Cut(element[1:], ";")
		if !ok {
			return nil, "", false
		}
		name, rest = []byte(strings.ReplaceAll(class, "/", ".")), after
	} else if primitive, ok := primitives[element[0]]; ok {
		name, rest = []byte(primitive), element[1:]
	} else {
		return nil, "", false
	}
	return append(name, bytes.Repeat([]byte("[]"), arrays)...), rest, true
}
