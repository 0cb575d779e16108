//go:build unix

package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvage/debug/demangle"
	"salvage/debug/object"
	"salvage/debug/symbols"
	"salvage/internal/crash"
	"salvage/internal/debugtest"
	"salvage/internal/sqldb"
)

// adminToken is the token of servers of these tests.
const adminToken = "0123456789abcdef-admin"

// split makes of a program what is shipped and what is kept: the stripped image and its debug file.
func split(t *testing.T, app string) (stripped, debug string) {
	t.Helper()
	dir := t.TempDir()
	stripped, debug = filepath.Join(dir, "crashapp"), filepath.Join(dir, "crashapp.debug")
	for _, args := range [][]string{{"--only-keep-debug", app, debug}, {"--strip-all", app, stripped}} {
		if out, err := exec.Command(debugtest.Program(t, "llvm", "objcopy"), args...).CombinedOutput(); err != nil {
			t.Fatalf("objcopy %v: %v\n%s", args, err, out)
		}
	}
	return stripped, debug
}

// put sends a symbol file as curl -T does.
func put(s *servedProcess, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := http.NewRequest("PUT", s.url+"/symbols/"+filepath.Base(file), f)
	if err != nil {
		return err
	}
	r.Header.Set("Auth-Token", adminToken)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 && res.StatusCode != 201 {
		return fmt.Errorf("upload of %s: %d %s", file, res.StatusCode, body)
	}
	return nil
}

// upload is put where nothing is to go wrong.
func upload(t *testing.T, s *servedProcess, file string) {
	t.Helper()
	if err := put(s, file); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
}

