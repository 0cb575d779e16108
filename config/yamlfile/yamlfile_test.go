package yamlfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvage/config"
	"salvage/config/yamlfile"
)

func list(src config.Source) string {
	var b strings.Builder
	for _, v := range src.(config.Lister).List() {
		b.WriteString(v.Pos + " " + v.Name + "=" + v.Text + ";")
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":         "",
		"# only\n": "",
		"null":     "",
		"a: 1\n\nb:\n  c: 'x y'\n  d-e: {f: 010}":                  "line 1 a=1;line 4 b.c=x y;line 5 b.d-e.f=010;",
		"a.b: yes\nc: \"\"\nd: ~\ne:":                              "line 1 a.b=yes;line 2 c=;line 3 d=;line 4 e=;",
		"a: [x, 'y,z', 3]\nb:\n- 1\nc: []":                         "line 1 a=x\ny,z\n3\n;line 2 b=1\n;line 4 c=;",
		"a: |\n  one\n  two\nb: 2001-01-01":                        "line 1 a=one\ntwo\n;line 4 b=2001-01-01;",
		"\ufeffa: 1":                                               "line 1 a=1;",
		"---\na: 1\n...\n":                                         "line 2 a=1;",
		strings.Repeat("{a: ", 20) + "1" + strings.Repeat("}", 20): "line 1 a" + strings.Repeat(".a", 19) + "=1;",
	} {
		src, err := yamlfile.Parse("file x", []byte(text))
		if err != nil || list(src) != want || src.Name() != "file x" {
			t.Errorf("Parse(%q) = %q, %v, want %q", text, list(src), err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a: *hunter2":   "x.yaml, an alias without its anchor: a text that begins with * needs quotes|",
		"a: b: hunter2": "x.yaml, line 1: mapping values are not allowed in this context|",
		"a: 1\nb: [hunter2, {c: hunter2}]\n\"-\": 1\nd: 4\na: 2": "x.yaml, line 2: b has an item that is no single line of text\nx.yaml, line 3: not the name of an option or of a group of them\nx.yaml, line 5: a was set before: line 1|line 1 a=1;line 4 d=4;",
		"a: &x 1\nb: *x":             "x.yaml, line 2: b is an alias, or nested too deep|line 1 a=1;",
		"a: &x {b: 1}\nc:\n  <<: *x": "x.yaml, line 3: not the name of an option or of a group of them|line 1 a.b=1;",
		"a: 1\n---\nb: 2":            "x.yaml, line 2: a second document|line 1 a=1;",
		"hunter2":                    "x.yaml, line 1: not a mapping of names to values|",
		"- hunter2":                  "x.yaml, line 1: not a mapping of names to values|",
		"a:\n\tb: 1":                 "x.yaml, line 2: found character that cannot start any token|",
		"a: 1\nb: x: y":              "x.yaml, line 2: mapping values are not allowed in this context|",
		"a: 1\n{a: 1}: 2":            "x.yaml, line 2: not the name of an option or of a group of them|line 1 a=1;",
		"a: ['x\n\n  y']":            "x.yaml, line 1: a has an item that is no single line of text|",
		strings.Repeat("{a: ", 21) + "1" + strings.Repeat("}", 21): "x.yaml, line 1: a" + strings.Repeat(".a", 19) + " is an alias, or nested too deep|",
	} {
		src, err := yamlfile.Parse("x.yaml", []byte(text))
		if err == nil {
			t.Errorf("Parse(%q) succeeded", text)
			continue
		}
		if got := err.Error() + "|" + list(src); got != want {
			t.Errorf("Parse(%q): %s\nwant %s", text, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("a: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := yamlfile.Read(path)
	if err != nil || list(src) != "line 1 a=1;" || src.Name() != "file "+path {
		t.Errorf("Read = %v, %v", src, err)
	}
}

// Whatever a file holds, its values have names and places, and a value comes back as it was written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a: 1\nb: {c: [1, 2]}", "a: &x 1\nb: *x", "---\n---\n", "a: |\n  x\n", "? a\n: b", "%YAML 1.1\n---\na: !!binary x"} {
		f.Add(s, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		src, _ := yamlfile.Parse("file x", []byte(text))
		for _, v := range src.(config.Lister).List() {
			if v.Name == "" || !strings.HasPrefix(v.Pos, "line ") {
				t.Errorf("listed %+v", v)
			}
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return
		}
		src, err := yamlfile.Parse("file x", []byte("a:\n  b: '"+strings.ReplaceAll(value, "'", "''")+"'\n"))
		if v, _ := src.Lookup(config.Key{Namespace: []string{"a"}, Name: "b"}); err != nil || v.Text != value {
			t.Errorf("%q came back as %q, %v", value, v.Text, err)
		}
	})
}
