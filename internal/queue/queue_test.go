package queue_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"salvage/internal/errs"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/metrics"
)

// fixture is a queue with a clock that the test sets.
type fixture struct {
	*queue.Queue
	path string
	now  atomic.Int64 // added to the real time
}

func start(t *testing.T, path string, c queue.Config) *fixture {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	f := &fixture{path: path}
	c.DB, c.Log, c.Metrics = db, slog.New(slog.DiscardHandler), metrics.New("test")
	c.Now = func() time.Time { return time.Now().Add(time.Duration(f.now.Load())) }
	if f.Queue, err = queue.New(t.Context(), c, true); err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs one worker until the test or the returned function ends it.
func (f *fixture) run(t *testing.T, handle func(ctx context.Context, key string) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Run(ctx, "k", handle)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (f *fixture) add(t *testing.T, keys ...string) {
	t.Helper()
	if err := f.Add(t.Context(), "k", queue.Fresh, keys...); err != nil {
		t.Fatal(err)
	}
}

// until waits for a job to come into a state; gone is the state of a job that is not there.
func (f *fixture) until(t *testing.T, key, what string, ok func(queue.Job) bool) queue.Job {
	t.Helper()
	for range 2000 {
		j, err := f.Get(t.Context(), "k", key)
		if err == nil && ok != nil && ok(j) || errors.Is(err, errs.NotFound) && ok == nil {
			return j
		}
		time.Sleep(5 * time.Millisecond)
	}
	j, err := f.Get(t.Context(), "k", key)
	t.Fatalf("job %s is not %s: %+v, %v", key, what, j, err)
	return j
}

func parked(j queue.Job) bool { return !j.Parked.IsZero() }

func TestOrder(t *testing.T) {
	f := start(t, ":memory:", queue.Config{})
	f.add(t, "b1", "b2")
	if err := errors.Join(f.Add(t.Context(), "k", queue.Later, "c"), f.Add(t.Context(), "other", queue.Now, "x"), f.Add(t.Context(), "k", queue.Now, "a")); err != nil {
		t.Fatal(err)
	}
	if err := f.Add(t.Context(), "k", queue.Now, "b2"); err != nil { // its turn comes sooner, and stays so
		t.Fatal(err)
	}
	f.add(t, "b2")
	var got []string
	f.run(t, func(_ context.Context, key string) error { got = append(got, key); return nil })
	for _, key := range []string{"a", "b1", "b2", "c"} {
		f.until(t, key, "done", nil)
	}
	if s := strings.Join(got, " "); s != "a b2 b1 c" {
		t.Errorf("order: %s", s)
	}
}

// TestNothingMissed lets writers change values and add jobs while workers with random failures read them:
// the last value of each key is seen by a run that succeeds, and no key is worked on twice at once.
func TestNothingMissed(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "db"), queue.Config{Attempts: 3})
	const keys, writes, writers = 5, 120, 3
	var values, seen [keys]atomic.Int64
	var busy [keys]atomic.Bool
	for range 3 {
		f.run(t, func(_ context.Context, key string) error {
			i := key[0] - '0'
			if !busy[i].CompareAndSwap(false, true) {
				t.Errorf("key %s runs twice at once", key)
			}
			defer busy[i].Store(false)
			v := values[i].Load()
			switch rand.IntN(8) {
			case 0:
				f.now.Add(int64(2 * time.Second)) // so that nobody waits long for the next try
				return errs.Public(errs.Unavailable, "busy")
			case 1:
				panic("made up")
			}
			time.Sleep(time.Duration(rand.IntN(2)) * time.Millisecond)
			if old := seen[i].Load(); v > old {
				seen[i].Store(v)
			}
			return nil
		})
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range writes / writers {
				i := rand.IntN(keys)
				values[i].Add(1)
				if err := f.Add(t.Context(), "k", queue.Fresh, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range keys {
		for range 4000 {
			j, err := f.Get(t.Context(), "k", fmt.Sprint(i))
			if err != nil {
				break
			}
			if parked(j) { // three panics in a row; adding revives
				f.add(t, fmt.Sprint(i))
			}
			f.now.Add(int64(time.Second))
			f.Wake("k")
			time.Sleep(2 * time.Millisecond)
		}
		if v, s := values[i].Load(), seen[i].Load(); v != s {
			t.Errorf("key %d: the last value is %d, the last seen %d", i, v, s)
		}
	}
}

func TestFailures(t *testing.T) {
	f := start(t, ":memory:", queue.Config{Attempts: 3, Lease: 24 * 365 * time.Hour})
	time.AfterFunc(0, func() { // nobody waits for a backoff
		for t.Context().Err() == nil {
			f.now.Add(int64(time.Minute))
			f.Wake("k")
			time.Sleep(5 * time.Millisecond)
		}
	})
	var runs atomic.Int32
	f.run(t, func(_ context.Context, key string) error {
		runs.Add(1)
		switch {
		case key == "broken":
			return errs.Public(errs.Corrupt, "The dump is damaged.\x00")
		case key == "bug":
			return errors.New("index out of range")
		case key == "panic":
			panic("at the disco")
		case runs.Load() <= 10:
			return errs.Public(errs.Unavailable, "The disk is full.")
		}
		return nil
	})
	for _, tt := range []struct {
		key, reason string
		runs        int32
	}{{"broken", "The dump is damaged.", 1}, {"bug", "index out of range", 3}, {"panic", "panic: at the disco", 3}} {
		runs.Store(0)
		f.add(t, tt.key)
		if j := f.until(t, tt.key, "parked", parked); j.Reason != tt.reason || runs.Load() != tt.runs {
			t.Errorf("%s: reason %q after %d runs", tt.key, j.Reason, runs.Load())
		}
	}
	runs.Store(0)
	if n, err := f.Ensure(t.Context(), "k", queue.Fresh, "broken"); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	f.add(t, "unlucky") // more failures than attempts
	f.until(t, "unlucky", "done", nil)
	if n := runs.Load(); n != 11 {
		t.Errorf("unlucky: %d runs", n)
	}
	if j, err := f.Get(t.Context(), "k", "broken"); err != nil || !parked(j) {
		t.Errorf("Ensure woke a parked job: %+v, %v", j, err)
	}
	runs.Store(0)
	f.add(t, "broken")
	f.until(t, "broken", "parked again", func(j queue.Job) bool { return parked(j) && runs.Load() == 1 })
}

// TestDeath: claims of a process that is gone are free at the next start; one that dies of a job each time
// stops trying.
func TestDeath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	die := func(f *fixture) {
		hold := make(chan struct{})
		claimed := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() {
			f.Run(ctx, "k", func(context.Context, string) error { claimed <- struct{}{}; <-hold; return nil })
		})
		<-claimed
		f.DB.Close() // nothing that it says from now on arrives
		cancel()
		close(hold)
		wg.Wait()
	}
	start(t, path, queue.Config{}).add(t, "x")
	for range 2 {
		die(start(t, path, queue.Config{Attempts: 2, Lease: time.Hour}))
	}
	f := start(t, path, queue.Config{Attempts: 2, Lease: time.Hour})
	f.run(t, func(context.Context, string) error { t.Error("a third attempt"); return nil })
	if j := f.until(t, "x", "parked", parked); j.Reason != "None of 2 attempts came to an end: each time the program stopped, or the work hung." {
		t.Errorf("reason %q", j.Reason)
	}
}

// TestLease: a worker that is silent for too long loses its job to another, and what it says afterwards
// does not count.
func TestLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	slow, other := start(t, path, queue.Config{Lease: time.Hour}), start(t, path, queue.Config{Lease: time.Hour})
	began, goOn := make(chan struct{}), make(chan struct{})
	slow.run(t, func(context.Context, string) error { close(began); <-goOn; return errs.Public(errs.Corrupt, "late") })
	slow.add(t, "x")
	<-began
	other.now.Store(int64(2 * time.Hour))
	var runs atomic.Int32
	second := make(chan struct{})
	other.run(t, func(context.Context, string) error { runs.Add(1); <-second; return nil })
	other.until(t, "x", "taken", func(j queue.Job) bool { return j.Attempts == 2 && runs.Load() == 1 })
	close(goOn)
	time.Sleep(20 * time.Millisecond)
	if j, err := other.Get(t.Context(), "k", "x"); err != nil || !j.Running || parked(j) {
		t.Errorf("the one who lost the lease changed the job: %+v, %v", j, err)
	}
	close(second)
	other.until(t, "x", "done", nil)
}