// reports waits until a server's first page lists n crashes, and returns their ids.
func reports(t *testing.T, s *servedProcess, n int) []crash.ID {
	t.Helper()
	var ids []crash.ID
	for range 500 {
		ids = nil
		for _, m := range regexp.MustCompile(`/report/([0-9a-f-]{36})`).FindAllStringSubmatch(read(t, s.url+"/"), -1) {
			ids = append(ids, crash.ID(m[1]))
		}
		slices.Sort(ids)
		if ids = slices.Compact(ids); len(ids) == n {
			return ids
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("the page lists %d crashes, not %d\n%s", len(ids), n, s.log)
	return nil
}

// checkNames waits until the crash of mode inline has its names: the call chain with inlined calls, files and
// lines, and the signature made of them.
func checkNames(t *testing.T, s *servedProcess, id crash.ID) {
	t.Helper()
	var doc struct {
		Signature string
		Dump      struct {
			Thread struct {
				Frames []walkedFrame
			} `json:"crashing_thread"`
		} `json:"json_dump"`
		TopmostFilenames string `json:"topmost_filenames"`
	}
	for range 500 {
		text, err := json.Marshal(processed(t, s, id))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		if f := doc.Dump.Thread.Frames; len(f) > 1 && f[0].Function != "" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	frames := doc.Dump.Thread.Frames
	if len(frames) < 3 {
		t.Fatalf("%+v\n%s", doc, s.log)
	}
	checkInline(t, frames[0])
	var chain []string
	for _, f := range frames {
		chain = append(chain, f.Function)
	}
	if s := strings.Join(chain, " "); !strings.Contains(s, "(anonymous namespace)::CrashInline() main") {
		t.Errorf("chain: %s", s)
	}
	if doc.Signature != "shapes::Deref" || path.Base(doc.TopmostFilenames) != "shapes.h" {
		t.Errorf("signature %q, file %q", doc.Signature, doc.TopmostFilenames)
	}
}

// checkPage opens the report of a crash of mode inline in a browser and reads its crashing thread: rows of
// name and source, from the crash outwards.
func checkPage(t *testing.T, s *servedProcess, id crash.ID) {
	t.Helper()
	browser := exec.Command(debugtest.Program(t, "chromium", "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(), "--dump-dom", s.url+"/report/"+string(id))
	page, err := browser.Output()
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`<[^>]*>|\s+`).ReplaceAllString(string(page), " ")
	text = strings.Join(strings.Fields(html.UnescapeString(text)), " ")
	at := 0
	for _, want := range []string{
		"shapes::Deref", "SIGSEGV / SEGV_MAPERR", "at 0x10", // signature, reason, address
		"shapes::Deref(int const volatile*)", "inlined", "shapes.h:19", "operator()", "inlined", "crashapp.cpp:31", "Grid<shapes::Point>::Sum", "shapes.h:37",
		"(anonymous namespace)::CrashInline()", "crashapp.cpp:31", "main", "crashapp.cpp:",
	} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("the page has no %q behind %q", want, text[max(0, at-200):min(len(text), at+300)])
		}
		at += i + len(want)
	}
}

// TestEndToEnd: a real program crashes, the real handler reports it, and its names are there: with symbols
// that came first, with symbols that come later, and with a server that is killed right after its answer.
func TestEndToEnd(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	stripped, debug := split(t, app)
	t.Run("early", func(t *testing.T) {
		data := t.TempDir()
		s := serveProcess(t, data, "never")
		upload(t, s, debug)
		upload(t, s, stripped)
		debugtest.CrashAndUpload(t, stripped, "inline", s.url+"/submit")
		id := reports(t, s, 1)[0]
		checkNames(t, s, id)
		checkPage(t, s, id)
	})
	t.Run("late", func(t *testing.T) {
		data := t.TempDir()
		s := serveProcess(t, data, "never")
		debugtest.CrashAndUpload(t, stripped, "inline", s.url+"/submit")
		id := reports(t, s, 1)[0]
		doc := processed(t, s, id)
		frame := doc["json_dump"].(map[string]any)["crashing_thread"].(map[string]any)["frames"].([]any)[0].(map[string]any)
		if frame["module"] != "crashapp" || frame["module_offset"] == nil || frame["function"] != nil || frame["no_name_reason"] != "no symbols for the module were found" {
			t.Errorf("without symbols: %v", frame)
		}
		if !strings.HasPrefix(fmt.Sprint(doc["signature"]), "crashapp@0x") {
			t.Errorf("signature %v", doc["signature"])
		}
		upload(t, s, stripped)
		upload(t, s, debug)
		checkNames(t, s, id)
		checkPage(t, s, id)
	})
	t.Run("killed", func(t *testing.T) {
		dump, _ := debugtest.Crash(t, stripped, "inline")
		data := t.TempDir()
		s := serveProcess(t, data, "processed crash")
		upload(t, s, debug)
		upload(t, s, stripped)
		id, err := submit(s.url, dump)
		s.stop(os.Kill)
		s = serveProcess(t, data, "never")
		if err != nil { // it was so fast that the answer was not sent
			id = reports(t, s, 1)[0]
		}
		checkNames(t, s, id)
	})
}

// TestUploadDurability: killed between any two durable steps of an upload or of what is built from it, and
// restarted, the server has the file and its lookup files once the upload was answered; where it was not,
// sending the file again is all it takes.
func TestUploadDurability(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	dump, _ := debugtest.Crash(t, app, "inline")
	for _, step := range []string{"original", "row", "answer", "derived symcache", "ready symcache", "done symcache", "derived cficache", "ready cficache", "done cficache"} {
		data := t.TempDir()
		s := serveProcess(t, data, "never")
		id, err := submit(s.url, dump)
		if err != nil {
			t.Fatal(err)
		}
		s.stop(os.Interrupt)
		s = serveProcess(t, data, step)
		answered := put(s, app) == nil
		if err := s.cmd.Wait(); err == nil {
			t.Errorf("%s: the server was not killed", step)
		}
		if !answered {
			if step != "original" && step != "row" && step != "answer" {
				t.Errorf("%s: the upload was not answered", step)
			}
		}
		s = serveProcess(t, data, "never")
		if !answered {
			if err := put(s, app); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
		checkNames(t, s, id)
		settle(t, data)
		var known struct{ Symbols []storedSymbol }
		res, err := http.Get(s.url + "/api/symbols/")
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(&known)
		res.Body.Close()
		if err != nil || len(known.Symbols) != 1 {
			t.Errorf("%s: %d files, %v", step, len(known.Symbols), err)
		}
		s.stop(os.Interrupt)
	}
}

// TestSymbolicateV5 asks what a profiler asks.
func TestSymbolicateV5(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	data := t.TempDir()
	s := serveProcess(t, data, "never")
	dump, _ := debugtest.Crash(t, app, "inline")
	id, err := submit(s.url, dump)
	if err != nil {
		t.Fatal(err)
	}
	upload(t, s, app)
	checkNames(t, s, id)
	walk := processed(t, s, id)["json_dump"].(map[string]any)
	var module map[string]any
	for _, m := range walk["modules"].([]any) {
		if m := m.(map[string]any); m["filename"] == "crashapp" {
			module = m
		}
	}
	frame := walk["crashing_thread"].(map[string]any)["frames"].([]any)[0].(map[string]any)
	var offset uint64
	if _, err := fmt.Sscanf(frame["module_offset"].(string), "0x%x", &offset); err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"jobs":[{"memoryMap":[["%s","%s"],["none","00000000000000000000000000000000F"]],"stacks":[[[0,%d],[1,5],[-1,7]]]}]}`, module["debug_file"], module["debug_id"], offset)
	res, err := http.Post(s.url+"/symbolicate/v5", "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Results []struct {
			Stacks [][]map[string]any
			Found  map[string]*bool             `json:"found_modules"`
			Errors map[string][]json.RawMessage `json:"module_errors"`
		}
	}
	text, _ := io.ReadAll(res.Body)
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Results) != 1 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	r := answer.Results[0]
	got := r.Stacks[0][0]
	short := func(hex any) any { // without the zeros that a walk pads addresses with
		n, err := strconv.ParseUint(strings.TrimPrefix(fmt.Sprint(hex), "0x"), 16, 64)
		if err != nil {
			return err
		}
		return fmt.Sprintf("%#x", n)
	}
	frame["module_offset"], frame["function_offset"] = short(frame["module_offset"]), short(frame["function_offset"])
	for _, field := range []string{"function", "file", "line", "module_offset", "function_offset"} {
		if got[field] != frame[field] {
			t.Errorf("%s: %v, in the walk %v", field, got[field], frame[field])
		}
	}
	if fmt.Sprint(got["inlines"]) != fmt.Sprint(frame["inlines"]) || got["module"] != "crashapp" {
		t.Errorf("%v\nin the walk %v", got, frame)
	}
	if r.Found[fmt.Sprint(module["debug_file"], "/", module["debug_id"])] == nil || !*r.Found[fmt.Sprint(module["debug_file"], "/", module["debug_id"])] ||
		*r.Found["none/00000000000000000000000000000000F"] || len(r.Errors) != 1 || r.Stacks[0][2]["module"] != "<unknown>" {
		t.Errorf("%s", text)
	}
	if !bytes.Contains(text, []byte("no symbols for the module were found")) {
		t.Errorf("no reason: %s", text)
	}
}

// TestSymbolsCommand gives a folder to a server, lists it, gets it back, and walks with what it got.
func TestSymbolsCommand(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	stripped, debug := split(t, app)
	dump, _ := debugtest.Crash(t, stripped, "inline")
	s := serveProcess(t, t.TempDir(), "never")
	folder := t.TempDir()
	for name, from := range map[string]string{"bin/crashapp": stripped, "crashapp.debug": debug} {
		to := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(from, to)); err != nil {
			t.Fatal(err)
		}
	}
	odd := filepath.Join(folder, "odd.txt")
	if err := os.WriteFile(odd, []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	salvage := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, complaints bytes.Buffer
		if code := run(args, nil, &out, &complaints); code != want {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, code, want, &out, &complaints)
		}
		return out.String(), complaints.String()
	}
	to := []string{"--server", s.url, "--token", adminToken}
	if _, stderr := salvage(1, "symbols", "put", folder, "--server", s.url, "--token", "nobody-knows-this-one"); !strings.Contains(stderr, "not known") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("with a wrong token: %s", stderr)
	}
	if stdout, _ := salvage(0, append(to, "symbols", "put", folder)...); strings.Count(stdout, "stored ") != 2 || !strings.HasSuffix(stdout, "2 files on the server, 2 of them new; 0 failed, 1 passed over\n") {
		t.Errorf("put: %s", stdout)
	}
	if stdout, _ := salvage(3, append(to, "symbols", "put", "--json", folder, odd)...); strings.Count(stdout, `"status":"exists"`) != 2 || !strings.Contains(stdout, `"status":"failed","message":"`) {
		t.Errorf("put again: %s", stdout)
	}
	salvage(1, append(to, "symbols", "put", odd)...)
	salvage(1, append(to, "symbols", "put", filepath.Join(folder, "none"))...)
	stdout, _ := salvage(0, append(to, "symbols", "ls", "--json", "CRASH")...)
	var listed []storedSymbol
	for d := json.NewDecoder(strings.NewReader(stdout)); d.More(); {
		var l storedSymbol
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		listed = append(listed, l)
	}
	if len(listed) != 2 || listed[0].DebugFile != "crashapp" || listed[0].DebugID != listed[1].DebugID {
		t.Errorf("ls: %s", stdout)
	}
	if stdout, _ := salvage(0, append(to, "symbols", "ls", "nothing like it")...); stdout != "" {
		t.Errorf("ls: %s", stdout)
	}
	got := t.TempDir()
	salvage(0, append(to, "symbols", "get", "crashapp", "-o", got)...)
	salvage(1, append(to, "symbols", "get", "nothing like it", "-o", got)...)
	file := filepath.Join(got, "x.dmp")
	if err := os.WriteFile(file, dump, 0o644); err != nil {
		t.Fatal(err)
	}
	if stdout, _ := salvage(0, "stackwalk", file, got); !strings.Contains(stdout, "shapes::Deref(int const volatile*) [shapes.h : 19") {
		t.Errorf("walked with what was got: %.2000s", stdout)
	}
	// In a terminal a bar shows how far it is; elsewhere there is none.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for more, shown := range map[string]bool{"": true, " --json": true, " 2>&1 | cat": false} {
		cmd := exec.Command(debugtest.Program(t, "linux", "script"), "-qec", self+" "+strings.Join(append(to, "symbols", "put", folder), " ")+more, "/dev/null")
		cmd.Env = append(os.Environ(), "SALVAGE_TEST_SERVE=never")
		out, err := cmd.CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("% |")) != shown || !bytes.Contains(out, []byte("exists")) {
			t.Errorf("in a terminal%s: %v %q", more, err, out)
		}
	}
	_, stderr := salvage(1, "symbols", "ls", "--server", "http://127.0.0.1:1")
	if !strings.Contains(stderr, "The server http://127.0.0.1:1 does not answer") {
		t.Errorf("without a server: %s", stderr)
	}
}

