package unwind

import (
	"salvage/debug/cfi"
	"salvage/debug/minidump"
)

// cpu is what the driver must know of a CPU besides what its unwind rules need.
type cpu struct {
	*cfi.CPU
	callSize  uint64 // from a return address to inside the call before it
	canonical func(addr uint64) bool
	// apply applies unwind rules; nil: as they are.
	apply func(w *walker, f *Frame, r cfi.Rules) (cfi.Registers, error)
	// known, if not nil, is asked where there are no rules, before the frame pointer.
	known func(w *walker, f *Frame) (cfi.Registers, Trust, bool)
	// framePointer follows a chain of frame pointers.
	framePointer func(w *walker, f *Frame) (cfi.Registers, bool)
	// chainEnds: where the frame pointer leads nowhere the stack ends; else it is scanned.
	chainEnds bool
	scan      func(w *walker, f *Frame) (cfi.Registers, bool)
}

func canonical32(a uint64) bool { return a>>32 == 0 }

var cpus = map[minidump.CPU]*cpu{
	minidump.CPUX86: {
		CPU: cfi.X86, callSize: 1, apply: x86Apply, framePointer: x86FramePointer, chainEnds: true, scan: x86Scan, canonical: canonical32,
	},
	minidump.CPUAMD64: {
		CPU: cfi.AMD64, callSize: 1, framePointer: amd64FramePointer, scan: amd64Scan,
		canonical: func(a uint64) bool { return a <= 0x7fffffffffff || a >= 0xffff800000000000 },
	},
	// Thumb's return addresses are odd and its calls take two or four bytes: two before is inside them.
	minidump.CPUARM: {
		CPU: cfi.ARM, callSize: 2, apply: armApply, known: armKnown, framePointer: armFramePointer, chainEnds: true, scan: wordScan, canonical: canonical32,
	},
	minidump.CPUARM64: {
		CPU: cfi.ARM64, callSize: 4, apply: arm64Apply, known: arm64Known, framePointer: arm64FramePointer, chainEnds: true, scan: wordScan,
		canonical: func(a uint64) bool { return a >= pageSize && a < 1<<52 }, // 52 bits: the largest address space there is
	},
}

// Words that are scanned for a return address: more behind a frame whose registers are certain
// (Breakpad and rust-minidump scan as many).
const (
	scanWords        = 40
	scanWordsCertain = 160
)

func (f *Frame) scanWords() int {
	if f.Trust == TrustContext || f.Trust == TrustCFI {
		return scanWordsCertain
	}
	return scanWords
}

// certain reports whether all registers of f are those that it had: it was not waiting for a call to return.
func (f *Frame) certain() bool { return f.Lookup == f.PC }

// executable reports whether addr is code: in a module, or in memory that is executable. It is not known
// if the dump does not describe the memory, as Crashpad's of Linux do not: just-in-time code is possible.
func (w *walker) executable(addr uint64) (code, known bool) {
	if w.dump.ModuleAt(addr) != nil {
		return true, true
	}
	for _, m := range w.dump.Linux.Maps {
		known = true
		if addr >= m.Start && addr < m.End {
			return m.Execute, true
		}
	}
	for _, m := range w.dump.MemoryInfo {
		known = true
		if addr-m.Base < m.Size {
			return m.Executable(), true
		}
	}
	return false, known
}

// hasRules reports whether there are unwind rules for the call that returns to addr.
func (w *walker) hasRules(addr uint64) bool {
	addr -= w.cpu.callSize
	m := w.dump.ModuleAt(addr)
	if m == nil {
		return false
	}
	_, found := w.provider.Rules(m, addr-m.Addr)
	return found
}

// chain reads what register fp points to: the caller's frame pointer, and above it the return address.
func (w *walker) chain(f *Frame, fp uint8) (regs cfi.Registers, ok bool) {
	size := uint64(w.cpu.PointerSize)
	at, ok := f.Registers.Get(fp)
	sp := at + 2*size
	if !ok || w.cpu.PointerSize == 4 && sp>>32 != 0 {
		return regs, false
	}
	next, ok1 := w.word(at)
	pc, ok2 := w.word(at + size)
	if !ok1 || !ok2 {
		return regs, false
	}
	regs.Set(w.cpu.PC, pc)
	regs.Set(w.cpu.SP, sp)
	regs.Set(fp, next)
	return regs, true
}

// wordScan looks for a return address on the stack. It tells the program counter and the stack pointer only.
func wordScan(w *walker, f *Frame) (regs cfi.Registers, ok bool) {
	size := uint64(w.cpu.PointerSize)
	sp, _ := f.Registers.Get(w.cpu.SP)
	for i := range uint64(f.scanWords()) {
		at := sp + size*i
		pc, ok := w.word(at)
		if !ok {
			return regs, false
		}
		if pc = w.strip(pc); w.returnAddress(pc) {
			regs.Set(w.cpu.PC, pc)
			regs.Set(w.cpu.SP, at+size)
			return regs, true
		}
	}
	return regs, false
}

// withoutLink forgets the link register of a frame that made a call, since that call overwrote it, unless
// keep says that it was recovered.
func withoutLink(w *walker, f *Frame, keep bool) *cfi.Registers {
	if f.certain() || keep {
		return &f.Registers
	}
	callee := f.Registers
	callee.Forget(w.cpu.LR)
	return &callee
}

// jumped reports whether f was called at an address where no code can be: through a bad pointer. The
// return address is still in the link register then, and no register has changed.
func (w *walker) jumped(f *Frame, lr uint64) bool {
	if !f.certain() || lr == f.PC {
		return false
	}
	code, known := w.executable(f.PC)
	return !code && (known || f.PC < pageSize || !w.cpu.canonical(f.PC)) && w.returnAddress(lr)
}

// returned returns the registers of f as they are once it returned to lr without having touched the stack.
func (w *walker) returned(f *Frame, lr uint64) (regs cfi.Registers) {
	regs = f.Registers
	regs.Valid &= w.cpu.CalleeSaved | 1<<w.cpu.SP
	regs.Set(w.cpu.PC, lr)
	return regs
}
