package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"salvage/internal/access"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/errs"
	"salvage/internal/processor"
	"salvage/internal/queue"
	"salvage/signature"
)

// maxDocument is the largest processed or raw crash that a page is made of, in bytes. One of 200 threads
// with 100 frames each has about 25 MB.
const maxDocument = 64 << 20

const (
	maxSteps = 200
	maxNotes = 20_000 // characters
	likeDays = 7
)

type reportPage struct {
	base
	ID              string
	Product         string
	Signature, Link string // and its page
	When            stamp
	Platform        string
	Uptime          string
	Like            string // how many crashes have this signature
	Steps           []string
	Java            *javaView  // nil: no exception of Java
	Stack           *stackView // nil: no dump was walked
	NoStack         string     // why
	Facts           []fact
	Said            []finding // what the program said
	Crumbs, Earlier []crumb   // breadcrumbs, the latest first, and those that are folded
	CrumbCount      string
	Public          []annotation
	Protected       []annotation
	MayProtected    bool
	Hidden          string // how many protected values there are, for those who may not see them
	AnnotationCount string
	NoRaw           bool
	Notes           string
	History         []string
	Job             *jobView // the crash is in the queue
	MayReprocess    bool
}

// jobView is how far processing has come.
type jobView struct {
	Title, Text, Reason string
	Waiting             bool // it will go on by itself
}

type waitingPage struct {
	base
	ID           string
	Job          jobView
	Document     bool // there is a processed crash, but not for a page
	MayReprocess bool
}

func (s *Web) serveReport(w http.ResponseWriter, r *http.Request, who access.Principal) error {
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("%w: %w", errs.Public(errs.NotFound, "This is not a crash id. They look like 6d2f0b5e-8a0c-4f6e-9d3b-1c2a70261124."), err)
	}
	if r.PathValue("id") != string(id) {
		http.Redirect(w, r, "/report/"+string(id), http.StatusMovedPermanently)
		return nil
	}
	var doc crash.Processed
	err = s.readJSON(r.Context(), id.ProcessedKey(), &doc)
	if errs.KindOf(err) == errs.NotFound {
		return s.serveWaiting(w, r, who, id)
	}
	job, jobErr := s.job(r.Context(), id, who)
	if jobErr != nil {
		return jobErr
	}
	if kind := errs.KindOf(err); kind == errs.Corrupt || kind == errs.TooLarge {
		p := waitingPage{base: s.base(r, who, "Crash "+string(id), "/"), ID: string(id), Document: true, MayReprocess: who.Can(access.Reprocess)}
		switch {
		case job != nil:
			p.Job = *job
		case kind == errs.TooLarge:
			p.Job = jobView{Title: "This report is too large for a page", Text: errs.Sentence(err) + " The JSON has all of it."}
		default:
			p.Job = jobView{Title: "This report is damaged", Text: "What processing left cannot be read. The crash itself is kept: process it again."}
		}
		if p.Job.Waiting {
			p.Refresh = refresh
		}
		return s.render(w, http.StatusOK, "waiting", p)
	}
	if err != nil {
		return err
	}
	p, err := s.reportPage(r.Context(), id, &doc, who)
	if err != nil {
		return err
	}
	title := p.Signature
	if title == "" {
		title = "Crash " + string(id)
	}
	p.base = s.base(r, who, title, "/")
	p.Job = job // without a refresh: somebody is reading
	return s.render(w, http.StatusOK, "report", p)
}

// refresh is how many seconds a page waits for the processor before it looks again.
const refresh = 5

// serveWaiting says why there is no processed crash.
func (s *Web) serveWaiting(w http.ResponseWriter, r *http.Request, who access.Principal, id crash.ID) error {
	if _, err := s.Store.Stat(r.Context(), id.RawKey()); err != nil {
		if errs.KindOf(err) == errs.NotFound {
			return fmt.Errorf("%w: %w", errs.Public(errs.NotFound, "There is no crash with this id. The client's upload may not have arrived."), err)
		}
		return err
	}
	p := waitingPage{base: s.base(r, who, "Crash "+string(id), "/"), ID: string(id), MayReprocess: who.Can(access.Reprocess)}
	job, err := s.job(r.Context(), id, who)
	if err != nil {
		return err
	}
	p.Job = jobView{Title: "This crash has arrived", Text: "It is stored safely and nothing has asked for it to be processed yet; the processor looks for such crashes now and then.", Waiting: true}
	if job != nil {
		p.Job = *job
	}
	if p.Job.Waiting {
		p.Refresh = refresh
	}
	return s.render(w, http.StatusOK, "waiting", p)
}

