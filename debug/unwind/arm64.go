package unwind

import (
	"math/bits"

	"salvage/debug/cfi"
	"salvage/debug/minidump"
)

// addressMask returns the bits of a pointer that are address on arm64; those above may be a signature
// (pointer authentication) or a tag. How many there are is not in a dump: at least 47, and as many as
// modules and the stack need.
func addressMask(d *minidump.Dump, stack minidump.Region) uint64 {
	highest := max(1<<47-1, stack.Addr+uint64(len(stack.Data)))
	for i := range d.Modules {
		highest = max(highest, d.Modules[i].End()-1)
	}
	return ^uint64(0) >> bits.LeadingZeros64(highest)
}

// strip takes the signature off a pointer.
func (w *walker) strip(addr uint64) uint64 { return addr & w.mask }

// arm64Apply applies rules and strips what they recover. The link register of a frame that made a call is
// known from a chain of frame pointers only, as it was when the function was entered. Rules read it where
// the function has not moved it yet; at any other place they are wrong: compact unwind information of
// macOS says so of all addresses of functions that it has merged (rust-minidump #1155).
func arm64Apply(w *walker, f *Frame, r cfi.Rules) (cfi.Registers, error) {
	atEntry := false
	if f.Trust == TrustFramePointer {
		start, _, known := w.provider.Function(f.Module, f.Lookup-f.Module.Addr)
		atEntry = known && start == f.Lookup-f.Module.Addr
	}
	regs, err := r.Unwind(withoutLink(w, f, atEntry), w.read)
	if err != nil {
		return regs, err
	}
	for _, reg := range []uint8{w.cpu.PC, w.cpu.LR, w.cpu.FP} {
		if v, ok := regs.Get(reg); ok {
			regs.Set(reg, w.strip(v))
		}
	}
	return regs, nil
}

// arm64Known finds what is certain without rules: what a signal handler interrupted, and the caller of a
// function that has no frame of its own.
func arm64Known(w *walker, f *Frame) (regs cfi.Registers, trust Trust, ok bool) {
	if regs, ok := w.arm64Signal(f); ok {
		f.Signal = true
		return regs, TrustCFI, true
	}
	lr, ok := f.Registers.Get(w.cpu.LR)
	lr = w.strip(lr)
	if !ok || !w.jumped(f, lr) && !w.leaf(f, lr) {
		return regs, trust, false
	}
	return w.returned(f, lr), TrustScan, true
}

// leaf reports whether lr is the return address of f, which has saved it nowhere. Functions return through
// the link register, so that after a call it leads into the function that made it: if it leads into
// another one there was none. If the frame record has it too, it is that of f.
func (w *walker) leaf(f *Frame, lr uint64) bool {
	if !f.certain() || f.Module == nil || !w.returnAddress(lr) {
		return false
	}
	m := w.dump.ModuleAt(lr - w.cpu.callSize)
	here, _, ok1 := w.provider.Function(f.Module, f.PC-f.Module.Addr)
	there, _, ok2 := w.provider.Function(m, lr-w.cpu.callSize-m.Addr)
	if !ok1 || !ok2 || m == f.Module && here == there {
		return false
	}
	fp, _ := f.Registers.Get(w.cpu.FP)
	saved, ok := w.word(fp + 8)
	return !ok || w.strip(saved) != lr
}

// Where the kernel leaves the registers of what a signal interrupted: struct rt_sigframe and what it holds
// (Linux, arch/arm64/kernel/signal.c, include/uapi/asm/{ucontext,sigcontext}.h). Behind it lies a frame
// record, to which x29 points when the handler is entered.
const (
	sigframeSize  = 4688 // without SVE
	sigframeRegs  = 312  // x0 to x30, sp, pc
	sigframeMagic = 592  // the first of the records that follow: floating point
	fpsimdMagic   = 0x46508001
)

// arm64Signal recognizes the kernel's signal trampoline by what is on the stack, and returns the registers
// that were interrupted. It has no unwind rules (since Linux 5.8: those were wrong), and a chain of frame
// pointers leads to the caller of the interrupted function.
func (w *walker) arm64Signal(f *Frame) (regs cfi.Registers, ok bool) {
	if s := w.dump.System; s == nil || s.OS != minidump.OSLinux && s.OS != minidump.OSAndroid {
		return regs, false
	}
	fp, ok := f.Registers.Get(w.cpu.FP)
	fp1, ok1 := w.word(fp)
	lr1, ok2 := w.word(fp + 8)
	if !ok || !ok1 || !ok2 {
		return regs, false
	}
	sp, _ := f.Registers.Get(w.cpu.SP)
	for _, frame := range []uint64{sp, fp - sigframeSize} {
		if magic, ok := w.read(frame+sigframeMagic, 4); !ok || magic != fpsimdMagic {
			continue
		}
		at := frame + sigframeRegs
		fp2, ok1 := w.word(at + 8*29)
		lr2, ok2 := w.word(at + 8*30)
		if !ok1 || !ok2 || fp2 != fp1 || lr2 != lr1 { // both were written from the same registers
			continue
		}
		regs = cfi.Registers{}
		for i := range uint8(33) {
			if v, ok := w.word(at + 8*uint64(i)); ok {
				regs.Set(i, v)
			}
		}
		pc, _ := regs.Get(w.cpu.PC)
		if _, ok := regs.Get(w.cpu.SP); ok && w.cpu.canonical(pc) {
			return regs, true
		}
	}
	return regs, false
}

// arm64FramePointer follows a chain of frame records. The caller's link register is the one that its own
// record has. Functions have a record unless they are leaves: of those the direct caller is lost here.
func arm64FramePointer(w *walker, f *Frame) (regs cfi.Registers, ok bool) {
	if fp, ok := f.Registers.Get(w.cpu.FP); ok && fp == 0 && f.Trust == TrustFramePointer {
		return regs, true // the end of the chain
	}
	if regs, ok = w.chain(f, w.cpu.FP); !ok {
		return regs, false
	}
	pc, _ := regs.Get(w.cpu.PC)
	fp, _ := regs.Get(w.cpu.FP)
	if pc == 0 && fp == 0 {
		return regs, true // the end: a record of zeros
	}
	pc, fp = w.strip(pc), w.strip(fp)
	if !w.cpu.canonical(pc) {
		return regs, false
	}
	regs.Set(w.cpu.PC, pc)
	regs.Set(w.cpu.FP, fp)
	if lr, ok := w.word(fp + 8); ok && fp != 0 {
		regs.Set(w.cpu.LR, w.strip(lr))
	}
	return regs, true
}
