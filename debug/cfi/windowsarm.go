package cfi

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// Unwind data of PE images for arm64. Layouts and codes are those of Microsoft's "ARM64 exception handling".
const (
	armEntrySize = 8
	armFragment  = 2 // of the flags in an entry: no prologue and no epilogue; 1: with both, 0: in .xdata
)

// armOp is what an unwind code stands for.
type armOp uint8

const (
	armNop     armOp = iota
	armAlloc         // sub sp, sp, #size
	armSave          // registers at sp + at, after size bytes were taken off sp
	armSetFP         // mov x29, sp
	armAddFP         // add x29, sp, #size
	armNext          // the pair behind the one saved before, behind it
	armUnknown       // no instruction: the frame of an interrupted program, or another that is not described here
	armEndC          // what follows has run before the function starts
	armEnd
)

// armCode is one unwind code: an instruction of a prologue, or that undoes it in an epilogue.
type armCode struct {
	op            armOp
	size, at      uint32
	first, second uint8 // registers saved; noRegister: none that is followed, as those of floating point
	offset        int   // of the code in the file
}

const noRegister = 255

// armEpilogue starts so many bytes behind the start of its function; its codes are those from an index on.
type armEpilogue struct {
	start uint32
	code  int
}

// armFunction is one entry.
type armFunction struct {
	size      uint32 // in bytes
	codes     []armCode
	epilogues []armEpilogue
	fragment  bool
}

// functionTableARM adds the rules of all entries of a table, exact in prologues and epilogues.
func (b *Builder) functionTableARM(t *FunctionTable) {
	work := codesPerEntry*len(t.Data)/armEntrySize + codesBase
	var a armFunction
	for data := t.Data; len(data) >= armEntrySize && work > 0; data = data[armEntrySize:] {
		begin, info := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
		if begin == 0 && info == 0 {
			continue
		}
		a = armFunction{codes: a.codes[:0], epilogues: a.epilogues[:0]}
		var err error
		switch info & 3 {
		case 0:
			err = a.full(t.At(info))
		case 3:
			err = &debug.FormatError{Format: "cfi", Section: ".pdata", Reason: "entry of an unknown kind", Err: debug.ErrUnsupported}
		default:
			err = a.packed(info)
		}
		if err == nil && a.size > 0 {
			work -= len(a.codes)
			b.begin(uint64(begin), uint64(a.size))
			if a.rows(b, &work); work <= 0 {
				err = &debug.FormatError{Format: "cfi", Section: ".xdata", Reason: "entries share their codes without end", Err: debug.ErrTooLarge}
			}
		}
		if err != nil {
			b.bad++
			if len(b.problems) < maxProblems {
				b.problems = append(b.problems, debug.Problem{Where: fmt.Sprintf(".pdata, function at %#x", begin), Kind: "bad entry", Detail: err.Error()})
			}
		}
	}
	for _, e := range t.Code {
		if len(t.Data) > 0 && e.Size > 0 {
			b.begin(e.Addr, e.Size)
			b.add(0, new(armState).rules())
		}
	}
}

