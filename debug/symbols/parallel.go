package symbols

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Parallel reads the n parts of a file on several goroutines, GOMAXPROCS if workers is 0, and hands what comes of
// them to take in order, on the caller's goroutine. Each goroutine reads with a walker of its own. How far they
// are ahead of take is bounded, and with it the memory in flight. It ends with the first error of take, or with
// ctx, and leaves no goroutine behind.
func Parallel[T any](ctx context.Context, workers, n int, walker func() func(ctx context.Context, i int) T, take func(T) error) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = min(workers, max(1, n))
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var next atomic.Int64
	done := make([]chan T, n)
	for i := range done {
		done[i] = make(chan T, 1)
	}
	ahead := make(chan struct{}, 4*workers)
	for range workers {
		group.Go(func() {
			read := walker()
			for {
				select {
				case ahead <- struct{}{}:
				case <-ctx.Done():
					return
				}
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				done[i] <- read(ctx, i)
			}
		})
	}
	for i := range done {
		select {
		case part := <-done[i]:
			<-ahead
			if err := take(part); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}
