package stackwalk

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"time"

	"salvage/debug/minidump"
)

// WriteDump writes what is in a dump, laid out as `minidump-stackwalk --dump` does: header and directory, then stream
// by stream. Fields that tell only where in the file something is, and floating-point registers, are left out. With
// brief there are no bytes of memory. An error is the writer's.
func WriteDump(w io.Writer, d *minidump.Dump, brief bool) error {
	r := &rawDump{text{bufio.NewWriter(w), &Report{Dump: d}}, brief}
	r.directory()
	r.threads()
	r.modules()
	r.memory()
	r.exception()
	r.machine()
	r.texts()
	for _, p := range d.Problems {
		r.line("%s: %s: %s", p.Where, p.Kind, p.Detail)
	}
	return r.w.Flush()
}

type rawDump struct {
	text
	brief bool
}

// record writes a heading and a line for each pair of a name and a value.
func (r *rawDump) record(title string, fields ...any) {
	r.line("%s", title)
	width := 0
	for i := 0; i < len(fields); i += 2 {
		width = max(width, len(fields[i].(string)))
	}
	for i := 0; i < len(fields); i += 2 {
		format := "  %-*s = %v"
		switch fields[i+1].(type) {
		case uint32, uint64:
			format = "  %-*s = %#x"
		case string:
			format = "  %-*s = %q"
		}
		r.line(format, width, fields[i], fields[i+1])
	}
	r.line("")
}

func (r *rawDump) directory() {
	d := r.Dump
	r.record("MDRawHeader", "stream_count", len(d.Streams), "time_date_stamp", stamp(d.Time), "flags", d.Flags)
	for i, s := range d.Streams {
		r.line("mDirectory[%d]", i)
		r.record("MDRawDirectory", "stream_type", kind(s.Type), "location.data_size", int(s.Size), "location.rva", s.Offset)
	}
}

// kind spells a type of stream.
type kind minidump.StreamType

func (k kind) String() string { return fmt.Sprintf("%#x (%v)", uint32(k), minidump.StreamType(k)) }

// stamp spells a time in Unix seconds.
type stamp uint32

func (s stamp) String() string {
	return fmt.Sprintf("%#x %s", uint32(s), time.Unix(int64(s), 0).UTC().Format(time.RFC3339))
}

func (r *rawDump) context(c *minidump.Context) {
	if c == nil {
		r.line("  (no context)\n")
		return
	}
	fields := []any{"context_flags", c.Flags}
	for i, name := range c.CPU.RegisterNames() {
		fields = append(fields, name, c.Regs[i])
	}
	r.record("CONTEXT_"+c.CPU.String(), append(fields, "status", c.Status)...)
}

// bytes writes memory, 16 bytes a line.
func (r *rawDump) bytes(title string, data []byte) {
	if r.brief || len(data) == 0 {
		return
	}
	r.line("%s", title)
	for at := 0; at < len(data); at += 16 {
		row := data[at:min(at+16, len(data))]
		readable := bytes.Clone(row)
		for i, c := range row {
			if c < ' ' || c > '~' {
				readable[i] = '.'
			}
		}
		r.line("    %08x: %-47s %s", at, fmt.Sprintf("% x", row), readable)
	}
	r.line("")
}

func (r *rawDump) threads() {
	r.record("MinidumpThreadList", "thread_count", len(r.Dump.Threads))
	for i := range r.Dump.Threads {
		t := &r.Dump.Threads[i]
		r.line("thread[%d]", i)
		r.record("MINIDUMP_THREAD", "thread_id", t.ID, "suspend_count", int(t.SuspendCount), "priority_class", t.PriorityClass, "priority", t.Priority,
			"teb", t.TEB, "stack.start_of_memory_range", t.Stack.Addr, "stack.memory.data_size", uint64(len(t.Stack.Data)), "(name)", t.Name)
		r.context(t.Context)
		r.bytes("Stack", t.Stack.Data)
	}
}

