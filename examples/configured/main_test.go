package main

import (
	"bytes"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvage/config/configtest"
)

var update = flag.Bool("update", false, "write the reference into README.md")

func TestReference(t *testing.T) {
	configtest.DocsUpToDate(t, "README.md", new(options), prefix, *update)
}

func server(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" || r.Header.Get("X-Probe") != "1" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// The whole program: flags, environment and file together, and the answers in text and JSON.
func TestRun(t *testing.T) {
	s := server(t)
	file := filepath.Join(t.TempDir(), "probe.yaml")
	if err := os.WriteFile(file, []byte("urls: ["+s.URL+"]\nheaders:\n  X-Probe: 1\nreport:\n  kind: text\n  text: {well: fine}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PROBE_TOKEN", "sesame")
	for _, tt := range []struct {
		args []string
		code int
		out  string
	}{
		{nil, 0, "fine 200 " + s.URL + "\n"},
		{[]string{"-report-kind=json"}, 0, `{"Target":"` + s.URL + `","Status":200,"Well":true}` + "\n"},
		{[]string{"-headers", "X-Probe=2"}, 1, "ILL 403 " + s.URL + "\n"},
		{[]string{"-reference"}, 0, "| Option |"},
	} {
		var out, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"-config", file}, tt.args...), &out, &stderr)
		if code != tt.code || !strings.HasPrefix(out.String(), tt.out) {
			t.Errorf("%q: code %d, %s%swant %d, %s", tt.args, code, out.String(), stderr.String(), tt.code, tt.out)
		}
		if want := "warning: urls (file " + file + ", line 1) is deprecated; use targets\n"; tt.code == 0 && tt.args == nil && !strings.HasPrefix(stderr.String(), want) {
			t.Errorf("%q: %s, want %s", tt.args, stderr.String(), want)
		}
	}
}

// One option is wrong in each place; one report has them all.
func TestWrongOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "probe.yaml")
	if err := os.WriteFile(file, []byte("timeuot: 5s\nwell: (\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PROBE_TIMEOUT", "soon")
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-config", file, "-report-kind", "xml"}, &out, &stderr); code != 2 {
		t.Errorf("code %d", code)
	}
	for _, want := range []string{
		"configuration: 5 problems\n", "\nPROBE_TARGETS: required, not set", `PROBE_TIMEOUT: "soon" is not a duration`, "line 2\n", "did you mean timeout?",
		`--report-kind: "xml" is not one of json, text`, "Configuration reference: configured -reference",
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in %s", want, stderr.String())
		}
	}
}

// Options are set for one test, without the environment.
func TestAsk(t *testing.T) {
	t.Parallel()
	s := server(t)
	var o options
	configtest.Load(t, &o, map[string]string{"targets": s.URL, "token": "sesame", "well": "^403$"})
	if a := o.probe.ask(t.Context(), o.probe.targets[0], newMetrics(nil)); a.Status != http.StatusForbidden || !a.Well {
		t.Errorf("answer %+v", a)
	}
	configtest.MustFail(t, &o, map[string]string{"targets": "localhost:80", "timeout": "-5s"}, "targets", "timeout")
}
