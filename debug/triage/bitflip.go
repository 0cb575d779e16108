package triage

import "salvage/debug/minidump"

// BitFlip is an address that would have been good, and differs in one bit from the one that was not: faulty
// memory may be why.
type BitFlip struct {
	Address  uint64
	Register string // that the wrong address was in; empty if it is that of the crash itself
	// What speaks for it and against it.
	NonCanonical    bool   // the wrong address was none that a processor takes
	Null            bool   // Address is 0: a test for null may have gone wrong
	Low             bool   // and the wrong address was a small number, as programs have many of
	NearbyRegisters uint32 // hold something close to Address
	Poison          bool   // a register holds a pattern of freed memory
	// Confidence is between 0 and 1, made of these: version 1 of the heuristic, that of rust-minidump 0.27.
	Confidence float32
}

const (
	nearby = 1 << 12
	low    = 2 * nearby
)

// poisons are the bytes that allocators fill memory with, repeated: js/src/util/Poison.h of Firefox, and
// those of jemalloc.
const poisons = "\x2b\x2d\x2f\x49\x4b\x4d\x4f\x6b\x8b\x9b\x9f\xa5\xbb\xcc\xcd\xce\xdb\xe5"

// judge fills in what speaks for a flip of the bit that makes a good address of wrong.
func (f *BitFlip) judge(wrong uint64, context *minidump.Context) {
	f.Null = f.Address == 0
	f.Low = f.Null && wrong <= low
	if context != nil {
		for _, v := range context.Regs[:len(context.CPU.RegisterNames())] {
			if distance := max(v, f.Address) - min(v, f.Address); f.Address > low && distance <= nearby {
				f.NearbyRegisters++
			}
			if v == v&0xff*0x0101010101010101 {
				for i := range len(poisons) {
					f.Poison = f.Poison || poisons[i] == byte(v)
				}
			}
		}
	}
	doubt := 1 - float32(0.25)
	if f.NonCanonical {
		doubt *= 1 - float32(0.9)
	}
	if f.Null && f.Low {
		doubt *= 1 - float32(0.25)
	} else if f.Null {
		doubt *= 1 - float32(0.5)
	}
	if n := f.NearbyRegisters; n > 0 {
		half := float32(0.5)
		doubt *= 1 - (half + []float32{0, 0.05, 0.1, 0.15}[min(n, 4)-1])
	}
	if f.Confidence = 1 - doubt; f.Poison {
		f.Confidence *= 0.5
	}
}

// bitFlips looks for addresses that one bit makes of the one of the crash, and of the registers that was made
// of. Those of 32 bits and near one another are no evidence; nor is there any on arm64, where the offsets of
// null pointers look like it as long as instructions are not analyzed.
func (c *Crash) bitFlips(m *machine, s space, o operation) {
	if m.d.System == nil || m.d.System.CPU.PointerSize() != 8 || m.d.System.CPU == minidump.CPUARM64 || c.Adjusted == NullPointer {
		return
	}
	addr, first, behind := c.Address, 0, 64
	switch {
	case c.Adjusted == NonCanonical:
		addr, first = c.AdjustedAddress, 48
	case m.d.System.CPU == minidump.CPUAMD64:
		behind = 48
	}
	size := uint64(0)
	if c.Instruction != nil {
		for _, a := range c.Instruction.Accesses {
			if a.contains(c.Address) {
				addr, size = a.Address, uint64(a.Size)
				break
			}
		}
	}
	try := func(wrong uint64, register string) {
		if i := s.find(wrong); i >= 0 && s[i].allows(o, true) {
			return
		}
		if d, ok := s.distance(wrong, o); ok && d < size {
			return // it ran over an end
		}
		for bit := first; bit < behind; bit++ {
			f := BitFlip{Address: wrong ^ 1<<bit, Register: register, NonCanonical: c.Adjusted == NonCanonical}
			if i := s.find(f.Address); f.Address == 0 || i >= 0 && s[i].allows(o, true) {
				f.judge(wrong, m.context)
				c.BitFlips = append(c.BitFlips, f)
			}
		}
	}
	try(addr, "")
	if c.Instruction != nil {
		for _, name := range c.Instruction.registers {
			for i, n := range m.context.CPU.RegisterNames() {
				if n == name {
					try(m.context.Regs[i], name)
				}
			}
		}
	}
}
