package triage

import (
	_ "embed" // linux.txt
	"fmt"

	"salvage/debug/internal/tables"
	"salvage/debug/minidump"
)

//go:embed linux.txt
var linux tables.Names

// linuxReason returns "" for signals without a name, such as the real-time ones.
func linuxReason(e *minidump.Exception) string {
	signal := linux.Name("signal", e.Code)
	if signal == "" {
		return ""
	}
	code := linux.Name(fmt.Sprintf("code.%d", e.Code), e.Flags)
	if code == "" {
		code = linux.Name("sent", e.Flags)
	}
	switch {
	case code != "":
		return signal + " / " + code
	case e.Flags == 0: // SI_USER, and what writers leave that do not know si_code
		return signal
	}
	return fmt.Sprintf("%s / 0x%08x", signal, e.Flags)
}
