package metrics_test

import (
	"fmt"

	"salvage/metrics"
)

func Example() {
	r := metrics.New("salvage")
	throttle := r.Counter("collector.throttle", "Crash reports by verdict.", metrics.Tag("result", "accept", "reject"))
	throttle.With("accept").Inc()
	throttle.With("no such verdict").Inc()
	for _, f := range r.Snapshot().Families {
		for _, s := range f.Series {
			fmt.Println(f.Kind, f.Key, f.Tags[0].Name, s.Tags[0], s.Value)
		}
	}
	// Output:
	// counter salvage.collector.throttle result accept 1
	// counter salvage.collector.throttle result other 1
}
