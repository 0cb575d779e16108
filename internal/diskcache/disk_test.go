package diskcache_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvage/config/configtest"
	"salvage/internal/diskcache"
	"salvage/internal/errs"
)

func TestRestart(t *testing.T) {
	dir, k := t.TempDir(), &clock{}
	c := open(t, dir, k, nil)
	for _, key := range []string{"a", "b", "c", "d"} {
		k.advance(time.Hour)
		c.want(t, key, write(key), key)
	}
	k.advance(time.Hour)
	c.want(t, "a", never(t), "a") // used last
	c.Close()
	for _, name := range []string{"tmp-LEFT", "README", strings.ToUpper(diskcache.FileName("a"))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("1234567890"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c = open(t, dir, k, map[string]string{"max_bytes": "15"}) // three of five bytes
	want := []string{"README", strings.ToUpper(diskcache.FileName("a")), diskcache.FileName("a"), diskcache.FileName("c"), diskcache.FileName("d")}
	got := sizes(t, dir)
	for _, name := range want {
		if got[name] == 0 {
			t.Errorf("%s is gone", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("after a restart: %v", got)
	}
	c.rec.Counter("diskcache.evictions").Tags("tier:disk").Value(1)
	c.want(t, "e", write("e"), "e") // instead of c
	c.want(t, "a", never(t), "a")
	c.want(t, "d", never(t), "d")
	c.want(t, "c", write("new"), "new")
}

func TestDamagedFile(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"flipped":   func(b []byte) []byte { b[len(b)-1]++; return b },
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"empty":     func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir, k := t.TempDir(), &clock{}
			path := filepath.Join(dir, diskcache.FileName("a"))
			c := open(t, dir, k, nil)
			c.want(t, "a", write("good"), "good")
			c.Close()
			hurt := func() {
				t.Helper()
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, damage(b), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			hurt()
			c = open(t, dir, k, nil)
			c.want(t, "a", write("again"), "again")
			c.want(t, "a", never(t), "again")
			c.rec.Counter("diskcache.rejected").Value(1)
			c.rec.Gauge("diskcache.bytes").Tags("tier:disk").Value(9)
			c.Close()

			hurt()
			c = open(t, dir, k, nil)
			fills := 0
			bad := func(_ context.Context, w io.Writer) error {
				fills++
				_, err := w.Write([]byte("bad bytes"))
				return err
			}
			c.wantErr(t, "a", bad, errs.Corrupt)
			c.wantErr(t, "a", bad, errs.Corrupt)
			if left := sizes(t, dir); fills != 1 || len(left) != 0 {
				t.Errorf("%d fills, left %v", fills, left)
			}
			k.advance(errs.Remember(errs.Corrupt))
			c.want(t, "a", write("good"), "good")
			c.Close()
			if n := mappings(t, dir); n != 0 {
				t.Errorf("%d files are still mapped", n)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		dir := t.TempDir()
		c := open(t, dir, &clock{}, map[string]string{"max_open": "0"})
		c.want(t, "a", write("good"), "good")
		if err := os.Remove(filepath.Join(dir, diskcache.FileName("a"))); err != nil {
			t.Fatal(err)
		}
		c.want(t, "a", write("again"), "again")
		c.rec.Counter("diskcache.rejected").Value(0)
	})
}

// A file is checked in full once, and parsed whenever it is mapped.
func TestVerifyOnce(t *testing.T) {
	dir, k := t.TempDir(), &clock{}
	for start := range 2 {
		parsed, verified := 0, 0
		cfg := diskcache.Config[[]byte]{
			Dir: dir, Now: k.now,
			Parse:  func(data []byte) ([]byte, error) { parsed++; return parse(data) },
			Verify: func(data []byte) error { verified++; return verify(data) },
		}
		configtest.Load(t, &cfg.Options, map[string]string{"max_open": "0"})
		c, err := diskcache.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			(&cache{c, nil}).want(t, "a", write("x"), "x")
		}
		if parsed != 3 || verified != 1 {
			t.Errorf("start %d: parsed %d times, verified %d times", start, parsed, verified)
		}
		c.Close()
	}
}

// Times of use that a wrong clock has put into the future do not stay there.
func TestClockBack(t *testing.T) {
	dir, k := t.TempDir(), &clock{}
	c := open(t, dir, k, nil)
	c.want(t, "a", write("a"), "a")
	k.advance(-24 * time.Hour)
	c.want(t, "a", never(t), "a")
	k.advance(time.Minute)
	c.want(t, "b", write("b"), "b")
	c.Close()
	c = open(t, dir, k, map[string]string{"max_bytes": "5"})
	c.want(t, "b", never(t), "b")
}

func TestKeys(t *testing.T) {
	parent := t.TempDir()
	dir, k := filepath.Join(parent, "cache"), &clock{}
	keys := []string{"", ".", "..", "/", "../x", "/etc/passwd", "a", "A", "a\x00b", "tmp-x", "con", "ü", "u\u0308", strings.Repeat("k/", 5000), `..\..\x`,
		diskcache.FileName("a")}
	for range 2 {
		c := open(t, dir, k, nil)
		for _, key := range keys {
			c.want(t, key, write(key), key)
		}
		for _, key := range keys {
			c.want(t, key, never(t), key)
		}
		c.Close()
	}
	names := map[string]bool{}
	for name := range sizes(t, dir) {
		names[strings.ToLower(name)] = true
	}
	if len(names) != len(keys) || len(sizes(t, parent)) != 1 {
		t.Errorf("%d files for %d keys; %v", len(names), len(keys), sizes(t, parent))
	}
}

func TestDiskErrors(t *testing.T) {
	dir, k := t.TempDir(), &clock{}
	c := open(t, dir, k, map[string]string{"max_bytes": "100"})
	c.want(t, "exact", write(strings.Repeat("x", 96)), strings.Repeat("x", 96))
	c.wantErr(t, "large", write(strings.Repeat("x", 97)), errs.TooLarge)
	c.want(t, "exact", never(t), strings.Repeat("x", 96)) // nothing went for the sake of what is too large anyway
	c.wantErr(t, "deaf", func(_ context.Context, w io.Writer) error {
		for range 1000 {
			_, _ = w.Write(make([]byte, 30))
			var total int64
			for _, n := range sizes(t, dir) {
				total += n
			}
			if total > 100 {
				t.Errorf("%d bytes on disk", total)
			}
		}
		return nil
	}, errs.TooLarge)
	c.wantErr(t, "shed", func(ctx context.Context, w io.Writer) error {
		_, _ = w.Write(make([]byte, 60))
		c.wantErr(t, "other", write(strings.Repeat("x", 60)), errs.Shed)
		c.want(t, "other", write("small"), "small")
		return errs.Denied
	}, errs.Denied)
	if got := sizes(t, dir); len(got) != 1 {
		t.Errorf("left: %v", got)
	}
	c.wantErr(t, "full", func(_ context.Context, w io.Writer) error {
		diskcache.Break(w)
		_, _ = w.Write([]byte("1234"))
		return errors.New("some other words")
	}, errs.Unavailable)
	c.wantErr(t, "swept", func(ctx context.Context, w io.Writer) error {
		for name := range sizes(t, dir) {
			if strings.HasPrefix(name, "tmp-") {
				os.Remove(filepath.Join(dir, name))
			}
		}
		return write("x")(ctx, w)
	}, errs.Unavailable)
	obstacle := filepath.Join(dir, diskcache.FileName("blocked"))
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.wantErr(t, "blocked", write("x"), errs.Unavailable)
	os.RemoveAll(obstacle)
	c.wantErr(t, "blocked", never(t), errs.Unavailable)
	c.rec.Gauge("diskcache.bytes").Tags("tier:disk").Value(9)
	k.advance(errs.Remember(errs.Unavailable))
	c.want(t, "blocked", write("x"), "x")
	os.RemoveAll(dir)
	c.wantErr(t, "gone", never(t), errs.Unavailable)
	if _, err := diskcache.Open(diskcache.Config[[]byte]{Dir: filepath.Join(dir, "x", "y"), Now: k.now}); !errors.Is(err, errs.Unavailable) {
		t.Errorf("Open below a folder that is missing: %v", err)
	}
}
