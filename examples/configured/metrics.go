package main

import (
	"io"
	"log/slog"
	"time"

	"salvage/config"
	"salvage/metrics"
	"salvage/metrics/statsd"
)

// probeMetrics are what the program counts.
type probeMetrics struct {
	answers *metrics.Counter
	took    *metrics.Timer
}

// newMetrics declares the metrics in r, which may be nil.
func newMetrics(r *metrics.Registry) *probeMetrics {
	return &probeMetrics{
		answers: r.Counter("answers", "Answers of servers.", metrics.Tag("state", "well", "ill")),
		took:    r.Timer("took", "Time from a request to its answer, or to giving up."),
	}
}

func (m *probeMetrics) asked(a answer) {
	state := "ill"
	if a.Well {
		state = "well"
	}
	m.answers.With(state).Inc()
}

// outputs are where the numbers go: a summary to the log, and each to a statsd server if one is set.
type outputs struct{ statsd *string }

func (o *outputs) Options(s *config.Spec) {
	config.Var(s, &o.statsd, "statsd", config.Optional(config.Addr), config.Default(""), config.Example("127.0.0.1:8125"), config.Doc("Datagrams with the numbers go there."))
}

func (o *outputs) open(r *metrics.Registry, log io.Writer) error {
	all := []metrics.Output{{Backend: metrics.Rollup(slog.New(slog.NewTextHandler(log, nil))), Every: time.Minute}}
	if o.statsd != nil {
		client, err := statsd.Dial(*o.statsd, statsd.Options{})
		if err != nil {
			return err
		}
		all = append(all, metrics.Output{Backend: client, Name: "statsd", Every: time.Second, Aggregate: true})
	}
	return r.Configure(all...)
}
