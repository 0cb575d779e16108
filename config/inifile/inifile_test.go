package inifile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvage/config"
	"salvage/config/inifile"
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
		"": "",
		"\ufeffa=1\r\n# c\n ; c\n\n b = two words ":             "line 1 a=1;line 5 b=two words;",
		"a=1 # c\nb= # c\nc=#c\nd=x#y\ne=x ; y":                 "line 1 a=1;line 2 b=;line 3 c=;line 4 d=x#y;line 5 e=x ; y;",
		"a='x # y'\nb=\"x # y\" # c\nc='x' y # z\nd='\ne=''":    "line 1 a=x # y;line 2 b=x # y;line 3 c='x' y;line 4 d=';line 5 e=;",
		"[s]\na=1\n[t.u] # c\na=2\n[ s ]\nb=3":                  "line 2 s.a=1;line 4 t.u.a=2;line 6 s.b=3;",
		"[s]\n[[t]]\na=1\n[[[u-v]]]\na=2\n[[w]]\na=3\n[x]\na=4": "line 3 s.t.a=1;line 5 s.t.u-v.a=2;line 7 s.w.a=3;line 9 x.a=4;",
		"[main]\na=1\n[[t]]\na=2\n[main.x]\na=3":                "line 2 a=1;line 4 t.a=2;line 6 main.x.a=3;",
		"main=1\na.b_c-d=%(x)s":                                 "line 1 main=1;line 2 a.b_c-d=%(x)s;",
	} {
		src, err := inifile.Parse("file x", []byte(text))
		if err != nil || list(src) != want || src.Name() != "file x" {
			t.Errorf("Parse(%q) = %q, %v, want %q", text, list(src), err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	src, err := inifile.Parse("x.ini", []byte("[s]\nhunter2\n=1\na: 1\na b = 1\nb = '''x\n[t\nskipped=1\n[]\n[[s]\n[[[s]]]\n[u] x\n[v]\nc=1\nC=2\n[V]\nd=1\n-e=1\n"))
	want := `x.ini, line 2: no name = value
x.ini, line 3: no name = value
x.ini, line 4: no name = value
x.ini, line 5: no name = value
x.ini, line 6: b has a value of several lines, which is not supported
x.ini, line 7: no section; its settings are skipped
x.ini, line 9: no section; its settings are skipped
x.ini, line 10: no section; its settings are skipped
x.ini, line 11: no section; its settings are skipped
x.ini, line 12: no section; its settings are skipped
x.ini, line 18: no name = value
x.ini, line 15: v.C was set before: line 14`
	if err == nil || err.Error() != want {
		t.Errorf("Parse: %v\nwant %s", err, want)
	}
	if got, want := list(src), "line 14 v.c=1;line 17 V.d=1;"; got != want {
		t.Errorf("the rest is %s, want %s", got, want)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.ini")
	if err := os.WriteFile(path, []byte("a=1"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := inifile.Read(path)
	if err != nil || list(src) != "line 1 a=1;" || src.Name() != "file "+path {
		t.Errorf("Read = %v, %v", src, err)
	}
}

// Whatever a file holds, its values have names and places; a value in quotes comes back as it was written.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"[s]\na=1\n[[t]]\nb = 'x' # c\n", "[[[", "a='''\n", "=", "[a]]\n", "\ufeff[main]\r\nx=\"\""} {
		f.Add(s, "value")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		src, _ := inifile.Parse("file x", []byte(text))
		for _, v := range src.(config.Lister).List() {
			if v.Name == "" || !strings.HasPrefix(v.Pos, "line ") || strings.ContainsAny(v.Text, "\n") {
				t.Errorf("listed %+v", v)
			}
		}
		if strings.ContainsAny(value, "\"\n\r") {
			return
		}
		src, err := inifile.Parse("file x", []byte("[a]\nb = \""+value+"\" # comment\n"))
		if v, _ := src.Lookup(config.Key{Namespace: []string{"a"}, Name: "b"}); err != nil || v.Text != value {
			t.Errorf("%q came back as %q, %v", value, v.Text, err)
		}
	})
}
