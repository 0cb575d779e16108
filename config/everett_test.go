package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvage/config"
	"salvage/config/inifile"
	"salvage/config/yamlfile"
)

// These tables say what Everett 3.5.0 does (every row was put to it), what this package does, and why where
// the two differ. "error" stands for any error.

func parsed[T any](p config.Parser[T]) func(string) string {
	return func(in string) string {
		v, err := p.Parse(in)
		if err != nil {
			return "error"
		}
		return fmt.Sprint(v)
	}
}

func TestEverettParsers(t *testing.T) {
	boolean, size, list := parsed(config.Bool), parsed(config.Bytes), parsed(config.List(config.String))
	choice := parsed(config.Choice(config.String, "a", "b"))
	seconds := func(in string) string {
		d, err := config.Duration.Parse(in)
		if err != nil {
			return "error"
		}
		return fmt.Sprint(d.Seconds())
	}
	for _, tt := range []struct {
		parser            string
		parse             func(string) string
		in, everett, want string
		why               string // they differ
	}{
		{"bool", boolean, "t", "true", "true", ""},
		{"bool", boolean, "TRUE", "true", "true", ""},
		{"bool", boolean, "yEs", "true", "true", ""},
		{"bool", boolean, "y", "true", "true", ""},
		{"bool", boolean, "1", "true", "true", ""},
		{"bool", boolean, "on", "true", "true", ""},
		{"bool", boolean, "f", "false", "false", ""},
		{"bool", boolean, "False", "false", "false", ""},
		{"bool", boolean, "no", "false", "false", ""},
		{"bool", boolean, "n", "false", "false", ""},
		{"bool", boolean, "0", "false", "false", ""},
		{"bool", boolean, "OFF", "false", "false", ""},
		{"bool", boolean, "", "error", "error", ""},
		{"bool", boolean, "monkey", "error", "error", ""},
		{"bool", boolean, " true", "error", "true", "white space around a value means nothing"},

		{"size", size, "0", "0", "0", ""},
		{"size", size, "1_000", "1000", "1000", ""},
		{"size", size, "10b", "10", "10", ""},
		{"size", size, " 1KB ", "1000", "1000", ""},
		{"size", size, "1kib", "1024", "1024", ""},
		{"size", size, "40_000mb", "40000000000", "40000000000", ""},
		{"size", size, "2mib", "2097152", "2097152", ""},
		{"size", size, "1gb", "1000000000", "1000000000", ""},
		{"size", size, "1gib", "1073741824", "1073741824", ""},
		{"size", size, "1tb", "1000000000000", "1000000000000", ""},
		{"size", size, "1tib", "1099511627776", "1099511627776", ""},
		{"size", size, "1.5gb", "error", "error", ""},
		{"size", size, "1 gb", "error", "error", ""},
		{"size", size, "10k", "error", "error", ""},
		{"size", size, "1pb", "error", "1000000000000000", "documented there, and missing"},
		{"size", size, "1pib", "error", "1125899906842624", "documented there, and missing"},
		{"size", size, "-5", "-5", "error", "no size is negative"},
		{"size", size, "+5", "5", "error", "no size has a sign"},
		{"size", size, "٣", "3", "error", "digits are ASCII"},
		{"size", size, "99999999tib", "109951161678088372224", "error", "does not fit 64 bits"},

		{"period", seconds, "30", "30", "30", ""},
		{"period", seconds, "1_000", "1000", "1000", ""},
		{"period", seconds, "5m", "300", "300", ""},
		{"period", seconds, "1w2d3h4m5s", "788645", "788645", ""},
		{"period", seconds, "1h30m", "5400", "5400", ""},
		{"period", seconds, "4h1d", "100800", "100800", ""},
		{"period", seconds, "", "error", "error", ""},
		{"period", seconds, "abc", "error", "error", ""},
		{"period", seconds, "1.5h", "18000", "5400", "a fraction is one"},
		{"period", seconds, "1ms", "60", "0.001", "a millisecond is no minute"},
		{"period", seconds, "100us", "error", "0.0001", "Go's units, too"},
		{"period", seconds, "10j5m", "300", "error", "the whole text must be a duration"},
		{"period", seconds, "foo5mbar", "300", "error", "the whole text must be a duration"},
		{"period", seconds, "-5m", "300", "error", "the whole text must be a duration"},
		{"period", seconds, "1h30", "3600", "error", "the whole text must be a duration"},
		{"period", seconds, "1h 30m", "5400", "error", "one text without spaces, as Go has it"},
		{"period", seconds, "-5", "-5", "error", "no duration is negative"},

		{"list", list, "", "[]", "[]", ""},
		{"list", list, "a", "[a]", "[a]", ""},
		{"list", list, " a , b ", "[a b]", "[a b]", ""},
		{"list", list, " ", `[""]`, "[]", "an empty item is nearly always a mistake"},
		{"list", list, "a,", `[a ""]`, "error", "an empty item is nearly always a mistake"},
		{"list", list, "a,,b", `[a "" b]`, "error", "as there with allow_empty=False"},

		{"choice", choice, "a", "a", "a", ""},
		{"choice", choice, "A", "error", "error", ""},
		{"choice", choice, "", "error", "error", ""},
		{"choice", choice, " a", "error", "a", "white space around a value means nothing"},
	} {
		if got := tt.parse(tt.in); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.parser, tt.in, got, tt.want)
		}
		if (tt.everett == tt.want) != (tt.why == "") {
			t.Errorf("%s %q: Everett has %s, want is %s, the reason is %q", tt.parser, tt.in, tt.everett, tt.want, tt.why)
		}
	}
}

