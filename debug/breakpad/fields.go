package breakpad

import (
	"bytes"
	"math"

	"salvage/debug/symbols"
)

// fields splits a line at runs of spaces.
type fields struct{ rest []byte }

func (f *fields) next() []byte {
	for len(f.rest) > 0 && f.rest[0] == ' ' {
		f.rest = f.rest[1:]
	}
	n := bytes.IndexByte(f.rest, ' ')
	if n < 0 {
		n = len(f.rest)
	}
	field := f.rest[:n]
	f.rest = f.rest[n:]
	return field
}

// text returns the rest of the line without the spaces around it.
func (f *fields) text() []byte { return bytes.Trim(f.rest, " ") }

func (f *fields) hex64() (uint64, bool) { return parseHex(f.next(), 16) }

func (f *fields) hex32() (uint32, bool) {
	v, ok := parseHex(f.next(), 8)
	return uint32(v), ok
}

// params reads a number of bytes that a function takes off the stack, for which instructions have 16 bits: more is
// nonsense, and 0 here.
func (f *fields) params() (uint16, bool) {
	v, ok := f.hex32()
	if v > math.MaxUint16 {
		v = 0
	}
	return uint16(v), ok
}

func (f *fields) dec32() (uint32, bool) {
	v, ok := parseDec(f.next())
	return v, ok
}

// signedDec32 reads a decimal number that may be negative.
func (f *fields) signedDec32() (int64, bool) {
	field := f.next()
	negative := len(field) > 0 && field[0] == '-'
	if negative {
		field = field[1:]
	}
	v, ok := parseDec(field)
	if negative {
		return -int64(v), ok
	}
	return int64(v), ok
}

func countFields(b []byte) (n int) {
	for f := (fields{b}); len(f.next()) > 0; {
		n++
	}
	return n
}

// nibble maps a hex digit to its value, any other byte to 0xff.
var nibble = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range 10 {
		t['0'+i] = byte(i)
	}
	for i := range 6 {
		t['a'+i], t['A'+i] = byte(10+i), byte(10+i)
	}
	return t
}()

func isHex(b []byte) bool {
	for _, c := range b {
		if nibble[c] == 0xff {
			return false
		}
	}
	return true
}

func parseHex(b []byte, maxDigits int) (v uint64, ok bool) {
	if len(b) == 0 || len(b) > maxDigits {
		return 0, false
	}
	for _, c := range b {
		d := nibble[c]
		if d == 0xff {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return v, true
}

func parseDec(b []byte) (v uint32, ok bool) {
	if len(b) == 0 || len(b) > 10 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), n <= math.MaxUint32
}

// hexAt parses the hexadecimal number at b[i:], which something else must follow, and returns where it
// ends; 0 if there is none, or one of more digits than given.
func hexAt(b []byte, i, maxDigits int) (v uint64, end int) {
	start := i
	for d := nibble[b[i]]; d != 0xff; d = nibble[b[i]] {
		v = v<<4 | uint64(d)
		i++
	}
	if i == start || i > start+maxDigits {
		return 0, 0
	}
	return v, i
}

// decAt does the same for a decimal number of up to nine digits.
func decAt(b []byte, i int) (v uint32, end int) {
	start := i
	for c := b[i] - '0'; c < 10; c = b[i] - '0' {
		v = v*10 + uint32(c)
		i++
	}
	if i == start || i > start+9 {
		return 0, 0
	}
	return v, i
}

// fastLine takes "addr size line file\n" as writers emit it and returns its length, or 0 if the line has
// any other shape. Most of a large file are such lines. b must contain a newline.
func (p *part) fastLine(b []byte) int {
	addr, i := hexAt(b, 0, 16)
	if i == 0 || b[i] != ' ' {
		return 0
	}
	size, i := hexAt(b, i+1, 8)
	if i == 0 || b[i] != ' ' {
		return 0
	}
	line, i := decAt(b, i+1)
	if i == 0 || b[i] != ' ' {
		return 0
	}
	file, i := decAt(b, i+1)
	if i == 0 {
		return 0
	}
	if b[i] == '\r' {
		i++
	}
	if b[i] != '\n' {
		return 0
	}
	p.lineRecord(lineRecord{addr, uint32(size), line, file})
	return i + 1
}

// fastInline does the same for "INLINE depth line file origin (addr size)+\n".
func (p *part) fastInline(b []byte) int {
	if !bytes.HasPrefix(b, []byte("INLINE ")) {
		return 0
	}
	var v [4]uint32
	i := len("INLINE")
	for n := range v {
		if b[i] != ' ' {
			return 0
		}
		if v[n], i = decAt(b, i+1); i == 0 {
			return 0
		}
	}
	had := len(p.batch.Inlines)
	in := symbols.Inline{Depth: v[0], CallLine: v[1], CallFile: symbols.StringID(v[2]), Name: symbols.StringID(v[3])}
	for b[i] == ' ' {
		if in.Addr, i = hexAt(b, i+1, 16); b[i] != ' ' {
			break
		}
		if in.Size, i = hexAt(b, i+1, 8); i == 0 {
			break
		}
		p.batch.Inlines = append(p.batch.Inlines, in)
	}
	if b[i] != '\n' || len(p.batch.Inlines) == had {
		p.batch.Inlines = p.batch.Inlines[:had]
		return 0
	}
	p.file.Counts.Inlines++
	return i + 1
}
