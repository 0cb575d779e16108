package minidump_test

import (
	"encoding/csv"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/internal/debugtest"
)

func dump(t *testing.T, path string) *minidump.Dump {
	t.Helper()
	d, err := minidump.Parse(debugtest.File(t, path))
	if err != nil {
		t.Fatal(err)
	}
	visit(d)
	return d
}

func leaf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// found spells out what a dump says the way minidump-facts.csv does.
func found(d *minidump.Dump) map[string]string {
	facts := map[string]string{
		"os_version": fmt.Sprintf("%d.%d.%d", d.System.Major, d.System.Minor, d.System.Build),
		"cpus":       fmt.Sprint(d.System.Processors), "threads": fmt.Sprint(len(d.Threads)), "modules": fmt.Sprint(len(d.Modules)),
		"memory_regions": fmt.Sprint(len(d.Memory.Regions)), "timestamp": fmt.Sprint(d.Time),
		"arch": d.System.CPU.String(),
		"os": map[minidump.OS]string{
			minidump.OSWindows: "Windows NT", minidump.OSLinux: "Linux", minidump.OSMacOS: "macOS", minidump.OSIOS: "iOS",
		}[d.System.OS],
	}
	if d.System.CSD != "" {
		facts["os_version"] += fmt.Sprintf(" %q", d.System.CSD)
	}
	var streams []string
	for _, s := range d.Streams {
		if s.Type < 0x10000 {
			streams = append(streams, fmt.Sprint(uint32(s.Type)))
		} else {
			streams = append(streams, fmt.Sprintf("%#x", uint32(s.Type)))
		}
	}
	facts["streams"] = strings.Join(streams, " ")
	main := d.MainModule().Name
	facts["main_module"] = main[strings.LastIndexByte(main, '/')+1:]
	if e := d.Exception; e != nil {
		params := []string{}
		for _, v := range e.Parameters() {
			params = append(params, fmt.Sprintf("%#x", v))
		}
		facts["exception"] = fmt.Sprintf("tid=%d code=%#x flags=%#x address=%#x params=[%s]", e.ThreadID, e.Code, e.Flags, e.Address, strings.Join(params, " "))
	} else {
		facts["exception"] = "none"
	}
	if m := d.Misc; m != nil {
		facts["misc"] = fmt.Sprintf("size=%d pid=%d create=%d", m.Size, m.ProcessID, m.CreateTime)
	}
	if n := len(d.Unloaded); n > 0 {
		facts["unloaded_modules"] = fmt.Sprint(n)
	}
	if n := len(d.MemoryInfo); n > 0 {
		facts["memory_info_entries"] = fmt.Sprint(n)
	}
	if n := len(d.Linux.Maps); n > 0 {
		facts["linux_maps_lines"] = fmt.Sprint(n)
	}
	return facts
}

