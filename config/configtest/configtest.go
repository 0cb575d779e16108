// Package configtest loads configurations in tests.
package configtest

import (
	"errors"
	"testing"

	"salvage/config"
)

// Load fills the options of root from kv, whose keys are dotted ("metrics.backends"), flag-only options
// included. A problem, or a key that is no option, fails the test.
func Load(t testing.TB, root config.Component, kv map[string]string) *config.Report {
	t.Helper()
	r, err := load(t, root, kv)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// MustFail is Load for configurations with problems, which it returns. It fails the test if there are none.
func MustFail(t testing.TB, root config.Component, kv map[string]string) config.Errors {
	t.Helper()
	_, err := load(t, root, kv)
	problems, ok := errors.AsType[config.Errors](err)
	if !ok {
		t.Fatalf("Load with %v succeeded, want problems", kv)
	}
	return problems
}

func load(t testing.TB, root config.Component, kv map[string]string) (*config.Report, error) {
	t.Helper()
	known, flags := map[string]bool{}, map[string]string{}
	for _, o := range config.Options(root) {
		name := o.Key.String()
		known[name] = true
		for _, k := range o.Alt {
			known[k.String()] = true
		}
		if text, ok := kv[name]; ok && o.FlagOnly {
			flags[o.Key.Flag()] = text
		}
	}
	for k := range kv {
		if !known[k] {
			t.Fatalf("%s is no option", k)
		}
	}
	return config.Load(root, config.LoadOptions{Sources: []config.Source{config.Flags(flags), config.Map("test", kv)}})
}
