package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
)

// Source is a place where options are set. Implementations must not log or print values.
type Source interface {
	// Name says where it is, for messages: "process environment", "file .env". It is never empty.
	Name() string
	// Lookup returns the text set for k and whether there is one. An empty text counts as none. The
	// name of the Value is how k is spelled here, whether set or not; without one it is k.String().
	Lookup(k Key) (Value, bool)
}

// Value is the text of a setting and its origin.
type Value struct {
	Text string
	Pos  string // place inside the source, as "line 3"; may be empty
	Name string // the setting as the person spelled it: "SALVAGE_LISTEN", "--listen"
}

// Lister is a Source that knows all that is set in it, so that Load can report what is no option.
type Lister interface {
	Source
	List() []Value // texts may be missing
}

// env is a source of variables, named by prefix and upper-case key.
type env struct {
	name, prefix string
	lookup       func(variable string) (Value, bool)
	list         func() []Value // may hold more than those with the prefix
}

func (e *env) Name() string { return e.name }

func (e *env) Lookup(k Key) (Value, bool) {
	name := k.variable(e.prefix)
	v, ok := e.lookup(name)
	if !ok {
		v.Name = name
	}
	return v, ok
}

func (e *env) List() []Value {
	return slices.DeleteFunc(e.list(), func(v Value) bool { return !strings.HasPrefix(fold(v.Name), fold(e.prefix)) })
}

const processEnvironment = "process environment"

// Environ is the environment of the process: the option metrics.backends is, with prefix "SALVAGE_",
// the variable SALVAGE_METRICS_BACKENDS. It is read at Load. A variable that is no option, but nearly one,
// makes a warning.
func Environ(prefix string) Source {
	foldCase := runtime.GOOS == "windows" // where names match in any case
	if foldCase {
		prefix = strings.ToUpper(prefix)
	}
	return &env{processEnvironment, prefix, func(name string) (Value, bool) {
		text, ok := os.LookupEnv(name)
		return Value{Text: text, Name: name}, ok
	}, func() (all []Value) {
		for _, s := range os.Environ() {
			name, _, _ := strings.Cut(s, "=")
			if foldCase {
				name = strings.ToUpper(name)
			}
			all = append(all, Value{Name: name})
		}
		return all
	}}
}

// EnvFile reads variables, named as by Environ, from a file of lines "NAME=value". A file that does not
// exist is an empty source.
//
// Lines that are empty or start with # are skipped, and "export " before a name is allowed. White space
// around name and value is dropped, then one pair of single or double quotes around the whole value.
// All else is taken as it is: there are no comments behind a value, no escapes, no continuation lines
// and no interpolation. Names match in any case; of several the last counts.
//
// The error names all lines that are no assignment, without quoting them. The source that comes with it
// has the others, so that one Load reports everything.
func EnvFile(prefix, path string) (Source, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	errs := []error{err}
	vars := map[string]Value{}
	line := 0
	for raw := range strings.Lines(string(bytes.TrimPrefix(data, []byte("\ufeff")))) {
		line++
		text := strings.TrimSpace(raw)
		if text == "" || text[0] == '#' {
			continue
		}
		if rest, ok := strings.CutPrefix(text, "export"); ok && strings.TrimLeft(rest, " \t") != rest {
			text = strings.TrimSpace(rest)
		}
		name, value, ok := strings.Cut(text, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s, line %d: no = operator", path, line))
		case !isVariable(name):
			errs = append(errs, fmt.Errorf("%s, line %d: no variable name before =", path, line))
		default:
			vars[fold(name)] = Value{Text: Unquote(value), Pos: fmt.Sprintf("line %d", line), Name: name}
		}
	}
	return &env{"file " + path, prefix, func(name string) (Value, bool) {
		v, ok := vars[fold(name)]
		return v, ok
	}, func() []Value {
		return slices.SortedFunc(maps.Values(vars), func(a, b Value) int { return strings.Compare(a.Name, b.Name) })
	}}, errors.Join(errs...)
}

