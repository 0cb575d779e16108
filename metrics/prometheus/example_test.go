package prometheus_test

import (
	"fmt"
	"net/http/httptest"
	"strings"

	"salvage/metrics"
	"salvage/metrics/prometheus"
)

func ExampleHandler() {
	r := metrics.New("shop")
	r.Counter("orders", "Orders.", metrics.Tag("paid", "yes", "no")).With("yes").Add(3)

	w := httptest.NewRecorder()
	prometheus.Handler(r).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "shop_") {
			fmt.Print(line)
		}
	}
	// Output:
	// # HELP shop_orders_total Orders.
	// # TYPE shop_orders_total counter
	// shop_orders_total{paid="yes"} 3
}
