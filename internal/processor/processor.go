// Package processor makes processed crashes of raw ones: it walks the dumps and runs the rules that fill in
// the fields, the signature last.
//
// Processing is a job of the queue, and may happen any number of times: the raw crash and its dumps never
// change, a processed crash replaces the one before it and depends on nothing of it but the notes it keeps.
// The rules are Socorro's where they are not about one of Mozilla's products (crash-pipeline.md §2.3), with
// these of its defects mended: one annotation of a wrong type costs that field and no other, a field that no
// rule sets any more goes away, an unfinished walk is in the notes.
package processor

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"sync"
	"time"

	"salvage/config"
	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/internal/symbolicator"
	"salvage/internal/symstore"
	"salvage/metrics"
)

// Job is the kind of the processor's jobs; their keys are crash ids.
const Job = symstore.ProcessJob

// Options of a Processor.
type Options struct {
	walkTime time.Duration
	workers  int
	sweep    time.Duration

	javaOrders javaOrders
}

// Options implements config.Component.
func (o *Options) Options(s *config.Spec) {
	config.Var(s, &o.walkTime, "walk_timeout", config.Duration, config.Default("2m"), config.Doc("Longest walk of a dump. What was walked by then is kept."))
	config.Var(s, &o.workers, "workers", config.Int, config.Default("2"), config.Doc("Crashes that are processed at once."))
	config.Var(s, &o.sweep, "sweep", config.Duration, config.Default("10m"), config.Doc("How often to look for crashes that were stored and never queued; 0 is at the start only."))
	config.Var(s, &o.javaOrders, "java_order", config.Parser[javaOrders]{Name: "orders", Syntax: "Product=order, …; words joined by +", Parse: parseJavaOrders}, config.Default(""),
		config.Example("Shop=outermost-first+oldest-frame-first"),
		config.Doc("How products order the annotation JavaException, as nothing in it says. Without: root-first+newest-frame-first, as Android's client."))
}

// Config is what a Processor needs.
type Config struct {
	Options Options
	Store   blob.Store
	DB      *sqldb.DB
	Queue   *queue.Queue
	Gate    *access.Gate
	Symbols *symbolicator.Symbolicator
	Index   crashindex.Index
	Scratch string // folder for files that live as long as a walk
	Metrics *metrics.Registry
	Log     *slog.Logger
	Now     func() time.Time
	Version string // of the program, for people

	// Failpoint, in tests, is called before each durable step. Nil otherwise.
	Failpoint func(step string)
}

// Processor is safe for concurrent use.
type Processor struct {
	Config
	ruleTime *metrics.Timer
	failed   *metrics.Counter
	waited   *metrics.Timer
}

// New returns a processor.
func New(c Config) *Processor {
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	return &Processor{
		Config:   c,
		ruleTime: c.Metrics.Timer("processor.rule", "Time of a rule.", metrics.Tag("rule")),
		failed:   c.Metrics.Counter("processor.rule_failed", "Rules that failed.", metrics.Tag("rule")),
		waited:   c.Metrics.Timer("processor.ingestion", "Time from a submission to its first processed crash."),
	}
}

// Enqueue asks for a crash that was just stored to be processed.
func (p *Processor) Enqueue(ctx context.Context, id crash.ID) error {
	return p.Queue.Add(ctx, Job, queue.Fresh, string(id))
}

// Run processes crashes, and looks for those that nobody asked to process, until ctx ends.
func (p *Processor) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range p.Options.workers {
		workers.Go(func() { p.Queue.Run(ctx, Job, p.handle) })
	}
	p.sweepAll(ctx)
	workers.Wait()
}

func (p *Processor) handle(ctx context.Context, key string) error {
	id, err := crash.ParseID(key)
	if err != nil {
		return err
	}
	return p.Process(ctx, id)
}

const maxDocument = 512 << 20 // bytes of a raw or processed crash

// readJSON decodes the object of a key.
func (p *Processor) readJSON(ctx context.Context, key string, v any) error {
	r, info, err := p.Store.Get(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close()
	if info.Size > maxDocument {
		return errs.Public(errs.TooLarge, "A stored document is larger than %d MB.", maxDocument>>20)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxDocument))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w: %w", key, errs.Corrupt, err)
	}
	return nil
}

