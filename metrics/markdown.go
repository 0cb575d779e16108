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
			cells[i] = strings.ReplaceAll(oneLine(c), "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteYAML writes the declared metrics in the form of the statsd_metrics.yaml of Mozilla's services, which
// Markus's RegisteredMetricsFilter reads: equal declarations give equal bytes.
func (r *Registry) WriteYAML(w io.Writer) error {
	var b strings.Builder
	b.WriteString("---\n")
	for _, d := range r.Describe() {
		fmt.Fprintf(&b, "\n%s:\n  type: %q\n  description: |\n    %s\n", d.Key, markusNames[d.Kind], oneLine(d.Help))
		for i, t := range d.Tags {
			if i == 0 {
				b.WriteString("\n    Tags:\n\n")
			}
			fmt.Fprintf(&b, "    * ``%s``", t.Name)
			for j, v := range t.Allowed {
				b.WriteString([...]string{": ", ", "}[min(j, 1)] + "``" + v + "``")
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
