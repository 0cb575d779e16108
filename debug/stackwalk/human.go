package stackwalk

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"salvage/debug/minidump"
	"salvage/debug/triage"
	"salvage/debug/unwind"
)

// HumanOptions of WriteHuman.
type HumanOptions struct {
	Brief bool // end behind the thread the dump is about
	// Reasons adds, behind the threads, what would have made the stacks better.
	Reasons bool
}

// WriteHuman writes the report as text for people: byte for byte that of minidump-stackwalk 0.27 as far as
// the report knows what that does, with a line of ours where frames of a deep stack are left out, a part of ours if o.Reasons, and the
// numbers of macOS' crash info in hexadecimal, where that puts 0x before decimal ones. Names and
// paths stand in it as the dump has them, control characters included. An error is the writer's.
func (r *Report) WriteHuman(w io.Writer, o HumanOptions) error {
	t := &text{bufio.NewWriter(w), r}
	t.process()
	if t.Crashing >= 0 {
		how := "crashed"
		if t.Crash == nil {
			how = "requested dump, did not crash"
		}
		t.thread(t.Crashing, " ("+how+")")
		t.line("")
	}
	if o.Reasons && o.Brief {
		t.reasons()
	}
	if !o.Brief {
		for i := range t.Threads {
			if i != t.Crashing && !t.Threads[i].Skipped {
				t.thread(i, "")
			}
		}
		if o.Reasons {
			t.reasons()
		}
		t.modules()
		t.streams()
		if errors, ok := t.softErrors().([]any); ok && len(errors) > 0 {
			t.line("\nSoft errors were encountered when minidump was written:")
			e := &encoder{w: t.w, pretty: true}
			e.any(errors)
			t.line("")
		}
	}
	return t.w.Flush()
}

// text writes lines; errors of the writer are kept by w.
type text struct {
	w *bufio.Writer
	*Report
}

func (t *text) printf(format string, args ...any) { fmt.Fprintf(t.w, format, args...) }

func (t *text) line(format string, args ...any) {
	t.printf(format, args...)
	t.w.WriteByte('\n')
}

func (t *text) process() {
	s := t.system()
	t.line("Operating system: %s", osName(s))
	t.line("                  %s", osVersion(s))
	t.line("CPU: %v", s.CPU)
	if info := cpuInfo(s); info != "" {
		t.line("     %s", info)
	}
	plural := ""
	if s.Processors > 1 {
		plural = "s"
	}
	t.line("     %d CPU%s", s.Processors, plural)
	if t.Dump.Linux.LSBRelease != nil {
		d := t.Dump.Linux.Distribution()
		t.line("Linux %s %s - %s (%s)", d.ID, d.Release, d.Codename, d.Description)
	}
	t.line("")
	if t.Crash != nil {
		t.line("Crash reason:  %s", t.Crash.Reason)
		t.crash(t.Crash)
	} else {
		t.line("No crash")
	}
	if a := t.assertion(); a != "" {
		t.line("Assertion: %s", a)
	}
	if t.Dump.MacCrashInfo != nil {
		t.macCrashInfo()
	}
	if t.Dump.HasMacBootArgs {
		t.line("Mac Boot Args: %s\n", t.Dump.MacBootArgs)
	}
	if seconds, ok := t.uptime(); ok {
		t.line("Process uptime: %d seconds\n", seconds)
	} else {
		t.line("Process uptime: not available\n")
	}
	if n, ok := t.mapCount(); ok {
		t.line("Linux memory map count: %d\n", n)
	}
}

func (t *text) macCrashInfo() {
	t.line("Mac Crash Info:")
	for i := range t.Dump.MacCrashInfo {
		m := &t.Dump.MacCrashInfo[i]
		t.line("  Record %d", i)
		for _, n := range []struct {
			name  string
			value uint64
		}{{"thread", m.Thread}, {"dialog mode", m.DialogMode}, {"abort_cause", m.AbortCause}} {
			if n.value != 0 {
				t.line("    %s: %#x", n.name, n.value)
			}
		}
		for _, s := range [][2]string{
			{"module", m.Module}, {"message", m.Message}, {"signature string", m.Signature}, {"backtrace", m.Backtrace}, {"message2", m.Message2},
		} {
			if s[1] != "" {
				t.line("    %s: %s", s[0], s[1])
			}
		}
	}
	t.line("")
}

