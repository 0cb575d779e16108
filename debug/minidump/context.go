package minidump

import (
	"strconv"
	"strings"
)

// Context is the state of a CPU as the dump has it for one thread.
//
// Regs is indexed by the register numbers of DWARF on the CPUs that are unwound, so that unwind rules apply as they are
// written:
//
//	x86    eax ecx edx ebx esp ebp esi edi eip                             0–8   System V ABI, i386
//	amd64  rax rdx rcx rbx rsi rdi rbp rsp r8–r15 rip                      0–16  System V ABI, AMD64
//	arm    r0–r10 fp r12 sp lr pc                                          0–15  DWARF for the ARM Architecture
//	arm64  x0–x28 fp lr sp pc                                              0–32  DWARF for the ARM 64-bit Architecture
//
// On the others the registers stand in the order of CPU.RegisterNames, as reports have them.
type Context struct {
	CPU      CPU
	Flags    uint32 // CONTEXT_…: which parts the writer filled
	Status   uint32 // eflags, cpsr; MIPS: Status
	Regs     [40]uint64
	Segments Segments // x86 and amd64
	Raw      []byte   // the whole record: floating point, vector and debug registers are not decoded
}

// Segments holds the segment registers.
type Segments struct{ CS, DS, ES, FS, GS, SS uint16 }

// layout tells where a context record has its registers: offsets into CONTEXT of winnt.h, for others than x86, amd64
// and the newer arm64 into MDRawContext… of Breakpad's minidump_cpu_….h.
type layout struct {
	flag        uint32 // the CPU's bit of the flags; of MIPS either
	size        uint64
	flags       uint16
	flagsSize   uint8
	status      uint16 // 0: there is none
	names       []string
	special     [3]uint8 // the numbers of program counter, stack and frame pointer
	regs        []uint16 // as names
	regSize     uint8
	segments    []uint16 // CS DS ES FS GS SS
	segmentSize uint8
}

// run returns n offsets from start on, size bytes apart.
func run(start, n, size uint16) []uint16 {
	offsets := make([]uint16, n)
	for i := range offsets {
		offsets[i] = start + uint16(i)*size
	}
	return offsets
}

// numbered returns the names of n registers of one kind, and behind them others.
func numbered(prefix string, n int, others string) (names []string) {
	for i := range n {
		names = append(names, prefix+strconv.Itoa(i))
	}
	return append(names, strings.Fields(others)...)
}

var (
	layouts = [len(cpus)]*layout{
		CPUX86: {
			flag: 0x10000, size: 716, flagsSize: 4, status: 192, regSize: 4, special: [3]uint8{8, 4, 5},
			names: strings.Fields("eax ecx edx ebx esp ebp esi edi eip"), regs: []uint16{176, 172, 168, 164, 196, 180, 160, 156, 184},
			segments: []uint16{188, 152, 148, 144, 140, 200}, segmentSize: 4,
		},
		CPUAMD64: {
			flag: 0x100000, size: 1232, flags: 48, flagsSize: 4, status: 68, regSize: 8, special: [3]uint8{16, 7, 6},
			names:    strings.Fields("rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip"),
			regs:     append([]uint16{120, 136, 128, 144, 168, 176, 160, 152}, run(184, 9, 8)...),
			segments: []uint16{56, 58, 60, 62, 64, 66}, segmentSize: 2,
		},
		CPUARM: {
			flag: 0x40000000, size: 368, flagsSize: 4, status: 68, regSize: 4, special: [3]uint8{15, 13, 11},
			names: numbered("r", 11, "fp r12 sp lr pc"), regs: run(4, 16, 4),
		},
		CPUARM64: {
			flag: 0x400000, size: 912, flagsSize: 4, status: 4, regSize: 8, special: [3]uint8{32, 31, 29},
			names: numbered("x", 29, "fp lr sp pc"), regs: run(8, 33, 8),
		},
		CPUMIPS:   layoutMIPS,
		CPUMIPS64: layoutMIPS,
		CPUPPC: {
			flag: 0x20000000, size: 1004, flagsSize: 4, regSize: 4, special: [3]uint8{0, 3, 33},
			names: append([]string{"srr0", "srr1"}, numbered("r", 32, "cr xer lr ctr mq vrsave")...), regs: run(4, 40, 4),
		},
		CPUPPC64: {
			flag: 0x1000000, size: 1160, flagsSize: 8, regSize: 8, special: [3]uint8{0, 3, 33},
			names: append([]string{"srr0", "srr1"}, numbered("r", 32, "cr xer lr ctr vrsave")...), regs: run(8, 39, 8),
		},
		CPUSPARC: {
			flag: 0x10000000, size: 584, flagsSize: 4, regSize: 8, special: [3]uint8{33, 14, 30},
			names: numbered("g_r", 32, "ccr pc npc y asi fprs"), regs: run(8, 38, 8),
		},
		CPURISCV:   {flag: 0x800000, size: 268, flagsSize: 4, regSize: 4, special: [3]uint8{0, 2, 8}, names: riscv, regs: run(8, 32, 4)},
		CPURISCV64: {flag: 0x8000000, size: 524, flagsSize: 4, regSize: 8, special: [3]uint8{0, 2, 8}, names: riscv, regs: run(8, 32, 8)},
	}
	riscv      = strings.Fields("pc ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6")
	layoutMIPS = &layout{
		flag: 0xc0000, size: 600, flagsSize: 4, status: 328, regSize: 8, special: [3]uint8{4, 1, 2},
		names: strings.Fields("gp sp fp ra pc s0 s1 s2 s3 s4 s5 s6 s7"), regs: append([]uint16{232, 240, 248, 256, 312}, run(136, 8, 8)...),
	}
	layoutOldARM64 = &layout{flag: 0x80000000, size: 796, flagsSize: 8, status: 272, regs: run(8, 33, 8), regSize: 8}
)

