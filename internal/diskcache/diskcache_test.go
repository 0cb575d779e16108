package diskcache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"salvage/config/configtest"
	"salvage/internal/diskcache"
	"salvage/internal/errs"
	"salvage/metrics/metricstest"
)

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for start := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(start) > 5*time.Second {
			buf := make([]byte, 1<<16)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", buf[:runtime.Stack(buf, true)])
			code = 1
			break
		}
	}
	os.Exit(code)
}

var ctx = context.Background()

// The files of these tests: a checksum and what it is of.

func encode(payload string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(payload))), payload...)
}

func parse(data []byte) ([]byte, error) {
	if len(data) < 4 {
		return nil, errors.New("too short")
	}
	return data, nil
}

func verify(data []byte) error {
	if crc32.ChecksumIEEE(data[4:]) != binary.LittleEndian.Uint32(data) {
		return errors.New("checksum")
	}
	return nil
}

type cache struct {
	*diskcache.Cache[[]byte]
	rec *metricstest.Recorder
}

// clock is a fake one.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_700_000_000, c.ns.Load()) }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

func open(t testing.TB, dir string, k *clock, options map[string]string) *cache {
	t.Helper()
	registry, rec := metricstest.New(t)
	cfg := diskcache.Config[[]byte]{Dir: dir, Metrics: registry, Now: k.now, Parse: parse, Verify: verify}
	configtest.Load(t, &cfg.Options, options)
	c, err := diskcache.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &cache{c, rec}
}

func write(payload string) diskcache.Fill {
	return func(_ context.Context, w io.Writer) error {
		_, err := w.Write(encode(payload))
		return err
	}
}

// never is a Fill that must not run.
func never(t testing.TB) diskcache.Fill {
	return func(context.Context, io.Writer) error {
		t.Error("filled")
		return errors.New("filled")
	}
}

func fail(err error) diskcache.Fill {
	return func(context.Context, io.Writer) error { return err }
}

// get returns the payload; the handle is closed.
func (c *cache) get(key string, fill diskcache.Fill) (string, error) {
	h, err := c.Get(ctx, key, fill)
	if err != nil {
		return "", err
	}
	defer h.Close()
	return string(h.Value()[4:]), nil
}

func (c *cache) want(t testing.TB, key string, fill diskcache.Fill, payload string) {
	t.Helper()
	if got, err := c.get(key, fill); err != nil || got != payload {
		t.Errorf("Get(%q) = %q, %v, want %q", key, got, err, payload)
	}
}

func (c *cache) wantErr(t testing.TB, key string, fill diskcache.Fill, want error) {
	t.Helper()
	if got, err := c.get(key, fill); !errors.Is(err, want) {
		t.Errorf("Get(%q) = %q, %v, want error %v", key, got, err, want)
	}
}

// sizes returns the sizes of the files in a folder.
func sizes(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = info.Size()
	}
	return out
}

// mappings returns how many files of a folder the kernel has mapped for us.
func mappings(t testing.TB, dir string) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc/self/maps")
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(maps, []byte(dir+"/"))
}

func TestTiers(t *testing.T) {
	dir, k := filepath.Join(t.TempDir(), "cache"), &clock{}
	c := open(t, dir, k, nil)
	c.want(t, "a", write("one"), "one")
	c.want(t, "a", never(t), "one")
	c.wantErr(t, "b", fail(errs.NotFound), errs.NotFound)
	c.wantErr(t, "b", never(t), errs.NotFound)
	c.rec.Counter("diskcache.hits").Tags("tier:memory").Value(1)
	c.rec.Counter("diskcache.hits").Tags("tier:failures").Value(1)
	c.rec.Counter("diskcache.hits").Tags("tier:disk").Value(0)
	c.rec.Timer("diskcache.fill").Tags("result:success").Once()
	c.rec.Timer("diskcache.fill").Tags("result:not_found").Once()
	for tier, n := range map[string]float64{"memory": 1, "disk": 1, "failures": 1} {
		c.rec.Gauge("diskcache.entries").Tags("tier:" + tier).Value(n)
	}
	c.rec.Gauge("diskcache.bytes").Tags("tier:memory").Value(7)
	c.rec.Gauge("diskcache.bytes").Tags("tier:disk").Value(7)
	c.Close()

	c = open(t, dir, k, nil)
	c.rec.Gauge("diskcache.bytes").Tags("tier:disk").Value(7)
	c.want(t, "a", never(t), "one")
	c.want(t, "a", never(t), "one")
	c.rec.Counter("diskcache.hits").Tags("tier:disk").Value(1)
	c.rec.Counter("diskcache.hits").Tags("tier:memory").Value(1)
	c.Forget("a")
	c.want(t, "a", write("two"), "two")
	c.rec.Timer("diskcache.fill").Once()
}

func TestSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, t.TempDir(), &clock{}, nil)
		proceed := make(chan struct{})
		var fills atomic.Int32
		slow := func(ctx context.Context, w io.Writer) error {
			fills.Add(1)
			<-proceed
			return write("slow")(ctx, w)
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { c.want(t, "a", slow, "slow") })
		}
		synctest.Wait()
		c.want(t, "b", write("other"), "other") // waits for nobody
		close(proceed)
		wg.Wait()
		if n := fills.Load(); n != 1 {
			t.Errorf("%d fills", n)
		}
		c.Close()
	})
}

func TestForgetDuringFill(t *testing.T) {
	for name, old := range map[string]diskcache.Fill{"file": write("old"), "error": fail(errs.NotFound)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				c := open(t, dir, &clock{}, nil)
				proceed := make(chan struct{})
				held := func(fill diskcache.Fill) diskcache.Fill {
					return func(ctx context.Context, w io.Writer) error {
						<-proceed
						return fill(ctx, w)
					}
				}
				first, second := make(chan error, 1), make(chan error, 1)
				go func() {
					got, err := c.get("a", held(old))
					if err == nil && got != "old" {
						t.Errorf("first Get = %q", got)
					}
					first <- err
				}()
				synctest.Wait()
				c.Forget("a")
				go func() { // does not join the first
					got, err := c.get("a", held(write("new")))
					if got != "new" {
						t.Errorf("second Get = %q, %v", got, err)
					}
					second <- err
				}()
				synctest.Wait()
				proceed <- struct{}{} // of two receivers the first to wait is served: the old fill
				if err := <-first; errors.Is(err, errs.NotFound) != (name == "error") {
					t.Errorf("first Get: %v", err)
				}
				synctest.Wait()
				if n := len(sizes(t, dir)); n != 1 { // the new one, in the making
					t.Errorf("%d files after the old fill", n)
				}
				proceed <- struct{}{}
				<-second
				c.want(t, "a", never(t), "new")
				c.Close()
			})
		})
	}
	t.Run("nothing after", func(t *testing.T) { // a Forget after which nobody asked until the fill was done
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			c := open(t, dir, &clock{}, nil)
			for _, old := range []diskcache.Fill{write("old"), fail(errs.NotFound)} {
				_, _ = c.get("a", func(ctx context.Context, w io.Writer) error {
					c.Forget("a")
					return old(ctx, w)
				})
				if left := sizes(t, dir); len(left) != 0 {
					t.Errorf("files left: %v", left)
				}
				c.want(t, "a", write("new"), "new")
				c.Forget("a")
			}
			c.Close()
		})
	})
}

func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := open(t, dir, &clock{}, nil)
		proceed := make(chan struct{})
		ended := make(chan error, 9)
		slow := func(ctx context.Context, w io.Writer) error {
			select {
			case <-proceed:
				return write("slow")(ctx, w)
			case <-ctx.Done():
				ended <- ctx.Err()
				<-proceed // it takes its time
				return write("late")(context.Background(), w)
			}
		}
		wait := func(cause time.Duration) chan error {
			done := make(chan error, 1)
			ctx, cancel := context.WithTimeout(ctx, cause)
			go func() {
				defer cancel()
				h, err := c.Get(ctx, "a", slow)
				if err == nil {
					h.Close()
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		// One of two leaves: the fill goes on.
		one, two := wait(time.Second), wait(time.Hour)
		if err := <-one; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiter whose time is up: %v", err)
		}
		proceed <- struct{}{}
		if err := <-two; err != nil {
			t.Errorf("other waiter: %v", err)
		}
		if len(ended) != 0 {
			t.Error("the fill was cancelled")
		}
		c.Forget("a")
		// Both leave: it ends, and who comes then does not join it.
		one, two = wait(time.Second), wait(2*time.Second)
		<-one
		if <-two; len(ended) != 0 {
			synctest.Wait()
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("fill that nobody waits for: %v", err)
		}
		c.want(t, "a", write("new"), "new")
		proceed <- struct{}{} // the old one succeeds after all
		synctest.Wait()
		c.want(t, "a", never(t), "new")
		if n := len(sizes(t, dir)); n != 1 {
			t.Errorf("%d files", n)
		}
		// A context that has ended starts nothing; nor is its error remembered.
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := c.Get(gone, "b", never(t)); !errors.Is(err, context.Canceled) {
			t.Errorf("Get with an ended context: %v", err)
		}
		c.wantErr(t, "b", fail(context.DeadlineExceeded), context.DeadlineExceeded)
		c.wantErr(t, "b", fail(fmt.Errorf("%w: %w", errs.NotFound, context.Canceled)), context.Canceled)
		c.want(t, "b", write("b"), "b")
		c.Close()
	})
}

