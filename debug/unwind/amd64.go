package unwind

import (
	"salvage/debug/cfi"
	"salvage/debug/minidump"
)

// cpu is what the driver must know of a CPU besides what its unwind rules need.
type cpu struct {
	*cfi.CPU
	callSize     uint64 // from a return address to inside the call before it
	canonical    func(addr uint64) bool
	framePointer func(w *walker, f *Frame) (cfi.Registers, bool)
	scan         func(w *walker, f *Frame) (cfi.Registers, bool)
}

var cpus = map[minidump.CPU]*cpu{
	minidump.CPUAMD64: {
		CPU: cfi.AMD64, callSize: 1, framePointer: amd64FramePointer, scan: amd64Scan,
		canonical: func(a uint64) bool { return a <= 0x7fffffffffff || a >= 0xffff800000000000 },
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
		if sp <= rsp || bp < sp && bp != 0 || !w.cpu.canonical(pc) {
			continue
		}
		// A chain leads to the next frame or ends in zero. 0xcccc…, which debug builds fill stacks with, passes
		// for an address otherwise (rust-minidump's invalid-parameter.dmp).
		if _, ok := w.word(bp); !ok && bp != 0 {
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
