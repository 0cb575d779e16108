package cfi

import (
	"encoding/binary"
	"fmt"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// FunctionTable is the unwind data of a PE image for amd64 or arm64: the exception directory (.pdata) and what its
// entries point to (.xdata). Layouts are those of Microsoft's "x64 exception handling".
type FunctionTable struct {
	Data []byte // RUNTIME_FUNCTION entries
	// At returns the bytes of the image from an address, relative to its base, on; nil if it has none there.
	At func(addr uint32) []byte
	// Code are the ranges with code, relative to the base. Where no entry is, functions are leaves: they
	// change no register that callees preserve, nor the stack pointer.
	Code []symbols.Extent
}

const (
	runtimeFunctionSize = 12
	unwindChained       = 4 // UNW_FLAG_CHAININFO
	maxChain            = 32
	// An entry's codes may be shared by all entries. This many for each entry on average, and a base, are
	// granted; compilers write some five.
	codesPerEntry = 64
	codesBase     = 64 << 10
)

// Operations of a prologue: UWOP_…
const (
	unwindPush       = 0
	unwindAllocLarge = 1
	unwindAllocSmall = 2
	unwindSetFrame   = 3
	unwindSave       = 4
	unwindSaveFar    = 5
	unwindEpilog     = 6 // version 2; a register of 64 bits of XMM before
	unwindSpare      = 7
	unwindSaveXMM    = 8
	unwindSaveXMMFar = 9
	unwindMachFrame  = 10
)

// unwindRegisters are the DWARF numbers of registers in the order of their encoding.
var unwindRegisters = [16]uint8{0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15}

// unwindCode is one operation; it is done when the code at offset is reached.
type unwindCode struct {
	offset, op, info uint8
	value            uint32 // bytes allocated, or the place of a register above the stack pointer
}

// unwindInfo is the state that operations lead to: size bytes lie between the stack pointer and the CFA,
// where the return address ends.
type unwindInfo struct {
	row
	size        int64
	saved       [16]int64 // where registers are above the stack pointer or what the frame register stands for; −1: not there
	frame       uint8     // frame register, by encoding
	frameOffset int64
	hasFrame    bool
	frameSize   int64 // size when it was set
}

// FunctionTable adds the rules of all entries of a table, exact in prologues and behind them. On amd64 epilogues
// have the rules of the body.
func (b *Builder) FunctionTable(t *FunctionTable) {
	switch b.cpu {
	case AMD64:
	case ARM64:
		b.functionTableARM(t)
		return
	default:
		return
	}
	work := codesPerEntry*len(t.Data)/runtimeFunctionSize + codesBase
	var codes []unwindCode
	for data := t.Data; len(data) >= runtimeFunctionSize && work > 0; data = data[runtimeFunctionSize:] {
		begin, end, info := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:]), binary.LittleEndian.Uint32(data[8:])
		if begin == 0 && end == 0 {
			continue
		}
		bad := func(reason string) {
			b.bad++
			if len(b.problems) < maxProblems {
				b.problems = append(b.problems, debug.Problem{Where: fmt.Sprintf(".pdata, function at %#x", begin), Kind: "bad entry", Detail: reason})
			}
		}
		if end <= begin {
			bad("it ends before it starts")
			continue
		}
		var err error
		var own int
		var frame uint8
		if codes, own, frame, err = t.codes(codes[:0], info); err != nil {
			bad(err.Error())
			continue
		}
		if work -= len(codes); work <= 0 {
			bad("entries share their codes without end")
			break
		}
		b.begin(uint64(begin), uint64(end-begin))
		b.prologue(codes, own, frame, end-begin)
	}
	for _, e := range t.Code {
		if len(t.Data) > 0 && e.Size > 0 {
			b.begin(e.Addr, e.Size)
			s := newUnwindInfo(0)
			b.add(0, s.rules())
		}
	}
}

