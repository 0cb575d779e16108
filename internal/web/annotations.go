package web

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"salvage/internal/crash"
	"salvage/internal/errs"
)

// annotation is a value that a crash has, and where it comes from.
type annotation struct{ Name, Value, Source string }

const maxAnnotations = 1000 // of a section

// elsewhere are fields that other parts of the page show.
var elsewhere = map[string]bool{
	"json_dump": true, "signature_steps": true, "processor_notes": true, "processor_history": true,
}

// madeOf are annotations that are there as a field which a rule makes of them.
var madeOf = map[string]string{"breadcrumbs": "Breadcrumbs", "java_exception": "JavaException", "java_stack_trace_raw": "JavaStackTrace"}

// panels are fields that have a part of the page, and count among what is hidden from others.
var panels = map[string]bool{"breadcrumbs": true, "java_exception": true, "java_exception_raw": true}

// annotations fills in both sections. It takes from the protected part of a crash only a number, unless
// p is for somebody who may see it.
func (s *Web) annotations(ctx context.Context, p *reportPage, id crash.ID, doc *crash.Processed, b *budget) error {
	var raw crash.Raw
	switch err := s.readJSON(ctx, id.RawKey(), &raw); errs.KindOf(err) {
	case nil:
	case errs.NotFound, errs.Corrupt, errs.TooLarge:
		p.NoRaw = true
		s.Log.Warn("raw crash not shown", "crash_id", string(id), "error", err)
	default:
		return err
	}
	used := map[string]bool{} // annotations that are there as a field
	for field, name := range madeOf {
		_, inPublic := doc.Public[field]
		_, inProtected := doc.Protected[field]
		used[name] = inPublic || inProtected
	}
	public := rowsOf(doc.Public, raw.Annotations, used, b)
	var protected []annotation
	hidden := 0
	for name := range doc.Protected {
		if _, both := doc.Public[name]; !both && !elsewhere[name] {
			hidden++
		}
	}
	if p.MayProtected {
		only := maps.Clone(doc.Protected)
		maps.DeleteFunc(only, func(name string, _ json.RawMessage) bool { _, both := doc.Public[name]; return both })
		protected = rowsOf(only, raw.Annotations, used, b)
	} else {
		markUsed(doc.Protected, raw.Annotations, used)
	}
	for _, name := range slices.Sorted(maps.Keys(raw.Annotations)) {
		if used[name] || raw.Annotations[name] == nil {
			continue
		}
		switch row := (annotation{Name: name, Source: "annotation"}); {
		case crash.PublicAnnotation(name):
			row.Name, row.Value = b.text(name, 200), b.lines(annotationText(raw.Annotations[name]), maxValue)
			public = append(public, row)
		case p.MayProtected:
			row.Name, row.Value = b.text(name, 200), b.lines(annotationText(raw.Annotations[name]), maxValue)
			protected = append(protected, row)
		default:
			hidden++
		}
		if len(public)+len(protected) > 2*maxAnnotations {
			break
		}
	}
	p.Public, p.Protected = public[:min(len(public), maxAnnotations)], protected[:min(len(protected), maxAnnotations)]
	if p.Stack != nil {
		p.Protected = append(p.Protected, p.Stack.Crashpad...)
	}
	p.AnnotationCount = number(len(p.Public) + len(p.Protected))
	if !p.MayProtected && hidden > 0 {
		p.Hidden = count(hidden, "protected value is", "protected values are")
	}
	return nil
}

// sourceAnnotation returns the annotation that a field is a copy of: the first of the catalogue's for it
// that the client sent.
func sourceAnnotation(field string, sent map[string]any) string {
	for _, f := range crash.Fields() {
		if f.Name == field && f.Annotation != "" && sent[f.Annotation] != nil {
			return f.Annotation
		}
	}
	return ""
}

func markUsed(values map[string]json.RawMessage, sent map[string]any, used map[string]bool) {
	for name := range values {
		if a := sourceAnnotation(name, sent); a != "" {
			used[a] = true
		}
	}
}

// rowsOf makes rows of fields, sorted, without those that are empty.
func rowsOf(values map[string]json.RawMessage, sent map[string]any, used map[string]bool, b *budget) (rows []annotation) {
	markUsed(values, sent, used)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text := jsonText(values[name])
		if elsewhere[name] || panels[name] || strings.TrimSpace(text) == "" {
			continue
		}
		if len(rows) == maxAnnotations {
			break
		}
		rows = append(rows, annotation{b.text(name, 200), b.lines(text, maxValue), madeBy(name, sent, b)})
	}
	return rows
}

// madeBy says where a field comes from.
func madeBy(name string, sent map[string]any, b *budget) string {
	if a := sourceAnnotation(name, sent); a != "" {
		return "annotation " + b.text(a, 200)
	}
	switch f, ok := crash.LookupField(name); {
	case !ok || f.Annotation != "" || f.Source == "processor":
		return "processor"
	case strings.HasPrefix(f.Source, "collector: "):
		return f.Source
	default:
		return "rule " + f.Source
	}
}

// annotationText is a value of a client: mostly a string, else whatever its JSON had.
func annotationText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	text, err := crash.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}