// The raw facts of every dump, and no fact more than those.
func TestFacts(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(string(debugtest.File(t, "minidump-facts.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	folders := strings.NewReplacer("breakpad:src/processor/testdata/", "breakpad/dumps/", "rust-minidump:testdata/", "rust-minidump/")
	dumps, checked := 0, 0
	for _, row := range rows {
		path, raw := folders.Replace(row[0]+":"+row[1]), row[5]
		if !strings.HasPrefix(raw, "streams=") {
			continue
		}
		dumps++
		t.Run(path, func(t *testing.T) {
			data := debugtest.File(t, path)
			equal(t, "size", fmt.Sprint(len(data)), row[2])
			d := dump(t, path)
			equal(t, "problems", kinds(d), []string(nil))
			want := map[string]string{"arch": row[3], "os": row[4]}
			for _, fact := range strings.Split(raw, "; ") {
				key, value, ok := strings.Cut(fact, "=")
				if !ok || strings.Contains(key, " ") { // "exception tid=…", "misc size=…", "no exception"
					key, value, _ = strings.Cut(fact, " ")
				}
				if key == "no" {
					key, value = value, "none"
				}
				want[key] = value
			}
			got := found(d)
			for key := range want {
				checked++
				equal(t, key, got[key], want[key])
			}
			equal(t, "facts", len(got), len(want))

			for i := range d.Threads {
				thread := &d.Threads[i]
				if thread.Context == nil {
					t.Errorf("thread %d has no context", thread.ID)
				} else if sp := thread.Context.SP(); !thread.Stack.Contains(sp) && d.System.OS == minidump.OSWindows {
					t.Errorf("thread %d: the stack %#x+%#x does not contain sp %#x", thread.ID, thread.Stack.Addr, len(thread.Stack.Data), sp)
				}
			}
			if e := d.Exception; e != nil && e.Context == nil {
				t.Error("the exception has no context")
			}
		})
	}
	if dumps != 28 || checked < 300 {
		t.Errorf("%d dumps, %d facts", dumps, checked)
	}
	t.Logf("%d facts about %d dumps", checked, dumps)
}

// minidump2.dmp of Breakpad is test.dmp of rust-minidump: what both projects say about it.
func TestSharedDump(t *testing.T) {
	d := dump(t, "rust-minidump/test.dmp")
	equal(t, "the same file", string(debugtest.File(t, "breakpad/dumps/minidump2.dmp")), string(debugtest.File(t, "rust-minidump/test.dmp")))
	s := d.System
	equal(t, "CPU", fmt.Sprintf("%s family %d model %d stepping %d", s.Vendor, s.Level, s.Revision>>8, s.Revision&0xff), "GenuineIntel family 6 model 13 stepping 8")
	equal(t, "OS", fmt.Sprintf("%v %d.%d.%d %s", s.OS, s.Major, s.Minor, s.Build, s.CSD), "windows 5.1.2600 Service Pack 2")
	equal(t, "features", s.Features, [2]uint64{0x6d8, 0xafe9fbff})
	equal(t, "Breakpad", *d.Breakpad, minidump.BreakpadInfo{HasDumpThread: true, HasRequestingThread: true, DumpThread: 0x11c0, RequestingThread: 0xbf4})
	equal(t, "uptime", d.Time-d.Misc.CreateTime, uint32(0))
	equal(t, "threads", []uint32{d.Threads[0].ID, d.Threads[1].ID}, []uint32{3060, 4544})
	if v, ok := d.LastError(&d.Threads[0]); ok {
		t.Errorf("LastError = %d, but the dump has no TEB", v)
	}
	c := d.Exception.Context
	for i, want := range []uint64{0x45, 0x12fe94, 0x42bc58, 0x7c80abc1, 0x12fe84, 0x12fe88, 2, 0xa28, 0x40429e} {
		equal(t, c.CPU.RegisterNames()[i], c.Regs[i], want)
	}
	equal(t, "Status", c.Status, uint32(0x10246))
	equal(t, "Segments", c.Segments, minidump.Segments{CS: 0x1b, DS: 0x23, ES: 0x23, FS: 0x3b, SS: 0x23})

	// The frame of the crash and its callers, as far as frame pointers tell.
	equal(t, "module", d.ModuleAt(c.PC()).Name, `c:\test_app.exe`)
	for i, want := range []uint64{0x12ff70, 0x404200} {
		b := d.Threads[0].Stack.Read(c.FP()+4*uint64(i), 4)
		equal(t, "word", uint64(b[0])|uint64(b[1])<<8|uint64(b[2])<<16|uint64(b[3])<<24, want)
	}
	equal(t, "kernel32", d.ModuleAt(0x7c816fd7).DebugID.Breakpad(), "BCE8785C57B44245A669896B6A19B9542")
	if code := d.Memory.Read(c.PC(), 16); code != nil { // this dump has 256 bytes around another address
		t.Errorf("code at the crash: % x", code)
	}

	// Breakpad's own listing of the dump.
	listing := string(debugtest.File(t, "breakpad/dumps/minidump2.dump.out"))
	var want, got []string
	for _, m := range regexp.MustCompile(`\((code_file|code_identifier|debug_file|debug_identifier|version)\) += "(.*)"`).FindAllStringSubmatch(listing, -1) {
		want = append(want, m[2])
	}
	for _, m := range d.Modules {
		id := strings.ToUpper(string(m.CodeID[:8])) + string(m.CodeID[8:]) // its spelling
		got = append(got, m.Name, id, m.DebugFile, m.DebugID.Breakpad(), m.Version)
	}
	equal(t, "modules", got, want)
	var ranges []string
	for _, r := range d.Memory.Regions {
		ranges = append(ranges, fmt.Sprintf("%#x+%#x", r.Addr, len(r.Data)))
	}
	equal(t, "Regions", ranges, []string{"0x7c90eb14+0x100", "0x12f31c+0xce4", "0x97f6e8+0x918"})
}

// Ids that name symbol files of the same fixtures.
func TestFixtureIDs(t *testing.T) {
	for path, want := range map[string]map[string]string{
		"breakpad/dumps/linux_null_read_av.dmp": {
			"null_read_av": "7B7D1968FF0D47AE4366E9C3A7E1B6750", "ld-2.13.so": "C32AD7E235EA6112E02A5B9D6219C4850",
			"libc-2.13.so": "F4F8DFCD5A5FB5A7CE64717E9E6AE3890", "libgcc_s.so.1": "18B180F90887D8F8B5C35D185444AF4C0",
		},
		"breakpad/dumps/linux_inline.dmp": {"linux_inline": "BBA6FA10B8AAB33D00000000000000000"},
	} {
		d := dump(t, path)
		got := map[string]string{}
		for _, m := range d.Modules {
			name := m.Name[strings.LastIndexByte(m.Name, '/')+1:]
			if want[name] != "" {
				got[name] = m.DebugID.Breakpad()
			}
		}
		equal(t, path, got, want)
	}
	d := dump(t, "breakpad/dumps/linux_inline.dmp")
	equal(t, "offset", d.Exception.Address-d.ModuleAt(d.Exception.Address).Addr, uint64(0x161b6))
}

func TestFixtureThreadNames(t *testing.T) {
	names := map[uint32]string{}
	for _, thread := range dump(t, "breakpad/dumps/thread_name_list.dmp").Threads {
		if thread.Name != "" {
			names[thread.ID] = thread.Name
		}
	}
	equal(t, "names", names, map[uint32]string{6564: "main thread", 8820: "sleep thread", 10976: "overflow thread"})
}

func TestFixtureCrashpad(t *testing.T) {
	c := dump(t, "rust-minidump/simple-crashpad.dmp").Crashpad
	equal(t, "ReportID", strings.ToUpper(c.ReportID), "42F9DE72-518A-43DD-97D7-8DDC328D3662")
	equal(t, "ClientID", strings.ToUpper(c.ClientID), "6FD2B3B9-9833-4B2F-BBF7-0BCF501BAD7E")
	equal(t, "Annotations", c.Annotations, []minidump.KeyValue{{Key: "hello", Value: "world"}})
	equal(t, "modules", len(c.Modules), 2)
	equal(t, "Index", c.Modules[0].Index, uint32(16))
	equal(t, "List", c.Modules[0].List, []string{"abort() called"})

	c = dump(t, "breakpad/dumps/minidump_crashpad_annotation.dmp").Crashpad
	equal(t, "modules", len(c.Modules), 2)
	var names []string
	for _, a := range c.Modules[0].Objects {
		names = append(names, a.Name)
		if a.Type == 0 || len(a.Value) == 0 {
			t.Errorf("annotation %+v", a)
		}
	}
	equal(t, "names", names, []string{"exceptionReason", "exceptionName", "firstexception_bt", "firstexception", "CounterAnnotation"})
}

func TestFixtureAssertion(t *testing.T) {
	equal(t, "Assertion", *dump(t, "rust-minidump/invalid-parameter.dmp").Assertion, minidump.Assertion{
		Expression: "format != nullptr", Function: "common_vfprintf", File: `minkernel\crts\ucrt\src\appcrt\stdio\output.cpp`, Line: 32,
		Type: minidump.AssertionInvalidParameter,
	})
}

func TestFixtureXState(t *testing.T) {
	d := dump(t, "breakpad/dumps/tiny-exe-with-cet-xsave.dmp")
	s := d.System
	equal(t, "OS", fmt.Sprintf("%d.%d.%d %s", s.Major, s.Minor, s.Build, s.CSD), "10.0.22000 282")
	equal(t, "CPU", fmt.Sprintf("family %d model %d stepping %d", s.Level, s.Revision>>8, s.Revision&0xff), "family 6 model 140 stepping 1")
	c := d.Threads[0].Context
	if c.Flags&0x40 == 0 || len(c.Raw) <= 1232 || d.ModuleAt(c.PC()) == nil {
		t.Errorf("context of %d bytes, flags %#x, pc %#x", len(c.Raw), c.Flags, c.PC())
	}
	info, pc := minidump.MemoryInfo{}, c.PC()
	for _, m := range d.MemoryInfo {
		if pc-m.Base < m.Size {
			info = m
		}
	}
	equal(t, "code is executable", []bool{info.Readable(), info.Writable(), info.Executable()}, []bool{true, false, true})
	equal(t, "UnloadedAt", len(d.UnloadedAt(d.Unloaded[0].Addr)), 1)
	equal(t, "CodeID", d.Unloaded[0].CodeID, debugid.CodeIDFromPE(d.Unloaded[0].Timestamp, d.Unloaded[0].Size))
}

func TestFixtureLinux(t *testing.T) {
	d := dump(t, "breakpad/dumps/linux_inside_module_exe_region2.dmp")
	equal(t, "ID", d.Linux.Distribution().ID, "Ubuntu")
	if pid, ok := d.Linux.PID(); !ok || pid != d.Exception.ThreadID {
		t.Errorf("PID = %d, %v", pid, ok)
	}
	pc, path := d.Exception.Context.PC(), ""
	for _, m := range d.Linux.Maps {
		if pc >= m.Start && pc < m.End {
			path = m.Path
		}
	}
	equal(t, "mapping of the pc", path, d.ModuleAt(pc).Name)

	// The dynamic linker knows the modules, but the one of the kernel by another name.
	for _, file := range []string{"linux_null_read_av.dmp", "linux_overflow.dmp", "linux_executable_heap.dmp", "linux_write_to_under_4k.dmp"} {
		d := dump(t, "breakpad/dumps/"+file)
		l := d.Linux.Linker
		equal(t, "Linker", []any{l.Version, d.ModuleAt(l.Brk).Addr, l.Objects[0].Name, l.Objects[0].Dynamic}, []any{uint32(1), l.Base, "", l.Dynamic})
		aux := map[uint64]uint64{}
		for _, a := range d.Linux.Auxv {
			aux[a.Type] = a.Value
		}
		equal(t, "AT_PAGESZ, AT_BASE", []uint64{aux[6], aux[7]}, []uint64{4096, l.Base})
		equal(t, "AT_ENTRY", d.ModuleAt(aux[9]), d.MainModule())
		for _, o := range l.Objects[2:] {
			m := d.ModuleAt(o.Addr)
			name := leaf(o.Name) // libc.so.6 is libc-2.19.so
			if m == nil || !strings.HasPrefix(leaf(m.Name), name[:strings.IndexAny(name, "-.")]) {
				t.Errorf("%s: object %+v is module %+v", file, o, m)
			}
		}
	}
}
