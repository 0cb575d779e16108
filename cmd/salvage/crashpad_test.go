package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

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
	// In a terminal it shows how many threads are done; nowhere else, and not where a program reads.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for more, shown := range map[string]bool{
		"": true, " >/dev/null": true, " 2>&1 | cat": false, " --json": false, " --no-interactive": false, " --output-file=" + file + ".txt": false,
	} {
		cmd := exec.Command(debugtest.Program(t, "linux", "script"), "-qec", strings.Join([]string{self, "stackwalk", file, app}, " ")+more, "/dev/null")
		cmd.Env = append(os.Environ(), "SALVAGE_TEST_SERVE=never")
		out, err := cmd.CombinedOutput()
		if err != nil || regexp.MustCompile(`threads .*\([12]/2\)`).Match(out) != shown {
			t.Errorf("in a terminal%s: %v %.2000q", more, err, out)
		}
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
