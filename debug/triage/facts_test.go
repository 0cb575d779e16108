package triage_test

import (
	"encoding/csv"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/triage"
	"salvage/internal/debugtest"
)

// reasons are what each dump was written for; the empty ones nobody crashed in.
var reasons = map[string]string{
	"ascii_read_av.dmp":                         "EXCEPTION_ACCESS_VIOLATION_READ",
	"ascii_read_av_clobber_write.dmp":           "EXCEPTION_ACCESS_VIOLATION_READ",
	"ascii_read_av_then_jmp.dmp":                "EXCEPTION_ACCESS_VIOLATION_READ",
	"ascii_write_av.dmp":                        "EXCEPTION_ACCESS_VIOLATION_WRITE",
	"exec_av_on_stack.dmp":                      "EXCEPTION_ACCESS_VIOLATION_EXEC",
	"invalid-parameter.dmp":                     "STATUS_INVALID_PARAMETER",
	"linux_executable_heap.dmp":                 "SIGSEGV",
	"linux_inline.dmp":                          "SIGILL / ILL_ILLOPN",
	"linux_inside_module_exe_region2.dmp":       "SIGSEGV",
	"linux_jmp_to_module_not_exe_region.dmp":    "SIGSEGV",
	"linux_null_read_av.dmp":                    "SIGSEGV",
	"linux_overflow.dmp":                        "SIGABRT",
	"linux_stack_pointer_in_module.dmp":         "SIGSEGV",
	"linux_stack_pointer_in_stack_alt_name.dmp": "SIGSEGV",
	"linux_write_to_nonwritable_module.dmp":     "SIGSEGV",
	"linux_write_to_outside_module.dmp":         "SIGSEGV",
	"linux_write_to_under_4k.dmp":               "SIGSEGV",
	"minidump2.dmp":                             "EXCEPTION_ACCESS_VIOLATION_WRITE",
	"minidump_crashpad_annotation.dmp":          "Uncaught NSException",
	"null_write_av.dmp":                         "EXCEPTION_ACCESS_VIOLATION_WRITE",
	"read_av_conditional.dmp":                   "EXCEPTION_ACCESS_VIOLATION_READ",
	"simple-crashpad.dmp":                       "EXC_CRASH / SIGABRT",
	"stack_exhaustion.dmp":                      "EXCEPTION_STACK_OVERFLOW",
	"test.dmp":                                  "EXCEPTION_ACCESS_VIOLATION_WRITE",
	"thread_name_list.dmp":                      "EXCEPTION_ACCESS_VIOLATION_READ",
	"tiny-exe-fastfail.dmp":                     "EXCEPTION_STACK_BUFFER_OVERRUN / FAST_FAIL_FATAL_APP_EXIT",
	"tiny-exe-with-cet-xsave.dmp":               "",
	"write_av_non_null.dmp":                     "EXCEPTION_ACCESS_VIOLATION_WRITE",
}

var (
	exceptionFact = regexp.MustCompile(`exception tid=(\d+) code=(\w+) flags=\w+ address=(\w+) params=\[(.*?)\]`)
	tid           = regexp.MustCompile(`\d{4,}`)
)

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The facts about reasons, addresses and threads of all dumps. Text dumps of Android are not minidumps.
func TestFacts(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(string(debugtest.File(t, "minidump-facts.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	folders := strings.NewReplacer("breakpad:src/processor/testdata/", "breakpad/dumps/", "rust-minidump:testdata/", "rust-minidump/")
	dumps, derived, asserted := 0, 0, 0
	for _, row := range rows {
		raw, wantReason, wantAddress, wantThreads := row[5], row[6], row[7], row[8]
		if !strings.HasPrefix(raw, "streams=") {
			continue
		}
		dumps++
		file := folders.Replace(row[0] + ":" + row[1])
		t.Run(file, func(t *testing.T) {
			d, err := minidump.Parse(debugtest.File(t, file))
			if err != nil {
				t.Fatal(err)
			}
			want, known := reasons[path.Base(file)]
			c, crashed := triage.Analyze(d)
			if !known || c.Reason != want || crashed != (want != "") {
				t.Errorf("Analyze = %q, %v, want %q", c.Reason, crashed, want)
			}
			derived++

			// What the raw facts say about address and thread.
			index, context, ok := triage.RequestingThread(d)
			if m := exceptionFact.FindStringSubmatch(raw); m != nil {
				address := number(t, m[3])
				if params := strings.Fields(m[4]); row[4] == "Windows NT" && (m[2] == "0xc0000005" || m[2] == "0xc0000006") {
					address = number(t, params[1])
				}
				if c.Address != address || fmt.Sprint(c.ThreadID) != m[1] {
					t.Errorf("Analyze = address %#x in thread %d, want %#x in %s", c.Address, c.ThreadID, address, m[1])
				}
				if !ok || fmt.Sprint(d.Threads[index].ID) != m[1] || context != d.Exception.Context {
					t.Errorf("RequestingThread = %d, %v, %v, want the one with id %s", index, context, ok, m[1])
				}
				derived += 3
			} else if crashed || ok {
				t.Errorf("no exception: %+v, thread %d, %v", c, index, ok)
			}

			// What tests of the two projects assert. Breakpad says less than rust-minidump about a fast fail.
			if wantReason != "" {
				asserted++
				wantReason = strings.TrimPrefix(wantReason, "(derived) ")
				if c.Reason != wantReason && c.Reason != "EXCEPTION_STACK_BUFFER_OVERRUN / "+wantReason {
					t.Errorf("Reason = %q, want %q", c.Reason, wantReason)
				}
			}
			if wantAddress != "" {
				asserted++
				if c.Address != number(t, wantAddress) {
					t.Errorf("Address = %#x, want %s", c.Address, wantAddress)
				}
			}
			if ids := tid.FindAllString(wantThreads, -1); len(ids) == 2 { // the crashed one, the one that wrote the dump
				asserted++
				if !ok || fmt.Sprint(d.Threads[index].ID) != ids[0] || fmt.Sprint(d.Breakpad.DumpThread) != ids[1] {
					t.Errorf("RequestingThread = %d, %v, want the one with id %s", index, ok, ids[0])
				}
			}
		})
	}
	if dumps != len(reasons) || derived < 100 || asserted < 7 {
		t.Errorf("%d dumps, %d derived facts, %d asserted", dumps, derived, asserted)
	}
	t.Logf("%d dumps, %d derived facts, %d asserted", dumps, derived, asserted)
}

// The summary of Breakpad's stack walker: Crash|reason|address|thread.
func TestMachineReadable(t *testing.T) {
	d, err := minidump.Parse(debugtest.File(t, "breakpad/dumps/minidump2.dmp"))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := triage.Analyze(d)
	index, _, _ := triage.RequestingThread(d)
	line := fmt.Sprintf("\nCrash|%s|%#x|%d\n", c.Reason, c.Address, index)
	if text := string(debugtest.File(t, "breakpad/dumps/minidump2.stackwalk.machine_readable.out")); !strings.Contains(text, line) {
		t.Errorf("%q is not in the output", line)
	}
}
