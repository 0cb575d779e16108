package triage_test

import (
	"encoding/csv"
	"os"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/minidump/minidumptest"
	"salvage/debug/triage"
	"salvage/internal/debugtest"
)

func TestWindowsReasons(t *testing.T) {
	for _, tt := range []struct {
		name    string
		code, n uint32
		info    [3]uint64
		want    string
	}{
		{"access violation without parameters", 0xc0000005, 0, [3]uint64{1, 2}, "EXCEPTION_ACCESS_VIOLATION"},
		{"read", 0xc0000005, 2, [3]uint64{0, 2}, "EXCEPTION_ACCESS_VIOLATION_READ"},
		{"read, one parameter", 0xc0000005, 1, [3]uint64{}, "EXCEPTION_ACCESS_VIOLATION_READ"},
		{"write", 0xc0000005, 2, [3]uint64{1, 2}, "EXCEPTION_ACCESS_VIOLATION_WRITE"},
		{"execute", 0xc0000005, 2, [3]uint64{8, 2}, "EXCEPTION_ACCESS_VIOLATION_EXEC"},
		{"other access", 0xc0000005, 2, [3]uint64{2, 2}, "EXCEPTION_ACCESS_VIOLATION"},
		{"access of 64 bits", 0xc0000005, 2, [3]uint64{1 << 32, 2}, "EXCEPTION_ACCESS_VIOLATION"},
		{"more parameters than there is room for", 0xc0000005, 0xffffffff, [3]uint64{1, 2}, "EXCEPTION_ACCESS_VIOLATION_WRITE"},

		{"in-page error", 0xc0000006, 3, [3]uint64{0, 2, 0xc000009c}, "EXCEPTION_IN_PAGE_ERROR_READ / STATUS_DEVICE_DATA_ERROR"},
		{"in-page error, write", 0xc0000006, 3, [3]uint64{1, 2, 0xc00000c4}, "EXCEPTION_IN_PAGE_ERROR_WRITE / STATUS_UNEXPECTED_NETWORK_ERROR"},
		{"in-page error, execute, high bits", 0xc0000006, 3, [3]uint64{8, 2, 0xffffffffc000000e}, "EXCEPTION_IN_PAGE_ERROR_EXEC / STATUS_NO_SUCH_DEVICE"},
		{"in-page error, NTSTATUS that is an exception", 0xc0000006, 3, [3]uint64{0, 2, 0xc0000005}, "EXCEPTION_IN_PAGE_ERROR_READ / STATUS_ACCESS_VIOLATION"},
		{"in-page error, NTSTATUS that is a Windows error", 0xc0000006, 3, [3]uint64{0, 2, 0x103}, "EXCEPTION_IN_PAGE_ERROR_READ / STATUS_PENDING"},
		{"in-page error, unknown status", 0xc0000006, 3, [3]uint64{0, 2, 0x1_0000_1234}, "EXCEPTION_IN_PAGE_ERROR_READ / 0x00001234"},
		{"in-page error, two parameters", 0xc0000006, 2, [3]uint64{0, 2, 0xc000009c}, "EXCEPTION_IN_PAGE_ERROR"},
		{"in-page error, other access", 0xc0000006, 3, [3]uint64{7, 2, 0xc000009c}, "EXCEPTION_IN_PAGE_ERROR"},

		{"fast fail", 0xc0000409, 1, [3]uint64{7}, "EXCEPTION_STACK_BUFFER_OVERRUN / FAST_FAIL_FATAL_APP_EXIT"},
		{"fast fail 0", 0xc0000409, 1, [3]uint64{0}, "EXCEPTION_STACK_BUFFER_OVERRUN / FAST_FAIL_LEGACY_GS_VIOLATION"},
		{"fast fail, high bits", 0xc0000409, 1, [3]uint64{0xabcd_0000_0002}, "EXCEPTION_STACK_BUFFER_OVERRUN / FAST_FAIL_STACK_COOKIE_CHECK_FAILURE"},
		{"fast fail, unknown", 0xc0000409, 1, [3]uint64{0xfedcba98}, "EXCEPTION_STACK_BUFFER_OVERRUN / 0xfedcba98"},
		{"fast fail without a code", 0xc0000409, 0, [3]uint64{7}, "STATUS_STACK_BUFFER_OVERRUN"},

		{"exception before NTSTATUS", 0xc00000fd, 0, [3]uint64{}, "EXCEPTION_STACK_OVERFLOW"},
		{"breakpoint", 0x80000003, 1, [3]uint64{}, "EXCEPTION_BREAKPOINT"},
		{"out of memory", 0xe0000008, 1, [3]uint64{64}, "Out of Memory"},
		{"C++", 0xe06d7363, 3, [3]uint64{}, "Unhandled C++ Exception"},
		{".NET", 0xe0434352, 0, [3]uint64{}, "MANAGED_EXCEPTION_CODE_V4"},
		{"simulated", 0x0517a7ed, 0, [3]uint64{}, "Simulated Exception"},
		{"NTSTATUS", 0xc0000374, 1, [3]uint64{}, "STATUS_HEAP_CORRUPTION"},
		{"NTSTATUS of the debugger", 0x40010005, 0, [3]uint64{}, "DBG_CONTROL_C"},
		{"Windows error", 2, 0, [3]uint64{}, "ERROR_FILE_NOT_FOUND"},
		{"Windows error before NTSTATUS", 0x103, 0, [3]uint64{}, "ERROR_NO_MORE_ITEMS"},
		{"0", 0, 0, [3]uint64{}, "ERROR_SUCCESS"},
		{"delay-loaded DLL", 0xc06d007e, 1, [3]uint64{}, "FACILITY_VISUALCPP / ERROR_MOD_NOT_FOUND"},
		{"delay-loaded function", 0xc06d007f, 1, [3]uint64{}, "FACILITY_VISUALCPP / ERROR_PROC_NOT_FOUND"},
		{"facility with any severity", 0x106d007f, 1, [3]uint64{}, "FACILITY_VISUALCPP / ERROR_PROC_NOT_FOUND"},
		{"facility without severity", 0x006d007e, 0, [3]uint64{}, "unknown 0x006d007e"},
		{"facility with a code that is no Windows error", 0xc06dffff, 0, [3]uint64{}, "unknown 0xc06dffff"},
		{"another facility", 0xc06e007e, 0, [3]uint64{}, "unknown 0xc06e007e"},
		{"facility of 12 bits", 0xc16d007e, 0, [3]uint64{}, "unknown 0xc16d007e"},
		{"unknown", 0xe0001234, 0, [3]uint64{}, "unknown 0xe0001234"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := minidumptest.Exception{Code: tt.code, Flags: 5, NumParameters: tt.n, Information: [15]uint64{tt.info[0], tt.info[1], tt.info[2]}}
			reason(t, minidumptest.Windows, minidumptest.AMD64, e, tt.want)
			reason(t, 1, minidumptest.X86, e, tt.want) // Windows 95 to Me
		})
	}
}

