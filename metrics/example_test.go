package metrics_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

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

// plainLog logs to standard output without time and level.
func plainLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.MessageKey {
			return a
		}
		return slog.Attr{}
	}}))
}

// Several outputs at once: each has its own tags, and they can be replaced while others count.
func ExampleRegistry_Configure() {
	r := metrics.New("app")
	requests := r.Counter("requests", "Requests.", metrics.Tag("status", "2xx", "5xx"))
	requests.With("2xx").Inc() // Snapshot has it, the log does not

	r.Configure(
		metrics.Output{Backend: metrics.Log(plainLog()), Tags: []string{"host:web1"}},
		metrics.Output{Backend: metrics.Rollup(plainLog()), Every: time.Minute},
	)
	requests.With("2xx").Inc()
	requests.With("5xx").Inc()
	r.Configure() // the last flush
	// Output:
	// msg=METRICS|incr|app.requests|1|#status:2xx,host:web1
	// msg=METRICS|incr|app.requests|1|#status:5xx,host:web1
	// msg="ROLLUP INCR app.requests #status:2xx: count:1|rate:1/1"
	// msg="ROLLUP INCR app.requests #status:5xx: count:1|rate:1/1"
}

// A filter keeps an output to some of the metrics, or changes what it sees. Others do not notice.
func ExampleFilter() {
	r := metrics.New("")
	withoutUser := func(e metrics.Event) (metrics.Event, bool) {
		e.Tags = slices.DeleteFunc(slices.Clone(e.Tags), func(tag string) bool { return strings.HasPrefix(tag, "user:") })
		return e, !strings.HasPrefix(e.Key, "debug.")
	}
	r.Configure(metrics.Output{Backend: metrics.Log(plainLog()), Filters: []metrics.Filter{withoutUser}})
	r.Counter("logins", "Logins.", metrics.Tag("user"), metrics.Tag("result")).With("alice", "ok").Inc()
	r.Counter("debug.loops", "Turns of the loop.").Inc()
	// Output:
	// msg=METRICS|incr|logins|1|#result:ok
}

// The work is timed however it ends, and the tag named result says how.
func ExampleSpan_StopErr() {
	r := metrics.New("")
	save := r.Timer("save", "Time to save.", metrics.Tag("kind"), metrics.Tag("result", "success", "fail"))
	write := func(kind string, w io.Writer) (err error) {
		defer save.With(kind).Start().StopErr(&err)
		_, err = fmt.Fprint(w, "x")
		return err
	}
	write("memory", io.Discard)
	_, broken := io.Pipe()
	broken.CloseWithError(errors.New("full"))
	write("pipe", broken)
	for _, s := range r.Snapshot().Families[len(r.Describe())-1].Series {
		fmt.Println(s.Tags, s.Count)
	}
	// Output:
	// [memory success] 1
	// [pipe fail] 1
}

// A backend of one's own: the largest value of each metric.
func ExampleBackend() {
	r := metrics.New("")
	r.Configure(metrics.Output{Backend: peaks{}})
	size := r.Histogram("size", "Size of bodies.", metrics.Unit("bytes"))
	for _, n := range []float64{10, 4000, 200} {
		size.Observe(n)
	}
	r.Configure()
	// Output:
	// size 4000
}

// peaks would need a lock if several goroutines counted.
type peaks map[string]float64

func (p peaks) Emit(e metrics.Event) { p[e.Key] = max(p[e.Key], e.Value) }

func (p peaks) Flush(time.Duration) (lost int) {
	for key, v := range p {
		fmt.Println(key, v)
	}
	clear(p)
	return 0
}

// A part of the program gets a registry with its own prefix.
func ExampleRegistry_Sub() {
	r := metrics.New("app")
	part := r.Sub("queue")
	part.Gauge("depth", "Jobs that wait.").Set(3)
	r.WriteMarkdown(os.Stdout)
	// Output:
	// | Metric | Kind | Unit | Tags | About |
	// |---|---|---|---|---|
	// | `app.metrics.lost` | counter |  | `backend` | Events that a backend had to drop. |
	// | `app.metrics.overflow` | counter |  | `metric` | Lookups of tag combinations beyond a metric's limit, which were counted under the tag value other. |
	// | `app.queue.depth` | gauge |  |  | Jobs that wait. |
}
