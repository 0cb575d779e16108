package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// pmac runs the program in a folder.
func pmac(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	code = run(t.Context(), dir, args, &out, &complaints)
	return code, out.String(), complaints.String()
}

func TestConfig(t *testing.T) {
	table := "[tool.paul-mclendahand]\ngithub_user=\"acme\"\ngithub_project=\"shop\"\nmain_branch=\"main\"\n"
	section := "[metadata]\nname = x\nrequires =\n  a\n  b\n[tool:paul-mclendahand]\ngithub_user=acme\ngithub_project = shop\nmain_branch=main\n[other]\ngithub_user=wrong\n"
	all := map[string]string{"PMAC_GITHUB_USER": "acme", "PMAC_GITHUB_PROJECT": "shop", "PMAC_MAIN_BRANCH": "main"}
	for name, tt := range map[string]struct {
		files, env map[string]string
		code       int
		says       string
	}{
		"nothing":              {nil, nil, 1, "pmac: Configuration 'github_user' not set.\n"},
		"environment":          {nil, all, 0, ""},
		"toml":                 {map[string]string{"pyproject.toml": table}, nil, 0, ""},
		"cfg":                  {map[string]string{"setup.cfg": section}, nil, 0, ""},
		"toml without table":   {map[string]string{"pyproject.toml": "[tool.black]\n", "setup.cfg": section}, nil, 1, "Configuration 'github_user' not set."},
		"environment wins":     {map[string]string{"pyproject.toml": strings.Replace(table, "acme", "other", 1)}, map[string]string{"PMAC_GITHUB_USER": "acme"}, 0, ""},
		"token in toml":        {map[string]string{"pyproject.toml": table + "github_api_token=\"t\"\n"}, nil, 1, "pmac: You shouldn't set github_api_token in pyproject.toml.\n"},
		"token in cfg":         {map[string]string{"setup.cfg": strings.Replace(section, "[other]", "github_api_token=t\n[other]", 1)}, nil, 1, "pmac: You shouldn't set github_api_token in setup.cfg.\n"},
		"unreadable toml":      {map[string]string{"pyproject.toml": "["}, nil, 1, "pyproject.toml cannot be read"},
		"project missing":      {nil, map[string]string{"PMAC_GITHUB_USER": "acme"}, 1, "Configuration 'github_project' not set."},
		"misspelt in the toml": {map[string]string{"pyproject.toml": table + "main_brnach=\"x\"\n"}, nil, 1, "main_branch"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/repos/acme/shop/pulls" || r.URL.Query().Get("base") != "main" {
					w.WriteHeader(500)
				}
				fmt.Fprint(w, "[]")
			}))
			defer api.Close()
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			t.Setenv("PMAC_API_URL", api.URL)
			code, _, stderr := pmac(t, dir, "listprs")
			if code != tt.code || !strings.Contains(stderr, tt.says) || tt.says == "" && stderr != "" {
				t.Errorf("exit %d, %q", code, stderr)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `[{"number":5100,"title":"Bump <x> [security]","labels":[{"name":"python"},{"name":"deps"}],"base":{"ref":"main"},"html_url":"u","state":"open"}]`)
	}))
	defer api.Close()
	for k, v := range map[string]string{"PMAC_GITHUB_USER": "acme", "PMAC_GITHUB_PROJECT": "shop", "PMAC_MAIN_BRANCH": "main", "PMAC_GITHUB_API_TOKEN": "S3CRET"} {
		t.Setenv(k, v)
	}
	for _, tt := range []struct {
		args string
		code int
		out  string
		err  string
	}{
		{"listprs", 0, "5100\tBump <x> [security]\n", ""},
		{"listprs --labels --format table", 0, "5100\tBump <x> [security]\tdeps python\n", ""},
		{"listprs --json", 0, "[\n  {\n    \"number\": 5100,\n    \"title\": \"Bump <x> [security]\",\n    \"html_url\": \"u\",\n    \"state\": \"open\",\n    \"labels\": [\n      \"deps\",\n      \"python\"\n    ],\n    \"base\": \"main\"\n  }\n]\n", ""},
		{"listprs --format x", 2, "", "The format is table or tab, not \"x\".\n"},
		{"add", 2, "", "either pull requests, or one of --continue, --skip and --abort"},
		{"add 1 --continue", 2, "", "either pull requests, or"},
		{"add --skip --abort", 2, "", "one of --continue, --skip and --abort"},
		{"add one", 2, "", "\"one\" is not the number of a pull request."},
		{"add --continue", 2, "", "This is no git repository."},
		{"prmsg", 1, "", "git remote"},
		{"nonsense", 2, "", "See 'pmac --help'"},
	} {
		code, out, stderr := pmac(t, t.TempDir(), append(strings.Fields(tt.args), "--api-url", api.URL)...)
		if code != tt.code || out != tt.out && tt.code == 0 || !strings.Contains(stderr, tt.err) {
			t.Errorf("%s: exit %d\n%s%s", tt.args, code, out, stderr)
		}
	}
	_, out, _ := pmac(t, t.TempDir(), "listconfigs")
	if !strings.Contains(out, "acme") || !strings.Contains(out, "PMAC_GITHUB_USER") || strings.Contains(out, "S3CRET") {
		t.Errorf("%s", out)
	}
	var table bytes.Buffer
	if err := list(&table, nil, true, "table"); err != nil || table.String() != "| pr | title | labels |\n| -- | ----- | ------ |\n" {
		t.Errorf("%v\n%s", err, &table)
	}
}

// TestProgram adds a pull request with the program as it is, and prints its text.
func TestProgram(t *testing.T) {
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	for _, name := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+name+"_NAME", "x")
		t.Setenv("GIT_"+name+"_EMAIL", "x@example.org")
	}
	origin := filepath.Join(t.TempDir(), "acme", "shop.git")
	work := filepath.Join(t.TempDir(), "work")
	script := `set -e
git init -q -b main "$1"; cd "$1"
echo 1 >a; git add a; git commit -qm init
git checkout -q --detach; echo 2 >a; git commit -qam 'Bump a'; git update-ref refs/pull/7/head HEAD; git checkout -q main
git clone -q "$1" "$2"; cd "$2"; git checkout -q -b combined`
	if text, err := exec.Command("sh", "-c", script, "sh", origin, work).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"number":7,"title":"Bump a","state":"open","base":{"ref":"main"}}`)
	}))
	defer api.Close()
	toml := "[tool.paul-mclendahand]\ngithub_user='acme'\ngithub_project='shop'\nmain_branch='main'\napi_url='" + api.URL + "'\n"
	if err := os.WriteFile(filepath.Join(work, "pyproject.toml"), []byte(toml), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out, stderr := pmac(t, work, "add", "#7"); code != 0 || !strings.HasSuffix(out, "Bump a (from PR #7)\npmac: Done.\n") {
		t.Errorf("exit %d\n%s%s", code, out, stderr)
	}
	if code, out, _ := pmac(t, work, "prmsg"); code != 0 || out != "Update dependencies. This covers:\n\n* Bump a (from PR #7)\n" {
		t.Errorf("exit %d\n%s", code, out)
	}
}