// packed makes the codes of an entry that describes its function in 30 bits, all of whose instructions have one
// order.
func (a *armFunction) packed(info uint32) error {
	field := func(at, bits uint32) uint32 { return info >> at & (1<<bits - 1) }
	a.size, a.fragment = 4*field(2, 11), info&3 == armFragment
	floats, ints, home, chain, frame := field(13, 3), field(16, 4), field(20, 1) == 1, field(21, 2), 16*field(23, 9)
	intSize, floatSize, homeSize := 8*ints, 8*floats, uint32(0)
	if floats > 0 {
		floats++
		floatSize += 8
	}
	if chain == 1 {
		intSize += 8 // lr
	}
	if home {
		homeSize = 64
	}
	saved := (intSize + floatSize + homeSize + 15) &^ 15
	if ints > 10 || saved > frame {
		return &debug.FormatError{Format: "cfi", Section: ".pdata", Reason: "frame or registers that cannot be"}
	}
	local := frame - saved
	var prologue []armCode
	room := saved // the first instruction that saves makes room for all
	save := func(at uint32, first, second uint8) {
		prologue = append(prologue, armCode{op: armSave, size: room, at: at, first: first, second: second})
		room = 0
	}
	if chain == 2 {
		prologue = append(prologue, armCode{op: armNop}) // pacibsp
	}
	for i := uint32(0); i < ints; i += 2 {
		second := uint8(20 + i)
		if i+1 == ints {
			second = noRegister
			if chain == 1 {
				second = ARM64.LR
			}
		}
		save(8*i, uint8(19+i), second)
	}
	if chain == 1 && ints%2 == 0 {
		save(intSize-8, ARM64.LR, noRegister)
	}
	for i := uint32(0); i < floats; i += 2 {
		save(intSize+8*i, noRegister, noRegister)
	}
	homeAt := len(prologue)
	if home {
		for i := range uint32(4) { // arguments, which no epilogue gives back
			save(intSize+floatSize+16*i, noRegister, noRegister)
		}
	}
	chained := chain >= 2
	if chained && local <= 512 {
		prologue = append(prologue, armCode{op: armSave, size: local, first: ARM64.FP, second: ARM64.LR})
	} else {
		if local > 4080 {
			prologue = append(prologue, armCode{op: armAlloc, size: 4080})
			local -= 4080
		}
		if local > 0 {
			prologue = append(prologue, armCode{op: armAlloc, size: local})
		}
		if chained {
			prologue = append(prologue, armCode{op: armSave, first: ARM64.FP, second: ARM64.LR})
		}
	}
	if chained {
		prologue = append(prologue, armCode{op: armSetFP})
	}
	reversed := func(keep func(i int, k *armCode) bool) {
		for i := len(prologue) - 1; i >= 0; i-- {
			if keep(i, &prologue[i]) {
				a.codes = append(a.codes, prologue[i])
			}
		}
		a.codes = append(a.codes, armCode{op: armEnd})
	}
	reversed(func(int, *armCode) bool { return true })
	if a.fragment {
		return nil
	}
	first := len(a.codes)
	reversed(func(i int, k *armCode) bool {
		homing := home && i >= homeAt && i < homeAt+4
		return k.op != armSetFP && (!homing || k.size > 0)
	})
	if n := 4 * uint32(len(a.codes)-first); n <= a.size {
		a.epilogues = append(a.epilogues, armEpilogue{a.size - n, first})
	}
	return nil
}

// full reads a record of .xdata.
func (a *armFunction) full(data []byte) error {
	c := cursor.New(data, "cfi", ".xdata")
	head := c.U32()
	a.size = 4 * (head & 0x3ffff)
	if c.Err() == nil && head>>18&3 != 0 {
		c.Fail("unwind information of an unknown version", debug.ErrUnsupported)
	}
	single, epilogues, words := head>>21&1 == 1, uint64(head>>22&31), uint64(head>>27)
	if epilogues == 0 && words == 0 {
		more := c.U32()
		epilogues, words = uint64(more&0xffff), uint64(more>>16&0xff)
	}
	scopes := c
	if !single {
		scopes = c.Sub(4 * epilogues)
	}
	codes := c.Sub(4 * words)
	if c.Err() != nil {
		return c.Err()
	}
	if err := a.decode(&codes, c.Offset()-4*words); err != nil {
		return err
	}
	index := func(offset int) (int, bool) {
		return slices.BinarySearchFunc(a.codes, offset, func(k armCode, offset int) int { return cmp.Compare(k.offset, offset) })
	}
	if single { // the only one, at the end; the count says where its codes start
		if i, ok := index(int(epilogues)); ok {
			if n := 4 * uint32(len(sequence(a.codes[i:]))+1); n <= a.size {
				a.epilogues = append(a.epilogues, armEpilogue{a.size - n, i})
			}
		}
		return nil
	}
	for scopes.Len() > 0 {
		v := scopes.U32()
		if i, ok := index(int(v >> 22)); ok {
			a.epilogues = append(a.epilogues, armEpilogue{4 * (v & 0x3ffff), i})
		}
	}
	slices.SortFunc(a.epilogues, func(x, y armEpilogue) int { return cmp.Compare(x.start, y.start) })
	return nil
}

