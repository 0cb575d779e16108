package minidump_test

import (
	"reflect"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

// orders runs a test in both byte orders.
func orders(t *testing.T, test func(t *testing.T, b *minidumptest.Builder)) {
	t.Run("little", func(t *testing.T) { test(t, minidumptest.New(false)) })
	t.Run("big", func(t *testing.T) { test(t, minidumptest.New(true)) })
}

// parse parses a dump that has no problems.
func parse(t *testing.T, b *minidumptest.Builder) *minidump.Dump {
	t.Helper()
	d, err := minidump.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Problems) > 0 {
		t.Fatalf("Problems = %v", d.Problems)
	}
	return d
}

// kinds returns "stream: kind" of each problem.
func kinds(d *minidump.Dump) (k []string) {
	for _, p := range d.Problems {
		k = append(k, p.Where+": "+p.Kind)
	}
	return k
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %+v, want %+v", what, got, want)
	}
}

var amd64 = minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}

func uuid(from byte) (u [16]byte) {
	for i := range u {
		u[i] = from + byte(i)
	}
	return u
}

func text(s string) *string { return &s }

// everything is a small dump with every stream that Parse reads.
func everything(bigEndian bool) *minidumptest.Builder {
	b := minidumptest.New(bigEndian)
	b.Time, b.Flags = 1600000000, 0x1_0000_0002
	context := minidumptest.ContextAMD64{RIP: 0x401000, RSP: 0x7000}
	return b.System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Windows, CSD: "pack"}).
		Thread(minidumptest.Thread{ID: 1, Name: "main", TEB: 0x5000, Stack: minidumptest.Region{Addr: 0x7000, Data: []byte("stack")}, Context: context}).
		Thread(minidumptest.Thread{ID: 2, Stack: minidumptest.Region{Addr: 0x8000}}).
		Module(minidumptest.Module{Addr: 0x400000, Size: 0x2000, Timestamp: 1, Name: "a.exe", Version: [4]uint32{1 << 16, 2}, CodeView: minidumptest.PDB70{UUID: uuid(1), Age: 1, File: "a.pdb"}}).
		Module(minidumptest.Module{Addr: 0x500000, Size: 0x2000, Name: "b.dll", CodeView: minidumptest.PDB20{Timestamp: 5, Age: 1, File: "b.pdb"}}).
		Module(minidumptest.Module{Addr: 0x600000, Size: 0x2000, Name: "c.so", CodeView: minidumptest.ELF{BuildID: []byte{1, 2, 3}}}).
		Unloaded(minidumptest.Unloaded{Addr: 0x700000, Size: 0x1000, Timestamp: 9, Name: "gone.dll"}).
		Memory(0x5000, make([]byte, 0x70)).
		FullMemory(0x8000, []byte("other stack")).
		MemoryInfo(minidumptest.MemoryInfo{Base: 0x8000, Size: 0x1000, State: 0x1000, Protection: 4, Type: 0x20000}).
		Exception(minidumptest.Exception{ThreadID: 1, Code: 0xc0000005, NumParameters: 2, Information: [15]uint64{1, 0x45}, Context: context}).
		Misc(minidumptest.Misc{Form: 3, Flags: 0x43, PID: 7, Create: 1599999999, StandardName: "UTC"}).
		Assertion("p != 0", "f", "f.c", 12, 1).
		BreakpadInfo(3, 2, 1).
		LinuxText(minidumptest.LinuxCPUInfo, "microcode : 0x10\n").
		LinuxText(minidumptest.LinuxStatus, "Pid:\t7\n").
		LinuxText(minidumptest.LinuxLSBRelease, "ID=debian\n").
		LinuxText(minidumptest.LinuxMaps, "1000-2000 r-xp 00000000 08:01 5  /bin/a\n").
		Aux(33, 0x7ffe0000, 6, 4096, 0, 0).
		Linker(8, 1, 0x10, 0x20, 0x30, minidumptest.LinkedObject{Addr: 0x400000, Dynamic: 0x401000, Name: "/bin/a"}).
		Handles(true, minidumptest.Handle{Handle: 4, Type: text("File"), Object: text("C:\\f"), Info: []minidumptest.HandleInfo{{Type: 1, Data: []byte("info")}}}).
		ThreadInfo(minidumptest.ThreadInfo{ID: 1, Start: 0x401000}).
		MacCrashInfo(40, minidumptest.MacCrashInfo{Version: 5, Thread: 1, Strings: [5]string{"lib", "message"}}).
		MacBootArgs("-v").
		Raw(18, []byte("\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")).
		Raw(0x4d7a0003, []byte("Limit  Soft  Hard  Units\nMax x  1  unlimited  bytes\n")).
		Raw(0x4d7a0004, []byte("[]")).
		Crashpad(minidumptest.Crashpad{Version: 1, ReportID: uuid(9), Annotations: [][2]string{{"k", "v"}}, Modules: []minidumptest.CrashpadModule{
			{Index: 1, List: []string{"abort"}, Annotations: [][2]string{{"x", "y"}}, Objects: []minidumptest.Annotation{{Name: "o", Type: 1, Value: []byte("text")}}},
		}})
}

