package cfi

import (
	"bytes"
	"slices"
	"strconv"

	"salvage/debug/breakpad"
)

// StackCFI adds a record of a symbol file. Records come in file order: a delta belongs to the INIT before
// it. The returned error only says that the record was left out; reading goes on.
//
// A rule text is compiled to the form that DWARF rules have where there is one, else to an expression.
// A delta repeats nothing of the rules it does not change (minidump.md §3.9).
func (b *Builder) StackCFI(r breakpad.CFI) error {
	t := &b.text
	if r.Init {
		b.flushText()
		*t = textBlock{start: r.Addr, size: r.Size, rows: t.rows[:0]}
		t.usable = r.Size > 0 && r.Size <= 1<<32-1 && r.Addr+r.Size > r.Addr
	}
	if !t.usable {
		b.bad++
		return nil
	}
	if r.Addr < t.start || r.Addr-t.start >= t.size {
		b.bad++
		return nil
	}
	rw := row{cfa: rule{kind: ruleUnset}}
	if !b.compile(&rw, r.Rules) {
		b.bad++
		t.usable = !r.Init
		return nil
	}
	t.rows = append(t.rows, textRow{uint32(r.Addr - t.start), rw})
	return nil
}

// textBlock is a STACK CFI INIT with its deltas.
type textBlock struct {
	usable      bool
	start, size uint64
	rows        []textRow
}

type textRow struct {
	offset uint32
	row    row // what the record itself says
}

// flushText adds the rows of the open block: each delta on top of those before it.
func (b *Builder) flushText() {
	t := &b.text
	if !t.usable || len(t.rows) == 0 {
		return
	}
	sortRows(t.rows)
	b.begin(t.start, t.size)
	cur := row{cfa: rule{kind: ruleUnset}}
	for i, r := range t.rows {
		if r.row.cfa.kind != ruleUnset {
			cur.cfa = r.row.cfa
		}
		for reg := range uint64(NumRegisters) {
			if r.row.set>>reg&1 == 1 {
				cur.put(reg, r.row.regs[reg])
			}
		}
		if i+1 < len(t.rows) && t.rows[i+1].offset == r.offset {
			continue
		}
		if cur.cfa.kind == ruleUnset {
			b.addGap(r.offset)
		} else {
			b.add(r.offset, &cur)
		}
	}
	t.usable = false
}

// compile reads the rules of one record: "reg: expression" repeated, .cfa and .ra among the registers.
func (b *Builder) compile(r *row, text []byte) bool {
	tokens := bytes.Fields(text)
	for len(tokens) > 0 {
		name, ok := bytes.CutSuffix(tokens[0], []byte(":"))
		if !ok {
			return false
		}
		n := 1
		for n < len(tokens) && tokens[n][len(tokens[n])-1] != ':' {
			n++
		}
		expression := tokens[1:n]
		tokens = tokens[n:]
		if len(expression) == 0 {
			return false
		}
		if string(name) == ".cfa" {
			v, ok := b.textRule(expression, true, 0)
			if !ok {
				return false
			}
			r.cfa = v
			continue
		}
		reg := b.cpu.PC
		if string(name) != ".ra" {
			// Windows arm64 files of Sentry's tools write ".x29": taken for the register.
			if reg, ok = b.cpu.register(string(bytes.TrimPrefix(name, []byte(".")))); !ok {
				continue // a floating point register, or nonsense: nothing that is needed
			}
		}
		v, ok := b.textRule(expression, false, reg)
		if !ok {
			if reg == b.cpu.PC {
				return false
			}
			v = rule{kind: ruleUndefined}
		}
		r.put(uint64(reg), v)
	}
	return true
}

// textRule compiles one expression. The CFA's may not refer to the CFA.
func (b *Builder) textRule(tokens [][]byte, isCFA bool, self uint8) (rule, bool) {
	if len(tokens) == 1 && string(tokens[0]) == ".undef" {
		return rule{kind: ruleUndefined}, !isCFA
	}
	// The shapes that nearly all rules have.
	base, offset, ok := b.sum(tokens)
	if isCFA && slices.ContainsFunc(tokens, func(t []byte) bool { return string(t) == ".cfa" }) {
		return rule{}, false
	}
	if ok && isCFA {
		return rule{kind: ruleRegister, reg: base, offset: offset}, true
	}
	if ok && !isCFA {
		switch {
		case base == cfaBase:
			return rule{kind: ruleValOffset, offset: offset}, true
		case base == self && offset == 0 && self != b.cpu.PC:
			return rule{kind: ruleSame}, true
		}
		return rule{kind: ruleRegister, reg: base, offset: offset}, true
	}
	if n := len(tokens) - 1; !isCFA && n > 0 && string(tokens[n]) == "^" {
		if base, offset, ok := b.sum(tokens[:n]); ok && base == cfaBase {
			return rule{kind: ruleOffset, offset: offset}, true
		}
	}
	code, ok := b.postfix(tokens)
	return rule{kind: ruleValExpr, expr: code}, ok
}

// cfaBase stands for the CFA where a register number is expected.
const cfaBase = 0xff

// sum reads "base", "base n +" and "base n -".
func (b *Builder) sum(tokens [][]byte) (base uint8, offset int64, ok bool) {
	if len(tokens) != 1 && len(tokens) != 3 {
		return 0, 0, false
	}
	if string(tokens[0]) == ".cfa" {
		base = cfaBase
	} else if base, ok = b.cpu.register(string(tokens[0])); !ok {
		return 0, 0, false
	}
	if len(tokens) == 1 {
		return base, 0, true
	}
	offset, err := strconv.ParseInt(string(tokens[1]), 10, 64)
	if err != nil {
		return 0, 0, false
	}
	switch string(tokens[2]) {
	case "+":
		return base, offset, true
	case "-":
		return base, -offset, true
	}
	return 0, 0, false
}

// operators of rule texts.
var operators = map[string]byte{"+": opPlus, "-": opMinus, "*": opMul, "/": opUdiv, "%": opMod, "@": opAlign, "^": opDeref, ".cfa": opCallFrameCFA}

// postfix compiles an expression of any shape.
func (b *Builder) postfix(tokens [][]byte) (code []byte, ok bool) {
	depth := 0
	for _, t := range tokens {
		if op, isOperator := operators[string(t)]; isOperator {
			switch op {
			case opDeref:
				if depth < 1 {
					return nil, false
				}
			case opCallFrameCFA:
				depth++
			default:
				if depth--; depth < 1 {
					return nil, false
				}
			}
			code = append(code, op)
			continue
		}
		depth++
		if v, err := strconv.ParseInt(string(t), 10, 64); err == nil {
			code = appendSLEB(append(code, opConsts), v)
			continue
		}
		reg, known := b.cpu.register(string(t))
		if !known {
			return nil, false
		}
		if reg <= 31 {
			code = append(code, opBreg0+reg, 0)
		} else {
			code = append(code, opBregx, reg, 0)
		}
	}
	return code, depth == 1
}

// appendSLEB appends v as signed LEB128.
func appendSLEB(b []byte, v int64) []byte {
	for {
		x := byte(v & 0x7f)
		v >>= 7
		if v == 0 && x&0x40 == 0 || v == -1 && x&0x40 != 0 {
			return append(b, x)
		}
		b = append(b, x|0x80)
	}
}
