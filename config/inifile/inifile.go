// Package inifile reads INI files as a source of package config.
//
//	listen = :80            # the top of the file, or [main], has the options without a namespace
//	[collector]
//	rate = 10               # collector.rate
//	[collector.limits]      # or [[limits]], nested in [collector] as ConfigObj has it
//	max_body = "1 MiB"
//
// Lines that are empty or begin with # or ; are skipped. White space around names and values is dropped, a
// comment behind a value begins with # after white space or =, and then one pair of quotes around the value is
// dropped; within quotes # is no comment. There are no escapes, no continuation lines and no interpolation.
// A name may be set once, also if its section stands there twice. Every value has a line number.
package inifile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"salvage/config"
)

// Read returns the source of the file at path. It is there, without what cannot be used, even if there is an
// error about lines; that error names all of them and quotes no value.
func Read(path string) (config.Source, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse("file "+path, data)
}

var (
	section  = regexp.MustCompile(`^(\[+)\s*(` + name + `)\s*(\]+)\s*([#;].*)?$`)
	variable = regexp.MustCompile(`^(` + name + `)\s*=\s*(.*)$`)
	comment  = regexp.MustCompile(`^("[^"]*"|'[^']*'|.*?)(\s+#.*)?$`)
)

const name = `[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*`

// Parse is Read for the content of a file and its name in messages.
func Parse(file string, data []byte) (config.Source, error) {
	var values []config.Value
	var path []string // the section and those it is nested in
	var errs []error
	skip, line := false, 0
	for raw := range strings.Lines(string(bytes.TrimPrefix(data, []byte("\ufeff")))) {
		line++
		wrong := func(what string) { errs = append(errs, fmt.Errorf("%s, line %d: %s", file, line, what)) }
		text := strings.TrimSpace(raw)
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		if text[0] == '[' {
			m := section.FindStringSubmatch(text)
			if skip = m == nil || len(m[1]) != len(m[3]) || len(m[1]) > len(path)+1; skip {
				wrong("no section; its settings are skipped")
				continue
			}
			path = append(path[:len(m[1])-1], m[2])
			continue
		}
		m := variable.FindStringSubmatch(text)
		switch {
		case skip:
			continue
		case m == nil:
			wrong("no name = value")
			continue
		case strings.HasPrefix(m[2], `"""`) || strings.HasPrefix(m[2], "'''"):
			wrong(m[1] + " has a value of several lines, which is not supported")
			continue
		}
		full := append(path, m[1])
		if full[0] == "main" && len(full) > 1 {
			full = full[1:]
		}
		if m[2] != "" && m[2][0] == '#' {
			m[2] = ""
		}
		value := config.Unquote(comment.FindStringSubmatch(m[2])[1])
		values = append(values, config.Value{Text: value, Pos: fmt.Sprintf("line %d", line), Name: strings.Join(full, ".")})
	}
	source, err := config.Settings(file, values)
	return source, errors.Join(append(errs, err)...)
}
