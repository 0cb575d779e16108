// Package triage tells what ended a process, from its minidump: the reason, the address it is about and
// the thread it happened in.
//
// Reasons are texts such as "SIGSEGV / SEGV_MAPERR". They are byte for byte those of rust-minidump 0.26
// (crash_info.type in its report), oddities included, because reports, signatures and saved searches
// compare them. They differ only where that says "unknown": Crashpad's marks for EXC_CRASH and for
// uncaught NSExceptions on Apple systems have a text here.
//
// It does no I/O, works on any dump, and is safe for concurrent use.
package triage

import (
	"fmt"
	"slices"

	"salvage/debug/minidump"
)

// Crash is what an exception says.
type Crash struct {
	Reason string // never empty
	// Address is the memory the process could not access, if that is what the exception is about. For others
	// it is what the writer put there: on Windows and Apple systems the instruction, on Linux si_addr, which
	// has another meaning for signals that were sent: process and user id.
	Address  uint64
	ThreadID uint32 // which need not be in the list of threads
}

// Analyze returns what the exception of a dump says, or false if there is none: then somebody asked for
// the dump of a process that went on. A dump without system info has the reason of an unknown system.
func Analyze(d *minidump.Dump) (Crash, bool) {
	e := d.Exception
	if e == nil {
		return Crash{}, false
	}
	var s minidump.SystemInfo
	if d.System != nil {
		s = *d.System
	}
	var reason string
	switch s.OS {
	case minidump.OSWindows:
		reason = windowsReason(e)
	case minidump.OSLinux, minidump.OSAndroid:
		reason = linuxReason(e)
	case minidump.OSMacOS, minidump.OSIOS:
		reason = macReason(e, s.CPU)
	}
	if reason == "" {
		reason = fmt.Sprintf("unknown 0x%08x / 0x%08x", e.Code, e.Flags)
	}
	return Crash{Reason: reason, Address: address(e, &s), ThreadID: e.ThreadID}, true
}

func address(e *minidump.Exception, s *minidump.SystemInfo) uint64 {
	addr := e.Address
	if s.OS == minidump.OSWindows && (e.Code == accessViolation || e.Code == inPageError) && e.NumParameters >= 2 {
		addr = e.Information[1] // Address is the instruction
	}
	// Some writers extend the sign of 32-bit addresses: 0xffffffffe5e5e5e5 is 0xe5e5e5e5.
	if s.CPU.PointerSize() == 4 {
		addr = uint64(uint32(addr))
	}
	return addr
}

// RequestingThread returns the index of the thread that the dump is about, and the state of the CPU to
// report of it: the one at the time of the exception if the dump has that, else the thread's own, which
// may be nil. The thread is the exception's or, without an exception, the one Breakpad's client names; of
// several with its id the last, as in rust-minidump.
//
// It returns false if there is no such thread in the list, or if it is the thread that wrote the dump,
// which is never reported: clients that dump their own process from a thread of theirs mean another one.
func RequestingThread(d *minidump.Dump) (index int, context *minidump.Context, ok bool) {
	var id uint32
	b := d.Breakpad
	switch {
	case d.Exception != nil:
		id, context = d.Exception.ThreadID, d.Exception.Context
	case b != nil && b.HasRequestingThread:
		id = b.RequestingThread
	default:
		return 0, nil, false
	}
	if b != nil && b.HasDumpThread && b.DumpThread == id {
		return 0, nil, false
	}
	for i, t := range slices.Backward(d.Threads) {
		if t.ID == id {
			if context == nil {
				context = t.Context
			}
			return i, context, true
		}
	}
	return 0, nil, false
}

// names holds the names of a few numbers.
type names []struct {
	value int64
	name  string
}

// of returns the name of value, or "".
func (n names) of(value int64) string {
	for _, v := range n {
		if v.value == value {
			return v.name
		}
	}
	return ""
}

// at returns list[i], or "" beyond its end.
func at(list []string, i uint32) string {
	if uint64(i) < uint64(len(list)) {
		return list[i]
	}
	return ""
}
