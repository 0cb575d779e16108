package main

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"salvage/internal/errs"
)

// pathMapping turns the paths of source files into what symbol files are to call them, with dump_syms' rules: the first
// that applies gives the whole new path.
type pathMapping struct {
	source *regexp.Regexp // anywhere in the path
	pieces []mappingPiece
	files  []string // the only paths it is for; none: all
}

// mappingPiece is text and what follows it.
type mappingPiece struct {
	text   string
	group  int // of source, -1: none
	digest string
}

func newPathMapping(source, template string, vars map[string]string, files []string) (m pathMapping, err error) {
	m.files = files
	if m.source, err = regexp.Compile(source); err != nil {
		return m, errs.Public(errs.Invalid, "Mapping of %q: %v.", source, err)
	}
	var text strings.Builder
	for rest := template; ; {
		before, after, open := strings.Cut(rest, "{")
		name, next, closed := strings.Cut(after, "}")
		if !open || !closed {
			m.pieces = append(m.pieces, mappingPiece{text: text.String() + rest, group: -1})
			return m, nil
		}
		text.WriteString(before)
		rest = next
		value, isVar := vars[name]
		group, err := strconv.Atoi(name)
		switch {
		case name == "digest" || name == "DIGEST":
			m.pieces = append(m.pieces, mappingPiece{text: text.String(), group: -1, digest: name})
		case isVar:
			text.WriteString(value)
			continue
		case err == nil && group >= 0 && group <= m.source.NumSubexp():
			m.pieces = append(m.pieces, mappingPiece{text: text.String(), group: group})
		default:
			return m, errs.Public(errs.Invalid, "Mapping to %q: {%s} is neither a group of %q, nor digest or DIGEST, nor a --mapping-var.", template, name, source)
		}
		text.Reset()
	}
}

// apply returns the new path, and whether the mapping is for this one. It fails if the file's digest is wanted and the
// file cannot be read.
func (m *pathMapping) apply(path string) (to string, ok bool, err error) {
	if len(m.files) > 0 && !slices.Contains(m.files, path) {
		return "", false, nil
	}
	match := m.source.FindStringSubmatchIndex(path)
	if match == nil {
		return "", false, nil
	}
	var b strings.Builder
	for _, p := range m.pieces {
		b.WriteString(p.text)
		if p.group >= 0 {
			from, end := match[2*p.group], match[2*p.group+1]
			if from < 0 {
				return "", false, nil
			}
			b.WriteString(path[from:end])
		}
		if p.digest != "" {
			data, err := os.ReadFile(path)
			if err != nil {
				return "", false, err
			}
			format := "%x"
			if p.digest == "DIGEST" {
				format = "%X"
			}
			fmt.Fprintf(&b, format, sha512.Sum512(data))
		}
	}
	return b.String(), true, nil
}

// mappingFile is the JSON that --mapping-file names.
type mappingFile struct {
	Variables map[string]string `json:"variables"`
	Mappings  []mappingRule     `json:"mappings"`
}

type mappingRule struct {
	Source      string   `json:"source"`
	Destination string   `json:"destination"`
	Files       []string `json:"files"`
}

// pathMappings reads what the command line says: mappings of a file come first, those for certain files before the others.
func pathMappings(vars, sources, templates []string, file string) (all []pathMapping, err error) {
	if len(sources) != len(templates) {
		return nil, errs.Public(errs.Invalid, "There are %d --mapping-src and %d --mapping-dest: each needs the other.", len(sources), len(templates))
	}
	var spec mappingFile
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, errs.Public(errs.NotFound, "--mapping-file: %v", err)
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		if err := d.Decode(&spec); err != nil {
			return nil, errs.Public(errs.Invalid, "%s: %v", file, err)
		}
	}
	values := map[string]string{}
	for k, v := range spec.Variables {
		values[k] = v
	}
	for _, v := range vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, errs.Public(errs.Invalid, "--mapping-var %q is not NAME=VALUE.", v)
		}
		values[name] = value
	}
	add := func(source, template string, files []string) error {
		m, err := newPathMapping(source, template, values, files)
		all = append(all, m)
		return err
	}
	slices.SortStableFunc(spec.Mappings, func(a, b mappingRule) int { return min(len(b.Files), 1) - min(len(a.Files), 1) })
	for _, m := range spec.Mappings {
		if err := add(m.Source, m.Destination, m.Files); err != nil {
			return nil, err
		}
	}
	for i := range sources {
		if err := add(sources[i], templates[i], nil); err != nil {
			return nil, err
		}
	}
	return all, nil
}
