package fsblob_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"salvage/internal/blob"
	"salvage/internal/blob/blobtest"
	"salvage/internal/blob/fsblob"
	"salvage/internal/debugtest"
	"salvage/internal/errs"
)

var ctx = context.Background()

func openDir(t testing.TB, dir string) *fsblob.Store {
	t.Helper()
	s, err := fsblob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s blob.Store, key, value string) {
	t.Helper()
	if err := blob.Put(ctx, s, key, strings.NewReader(value)); err != nil {
		t.Fatal(err)
	}
}

func list(t testing.TB, s blob.Store, prefix, after string) (keys []string) {
	t.Helper()
	for info, err := range s.List(ctx, prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// files returns the paths of all regular files below dir.
func files(t testing.TB, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, path)
			paths = append(paths, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestStore(t *testing.T) {
	dirs := map[blob.Store]string{}
	open := func(t testing.TB) blob.Store {
		dir := t.TempDir()
		s := openDir(t, dir)
		dirs[s] = dir
		return s
	}
	reopen := func(t testing.TB, s blob.Store) blob.Store { return openDir(t, dirs[s]) }
	blobtest.Run(t, open, blobtest.Options{Reopen: reopen})
}

// A folder with more names than List holds is read in several passes.
func TestListBatches(t *testing.T) {
	s := openDir(t, t.TempDir())
	keys := []string{"-", "a", "a-", "a/a", "a/a/a", "a/b", "a0", "b", "b/A", "b/a/a", "b/a=", "c/c", "c/d", "d", "e"}
	for _, key := range keys {
		put(t, s, key, "x")
	}
	for batch := 1; batch < 6; batch++ {
		fsblob.SetBatch(s, batch)
		for i, after := range append([]string{""}, keys...) {
			if got := list(t, s, "", after); !slices.Equal(got, keys[i:]) {
				t.Errorf("batch %d: List after %q = %q, want %q", batch, after, got, keys[i:])
			}
		}
	}
}

func BenchmarkStore(b *testing.B) {
	blobtest.Bench(b, func(t testing.TB) blob.Store { return openDir(t, t.TempDir()) })
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, filepath.Join(dir, "blob"))
	put(t, s, "v1/xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym", "x")
	put(t, s, "crash/20260818/CON", "x")
	w, err := s.Create(ctx, "staged")
	if err != nil {
		t.Fatal(err)
	}
	got := files(t, dir)
	if len(got) != 3 || !strings.HasPrefix(got[2], "blob/tmp/") {
		t.Errorf("files %q", got)
	}
	if want := []string{"blob/objects/crash/20260818/%63on=7", "blob/objects/v1/xul.pdb/44e4ec8c2f41492b9369d6b9a059577c2~zvopmc/xul.sym="}; !slices.Equal(got[:2], want) {
		t.Errorf("files %q, want %q", got[:2], want)
	}
	w.Abort()
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("files after Abort: %q", got)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; path != dir && runtime.GOOS != "windows" && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"v1/xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym", "crash/20260818/CON"} {
		if err := s.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "blob", "objects")); err != nil || len(left) != 0 {
		t.Errorf("empty folders stay: %v, %v", left, err)
	}
}

