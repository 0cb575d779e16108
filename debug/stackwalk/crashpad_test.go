package stackwalk_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/debug/triage"
	"salvage/internal/debugtest"
)

// Dumps that Crashpad's handler wrote of real crashes: what they tell of the crash, and that minidump-stackwalk, if
// it is there, says the same of all but the stacks, which package unwind compares.
func TestCrashpad(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	tool, _ := exec.LookPath("minidump-stackwalk")
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
		if tool == "" {
			continue
		}
		file := filepath.Join(t.TempDir(), "dump")
		if err := os.WriteFile(file, data, 0o666); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tool, "--json", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		var report map[string]any
		if err := json.Unmarshal(out, &report); err != nil {
			t.Fatal(err)
		}
		theirs, ours := map[string]any{}, leavesOf(t, stackwalk.Walk(t.Context(), d, newSymFolders(t), stackwalk.Options{}))
		leaves(theirs, "", report)
		for path := range theirs {
			if _, ok := ours[path]; !ok {
				ours[path] = none
			}
		}
		for path, b := range ours {
			if strings.Contains(path, "frame") || strings.Contains(path, "_symbols") { // of walks
				continue
			}
			if a := lookup(theirs, path); a != b && (a != none || !additions.MatchString(path)) {
				t.Errorf("%s: %s: %v, theirs %v", mode, path, b, a)
			}
		}
	}
}
