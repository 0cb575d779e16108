package unwind

import (
	"salvage/debug/cfi"
	"salvage/debug/minidump"
)

// armIOSFP is the frame pointer of Apple's ABI; elsewhere it is r11, where there is one at all.
const armIOSFP = 7

// armApply takes the link register of the innermost function only: any call overwrites it.
func armApply(w *walker, f *Frame, r cfi.Rules) (cfi.Registers, error) {
	return r.Unwind(withoutLink(w, f, false), w.read)
}

// armKnown returns from a call through a bad pointer. Elsewhere the link register says nothing: functions
// return by loading the program counter, so that it may be left from any call before.
func armKnown(w *walker, f *Frame) (regs cfi.Registers, trust Trust, ok bool) {
	lr, ok := f.Registers.Get(w.cpu.LR)
	if !ok || !w.jumped(f, lr) {
		return regs, trust, false
	}
	return w.returned(f, lr), TrustScan, true
}

// armFramePointer follows the chain of r7 on iOS. Other systems have none that holds for ARM and Thumb,
// GCC and Clang.
func armFramePointer(w *walker, f *Frame) (regs cfi.Registers, ok bool) {
	if w.dump.System == nil || w.dump.System.OS != minidump.OSIOS {
		return regs, false
	}
	if fp, ok := f.Registers.Get(armIOSFP); ok && fp == 0 {
		return regs, true // the end
	}
	return w.chain(f, armIOSFP)
}