// TestHeartbeat: work longer than a lease keeps it; a lease that somebody took cancels the work.
func TestHeartbeat(t *testing.T) {
	f := start(t, filepath.Join(t.TempDir(), "db"), queue.Config{Lease: 300 * time.Millisecond})
	var runs atomic.Int32
	stolen := make(chan error, 1)
	handle := func(ctx context.Context, key string) error {
		runs.Add(1)
		if key == "long" {
			time.Sleep(time.Second)
			return nil
		}
		err := f.DB.Tx(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec("UPDATE jobs SET owner = 'thief', due = due + 3600000 WHERE key = 'stolen'")
			return err
		})
		if err != nil {
			return err
		}
		<-ctx.Done()
		stolen <- context.Cause(ctx)
		return ctx.Err()
	}
	f.run(t, handle)
	f.run(t, handle)
	f.add(t, "long")
	f.until(t, "long", "done", nil)
	if runs.Load() != 1 {
		t.Errorf("%d runs of a long job", runs.Load())
	}
	f.add(t, "stolen")
	if err := <-stolen; err == nil || !strings.Contains(err.Error(), "lease") {
		t.Errorf("cause: %v", err)
	}
}

// TestStop: a job that is interrupted by the end of the process is free at once and has not used an attempt.
func TestStop(t *testing.T) {
	f := start(t, ":memory:", queue.Config{})
	began := make(chan struct{})
	stop := f.run(t, func(ctx context.Context, _ string) error { close(began); <-ctx.Done(); return ctx.Err() })
	f.add(t, "x")
	<-began
	stop()
	j, err := f.Get(t.Context(), "k", "x")
	if err != nil || j.Running || j.Attempts != 0 || j.Due.After(time.Now()) || parked(j) {
		t.Errorf("%+v, %v", j, err)
	}
}

func TestAddTx(t *testing.T) {
	f := start(t, ":memory:", queue.Config{})
	no := errors.New("no")
	err := f.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		if err := f.AddTx(t.Context(), tx, "k", queue.Fresh, "x"); err != nil {
			return err
		}
		return no
	})
	if _, gone := f.Get(t.Context(), "k", "x"); err != no || !errors.Is(gone, errs.NotFound) {
		t.Errorf("%v, %v", err, gone)
	}
}
