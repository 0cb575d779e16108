package triage

import (
	"fmt"

	"salvage/debug/minidump"
)

// signals are those of asm-generic/signal.h. MIPS and SPARC number some differently; their dumps get
// these names too, as in rust-minidump.
var signals = []string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 10: "SIGUSR1",
	11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP", 20: "SIGTSTP",
	21: "SIGTTIN", 22: "SIGTTOU", 23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO", 30: "SIGPWR",
	31: "SIGSYS",
}

// dumpRequested stands for a signal in dumps that were asked for (MD_EXCEPTION_CODE_LIN_DUMP_REQUESTED of
// Breakpad's minidump_exception_linux.h, kSimulatedSigno of Crashpad's signals.h).
const dumpRequested = 0xffffffff

// signalCodes are the values of si_code that mean something else for each signal (asm-generic/siginfo.h).
var signalCodes = [][]string{
	4:  {1: "ILL_ILLOPC", 2: "ILL_ILLOPN", 3: "ILL_ILLADR", 4: "ILL_ILLTRP", 5: "ILL_PRVOPC", 6: "ILL_PRVREG", 7: "ILL_COPROC", 8: "ILL_BADSTK", 9: "ILL_BADIADDR"},
	5:  {1: "TRAP_BRKPT", 2: "TRAP_TRACE", 3: "TRAP_BRANCH", 4: "TRAP_HWBKPT", 5: "TRAP_UNK", 6: "TRAP_PERF"},
	7:  {1: "BUS_ADRALN", 2: "BUS_ADRERR", 3: "BUS_OBJERR", 4: "BUS_MCEERR_AR", 5: "BUS_MCEERR_AO"},
	8:  {1: "FPE_INTDIV", 2: "FPE_INTOVF", 3: "FPE_FLTDIV", 4: "FPE_FLTOVF", 5: "FPE_FLTUND", 6: "FPE_FLTRES", 7: "FPE_FLTINV", 8: "FPE_FLTSUB"},
	11: {1: "SEGV_MAPERR", 2: "SEGV_ACCERR", 3: "SEGV_BNDERR", 4: "SEGV_PKUERR"},
	31: {1: "SYS_SECCOMP", 2: "SYS_USER_DISPATCH"},
}

// anyCodes are the values of si_code that say who sent a signal, whichever it is (asm-generic/siginfo.h).
var anyCodes = names{
	{0x80, "SI_KERNEL"}, {-1, "SI_QUEUE"}, {-2, "SI_TIMER"}, {-3, "SI_MESGQ"}, {-4, "SI_ASYNCIO"}, {-5, "SI_SIGIO"},
	{-6, "SI_TKILL"}, {-7, "SI_DETHREAD"}, {-60, "SI_ASYNCNL"},
}

// linuxReason returns "" for signals without a name, such as the real-time ones.
func linuxReason(e *minidump.Exception) string {
	signal := at(signals, e.Code)
	if e.Code == dumpRequested {
		signal = "DUMP_REQUESTED"
	}
	if signal == "" {
		return ""
	}
	code := ""
	if e.Code < uint32(len(signalCodes)) {
		code = at(signalCodes[e.Code], e.Flags)
	}
	if code == "" {
		code = anyCodes.of(int64(int32(e.Flags)))
	}
	switch {
	case code != "":
		return signal + " / " + code
	case e.Flags == 0: // SI_USER, and what writers leave that do not know si_code
		return signal
	}
	return fmt.Sprintf("%s / 0x%08x", signal, e.Flags)
}
