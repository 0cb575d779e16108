package stackwalk_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/debug/unwind"
	"salvage/internal/debugtest"
)

// The walk of Breakpad's own test: minidump2.dmp with STACK WIN records of both modules. Offsets are those of return
// addresses there.
func TestBreakpadWalk(t *testing.T) {
	d, err := minidump.Parse(debugtest.File(t, "breakpad/dumps/minidump2.dmp"))
	if err != nil {
		t.Fatal(err)
	}
	r := stackwalk.Walk(t.Context(), d, newSymFolders(t, debugtest.Path(t, "breakpad/symbols")), stackwalk.Options{})
	var lines, registers strings.Builder
	names := strings.Fields("eip esp ebp ebx esi edi eax ecx edx")
	for i, f := range r.Threads[0].Frames {
		file, offset := "", f.PC-f.Start
		if f.File != "" {
			file, offset = f.File, f.PC-f.LineStart
		}
		line := ""
		if f.Line > 0 {
			line = fmt.Sprint(f.Line)
		}
		fmt.Fprintf(&lines, "0|%d|%s|%s|%s|%s|%#x\n", i, f.Module.Name[strings.LastIndex(f.Module.Name, `\`)+1:], f.Function, file, line, offset)
		cpu := d.System.CPU.RegisterNames()
		for _, name := range names {
			for n, known := range cpu {
				if v, ok := f.Registers.Get(uint8(n)); ok && known == name {
					fmt.Fprintf(&registers, "%s = %#08x\n", name, v)
				}
			}
		}
		if want := unwind.TrustCFI; i > 0 && f.Trust != want {
			t.Errorf("frame %d was found by %v", i, f.Trust)
		}
	}
	text := strings.ReplaceAll(string(debugtest.File(t, "breakpad/dumps/minidump2.stackwalk.machine_readable.out")), "\r", "")
	same(t, "frames", lines.String(), text[strings.Index(text, "\n0|0|")+1:])

	var want strings.Builder
	human := string(debugtest.File(t, "breakpad/dumps/minidump2.stackwalk.out"))
	for _, m := range regexp.MustCompile(`(e[a-z]{2}) = (0x[0-9a-f]{8})`).FindAllStringSubmatch(human, -1) {
		fmt.Fprintf(&want, "%s = %s\n", m[1], m[2])
	}
	same(t, "registers", registers.String(), regexp.MustCompile(`efl.*\n`).ReplaceAllString(want.String(), ""))
}
