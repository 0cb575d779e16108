package triage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"salvage/debug/minidump"
)

// Instruction is the one a thread was at when it crashed, and what it was about to do with the registers
// it had.
type Instruction struct {
	Text string // in the manner of Intel's manuals, sizes before brackets: "mov dword [rax + 0x8], 0x5"
	// Accesses holds the memory it would have accessed, if AccessesKnown: addresses may depend on what the
	// dump does not have.
	Accesses      []Access
	AccessesKnown bool
	// Target is where a call, jump or return would have gone, if HasTarget. FallsThrough: it is none of
	// these, and execution would have gone on behind it.
	Target                  uint64
	HasTarget, FallsThrough bool

	op        x86asm.Op
	registers []string // that addresses are made of, by name
}

// Access is memory an instruction would have accessed.
type Access struct {
	Address     uint64
	Size        uint8 // in bytes; 0: it depends on the processor
	Read, Write bool  // neither: not known
	// GuardPage: it is likely in a guard page, which the end of a stack has.
	GuardPage bool
	// NullPointer: the pointer it started from is null.
	NullPointer bool
}

// contains reports whether an access of n bytes at addr, which may go on at 0, has the byte at a.
func (m *Access) contains(a uint64) bool { return a-m.Address < uint64(m.Size) }

// dwarf holds the numbers of Context.Regs in the order in which instructions encode registers.
var dwarf = [16]uint8{0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15}

const stackPointer, instructionPointer = 7, 16

// known are the instructions for which it is certain which operands are read and which are written, each
// with that of its operands. They are those of rust-minidump, since reports are compared.
var known = map[x86asm.Op][2]Access{
	x86asm.ADD: {{Read: true, Write: true}, {Read: true}}, x86asm.SUB: {{Read: true, Write: true}, {Read: true}},
	x86asm.INC: {{Read: true, Write: true}}, x86asm.DEC: {{Read: true, Write: true}},
	x86asm.CMP: {{Read: true}, {Read: true}}, x86asm.UCOMISS: {{Read: true}, {Read: true}},
	x86asm.MOV: {{Write: true}, {Read: true}}, x86asm.MOVAPS: {{Write: true}, {Read: true}}, x86asm.MOVUPS: {{Write: true}, {Read: true}},
	x86asm.CALL: {{Read: true}}, x86asm.JMP: {{Read: true}}, x86asm.LJMP: {{Read: true}}, x86asm.PUSH: {{Read: true}}, x86asm.POP: {{Write: true}},
	x86asm.LEA: {}, x86asm.RET: {}, x86asm.LRET: {},
	x86asm.JA: {}, x86asm.JAE: {}, x86asm.JB: {}, x86asm.JBE: {}, x86asm.JE: {}, x86asm.JG: {}, x86asm.JGE: {}, x86asm.JL: {}, x86asm.JLE: {},
	x86asm.JNE: {}, x86asm.JNO: {}, x86asm.JNP: {}, x86asm.JNS: {}, x86asm.JO: {}, x86asm.JP: {}, x86asm.JS: {},
}

// conditional reports whether op is a jump on a condition of the flags.
func conditional(op x86asm.Op) bool {
	_, ok := known[op]
	return ok && op != x86asm.JMP && strings.HasPrefix(op.String(), "J")
}

// operand is a memory operand with its address.
type operand struct {
	addr      uint64
	nullBase  bool
	registers []x86asm.Reg
}

// machine is the state an instruction works on.
type machine struct {
	d       *minidump.Dump
	thread  *minidump.Thread // nil if it is not in the dump
	context *minidump.Context
}

// register returns the value of a register of 64 or of the lower 32 bits.
func (m *machine) register(r x86asm.Reg) (uint64, bool) {
	switch {
	case r >= x86asm.RAX && r <= x86asm.R15:
		return m.context.Regs[dwarf[r-x86asm.RAX]], true
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return uint64(uint32(m.context.Regs[dwarf[r-x86asm.EAX]])), true
	case r == x86asm.RIP:
		return m.context.Regs[instructionPointer], true
	}
	return 0, false
}

