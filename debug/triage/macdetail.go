package triage

import (
	"fmt"

	"salvage/debug/minidump"
)

// The codes of EXC_RESOURCE and EXC_GUARD have 64 bits: type in the highest three, flavor, numbers.
// Writers put their upper half into Flags, and all of them, after the exception itself, among the
// parameters; how many of these they claim is not looked at, as in rust-minidump.

// resourceTypes and resourceFlavors are RESOURCE_TYPE_… and FLAVOR_… of xnu's kern/exc_resource.h.
var (
	resourceTypes   = []string{1: "RESOURCE_TYPE_CPU", 2: "RESOURCE_TYPE_WAKEUPS", 3: "RESOURCE_TYPE_MEMORY", 4: "RESOURCE_TYPE_IO", 5: "RESOURCE_TYPE_THREADS"}
	resourceFlavors = [][]string{
		1: {1: "FLAVOR_CPU_MONITOR", 2: "FLAVOR_CPU_MONITOR_FATAL"},
		2: {1: "FLAVOR_WAKEUPS_MONITOR"},
		3: {1: "FLAVOR_HIGH_WATERMARK"},
		4: {1: "FLAVOR_IO_PHYSICAL_WRITES", 2: "FLAVOR_IO_LOGICAL_WRITES"},
		5: {1: "FLAVOR_THREADS_HIGH_WATERMARK"},
	}
)

// resource returns "" for unknown types. The numbers have the width rust-minidump gives them, which for
// percentages of CPU is less than the kernel's: 7 bits are cut to 3.
func resource(e *minidump.Exception) string {
	kind, code, subcode := e.Flags>>29, e.Information[1], e.Information[2]
	if at(resourceTypes, kind) == "" {
		return ""
	}
	text := "EXC_RESOURCE / " + resourceTypes[kind] + " / "
	flavor := at(resourceFlavors[kind], uint32(code>>58&7))
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

// guardTypes are GUARD_TYPE_… of xnu's kern/exc_guard.h.
var guardTypes = []string{
	"GUARD_TYPE_NONE", "GUARD_TYPE_MACH_PORT", "GUARD_TYPE_FD", "GUARD_TYPE_USER", "GUARD_TYPE_VN", "GUARD_TYPE_VIRT_MEMORY",
	"GUARD_TYPE_REJECTED_SC",
}

// guardFlavors are GUARD_EXC_… of mach/port.h, sys/guarded.h (descriptors, vnodes), mach/vm_statistics.h
// and kern/exc_guard.h, by type.
var guardFlavors = []names{
	1: {
		{1, "DESTROY"}, {2, "MOD_REFS"}, {3, "INVALID_OPTIONS"}, {4, "SET_CONTEXT"}, {5, "THREAD_SET_STATE"},
		{1 << 3, "UNGUARDED"}, {1 << 4, "INCORRECT_GUARD"}, {1 << 5, "IMMOVABLE"}, {1 << 6, "STRICT_REPLY"}, {1 << 7, "MSG_FILTERED"},
		{1 << 8, "INVALID_RIGHT"}, {1 << 9, "INVALID_NAME"}, {1 << 10, "INVALID_VALUE"}, {1 << 11, "INVALID_ARGUMENT"},
		{1 << 12, "RIGHT_EXISTS"}, {1 << 13, "KERN_NO_SPACE"}, {1 << 14, "KERN_FAILURE"}, {1 << 15, "KERN_RESOURCE"},
		{1 << 16, "SEND_INVALID_REPLY"}, {1 << 17, "SEND_INVALID_VOUCHER"}, {1 << 18, "SEND_INVALID_RIGHT"},
		{1 << 19, "RCV_INVALID_NAME"}, {1 << 20, "RCV_GUARDED_DESC"}, {1 << 21, "MOD_REFS_NON_FATAL"},
		{1 << 22, "IMMOVABLE_NON_FATAL"}, {1 << 23, "REQUIRE_REPLY_PORT_SEMANTICS"}, {1 << 24, "EXCEPTION_BEHAVIOR_ENFORCE"},
	},
	2: {{1, "CLOSE"}, {2, "DUP"}, {4, "NOCLOEXEC"}, {8, "SOCKET_IPC"}, {0x10, "FILEPORT"}, {0x20, "MISMATCH"}, {0x40, "WRITE"}},
	4: {
		{1, "RENAME_TO"}, {2, "RENAME_FROM"}, {4, "UNLINK"}, {8, "WRITE_OTHER"}, {0x10, "TRUNC_OTHER"}, {0x20, "LINK"},
		{0x40, "EXCHDATA"},
	},
	5: {{1, "DEALLOC_GAP"}},
	6: {{0, "MACH_TRAP"}},
}

// guard returns "" for unknown types.
func guard(e *minidump.Exception) string {
	kind, code, subcode := e.Flags>>29, e.Information[1], e.Information[2]
	if at(guardTypes, kind) == "" {
		return ""
	}
	text := "EXC_GUARD / " + guardTypes[kind]
	switch kind {
	case 0:
		return text
	case 3: // without a space, as in rust-minidump
		return fmt.Sprintf("%s/ namespace: %d guard identifier: %d", text, uint32(code), subcode)
	}
	flavor := guardFlavors[kind].of(int64(code >> 32 & 0x1fffffff))
	if flavor == "" {
		return text + " / " + both(code, subcode)
	}
	text, number := text+" / GUARD_EXC_"+flavor, code&0xfffffff
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
