package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// LoadOptions says where Load looks.
type LoadOptions struct {
	Sources   []Source // highest precedence first
	Reference string   // where the options are documented, named at the end of an error; may be empty
}

// Load fills the options of root. For each it asks all sources for the key, then all for the first
// alternate, and so on; a value nobody set is the default.
//
// The error, if any, is an Errors with every problem in the order of declaration, then every setting that
// is no option. For variables, which may be meant for others, there is only a warning, and only where the
// name is nearly that of an option. The report is complete even then; the destinations of options with a
// problem are left alone.
func Load(root Component, o LoadOptions) (*Report, error) {
	var errs Errors
	all := declare(root)
	r := &Report{settings: make([]setting, 0, len(all))}
	strays := strays(all, o.Sources)
	chosen := map[string]setting{} // of Choose, by Key.Env
	for _, d := range all {
		unmet := func(c Condition) bool { return strings.TrimSpace(chosen[c.Key.Env()].Text) != c.Value }
		if slices.ContainsFunc(d.When, unmet) {
			continue
		}
		s, problem := load(d, o.Sources)
		if problem == nil && d.isChoice {
			chosen[d.Key.Env()] = s
		}
		if s.Secret && s.Text != "" {
			s.Text = "*****" // so that no way of printing the report shows it
		}
		r.settings = append(r.settings, s)
		if s.instead != "" {
			r.Warnings = append(r.Warnings, Warning{s.Name, s.source, s.Pos, s.instead, ErrDeprecated})
		}
		if problem == nil {
			continue
		}
		if n := len(d.When); n > 0 {
			selector := chosen[d.When[n-1].Key.Env()]
			problem.Because = fmt.Sprintf("%s is %s (%s)", selector.label, d.When[n-1].Value, selector.origin())
		}
		for _, stray := range strays {
			if stray.option == d && problem.Err == ErrMissing {
				problem.Similar = append(problem.Similar, stray.Name+" ("+joinNonEmpty(stray.Source, ", ", stray.Pos)+")")
			}
		}
		errs = append(errs, problem)
	}
	for _, stray := range strays {
		if stray.variable {
			r.Warnings = append(r.Warnings, stray.Warning)
			continue
		}
		e := &Error{Name: stray.Name, Source: stray.Source, Pos: stray.Pos, Err: ErrUnknown}
		if stray.Instead != "" {
			e.Fix = "did you mean " + stray.Instead + "?"
		}
		errs = append(errs, e)
	}
	if len(errs) > 0 {
		for _, e := range errs {
			e.reference = o.Reference
		}
		return r, errs
	}
	return r, nil
}

// setting is what was found for one option.
type setting struct {
	*Option
	Value
	label   string // how a person sets the option
	source  string // empty: nothing set
	instead string // the name to use if this one is deprecated
}

// origin says where the value comes from.
func (s *setting) origin() string {
	switch {
	case s.source != "":
		return joinNonEmpty(s.source, ", ", s.Pos)
	case s.Required:
		return ErrMissing.Error()
	}
	return "default"
}

func load(d *declaration, sources []Source) (setting, *Error) {
	s := setting{Option: &d.Option}
	asked := sources
	if d.FlagOnly {
		asked = slices.DeleteFunc(slices.Clone(sources), func(src Source) bool { return !isFlags(src) })
		asked = append(asked, flags(nil))[:max(len(asked), 1)]
	}
	// An option that is not set goes by its name in the environment, else in the first source.
	var home Source = mapSource{}
	if i := slices.IndexFunc(asked, isEnv); i >= 0 {
		home = asked[i]
	} else if len(asked) > 0 {
		home = asked[0]
	}
	s.label = spell(home, d.Key)
	src, v, nth, err := find(d, asked)
	if src != nil {
		s.Value, s.source = v, src.Name()
		if nth > len(d.Alt) {
			s.instead = spell(src, d.Key)
		}
		if err == nil {
			err = d.parse(v.Text, true)
			if err != nil && d.Secret {
				err = errHidden // whatever the parser says may quote the text
			}
		}
		if err == nil {
			return s, nil
		}
		e := &Error{Option: d.Option, Name: v.Name, Source: s.source, Pos: v.Pos, Err: err, Fix: fix(&d.Option, src)}
		if nth > 0 {
			e.StandsFor = spell(src, d.Key)
		}
		if !d.Secret {
			e.Text = v.Text
		}
		return s, e
	}
	if !d.Required {
		s.Text = d.Default
		_ = d.parse(d.Default, true) // it was accepted at declaration
		return s, nil
	}
	e := &Error{Option: d.Option, Name: s.label, Err: ErrMissing, Fix: fix(&d.Option, home)}
	var ways []string
	for _, src := range asked {
		e.LookedIn = append(e.LookedIn, src.Name())
		if name := spell(src, d.Key); !slices.Contains(ways, name) {
			ways = append(ways, name)
		}
	}
	if e.Fix == "" && len(ways) > 0 {
		e.Fix = "set " + strings.Join(ways, " or ")
	}
	for nth, k := range d.keys[1:] {
		name := spell(home, k)
		if nth >= len(d.Alt) {
			name += " (deprecated)"
		}
		e.AlsoTried = append(e.AlsoTried, name)
	}
	return s, e
}

