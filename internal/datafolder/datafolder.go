// Package datafolder opens the folder that holds all of Salvage's data: one process at a time, in a
// format that this program knows.
//
//	LOCK     locked while in use; says by whom
//	FORMAT   the format version, a decimal number
//
// What else is in it belongs to the storage engines.
package datafolder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"salvage/internal/errs"
)

// Format is the version this program writes; it opens no newer one.
//
// Version history: 1 first version.
const Format = 1

// errHeld is what tryLock returns when another open file holds the lock.
var errHeld = errors.New("held")

// Folder is an open data folder.
type Folder struct {
	Dir  string // absolute
	lock *os.File
}

// Open opens dir, which it creates if it is missing. It gives Conflict if somebody has it open,
// Unsupported if a newer program wrote it, Corrupt if its version cannot be read; the sentences of
// these are for users. The lock ends with the process, however that ends.
func Open(dir string) (_ *Folder, err error) {
	defer errs.Wrap(&err, "datafolder.Open(%s)", dir)
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := mkdirAll(dir); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	f := &Folder{dir, lock}
	if err := f.open(); err != nil {
		lock.Close()
		return nil, err
	}
	return f, nil
}

func (f *Folder) open() error {
	err := tryLock(f.lock)
	if errors.Is(err, errHeld) {
		return errs.Public(errs.Conflict, "The data folder %s is in use by %s.", f.Dir, holder(f.lock))
	}
	if err != nil {
		return err
	}
	if err := f.lock.Truncate(0); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f.lock, "process %d, started %s\n", os.Getpid(), time.Now().UTC().Format(time.RFC3339)); err != nil {
		return err
	}
	return checkFormat(f.Dir)
}

// holder returns what the holder of the lock wrote about itself.
func holder(lock io.ReaderAt) string {
	text, err := io.ReadAll(io.NewSectionReader(lock, 0, 200))
	if line, _, ok := strings.Cut(string(text), "\n"); ok && err == nil {
		return line
	}
	return "another process" // which has only just locked it
}

// Close releases the folder.
func (f *Folder) Close() error {
	_ = f.lock.Truncate(0) // so that nobody reads of a process that has ended
	return f.lock.Close()
}

// Scratch returns a folder in the data folder for files that nobody needs after the process. It is empty.
func (f *Folder) Scratch(name string) (string, error) {
	dir := filepath.Join(f.Dir, "scratch", name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// Free returns how many bytes this process may still write to the folder's file system.
func (f *Folder) Free() (bytes uint64, err error) {
	defer errs.Wrap(&err, "datafolder.Free(%s)", f.Dir)
	return free(f.Dir)
}

// checkFormat compares the version of the folder, and writes it into a new one.
func checkFormat(dir string) error {
	name := filepath.Join(dir, "FORMAT")
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return writeFormat(dir, name)
	}
	if err != nil {
		return err
	}
	version, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32)
	if err != nil || version == 0 {
		return errs.Public(errs.Corrupt, "The file %s does not hold a format version.", name)
	}
	if version > Format {
		return errs.Public(errs.Unsupported, "The data folder %s has format %d; this program knows formats up to %d. Use a newer one.", dir, version, Format)
	}
	return nil
}

func writeFormat(dir, name string) error {
	f, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, Format)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	if err != nil {
		return err
	}
	return syncFolder(dir)
}

// mkdirAll creates dir and those above it, durably.
func mkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if info, statErr := os.Stat(dir); statErr == nil && info.IsDir() {
			return nil // somebody else was faster
		}
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // cannot sync folders
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