// Process makes the processed crash of id, in place of one that is there.
func (p *Processor) Process(ctx context.Context, id crash.ID) (err error) {
	defer errs.Wrap(&err, "processor.Process(%s)", id)
	w := work{p: p, id: id, started: p.Now(), doc: map[string]any{}, symbols: p.Symbols.Session(ctx)}
	w.mapping = w.symbols.Mapping
	defer w.symbols.Close()
	if err := p.readJSON(ctx, id.RawKey(), &w.raw); err != nil {
		return err
	}
	var old crash.Processed
	switch err := p.readJSON(ctx, id.ProcessedKey(), &old); {
	case errors.Is(err, errs.NotFound):
		defer func() {
			if err == nil {
				p.waited.Observe(p.Now().Sub(w.raw.Submitted))
			}
		}()
	case errors.Is(err, errs.Corrupt):
		p.Log.Error("processed crash is damaged and is made anew", "crash_id", string(id), "error", err)
	case err != nil:
		return err
	}
	w.history(&old)
	if err := w.run(ctx); err != nil {
		return err
	}
	if err := w.symbols.Err(); err != nil { // better later than without names
		return err
	}
	processed, err := crash.Split(w.doc)
	if err != nil {
		return err
	}
	text, err := crash.Marshal(processed)
	if err != nil {
		return err
	}
	p.Failpoint("processed crash")
	if err := blob.Put(ctx, p.Store, id.ProcessedKey(), bytes.NewReader(text)); err != nil {
		return err
	}
	p.Failpoint("missing")
	// From here on the crash is told of files that come; one that came before this line is seen by it.
	var better bool
	if err := p.DB.Tx(ctx, func(tx *sql.Tx) error {
		better, err = metadb.SetMissing(ctx, tx, string(id), w.symbols.Missing())
		if err == nil && better {
			err = p.Queue.AddTx(ctx, tx, Job, queue.Later, string(id))
		}
		return err
	}); err != nil {
		return err
	}
	if better {
		p.Queue.Wake(Job)
	}
	p.Failpoint("index")
	if err := p.Index.Put(ctx, []crashindex.Doc{document(&w)}); err != nil {
		return err
	}
	p.Failpoint("processed")
	return nil
}

// sweepAll runs Sweep now and then.
func (p *Processor) sweepAll(ctx context.Context) {
	for {
		if n, err := p.Sweep(ctx); err != nil && ctx.Err() == nil {
			p.Log.Error("sweep failed", "error", err)
		} else if n > 0 {
			p.Log.Warn("crashes without a job were queued", "crashes", n)
		}
		if p.Options.sweep <= 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(p.Options.sweep):
		}
	}
}

const (
	sweepMark = "swept"       // the last day that needs no sweep any more
	settled   = 1 * time.Hour // behind which no submission of a day is still being stored
	dayForm   = "20060102"
)

// Sweep queues the crashes that were stored but have neither a job nor a processed crash, because the
// process stopped in between. It reads the listings of the days since the last sweep, and returns how many
// it found.
func (p *Processor) Sweep(ctx context.Context) (found int, err error) {
	defer errs.Wrap(&err, "processor.Sweep")
	var mark string
	if err := p.DB.View(ctx, func(tx *sql.Tx) error { mark, err = metadb.Mark(ctx, tx, sweepMark); return err }); err != nil {
		return 0, err
	}
	over := p.Now().UTC().Add(-settled).AddDate(0, 0, -1).Format(dayForm) // all its submissions have ended
	after := ""
	if mark != "" {
		after = crash.DayPrefix(mark) + "\U0010ffff"
	}
	var processed string
	for info, err := range p.Store.List(ctx, "crash/", after) {
		if err != nil {
			return found, err
		}
		dir, name := path.Split(info.Key)
		switch name {
		case "processed_crash":
			processed = dir
		case "raw_crash": // sorts after the processed one
			if dir == processed {
				continue
			}
			id, err := crash.ParseID(path.Base(dir))
			if err != nil {
				continue // not ours
			}
			n, err := p.Queue.Ensure(ctx, Job, queue.Fresh, string(id))
			if err != nil {
				return found, err
			}
			found += n
		}
	}
	return found, p.DB.Tx(ctx, func(tx *sql.Tx) error { return metadb.SetMark(ctx, tx, sweepMark, max(mark, over)) })
}
