package diskcache_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvage/internal/diskcache"
	"salvage/internal/errs"
)

// model is what a cache should do, one step at a time, with slices for everything.
type model struct {
	k                         *clock
	maxBytes, maxMapped       int
	maxOpen, maxRemembered    int
	files                     []*modelFile // last used first
	open                      []*modelFile // the same
	failures                  []modelFailure
	hits, evicted, fellAsleep int // of memory, from disk, from memory
}

type modelFile struct {
	key, payload string
	touched      time.Time
	damaged      bool
}

type modelFailure struct {
	key   string
	err   error
	until time.Time
}

func size(f *modelFile) int { return 4 + len(f.payload) }

func total(files []*modelFile) (n int) {
	for _, f := range files {
		n += size(f)
	}
	return n
}

func (m *model) find(key string) *modelFile {
	if i := slices.IndexFunc(m.files, func(f *modelFile) bool { return f.key == key }); i >= 0 {
		return m.files[i]
	}
	return nil
}

func without(files []*modelFile, f *modelFile) []*modelFile {
	return slices.DeleteFunc(slices.Clone(files), func(g *modelFile) bool { return g == f })
}

func (m *model) forget(key string) {
	f := m.find(key)
	m.files, m.open = without(m.files, f), without(m.open, f)
	m.failures = slices.DeleteFunc(m.failures, func(f modelFailure) bool { return f.key == key })
}

func (m *model) remember(key string, err error) {
	if ttl := errs.Remember(err); ttl > 0 {
		m.failures = append([]modelFailure{{key, err, m.k.now().Add(ttl)}}, m.failures...)
		m.failures = m.failures[:min(len(m.failures), m.maxRemembered)]
	}
}

// get returns what Get should: the payload or an error, and whether it fills. A fill writes chunks of the
// payload and then returns err.
func (m *model) get(key, payload string, chunk int, fillErr error) (string, error, bool) {
	f := m.find(key)
	if f != nil {
		m.files = append([]*modelFile{f}, without(m.files, f)...)
		if m.k.now().Sub(f.touched) >= time.Minute {
			f.touched = m.k.now()
		}
		if slices.Contains(m.open, f) {
			m.hits++
			m.open = append([]*modelFile{f}, without(m.open, f)...)
			return f.payload, nil, false
		}
	}
	m.failures = slices.DeleteFunc(m.failures, func(f modelFailure) bool { return f.key == key && !m.k.now().Before(f.until) })
	if i := slices.IndexFunc(m.failures, func(f modelFailure) bool { return f.key == key }); i >= 0 {
		hit := m.failures[i]
		m.failures = append([]modelFailure{hit}, slices.Delete(slices.Clone(m.failures), i, i+1)...)
		return "", hit.err, false
	}
	if f != nil && f.damaged {
		m.files, f = without(m.files, f), nil
	}
	filled := f == nil
	if filled {
		written := 0
		for part := range slices.Chunk(encode(payload), chunk) {
			if written+len(part) > m.maxBytes {
				return "", errs.TooLarge, true
			}
			written += len(part)
			for total(m.files)+written > m.maxBytes {
				last := m.files[len(m.files)-1]
				m.files, m.open = without(m.files, last), without(m.open, last)
				m.evicted++
			}
		}
		if fillErr != nil {
			m.remember(key, fillErr)
			return "", fillErr, true
		}
		f = &modelFile{key: key, payload: payload, touched: m.k.now()}
		m.files = append([]*modelFile{f}, m.files...)
	}
	if size(f) <= m.maxMapped {
		m.open = append([]*modelFile{f}, m.open...)
		for len(m.open) > m.maxOpen || total(m.open) > m.maxMapped {
			m.open = m.open[:len(m.open)-1]
			m.fellAsleep++
		}
	}
	return f.payload, nil, filled
}

func (m *model) restart() {
	m.open, m.failures, m.hits, m.evicted, m.fellAsleep = nil, nil, 0, 0, 0
	slices.SortFunc(m.files, func(a, b *modelFile) int {
		return cmp.Or(b.touched.Compare(a.touched), cmp.Compare(diskcache.FileName(b.key), diskcache.FileName(a.key)))
	})
}

