package config

import (
	"fmt"
	"io"
	"strings"
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
			variable += ", or `" + envPrefix + o.Key.Env() + fileSuffix + "`"
		}
		if o.Short != "" {
			flag = "`-" + o.Short + "`, " + flag
		}
		value := o.Type
		if o.Syntax != "" {
			value += ": " + o.Syntax
		}
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
		about := []string{o.Doc}
		for _, k := range o.Alt {
			about = append(about, "Also read from `"+k.String()+"`.")
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
