package stackwalk

import (
	"bufio"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// encoder writes JSON as it is told, so that a report of any size needs no second copy of itself. Errors of
// the writer are kept by w; Flush returns the first.
type encoder struct {
	w      *bufio.Writer
	pretty bool // a member a line, indented by two spaces a level
	depth  int
	some   bool // something is in the innermost object or list
	key    string
	buf    []byte
}

func (e *encoder) newline() {
	if e.pretty {
		e.w.WriteByte('\n')
		for range e.depth {
			e.w.WriteString("  ")
		}
	}
}

// next separates an element from the one before it.
func (e *encoder) next() {
	if e.some {
		e.w.WriteByte(',')
	}
	e.newline()
	e.some = true
}

func (e *encoder) nest(open, end byte, contents func()) {
	e.w.WriteByte(open)
	e.depth++
	e.some = false
	contents()
	e.depth--
	if e.some {
		e.newline()
	}
	e.w.WriteByte(end)
	e.some = true
}

// object writes an object. Its fields are to be written in the order of their names.
func (e *encoder) object(fields func()) {
	key := e.key
	e.key = ""
	e.nest('{', '}', fields)
	e.key = key
}

// list writes a list of n elements, of which item writes one.
func (e *encoder) list(n int, item func(i int)) {
	e.nest('[', ']', func() {
		for i := range n {
			e.next()
			item(i)
		}
	})
}

// name begins a field; its value follows.
func (e *encoder) name(key string) {
	if key <= e.key {
		panic("stackwalk: field " + key + " after " + e.key)
	}
	e.key = key
	e.next()
	e.member(key)
}

func (e *encoder) member(key string) {
	e.text(key)
	e.w.WriteByte(':')
	if e.pretty {
		e.w.WriteByte(' ')
	}
}

// field writes a field with a plain value: nil, or of type bool, string, int, uint32, uint64 or
// float32, the last as rust-minidump has them: with the digits that tell its value from others of 64 bits.
func (e *encoder) field(key string, value any) {
	e.name(key)
	e.value(value)
}

func (e *encoder) value(value any) {
	switch v := value.(type) {
	case nil:
		e.w.WriteString("null")
	case bool:
		e.buf = strconv.AppendBool(e.buf[:0], v)
		e.w.Write(e.buf)
	case int:
		e.buf = strconv.AppendInt(e.buf[:0], int64(v), 10)
		e.w.Write(e.buf)
	case uint32:
		e.number(uint64(v))
	case uint64:
		e.number(v)
	case float32:
		e.buf = strconv.AppendFloat(e.buf[:0], float64(v), 'f', -1, 64)
		e.w.Write(e.buf)
	case string:
		e.text(v)
	default:
		panic("stackwalk: value of another type")
	}
}

// known writes a value that is there if ok, else null.
func (e *encoder) known(ok bool, value func()) {
	if ok {
		value()
	} else {
		e.value(nil)
	}
}

// any writes a value of package encoding/json, with json.Number for numbers.
func (e *encoder) any(v any) {
	switch v := v.(type) {
	case map[string]any:
		e.nest('{', '}', func() {
			for _, key := range slices.Sorted(maps.Keys(v)) {
				e.next()
				e.member(key)
				e.any(v[key])
			}
		})
	case []any:
		e.list(len(v), func(i int) { e.any(v[i]) })
	case json.Number:
		e.w.WriteString(v.String())
	default:
		e.value(v)
	}
}

func (e *encoder) number(v uint64) {
	e.buf = strconv.AppendUint(e.buf[:0], v, 10)
	e.w.Write(e.buf)
}

// text writes a string (RFC 8259, section 7). What is not UTF-8 becomes U+FFFD.
func (e *encoder) text(s string) {
	const digits = "0123456789abcdef"
	b := append(e.buf[:0], '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
		switch short := slices.Index([]byte("\b\t\n\f\r\"\\"), c); {
		case short >= 0:
			b = append(b, '\\', `btnfr"\`[short])
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	e.buf = append(b, '"')
	e.w.Write(e.buf)
}

// known returns v if ok, else nil, which is written as null.
func known[T any](v T, ok bool) any {
	if !ok {
		return nil
	}
	return v
}
