package prometheus_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"salvage/metrics"
	"salvage/metrics/prometheus"
)

func scrape(t *testing.T, r *metrics.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	prometheus.Handler(r).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("status %d, content type %q: %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	return w.Body.String()
}

func parse(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families
}

func example() *metrics.Registry {
	r := metrics.New("salvage")
	c := r.Counter("collector.throttle", "Crash reports by verdict.", metrics.Tag("result", "accept", "reject"), metrics.Tag("host"))
	c.With("accept", "web1").Add(3)
	c.With("reject", "web2").Inc()
	r.Counter("upload.size", "Bytes \\ uploaded,\nin \"all\".", metrics.Unit("bytes")).Add(1 << 40)
	r.Gauge("http.inflight", "Bodies.", metrics.Unit("bytes")).Set(-1.5)
	t := r.Timer("http.duration", "Durations.", metrics.Tag("route"), metrics.Buckets(0.1, 1, 5))
	for _, d := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second, time.Minute} {
		t.With("get_/").Observe(d)
	}
	r.Histogram("frames", "Frames of a stack.", metrics.Buckets(1, 10)).Observe(7)
	r.Counter("unused", "Never used.", metrics.Tag("x"))
	return r
}

func TestScrape(t *testing.T) {
	text := scrape(t, example())
	want := `# HELP salvage_collector_throttle_total Crash reports by verdict.
# TYPE salvage_collector_throttle_total counter
salvage_collector_throttle_total{host="web1",result="accept"} 3
salvage_collector_throttle_total{host="web2",result="reject"} 1
# HELP salvage_frames Frames of a stack.
# TYPE salvage_frames histogram
salvage_frames_bucket{le="1"} 0
salvage_frames_bucket{le="10"} 1
salvage_frames_bucket{le="+Inf"} 1
salvage_frames_sum 7
salvage_frames_count 1
# HELP salvage_http_duration_seconds Durations.
# TYPE salvage_http_duration_seconds histogram
salvage_http_duration_seconds_bucket{route="get_/",le="0.1"} 2
salvage_http_duration_seconds_bucket{route="get_/",le="1"} 3
salvage_http_duration_seconds_bucket{route="get_/",le="5"} 4
salvage_http_duration_seconds_bucket{route="get_/",le="+Inf"} 5
salvage_http_duration_seconds_sum{route="get_/"} 64.15
salvage_http_duration_seconds_count{route="get_/"} 5
# HELP salvage_http_inflight_bytes Bodies.
# TYPE salvage_http_inflight_bytes gauge
salvage_http_inflight_bytes -1.5
# HELP salvage_upload_size_bytes_total Bytes \\ uploaded,\nin "all".
# TYPE salvage_upload_size_bytes_total counter
salvage_upload_size_bytes_total 1.099511627776e+12
`
	if _, rest, _ := strings.Cut(text, "# HELP salvage"); "# HELP salvage"+rest != want {
		t.Errorf("got:\n%s\nwant:\n%s", text, want)
	}
	families := parse(t, text)
	for name, f := range families {
		if f.GetHelp() == "" || f.GetType() == dto.MetricType_UNTYPED {
			t.Errorf("%s: help %q, type %s", name, f.GetHelp(), f.GetType())
		}
	}
	if families["go_goroutines"] == nil {
		t.Error("no metrics of the runtime")
	}
	h := families["salvage_http_duration_seconds"].GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 5 || h.GetBucket()[2].GetCumulativeCount() != 4 {
		t.Errorf("histogram as parsed: %v", h)
	}
}

func TestLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, example()))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestName(t *testing.T) {
	for _, tt := range []struct {
		d    metrics.Desc
		want string
	}{
		{metrics.Desc{Key: "a.b_c"}, "a_b_c_total"},
		{metrics.Desc{Key: "a.total"}, "a_total"},
		{metrics.Desc{Key: "read.bytes", Unit: "bytes"}, "read_bytes_total"},
		{metrics.Desc{Key: "read.bytes.total", Unit: "bytes"}, "read_bytes_total"},
		{metrics.Desc{Key: "kilobytes", Kind: metrics.KindGauge, Unit: "bytes"}, "kilobytes_bytes"},
		{metrics.Desc{Key: "wait.seconds", Kind: metrics.KindTimer, Unit: "seconds"}, "wait_seconds"},
		{metrics.Desc{Key: "total", Kind: metrics.KindGauge}, "total"},
	} {
		if got := prometheus.Name(tt.d); got != tt.want {
			t.Errorf("Name(%s %s) = %s, want %s", tt.d.Key, tt.d.Unit, got, tt.want)
		}
	}
}

// Metrics with one name in Prometheus, or with a label it keeps for itself, do not take the others down.
func TestUnusable(t *testing.T) {
	r := example()
	r.Counter("twice", "A.").Inc()
	r.Counter("twice.total", "B.").Inc()
	r.Histogram("reserved", "C.", metrics.Tag("le")).With("x").Observe(1)
	text := scrape(t, r)
	if families := parse(t, text); families["salvage_frames"] == nil || families["salvage_reserved"] != nil {
		t.Errorf("scrape:\n%s", text)
	}
}

// Metrics declared after the handler was made are there, and a nil registry has none.
func TestLate(t *testing.T) {
	r := metrics.New("")
	reg := client.NewPedanticRegistry()
	reg.MustRegister(prometheus.Collector(r), prometheus.Collector(nil))
	r.Gauge("late", "Late.").Set(1)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "late" {
		t.Errorf("%v, %v", families, err)
	}
}
