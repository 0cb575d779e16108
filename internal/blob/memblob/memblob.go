// Package memblob keeps objects in memory, for tests.
package memblob

import (
	"bytes"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"salvage/internal/blob"
	"salvage/internal/errs"
)

type object struct {
	info blob.Info
	data []byte // never changed
}

type engine struct {
	mu      sync.RWMutex
	objects map[string]object
}

// New returns an empty store.
func New() blob.Store { return blob.New(&engine{objects: map[string]object{}}) }

func (e *engine) lookup(key string) (object, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	o, ok := e.objects[key]
	if !ok {
		return object{}, errs.NotFound
	}
	return o, nil
}

func (e *engine) Get(_ context.Context, key string) (io.ReadCloser, blob.Info, error) {
	o, err := e.lookup(key)
	if err != nil {
		return nil, blob.Info{}, err
	}
	return io.NopCloser(bytes.NewReader(o.data)), o.info, nil
}

func (e *engine) Stat(_ context.Context, key string) (blob.Info, error) {
	o, err := e.lookup(key)
	return o.info, err
}

func (e *engine) List(_ context.Context, prefix, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		e.mu.RLock()
		keys := slices.Sorted(maps.Keys(e.objects))
		e.mu.RUnlock()
		for _, key := range keys {
			if key <= after || !strings.HasPrefix(key, prefix) {
				continue
			}
			if o, err := e.lookup(key); err == nil && !yield(o.info, nil) {
				return
			}
		}
	}
}

func (e *engine) Delete(_ context.Context, key string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.objects, key)
	return nil
}

type writer struct {
	bytes.Buffer
	e   *engine
	key string
}

func (e *engine) Create(_ context.Context, key string) (blob.Writer, error) {
	return &writer{e: e, key: key}, nil
}

func (w *writer) Commit() error {
	w.e.mu.Lock()
	defer w.e.mu.Unlock()
	w.e.objects[w.key] = object{blob.Info{Key: w.key, Size: int64(w.Len()), ModTime: time.Now()}, w.Bytes()}
	return nil
}

func (w *writer) Abort() { w.Reset() }
