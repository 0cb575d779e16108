package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// WriteMarkdown writes the reference of all options of root: one table, in the order of declaration.
// Equal declarations give equal bytes.
func WriteMarkdown(w io.Writer, root Component, envPrefix string) error {
	var b strings.Builder
	b.WriteString("| Option | Environment | Flag | Value | Default | About |\n|---|---|---|---|---|---|\n")
	for _, o := range Options(root) {
		name, variable, flag := "`"+o.Key.String()+"`", "`"+envPrefix+o.Key.Env()+"`", "`--"+o.Key.Flag()+"`"
		if o.FlagOnly {
			name, variable = "", ""
		} else if o.Secret {
			variable += ", or `" + envPrefix + o.Key.file().Env() + "`"
		}
		if o.Short != "" {
			flag = "`-" + o.Short + "`, " + flag
		}
		value := joinNonEmpty(o.Type, ": ", o.Syntax)
		if o.Example != "" {
			value += " (example: `" + o.Example + "`)"
		}
		def := "required"
		switch {
		case !o.Required && o.Default == "":
			def = "empty"
		case !o.Required:
			def = "`" + o.Default + "`"
		}
		var about []string
		for _, c := range o.When {
			about = append(about, "If `"+c.Key.String()+"` is `"+c.Value+"`:")
		}
		about = append(about, o.Doc)
		for _, k := range o.Alt {
			about = append(about, "Also read from `"+k.String()+"`.")
		}
		for _, k := range o.Deprecated {
			about = append(about, "Was `"+k.String()+"`, which is deprecated.")
		}
		if o.Secret {
			about = append(about, "Secret.")
		}
		cells := []string{name, variable, flag, value, def, strings.Join(about, " ")}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(c), " "), "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the reference of all options of root as an array of objects, in the order of declaration.
func WriteJSON(w io.Writer, root Component, envPrefix string) error {
	type option struct {
		Option
		Variable string `json:"variable,omitempty"`
		Flag     string `json:"flag"`
	}
	all := []option{}
	for _, o := range Options(root) {
		out := option{o, envPrefix + o.Key.Env(), o.Key.Flag()}
		if o.FlagOnly {
			out.Variable = ""
		}
		all = append(all, out)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(all)
}

// WriteEnv writes a sample for EnvFile. Required options stand there without a value, the others as
// comments, each with its default.
func WriteEnv(w io.Writer, root Component, envPrefix string) error {
	var b strings.Builder
	for _, o := range Options(root) {
		if o.FlagOnly {
			continue
		}
		about := joinNonEmpty(o.Doc, "\n", joinNonEmpty(o.Type, ": ", o.Syntax))
		if o.Example != "" {
			about += "\nExample: " + o.Example
		}
		if o.Secret {
			about += "\nOr set " + envPrefix + o.Key.file().Env() + " to the path of a file that holds it."
		}
		for _, c := range o.When {
			about += fmt.Sprintf("\nCounts only if %s is %s.", envPrefix+c.Key.Env(), c.Value)
		}
		comment, value := "#", o.Default
		switch {
		case o.Required && len(o.When) == 0:
			about, comment = about+"\nRequired.", ""
		case o.Required:
			about += "\nRequired then."
		}
		switch {
		case strings.ContainsFunc(value, unicode.IsControl):
			value = strconv.Quote(value) // for people: such a value cannot stand in the file
		case value != strings.TrimSpace(value) || value != Unquote(value):
			value = `"` + value + `"`
		}
		for line := range strings.Lines(about) {
			fmt.Fprintf(&b, "# %s\n", strings.TrimSpace(line))
		}
		fmt.Fprintf(&b, "%s%s=%s\n\n", comment, envPrefix+o.Key.Env(), value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
