package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/metrics"
	"salvage/metrics/statsd"
)

// backend is where the metrics of a server go besides /metrics.
type backend struct {
	scheme string
	addr   string // host:port
	statsd statsd.Options
	output metrics.Output // without its backend
}

// backends are the options of a server's metrics.
type backends struct{ list []backend }

func (b *backends) Options(s *config.Spec) {
	config.Var(s, &b.list, "backends", config.List(backendURL), config.Default(""), config.Example("dogstatsd://127.0.0.1:8125?tag=host:web1"),
		config.Doc("Where metrics go besides `/metrics`: `statsd://host:port?prefix=p`, `dogstatsd://host:port?namespace=n`, `log:`, `log-rollup:?interval=10s`, `cloudwatch:`. "+
			"Each takes `tag=name:value` as often as wanted. statsd has no tags, so they become parts of the key, or are left away with `tags=drop`. "+
			"What statsd and dogstatsd count arrives each second, or each `interval`."))
}

var backendURL = config.Parser[backend]{Name: "metrics backend", Syntax: "a URL", Parse: parseBackend}

// parseBackend reads the URL of a backend. Its errors go on after the URL, as config wants.
func parseBackend(text string) (backend, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Scheme == "" {
		return backend{}, errors.New("is not a URL")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return backend{}, errors.New("has unreadable parameters")
	}
	b := backend{scheme: u.Scheme, output: metrics.Output{Name: u.Scheme, Tags: query["tag"]}}
	known, interval := []string{"tag"}, time.Duration(0)
	switch u.Scheme {
	case "statsd":
		known, interval = append(known, "prefix", "tags", "interval"), time.Second
		b.statsd = statsd.Options{Prefix: query.Get("prefix"), DropTags: query.Get("tags") == "drop"}
	case "dogstatsd":
		known, interval = append(known, "namespace", "interval"), time.Second
		b.statsd = statsd.Options{Prefix: query.Get("namespace"), DogStatsD: true}
	case "log-rollup":
		known, interval = append(known, "interval"), 10*time.Second
	case "log", "cloudwatch":
	default:
		return backend{}, fmt.Errorf("is of an unknown kind; there are statsd, dogstatsd, log, log-rollup and cloudwatch")
	}
	b.output.Aggregate = strings.HasSuffix(u.Scheme, "statsd")
	switch {
	case b.output.Aggregate && u.Hostname() == "":
		return backend{}, errors.New("has no host")
	case !b.output.Aggregate && u.Host != "":
		return backend{}, errors.New("has a host, and this kind needs none")
	case u.Opaque != "" || u.Path != "" || u.User != nil || u.Fragment != "":
		return backend{}, errors.New("has more than host, port and parameters")
	case b.output.Aggregate:
		b.addr = u.Host
		if u.Port() == "" {
			b.addr = net.JoinHostPort(u.Hostname(), "8125")
		}
		if host, _, err := net.SplitHostPort(b.addr); err != nil || strings.ContainsAny(host, "[]") {
			return backend{}, errors.New("has an unusable host")
		}
	}
	for name, values := range query {
		switch {
		case !slices.Contains(known, name):
			return backend{}, fmt.Errorf("has the unknown parameter %q; there are %s", name, strings.Join(known, ", "))
		case slices.Contains(values, "") || name != "tag" && len(values) > 1:
			return backend{}, fmt.Errorf("has the parameter %q without a value, or twice", name)
		case name == "tags" && values[0] != "drop":
			return backend{}, errors.New(`has "tags" with another value than drop`)
		case name == "interval":
			if interval, err = config.Duration.Parse(values[0]); err != nil || interval < 100*time.Millisecond {
				return backend{}, errors.New("has an interval that is no duration of at least 100 ms")
			}
		}
	}
	b.output.Every = interval
	return b, nil
}

// open makes the backends the registry's outputs.
func (b *backends) open(r *metrics.Registry, log *slog.Logger, stdout io.Writer) error {
	var outputs []metrics.Output
	for _, b := range b.list {
		o := b.output
		switch b.scheme {
		case "log":
			o.Backend = metrics.Log(log)
		case "log-rollup":
			o.Backend = metrics.Rollup(log)
		case "cloudwatch":
			o.Backend = metrics.CloudWatch(stdout)
		default:
			client, err := statsd.Dial(b.addr, b.statsd)
			if err != nil {
				return errors.Join(err, (*metrics.Registry)(nil).Configure(outputs...)) // which closes them
			}
			o.Backend = client
		}
		outputs = append(outputs, o)
	}
	return r.Configure(outputs...)
}

type metricsDocOptions struct{ yaml bool }

func (o *metricsDocOptions) Options(s *config.Spec) {
	config.Var(s, &o.yaml, "yaml", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Write the form of statsd_metrics.yaml, which Markus reads."))
}

func (p *program) metricsCommand() *cobra.Command {
	o := new(metricsDocOptions)
	return group("metrics", "What a server measures", command(&cobra.Command{
		Use: "doc", Short: "Print the reference of the metrics of salvage serve", Args: cobra.NoArgs,
	}, o, func(ctx context.Context, _ []string) error {
		r, err := declaredMetrics(ctx)
		switch {
		case err != nil:
			return err
		case o.yaml:
			return r.WriteYAML(p.out)
		}
		return writeMetricsDoc(p.out, r)
	}))
}

// declaredMetrics returns the metrics of a server with default options, over an empty folder.
func declaredMetrics(ctx context.Context) (r *metrics.Registry, err error) {
	dir, err := os.MkdirTemp("", "salvage-metrics-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o := new(serveOptions)
	if _, err := config.Load(o, config.LoadOptions{Sources: []config.Source{config.Map("defaults", map[string]string{"data": dir})}}); err != nil {
		return nil, err
	}
	s, err := newService(ctx, o, slog.New(slog.DiscardHandler))
	return s.registry, errors.Join(err, s.close())
}

func writeMetricsDoc(w io.Writer, r *metrics.Registry) error {
	_, err := io.WriteString(w, "# Metrics of `salvage serve`\n\n"+
		"Served at `/metrics` for Prometheus, with underscores for dots, the unit at the end of a name, and `_total` behind a\n"+
		"counter's. `--metrics-backends` (see [config.md](config.md)) sends them elsewhere, too: to statsd and dogstatsd what was\n"+
		"counted since the last time and what gauges are, each second, and every single timing and size; the log and CloudWatch\n"+
		"get a line for each event, a roll-up one for each metric and interval. Durations are in seconds at `/metrics`, else in\n"+
		"milliseconds.\n\nA tag value that is not declared counts as `other`. Written by `salvage metrics doc`.\n\n")
	return errors.Join(err, r.WriteMarkdown(w))
}
