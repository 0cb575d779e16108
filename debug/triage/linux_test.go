package triage_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/minidump/minidumptest"
	"salvage/debug/triage"
	"salvage/internal/debugtest"
)

func linux(t *testing.T, code, flags uint32, want string) {
	t.Helper()
	for _, platform := range []uint32{minidumptest.Linux, minidumptest.Android} {
		reason(t, platform, minidumptest.ARM64, minidumptest.Exception{Code: code, Flags: flags}, want)
	}
}

func TestSignals(t *testing.T) {
	for i, name := range strings.Fields(`HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT
		CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS`) {
		linux(t, uint32(i+1), 0, "SIG"+name)
	}
	for _, code := range []uint32{0, 32, 34, 64, 0x7fffffff, 0xfffffffe} { // 32 and above are real-time signals
		linux(t, code, 6, fmt.Sprintf("unknown 0x%08x / 0x00000006", code))
	}
}

func TestSignalCodes(t *testing.T) {
	for _, list := range []string{
		"4 SIGILL ILL_ILLOPC ILL_ILLOPN ILL_ILLADR ILL_ILLTRP ILL_PRVOPC ILL_PRVREG ILL_COPROC ILL_BADSTK ILL_BADIADDR",
		"5 SIGTRAP TRAP_BRKPT TRAP_TRACE TRAP_BRANCH TRAP_HWBKPT TRAP_UNK TRAP_PERF",
		"7 SIGBUS BUS_ADRALN BUS_ADRERR BUS_OBJERR BUS_MCEERR_AR BUS_MCEERR_AO",
		"8 SIGFPE FPE_INTDIV FPE_INTOVF FPE_FLTDIV FPE_FLTOVF FPE_FLTUND FPE_FLTRES FPE_FLTINV FPE_FLTSUB",
		"11 SIGSEGV SEGV_MAPERR SEGV_ACCERR SEGV_BNDERR SEGV_PKUERR",
		"31 SIGSYS SYS_SECCOMP SYS_USER_DISPATCH",
		"6 SIGABRT", // has none
	} {
		var signal uint32
		fields := strings.Fields(list)
		fmt.Sscan(fields[0], &signal)
		for i, code := range fields[2:] {
			linux(t, signal, uint32(i+1), fields[1]+" / "+code)
		}
		next := uint32(len(fields) - 1)
		linux(t, signal, next, fmt.Sprintf("%s / 0x%08x", fields[1], next))
	}
}

// A signal that was sent says by whom. Kernel and tgkill are the common ones: abort() is a SIGABRT of tgkill.
func TestSentSignals(t *testing.T) {
	for code, name := range map[int32]string{
		0x80: "SI_KERNEL", -1: "SI_QUEUE", -2: "SI_TIMER", -3: "SI_MESGQ", -4: "SI_ASYNCIO", -5: "SI_SIGIO", -6: "SI_TKILL",
		-7: "SI_DETHREAD", -60: "SI_ASYNCNL",
	} {
		linux(t, 6, uint32(code), "SIGABRT / "+name)
		linux(t, 11, uint32(code), "SIGSEGV / "+name)
	}
	linux(t, 11, 0, "SIGSEGV") // kill -SEGV
	linux(t, 6, 0xfffffff8, "SIGABRT / 0xfffffff8")
	linux(t, 11, 0x12345678, "SIGSEGV / 0x12345678")
}

func TestDumpRequested(t *testing.T) {
	linux(t, 0xffffffff, 0, "DUMP_REQUESTED")
	linux(t, 0xffffffff, 7, "DUMP_REQUESTED / 0x00000007")
}

// MIPS numbers SIGBUS 10 and has SIGEMT at 7, but dumps are read with the numbers of the other CPUs.
func TestMIPSSignals(t *testing.T) {
	reason(t, minidumptest.Linux, 1, minidumptest.Exception{Code: 10, Flags: 1}, "SIGUSR1 / 0x00000001")
}

// linux.txt is what the headers of this machine's Linux say, as far as they know its names.
func TestLinuxNamesOfHeaders(t *testing.T) {
	defined := regexp.MustCompile(`(?m)^#define\s+([A-Z_0-9]+)\s+\(?(-?\w+)\)?\s*(?:/\*.*)?$`)
	number := map[string]string{}
	for _, header := range []string{"signal.h", "siginfo.h"} {
		data, err := os.ReadFile("/usr/include/asm-generic/" + header)
		if err != nil {
			debugtest.Require(t, "linux", err.Error())
		}
		for _, m := range defined.FindAllStringSubmatch(string(data), -1) {
			if v, err := strconv.ParseInt(m[2], 0, 64); err == nil {
				number[m[1]] = fmt.Sprintf("%08x", uint32(v))
			}
		}
	}
	checked := 0
	for line := range strings.Lines(string(triage.Linux)) {
		if fields := strings.Fields(line); fields[0] != "#" && number[fields[2]] != "" {
			if number[fields[2]] != fields[1] {
				t.Errorf("%s is %s in the headers", strings.TrimSpace(line), number[fields[2]])
			}
			checked++
		}
	}
	if checked < 70 {
		t.Errorf("%d names are in the headers", checked)
	}
	t.Logf("%d names", checked)
}
