package demangle

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// mangler makes names by the grammar of Microsoft's mangling. Fuel bounds how much is nested. References to names
// and types may go wrong: who judges says so.
type mangler struct {
	r    *rand.Rand
	fuel int
	keys int
}

func (g *mangler) pick(of ...string) string { return of[g.r.IntN(len(of))] }

// one makes one of several parts, the first when there is no fuel.
func (g *mangler) one(of ...func() string) string {
	if g.fuel--; g.fuel < 0 {
		return of[0]()
	}
	return of[g.r.IntN(len(of))]()
}

func (g *mangler) some(most int, part func() string) string {
	s := ""
	for range g.r.IntN(most + 1) {
		s += part()
	}
	return s
}

func (g *mangler) number() string {
	return g.pick("0", "3", "9", "A@", "BA@", "L@", "PPPP@", "HPPPPPPP@", "CFEGHAPK@")
}

func (g *mangler) signed() string { return g.pick("", "", "?") + g.number() }

func (g *mangler) simple() string {
	return g.pick("a", "b", "Foo", "Bar", "std", "x1", "<lambda_1>", "_Tree", "operand") + "@"
}

func (g *mangler) template() string { return "?$" + g.simple() + g.arguments() }

func (g *mangler) arguments() string { return g.some(4, g.argument) + "@" }

func (g *mangler) argument() string {
	return g.one(
		func() string { return g.typ() },
		func() string { return "$0" + g.signed() },
		func() string { return "$$A6" + g.signature() },
		func() string { return "$$A8@@" + g.this() + g.signature() },
		func() string { return g.pick("$S", "$$V", "$$Z", "$$$V") },
		func() string { return "$$Y" + g.className() },
		func() string { return "$$BY0" + g.number() + g.typ() },
		func() string { return "$$C" + g.pick("A", "B", "C", "D") + g.typ() },
		func() string { return "$1" + g.function() },
		func() string { return "$1?" + g.simple() + g.scopes() + "3HA" },
		func() string { return "$H" + g.function() + g.signed() },
		func() string { return "$I" + g.function() + g.signed() + g.signed() },
		func() string { return "$J" + g.function() + g.signed() + g.signed() + g.signed() },
		func() string { return "$E?" + g.simple() + g.scopes() + "3" + g.typ() + "B" },
		func() string { return "$F" + g.signed() + g.signed() },
		func() string { return "$G" + g.signed() + g.signed() + g.signed() },
	)
}

func (g *mangler) typePiece() string {
	return g.one(g.simple, g.simple, g.template, func() string { return g.pick("0", "1", "2") })
}

func (g *mangler) className() string { return g.typePiece() + g.scopes() }

func (g *mangler) scopes() string {
	return g.some(2, func() string {
		return g.one(g.simple, g.typePiece,
			func() string { g.keys++; return fmt.Sprintf("?A0x%08X@", g.keys) },
			func() string { return "?" + g.pick("0", "1", "BA@", "M@") + "?" + g.function() })
	}) + "@"
}

func (g *mangler) typ() string {
	primitive := func() string {
		return g.pick("X", "D", "C", "E", "F", "G", "H", "I", "J", "K", "M", "N", "O", "_J", "_K", "_N", "_W", "_S", "_U", "_Q", "$$T")
	}
	cv := func() string { return g.pick("A", "A", "B", "C", "D") }
	return g.one(primitive, primitive,
		func() string { return g.pick("T", "U", "V", "W4") + g.className() },
		func() string { return g.pick("P", "Q", "R", "S", "A", "$$Q") + g.extension() + cv() + g.typ() },
		func() string { return g.pick("P", "Q") + "6" + g.signature() },
		func() string { return g.pick("A", "$$Q") + "6" + g.signature() },
		func() string { return "P8" + g.className() + g.this() + g.signature() },
		func() string {
			return "P" + g.extension() + g.pick("Q", "R", "S", "T") + g.className() + g.pick("H", "_N", "UFoo@@", "PEBD")
		},
		func() string { return g.pick("P", "A") + cv() + "Y1" + g.number() + g.number() + g.typ() },
		func() string { return "QAY0" + g.number() + "$$C" + cv() + g.typ() },
	)
}

func (g *mangler) extension() string { return g.pick("", "", "E", "E", "I", "EI", "F", "EF", "EIF") }

func (g *mangler) this() string {
	return g.extension() + g.pick("", "", "G", "H") + g.pick("A", "B", "C", "D")
}

func (g *mangler) signature() string {
	result := g.one(func() string { return "X" }, g.typ, func() string { return "?" + g.pick("A", "B") + g.typ() },
		func() string { return "?A?<auto>@@" })
	return g.pick("A", "E", "G", "I", "Q", "M", "C", "S", "B") + result + g.parameters() + g.pick("Z", "Z", "Z", "_E")
}

func (g *mangler) parameters() string {
	s := g.some(5, func() string {
		return g.one(func() string { return "H" }, g.typ, g.typ, func() string { return g.pick("0", "0", "1", "2") })
	})
	switch {
	case s == "" || strings.HasPrefix(s, "X"):
		return "X"
	case g.r.IntN(6) == 0:
		return s + "Z"
	}
	return s + "@"
}

// function is a symbol that is one.
func (g *mangler) function() string {
	name := g.one(g.simple, g.simple, func() string { return "?$" + g.simple() + g.arguments() }, g.operator)
	scopes := g.scopes()
	if (name == "?0" || name == "?1" || strings.HasPrefix(name, "?$?0")) && scopes == "@" {
		scopes = "C@@"
	}
	return "?" + name + scopes + g.encoding()
}

