package diskcache

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"salvage/internal/errs"
)

const (
	temporary = "tmp-" // begins the names of files that are being written or removed

	// How often a use is written to a file's modification time, from which the next process learns in
	// which order files were used.
	touchEvery = time.Minute
)

// fileName returns the name of the file of a key: 64 hexadecimal digits, safe whatever the key and the
// file system.
func fileName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func isFileName(name string) bool {
	return len(name) == 2*sha256.Size && strings.Trim(name, "0123456789abcdef") == ""
}

// scan learns what is in the folder and removes temporary files. Other files it leaves alone.
func (c *Cache[T]) scan() error {
	dir, err := os.ReadDir(c.Dir)
	if err != nil {
		return err
	}
	var found []*file[T]
	for _, d := range dir {
		switch {
		case !d.Type().IsRegular():
		case strings.HasPrefix(d.Name(), temporary):
			if err := os.Remove(c.path(d.Name())); err != nil {
				return err
			}
		case isFileName(d.Name()):
			info, err := d.Info()
			if err != nil {
				return err
			}
			found = append(found, &file[T]{name: d.Name(), size: info.Size(), touched: info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b *file[T]) int { return cmp.Or(a.touched.Compare(b.touched), cmp.Compare(a.name, b.name)) })
	c.mu.Lock()
	defer c.unlock()
	for _, e := range found {
		c.add(e)
	}
	c.makeRoom()
	return nil
}

// writer writes a file under a temporary name.
type writer struct {
	f       *os.File
	reserve func(have, more int64) error
	n       int64 // bytes reserved, which without an error is those written
	err     error // the first one
}

func create(dir string, reserve func(have, more int64) error) (*writer, error) {
	f, err := os.OpenFile(filepath.Join(dir, temporary+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return &writer{f: f, reserve: reserve}, err
}

func (w *writer) Write(p []byte) (n int, err error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.err = w.reserve(w.n, int64(len(p))); w.err != nil {
		return 0, w.err
	}
	w.n += int64(len(p))
	if n, err = w.f.Write(p); err != nil {
		w.err = unavailable(err)
	}
	return n, w.err
}

// reserve makes room for more bytes of a file that has some.
func (c *Cache[T]) reserve(have, more int64) error {
	c.mu.Lock()
	defer c.unlock()
	switch limit := c.Options.maxBytes; {
	case have+more > limit:
		return errs.Public(errs.TooLarge, "A derived file is larger than the whole cache of %d bytes.", limit)
	case c.filling+more > limit:
		return errs.Public(errs.Shed, "Other files being made take all of the cache; try again.")
	}
	c.filling += more
	c.makeRoom()
	return nil
}

// makeRoom removes files not used for longest until the rest fits. mu is held, here and below.
func (c *Cache[T]) makeRoom() {
	for c.disk+c.filling > c.Options.maxBytes && c.byUse.Len() > 0 {
		c.remove(c.byUse.Back().Value.(*file[T]))
		c.evictions.With("disk").Inc()
	}
}

// place puts a written file under its name.
func (c *Cache[T]) place(w *writer, name string) (*file[T], error) {
	now := c.Now()
	err := os.Chtimes(w.f.Name(), now, now)
	if err == nil {
		err = os.Rename(w.f.Name(), c.path(name))
	}
	if err != nil {
		return nil, unavailable(err)
	}
	e := &file[T]{name: name, size: w.n, touched: now}
	c.add(e)
	return e, nil
}

// add makes a file known, as the last used.
func (c *Cache[T]) add(e *file[T]) {
	c.files[e.name] = e
	e.byUse = c.byUse.PushFront(e)
	c.disk += e.size
}

// use marks a file as the last used.
func (c *Cache[T]) use(e *file[T]) {
	c.byUse.MoveToFront(e.byUse)
	if e.m != nil {
		c.open.MoveToFront(e.open)
	}
	now := c.Now()
	if d := now.Sub(e.touched); d >= touchEvery || d < 0 {
		_ = os.Chtimes(c.path(e.name), now, now) // else the order is lost, not the file
		e.touched = now
	}
}

// remove removes a file. It is renamed first: that is quick, its name is free at once, and where a mapped
// file cannot be removed it does not come back.
func (c *Cache[T]) remove(e *file[T]) {
	if e.m != nil {
		c.unmap(e)
	}
	delete(c.files, e.name)
	c.byUse.Remove(e.byUse)
	c.disk -= e.size
	path := c.path(temporary + rand.Text())
	if err := os.Rename(c.path(e.name), path); err == nil {
		c.trash = append(c.trash, path)
	}
}

// keepMapped keeps the mapping of a file, and as many others as fit.
func (c *Cache[T]) keepMapped(e *file[T], m *mapping[T]) {
	if e.size > c.Options.maxMapped {
		return
	}
	m.refs.Add(1)
	e.m, e.open = m, c.open.PushFront(e)
	c.mapped += e.size
	for c.open.Len() > c.Options.maxOpen || c.mapped > c.Options.maxMapped {
		c.unmap(c.open.Back().Value.(*file[T]))
		c.evictions.With("memory").Inc()
	}
}

// unmap gives up the cache's own reference to a mapping.
func (c *Cache[T]) unmap(e *file[T]) {
	c.dead = append(c.dead, e.m)
	c.open.Remove(e.open)
	c.mapped -= e.size
	e.m, e.open = nil, nil
}

// remember keeps an error for as long as its kind allows.
func (c *Cache[T]) remember(name string, err error) {
	ttl := errs.Remember(err)
	if ttl == 0 || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	c.failures[name] = c.byRecall.PushFront(failure{name, err, c.Now().Add(ttl)})
	for len(c.failures) > c.Options.maxRemembered {
		c.dropFailure(c.byRecall.Back().Value.(failure).name)
		c.evictions.With("failures").Inc()
	}
}

// recall returns the error that is remembered, if any.
func (c *Cache[T]) recall(name string) error {
	el := c.failures[name]
	if el == nil {
		return nil
	}
	f := el.Value.(failure)
	if !c.Now().Before(f.until) {
		c.dropFailure(name)
		return nil
	}
	c.byRecall.MoveToFront(el)
	return f.err
}

func (c *Cache[T]) dropFailure(name string) {
	if el := c.failures[name]; el != nil {
		c.byRecall.Remove(el)
		delete(c.failures, name)
	}
}
