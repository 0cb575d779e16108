package web

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"salvage/internal/crash"
)

type fieldsPage struct {
	base
	Categories []fieldCategory
	Never      []fieldRow
}

type fieldCategory struct {
	Name   string
	Fields []fieldRow
}

type fieldRow struct {
	crash.Field
	From string // what makes it
}

// serveFields shows the catalogue, which has no value of any crash.
func (s *Web) serveFields(w http.ResponseWriter, r *http.Request) error {
	p := fieldsPage{base: s.base(r, s.visitor(r), "Fields", "/fields")}
	by := map[string][]fieldRow{}
	for _, f := range crash.Fields() {
		row := fieldRow{f, "rule " + f.Source}
		switch {
		case f.Annotation != "" && f.Source == "any":
			row.From = "clients"
		case f.Annotation != "":
			row.From = strings.ToUpper(f.Source[:1]) + f.Source[1:]
		case f.Source == "processor" || strings.HasPrefix(f.Source, "collector: "):
			row.From = f.Source
		}
		if f.Never {
			p.Never = append(p.Never, row)
		} else {
			by[f.Category] = append(by[f.Category], row)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		p.Categories = append(p.Categories, fieldCategory{name, by[name]})
	}
	return s.render(w, http.StatusOK, "fields", p)
}