// crash tells what is known of the address and the instruction.
func (t *text) crash(c *triage.Crash) {
	switch address := t.hex(c.Address); c.Adjusted {
	case triage.NotAdjusted:
		t.line("Crash address: %s", address)
	case triage.NonCanonical:
		t.line("Crash address: %s **\n    ** Non-canonical address detected: %s", address, t.hex(c.AdjustedAddress))
	case triage.NullPointer:
		t.line("Crash address: %s **\n    ** Null pointer detected with offset: %s", address, t.hex(c.AdjustedAddress))
	}
	if i := c.Instruction; i != nil {
		t.instruction(i)
	}
	if c.BitFlips != nil {
		t.line("Crashing address may be the result of a flipped bit:")
		flips := slices.Clone(c.BitFlips)
		slices.SortStableFunc(flips, func(a, b triage.BitFlip) int {
			return cmp.Or(cmp.Compare(b.Confidence, a.Confidence), cmp.Compare(a.Address, b.Address))
		})
		for i, f := range flips {
			register := ""
			if f.Register != "" {
				register = f.Register + "="
			}
			t.line("  %d. Valid address: %s%s (%.3f)", i, register, t.hex(f.Address), f.Confidence)
		}
	}
	if c.Inconsistencies != nil {
		t.line("Crash is inconsistent:")
		for _, name := range c.Inconsistencies {
			t.line("  %s", inconsistencyTexts[name])
		}
	}
}

var inconsistencyTexts = map[string]string{
	triage.NoDivision:         "Crash reason is an integer division by zero but the crashing instruction is not a division",
	triage.NotPrivileged:      "Crash reason is a privileged instruction but crashing instruction is not a privileged one",
	triage.NotNonCanonical:    "Crash address is reported as a non-canonical x86-64 address but the actual address is a canonical one",
	triage.AccessAllowed:      "Crash reason is access violation exception but access is allowed",
	triage.AccessNotPerformed: "Crash address not found among the memory accesses of the crashing instruction",
}

func (t *text) instruction(i *triage.Instruction) {
	t.line("Crashing instruction: `%s`", i.Text)
	switch {
	case !i.AccessesKnown:
	case len(i.Accesses) == 0:
		t.line("No memory accessed by instruction")
	default:
		t.line("Memory accessed by instruction:")
		for n := range i.Accesses {
			a := &i.Accesses[n]
			t.line("  %d. Address: %s", n, t.hex(a.Address))
			t.line("     Size: %v", cmp.Or[any](known(a.Size, a.Size != 0), "Unknown"))
			if a.GuardPage {
				t.line("     This address falls in a likely guard page.")
			}
			if text := accessText(a); text != "" {
				t.line("     Access type: %s", text)
			}
		}
	}
	switch {
	case i.HasTarget:
		t.line("Instruction pointer update done by instruction:\n  Address: %s", t.hex(i.Target))
	case i.FallsThrough:
		t.line("No instruction pointer update by instruction")
	}
}

func (t *text) thread(i int, how string) {
	thread := &t.Threads[i]
	name, _ := thread.threadName()
	t.line("Thread %d %s%s - tid: %d", i, name, how, thread.ID)
	if len(thread.Frames) == 0 {
		t.line("<no frames>")
	}
	n := 0 // inlined calls count too
	for k := range thread.Frames {
		f := &thread.Frames[k]
		if left := thread.number(k) - k; k > 0 && k == thread.Cut {
			t.line("    (%d frames are left out)", left)
			n += left
		}
		module := ""
		if f.Module != nil {
			module = leaf(f.Module.Name)
		}
		for _, c := range f.Inlines {
			t.printf("%2d  %s!%s", n, module, c.Function)
			if c.File != "" && c.Line != 0 {
				t.printf(" [%s : %d]", leaf(c.File), c.Line)
			}
			t.line("\n    Found by: inlining")
			n++
		}
		t.printf("%2d  ", n)
		t.place(f, module)
		t.line("")
		t.registers(i, f)
		t.line("    Found by: %s", trustTexts[f.Trust])
		t.arguments(f.Arguments)
		n++
	}
}

func (t *text) arguments(a *Arguments) {
	if a == nil {
		return
	}
	convention := "cdecl [static function]"
	switch {
	case a.This && t.system().OS == minidump.OSWindows:
		convention = "windows thiscall [C++ member function]"
	case a.This:
		convention = "non-windows thiscall [C++ member function]"
	}
	t.line("    Arguments (assuming %s)", convention)
	for i, arg := range a.List {
		value := "<unknown>"
		if arg.Known {
			value = t.hex(uint64(arg.Value))
		}
		t.line("        arg %d (%s) = %s", i, arg.Name, value)
	}
	t.line("")
}

var trustTexts = [...]string{
	unwind.TrustContext:      "given as instruction pointer in context",
	unwind.TrustCFI:          "call frame info",
	unwind.TrustFramePointer: "previous frame's frame pointer",
	unwind.TrustScan:         "stack scanning",
}

