// Package diskcache keeps derived files, such as symcaches, in a folder and maps them into memory.
//
// It knows nothing of what the files hold: the caller says how to make, to check and to parse one. What is
// in the folder can be made again at any time, so nothing is synced; a file is checked in full when it is
// made and when it is first opened after a start, which finds what a power cut has torn.
//
// A Cache is safe for concurrent use by the one process that has the folder. The bytes under a value stay
// mapped until its handle is closed, whatever becomes of the file; the disk space of a file that was removed
// while mapped is free only then, and is not counted until then. Where mapped files cannot be removed
// (Windows), the next start does it.
package diskcache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"salvage/config"
	"salvage/internal/errs"
	"salvage/internal/mmap"
	"salvage/metrics"
)

// Options are the limits of a cache.
type Options struct {
	maxBytes, maxMapped    int64
	maxOpen, maxRemembered int
}

// Options implements config.Component.
func (o *Options) Options(s *config.Spec) {
	config.Var(s, &o.maxBytes, "max_bytes", config.Bytes, config.Default("2GiB"),
		config.Doc("Largest size of all derived files on the local disk together; those not used for longest go first."))
	config.Var(s, &o.maxMapped, "max_mapped", config.Bytes, config.Default("1GiB"),
		config.Doc("Largest size of all derived files that stay mapped while nobody uses them."))
	config.Var(s, &o.maxOpen, "max_open", config.Int, config.Default("256"), config.Doc("Most derived files that stay mapped while nobody uses them."))
	config.Var(s, &o.maxRemembered, "max_remembered", config.Int, config.Default("10000"),
		config.Doc("Most files of which it is remembered that they could not be made."))
}

// Config is what a Cache of files that parse to a T needs.
type Config[T any] struct {
	Options Options
	Dir     string // created if only the folder itself is missing
	Metrics *metrics.Registry
	Now     func() time.Time
	// Parse opens a file and retains data; it runs whenever the file is mapped. Its value is shared by all
	// handles of that mapping.
	Parse func(data []byte) (T, error)
	// Verify checks all of a file. It runs once for each file, before anybody sees it.
	Verify func(T) error
}

// Fill writes a file to w, which does not buffer and is not to be used after Fill has returned. The context is the cache's, without the values of a
// caller's; it ends when nobody waits for the file any more. A failure of w is returned to those who wait,
// whatever Fill makes of it.
type Fill func(ctx context.Context, w io.Writer) error

// Cache is a cache of files.
type Cache[T any] struct {
	Config[T]
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	flying sync.WaitGroup // flights

	mu       sync.Mutex
	files    map[string]*file[T] // by name
	byUse    list.List           // of *file[T], last used first
	open     list.List           // of those of them that stay mapped, last used first
	disk     int64               // bytes of files
	filling  int64               // bytes of files being written
	mapped   int64               // bytes of open
	flights  map[string]*flight[T]
	failures map[string]*list.Element
	byRecall list.List     // of failure, last asked for first
	dead     []*mapping[T] // to be released after mu
	trash    []string      // paths to be removed after mu

	hits, evictions *metrics.Counter
	rejected        *metrics.Counter
	fills           *metrics.Timer
	bytes, entries  *metrics.Gauge
}

// file is a file on disk.
type file[T any] struct {
	name     string
	size     int64
	touched  time.Time // its modification time: when it was used, coarsely
	verified bool
	byUse    *list.Element
	m        *mapping[T] // while in open
	open     *list.Element
}

// failure is an error that is remembered.
type failure struct {
	name  string
	err   error
	until time.Time
}

// mapping is a mapped file and what it was parsed to.
type mapping[T any] struct {
	file  *mmap.File
	value T
	refs  atomic.Int64 // handles, the list of open ones, and the flight that made it
}

func (m *mapping[T]) release() {
	if m.refs.Add(-1) == 0 {
		_ = m.file.Close() // fails only for what is no mapping
	}
}

// Handle keeps a value usable.
type Handle[T any] struct {
	m      *mapping[T]
	closed atomic.Bool
}

// Value returns what the file was parsed to. Nothing of it may be used after Close.
func (h *Handle[T]) Value() T {
	if h.closed.Load() {
		panic("diskcache: Value of a closed handle")
	}
	return h.m.value
}

// Close gives the value up. Only the first call does something.
func (h *Handle[T]) Close() {
	if !h.closed.Swap(true) {
		h.m.release()
	}
}

var errClosed = fmt.Errorf("%w: the cache is closed", errs.Unavailable)

// unavailable is err as a failure of the disk.
func unavailable(err error) error { return fmt.Errorf("%w: %w", errs.Unavailable, err) }

