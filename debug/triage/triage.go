// Package triage tells what ended a process, from its minidump: the reason, the address it is about, the
// thread it happened in, and what the instruction that crashed was about to do.
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
	"strings"

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

	// Instruction is the one that crashed, on amd64 where the dump has it; else nil.
	Instruction *Instruction
	// AdjustedAddress is the address that was really used, as far as Adjusted says.
	Adjusted        Adjustment
	AdjustedAddress uint64
	BitFlips        []BitFlip // those of Address, or AdjustedAddress, before those of registers
	Inconsistencies []string  // why it cannot have been like this
	// NullPointer: Address is that of memory and so low that the pointer was likely null.
	NullPointer bool
	// StackOverflow: the stack has likely reached its end.
	StackOverflow bool
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
	c := Crash{Reason: reason, Address: address(e, &s), ThreadID: e.ThreadID}
	if d.System != nil {
		c.analyze(d, newSpace(d))
	}
	return c, true
}

// analyze finds out what the crashing instruction tells.
func (c *Crash) analyze(d *minidump.Dump, s space) {
	e, m := d.Exception, &machine{d: d, context: d.Exception.Context}
	for i := range d.Threads {
		if d.Threads[i].ID == e.ThreadID {
			m.thread = &d.Threads[i]
		}
	}
	o := unknownOperation
	switch c.Reason {
	case "EXCEPTION_ACCESS_VIOLATION_READ":
		o = reading
	case "EXCEPTION_ACCESS_VIOLATION_WRITE":
		o = writing
	case "EXCEPTION_ACCESS_VIOLATION_EXEC":
		o = executing
	}
	c.Instruction = m.instruction()
	c.adjust(d.System)
	c.bitFlips(m, s, o)
	if c.Instruction != nil {
		for i := range c.Instruction.Accesses {
			a := &c.Instruction.Accesses[i]
			a.GuardPage = s.guardPage(a.Address)
		}
	}
	c.check(m, s, o)
	c.locate(m, s)
}

// nullSize is how much of the address space above 0 no system lets programs map. Breakpad's
// exploitability engine has the same.
const nullSize = 4096

// stackReach is how far below the stack pointer an overflow shows: functions with large frames touch their
// end first.
const stackReach = 1 << 16

var memoryReasons = []string{"SIGSEGV", "SIGBUS", "EXC_BAD_ACCESS", "EXCEPTION_ACCESS_VIOLATION", "EXCEPTION_GUARD_PAGE"}

// locate tells what the address is near to, for reasons that are about memory.
func (c *Crash) locate(m *machine, s space) {
	if c.Reason == "EXCEPTION_STACK_OVERFLOW" {
		c.StackOverflow = true
		return
	}
	if c.faultOfProtection(m.d.System) {
		return // the address is not known
	}
	// What was sent tells who sent it, not an address.
	if strings.Contains(c.Reason, " / SI_") || !slices.ContainsFunc(memoryReasons, func(r string) bool { return strings.HasPrefix(c.Reason, r) }) {
		return
	}
	c.NullPointer = c.Address < nullSize
	if m.context == nil || c.NullPointer {
		return
	}
	// The stack pointer is at the end of the stack, or has left it, and the address is below that and not accessible:
	// the guard page, or what is below it. Crashpad's dumps of Linux tell of no spans.
	sp := m.context.SP()
	i := s.find(c.Address)
	if sp-c.Address > stackReach && c.Address-sp > stackReach || i >= 0 && s[i].accessible() && !s[i].guard {
		return
	}
	end, known := uint64(0), false // of the stack, its lowest address
	if next := slices.IndexFunc(s, func(p span) bool { return p.first > c.Address && p.write }); next >= 0 {
		end, known = s[next].first, true
	}
	if m.thread != nil && m.thread.Stack.Data != nil {
		if len(s) == 0 {
			end, known = m.thread.Stack.Addr, true
		}
		known = known && end <= m.thread.Stack.Addr
	}
	c.StackOverflow = known && end-c.Address <= stackReach
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
