package metrics

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the reference of all declared metrics: one table, by key. Equal declarations
// give equal bytes.
func (r *Registry) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| Metric | Kind | Unit | Tags | About |\n|---|---|---|---|---|\n")
	for _, d := range r.Describe() {
		var tags []string
		for _, t := range d.Tags {
			text := "`" + t.Name + "`"
			if t.Allowed != nil {
				text += ": " + strings.Join(t.Allowed, ", ")
			}
			tags = append(tags, text)
		}
		cells := []string{"`" + d.Key + "`", d.Kind.String(), d.Unit, strings.Join(tags, "; "), d.Help}
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(strings.Join(strings.Fields(c), " "), "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
