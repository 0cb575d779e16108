// Package collector takes crash reports from clients: Breakpad's, Crashpad's, Mozilla's, Electron's.
//
// A submission is read as a stream: its dumps go to blob storage while they arrive, and nothing of it is
// kept unless all of it was read and accepted. Dumps are made durable first, the raw crash last, then the
// processor is told, then the client is answered; after an answer with a crash id nothing is lost, whatever
// stops the process.
//
// The protocol is Antenna's (crash-pipeline.md §1), with these of its defects mended: the heartbeat checks
// storage, a chunked request needs no length, a value that is no string breaks nothing.
package collector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"salvage/config"
	"salvage/internal/blob"
	"salvage/internal/crash"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/metrics"
)

// Options are the limits of a submission.
type Options struct {
	maxBody, maxInflated, maxRatio, maxAnnotations, reserve int64
	maxParts                                                int
	requests, burst                                         int
	rate                                                    float64
}

// Options implements config.Component.
func (o *Options) Options(s *config.Spec) {
	config.Var(s, &o.maxBody, "max_body", config.Bytes, config.Default("100MiB"), config.Doc("Largest body of a submission, as received."))
	config.Var(s, &o.maxInflated, "max_inflated", config.Bytes, config.Default("500MiB"), config.Doc("Largest body of a submission after inflating."))
	config.Var(s, &o.maxRatio, "max_inflation", config.Int64, config.Default("200"),
		config.Doc("How many times larger than received a body may become by inflating, beyond the first MiB."))
	config.Var(s, &o.maxAnnotations, "max_annotations", config.Bytes, config.Default("20MiB"), config.Doc("Largest size of all annotations together."))
	config.Var(s, &o.maxParts, "max_parts", config.Int, config.Default("2000"), config.Doc("Most annotations and dumps of a submission."))
	config.Var(s, &o.reserve, "reserve", config.Bytes, config.Default("1GiB"),
		config.Doc("Free space of the data folder below which submissions are refused, to be sent again later."))
	config.Var(s, &o.requests, "requests", config.Int, config.Default("64"), config.Doc("Submissions that are read at once; more are refused, to be sent again later."))
	config.Var(s, &o.rate, "rate", config.Float, config.Default("10"), config.Doc("Submissions a second from one address, on average; 0 is any number."))
	config.Var(s, &o.burst, "burst", config.Int, config.Default("100"), config.Doc("Submissions from one address at once after a while of none."))
}

// Config is what a Collector needs.
type Config struct {
	Options Options
	Store   blob.Store
	Metrics *metrics.Registry
	Now     func() time.Time
	// Accepted is told of each crash when it is durable, before the client is. Nil: nobody is told.
	Accepted func(context.Context, crash.ID) error
	// Free returns the free space where the store is. Nil: not checked.
	Free func() (uint64, error)

	// Failpoint, in tests, is called before each durable step and before the answer. Nil otherwise.
	Failpoint func(step string)
}

// Collector accepts submissions. It is safe for concurrent use.
type Collector struct {
	Config
	incoming  *metrics.Counter
	malformed *metrics.Counter
	throttled *metrics.Counter
	refused   *metrics.Counter
	size      *metrics.Histogram
	save      *metrics.Timer
}

// New returns a collector.
func New(c Config) *Collector {
	r := c.Metrics
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	if c.Accepted == nil {
		c.Accepted = func(context.Context, crash.ID) error { return nil }
	}
	return &Collector{
		Config:    c,
		incoming:  r.Counter("collector.incoming_crash", "Submissions that could be read."),
		malformed: r.Counter("collector.malformed", "Submissions that could not be read, by reason.", metrics.Tag("reason")),
		throttled: r.Counter("collector.throttle", "Submissions by the result of throttling.", metrics.Tag("result", "accept", "defer", "reject", "fakeaccept")),
		refused:   r.Counter("collector.refused", "Submissions that were not read for want of space."),
		size: r.Histogram("collector.crash_size", "Size of submissions as received.", metrics.Unit("bytes"),
			metrics.Buckets(1<<10, 1<<14, 1<<16, 1<<18, 1<<20, 1<<22, 1<<24, 1<<26)),
		save: r.Timer("collector.save", "Time from the last byte received to the crash being durable.", metrics.Tag("result", "success", "fail")),
	}
}

// Install adds the routes.
func (c *Collector) Install(handle func(pattern string, h http.Handler)) {
	limit := httpserver.Limit(httpserver.Limits{
		Name: "submit", Body: c.Options.maxBody + 1<<10, // the collector's own limit has the better answer
		Read: 10 * time.Minute, Write: 11 * time.Minute, Requests: c.Options.requests, Rate: c.Options.rate, Burst: c.Options.burst,
	})
	handle("POST /submit", limit(httpserver.Raw(c.serveSubmit))) // client: any crash reporter
}

