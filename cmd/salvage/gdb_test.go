package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/object"
	"salvage/debug/stackwalk"
	"salvage/internal/debugtest"
)

// systemLibraries are the files of the libraries of a crashapp, their separate debug files included where
// installed: what an engineer would hand to the command.
func systemLibraries(t testing.TB, app string) []string {
	t.Helper()
	out, err := exec.Command("ldd", app).Output()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, m := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllStringSubmatch(string(out), -1) {
		files = append(files, m[1])
		data, err := os.ReadFile(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if o, err := object.Open(data); err == nil && len(o.Module.CodeID) > 2 {
			id := string(o.Module.CodeID)
			debug := "/usr/lib/debug/.build-id/" + id[:2] + "/" + id[2:] + ".debug"
			if _, err := os.Stat(debug); err == nil {
				files = append(files, debug)
			}
		}
	}
	return files
}

// gdbFrame is a frame as gdb has it; inlined calls are frames of their own.
type gdbFrame struct {
	pc              uint64
	inlined, signal bool
	name, file      string
	line            int
}

// gdbFrames is a function of gdb's Python that prints the stack where the program stopped. Frames of tail calls are
// left out: gdb infers them from debug information; nothing of them is on the stack.
const gdbFrames = `
import gdb
def frames():
    f = gdb.newest_frame()
    while f is not None:
        sal = f.find_sal()
        if f.type() != gdb.TAILCALL_FRAME:
            print("F|%x|%d|%s|%s|%d" % (f.pc(), f.type(), f.name() or "", sal.symtab.filename if sal.symtab else "", sal.line))
        f = f.older()
    gdb.flush()
`

// gdbScript prints the stack of a crash. gdb hides calls inlined at the very instruction where it stopped, as a person
// who steps would want; after a single step, here of an instruction that faults again, it shows all. Then it lets go
// of all threads, and the process meets its crash once more, which Crashpad saves.
const gdbScript = gdbFrames + `
import os, signal
gdb.execute("run")
if gdb.parse_and_eval("$_siginfo.si_signo") == 11:
    gdb.execute("stepi")
frames()
gdb.execute("handle SIGSEGV SIGABRT pass")
process = gdb.selected_inferior().pid
for line in open("/proc/%d/maps" % process):
    if line.endswith("[vdso]\n"):
        start, end = (int(x, 16) for x in line.split()[0].split("-"))
        open(vdso, "wb").write(gdb.selected_inferior().read_memory(start, end - start))
os.kill(process, signal.SIGSTOP)
gdb.execute("detach")
os.kill(process, signal.SIGCONT)
`

// vdsoOf is where crashUnderGDB leaves the code that the kernel lends a program.
func vdsoOf(app string) string { return app + ".vdso" }

// crashUnderGDB runs crashapp, or one of examples/stacks, under gdb and returns the minidump that Crashpad wrote and
// the stack of the thread that crashed as gdb has it, of the same process.
func crashUnderGDB(t testing.TB, app, mode string) (dump []byte, frames []gdbFrame) {
	t.Helper()
	script := filepath.Join(t.TempDir(), "frames.py")
	if err := os.WriteFile(script, fmt.Appendf(nil, "vdso = %q\n%s", vdsoOf(app), gdbScript), 0o644); err != nil {
		t.Fatal(err)
	}
	dump, out := debugtest.Crash(t, app, mode, debugtest.Program(t, "gdb", "gdb"), "-batch", "-nx", "-ex", "set debuginfod enabled off",
		"-ex", "set startup-with-shell off", "-ex", "set backtrace past-main on", "-ex", "handle SIGUSR1 SIGURG nostop noprint pass",
		"-ex", "handle SIGSEGV SIGABRT stop nopass", "-x", script, "--args")
	for line := range strings.Lines(out) {
		if f, ok := parseGDBFrame(line); ok {
			frames = append(frames, f)
		}
	}
	if len(frames) < 3 {
		t.Fatalf("gdb has %d frames\n%s", len(frames), out)
	}
	return dump, frames
}

// parseGDBFrame reads a line of gdbFrames.
func parseGDBFrame(line string) (f gdbFrame, ok bool) {
	p := strings.Split(strings.TrimSpace(line), "|")
	if len(p) != 6 || p[0] != "F" {
		return f, false
	}
	pc, _ := strconv.ParseUint(p[1], 16, 64)
	n, _ := strconv.Atoi(p[5])
	kind, _ := strconv.Atoi(p[2])
	return gdbFrame{pc: pc, inlined: kind == 2, signal: kind == 4, name: p[3], file: p[4], line: n}, true
}

// walkCrash walks the thread that crashed, with the symbols in some files.
func walkCrash(t testing.TB, dump []byte, files []string) stackwalk.Thread {
	t.Helper()
	d, err := minidump.Parse(dump)
	if err != nil {
		t.Fatal(err)
	}
	p := newFileProvider(t.Context(), files)
	defer p.Close()
	r := stackwalk.Walk(t.Context(), d, p, stackwalk.Options{})
	if r.Crashing < 0 || len(p.problems) > 0 {
		t.Fatal("no crashing thread", p.problems)
	}
	return r.Threads[r.Crashing]
}

// baseName reduces the name of a function to what two demanglers agree on: its last component, without
// parameters, template arguments and clone suffixes.
func baseName(name string) string {
	name = strings.NewReplacer("(anonymous namespace)", "anonymous", "operator()", "call", "::<", "<").Replace(name)
	component, depth, done := "", 0, false
	for _, r := range name {
		switch {
		case strings.ContainsRune("<({", r):
			depth++
			done = true
		case strings.ContainsRune(">)}", r):
			depth--
		case depth > 0:
		case r == ':' || r == ' ' && !done: // what is behind the parameters adds nothing
			component, done = "", false
		case !done && r != ' ':
			component += string(r)
		}
	}
	component, _, _ = strings.Cut(component, ".")
	switch component { // the name that the linker knows
	case "rust_begin_unwind":
		return "panic_handler"
	case "__libc_start_main":
		return "__libc_start_main_impl"
	}
	return component
}

// The stack of a crash, as Crashpad saves it and we walk it, is the one that gdb shows of the same process:
// every frame, inlined calls included, by address, line and name.
func TestCrashpadAgainstGDB(t *testing.T) {
	builds := [][]string{{"g++", "-O2"}, {"g++", "-O0"}, {"clang++", "-O2"}, {"g++", "-O2", "-fomit-frame-pointer", "-no-pie"}}
	if testing.Short() {
		builds = builds[:1]
	}
	for _, build := range builds {
		app := debugtest.Crashapp(t, build[0], build[1:]...)
		files := append(systemLibraries(t, app), app)
		for _, mode := range []string{"inline", "thread", "overflow", "abort", "pure", "handler"} {
			t.Run(strings.Join(build, " ")+" "+mode, func(t *testing.T) {
				dump, want := crashUnderGDB(t, app, mode)
				compareGDB(t, app, walkCrash(t, dump, files), want)
			})
		}
	}
}

// compareGDB compares the stack of a thread with gdb's.
func compareGDB(t *testing.T, app string, thread stackwalk.Thread, want []gdbFrame) {
	t.Helper()
	var got []gdbFrame
	for i, f := range thread.Frames {
		if thread.Cut > 0 && i == thread.Cut {
			// The middle was left out: compare what is before, and then from the end.
			tail := 0
			for _, f := range thread.Frames[i:] {
				tail += 1 + len(f.Inlines)
			}
			want = append(want[:len(got):len(got)], want[len(want)-tail:]...)
		}
		for _, in := range f.Inlines {
			got = append(got, gdbFrame{f.PC, true, false, in.Function, in.File, int(in.Line)})
		}
		name := f.Function
		if f.Module == nil || path.Base(f.Module.Name) != path.Base(app) {
			name = "" // in libc, code has several names, and gdb takes others than we and LLVM do
		}
		got = append(got, gdbFrame{f.PC, false, f.Signal, name, f.File, int(f.Line)})
	}
	describe := func(f gdbFrame) string {
		return fmt.Sprintf("%#x inlined %v signal %v %s at %s:%d", f.pc, f.inlined, f.signal, f.name, f.file, f.line)
	}
	if len(got) != len(want) {
		t.Errorf("%d frames, gdb has %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		g, w := got[i], want[i]
		if g.pc != w.pc || g.signal != w.signal || w.line > 0 && (g.line != w.line || path.Base(g.file) != path.Base(w.file)) ||
			g.name != "" && w.name != "" && baseName(g.name) != baseName(w.name) || g.inlined != w.inlined {
			t.Errorf("frame %d: %s\n      gdb: %s", i, describe(g), describe(w))
		}
	}
	for i := len(want); i < len(got); i++ {
		t.Errorf("frame %d: %s, gdb has none", i, describe(got[i]))
	}
	for i := len(got); i < len(want); i++ {
		t.Errorf("frame %d: gdb: %s, we have none", i, describe(want[i]))
	}
}
