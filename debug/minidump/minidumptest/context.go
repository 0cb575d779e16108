package minidumptest

// Context is a CPU context; one of the types below.
type Context interface{ encode(w *writer) }

func (f *file) context(w *writer, c Context) {
	if c == nil {
		w.u32(0, 0)
		return
	}
	r := f.record()
	c.encode(r)
	w.u32(uint32(len(r.b)), f.put(r.b))
}

// ContextX86 is a 716-byte context. Flags 0 stands for a full one.
type ContextX86 struct {
	Flags                                  uint32
	GS, FS, ES, DS, CS, SS                 uint32
	EDI, ESI, EBX, EDX, ECX, EAX, EBP, EIP uint32
	EFlags, ESP                            uint32
}

func (c ContextX86) encode(w *writer) {
	w.u32(or(c.Flags, 0x1003f))
	w.zero(6 * 4) // debug registers
	w.zero(112)   // floating point
	w.u32(c.GS, c.FS, c.ES, c.DS)
	w.u32(c.EDI, c.ESI, c.EBX, c.EDX, c.ECX, c.EAX)
	w.u32(c.EBP, c.EIP, c.CS, c.EFlags, c.ESP, c.SS)
	w.zero(512)
}

// ContextAMD64 is a 1232-byte context. Flags 0 stands for a full one.
type ContextAMD64 struct {
	Flags                                  uint32
	CS, DS, ES, FS, GS, SS                 uint16
	EFlags                                 uint32
	RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP                                    uint64
	Extra                                  []byte // extended state behind the record
}

func (c ContextAMD64) encode(w *writer) {
	w.zero(6 * 8) // parameter homes
	w.u32(or(c.Flags, 0x10001f), 0x1f80)
	w.u16(c.CS, c.DS, c.ES, c.FS, c.GS, c.SS)
	w.u32(c.EFlags)
	w.zero(6 * 8) // debug registers
	w.u64(c.RAX, c.RCX, c.RDX, c.RBX, c.RSP, c.RBP, c.RSI, c.RDI)
	w.u64(c.R8, c.R9, c.R10, c.R11, c.R12, c.R13, c.R14, c.R15, c.RIP)
	w.zero(512)     // floating point
	w.zero(26 * 16) // vectors
	w.zero(6 * 8)   // control and branch registers
	w.u8(c.Extra...)
}

// ContextARM is a 368-byte context. Flags 0 stands for a full one.
type ContextARM struct {
	Flags uint32
	R     [16]uint32
	CPSR  uint32
}

func (c ContextARM) encode(w *writer) {
	w.u32(or(c.Flags, 0x40000006))
	w.u32(c.R[:]...)
	w.u32(c.CPSR)
	w.zero(8 + 32*8 + 8*4) // floating point
}

// ContextARM64 is a context of 912 bytes, or of 796 in the form of architecture OldARM64. Flags 0 stands
// for a full one.
type ContextARM64 struct {
	Old    bool
	Flags  uint32
	X      [31]uint64 // 29 is the frame pointer, 30 the link register
	SP, PC uint64
	CPSR   uint32
}

func (c ContextARM64) encode(w *writer) {
	if c.Old {
		w.u64(uint64(or(c.Flags, 0x80000006)))
	} else {
		w.u32(or(c.Flags, 0x400007), c.CPSR)
	}
	w.u64(c.X[:]...)
	w.u64(c.SP, c.PC)
	if c.Old {
		w.u32(c.CPSR, 0, 0)
		w.zero(32 * 16)
		return
	}
	w.zero(32*16 + 2*4 + 8*4 + 8*8 + 2*4 + 2*8)
}

// ContextWords is a context of Size bytes: flags, in 8 bytes if they are wide, 4 bytes more if Pad, then registers of
// WordSize bytes.
type ContextWords struct {
	Flags          uint32
	WideFlags, Pad bool
	Words          []uint64
	WordSize, Size int
}

func (c ContextWords) encode(w *writer) {
	if c.WideFlags {
		w.u64(uint64(c.Flags))
	} else {
		w.u32(c.Flags)
	}
	if c.Pad {
		w.u32(0)
	}
	for _, v := range c.Words {
		if c.WordSize == 4 {
			w.u32(uint32(v))
		} else {
			w.u64(v)
		}
	}
	w.zero(c.Size - len(w.b))
}

func or(v, otherwise uint32) uint32 {
	if v == 0 {
		return otherwise
	}
	return v
}
