package cfi

import (
	"encoding/binary"
	"math/bits"
)

// ruleKind says how to recover a register; the numbers go into files.
type ruleKind uint8

const (
	ruleUndefined ruleKind = iota // cannot be recovered; of the program counter: there is no caller
	ruleSame                      // unchanged
	ruleOffset                    // in memory at CFA + n
	ruleValOffset                 // CFA + n
	ruleRegister                  // in register n
	ruleExpr                      // in memory at the value of an expression
	ruleValExpr                   // the value of an expression
	ruleUnset                     // nothing said; never in files
)

// rule recovers one register, or the CFA (ruleRegister plus an offset, or ruleValExpr).
type rule struct {
	kind   ruleKind
	reg    uint8
	offset int64
	expr   []byte // see expression.go
}

// row is the rules of one range of code while they are read.
type row struct {
	cfa    rule
	regs   [NumRegisters]rule
	set    uint64 // registers that have a rule
	signal bool   // the frame of a signal handler's trampoline
}

func (r *row) put(reg uint64, v rule) {
	if reg < NumRegisters { // others are floating point and vector registers
		r.regs[reg] = v
		r.set |= 1 << reg
	}
}

// rowSignal marks the rows of signal frames: their program counter is that of the interrupted
// instruction, not a return address.
const rowSignal = 1

// appendTo appends the compiled form: flags, the rule of the CFA, and for each register with a rule its
// number plus one and the rule; a zero ends it.
func (r *row) appendTo(b []byte) []byte {
	var flags byte
	if r.signal {
		flags |= rowSignal
	}
	b = append(b, flags)
	b = r.cfa.appendTo(b)
	for set := r.set; set != 0; set &= set - 1 {
		reg := bits.TrailingZeros64(set)
		if r.regs[reg].kind == ruleUnset {
			continue
		}
		b = append(b, byte(reg+1))
		b = r.regs[reg].appendTo(b)
	}
	return append(b, 0)
}

func (r *rule) appendTo(b []byte) []byte {
	b = append(b, byte(r.kind))
	switch r.kind {
	case ruleOffset, ruleValOffset:
		b = binary.AppendVarint(b, r.offset)
	case ruleRegister:
		b = append(b, r.reg)
		b = binary.AppendVarint(b, r.offset)
	case ruleExpr, ruleValExpr:
		b = binary.AppendUvarint(b, uint64(len(r.expr)))
		b = append(b, r.expr...)
	}
	return b
}

// Rules are the compiled rules at one address. They alias their cache.
type Rules struct {
	code      []byte
	cpu       *CPU
	bigEndian bool // of constants in expressions
}

// Signal reports whether the rules are those of a signal trampoline: the caller's program counter is
// that of an interrupted instruction, not a return address.
func (r Rules) Signal() bool { return len(r.code) > 0 && r.code[0]&rowSignal != 0 }

// decoder reads compiled rules; a failure makes it empty.
type decoder struct{ b []byte }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	d.b = d.b[max(n, 0):]
	return v
}

func (d *decoder) rule() (r rule) {
	r.kind = ruleKind(d.byte())
	switch r.kind {
	case ruleOffset, ruleValOffset:
		r.offset = d.varint()
	case ruleRegister:
		r.reg = d.byte()
		r.offset = d.varint()
	case ruleExpr, ruleValExpr:
		n, k := binary.Uvarint(d.b)
		if k <= 0 || n > uint64(len(d.b)-k) {
			d.b = nil
			return r
		}
		r.expr, d.b = d.b[k:k+int(n)], d.b[k+int(n):]
	}
	return r
}

// Unwind returns the registers of the caller. What the rules do not mention is kept if callees must
// preserve it and unknown otherwise; a rule that fails makes its register unknown; without program
// counter and stack pointer there is no result.
func (r Rules) Unwind(callee *Registers, mem Memory) (caller Registers, err error) {
	d := decoder{r.code}
	d.byte() // flags
	e := evaluation{rules: r, callee: callee, mem: mem}
	cfaRule := d.rule()
	cfa, err := e.value(cfaRule)
	if err != nil {
		return caller, err
	}
	cfa &= r.cpu.mask()
	e.cfa = &cfa
	caller.Values = callee.Values
	caller.Valid = callee.Valid & r.cpu.CalleeSaved
	caller.Set(r.cpu.SP, cfa) // the definition of the CFA, unless a rule says other
	for reg := d.byte(); reg != 0 && reg <= NumRegisters; reg = d.byte() {
		n := reg - 1
		rule := d.rule()
		v, err := e.value(rule)
		if n == r.cpu.PC || n == r.cpu.SP {
			if rule.kind == ruleUndefined {
				err = ErrEndOfStack
			}
			if err != nil {
				return caller, err
			}
		}
		if err != nil || rule.kind == ruleUndefined {
			caller.Forget(n)
			continue
		}
		if rule.kind == ruleSame {
			var known bool
			if v, known = callee.Get(n); !known {
				caller.Forget(n)
				continue
			}
		}
		caller.Set(n, v&r.cpu.mask())
	}
	if _, ok := caller.Get(r.cpu.PC); !ok {
		return caller, ErrRegister
	}
	return caller, nil
}

// value evaluates a rule.
func (e *evaluation) value(r rule) (uint64, error) {
	switch r.kind {
	case ruleUndefined, ruleSame:
		return 0, nil
	case ruleOffset:
		return e.load(*e.cfa+uint64(r.offset), e.rules.cpu.PointerSize)
	case ruleValOffset:
		return *e.cfa + uint64(r.offset), nil
	case ruleRegister:
		v, ok := e.callee.Get(r.reg)
		if !ok {
			return 0, ErrRegister
		}
		return v + uint64(r.offset), nil
	case ruleExpr, ruleValExpr:
		v, err := e.run(r.expr)
		if err != nil || r.kind == ruleValExpr {
			return v, err
		}
		return e.load(v, e.rules.cpu.PointerSize)
	}
	return 0, ErrExpression
}

func (e *evaluation) load(addr uint64, size uint8) (uint64, error) {
	v, ok := e.mem(addr&e.rules.cpu.mask(), size)
	if !ok {
		return 0, ErrMemory
	}
	return v, nil
}
