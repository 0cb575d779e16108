package fsblob_test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvage/internal/blob"
	"salvage/internal/blob/fsblob"
)

// As a child the test binary writes objects into a folder until it is killed; where KILL_TEST_STEP is
// set it kills itself before that step on the disk.
func TestMain(m *testing.M) {
	if dir := os.Getenv("KILL_TEST_DIR"); dir != "" {
		if err := write(dir, os.Getenv("KILL_TEST_STEP"), os.Getenv("KILL_TEST_KEY")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// version returns a value that can be checked: number, padding, hash.
func version(n int) string {
	body := strconv.Itoa(n) + " " + strings.Repeat("x", n*7919%200_000)
	return fmt.Sprintf("%s%x", body, sha256.Sum256([]byte(body)))
}

func parseVersion(value string) (n int, ok bool) {
	number, _, _ := strings.Cut(value, " ")
	n, err := strconv.Atoi(number)
	return n, err == nil && value == version(n)
}

func write(dir, step, key string) error {
	s, err := fsblob.Open(dir)
	if err != nil {
		return err
	}
	if key != "" {
		left, err := strconv.Atoi(step)
		if err != nil {
			return err
		}
		fsblob.Hook(s, func(string, string) error {
			if left--; left == 0 {
				self, err := os.FindProcess(os.Getpid())
				if err != nil {
					return err
				}
				if err := self.Kill(); err != nil {
					return err
				}
				select {}
			}
			return nil
		})
		return blob.Put(ctx, s, key, strings.NewReader(version(2)))
	}
	first, err := strconv.Atoi(step)
	if err != nil {
		return err
	}
	for n := first; ; n++ { // some keys are new, some replaced; one staged object is always open
		key := fmt.Sprintf("d%d/k%d", n%5, n%37)
		w, err := s.Create(ctx, "staged")
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, "part of it"); err != nil {
			return err
		}
		if err := blob.Put(ctx, s, key, strings.NewReader(version(n))); err != nil {
			return err
		}
		fmt.Println(key, n)
	}
}

func child(dir, step, key string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "KILL_TEST_DIR="+dir, "KILL_TEST_STEP="+step, "KILL_TEST_KEY="+key)
	return cmd
}

// check opens the store and returns the versions in it: all whole, and nothing left over.
func check(t *testing.T, dir string) map[string]int {
	t.Helper()
	s := openDir(t, dir)
	defer s.Close()
	found := map[string]int{}
	for _, key := range list(t, s, "", "") {
		r, info, err := s.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		r.Close()
		n, ok := parseVersion(string(data))
		if err != nil || !ok || info.Size != int64(len(data)) {
			t.Errorf("%s is not whole: %d bytes, %.40q, %v", key, len(data), data, err)
		}
		found[key] = n
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("temporary files stay: %v, %v", left, err)
	}
	return found
}

// Whenever the process is killed, what it has acknowledged is there, and what is there is whole.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[string]int{}
	last, swept := 0, 0
	for range 20 {
		cmd := child(dir, strconv.Itoa(last+1), "")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			var key string
			var n int
			if _, err := fmt.Sscan(lines.Text(), &key, &n); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			acknowledged[key], last = n, n
			if i == 0 {
				time.AfterFunc(time.Duration(rand.IntN(30_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
			}
		}
		_ = cmd.Wait()
		left, _ := os.ReadDir(filepath.Join(dir, "tmp"))
		swept += len(left)
		found := check(t, dir)
		for key, n := range acknowledged {
			if found[key] < n {
				t.Errorf("%s is version %d, acknowledged was %d", key, found[key], n)
			}
		}
	}
	if last < 20 || swept < 20 {
		t.Errorf("only %d writes, %d temporary files", last, swept)
	}
	t.Logf("%d writes acknowledged, %d temporary files swept", last, swept)
}

// The same at every step of a write, of a new key and of one that is replaced.
func TestKillAtEachStep(t *testing.T) {
	for _, key := range []string{"a/new", "old"} {
		dir := t.TempDir()
		s := openDir(t, dir)
		put(t, s, "old", version(1))
		for step := 1; ; step++ {
			if err := s.Delete(ctx, "a/new"); err != nil {
				t.Fatal(err)
			}
			put(t, s, "old", version(1))
			out, err := child(dir, strconv.Itoa(step), key).CombinedOutput()
			found := check(t, dir)
			if err == nil {
				if found[key] != 2 || step < 6 {
					t.Errorf("%s after %d steps: %v", key, step, found)
				}
				break
			}
			if len(out) > 0 {
				t.Fatalf("the child says %s", out)
			}
			if found["old"] == 0 || len(found) > 2 {
				t.Errorf("%s, killed before step %d: %v", key, step, found)
			}
		}
	}
}
