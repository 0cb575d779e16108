package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"math"
	"net/http"
	"strconv"
	"time"

	"salvage/internal/errs"
)

// Func is an endpoint. An error it returns is answered and logged; it must not have answered then, or
// the connection is cut.
type Func = func(w http.ResponseWriter, r *http.Request) error

type family uint8

const (
	familyRaw family = iota
	familyJSON
	familyHTML
)

// endpoint is a handler with what middleware has to know about it.
type endpoint struct {
	http.Handler
	family      family
	crossOrigin bool
	operator    bool     // health and metrics: not limited, and no news
	limits      *limiter // may be nil
}

// JSON makes a handler of an endpoint for programs; errors are {"error": sentence, "request_id": id}.
func JSON(f Func) http.Handler { return adapt(familyJSON, f) }

// HTML makes a handler of an endpoint for people; errors are a plain page.
func HTML(f Func) http.Handler { return adapt(familyHTML, f) }

// Raw makes a handler of any other endpoint; errors are a line of text.
func Raw(f Func) http.Handler { return adapt(familyRaw, f) }

func adapt(fam family, f Func) http.Handler {
	e := &endpoint{family: fam}
	e.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			failAs(w, r, fam, err)
		}
	})
	return e
}

func endpointOf(h http.Handler) *endpoint {
	if e, ok := h.(*endpoint); ok {
		return e
	}
	return &endpoint{Handler: h}
}

// CrossOrigin lets pages of other sites send requests to h. It is for endpoints that look at tokens or
// at nobody, and never at cookies. As Limit, it must be outermost when h is registered.
func CrossOrigin(h http.Handler) http.Handler {
	e := *endpointOf(h)
	e.crossOrigin = true
	return &e
}

// ServeHTTP panics where another handler was put around Limit or CrossOrigin, which would be without effect.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if q := requestOf(r.Context()); q != nil && q.route != e && (e.limits != nil || e.crossOrigin) {
		panic("httpserver: Limit and CrossOrigin must be outermost")
	}
	e.Handler.ServeHTTP(w, r)
}

// WriteJSON answers with v.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, err = w.Write(append(b, '\n'))
	return err
}

// statusGone is nginx's "client closed request": nobody reads it, but it keeps a client's hanging up
// from counting as a failure of ours.
const statusGone = 499

// fail answers with err, as the family of the request's route does.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	failAs(w, r, requestOf(r.Context()).route.family, err)
}

// failAs is the one place where an error becomes an answer. The request's log line tells err in full.
func failAs(w http.ResponseWriter, r *http.Request, fam family, err error) {
	status := errs.Status(err)
	if q := requestOf(r.Context()); q != nil {
		began := q.w.status != 0
		q.mu.Lock()
		q.err = err
		q.gone = r.Context().Err() != nil && (began || errors.Is(err, context.Canceled))
		q.mu.Unlock()
		switch {
		case began:
			panic(http.ErrAbortHandler)
		case q.gone:
			status = statusGone
		}
	}
	if errs.Retryable(err) {
		after := max(time.Second, errs.Remember(err))
		if o, ok := errors.AsType[*overload](err); ok {
			after = max(time.Second, o.after)
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	answer(w, r, fam, status, errs.Sentence(err))
}

// errorPage has no style, which the policy for pages would not allow. Its arguments are status, sentence
// and request id.
const errorPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">
<title>%[1]d</title>
<h1>%[2]s</h1>
<p>Status %[1]d, request <code>%[3]s</code>. <a href="/">Home</a></p>
</html>
`

// answer writes the body of an error.
func answer(w http.ResponseWriter, r *http.Request, fam family, status int, sentence string) {
	h, id := w.Header(), RequestID(r.Context())
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "Etag", "Last-Modified"} {
		h.Del(name) // of the answer it might have been
	}
	h.Set("Cache-Control", "no-store")
	switch fam {
	case familyJSON:
		_ = WriteJSON(w, status, struct {
			Error     string `json:"error"`
			RequestID string `json:"request_id"`
		}{sentence, id})
	case familyHTML:
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", pagePolicy)
		w.WriteHeader(status)
		fmt.Fprintf(w, errorPage, status, html.EscapeString(sentence), html.EscapeString(id))
	default:
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprintln(w, sentence)
	}
}
