package triage_test

import (
	"reflect"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/triage"
)

// analyze returns what Analyze makes of an exception on a system, after a turn through a dump.
func analyze(t *testing.T, platform uint32, architecture uint16, e minidumptest.Exception) triage.Crash {
	t.Helper()
	c, ok := triage.Analyze(parse(t, minidumptest.New(false).System(minidumptest.System{Architecture: architecture, Platform: platform}).Exception(e)))
	if !ok {
		t.Fatal("no exception")
	}
	return c
}

func parse(t *testing.T, b *minidumptest.Builder) *minidump.Dump {
	t.Helper()
	d, err := minidump.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// reason fails unless the reason of an exception is want.
func reason(t *testing.T, platform uint32, architecture uint16, e minidumptest.Exception, want string) {
	t.Helper()
	if got := analyze(t, platform, architecture, e).Reason; !reflect.DeepEqual(got, want) {
		t.Errorf("platform %#x, architecture %#x, code %#x, flags %#x, parameters %#x %#x\n got %q\nwant %q",
			platform, architecture, e.Code, e.Flags, e.NumParameters, e.Information[:3], got, want)
	}
}

func TestAnalyze(t *testing.T) {
	d := parse(t, minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}))
	if c, ok := triage.Analyze(d); ok || !reflect.DeepEqual(c, triage.Crash{}) {
		t.Errorf("without an exception: %+v, %v", c, ok)
	}
	for _, bigEndian := range []bool{false, true} {
		d = parse(t, minidumptest.New(bigEndian).Exception(minidumptest.Exception{ThreadID: 7, Code: 11, Flags: 1, Address: 0x123456789}).
			System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}))
		if c, ok := triage.Analyze(d); !ok || !reflect.DeepEqual(c, triage.Crash{Reason: "SIGSEGV / SEGV_MAPERR", Address: 0x123456789, ThreadID: 7}) {
			t.Errorf("big-endian %v: %+v, %v", bigEndian, c, ok)
		}
	}
}

func TestUnknownSystem(t *testing.T) {
	e := minidumptest.Exception{Code: 11, Flags: 1, Address: 0xffffffff80000000}
	want := triage.Crash{Reason: "unknown 0x0000000b / 0x00000001", Address: 0xffffffff80000000}
	for _, platform := range []uint32{0x8202, 0x8204, 0x8205, 0x8206, 0x8000} { // Solaris, PS3, NaCl, Fuchsia, none
		if got := analyze(t, platform, minidumptest.AMD64, e); !reflect.DeepEqual(got, want) {
			t.Errorf("platform %#x: %+v, want %+v", platform, got, want)
		}
	}
	if got, ok := triage.Analyze(parse(t, minidumptest.New(false).Exception(e))); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("no system info: %+v, %v, want %+v", got, ok, want)
	}
}

func TestAddress(t *testing.T) {
	const at, target, inst = 0xffffffff80401000, 0xffffffff90000045, 0x80401000
	for _, tt := range []struct {
		name         string
		platform     uint32
		architecture uint16
		code, n      uint32
		want         uint64
	}{
		{"access violation", minidumptest.Windows, minidumptest.AMD64, 0xc0000005, 2, target},
		{"access violation, more parameters than there is room for", minidumptest.Windows, minidumptest.AMD64, 0xc0000005, 16, target},
		{"access violation without an address", minidumptest.Windows, minidumptest.AMD64, 0xc0000005, 1, at},
		{"in-page error", minidumptest.Windows, minidumptest.ARM64, 0xc0000006, 3, target},
		{"in-page error with two parameters", minidumptest.Windows, minidumptest.ARM64, 0xc0000006, 2, target},
		{"in-page error without an address", minidumptest.Windows, minidumptest.ARM64, 0xc0000006, 1, at},
		{"another exception", minidumptest.Windows, minidumptest.AMD64, 0xc00000fd, 2, at},
		{"not Windows", minidumptest.Linux, minidumptest.AMD64, 0xc0000005, 2, at},
		{"sign-extended instruction", minidumptest.Windows, minidumptest.X86, 0x80000003, 0, inst},
		{"sign-extended address", minidumptest.Windows, minidumptest.X86, 0xc0000005, 2, 0x90000045},
		{"sign-extended on 32-bit ARM", minidumptest.Android, minidumptest.ARM, 11, 0, inst},
		{"arm64", minidumptest.MacOS, minidumptest.ARM64, 1, 0, at},
		{"arm64 of old", minidumptest.IOS, minidumptest.OldARM64, 1, 0, at},
		{"unknown CPU", minidumptest.Linux, 77, 11, 0, at},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := minidumptest.Exception{Code: tt.code, Address: at, NumParameters: tt.n, Information: [15]uint64{1, target, 3}}
			if got := analyze(t, tt.platform, tt.architecture, e).Address; got != tt.want {
				t.Errorf("Address = %#x, want %#x", got, tt.want)
			}
		})
	}
}

