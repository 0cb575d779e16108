package config

import (
	"errors"
	"fmt"
	"strings"
)

// Causes besides those of parsers and checks.
var (
	ErrMissing    = errors.New("required, not set") // the option is set nowhere
	ErrUnknown    = errors.New("is no option")      // the setting belongs to no option
	ErrDeprecated = errors.New("is deprecated")     // only of a Warning
)

var errHidden = errors.New("is not accepted")

// Error is a problem with one option. It holds no text of a secret.
type Error struct {
	Option    Option   // zero with ErrUnknown
	Name      string   // the setting as the person spelled it, or would
	Source    string   // where it is set; empty if nowhere
	Pos       string   // place inside Source; may be empty
	Text      string   // what it is set to; empty for secrets
	StandsFor string   // the option's own name in Source, if Name is an alternate
	LookedIn  []string // sources asked, if it is set nowhere
	AlsoTried []string // alternates asked, if it is set nowhere
	Similar   []string // what else is set that may have been meant, if it is set nowhere
	Because   string   // the choice that makes the option count; may be empty
	Fix       string   // what to do about it; may be empty
	Err       error    // of the parser or the check, or one of the causes above

	reference string
}

func (e *Error) Unwrap() error { return e.Err }

// Error returns a block of lines: what is wrong, where, what is expected, and a way out.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Source == "" || e.Err == ErrUnknown || e.Option.Secret && e.Err != errHidden:
		fmt.Fprintf(&b, "%s: %v", e.Name, e.Err)
	case e.Option.Secret:
		fmt.Fprintf(&b, "%s: the value (a secret, not shown) %v", e.Name, e.Err)
	default:
		fmt.Fprintf(&b, "%s: %q %v", e.Name, e.Text, e.Err)
	}
	line := func(label, text string) {
		if text != "" {
			text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+strings.Repeat(" ", 12))
			fmt.Fprintf(&b, "\n  %-9s %s", label+":", text)
		}
	}
	o := &e.Option
	line("set in", joinNonEmpty(e.Source, ", ", e.Pos))
	line("stands for", e.StandsFor)
	line("looked in", strings.Join(e.LookedIn, ", "))
	line("also tried", strings.Join(e.AlsoTried, ", "))
	line("similar", strings.Join(e.Similar, ", "))
	expects := joinNonEmpty(o.Type, ": ", o.Syntax)
	if o.Example != "" && !o.Secret {
		expects += " (example: " + o.Example + ")"
	}
	line("expects", expects)
	if !o.Required {
		line("default", o.Default)
	}
	line("about", o.Doc)
	line("because", e.Because)
	line("fix", e.Fix)
	return b.String()
}

// Errors is every problem of a configuration, in the order of declaration.
type Errors []*Error

// Error returns the blocks of all problems, separated by empty lines.
func (e Errors) Error() string {
	noun := "problems"
	if len(e) == 1 {
		noun = "problem"
	}
	parts := []string{fmt.Sprintf("configuration: %d %s", len(e), noun)}
	for _, p := range e {
		parts = append(parts, p.Error())
	}
	if len(e) > 0 && e[0].reference != "" {
		parts = append(parts, "Configuration reference: "+e[0].reference)
	}
	return strings.Join(parts, "\n\n")
}

// Unwrap returns the problems, for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, p := range e {
		out[i] = p
	}
	return out
}

// Warning is about a setting that works, or is ignored, and should be another.
type Warning struct {
	Name, Source, Pos string // as in Error
	Instead           string // what to set
	Err               error  // ErrDeprecated or ErrUnknown
}

// String returns one line.
func (w Warning) String() string {
	way := "use " + w.Instead
	if w.Err == ErrUnknown {
		way = "did you mean " + w.Instead + "?"
	}
	return fmt.Sprintf("%s (%s) %v; %s", w.Name, joinNonEmpty(w.Source, ", ", w.Pos), w.Err, way)
}

func joinNonEmpty(a, separator, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + separator + b
}