// decode reads unwind codes. Registers of floating point are not followed.
func (a *armFunction) decode(c *cursor.Cursor, start uint64) error {
	for c.Len() > 0 {
		k := armCode{offset: int(c.Offset() - start), first: noRegister, second: noRegister}
		v := uint32(c.U8())
		wide := func() uint32 { v = v<<8 | uint32(c.U8()); return v } // of codes of two bytes
		pair := func(first uint32) { k.first, k.second = uint8(first), uint8(first+1) }
		switch {
		case v < 0x20:
			k.op, k.size = armAlloc, 16*v
		case v < 0x40: // stp x19, x20, [sp, #-z]!
			k.op, k.size = armSave, 8*(v&31)
			pair(19)
		case v < 0x80:
			k.op, k.at = armSave, 8*(v&63)
			pair(29)
		case v < 0xc0:
			k.op, k.size = armSave, 8*(v&63+1)
			pair(29)
		case v < 0xc8:
			k.op, k.size = armAlloc, 16*(wide()&0x7ff)
		case v < 0xcc:
			k.op, k.at = armSave, 8*(wide()&63)
			pair(19 + v>>6&15)
		case v < 0xd0:
			k.op, k.size = armSave, 8*(wide()&63+1)
			pair(19 + v>>6&15)
		case v < 0xd4:
			k.op, k.at = armSave, 8*(wide()&63)
			k.first = uint8(19 + v>>6&15)
		case v < 0xd6:
			k.op, k.size = armSave, 8*(wide()&31+1)
			k.first = uint8(19 + v>>5&15)
		case v < 0xd8:
			k.op, k.at = armSave, 8*(wide()&63)
			k.first, k.second = uint8(19+2*(v>>6&7)), ARM64.LR
		case v < 0xda, v >= 0xdc && v < 0xde: // pairs and single registers of floating point
			k.op, k.at = armSave, 8*(wide()&63)
		case v < 0xdc:
			k.op, k.size = armSave, 8*(wide()&63+1)
		case v == 0xde:
			k.op, k.size = armSave, 8*(wide()&31+1)
		case v == 0xe0:
			v = uint32(c.U8())<<16 | uint32(c.U8())<<8 | uint32(c.U8())
			k.op, k.size = armAlloc, 16*v
		case v == 0xe1:
			k.op = armSetFP
		case v == 0xe2:
			k.op, k.size = armAddFP, 8*uint32(c.U8())
		case v == 0xe3, v == 0xfc: // no operation; pacibsp: unwinders strip always
		case v == 0xe4:
			k.op = armEnd
		case v == 0xe5:
			k.op = armEndC
		case v == 0xe6:
			k.op = armNext
		case v == 0xe7: // any register: kind and offset in the last byte
			r, o := uint32(c.U8()), uint32(c.U8())
			paired, writes, kind, scale := r>>6&1 == 1, r>>5&1 == 1, o>>6, uint32(8)
			if paired || writes || kind == 2 {
				scale = 16
			}
			k.op, k.at = armSave, scale*(o&63)
			if writes {
				k.size, k.at = scale*(o&63+1), 0
			}
			if kind == 0 {
				k.first = uint8(r & 31)
				if paired {
					k.second = k.first + 1
				}
			}
		case v >= 0xe8 && v <= 0xeb: // trap frame, machine frame, contexts
			k.op = armUnknown
		case v == 0xec: // "not by a call", which changes no register and is no instruction
			continue
		default:
			c.Fail("unknown unwind code", debug.ErrUnsupported)
		}
		a.codes = append(a.codes, k)
	}
	return c.Err()
}

// length returns how long the instruction is, in bytes.
func (k *armCode) length() uint32 {
	if k.op == armUnknown {
		return 0
	}
	return 4
}

// sequence returns the codes up to the first end: those of instructions.
func sequence(codes []armCode) []armCode {
	if i := slices.IndexFunc(codes, func(k armCode) bool { return k.op == armEnd || k.op == armEndC }); i >= 0 {
		return codes[:i]
	}
	return codes
}