// Open opens the cache in a folder with what a former process left there.
func Open[T any](cfg Config[T]) (c *Cache[T], err error) {
	defer errs.Wrap(&err, "diskcache.Open(%s)", cfg.Dir)
	if err := os.Mkdir(cfg.Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, unavailable(err)
	}
	tiers := metrics.Tag("tier", "memory", "disk", "failures")
	r := cfg.Metrics
	c = &Cache[T]{
		Config: cfg, files: map[string]*file[T]{}, flights: map[string]*flight[T]{}, failures: map[string]*list.Element{},
		hits:      r.Counter("diskcache.hits", "Derived files that did not have to be made, by where they were; failures: a remembered error.", tiers),
		evictions: r.Counter("diskcache.evictions", "Entries that went to make room, by where they were.", tiers),
		rejected:  r.Counter("diskcache.rejected", "Files on disk that were made again, being damaged or of another version."),
		fills:     r.Timer("diskcache.fill", "Time to make and check a derived file, by result: success, canceled, panic or the kind of error.", metrics.Tag("result")),
		bytes:     r.Gauge("diskcache.bytes", "Size of derived files, on disk and mapped.", tiers, metrics.Unit("bytes")),
		entries:   r.Gauge("diskcache.entries", "Number of derived files on disk and mapped, and of remembered errors.", tiers),
	}
	if err := c.scan(); err != nil {
		return nil, unavailable(err)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close ends all fills and waits for them. Handles stay valid until they are closed; Get fails.
func (c *Cache[T]) Close() error {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.flying.Wait()
	c.mu.Lock()
	defer c.unlock()
	for c.open.Len() > 0 {
		c.unmap(c.open.Back().Value.(*file[T]))
	}
	return nil
}

// unlock releases mu and what was given up under it.
func (c *Cache[T]) unlock() {
	c.bytes.With("memory").Set(float64(c.mapped))
	c.bytes.With("disk").Set(float64(c.disk + c.filling))
	c.entries.With("memory").Set(float64(c.open.Len()))
	c.entries.With("disk").Set(float64(len(c.files)))
	c.entries.With("failures").Set(float64(len(c.failures)))
	dead, trash := c.dead, c.trash
	c.dead, c.trash = nil, nil
	c.mu.Unlock()
	for _, m := range dead {
		m.release()
	}
	for _, path := range trash {
		_ = os.Remove(path) // else the next start does
	}
}

// Forget drops what is known of key: the file and a remembered error. A fill that is under way is of no
// use any more, except to those who wait for it already; the next Get begins another.
func (c *Cache[T]) Forget(key string) {
	name := fileName(key)
	c.mu.Lock()
	defer c.unlock()
	delete(c.flights, name)
	c.dropFailure(name)
	if e := c.files[name]; e != nil {
		c.remove(e)
	}
}

// Get returns the file of key, from memory, disk or fill. There is one fill of a key at a time, for all who
// wait for it; one whose ctx ends leaves with its error. An error of fill is returned again as long as
// errs.Remember says, a context error never. A file that does not pass the checks is Corrupt; on disk that
// means only that it is filled again. TooLarge: than the whole cache. Shed: other fills have the space.
// Unavailable: the disk is full or fails. If fill panics, so does Get.
func (c *Cache[T]) Get(ctx context.Context, key string, fill Fill) (h *Handle[T], err error) {
	defer errs.Wrap(&err, "diskcache.Get(%q)", key)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := fileName(key)
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.mu.Unlock()
		return nil, errClosed
	}
	e := c.files[name]
	if e != nil {
		c.use(e)
		if e.m != nil {
			defer c.unlock()
			c.hits.With("memory").Inc()
			e.m.refs.Add(1)
			return &Handle[T]{m: e.m}, nil
		}
	}
	if err := c.recall(name); err != nil {
		defer c.unlock()
		c.hits.With("failures").Inc()
		return nil, err
	}
	f := c.flights[name]
	if f == nil {
		f = &flight[T]{c: c, name: name, fill: fill, e: e, verified: e != nil && e.verified, done: make(chan struct{})}
		f.ctx, f.cancel = context.WithCancel(c.ctx)
		c.flights[name] = f
		c.flying.Go(f.run)
	}
	f.waiting++
	c.unlock()

	select {
	case <-f.done:
	case <-ctx.Done():
		if f.leave() {
			return nil, ctx.Err()
		}
	}
	switch {
	case f.panicked != "":
		panic(f.panicked)
	case f.err != nil:
		return nil, f.err
	case f.w == nil:
		c.hits.With("disk").Inc()
	}
	return &Handle[T]{m: f.m}, nil
}

// flight is one file being opened or filled, for all who wait for it. It is current, that is in
// Cache.flights, until it is done, forgotten or left by all; only then what it finds is kept.
type flight[T any] struct {
	c        *Cache[T]
	name     string
	fill     Fill
	e        *file[T] // on disk; may be nil
	verified bool
	ctx      context.Context
	cancel   context.CancelFunc
	waiting  int // under Cache.mu

	done     chan struct{} // closed when landed and cleaned up
	landed   bool          // under Cache.mu: what follows is final
	w        *writer       // once filling
	began    time.Time     // the fill
	m        *mapping[T]   // with a reference for each who waited
	err      error
	panicked string // with the stack
}

// leave ends one wait, and with the last one the flight. It reports false if the flight has landed.
func (f *flight[T]) leave() bool {
	f.c.mu.Lock()
	defer f.c.unlock()
	if f.landed {
		return false
	}
	f.waiting--
	if f.waiting == 0 {
		f.cancel()
		if f.c.flights[f.name] == f {
			delete(f.c.flights, f.name)
		}
	}
	return true
}

func (f *flight[T]) run() {
	returned := false
	defer func() {
		if !returned { // a panic, or runtime.Goexit, which recovers as nil
			f.panicked = fmt.Sprintf("diskcache: fill panicked: %v\n%s", recover(), debug.Stack())
		}
		f.land()
	}()
	f.m, f.err = f.load()
	returned = true
}

// load maps the file on disk, or fills one under a temporary name and maps that.
func (f *flight[T]) load() (*mapping[T], error) {
	if f.e != nil {
		m, err := f.c.mapFile(f.c.path(f.name), f.e.size, f.verified)
		damaged := errors.Is(err, errs.Corrupt)
		if !damaged && !errors.Is(err, fs.ErrNotExist) {
			return m, err
		}
		f.c.mu.Lock()
		if f.c.files[f.name] == f.e {
			f.c.remove(f.e)
		}
		f.c.unlock()
		if damaged {
			f.c.rejected.Inc()
		}
	}
	f.began = time.Now()
	w, err := create(f.c.Dir, f.c.reserve)
	if err != nil {
		return nil, unavailable(err)
	}
	f.w = w
	err = f.fill(f.ctx, w)
	if closeErr := w.f.Close(); w.err == nil && closeErr != nil {
		w.err = unavailable(closeErr)
	}
	if w.err != nil {
		return nil, w.err
	}
	if err != nil {
		return nil, err
	}
	return f.c.mapFile(w.f.Name(), w.n, false)
}

// mapFile maps a file that should have size bytes.
func (c *Cache[T]) mapFile(path string, size int64, verified bool) (*mapping[T], error) {
	mapped, err := mmap.Open(path)
	if err != nil {
		return nil, unavailable(err)
	}
	m := &mapping[T]{file: mapped}
	m.refs.Store(1)
	good := false
	defer func() { // also when Parse panics
		if !good {
			m.release()
		}
	}()
	if got := int64(len(mapped.Data)); got != size {
		return nil, fmt.Errorf("%w: %d bytes instead of %d", errs.Corrupt, got, size)
	}
	m.value, err = c.Parse(mapped.Data)
	if err == nil && !verified {
		err = c.Verify(m.value)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errs.Corrupt, err)
	}
	good = true
	return m, nil
}

