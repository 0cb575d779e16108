package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvage/debug/stackwalk"
	"salvage/debug/unwind"
	"salvage/internal/debugtest"
)

func mustRun(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// m32 compiles for x86. The kernel's headers: gcc-multilib, which has a link to them, excludes the compiler for arm64.
var m32 = []string{"-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"}

// reporting compiles what makes any program report its crashes through Crashpad.
func reporting(t testing.TB, flags ...string) (objects []string) {
	t.Helper()
	for _, source := range []string{"crashapp/handler.cpp", "stacks/report.cpp"} {
		object := filepath.Join(t.TempDir(), "report.o")
		mustRun(t, debugtest.Program(t, "linux", "g++"), append(flags, "-c", "-O2", "-fPIC", "-o", object, debugtest.Example(source))...)
		objects = append(objects, object)
	}
	return objects
}

// links are the ways to link one object file.
var links = []struct {
	name     string
	compiler string
	flags    string
	split    string // separates the debug information: "$2" is to have it, "$1" to lose it
}{
	{"pie", "g++", "", ""},
	{"no pie", "g++", "-no-pie", ""},
	{"no pie, high", "g++", "-no-pie -Wl,-Ttext-segment=0x10000000", ""},
	{"pie from an address that is not 0", "g++", "-Wl,-Ttext-segment=0x10000000", ""},
	{"lld: pie from an address that is not 0", "clang++", "-fuse-ld=lld -Wl,--image-base=0x10000000", ""},
	{"one mapping with headers, data and code", "g++", "-Wl,-z,noseparate-code", ""},
	{"mappings with gaps", "g++", "-Wl,-z,separate-code,-z,max-page-size=0x200000", ""},
	{"lld: each segment on pages of its own", "clang++", "-fuse-ld=lld -Wl,-z,separate-loadable-segments,-z,max-page-size=0x10000", ""},
	{"debug file of objcopy", "g++", "-Wl,-Ttext-segment=0x10000000", `objcopy --only-keep-debug "$1" "$2" && objcopy --strip-all "$1"`},
	{"debug file of llvm-objcopy", "clang++", "-fuse-ld=lld -Wl,--image-base=0x10000000", `llvm-objcopy --only-keep-debug "$1" "$2" && llvm-objcopy --strip-all "$1"`},
	{"debug file of eu-strip", "g++", "-no-pie -Wl,-z,max-page-size=0x200000", `eu-strip -f "$2" "$1"`},
}

// One object file has one stack, however it is linked and loaded, and whether the debug information is in the file or
// in another, whose program headers may say other. It is the stack that gdb shows of the same process.
func TestStacksOfLinks(t *testing.T) {
	objects := append(reporting(t), filepath.Join(t.TempDir(), "main.o"))
	mustRun(t, "g++", "-c", "-g", "-O2", "-fPIE", "-o", objects[2], debugtest.Example("stacks/main.cpp"))
	var first string
	for i, l := range links {
		if testing.Short() && i%4 > 0 {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			app := filepath.Join(t.TempDir(), "stacks")
			files := []string{app}
			mustRun(t, l.compiler, append(append(strings.Fields(l.flags), "-Wl,--build-id", "-o", app), objects...)...)
			if l.split != "" {
				// gdb is to have a whole program: which of two files it takes an address from is what is tested of us.
				files = []string{filepath.Join(t.TempDir(), "stripped"), filepath.Join(t.TempDir(), "stacks.debug")}
				data, err := os.ReadFile(app)
				if err == nil {
					err = os.WriteFile(files[0], data, 0o755)
				}
				if err != nil {
					t.Fatal(err)
				}
				mustRun(t, "sh", "-c", l.split, "sh", files[0], files[1])
			}
			dump, want := crashUnderGDB(t, app, "crash")
			thread := walkCrash(t, dump, append(files, systemLibraries(t, app)...))
			compareGDB(t, app, thread, want)
			checkStacks(t, thread)
			if text := rebased(thread); first == "" {
				first = text
			} else if text != first {
				t.Errorf("got\n%swant\n%s", text, first)
			}
		})
	}
}

