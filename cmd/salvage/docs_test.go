//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"os"
	"testing"

	"salvage/config"
)

// TestDocs keeps the references of options and metrics as the program declares them; -update writes them.
func TestDocs(t *testing.T) {
	o := new(serveOptions)
	if _, err := config.Load(o, config.LoadOptions{Sources: []config.Source{config.Map("test", map[string]string{"data": t.TempDir()})}}); err != nil {
		t.Fatal(err)
	}
	s, err := newService(t.Context(), o, slog.New(slog.DiscardHandler))
	defer s.close()
	if err != nil {
		t.Fatal(err)
	}
	var options, measured bytes.Buffer
	options.WriteString("# Options of `salvage serve`\n\nFrom flags, the environment, a file `.env` in the working folder and the defaults, in this order. Written by\n`go test ./cmd/salvage -run Docs -update`.\n\n")
	if err := config.WriteMarkdown(&options, new(serveOptions), envPrefix); err != nil {
		t.Fatal(err)
	}
	measured.WriteString("# Metrics of `salvage serve`\n\nServed at `/metrics`. Written by `go test ./cmd/salvage -run Docs -update`.\n\n")
	if err := s.registry.WriteMarkdown(&measured); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{"../../doc/config.md": options.Bytes(), "../../doc/metrics.md": measured.Bytes()} {
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not as the program says (%v); run with -update", path, err)
		}
	}
}
