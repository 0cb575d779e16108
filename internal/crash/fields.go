package crash

import (
	_ "embed"
	"encoding/csv"
	"strings"
	"sync"
)

// Field is what the catalogue knows of an annotation, of a field of a processed crash, or of both: then the
// field is a copy of the annotation.
type Field struct {
	Name       string // of the processed field; empty: the annotation is not copied as it is
	Annotation string // empty: the collector or the processor makes the field
	Type       string // string, integer, number, boolean, object, array, any
	Protected  bool   // readers need permission
	Category   string
	// Source is a client that sends the annotation ("any": who knows), a rule of the processor, "processor",
	// or "collector: " and what it does.
	Source      string
	Never       bool // the annotation is removed before anything is stored; the case of its name does not matter
	Description string
}

// fieldsCSV is the catalogue: names, types and permissions are Socorro's (crash-pipeline.md §4). Of the
// annotations for one field, the first that a crash has counts: those of Crashpad's and Electron's clients
// stand behind Mozilla's. A name with dots is a part of a field. What is kept is kept as long as its crash.
// Besides the four annotations that Antenna removes (§1.4), e-mail addresses are removed under whatever name
// clients are known or likely to give them.
//
//go:embed fields.csv
var fieldsCSV string

type catalogue struct {
	fields      []Field
	annotations map[string]Field
	never       map[string]bool // annotations in lower case
	processed   map[string]Field
	hidden      map[string][][]string // by field: paths in it that are protected
}

var fields = sync.OnceValue(func() *catalogue {
	rows, err := csv.NewReader(strings.NewReader(fieldsCSV)).ReadAll()
	if err != nil {
		panic(err) // TestFields
	}
	c := &catalogue{annotations: map[string]Field{}, never: map[string]bool{}, processed: map[string]Field{}, hidden: map[string][][]string{}}
	for _, r := range rows[1:] {
		f := Field{Name: r[0], Annotation: r[1], Type: r[2], Protected: r[3] != "public", Category: r[4], Source: r[5], Never: r[6] == "never", Description: r[7]}
		if top, path, ok := strings.Cut(f.Name, "."); ok {
			c.hidden[top] = append(c.hidden[top], strings.Split(strings.ReplaceAll(path, "[]", ".[]"), "."))
			continue
		}
		c.fields = append(c.fields, f)
		if f.Never {
			c.never[strings.ToLower(f.Annotation)] = true
		}
		if f.Annotation != "" {
			c.annotations[f.Annotation] = f
		}
		if f.Name != "" {
			c.processed[f.Name] = f
		}
	}
	return c
})

// Fields returns the catalogue, in its order.
func Fields() []Field { return fields().fields }

// LookupField returns what the catalogue knows of a field of a processed crash.
func LookupField(name string) (Field, bool) {
	f, ok := fields().processed[name]
	return f, ok
}

// Forbidden reports whether an annotation may not be kept.
func Forbidden(name string) bool { return fields().never[strings.ToLower(name)] }

// PublicAnnotation reports whether anybody may read an annotation. One that the catalogue does not know
// may hold anything, so it is protected.
func PublicAnnotation(name string) bool {
	f, ok := fields().annotations[name]
	return ok && !f.Protected
}

// publicPart returns what anybody may read of a processed field, and whether that is all of it.
func publicPart(name string, value any) (part any, all bool) {
	f, ok := fields().processed[name]
	if !ok || f.Protected {
		return nil, false
	}
	all = true
	for _, path := range fields().hidden[name] {
		var cut bool
		if value, cut = without(value, path); cut {
			all = false
		}
	}
	return value, all
}

// without returns value without what is at path, sharing what it did not have to change.
func without(value any, path []string) (any, bool) {
	switch v := value.(type) {
	case map[string]any:
		inner, ok := v[path[0]]
		if !ok {
			return value, false
		}
		if len(path) > 1 {
			if inner, ok = without(inner, path[1:]); !ok {
				return value, false
			}
		}
		clone := make(map[string]any, len(v))
		for k, e := range v {
			clone[k] = e
		}
		if len(path) == 1 {
			delete(clone, path[0])
		} else {
			clone[path[0]] = inner
		}
		return clone, true
	case []any:
		if path[0] != "[]" {
			return value, false
		}
		var clone []any
		for i, e := range v {
			inner, cut := without(e, path[1:])
			if !cut {
				continue
			}
			if clone == nil {
				clone = append([]any(nil), v...)
			}
			clone[i] = inner
		}
		return clone, clone != nil
	}
	return value, false
}