// rebased writes a stack without what depends on where code was loaded.
func rebased(thread stackwalk.Thread) string {
	var b strings.Builder
	for _, f := range thread.Frames {
		offset := fmt.Sprintf("%#x", f.Lookup-f.Start)
		if f.Function == "_start" {
			offset = "" // of another object in programs that are not position-independent
		}
		fmt.Fprintf(&b, "%s+%s %s:%d %v signal %v %v\n", f.Function, offset, f.File, f.Line, f.Trust, f.Signal, f.Inlines)
	}
	return b.String()
}

// checkStacks checks that a stack of examples/stacks has what it is there for, and is whole: all by rules.
func checkStacks(t *testing.T, thread stackwalk.Thread) {
	t.Helper()
	signals := 0
	for i, f := range thread.Frames {
		if i > 0 && f.Trust != unwind.TrustCFI || f.Failed != nil || f.NoRules {
			t.Errorf("frame %d, %s: %v, %v, no rules: %v", i, f.Function, f.Trust, f.Failed, f.NoRules)
		}
		if f.Signal {
			signals++
		}
	}
	if last := thread.Frames[len(thread.Frames)-1]; last.Function != "_start" || signals != 1 {
		t.Errorf("%d frames of signals, the last is %s", signals, last.Function)
	}
}

// The stacks of one program are those that gdb shows, whatever compiled it and how.
func TestStacksOfCompilers(t *testing.T) {
	objects := reporting(t)
	builds := []struct{ compiler, flags string }{
		{"g++", "-O0"}, {"g++", "-O2 -fomit-frame-pointer -no-pie"}, {"g++", "-O2 -gdwarf-4"}, {"clang++", "-O0"}, {"clang++", "-O2"},
		{"clang++", "-O2 -fomit-frame-pointer -gdwarf-4"},
		{"g++", "-m32 -O2"}, {"g++", "-m32 -O0"}, {"rustc", "-C opt-level=0"}, {"rustc", "-C opt-level=3"},
		{"rustc", "-C opt-level=3 -C force-frame-pointers=no -C panic=abort"}, {"go", ""},
	}
	for i, build := range builds {
		if testing.Short() && i%4 > 0 {
			continue
		}
		t.Run(build.compiler+" "+build.flags, func(t *testing.T) {
			thing := "llvm" // with the compilers
			if build.compiler == "rustc" {
				thing = "rust"
			}
			compiler := debugtest.Program(t, thing, build.compiler)
			app := filepath.Join(t.TempDir(), "stacks")
			flags, objects := strings.Fields(build.flags), objects
			if slices.Contains(flags, m32[0]) {
				if out, err := exec.Command(compiler, m32[0], "-print-file-name=libstdc++.so").Output(); err != nil || out[0] != '/' {
					debugtest.Require(t, "qemu", "libraries of x86")
				}
				flags, objects = append(flags, m32...), reporting(t, m32...)
			}
			switch build.compiler {
			case "rustc":
				for _, o := range objects {
					flags = append(flags, "-C", "link-arg="+o)
				}
				mustRun(t, compiler, append(flags, "-g", "-o", app, debugtest.Example("stacks/main.rs"))...)
			case "go":
				t.Setenv("CGO_ENABLED", "1")
				mustRun(t, compiler, "build", "-C", debugtest.Example("stacks/cgo"), "-ldflags", "-extldflags '"+strings.Join(objects, " ")+"'", "-o", app, ".")
			default:
				mustRun(t, compiler, append(append(flags, "-g", "-o", app, debugtest.Example("stacks/main.cpp")), objects...)...)
			}
			dump, want := crashUnderGDB(t, app, "crash")
			thread := walkCrash(t, dump, append(systemLibraries(t, app), app, vdsoOf(app)))
			if build.compiler == "go" {
				// The runtime calls C on another stack, of which its rules know nothing: what is beyond is what lay there.
				end := slices.IndexFunc(thread.Frames, func(f stackwalk.Frame) bool { return strings.HasPrefix(f.Function, "runtime.asmcgocall") })
				beyond := slices.IndexFunc(want, func(f gdbFrame) bool { return f.name == "runtime.asmcgocall" })
				thread.Frames, want = thread.Frames[:end+1], want[:beyond+1]
				if end < 5 || thread.Frames[end].Trust != unwind.TrustCFI {
					t.Errorf("%d frames", end+1)
				}
				compareGDB(t, app, thread, want)
				return
			}
			compareGDB(t, app, thread, want)
			checkStacks(t, thread)
		})
	}
}
