package triage

import (
	_ "embed" // mach.txt
	"fmt"

	"salvage/debug/internal/tables"
	"salvage/debug/minidump"
)

//go:embed mach.txt
var mach tables.Names

const (
	excCrash    = 10
	excResource = 11
	excGuard    = 12
)

// machCode names the code of an exception on a CPU, or returns "".
func machCode(e *minidump.Exception, cpu minidump.CPU) string {
	table := fmt.Sprintf("code.%d", e.Code)
	if name := mach.Name(table, e.Flags); name != "" {
		return name
	}
	if cpu == minidump.CPUAMD64 {
		cpu = minidump.CPUX86
	}
	return mach.Name(table+"."+cpu.String(), e.Flags)
}

// macReason returns "" for exceptions without a name.
func macReason(e *minidump.Exception, cpu minidump.CPU) string {
	if text := mach.Name("text", e.Code); text != "" {
		return text
	}
	text := ""
	switch e.Code {
	case 0:
		// abort() and others end in a signal, which the kernel wraps into an EXC_CRASH. Crashpad writes the exception
		// the signal was made of, which is none, and the EXC_CRASH as parameters: 0xa 0x6000000 is SIGABRT.
		if e.NumParameters >= 2 && e.Information[0] == excCrash {
			if signal := mach.Name("signal", uint32(e.Information[1]>>24&0xff)); signal != "" {
				return "EXC_CRASH / " + signal
			}
		}
		return ""
	case excResource:
		text = resource(e)
	case excGuard:
		text = guard(e)
	}
	if text != "" {
		return text
	}
	exception := mach.Name("exception", e.Code)
	if exception == "" {
		return ""
	}
	if code := machCode(e, cpu); code != "" {
		return exception + " / " + code
	}
	return fmt.Sprintf("%s / 0x%08x", exception, e.Flags)
}