// land keeps what the flight found, if it is current, and hands it to those who wait.
func (f *flight[T]) land() {
	c := f.c
	defer close(f.done)
	c.mu.Lock()
	defer c.unlock()
	f.landed = true
	e := f.e
	current := c.flights[f.name] == f
	if current {
		delete(c.flights, f.name)
	}
	if f.w != nil {
		f.w.f.Close()
		c.filling -= f.w.n
		e = nil
		if f.m != nil && current {
			e, f.err = c.place(f.w, f.name)
		}
		if e == nil {
			c.trash = append(c.trash, f.w.f.Name())
		}
	}
	if f.m != nil {
		c.dead = append(c.dead, f.m) // the flight's own reference
		if current && f.err == nil && c.files[f.name] == e {
			e.verified = true
			c.keepMapped(e, f.m)
		}
	}
	if f.err != nil && c.ctx.Err() != nil {
		f.err = errClosed
	}
	switch {
	case f.err == nil && f.panicked == "":
		f.m.refs.Add(int64(f.waiting))
	case current && f.err != nil:
		c.remember(f.name, f.err)
	}
	if !f.began.IsZero() {
		c.fills.With(f.result()).Observe(time.Since(f.began))
	}
	f.cancel()
}

func (f *flight[T]) result() string {
	switch {
	case f.panicked != "":
		return "panic"
	case f.err == nil:
		return "success"
	case f.ctx.Err() != nil:
		return "canceled"
	}
	return strings.ReplaceAll(errs.KindOf(f.err).Error(), " ", "_")
}

func (c *Cache[T]) path(name string) string { return filepath.Join(c.Dir, name) }
