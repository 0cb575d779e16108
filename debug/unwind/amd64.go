package unwind

import (
	"salvage/debug/cfi"
	"salvage/debug/minidump"
)

// amd64FramePointer follows a chain of saved rbp. On Windows, rbp may point up to 240 bytes into the
// frame (UNWIND_INFO's frame offset), in steps of 16.
func amd64FramePointer(w *walker, f *Frame) (regs cfi.Registers, ok bool) {
	rbp, ok1 := f.Registers.Get(w.cpu.FP)
	rsp, ok2 := f.Registers.Get(w.cpu.SP)
	if !ok1 || !ok2 {
		return regs, false
	}
	last := uint64(0)
	if w.dump.System != nil && w.dump.System.OS == minidump.OSWindows {
		last = 240
	}
	for off := uint64(0); off <= last; off += 16 {
		at := rbp + off
		bp, ok1 := w.word(at)
		pc, ok2 := w.word(at + 8)
		if !ok1 || !ok2 {
			return regs, false
		}
		sp := at + 16
		if sp <= rsp || !w.cpu.canonical(pc) {
			continue
		}
		// A chain leads to the next frame, ends in zero, or ends where it was called from code that has rules: that
		// may use rbp as it likes, as libc does below main. 0xcccc…, which debug builds fill stacks with, passes for
		// an address otherwise (rust-minidump's invalid-parameter.dmp).
		if _, ok := w.word(bp); bp != 0 && (bp < sp || !ok) && (last > 0 || !w.hasRules(pc)) {
			if bp < sp {
				continue
			}
			return regs, false
		}
		// Where rbp is an ordinary register it may point to any data: a return address must be code. One of
		// zero ends the chain.
		if code, known := w.executable(pc); pc != 0 && !code && (known || bp == 0) {
			continue
		}
		regs.Set(w.cpu.PC, pc)
		regs.Set(w.cpu.SP, sp)
		regs.Set(w.cpu.FP, bp)
		return regs, true
	}
	return regs, false
}

// amd64Scan looks for a return address on the stack. The word below it is the saved rbp of the callee if
// the callee's rbp points there.
func amd64Scan(w *walker, f *Frame) (regs cfi.Registers, ok bool) {
	sp, _ := f.Registers.Get(w.cpu.SP)
	rbp, haveFP := f.Registers.Get(w.cpu.FP)
	for i := range uint64(f.scanWords()) {
		at := sp + 8*i
		pc, ok := w.word(at)
		if !ok {
			return regs, false
		}
		if !w.returnAddress(pc) {
			continue
		}
		regs.Set(w.cpu.PC, pc)
		regs.Set(w.cpu.SP, at+8)
		if haveFP && i > 0 && rbp == at-8 {
			if bp, ok := w.word(at - 8); ok && bp > at {
				regs.Set(w.cpu.FP, bp)
			}
		} else if haveFP && rbp >= at+8 {
			regs.Set(w.cpu.FP, rbp) // not yet touched
		}
		return regs, true
	}
	return regs, false
}
