package stackwalk_test

import (
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/triage"
	"salvage/internal/debugtest"
)

// Dumps that Crashpad's handler wrote of real crashes: what they tell of the crash. TestLiveCrashpad compares all else.
func TestCrashpad(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	for mode, want := range map[string]struct {
		reason         string
		null, overflow bool
	}{
		"inline":   {"SIGSEGV / SEGV_MAPERR", true, false},
		"thread":   {"SIGSEGV / SEGV_MAPERR", true, false},
		"overflow": {"SIGSEGV / SEGV_MAPERR", false, true},
		"abort":    {"SIGABRT / SI_TKILL", false, false},
		"handler":  {"SIGSEGV / SEGV_MAPERR", true, false},
	} {
		data, _ := debugtest.Crash(t, app, mode)
		d, err := minidump.Open(data)
		if err != nil || len(d.Problems) > 0 {
			t.Fatalf("%s: %v, %v", mode, d.Problems, err)
		}
		c, _ := triage.Analyze(d)
		if end := d.Threads[0].Stack.Addr; want.overflow && (end <= c.Address || end-c.Address > 1<<16) {
			t.Logf("%s: the dump does not have the end of the stack: %#x, %#x", mode, end, c.Address)
			want.overflow = false
		}
		if c.Reason != want.reason || c.NullPointer != want.null || c.StackOverflow != want.overflow {
			t.Errorf("%s: %+v, stack %#x, sp %#x", mode, c, d.Threads[0].Stack.Addr, d.Exception.Context.SP())
		}
	}
}