// place says where a frame is.
func (t *text) place(f *Frame, module string) {
	switch {
	case f.Module == nil:
		t.printf("%#x", f.Lookup)
		for _, u := range f.Unloaded {
			offsets := make([]string, len(u.Offsets))
			for i, o := range u.Offsets {
				offsets[i] = fmt.Sprintf("%#x", o)
			}
			t.printf(" (unloaded %s@%s)", u.Name, strings.Join(offsets, "|"))
		}
	case f.Function == "":
		t.printf("%s + %#x", module, f.Lookup-f.Module.Addr)
	case f.File == "" || f.Line == 0:
		t.printf("%s!%s + %#x", module, f.Function, f.Lookup-f.Start)
	case f.LineStart == 0:
		t.printf("%s!%s [%s : %d]", module, f.Function, leaf(f.File), f.Line)
	default:
		t.printf("%s!%s [%s : %d + %#x]", module, f.Function, leaf(f.File), f.Line, f.Lookup-f.LineStart)
	}
}

// registers writes as many registers a line as fit into 80 characters.
func (t *text) registers(i int, f *Frame) {
	line := ""
	names, values := t.Report.registers(i, f)
	for _, name := range names {
		v, ok := values[name]
		if !ok {
			continue
		}
		next := fmt.Sprintf(" %6s = %s", name, t.registerHex(v))
		if len(line)+len(next) > 80 {
			t.line(" %s", line)
			line = ""
		}
		line += next
	}
	if line != "" {
		t.line(" %s", line)
	}
}

func (t *text) modules() {
	t.line("\nLoaded modules:")
	main := t.Dump.MainModule()
	for _, m := range t.Dump.ModulesByAddr() {
		t.printf("0x%08x - 0x%08x  %s  %s", m.Addr, m.End()-1, leaf(m.Name), cmp.Or(m.Version, "???"))
		if main != nil && m.Addr == main.Addr {
			t.printf("  (main)")
		}
		t.certified(m.Name)
		t.line("")
	}
	t.line("\nUnloaded modules:")
	unloaded := slices.Clone(t.Dump.Unloaded)
	slices.SortStableFunc(unloaded, func(a, b minidump.UnloadedModule) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Size, b.Size))
	})
	for _, m := range unloaded {
		t.printf("0x%08x - 0x%08x  %s", m.Addr, m.Addr+uint64(m.Size)-1, leaf(m.Name))
		t.certified(m.Name)
		t.line("")
	}
}

// reasons says, for each module with frames, why names are missing, and how often its callers had to be looked
// for because there are no unwind rules, or because they failed.
func (t *text) reasons() {
	type key struct{ module, why string }
	counts := map[key]int{}
	var order []key
	add := func(module, why string) {
		k := key{module, why}
		if counts[k]++; counts[k] == 1 {
			order = append(order, k)
		}
	}
	for i := range t.Threads {
		for k := range t.Threads[i].Frames {
			f := &t.Threads[i].Frames[k]
			if f.Module == nil {
				continue
			}
			module := leaf(f.Module.Name)
			if f.Function == "" && f.NoName != "" {
				add(module, "no name: "+f.NoName)
			}
			how := "the stack ends"
			if k+1 < len(t.Threads[i].Frames) {
				how = trustTexts[t.Threads[i].Frames[k+1].Trust]
			}
			switch {
			case f.Failed != nil:
				add(module, fmt.Sprintf("unwind rules fail (%v): %s", f.Failed, how))
			case f.NoRules:
				add(module, "no unwind rules: "+how)
			}
		}
	}
	if order == nil {
		return
	}
	t.line("\nWhat stacks lack:")
	for _, k := range order {
		n := "frame"
		if counts[k] > 1 {
			n = "frames"
		}
		t.line("  %s: %s (%d %s)", k.module, k.why, counts[k], n)
	}
}

func (t *text) certified(module string) {
	if subject, ok := t.certificate(module); ok {
		t.printf(" (%s)", subject)
	}
}

// vendor returns who numbers a type of stream, as far as minidump-stackwalk knows.
func vendor(t minidump.StreamType) string {
	switch {
	case t <= 0xffff:
		return "Official"
	case t>>16 == 0x4767:
		return "Google Extension"
	case t>>16 == 0x4d7a:
		return "Mozilla Extension"
	}
	return "Unknown Extension"
}

// streams lists what the dump has besides what is read, by type; of several streams of a type the last.
func (t *text) streams() {
	streams := slices.Clone(t.Dump.Streams)
	slices.SortStableFunc(streams, func(a, b minidump.Stream) int { return cmp.Compare(a.Type, b.Type) })
	list := func(title string, name func(minidump.Stream) (string, bool)) {
		for i, s := range streams {
			kind, ok := name(s)
			if !ok || i+1 < len(streams) && streams[i+1].Type == s.Type {
				continue
			}
			if title != "" {
				t.line("\n%s streams encountered:", title)
				title = ""
			}
			t.line("Stream 0x%08x %s(%s) @ 0x%08x", uint32(s.Type), kind, vendor(s.Type), s.Offset)
		}
	}
	list("Unimplemented", func(s minidump.Stream) (string, bool) {
		name := texts.Name("unread", uint32(s.Type))
		return name + " ", name != ""
	})
	list("Unknown", func(s minidump.Stream) (string, bool) { return "", !s.Type.Known() })
}