// Names fit into every file system, meet nowhere when case does not matter, and come back as they were.
func TestNames(t *testing.T) {
	seen := map[string]string{}
	for _, key := range append(blobtest.OddKeys(), "Foo", "fOO", "FOO", "foo", "Aux/x", "aux/x", "a.B", "A.b") {
		for i, segment := range strings.Split(key, "/") {
			for _, object := range []bool{true, false} {
				name := fsblob.Encode(segment, object)
				what := fmt.Sprint(segment, object)
				if len(name) > 255 || name != strings.ToLower(name) || strings.ContainsAny(name, `<>:"/\|?*`) || strings.TrimRight(name, ". ") != name || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("Encode(%q) = %q", segment, name)
				}
				if other, ok := seen[name]; ok && other != what {
					t.Errorf("%q is the name of %s and %s", name, other, what)
				}
				seen[name] = what
				if s, o, ok := fsblob.Decode(name); s != segment || o != object || !ok {
					t.Errorf("segment %d, Decode(%q) = %q, %v, %v, want %q", i, name, s, o, ok, segment)
				}
			}
		}
	}
	for _, name := range []string{"", "=", "A=", "a=0", "a=2", "a=A", "a=-1", "a=+1", "a=1 ", "a~", "a~0", "1=1", "%61=", "%2F=", "%2f=", "%=", "..", "con=", "a.", "a=1=", ".DS_Store", "a=~1", strings.Repeat("a", 201) + "="} {
		if s, _, ok := fsblob.Decode(name); ok {
			t.Errorf("Decode(%q) = %q, want none", name, s)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("xul.sym", "xul.sym=7", true)
	f.Fuzz(func(t *testing.T, segment, name string, object bool) {
		if blob.CheckKey(segment) == nil && !strings.Contains(segment, "/") {
			if s, o, ok := fsblob.Decode(fsblob.Encode(segment, object)); s != segment || o != object || !ok || len(fsblob.Encode(segment, object)) > 255 {
				t.Errorf("%q: %q, %v, %v", segment, s, o, ok)
			}
		}
		if s, o, ok := fsblob.Decode(name); ok && fsblob.Encode(s, o) != name {
			t.Errorf("Decode(%q) = %q, %v", name, s, o)
		}
	})
}

// Files of others are neither listed nor in the way; links do not lead out.
func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	put(t, s, "a/b", "x")
	for _, name := range []string{"a/.DS_Store", "a/B=", "note.txt", "Thumbs.db"} {
		if err := os.WriteFile(filepath.Join(dir, "objects", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(t, s, "a/", ""); !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("List = %q", got)
	}
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "secret="), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, filepath.Join(dir, "objects", "link")); err != nil {
		debugtest.Require(t, "linux", "symbolic links: "+err.Error())
	}
	if _, _, err := s.Get(ctx, "link/secret"); err == nil {
		t.Error("a link leads out of the folder")
	}
	if err := blob.Put(ctx, s, "link/new", strings.NewReader("x")); err == nil {
		t.Error("a link leads out of the folder")
	}
}

// steps returns the steps that f takes on the disk.
func steps(s *fsblob.Store, f func()) (log []string) {
	fsblob.Hook(s, func(step, name string) error {
		if strings.HasPrefix(name, "tmp/") {
			name = "tmp/*"
		}
		log = append(log, step+" "+name)
		return nil
	})
	f()
	fsblob.Hook(s, nil)
	return log
}

