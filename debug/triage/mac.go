package triage

import (
	"fmt"

	"salvage/debug/minidump"
)

// machExceptions are those of xnu's mach/exception_types.h. EXC_CRASH and EXC_CORPSE_NOTIFY are unknown, as
// in rust-minidump: Crashpad writes what is within an EXC_CRASH.
var machExceptions = []string{
	1: "EXC_BAD_ACCESS", 2: "EXC_BAD_INSTRUCTION", 3: "EXC_ARITHMETIC", 4: "EXC_EMULATION", 5: "EXC_SOFTWARE", 6: "EXC_BREAKPOINT",
	7: "EXC_SYSCALL", 8: "EXC_MACH_SYSCALL", 9: "EXC_RPC_ALERT", 11: "EXC_RESOURCE", 12: "EXC_GUARD",
}

const (
	excCrash    = 10
	excResource = 11
	excGuard    = 12

	// What Crashpad's clients put in place of an exception: exception_types.h and simulate_crash_mac.h.
	simulated   = 0x43507378 // "CPsx"
	nsException = 0x43506e78 // "CPnx"
)

// machNames names the codes of an exception: those on any CPU, and those that depend on it. There are
// none for 32-bit ARM and 64-bit PowerPC.
type machNames struct{ any, arm64, ppc, x86 names }

// machCodes holds the codes of each exception: mach/kern_return.h, and exception.h of mach/arm,
// mach/ppc and mach/i386 in xnu.
var machCodes = []machNames{
	1: {
		any: names{
			{1, "KERN_INVALID_ADDRESS"}, {2, "KERN_PROTECTION_FAILURE"}, {5, "KERN_FAILURE"}, {8, "KERN_NO_ACCESS"},
			{9, "KERN_MEMORY_FAILURE"}, {10, "KERN_MEMORY_ERROR"}, {50, "KERN_CODESIGN_ERROR"},
		},
		arm64: names{{0x101, "EXC_ARM_DA_ALIGN"}, {0x102, "EXC_ARM_DA_DEBUG"}, {0x103, "EXC_ARM_SP_ALIGN"}, {0x104, "EXC_ARM_SWP"}, {0x105, "EXC_ARM_PAC_FAIL"}},
		ppc:   names{{0x101, "EXC_PPC_VM_PROT_READ"}, {0x102, "EXC_PPC_BADSPACE"}, {0x103, "EXC_PPC_UNALIGNED"}},
		x86:   names{{13, "EXC_I386_GPFLT"}},
	},
	2: {
		arm64: names{{1, "EXC_ARM_UNDEFINED"}},
		ppc: names{
			{1, "EXC_PPC_INVALID_SYSCALL"}, {2, "EXC_PPC_UNIPL_INST"}, {3, "EXC_PPC_PRIVINST"}, {4, "EXC_PPC_PRIVREG"},
			{5, "EXC_PPC_TRACE"}, {6, "EXC_PPC_PERFMON"},
		},
		x86: names{
			{1, "EXC_I386_INVOP"}, {10, "EXC_I386_INVTSSFLT"}, {11, "EXC_I386_SEGNPFLT"}, {12, "EXC_I386_STKFLT"},
			{13, "EXC_I386_GPFLT"}, {17, "EXC_I386_ALIGNFLT"},
		},
	},
	3: {
		arm64: names{
			{1, "EXC_ARM_FP_IO"}, {2, "EXC_ARM_FP_DZ"}, {3, "EXC_ARM_FP_OF"}, {4, "EXC_ARM_FP_UF"}, {5, "EXC_ARM_FP_IX"},
			{6, "EXC_ARM_FP_ID"},
		},
		ppc: names{
			{1, "EXC_PPC_OVERFLOW"}, {2, "EXC_PPC_ZERO_DIVIDE"}, {3, "EXC_FLT_INEXACT"}, {4, "EXC_PPC_FLT_ZERO_DIVIDE"},
			{5, "EXC_PPC_FLT_UNDERFLOW"}, {6, "EXC_PPC_FLT_OVERFLOW"}, {7, "EXC_PPC_FLT_NOT_A_NUMBER"},
			{8, "EXC_PPC_NOEMULATION"}, {9, "EXC_PPC_ALTIVECASSIST"},
		},
		x86: names{
			{1, "EXC_I386_DIV"}, {2, "EXC_I386_INTO"}, {3, "EXC_I386_NOEXT"}, {4, "EXC_I386_EXTOVR"}, {5, "EXC_I386_EXTERR"},
			{6, "EXC_I386_EMERR"}, {7, "EXC_I386_BOUND"}, {8, "EXC_I386_SSEEXTERR"},
		},
	},
	// 0x10002 is EXC_UNIX_ABORT of bsd/sys/ux_exception.h, 0xdeadc0de Breakpad's mark.
	5: {any: names{{0x10002, "SIGABRT"}, {0xdeadc0de, "UNCAUGHT_NS_EXCEPTION"}, {1, "EXC_PPC_TRAP"}, {0x10100, "EXC_PPC_MIGRATE"}}},
	6: {
		arm64: names{{1, "EXC_ARM_BREAKPOINT"}},
		ppc:   names{{1, "EXC_PPC_BREAKPOINT"}},
		x86:   names{{1, "EXC_I386_SGL"}, {2, "EXC_I386_BPT"}},
	},
}

// of returns the name of a code on a CPU, or "".
func (m *machNames) of(code uint32, cpu minidump.CPU) string {
	own := names(nil)
	switch cpu {
	case minidump.CPUARM64:
		own = m.arm64
	case minidump.CPUPPC:
		own = m.ppc
	case minidump.CPUX86, minidump.CPUAMD64:
		own = m.x86
	}
	if name := m.any.of(int64(code)); name != "" {
		return name
	}
	return own.of(int64(code))
}

// crashSignals are the signals that become an EXC_CRASH: those with SA_CORE in xnu's sys/signalvar.h, and
// SIGKILL for a broken code signature.
var crashSignals = []string{
	3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGEMT", 8: "SIGFPE", 9: "SIGKILL", 10: "SIGBUS", 11: "SIGSEGV",
	12: "SIGSYS",
}

// macReason returns "" for exceptions without a name.
func macReason(e *minidump.Exception, cpu minidump.CPU) string {
	switch e.Code {
	case simulated:
		return "Simulated Exception"
	case nsException: // the text is Breakpad's
		return "Uncaught NSException"
	case 0:
		// abort() and others end in a signal, which the kernel wraps into an EXC_CRASH. Crashpad writes the exception
		// the signal was made of, which is none, and the EXC_CRASH as parameters: 0xa 0x6000000 is SIGABRT.
		if e.NumParameters >= 2 && e.Information[0] == excCrash {
			if signal := at(crashSignals, uint32(e.Information[1]>>24&0xff)); signal != "" {
				return "EXC_CRASH / " + signal
			}
		}
		return ""
	case excResource:
		if text := resource(e); text != "" {
			return text
		}
	case excGuard:
		if text := guard(e); text != "" {
			return text
		}
	}
	exception, code := at(machExceptions, e.Code), ""
	if exception == "" {
		return ""
	}
	if e.Code < uint32(len(machCodes)) {
		code = machCodes[e.Code].of(e.Flags, cpu)
	}
	if code != "" {
		return exception + " / " + code
	}
	return fmt.Sprintf("%s / 0x%08x", exception, e.Flags)
}
