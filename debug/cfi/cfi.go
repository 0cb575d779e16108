// Package cfi reads unwind rules of every format into one compiled form and applies them: given the
// registers of a function and the memory of its thread, what were the registers of its caller.
//
// A Builder takes rules from .eh_frame and .debug_frame sections or from the STACK CFI records of Breakpad
// symbol files and writes a cficache, a lookup file specified in FORMAT.md; a Cache opened over one finds the
// rules at an address and Rules.Unwind applies them. There is no other form and no other evaluator.
//
// It does no I/O. A Cache is immutable and safe for concurrent use and aliases its bytes. Malformed
// input yields a *debug.FormatError, a counted problem or an error of Unwind, never a panic and never
// unbounded work.
package cfi

import (
	"errors"
	"strings"
)

// CPU says what unwinding must know about a CPU. Registers have the numbers of its DWARF mapping, as in
// package minidump.
type CPU struct {
	Name        string // as Breakpad has it
	PointerSize uint8
	PC, SP, FP  uint8
	LR          uint8  // register that calls put the return address into; none: same as PC
	CalleeSaved uint64 // bit set: registers that a function must give back as it found them
	names       []string
	aliases     map[string]uint8
}

// NumRegisters is how many registers of a CPU are known: the integer ones.
const NumRegisters = 33

func setOf(registers ...uint8) (set uint64) {
	for _, r := range registers {
		set |= 1 << r
	}
	return set
}

// The CPUs. Callee-saved sets: System V ABI for i386 and AMD64 (Windows adds rdi and rsi, which its
// unwind data names anyway), AAPCS and AAPCS64.
var (
	X86 = &CPU{
		Name: "x86", PointerSize: 4, PC: 8, SP: 4, FP: 5, LR: 8, CalleeSaved: setOf(3, 5, 6, 7),
		names: strings.Fields("eax ecx edx ebx esp ebp esi edi eip"),
	}
	AMD64 = &CPU{
		Name: "x86_64", PointerSize: 8, PC: 16, SP: 7, FP: 6, LR: 16, CalleeSaved: setOf(3, 6, 12, 13, 14, 15),
		names: strings.Fields("rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip"),
	}
	ARM = &CPU{
		Name: "arm", PointerSize: 4, PC: 15, SP: 13, FP: 11, LR: 14, CalleeSaved: setOf(4, 5, 6, 7, 8, 9, 10, 11),
		names:   strings.Fields("r0 r1 r2 r3 r4 r5 r6 r7 r8 r9 r10 fp r12 sp lr pc"),
		aliases: map[string]uint8{"r11": 11, "ip": 12, "r13": 13, "r14": 14, "r15": 15},
	}
	ARM64 = &CPU{
		Name: "arm64", PointerSize: 8, PC: 32, SP: 31, FP: 29, LR: 30, CalleeSaved: setOf(19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29),
		names:   strings.Fields("x0 x1 x2 x3 x4 x5 x6 x7 x8 x9 x10 x11 x12 x13 x14 x15 x16 x17 x18 x19 x20 x21 x22 x23 x24 x25 x26 x27 x28 fp lr sp pc"),
		aliases: map[string]uint8{"x29": 29, "x30": 30},
	}
)

// CPUByName returns the CPU that files name so, or nil if it is not unwound here.
func CPUByName(arch string) *CPU {
	switch strings.ToLower(arch) {
	case "x86", "i386", "i686":
		return X86
	case "x86_64", "amd64", "x86_64h":
		return AMD64
	case "arm64", "aarch64", "arm64e", "arm64v8":
		return ARM64
	}
	if arch = strings.ToLower(arch); strings.HasPrefix(arch, "arm") && !strings.HasPrefix(arch, "arm64") { // arm64_32 has pointers of 32 bits
		return ARM
	}
	return nil
}

// RegisterName returns the name of register r without sigil.
func (c *CPU) RegisterName(r uint8) string {
	if int(r) < len(c.names) {
		return c.names[r]
	}
	return ""
}

// register returns the number of the register that STACK CFI text names, with or without "$".
func (c *CPU) register(name string) (uint8, bool) {
	name = strings.TrimPrefix(name, "$")
	for i, n := range c.names {
		if n == name {
			return uint8(i), true
		}
	}
	r, ok := c.aliases[name]
	return r, ok
}

func (c *CPU) mask() uint64 { return ^uint64(0) >> (64 - 8*uint(c.PointerSize)) }

// Registers are the registers of one frame, as far as they are known.
type Registers struct {
	Values [NumRegisters]uint64
	Valid  uint64 // bit set
}

// Get returns register r and whether it is known.
func (r *Registers) Get(n uint8) (uint64, bool) {
	if n >= NumRegisters || r.Valid>>n&1 == 0 {
		return 0, false
	}
	return r.Values[n], true
}

// Set makes register n known.
func (r *Registers) Set(n uint8, v uint64) {
	r.Values[n] = v
	r.Valid |= 1 << n
}

// Forget makes register n unknown.
func (r *Registers) Forget(n uint8) { r.Valid &^= 1 << n }

// Memory reads size bytes at an address of the process, in the byte order of the process.
type Memory func(addr uint64, size uint8) (uint64, bool)

// Failures of Unwind.
var (
	// ErrEndOfStack: the rules say that there is no caller.
	ErrEndOfStack = errors.New("end of stack")
	ErrRegister   = errors.New("rule needs a register that is not known")
	ErrMemory     = errors.New("rule reads memory that is not there")
	ErrExpression = errors.New("expression that cannot be evaluated")
)
