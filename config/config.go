package config

import (
	"fmt"
	"maps"
	"reflect"
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

// MarshalText returns String.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

func (k Key) file() Key { return Key{k.Namespace, k.Name + "_file"} } // see Secret

func (k Key) join(sep string) string {
	if len(k.Namespace) == 0 {
		return k.Name
	}
	return strings.Join(k.Namespace, sep) + sep + k.Name
}

// String returns the spelling of files and maps: "metrics.backends".
func (k Key) String() string { return k.join(".") }

// Env returns the spelling of the environment, without a prefix: "METRICS_BACKENDS".
func (k Key) Env() string { return k.variable("") }

func (k Key) variable(prefix string) string {
	b := append(make([]byte, 0, 64), prefix...) // on the stack: this runs most
	for _, part := range k.Namespace {
		b = append(append(b, part...), '_')
	}
	b = append(b, k.Name...)
	foldBytes(b[len(prefix):])
	return string(b)
}

// Flag returns the spelling of the command line, without dashes: "metrics-backends".
func (k Key) Flag() string { return strings.ReplaceAll(k.join("-"), "_", "-") }

// Option describes a declared option.
type Option struct {
	Key        Key         `json:"key"`
	Alt        []Key       `json:"alternates,omitempty"` // looked up in order when Key is not set
	Deprecated []Key       `json:"deprecated,omitempty"` // looked up after them
	When       []Condition `json:"when,omitempty"`       // all must hold, or the option does not count
	Type       string      `json:"type"`                 // name of the parser: "int"
	Syntax     string      `json:"syntax,omitempty"`     // what the parser accepts, for people; may be empty
	Values     []string    `json:"values,omitempty"`     // texts to offer when the shell completes
	Doc        string      `json:"doc"`
	Default    string      `json:"default"` // meaningful unless Required
	Example    string      `json:"example,omitempty"`
	Short      string      `json:"short,omitempty"` // one-letter flag, without dash; may be empty
	Required   bool        `json:"required"`        // no default was given
	Secret     bool        `json:"secret"`
	FlagOnly   bool        `json:"-"` // exists on the command line only
	IsBool     bool        `json:"-"` // fills a bool: its flag needs no value
}

// Condition says that a component was chosen: the option Key, declared by Choose, has the value Value.
type Condition struct {
	Key   Key    `json:"key"`
	Value string `json:"value"`
}

// Spec collects options in the order of their declaration.
type Spec struct {
	namespace []string
	when      []Condition
	declared  *declarations // shared with the groups
}

type declarations struct {
	all     []*declaration
	byEnv   map[string]*declaration // by Key.Env, since a.b_c and a_b.c are one variable and one flag
	byShort map[string]*declaration
}

type declaration struct {
	Option
	keys     []Key // Key, Alt, Deprecated
	isMap    bool
	isChoice bool                                // declared by Choose
	checks   []any                               // of type func(T) error
	parse    func(text string, store bool) error // parses, checks, and fills the destination
}

// Var declares the option key, which fills dst. Without Default the option is required.
func Var[T any](s *Spec, dst *T, key string, p Parser[T], opts ...Opt) {
	d := &declaration{Option: Option{Key: Key{s.namespace, key}, When: s.when, Type: p.Name, Syntax: p.Syntax, Values: p.Values, Required: true}}
	d.isMap = reflect.TypeFor[T]().Kind() == reflect.Map
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
	sub := &Spec{s.namespace, s.when, s.declared}
	if ns != "" {
		if !isSnake(ns) {
			panic(fmt.Sprintf("config: namespace %q is not lower snake case", ns))
		}
		sub.namespace = append(slices.Clone(s.namespace), ns)
	}
	c.Options(sub)
}

// Choose declares the option key, whose value is the name of one of the given components, and under each
// name the options of that component. Load fills those of the chosen one and makes dst that component; the
// others are documented, but neither required nor loaded. The key "kind" in the group "storage", with
// components fs and s3, gives storage.kind, storage.fs.path, storage.s3.bucket.
func Choose[T Component](s *Spec, dst *T, key string, components map[string]T, opts ...Opt) {
	names := slices.Sorted(maps.Keys(components))
	choice := Choice(String, names...)
	Var(s, dst, key, Parser[T]{Name: "name", Syntax: choice.Syntax, Values: names, Parse: func(text string) (T, error) {
		name, err := choice.Parse(text)
		return components[name], err
	}}, opts...)
	s.declared.all[len(s.declared.all)-1].isChoice = true
	for _, name := range names {
		chosen := append(slices.Clone(s.when), Condition{Key{s.namespace, key}, name})
		(&Spec{s.namespace, chosen, s.declared}).Group(name, components[name])
	}
}

func (s *Spec) declare(d *declaration) {
	d.keys = slices.Concat([]Key{d.Key}, d.Alt, d.Deprecated)
	for i, k := range d.keys {
		for _, part := range append(slices.Clone(k.Namespace), k.Name) {
			if !isSnake(part) {
				d.panic(fmt.Sprintf("%q is not lower snake case", part))
			}
		}
		for _, other := range d.keys[:i] {
			if other.Env() == k.Env() {
				d.panic(fmt.Sprintf("has the key %s twice", k))
			}
		}
	}
	if d.Short != "" && (len(d.Short) != 1 || !isLetter(d.Short[0])) {
		d.panic(fmt.Sprintf("short flag %q is not one letter", d.Short))
	}
	known := s.declared
	env, file := d.Key.Env(), d.Key.file().Env()
	secret := known.byEnv[strings.TrimSuffix(env, "_FILE")]
	switch other := known.byShort[d.Short]; {
	case known.byEnv[env] != nil:
		d.panic("declared twice")
	case d.Secret && known.byEnv[file] != nil, secret != nil && secret.Secret:
		d.panic("a secret's file and another option have one name")
	case d.Short != "" && other != nil:
		d.panic(fmt.Sprintf("short flag %q belongs to %s", d.Short, other.Key))
	}
	if !d.Required {
		if err := d.parse(d.Default, false); err != nil {
			d.panic(fmt.Sprintf("default %q %v", d.Default, err))
		}
	}
	known.all = append(known.all, d)
	known.byEnv[env], known.byShort[d.Short] = d, d
}

func (d *declaration) panic(why string) { panic(fmt.Sprintf("config: option %s: %s", d.Key, why)) }

func declare(root Component) []*declaration {
	s := &Spec{declared: &declarations{byEnv: map[string]*declaration{}, byShort: map[string]*declaration{}}}
	root.Options(s)
	return s.declared.all
}

// Options returns the options of root in the order of their declaration, without loading any.
func Options(root Component) []Option {
	var out []Option
	for _, d := range declare(root) {
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
