// Package yamlfile reads YAML files as a source of package config.
//
// Nested mappings are namespaces. A scalar is the text of an option, as it is written: all types are
// accepted and none is interpreted, so `yes`, `0x10` and `8000` reach the option's parser as they stand;
// null and empty are not set. A sequence of scalars is the text of a list, a mapping below the name of an
// option that is a map is its text. There are no aliases, merges and further documents. Every value has a
// line number.
package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"salvage/config"
)

const maxDepth = 20 // of mappings; deeper ones are no configuration

// Read returns the source of the file at path. It is there, without what cannot be used, even if there is an
// error about lines; that error names all of them and quotes no value.
func Read(path string) (config.Source, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse("file "+path, data)
}

// Parse is Read for the content of a file and its name in messages.
func Parse(name string, data []byte) (config.Source, error) {
	r := reader{name: name}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case err == io.EOF: // nothing but comments
	case err != nil:
		r.errs = append(r.errs, fmt.Errorf("%s, %s", name, explain(err)))
	default:
		r.node(document.Content[0], 0, "", 0)
		if decoder.Decode(&second) != io.EOF {
			r.wrong(&second, "a second document")
		}
	}
	source, err := config.Settings(name, r.values)
	return source, errors.Join(append(r.errs, err)...)
}

// explain returns where a syntax error is, and what it is.
func explain(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	switch {
	case strings.HasPrefix(text, "unknown anchor"): // it would quote what may be a secret, and has no line
		return "an alias without its anchor: a text that begins with * needs quotes"
	case !strings.HasPrefix(text, "line "):
		return "line 1: " + text
	}
	return text
}

type reader struct {
	name   string
	values []config.Value
	errs   []error
}

func (r *reader) wrong(n *yaml.Node, what string) {
	r.errs = append(r.errs, fmt.Errorf("%s, line %d: %s", r.name, max(n.Line, 1), what))
}

func (r *reader) node(n *yaml.Node, line int, name string, depth int) {
	v := config.Value{Name: name, Pos: fmt.Sprintf("line %d", line)}
	switch {
	case n.Kind == yaml.MappingNode && depth < maxDepth:
		r.mapping(n, name, depth)
		return
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		if name == "" {
			return
		}
	case name == "":
		r.wrong(n, "not a mapping of names to values")
		return
	case n.Kind == yaml.ScalarNode:
		v.Text = n.Value
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, "\n") {
				r.wrong(item, name+" has an item that is no single line of text")
				return
			}
			v.Text += item.Value + "\n"
		}
	default:
		r.wrong(n, name+" is an alias, or nested too deep")
		return
	}
	r.values = append(r.values, v)
}

var isName = regexp.MustCompile(`^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$`)

func (r *reader) mapping(n *yaml.Node, name string, depth int) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || !isName.MatchString(key.Value) {
			r.wrong(key, "not the name of an option or of a group of them")
			continue
		}
		full := key.Value
		if name != "" {
			full = name + "." + full
		}
		r.node(value, key.Line, full, depth+1)
	}
}
