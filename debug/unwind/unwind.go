// Package unwind finds the callers of a thread in a minidump: from the registers of one frame to those
// of the next, by unwind rules where there are any, else by frame pointer, else by scanning the stack.
//
// There is one driver and a descriptor for each CPU. It names nothing and does no I/O: what is known of
// modules comes from a Provider. A walk is linear in the stack and ends in any dump: every frame but
// those of signal handlers must lie further up the stack, and their number is bounded.
package unwind

import (
	"context"
	"encoding/binary"
	"errors"

	"salvage/debug/cfi"
	"salvage/debug/minidump"
)

// Trust says how a frame was found.
type Trust uint8

// The kinds of trust, most first.
const (
	TrustContext      Trust = iota // the thread's own registers
	TrustCFI                       // unwind rules
	TrustFramePointer              // the chain of saved frame pointers
	TrustScan                      // a word on the stack that looks like a return address
)

func (t Trust) String() string { return [...]string{"context", "cfi", "frame_pointer", "scan"}[t] }

// Frame is one activation of a function. Calls inlined into it are no frames of their own.
type Frame struct {
	// PC is where execution goes on in this frame.
	PC uint64
	// Lookup is the address to ask for names and rules: PC itself where it is that of an instruction
	// (the first frame, and the one that a signal interrupted), else one before it, since a return
	// address may already belong to the next line, or the next function if the call does not return.
	Lookup    uint64
	Registers cfi.Registers
	Trust     Trust
	Module    *minidump.Module // that Lookup is in; nil if in none
	// Signal: the frame of the kernel's trampoline for a signal handler.
	Signal bool
	// NoRules: the module is known, but has no unwind rules for Lookup.
	NoRules bool
	// Failed says why rules that there are did not lead to a caller; nil if they did or there are none.
	Failed error
}

// Provider knows the modules of the process. Addresses are relative to a module's base. It must be safe
// for concurrent use if several threads are walked at once.
type Provider interface {
	// Rules returns the unwind rules at an address.
	Rules(m *minidump.Module, addr uint64) (cfi.Rules, bool)
	// Covered reports whether a function is known at an address. It is not known if the module has no
	// symbols.
	Covered(m *minidump.Module, addr uint64) (covered, known bool)
	// Function returns the start of the function at an address, and how many bytes of parameters it takes on the
	// stack, which matters on x86 only and is 0 if it is not known. It is asked rarely, about frames without
	// rules and rules that depend on it.
	Function(m *minidump.Module, addr uint64) (start, params uint64, known bool)
}

// Limits of a walk.
type Limits struct {
	// Frames that are kept: of a deeper stack the first and the last halves of them, so that both the
	// crash and where a recursion started are visible. Default DefaultFrames.
	Frames int
}

// DefaultFrames is how many frames of a stack are kept.
const DefaultFrames = 1024

const (
	// maxFrames ends any walk. A frame takes 8 bytes at least; the largest stacks known to be dumped have
	// 64 MiB.
	maxFrames = 8 << 20
	// maxSignals bounds the frames that may lie anywhere on the stack: handlers interrupted by handlers.
	maxSignals = 64
	// maxStill bounds the frames in a row that take no stack: functions that have the return address in a
	// register, as stubs and outlined code do.
	maxStill = 16
	// pageSize: nothing runs in the first page.
	pageSize = 4096
)

// Stack is the result of a walk.
type Stack struct {
	Frames []Frame
	Total  int // number of frames; more than len(Frames) if the middle was left out
	Cut    int // index in Frames of the first one behind the gap; 0 if there is none
}

// walker is one walk.
type walker struct {
	cpu      *cpu
	dump     *minidump.Dump
	stack    minidump.Region
	provider Provider
	order    binary.ByteOrder
	mask     uint64 // bits of a pointer that are address
	still    int    // frames so far that took no stack, in a row

	// On x86, what the STACK WIN rules of the frame say of its parameters, and what is known of the frame below.
	params      uint64 // bytes
	knowsParams bool
	below       callee
}

type callee struct {
	module      *minidump.Module
	lookup      uint64
	params      uint64
	knowsParams bool
}

// Walk returns the frames of a thread that was in the state of ctx, innermost first. Stack is the
// thread's stack memory. It returns nothing if state is nil, and one frame if the CPU is not unwound here.
func Walk(ctx context.Context, d *minidump.Dump, state *minidump.Context, stack minidump.Region, p Provider, l Limits) Stack {
	if state == nil {
		return Stack{}
	}
	w := &walker{cpu: cpus[state.CPU], dump: d, stack: stack, provider: p, order: binary.LittleEndian}
	if d.BigEndian {
		w.order = binary.BigEndian
	}
	first := Frame{PC: state.PC(), Lookup: state.PC(), Trust: TrustContext}
	if w.cpu == nil {
		return w.run(ctx, first, l)
	}
	for i := range uint8(len(state.CPU.RegisterNames())) {
		first.Registers.Set(i, state.Regs[i])
	}
	if r, ok := d.Memory.At(state.SP()); ok && !stack.Contains(state.SP()) {
		w.stack = r // the context is on another stack than the thread's, say an alternate one
	}
	if w.mask = ^uint64(0); state.CPU == minidump.CPUARM64 {
		w.mask = addressMask(d, w.stack)
	}
	return w.run(ctx, first, l)
}

