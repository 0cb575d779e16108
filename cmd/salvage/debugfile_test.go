package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/object"
	"salvage/debug/object/elf"
	"salvage/debug/symbols"
	"salvage/internal/debugtest"
)

// Companions are found in each of their places, past another file of their name.
func TestCompanions(t *testing.T) {
	root := debugRoot
	defer func() { debugRoot = root }()
	const source = "static inline __attribute__((always_inline)) int in(int n) { return n * n; }\nint main(int n, char **a) { return in(n) + (a != 0); }\n"
	const clangSplit, mingw = "clang -gsplit-dwarf", "x86_64-w64-mingw32-gcc"
	for _, tt := range []struct {
		name, compile string
		// Commands make the program p. %r is the folder of debug files, %i the place of p's build id in it.
		commands []string
		needs    int // of what is left
	}{
		{"beside", "gcc", []string{"objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p"}, 0},
		{"nowhere", "gcc", []string{"objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p", "mv p.debug x"}, 1},
		{".debug", "gcc", []string{"objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p", "mkdir .debug", "mv p.debug .debug", "cp p p.debug"}, 0},
		{"folder of debug files", "gcc", []string{"objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p", "mkdir -p %r/%d", "mv p.debug %r/%d"}, 0},
		{"build id", "gcc", []string{"objcopy --only-keep-debug p p.debug", "objcopy -S p", "mkdir -p %i", "rmdir %i", "mv p.debug %i.debug"}, 0},
		{"checksum", "gcc -Wl,--build-id=none", []string{"objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p"}, 0},
		{"wrong checksum", "gcc -Wl,--build-id=none", []string{"objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p", "objcopy --compress-debug-sections p.debug"}, 1},
		{"PE", mingw, []string{"x86_64-w64-mingw32-objcopy --only-keep-debug p p.debug", "x86_64-w64-mingw32-objcopy -S --add-gnu-debuglink=p.debug p"}, 0},
		{"PE, another checksum", mingw, []string{"x86_64-w64-mingw32-objcopy --only-keep-debug p p.debug", "x86_64-w64-mingw32-objcopy -S --add-gnu-debuglink=p.debug p", "cp p p.debug"}, 1},
		{"split", clangSplit, nil, 0},
		{"split, no package", clangSplit, []string{"cp p p.dwp"}, 0},
		{"split, gone", clangSplit, []string{"rm p.dwo"}, 1},
		{"package", clangSplit, []string{"llvm-dwp -e p -o p.dwp", "rm p.dwo"}, 0},
		{"package of the debug file", clangSplit, []string{
			"llvm-dwp -e p -o p.dwp", "rm p.dwo", "objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p", "mkdir .debug", "mv p.debug .debug", "mv p.dwp .debug/p.debug.dwp",
		}, 0},
		{"supplement, relative", "gcc", []string{"cp p q", "dwz -r -m shared p q"}, 0},
		{"supplement, by name", "gcc", []string{"cp p q", "dwz -m shared -M /nowhere/shared p q", "mkdir -p %r/.dwz", "mv shared %r/.dwz"}, 0},
		{"supplement of the debug file", "gcc", []string{
			"cp p q", "dwz -r -m shared p q", "objcopy --only-keep-debug p p.debug", "objcopy -S --add-gnu-debuglink=p.debug p", "mkdir .debug", "mv p.debug shared .debug",
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			debugRoot = t.TempDir()
			run := func(command string) {
				t.Helper()
				args := strings.Fields(command)
				thing := "llvm"
				if strings.Contains(args[0], "mingw") {
					thing = "mingw"
				}
				cmd := exec.Command(debugtest.Program(t, thing, args[0]), args[1:]...)
				cmd.Dir, cmd.Stdin = dir, strings.NewReader(source)
				if text, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", command, err, text)
				}
			}
			path := filepath.Join(dir, "p")
			if strings.Contains(tt.compile, "split") {
				run(tt.compile + " -O2 -g -gdwarf-5 -x c -c - -o p.o")
				run("clang p.o -o p -Wl,--build-id=sha1")
			} else {
				compiler, flags, _ := strings.Cut(tt.compile, " ")
				run(compiler + " -O2 -g " + flags + " -x c - -o p")
				if compiler == mingw {
					run("mv p.exe p")
				}
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			id := "none"
			if f, err := elf.Parse(data); err == nil {
				id = hex.EncodeToString(f.BuildID()) + id
			}
			for _, c := range tt.commands {
				run(strings.NewReplacer("%r", debugRoot, "%d", dir[1:], "%i", filepath.Join(debugRoot, ".build-id", id[:2], strings.TrimSuffix(id[2:], "none"))).Replace(c))
			}
			if data, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
			obj, err := object.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			defer companions(path, obj).Close()
			if n := obj.Needs(); len(n) != tt.needs {
				t.Errorf("%d needs: %v", len(n), n)
			}
			if tt.needs > 0 {
				return
			}
			// Only all the debug information knows of the inlined call.
			var report object.Report
			inlines := 0
			err = obj.Symbols(t.Context(), &report)(func(b *symbols.Batch) error { inlines += len(b.Inlines); return nil })
			if err != nil || inlines == 0 || len(report.Needs) > 0 || report.Lost > 0 {
				t.Errorf("%v, %d inlined calls, %+v", err, inlines, report)
			}
		})
	}
}

// A Mach-O image finds the object files that it was linked of, also those that a linker took from a library.
func TestLinkedLibrary(t *testing.T) {
	dir := t.TempDir()
	run1 := func(program string, args ...string) {
		t.Helper()
		cmd := exec.Command(debugtest.Program(t, "llvm", program), args...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, text)
		}
	}
	for name, source := range map[string]string{
		"helper.c": "int helper(int n) {\n  return n * 3 + 1;\n}\n",
		"start.c":  "int helper(int);\nint start(void) {\n  return helper(4);\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		run1("clang", "--target=x86_64-apple-macos11", "-O1", "-g", "-gdwarf-4", "-c", name)
	}
	run1("llvm-ar", "rcs", "libhelper.a", "helper.o")
	run1("rm", "helper.o")
	run1("ld64.lld-14", "-arch", "x86_64", "-platform_version", "macos", "11.0", "11.0", "-undefined", "dynamic_lookup", "-e", "_start", "-o", "image", "start.o", "libhelper.a")
	image := filepath.Join(dir, "image")
	o, closers, err := openDebugFile(image, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range closers {
		defer c.Close()
	}
	var report object.Report
	lines := map[string]bool{}
	err = o.Symbols(t.Context(), &report)(func(b *symbols.Batch) error {
		for _, l := range b.Lines {
			lines[fmt.Sprintf("%s:%d", filepath.Base(string(b.Strings.Bytes(l.File))), l.Line)] = true
		}
		return nil
	})
	if err != nil || len(report.Needs) > 0 || !lines["helper.c:2"] || !lines["start.c:3"] {
		t.Errorf("%v, %+v, lines %v", err, report, lines)
	}
}