// Check reports whether submissions would be accepted.
func (c *Collector) Check(context.Context) error {
	if c.Free == nil {
		return nil
	}
	free, err := c.Free()
	if err != nil {
		return err
	}
	if free < uint64(c.Options.reserve) {
		return errs.Public(errs.Unavailable, "Less than %d MB are free where crashes are stored.", c.Options.reserve>>20)
	}
	return nil
}

// serveSubmit answers in plain text, whatever happens: clients read only the status and two kinds of line,
// CrashID=bp-<id> and Discarded=<why>.
func (c *Collector) serveSubmit(w http.ResponseWriter, r *http.Request) error {
	id, err := c.submit(r)
	answer := func(status int, text string) error {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, err := io.WriteString(w, text)
		return err
	}
	var bad malformed
	switch {
	case err == nil:
		httpserver.AddLog(r.Context(), slog.String("crash_id", string(id)))
		return answer(http.StatusOK, "CrashID="+crash.Prefix+string(id)+"\n")
	case errors.As(err, &bad):
		c.malformed.With(string(bad)).Inc()
		httpserver.AddLog(r.Context(), slog.String("discarded", "malformed_"+string(bad)))
		return answer(http.StatusBadRequest, "Discarded=malformed_"+string(bad))
	case errors.Is(err, errUUID):
		httpserver.AddLog(r.Context(), slog.String("discarded", "unauthorized_uuid"))
		return answer(http.StatusUnauthorized, "Discarded=unauthorized_uuid")
	}
	return err
}

// errUUID: a client may not choose its crash id.
var errUUID = errors.New("submission with a uuid annotation")

// submit reads a submission and makes it durable.
func (c *Collector) submit(r *http.Request) (id crash.ID, err error) {
	if err := c.Check(r.Context()); err != nil { // before a byte is read
		c.refused.Inc()
		return "", err
	}
	now := c.Now()
	id = crash.NewID(now, crash.Accept)
	// Once all is read the client's patience does not matter any more: a half-kept crash helps nobody.
	ctx := context.WithoutCancel(r.Context())
	d := dumps{ctx: ctx, store: c.Store, id: id, open: map[string]blob.Writer{}}
	defer d.abort()
	p, err := c.Options.read(r, d.create)
	if err != nil {
		return "", err
	}
	c.incoming.Inc()
	c.size.Observe(float64(p.size))
	if _, ok := p.annotations["uuid"]; ok {
		return "", errUUID
	}
	c.throttled.With("accept").Inc()
	defer c.save.Start().StopErr(&err)

	raw := crash.Raw{ID: id, Submitted: now, Annotations: p.annotations, Metadata: crash.Metadata{
		CollectorNotes: p.notes, DumpChecksums: p.sums, Payload: "multipart", PayloadCompressed: "0", PayloadSize: p.size,
		ThrottleRule: "accept_everything", UserAgent: r.UserAgent(),
	}}
	if p.isJSON {
		raw.Metadata.Payload = "json"
	}
	if r.Header.Get("Content-Encoding") == "gzip" {
		raw.Metadata.PayloadCompressed = "1"
	}
	if raw.Metadata.CollectorNotes == nil {
		raw.Metadata.CollectorNotes = []string{}
	}
	raw.Clean()
	text, err := json.Marshal(&raw)
	if err != nil {
		return "", err
	}
	if err := d.commit(c.Failpoint); err != nil {
		return "", err
	}
	c.Failpoint("raw crash")
	if err := blob.Put(ctx, c.Store, id.RawKey(), bytes.NewReader(text)); err != nil {
		return "", err
	}
	c.Failpoint("job")
	if err := c.Accepted(ctx, id); err != nil {
		// The crash is safe, and a sweep will find it; a client that sent it again would store it twice.
		httpserver.AddLog(r.Context(), slog.String("not_queued", err.Error()))
	}
	c.Failpoint("answer")
	return id, nil
}

// dumps are the dumps of a submission that is being read.
type dumps struct {
	ctx   context.Context
	store blob.Store
	id    crash.ID
	open  map[string]blob.Writer
}

// create opens a dump. A second one of a name replaces the first.
func (d *dumps) create(name string) (io.Writer, error) {
	if old := d.open[name]; old != nil {
		old.Abort()
	}
	w, err := d.store.Create(d.ctx, d.id.DumpKey(name))
	if err != nil {
		return nil, err
	}
	d.open[name] = w
	return w, nil
}

// commit makes all dumps durable, in order of their names.
func (d *dumps) commit(failpoint func(string)) error {
	for _, name := range slices.Sorted(maps.Keys(d.open)) {
		failpoint("dump " + name)
		if err := d.open[name].Commit(); err != nil {
			return err
		}
		delete(d.open, name)
	}
	return nil
}

// abort throws away what was not committed.
func (d *dumps) abort() {
	for _, w := range d.open {
		w.Abort()
	}
}
