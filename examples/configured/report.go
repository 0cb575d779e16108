package main

import (
	"encoding/json"
	"fmt"
	"io"

	"salvage/config"
)

// reporter is what -report-kind chooses.
type reporter interface {
	config.Component
	write(w io.Writer, a answer) error
}

type report struct {
	reporter // the chosen one
	text     textReport
	json     jsonReport
}

func (r *report) Options(s *config.Spec) {
	config.Choose(s, &r.reporter, "kind", map[string]reporter{"text": &r.text, "json": &r.json}, config.Default("text"), config.Doc("How to report."))
}

type textReport struct{ well, ill string }

func (t *textReport) Options(s *config.Spec) {
	config.Var(s, &t.well, "well", config.String, config.Default("well"), config.Doc("Word for servers that are well."))
	config.Var(s, &t.ill, "ill", config.String, config.Default("ILL"), config.Doc("Word for those that are not."))
}

func (t *textReport) write(w io.Writer, a answer) error {
	word := t.ill
	if a.Well {
		word = t.well
	}
	_, err := fmt.Fprintln(w, word, a.Status, a.Target)
	return err
}

type jsonReport struct{ indent int }

func (j *jsonReport) Options(s *config.Spec) {
	config.Var(s, &j.indent, "indent", config.Int, config.Default("0"), config.Doc("Spaces before each field; 0 is one line an answer."))
}

func (j *jsonReport) write(w io.Writer, a answer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", fmt.Sprintf("%*s", j.indent, ""))
	return e.Encode(a)
}
