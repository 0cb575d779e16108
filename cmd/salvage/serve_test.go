//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvage/internal/blob/fsblob"
	"salvage/internal/crash"
	"salvage/internal/debugtest"
)

// servedProcess is a server in a process of its own.
type servedProcess struct {
	cmd *exec.Cmd
	url string
	log *bytes.Buffer
}

// serveProcess starts a server over a data folder. It kills itself at the given step.
func serveProcess(t *testing.T, data, killAt string, args ...string) *servedProcess {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &servedProcess{cmd: exec.Command(self, append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, args...)...), log: new(bytes.Buffer)}
	s.cmd.Env = append(os.Environ(), "SALVAGE_TEST_SERVE="+killAt, "SALVAGE_ADMIN_TOKEN="+adminToken, "SALVAGE_COLLECTOR_RESERVE=1MB")
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(os.Kill) })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := regexp.MustCompile(`http://\S+/submit`).FindString(lines.Text()); m != "" {
			s.url = strings.TrimSuffix(m, "/submit")
			go io.Copy(io.Discard, out)
			return s
		}
	}
	s.stop(os.Kill)
	t.Fatalf("the server did not start: %s", s.log)
	return nil
}

func (s *servedProcess) stop(sig os.Signal) {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Signal(sig)
		_ = s.cmd.Wait()
	}
}

// submit sends a crash with a dump and returns its id.
func submit(url string, dump []byte) (crash.ID, error) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	_ = w.WriteField("ProductName", "demo")
	part, _ := w.CreateFormFile(crash.MinidumpName, "x.dmp")
	_, _ = part.Write(dump)
	_ = w.Close()
	res, err := http.Post(url+"/submit", w.FormDataContentType(), &body)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		return "", fmt.Errorf("%d %q %w", res.StatusCode, text, err)
	}
	return crash.ParseID(strings.TrimSpace(strings.TrimPrefix(string(text), "CrashID=")))
}