// find returns the first non-empty value, its source, or a nil one, and which of the option's keys it stood
// under. An error concerns a secret's file.
func find(d *declaration, sources []Source) (Source, Value, int, error) {
	for nth, key := range d.keys {
		for _, src := range sources {
			if v, ok := lookup(src, key); ok {
				return src, v, nth, nil
			}
			if d.Secret {
				if v, ok := lookup(src, key.file()); ok {
					text, err := readSecret(v.Text)
					v.Text = text
					return src, v, nth, err
				}
			}
			if file, ok := src.(*settings); ok && d.isMap {
				if v, ok := file.under(key); ok {
					return src, v, nth, nil
				}
			}
		}
	}
	return nil, Value{}, 0, nil
}

// readSecret does not repeat the path in errors: it may be the secret, put into the wrong variable.
func readSecret(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return "", fmt.Errorf("the file it names cannot be read: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return "", errors.New("the file it names is empty")
	}
	return text, nil
}

func isFlags(src Source) bool {
	_, ok := src.(flags)
	return ok
}

func isEnv(src Source) bool {
	_, ok := src.(*env)
	return ok
}

// lookup asks src; an empty text is none. There is always a name.
func lookup(src Source, k Key) (Value, bool) {
	v, ok := src.Lookup(k)
	if v.Name == "" {
		v.Name = k.String()
	}
	return v, ok && v.Text != ""
}

// spell returns how a person sets k in src.
func spell(src Source, k Key) string {
	v, _ := lookup(src, k)
	return v.Name
}

// fix returns what to do to set o in src, or "" where there is no example.
func fix(o *Option, src Source) string {
	name, example := spell(src, o.Key), o.Example
	if example == "" && !o.Required {
		example = o.Default
	}
	switch {
	case o.Secret && !isFlags(src):
		return fmt.Sprintf("set %s, or %s to the path of a file that holds it", name, spell(src, o.Key.file()))
	case o.Secret || example == "":
		return ""
	case isFlags(src):
		return name + "=" + shellQuote(example)
	case src.Name() == processEnvironment:
		return "export " + name + "=" + shellQuote(example)
	}
	return fmt.Sprintf("set %s to %s", name, example)
}

func shellQuote(s string) string {
	if !strings.ContainsAny(s, " \t\n\"'`$&|;<>()*?[]#~!{}\\") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Report is the outcome of a Load.
type Report struct {
	Warnings []Warning
	settings []setting
}

// Runtime writes the effective values, one "NAME=value  # source" a line in the order of declaration.
// Secrets appear as asterisks; components that were not chosen do not appear. It returns the first error of w.
func (r *Report) Runtime(w io.Writer) error {
	for _, s := range r.settings {
		text, source := s.Text, s.origin()
		if strings.ContainsFunc(text, unicode.IsControl) {
			text = strconv.Quote(text)
		}
		if s.Name != "" && s.Name != s.label {
			source += " (" + s.Name + ")"
		}
		if _, err := fmt.Fprintf(w, "%s=%s  # %s\n", s.label, text, source); err != nil {
			return err
		}
	}
	return nil
}
