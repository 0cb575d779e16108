package stackwalk

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"salvage/debug/minidump"
)

// WriteDump writes what is in a dump, laid out as `minidump-stackwalk --dump` does: header and directory, then stream
// by stream. Left out are fields that tell only where in the file something is, what identifiers and versions are made of,
// and registers that no frame needs: of segments, floating point and debugging. With brief there are no bytes of
// memory. An error is the writer's.
func WriteDump(w io.Writer, d *minidump.Dump, brief bool) error {
	r := &rawDump{text{bufio.NewWriter(w), &Report{Dump: d}}, brief}
	r.directory()
	r.threads()
	r.modules()
	r.memory()
	r.exception()
	r.machine()
	r.process()
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
		value := fmt.Sprint(fields[i+1])
		switch v := fields[i+1].(type) {
		case uint32, uint64:
			value = fmt.Sprintf("%#x", v)
		case bare:
			value = printable(string(v))
		case string:
			value = `"` + printable(v) + `"`
		}
		r.line("  %-*s = %s", width, fields[i], value)
	}
	r.line("")
}

// bare is a text without quotes.
type bare string

func nullable(s string, known bool) bare {
	if !known {
		return "(null)"
	}
	return bare(s)
}

// printable returns a text as it is but for quotes and what would break the line.
func printable(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\\`, `\`)
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

func (k kind) String() string {
	name := minidump.StreamType(k).String()
	if minidump.StreamType(k).Known() && !strings.HasPrefix(name, "Linux") && !strings.HasPrefix(name, "Moz") {
		name += "Stream"
	}
	return fmt.Sprintf("%#x (%s)", uint32(k), name)
}

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
	status := "status"
	if c.CPU == minidump.CPUX86 || c.CPU == minidump.CPUAMD64 {
		status = "eflags"
	}
	r.record("CONTEXT_"+strings.ToUpper(c.CPU.String()), append(fields, status, c.Status)...)
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
			"(code_file)", m.Name, "(code_identifier)", string(m.CodeID), "(debug_file)", m.DebugFile, "(debug_identifier)", m.DebugID.String(), "(version)", m.Version)
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
			"region_size", m.Size, "state", m.State, "protection", m.Protection, "_type", m.Type)
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
			"build_number", int(s.Build), "platform_id", s.Platform, "suite_mask", uint32(s.SuiteMask), "(version)", strings.TrimSuffix(fmt.Sprintf("%d.%d.%d %s", s.Major, s.Minor, s.Build, s.CSD), " "), "(cpu_info)", cpuInfo(s))
	}
}

func (r *rawDump) process() {
	if m := r.Dump.Misc; m != nil {
		// Fields that the stream does not have stand as invalid.
		has := func(f minidump.MiscFlags, v any) any {
			if !m.Has(f) {
				return bare("(invalid)")
			}
			return v
		}
		fields := []any{"size_of_info", int(m.Size), "flags1", bare(strconv.FormatUint(uint64(m.Flags), 16)), "process_id", has(minidump.MiscProcessID, int64(m.ProcessID)),
			"process_create_time", has(minidump.MiscProcessTimes, stamp(m.CreateTime)), "process_user_time", has(minidump.MiscProcessTimes, int64(m.UserTime)),
			"process_kernel_time", has(minidump.MiscProcessTimes, int64(m.KernelTime)), "processor_max_mhz", has(minidump.MiscPower, int64(m.MaxMHz)),
			"processor_current_mhz", has(minidump.MiscPower, int64(m.CurrentMHz)), "processor_mhz_limit", has(minidump.MiscPower, int64(m.MHzLimit)),
			"processor_max_idle_state", has(minidump.MiscPower, int64(m.MaxIdleState)), "processor_current_idle_state", has(minidump.MiscPower, int64(m.CurrentIdleState)),
			"process_integrity_level", has(minidump.MiscIntegrity, int64(m.IntegrityLevel)),
			"process_execute_flags", has(minidump.MiscExecuteFlags, bare(strconv.FormatUint(uint64(m.ExecuteFlags), 16))),
			"protected_process", has(minidump.MiscProtected, int64(m.Protected)), "time_zone_id", has(minidump.MiscTimeZone, int64(m.TimeZoneID))}
		if z := &m.TimeZone; m.Has(minidump.MiscTimeZone) {
			fields = append(fields, "bias", z.Bias, "standard_name", bare(z.StandardName), "standard_bias", z.StandardBias, "daylight_name", bare(z.DaylightName), "daylight_bias", z.DaylightBias)
		}
		r.record("MINIDUMP_MISC_INFO", append(fields, "build_string", has(minidump.MiscBuildString, bare(m.BuildString)),
			"dbg_bld_str", has(minidump.MiscBuildString, bare(m.DebugBuild)), "process_cookie", has(minidump.MiscProcessCookie, int64(m.ProcessCookie)))...)
	}
	if b := r.Dump.Breakpad; b != nil {
		validity := 0
		if b.HasDumpThread {
			validity |= 1
		}
		if b.HasRequestingThread {
			validity |= 2
		}
		r.record("MINIDUMP_BREAKPAD_INFO", "validity", bare(fmt.Sprintf("0x%x", validity)), "dump_thread_id", b.DumpThread, "requesting_thread_id", b.RequestingThread)
	}
	if c := r.Dump.Crashpad; c != nil {
		fields := []any{"version", int64(c.Version), "report_id", bare(c.ReportID), "client_id", bare(c.ClientID)}
		for _, a := range c.Annotations {
			fields = append(fields, fmt.Sprintf("simple_annotations[%q]", a.Key), bare(a.Value))
		}
		for i, m := range c.Modules {
			name := fmt.Sprintf("module_list[%d].", i)
			fields = append(fields, name+"minidump_module_list_index", int64(m.Index))
			for k, text := range m.List {
				fields = append(fields, fmt.Sprintf("%slist_annotations[%d]", name, k), bare(text))
			}
			for _, a := range m.Annotations {
				fields = append(fields, fmt.Sprintf("%ssimple_annotations[%q]", name, a.Key), bare(a.Value))
			}
			for _, a := range m.Objects {
				value := bare("<user defined>")
				if a.Type == minidump.AnnotationString {
					value = bare(a.Value)
				}
				fields = append(fields, fmt.Sprintf("%sannotation_objects[%q]", name, a.Name), value)
			}
		}
		r.record("MDRawCrashpadInfo", fields...)
	}
	for i := range r.Dump.Handles {
		h := &r.Dump.Handles[i]
		r.line("handle[%d]", i)
		r.record("MINIDUMP_HANDLE_DESCRIPTOR", "handle", h.Handle, "attributes", h.Attributes, "granted_access", h.Access, "handle_count", int(h.Handles),
			"pointer_count", int(h.Pointers), "(type_name)", nullable(h.Type, h.HasType), "(object_name)", nullable(h.Object, h.HasObject))
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
