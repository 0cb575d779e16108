// Package web is the pages for people: the latest crashes, one crash, one signature, symbol files, a dump
// to look at, the way in.
//
// It is HTML only. Programs read the same data from the package that makes it. Pages need no script and
// fetch nothing from elsewhere. All that comes out of a crash is text of whoever sent it: it is escaped,
// its invisible characters are shown, and a page ends somewhere however much there is.
//
// What is protected is decided by crash.Processed and access.Gate; what the template of a page for the public
// gets has nothing of it but how much there is. A Web is safe for concurrent use.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/crashindex"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/metrics"
)

// Config is what a Web needs: all but Metrics, Walk and Symbolicate.
type Config struct {
	Index   crashindex.Index
	Store   blob.Store
	DB      *sqldb.DB
	Queue   *queue.Queue
	Gate    *access.Gate
	Metrics *metrics.Registry
	Log     *slog.Logger
	Now     func() time.Time

	// Walk returns stackwalk's JSON of a dump, numbers as json.Number. Nil: /open takes no dumps.
	Walk func(ctx context.Context, dump []byte) (jsonDump map[string]any, err error)
	// Symbolicate puts names into a text with module+0xoffset in it, or answers a request in JSON. Nil:
	// /open takes no text.
	Symbolicate func(ctx context.Context, text string) (string, error)
}

// Web serves the pages.
type Web struct {
	Config
	pages   map[string]*template.Template
	version string // of the static files, a part of their paths
	logins  *metrics.Counter
	opened  *metrics.Counter
}

//go:embed templates/*.tmpl
var templates embed.FS

// New returns the pages.
func New(c Config) (*Web, error) {
	if c.Index == nil || c.Store == nil || c.DB == nil || c.Queue == nil || c.Gate == nil || c.Log == nil || c.Now == nil {
		return nil, errors.New("web: something required is missing")
	}
	s := &Web{
		Config: c, pages: map[string]*template.Template{}, version: staticVersion(),
		logins: c.Metrics.Counter("web.logins", "Attempts to log in.", metrics.Tag("result", "ok", "refused")),
		opened: c.Metrics.Counter("web.opened", "What was opened without being stored.", metrics.Tag("kind", "dump", "text"), metrics.Tag("result", "ok", "error")),
	}
	names, err := fs.Glob(templates, "templates/page_*.tmpl")
	if err != nil {
		return nil, err
	}
	for _, name := range names { // a set for each, since all define "main"
		t, err := template.ParseFS(templates, "templates/layout.tmpl", "templates/shared.tmpl", "templates/stack.tmpl", "templates/java.tmpl", name)
		if err != nil {
			return nil, err
		}
		s.pages[path.Base(name)] = t
	}
	return s, nil
}

// Install adds the routes. They rely on the middleware of httpserver: it refuses what pages of other sites
// send, and sets the headers that all pages have.
func (s *Web) Install(handle func(pattern string, h http.Handler)) {
	// user:
	handle("GET /{$}", s.forReaders(s.serveHome))
	handle("GET /report/{$}", s.forReaders(s.serveFind))
	report := httpserver.Limit(httpserver.Limits{Name: "report", Requests: 8}) // each may hold maxDocument twice
	handle("GET /report/{id}", report(s.forReaders(s.serveReport)))
	handle("POST /report/{id}/reprocess", s.page(s.serveReprocess))
	handle("GET /signature/{$}", s.forReaders(s.serveSignature))
	handle("GET /symbols", s.forReaders(s.serveSymbols))
	handle("GET /fields", s.page(s.serveFields))
	handle("GET /open", s.page(s.serveOpen))
	dump := httpserver.Limit(httpserver.Limits{Name: "open_dump", Body: 100 << 20, Read: 5 * time.Minute, Write: 5*time.Minute + walkTime, Requests: 4, Bytes: 200 << 20})
	handle("POST /open", dump(s.page(s.serveOpenDump)))
	text := httpserver.Limit(httpserver.Limits{Name: "open_text", Body: 1 << 20, Write: time.Minute + walkTime, Requests: 4})
	handle("GET /open/text", s.page(s.serveOpen)) // an answer loaded again
	handle("POST /open/text", text(s.page(s.serveOpenText)))
	handle("GET /login", s.page(s.serveLoginForm))
	login := httpserver.Limit(httpserver.Limits{Name: "login", Body: 16 << 10, Requests: 16, Rate: 1, Burst: 20})
	handle("POST /login", login(s.page(s.serveLogin)))
	handle("POST /logout", s.page(s.serveLogout))
	// browser:
	handle("GET /static/{version}/{name}", httpserver.Raw(s.serveStatic))
}

