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
// The error, if any, is an Errors with every problem in the order of declaration. The report is
// complete even then; the destinations of options with a problem are left alone.
func Load(root Component, o LoadOptions) (*Report, error) {
	r := &Report{}
	var errs Errors
	for _, d := range declarations(root) {
		s, problem := load(d, o.Sources)
		if s.Secret && s.Text != "" {
			s.Text = "*****" // so that no way of printing the report shows it
		}
		r.settings = append(r.settings, s)
		if problem != nil {
			problem.reference = o.Reference
			errs = append(errs, problem)
		}
	}
	if len(errs) > 0 {
		return r, errs
	}
	return r, nil
}

// setting is what was found for one option.
type setting struct {
	Option
	Value
	label  string // how a person sets the option
	source string // empty: nothing set
}

func load(d *declaration, sources []Source) (setting, *Error) {
	s := setting{Option: d.Option}
	var asked []Source
	for _, src := range sources {
		if _, isFlags := src.(flags); isFlags || !d.FlagOnly {
			asked = append(asked, src)
		}
	}
	if len(asked) == 0 && d.FlagOnly {
		asked = []Source{flags(nil)}
	}
	// An option that is not set goes by its name in the environment, else in the first source.
	home := Map("", nil)
	if i := slices.IndexFunc(asked, isEnv); i >= 0 {
		home = asked[i]
	} else if len(asked) > 0 {
		home = asked[0]
	}
	s.label = spell(home, d.Key)
	src, v, err := find(d, asked)
	e := &Error{Option: d.Option, Name: s.label, stated: s.label}
	switch {
	case src != nil:
		s.Value, s.source = v, src.Name()
		if err == nil {
			err = d.parse(v.Text, true)
			if err != nil && d.Secret {
				err = errHidden // whatever the parser says may quote the text
			}
		}
		if err == nil {
			return s, nil
		}
		e.Name, e.Source, e.Pos, e.Err, e.stated = v.Name, src.Name(), v.Pos, err, spell(src, d.Key)
		if !d.Secret {
			e.Text = v.Text
		}
		e.Fix = fix(&d.Option, src, e.stated)
		return s, e
	case d.Required:
		e.Err = ErrMissing
		for _, src := range asked {
			e.LookedIn = append(e.LookedIn, src.Name())
		}
		for _, k := range d.Alt {
			e.AlsoTried = append(e.AlsoTried, spell(home, k))
		}
		e.Fix = fix(&d.Option, home, s.label)
		return s, e
	}
	s.Text = d.Default
	_ = d.parse(d.Default, true) // it was accepted at declaration
	return s, nil
}

// find returns the first non-empty value and its source, or a nil source. An error concerns a secret's file.
func find(d *declaration, sources []Source) (Source, Value, error) {
	for _, key := range append([]Key{d.Key}, d.Alt...) {
		for _, src := range sources {
			if v, ok := src.Lookup(key); ok && v.Text != "" {
				return src, v, nil
			}
			e, ok := src.(*env)
			if !ok || !d.Secret {
				continue
			}
			if v, ok := e.lookup(e.prefix + key.Env() + fileSuffix); ok && v.Text != "" {
				text, err := readSecret(v.Text)
				v.Text = text
				return src, v, err
			}
		}
	}
	return nil, Value{}, nil
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

func isEnv(src Source) bool {
	_, ok := src.(*env)
	return ok
}

// fix returns what to do to set o, called name in src, or "" where there is no example.
func fix(o *Option, src Source, name string) string {
	example := o.Example
	if example == "" && !o.Required {
		example = o.Default
	}
	_, isFlag := src.(flags)
	switch {
	case o.Secret && isEnv(src):
		return fmt.Sprintf("set %s, or %s%s to the path of a file that holds it", name, name, fileSuffix)
	case o.Secret || example == "":
		return ""
	case isFlag:
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
type Report struct{ settings []setting }

// Options returns the declared options in order.
func (r *Report) Options() []Option {
	var out []Option
	for _, s := range r.settings {
		out = append(out, s.Option)
	}
	return out
}

// Runtime writes the effective values, one "NAME=value  # source" a line in the order of declaration.
// Secrets appear as asterisks. It returns the first error of w.
func (r *Report) Runtime(w io.Writer) error {
	for _, s := range r.settings {
		text, source := s.Text, s.source
		if strings.ContainsFunc(text, unicode.IsControl) {
			text = strconv.Quote(text)
		}
		switch {
		case source == "" && s.Required:
			source = "required, not set"
		case source == "":
			source = "default"
		case s.Pos != "":
			source += ", " + s.Pos
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
