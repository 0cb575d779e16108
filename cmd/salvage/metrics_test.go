//go:build unix

package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"salvage/metrics"
	"salvage/metrics/statsd"
)

func TestParseBackend(t *testing.T) {
	tags := []string{"host:web1", "env:prod"}
	for text, want := range map[string]backend{
		"statsd://h": {"statsd", "h:8125", statsd.Options{}, metrics.Output{Name: "statsd", Every: time.Second, Aggregate: true}},
		" statsd://h:1?prefix=p&tags=drop ": {"statsd", "h:1", statsd.Options{Prefix: "p", DropTags: true},
			metrics.Output{Name: "statsd", Every: time.Second, Aggregate: true}},
		"dogstatsd://[::1]?namespace=n&tag=host:web1&interval=2s&tag=env:prod": {"dogstatsd", "[::1]:8125", statsd.Options{DogStatsD: true, Prefix: "n"},
			metrics.Output{Name: "dogstatsd", Every: 2 * time.Second, Aggregate: true, Tags: tags}},
		"log:":                       {"log", "", statsd.Options{}, metrics.Output{Name: "log"}},
		"log:?tag=host:web1":         {"log", "", statsd.Options{}, metrics.Output{Name: "log", Tags: tags[:1]}},
		"log-rollup:":                {"log-rollup", "", statsd.Options{}, metrics.Output{Name: "log-rollup", Every: 10 * time.Second}},
		"log-rollup:?interval=100ms": {"log-rollup", "", statsd.Options{}, metrics.Output{Name: "log-rollup", Every: 100 * time.Millisecond}},
		"cloudwatch:":                {"cloudwatch", "", statsd.Options{}, metrics.Output{Name: "cloudwatch"}},
	} {
		if got, err := parseBackend(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a URL", "h:1:2": "unknown kind", "log": "not a URL", "://": "not a URL", "http://h": "unknown kind",
		"statsd:": "no host", "statsd://": "no host", "dogstatsd://:8125": "no host", "statsd://8;:1]:8125": "unusable host", "log://h": "needs none", "log:x": "more than", "statsd://h/p": "more than",
		"statsd://u@h": "more than", "log:#x": "more than", "statsd://h?namespace=n": `unknown parameter "namespace"; there are tag, prefix, tags, interval`,
		"log:?interval=1s": "unknown parameter", "statsd://h?prefix=a&prefix=b": "twice", "log:?tag=": "without a value", "statsd://h?tags=keep": "drop",
		"statsd://h?interval=99ms": "interval", "statsd://h?interval=x": "interval", "log:?%": "unreadable",
	} {
		if _, err := parseBackend(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in the error", text, err, want)
		}
	}
}

func FuzzParseBackend(f *testing.F) {
	f.Add("dogstatsd://[::1]:8125?namespace=n&tag=a:b&interval=1s")
	f.Add("log-rollup:?interval=10s")
	f.Add("statsd://8;:1]:8125")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBackend(text)
		if err != nil {
			return
		}
		if _, _, err := net.SplitHostPort(b.addr); b.output.Aggregate && err != nil || b.output.Aggregate == (b.addr == "") {
			t.Errorf("%q: address %q", text, b.addr)
		}
		if every := b.output.Every; every < 0 || every == 0 && b.scheme != "log" && b.scheme != "cloudwatch" || slices.Contains(b.output.Tags, "") {
			t.Errorf("%q: %+v", text, b)
		}
	})
}

// A server sends what it measures to every backend, and what it counted last when it stops.
func TestServeBackends(t *testing.T) {
	agent, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	addr := agent.LocalAddr().String()
	s := serveProcess(t, t.TempDir(), "never", "--metrics-backends",
		"dogstatsd://"+addr+"?namespace=ns&tag=host:web1&interval=1h,statsd://"+addr+"?interval=1h,log:,log-rollup:")
	if _, err := submit(s.url, bytes.Repeat([]byte("MDMP crash "), 1000)); err != nil {
		t.Fatal(err)
	}
	s.stop(os.Interrupt)
	var lines string
	for buf := make([]byte, 1<<16); ; {
		agent.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := agent.Read(buf)
		if err != nil {
			t.Fatalf("%v after\n%s\nthe log:\n%s", err, lines, s.log)
		}
		lines += string(buf[:n]) + "\n"
		if strings.Contains(lines, "salvage.web.opened") || strings.Count(lines, "incoming_crash") == 2 {
			break
		}
	}
	for _, want := range []string{`(?m)^ns\.salvage\.collector\.incoming_crash:1\|c\|#host:web1$`, `(?m)^salvage\.collector\.incoming_crash:1\|c$`} {
		if !regexp.MustCompile(want).MatchString(lines) {
			t.Errorf("no %s in\n%s", want, lines)
		}
	}
	for _, want := range []string{`"msg":"METRICS|incr|salvage.collector.throttle|1|#result:accept"`, `"msg":"ROLLUP HISTOGRAM salvage.collector.crash_size: count:1|min:11`} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, s.log)
		}
	}
}

func TestOpenBackends(t *testing.T) {
	var b backends
	for _, text := range []string{"cloudwatch:?tag=host:web1", "log-rollup:"} {
		one, err := parseBackend(text)
		if err != nil {
			t.Fatal(err)
		}
		b.list = append(b.list, one)
	}
	r := metrics.New("app")
	var out, log bytes.Buffer
	if err := b.open(r, slog.New(slog.NewTextHandler(&log, nil)), &out); err != nil {
		t.Fatal(err)
	}
	r.Counter("c", "C.").Inc()
	if err := r.Configure(); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^MONITORING\|\d+\|1\|count\|app\.c\|#host:web1\n$`).MatchString(out.String()) || !strings.Contains(log.String(), "ROLLUP INCR app.c: count:1|rate:1/1") {
		t.Errorf("standard output %q, log %q", &out, &log)
	}
}

func TestMetricsDoc(t *testing.T) {
	for args, want := range map[string]string{"": "| `salvage.collector.throttle` | counter |", "--yaml": "\nsalvage.collector.save:\n  type: \"timing\"\n"} {
		var out, stderr bytes.Buffer
		if code := run(slices.DeleteFunc([]string{"metrics", "doc", args}, func(s string) bool { return s == "" }), nil, &out, &stderr); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("metrics doc %s: %d %s\n%s", args, code, &stderr, &out)
		}
	}
	var stderr bytes.Buffer
	args := []string{"serve", "--data", t.TempDir(), "--metrics-backends", "log:,syslog:"}
	if code := run(args, nil, &stderr, &stderr); code != 2 || !strings.Contains(stderr.String(), "unknown kind") {
		t.Errorf("serve with an unknown backend: %d %s", code, &stderr)
	}
	args[len(args)-1] = "log:,statsd://nobody.invalid:1"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // should it start
	defer cancel()
	if code := runContext(ctx, append(args, "--listen", "127.0.0.1:0"), nil, &stderr, &stderr); code != 1 || !strings.Contains(stderr.String(), "nobody.invalid") {
		t.Errorf("serve with a host that there is not: %d %s", code, &stderr)
	}
}
