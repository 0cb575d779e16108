package demangle

import (
	"strconv"
	"strings"
)

// msvcStyle is how a name is written.
type msvcStyle uint8

const (
	// msvcReadable is as LLVM writes Itanium names: no return type, access, calling convention or word for a tag.
	msvcReadable msvcStyle = iota
	// msvcSym is as dump_syms writes public symbols: f(void), A<B<int> >, int64_t, no word on thunks.
	msvcSym
	// msvcFull is all that undname says, as LLVM's says it.
	msvcFull
)

type msvcPrinter struct {
	style msvcStyle
	out   []byte
	nodes int
}

func (w *msvcPrinter) text(s string) { w.out = append(w.out, s...) }

func (w *msvcPrinter) last() byte {
	if len(w.out) == 0 {
		return 0
	}
	return w.out[len(w.out)-1]
}

// space separates two words.
func (w *msvcPrinter) space() {
	if c := w.last(); c == '>' || digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' {
		w.text(" ")
	}
}

// visit counts, and is whether there may be more.
func (w *msvcPrinter) visit() bool {
	w.nodes++
	return w.nodes <= msvcNodes && len(w.out) <= 1<<maxOutput
}

func (w *msvcPrinter) symbol(s *msvcSymbol) {
	switch {
	case !w.visit():
	case s.text != "":
		w.text(s.text)
	case s.fn != nil:
		if s.fn.thunk != "" && w.style != msvcSym {
			w.text("[thunk]: ")
		}
		if w.style == msvcFull {
			w.text(s.fn.access)
			w.before(s.fn)
			w.space()
		}
		w.path(s.name)
		w.afterFunction(s.fn)
		if w.style == msvcFull && s.fn.elem != nil {
			w.afterType(s.fn.elem)
		}
	case s.typ != nil && (w.style == msvcFull || s.storage == "" && strings.HasPrefix(s.name[0].text, "`")):
		if w.style == msvcFull {
			w.text(s.storage)
		}
		w.before(s.typ)
		w.space()
		w.path(s.name)
		w.afterType(s.typ)
	default:
		if w.style == msvcFull {
			w.text(s.before)
		}
		w.path(s.name)
		for i, base := range s.after {
			w.text([...]string{"{for `", "s `"}[min(i, 1)])
			w.path(base)
			w.text("'")
		}
		if s.after != nil {
			w.text("}")
		}
	}
}

func (w *msvcPrinter) path(path msvcPath) {
	for i := len(path) - 1; i >= 0; i-- {
		if w.name(path[i]); i > 0 {
			w.text("::")
		}
	}
}

func (w *msvcPrinter) name(n *msvcName) {
	if !w.visit() {
		return
	}
	switch {
	case n.class != nil:
		if n.kind == '~' {
			w.text("~")
		}
		if w.style == msvcReadable {
			w.text(n.class.text)
		} else {
			w.name(n.class)
		}
	case n.kind == '=':
		w.text("operator")
		w.arguments(n)
		w.text(" ")
		if n.target != nil {
			w.typ(n.target)
		}
		return
	case n == anonymous && w.style != msvcFull:
		w.text("(anonymous namespace)")
	case n.of != nil:
		w.text(n.text)
		w.symbol(n.of)
		w.text(n.close)
	default:
		w.text(n.text)
	}
	w.arguments(n)
}

func (w *msvcPrinter) arguments(n *msvcName) {
	if !n.generic {
		return
	}
	w.text("<")
	w.list(n.args)
	if w.style == msvcSym && w.last() == '>' {
		w.text(" ")
	}
	w.text(">")
}

func (w *msvcPrinter) list(args []msvcArg) {
	for i, a := range args {
		if !w.visit() {
			return
		}
		if i > 0 {
			w.text(", ")
		}
		if w.argument(a); a.braces {
			w.text("{")
			w.list(a.list)
			w.text("}")
		}
	}
}

