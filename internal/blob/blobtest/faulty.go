package blobtest

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"

	"salvage/internal/blob"
)

// Faults says how a faulty store fails.
type Faults struct {
	// Fail is asked before each call with its name (create, write, commit, get, read, stat, list, item
	// of a listing, delete) and its number among the calls of that name, from 1. An error is what the
	// call returns instead of doing anything; a failed commit aborts.
	Fail func(call string, n int) error

	Delay      time.Duration // before each call, unless its context ends
	ShortReads bool          // a Read gives one byte
}

// Nth returns a Fail that gives err in the n-th call of the given name.
func Nth(call string, n int, err error) func(string, int) error {
	return func(c string, i int) error {
		if c == call && i == n {
			return err
		}
		return nil
	}
}

// Faulty returns a store that is s with faults.
func Faulty(s blob.Store, f Faults) blob.Store {
	return blob.New(&faulty{Store: s, Faults: f, calls: map[string]int{}})
}

type faulty struct {
	blob.Store
	Faults
	mu    sync.Mutex
	calls map[string]int
}

func (f *faulty) call(ctx context.Context, name string) error {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	f.mu.Lock()
	f.calls[name]++
	n := f.calls[name]
	f.mu.Unlock()
	if f.Fail == nil {
		return nil
	}
	return f.Fail(name, n)
}

func (f *faulty) Create(ctx context.Context, key string) (blob.Writer, error) {
	if err := f.call(ctx, "create"); err != nil {
		return nil, err
	}
	w, err := f.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &faultyWriter{w, f, ctx}, nil
}

type faultyWriter struct {
	blob.Writer
	f   *faulty
	ctx context.Context
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if err := w.f.call(w.ctx, "write"); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

func (w *faultyWriter) Commit() error {
	if err := w.f.call(w.ctx, "commit"); err != nil {
		w.Abort()
		return err
	}
	return w.Writer.Commit()
}

func (f *faulty) Get(ctx context.Context, key string) (io.ReadCloser, blob.Info, error) {
	if err := f.call(ctx, "get"); err != nil {
		return nil, blob.Info{}, err
	}
	r, info, err := f.Store.Get(ctx, key)
	if err != nil {
		return nil, blob.Info{}, err
	}
	return &faultyReader{r, f, ctx}, info, nil
}

type faultyReader struct {
	io.ReadCloser
	f   *faulty
	ctx context.Context
}

func (r *faultyReader) Read(p []byte) (int, error) {
	if err := r.f.call(r.ctx, "read"); err != nil {
		return 0, err
	}
	if r.f.ShortReads && len(p) > 1 {
		p = p[:1]
	}
	return r.ReadCloser.Read(p)
}

func (f *faulty) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := f.call(ctx, "stat"); err != nil {
		return blob.Info{}, err
	}
	return f.Store.Stat(ctx, key)
}

func (f *faulty) List(ctx context.Context, prefix, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := f.call(ctx, "list"); err != nil {
			yield(blob.Info{}, err)
			return
		}
		for info, err := range f.Store.List(ctx, prefix, after) {
			if err == nil {
				err = f.call(ctx, "item")
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	if err := f.call(ctx, "delete"); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}
