// Package configtest loads configurations in tests. It needs no environment and no globals, so tests may be
// parallel.
package configtest

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"salvage/config"
)

// Load fills the options of root from kv, whose keys are dotted ("metrics.backends"), flag-only options
// included. A problem, or a key that is no option, fails the test.
func Load(t testing.TB, root config.Component, kv map[string]string) *config.Report {
	t.Helper()
	r, err := config.Load(root, config.LoadOptions{Sources: sources(root, kv)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// MustFail is Load for configurations with problems, which it returns. It fails the test if there are none,
// or if keys are given and the problems are not those of these keys, in the order of declaration. A key of
// kv that is no option is a problem only if it is among keys.
func MustFail(t testing.TB, root config.Component, kv map[string]string, keys ...string) config.Errors {
	t.Helper()
	_, err := config.Load(root, config.LoadOptions{Sources: sources(root, kv)})
	problems, ok := errors.AsType[config.Errors](err)
	if !ok {
		t.Fatalf("Load with %v succeeded, want problems", kv)
	}
	var got []string
	for _, p := range problems {
		name := p.Option.Key.String()
		if p.Err == config.ErrUnknown {
			name = p.Name
			if len(keys) == 0 {
				t.Fatal(p)
			}
		}
		got = append(got, name)
	}
	if len(keys) > 0 && !slices.Equal(got, keys) {
		t.Fatalf("problems with %q, want %q: %v", got, keys, err)
	}
	return problems
}

func sources(root config.Component, kv map[string]string) []config.Source {
	flags, others := map[string]string{}, map[string]string{}
	flagOnly := map[string]string{}
	for _, o := range config.Options(root) {
		if o.FlagOnly {
			flagOnly[o.Key.String()] = o.Key.Flag()
		}
	}
	for name, text := range kv {
		if flag := flagOnly[name]; flag != "" {
			flags[flag] = text
		} else {
			others[name] = text
		}
	}
	return []config.Source{config.Map("test", others), config.Flags(flags)}
}

// Override returns base with kv, whose keys are dotted, before it: for a test that takes the program's
// sources but for some options. It leaves base as it is.
func Override(base []config.Source, kv map[string]string) []config.Source {
	return append([]config.Source{config.Map("test", kv)}, base...)
}

// The reference stands between these lines of a Markdown file.
const begin, end = "<!-- options -->\n", "<!-- end of options -->\n"

// DocsUpToDate fails the test unless the Markdown file at path has, between its lines
// "<!-- options -->" and "<!-- end of options -->", the reference of root. With update, it writes it there.
func DocsUpToDate(t testing.TB, path string, root config.Component, envPrefix string, update bool) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	have, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s: no lines %q and %q", path, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	var b strings.Builder
	_ = config.WriteMarkdown(&b, root, envPrefix) // a Builder takes everything
	want := "\n" + b.String() + "\n"
	switch {
	case have == want:
	case update:
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s is not as the program declares its options; update it.\nIt has:%s\nwant:%s", path, have, want)
	}
}
