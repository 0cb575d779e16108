package stackwalk_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
)

// process makes up a dump of a process that did not crash, with all that a report tells of it. All of it
// follows from seed.
func process(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	maybe := func() bool { return r.IntN(3) > 0 }
	word := func() string {
		return []string{"", "a", "libxul.so", `C:\dir\file.dll`, "/usr/lib/x.so.1", "caf\u00e9 \U0001f4a9", "two words", `"quoted"`, "\x01\n", "=", ":"}[r.IntN(11)]
	}
	pick := func(v ...uint32) uint32 { return v[r.IntN(len(v))] }
	b := minidumptest.New(r.IntN(4) == 0)
	b.Time = 1_700_000_000
	b.System(minidumptest.System{
		Architecture: uint16(pick(0, 1, 3, 5, 9, 10, 12, 0x8001, 0x8002, 0x8003, 0x8004, 77)), Platform: pick(2, 3, 0x8101, 0x8102, 0x8201, 0x8202, 0x8203, 0x8204, 0x8205, 0x8000, 99),
		Level: uint16(r.IntN(20)), Revision: uint16(r.Uint32()), Processors: uint8(r.Uint32()), Major: pick(0, 10), Minor: pick(0, 3), Build: pick(0, 19045),
		CSD: []string{"", "Service Pack 2", "Linux 5.10.0 #1 SMP x86_64", "Linux 4.9 x86_64 Linux/GNU", "19H114", " spaces "}[r.IntN(6)],
		CPU: [6]uint32{0x756e6547, 0x49656e69, 0x6c65746e, r.Uint32(), r.Uint32() & 0x7ffff, 0},
	})
	if maybe() {
		b.Misc(minidumptest.Misc{Form: 1 + r.IntN(5), Flags: r.Uint32() & 0x3ff, PID: r.Uint32(), Create: pick(1_600_000_000, 1_700_000_000, 1_800_000_000)})
	}
	if maybe() {
		b.LinuxText(minidumptest.LinuxCPUInfo, fmt.Sprintf("processor : 0\nmicrocode%s: %s\n", []string{"", "\t", " "}[r.IntN(3)], []string{"0x1e34a6789", "0xg", "12", `"0x2"`}[r.IntN(4)]))
	}
	if maybe() {
		b.LinuxText(minidumptest.LinuxStatus, []string{"Name: x\nPid:\t3747\n", "Pid: x\n", "", "PPid: 4\nPid: 5\nPid: 6\n", "Pid: 4294967296\n"}[r.IntN(5)])
	}
	if maybe() {
		b.LinuxText(minidumptest.LinuxLSBRelease, fmt.Sprintf("DISTRIB_ID=%s\nVERSION_ID = %s\n PRETTY_NAME=\"%s\"\nID=%s\nDISTRIB_CODENAME=%s", word(), word(), word(), word(), word()))
	}
	if maybe() {
		text := "\n"[:r.IntN(2)] + "Limit                     Soft Limit           Hard Limit           Units     \n"
		for i, name := range []string{"Max cpu time", "Max file size", "Max nice priority", "x"} {
			value := func() string {
				return []string{"unlimited", "0", "8388608", "x", "18446744073709551616", "-1"}[r.IntN(6)]
			}
			if i < 3 || maybe() {
				text += fmt.Sprintf("%-25s %-20s %-20s %-10s\n", name, value(), value(), []string{"", "bytes", "processes"}[r.IntN(3)])
			}
		}
		b.Raw(0x4d7a0003, []byte(text+[]string{"", "Max one  two", "Max one", "  \n"}[r.IntN(4)]))
	}
	if maybe() {
		b.Raw(0x4d7a0004, []byte([]string{
			`[]`, `[{"b": 1, "a": [null, true, -1.5e300, "\u00e9\ud83d\udca9"]}, "x"]`, `{"": {"z": [], "y": {}}}`, `"text"`, `[1] 2`, `[`, "", "[\"\xff\"]", `12`, ` [ 18446744073709551615, 1.25 ] `,
			strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 200) + strings.Repeat("]", 200),
		}[r.IntN(12)]))
	}
	if maybe() {
		var list []minidumptest.MacCrashInfo
		version := uint64(r.IntN(7))
		for range r.IntN(4) {
			list = append(list, minidumptest.MacCrashInfo{
				Version: version, Thread: uint64(pick(0, 77)), DialogMode: uint64(pick(0, 0x1234)), AbortCause: uint64(pick(0, 9)),
				Strings: [5]string{word(), word(), word(), word(), word()},
			})
		}
		b.MacCrashInfo(40+8*uint32(r.IntN(2)), list...)
	}
	if maybe() {
		b.MacBootArgs(word())
	}
	if maybe() {
		var list []minidumptest.Handle
		for range r.IntN(4) {
			h := minidumptest.Handle{Handle: r.Uint64() >> r.IntN(64)}
			kind, object := word(), word()
			if maybe() {
				h.Type = &kind
			}
			if maybe() {
				h.Object = &object
			}
			list = append(list, h)
		}
		b.Handles(maybe(), list...)
	}
	if maybe() {
		b.LinuxText(minidumptest.LinuxMaps, strings.Repeat("1000-2000 r-xp 00000000 08:01 5 /bin/a\n", r.IntN(4)))
	}
	if maybe() {
		b.BreakpadInfo(uint32(r.IntN(4)), uint32(r.IntN(4)), uint32(r.IntN(4)))
	}
	for id := range uint32(1 + r.IntN(4)) {
		b.Thread(minidumptest.Thread{ID: id, Name: word(), TEB: 0x5000, Stack: minidumptest.Region{Addr: 0x9000}})
	}
	if maybe() {
		b.Memory(0x5000, []byte(strings.Repeat(string(rune(r.IntN(128))), 4*0x34)))
	}
	if maybe() {
		b.ThreadInfo(minidumptest.ThreadInfo{ID: 1, Start: 0x400000})
	}
	for i := range r.IntN(5) {
		m := minidumptest.Module{Addr: 0x400000 + 0x800*uint64(r.IntN(8)), Size: 0x1000, Timestamp: pick(0, 0x1234abcd), Name: word(), Version: [4]uint32{pick(0, 1), 2, 3, 4}}
		if i == 0 {
			m.Size = 0x1800
		}
		switch r.IntN(6) {
		case 0:
			m.CodeView = minidumptest.PDB70{UUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8}, Age: pick(0, 10, 0xffffffff), File: word()}
		case 1:
			m.CodeView = minidumptest.PDB70{}
		case 2:
			m.CodeView = minidumptest.PDB20{Timestamp: r.Uint32(), Age: pick(1, 0xabc), File: word()}
		case 3:
			m.CodeView = minidumptest.ELF{BuildID: []byte("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14")[:r.IntN(21)]}
		case 4:
			m.CodeView = minidumptest.OtherCodeView("NB11....")
		}
		b.Module(m)
	}
	if maybe() {
		b.Unloaded(minidumptest.Unloaded{Addr: 0x700000, Size: 0x1000, Timestamp: r.Uint32(), Name: word()}, minidumptest.Unloaded{Addr: 0x700800, Size: 0x1000, Name: word()})
	}
	return b.Bytes()
}

