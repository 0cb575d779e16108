package processor

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"salvage/internal/crash"
)

// copyAnnotations copies the annotations that the catalogue has fields for, converted to their types. Of
// several for one field the first counts.
func copyAnnotations(_ context.Context, w *work) error {
	for _, f := range crash.Fields() {
		value, ok := w.raw.Annotations[f.Annotation]
		if f.Name == "" || f.Annotation == "" || !ok || w.doc[f.Name] != nil {
			continue
		}
		if converted, ok := convert(value, f.Type); ok {
			w.doc[f.Name] = converted
		} else {
			w.note("%s has a value that is no %s", f.Annotation, f.Type)
		}
	}
	return nil
}

// convert makes a value of the catalogue's type of an annotation, which mostly is a text.
func convert(value any, typ string) (any, bool) {
	var s string
	switch v := value.(type) {
	case string:
		s = v
	case json.Number:
		s = v.String()
	case bool:
		s = strconv.FormatBool(v)
	case map[string]any:
		return v, typ == "object"
	default:
		return nil, false
	}
	trimmed := strings.TrimSpace(s)
	switch typ {
	case "string":
		return strings.TrimRight(s, " \t\r\n\v\f"), true
	case "boolean":
		switch strings.ToLower(trimmed) {
		case "1", "true":
			return true, true
		case "0", "false":
			return false, true
		}
	case "integer":
		n, err := strconv.ParseInt(trimmed, 10, 64)
		return n, err == nil
	case "number":
		n, err := strconv.ParseFloat(trimmed, 64)
		return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) // which JSON does not have
	case "object":
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var m map[string]any
		err := d.Decode(&m)
		return m, err == nil && m != nil
	}
	return nil, false
}
