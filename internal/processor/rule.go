package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"salvage/debug/minidump"
	"salvage/debug/proguard"
	"salvage/internal/crash"
	"salvage/internal/errs"
	"salvage/internal/symbolicator"
)

// rule fills in fields. An error that may pass ends the processing, which is tried again; after any other
// the rules behind it run all the same.
type rule struct {
	name  string
	apply func(ctx context.Context, w *work) error
}

// rules in the order they run: later ones read what earlier ones set.
var rules = []rule{
	{"Clean", clean},
	{"Identifier", identifier},
	{"CopyFromRawCrash", copyAnnotations},
	{"MinidumpStackwalk", stackwalkRule},
	{"CrashingThreadInfo", crashingThread},
	{"DatesAndTimes", dates},
	{"Version", version},
	{"Platform", platform},
	{"MozCrashReason", mozCrashReason},
	{"Breadcrumbs", breadcrumbs},
	{"ModulesInStack", modulesInStack},
	{"Java", java},
	{"SignatureGenerator", generateSignature},
}

// work is a crash being processed.
type work struct {
	p       *Processor
	id      crash.ID
	raw     crash.Raw
	started time.Time

	doc   map[string]any // fields of the processed crash
	notes []string       // anybody may read them

	symbols *symbolicator.Session
	mapping func(id string) (*proguard.Mapping, error) // of the session; nil if there is none

	dump minidumpTimes
	walk json.RawMessage // of the main dump; doc["json_dump"] is the same, decoded
}

// minidumpTimes are what the main dump says of time. Zero: nothing.
type minidumpTimes struct{ written, created uint32 }

func timesOf(d *minidump.Dump) (t minidumpTimes) {
	t.written = d.Time
	if d.Misc != nil {
		t.created = d.Misc.CreateTime
	}
	return t
}

func (w *work) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// history keeps the notes of earlier processings, the latest first.
func (w *work) history(old *crash.Processed) {
	var notes string
	var earlier []string
	_ = json.Unmarshal(old.Public["processor_notes"], &notes) // what cannot be read is no history
	_ = json.Unmarshal(old.Public["processor_history"], &earlier)
	if notes != "" {
		earlier = append([]string{notes}, earlier...)
	}
	w.doc["processor_history"] = append([]string{}, earlier[:min(len(earlier), maxHistory)]...)
}

const maxHistory = 100

// run runs the rules and says how it went.
func (w *work) run(ctx context.Context) error {
	w.note(">>> Start processing: %s (salvage %s)", w.started.UTC().Format(time.RFC3339), w.p.Version)
	w.doc["signature"] = "EMPTY: crash failed to process"
	for _, r := range rules {
		err := w.apply(ctx, r)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errs.Retryable(err) {
			return fmt.Errorf("rule %s: %w", r.name, err)
		}
		if err != nil {
			w.p.failed.With(r.name).Inc()
			w.p.Log.Error("rule failed", "crash_id", string(w.id), "rule", r.name, "error", err)
			w.note("rule %s failed", r.name) // without the error: it may quote what is protected
		}
	}
	w.doc["success"] = true
	w.doc["processor_notes"] = strings.Join(w.notes, "\n")
	w.doc["started_datetime"] = isoTime(w.started)
	w.doc["completed_datetime"] = isoTime(w.p.Now())
	return nil
}

func (w *work) apply(ctx context.Context, r rule) (err error) {
	defer w.p.ruleTime.With(r.name).Start().Stop()
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(fmt.Sprint("panic: ", p, "\n", string(debug.Stack())))
		}
	}()
	return r.apply(ctx, w)
}

// isoTime is how documents spell times.
func isoTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000-07:00") }

// annotation returns an annotation that is a text, without spaces around it; empty if there is none.
func (w *work) annotation(name string) string {
	s, _ := w.raw.Annotations[name].(string)
	return strings.TrimSpace(s)
}

// at returns what is at a path of decoded JSON; nil if there is nothing.
func at(v any, path ...string) any {
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func text(v any) string { s, _ := v.(string); return s }

func list(v any) []any { l, _ := v.([]any); return l }

// integer returns a JSON number that is an integer.
func integer(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}
