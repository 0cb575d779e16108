package unwind

import "salvage/debug/cfi"

// x86Apply tells STACK WIN rules what they must know of the frame below: callees of most of Windows'
// calling conventions take their parameters off the stack when they return, so that until then those lie
// on the caller's. How many there are such rules of the callee say, also if they fail, else its symbols, which Breakpad
// and rust-minidump trust less.
func x86Apply(w *walker, f *Frame, r cfi.Rules) (cfi.Registers, error) {
	params, ok := r.Params()
	if w.params, w.knowsParams = params, ok; !ok {
		return r.Unwind(&f.Registers, w.read)
	}
	callee, below := f.Registers, &w.below
	if !below.knowsParams && below.module != nil {
		_, below.params, _ = w.provider.Function(below.module, below.lookup-below.module.Addr)
	}
	callee.Set(cfi.X86CalleeParams, below.params)
	first := uint64(0)
	if f.Trust == TrustContext {
		first = 1
	}
	callee.Set(cfi.X86First, first)
	return r.Unwind(&callee, w.read)
}

// x86FramePointer follows a chain of saved ebp, which on 32 bits are nearly universal. What it leads to is
// not judged: checks were found to give junk by scanning instead (rust-minidump, on minidump2.dmp).
func x86FramePointer(w *walker, f *Frame) (cfi.Registers, bool) { return w.chain(f, w.cpu.FP) }

// maxGap is how far a saved ebp may point upwards: 99.5 % of frames are smaller (Breakpad's survey).
const maxGap = 128 << 10

// x86Scan looks for a return address on the stack. The word below it may be the saved ebp.
func x86Scan(w *walker, f *Frame) (regs cfi.Registers, ok bool) {
	regs, ok = wordScan(w, f)
	if !ok {
		return regs, false
	}
	calleeSP, _ := f.Registers.Get(w.cpu.SP)
	sp, _ := regs.Get(w.cpu.SP)
	at := sp - 4
	if at == calleeSP { // nothing but the return address
		return regs, true
	}
	if bp, ok := w.word(at - 4); ok && bp > at && bp-(at-4) <= maxGap {
		if _, ok := w.word(bp); ok {
			regs.Set(w.cpu.FP, bp)
		}
	} else if bp, ok := f.Registers.Get(w.cpu.FP); ok && bp >= sp {
		if _, ok := w.word(bp); ok {
			regs.Set(w.cpu.FP, bp) // not yet touched
		}
	}
	return regs, true
}
