package minidump

// Context is the state of a CPU as the dump has it for one thread.
//
// Regs is indexed by the register numbers of DWARF, so that unwind rules apply as they are written:
//
//	x86    eax ecx edx ebx esp ebp esi edi eip                             0–8   System V ABI, i386
//	amd64  rax rdx rcx rbx rsi rdi rbp rsp r8–r15 rip                      0–16  System V ABI, AMD64
//	arm    r0–r10 fp r12 sp lr pc                                          0–15  DWARF for the ARM Architecture
//	arm64  x0–x28 fp lr sp pc                                              0–32  DWARF for the ARM 64-bit Architecture
type Context struct {
	CPU      CPU
	Flags    uint32 // CONTEXT_…: which parts the writer filled
	Status   uint32 // eflags, cpsr
	Regs     [33]uint64
	Segments Segments // x86 and amd64
	Raw      []byte   // the whole record: floating point, vector and debug registers are not decoded
}

// Segments holds the segment registers.
type Segments struct{ CS, DS, ES, FS, GS, SS uint16 }

// layout tells where a context record has its registers: offsets into CONTEXT of winnt.h, for ARM and
// the older arm64 form into MDRawContext… of Breakpad's minidump_cpu_arm.h and minidump_cpu_arm64.h.
type layout struct {
	flag        uint32 // the CPU's bit of the flags
	size        uint64
	flags       uint16
	flagsSize   uint8
	status      uint16
	regs        []uint16 // in DWARF order
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

var (
	layoutX86 = &layout{
		flag: 0x10000, size: 716, flagsSize: 4, status: 192, regSize: 4,
		regs:     []uint16{176, 172, 168, 164, 196, 180, 160, 156, 184},
		segments: []uint16{188, 152, 148, 144, 140, 200}, segmentSize: 4,
	}
	layoutAMD64 = &layout{
		flag: 0x100000, size: 1232, flags: 48, flagsSize: 4, status: 68, regSize: 8,
		regs:     append([]uint16{120, 136, 128, 144, 168, 176, 160, 152}, run(184, 9, 8)...),
		segments: []uint16{56, 58, 60, 62, 64, 66}, segmentSize: 2,
	}
	layoutARM      = &layout{flag: 0x40000000, size: 368, flagsSize: 4, status: 68, regs: run(4, 16, 4), regSize: 4}
	layoutARM64    = &layout{flag: 0x400000, size: 912, flagsSize: 4, status: 4, regs: run(8, 33, 8), regSize: 8}
	layoutOldARM64 = &layout{flag: 0x80000000, size: 796, flagsSize: 8, status: 272, regs: run(8, 33, 8), regSize: 8}
)

func (s *SystemInfo) layout() *layout {
	if s == nil {
		return nil
	}
	if s.Architecture == archOldARM64 {
		return layoutOldARM64
	}
	switch s.CPU {
	case CPUX86:
		return layoutX86
	case CPUAMD64:
		return layoutAMD64
	case CPUARM:
		return layoutARM
	case CPUARM64:
		return layoutARM64
	}
	return nil
}

// context reads the context at l of the thread named; nil if there is none to be had. The system info
// alone tells the layout, as sizes do not: extended state may follow.
func (p *parser) context(l location, thread uint32) *Context {
	if l.size == 0 {
		return nil
	}
	layout := p.d.System.layout()
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
	if ctx.Flags&^0xff != layout.flag {
		p.problem("bad record", "thread %d: context flags %#x are not those of %v", thread, ctx.Flags, ctx.CPU)
		return nil
	}
	ctx.Status = uint32(field(layout.status, 4))
	for i, off := range layout.regs {
		ctx.Regs[i] = field(off, layout.regSize)
	}
	if layout.segments != nil {
		var s [6]uint16
		for i, off := range layout.segments {
			s[i] = uint16(field(off, layout.segmentSize))
		}
		ctx.Segments = Segments{CS: s[0], DS: s[1], ES: s[2], FS: s[3], GS: s[4], SS: s[5]}
	}
	return &ctx
}

// special holds the numbers of the program counter, the stack and the frame pointer.
var special = [len(cpus)][3]uint8{CPUX86: {8, 4, 5}, CPUAMD64: {16, 7, 6}, CPUARM: {15, 13, 11}, CPUARM64: {32, 31, 29}}

// PC returns the address of the instruction the thread was at.
func (c *Context) PC() uint64 { return c.Regs[special[c.CPU][0]] }

// SP returns the stack pointer.
func (c *Context) SP() uint64 { return c.Regs[special[c.CPU][1]] }

// FP returns the register that holds the frame pointer by convention; on arm that is r11.
func (c *Context) FP() uint64 { return c.Regs[special[c.CPU][2]] }

var registerNames = [len(cpus)][]string{
	CPUX86:   {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"},
	CPUAMD64: {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"},
	CPUARM:   {"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "fp", "r12", "sp", "lr", "pc"},
	CPUARM64: {
		"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
		"x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "fp", "lr", "sp", "pc",
	},
}

// RegisterNames returns the names of the registers of a context by number, nil for CPUs without
// contexts. The caller must not change it.
func (c CPU) RegisterNames() []string { return registerNames[c] }
