//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"salvage/debug/minidump/minidumptest"
)

// TestBrokenPipe: whoever reads a report may stop at any time, as head does. The command ends as if it had been read,
// without a word and not by a signal; a file that cannot be written is an error.
func TestBrokenPipe(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(t.TempDir(), "dump")
	b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}).
		Memory(0x1000, make([]byte, 1<<16)) // more than a pipe holds, in text
	if err := os.WriteFile(dump, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"--json", "--human", "--dump"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var stderr bytes.Buffer
		cmd := exec.Command(self, "stackwalk", form, dump)
		cmd.Env = append(os.Environ(), "SALVAGE_TEST_SERVE=never")
		cmd.Stdout, cmd.Stderr = w, &stderr
		if err := cmd.Run(); err != nil || stderr.Len() > 0 {
			t.Errorf("%s: %v, %s", form, err, &stderr)
		}
		w.Close()
	}
	const full = "/dev/full" // of Linux
	if _, err := os.Stat(full); err != nil {
		return
	}
	var out, stderr bytes.Buffer
	if code := run([]string{"stackwalk", "--dump", "--output-file=" + full, dump}, nil, &out, &stderr); code != 1 || stderr.Len() == 0 {
		t.Errorf("a full disk: exit code %d, %s", code, &stderr)
	}
}
