package symbols_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"salvage/debug/symbols"
)

func below(n int) func(int) bool { return func(i int) bool { return i < n } }

func TestParallel(t *testing.T) {
	for _, n := range []int{0, 1, 3, 1000} {
		for _, workers := range []int{0, 1, 7} {
			var got []int
			var running, most atomic.Int64
			walker := func() func(context.Context, int) int {
				calls := 0 // by one goroutine only: the race detector looks
				return func(_ context.Context, i int) int {
					calls++
					for now := running.Add(1); now > most.Load(); {
						most.Store(now)
					}
					runtime.Gosched()
					running.Add(-1)
					return i
				}
			}
			err := symbols.Parallel(t.Context(), workers, below(n), walker, func(i int) error { got = append(got, i); return nil })
			if err != nil || len(got) != n || !slices.IsSorted(got) || workers > 0 && most.Load() > int64(workers) {
				t.Errorf("%d parts, %d workers: %d, %v, %d at once", n, workers, len(got), err, most.Load())
			}
		}
	}
	stop := errors.New("stop")
	var read atomic.Int64
	walker := func() func(context.Context, int) int {
		return func(_ context.Context, i int) int { read.Add(1); return i }
	}
	if err := symbols.Parallel(t.Context(), 2, below(1000), walker, func(i int) error {
		if i == 5 {
			return stop
		}
		return nil
	}); err != stop || read.Load() > 20 {
		t.Errorf("%v after %d parts", err, read.Load())
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := symbols.Parallel(ended, 2, below(1000), walker, func(int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
