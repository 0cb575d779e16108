package processor

import (
	"salvage/internal/crashindex"
	"strconv"
)

// indexed are the fields of the crash index whose name in a processed crash is another one.
var indexed = map[string]string{
	"build_id": "build", "platform": "os_name", "platform_version": "os_version", "platform_pretty_version": "os_pretty_version",
}

// document is what the crash index keeps of a crash.
func document(w *work) crashindex.Doc {
	d := crashindex.Doc{ID: w.id, Submitted: w.raw.Submitted, Values: map[string]crashindex.Value{}}
	for _, f := range crashindex.Fields {
		name := f.Name
		if other, ok := indexed[name]; ok {
			name = other
		}
		switch v := w.doc[name].(type) {
		case string:
			if f.Type == crashindex.Keyword {
				d.Values[f.Name] = crashindex.Text(v)
			} else if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				d.Values[f.Name] = crashindex.Int(n)
			}
		case int64:
			if f.Type == crashindex.Integer {
				d.Values[f.Name] = crashindex.Int(v)
			}
		}
	}
	return d
}