// codes appends the operations of an unwind information and of those it is chained to, in the order of the
// file: the last first. The own come before the chained ones. Frame is the frame register and its offset.
func (t *FunctionTable) codes(buf []unwindCode, info uint32) (codes []unwindCode, own int, frame uint8, err error) {
	own = -1
	for range maxChain {
		if info&1 != 0 { // another entry, whose information this one shares
			c := cursor.New(t.At(info&^1), "cfi", ".pdata")
			c.Skip(8)
			info = c.U32()
			if c.Err() != nil {
				return buf, 0, 0, c.Err()
			}
			continue
		}
		c := cursor.New(t.At(info), "cfi", ".xdata")
		head, _, count, register := c.U8(), c.U8(), uint64(c.U8()), c.U8()
		if own < 0 {
			frame = register
		} else if register != 0 && frame == 0 {
			frame = register
		}
		if version := head & 7; c.Err() == nil && version != 1 && version != 2 {
			c.Fail("unwind information of an unknown version", debug.ErrUnsupported)
		}
		slots := c.Sub(2 * count)
		c.Skip(2 * (count & 1))
		for slots.Len() > 0 {
			k := unwindCode{offset: slots.U8()}
			b := slots.U8()
			k.op, k.info = b&0xf, b>>4
			switch k.op {
			case unwindPush, unwindSetFrame, unwindMachFrame:
			case unwindAllocSmall:
				k.value = uint32(k.info)*8 + 8
			case unwindAllocLarge:
				if k.info == 0 {
					k.value = uint32(slots.U16()) * 8
				} else {
					k.value = slots.U32()
				}
			case unwindSave:
				k.value = uint32(slots.U16()) * 8
			case unwindSaveFar:
				k.value = slots.U32()
			case unwindEpilog, unwindSaveXMM:
				slots.Skip(2)
				continue
			case unwindSpare, unwindSaveXMMFar:
				slots.Skip(4)
				continue
			default:
				slots.Fail("unknown unwind code", debug.ErrUnsupported)
			}
			buf = append(buf, k)
		}
		if own < 0 {
			own = len(buf)
		}
		if head>>3&unwindChained == 0 {
			c = slots
		} else {
			c.Skip(8)
			info = c.U32()
		}
		if slots.Err() != nil {
			return buf, 0, 0, slots.Err()
		}
		if c.Err() != nil {
			return buf, 0, 0, c.Err()
		}
		if head>>3&unwindChained == 0 {
			return buf, own, frame, nil
		}
	}
	return buf, 0, 0, &debug.FormatError{Format: "cfi", Section: ".xdata", Offset: uint64(info), Reason: "chain without end", Err: debug.ErrTooLarge}
}

func newUnwindInfo(frame uint8) *unwindInfo {
	s := &unwindInfo{size: 8, frame: frame & 0xf, frameOffset: int64(frame>>4) * 16}
	for i := range s.saved {
		s.saved[i] = -1
	}
	return s
}

// prologue adds the rows of a function: one where it starts, and one behind each operation. The code that a
// piece of a function is chained to has been run.
func (b *Builder) prologue(codes []unwindCode, own int, frame uint8, size uint32) {
	s := newUnwindInfo(frame)
	for i := len(codes) - 1; i >= own; i-- {
		s.do(&codes[i])
	}
	b.add(0, s.rules())
	for i := own - 1; i >= 0; i-- {
		s.do(&codes[i])
		if i > 0 && codes[i-1].offset == codes[i].offset {
			continue
		}
		if at := uint32(codes[i].offset); at < size {
			b.add(at, s.rules())
		}
	}
}

// do runs one operation. Where a pushed register is does not depend on what comes after; where a moved one
// is does, as RtlVirtualUnwind reads it.
func (s *unwindInfo) do(k *unwindCode) {
	switch k.op {
	case unwindPush:
		s.size += 8
		s.put(uint64(unwindRegisters[k.info]), rule{kind: ruleOffset, offset: -s.size})
		s.saved[k.info] = -1
	case unwindAllocSmall, unwindAllocLarge:
		s.size += int64(k.value)
	case unwindSetFrame:
		if s.frame != 0 {
			s.hasFrame, s.frameSize = true, s.size
		}
	case unwindSave, unwindSaveFar:
		s.saved[k.info] = int64(k.value)
	case unwindMachFrame:
		// The processor pushed SS, RSP, EFLAGS, CS, RIP and, for some exceptions, an error code; the CFA is
		// where the return address would end.
		at := int64(-8)
		if k.info != 0 {
			at += 8
		}
		s.signal = true
		s.put(uint64(AMD64.PC), rule{kind: ruleOffset, offset: at})
		s.put(uint64(AMD64.SP), rule{kind: ruleOffset, offset: at + 24})
	}
}

// rules returns the rules in this state.
func (s *unwindInfo) rules() *row {
	r := s.row
	base := s.size // from what saved registers are relative to, to the CFA
	if s.hasFrame {
		base = s.frameSize
		r.cfa = rule{kind: ruleRegister, reg: unwindRegisters[s.frame], offset: s.frameSize - s.frameOffset}
	} else {
		r.cfa = rule{kind: ruleRegister, reg: AMD64.SP, offset: s.size}
	}
	if r.set>>AMD64.PC&1 == 0 {
		r.put(uint64(AMD64.PC), rule{kind: ruleOffset, offset: -8})
	}
	for i, at := range s.saved {
		if at >= 0 {
			r.put(uint64(unwindRegisters[i]), rule{kind: ruleOffset, offset: at - base})
		}
	}
	for _, reg := range []uint8{4, 5} { // rsi and rdi, which callees preserve on Windows alone
		if r.set>>reg&1 == 0 {
			r.put(uint64(reg), rule{kind: ruleSame})
		}
	}
	return &r
}
