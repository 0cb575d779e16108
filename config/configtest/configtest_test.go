package configtest_test

import (
	"errors"
	"fmt"
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
		"prot is no option":        func(t testing.TB) { configtest.Load(t, &o, map[string]string{"prot": "1"}) },
		"succeeded, want problems": func(t testing.TB) { configtest.MustFail(t, &o, map[string]string{"port": "1"}) },
	} {
		if got := failure(f); !strings.Contains(got, want) {
			t.Errorf("failure %q, want %q in it", got, want)
		}
	}
}