// segment returns the base of a segment. In 64-bit mode only FS and GS have one, which contexts do not hold;
// on Windows GS is the thread's environment block.
func (m *machine) segment(r x86asm.Reg) (uint64, bool) {
	if r != x86asm.FS && r != x86asm.GS {
		return 0, true
	}
	if r == x86asm.FS || m.thread == nil || m.thread.TEB == 0 || m.d.System.OS != minidump.OSWindows {
		return 0, false
	}
	return m.thread.TEB, true
}

// read returns a pointer in memory.
func (m *machine) read(addr uint64) (v uint64, ok bool) {
	b := m.d.Memory.Read(addr, 8)
	if b == nil && m.thread != nil {
		b = m.thread.Stack.Read(addr, 8)
	}
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v, b != nil
}

// code returns the bytes at addr, as far as the dump has them.
func (m *machine) code(addr uint64) []byte {
	r, ok := m.d.Memory.At(addr)
	if !ok && m.thread != nil && m.thread.Stack.Contains(addr) {
		r, ok = m.thread.Stack, true
	}
	if !ok {
		return nil
	}
	off := addr - r.Addr
	return r.Data[off:min(off+maxInstruction, uint64(len(r.Data)))]
}

// address works out where a memory operand points to.
func (m *machine) address(in *x86asm.Inst, mem x86asm.Mem) (o operand, ok bool) {
	base, ok := m.segment(mem.Segment)
	switch mem.Base {
	case 0:
	case x86asm.RIP, x86asm.EIP:
		o.addr = m.context.PC() + uint64(in.Len) // operands count from the next instruction
	default:
		v, found := m.register(mem.Base)
		ok = ok && found
		o.nullBase = v == 0
		o.registers = append(o.registers, mem.Base)
		if o.addr = v; in.Op == x86asm.POP && mem.Base == x86asm.RSP {
			o.addr += 8 // which is incremented first
		}
	}
	if mem.Index != 0 && mem.Scale != 0 {
		v, found := m.register(mem.Index)
		o.addr += v * uint64(mem.Scale)
		ok = ok && found
		o.registers = append(o.registers, mem.Index)
	}
	if in.Op == x86asm.XLATB {
		o.addr += m.context.Regs[0] & 0xff
	}
	o.addr += uint64(mem.Disp)
	if in.AddrSize == 32 {
		o.addr = uint64(uint32(o.addr))
	}
	o.addr += base
	return o, ok
}

// maxInstruction is the length of the longest instruction, in bytes.
const maxInstruction = 15

// decode decodes the instruction that code starts with.
func decode(code []byte) (in x86asm.Inst, ok bool) {
	var buf [maxInstruction]byte // x86asm takes some that are cut off for whole
	have := copy(buf[:], code)
	in, err := x86asm.Decode(buf[:], 64)
	if err != nil || in.Op == 0 || in.Len > have {
		return in, false
	}
	vector := false
	for _, p := range in.Prefix {
		if p&x86asm.PrefixInvalid != 0 { // a lock of a register: the processor does not take it
			return in, false
		}
		vector = vector || p.IsVEX() || p.IsEVEX()
	}
	// What x86asm leaves to be desired.
	for k, arg := range in.Args {
		if r, ok := arg.(x86asm.Reg); ok && r >= x86asm.CR0 && r <= x86asm.CR15 && !slices.Contains([]x86asm.Reg{0, 2, 3, 4, 8}, r-x86asm.CR0) {
			return in, false // there are no others
		}
		mem, ok := arg.(x86asm.Mem)
		if !ok {
			continue
		}
		offset := in.Op == x86asm.MOV && in.Opcode>>24&^3 == 0xa0 // an address of 64 bits in the instruction
		if !offset && mem.Disp == int64(uint32(mem.Disp)) {
			mem.Disp = int64(int32(mem.Disp)) // it has no sign in 64-bit mode
		}
		if vector && mem.Base == 0 && mem.Scale == 0 {
			mem.Base = x86asm.RIP
		}
		in.Args[k] = mem
		switch in.Op {
		case x86asm.LEA, x86asm.BT, x86asm.BTC, x86asm.BTR, x86asm.BTS:
			in.MemBytes = in.DataSize / 8
		case x86asm.FLD, x86asm.FSTP, x86asm.FBLD, x86asm.FBSTP, x86asm.LCALL, x86asm.LJMP, x86asm.LGDT, x86asm.LIDT, x86asm.SGDT, x86asm.SIDT:
			in.MemBytes = cmp.Or(in.MemBytes, 10)
		case x86asm.XLATB:
			in.MemBytes = 1
		case x86asm.CLFLUSH:
			in.MemBytes = 64
		}
		if _, size := onStrings(in.Op); size > 0 {
			in.MemBytes = size
		}
	}
	return in, true
}

