package triage

import (
	"fmt"

	"salvage/debug/minidump"
)

// The codes of EXC_RESOURCE and EXC_GUARD have 64 bits: type in the highest three, flavor, numbers.
// Writers put their upper half into Flags, and all of them, after the exception itself, among the
// parameters; how many of these they claim is not looked at, as in rust-minidump.

// resource returns "" for unknown types. The numbers have the width rust-minidump gives them, which for
// percentages of CPU is less than the kernel's: 7 bits are cut to 3.
func resource(e *minidump.Exception) string {
	kind, code, subcode := e.Flags>>29, e.Information[1], e.Information[2]
	name := mach.Name("resource", kind)
	if name == "" {
		return ""
	}
	text := "EXC_RESOURCE / " + name + " / "
	flavor := mach.Name(fmt.Sprintf("resource.%d", kind), uint32(code>>58&7))
	if flavor == "" {
		return text + both(code, subcode)
	}
	text += flavor
	switch kind {
	case 1:
		return fmt.Sprintf("%s interval: %ds CPU limit: %d%% CPU consumed: %d%%", text, code>>7&0x1ffffff, code&7, subcode&7)
	case 2:
		return fmt.Sprintf("%s interval: %ds wakeups permitted: %d wakeups observed: %d", text, code>>20&0xfffff, code&0xfff, subcode&0xfff)
	case 3:
		return fmt.Sprintf("%s high watermark limit: %dMiB", text, code&0x1fff)
	case 4:
		return fmt.Sprintf("%s interval: %ds I/O limit: %d%% I/O observed: %d%%", text, code>>15&0x1ffff, code&0x7fff, subcode&0x7fff)
	}
	return fmt.Sprintf("%s high watermark limit: %d", text, code&0x7fff)
}

// guard returns "" for unknown types.
func guard(e *minidump.Exception) string {
	kind, code, subcode := e.Flags>>29, e.Information[1], e.Information[2]
	name := mach.Name("guard", kind)
	if name == "" {
		return ""
	}
	text := "EXC_GUARD / " + name
	switch kind {
	case 0:
		return text
	case 3: // without a space, as in rust-minidump
		return fmt.Sprintf("%s/ namespace: %d guard identifier: %d", text, uint32(code), subcode)
	}
	flavor := mach.Name(fmt.Sprintf("guard.%d", kind), uint32(code>>32&0x1fffffff))
	if flavor == "" {
		return text + " / " + both(code, subcode)
	}
	text, number := text+" / "+flavor, code&0xfffffff
	switch kind {
	case 1:
		text = fmt.Sprintf("%s port name: %d", text, number)
		if subcode != 0 {
			text += fmt.Sprintf(" subcode: %d", subcode)
		}
		return text
	case 2:
		return fmt.Sprintf("%s file descriptor: %d guard identifier: %d", text, number, subcode)
	case 4:
		return fmt.Sprintf("%s pid: %d guard identifier: %d", text, number, subcode)
	case 5:
		return fmt.Sprintf("%s offset: %d", text, subcode)
	}
	return fmt.Sprintf("%s syscall: %d", text, subcode)
}

func both(code, subcode uint64) string { return fmt.Sprintf("0x%016x / 0x%016x", code, subcode) }
