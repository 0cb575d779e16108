// Package prometheus serves the metrics of a registry as Prometheus reads them.
//
// It counts nothing itself: each scrape reads a snapshot, so a metric without a series is not shown.
// Safe for concurrent use.
package prometheus

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"salvage/metrics"
)

// Handler answers scrapes with the metrics of r and those of the Go runtime and the process. A metric
// that cannot be shown, as one of two with the same name, leaves the others as they are.
func Handler(r *metrics.Registry) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(Collector(r), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Collector returns the metrics of r for a registry of Prometheus's own library.
func Collector(r *metrics.Registry) prometheus.Collector { return collector{r} }

type collector struct{ r *metrics.Registry }

// Describe describes nothing: metrics may be declared at any time.
func (c collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, f := range c.r.Snapshot().Families {
		labels := make([]string, len(f.Tags))
		for i, t := range f.Tags {
			labels[i] = t.Name
		}
		desc := prometheus.NewDesc(Name(f.Desc), f.Help, labels, nil)
		for _, s := range f.Series {
			m, err := newMetric(desc, f.Desc, s)
			if err != nil {
				m = prometheus.NewInvalidMetric(desc, err)
			}
			out <- m
		}
	}
}

func newMetric(desc *prometheus.Desc, d metrics.Desc, s metrics.Series) (prometheus.Metric, error) {
	switch d.Kind {
	case metrics.KindCounter:
		return prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, s.Tags...)
	case metrics.KindGauge:
		return prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, s.Tags...)
	}
	if slices.ContainsFunc(d.Tags, func(t metrics.TagDesc) bool { return t.Name == "le" }) {
		return nil, errors.New("le is the label of buckets") // the library would write it twice
	}
	cumulative, n := make(map[float64]uint64, len(d.Bounds)), uint64(0)
	for i, bound := range d.Bounds {
		n += s.Buckets[i]
		cumulative[bound] = n
	}
	return prometheus.NewConstHistogram(desc, s.Count, s.Sum, cumulative, s.Tags...)
}

// Name returns the name of a metric in Prometheus: underscores for dots, then the unit, then "total" for
// counters, each unless it already ends with it.
func Name(d metrics.Desc) string {
	name := strings.ReplaceAll(d.Key, ".", "_")
	suffixes := []string{d.Unit}
	if d.Kind == metrics.KindCounter {
		name = strings.TrimSuffix(name, "_total")
		suffixes = append(suffixes, "total")
	}
	for _, s := range suffixes {
		if s != "" && name != s && !strings.HasSuffix(name, "_"+s) {
			name += "_" + s
		}
	}
	return name
}
