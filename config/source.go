package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Source is a place where options are set. Implementations must not log or print values.
type Source interface {
	// Name says where it is, for messages: "process environment", "file .env". It is never empty.
	Name() string
	// Lookup returns the text set for k and whether there is one. An empty text counts as none.
	Lookup(k Key) (Value, bool)
}

// Value is the text of a setting and its origin.
type Value struct {
	Text string
	Pos  string // place inside the source, as "line 3"; may be empty
	Name string // the setting as the person spelled it: "SALVAGE_LISTEN", "--listen"
}

const fileSuffix = "_FILE" // see Secret

// env is a source of variables, named by prefix and upper-case key.
type env struct {
	name, prefix string
	lookup       func(variable string) (Value, bool)
}

func (e *env) Name() string               { return e.name }
func (e *env) Lookup(k Key) (Value, bool) { return e.lookup(e.prefix + k.Env()) }

const processEnvironment = "process environment"

// Environ is the environment of the process: the option metrics.backends is, with prefix "SALVAGE_",
// the variable SALVAGE_METRICS_BACKENDS. It is read at Load.
func Environ(prefix string) Source {
	return &env{processEnvironment, prefix, func(name string) (Value, bool) {
		text, ok := os.LookupEnv(name)
		return Value{Text: text, Name: name}, ok
	}}
}

// EnvFile reads variables, named as by Environ, from a file of lines "NAME=value". A file that does not
// exist is an empty source.
//
// Lines that are empty or start with # are skipped, and "export " before a name is allowed. White space
// around name and value is dropped, then one pair of single or double quotes around the whole value.
// All else is taken as it is: there are no comments behind a value, no escapes, no continuation lines
// and no interpolation. Names match in any case; of several the last counts. The error names all
// lines that are no assignment, without quoting them.
func EnvFile(prefix, path string) (Source, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	vars := map[string]Value{}
	var errs []error
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
			continue
		case !isVariable(name):
			errs = append(errs, fmt.Errorf("%s, line %d: no variable name before =", path, line))
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '\'' || value[0] == '"') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		vars[strings.ToUpper(name)] = Value{Text: value, Pos: fmt.Sprintf("line %d", line), Name: name}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return &env{"file " + path, prefix, func(name string) (Value, bool) {
		v, ok := vars[strings.ToUpper(name)]
		return v, ok
	}}, nil
}

func isVariable(s string) bool {
	for i := range len(s) {
		if !isLetter(s[i]) && s[i] != '_' && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return s != ""
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

type flags map[string]string

// Flags is the command line: the flags that were given, by their name without dashes (Key.Flag). It
// retains m.
func Flags(m map[string]string) Source { return flags(m) }

func (f flags) Name() string { return "command line" }

func (f flags) Lookup(k Key) (Value, bool) {
	text, ok := f[k.Flag()]
	return Value{Text: text, Name: "--" + k.Flag()}, ok
}

// spell returns how a person sets k in src.
func spell(src Source, k Key) string {
	switch s := src.(type) {
	case *env:
		return s.prefix + k.Env()
	case flags:
		return "--" + k.Flag()
	}
	return k.String()
}
