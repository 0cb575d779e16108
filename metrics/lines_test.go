package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"salvage/metrics"
)

// messages is a handler that keeps the messages.
type messages struct {
	t    *testing.T
	text *strings.Builder
}

func (m messages) Enabled(context.Context, slog.Level) bool { return true }
func (m messages) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m messages) WithGroup(string) slog.Handler            { return m }
func (m messages) Handle(_ context.Context, r slog.Record) error {
	if r.Level != slog.LevelInfo || r.NumAttrs() > 0 {
		m.t.Errorf("%v", r)
	}
	m.text.WriteString(r.Message + "\n")
	return nil
}

func logTo(t *testing.T) (*slog.Logger, *strings.Builder) {
	m := messages{t, new(strings.Builder)}
	return slog.New(m), m.text
}

func emit(b metrics.Backend, k metrics.Kind, key string, v float64, tags ...string) {
	b.Emit(metrics.Event{Kind: k, Key: key, Value: v, Tags: tags})
}

// What LoggingMetrics and CloudwatchMetrics of Markus 5.1 write (companions.md §1.6), given what they call
// incr, gauge, timing in milliseconds, and histogram. Differences: Markus lets the log have a time of its
// own, which a handler of slog does; a value is never in exponential form.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Unix(1488817800, 987654321)))
		for _, tt := range []struct {
			kind            metrics.Kind
			value           float64
			tags            string
			log, cloudWatch string
		}{
			{metrics.KindCounter, 5, "", "METRICS|incr|a.b|5|", "MONITORING|1488817800|5|count|a.b|"},
			{metrics.KindCounter, 1, "t1:v1 t2", "METRICS|incr|a.b|1|#t1:v1,t2", "MONITORING|1488817800|1|count|a.b|#t1:v1,t2"},
			{metrics.KindGauge, -7.5, "t1:v1", "METRICS|gauge|a.b|-7.5|#t1:v1", "MONITORING|1488817800|-7.5|gauge|a.b|#t1:v1"},
			{metrics.KindGauge, 1e21, "", "METRICS|gauge|a.b|1000000000000000000000|", "MONITORING|1488817800|1000000000000000000000|gauge|a.b|"},
			{metrics.KindTimer, .0159740447998, "rule:ProductRewrite", "METRICS|timing|a.b|15.974045|#rule:ProductRewrite", "MONITORING|1488817800|15.974045|histogram|a.b|#rule:ProductRewrite"},
			{metrics.KindHistogram, .5, "", "METRICS|histogram|a.b|0.5|", "MONITORING|1488817800|0.5|histogram|a.b|"},
		} {
			log, text := logTo(t)
			var out bytes.Buffer
			for _, b := range []metrics.Backend{metrics.Log(log), metrics.CloudWatch(&out)} {
				emit(b, tt.kind, "a.b", tt.value, strings.Fields(tt.tags)...)
				if b.Flush(time.Second) != 0 {
					t.Error("lost")
				}
			}
			if text.String() != tt.log+"\n" {
				t.Errorf("log %q, want %q", text, tt.log)
			}
			if out.String() != tt.cloudWatch+"\n" {
				t.Errorf("CloudWatch %q, want %q", &out, tt.cloudWatch)
			}
		}
	})
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestCloudWatchLost(t *testing.T) {
	b := metrics.CloudWatch(brokenPipe{})
	emit(b, metrics.KindCounter, "a", 1)
	emit(b, metrics.KindCounter, "a", 1)
	if first, second := b.Flush(0), b.Flush(0); first != 2 || second != 0 {
		t.Errorf("lost %d, then %d; want 2 and 0", first, second)
	}
}