func (w *msvcPrinter) argument(a msvcArg) {
	if a.typ != nil {
		w.typ(a.typ)
		return
	}
	if w.text(a.text); a.offsets != nil {
		w.text("{")
	}
	if a.symbol != nil {
		if w.symbol(a.symbol); a.offsets != nil {
			w.text(", ")
		}
	}
	for i, o := range a.offsets {
		if i > 0 {
			w.text(", ")
		}
		w.text(o)
	}
	if a.offsets != nil {
		w.text("}")
	}
}

func (w *msvcPrinter) typ(t *msvcType) {
	w.before(t)
	w.afterType(t)
}

// before writes what of a type comes before the name of what has it.
func (w *msvcPrinter) before(t *msvcType) {
	if !w.visit() {
		return
	}
	switch t.kind {
	case typePrimitive:
		w.text(w.primitive(t.text))
		w.text(t.quals.String())
	case typeTag:
		if w.style == msvcFull {
			w.text(t.text)
		}
		w.path(t.name)
		w.text(t.quals.String())
	case typeArray:
		w.before(t.elem)
		w.text(t.quals.String())
	case typeFunction:
		w.beforeFunction(t)
	case typePointer, typeMember:
		w.beforePointer(t)
	}
}

func (w *msvcPrinter) primitive(s string) string {
	if w.style == msvcSym {
		switch s {
		case "__int64":
			return "int64_t"
		case "unsigned __int64":
			return "uint64_t"
		}
	}
	return s
}

func (w *msvcPrinter) beforePointer(t *msvcType) {
	full := w.style == msvcFull
	inner := t.elem.kind == typeArray || t.elem.kind == typeFunction
	if t.elem.kind == typeFunction {
		if t.elem.elem != nil {
			w.before(t.elem.elem)
			w.text(" ")
		}
	} else {
		w.before(t.elem)
	}
	if full || inner || t.kind == typeMember {
		w.space()
	}
	if full && t.quals&qualUnaligned != 0 {
		w.text("__unaligned ")
	}
	if inner {
		w.text("(")
	}
	if full && t.elem.kind == typeFunction {
		w.text(t.elem.call + " ")
	}
	if t.kind == typeMember {
		w.path(t.name)
		w.text("::")
	}
	w.text(t.text)
	q := t.quals.String()
	if full && q != "" {
		q = q[1:]
	}
	w.text(q)
}

// beforeFunction writes what a function returns and how it is called.
func (w *msvcPrinter) beforeFunction(t *msvcType) {
	if t.elem != nil {
		w.before(t.elem)
		w.text(" ")
	}
	if w.style == msvcFull && t.call != "" {
		w.space()
		w.text(t.call)
	}
}

func (w *msvcPrinter) afterType(t *msvcType) {
	if !w.visit() {
		return
	}
	switch t.kind {
	case typePointer, typeMember:
		if t.elem.kind == typeArray || t.elem.kind == typeFunction {
			w.text(")")
		}
		w.afterType(t.elem)
	case typeArray:
		for _, n := range t.dims {
			w.text("[")
			if n != 0 {
				w.text(strconv.FormatUint(n, 10))
			}
			w.text("]")
		}
		w.afterType(t.elem)
	case typeFunction:
		w.afterFunction(t)
		if t.elem != nil {
			w.afterType(t.elem)
		}
	}
}

// afterFunction writes parameters and qualifiers.
func (w *msvcPrinter) afterFunction(t *msvcType) {
	if w.style != msvcSym && t.thunk != " " {
		w.text(t.thunk)
	}
	if !t.bare {
		w.text("(")
		for i, param := range t.params {
			if i > 0 {
				w.text(", ")
			}
			w.typ(param)
		}
		switch {
		case t.variadic && t.params != nil:
			w.text(", ...")
		case t.variadic:
			w.text("...")
		case t.params == nil && w.style != msvcReadable:
			w.text("void")
		}
		w.text(")")
	}
	w.text(t.quals.String())
	if t.quals&qualUnaligned != 0 {
		w.text(" __unaligned")
	}
	if t.noexcept {
		w.text(" noexcept")
	}
	w.text(t.ref)
}
