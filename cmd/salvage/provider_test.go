package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/minidump/minidumptest"
	"salvage/debug/object"
	"salvage/debug/symbols"
	"salvage/internal/debugtest"
)

// A stack of a stripped program has lines and inlined calls where its debug information is in another file, of which
// TestCompanions has the places.
func TestStackwalkCompanions(t *testing.T) {
	const source = "static inline __attribute__((always_inline)) int in(int n) { return *(volatile int *)(long)n; }\nint main(int n, char **a) { return in(n) + (a != 0); }\n"
	const strip = "objcopy --only-keep-debug p p.debug; objcopy -S --add-gnu-debuglink=p.debug p; "
	for _, tt := range []struct {
		name, compile, commands string
		lines                   bool
	}{
		{"nowhere", "gcc", strip + "mv p.debug x", false},
		{"beside", "gcc", strip, true},
		{".dwo", "clang -gsplit-dwarf", "true", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			shell := func(command string) {
				t.Helper()
				cmd := exec.Command("sh", "-ec", command)
				cmd.Dir, cmd.Stdin = dir, strings.NewReader(source)
				if text, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", command, err, text)
				}
			}
			compiler, _, _ := strings.Cut(tt.compile, " ")
			for _, tool := range []string{compiler, "objcopy"} {
				debugtest.Program(t, "llvm", tool)
			}
			path := filepath.Join(dir, "p")
			shell(tt.compile + " -O2 -g -gdwarf-5 -x c -c - -o p.o; " + compiler + " p.o -o p -Wl,--build-id=sha1")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			obj, err := object.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			defer companions(path, obj).Close()
			var main uint64
			err = obj.Symbols(t.Context(), new(object.Report))(func(b *symbols.Batch) error {
				for _, f := range b.Functions {
					if string(b.Strings.Bytes(f.Name)) == "main" {
						main = f.Addr
					}
				}
				return nil
			})
			if err != nil || main == 0 {
				t.Fatal(err, main)
			}
			id := string(obj.Module.CodeID)
			shell(tt.commands)

			const base = 0x400000
			build := make([]byte, len(id)/2)
			if _, err := fmt.Sscanf(id, "%x", &build); err != nil {
				t.Fatal(err)
			}
			ctx := minidumptest.ContextAMD64{RIP: base + main, RSP: 0x7000}
			dump := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}).
				Module(minidumptest.Module{Addr: base, Size: 0x10000, Name: "/bin/p", CodeView: minidumptest.ELF{BuildID: build}}).
				Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: 0x7000, Data: make([]byte, 64)}, Context: ctx}).
				Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Context: ctx})
			file := filepath.Join(dir, "dump")
			if err := os.WriteFile(file, dump.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			var out, stderr bytes.Buffer
			if code := run([]string{"stackwalk", "--json", file, path}, nil, &out, &stderr); code != 0 || stderr.Len() > 0 {
				t.Fatalf("exit code %d: %s", code, &stderr)
			}
			var report struct {
				Threads []struct {
					Frames []struct {
						Function, File string
						Line           int
						Inlines        []struct{ Function string }
					}
				}
			}
			if err := json.Unmarshal(out.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			f := report.Threads[0].Frames[0]
			if lines := f.Function == "main" && f.Line == 2 && len(f.Inlines) == 1 && f.Inlines[0].Function == "in"; lines != tt.lines {
				t.Errorf("%+v", f)
			}
		})
	}
}
