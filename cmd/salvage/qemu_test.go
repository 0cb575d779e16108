package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/minidump/minidumptest"
	"salvage/debug/object/elf"
	"salvage/internal/debugtest"
)

// qemuScript stops a program that qemu holds for gdb at some functions' first instructions and at its crash. Of each
// stop it prints the stack, and the registers and the memory of it. A new program is at its entry point, and its stack
// ends there; that also tells where a position-independent one was loaded.
const qemuScript = gdbFrames + `
import time
for _ in range(500): # another program's progress can only be polled
    try:
        gdb.execute("target remote " + socket)
        break
    except gdb.error:
        time.sleep(0.01)
def register(name):
    return int(gdb.parse_and_eval("(unsigned long)$" + name))
print("entry|%x" % register("pc"))
end = register("sp") + 256
for name in stops:
    gdb.execute("tbreak *" + name)
for i in range(len(stops) + 1):
    gdb.execute("continue")
    if i == len(stops):
        gdb.execute("stepi")
    if walk:
        frames()
    words = b"".join(register(name).to_bytes(8, "little") for name in ["x%d" % i for i in range(31)] + ["sp", "pc"])
    stack = gdb.selected_inferior().read_memory(register("sp"), end - register("sp"))
    print("stop|%s|%s" % (words.hex(), stack.tobytes().hex()))
gdb.execute("kill")
`

// qemuStops are functions of examples/stacks, and of what it calls, that run in its handler of a signal: the handler
// itself, which returns to the kernel's code, is the first.
var qemuStops = []string{"stacks::OnSignal", "stacks::Checked", "__cxa_throw", "_Unwind_RaiseException", "stacks::OnTerminate"}

// A stop is where a program stood: a dump of that moment, and the stack as gdb has it.
type qemuStop struct {
	dump   []byte
	frames []gdbFrame
}

// stopInQEMU runs a program of examples/stacks, linked statically for arm64, in qemu under gdb, which walks its stacks
// if asked to.
func stopInQEMU(t *testing.T, cpu, app string, walk bool) (stops []qemuStop) {
	data, err := os.ReadFile(app)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	socket, script := filepath.Join(dir, "socket"), filepath.Join(dir, "stops.py")
	text := fmt.Sprintf("socket = %q\nstops = %q.split('|')\nwalk = %q == 'true'\n%s", socket, strings.Join(qemuStops, "|"), strconv.FormatBool(walk), qemuScript)
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	qemu := exec.Command(debugtest.Program(t, "qemu", "qemu-aarch64"), "-cpu", cpu, "-g", socket, app)
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { qemu.Process.Kill(); qemu.Wait() }()
	out, err := exec.CommandContext(t.Context(), debugtest.Program(t, "gdb", "gdb-multiarch"), "-batch", "-nx", "-ex", "set debuginfod enabled off",
		"-ex", "set backtrace past-main on", "-ex", "handle SIGUSR1 nostop noprint pass", "-ex", "handle SIGSEGV stop nopass", "-x", script, app).CombinedOutput()
	var base uint64
	var frames []gdbFrame
	for line := range strings.Lines(string(out)) {
		p := strings.Split(strings.TrimSpace(line), "|")
		switch frame, ok := parseGDBFrame(line); {
		case ok:
			frames = append(frames, frame)
		case p[0] == "entry":
			fmt.Sscanf(p[1], "%x", &base)
			base += f.ImageBase() - f.Entry
		case p[0] == "stop":
			words, _ := hex.DecodeString(p[1])
			stack, _ := hex.DecodeString(p[2])
			var c minidumptest.ContextARM64
			for i := range c.X {
				c.X[i] = binary.LittleEndian.Uint64(words[8*i:])
			}
			c.SP, c.PC = binary.LittleEndian.Uint64(words[8*31:]), binary.LittleEndian.Uint64(words[8*32:])
			b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.ARM64, Platform: minidumptest.Linux}).
				Module(minidumptest.Module{Addr: base, Size: 0x400000, Name: app, CodeView: minidumptest.ELF{BuildID: f.BuildID()}}).
				Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: c.SP, Data: stack}, Context: c}).
				Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Context: c})
			stops, frames = append(stops, qemuStop{b.Bytes(), frames}), nil
		}
	}
	if err != nil || len(stops) != len(qemuStops)+1 {
		t.Fatalf("%d stops: %v\n%s", len(stops), err, out)
	}
	return stops
}

// The stacks of a program for arm64 are those that gdb shows of it, whatever compiled it and how. On a newer processor,
// which signs return addresses and whose signal frames hold wider registers, they are the same; gdb walks neither.
// So they are without rules, by the link register, frame pointers and the kernel's frame, where functions have frames.
func TestStacksOfARM64(t *testing.T) {
	builds := []struct{ compiler, flags string }{
		{"aarch64-linux-gnu-g++", "-O0 -static"}, {"aarch64-linux-gnu-g++", "-O2 -static"}, {"aarch64-linux-gnu-g++", "-O2 -fomit-frame-pointer -static"},
		{"aarch64-linux-gnu-g++", "-O0 -static-pie"}, {"aarch64-linux-gnu-g++", "-O2 -static-pie"},
		{"aarch64-linux-gnu-g++", "-O2 -fomit-frame-pointer -static-pie"}, {"aarch64-linux-gnu-g++", "-O2 -static -mbranch-protection=standard"},
		{"clang++", "-O2 -fomit-frame-pointer -static --target=aarch64-linux-gnu"},
	}
	compared := 0
	for i, build := range builds {
		if testing.Short() && i%4 != 2 {
			continue
		}
		t.Run(build.compiler+" "+build.flags, func(t *testing.T) {
			app := filepath.Join(t.TempDir(), "stacks")
			flags := append(strings.Fields(build.flags), "-g", "-Wl,--build-id", "-o", app, debugtest.Example("stacks/main.cpp"))
			mustRun(t, debugtest.Program(t, "qemu", build.compiler), flags...)
			bare := app + ".bare" // names, no rules
			mustRun(t, "aarch64-linux-gnu-objcopy", "--only-keep-debug", "--remove-section=.debug_frame", app, bare)
			stops, newer := stopInQEMU(t, "cortex-a57", app, true), stopInQEMU(t, "max,sve-default-vector-length=256", app, false)
			for i, stop := range stops {
				if i < len(qemuStops) {
					// Of a first instruction's rows gdb takes one where a statement begins; the last, which we take, says
					// whose the instruction is. llvm-symbolizer and addr2line do as we do.
					stop.frames[0].line = 0
				}
				for _, dump := range [][]byte{stop.dump, newer[i].dump} {
					thread := walkCrash(t, dump, []string{app})
					compareGDB(t, app, thread, stop.frames)
					checkStacks(t, thread)
					compared += len(stop.frames)
				}
				// A handler that has not begun looks like the kernel's code that called it.
				if i == 0 || strings.Contains(build.flags, "-fomit-frame-pointer") {
					continue
				}
				var got, want []uint64
				for _, f := range walkCrash(t, stop.dump, []string{bare}).Frames {
					got = append(got, f.PC)
				}
				for _, f := range stop.frames {
					if !f.inlined {
						want = append(want, f.pc)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("without rules, stop %d: %#x, gdb has %#x", i, got, want)
				}
				compared += len(got)
			}
		})
	}
	t.Log(compared, "frames")
}
