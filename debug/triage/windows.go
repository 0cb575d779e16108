package triage

import (
	_ "embed" // windows.txt
	"fmt"
	"strconv"
	"strings"

	"salvage/debug/minidump"
)

// windows names the codes of Windows: lines "table code name", sorted, behind lines of comment. It is
// searched as it is, so that it costs nothing until a dump needs it and no memory then.
//
//go:generate go run testdata/codes.go
//go:embed windows.txt
var windows string

// The tables of windows.txt.
const (
	exceptions = 'e' // EXCEPTION_… of winnt.h and winbase.h, and codes of the C++ and .NET runtimes, Chromium and Crashpad
	fastFails  = 'f' // FAST_FAIL_… of winnt.h
	ntStatuses = 'n' // STATUS_… and others of ntstatus.h
	winErrors  = 'w' // ERROR_… and RPC_… of winerror.h
)

// windowsName returns the name of code in a table, or "".
func windowsName(table byte, code uint32) string {
	want := uint64(table)<<32 | uint64(code)
	for lo, hi := 0, len(windows); lo < hi; { // both at the start of a line
		mid := lo + (hi-lo)/2
		start := lo + strings.LastIndexByte(windows[lo:mid], '\n') + 1
		line, _, _ := strings.Cut(windows[start:], "\n")
		code, _ := strconv.ParseUint(line[2:10], 16, 32) // 0 for comments, which sort before all tables
		switch got := uint64(line[0])<<32 | code; {
		case got == want:
			return line[11:]
		case got < want:
			lo = start + len(line) + 1
		default:
			hi = start
		}
	}
	return ""
}

// Codes whose exceptions say more in their parameters: EXCEPTION_RECORD in Microsoft's documentation,
// and that of __fastfail.
const (
	accessViolation    = 0xc0000005
	inPageError        = 0xc0000006
	stackBufferOverrun = 0xc0000409
)

// accesses are the values of the first parameter of access violations and in-page errors.
var accesses = names{{0, "READ"}, {1, "WRITE"}, {8, "EXEC"}}

// spelled are the exceptions whose text is not their name.
var spelled = names{{0xe0000008, "Out of Memory"}, {0xe06d7363, "Unhandled C++ Exception"}, {0x0517a7ed, "Simulated Exception"}}

func windowsReason(e *minidump.Exception) string {
	access := accesses.of(int64(e.Information[0]))
	switch {
	case e.Code == accessViolation && e.NumParameters >= 1 && access != "":
		return "EXCEPTION_ACCESS_VIOLATION_" + access
	case e.Code == inPageError && e.NumParameters >= 3 && access != "":
		// Why a page of a mapped file could not be read: a network share or a USB stick that is gone.
		return "EXCEPTION_IN_PAGE_ERROR_" + access + " / " + nameOrNumber(ntStatuses, e.Information[2])
	case e.Code == stackBufferOverrun && e.NumParameters >= 1:
		// The code of every __fastfail, whatever it found: few are about buffers.
		return "EXCEPTION_STACK_BUFFER_OVERRUN / " + nameOrNumber(fastFails, e.Information[0])
	}
	if text := spelled.of(int64(e.Code)); text != "" {
		return text
	}
	if name := windowsName(exceptions, e.Code); name != "" {
		return name
	}
	return WindowsError(e.Code)
}

// nameOrNumber names the low half of a parameter; writers leave anything in the high half.
func nameOrNumber(table byte, parameter uint64) string {
	if name := windowsName(table, uint32(parameter)); name != "" {
		return name
	}
	return fmt.Sprintf("0x%08x", uint32(parameter))
}

// facilityVisualCPP marks codes of winerror.h raised by the Visual C++ runtime (FACILITY_VISUALCPP of
// winerror.h).
const facilityVisualCPP = 109

// WindowsError returns the text for a value of GetLastError: the name of a Windows error or, failing
// that, of an NTSTATUS. Numbers that are both are mostly errors, as 0x103 is ERROR_NO_MORE_ITEMS rather than
// STATUS_PENDING.
func WindowsError(code uint32) string {
	for _, table := range []byte{winErrors, ntStatuses} {
		if name := windowsName(table, code); name != "" {
			return name
		}
	}
	// The helper for delay-loaded DLLs raises 0xc06d007e for one it cannot find: severity 0xc, a facility in 12 bits,
	// then a Windows error.
	if code>>28 != 0 && code>>16&0xfff == facilityVisualCPP {
		if name := windowsName(winErrors, code&0xffff); name != "" {
			return "FACILITY_VISUALCPP / " + name
		}
	}
	return fmt.Sprintf("unknown 0x%08x", code)
}