func (g *mangler) operator() string {
	s := "?" + g.pick(strings.Split("0 1 2 3 4 5 6 7 8 9 A C D E F G H I J K L M N O P Q R S T U V W X Y Z _0 _1 _2 _3 _4 _5 _6 _D _E _F _G _H _I _J _K _L _M _N _O _T _U _V __A __B __C __D __G __H __I __L __M B __K_x@", " ")...)
	if g.r.IntN(4) == 0 {
		return "?$" + s + g.arguments()
	}
	return s
}

func (g *mangler) encoding() string {
	return g.one(
		func() string { return g.pick("Y", "Z", "$$J0Y") + g.signature() },
		func() string {
			return g.pick("A", "B", "E", "F", "I", "J", "M", "N", "Q", "R", "U", "V") + g.this() + g.signature()
		},
		func() string { return g.pick("C", "D", "K", "L", "S", "T") + g.signature() },
		func() string { return g.pick("G", "H", "O", "P", "W", "X") + g.signed() + g.this() + g.signature() },
		func() string {
			return "$" + g.pick("0", "1", "2", "3", "4", "5") + g.signed() + g.signed() + g.this() + g.signature()
		},
		func() string {
			return "$R" + g.pick("0", "1", "2", "3", "4", "5") + g.signed() + g.signed() + g.signed() + g.signed() + g.this() + g.signature()
		},
		func() string { return "9" },
	)
}

func (g *mangler) symbol() string {
	cv := func() string { return g.pick("A", "B", "C", "D") }
	return g.one(
		g.function, g.function, g.function,
		func() string {
			return "?" + g.typePiece() + g.scopes() + g.pick("0", "1", "2", "3", "4") + g.variable()
		},
		func() string {
			return g.pick("??_7", "??_S", "??_R4") + g.className() + "6" + cv() + g.pick("", g.className()) + "@"
		},
		func() string { return "??_8" + g.className() + "7" + cv() + g.pick("", g.className()) + "@" },
		func() string { return "??_9" + g.className() + "$B" + g.number() + "A" + g.pick("A", "E") },
		func() string { return "??_R0" + "?A" + g.typ() + "@8" },
		func() string {
			return "??_R1" + g.number() + g.signed() + g.number() + g.number() + g.className() + "8"
		},
		func() string { return g.pick("??_R2", "??_R3") + g.className() + "8" },
		func() string {
			return g.pick("??_B", "??__J") + g.className() + g.pick("4IA", "5") + g.pick("", g.number())
		},
		func() string { return g.pick("??__E", "??__F") + g.function()[1:] },
		func() string {
			return g.pick("??__E?", "??__F?") + g.simple() + g.scopes() + "2" + g.variable() + "@@YAXXZ"
		},
		func() string { return "." + "?A" + g.pick("U", "V", "W4") + g.className() },
		g.literal,
	)
}

func (g *mangler) variable() string {
	return g.one(
		func() string { return g.pick("H", "_N", "D") + g.pick("A", "B", "C", "D") },
		func() string { return g.pick("U", "V", "W4") + g.className() + g.pick("A", "B") },
		func() string { return "PEA" + g.typ() + "E" + g.pick("A", "B") },
		func() string { return "P6" + g.signature() + "A" },
		func() string {
			return "PEQ" + g.simple() + "@" + g.pick("H", "D", "UFoo@@") + "EQ" + g.pick("1", "Foo@") + "@"
		},
	)
}

// literal is a string of characters of 1, 2 or 4 bytes, as compilers write it: zero-terminated, cut at 32 bytes.
func (g *mangler) literal() string {
	width, wide := []int{1, 2, 4, 2}[g.r.IntN(4)], false
	var data []byte
	for range g.r.IntN(20) {
		c := g.r.IntN(0x60) + 0x20
		if g.r.IntN(8) == 0 {
			c = g.r.IntN(0xff) + 1
		}
		data = append(data, byte(c))
		data = append(data, make([]byte, width-1)...)
	}
	data = append(data, make([]byte, width)...)
	if size := len(data); width == 2 && g.r.IntN(2) == 0 {
		wide = true
		for i := 0; i < size; i += 2 {
			data[i], data[i+1] = data[i+1], data[i]
		}
	}
	size, most, mark := len(data), 32, "0"
	if wide {
		most, mark = 64, "1"
	}
	var b strings.Builder
	for _, c := range data[:min(size, most)] {
		switch {
		case digit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '$':
			b.WriteByte(c)
		case c >= 0x80 && ('a' <= (c-0x80)|0x20 && (c-0x80)|0x20 <= 'z'):
			b.WriteString("?" + string(rune(c-0x80)))
		case c != 0 && strings.IndexByte(",/\\:. \n\t'-", c) >= 0:
			fmt.Fprintf(&b, "?%d", strings.IndexByte(",/\\:. \n\t'-", c))
		default:
			fmt.Fprintf(&b, "?$%c%c", 'A'+c>>4, 'A'+c&15)
		}
	}
	count := ""
	if size <= 10 {
		count = string(rune('0' + size - 1))
	} else {
		for ; size > 0; size >>= 4 {
			count = string(rune('A'+size&15)) + count
		}
		count += "@"
	}
	return "??_C@_" + mark + count + "ABCDEFGH@" + b.String() + "@"
}
