package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

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

// gdb hides calls inlined at the very instruction where it stopped, as a person who steps would want; of a
// core file it shows all. Frames of tail calls it infers from debug information; nothing of them is on the
// stack.
const gdbScript = `
f = gdb.selected_frame()
while f is not None:
    sal = f.find_sal()
    if f.type() != gdb.TAILCALL_FRAME:
        print("F|%x|%d|%s|%s|%d" % (f.pc(), f.type(), f.name() or "", sal.symtab.filename if sal.symtab else "", sal.line))
    f = f.older()
`

// askGDB runs a command line under gdb and returns the stack of the thread that crashes.
func askGDB(t testing.TB, gdb string, commandLine []string) []gdbFrame {
	t.Helper()
	script := filepath.Join(t.TempDir(), "frames.py")
	if err := os.WriteFile(script, []byte(gdbScript), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	core := filepath.Join(t.TempDir(), "core")
	args := []string{"-batch", "-nx", "-ex", "set debuginfod enabled off"}
	run := append([]string{debugtest.SmallStack, gdb}, args...)
	run = append(run, "-ex", "set startup-with-shell off", "-ex", "unset environment", "-ex", "handle SIGUSR1 nostop noprint pass", "-ex", "run", "-ex", "generate-core-file "+core, "--args")
	run = append(run, commandLine...)
	if out, err := exec.CommandContext(ctx, "prlimit", run...).CombinedOutput(); err != nil {
		t.Fatalf("gdb: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, gdb, append(args, "-ex", "set backtrace past-main on", "-ex", "source "+script, commandLine[0], core)...).CombinedOutput()
	if err != nil {
		t.Fatalf("gdb: %v\n%s", err, out)
	}
	var frames []gdbFrame
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		p := strings.Split(s.Text(), "|")
		if len(p) != 6 || p[0] != "F" {
			continue
		}
		pc, _ := strconv.ParseUint(p[1], 16, 64)
		line, _ := strconv.Atoi(p[5])
		kind, _ := strconv.Atoi(p[2])
		frames = append(frames, gdbFrame{pc: pc, inlined: kind == 2, signal: kind == 4, name: p[3], file: p[4], line: line})
	}
	if len(frames) < 3 {
		t.Fatalf("gdb has %d frames\n%s", len(frames), out)
	}
	return frames
}

// baseName reduces the name of a function to what two demanglers agree on: its last component, without
// parameters, template arguments and clone suffixes.
func baseName(name string) string {
	name = strings.NewReplacer("(anonymous namespace)", "anonymous", "operator()", "call").Replace(name)
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
	return component
}

// The stack of a crash, as Crashpad saves it and we walk it, is the one that gdb shows of the same process:
// every frame, inlined calls included, by address, line and name.
func TestCrashpadAgainstGDB(t *testing.T) {
	gdb := debugtest.Program(t, "gdb", "gdb")
	builds := [][]string{{"g++", "-O2"}, {"g++", "-O0"}, {"clang++", "-O2"}, {"g++", "-O2", "-fomit-frame-pointer", "-no-pie"}}
	if testing.Short() {
		builds = builds[:1]
	}
	for _, build := range builds {
		app := debugtest.Crashapp(t, build[0], build[1:]...)
		libraries := systemLibraries(t, app)
		for _, mode := range []string{"inline", "thread", "overflow", "abort", "pure", "handler"} {
			t.Run(strings.Join(build, " ")+" "+mode, func(t *testing.T) {
				dump, args := debugtest.Crash(t, app, mode)
				d, err := minidump.Parse(dump)
				if err != nil {
					t.Fatal(err)
				}
				p := newFileProvider(context.Background(), append([]string{app}, libraries...))
				defer p.Close()
				r := stackwalk.Walk(context.Background(), d, p, stackwalk.Options{})
				if r.Crashing < 0 {
					t.Fatal("no crashing thread")
				}
				compareGDB(t, r.Threads[r.Crashing], askGDB(t, gdb, args))
			})
		}
	}
}

// walkedFrame is a frame in the JSON of a walk.
type walkedFrame struct {
	Function, File, Trust string
	Line                  int
	Inlines               []struct {
		Function, File string
		Line           int
	}
}

// checkInline checks the innermost frame of a crash of mode inline.
func checkInline(t *testing.T, f walkedFrame) {
	t.Helper()
	if len(f.Inlines) != 2 || f.Inlines[0].Function != "shapes::Deref(int const volatile*)" || path.Base(f.Inlines[0].File) != "shapes.h" || f.Inlines[0].Line != 19 ||
		path.Base(f.Inlines[1].File) != "crashapp.cpp" || !strings.Contains(f.Function, "Grid<shapes::Point>::Sum") || f.Trust != "context" {
		t.Errorf("%+v", f)
	}
}

// The command, from a dump and the program to the line.
func TestStackwalkCommand(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	dump, _ := debugtest.Crash(t, app, "inline")
	file := filepath.Join(t.TempDir(), "crash.dmp")
	if err := os.WriteFile(file, dump, 0o644); err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	if code := run([]string{"stackwalk", "--json", file, app}, nil, &out, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.Bytes())
	}
	var r struct {
		CrashInfo struct {
			Type    string
			Address string
		} `json:"crash_info"`
		Thread struct {
			Frames []walkedFrame
		} `json:"crashing_thread"`
		Crashpad struct {
			Annotations []struct{ Name, Value string }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.CrashInfo.Type != "SIGSEGV / SEGV_MAPERR" || r.CrashInfo.Address != "0x0000000000000010" || len(r.Thread.Frames) < 3 {
		t.Fatalf("%+v", r)
	}
	checkInline(t, r.Thread.Frames[0])
	if fmt.Sprint(r.Crashpad.Annotations) != "[{prod crashapp} {ver 1.0}]" {
		t.Errorf("annotations %v", r.Crashpad.Annotations)
	}
	// As it was uploaded: with the form, and compressed.
	var form bytes.Buffer
	w := gzip.NewWriter(&form)
	fmt.Fprintf(w, "--x\r\nContent-Disposition: form-data; name=\"upload_file_minidump\"; filename=\"x\"\r\n\r\n%s\r\n--x--\r\n", dump)
	if err := errors.Join(w.Close(), os.WriteFile(file+".gz", form.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	var uploaded bytes.Buffer
	if code := run([]string{"stackwalk", "--json", file + ".gz", app}, nil, &uploaded, &stderr); code != 0 || uploaded.String() != out.String() {
		t.Errorf("exit %d, uploaded %s", code, uploaded.Bytes())
	}
	out.Reset()
	if code := run([]string{"stackwalk", "--brief", file, app}, nil, &out, &stderr); code != 0 || !strings.Contains(out.String(), "Crash reason:  SIGSEGV / SEGV_MAPERR\n") {
		t.Errorf("exit %d: %s", code, out.Bytes())
	}
}

func compareGDB(t *testing.T, thread stackwalk.Thread, want []gdbFrame) {
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
		if f.Module == nil || path.Base(f.Module.Name) != "crashapp" {
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
