//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"os"
	"testing"

	"salvage/config"
	"salvage/config/configtest"
)

// These keep the references of options, metrics and stackwalk as the program declares them; -update writes them.

func TestDocsConfig(t *testing.T) {
	configtest.DocsUpToDate(t, "../../doc/config.md", new(serveOptions), envPrefix, *update)
}

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
	var measured bytes.Buffer
	if err := writeMetricsDoc(&measured, s.registry); err != nil {
		t.Fatal(err)
	}
	var stackwalk, again, stderr bytes.Buffer
	for _, out := range []*bytes.Buffer{&stackwalk, &again} {
		if code := run([]string{"stackwalk", "--help-markdown"}, nil, out, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("exit code %d: %s", code, &stderr)
		}
	}
	if !bytes.Equal(stackwalk.Bytes(), again.Bytes()) {
		t.Error("the page of stackwalk differs from time to time")
	}
	for path, want := range map[string][]byte{"../../doc/metrics.md": measured.Bytes(), "../../doc/stackwalk.md": stackwalk.Bytes()} {
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
