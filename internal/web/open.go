package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"salvage/internal/errs"
	"salvage/internal/httpserver"
)

// walkTime is how long a dump or a text may take.
const walkTime = 2 * time.Minute

const maxAnswer = 400_000 // characters of a symbolicated text

type openPage struct {
	base
	Dumps, Texts bool
	DumpProblem  string
	TextProblem  string
	Text, Answer string // what was asked, and what came of it
}

func (s *Web) openForms(r *http.Request) openPage {
	p := openPage{base: s.base(r, s.visitor(r), "Open a dump", "/open"), Dumps: s.Walk != nil, Texts: s.Symbolicate != nil}
	if p.Dumps {
		p.Script = "open.js"
	}
	return p
}

func (s *Web) serveOpen(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, http.StatusOK, "open", s.openForms(r))
}

type walkedPage struct {
	base
	Name  string
	Stack *stackView
	Facts []fact
}

func (s *Web) serveOpenDump(w http.ResponseWriter, r *http.Request) error {
	if s.Walk == nil {
		return errs.NotFound
	}
	p, err := s.walked(r)
	if err != nil {
		s.opened.With("dump", "error").Inc()
		if errs.Status(err) >= 500 {
			return err
		}
		httpserver.AddLog(r.Context(), slog.String("error", err.Error()))
		form := s.openForms(r)
		form.DumpProblem = errs.Sentence(err)
		return s.render(w, errs.Status(err), "open", form)
	}
	s.opened.With("dump", "ok").Inc()
	return s.render(w, http.StatusOK, "walked", p)
}

// walked makes the page of the dump that r carries.
func (s *Web) walked(r *http.Request) (*walkedPage, error) {
	name, dump, err := dumpOf(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), walkTime)
	defer cancel()
	walk, err := s.Walk(ctx, dump)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(walk)
	if err != nil {
		return nil, err
	}
	d, err := decodeWalk(data)
	if err != nil {
		return nil, err
	}
	b := newBudget()
	p := &walkedPage{base: s.base(r, s.visitor(r), "", "/open"), Name: b.text(name, 200), Stack: stackOf(d, b), Facts: d.system(b)}
	p.Stack.Crashpad = d.crashpad(b)
	if p.Title = p.Stack.Reason; p.Title == "" {
		p.Title = "A dump without a crash"
	}
	return p, nil
}

// dumpOf reads the file of the form's field dump.
func dumpOf(r *http.Request) (name string, dump []byte, err error) {
	form, err := r.MultipartReader()
	if err != nil {
		return "", nil, errs.Public(errs.Invalid, "Send the dump as a file of a form, in the field dump.")
	}
	for {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return "", nil, errs.Public(errs.Invalid, "Choose a dump first.")
		case err != nil:
			return "", nil, formError(err)
		case part.FormName() != "dump":
			continue
		}
		if dump, err = io.ReadAll(part); err != nil {
			return "", nil, formError(err)
		}
		if len(dump) == 0 {
			return "", nil, errs.Public(errs.Invalid, "Choose a dump first.")
		}
		return part.FileName(), dump, nil
	}
}

// formError is the error of a body, which has a kind unless the form itself is malformed.
func formError(err error) error {
	if errs.KindOf(err) == errs.Internal {
		return fmt.Errorf("%w: %w", errs.Public(errs.Invalid, "The form cannot be read."), err)
	}
	return err
}

func (s *Web) serveOpenText(w http.ResponseWriter, r *http.Request) error {
	if s.Symbolicate == nil {
		return errs.NotFound
	}
	if err := r.ParseForm(); err != nil {
		return formError(err)
	}
	text := r.PostForm.Get("text")
	p := s.openForms(r)
	p.Text = text // to be sent again; it has at most the body's size
	ctx, cancel := context.WithTimeout(r.Context(), walkTime)
	defer cancel()
	answer, err := s.Symbolicate(ctx, text)
	if err != nil {
		s.opened.With("text", "error").Inc()
		if errs.Status(err) >= 500 {
			return err
		}
		httpserver.AddLog(r.Context(), slog.String("error", err.Error()))
		p.TextProblem = errs.Sentence(err)
		return s.render(w, errs.Status(err), "open", p)
	}
	s.opened.With("text", "ok").Inc()
	p.Answer = visible(answer, maxAnswer, true)
	return s.render(w, http.StatusOK, "open", p)
}
