package config_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvage/config"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKey(t *testing.T) {
	k := config.Key{Namespace: []string{"metrics", "stats_d"}, Name: "max_size"}
	if k.String() != "metrics.stats_d.max_size" || k.Env() != "METRICS_STATS_D_MAX_SIZE" || k.Flag() != "metrics-stats-d-max-size" {
		t.Errorf("Key: %s, %s, %s", k, k.Env(), k.Flag())
	}
}

func TestEnvFile(t *testing.T) {
	src, err := config.EnvFile("P_", writeFile(t, "\ufeffP_FIRST=bom\n"+
		"# comment\n\n  # indented comment\n"+
		"P_A=1\n"+
		"export P_B = two words \n"+
		"export\tP_C='single'\r\n"+
		"P_D=\"double\"\n"+
		"P_E='self' www.example.org\n"+ // stays whole
		"P_F=''quoted''\n"+
		"P_G=a # no comment\n"+
		"P_H=$A ${A} \\n\n"+
		"P_I=\"open\n"+
		"P_J=a=b=\n"+
		"P_K=\n"+
		"p_lower=found\n"+
		"P_M=1\nP_M=2\n"+
		"P_N='\n"+
		"exported=x\nexport=y\n_U=1\n"+
		"P_LAST=no newline"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]config.Value{
		"first": {"bom", "line 1", "P_FIRST"}, "a": {"1", "line 5", "P_A"}, "b": {"two words", "line 6", "P_B"}, "c": {"single", "line 7", "P_C"},
		"d": {"double", "line 8", "P_D"}, "e": {"'self' www.example.org", "line 9", "P_E"}, "f": {"'quoted'", "line 10", "P_F"},
		"g": {"a # no comment", "line 11", "P_G"}, "h": {`$A ${A} \n`, "line 12", "P_H"}, "i": {`"open`, "line 13", "P_I"},
		"j": {"a=b=", "line 14", "P_J"}, "k": {"", "line 15", "P_K"}, "lower": {"found", "line 16", "p_lower"}, "m": {"2", "line 18", "P_M"},
		"n": {"'", "line 19", "P_N"}, "last": {"no newline", "line 23", "P_LAST"},
	} {
		if got, ok := src.Lookup(config.Key{Name: key}); !ok || got != want {
			t.Errorf("Lookup(%s) = %q, %v, want %q", key, got, ok, want)
		}
	}
	if v, ok := src.Lookup(config.Key{Name: "z"}); ok {
		t.Errorf("Lookup(z) = %v", v)
	}
}

func TestEnvFileErrors(t *testing.T) {
	path := writeFile(t, "A=1\nhunter2\n\n1A=hunter2\nexport\n=hunter2\nA-B=1\nhunter2==\nexport A B=1\nÄ=1\n")
	_, err := config.EnvFile("", path)
	want := strings.ReplaceAll("F, line 2: no = operator\nF, line 4: no variable name before =\nF, line 5: no = operator\n"+
		"F, line 6: no variable name before =\nF, line 7: no variable name before =\n"+
		"F, line 9: no variable name before =\nF, line 10: no variable name before =", "F", path)
	if err == nil || err.Error() != want {
		t.Errorf("EnvFile: %v\nwant %s", err, want)
	}
	if _, err := config.EnvFile("", t.TempDir()); err == nil {
		t.Error("EnvFile of a folder succeeded")
	}
	src, err := config.EnvFile("", filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := src.Lookup(config.Key{Name: "a"}); ok {
		t.Errorf("Lookup in a missing file = %v", v)
	}
}

// A file with bad lines is a source of the good ones.
func TestEnvFileWithErrors(t *testing.T) {
	src, err := config.EnvFile("", writeFile(t, "A=1\nhunter2\n"))
	if err == nil {
		t.Fatal("EnvFile succeeded")
	}
	if v, ok := src.Lookup(config.Key{Name: "a"}); !ok || v.Text != "1" {
		t.Errorf("Lookup = %v, %v", v, ok)
	}
}

func TestSettings(t *testing.T) {
	src, err := config.Settings("file c", []config.Value{
		{Text: "1", Pos: "line 1", Name: "Web.Max-Body"}, {Text: "2", Pos: "line 2", Name: "web_max_body"}, {Text: "3", Pos: "line 3", Name: "WEB.port"},
	})
	if err == nil || err.Error() != "file c, line 2: web_max_body was set before: line 1" {
		t.Errorf("Settings: %v", err)
	}
	for key, want := range map[string]config.Value{
		"max_body": {Text: "1", Pos: "line 1", Name: "Web.Max-Body"}, "port": {Text: "3", Pos: "line 3", Name: "WEB.port"}, "other": {Name: "web.other"},
	} {
		got, ok := src.Lookup(config.Key{Namespace: []string{"web"}, Name: key})
		if got != want || ok != (want.Text != "") {
			t.Errorf("Lookup(%s) = %+v, %v, want %+v", key, got, ok, want)
		}
	}
}

func TestFlagSet(t *testing.T) {
	var d documented
	set := flag.NewFlagSet("prog", flag.ContinueOnError)
	src := config.FlagSet(set, &d)
	if err := set.Parse([]string{"-l", ":81", "--wait=5s", "-json"}); err != nil {
		t.Fatal(err)
	}
	r, err := config.Load(&d, config.LoadOptions{Sources: []config.Source{src}})
	if err != nil || d.listen != ":81" || d.wait != 5*time.Second || !strings.Contains(runtime(t, r), "--json=true  # command line\n") {
		t.Errorf("loaded %+v, %v", d, err)
	}
	if f := set.Lookup("listen"); f == nil || f.Usage != "Where to listen,\n<a|b>. (default :80)" {
		t.Errorf("flag listen: %+v", f)
	}
	if set.Lookup("storage-bucket-key") != nil {
		t.Error("a secret has a flag")
	}
}

// Whatever a .env file holds, names and places fit, and no error quotes it.
func FuzzEnvFile(f *testing.F) {
	for _, s := range []string{"A=1\nexport B='x'\n", "\ufeffA=", "=", "A=\"'\"", "a=1\nA=2\r\n", "export=1"} {
		f.Add(s, "value")
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, value string) {
		path := filepath.Join(dir, "env")
		line := strings.NewReplacer("\n", "", "\r", "").Replace(value)
		line = strings.TrimSpace(line)
		if err := os.WriteFile(path, []byte(text+"\nADDED=\""+line+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		src, err := config.EnvFile("", path)
		if v, ok := src.Lookup(config.Key{Name: "added"}); !ok || v.Text != line {
			t.Errorf("a quoted value: %q, want %q", v.Text, line)
		}
		for _, v := range src.(config.Lister).List() {
			if v.Name == "" || v.Pos == "" || strings.ContainsAny(v.Name, "= \n") {
				t.Errorf("listed %+v", v)
			}
		}
		if err != nil && strings.Count(err.Error(), path+", line ") != strings.Count(err.Error(), "\n")+1 {
			t.Errorf("error %v", err)
		}
	})
}
