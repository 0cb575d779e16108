package stackwalk_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"path"
	"regexp"
	"strings"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/internal/debugtest"
)

// assertedElsewhere says of rows that projects assert something about where that is checked, or why it is not.
var assertedElsewhere = map[string]string{
	"minidump_crashpad_annotation.dmp":         "minidump.TestFixtureCrashpad",
	"thread_name_list.dmp":                     "minidump.TestFixtureThreadNames",
	"simple-crashpad.dmp":                      "minidump.TestFixtureCrashpad",
	"invalid-parameter.dmp":                    "minidump.TestFixtureAssertion, triage.TestFacts; told in crash_info.assertion, TestReference",
	"minidump2.stackwalk.out":                  "TestBreakpadWalk, the registers; the layout is that of another program",
	"minidump2.stackwalk.machine_readable.out": "TestBreakpadWalk, the frames; triage.TestMachineReadable",
	"minidump2.dump.out":                       "minidump.TestSharedDump",
	"kernel32.sym":                             "TestBreakpadWalk, frame 3",
	"ld-2.13.so.sym":                           "TestReference with symbols; ids in minidump.TestFixtureIDs",
	"libc-2.13.so.sym":                         "TestReference with symbols; ids in minidump.TestFixtureIDs",
	"libgcc_s.so.1.sym":                        "TestReference with symbols; ids in minidump.TestFixtureIDs",
	"null_read_av.sym":                         "TestReference with symbols; ids in minidump.TestFixtureIDs",
	"crash-client.sym":                         "breakpad.TestFixtures; no fact but the kind of its records",
}

// asserted checks what projects assert about a fixture, as leaves of its report with the fixtures' symbols.
var asserted = map[string]map[string]any{
	"minidump2.dmp": shared, "test.dmp": shared,
	"tiny-exe-fastfail.dmp":       {".thread_count": 4.0, ".crash_info.type": "EXCEPTION_STACK_BUFFER_OVERRUN / FAST_FAIL_FATAL_APP_EXIT"},
	"tiny-exe-with-cet-xsave.dmp": {".thread_count": 1.0, ".crash_info.type": nil, ".system_info.os_ver": "10.0.22000 282", ".system_info.cpu_arch": "amd64", ".system_info.cpu_info": "family 6 model 140 stepping 1"},
	"linux_inline.dmp":            {".crash_info.address": "0x00000000002161b6", ".crashing_thread.frames[0].module_offset": "0x00000000000161b6"},
}

// shared is the dump that both projects test with. Breakpad does not report the thread that wrote it.
var shared = map[string]any{
	".crash_info.type": "EXCEPTION_ACCESS_VIOLATION_WRITE", ".crash_info.address": "0x00000045", ".crash_info.crashing_thread": 0.0, ".crashing_thread.threads_index": 0.0,
	".thread_count": 2.0, ".threads[0].thread_id": 3060.0, ".threads[1].thread_id": 4544.0, ".threads[1].frame_count": 0.0, ".threads[1].thread_name": nil,
	".system_info.os": "Windows NT", ".system_info.os_ver": "5.1.2600 Service Pack 2", ".system_info.cpu_arch": "x86", ".system_info.cpu_info": "GenuineIntel family 6 model 13 stepping 8",
	".pid": 3932.0, ".process_uptime": 0.0,
	".modules[0].filename": "test_app.exe", ".modules[0].code_id": "45d35f6c2d000", ".modules[0].debug_file": "test_app.pdb", ".modules[0].debug_id": "5A9832E5287241C1838ED98914E9B7FF1",
	".modules[12].filename": "psapi.dll", ".modules[12].code_id": "411096cab000", ".modules[12].debug_id": "A5C3A1F9689F43D8AD228A09293889702", ".modules[12].version": "5.1.2600.2180",
	".threads[0].frame_count":        4.0,
	".threads[0].frames[0].function": "`anonymous namespace'::CrashFunction", ".threads[0].frames[0].line": 58.0, ".threads[0].frames[0].trust": "context", ".threads[0].frames[0].offset": "0x0040429e",
	".threads[0].frames[1].function": "main", ".threads[0].frames[1].line": 65.0, ".threads[0].frames[1].trust": "cfi",
	".threads[0].frames[2].function": "__tmainCRTStartup", ".threads[0].frames[2].line": 327.0, ".threads[0].frames[2].trust": "cfi",
	".threads[0].frames[3].function": "BaseProcessStart", ".threads[0].frames[3].function_offset": "0x00000022", ".threads[0].frames[3].module_offset": "0x00016fd6", ".threads[0].frames[3].trust": "cfi",
	".crashing_thread.frames[0].registers.eip": "0x0040429e", ".crashing_thread.frames[0].registers.esp": "0x0012fe84", ".crashing_thread.frames[0].registers.ebp": "0x0012fe88",
}

