package mmap_test

import (
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