// symFile writes the symbols of a program as a .sym with functions, lines and poor unwind rules.
func symFile(t *testing.T, app string) string {
	t.Helper()
	data, err := os.ReadFile(app)
	if err != nil {
		t.Fatal(err)
	}
	o, err := object.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "MODULE Linux x86_64 %s crashapp\n", o.Module.ID.Breakpad())
	files := map[string]int{}
	var body strings.Builder
	err = o.Symbols(t.Context(), new(object.Report))(func(batch *symbols.Batch) error {
		text := func(id symbols.StringID) string { return string(batch.Strings.Bytes(id)) }
		for _, f := range batch.Functions {
			if f.Size == 0 {
				continue
			}
			fmt.Fprintf(&body, "FUNC %x %x 0 %s\n", f.Addr, f.Size, demangle.Name(text(f.Name)))
			for _, l := range batch.Lines[f.Lines.Lo:f.Lines.Hi] {
				file, ok := files[text(l.File)]
				if !ok {
					file = len(files)
					files[text(l.File)] = file
					fmt.Fprintf(&b, "FILE %d %s\n", file, text(l.File))
				}
				fmt.Fprintf(&body, "%x %x %d %d\n", l.Addr, l.Size, l.Line, file)
			}
			fmt.Fprintf(&body, "STACK CFI INIT %x %x .cfa: $rsp 8 + .ra: .cfa 8 - ^\n", f.Addr, f.Size)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "crashapp.sym")
	if err := os.WriteFile(path, []byte(b.String()+body.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// settle waits until a server has nothing more to do.
func settle(t *testing.T, data string) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(data, "salvage.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 1000 {
		var n int
		err := db.View(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRow("SELECT count(*) FROM jobs WHERE parked = 0").Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the server is not done")
}

// TestOrders: the image without symbols, its debug file, its .sym and the crash come in every order, and end
// in the same processed crash.
func TestOrders(t *testing.T) {
	app := debugtest.Crashapp(t, "g++", "-O2")
	stripped, debug := split(t, app)
	sym := symFile(t, app)
	dump, _ := debugtest.Crash(t, stripped, "thread")
	var want string
	orders := 0
	seen := map[string]bool{} // what the crash looked like on the way
	var arrive func(done, left []string)
	arrive = func(done, left []string) {
		for i, what := range left {
			arrive(append(slices.Clone(done), what), slices.Concat(left[:i], left[i+1:]))
		}
		if len(left) > 0 {
			return
		}
		if orders++; testing.Short() && orders%6 != 1 {
			return
		}
		data := t.TempDir()
		s := serveProcess(t, data, "never")
		defer s.stop(os.Interrupt)
		var id crash.ID
		for _, what := range done {
			if what == "crash" {
				var err error
				if id, err = submit(s.url, dump); err != nil {
					t.Fatal(err)
				}
			} else {
				upload(t, s, what)
			}
			settle(t, data)
			if id != "" {
				seen[fmt.Sprint(processed(t, s, id)["signature"])] = true
			}
		}
		doc := processed(t, s, id)
		for _, field := range []string{"crash_id", "uuid", "submitted_timestamp", "date_processed", "started_datetime", "completed_datetime", "processor_notes", "processor_history"} {
			delete(doc, field)
		}
		text, err := json.MarshalIndent(doc, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = string(text)
		}
		if string(text) != want {
			t.Errorf("%v: %s", done, differences(want, string(text)))
		}
	}
	arrive(nil, []string{stripped, debug, sym, "crash"})
	if !strings.Contains(want, `"inlines": [`) || !strings.Contains(want, `crashapp.dbg"`) {
		t.Errorf("the end is no good one: %s", want)
	}
	if len(seen) < 2 {
		t.Errorf("symbols changed nothing on the way: %v", seen)
	}
}

// differences lists the first lines that differ.
func differences(want, got string) string {
	var b strings.Builder
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i, n := 0, 0; i < min(len(w), len(g)) && n < 10; i++ {
		if w[i] != g[i] {
			fmt.Fprintf(&b, "\n%d: %s, want %s", i, strings.TrimSpace(g[i]), strings.TrimSpace(w[i]))
			n++
		}
	}
	return fmt.Sprintf("%d lines, want %d%s", len(g), len(w), b.String())
}
