package stackwalk_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
	"salvage/internal/debugtest"
)

// TestOtherCPUs: of CPUs that are not unwound a thread has its first frame, with all registers. Values are
// minidump-stackwalk's where that knows the CPU.
func TestOtherCPUs(t *testing.T) {
	for _, test := range []struct {
		name         string
		architecture uint16
		context      minidumptest.ContextWords
		words        int
		known        bool // to minidump-stackwalk
	}{
		{"mips", 1, minidumptest.ContextWords{Flags: 0x40001, Pad: true, WordSize: 8, Size: 600}, 40, true},
		{"mips64", 0x8004, minidumptest.ContextWords{Flags: 0x80001, Pad: true, WordSize: 8, Size: 600}, 40, false},
		{"ppc", 3, minidumptest.ContextWords{Flags: 0x20000001, WordSize: 4, Size: 1004}, 40, true},
		{"ppc64", 0x8002, minidumptest.ContextWords{Flags: 0x1000001, WideFlags: true, WordSize: 8, Size: 1160}, 39, true},
		{"sparc", 0x8001, minidumptest.ContextWords{Flags: 0x10000001, Pad: true, WordSize: 8, Size: 584}, 38, true},
		{"riscv", 0x8005, minidumptest.ContextWords{Flags: 0x800001, Pad: true, WordSize: 4, Size: 268}, 32, false},
		{"riscv64", 0x8006, minidumptest.ContextWords{Flags: 0x8000001, Pad: true, WordSize: 8, Size: 524}, 32, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i := range test.words {
				test.context.Words = append(test.context.Words, 0x401000+uint64(i)*8)
			}
			data := minidumptest.New(false).System(minidumptest.System{Architecture: test.architecture, Platform: minidumptest.Linux}).
				Module(minidumptest.Module{Addr: 0x400000, Size: 0x10000, Name: "/bin/app"}).
				Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: 0x401000, Data: make([]byte, 512)}, Context: test.context}).
				Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Context: test.context}).Bytes()
			d, err := minidump.Parse(data)
			if err != nil || len(d.Problems) > 0 {
				t.Fatal(err, d.Problems)
			}
			r := stackwalk.Walk(t.Context(), d, newSymFolders(t), stackwalk.Options{})
			if f := r.Threads[0].Frames; len(f) != 1 || f[0].Trust.String() != "context" || f[0].Module == nil || f[0].PC != d.Threads[0].Context.PC() {
				t.Errorf("frames %+v", f)
			}
			ours := leavesOf(t, r)
			for _, name := range d.System.CPU.RegisterNames() {
				if v, _ := ours[".crashing_thread.frames[0].registers."+name].(string); len(v) != 2+2*test.context.WordSize {
					t.Errorf("register %s: %q", name, v)
				}
			}
			text := textOf(t, r, false)
			if !strings.Contains(text, " = 0x") || !strings.Contains(text, "Found by: given as instruction pointer in context") {
				t.Errorf("%s", text)
			}
			if !test.known {
				return
			}
			tool := debugtest.Program(t, "stackwalk", "minidump-stackwalk")
			file := filepath.Join(t.TempDir(), "dump")
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(tool, "--json", file).Output()
			var v map[string]any
			if err == nil {
				err = json.Unmarshal(out, &v)
			}
			if err != nil {
				t.Fatal(err)
			}
			theirs := map[string]any{}
			leaves(theirs, "", v, longest)
			for path, a := range theirs {
				if b := lookup(ours, path); a != b {
					t.Errorf("%s: %v, theirs %v", path, b, a)
				}
			}
			human, err := exec.Command(tool, "--human", file).Output()
			if err != nil {
				t.Fatal(err)
			}
			same(t, test.name, text, string(human))
		})
	}
}
