// Package blob stores the originals (raw crashes, dumps, symbol files) and the files derived from them:
// values of any size under keys, written once as a whole.
//
// The engines are packages below this one; blobtest holds the suite that each of them passes. Rules
// that are the same for all engines are here: keys, the life of a Writer, Put.
//
// A Store is safe for concurrent use. Its errors have a kind of package errs.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"salvage/internal/errs"
)

// Info describes an object.
type Info struct {
	Key     string
	Size    int64     // in bytes
	ModTime time.Time // of the last write
}

// Store keeps objects. All methods give Invalid for a key that CheckKey refuses, Unavailable where a
// later try may succeed (the disk is full, ctx has ended), Internal for what else an engine meets.
type Store interface {
	// Create stages an object. Nothing of it is visible before the Writer's Commit. ctx covers the
	// whole life of the Writer.
	Create(ctx context.Context, key string) (Writer, error)

	// Get opens the object for reading; NotFound if there is none. The reader gives Info.Size bytes of
	// that object even if it is replaced or deleted meanwhile. The caller closes it, and keeps ctx
	// alive until then.
	Get(ctx context.Context, key string) (io.ReadCloser, Info, error)

	// Stat is Get without the content.
	Stat(ctx context.Context, key string) (Info, error)

	// List yields the objects whose keys start with prefix and are greater than after, in the byte
	// order of keys; both may be empty. An object that is there during the whole listing is yielded
	// exactly once, one that comes or goes meanwhile at most once. After an error nothing follows; with
	// the last key as after, another List goes on where this one ended. A prefix that no key can have is
	// Invalid. It reads in memory that does not grow with the number of objects and skips folders
	// (segments) outside prefix or before after unread.
	List(ctx context.Context, prefix, after string) iter.Seq2[Info, error]

	// Delete removes the object. That there is none is no error. A power cut soon afterwards may bring
	// it back: sweeps run again, removals of personal data are recorded elsewhere.
	Delete(ctx context.Context, key string) error
}

// Writer is a staged object. It is for one goroutine. Every Writer needs Commit or Abort, best by
// defer w.Abort().
type Writer interface {
	// Write appends p and does not keep it. Its first error is final: Commit returns it again.
	io.Writer

	// Commit makes the object visible under its key, in place of an older one, and durable. It does
	// so as a whole or not at all: after an error, or a crash on the way, the key has either the
	// object from before or this one.
	Commit() error

	// Abort drops the object; it does nothing after Commit.
	Abort()
}

// Put stores what r has until io.EOF under key, with the guarantees of Writer.Commit. An error of r
// comes back with its kind, and the key stays as it was. A Read that blocks is r's to end.
func Put(ctx context.Context, s Store, key string, r io.Reader) (err error) {
	defer errs.Wrap(&err, "blob.Put(%q)", key)
	w, err := s.Create(ctx, key)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Commit()
}

// New returns an engine's store with the rules of all stores around it. The engine sees good keys and
// prefixes and a live context only, and of each Writer either one Commit or one Abort, as the last call.
func New(engine Store) Store { return &store{engine} }

type store struct{ engine Store }

func (s *store) Create(ctx context.Context, key string) (_ Writer, err error) {
	defer errs.Wrap(&err, "blob.Create(%q)", key)
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	w, err := s.engine.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &writer{ctx: ctx, key: key, w: w}, nil
}

func (s *store) Get(ctx context.Context, key string) (_ io.ReadCloser, _ Info, err error) {
	defer errs.Wrap(&err, "blob.Get(%q)", key)
	if err := check(ctx, key); err != nil {
		return nil, Info{}, err
	}
	return s.engine.Get(ctx, key)
}

func (s *store) Stat(ctx context.Context, key string) (_ Info, err error) {
	defer errs.Wrap(&err, "blob.Stat(%q)", key)
	if err := check(ctx, key); err != nil {
		return Info{}, err
	}
	return s.engine.Stat(ctx, key)
}

func (s *store) List(ctx context.Context, prefix, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		fail := func(err error) {
			errs.Wrap(&err, "blob.List(%q, %q)", prefix, after)
			yield(Info{}, err)
		}
		if err := checkPrefix(prefix); err != nil {
			fail(err)
			return
		}
		if err := ctx.Err(); err != nil {
			fail(err)
			return
		}
		for info, err := range s.engine.List(ctx, prefix, after) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				fail(err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *store) Delete(ctx context.Context, key string) (err error) {
	defer errs.Wrap(&err, "blob.Delete(%q)", key)
	if err := check(ctx, key); err != nil {
		return err
	}
	return s.engine.Delete(ctx, key)
}

func check(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return ctx.Err()
}

// writer keeps the first error and ends the engine's Writer exactly once.
type writer struct {
	ctx context.Context
	key string
	w   Writer
	err error
}

var errDone = errors.New("the writer is committed or aborted")

func (w *writer) live() error {
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	return w.err
}

func (w *writer) Write(p []byte) (n int, err error) {
	defer errs.Wrap(&err, "blob: write %q", w.key)
	if err := w.live(); err != nil {
		return 0, err
	}
	n, w.err = w.w.Write(p)
	return n, w.err
}

func (w *writer) Commit() (err error) {
	defer errs.Wrap(&err, "blob: commit %q", w.key)
	if err := w.live(); err != nil {
		w.Abort()
		return err
	}
	w.err = errDone
	return w.w.Commit()
}

func (w *writer) Abort() {
	if w.err != errDone {
		w.err = errDone
		w.w.Abort()
	}
}