// processDifferences say in what reports about made-up processes differ, and why.
var processDifferences = []struct {
	why, path string
	applies   func(d *minidump.Dump, theirs, ours any) bool
}{
	{"a status without a process id tells none; theirs is 0", `^\.pid$`, func(_ *minidump.Dump, theirs, ours any) bool { return theirs == 0.0 && ours == none }},
}

// The whole report of processes that did not crash, against minidump-stackwalk 0.27.
func TestProcessReport(t *testing.T) {
	why, equal := map[string]int{}, map[string]int{}
	runs := toolReports(t, "testdata/processes.jsonl", 60, process, func(report map[string]any) any {
		if table, ok := report["proc_limits"].(map[string]any); ok { // in any order
			slices.SortFunc(table["limits"].([]any), func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return report
	}, func(seed uint64, data []byte, theirs map[string]any) {
		d, err := minidump.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		ours := leavesOf(t, stackwalk.Walk(t.Context(), d, newSymFolders(t), stackwalk.Options{}))
		for _, report := range []map[string]any{theirs, ours} {
			for path, v := range report {
				if v == nil {
					delete(report, path)
				}
			}
			limits(report)
		}
		for path := range theirs {
			if _, ok := ours[path]; !ok {
				ours[path] = none
			}
		}
		for path, b := range ours {
			a := lookup(theirs, path)
			if a == b {
				equal[regexp.MustCompile(`\[.*|\..*`).ReplaceAllString(path[1:], "")]++
				continue
			}
			reason := ""
			for _, p := range processDifferences {
				if regexp.MustCompile(p.path).MatchString(path) && p.applies(d, a, b) {
					reason = p.why
				}
			}
			if reason == "" && !(a == none && additions.MatchString(path)) {
				t.Errorf("%d %v %v big %v: %s: %v, theirs %v", seed, d.System.CPU, d.System.OS, d.BigEndian, path, b, a)
			}
			why[reason]++
		}
	})
	for _, p := range processDifferences {
		if why[p.why] == 0 {
			t.Errorf("nothing differs any more: %s", p.why)
		}
	}
	for _, key := range []string{
		"handles", "linux_memory_map_count", "lsb_release", "mac_boot_args", "mac_crash_info", "modules", "pid", "proc_limits", "process_uptime", "soft_errors",
		"system_info", "threads", "unloaded_modules",
	} {
		if equal[key] == 0 {
			t.Errorf("no dump has %s", key)
		}
	}
	t.Logf("%d dumps; equal %v; %v", runs, equal, why)
}

// limits names the entries of proc_limits after themselves: theirs are in any order.
func limits(report map[string]any) {
	for i := 0; ; i++ {
		prefix := fmt.Sprintf(".proc_limits.limits[%d].", i)
		name, ok := report[prefix+"name"]
		if !ok {
			return
		}
		for _, key := range []string{"name", "soft", "hard", "unit"} {
			report[fmt.Sprintf(".proc_limits.%v.%s", name, key)] = report[prefix+key]
			delete(report, prefix+key)
		}
	}
}