func TestHeader(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		b.Time, b.Flags = 0x12345678, 0x123456789abcdef0
		d := parse(t, b.Raw(0xabcd1234, []byte("hello")).Raw(0, nil).Raw(0, nil))
		equal(t, "BigEndian", d.BigEndian, b.BigEndian)
		equal(t, "Time", d.Time, uint32(0x12345678))
		equal(t, "Flags", d.Flags, uint64(0x123456789abcdef0))
		equal(t, "Streams", len(d.Streams), 3)
		equal(t, "Type", d.Streams[0].Type, minidump.StreamType(0xabcd1234))
		equal(t, "Size", d.Streams[0].Size, uint32(5))
		equal(t, "Stream", string(d.Stream(0xabcd1234)), "hello")
		equal(t, "Stream", d.Stream(5), []byte(nil))
	})
}

// Every stream in one dump, so that none disturbs another.
func TestEverything(t *testing.T) {
	for _, big := range []bool{false, true} {
		d := parse(t, everything(big))
		if d.System == nil || d.Exception == nil || d.Exception.Context == nil || d.Misc == nil || d.Breakpad == nil ||
			d.Assertion == nil || d.Crashpad == nil || len(d.Threads) != 2 || len(d.Modules) != 3 || len(d.Unloaded) != 1 ||
			len(d.Memory.Regions) != 2 || len(d.MemoryInfo) != 1 || len(d.Linux.Maps) != 1 || len(d.Handles) != 1 || d.Threads[0].Info == nil ||
			len(d.MacCrashInfo) != 1 || !d.HasMacBootArgs || d.SoftErrors == nil || len(d.Linux.Limits) != 1 || len(d.Linux.Auxv) != 2 || d.Linux.Linker == nil {
			t.Errorf("big-endian %v: something is missing: %+v", big, d)
		}
	}
}

func TestDuplicateStream(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		d, err := minidump.Parse(b.BreakpadInfo(1, 10, 0).BreakpadInfo(1, 20, 0).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "DumpThread", d.Breakpad.DumpThread, uint32(20))
		equal(t, "problems", kinds(d), []string{"directory: duplicate stream"})
	})
}

func TestStreamType(t *testing.T) {
	for typ, want := range map[minidump.StreamType]string{
		3: "ThreadList", 24: "ThreadNames", 0x8000: "ceNull", 0x800c: "ceDiagnosisList", 0xffff: "LastReserved",
		0x47670009: "LinuxMaps", 0x4d7a0004: "MozSoftErrors", 25: "0x19", 0x800d: "0x800d",
	} {
		if got := typ.String(); got != want || typ.Known() == strings.HasPrefix(want, "0x") {
			t.Errorf("StreamType(%#x) = %q, known %v", uint32(typ), got, typ.Known())
		}
	}
}

