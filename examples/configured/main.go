// Command configured asks web servers whether they are well and reports the answers. It is a small program of
// its own module that takes its options from package config and counts with package metrics, and shows how
// they are meant to be used:
//
//	go run . -targets https://example.org/
//	PROBE_REPORT_KIND=json go run . -config probe.yaml
//	go run . -reference
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"time"

	"salvage/config"
	"salvage/config/yamlfile"
	"salvage/metrics"
)

const prefix = "PROBE_"

// options is the root of the tree of components.
type options struct {
	start   start
	probe   prober
	report  report
	outputs outputs
}

func (o *options) Options(s *config.Spec) {
	s.Group("", &o.start)
	s.Group("", &o.probe)
	s.Group("report", &o.report)
	s.Group("metrics", &o.outputs)
}

// start are the options to know before all others.
type start struct {
	file      string
	reference bool
}

func (o *start) Options(s *config.Spec) {
	config.Var(s, &o.file, "config", config.String, config.Default(""), config.Example("probe.yaml"), config.Doc("YAML file with the other options."))
	config.Var(s, &o.reference, "reference", config.Bool, config.FlagOnly(), config.Default("no"), config.Doc("Print the reference of all options and stop."))
}

// prober asks servers.
type prober struct {
	targets []*url.URL
	timeout time.Duration
	headers map[string]string
	token   string
	well    *regexp.Regexp
}

func (p *prober) Options(s *config.Spec) {
	config.Var(s, &p.targets, "targets", config.List(config.URL), config.Example("https://example.org/,https://example.net/health"),
		config.Deprecated("urls"), config.Doc("Pages to ask for."))
	config.Var(s, &p.timeout, "timeout", config.Duration, config.Default("5s"), config.Doc("Longest time to wait for an answer."))
	config.Var(s, &p.headers, "headers", config.MapOf(config.String, config.String), config.Default(""), config.Example("Accept=text/html"), config.Doc("Headers of the requests."))
	config.Var(s, &p.token, "token", config.String, config.Secret(), config.Default(""), config.Doc("Bearer token of the requests."))
	config.Var(s, &p.well, "well", config.Regexp, config.Default("^2..$"), config.Doc("Status codes of servers that are well."))
}

// answer is what a target said.
type answer struct {
	Target string
	Status int // 0: nothing
	Well   bool
}

func (p *prober) ask(ctx context.Context, target *url.URL, m *probeMetrics) answer {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	defer m.took.Start().Stop()
	a := answer{Target: target.Redacted()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return a
	}
	for name, value := range p.headers {
		r.Header.Set(name, value)
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	if response, err := http.DefaultClient.Do(r); err == nil {
		response.Body.Close()
		a.Status = response.StatusCode
		a.Well = p.well.MatchString(strconv.Itoa(a.Status))
	}
	m.asked(a)
	return a
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 if all servers are well, 1 if not, 2 where the options are wrong.
func run(ctx context.Context, args []string, out, stderr io.Writer) int {
	var o options
	if err := load(&o, args, stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, err)
		}
		return 2
	}
	if o.start.reference {
		_ = config.WriteMarkdown(out, new(options), prefix)
		return 0
	}
	registry := metrics.New("probe")
	m := newMetrics(registry)
	if err := o.outputs.open(registry, stderr); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer registry.Configure() // hands on what is left
	code := 0
	for _, target := range o.probe.targets {
		a := o.probe.ask(ctx, target, m)
		if !a.Well {
			code = 1
		}
		if err := o.report.reporter.write(out, a); err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
	}
	return code
}

// load asks flags, environment, .env and the file that they name, in this order.
func load(o *options, args []string, stderr io.Writer) error {
	set := flag.NewFlagSet("configured", flag.ContinueOnError)
	set.SetOutput(stderr)
	flags := config.FlagSet(set, o)
	if err := set.Parse(args); err != nil {
		return flag.ErrHelp // the set has said what is wrong
	}
	dotenv, dotenvErr := config.EnvFile(prefix, ".env")
	sources := []config.Source{flags, config.Environ(prefix), dotenv}

	_, _ = config.Load(&o.start, config.LoadOptions{Sources: sources}) // what is wrong here, Load of all says again
	if o.start.reference {
		return nil
	}
	var fileErr error
	if o.start.file != "" {
		var file config.Source
		if file, fileErr = yamlfile.Read(o.start.file); file != nil {
			sources = append(sources, file)
		}
	}
	r, err := config.Load(o, config.LoadOptions{Sources: sources, Reference: "configured -reference"})
	for _, w := range r.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	return errors.Join(dotenvErr, fileErr, err)
}
