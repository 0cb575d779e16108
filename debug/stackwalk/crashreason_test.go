package stackwalk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// reasonOf returns the crash's reason and exception from a report in JSON.
func reasonOf(t *testing.T, data []byte) (reason string, parameters []any) {
	t.Helper()
	var v struct {
		Crash struct {
			Type      string
			Exception struct{ Parameters []any }
		} `json:"crash_info"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v.Crash.Type, v.Crash.Exception.Parameters
}

func reasonDump(platform uint32, arch uint16, bigEndian bool, e minidumptest.Exception) []byte {
	return minidumptest.New(bigEndian).System(minidumptest.System{Architecture: arch, Platform: platform}).
		Thread(minidumptest.Thread{ID: 1}).Exception(e).Bytes()
}

// namedIn yields the tables, values and names of a file of names of package triage.
func namedIn(t *testing.T, file string, do func(table string, value uint32, name string)) {
	t.Helper()
	data, err := os.ReadFile("../triage/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); f[0] != "#" {
			var value uint32
			fmt.Sscanf(f[1], "%x", &value)
			do(f[0], value, strings.Join(f[2:], " "))
		}
	}
}

// TestReasonsTool makes a dump for every name that package triage has for signals and for exceptions of Apple's systems,
// with the details of EXC_RESOURCE and EXC_GUARD, and compares the reason with minidump-stackwalk's. What it calls
// unknown differs by intention.
func TestReasonsTool(t *testing.T) {
	tool := debugtest.Program(t, "stackwalk", "minidump-stackwalk")
	file := filepath.Join(t.TempDir(), "dump")
	n, unknown := 0, 0
	compare := func(platform uint32, arch uint16, e minidumptest.Exception, names ...string) {
		t.Helper()
		n++
		data := reasonDump(platform, arch, n%2 == 0, e)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tool, "--json", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		d, err := minidump.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		var ours bytes.Buffer
		if err := stackwalk.Walk(t.Context(), d, fixed{}, stackwalk.Options{}).WriteJSON(&ours, false); err != nil {
			t.Fatal(err)
		}
		got, _ := reasonOf(t, ours.Bytes())
		want, _ := reasonOf(t, out)
		switch {
		case got == want:
		case strings.HasPrefix(want, "unknown ") && (e.Code == 0x43506e78 || e.Code == 0 && platform != minidumptest.Linux):
			unknown++
		default:
			t.Errorf("%#x %#x: %q, theirs %q", e.Code, e.Flags, got, want)
		}
		for _, name := range names {
			if !strings.Contains(got, name) {
				t.Errorf("%#x %#x: %q has no %s", e.Code, e.Flags, got, name)
			}
		}
	}
	namedIn(t, "linux.txt", func(table string, value uint32, name string) {
		e := minidumptest.Exception{Code: 11, Flags: value}
		if table == "signal" {
			e = minidumptest.Exception{Code: value}
		} else {
			fmt.Sscanf(table, "code.%d", &e.Code)
		}
		compare(minidumptest.Linux, minidumptest.AMD64, e, name)
	})
	cpus := map[string]uint16{"arm64": minidumptest.ARM64, "ppc": 3, "x86": minidumptest.X86}
	namedIn(t, "mach.txt", func(table string, value uint32, name string) {
		e := minidumptest.Exception{Code: value, Flags: 7, NumParameters: 3}
		kind, rest, _ := strings.Cut(table, ".")
		arch := minidumptest.AMD64
		var number uint32
		fmt.Sscan(rest, &number)
		switch kind {
		case "code":
			e.Code, e.Flags = number, value
			if _, cpu, ok := strings.Cut(rest, "."); ok {
				arch = cpus[cpu]
			}
		case "signal":
			e.Code, e.Information = 0, [15]uint64{10, uint64(value) << 24}
		case "resource", "guard":
			e.Code = map[string]uint32{"resource": 11, "guard": 12}[kind]
			if rest == "" { // a type, with no flavor known
				number = value
				value = 7
			}
			e.Flags = number<<29 | 0x123
			for i, low := range []uint64{0, 0x89abcdef, 1<<32 - 1} {
				code := uint64(number)<<61 | low
				if kind == "resource" {
					code |= uint64(value)<<58 | 0x2_aaaa_0000_0000&(1<<58-1)
				} else {
					code |= uint64(value) << 32
				}
				e.Information = [15]uint64{uint64(e.Code), code, []uint64{1<<64 - 1, 0x1234, 0}[i]}
				compare(minidumptest.MacOS, arch, e, name)
			}
			return
		}
		compare(minidumptest.MacOS, arch, e, name)
		compare(minidumptest.IOS, arch, e)
	})
	t.Logf("%d reasons, %d that they do not know", n, unknown)
}

// TestResourceAndGuard: the details in a report of either byte order, with all 64 bits of code and subcode beside.
func TestResourceAndGuard(t *testing.T) {
	for _, test := range []struct {
		code, flags uint32
		info        [3]uint64
		want        string
	}{
		{11, 1 << 29, [3]uint64{11, 1<<61 | 1<<58 | 180<<7 | 5, 6}, "EXC_RESOURCE / RESOURCE_TYPE_CPU / FLAVOR_CPU_MONITOR interval: 180s CPU limit: 5% CPU consumed: 6%"},
		{11, 2 << 29, [3]uint64{11, 2<<61 | 1<<58 | 300<<20 | 150, 202}, "EXC_RESOURCE / RESOURCE_TYPE_WAKEUPS / FLAVOR_WAKEUPS_MONITOR interval: 300s wakeups permitted: 150 wakeups observed: 202"},
		{11, 3 << 29, [3]uint64{11, 3<<61 | 1<<58 | 1440, 0}, "EXC_RESOURCE / RESOURCE_TYPE_MEMORY / FLAVOR_HIGH_WATERMARK high watermark limit: 1440MiB"},
		{11, 4 << 29, [3]uint64{11, 4<<61 | 2<<58 | 60<<15 | 80, 90}, "EXC_RESOURCE / RESOURCE_TYPE_IO / FLAVOR_IO_LOGICAL_WRITES interval: 60s I/O limit: 80% I/O observed: 90%"},
		{11, 5 << 29, [3]uint64{11, 5<<61 | 1<<58 | 2048, 0}, "EXC_RESOURCE / RESOURCE_TYPE_THREADS / FLAVOR_THREADS_HIGH_WATERMARK high watermark limit: 2048"},
		{12, 2 << 29, [3]uint64{12, 2<<61 | 1<<32 | 3, 0xbaad}, "EXC_GUARD / GUARD_TYPE_FD / GUARD_EXC_CLOSE file descriptor: 3 guard identifier: 47789"},
		{12, 1 << 29, [3]uint64{12, 1<<61 | 0x10<<32 | 771, 9}, "EXC_GUARD / GUARD_TYPE_MACH_PORT / GUARD_EXC_INCORRECT_GUARD port name: 771 subcode: 9"},
	} {
		for _, bigEndian := range []bool{false, true} {
			e := minidumptest.Exception{ThreadID: 1, Code: test.code, Flags: test.flags, NumParameters: 3, Information: [15]uint64{test.info[0], test.info[1], test.info[2]}}
			d, err := minidump.Parse(reasonDump(minidumptest.IOS, minidumptest.ARM64, bigEndian, e))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			r := stackwalk.Walk(t.Context(), d, fixed{}, stackwalk.Options{})
			if err := r.WriteJSON(&out, false); err != nil {
				t.Fatal(err)
			}
			reason, parameters := reasonOf(t, out.Bytes())
			want := []any{fmt.Sprintf("0x%x", test.info[0]), fmt.Sprintf("0x%x", test.info[1]), fmt.Sprintf("0x%x", test.info[2])}
			if reason != test.want || fmt.Sprint(parameters) != fmt.Sprint(want) {
				t.Errorf("big-endian %v: %q %v, want %q %v", bigEndian, reason, parameters, test.want, want)
			}
			if text := textOf(t, r, false); !strings.Contains(text, "Crash reason:  "+test.want+"\n") {
				t.Errorf("big-endian %v: %s", bigEndian, text)
			}
		}
	}
}