func TestSystem(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		d := parse(t, b.System(minidumptest.System{
			Architecture: minidumptest.X86, Level: 6, Revision: 0xd08, Processors: 2, ProductType: 1,
			Major: 5, Minor: 1, Build: 2600, Platform: minidumptest.Windows, CSD: "Service Pack 2 \U0001F600", SuiteMask: 0x100,
			CPU: [6]uint32{0x756e6547, 0x49656e69, 0x6c65746e, 0x6d8, 0xafe9fbff, 0},
		}))
		equal(t, "System", *d.System, minidump.SystemInfo{
			CPU: minidump.CPUX86, OS: minidump.OSWindows, Platform: 2, Level: 6, Revision: 0xd08, Processors: 2, ProductType: 1,
			SuiteMask: 0x100, Major: 5, Minor: 1, Build: 2600, CSD: "Service Pack 2 \U0001F600", Vendor: "GenuineIntel",
			Features: [2]uint64{0x6d8, 0xafe9fbff},
		})
	})
	for _, tt := range []struct {
		arch     uint16
		platform uint32
		cpu, os  string
		pointer  uint8
		features [2]uint64
	}{
		{0, 2, "x86", "windows", 4, [2]uint64{4, 5}}, {10, 3, "x86", "windows", 4, [2]uint64{4, 5}},
		{9, 0x8201, "amd64", "linux", 8, [2]uint64{0x2_0000_0001, 0x4_0000_0003}},
		{5, 0x8203, "arm", "android", 4, [2]uint64{1, 2}},
		{12, 0x8101, "arm64", "mac", 8, [2]uint64{0x2_0000_0001, 0x4_0000_0003}},
		{0x8003, 0x8102, "arm64", "ios", 8, [2]uint64{0x2_0000_0001, 0x4_0000_0003}},
		{0x8004, 0x8206, "mips64", "fuchsia", 8, [2]uint64{0x2_0000_0001, 0x4_0000_0003}},
		{77, 0x8000, "unknown", "unknown", 0, [2]uint64{0x2_0000_0001, 0x4_0000_0003}},
	} {
		d := parse(t, minidumptest.New(false).System(minidumptest.System{Architecture: tt.arch, Platform: tt.platform, CPU: [6]uint32{1, 2, 3, 4, 5}}))
		s := d.System
		if s.CPU.String() != tt.cpu || s.OS.String() != tt.os || s.CPU.PointerSize() != tt.pointer || s.Features != tt.features {
			t.Errorf("architecture %#x, platform %#x = %v, %v, pointer %d, features %#x", tt.arch, tt.platform, s.CPU, s.OS, s.CPU.PointerSize(), s.Features)
		}
	}
}

func TestMisc(t *testing.T) {
	misc := minidumptest.Misc{
		Form: 5, Flags: 0x3f7, PID: 1, Create: 2, User: 3, Kernel: 4, Power: [5]uint32{5, 6, 7, 8, 9}, Integrity: 10, Execute: 11, Protected: 12,
		TimeZoneID: 13, Bias: -60, StandardName: "Standard", StandardDate: [8]uint16{1, 2, 3, 4, 5, 6, 7, 8}, StandardBias: -1,
		DaylightName: strings.Repeat("x", 32), DaylightDate: [8]uint16{8, 7}, DaylightBias: -2, BuildString: "build", DebugBuild: "debug",
		ContextSize: 14, Enabled: 1<<62 | 7, Cookie: 15,
	}
	misc.FeatureOffset[63], misc.FeatureSize[63] = 16, 17
	full := minidump.MiscInfo{
		Size: 1364, Flags: 0x3f7, ProcessID: 1, CreateTime: 2, UserTime: 3, KernelTime: 4,
		MaxMHz: 5, CurrentMHz: 6, MHzLimit: 7, MaxIdleState: 8, CurrentIdleState: 9, IntegrityLevel: 10, ExecuteFlags: 11, Protected: 12, TimeZoneID: 13,
		TimeZone: minidump.TimeZone{
			Bias: -60, StandardBias: -1, DaylightBias: -2, StandardName: "Standard", DaylightName: strings.Repeat("x", 32),
			StandardDate: [8]uint16{1, 2, 3, 4, 5, 6, 7, 8}, DaylightDate: [8]uint16{8, 7},
		},
		BuildString: "build", DebugBuild: "debug", XState: minidump.XState{ContextSize: 14, Enabled: 1<<62 | 7}, ProcessCookie: 15,
	}
	full.XState.Features[63].Offset, full.XState.Features[63].Size = 16, 17
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		equal(t, "Misc", *parse(t, b.Misc(misc)).Misc, full)
	})
	// Shorter forms have the first fields, and only the flags of those.
	for form, flags := range map[int]minidump.MiscFlags{1: 0x3, 2: 0x7, 3: 0xf7, 4: 0x1f7} {
		misc.Form = form
		m := parse(t, minidumptest.New(false).Misc(misc)).Misc
		if m.Flags != flags || m.Has(minidump.MiscPower) != (form >= 2) || (m.IntegrityLevel == 10) != (form >= 3) || (m.DebugBuild == "debug") != (form >= 4) || m.ProcessCookie != 0 {
			t.Errorf("form %d: %+v", form, m)
		}
	}
}

func TestBreakpadStreams(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		d := parse(t, b.BreakpadInfo(2, 3, 4).Assertion("format != nullptr", "vfprintf", strings.Repeat("f", 128), 32, 1))
		equal(t, "Breakpad", *d.Breakpad, minidump.BreakpadInfo{HasRequestingThread: true, DumpThread: 3, RequestingThread: 4})
		equal(t, "Assertion", *d.Assertion, minidump.Assertion{
			Expression: "format != nullptr", Function: "vfprintf", File: strings.Repeat("f", 128), Line: 32, Type: minidump.AssertionInvalidParameter,
		})
	})
}
