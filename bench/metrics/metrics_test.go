// Package metrics_test measures Salvage's metrics beside client_golang and datadog-go, each as its documentation
// says it is to be used: handles kept where the library has such, tag values looked up where they vary.
//
//	go test -bench . -count 5 ./metrics
package metrics_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/DataDog/datadog-go/v5/statsd"
	"github.com/prometheus/client_golang/prometheus"

	"salvage/metrics"
	own "salvage/metrics/statsd"
)

// 64 tag values, and 64 durations over all buckets.
var (
	hosts, tags   []string
	values        []float64
	seconds       = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25, 60, 300}
	labels        = []string{"env", "host"}
	counterOpts   = prometheus.CounterOpts{Name: "c", Help: "C."}
	histogramOpts = prometheus.HistogramOpts{Name: "h", Help: "H.", Buckets: seconds}
)

func init() {
	for i := range 64 {
		hosts = append(hosts, fmt.Sprint("host", i))
		tags = append(tags, "host:"+hosts[i])
		values = append(values, .0005*float64(i*i))
	}
}

// sink is the address of a UDP socket that nobody reads.
func sink(b *testing.B) string {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

func datadog(b *testing.B, o ...statsd.Option) *statsd.Client {
	c, err := statsd.New(sink(b), append(o, statsd.WithoutTelemetry(), statsd.WithoutOriginDetection())...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// toAgent returns a registry that sends to a Datadog agent.
func toAgent(b *testing.B) *metrics.Registry {
	r := metrics.New("")
	c, err := own.Dial(sink(b), own.Options{DogStatsD: true})
	if err != nil {
		b.Fatal(err)
	}
	r.Configure(metrics.Output{Backend: c, Every: time.Second, Aggregate: true})
	b.Cleanup(func() { r.Configure() })
	return r
}

func BenchmarkCounter(b *testing.B) {
	c := metrics.New("").Counter("c", "C.")
	b.Run("salvage", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Inc()
		}
	})
	sent := toAgent(b).Counter("c", "C.")
	b.Run("salvage, to an agent", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sent.Inc()
		}
	})
	p := prometheus.NewCounter(counterOpts)
	b.Run("client_golang", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.Inc()
		}
	})
	d := datadog(b)
	b.Run("datadog-go", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = d.Count("c", 1, nil, 1)
		}
	})
}

func BenchmarkTagged(b *testing.B) {
	declare := func(r *metrics.Registry) *metrics.Counter {
		return r.Counter("c", "C.", metrics.Tag("env"), metrics.Tag("host"))
	}
	c, sent := declare(metrics.New("")), declare(toAgent(b))
	b.Run("salvage", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			c.With("production", hosts[i&63]).Inc()
		}
	})
	b.Run("salvage, to an agent", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			sent.With("production", hosts[i&63]).Inc()
		}
	})
	p := prometheus.NewCounterVec(counterOpts, labels)
	b.Run("client_golang", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.WithLabelValues("production", hosts[i&63]).Inc()
		}
	})
	d := datadog(b)
	b.Run("datadog-go", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_ = d.Count("c", 1, []string{"env:production", tags[i&63]}, 1)
		}
	})
}

func BenchmarkHistogram(b *testing.B) {
	h := metrics.New("").Histogram("h", "H.", metrics.Buckets(seconds...))
	b.Run("salvage", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			h.Observe(values[i&63])
		}
	})
	p := prometheus.NewHistogram(histogramOpts)
	b.Run("client_golang", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p.Observe(values[i&63])
		}
	})
}

// Every value goes out, as percentiles need it.
func BenchmarkHistogramToAgent(b *testing.B) {
	h := toAgent(b).Histogram("h", "H.")
	b.Run("salvage", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			h.Observe(values[i&63])
		}
	})
	d := datadog(b)
	b.Run("datadog-go", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_ = d.Histogram("h", values[i&63], nil, 1)
		}
	})
	e := datadog(b, statsd.WithExtendedClientSideAggregation())
	b.Run("datadog-go, extended aggregation", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			_ = e.Histogram("h", values[i&63], nil, 1)
		}
	})
}