// context reads the context at l of the thread named; nil if there is none to be had. The system info
// alone tells the layout, as sizes do not: extended state may follow.
func (p *parser) context(l location, thread uint32) *Context {
	if l.size == 0 {
		return nil
	}
	var layout *layout
	if s := p.d.System; s != nil {
		layout = layouts[s.CPU]
		if s.Architecture == archOldARM64 {
			layout = layoutOldARM64
		}
	}
	if layout == nil {
		p.problem("unsupported", "thread %d: context of an unknown CPU", thread)
		return nil
	}
	c := p.at(l)
	raw := c.Rest()
	record := c.Sub(layout.size)
	if err := record.Err(); err != nil {
		p.problem("bad record", "thread %d: context: %v", thread, err)
		return nil
	}
	field := func(off uint16, size uint8) uint64 {
		f := record.At(uint64(off), uint64(size))
		return f.Uint(size)
	}
	ctx := Context{CPU: p.d.System.CPU, Raw: raw}
	ctx.Flags = uint32(field(layout.flags, layout.flagsSize))
	if cpu := ctx.Flags &^ 0xff; cpu == 0 || cpu&^layout.flag != 0 {
		p.problem("bad record", "thread %d: context flags %#x are not those of %v", thread, ctx.Flags, ctx.CPU)
		return nil
	}
	if layout.status != 0 {
		ctx.Status = uint32(field(layout.status, 4))
	}
	for i, off := range layout.regs {
		ctx.Regs[i] = field(off, layout.regSize)
	}
	s := &ctx.Segments
	for i, to := range []*uint16{&s.CS, &s.DS, &s.ES, &s.FS, &s.GS, &s.SS}[:len(layout.segments)] {
		*to = uint16(field(layout.segments[i], layout.segmentSize))
	}
	return &ctx
}

// PC returns the address of the instruction the thread was at.
func (c *Context) PC() uint64 { return c.special(0) }

// SP returns the stack pointer.
func (c *Context) SP() uint64 { return c.special(1) }

// FP returns the register that holds the frame pointer by convention; on arm that is r11.
func (c *Context) FP() uint64 { return c.special(2) }

// special returns an address in a register, of which MIPS and SPARC have 64 bits in processes of 32 too.
func (c *Context) special(i int) uint64 {
	l := layouts[c.CPU]
	if l == nil {
		return 0
	}
	v := c.Regs[l.special[i]]
	if c.CPU.PointerSize() == 4 {
		v = uint64(uint32(v))
	}
	return v
}

// RegisterNames returns the names of the registers of a context by number, nil for CPUs without
// contexts. The caller must not change it.
func (c CPU) RegisterNames() []string {
	if l := layouts[c]; l != nil {
		return l.names
	}
	return nil
}

// RegisterSize returns the size in bytes of the registers in a context, 0 for CPUs without contexts.
func (c CPU) RegisterSize() uint8 {
	if l := layouts[c]; l != nil {
		return l.regSize
	}
	return 0
}