// Unquote returns s without one pair of single or double quotes around it, if there is one.
func Unquote(s string) string {
	if n := len(s); n >= 2 && (s[0] == '\'' || s[0] == '"') && s[n-1] == s[0] {
		return s[1 : n-1]
	}
	return s
}

func isVariable(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && s[i] != '_' && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return s != ""
}

// fold returns s in the spelling of variables; names that fold alike are the same.
func fold(s string) string {
	b := []byte(s)
	foldBytes(b)
	return string(b)
}

func foldBytes(b []byte) {
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z':
			b[i] = c - 'a' + 'A'
		case c == '.' || c == '-':
			b[i] = '_'
		}
	}
}

type mapSource struct {
	name string
	m    map[string]string
}

// Map is a source over m, whose keys are dotted: "metrics.backends". It retains m.
func Map(name string, m map[string]string) Source { return mapSource{name, m} }

func (s mapSource) Name() string { return s.name }

func (s mapSource) Lookup(k Key) (Value, bool) {
	text, ok := s.m[k.String()]
	return Value{Text: text, Name: k.String()}, ok
}

func (s mapSource) List() (all []Value) {
	for _, name := range slices.Sorted(maps.Keys(s.m)) {
		all = append(all, Value{Name: name})
	}
	return all
}

// settings is a source whose names fold.
type settings struct {
	name   string
	values []Value
	byName map[string]Value
}

// Settings is a source over values whose names are dotted: what the reader of a file format returns. Names
// match in any case, and "." "_" "-" are one: collector_rate, at the top of a file, is collector.rate. The
// error names each value whose name was there before.
func Settings(name string, values []Value) (Source, error) {
	s := &settings{name: name, byName: map[string]Value{}}
	var errs []error
	for _, v := range values {
		if first, twice := s.byName[fold(v.Name)]; twice {
			errs = append(errs, fmt.Errorf("%s, %s: %s was set before: %s", name, v.Pos, v.Name, first.Pos))
			continue
		}
		s.byName[fold(v.Name)] = v
		s.values = append(s.values, v)
	}
	return s, errors.Join(errs...)
}

func (s *settings) Name() string  { return s.name }
func (s *settings) List() []Value { return s.values }

func (s *settings) Lookup(k Key) (Value, bool) {
	v, ok := s.byName[k.Env()]
	if !ok {
		v.Name = k.String()
	}
	return v, ok
}

// under returns what stands below k, as the text of a map.
func (s *settings) under(k Key) (Value, bool) {
	out := Value{Name: k.String()}
	for _, v := range s.values {
		if name, ok := cutNamespace(v.Name, out.Name); ok {
			out.Text += name + "=" + v.Text + "\n"
			if out.Pos == "" {
				out.Pos = v.Pos
			}
		}
	}
	return out, out.Text != ""
}

func cutNamespace(name, namespace string) (string, bool) {
	n := len(namespace)
	if len(name) <= n+1 || name[n] != '.' || fold(name[:n]) != fold(namespace) {
		return name, false
	}
	return name[n+1:], true
}

type flags map[string]string

// Flags is the command line: the flags that were given, by their name without dashes (Key.Flag). It
// retains m.
func Flags(m map[string]string) Source { return flags(m) }

func (f flags) Name() string { return "command line" }

func (f flags) Lookup(k Key) (Value, bool) {
	text, ok := f[k.Flag()]
	return Value{Text: text, Name: "--" + k.Flag()}, ok
}

// FlagSet defines a flag in set for each option of root but the secrets, since others can read command
// lines. After set.Parse, the source it returns has the flags that were given.
func FlagSet(set *flag.FlagSet, root Component) Source {
	given := flags{}
	for _, o := range Options(root) {
		store := func(text string) error {
			given[o.Key.Flag()] = text
			return nil
		}
		usage := o.Doc
		if o.Default != "" {
			usage += " (default " + o.Default + ")"
		}
		for _, name := range []string{o.Key.Flag(), o.Short} {
			switch {
			case o.Secret || name == "":
			case o.IsBool:
				set.BoolFunc(name, usage, store)
			default:
				set.Func(name, usage, store)
			}
		}
	}
	return given
}
