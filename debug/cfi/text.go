package cfi

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"

	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// WriteText writes the STACK WIN records that could be used as they were added, and all other rules as STACK CFI
// records by address: an INIT for each function, or for each part of it that has rules, and a record for each
// address where they change, with the rules that do. It returns how many rows could not be written whole. It comes
// before Write.
//
// What STACK CFI cannot say is lost: that a frame is a signal handler's, and expressions that compare, shift or
// branch, but for that of PLT entries, which is written as arithmetic. A row whose CFA or return address is such
// an expression ends the INIT before it: nothing is better than rules that are wrong.
func (b *Builder) WriteText(w io.Writer) (lost int, err error) {
	b.flushText()
	out := bufio.NewWriterSize(w, 1<<16)
	t := textWriter{b: b, texts: map[symbols.StringID]*rowText{}}
	for i := range b.win {
		t.buf = b.win[i].text.Append(t.buf[:0])
		_, _ = out.Write(t.buf)
	}
	symbols.Arrange(b.extents, nil).Pieces(func(p symbols.Piece) {
		rows := b.rows[b.first[p.Function]:]
		if p.Function+1 < len(b.first) {
			rows = rows[:b.first[p.Function+1]-b.first[p.Function]]
		}
		addr := b.extents[p.Function].Addr
		var last *rowText
		for i, r := range rows {
			start, end := max(addr+uint64(r.offset), p.Start), p.End
			if i+1 < len(rows) {
				end = min(end, addr+uint64(rows[i+1].offset))
			}
			if start >= end {
				continue
			}
			now := t.text(r.rules)
			switch {
			case now == nil:
				last = nil
				continue
			case last == nil:
				// Up to the next row without rules.
				for _, r := range rows[i+1:] {
					if end = min(p.End, addr+uint64(r.offset)); t.text(r.rules) == nil {
						break
					}
					end = p.End
				}
				t.buf = append(t.buf[:0], "STACK CFI INIT "...)
				t.buf = strconv.AppendUint(t.buf, start, 16)
				t.buf = strconv.AppendUint(append(t.buf, ' '), end-start, 16)
				t.buf = now.append(t.buf, nil)
			default:
				t.buf = append(t.buf[:0], "STACK CFI "...)
				t.buf = strconv.AppendUint(t.buf, start, 16)
				n := len(t.buf)
				if t.buf = now.append(t.buf, last); len(t.buf) == n {
					continue
				}
			}
			last = now
			if now.partly {
				lost++
			}
			_, _ = out.Write(append(t.buf, '\n')) // an error stays until Flush
		}
	})
	return lost + t.lost, out.Flush()
}

type textWriter struct {
	b     *Builder
	buf   []byte
	texts map[symbols.StringID]*rowText
	lost  int
}

// rowText is a row as text.
type rowText struct {
	cfa    string
	regs   [NumRegisters]string // "": no rule
	order  []uint8              // in which the registers stand: that of the return address first
	cpu    *CPU
	partly bool // some register could not be written
}

// text returns the text of compiled rules, nil if there are none, or none that can be written.
func (t *textWriter) text(id symbols.StringID) *rowText {
	if id == 0 {
		return nil
	}
	if x, ok := t.texts[id]; ok {
		if x == nil {
			t.lost++
		}
		return x
	}
	x := t.rules(t.b.seen.Bytes(id))
	t.texts[id] = x
	if x == nil {
		t.lost++
	}
	return x
}

func (t *textWriter) rules(code []byte) *rowText {
	cpu := t.b.cpu
	x := &rowText{cpu: cpu, order: []uint8{cpu.PC}}
	d := decoder{code}
	d.byte() // flags
	var ok bool
	if x.cfa, ok = t.rule(d.rule(), 0, true); !ok {
		return nil
	}
	for reg := d.byte(); reg != 0 && reg <= NumRegisters; reg = d.byte() {
		n := reg - 1
		text, ok := t.rule(d.rule(), n, false)
		if int(n) >= len(cpu.names) {
			continue // of no interest: xmm6, where code keeps Windows' conventions
		}
		if !ok {
			if n == cpu.PC || n == cpu.SP {
				return nil
			}
			x.partly = true
			text = ".undef"
		}
		x.regs[n] = text
		if n != cpu.PC {
			x.order = append(x.order, n)
		}
	}
	if x.regs[cpu.PC] == "" {
		return nil // not rules that lead anywhere
	}
	return x
}

// append appends the rules that differ from those of before, all if it is nil.
func (x *rowText) append(b []byte, before *rowText) []byte {
	if before == nil || before.cfa != x.cfa {
		b = append(append(b, " .cfa: "...), x.cfa...)
	}
	put := func(n uint8, text string) {
		name := ".ra"
		if n != x.cpu.PC {
			name = x.cpu.textName(n)
		}
		b = append(append(append(append(b, ' '), name...), ": "...), text...)
	}
	for _, n := range x.order {
		if before == nil || before.regs[n] != x.regs[n] {
			put(n, x.regs[n])
		}
	}
	if before != nil {
		for _, n := range before.order {
			if x.regs[n] == "" { // it is as if there were no rule
				if x.cpu.CalleeSaved>>n&1 == 1 {
					put(n, x.cpu.textName(n))
				} else {
					put(n, ".undef")
				}
			}
		}
	}
	return b
}

// textName returns the name of a register in symbol files.
func (c *CPU) textName(n uint8) string {
	if c == X86 || c == AMD64 {
		return "$" + c.names[n]
	}
	if c == ARM64 && (n == 29 || n == 30) { // the names everyone knows; not all know fp and lr
		return "x" + strconv.Itoa(int(n))
	}
	return c.names[n]
}