// stored reads all raw crashes of a data folder that no server has open, and checks that the dumps they name are there, whole.
func stored(t *testing.T, data string) map[crash.ID]crash.Raw {
	t.Helper()
	store, err := fsblob.Open(filepath.Join(data, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	read := func(key string) []byte {
		r, _, err := store.Get(context.Background(), key)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := map[crash.ID]crash.Raw{}
	for info, err := range store.List(context.Background(), "crash/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(info.Key, "/raw_crash") {
			continue
		}
		var raw crash.Raw
		if err := json.Unmarshal(read(info.Key), &raw); err != nil {
			t.Fatalf("%s: %v", info.Key, err)
		}
		for name, sum := range raw.Metadata.DumpChecksums {
			if got := sha256.Sum256(read(raw.ID.DumpKey(name))); hex.EncodeToString(got[:]) != sum {
				t.Errorf("%s of %s is damaged", name, raw.ID)
			}
		}
		all[raw.ID] = raw
	}
	return all
}

// Killed between any two durable steps and restarted, the server has everything it accepted, processed, and
// nothing twice. A crash whose client got no answer may be there or not: the client sends it again.
func TestServeDurability(t *testing.T) {
	data := t.TempDir()
	dump := bytes.Repeat([]byte("MDMP crash "), 50_000)
	accepted := map[crash.ID]bool{}
	unanswered := 0
	for _, tt := range []struct {
		step     string
		answered int // 1: the client gets its answer first; 0: it does not; -1: either
	}{{"dump " + crash.MinidumpName, 0}, {"raw crash", 0}, {"job", 0}, {"answer", -1}, {"processed crash", -1}, {"missing", -1}, {"index", -1}, {"processed", -1}, {"after the answer", 1}} {
		s := serveProcess(t, data, tt.step)
		id, err := submit(s.url, dump)
		switch {
		case err == nil && tt.answered == 0 || err != nil && tt.answered == 1:
			t.Errorf("%s: the server answered %s, %v", tt.step, id, err)
		case err == nil:
			accepted[id] = true
		}
		if tt.answered < 0 && tt.step != "answer" {
			s.cmd.Wait() // it comes after the answer
		}
		s.stop(os.Kill)
		found := stored(t, data)
		for id := range accepted {
			if _, ok := found[id]; !ok {
				t.Errorf("%s: %s is lost", tt.step, id)
			}
		}
		unanswered = len(found) - len(accepted)
		s = serveProcess(t, data, "never")
		if id, err = submit(s.url, dump); err != nil {
			t.Fatalf("after %s: %v\n%s", tt.step, err, s.log)
		}
		accepted[id] = true
		found[id] = crash.Raw{}
		for id := range found {
			processed(t, s, id)
		}
		s.stop(os.Interrupt)
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d after an interrupt\n%s", code, s.log)
		}
	}
	// Those that were kept before their answer: at "job" always, perhaps at those behind it.
	if found := stored(t, data); len(found) != len(accepted)+unanswered || unanswered < 1 || unanswered > 6 {
		t.Errorf("%d crashes stored, %d accepted, %d without an answer", len(found), len(accepted), unanswered)
	}
	tmp, err := os.ReadDir(filepath.Join(data, "blobs", "tmp"))
	if err != nil || len(tmp) > 0 {
		t.Errorf("%d temporary files are left, %v", len(tmp), err)
	}
}

// processed waits for the processed crash of id and returns it.
func processed(t *testing.T, s *servedProcess, id crash.ID) (doc map[string]any) {
	t.Helper()
	for range 1000 {
		res, err := http.Get(s.url + "/api/ProcessedCrash/?crash_id=" + string(id))
		if err != nil {
			t.Fatalf("%v\n%s", err, s.log)
		}
		err = json.NewDecoder(res.Body).Decode(&doc)
		res.Body.Close()
		if res.StatusCode == http.StatusOK && err == nil {
			return doc
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s is not processed\n%s", id, s.log)
	return nil
}

// A real client: crashapp crashes, Crashpad's handler uploads, with everything it does on the wire.
func TestServeCrashpad(t *testing.T) {
	data := t.TempDir()
	s := serveProcess(t, data, "never")
	debugtest.CrashAndUpload(t, debugtest.Crashapp(t, "g++", "-O2"), "inline", s.url+"/submit")
	// Second, as the lock is held while it runs, and nothing of it may be read from outside.
	if other := exec.Command(s.cmd.Path, "serve", "--data", data); true {
		other.Env = append(os.Environ(), "SALVAGE_TEST_SERVE=never")
		out, err := other.CombinedOutput()
		if err == nil || !strings.Contains(string(out), fmt.Sprintf("in use by process %d", s.cmd.Process.Pid)) {
			t.Errorf("a second server: %v, %s", err, out)
		}
	}
	s.stop(os.Interrupt)
	found := stored(t, data)
	if len(found) != 1 {
		t.Fatalf("%d crashes\n%s", len(found), s.log)
	}
	for id, raw := range found {
		if raw.Annotations["prod"] != "crashapp" || raw.Annotations["ver"] != "1.0" || raw.Metadata.PayloadCompressed != "1" || len(raw.Metadata.DumpChecksums) != 1 {
			t.Errorf("%+v", raw)
		}
		if !strings.Contains(s.log.String(), `"crash_id":"`+string(id)+`"`) {
			t.Errorf("the log does not name the crash:\n%s", s.log)
		}
	}
}

// TestFootprint: a server that has worked and now idles needs less memory than the goal of 64 MB, the
// program's own pages not counted.
func TestFootprint(t *testing.T) {
	if testing.Short() {
		t.Skip("-short runs with the race detector, which takes memory of its own")
	}
	if runtime.GOOS != "linux" {
		debugtest.Require(t, "linux", "/proc tells what memory a process has")
	}
	data := t.TempDir()
	s := serveProcess(t, data, "never")
	for range 20 {
		if _, err := submit(s.url, bytes.Repeat([]byte("MDMP crash "), 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, data)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, m := range regexp.MustCompile(`Rss(?:Anon|Shmem):\s+(\d+) kB`).FindAllStringSubmatch(string(status), -1) {
		n, _ := strconv.Atoi(m[1])
		used += n
	}
	if used == 0 || used > 64<<10 {
		t.Errorf("%d kB", used)
	}
	t.Logf("%d kB", used)
}

// TestDemo: the recorded crashes are submitted once, and have their names, those that came before the
// symbols too.
func TestDemo(t *testing.T) {
	data := t.TempDir()
	signatures := map[string]int{}
	for range 2 {
		s := serveProcess(t, data, "never", "--demo")
		found := reports(t, s, len(demoCrashes))
		settle(t, data)
		clear(signatures)
		for _, id := range found {
			doc := processed(t, s, id)
			signatures[doc["signature"].(string)]++
			if page := read(t, s.url+"/report/"+string(id)); !strings.Contains(page, "crashapp.cpp:") {
				t.Errorf("the page of %s has no source", id)
			}
			if doc["product"] != "crashapp" || !strings.Contains(fmt.Sprint(doc["json_dump"]), "crashapp.cpp") {
				t.Errorf("%s: %v %v", id, doc["product"], doc["signature"])
			}
		}
		s.stop(os.Interrupt)
	}
	if signatures["shapes::Deref"] != 6 || signatures["stackoverflow | (anonymous namespace)::Recurse"] != 1 || len(signatures) != 4 {
		t.Errorf("signatures %v", signatures)
	}
}

// read returns the body of a page.
func read(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
