package diskcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"salvage/internal/diskcache"
	"salvage/internal/errs"
)

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