func TestRequestingThread(t *testing.T) {
	context := func(pc uint64) minidumptest.Context { return minidumptest.ContextAMD64{RIP: pc} }
	exception := func(id uint32, c minidumptest.Context) func(*minidumptest.Builder) {
		return func(b *minidumptest.Builder) { b.Exception(minidumptest.Exception{ThreadID: id, Context: c}) }
	}
	info := func(validity, dump, requesting uint32) func(*minidumptest.Builder) {
		return func(b *minidumptest.Builder) { b.BreakpadInfo(validity, dump, requesting) }
	}
	for _, tt := range []struct {
		name  string
		parts []func(*minidumptest.Builder)
		index int // -1: none
		pc    uint64
	}{
		{"nothing", nil, -1, 0},
		{"exception", []func(*minidumptest.Builder){exception(20, context(0x999))}, 1, 0x999},
		{"exception without a context", []func(*minidumptest.Builder){exception(20, nil)}, 1, 0x200},
		{"no context at all", []func(*minidumptest.Builder){exception(50, nil)}, 4, 0},
		{"Breakpad's", []func(*minidumptest.Builder){info(3, 20, 10)}, 0, 0x100},
		{"Breakpad's is not valid", []func(*minidumptest.Builder){info(1, 20, 10)}, -1, 0},
		{"the exception's before Breakpad's", []func(*minidumptest.Builder){exception(20, context(0x999)), info(3, 10, 10)}, 1, 0x999},
		{"the exception's is not in the list, Breakpad's is", []func(*minidumptest.Builder){exception(99, context(0x999)), info(2, 0, 10)}, -1, 0},
		{"several with the id", []func(*minidumptest.Builder){exception(30, nil)}, 3, 0x301},
		{"id 0 is an id", []func(*minidumptest.Builder){exception(0, nil)}, 5, 0x500},
		{"the dump thread has the exception", []func(*minidumptest.Builder){exception(20, context(0x999)), info(1, 20, 0)}, -1, 0},
		{"the dump thread asked for the dump", []func(*minidumptest.Builder){info(3, 10, 10)}, -1, 0},
		{"the dump thread is not valid", []func(*minidumptest.Builder){exception(20, context(0x999)), info(2, 20, 10)}, 1, 0x999},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Windows})
			for _, thread := range []minidumptest.Thread{
				{ID: 10, Context: context(0x100)}, {ID: 20, Context: context(0x200)}, {ID: 30, Context: context(0x300)},
				{ID: 30, Context: context(0x301)}, {ID: 50}, {ID: 0, Context: context(0x500)},
			} {
				b.Thread(thread)
			}
			for _, part := range tt.parts {
				part(b)
			}
			index, c, ok := triage.RequestingThread(parse(t, b))
			if ok != (tt.index >= 0) || ok && index != tt.index {
				t.Errorf("RequestingThread = %d, %v, want %d", index, ok, tt.index)
			}
			if (c != nil) != (tt.pc != 0) || c != nil && c.PC() != tt.pc {
				t.Errorf("context %+v, want the one at %#x", c, tt.pc)
			}
		})
	}
}
