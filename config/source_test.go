package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