// Everything the projects assert about their fixtures, and no row without an answer. Exploitability, text dumps of
// Android and symbol dumping are not this program's part here.
func TestAssertedFacts(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(string(debugtest.File(t, "minidump-facts.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	folders := strings.NewReplacer("breakpad:src/processor/testdata/", "breakpad/dumps/", "rust-minidump:testdata/", "rust-minidump/")
	rating := regexp.MustCompile(`^exploitability rating`)
	seen := map[string]bool{}
	values := 0
	for _, row := range rows[1:] {
		name := path.Base(row[1])
		if facts := strings.Join(row[6:11], ""); row[0] == "dump_syms" || strings.HasPrefix(name, "microdump") || facts == "" || rating.MatchString(facts) {
			continue
		}
		seen[name] = true
		switch want := asserted[name]; {
		case want != nil:
			d, err := minidump.Open(debugtest.File(t, folders.Replace(row[0]+":"+row[1])))
			if err != nil {
				t.Fatal(err)
			}
			p := newSymFolders(t, debugtest.Path(t, "breakpad/symbols"))
			got := leavesOf(t, stackwalk.Walk(t.Context(), d, p, stackwalk.Options{}))
			for path, v := range want {
				values++
				if lookup(got, path) != v {
					t.Errorf("%s: %s = %v, want %v", name, path, lookup(got, path), v)
				}
			}
			if name == "test.dmp" && (len(d.Modules) != 13 || d.Breakpad.DumpThread != 0x11c0 || d.Breakpad.RequestingThread != 0xbf4 || d.Time != 1171480435 || d.Misc.CreateTime != d.Time) {
				t.Errorf("%s: %d modules, %+v, %d", name, len(d.Modules), d.Breakpad, d.Time)
			}
		case name == "linux_inline.old.sym" || name == "linux_inline.new.sym":
			data := debugtest.File(t, "breakpad/symbols/linux_inline/BBA6FA10B8AAB33D00000000000000000/"+name)
			text := ""
			for _, n := range stackwalk.NamesOf(openSym(t, name, data).names, 0x161b6) {
				text += fmt.Sprintf("%s %s:%d ", n.Function, path.Base(n.File), n.Line)
			}
			want := "func() linux_inline.cpp:27 bar() c.cpp:32 foo() b.cpp:39 main a.cpp:42 "
			if strings.Contains(name, "old") { // which has no files of calls
				want = regexp.MustCompile(`\b[abc]\.cpp`).ReplaceAllString(want, "linux_inline.cpp")
			}
			if text != want {
				t.Errorf("%s: %s, want %s", name, text, want)
			}
			if ended := data[len(data)-1] == '\n'; ended != strings.Contains(name, "old") {
				t.Errorf("%s ends with a newline: %v", name, ended)
			}
		case name == "test_app.sym":
			testAppSym(t, folders.Replace(row[0]+":"+row[1]))
		case assertedElsewhere[name] == "":
			t.Errorf("%s: %s is not checked", name, strings.Join(row[6:11], "; "))
		}
	}
	for name := range asserted {
		if !seen[name] {
			t.Errorf("no row is about %s", name)
		}
	}
	for name := range assertedElsewhere {
		if !seen[name] {
			t.Errorf("no row is about %s", name)
		}
	}
	t.Logf("%d rows, %d values", len(seen), values)
}

// testAppSym counts the records of a symbol file, with lines ended by LF and by CR LF.
func testAppSym(t *testing.T, file string) {
	text := bytes.ReplaceAll(debugtest.File(t, strings.Replace(file, "breakpad/dumps", "breakpad", 1)), []byte("\r\n"), []byte("\n"))
	for _, data := range [][]byte{text, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))} {
		types := map[uint8]int{}
		f, err := breakpad.Parse(data, breakpad.Handler{Win: func(w breakpad.Win) error {
			types[w.Type]++
			return nil
		}}, breakpad.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(f.Counts.Files, f.Counts.Publics, f.Counts.Functions, types[4], types[0]); got != "6661 5 1065 1556 259" {
			t.Errorf("%s, %d bytes: %s", file, len(data), got)
		}
	}
}