// Each source is asked for the option named; "" is not set.
func TestEverettEnvironments(t *testing.T) {
	environ := func(t *testing.T, text string) (config.Source, error) {
		name, value, _ := strings.Cut(text, "=")
		t.Setenv(name, value)
		return config.Environ(""), nil
	}
	dict := func(_ *testing.T, text string) (config.Source, error) {
		name, value, _ := strings.Cut(text, "=")
		return config.Map("dict", map[string]string{name: value}), nil
	}
	envFile := func(t *testing.T, text string) (config.Source, error) { return config.EnvFile("", writeFile(t, text)) }
	ini := func(_ *testing.T, text string) (config.Source, error) { return inifile.Parse("ini", []byte(text)) }
	yaml := func(_ *testing.T, text string) (config.Source, error) { return yamlfile.Parse("yaml", []byte(text)) }
	x, nsX := config.Key{Name: "x"}, config.Key{Namespace: []string{"ns"}, Name: "x"}
	deep := config.Key{Namespace: []string{"ns", "sub"}, Name: "x"}
	for _, tt := range []struct {
		source        string
		read          func(t *testing.T, text string) (config.Source, error)
		text          string
		key           config.Key
		everett, want string
		why           string
	}{
		{"environment", environ, "NS_X=1", nsX, "1", "1", ""},
		{"environment", environ, "ns_x=1", nsX, "", "", ""}, // there without a word, here with a warning
		{"dict", dict, "ns.x=1", nsX, "", "1", "names of maps are dotted"},
		{"dict", dict, "NS_X=1", nsX, "1", "", "names of maps are dotted"},

		{".env", envFile, "NS_X=1", nsX, "1", "1", ""},
		{".env", envFile, "# c\n\n  NS_X = 1 \n", nsX, "1", "1", ""},
		{".env", envFile, "X=1\nX=2", x, "2", "2", ""},
		{".env", envFile, "X='a b'", x, "a b", "a b", ""},
		{".env", envFile, `X="a"`, x, "a", "a", ""},
		{".env", envFile, "X='self' www.example.org", x, "'self' www.example.org", "'self' www.example.org", ""},
		{".env", envFile, "X=''a''", x, "'a'", "'a'", ""},
		{".env", envFile, "X=a # b", x, "a # b", "a # b", ""},
		{".env", envFile, "X=$Y ${Y}", x, "$Y ${Y}", "$Y ${Y}", ""},
		{".env", envFile, "X=a=b", x, "a=b", "a=b", ""},
		{".env", envFile, "_Y=1\nX=1", x, "1", "1", ""},
		{".env", envFile, "X", x, "error", "error", ""},
		{".env", envFile, "1X=1", x, "error", "error", ""},
		{".env", envFile, "X-Y=1", x, "error", "error", ""},
		{".env", envFile, "x=1", x, "", "1", "a file of ours need not shout"},
		{".env", envFile, "export X=1", x, "error", "1", "such files are read by shells, too"},
		{".env", envFile, "\ufeffX=1", x, "error", "1", "editors on Windows write it"},

		{"INI", ini, "[main]\nx=1", x, "1", "1", ""},
		{"INI", ini, "[ns]\nx = 1", nsX, "1", "1", ""},
		{"INI", ini, "[ns]\n[[sub]]\nx=1", deep, "1", "1", ""},
		{"INI", ini, "[ns]\nsub_x=1", deep, "1", "1", ""},
		{"INI", ini, "[main]\nx=a, b", x, "a, b", "a, b", ""},
		{"INI", ini, "[main]\nx=a # b", x, "a", "a", ""},
		{"INI", ini, "[main]\nx: 1", x, "error", "error", ""},
		{"INI", ini, "[main]\nx=1\nx=2", x, "error", "error", ""},
		{"INI", ini, "[main]\nns_x=1", nsX, "", "1", "[main] is no namespace anywhere"},
		{"INI", ini, "x=1", x, "", "1", "there it cannot be reached"},
		{"INI", ini, "[main]\nx=\"a\"", x, `"a"`, "a", "as in .env"},
		{"INI", ini, "[ns.sub]\nx=1", deep, "", "1", "the form most readers have"},
		{"INI", ini, "[main]\nx=%(y)s\ny=1", x, "1", "%(y)s", "no interpolation anywhere"},
		{"INI", ini, "[main]\nx=a#b", x, "a", "a#b", "a URL keeps its fragment"},
		{"INI", ini, "[main]\nx='''a\nb'''", x, "a\nb", "error", "one value, one line"},

		{"YAML", yaml, "x: a", x, "a", "a", ""},
		{"YAML", yaml, "ns:\n  x: 'a'", nsX, "a", "a", ""},
		{"YAML", yaml, "ns_x: a", nsX, "a", "a", ""},
		{"YAML", yaml, "ns: {sub: {x: a}}", deep, "a", "a", ""},
		{"YAML", yaml, "", x, "", "", ""},
		{"YAML", yaml, "{}", x, "", "", ""},
		{"YAML", yaml, "- x", x, "error", "error", ""},
		{"YAML", yaml, "x: a\n---\nx: b", x, "error", "error", ""},
		{"YAML", yaml, "x: [[a]]", x, "error", "error", ""},
		{"YAML", yaml, "x: 5", x, "error", "5", "the parser of the option decides what 5 is"},
		{"YAML", yaml, "x: yes", x, "error", "yes", "the parser of the option decides what yes is"},
		{"YAML", yaml, "x: null", x, "error", "", "null is not set"},
		{"YAML", yaml, "x: [a, b]", x, "error", "a\nb\n", "a list may be one"},
		{"YAML", yaml, "x: a\nx: b", x, "b", "error", "one of them is a mistake"},
		{"YAML", yaml, "ns: {x: a}\nns_x: b", nsX, "b", "error", "one of them is a mistake"},
		{"YAML", yaml, "1: {x: a}", x, "error", "", "as good a name as another"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			got := "error"
			if src, err := tt.read(t, tt.text); err == nil {
				v, _ := src.Lookup(tt.key)
				got = v.Text
			}
			if got != tt.want {
				t.Errorf("%s in %q: %q, want %q", tt.key, tt.text, got, tt.want)
			}
			if (tt.everett == tt.want) != (tt.why == "") {
				t.Errorf("%s in %q: Everett has %q, want is %q, the reason is %q", tt.key, tt.text, tt.everett, tt.want, tt.why)
			}
		})
	}
	// Of several files of one source Everett takes the first that is there; here each is a source.
	if src, err := config.EnvFile("", filepath.Join(t.TempDir(), "none")); err != nil || src == nil {
		t.Errorf("a missing .env: %v", err)
	}
	if _, err := yamlfile.Read("/none"); !os.IsNotExist(err) {
		t.Errorf("a missing YAML file: %v", err)
	}
	if _, err := inifile.Read("/none"); !os.IsNotExist(err) {
		t.Errorf("a missing INI file: %v", err)
	}
}
