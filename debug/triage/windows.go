package triage

import (
	_ "embed" // windows.txt
	"fmt"

	"salvage/debug/internal/tables"
	"salvage/debug/minidump"
)

//go:generate go run testdata/codes.go
//go:embed windows.txt
var windows tables.Names

// The tables of windows.txt.
const (
	accesses   = "a" // the first parameter of access violations and in-page errors
	exceptions = "e" // EXCEPTION_… of winnt.h and winbase.h, and codes of the C++ and .NET runtimes, Chromium and Crashpad
	fastFails  = "f" // FAST_FAIL_… of winnt.h
	ntStatuses = "n" // STATUS_… and others of ntstatus.h
	spelled    = "t" // exceptions whose text is not their name
	winErrors  = "w" // ERROR_… and RPC_… of winerror.h
)

// Codes whose exceptions say more in their parameters: EXCEPTION_RECORD in Microsoft's documentation,
// and that of __fastfail.
const (
	accessViolation    = 0xc0000005
	inPageError        = 0xc0000006
	stackBufferOverrun = 0xc0000409
)

func windowsReason(e *minidump.Exception) string {
	access := ""
	if e.Information[0]>>32 == 0 {
		access = windows.Name(accesses, uint32(e.Information[0]))
	}
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
	for _, table := range []string{spelled, exceptions} {
		if text := windows.Name(table, e.Code); text != "" {
			return text
		}
	}
	return WindowsError(e.Code)
}

// nameOrNumber names the low half of a parameter; writers leave anything in the high half.
func nameOrNumber(table string, parameter uint64) string {
	if name := windows.Name(table, uint32(parameter)); name != "" {
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
	for _, table := range []string{winErrors, ntStatuses} {
		if name := windows.Name(table, code); name != "" {
			return name
		}
	}
	// The helper for delay-loaded DLLs raises 0xc06d007e for one it cannot find: severity 0xc, a facility in 12 bits,
	// then a Windows error.
	if code>>28 != 0 && code>>16&0xfff == facilityVisualCPP {
		if name := windows.Name(winErrors, code&0xffff); name != "" {
			return "FACILITY_VISUALCPP / " + name
		}
	}
	return fmt.Sprintf("unknown 0x%08x", code)
}
