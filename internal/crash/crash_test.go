package crash_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"salvage/internal/crash"
)

var day = time.Date(2026, 8, 18, 23, 59, 59, 123456789, time.FixedZone("", -3600)) // the 19th in UTC

func TestID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{5}1260819$`)
	seen := map[crash.ID]bool{}
	for range 100 {
		id := crash.NewID(day, crash.Defer)
		if !form.MatchString(string(id)) || seen[id] {
			t.Fatalf("NewID = %s", id)
		}
		seen[id] = true
		for _, s := range []string{string(id), crash.Prefix + string(id)} {
			if got, err := crash.ParseID(s); err != nil || got != id {
				t.Errorf("ParseID(%q) = %v, %v", s, got, err)
			}
		}
		if id.Day() != "20260819" || id.Throttle() != crash.Defer {
			t.Errorf("%s: day %s, throttle %d", id, id.Day(), id.Throttle())
		}
	}
	id := crash.ID("6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818")
	if got, want := id.RawKey(), "crash/20260818/6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818/raw_crash"; got != want {
		t.Errorf("RawKey = %s, want %s", got, want)
	}
	if got := id.DumpKey("upload_file_minidump"); !strings.HasPrefix(got, crash.DayPrefix("20260818")) || !strings.HasSuffix(got, "/dump/upload_file_minidump") {
		t.Errorf("DumpKey = %s", got)
	}
	for _, bad := range []string{
		"", "bp-", "6d8f0c1e-5b7a-4c2d-9e3f-0a1b2026081", "6d8f0c1e-5b7a-4c2d-9e3f-0a1b202608181", "6D8f0c1e-5b7a-4c2d-9e3f-0a1b20260818",
		"6d8f0c1e-5b7a-4c2d-9e3f-0a1b29260818", "6d8f0c1e-5b7a-4c2d-9e3f-0a1b20261318", "6d8f0c1e-5b7a-4c2d-9e3f-0a1b2026081a", "xx-6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818",
		"6d8f0c1e/5b7a-4c2d-9e3f-0a1b20260818", "../../../../../../../etc/passwd2608180",
	} {
		if got, err := crash.ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %s", bad, got)
		}
	}
}

func TestRaw(t *testing.T) {
	r := crash.Raw{
		ID: "6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818", Submitted: day,
		Annotations: map[string]any{
			"ProductName": "Fenix", "Email": "a@b", "EMAIL": "a@b", "sentry[user][email]": "a@b", "emails": "kept: another name", "TelemetryClientId": "x", "version": "mine", "Version": "85.0", "Number": json.Number("12345678901234567890"),
			"Markup": "<&>",
		},
		Metadata: crash.Metadata{DumpChecksums: map[string]string{"upload_file_minidump": "00"}, Payload: "multipart", PayloadCompressed: "0", PayloadSize: 7, UserAgent: "None"},
	}
	r.Clean()
	data, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Markup":"\u003c\u0026\u003e","Number":12345678901234567890,"ProductName":"Fenix","Version":"85.0","emails":"kept: another name","metadata":{"collector_notes":["Removed EMAIL from raw crash.","Removed Email from raw crash.","Removed TelemetryClientId from raw crash.","Removed sentry[user][email] from raw crash."],"dump_checksums":{"upload_file_minidump":"00"},"payload":"multipart","payload_compressed":"0","payload_size":7,"throttle_rule":"","user_agent":"None"},"submitted_timestamp":"2026-08-19T00:59:59.123456+00:00","uuid":"6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818","version":2}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	var again crash.Raw
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if again.ID != r.ID || !again.Submitted.Equal(day.Truncate(time.Microsecond)) || len(again.Annotations) != len(r.Annotations) || again.Annotations["Markup"] != "<&>" {
		t.Errorf("read back: %+v", again)
	}
	old := strings.Replace(want, `"ProductName"`, `"Email":"a@b","userEmail":"a@b","ProductName"`, 1)
	if err := json.Unmarshal([]byte(old), &again); err != nil || len(again.Annotations) != len(r.Annotations) {
		t.Errorf("an imported raw crash keeps its Email: %+v, %v", again.Annotations, err)
	}
}

func TestCleanDumpName(t *testing.T) {
	for in, want := range map[string]string{
		"upload_file_minidump": "upload_file_minidump", "../../x": "x", "memory-report.gz": "memoryreportgz", "": "", "é": "", strings.Repeat("a", 40): strings.Repeat("a", 30),
	} {
		if got := crash.CleanDumpName(in); got != want {
			t.Errorf("CleanDumpName(%q) = %q, want %q", in, got, want)
		}
	}
}
