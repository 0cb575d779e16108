package datafolder_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvage/internal/datafolder"
	"salvage/internal/errs"
)

// As a child the test binary opens the folder, says so and waits to be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DATAFOLDER_TEST_HOLD"); dir != "" {
		if _, err := datafolder.Open(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("open")
		time.Sleep(time.Minute)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t *testing.T, dir string) *datafolder.Folder {
	t.Helper()
	f, err := datafolder.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	f := open(t, dir)
	if f.Dir != dir {
		t.Errorf("Dir = %s, want %s", f.Dir, dir)
	}
	if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("Stat = %v, %v, want mode 0700", info, err)
	}
	if n, err := f.Free(); err != nil || n == 0 || n > 1<<60 {
		t.Errorf("Free = %d, %v", n, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "FORMAT")); err != nil || string(data) != fmt.Sprintln(datafolder.Format) {
		t.Errorf("FORMAT = %q, %v", data, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := datafolder.Open(filepath.Join(file, "data")); err == nil {
		t.Error("opened a folder in a file")
	}
	if _, err := datafolder.Open(file); err == nil {
		t.Error("opened a file")
	}
}

// The same process is refused as any other.
func TestHeldHere(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	defer f.Close()
	_, err := datafolder.Open(dir)
	if want := "process " + strconv.Itoa(os.Getpid()) + ", started 20"; !errors.Is(err, errs.Conflict) || !strings.Contains(errs.Sentence(err), want) {
		t.Errorf("second Open: %v, want Conflict that says %q", err, want)
	}
}

func TestHeldByOther(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DATAFOLDER_TEST_HOLD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	var line string
	if _, err := fmt.Fscanln(out, &line); err != nil || line != "open" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	_, err = datafolder.Open(dir)
	if want := fmt.Sprintf("process %d, ", cmd.Process.Pid); !errors.Is(err, errs.Conflict) || !strings.Contains(errs.Sentence(err), want) {
		t.Errorf("Open: %v, want Conflict that says %q", err, want)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	f := open(t, dir) // the lock ended with its holder
	defer f.Close()
	if data, _ := os.ReadFile(filepath.Join(dir, "LOCK")); !strings.HasPrefix(string(data), fmt.Sprintf("process %d, ", os.Getpid())) {
		t.Errorf("LOCK = %q", data)
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct {
		text string
		want *errs.Kind
	}{
		{"1\n", nil}, {"1", nil}, {"2\n", errs.Unsupported}, {"4000000000\n", errs.Unsupported}, {"", errs.Corrupt}, {"0\n", errs.Corrupt}, {"one\n", errs.Corrupt}, {"-1\n", errs.Corrupt},
	} {
		dir := t.TempDir()
		name := filepath.Join(dir, "FORMAT")
		if err := os.WriteFile(name, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := datafolder.Open(dir)
		if errs.KindOf(err) != tt.want {
			t.Errorf("Open of format %q: %v, want kind %v", tt.text, err, tt.want)
		}
		if data, _ := os.ReadFile(name); string(data) != tt.text {
			t.Errorf("FORMAT is %q now, was %q", data, tt.text)
		}
		if err == nil {
			f.Close()
		} else if !strings.Contains(errs.Sentence(err), dir) {
			t.Errorf("the sentence does not name the folder: %q", errs.Sentence(err))
		}
		// A refused folder is not left locked.
		if err := os.WriteFile(name, []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir).Close()
	}
}
