package demangle

import (
	"fmt"
	"strings"
)

// literal reads a string of the source after ??_C@_: its width, its length in bytes, a checksum, and at most 32
// of its characters. The last one, if all are there, is zero and not told.
func (p *msvcParser) literal() string {
	wide := p.next() == '1'
	size := p.unsigned()
	if p.text() == "" {
		return ""
	}
	var data []byte
	for !p.bad && !p.eat("@") {
		if data = append(data, p.literalByte()); len(data) > 128 {
			p.fail()
		}
	}
	width, prefix, truncated := 1, "", uint64(len(data)) < size
	if wide {
		width, prefix, truncated = 2, "L", size > 64
		for i := 0; i+1 < len(data); i += 2 { // the high byte is first
			data[i], data[i+1] = data[i+1], data[i]
		}
	} else {
		width = literalWidth(data, size)
		prefix = map[int]string{1: "", 2: "u", 4: "U"}[width]
	}
	if len(data)%width != 0 || size < uint64(width) {
		p.fail()
		return ""
	}
	var b strings.Builder
	b.WriteString(prefix + `"`)
	for i := 0; i < len(data); i += width {
		c := uint32(0)
		for j := width - 1; j >= 0; j-- {
			c = c<<8 | uint32(data[i+j])
		}
		last := i+width == len(data)
		if wide {
			last = uint64(i+width) == size
		}
		if !last || truncated {
			escape(&b, c)
		}
	}
	b.WriteByte('"')
	if truncated {
		b.WriteString("...")
	}
	return b.String()
}

func (p *msvcParser) literalByte() byte {
	c := p.next()
	if c != '?' {
		return c
	}
	switch c = p.next(); {
	case digit(c):
		return ",/\\:. \n\t'-"[c-'0']
	case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		return c + 0x80
	case c == '$':
		hi, lo := p.next()-'A', p.next()-'A'
		if hi < 16 && lo < 16 {
			return hi<<4 | lo
		}
	}
	p.fail()
	return 0
}

// literalWidth guesses how wide the characters of a string are that is not of wchar_t: it is not written. A whole
// string ends in a zero of that width; in a part of one, zeros are counted.
func literalWidth(data []byte, size uint64) int {
	zeros, tail := 0, 0
	for _, c := range data {
		if tail++; c != 0 {
			tail = 0
		} else {
			zeros++
		}
	}
	n := len(data)
	if size < 32 {
		zeros, n = tail, 3
		if tail > 1 && tail < 4 {
			zeros = 1
		} else if tail == 1 {
			zeros = 0
		}
		if tail >= 4 {
			zeros = 2
		}
	}
	switch {
	case size%2 == 1 || zeros == 0 && size < 32:
		return 1
	case zeros >= 2*n/3 && size%4 == 0:
		return 4
	case zeros >= n/3:
		return 2
	}
	return 1
}

func escape(b *strings.Builder, c uint32) {
	if i := strings.IndexByte("\x00'\"\\\a\b\f\n\r\t\v", byte(c)); i >= 0 && c < 0x80 {
		b.WriteString(`\` + `0'"\abfnrtv`[i:i+1])
		return
	}
	if 0x20 <= c && c < 0x7f {
		b.WriteByte(byte(c))
		return
	}
	hex := fmt.Sprintf("%X", c)
	if len(hex)%2 == 1 {
		hex = "0" + hex
	}
	b.WriteString(`\x` + hex)
}