// onStrings takes the name of an instruction on strings apart: MOVSB moves bytes. Others have size 0.
func onStrings(op x86asm.Op) (name string, size int) {
	name = op.String()
	last := len(name) - 1
	switch name[:last] {
	case "MOVS", "CMPS", "STOS", "LODS", "SCAS", "INS", "OUTS":
		return strings.ToLower(name[:last]), map[byte]int{'B': 1, 'W': 2, 'D': 4, 'Q': 8}[name[last]]
	}
	return name, 0
}

// idle are the instructions with memory operands that no access fails of.
var idle = []x86asm.Op{x86asm.LEA, x86asm.NOP, x86asm.INVLPG, x86asm.PREFETCHNTA, x86asm.PREFETCHT0, x86asm.PREFETCHT1, x86asm.PREFETCHT2, x86asm.PREFETCHW}

// instruction decodes the instruction at the program counter; nil if the dump does not have it, or if it is
// none, or one of another processor than amd64.
func (m *machine) instruction() *Instruction {
	if m.context == nil || m.context.CPU != minidump.CPUAMD64 {
		return nil
	}
	in, ok := decode(m.code(m.context.PC()))
	if !ok {
		return nil
	}
	i := &Instruction{Text: assembly(&in), AccessesKnown: true, op: in.Op}
	types, derivable := known[in.Op]
	var pointer *uint64 // what a call or jump reads its target from
	for k, arg := range in.Args {
		mem, ok := arg.(x86asm.Mem)
		if !ok {
			continue
		}
		o, ok := m.address(&in, mem)
		for _, r := range o.registers {
			if name := strings.ToLower(r.String()); !slices.Contains(i.registers, name) {
				i.registers = append(i.registers, name)
			}
		}
		if slices.Contains(idle, in.Op) {
			continue
		}
		if !ok {
			i.AccessesKnown = false
			continue
		}
		pointer = &o.addr
		a := Access{Address: o.addr, Size: uint8(in.MemBytes), NullPointer: o.nullBase}
		if derivable && k < len(types) {
			a.Read, a.Write = types[k].Read, types[k].Write
		}
		i.Accesses = append(i.Accesses, a)
	}
	slices.Sort(i.registers)
	m.implicit(i, &in)
	m.flow(i, &in, pointer)
	if !i.AccessesKnown {
		i.Accesses = nil
	}
	return i
}

// implicit adds the accesses to the stack that an instruction does not spell out. A push or call that faults
// has not changed the stack pointer.
func (m *machine) implicit(i *Instruction, in *x86asm.Inst) {
	sp, size := m.context.Regs[stackPointer], uint8(8)
	switch {
	case in.Op == x86asm.LRET:
		size = uint8(in.DataSize / 4) // an address and a segment
	case in.DataSize == 16 && in.Op != x86asm.CALL && in.Op != x86asm.RET:
		size = 2
	}
	switch in.Op {
	case x86asm.PUSH, x86asm.CALL:
		sp -= uint64(size)
		i.Accesses = append(i.Accesses, Access{Address: sp, Size: size, Write: true, NullPointer: sp == 0})
	case x86asm.POP, x86asm.RET, x86asm.LRET:
		i.Accesses = append(i.Accesses, Access{Address: sp, Size: size, Read: true, NullPointer: sp == 0})
	}
}