func (t *textWriter) name(n uint8) string { return t.b.cpu.textName(n) }

// rule returns the expression of a rule.
func (t *textWriter) rule(r rule, self uint8, isCFA bool) (string, bool) {
	if r.kind == ruleRegister && int(r.reg) >= len(t.b.cpu.names) || r.kind == ruleSame && int(self) >= len(t.b.cpu.names) {
		return "", false
	}
	sum := func(base string, offset int64) string {
		return base + " " + strconv.FormatInt(offset, 10) + " +"
	}
	switch r.kind {
	case ruleUndefined:
		return ".undef", !isCFA
	case ruleSame:
		return t.name(self), true
	case ruleOffset:
		return sum(".cfa", r.offset) + " ^", true
	case ruleValOffset:
		return sum(".cfa", r.offset), true
	case ruleRegister:
		if r.offset == 0 && !isCFA {
			return t.name(r.reg), true
		}
		return sum(t.name(r.reg), r.offset), true
	case ruleExpr, ruleValExpr:
		text, ok := t.expression(r.expr)
		if ok && r.kind == ruleExpr {
			text += " ^"
		}
		return text, ok
	}
	return "", false
}

// pltExpression is the CFA of x86-64's PLT entries as linkers write it, but for the numbers: the second slot of
// an entry, from the eleventh byte on, has pushed one word.
var pltExpression = []byte{opBreg0 + 7, 8, opBreg0 + 16, 0, opLit0 + 15, opAnd, opLit0 + 11, opGe, opLit0 + 3, opShl, opPlus}

// expression returns the postfix text of a compiled expression. STACK CFI knows + - * / % @ ^.
func (t *textWriter) expression(code []byte) (string, bool) {
	if t.b.cpu == AMD64 && len(code) == len(pltExpression) {
		if at := code[6] - opLit0; at > 0 && at < 16 && bytes.Equal(slices.Concat(code[:6], code[7:]), slices.Concat(pltExpression[:6], pltExpression[7:])) {
			// (x + 16 − at) / 16 is 1 from at on, for x below 16.
			return "$rsp 8 + $rip 16 % " + strconv.Itoa(16-int(at)) + " + 16 / 8 * +", true
		}
	}
	var tokens []string
	c := cursor.New(code, "cfi", "expression").BigEndian(t.b.bigEndian)
	number := func(v int64) { tokens = append(tokens, strconv.FormatInt(v, 10)) }
	register := func(n uint64, offset int64) bool {
		if n >= NumRegisters || n >= uint64(len(t.b.cpu.names)) {
			return false
		}
		tokens = append(tokens, t.name(uint8(n)))
		if offset != 0 {
			number(offset)
			tokens = append(tokens, "+")
		}
		return true
	}
	for c.Len() > 0 {
		switch op := c.U8(); {
		case op >= opLit0 && op <= opLit31:
			number(int64(op - opLit0))
		case op >= opBreg0 && op <= opBreg31:
			if !register(uint64(op-opBreg0), c.SLEB()) {
				return "", false
			}
		case op == opBregx:
			n := c.ULEB()
			if !register(n, c.SLEB()) {
				return "", false
			}
		case op >= opConst1u && op <= opConst8s:
			size := uint8(1) << ((op - opConst1u) / 2)
			v := c.Uint(size)
			if (op-opConst1u)&1 == 1 {
				shift := 64 - 8*uint(size)
				v = uint64(int64(v<<shift) >> shift)
			}
			number(int64(v))
		case op == opConstu:
			number(int64(c.ULEB()))
		case op == opConsts:
			number(c.SLEB())
		case op == opPlusUconst:
			number(int64(c.ULEB()))
			tokens = append(tokens, "+")
		case op == opAnd && len(tokens) > 0:
			// With a constant: that of an alignment, or of what is below it.
			v, err := strconv.ParseInt(tokens[len(tokens)-1], 10, 64)
			if t.b.cpu.PointerSize == 4 {
				v = int64(int32(v))
			}
			switch low, high := v+1, -v; {
			case err != nil:
				return "", false
			case low > 0 && low&(low-1) == 0:
				tokens[len(tokens)-1] = strconv.FormatInt(low, 10)
				tokens = append(tokens, "%")
			case high > 0 && high&(high-1) == 0:
				tokens[len(tokens)-1] = strconv.FormatInt(high, 10)
				tokens = append(tokens, "@")
			default:
				return "", false
			}
		case op == opNop:
		case op == opCallFrameCFA:
			tokens = append(tokens, ".cfa")
		default:
			text, known := operatorTexts[op]
			if !known {
				return "", false
			}
			tokens = append(tokens, text)
		}
		if len(tokens) > maxSteps {
			return "", false
		}
	}
	// Readers want one value to be left. Rules of DWARF's registers begin with the CFA, whether they use it or not.
	if !oneValue(tokens) && len(tokens) > 0 && tokens[0] == ".cfa" {
		tokens = tokens[1:]
	}
	return strings.Join(tokens, " "), c.Err() == nil && oneValue(tokens)
}

// oneValue reports whether an expression leaves one value.
func oneValue(tokens []string) bool {
	depth := 0
	for _, token := range tokens {
		switch operators[token] {
		case 0, opCallFrameCFA:
			depth++
		case opDeref:
			if depth < 1 {
				return false
			}
		default:
			if depth--; depth < 1 {
				return false
			}
		}
	}
	return depth == 1
}

var operatorTexts = map[byte]string{opPlus: "+", opMinus: "-", opMul: "*", opUdiv: "/", opMod: "%", opAlign: "@", opDeref: "^"}