func TestModel(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 2))
			dir, k := t.TempDir(), &clock{}
			m := &model{k: k, maxBytes: 100 + rng.IntN(200), maxMapped: 20 + rng.IntN(200), maxOpen: rng.IntN(6), maxRemembered: rng.IntN(4)}
			options := map[string]string{
				"max_bytes": strconv.Itoa(m.maxBytes), "max_mapped": strconv.Itoa(m.maxMapped),
				"max_open": strconv.Itoa(m.maxOpen), "max_remembered": strconv.Itoa(m.maxRemembered),
			}
			c := open(t, dir, k, options)
			type held struct {
				h    *diskcache.Handle[[]byte]
				want string
			}
			var handles []held
			release := func() {
				for _, h := range handles {
					if got := string(h.h.Value()[4:]); got != h.want {
						t.Errorf("held %q, want %q", got, h.want)
					}
					h.h.Close()
				}
				handles = nil
			}
			defer func() { release() }()
			for step := range 400 {
				key := string(rune('a' + rng.IntN(9)))
				path := filepath.Join(dir, diskcache.FileName(key))
				op := rng.IntN(20)
				what := fmt.Sprintf("step %d, op %d, key %s", step, op, key)
				switch {
				case op == 0:
					c.Forget(key)
					m.forget(key)
				case op == 1:
					k.advance(time.Duration(rng.Int64N(int64(2 * time.Hour))))
				case op == 2:
					c.Close()
					c = open(t, dir, k, options)
					m.restart()
				case op == 3: // replaced, so that what is mapped stays
					f := m.find(key)
					if f == nil || f.damaged || slices.Contains(m.open, f) {
						continue
					}
					f.damaged = true
					other := path + "-other"
					if err := os.WriteFile(other, make([]byte, size(f)-1), 0o600); err != nil {
						t.Fatal(err)
					}
					if err := errors.Join(os.Chtimes(other, f.touched, f.touched), os.Rename(other, path)); err != nil {
						t.Fatal(err)
					}
				default:
					k.advance(time.Duration(rng.Int64N(int64(time.Minute))))
					payload := strings.Repeat(string(rune('A'+rng.IntN(26))), rng.IntN(60))
					if rng.IntN(15) == 0 {
						payload = strings.Repeat("L", m.maxBytes-4+rng.IntN(3))
					}
					var fillErr error
					if rng.IntN(4) == 0 {
						fillErr = []error{errs.NotFound, errs.Denied, errs.Unavailable, errs.Invalid}[rng.IntN(4)]
					}
					chunk := 1 + rng.IntN(50)
					want, wantErr, wantFill := m.get(key, payload, chunk, fillErr)
					filled := false
					h, err := c.Get(ctx, key, func(_ context.Context, w io.Writer) error {
						filled = true
						for part := range slices.Chunk(encode(payload), chunk) {
							if _, err := w.Write(part); err != nil {
								return err
							}
						}
						return fillErr
					})
					if !errors.Is(err, wantErr) || filled != wantFill {
						t.Fatalf("%s: error %v, want %v; filled %v, want %v", what, err, wantErr, filled, wantFill)
					}
					if err == nil {
						if got := string(h.Value()[4:]); got != want {
							t.Fatalf("%s = %q, want %q", what, got, want)
						}
						if handles = append(handles, held{h, want}); rng.IntN(8) == 0 {
							release()
						}
					}
				}
				got := sizes(t, dir)
				for _, f := range m.files {
					name, n := diskcache.FileName(f.key), int64(size(f))
					if f.damaged {
						n--
					}
					if got[name] != n {
						t.Fatalf("%s: file of %s has %d bytes, want %d", what, f.key, got[name], n)
					}
				}
				if len(got) != len(m.files) {
					t.Fatalf("%s: %d files, want %d", what, len(got), len(m.files))
				}
				if slices.ContainsFunc(m.files, func(f *modelFile) bool { return f.damaged }) && op == 2 {
					// From here on a start knows the size the damaged file has.
					for _, f := range m.files {
						if f.damaged {
							m.forget(f.key)
							c.Forget(f.key)
						}
					}
				}
				gauge := func(key, tier string, want int) { c.rec.Gauge(key).Tags("tier:" + tier).Value(float64(want)) }
				gauge("diskcache.bytes", "disk", total(m.files))
				gauge("diskcache.bytes", "memory", total(m.open))
				gauge("diskcache.entries", "memory", len(m.open))
				gauge("diskcache.entries", "failures", len(m.failures))
				c.rec.Counter("diskcache.hits").Tags("tier:memory").Value(float64(m.hits))
				c.rec.Counter("diskcache.evictions").Tags("tier:disk").Value(float64(m.evicted))
				c.rec.Counter("diskcache.evictions").Tags("tier:memory").Value(float64(m.fellAsleep))
				if t.Failed() {
					t.Fatal(what)
				}
			}
		})
	}
}