func (w *walker) run(ctx context.Context, first Frame, l Limits) Stack {
	limit := l.Frames
	if limit <= 0 {
		limit = DefaultFrames
	}
	half := max(1, limit/2)
	var head, tail []Frame // tail is a ring once it is full
	total, signals := 0, 0
	frame := first
	for {
		frame.Module = w.dump.ModuleAt(frame.Lookup)
		next, ok := w.caller(&frame)
		w.below = callee{frame.Module, frame.Lookup, w.params, w.knowsParams}
		if total < limit-half {
			head = append(head, frame)
		} else if len(tail) < half {
			tail = append(tail, frame)
		} else {
			tail[(total-len(head))%half] = frame
		}
		total++
		if !ok || total == maxFrames || total&0xfff == 0 && ctx.Err() != nil {
			break
		}
		if frame.Signal {
			if signals++; signals > maxSignals {
				break
			}
		}
		frame = next
	}
	s := Stack{Total: total}
	if n := len(tail); n > 0 && total > len(head)+n {
		start := (total - len(head)) % n
		s.Cut = len(head)
		s.Frames = append(append(head, tail[start:]...), tail[:start]...)
		return s
	}
	s.Frames = append(head, tail...)
	return s
}

// caller returns the frame that called f, and notes in f what was learned of it.
func (w *walker) caller(f *Frame) (Frame, bool) {
	if w.cpu == nil {
		return Frame{}, false
	}
	sp, ok := f.Registers.Get(w.cpu.SP)
	if !ok {
		return Frame{}, false
	}
	w.params, w.knowsParams = 0, false
	if f.Module != nil {
		rules, found := w.provider.Rules(f.Module, f.Lookup-f.Module.Addr)
		f.NoRules = !found
		if found {
			f.Signal = rules.Signal()
			regs, err := w.apply(f, rules)
			if errors.Is(err, cfi.ErrEndOfStack) {
				return Frame{}, false
			}
			if err == nil {
				return w.accept(f, regs, sp, TrustCFI)
			}
			f.Failed = err
		}
	}
	if w.cpu.known != nil {
		if regs, trust, ok := w.cpu.known(w, f); ok {
			return w.accept(f, regs, sp, trust)
		}
	}
	if regs, ok := w.cpu.framePointer(w, f); ok {
		if next, ok := w.accept(f, regs, sp, TrustFramePointer); ok || w.cpu.chainEnds {
			return next, ok
		}
	}
	if regs, ok := w.cpu.scan(w, f); ok {
		return w.accept(f, regs, sp, TrustScan)
	}
	return Frame{}, false
}

func (w *walker) apply(f *Frame, r cfi.Rules) (cfi.Registers, error) {
	if w.cpu.apply != nil {
		return w.cpu.apply(w, f, r)
	}
	return r.Unwind(&f.Registers, w.read)
}

// accept makes a frame of a caller's registers, unless they say that the stack ends or make no progress.
func (w *walker) accept(f *Frame, regs cfi.Registers, calleeSP uint64, trust Trust) (Frame, bool) {
	pc, _ := regs.Get(w.cpu.PC)
	sp, ok := regs.Get(w.cpu.SP)
	if !ok || pc < pageSize || w.cpu.PointerSize == 4 && sp>>32 != 0 {
		return Frame{}, false
	}
	// A signal handler may run on a stack of its own, so its caller may be anywhere.
	signal := f.Signal && trust == TrustCFI
	if sp <= calleeSP && !signal && !w.leafReturn(f, pc, sp == calleeSP) {
		return Frame{}, false
	}
	if sp != calleeSP {
		w.still = 0
	}
	next := Frame{PC: pc, Lookup: pc - w.cpu.callSize, Registers: regs, Trust: trust}
	if signal {
		next.Lookup = pc
	}
	return next, true
}

// leafReturn reports whether a caller may have the stack pointer of f: where calls leave the return
// address in a register, functions need no stack. It must be elsewhere at least, and rules that send
// each other to and fro come to an end.
func (w *walker) leafReturn(f *Frame, pc uint64, same bool) bool {
	if !same || w.cpu.LR == w.cpu.PC || pc == f.PC {
		return false
	}
	w.still++
	return w.still <= maxStill
}

// read reads memory of the process: the thread's stack, or whatever else the dump has.
func (w *walker) read(addr uint64, size uint8) (uint64, bool) {
	b := w.stack.Read(addr, uint64(size))
	if b == nil {
		if b = w.dump.Memory.Read(addr, uint64(size)); b == nil {
			return 0, false
		}
	}
	switch size {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(w.order.Uint16(b)), true
	case 4:
		return uint64(w.order.Uint32(b)), true
	case 8:
		return w.order.Uint64(b), true
	}
	return 0, false
}

// word reads a pointer. The memory of a 32-bit process ends at 4 GiB, whatever the dump says.
func (w *walker) word(addr uint64) (uint64, bool) {
	if w.cpu.PointerSize == 4 && addr>>32 != 0 {
		return 0, false
	}
	return w.read(addr, w.cpu.PointerSize)
}

// returnAddress reports whether a word found by scanning may be one: it points behind an instruction of
// a module, in a function if the module's are known. Code outside modules, as of just-in-time compilers,
// cannot be told from data.
func (w *walker) returnAddress(addr uint64) bool {
	if !w.cpu.canonical(addr) || addr == 0 {
		return false
	}
	addr -= w.cpu.callSize
	m := w.dump.ModuleAt(addr)
	if m == nil {
		return false
	}
	covered, known := w.provider.Covered(m, addr-m.Addr)
	return covered || !known
}