// A value of GetLastError is no exception, even if its number is one's.
func TestWindowsError(t *testing.T) {
	for code, want := range map[uint32]string{
		0: "ERROR_SUCCESS", 5: "ERROR_ACCESS_DENIED", 126: "ERROR_MOD_NOT_FOUND", 0xc0000005: "STATUS_ACCESS_VIOLATION",
		0x80000003: "STATUS_BREAKPOINT", 0xe0000008: "unknown 0xe0000008", 0x0517a7ed: "unknown 0x0517a7ed", 0xc06d007e: "FACILITY_VISUALCPP / ERROR_MOD_NOT_FOUND",
		1717: "RPC_S_UNKNOWN_IF", 0xc0020001: "RPC_NT_INVALID_STRING_BINDING", 0xffffffff: "unknown 0xffffffff",
	} {
		if got := triage.WindowsError(code); got != want {
			t.Errorf("WindowsError(%#x) = %q, want %q", code, got, want)
		}
	}
}

// windows.txt is what the list of codes says.
func TestWindowsCodesFresh(t *testing.T) {
	path := os.Getenv("SALVAGE_REFERENCE")
	if path == "" {
		debugtest.Require(t, "reference", "SALVAGE_REFERENCE is not set")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, row := range rows[1:] {
		table := map[string]string{"access_type": "a", "exception": "e", "fastfail": "f", "ntstatus": "n", "winerror": "w"}[row[0]]
		if table == "" {
			continue // a few values that are in the code
		}
		value, err := strconv.ParseUint(row[1], 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		if got := triage.Windows.Name(table, uint32(value)); got != row[2] {
			t.Errorf("%s %#x = %q, want %q", row[0], value, got, row[2])
		}
		checked++
	}
	if lines := strings.Count(string(triage.Windows), "\n") - strings.Count(string(triage.Windows), "#") - strings.Count(string(triage.Windows), "\nt "); checked != lines {
		t.Errorf("%d codes in the list, %d in windows.txt", checked, lines)
	}
	t.Logf("%d codes", checked)
}

func BenchmarkWindowsError(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		triage.WindowsError(0xc0000374)
	}
}