// flow finds out where an instruction goes. Targets that are part of an instruction are taken to be good.
func (m *machine) flow(i *Instruction, in *x86asm.Inst, pointer *uint64) {
	switch op := in.Op; {
	case op == x86asm.CALL || op == x86asm.JMP || op == x86asm.LCALL || op == x86asm.LJMP:
		if r, ok := in.Args[0].(x86asm.Reg); ok {
			i.Target, i.HasTarget = m.register(r)
		} else if pointer != nil {
			i.Target, i.HasTarget = m.read(*pointer)
		}
	case op == x86asm.RET || op == x86asm.LRET || op == x86asm.IRET || op == x86asm.IRETD || op == x86asm.IRETQ:
		i.Target, i.HasTarget = m.read(m.context.Regs[stackPointer])
	default:
		i.FallsThrough = !conditional(op)
	}
}

// sizes names the sizes of memory operands.
var sizes = map[int]string{1: "byte", 2: "word", 4: "dword", 6: "far", 8: "qword", 10: "mword", 16: "xmmword", 32: "ymmword", 64: "zmmword"}

// assembly spells an instruction.
func assembly(in *x86asm.Inst) string {
	var b strings.Builder
	for _, p := range in.Prefix {
		if p == 0 || p.IsVEX() || p.IsEVEX() {
			break
		}
		if p&(x86asm.PrefixImplicit|x86asm.PrefixIgnored) != 0 {
			continue
		}
		switch p & 0xff {
		case x86asm.PrefixLOCK:
			b.WriteString("lock ")
		case x86asm.PrefixREP & 0xff:
			b.WriteString("rep ")
		case x86asm.PrefixREPN & 0xff:
			b.WriteString("repnz ")
		}
	}
	if name, size := onStrings(in.Op); size > 0 {
		b.WriteString(name)
	} else {
		b.WriteString(cmp.Or(spellings[in.Op], strings.ToLower(name)))
	}
	for k, arg := range in.Args {
		if arg == nil {
			break
		}
		b.WriteString([]string{" ", ", "}[min(k, 1)])
		switch a := arg.(type) {
		case x86asm.Mem:
			b.WriteString(cmp.Or(sizes[in.MemBytes], "ptr") + " " + memoryText(a))
		case x86asm.Imm:
			b.WriteString(signed(int64(a)))
		case x86asm.Rel:
			fmt.Fprintf(&b, "$%+#x", int64(a))
		default:
			b.WriteString(registerText(arg.String()))
		}
	}
	return b.String()
}

// spellings are the names of instructions in the texts of rust-minidump that differ from those here.
var spellings = map[x86asm.Op]string{
	x86asm.LRET: "retf", x86asm.LCALL: "callf", x86asm.LJMP: "jmpf", x86asm.JE: "jz", x86asm.JNE: "jnz", x86asm.JAE: "jnb", x86asm.JBE: "jna",
}

// registerText spells a register: X0, Y0 and Z0 are vectors, R8L is the lower half of R8.
func registerText(name string) string {
	if half, ok := strings.CutSuffix(name, "L"); ok && name[0] == 'R' {
		name = half + "d"
	}
	if len(name) > 1 && name[0] >= 'X' && name[0] <= 'Z' {
		return strings.ToLower(name[:1]) + "mm" + name[1:]
	}
	return strings.ToLower(name)
}

func memoryText(m x86asm.Mem) string {
	var terms []string
	if m.Base != 0 {
		terms = append(terms, registerText(m.Base.String()))
	}
	if m.Index != 0 && m.Scale != 0 {
		terms = append(terms, fmt.Sprintf("%s * %d", registerText(m.Index.String()), m.Scale))
	}
	text := strings.Join(terms, " + ")
	switch {
	case text == "":
		text = fmt.Sprintf("%#x", uint64(m.Disp))
	case m.Disp < 0:
		text += fmt.Sprintf(" - %#x", uint64(-m.Disp))
	case m.Disp > 0:
		text += fmt.Sprintf(" + %#x", m.Disp)
	}
	if m.Segment == x86asm.FS || m.Segment == x86asm.GS {
		return strings.ToLower(m.Segment.String()) + ":[" + text + "]"
	}
	return "[" + text + "]"
}

func signed(v int64) string {
	if v < 0 {
		return fmt.Sprintf("-%#x", uint64(-v))
	}
	return fmt.Sprintf("%#x", v)
}
