package stackwalk_test

import (
	"fmt"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
	"salvage/debug/unwind"
)

// systems are system infos with what minidump-stackwalk 0.27 makes of them: os, os_ver, cpu_arch, cpu_info.
var systems = []struct {
	name string
	s    minidumptest.System
	want string
}{
	{"windows", minidumptest.System{
		Architecture: minidumptest.X86, Platform: minidumptest.Windows, Level: 6, Revision: 0xd08, Major: 5, Minor: 1, Build: 2600,
		CSD: " Service Pack 2\n", CPU: [6]uint32{0x756e6547, 0x49656e69, 0x6c65746e},
	}, "Windows NT|5.1.2600 Service Pack 2|x86|GenuineIntel family 6 model 13 stepping 8"},
	{"mac", minidumptest.System{
		Architecture: minidumptest.ARM64, Platform: minidumptest.MacOS, Major: 10, Minor: 15, Build: 3, CSD: "19D76",
	}, "Mac OS X|10.15.3 19D76|arm64|<nil>"},
	{"ios", minidumptest.System{Architecture: minidumptest.OldARM64, Platform: minidumptest.IOS, Major: 13}, "iOS|13.0.0|arm64|<nil>"},
	{"uname", minidumptest.System{
		Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, Level: 25, Revision: 0x1234, CSD: "Linux 6.1.0-9-amd64 #1 SMP x86_64 Linux/GNU",
	}, "Linux|6.1.0-9-amd64 #1 SMP|amd64|family 25 model 18 stepping 52"},
	// What uname really prints ends in GNU/Linux, so that the machine stays.
	{"uname of today", minidumptest.System{
		Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, CSD: "Linux 6.1.0-9-amd64 #1 SMP x86_64 GNU/Linux",
	}, "Linux|6.1.0-9-amd64 #1 SMP x86_64|amd64|family 0 model 0 stepping 0"},
	{"only version", minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, CSD: "Linux 6.1"}, "Linux|6.1 |amd64|family 0 model 0 stepping 0"},
	{"only system", minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, CSD: "Linux "}, "Linux| |amd64|family 0 model 0 stepping 0"},
	{"one word", minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, CSD: " "}, "Linux| |amd64|family 0 model 0 stepping 0"},
	{"no uname", minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, CSD: "Linux"}, "Linux|0.0.0 Linux|amd64|family 0 model 0 stepping 0"},
	{"twice Linux/GNU", minidumptest.System{
		Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, CSD: "Linux 6.1 #1 Linux/GNU Linux/GNU",
	}, "Linux|6.1 #1|amd64|family 0 model 0 stepping 0"},
	{"version known", minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, Major: 6, CSD: "a b c"}, "Linux|6.0.0 a b c|amd64|family 0 model 0 stepping 0"},
	{"android", minidumptest.System{
		Architecture: minidumptest.ARM, Platform: minidumptest.Android, Level: 7, CSD: "Linux 3.0 x", CPU: [6]uint32{0x4100c0f3, 0x80001007},
	}, "Android|0.0.0 Linux 3.0 x|arm|ARMv7 ARM Cortex-A15 features: swp,half,thumb,neon"},
	{"arm", minidumptest.System{
		Architecture: minidumptest.ARM, Platform: minidumptest.Linux, Level: 8, CPU: [6]uint32{0x12345678, 0x80000000},
	}, "Linux|0.0.0|arm|ARMv8 vendor(0x12) part(0x12005670)"},
	{"arm without id", minidumptest.System{Architecture: minidumptest.ARM, Platform: minidumptest.Linux, Level: 5}, "Linux|0.0.0|arm|ARMv5"},
	{"unknown", minidumptest.System{Architecture: 0x7777, Platform: 0x1234}, "0x0x001234|0.0.0|unknown|<nil>"},
	{"number of six digits", minidumptest.System{Architecture: 5, Platform: 0x12345678}, "0x0x12345678|0.0.0|arm|ARMv0"},
}

func TestSystem(t *testing.T) {
	for _, tt := range systems {
		got := leavesOf(t, walk(t, minidumptest.New(false).System(tt.s), fixed{}, 0))
		text := fmt.Sprintf("%v|%v|%v|%v", got[".system_info.os"], got[".system_info.os_ver"], got[".system_info.cpu_arch"], got[".system_info.cpu_info"])
		if text != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, text, tt.want)
		}
	}
}

// Facts of the process that come from several places.
func TestProcess(t *testing.T) {
	status := func(b *minidumptest.Builder) { b.LinuxText(minidumptest.LinuxStatus, "Name:\tx\nPid:\t3747\n") }
	for _, tt := range []struct {
		name        string
		build       func(b *minidumptest.Builder)
		pid, uptime any
	}{
		{"nothing", func(b *minidumptest.Builder) {}, nil, nil},
		{"status", status, 3747.0, nil},
		{"misc info wins", func(b *minidumptest.Builder) {
			status(b)
			b.Misc(minidumptest.Misc{Form: 1, Flags: 3, PID: 5, Create: 900})
		}, 5.0, 100.0},
		{"misc info without pid", func(b *minidumptest.Builder) {
			status(b)
			b.Misc(minidumptest.Misc{Form: 1, Flags: 2, PID: 5, Create: 1000})
		}, nil, 0.0},
		{"clock set back", func(b *minidumptest.Builder) { b.Misc(minidumptest.Misc{Form: 1, Flags: 2, Create: 2000}) }, nil, 0.0},
		{"without times", func(b *minidumptest.Builder) { b.Misc(minidumptest.Misc{Form: 1, Flags: 1, Create: 900}) }, 0.0, nil},
	} {
		b := minidumptest.New(false).System(linux)
		b.Time = 1000
		tt.build(b)
		got := leavesOf(t, walk(t, b, fixed{}, 0))
		if pid, uptime := got[".pid"], got[".process_uptime"]; pid != tt.pid || uptime != tt.uptime {
			t.Errorf("%s: pid %v, uptime %v, want %v, %v", tt.name, pid, uptime, tt.pid, tt.uptime)
		}
	}
}

