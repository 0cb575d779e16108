package mmap_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"salvage/internal/mmap"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "some": "hello"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := mmap.Open(path)
		if err != nil || string(f.Data) != content {
			t.Fatalf("Open(%s) = %q, %v", name, f.Data, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := mmap.Open(bad); err == nil {
			t.Errorf("Open(%s) succeeded", bad)
		}
	}
}

// What was let go of is there again.
func TestForget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	want := bytes.Repeat([]byte("0123456789abcdef"), 5000)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := mmap.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, piece := range [][2]int{{0, 80000}, {5, 10}, {4096, 8192}, {79990, 80000}, {80000, 80000}, {0, 0}} {
		f.Forget(f.Data[piece[0]:piece[1]])
		if !bytes.Equal(f.Data, want) {
			t.Fatalf("after Forget of %v the contents differ", piece)
		}
	}
	f.Forget(nil)
}
