package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/internal/debugtest"
)

// symServer serves the files of a folder below /there/ and notes what it was asked for.
type symServer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newSymServer(t *testing.T, folder string) *symServer {
	s := new(symServer)
	files := http.StripPrefix("/there", http.FileServer(http.Dir(folder)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.RequestURI)
		s.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *symServer) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	slices.Sort(asked) // modules are fetched side by side
	return asked
}

// treeOf returns the files below a folder with their contents.
func treeOf(t *testing.T, folder string) map[string]string {
	tree := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		tree[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestSocorro runs the command line of Socorro (minidump.md §12.23) twice and, where it is at hand, minidump-stackwalk
// with the same: requests, cache and JSON must be the same, and either may use the other's cache.
func TestSocorro(t *testing.T) {
	dump := debugtest.Path(t, "breakpad/dumps/minidump2.dmp")
	server := newSymServer(t, debugtest.Path(t, "breakpad/symbols"))
	dir := t.TempDir()
	evil := filepath.Join(dir, "evil.json")
	if err := os.WriteFile(evil, []byte(`{"ModuleSignatureInfo":{"Microsoft":["kernel32.dll","ntdll.dll"]},"CPUMicrocodeVersion":"0x1f"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	args := func(cache string) []string {
		return []string{
			"--evil-json=" + evil, "--symbols-cache=" + filepath.Join(dir, cache), "--symbols-tmp=" + filepath.Join(dir, "tmp"), "--no-color",
			"--output-file=" + filepath.Join(dir, "out.json"), "--log-file=" + filepath.Join(dir, "log"),
			"--symbols-url=" + server.URL + "/not-there", "--symbols-url=" + server.URL + "/there/", "--json", "--verbose=error", dump,
		}
	}
	report := func() (report map[string]any) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, "out.json"))
		if err == nil {
			err = json.Unmarshal(data, &report)
		}
		if log, _ := os.ReadFile(filepath.Join(dir, "log")); err != nil || len(log) > 0 {
			t.Fatalf("%v, log %s", err, log)
		}
		return report
	}
	ours := func(cache string) map[string]any {
		t.Helper()
		var out, stderr bytes.Buffer
		if code := run(append([]string{"stackwalk"}, args(cache)...), nil, &out, &stderr); code != 0 || out.Len()+stderr.Len() > 0 {
			t.Fatalf("exit code %d, %s%s", code, &out, &stderr)
		}
		return report()
	}
	first := ours("ours")
	requests := server.requests()
	const app = "/test_app.pdb/5A9832E5287241C1838ED98914E9B7FF1/test_app.sym?code_file=test_app.exe&code_id=45d35f6c2d000"
	if !slices.Contains(requests, "/not-there"+app) || !slices.Contains(requests, "/there"+app) || len(requests) != 4 {
		t.Errorf("asked for %q", requests)
	}
	if url := first["modules"].([]any)[0].(map[string]any)["symbol_url"]; url != server.URL+"/there"+app {
		t.Errorf("symbols came from %v", url)
	}
	cache := treeOf(t, filepath.Join(dir, "ours"))
	if got := cache["test_app.pdb/5A9832E5287241C1838ED98914E9B7FF1/test_app.sym"]; len(cache) != 2 || !strings.HasSuffix(got, "\nINFO URL "+server.URL+"/there"+app+"\n") {
		t.Errorf("%d files in the cache, one ends in %q", len(cache), got[max(0, len(got)-200):])
	}
	if left := treeOf(t, filepath.Join(dir, "tmp")); len(left) > 0 {
		t.Errorf("left behind: %d files", len(left))
	}
	same := func(what string, a, b map[string]any) {
		t.Helper()
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if !bytes.Equal(x, y) {
			t.Errorf("%s: \n%s\n%s", what, x, y)
		}
	}
	same("from the cache", ours("ours"), first)
	// The second time lookup files were made; whatever becomes of them the report stays the same.
	sym := filepath.Join(dir, "ours", "test_app.pdb/5A9832E5287241C1838ED98914E9B7FF1/test_app.sym")
	kept := func() string {
		t.Helper()
		var text string
		for _, suffix := range []string{symcacheSuffix, cficacheSuffix} {
			data, err := os.ReadFile(sym + suffix)
			if err != nil {
				t.Fatal(err)
			}
			text += string(data)
		}
		return text
	}
	whole := kept()
	same("from lookup files", ours("ours"), first)
	for what, change := range map[string]func() error{
		"cut":   func() error { return os.Truncate(sym+symcacheSuffix, 100) },
		"rules": func() error { return os.WriteFile(sym+cficacheSuffix, []byte("x"), 0o644) },
		"gone":  func() error { return os.Remove(sym + cficacheSuffix) },
		"another's": func() error {
			all, _ := filepath.Glob(filepath.Join(dir, "ours", "*", "*", "*"+symcacheSuffix))
			all = slices.DeleteFunc(all, func(path string) bool { return path == sym+symcacheSuffix })
			data, err := os.ReadFile(all[0])
			return errors.Join(err, os.WriteFile(sym+symcacheSuffix, data, 0o644))
		},
		"swapped": func() error { return os.Rename(sym+cficacheSuffix, sym+symcacheSuffix) },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		same(what, ours("ours"), first)
		if kept() != whole {
			t.Errorf("%s: not made again", what)
		}
	}
	// They are what is read: of another module's none, and of a file that is partly bad none is made.
	data, err := os.ReadFile(sym)
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{symcacheSuffix, cficacheSuffix} {
		if err := os.Remove(sym + suffix); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(sym, bytes.ReplaceAll(data, []byte(" main"), []byte(" niam")), 0o644); err != nil {
		t.Fatal(err)
	}
	if name := func() any {
		return ours("ours")["crashing_thread"].(map[string]any)["frames"].([]any)[1].(map[string]any)["function"]
	}; name() != "niam" {
		t.Errorf("other symbols: %v", name())
	}
	if err := errors.Join(os.WriteFile(sym, data, 0o644), os.Chtimes(sym, time.Now(), time.Now().Add(time.Minute))); err != nil {
		t.Fatal(err)
	}
	same("symbols newer than lookup files", ours("ours"), first)
	for _, suffix := range []string{symcacheSuffix, cficacheSuffix} {
		if err := os.Remove(sym + suffix); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(sym, slices.Concat(data, []byte("FUNC zz\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if m := ours("ours")["modules"].([]any)[0].(map[string]any); m["corrupt_symbols"] != true {
		t.Errorf("a bad line: %v", m)
	}
	if _, err := os.Stat(sym + symcacheSuffix); err == nil {
		t.Error("lookup files of a bad one")
	}
	if err := os.WriteFile(sym, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if again := server.requests(); len(again) > 0 {
		t.Errorf("asked again for %q", again)
	}

	tool := debugtest.Program(t, "stackwalk", "minidump-stackwalk")
	theirs := func(cache string) map[string]any {
		t.Helper()
		if out, err := exec.Command(tool, args(cache)...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v, %s", err, out)
		}
		return report()
	}
	peer := theirs("theirs")
	if got := server.requests(); !slices.Equal(got, requests) {
		t.Errorf("they asked for %q, we for %q", got, requests)
	}
	for name, data := range treeOf(t, filepath.Join(dir, "theirs")) {
		if cache[name] != data {
			t.Errorf("%s is not the same in their cache", name)
		}
		delete(cache, name)
	}
	if len(cache) > 0 {
		t.Errorf("%d files are not in their cache", len(cache))
	}
	same("from our cache", theirs("ours"), peer)
	same("from their cache", ours("theirs"), first)
	crash := first["crash_info"].(map[string]any) // keys of ours
	delete(crash, "exception")
	delete(crash, "likely_null_pointer")
	same("theirs", peer, first)
}

// symText is a symbol file without a newline at its end.
const symText = "MODULE Linux x86_64 0102030405060708090A0B0C0D0E0F101 a&b #1%?.so\nPUBLIC 1000 0 f"

func testModule(name string) *minidump.Module {
	id, _ := debugid.Parse("0102030405060708090A0B0C0D0E0F101")
	return &minidump.Module{Name: "/lib/" + name, DebugFile: "/lib/" + name, DebugID: id, CodeID: "0403", Addr: 0x10000, Size: 0x10000}
}

// testServers returns a provider that has symbols of servers only.
func testServers(t *testing.T, log io.Writer, servers ...string) *fileProvider {
	dir := t.TempDir()
	s := &symbolServers{cache: filepath.Join(dir, "cache"), tmp: dir, timeout: time.Minute, limit: 1 << 20, log: &walkLog{level: 5, w: log}, files: map[string]*fetched{}}
	for _, text := range servers {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		s.urls = append(s.urls, u)
	}
	p := newFileProvider(context.Background(), nil)
	p.servers = s
	t.Cleanup(func() { p.Close() })
	return p
}

// TestFetch: names with characters that mean something in addresses reach the server they are for; whoever asks at
// the same time waits for the one request; servers that answer nonsense, break off or hang are passed over.
func TestFetch(t *testing.T) {
	const name = "a&b #1%?.so"
	var mu sync.Mutex
	asked := map[string]int{}
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		switch kind, _, _ := strings.Cut(r.URL.Path[1:], "/"); kind {
		case "nonsense":
			io.WriteString(w, "hello")
		case "other":
			io.WriteString(w, strings.Replace(symText, "0102", "0202", 1))
		case "short":
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, symText)
		case "hangs":
			io.WriteString(w, symText)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "good":
			if r.URL.RawQuery != "code_file=a%26b+%231%25%3F.so&code_id=0403" {
				t.Errorf("query %s", r.URL.RawQuery)
			}
			io.WriteString(w, symText)
		}
	}))
	defer bad.Close()
	path := "/" + name + "/0102030405060708090A0B0C0D0E0F101/" + name + ".sym"
	var log bytes.Buffer
	p := testServers(t, &log, bad.URL+"/nonsense", bad.URL+"/other/", bad.URL+"/short", "http://127.0.0.1:1/", bad.URL+"/good")
	var group sync.WaitGroup
	for range 8 { // modules that are one file
		group.Go(func() {
			if names := p.Names(testModule(name), 0x1000); len(names) != 1 || names[0].Function != "f" {
				t.Errorf("names %v", names)
			}
		})
	}
	group.Wait()
	for _, kind := range []string{"/nonsense", "/other", "/short", "/good"} {
		if asked[kind+path] != 1 {
			t.Errorf("%s was asked %d times: %v", kind, asked[kind+path], asked)
		}
	}
	for _, why := range []string{"/nonsense/", "it is for 0202", "unexpected EOF", "connection refused", "came from"} {
		if !strings.Contains(log.String(), why) {
			t.Errorf("the log does not say %s:\n%s", why, &log)
		}
	}
	if files := treeOf(t, filepath.Dir(p.servers.cache)); len(files) != 1 || !strings.HasSuffix(files["cache"+path], " f\nINFO URL "+bad.URL+"/good/a&b%20%231%25%3F.so/0102030405060708090A0B0C0D0E0F101/a&b%20%231%25%3F.so.sym?code_file=a%26b+%231%25%3F.so&code_id=0403\n") {
		t.Errorf("files %q", files)
	}

	// What nobody has is missing; what could not be got is told.
	m := testModule(name)
	p = testServers(t, io.Discard, bad.URL+"/hangs")
	p.servers.timeout = 50 * time.Millisecond
	if p.Names(m, 0x1000) != nil || !p.Symbols(m).Corrupt || !strings.Contains(p.Symbols(m).Reason, "deadline exceeded") {
		t.Errorf("of a server that hangs: %+v", p.Symbols(m))
	}
	server := newSymServer(t, t.TempDir())
	p = testServers(t, io.Discard, server.URL)
	for range 2 { // remembered
		m := testModule(name)
		if p.Names(m, 0x1000) != nil || !p.Symbols(m).Missing || p.Symbols(m).Corrupt {
			t.Errorf("of a server without it: %+v", p.Symbols(m))
		}
	}
	if got := server.requests(); len(got) != 1 {
		t.Errorf("asked for %q", got)
	}

	// Where nothing can be kept symbols are used all the same.
	p = testServers(t, &log, bad.URL+"/good")
	if err := os.WriteFile(p.servers.cache, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if p.Names(m, 0x1000) == nil || !strings.Contains(log.String(), "symbols are not kept") {
		t.Errorf("%+v\n%s", p.Symbols(m), &log)
	}
	// What is larger than the limit is neither used nor kept, to the byte.
	for limit, want := range map[int]bool{len(symText): true, len(symText) - 1: false} {
		p = testServers(t, io.Discard, bad.URL+"/good")
		p.servers.limit = int64(limit)
		m := testModule(name)
		if got := p.Names(m, 0x1000) != nil; got != want || p.Symbols(m).Corrupt == want || !want && !strings.Contains(p.Symbols(m).Reason, "larger than") {
			t.Errorf("with a limit of %d bytes: %+v", limit, p.Symbols(m))
		}
		if files := treeOf(t, filepath.Dir(p.servers.cache)); (len(files) == 1) != want {
			t.Errorf("with a limit of %d bytes: files %q", limit, files)
		}
	}
	// What is in the cache and cannot be used is told of, also where no server has the file.
	p = testServers(t, io.Discard, server.URL)
	broken := filepath.Join(p.servers.cache, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(broken), 0o755), os.WriteFile(broken, []byte("MODULE"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if m := testModule(name); p.Names(m, 0x1000) != nil || !p.Symbols(m).Corrupt || p.Symbols(m).Missing || !strings.Contains(p.Symbols(m).Reason, broken) {
		t.Errorf("of a broken cache: %+v", p.Symbols(m))
	}
	server.requests()
	// It is replaced where one has.
	p = testServers(t, &log, bad.URL+"/good")
	cached := filepath.Join(p.servers.cache, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(cached), 0o755), os.WriteFile(cached, []byte("MODULE"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(cached); p.Names(m, 0x1000) == nil || string(data) != "MODULE" {
		t.Errorf("%+v", p.Symbols(m))
	}
	if data, _ := os.ReadFile(cached); !bytes.HasPrefix(data, []byte(symText)) {
		t.Errorf("the cache has %q", data)
	}
}

// Names of a dump that lead elsewhere are not asked for.
func TestFetchHostile(t *testing.T) {
	server := newSymServer(t, t.TempDir())
	for _, name := range []string{"..", ".", "", "a\x00b", "a\nb", `C:\x\..`} {
		p := testServers(t, io.Discard, server.URL)
		m := testModule("x")
		m.DebugFile, m.Name = name, name
		p.Names(m, 0x1000)
		if got := server.requests(); len(got) > 0 || !p.Symbols(m).Missing {
			t.Errorf("%q: asked for %q, %+v", name, got, p.Symbols(m))
		}
		m.DebugID = debugid.ID{}
		p = testServers(t, io.Discard, server.URL)
		p.Names(m, 0x1000)
		if got := server.requests(); len(got) > 0 {
			t.Errorf("%q: asked for %q", name, got)
		}
	}
}

// TestIdentify: servers know the debug ids of modules of which a dump has the code id only.
func TestIdentify(t *testing.T) {
	var asked []string
	to := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		if r.URL.Path == "/xul.dll/5AB380779000/xul.sym" && to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/xul.pdb/") {
			io.WriteString(w, symText)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	const id = "0102030405060708090A0B0C0D0E0F101"
	for _, test := range []struct {
		to, file string // what is learned
	}{
		{"/xul.pdb/" + id + "/xul.sym", "xul.pdb"},
		{"/xul.pdb/000000000000000000000000000000000/xul.sym", ""},
		{"/xul.pdb/" + id + "/other.sym", ""},
		{"/" + id + "/xul.sym", ""},
		{"/%2e%2e/" + id + "/...sym", ""},
		{"", ""},
	} {
		to, asked = test.to, nil
		p := testServers(t, io.Discard, server.URL)
		m := &minidump.Module{Name: `C:\Program Files\xul.dll`, CodeID: "5ab380779000", Size: 0x10000}
		names := p.Names(m, 0x1000)
		s := p.Symbols(m)
		want := []string{"/xul.dll/5AB380779000/xul.sym"}
		if test.file != "" {
			want = append(want, "/xul.pdb/"+id+"/xul.sym?code_file=xul.dll&code_id=5ab380779000")
		}
		if s.DebugFile != test.file || s.DebugID.IsZero() != (test.file == "") || s.Missing != (test.file == "") || (names != nil) != (test.file != "") || !slices.Equal(asked, want) {
			t.Errorf("%s: %+v, names %v, asked for %q", test.to, s, names, asked)
		}
	}
}

// TestLocalDebuginfo: the binary where the dump says that it is, if it is the same.
func TestLocalDebuginfo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.so")
	if err := os.WriteFile(path, []byte(symText), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		local, same bool
	}{{true, true}, {true, false}, {false, true}} {
		p := newFileProvider(context.Background(), nil)
		p.local = test.local
		m := testModule("a.so")
		m.Name = path
		if !test.same {
			m.DebugID = debugid.FromTimestamp(1, 1)
		}
		if got := p.Names(m, 0x1000) != nil; got != (test.local && test.same) {
			t.Errorf("%+v: %v, %+v", test, got, p.Symbols(m))
		}
		p.Close()
	}
}
