package triage

import (
	"slices"

	"golang.org/x/arch/x86/x86asm"

	"salvage/debug/minidump"
)

// Adjustment says what an address that was made of others was recovered as.
type Adjustment uint8

// The adjustments.
const (
	NotAdjusted Adjustment = iota
	// NullPointer: the pointer was null, and the address is the offset from it.
	NullPointer
	// NonCanonical: the upper bits of the address are not all those of bit 47, as amd64 wants them. Systems do
	// not learn which one it was and tell 0 or −1.
	NonCanonical
)

func nonCanonical(addr uint64) bool { return addr-0x0000_8000_0000_0000 <= 0xfffe_ffff_ffff_ffff }

// faultOfProtection reports whether a crash is the one that a general protection fault of amd64 becomes.
func (c *Crash) faultOfProtection(s *minidump.SystemInfo) bool {
	switch s.OS {
	case minidump.OSWindows:
		return c.Reason == "EXCEPTION_ACCESS_VIOLATION_READ" && c.Address == ^uint64(0)
	case minidump.OSMacOS, minidump.OSIOS:
		return c.Reason == "EXC_BAD_ACCESS / EXC_I386_GPFLT" && c.Address == 0
	case minidump.OSLinux, minidump.OSAndroid:
		return (c.Reason == "SIGSEGV / SI_KERNEL" || c.Reason == "SIGBUS / SI_KERNEL") && c.Address == 0
	}
	return false
}

// adjust recovers the address an instruction really used.
func (c *Crash) adjust(s *minidump.SystemInfo) {
	i := c.Instruction
	if i == nil || !i.AccessesKnown {
		return
	}
	addresses := i.Accesses
	if i.HasTarget {
		addresses = append(slices.Clip(addresses), Access{Address: i.Target, NullPointer: i.Target == 0})
	}
	if n := slices.IndexFunc(addresses, func(a Access) bool { return a.NullPointer }); n >= 0 {
		c.Adjusted, c.AdjustedAddress = NullPointer, addresses[n].Address
		return
	}
	if !c.faultOfProtection(s) {
		return
	}
	if n := slices.IndexFunc(addresses, func(a Access) bool { return nonCanonical(a.Address) }); n >= 0 {
		c.Adjusted, c.AdjustedAddress = NonCanonical, addresses[n].Address
	}
}

// Inconsistencies a crash may have, by their names in reports.
const (
	NoDivision         = "int_div_by_zero_not_possible"
	NotPrivileged      = "priv_instruction_crash_without_priv_instruction"
	NotNonCanonical    = "non_canonical_address_falsely_reported"
	AccessAllowed      = "access_violation_when_access_allowed"
	AccessNotPerformed = "crashing_access_not_found_in_memory_accesses"
)

// privileged are the instructions that user mode may not use, or not always (Intel SDM volume 3, section 5.9).
var privileged = []x86asm.Op{
	x86asm.CLI, x86asm.CLTS, x86asm.HLT, x86asm.IN, x86asm.INSB, x86asm.INSD, x86asm.INSW, x86asm.INT, x86asm.INTO, x86asm.INVD, x86asm.INVLPG,
	x86asm.IRET, x86asm.IRETD, x86asm.IRETQ, x86asm.LGDT, x86asm.LIDT, x86asm.LLDT, x86asm.LMSW, x86asm.LTR, x86asm.MONITOR, x86asm.MOV,
	x86asm.MWAIT, x86asm.OUT, x86asm.OUTSB, x86asm.OUTSD, x86asm.OUTSW, x86asm.RDMSR, x86asm.RDPMC, x86asm.RDTSC, x86asm.RDTSCP, x86asm.LRET,
	x86asm.STI, x86asm.SWAPGS, x86asm.SYSEXIT, x86asm.SYSRET, x86asm.WBINVD, x86asm.WRMSR, x86asm.XSETBV,
}

// check looks for what cannot be: a reason that the instruction cannot have been the cause of. Faulty
// processors and exploits do that.
func (c *Crash) check(m *machine, s space, o operation) {
	i := c.Instruction
	add := func(holds bool, name string) {
		if holds {
			c.Inconsistencies = append(c.Inconsistencies, name)
		}
	}
	switch c.Reason {
	case "EXC_ARITHMETIC / EXC_PPC_ZERO_DIVIDE", "EXC_ARITHMETIC / EXC_I386_DIV", "SIGFPE / FPE_INTDIV", "EXCEPTION_INT_DIVIDE_BY_ZERO":
		add(i != nil && i.op != x86asm.DIV && i.op != x86asm.IDIV, NoDivision)
	case "EXCEPTION_PRIV_INSTRUCTION":
		add(i != nil && !slices.Contains(privileged, i.op), NotPrivileged)
	case "EXCEPTION_ACCESS_VIOLATION_READ", "EXCEPTION_ACCESS_VIOLATION_WRITE", "EXCEPTION_ACCESS_VIOLATION_EXEC", "EXCEPTION_STACK_OVERFLOW":
		missing := c.accessMissing(m, o)
		if missing && c.faultOfProtection(m.d.System) {
			// Accesses that are not aligned fault the same way.
			add(i.op != x86asm.MOVAPS && !c.usesNonCanonical(), NotNonCanonical)
			return
		}
		add(missing, AccessNotPerformed)
		n := s.find(c.Address)
		add(n >= 0 && s[n].allows(o, false), AccessAllowed)
	}
}

// accessMissing reports whether the access that a reason tells of is certain not to be the instruction's.
func (c *Crash) accessMissing(m *machine, o operation) bool {
	i := c.Instruction
	if i == nil || !i.AccessesKnown {
		return false
	}
	if o == executing {
		return m.context.PC() != c.Address
	}
	if _, derivable := known[i.op]; !derivable {
		return false
	}
	if o == unknownOperation { // an overflow of the stack, by whatever
		return len(i.Accesses) == 0
	}
	return !slices.ContainsFunc(i.Accesses, func(a Access) bool {
		return a.contains(c.Address) && (o == reading && a.Read || o == writing && a.Write)
	})
}

// usesNonCanonical reports whether an instruction uses a non-canonical address, or may do so.
func (c *Crash) usesNonCanonical() bool {
	i := c.Instruction
	if !i.HasTarget && !i.FallsThrough || i.HasTarget && nonCanonical(i.Target) {
		return true
	}
	return slices.ContainsFunc(i.Accesses, func(a Access) bool { return nonCanonical(a.Address) })
}