// What LoggingRollupMetrics of Markus 5.1 writes, but for these: ninety-five is that of the sorted values
// (Markus takes the arrival order) and the nearest rank; each combination of tags is a series of its own;
// a line without data has the shape of the others; the rate has the time since the last flush, so that the
// last and shorter window, which Markus loses, has a true one; a value is never in exponential form.
func TestRollup(t *testing.T) {
	log, text := logTo(t)
	b := metrics.Rollup(log)
	check := func(since time.Duration, want string) {
		t.Helper()
		text.Reset()
		if b.Flush(since); text.String() != want {
			t.Errorf("got:\n%swant:\n%s", text, want)
		}
	}
	check(10*time.Second, "")
	for _, v := range []float64{60, 50, 10, 40} {
		emit(b, metrics.KindHistogram, "z.h", v)
	}
	emit(b, metrics.KindTimer, "a.t", .001)
	emit(b, metrics.KindTimer, "a.t", .0025)
	emit(b, metrics.KindTimer, "a.t", .009999)
	emit(b, metrics.KindGauge, "g", 5)
	emit(b, metrics.KindGauge, "g", -1.5)
	emit(b, metrics.KindGauge, "g", 2)
	emit(b, metrics.KindGauge, "g", 9, "tier:disk")
	emit(b, metrics.KindCounter, "z.c", 1)
	emit(b, metrics.KindCounter, "a.c", 1, "r:x", "s:y")
	emit(b, metrics.KindCounter, "a.c", 4, "r:x", "s:y")
	check(10*time.Second+3*time.Millisecond, `ROLLUP INCR a.c #r:x,s:y: count:2|rate:5/10
ROLLUP INCR z.c: count:1|rate:1/10
ROLLUP GAUGE g: count:3|current:2|min:-1.5|max:5
ROLLUP GAUGE g #tier:disk: count:1|current:9|min:9|max:9
ROLLUP HISTOGRAM a.t: count:3|min:1.00|avg:4.50|median:2.50|ninety-five:10.00|max:10.00
ROLLUP HISTOGRAM z.h: count:4|min:10.00|avg:40.00|median:45.00|ninety-five:60.00|max:60.00
`)
	emit(b, metrics.KindGauge, "g", -3)
	check(200*time.Millisecond, `ROLLUP INCR a.c #r:x,s:y: count:0|rate:0/1
ROLLUP INCR z.c: count:0|rate:0/1
ROLLUP GAUGE g: count:1|current:-3|min:-3|max:-3
ROLLUP GAUGE g #tier:disk: no data
ROLLUP HISTOGRAM a.t: no data
ROLLUP HISTOGRAM z.h: no data
`)
}

// The percentile against its definition: at least 95 % of the values are not above it, and the next smaller
// value would not do. Long windows are split, and lose nothing.
func TestPercentile(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 50_000; n += 1 + n/100*rnd.IntN(50) {
		log, text := logTo(t)
		b := metrics.Rollup(log)
		var values []float64
		for range n {
			values = append(values, float64(rnd.IntN(2*n)))
			emit(b, metrics.KindHistogram, "h", values[len(values)-1])
		}
		b.Flush(time.Second)
		total := 0
		for line := range strings.Lines(text.String()) {
			field := func(name string) float64 {
				_, rest, _ := strings.Cut(line, name+":")
				rest, _, _ = strings.Cut(rest, "|")
				v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
				if err != nil {
					t.Fatalf("%s in %q: %v", name, line, err)
				}
				return v
			}
			count := int(field("count"))
			window := values[total : total+count]
			total += count
			notAbove := func(v float64) (k int) {
				for _, w := range window {
					if w <= v {
						k++
					}
				}
				return k
			}
			p := field("ninety-five")
			if 100*notAbove(p) < 95*count || 100*notAbove(p-1) >= 95*count {
				t.Errorf("%d values: ninety-five %v: %d are not above it, %d not above the next smaller", count, p, notAbove(p), notAbove(p-1))
			}
			if field("min") != slices.Min(window) || field("max") != slices.Max(window) {
				t.Errorf("%d values: %s", count, line)
			}
		}
		if total != n {
			t.Errorf("the lines have %d values, want %d", total, n)
		}
	}
}