// A dump that was asked for has a thread, and no crash. One of nothing at all is a report too.
func TestNoCrash(t *testing.T) {
	b := minidumptest.New(false).System(linux).BreakpadInfo(2, 0, 7).
		Thread(minidumptest.Thread{ID: 7, Context: minidumptest.ContextAMD64{RIP: 0x1234, RSP: 8}})
	r := walk(t, b, fixed{}, 0)
	got := leavesOf(t, r)
	for path, want := range map[string]any{
		".crash_info.type": nil, ".crash_info.address": nil, ".crash_info.crash_inconsistencies": nil, ".crash_info.crashing_thread": 0.0,
		".crashing_thread.threads_index": 0.0, ".crashing_thread.frames[0].module": nil, ".linux_memory_map_count": nil, ".lsb_release": nil,
	} {
		if v, ok := got[path]; !ok || v != want {
			t.Errorf("%s = %v, want %v", path, v, want)
		}
	}
	text := textOf(t, r, false)
	if want := "\n\nNo crash\nProcess uptime: not available\n\nThread 0  (requested dump, did not crash) - tid: 7\n 0  0x1234\n"; !strings.Contains(text, want) {
		t.Errorf("%q is not in\n%s", want, text)
	}

	r = &stackwalk.Report{Dump: &minidump.Dump{}, Crashing: -1}
	if got := leavesOf(t, r); got[".system_info.cpu_arch"] != "unknown" || got[".crash_info.crashing_thread"] != nil || got[".crashing_thread.thread_id"] != nil {
		t.Errorf("report of nothing: %v", got)
	}
	same(t, "brief text of nothing", textOf(t, r, true), "Operating system: 0x0x000000\n                  0.0.0\nCPU: unknown\n     0 CPU\n\nNo crash\nProcess uptime: not available\n\n")
}

// x86 has an order of its own in text, and eflags where the registers are the thread's: the exception's if
// it crashed. Addresses have eight digits.
func TestRegistersX86(t *testing.T) {
	b := minidumptest.New(false).System(systems[0].s).
		Thread(minidumptest.Thread{ID: 1, Context: minidumptest.ContextX86{EFlags: 0x111}}).
		Thread(minidumptest.Thread{ID: 2, Context: minidumptest.ContextX86{EFlags: 0x222}}).
		Exception(minidumptest.Exception{ThreadID: 2, Code: 0x80000003, Context: minidumptest.ContextX86{EFlags: 0x246}})
	r := walk(t, b, fixed{}, 0)
	r.Threads[0].LastError, r.Threads[0].HasLastError = 5, true
	for i := range r.Threads {
		var all, some cfi.Registers
		for n := range uint8(9) {
			all.Set(n, uint64(n)+0x10)
		}
		some.Set(8, 0x1234)
		r.Threads[i].Frames = []stackwalk.Frame{{Frame: unwind.Frame{Lookup: 0x18, Registers: all}}, {Frame: unwind.Frame{Lookup: 0x1233, Registers: some, Trust: unwind.TrustCFI}}}
	}
	text := textOf(t, r, false)
	for _, want := range []string{`(crashed) - tid: 2
 0  0x18
     eip = 0x00000018    esp = 0x00000014    ebp = 0x00000015    ebx = 0x00000013
     esi = 0x00000016    edi = 0x00000017    eax = 0x00000010    ecx = 0x00000011
     edx = 0x00000012 eflags = 0x00000246
    Found by: given as instruction pointer in context
 1  0x1233
     eip = 0x00001234
    Found by: call frame info

Thread 0 `, " eflags = 0x00000111\n", "Crash address: 0x00000000\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	got := leavesOf(t, r)
	for path, want := range map[string]any{
		".crashing_thread.frames[0].registers.eflags": "0x00000246", ".crashing_thread.frames[0].registers.esp": "0x00000014",
		".threads[0].frames[1].offset": "0x00001233", ".threads[0].last_error_value": "ERROR_ACCESS_DENIED",
	} {
		if got[path] != want {
			t.Errorf("%s = %v, want %v", path, got[path], want)
		}
	}
	if _, ok := got[".crashing_thread.frames[1].registers"]; ok {
		t.Error("a frame behind the first has registers")
	}
}

// A line whose start is not known has no offset.
func TestLineWithoutStart(t *testing.T) {
	b := minidumptest.New(false).System(linux).Thread(minidumptest.Thread{ID: 1}).Module(minidumptest.Module{Addr: 0x1000, Size: 0x1000, Name: "app"})
	r := walk(t, b, fixed{}, 0)
	m := r.Modules[0].Module
	for start, want := range map[uint64]string{0: "app!f [a.c : 7]\n", 0x1230: "app!f [a.c : 7 + 0x4]\n"} {
		r.Threads[0].Frames = []stackwalk.Frame{{Frame: unwind.Frame{Lookup: 0x1234, Module: m}, Function: "f", Start: 0x1200, File: "/src/a.c", Line: 7, LineStart: start}}
		if text := textOf(t, r, false); !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
