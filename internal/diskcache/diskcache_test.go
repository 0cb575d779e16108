package diskcache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"salvage/config/configtest"
	"salvage/internal/debugtest"
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
		debugtest.Require(t, "linux", "/proc/self/maps tells what is mapped")
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
