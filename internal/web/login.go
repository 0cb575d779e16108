package web

import (
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"

	"salvage/internal/errs"
	"salvage/internal/httpserver"
)

type loginPage struct {
	base
	Next, Problem string
}

// loginLink leads to the login and, from there, back to what r asks for.
func loginLink(r *http.Request) string {
	next := "/"
	switch {
	case strings.HasPrefix(r.URL.Path, "/open"):
		next = "/open"
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		next = safeNext(r.URL.RequestURI())
	}
	if next == "/" {
		next = ""
	}
	return link("/login", "next", next)
}

const maxNext = 2000 // bytes

// safeNext returns a path of this site to go to after the login: next if it is one, else the home page. It
// is put together anew, so that nothing is left which a browser might read differently.
func safeNext(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return "/"
	}
	clean := path.Clean(u.Path)
	if strings.HasSuffix(u.Path, "/") && clean != "/" {
		clean += "/"
	}
	if clean == "/login" || clean == "/logout" {
		return "/"
	}
	if next = (&url.URL{Path: clean, RawQuery: u.RawQuery}).String(); len(next) > maxNext {
		return "/"
	}
	return next
}

func (s *Web) serveLoginForm(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, http.StatusOK, "login", loginPage{base: s.base(r, s.visitor(r), "Log in", "/login"), Next: safeNext(r.URL.Query().Get("next"))})
}

func (s *Web) serveLogin(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return errs.Public(errs.Invalid, "The form cannot be read.")
	}
	next := safeNext(r.PostForm.Get("next"))
	// A browser's own word for how it got the page: a proxy's header could be anybody's, and this one
	// can only make the cookie stricter.
	secure := r.TLS != nil || strings.HasPrefix(r.Header.Get("Origin"), "https://")
	cookie, err := s.Gate.Login(r.Context(), strings.TrimSpace(r.PostForm.Get("token")), secure)
	if errs.KindOf(err) == errs.Denied {
		s.logins.With("refused").Inc()
		httpserver.AddLog(r.Context(), slog.String("error", err.Error()))
		return s.render(w, http.StatusForbidden, "login", loginPage{base: s.base(r, s.visitor(r), "Log in", "/login"), Next: next, Problem: errs.Sentence(err)})
	}
	if err != nil {
		return err
	}
	s.logins.With("ok").Inc()
	return s.leave(w, r, cookie, next)
}

func (s *Web) serveLogout(w http.ResponseWriter, r *http.Request) error {
	cookie, err := s.Gate.Logout(r)
	if err != nil {
		return err
	}
	return s.leave(w, r, cookie, "/")
}

func (s *Web) leave(w http.ResponseWriter, r *http.Request, cookie *http.Cookie, next string) error {
	http.SetCookie(w, cookie)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}
