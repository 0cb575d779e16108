package stackwalk_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"salvage/internal/debugtest"
)

// live runs the command and minidump-stackwalk on one dump with one folder of symbol files, which the command wrote.
type live struct {
	t             *testing.T
	salvage, tool string
	store         string
	why           map[string]int // differences by their reason
	equal         int
}

func newLive(t *testing.T) *live {
	l := &live{t: t, tool: debugtest.Program(t, "stackwalk", "minidump-stackwalk"), store: t.TempDir(), why: map[string]int{}}
	l.salvage = filepath.Join(t.TempDir(), "salvage")
	l.run("go", "build", "-o", l.salvage, "salvage/cmd/salvage")
	return l
}

func (l *live) run(name string, args ...string) []byte {
	l.t.Helper()
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		l.t.Fatalf("%s %v: %v\n%s", name, args, err, &stderr)
	}
	return out
}

// symbols writes the symbol file of a program or library, with its debug file where this system has one.
func (l *live) symbols(path string) {
	l.t.Helper()
	files := []string{path}
	notes := string(l.run("readelf", "-n", path))
	if m := regexp.MustCompile(`Build ID: (..)(\w+)`).FindStringSubmatch(notes); m != nil {
		debug := "/usr/lib/debug/.build-id/" + m[1] + "/" + m[2] + ".debug"
		if _, err := os.Stat(debug); err == nil {
			files = append(files, debug)
		}
	}
	l.run(l.salvage, append([]string{"dump-syms", "--inlines", "-s", l.store}, files...)...)
}

// compare compares all values of the two reports.
func (l *live) compare(name, dump string) {
	l.t.Helper()
	var reports [2]map[string]any
	for i, program := range [][]string{{l.tool, "--json"}, {l.salvage, "stackwalk", "--json"}} {
		if err := json.Unmarshal(l.run(program[0], append(program[1:], dump, l.store)...), &reports[i]); err != nil {
			l.t.Fatal(err)
		}
		// It is one of the threads.
		delete(reports[i], "crashing_thread")
	}
	moved := false
	theirs, ours := reports[0]["threads"].([]any), reports[1]["threads"].([]any)
	for i := range min(len(theirs), len(ours)) {
		moved = l.threads(fmt.Sprintf("%s: thread %d", name, i), theirs[i].(map[string]any), ours[i].(map[string]any)) || moved
	}
	a, b := map[string]any{}, map[string]any{}
	leaves(a, "", reports[0], math.MaxInt)
	leaves(b, "", reports[1], math.MaxInt)
	for _, path := range slices.Compact(slices.Sorted(func(yield func(string) bool) {
		for _, m := range []map[string]any{a, b} {
			maps.Keys(m)(yield)
		}
	})) {
		x, y := lookup(a, path), lookup(b, path)
		switch {
		case x == y:
			l.equal++
		case x == none && additions.MatchString(path):
		case moved && strings.HasSuffix(path, "_symbols"):
			l.why["symbols are looked for where the frames are"]++
		default:
			l.t.Errorf("%s: %s: %v, theirs %v", name, path, y, x)
		}
	}
}

// threads takes what is explained out of two reports of a thread. It reports whether their frames are in other
// modules.
func (l *live) threads(name string, theirs, ours map[string]any) (moved bool) {
	frames := func(v any) []any {
		list, _ := v.(map[string]any)["frames"].([]any)
		return list
	}
	a, b := frames(theirs), frames(ours)
	if cut, ok := ours["frames_truncated"]; ok && len(a) > len(b) {
		l.why["the middle of a deep stack is left out"]++
		if n := float64(len(a)); cut != true || ours["total_frames"] != n {
			l.t.Errorf("%s: %v frames, theirs %v", name, ours["total_frames"], n)
		}
		half := len(b) / 2
		a = append(a[:half:half], a[len(a)-(len(b)-half):]...)
		theirs["frames"], theirs["frame_count"] = a, len(b)
		ours["frame_count"] = len(b)
	}
	for i := range len(b) {
		x, y := map[string]any{"trust": "scan"}, b[i].(map[string]any)
		if i < len(a) {
			x = a[i].(map[string]any)
		}
		if x["trust"] == y["trust"] && x["offset"] == y["offset"] {
			continue
		}
		if x["trust"] != "scan" || y["trust"] != "frame_pointer" {
			l.t.Errorf("%s: frame %d: %v %v, theirs %v %v", name, i, y["offset"], y["trust"], x["offset"], x["trust"])
			return false
		}
		// A saved frame pointer that is none: 0, or what code with rules has in it.
		if x["offset"] == y["offset"] {
			l.why["the end of a chain of frame pointers, which they scan for and find"]++
			y["trust"] = x["trust"]
			continue
		}
		l.why["the end of a chain of frame pointers, where they scan and find leftovers"]++
		for _, f := range b[i:] {
			if f.(map[string]any)["trust"] == "scan" {
				l.t.Errorf("%s: we scan too", name)
			}
		}
		theirs["frames"], ours["frames"] = a[:i], b[:i]
		theirs["frame_count"], ours["frame_count"] = i, i
		return true
	}
	return false
}

