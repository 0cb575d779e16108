// Package fsblob keeps objects as files of one folder.
//
//	tmp/       files being written; emptied when the store is opened
//	objects/   one folder for each segment of a key, one file for each object; names in name.go
//
// Only one process may have the folder open: package datafolder's lock sees to that. All access goes
// through os.Root, so that nothing in the folder leads out of it. Files have mode 0600, folders 0700.
//
// Durability: Commit syncs the file, renames it into place and syncs the folder, and the folders above
// as far as they may be new; only then it returns. A file is never changed in place. Windows cannot
// sync folders; there the rename is durable when NTFS writes its log. Delete does not sync.
//
// Folders are not sharded. Keys of crashes begin with the day, those of symbols with the name of the
// file, and ext4, XFS, APFS and NTFS index a folder of millions of names; List reads such a folder in
// several passes, each in bounded memory. What would not do is a flat key space for all days.
package fsblob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"salvage/internal/blob"
	"salvage/internal/errs"
)

const (
	tmp     = "tmp"
	objects = "objects"

	maxSynced = 10_000  // folders remembered as durable; a forgotten one costs a sync
	listBatch = 1 << 16 // names of one folder held by List: some 6 MB
)

// Store is a store in a folder.
type Store struct {
	blob.Store
	e *engine
}

type engine struct {
	root  *os.Root
	batch int
	hook  func(step, name string) error // tests: called before each step on the disk; an error stands for it

	mu     sync.RWMutex    // held for writing while empty folders are removed
	synced map[string]bool // folders that a power cut cannot take away
	prunes int             // folders removed so far
}

