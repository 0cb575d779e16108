package symbols

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Parallel reads the parts of a file on several goroutines, GOMAXPROCS if workers is 0, and hands what comes of
// them to take in order, on the caller's goroutine. More reports whether there is an i-th part, for which it may wait.
// Each goroutine reads with a walker of its own. How far they are ahead of take is bounded, and with it the memory
// in flight. It ends with the first error of take, or with ctx, and leaves no goroutine behind.
func Parallel[T any](ctx context.Context, workers int, more func(i int) bool, walker func() func(ctx context.Context, i int) T, take func(T) error) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	var next atomic.Int64
	done := make([]chan T, 2*workers) // of part i: i % len
	for i := range done {
		done[i] = make(chan T, 1)
	}
	ahead := make(chan struct{}, len(done))
	for range workers {
		group.Go(func() {
			var read func(context.Context, int) T
			for {
				select {
				case ahead <- struct{}{}:
				case <-ctx.Done():
					return
				}
				i := int(next.Add(1)) - 1
				if !more(i) {
					return
				}
				if read == nil {
					read = walker()
				}
				done[i%len(done)] <- read(ctx, i)
			}
		})
	}
	for i := 0; more(i); i++ {
		select {
		case part := <-done[i%len(done)]:
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
