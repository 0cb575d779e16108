package metricstest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"salvage/metrics"
	"salvage/metrics/metricstest"
)

// recordingTB keeps the text of errors.
type recordingTB struct {
	testing.TB
	text string
}

func (t *recordingTB) Helper()           {}
func (t *recordingTB) Error(args ...any) { t.text += fmt.Sprint(args...) }

func TestRecorder(t *testing.T) {
	fake := &recordingTB{}
	r, rec := metricstest.New(fake)
	c := r.Counter("collector.throttle", "T.", metrics.Tag("host"), metrics.Tag("result", "accept", "reject"))
	r.Counter("collector.idle", "I.")
	r.Gauge("queue", "Q.").Set(2)
	tm := r.Timer("save", "S.")
	check := func(want string, f func()) {
		t.Helper()
		fake.text = ""
		if f(); fake.text != want {
			t.Errorf("got: %s\nwant: %s", fake.text, want)
		}
	}
	c.With("web1", "reject").Add(3)
	c.With("web2", "reject").Inc()
	tm.Observe(time.Second)
	tm.Observe(2 * time.Second)

	check("", func() {
		rec.Counter("collector.throttle").Value(4)
		rec.Counter("collector.throttle").Times(4)
		rec.Counter("collector.throttle").Tags("host:web2").Once()
		rec.Counter("collector.throttle").Tags("host:web1").Tags("result:reject").Value(3)
		rec.Counter("collector.throttle").Tags("result:accept").Never()
		rec.Counter("collector.throttle").AtLeastOnce()
		rec.Counter("collector.idle").Never()
		rec.Gauge("queue").Value(2)
		rec.Timer("save").Times(2)
		rec.Timer("save").Value(3)
	})
	const all = `
  all 5 events:
    gauge queue 2
    counter collector.throttle [host:web1 result:reject] 3
    counter collector.throttle [host:web2 result:reject] 1
    timer save 1
    timer save 2`
	check(`metricstest: want counter collector.throttle [result:accept]: 1 times; got 0
  near: counter collector.throttle [host:web1 result:reject] 3 (has no result:accept)
  near: counter collector.throttle [host:web2 result:reject] 1 (has no result:accept)`+all,
		func() { rec.Counter("collector.throttle").Tags("result:accept").Once() })
	check("metricstest: want counter collector.throttle [host:web2]: value 2; got 1\n"+
		"  near: counter collector.throttle [host:web1 result:reject] 3 (has no host:web2)"+all,
		func() { rec.Counter("collector.throttle").Tags("host:web2").Value(2) })
	check("metricstest: want counter collector.idle: at least once; got 0"+all, func() { rec.Counter("collector.idle").AtLeastOnce() })
	check("metricstest: want counter que: 0 times; no such metric is declared\n  near: gauge queue 2"+all, func() { rec.Counter("que").Never() })
	check("metricstest: want counter save: 2 times; no such metric is declared\n  near: timer save 2 times, sum 3 (is a timer)"+all,
		func() { rec.Counter("save").Times(2) })
	check("metricstest: want gauge queue: 0 times; a gauge does not know how often it was set"+all, func() { rec.Gauge("queue").Never() })

	if e := rec.Events(); len(e) != 5 || e[0].String() != "gauge queue 2" {
		t.Errorf("events %v", e)
	}

	r, rec = metricstest.New(fake)
	check("metricstest: want histogram h: 1 times; no such metric is declared\n  all 0 events:", func() { rec.Histogram("h").Once() })
	many := r.Counter("many", "M.")
	for range 201 {
		many.Inc()
	}
	check("metricstest: want counter many: 1 times; got 201\n  all 201 events:"+strings.Repeat("\n    counter many 1", 200)+"\n    and more", func() { rec.Counter("many").Once() })
}
