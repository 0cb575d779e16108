package configtest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvage/config"
	"salvage/config/configtest"
)

type options struct{ port int }

func (o *options) Options(s *config.Spec) {
	config.Var(s, &o.port, "port", config.Int, config.Alt("root:old.port"))
}

// recordingTB keeps the text of the first Fatal and stops the test function there, by a panic.
type recordingTB struct {
	testing.TB
	text string
}

func (t *recordingTB) Helper()                           {}
func (t *recordingTB) Fatal(args ...any)                 { t.text = fmt.Sprint(args...); panic(t) }
func (t *recordingTB) Errorf(format string, args ...any) { t.text = fmt.Sprintf(format, args...) }
func (t *recordingTB) Fatalf(format string, args ...any) { t.Fatal(fmt.Sprintf(format, args...)) }

func failure(f func(t testing.TB)) string {
	fake := &recordingTB{}
	func() {
		defer func() { _ = recover() }()
		f(fake)
	}()
	return fake.text
}

func TestLoad(t *testing.T) {
	var o options
	if configtest.Load(t, &o, map[string]string{"port": "1"}); o.port != 1 {
		t.Errorf("port = %d", o.port)
	}
	if configtest.Load(t, &o, map[string]string{"old.port": "2"}); o.port != 2 {
		t.Errorf("port = %d", o.port)
	}
	if got := configtest.MustFail(t, &o, nil); len(got) != 1 || !errors.Is(got, config.ErrMissing) {
		t.Errorf("MustFail = %v", got)
	}
	for want, f := range map[string]func(t testing.TB){
		"configuration: 1 problem": func(t testing.TB) { configtest.Load(t, &o, nil) },
		"prot: is no option":       func(t testing.TB) { configtest.Load(t, &o, map[string]string{"prot": "1"}) },
		"succeeded, want problems": func(t testing.TB) { configtest.MustFail(t, &o, map[string]string{"port": "1"}) },
	} {
		if got := failure(f); !strings.Contains(got, want) {
			t.Errorf("failure %q, want %q in it", got, want)
		}
	}
}

func TestMustFailKeys(t *testing.T) {
	var o options
	configtest.MustFail(t, &o, nil, "port")
	configtest.MustFail(t, &o, map[string]string{"prot": "1"}, "port", "prot")
	for want, f := range map[string]func(t testing.TB){
		`problems with ["port"], want ["other"]`: func(t testing.TB) { configtest.MustFail(t, &o, nil, "other") },
		"prot: is no option":                     func(t testing.TB) { configtest.MustFail(t, &o, map[string]string{"port": "1", "prot": "1"}) },
	} {
		if got := failure(f); !strings.Contains(got, want) {
			t.Errorf("failure %q, want %q in it", got, want)
		}
	}
}

func TestOverride(t *testing.T) {
	base := []config.Source{config.Map("conf", map[string]string{"port": "1"})}
	for port, kv := range map[int]map[string]string{1: nil, 2: {"port": "2"}} {
		t.Run(fmt.Sprint(port), func(t *testing.T) {
			t.Parallel()
			var o options
			if _, err := config.Load(&o, config.LoadOptions{Sources: configtest.Override(base, kv)}); err != nil || o.port != port {
				t.Errorf("port = %d, %v, want %d", o.port, err, port)
			}
		})
	}
	if len(base) != 1 {
		t.Errorf("the base has %d sources", len(base))
	}
}

func TestDocsUpToDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(update bool) string {
		return failure(func(t testing.TB) { configtest.DocsUpToDate(t, path, &options{}, "S_", update) })
	}
	if got := check(true); !strings.Contains(got, "no such file") {
		t.Errorf("a missing file: %q", got)
	}
	write("# Title\n<!-- options -->\n")
	if got := check(true); !strings.Contains(got, `no lines "<!-- options -->" and "<!-- end of options -->"`) {
		t.Errorf("no lines: %q", got)
	}
	write("# Title\n<!-- options -->\nold\n<!-- end of options -->\nrest\n")
	if got := check(false); !strings.Contains(got, "is not as the program declares its options") {
		t.Errorf("an old reference: %q", got)
	}
	if got := check(true); got != "" {
		t.Errorf("update: %q", got)
	}
	got, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(got), "# Title\n<!-- options -->\n\n| Option |") || !strings.Contains(string(got), "`S_PORT`") || !strings.HasSuffix(string(got), " |\n\n<!-- end of options -->\nrest\n") {
		t.Errorf("updated file: %s, %v", got, err)
	}
	if got := check(false); got != "" {
		t.Errorf("a fresh reference: %q", got)
	}
}