// job returns the processor's job for a crash, nil if there is none. Reasons of failures may quote what is
// protected.
func (s *Web) job(ctx context.Context, id crash.ID, who access.Principal) (*jobView, error) {
	j, err := s.Queue.Get(ctx, processor.Job, string(id))
	switch {
	case errors.Is(err, errs.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	var v jobView
	switch now := s.Now(); {
	case !j.Parked.IsZero():
		v = jobView{Title: "Processing failed", Text: fmt.Sprintf("It was given up after %s, on %s UTC.", count(j.Attempts, "attempt", "attempts"), stampOf(j.Parked).Text)}
	case j.Running:
		v = jobView{Title: "Being processed", Text: "The dump is being walked.", Waiting: true}
	case j.Attempts > 0 && j.Due.After(now), j.Reason != "":
		v = jobView{Title: "Processing will be tried again", Text: "An attempt did not succeed; the next is in " + span(int64(max(0, j.Due.Sub(now))/time.Second)) + ".", Waiting: true}
	default:
		v = jobView{Title: "Waiting to be processed", Text: "It is in the queue.", Waiting: true}
	}
	switch {
	case j.Reason == "":
	case who.Can(access.ViewProtected):
		v.Reason = visible(j.Reason, 2000, true)
	default:
		v.Reason = "The reason is for those who may see protected data."
	}
	return &v, nil
}

// readJSON decodes the object of a key: NotFound, TooLarge or Corrupt if that is not to be had.
func (s *Web) readJSON(ctx context.Context, key string, v any) error {
	r, info, err := s.Store.Get(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close()
	if info.Size > maxDocument {
		return errs.Public(errs.TooLarge, "It has %s, and pages are made of at most %s.", size(info.Size), size(maxDocument))
	}
	data := make([]byte, info.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w: %w", key, errs.Corrupt, err)
	}
	return nil
}

// fields are those of a processed crash that a reader may see.
type fields map[string]json.RawMessage

// text returns a field as text: a string as it is, null as nothing, anything else as JSON.
func (f fields) text(name string) string { return jsonText(f[name]) }

func jsonText(raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case json.Unmarshal(raw, &s) == nil:
		return s
	}
	return string(raw)
}

func (f fields) integer(name string) (n int64, ok bool) {
	return n, len(f[name]) > 0 && string(f[name]) != "null" && json.Unmarshal(f[name], &n) == nil
}

// reportPage makes the page of a processed crash for who reads it.
func (s *Web) reportPage(ctx context.Context, id crash.ID, doc *crash.Processed, who access.Principal) (*reportPage, error) {
	may := who.Can(access.ViewProtected)
	f, b := fields(doc.Fields(may)), newBudget()
	p := &reportPage{ID: string(id), MayProtected: may, MayReprocess: who.Can(access.Reprocess)}
	name := f.text("signature")
	p.Signature, p.Link = b.text(name, maxName), signatureLink(name)
	p.Product = b.text(join(f.text("product"), f.text("version")), 200)
	p.Platform = b.text(join(f.text("os_pretty_version"), f.text("cpu_arch")), 200)
	if t, err := time.Parse(time.RFC3339Nano, f.text("date_processed")); err == nil {
		p.When = stampOf(t)
	}
	if n, ok := f.integer("uptime"); ok {
		p.Uptime = span(n)
	}
	p.Like = s.like(ctx, name)
	p.steps(f["signature_steps"], b)
	if p.Java = javaOf(f["java_exception_raw"], b); p.Java == nil { // which is for some readers only
		p.Java = javaOf(f["java_exception"], b)
	}
	if err := p.stack(f, b); err != nil {
		return nil, err
	}
	p.said(f, b)
	crashed, _ := f.integer("crash_time")
	p.Crumbs = breadcrumbs(f["breadcrumbs"], crashed, b)
	p.CrumbCount = number(len(p.Crumbs))
	p.Crumbs, p.Earlier = p.Crumbs[:min(len(p.Crumbs), crumbsAtOnce)], p.Crumbs[min(len(p.Crumbs), crumbsAtOnce):]
	p.Facts = append(p.Facts, p.facts(f, b)...)
	p.Notes = b.lines(f.text("processor_notes"), maxNotes)
	var history []json.RawMessage
	_ = json.Unmarshal(f["processor_history"], &history) // what is no list is no history
	for _, h := range history[:min(len(history), 20)] {
		p.History = append(p.History, b.lines(jsonText(h), maxNotes/4))
	}
	return p, s.annotations(ctx, p, id, doc, b)
}

// like counts the crashes of a signature.
func (s *Web) like(ctx context.Context, name string) string {
	if name == "" {
		return ""
	}
	d := lastDays(s.Now(), likeDays)
	found, err := s.Index.Search(ctx, crashindex.Query{From: d.from, To: d.to, Filters: []crashindex.Filter{is("signature", name)}})
	if err != nil { // the report is worth more than this number
		s.Log.Warn("crashes of a signature not counted", "error", err)
		return ""
	}
	return number(found.Total)
}

// steps turns signature_steps into sentences.
func (p *reportPage) steps(raw json.RawMessage, b *budget) {
	var steps []json.RawMessage
	_ = json.Unmarshal(raw, &steps)
	for i, raw := range steps {
		if i == maxSteps {
			p.Steps = append(p.Steps, "… and "+count(len(steps)-i, "more step", "more steps"))
			return
		}
		var step signature.Step
		if lenient(json.Unmarshal(raw, &step)) != nil || step.Rule == "" || step.Verdict != "" && step.Frame == nil {
			continue // not one of ours
		}
		p.Steps = append(p.Steps, b.text(step.String(), maxName))
	}
}

func (p *reportPage) stack(f fields, b *budget) error {
	raw := f["json_dump"]
	if len(raw) == 0 || string(raw) == "null" {
		p.NoStack = "No dump was walked."
		switch status := f.text("mdsw_status_string"); status {
		case "", "OK":
			if p.Java != nil {
				p.NoStack = ""
			}
		case "MissingMinidump":
			p.NoStack = "The dump is not stored any more."
		case "EmptyMinidump":
			p.NoStack = "The dump is empty."
		case "UnreadableMinidump":
			p.NoStack = "The dump cannot be read."
		default:
			p.NoStack = "The dump could not be walked: " + b.text(status, 200) + "."
		}
		return nil
	}
	d, err := decodeWalk(raw)
	if err != nil {
		return err
	}
	p.Stack = stackOf(d, b)
	p.Stack.Address = b.text(shortHex(f.text("address")), 40)
	if p.MayProtected {
		p.Stack.Crashpad = d.crashpad(b)
	}
	return nil
}

// said is what the program itself said of its end.
func (p *reportPage) said(f fields, b *budget) {
	for _, s := range []struct{ title, field string }{{"The program said", "moz_crash_reason"}, {"The program aborted", "abort_message"}} {
		if text := f.text(s.field); text != "" {
			p.Said = append(p.Said, finding{Title: s.title, Text: b.lines(text, maxName)})
		}
	}
}

func (p *reportPage) facts(f fields, b *budget) (all []fact) {
	for _, n := range []struct{ title, field string }{
		{"Product", "product"}, {"Version", "version"}, {"Build", "build"}, {"Channel", "release_channel"}, {"Process", "process_type"},
		{"System", "os_pretty_version"}, {"OS version", "os_version"}, {"CPU", "cpu_arch"}, {"CPU model", "cpu_info"}, {"Cores", "cpu_count"},
		{"Device", "android_model"}, {"Thread", "crashing_thread_name"},
	} {
		if v := strings.TrimSpace(f.text(n.field)); v != "" && v != "0" && v != "unknown" {
			all = append(all, fact{n.title, b.text(v, 200)})
		}
	}
	return all
}

// serveReprocess puts a crash into the queue again.
func (s *Web) serveReprocess(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Gate.Write(r, access.Reprocess); err != nil {
		return err
	}
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		return err
	}
	if _, err := s.Store.Stat(r.Context(), id.RawKey()); err != nil {
		if errs.KindOf(err) == errs.NotFound {
			return fmt.Errorf("%w: %w", errs.Public(errs.NotFound, "There is no crash with this id."), err)
		}
		return err
	}
	if err := s.Queue.Add(r.Context(), processor.Job, queue.Now, string(id)); err != nil {
		return err
	}
	http.Redirect(w, r, "/report/"+url.PathEscape(string(id)), http.StatusSeeOther)
	return nil
}
