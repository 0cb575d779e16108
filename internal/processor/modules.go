package processor

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// modulesInStack lists what the crashing stack runs through, and what lacked symbols.
func modulesInStack(_ context.Context, w *work) error {
	dump := w.doc["json_dump"]
	if dump == nil {
		return nil
	}
	ids, missing := map[string]string{}, map[string]bool{}
	for _, m := range list(at(dump, "modules")) {
		name, id := text(at(m, "filename")), text(at(m, "debug_id"))
		ids[name] = id
		if at(m, "missing_symbols") != true {
			continue
		}
		version, _ := at(m, "version").(string)
		if version == "" {
			version = "None"
		}
		parts := []string{name, version, id}
		if code := text(at(m, "code_id")); code != "" {
			parts = append(parts, code)
		}
		for i := range parts {
			parts[i] = strings.ReplaceAll(parts[i], "/", `\/`)
		}
		missing[strings.Join(parts, "/")] = true
	}
	in := map[string]bool{}
	for _, f := range list(at(dump, "crashing_thread", "frames")) {
		if name := text(at(f, "module")); name != "" {
			in[only(name, "_.-")+"/"+only(ids[name], "")] = true
		}
		file := text(at(f, "file"))
		for _, i := range list(at(f, "inlines")) {
			if s := text(at(i, "file")); s != "" {
				file = s
				break
			}
		}
		if file != "" && w.doc["topmost_filenames"] == nil {
			w.doc["topmost_filenames"] = file
		}
	}
	w.doc["modules_in_stack"] = strings.Join(slices.Sorted(maps.Keys(in)), ";")
	w.doc["missing_symbols"] = strings.Join(slices.Sorted(maps.Keys(missing)), ";")
	return nil
}

// only returns s without what is neither a letter nor a digit of ASCII nor in more.
func only(s, more string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune(more, r) {
			return r
		}
		return -1
	}, s)
}