// The bytes of a handle outlive the mapping's place in memory, the file, a newer file and the cache.
func TestHandle(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, &clock{}, map[string]string{"max_bytes": "1MiB", "max_open": "1"})
	payload := strings.Repeat("x", 500_000)
	h, err := c.Get(ctx, "a", write(payload))
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if !bytes.Equal(h.Value(), encode(payload)) {
			t.Errorf("other bytes after %s", when)
		}
	}
	c.want(t, "b", write("b"), "b")
	c.rec.Counter("diskcache.evictions").Tags("tier:memory").Value(1)
	if n := mappings(t, dir); n != 2 {
		t.Errorf("%d files are mapped instead of one that is held and one that is kept", n)
	}
	check("it left memory")
	second, err := c.Get(ctx, "a", never(t))
	if err != nil {
		t.Fatal(err)
	}
	c.want(t, "big", write(strings.Repeat("y", 1_000_000)), strings.Repeat("y", 1_000_000))
	if _, there := sizes(t, dir)[diskcache.FileName("a")]; there {
		t.Error("not evicted")
	}
	check("eviction")
	c.want(t, "a", write("newer"), "newer")
	check("a newer file")
	second.Close()
	h2, err := c.Get(ctx, "a", never(t))
	if err != nil {
		t.Fatal(err)
	}
	h3, err := c.Get(ctx, "a", never(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Forget("a")
	h2.Close()
	h2.Close()
	if string(h3.Value()[4:]) != "newer" {
		t.Error("other bytes after another handle was closed twice")
	}
	h3.Close()
	if n := mappings(t, dir); n != 1 {
		t.Errorf("%d files are mapped beside the one held", n-1)
	}
	c.want(t, "b", write("b"), "b")
	c.Close()
	check("Close of the cache")
	h.Close()
	if n := mappings(t, dir); n != 0 {
		t.Errorf("%d files are still mapped", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("Value of a closed handle")
		}
	}()
	h.Value()
}

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

func TestFailures(t *testing.T) {
	k := &clock{}
	c := open(t, t.TempDir(), k, map[string]string{"max_remembered": "3"})
	for _, kind := range []*errs.Kind{errs.NotFound, errs.Denied, errs.Unsupported, errs.Corrupt, errs.Unavailable, errs.Internal, errs.Shed, errs.TooLarge} {
		key := kind.Error()
		cause := errs.Public(kind, "Because.")
		c.wantErr(t, key, fail(cause), cause)
		if ttl := errs.Remember(kind); ttl > 0 {
			k.advance(ttl - 1)
			c.wantErr(t, key, never(t), cause)
			k.advance(1)
		}
		c.want(t, key, write("now"), "now")
	}
	c.wantErr(t, "x", fail(errs.NotFound), errs.NotFound)
	c.Forget("x")
	c.want(t, "x", write("now"), "now")
	// Bounded: those not asked for longest go.
	for i := range 3 {
		c.wantErr(t, strconv.Itoa(i), fail(errs.NotFound), errs.NotFound)
	}
	c.wantErr(t, "0", never(t), errs.NotFound)
	c.wantErr(t, "3", fail(errs.NotFound), errs.NotFound)
	c.wantErr(t, "0", never(t), errs.NotFound)
	c.wantErr(t, "3", never(t), errs.NotFound)
	c.want(t, "1", write("now"), "now")
	c.rec.Gauge("diskcache.entries").Tags("tier:failures").Value(3)
	c.rec.Counter("diskcache.evictions").Tags("tier:failures").Value(1)
}

func TestFillThatPanics(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, &clock{}, map[string]string{"max_bytes": "100"})
	for name, bad := range map[string]func(){"oops": func() { panic("oops") }, "<nil>": runtime.Goexit} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, "panicked: "+name+"\n") || !strings.Contains(text, "TestFillThatPanics") {
					t.Errorf("Get panicked with %s", text)
				}
			}()
			_, err := c.get("a", func(_ context.Context, w io.Writer) error {
				_, _ = w.Write(make([]byte, 60))
				bad()
				return nil
			})
			t.Errorf("Get = %v", err)
		}()
	}
	if left := sizes(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	c.rec.Gauge("diskcache.bytes").Tags("tier:disk").Value(0)
	c.rec.Timer("diskcache.fill").Tags("result:panic").Times(2)
	c.want(t, "a", write("good"), "good")
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

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := open(t, dir, &clock{}, nil)
		c.want(t, "kept", write("kept"), "kept")
		done := make(chan error)
		go func() {
			_, err := c.get("a", func(ctx context.Context, _ io.Writer) error {
				<-ctx.Done()
				return ctx.Err()
			})
			done <- err
		}()
		synctest.Wait()
		go c.Close()
		if err := <-done; !errors.Is(err, errs.Unavailable) || errors.Is(err, context.Canceled) {
			t.Errorf("Get during Close: %v", err)
		}
		synctest.Wait()
		c.wantErr(t, "kept", never(t), errs.Unavailable)
		if n := len(sizes(t, dir)); n != 1 {
			t.Errorf("%d files", n)
		}
		c.rec.Gauge("diskcache.bytes").Tags("tier:memory").Value(0)
	})
}