func (l *live) done() {
	for why, n := range l.why {
		l.t.Logf("%5d %s", n, why)
	}
	l.t.Logf("%d values are equal", l.equal)
}

// All values of reports of real crashes that Crashpad saved, with symbol files that we wrote of the program and its
// libraries.
func TestLiveCrashpad(t *testing.T) {
	l := newLive(t)
	app := debugtest.Crashapp(t, "g++", "-O2")
	l.symbols(app)
	for _, m := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllStringSubmatch(string(l.run("ldd", app)), -1) {
		l.symbols(m[1])
	}
	for _, mode := range []string{"inline", "thread", "overflow", "abort", "pure", "handler"} {
		data, _ := debugtest.Crash(t, app, mode)
		dump := filepath.Join(t.TempDir(), "dump")
		if err := os.WriteFile(dump, data, 0o666); err != nil {
			t.Fatal(err)
		}
		l.compare(mode, dump)
	}
	l.done()
}

// TestChromium crashes a renderer of a real Chromium and compares all values of the reports, with the symbol files
// that we write of its 300 MB program and of libc:
//
//	SALVAGE_CHROMIUM=1 go test -v -run TestChromium ./debug/stackwalk
func TestChromium(t *testing.T) {
	if os.Getenv("SALVAGE_CHROMIUM") == "" {
		t.Skip("SALVAGE_CHROMIUM is not set")
	}
	l := newLive(t)
	program := "/usr/lib/chromium/chromium"
	l.symbols(program)
	for _, file := range []string{"libc.so.6", "ld-linux-x86-64.so.2"} {
		l.symbols("/lib/x86_64-linux-gnu/" + file)
	}
	dump := crashChromium(t, program)
	l.compare("renderer", dump)
	l.done()
	// From the program, which has frame pointers and no rules, on to libc, which has rules and no frame pointers.
	var report struct {
		Thread struct {
			Frames []struct{ Function, Trust string }
		} `json:"crashing_thread"`
	}
	if err := json.Unmarshal(l.run(l.salvage, "stackwalk", "--json", dump, l.store), &report); err != nil {
		t.Fatal(err)
	}
	for i, f := range report.Thread.Frames {
		if last := i == len(report.Thread.Frames)-1; f.Trust == "scan" || last != (f.Function == "_start") {
			t.Errorf("frame %d of %d, %s, is of trust %s", i, len(report.Thread.Frames), f.Function, f.Trust)
		}
	}
}

// crashChromium returns the path of the minidump of a renderer that was killed.
func crashChromium(t *testing.T, program string) string {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--no-zygote", "--enable-crash-reporter", "--user-data-dir="+filepath.Join(home, "profile"),
		"--remote-debugging-port=0", "data:text/html,<script>setTimeout(()=>{for(;;)[3,1,2].sort((a,b)=>a-b)},100)</script>")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "BREAKPAD_DUMP_LOCATION="+home)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	killed := false
	for range 600 { // other programs' progress can only be polled
		time.Sleep(100 * time.Millisecond)
		if !killed {
			if renderer := childOf(cmd.Process.Pid, "--type=renderer"); renderer > 0 {
				time.Sleep(2 * time.Second) // until the script runs
				process, err := os.FindProcess(renderer)
				killed = err == nil && process.Signal(syscall.SIGSEGV) == nil
			}
			continue
		}
		if dumps, _ := filepath.Glob(filepath.Join(home, "pending", "*.dmp")); len(dumps) > 0 {
			return dumps[0]
		}
	}
	t.Fatalf("no dump; killed a renderer: %v", killed)
	return ""
}

// childOf returns a child of a process that has an argument; 0 if there is none.
func childOf(parent int, argument string) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, _ := os.ReadFile(path)
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(parent) && strings.Contains(string(command), argument) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}
