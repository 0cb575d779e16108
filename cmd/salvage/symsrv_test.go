package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

func TestSymbolPath(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	for _, tt := range []struct {
		text string
		want []symbolStore
	}{
		{"srv", []symbolStore{{"", microsoftStore}}},
		{" SRV * ~/cache * https://a.example/s ;srv*/store\nfiles\nsrv*a*b*c;cache*x", []symbolStore{{"/home/me/cache", "https://a.example/s"}, {"", "/store"}}},
		{"", nil},
	} {
		if got := parseSymbolPath(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q", tt.text, got)
		}
	}
}

// A PDB comes from symbol servers, whole or in a cabinet, by its id or because a program needs it, and stays in the cache.
func TestSymbolStores(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	const pdbID, codeID = "E48E37F97E274CB3A14C9C4E99D5BCB81", "5C8AB4251B000"
	program, pdb := debugtest.File(t, "dump_syms/windows/dump_syms_regtest64.exe"), debugtest.File(t, "dump_syms/windows/dump_syms_regtest64.pdb")
	cabinet, library := debugtest.File(t, "dump_syms/windows/basic32.pd_"), debugtest.File(t, "dump_syms/windows/basic32.dll")
	whole := parseSym(t, dumpSyms(t, debugtest.Path(t, "dump_syms/windows/dump_syms_regtest64.exe"))).header[0]
	id := strings.Fields(whole)[3]
	files := map[string][]byte{
		"/s/dump_syms_regtest64.pdb/" + id + "/dump_syms_regtest64.pdb": pdb,
		"/s/test.exe/" + codeID + "/test.ex_":                           program,
		"/s/basic32.pdb/" + pdbID + "/basic32.pd_":                      cabinet,
		"/s/none.pdb/0/none.pdb":                                        []byte("Symbol Not Found here"),
		"/s/empty.pdb/0/empty.pdb":                                      {},
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if r.UserAgent() != "Microsoft-Symbol-Server/6.3.0.0" {
			t.Errorf("user agent %q", r.UserAgent())
		}
		data, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	defer server.Close()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cache := filepath.Join(dir, "cache")
	path := "srv*" + cache + "*" + server.URL + "/s/"
	for _, tt := range []struct {
		name  string
		args  []string
		funcs int
		asked int
	}{
		{"the PDB of a program", []string{write("p.exe", program)}, 240, 1},
		{"the same from the cache", []string{filepath.Join(dir, "p.exe")}, 240, 0},
		{"by debug id", []string{"--debug-id", id, "dump_syms_regtest64.pdb"}, 240, 0},
		{"in a cabinet", []string{"--debug-id", pdbID, "basic32.pdb"}, 3000, 2},
		{"by a cabinet's name", []string{"--debug-id", pdbID, "basic32.pd_"}, 3000, 0},
		{"by code id", []string{"--code-id", codeID, "test.exe"}, 240, 2}, // its PDB is in the cache
		{"both given", []string{write("q.exe", program), write("q.pdb", pdb)}, 240, 0},
		{"beside it", []string{write("basic32.dll", library), write("basic32.pd_", cabinet)}, 3000, 0},
	} {
		asked = nil
		args := append([]string{"--symbol-server", path}, tt.args...)
		if got := parseSym(t, dumpSyms(t, args...)); len(got.funcs) < tt.funcs || len(asked) != tt.asked || !strings.HasSuffix(got.header[0], ".pdb") {
			t.Errorf("%s: %d functions, asked for %q, %s", tt.name, len(got.funcs), asked, got.header[0])
		}
	}
	if data, err := os.ReadFile(filepath.Join(cache, "basic32.pdb", pdbID, "basic32.pd_")); err != nil || !bytes.Equal(data, cabinet) {
		t.Errorf("the cache: %d bytes, %v", len(data), err)
	}
	fails := func(want string, args ...string) {
		t.Helper()
		var stderr bytes.Buffer
		if code := run(append([]string{"dump-syms"}, args...), nil, &bytes.Buffer{}, &stderr); code == 0 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d: %s", args, code, &stderr)
		}
	}
	for _, name := range []string{"none.pdb", "empty.pdb", "else.pdb"} {
		fails(name+": no symbol server has it with the id 0", "--symbol-server", path, "--debug-id", "0", name)
	}
	fails("none.pdb is to be fetched: name a server with --symbol-server.", "--debug-id", "0", "none.pdb")
	fails("are no name and id", "--symbol-server", path, "--debug-id", "../..", "none.pdb")
	fails("is for one FILE", "--symbol-server", path, "--debug-id", "0", "a", "b")
	fails("names no server", "--symbol-server", "https://a.example", "x")
	fails("not the address of a symbol server", "--symbol-server", "srv*ftp://a.example", "--debug-id", "0", "a.pdb")
	t.Chdir(filepath.Join(cache)) // where a store without a cache does not look
	fails("connection refused", "--symbol-server", "srv*http://127.0.0.1:1/", "--debug-id", id, "dump_syms_regtest64.pdb")
	fails("connection refused", "--symbol-server", "srv*http://127.0.0.1:1/", "--debug-id", "0", "a.pdb")
	// A program whose PDB cannot be had is written without it, and that is told.
	write("p.ex_", program)
	for server, want := range map[string]string{
		"srv*http://127.0.0.1:1/":     "p.ex_: its PDB: Get .*connection refused\n.*p.ex_: part of the debug information is in 1 file not found, first .*dump_syms_regtest64.pdb\n$",
		"srv*" + server.URL + "/none": "p.ex_: its PDB: dump_syms_regtest64.pdb: no symbol server has it with the id " + id + ".\n",
	} {
		var out, stderr bytes.Buffer
		if code := run([]string{"dump-syms", "--symbol-server", server, filepath.Join(dir, "p.ex_")}, nil, &out, &stderr); code != 0 || !regexp.MustCompile(want).Match(stderr.Bytes()) {
			t.Errorf("exit code %d: %s", code, &stderr)
		}
		if got := parseSym(t, out.Bytes()); !strings.HasSuffix(got.header[1], " p.exe") || len(got.blocks) == 0 {
			t.Errorf("%q, %d blocks", got.header, len(got.blocks))
		}
	}
	// A PDB finds its program beside it, compressed or not, past another of that name.
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, _ = w.Write(program)
	_ = w.Close()
	write("r.exe", library)
	write("r.ex_", gz.Bytes())
	if got := parseSym(t, dumpSyms(t, "--check-cfi", write("r.pdb", pdb))); len(got.blocks) < 100 || !strings.HasSuffix(got.header[0], " dump_syms_regtest64.pdb") || !strings.HasSuffix(got.header[1], " r.exe") {
		t.Errorf("a program beside it: %d blocks, %q", len(got.blocks), got.header)
	}
	// What dump_syms reads without a flag; a store may be a folder.
	home, _ := os.UserHomeDir()
	if err := os.MkdirAll(filepath.Join(home, ".dump_syms"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".dump_syms", "config"), []byte("srv*"+cache+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := parseSym(t, dumpSyms(t, "--debug-id", id, "dump_syms_regtest64.pdb")); len(got.funcs) < 240 {
		t.Errorf("config file: %d functions", len(got.funcs))
	}
}

func TestPathMappings(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "gen.c")
	if err := os.WriteFile(source, []byte("int x;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "mapping.json")
	if err := os.WriteFile(file, []byte(`{"variables": {"repo": "example.org/app", "rev": "old"}, "mappings": [
		{"source": "^/b/(.*)$", "destination": "hg:{repo}:{1}:{rev}", "files": []},
		{"source": "c", "destination": "only:{0}", "files": ["/b/x.c", "/b/y.c"]}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha512.Sum512([]byte("int x;\n")))
	all, err := pathMappings([]string{"rev=9f=3"}, []string{"gen.*c$", "(q)?/lib/(.*)", "^/lib/"}, []string{"s3:{digest}/{DIGEST}", "{1}{2}", "lib:}{rev}"}, file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range [][2]string{
		{"/b/src/a.c", "hg:example.org/app:src/a.c:9f=3"},
		{"/b/x.c", "only:c"}, // those for certain files come first
		{source, "s3:" + sum + "/" + strings.ToUpper(sum)},
		{"q/lib/z", "qz"},
		{"/lib/z", "lib:}9f=3"}, // a group that matched nothing: the next one
		{"/else", ""},
	} {
		got := ""
		for _, m := range all {
			to, ok, err := m.apply(tt[0])
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				got = to
				break
			}
		}
		if got != tt[1] {
			t.Errorf("%s: %q, want %q", tt[0], got, tt[1])
		}
	}
	for _, bad := range []struct{ vars, sources, templates []string }{
		{[]string{"rev"}, nil, nil}, {nil, []string{"a"}, []string{"{1}"}}, {nil, []string{"a"}, []string{"{-1}"}}, {nil, []string{"("}, []string{""}}, {nil, nil, []string{""}},
	} {
		if _, err := pathMappings(bad.vars, bad.sources, bad.templates, ""); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}
