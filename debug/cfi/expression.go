package cfi

import (
	"salvage/debug/internal/cursor"
)

// Opcodes of expressions: those of DWARF (DWARF5 7.7.1) that make sense in unwind rules. The stack starts
// empty; rules of DWARF registers, which start with the CFA on it, begin with opCallFrameCFA.
const (
	opDeref        = 0x06
	opConst1u      = 0x08
	opConst8s      = 0x0f
	opConstu       = 0x10
	opConsts       = 0x11
	opDup          = 0x12
	opDrop         = 0x13
	opOver         = 0x14
	opPick         = 0x15
	opSwap         = 0x16
	opRot          = 0x17
	opAbs          = 0x19
	opAnd          = 0x1a
	opDiv          = 0x1b
	opMinus        = 0x1c
	opMod          = 0x1d
	opMul          = 0x1e
	opNeg          = 0x1f
	opNot          = 0x20
	opOr           = 0x21
	opPlus         = 0x22
	opPlusUconst   = 0x23
	opShl          = 0x24
	opShr          = 0x25
	opShra         = 0x26
	opXor          = 0x27
	opBra          = 0x28
	opEq           = 0x29
	opGe           = 0x2a
	opGt           = 0x2b
	opLe           = 0x2c
	opLt           = 0x2d
	opNe           = 0x2e
	opSkip         = 0x2f
	opLit0         = 0x30
	opLit31        = 0x4f
	opBreg0        = 0x70
	opBreg31       = 0x8f
	opBregx        = 0x92
	opDerefSize    = 0x94
	opNop          = 0x96
	opCallFrameCFA = 0x9c

	// Ours, in the range for vendors: division and alignment as STACK CFI has them.
	opUdiv  = 0xe0
	opAlign = 0xe1
)

// Limits of an expression: the longest seen (PLT entries, signal trampolines) take ten steps and three
// values. Branches could loop.
const (
	maxSteps = 1000
	maxStack = 32
)

// evaluation is the application of one set of rules.
type evaluation struct {
	rules  Rules
	callee *Registers
	mem    Memory
	cfa    *uint64 // nil while it is being computed
}

// run evaluates an expression.
func (e *evaluation) run(code []byte) (uint64, error) {
	var buf [maxStack]uint64
	stack := buf[:0]
	c := cursor.New(code, "cfi", "expression").BigEndian(e.rules.bigEndian)
	pop := func() uint64 {
		if len(stack) == 0 {
			c.Fail("value missing", nil)
			return 0
		}
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		return v
	}
	push := func(v uint64) {
		if len(stack) == maxStack {
			c.Fail("stack too deep", nil)
			return
		}
		stack = append(stack, v)
	}
	truth := func(b bool) {
		if b {
			push(1)
		} else {
			push(0)
		}
	}
	jump := func(by int16) {
		to := int64(c.Offset()) + int64(by)
		if to < 0 || to > int64(len(code)) {
			c.Fail("branch outside the expression", nil)
			return
		}
		c = cursor.New(code, "cfi", "expression").BigEndian(e.rules.bigEndian)
		c.Skip(uint64(to))
	}
	pointer := e.rules.cpu.PointerSize
	signed := func(v uint64) int64 { // as wide as a pointer
		shift := 64 - 8*uint(pointer)
		return int64(v<<shift) >> shift
	}
	for steps := 0; c.Len() > 0; steps++ {
		if steps == maxSteps {
			return 0, ErrExpression
		}
		switch op := c.U8(); {
		case op >= opLit0 && op <= opLit31:
			push(uint64(op - opLit0))
		case op >= opBreg0 && op <= opBreg31, op == opBregx:
			reg := uint64(op - opBreg0)
			if op == opBregx {
				reg = c.ULEB()
			}
			v, ok := e.callee.Get(uint8(min(reg, NumRegisters)))
			if !ok {
				return 0, ErrRegister
			}
			push(v + uint64(c.SLEB()))
		case op >= opConst1u && op <= opConst8s:
			size := uint8(1) << ((op - opConst1u) / 2)
			v := c.Uint(size)
			if (op-opConst1u)%2 == 1 {
				shift := 64 - 8*uint(size)
				v = uint64(int64(v<<shift) >> shift)
			}
			push(v)
		default:
			switch op {
			case opConstu:
				push(c.ULEB())
			case opConsts:
				push(uint64(c.SLEB()))
			case opCallFrameCFA:
				if e.cfa == nil {
					return 0, ErrExpression
				}
				push(*e.cfa)
			case opDeref, opDerefSize:
				size := pointer
				if op == opDerefSize {
					size = c.U8()
				}
				if size == 0 || size > 8 {
					return 0, ErrExpression
				}
				addr := pop()
				if c.Err() != nil {
					return 0, ErrExpression
				}
				v, err := e.load(addr, size)
				if err != nil {
					return 0, err
				}
				push(v)
			case opDup:
				v := pop()
				push(v)
				push(v)
			case opDrop:
				pop()
			case opOver, opPick:
				n := 1
				if op == opPick {
					n = int(c.U8())
				}
				if n >= len(stack) {
					return 0, ErrExpression
				}
				push(stack[len(stack)-1-n])
			case opSwap:
				b, a := pop(), pop()
				push(b)
				push(a)
			case opRot:
				c3, b, a := pop(), pop(), pop()
				push(c3)
				push(a)
				push(b)
			case opAbs:
				v := signed(pop())
				push(uint64(max(v, -v)))
			case opNeg:
				push(-pop())
			case opNot:
				push(^pop())
			case opPlusUconst:
				push(pop() + c.ULEB())
			case opSkip:
				jump(int16(c.U16()))
			case opBra:
				by := int16(c.U16())
				if pop() != 0 {
					jump(by)
				}
			case opNop:
			default:
				b, a := pop(), pop()
				switch op {
				case opAnd:
					push(a & b)
				case opOr:
					push(a | b)
				case opXor:
					push(a ^ b)
				case opPlus:
					push(a + b)
				case opMinus:
					push(a - b)
				case opMul:
					push(a * b)
				case opDiv, opMod, opUdiv:
					mask := e.rules.cpu.mask()
					if a, b = a&mask, b&mask; b == 0 {
						return 0, ErrExpression
					}
					switch op {
					case opUdiv:
						push(a / b)
					case opMod:
						push(a % b)
					default:
						push(uint64(signed(a) / signed(b)))
					}
				case opAlign:
					if b == 0 || b&(b-1) != 0 {
						return 0, ErrExpression
					}
					push(a &^ (b - 1))
				case opShl:
					push(a << b)
				case opShr:
					push(a & e.rules.cpu.mask() >> b)
				case opShra:
					push(uint64(signed(a) >> min(b, 63)))
				case opEq:
					truth(signed(a) == signed(b))
				case opNe:
					truth(signed(a) != signed(b))
				case opLt:
					truth(signed(a) < signed(b))
				case opLe:
					truth(signed(a) <= signed(b))
				case opGt:
					truth(signed(a) > signed(b))
				case opGe:
					truth(signed(a) >= signed(b))
				default:
					return 0, ErrExpression
				}
			}
		}
	}
	if c.Err() != nil || len(stack) == 0 {
		return 0, ErrExpression
	}
	return stack[len(stack)-1], nil
}