// Open opens the store in dir, which it creates if only the folder itself is missing.
func Open(dir string) (s *Store, err error) {
	defer errs.Wrap(&err, "fsblob.Open(%s)", dir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, kind(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, kind(err)
	}
	e := &engine{root: root, batch: listBatch, synced: map[string]bool{}}
	if err := e.prepare(filepath.Dir(filepath.Clean(dir))); err != nil {
		root.Close()
		return nil, kind(err)
	}
	return &Store{blob.New(e), e}, nil
}

// Close releases the folder. Writers and readers must have ended.
func (s *Store) Close() error { return s.e.root.Close() }

func (e *engine) prepare(parent string) error {
	if err := e.root.RemoveAll(tmp); err != nil {
		return err
	}
	for _, name := range []string{tmp, objects} {
		if err := e.root.MkdirAll(name, 0o700); err != nil {
			return err
		}
	}
	if err := e.syncFolder("."); err != nil {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return syncClose(f)
}

// do takes one step on the disk.
func (e *engine) do(step, name string, f func() error) error {
	if e.hook != nil {
		if err := e.hook(step, name); err != nil {
			return err
		}
	}
	return f()
}

// kind gives the errors of a full disk and of exhausted descriptors their kind.
func kind(err error) error {
	is := func(all ...syscall.Errno) bool {
		for _, n := range all {
			if errors.Is(err, n) {
				return true
			}
		}
		return false
	}
	const diskFull, handleDiskFull = syscall.Errno(112), syscall.Errno(39) // ERROR_DISK_FULL, ERROR_HANDLE_DISK_FULL
	switch {
	case is(syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE), runtime.GOOS == "windows" && is(diskFull, handleDiskFull):
		return fmt.Errorf("%w: %w", errs.Unavailable, err)
	case is(syscall.EFBIG):
		return fmt.Errorf("%w: %w", errs.TooLarge, err)
	}
	return err
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

type writer struct {
	e         *engine
	f         *os.File
	tmp, name string
}

func (e *engine) Create(_ context.Context, key string) (blob.Writer, error) {
	w := &writer{e: e, tmp: path.Join(tmp, rand.Text()), name: objectPath(key)}
	err := e.do("create", w.tmp, func() (err error) {
		w.f, err = e.root.OpenFile(w.tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil {
		return nil, kind(err)
	}
	return w, nil
}

func (w *writer) Write(p []byte) (n int, err error) {
	err = w.e.do("write", w.tmp, func() (err error) {
		n, err = w.f.Write(p)
		return err
	})
	return n, kind(err)
}

func (w *writer) Abort() {
	w.f.Close()
	_ = w.e.root.Remove(w.tmp) // else Open sweeps it
}

func (w *writer) Commit() error {
	// The content before the name: otherwise a power cut leaves the name with less than the content.
	err := w.e.do("sync", w.tmp, w.f.Sync)
	if closeErr := w.f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = w.e.place(w.tmp, w.name)
	}
	if err != nil {
		_ = w.e.root.Remove(w.tmp)
	}
	return kind(err)
}

// place renames a file into objects and makes its name durable.
func (e *engine) place(from, to string) error {
	dir := path.Dir(to)
	rename := func() error { return e.do("rename", to, func() error { return e.root.Rename(from, to) }) }
	e.mu.RLock()
	prunes := e.prunes
	err := rename()
	if missing(err) {
		err = e.do("mkdir", dir, func() error { return e.root.MkdirAll(dir, 0o700) })
		if err == nil {
			err = rename()
		}
	}
	e.mu.RUnlock()
	if err != nil {
		return err
	}
	if err := e.syncFolder(dir); err != nil {
		return err
	}
	// Whoever made the folders above, perhaps another writer, may not have synced their names yet.
	var fresh []string
	for ; dir != objects && !e.isSynced(dir); dir = path.Dir(dir) {
		if err := e.syncFolder(path.Dir(dir)); err != nil {
			return err
		}
		fresh = append(fresh, dir)
	}
	if len(fresh) > 0 {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.synced) >= maxSynced {
			clear(e.synced)
		}
		for _, dir := range fresh {
			if e.prunes == prunes { // else it may have been removed and made again since
				e.synced[dir] = true
			}
		}
	}
	return nil
}

// isSynced reports whether dir is known to be durable; then all above it are.
func (e *engine) isSynced(dir string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.synced[dir]
}

func (e *engine) syncFolder(dir string) error {
	return e.do("syncfolder", dir, func() error {
		f, err := e.root.Open(dir)
		if missing(err) {
			return nil // removed with the object, which somebody has deleted meanwhile
		}
		if err != nil {
			return err
		}
		return syncClose(f)
	})
}

func syncClose(f *os.File) error {
	defer f.Close()
	if runtime.GOOS == "windows" {
		return nil
	}
	return f.Sync()
}

func (e *engine) Get(_ context.Context, key string) (io.ReadCloser, blob.Info, error) {
	f, err := e.root.Open(objectPath(key))
	if missing(err) {
		return nil, blob.Info{}, errs.NotFound
	}
	if err != nil {
		return nil, blob.Info{}, kind(err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, blob.Info{}, kind(err)
	}
	return f, blob.Info{Key: key, Size: info.Size(), ModTime: info.ModTime()}, nil
}

func (e *engine) Stat(_ context.Context, key string) (blob.Info, error) {
	info, err := e.root.Lstat(objectPath(key))
	if missing(err) {
		return blob.Info{}, errs.NotFound
	}
	if err != nil {
		return blob.Info{}, kind(err)
	}
	return blob.Info{Key: key, Size: info.Size(), ModTime: info.ModTime()}, nil
}

func (e *engine) Delete(_ context.Context, key string) error {
	name := objectPath(key)
	err := e.do("remove", name, func() error { return e.root.Remove(name) })
	if err != nil && !missing(err) {
		return kind(err)
	}
	// Folders that are empty now go too.
	e.mu.Lock()
	defer e.mu.Unlock()
	for dir := path.Dir(name); dir != objects; dir = path.Dir(dir) {
		if err := e.root.Remove(dir); err != nil && !missing(err) {
			break
		}
		delete(e.synced, dir)
		e.prunes++
	}
	return nil
}