func (r *rawDump) modules() {
	r.record("MinidumpModuleList", "module_count", len(r.Dump.Modules))
	for i := range r.Dump.Modules {
		m := &r.Dump.Modules[i]
		r.line("module[%d]", i)
		r.record("MINIDUMP_MODULE", "base_of_image", m.Addr, "size_of_image", m.Size, "checksum", m.Checksum, "time_date_stamp", stamp(m.Timestamp),
			"(code_file)", m.Name, "(code_identifier)", string(m.CodeID), "(debug_file)", m.DebugFile, "(debug_identifier)", m.DebugID.Breakpad(), "(version)", m.Version)
	}
	if len(r.Dump.Unloaded) == 0 {
		return
	}
	r.record("MinidumpUnloadedModuleList", "module_count", len(r.Dump.Unloaded))
	for i := range r.Dump.Unloaded {
		m := &r.Dump.Unloaded[i]
		r.line("module[%d]", i)
		r.record("MINIDUMP_UNLOADED_MODULE", "base_of_image", m.Addr, "size_of_image", m.Size, "checksum", m.Checksum, "time_date_stamp", stamp(m.Timestamp),
			"(code_file)", m.Name, "(code_identifier)", string(m.CodeID))
	}
}

func (r *rawDump) memory() {
	r.record("MinidumpMemoryList", "region_count", len(r.Dump.Memory.Regions))
	for i, m := range r.Dump.Memory.Regions {
		r.line("region[%d]", i)
		r.record("MINIDUMP_MEMORY_DESCRIPTOR", "start_of_memory_range", m.Addr, "memory.data_size", uint64(len(m.Data)))
		r.bytes("Memory", m.Data)
	}
	for i := range r.Dump.MemoryInfo {
		m := &r.Dump.MemoryInfo[i]
		r.line("memory_info[%d]", i)
		r.record("MINIDUMP_MEMORY_INFO", "base_address", m.Base, "allocation_base", m.AllocationBase, "allocation_protection", m.AllocationProtection,
			"region_size", m.Size, "state", m.State, "protection", m.Protection, "type", m.Type)
	}
}

func (r *rawDump) exception() {
	e := r.Dump.Exception
	if e == nil {
		return
	}
	fields := []any{
		"thread_id", e.ThreadID, "exception_record.exception_code", e.Code, "exception_record.exception_flags", e.Flags,
		"exception_record.exception_record", e.Record, "exception_record.exception_address", e.Address, "exception_record.number_parameters", int(e.NumParameters),
	}
	for i, v := range e.Parameters() {
		fields = append(fields, fmt.Sprintf("exception_record.exception_information[%2d]", i), v)
	}
	r.record("MINIDUMP_EXCEPTION", fields...)
	r.context(e.Context)
}

func (r *rawDump) machine() {
	if s := r.Dump.System; s != nil {
		r.record("MINIDUMP_SYSTEM_INFO", "processor_architecture", uint32(s.Architecture), "processor_level", int(s.Level), "processor_revision", uint32(s.Revision),
			"number_of_processors", int(s.Processors), "product_type", int(s.ProductType), "major_version", int(s.Major), "minor_version", int(s.Minor),
			"build_number", int(s.Build), "platform_id", s.Platform, "suite_mask", uint32(s.SuiteMask), "(version)", osVersion(s), "(cpu_info)", cpuInfo(s))
	}
	if pid, ok := r.pid(); ok {
		r.record("MINIDUMP_MISC_INFO", "process_id", int(pid))
	}
	if b := r.Dump.Breakpad; b != nil {
		r.record("MINIDUMP_BREAKPAD_INFO", "dump_thread_id", b.DumpThread, "requesting_thread_id", b.RequestingThread)
	}
	if c := r.Dump.Crashpad; c != nil {
		r.record("MDRawCrashpadInfo", "report_id", c.ReportID, "client_id", c.ClientID)
	}
}

// texts writes the files of Linux as they are, those of words that end in NUL with a line for each.
func (r *rawDump) texts() {
	l := &r.Dump.Linux
	for _, s := range []struct {
		title string
		data  []byte
	}{
		{"/proc/cpuinfo", l.CPUInfo}, {"/proc/self/status", l.Status}, {"/etc/lsb-release", l.LSBRelease},
		{"/proc/self/cmdline", l.CmdLine}, {"/proc/self/environ", l.Environ}, {"/proc/self/maps", r.Dump.Stream(minidump.StreamLinuxMaps)},
	} {
		if len(s.data) > 0 {
			r.line("%s:\n%s\n", s.title, bytes.ReplaceAll(s.data, []byte{0}, []byte("\\0\n")))
		}
	}
}
