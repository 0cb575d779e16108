package metricstest_test

import (
	"fmt"
	"testing"

	"salvage/metrics"
	"salvage/metrics/metricstest"
)

// shop counts with the registry it is given.
type shop struct{ orders *metrics.Counter }

func newShop(r *metrics.Registry) *shop {
	return &shop{r.Counter("orders", "Orders.", metrics.Tag("paid", "yes", "no"))}
}

func Example() {
	t := &printed{} // a test's *testing.T
	r, recorded := metricstest.New(t)
	s := newShop(r)
	s.orders.With("yes").Inc()

	recorded.Counter("orders").Tags("paid:yes").Once()
	recorded.Counter("orders").Tags("paid:no").AtLeastOnce()
	// Output:
	// metricstest: want counter orders [paid:no]: at least once; got 0
	//   near: counter orders [paid:yes] 1 (has no paid:no)
	//   all 1 events:
	//     counter orders [paid:yes] 1
}

type printed struct{ testing.TB }

func (*printed) Helper()           {}
func (*printed) Error(args ...any) { fmt.Println(args...) }