// Many at once on a cache that is too small: every file is whole, and not older than the last Forget that
// had returned before Get was called.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, &clock{}, map[string]string{"max_bytes": "3000", "max_open": "3", "max_mapped": "2000"})
	const keys = 6
	var made, forgotten [keys]atomic.Int64
	var wg sync.WaitGroup
	for g := range uint64(8) {
		rng := rand.New(rand.NewPCG(g, 1))
		wg.Go(func() {
			var held []*diskcache.Handle[[]byte]
			for range 400 {
				i := rng.IntN(keys)
				key := strconv.Itoa(i)
				if rng.IntN(5) == 0 {
					v := made[i].Add(1)
					c.Forget(key)
					for old := forgotten[i].Load(); old < v && !forgotten[i].CompareAndSwap(old, v); old = forgotten[i].Load() {
					}
					continue
				}
				least := forgotten[i].Load()
				ctx, cancel := context.WithCancel(ctx)
				if rng.IntN(4) == 0 {
					go cancel()
				}
				h, err := c.Get(ctx, key, func(ctx context.Context, w io.Writer) error {
					v := made[i].Load()
					if v%7 == 3 {
						return fmt.Errorf("%w: %d", errs.NotFound, v)
					}
					return write(fmt.Sprintf("%d %d %s", i, v, strings.Repeat("z", 300+i)))(ctx, w)
				})
				cancel()
				var v int64
				switch {
				case errors.Is(err, errs.NotFound):
					v, _ = strconv.ParseInt(err.Error()[strings.LastIndex(err.Error(), " ")+1:], 10, 64)
				case errors.Is(err, errs.Shed), errors.Is(err, context.Canceled):
					continue
				case err != nil:
					t.Errorf("Get: %v", err)
					continue
				default:
					var k int
					if _, err := fmt.Sscan(string(h.Value()[4:]), &k, &v); err != nil || k != i || verify(h.Value()) != nil {
						t.Errorf("key %d: %q", i, h.Value())
					}
					held = append(held, h)
				}
				if v < least {
					t.Errorf("key %d: version %d after Forget of %d", i, v, least)
				}
				if len(held) > 5 {
					for _, h := range held {
						if verify(h.Value()) != nil {
							t.Error("a held file changed")
						}
						h.Close()
					}
					held = nil
				}
			}
			for _, h := range held {
				h.Close()
			}
		})
	}
	wg.Wait()
	c.Close()
	var total int64
	for name, n := range sizes(t, dir) {
		total += n
		if strings.HasPrefix(name, "tmp-") {
			t.Errorf("left: %s", name)
		}
	}
	if total > 3000 {
		t.Errorf("%d bytes on disk", total)
	}
	c.rec.Gauge("diskcache.bytes").Tags("tier:disk").Value(float64(total))
}

func BenchmarkHit(b *testing.B) {
	c := open(b, b.TempDir(), &clock{}, nil)
	b.ReportAllocs()
	for b.Loop() {
		h, err := c.Get(ctx, "symcache/v1/libfoo.so/000102030405060708090A0B0C0D0E0F0", write("x"))
		if err != nil {
			b.Fatal(err)
		}
		h.Close()
	}
}
