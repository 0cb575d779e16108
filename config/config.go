// Package config loads typed, documented options from flags, the environment and files.
//
// A component declares its options next to the fields they fill. The one declaration drives lookup,
// error messages, the command line, the generated reference and the dump of effective values:
//
//	func (c *Collector) Options(s *config.Spec) {
//		config.Var(s, &c.Listen, "listen", config.Addr, config.Default("127.0.0.1:8080"), config.Doc("Address to listen on."))
//		s.Group("limits", &c.Limits)
//	}
//
// Load asks the sources in order, highest precedence first, for the key and then for its alternates.
// An empty value counts as not set: the search goes on (as in Everett since 3.2). It reports every
// problem of a configuration at once and never prints the text of a secret.
//
// A mistake in a declaration is a programmer's error and panics. Nothing here is global; a Spec and
// what it fills belong to one goroutine while they load.
package config

import (
	"fmt"
	"slices"
	"strings"
)

// Component is anything with options. Options declares them, and only that: it runs whenever options
// are listed, also without loading, and must declare the same each time.
type Component interface{ Options(s *Spec) }

// Key names an option. Namespace and Name are lower snake case.
type Key struct {
	Namespace []string
	Name      string
}

func (k Key) join(sep string) string {
	return strings.Join(append(slices.Clone(k.Namespace), k.Name), sep)
}

// String returns the spelling of files and maps: "metrics.backends".
func (k Key) String() string { return k.join(".") }

// Env returns the spelling of the environment, without a prefix: "METRICS_BACKENDS".
func (k Key) Env() string { return strings.ToUpper(k.join("_")) }

// Flag returns the spelling of the command line, without dashes: "metrics-backends".
func (k Key) Flag() string { return strings.ReplaceAll(k.join("-"), "_", "-") }

// Option describes a declared option.
type Option struct {
	Key      Key
	Alt      []Key  // looked up in order when Key is not set
	Type     string // name of the parser: "int"
	Syntax   string // what the parser accepts, for people; may be empty
	Doc      string
	Default  string // meaningful unless Required
	Example  string
	Short    string // one-letter flag, without dash; may be empty
	Required bool   // no default was given
	Secret   bool
	FlagOnly bool // exists on the command line only
	IsBool   bool // fills a bool: its flag needs no value
}

// Spec collects options in the order of their declaration.
type Spec struct {
	namespace []string
	all       *[]*declaration // shared with the groups
}

type declaration struct {
	Option
	checks []any                               // of type func(T) error
	parse  func(text string, store bool) error // parses, checks, and fills the destination
}

// Var declares the option key, which fills dst. Without Default the option is required.
func Var[T any](s *Spec, dst *T, key string, p Parser[T], opts ...Opt) {
	d := &declaration{Option: Option{Key: Key{s.namespace, key}, Type: p.Name, Syntax: p.Syntax, Required: true}}
	switch any(dst).(type) {
	case *bool, **bool:
		d.IsBool = true
	}
	for _, o := range opts {
		o(d)
	}
	var checks []func(T) error
	for _, c := range d.checks {
		f, ok := c.(func(T) error)
		if !ok {
			d.panic(fmt.Sprintf("its check is a %T, want %T", c, f))
		}
		checks = append(checks, f)
	}
	d.parse = func(text string, store bool) error {
		v, err := p.Parse(text)
		if err != nil {
			return err
		}
		for _, check := range checks {
			if err := check(v); err != nil {
				return err
			}
		}
		if store {
			*dst = v
		}
		return nil
	}
	if dst == nil {
		d.panic("nothing to fill")
	}
	s.declare(d)
}

// Group declares the options of c under the namespace ns; an empty ns adds none.
func (s *Spec) Group(ns string, c Component) {
	sub := &Spec{s.namespace, s.all}
	if ns != "" {
		if !isSnake(ns) {
			panic(fmt.Sprintf("config: namespace %q is not lower snake case", ns))
		}
		sub.namespace = append(slices.Clone(s.namespace), ns)
	}
	c.Options(sub)
}

func (s *Spec) declare(d *declaration) {
	names := append([]Key{d.Key}, d.Alt...)
	for i, k := range names {
		for _, part := range append(slices.Clone(k.Namespace), k.Name) {
			if !isSnake(part) {
				d.panic(fmt.Sprintf("%q is not lower snake case", part))
			}
		}
		for _, other := range names[:i] {
			if other.Env() == k.Env() {
				d.panic(fmt.Sprintf("has the key %s twice", k))
			}
		}
	}
	if d.Short != "" && (len(d.Short) != 1 || !isLetter(d.Short[0])) {
		d.panic(fmt.Sprintf("short flag %q is not one letter", d.Short))
	}
	for _, o := range *s.all {
		// By environment name, since a.b_c and a_b.c are one variable and one flag.
		switch env, other := d.Key.Env(), o.Key.Env(); {
		case env == other:
			d.panic("declared twice")
		case d.Secret && env+fileSuffix == other, o.Secret && other+fileSuffix == env:
			d.panic(fmt.Sprintf("%s and its secret's file have one name", o.Key))
		case d.Short != "" && d.Short == o.Short:
			d.panic(fmt.Sprintf("short flag %q belongs to %s", d.Short, o.Key))
		}
	}
	if !d.Required {
		if err := d.parse(d.Default, false); err != nil {
			d.panic(fmt.Sprintf("default %q %v", d.Default, err))
		}
	}
	*s.all = append(*s.all, d)
}

func (d *declaration) panic(why string) { panic(fmt.Sprintf("config: option %s: %s", d.Key, why)) }

func declarations(root Component) []*declaration {
	var all []*declaration
	root.Options(&Spec{all: &all})
	return all
}

// Options returns the options of root in the order of their declaration, without loading any.
func Options(root Component) []Option {
	var out []Option
	for _, d := range declarations(root) {
		out = append(out, d.Option)
	}
	return out
}

// isSnake reports whether s is lower-case words joined by single underscores.
func isSnake(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9' && i > 0:
		case c == '_' && i > 0 && i < len(s)-1 && s[i-1] != '_':
		default:
			return false
		}
	}
	return s != ""
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