// armState is the state that instructions lead to: size bytes lie between the stack pointer and the CFA, which
// is where the stack pointer was when the function was called.
type armState struct {
	size    int64
	saved   [12]int64 // of x19 to lr: below the CFA; 0: not saved
	fp      int64     // what x29 stands for is so far below the CFA
	hasFP   bool
	unknown bool
	next    armCode // the last one that saved, for those that save the pair behind
}

func (s *armState) put(reg uint8, at int64) {
	if reg >= 19 && reg <= ARM64.LR {
		s.saved[reg-19] = at
	}
}

// do runs one instruction of a prologue.
func (s *armState) do(k *armCode) {
	c := *k
	switch c.op {
	case armAlloc:
		s.size += int64(c.size)
	case armNext:
		c = s.next
		c.size, c.at = 0, c.at+16
		if c.first != noRegister {
			c.first, c.second = c.first+2, c.second+2
		}
		fallthrough
	case armSave:
		s.size += int64(c.size)
		s.put(c.first, s.size-int64(c.at))
		s.put(c.second, s.size-int64(c.at)-8)
		s.next = c
	case armSetFP, armAddFP:
		s.hasFP, s.fp = true, s.size-int64(c.size)
	case armUnknown:
		s.unknown = true
	}
}

// run runs codes, which are in the order of an epilogue.
func (s *armState) run(codes []armCode) {
	for i := len(codes) - 1; i >= 0; i-- {
		s.do(&codes[i])
	}
}

// rules returns the rules in this state; nil where there are none.
func (s *armState) rules() *row {
	if s.unknown {
		return nil
	}
	r := new(row)
	r.cfa = rule{kind: ruleRegister, reg: ARM64.SP, offset: s.size}
	if s.hasFP {
		r.cfa = rule{kind: ruleRegister, reg: ARM64.FP, offset: s.fp}
	}
	r.put(uint64(ARM64.PC), rule{kind: ruleRegister, reg: ARM64.LR})
	for i, at := range s.saved {
		if at != 0 {
			r.put(uint64(19+i), rule{kind: ruleOffset, offset: -at})
		}
	}
	if at := s.saved[ARM64.LR-19]; at != 0 {
		r.put(uint64(ARM64.PC), rule{kind: ruleOffset, offset: -at})
	}
	return r
}

// rows adds the rows of the function: those of its prologue, the body, and those of its epilogues, behind which
// the body goes on. Work is taken off for each code.
func (a *armFunction) rows(b *Builder, work *int) {
	add := func(at uint32, s *armState) {
		if at >= a.size {
			return
		}
		if r := s.rules(); r != nil {
			b.add(at, r)
		} else {
			b.addGap(at)
		}
	}
	// start is the state before the first of the instructions: that of the code a fragment belongs to.
	start := func(codes []armCode, n int) (s armState) {
		if n < len(codes) && codes[n].op == armEndC {
			rest := codes[n+1:]
			if i := slices.IndexFunc(rest, func(k armCode) bool { return k.op == armEnd }); i >= 0 {
				rest = rest[:i]
			}
			*work -= len(rest)
			s.run(rest)
		}
		return s
	}
	prologue := sequence(a.codes)
	body := start(a.codes, len(prologue))
	if a.fragment {
		body.run(prologue)
		add(0, &body)
		return
	}
	add(0, &body)
	at := uint32(0)
	for i := len(prologue) - 1; i >= 0; i-- {
		body.do(&prologue[i])
		at += prologue[i].length()
		add(at, &body)
	}
	var states []armState
	for _, e := range a.epilogues {
		codes := sequence(a.codes[e.code:])
		if *work -= len(codes) + 1; *work <= 0 {
			return
		}
		if e.start < at {
			continue
		}
		states = append(states[:0], start(a.codes[e.code:], len(codes)))
		for i := len(codes) - 1; i >= 0; i-- {
			s := states[len(states)-1]
			s.do(&codes[i])
			states = append(states, s)
		}
		at = e.start
		for i := len(codes); i >= 0; i-- {
			add(at, &states[i])
			if i > 0 {
				at += codes[len(codes)-i].length()
			}
		}
		at += 4 // the return
		add(at, &body)
	}
}