// The content is synced before it gets its name, and all folders that may be new before Commit returns.
func TestSyncOrder(t *testing.T) {
	dir := t.TempDir()
	s := openDir(t, dir)
	check := func(what, key string, want ...string) {
		t.Helper()
		got := steps(s, func() { put(t, s, key, "x") })
		if want = append([]string{"create tmp/*", "write tmp/*", "sync tmp/*"}, want...); !slices.Equal(got, want) {
			t.Errorf("%s:\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
	above := []string{"syncfolder objects/a/b", "syncfolder objects/a", "syncfolder objects"}
	check("new folders", "a/b/c", append([]string{"rename objects/a/b/c=", "mkdir objects/a/b", "rename objects/a/b/c="}, above...)...)
	check("known folders", "a/b/d", "rename objects/a/b/d=", "syncfolder objects/a/b")
	check("a new folder in a known one", "a/x/d", "rename objects/a/x/d=", "mkdir objects/a/x", "rename objects/a/x/d=", "syncfolder objects/a/x", "syncfolder objects/a")
	for _, key := range []string{"a/b/c", "a/b/d"} {
		if err := s.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	check("a folder made again", "a/b/c", "rename objects/a/b/c=", "mkdir objects/a/b", "rename objects/a/b/c=", "syncfolder objects/a/b", "syncfolder objects/a")
	s = openDir(t, dir)
	check("after a restart", "a/b/c", append([]string{"rename objects/a/b/c="}, above...)...)
}

// No Delete removes the empty folder that a Commit has just made for its object.
func TestDeleteBesideCommit(t *testing.T) {
	s := openDir(t, t.TempDir())
	var wg sync.WaitGroup
	fsblob.Hook(s, func(step, name string) error {
		if step == "mkdir" {
			done := make(chan struct{})
			renamed := false
			fsblob.Hook(s, func(step, _ string) error {
				if step != "rename" || renamed {
					return nil
				}
				renamed = true
				wg.Go(func() {
					defer close(done)
					if err := s.Delete(ctx, "d/other"); err != nil {
						t.Error(err)
					}
				})
				select { // it cannot get through; give it the time to be wrong
				case <-done:
				case <-time.After(50 * time.Millisecond):
				}
				return nil
			})
		}
		return nil
	})
	put(t, s, "d/new", "x")
	wg.Wait()
	if got := list(t, s, "", ""); !slices.Equal(got, []string{"d/new"}) {
		t.Errorf("List = %q", got)
	}
}

// A sweep of one day reads the folder of that day, and a listing goes on without reading what is done.
func TestListReads(t *testing.T) {
	s := openDir(t, t.TempDir())
	for _, key := range []string{"crash/20260817/a/1", "crash/20260818/a/1", "crash/20260818/b/1", "crash/20260819/a/1", "v1/x"} {
		put(t, s, key, "x")
	}
	for _, tt := range []struct {
		prefix, after string
		want          []string
	}{
		{"crash/20260818/", "", []string{"list crash/20260818/", "list crash/20260818/a/", "list crash/20260818/b/"}},
		{"crash/20260818", "crash/20260818/a/1", []string{"list crash/", "list crash/20260818/", "list crash/20260818/a/", "list crash/20260818/b/"}},
		{"", "crash/20260819/x", []string{"list ", "list crash/", "list crash/20260819/", "list v1/"}},
		{"none/x", "", nil},
	} {
		if got := steps(s, func() { list(t, s, tt.prefix, tt.after) }); !slices.Equal(got, tt.want) {
			t.Errorf("List(%q, %q) reads %q, want %q", tt.prefix, tt.after, got, tt.want)
		}
	}
}

// An error of any step comes back with its kind, the object is the old or the new one, no temporary
// file stays, and the next try succeeds.
func TestStepsFail(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want *errs.Kind
	}{{syscall.ENOSPC, errs.Unavailable}, {syscall.EDQUOT, errs.Unavailable}, {syscall.EMFILE, errs.Unavailable}, {syscall.EFBIG, errs.TooLarge}, {syscall.EIO, errs.Internal}} {
		for key, steps := range map[string]int{"k": 5, "d/k": 8} {
			for fail := 1; fail <= steps; fail++ {
				dir := t.TempDir()
				s := openDir(t, dir)
				put(t, s, "k", "old")
				n, failed := 0, ""
				fsblob.Hook(s, func(step, name string) error {
					if n++; n == fail {
						failed = step
						return &fs.PathError{Op: step, Path: name, Err: tt.err}
					}
					return nil
				})
				err := blob.Put(ctx, s, key, strings.NewReader("new"))
				fsblob.Hook(s, nil)
				if errs.KindOf(err) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%v in step %d, %q: %v, want kind %v", tt.err, fail, failed, err, tt.want)
				}
				if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) != 0 {
					t.Errorf("%v in %s leaves %v", tt.err, failed, left)
				}
				want := "old"
				if key == "k" && failed == "syncfolder" {
					want = "new" // visible, though perhaps not durable
				}
				if data, _ := os.ReadFile(filepath.Join(dir, "objects", "k=")); string(data) != want {
					t.Errorf("%v in %s: the object is %q, want %q", tt.err, failed, data, want)
				}
				put(t, s, key, "again")
			}
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := fsblob.Open(filepath.Join(dir, "none", "blob")); err == nil {
		t.Error("opened below a missing folder")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fsblob.Open(file); err == nil {
		t.Error("opened a file")
	}
}
