package processor

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

// clean takes NUL characters out of annotations, drops those that are null, and lists what the report had.
func clean(_ context.Context, w *work) error {
	annotations := make(map[string]any, len(w.raw.Annotations))
	for name, value := range w.raw.Annotations {
		if value == nil {
			continue
		}
		if s, ok := value.(string); ok {
			value = strings.ReplaceAll(s, "\x00", "")
		}
		annotations[strings.ReplaceAll(name, "\x00", "")] = value
	}
	w.raw.Annotations = annotations
	keys := slices.Concat(slices.Collect(maps.Keys(annotations)), slices.Collect(maps.Keys(w.raw.Metadata.DumpChecksums)))
	all := len(keys)
	keys = slices.DeleteFunc(keys, func(k string) bool { return !plainKey.MatchString(k) })
	if len(keys) < all {
		w.note("invalidkeys: Crash report contains invalid keys")
	}
	slices.Sort(keys)
	w.doc["crash_report_keys"] = keys
	return nil
}