// page adapts an endpoint so that what the visitor can do something about is answered by a page of ours.
// Other errors have httpserver's plain one, which works when nothing else does.
func (s *Web) page(f httpserver.Func) http.Handler {
	return httpserver.HTML(func(w http.ResponseWriter, r *http.Request) error {
		err := f(w, r)
		if err == nil || errs.Status(err) >= 500 {
			return err
		}
		httpserver.AddLog(r.Context(), slog.String("error", err.Error()))
		return s.render(w, errs.Status(err), "error", errorPage{
			base: s.base(r, s.visitor(r), errs.Sentence(err), ""), Status: errs.Status(err), Request: httpserver.RequestID(r.Context()),
		})
	})
}

type errorPage struct {
	base
	Status  int
	Request string
}

// forReaders is page for those who may read. A browser of nobody in particular is sent to the login.
func (s *Web) forReaders(f func(w http.ResponseWriter, r *http.Request, who access.Principal) error) http.Handler {
	return s.page(func(w http.ResponseWriter, r *http.Request) error {
		who, err := s.Gate.Read(w, r)
		switch {
		case err == nil:
			return f(w, r, who)
		case errs.KindOf(err) == errs.Denied && r.Header.Get("Auth-Token") == "":
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, loginLink(r), http.StatusSeeOther)
			return nil
		}
		return err
	})
}

// visitor is who asks for a page that is for everybody.
func (s *Web) visitor(r *http.Request) access.Principal {
	who, err := s.Gate.FromRequest(r)
	if err != nil {
		return access.Anonymous
	}
	return who
}

// base is what the layout shows.
type base struct {
	Title   string
	Nav     string // path of the menu's current entry
	Static  string // path of the static files
	Who     string // name of the visitor's token
	Session bool   // the visitor can log out
	Login   string // link
	Refresh int    // seconds until the page is loaded again; 0: never
	Script  string // name of the page's script
}

func (s *Web) base(r *http.Request, who access.Principal, title, nav string) base {
	return base{Title: show(title, 300), Nav: nav, Static: "/static/" + s.version, Who: show(who.Name, 60), Session: who.Session, Login: loginLink(r)}
}

func (b base) frame() base { return b }

// policy is httpserver's for pages, narrower: scripts only where there is one, and nothing that has none.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// render answers with a page.
func (s *Web) render(w http.ResponseWriter, status int, name string, page interface{ frame() base }) error {
	var b bytes.Buffer
	if err := s.pages["page_"+name+".tmpl"].ExecuteTemplate(&b, "layout.tmpl", page); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Set("Content-Security-Policy", policy)
	if page.frame().Script != "" {
		h.Set("Content-Security-Policy", policy+"; script-src 'self'")
	}
	w.WriteHeader(status)
	_, err := b.WriteTo(w)
	return err
}

// link is a path with a query.
func link(path string, query ...string) string {
	v := url.Values{}
	for i := 0; i < len(query); i += 2 {
		if query[i+1] != "" {
			v.Set(query[i], query[i+1])
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// siteOf is this site's address as the browser has it, for commands to copy.
func siteOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + show(r.Host, 200)
	}
	return "http://" + show(r.Host, 200)
}
