package access

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"salvage/internal/errs"
)

const (
	tokenHeader   = "Auth-Token"
	sessionCookie = "salvage_session"

	sessionIdle = 24 * time.Hour      // unused, it ends
	sessionLife = 14 * 24 * time.Hour // it ends
)

// FromRequest returns who makes a request: by its Auth-Token header, else by the cookie of Login, else
// Anonymous. A token that is refused is an error, whatever the cookie; a session that has ended is
// Anonymous, so that its browser still gets the pages that are for everybody.
//
// The answer to such a request depends on Auth-Token and Cookie; let caches know.
func (s *Store) FromRequest(r *http.Request) (_ Principal, err error) {
	switch tokens := r.Header.Values(tokenHeader); {
	case len(tokens) > 1:
		return Anonymous, errs.Public(errs.Denied, "More than one %s header.", tokenHeader)
	case len(tokens) == 1 && tokens[0] != "":
		return s.Authenticate(r.Context(), tokens[0])
	}
	h := sessionHash(r)
	if h == "" {
		return Anonymous, nil
	}
	defer errs.Wrap(&err, "access.FromRequest")
	var t *Token
	var created, seen int64
	err = s.db.View(r.Context(), func(tx *sql.Tx) error {
		t, err = scan(tx.QueryRow("SELECT "+tokenColumns+", s.created, s.seen FROM sessions s JOIN tokens t ON t.id = s.token_id WHERE s.hash = $1", h), &created, &seen)
		return err
	})
	now := s.now()
	switch {
	case errors.Is(err, errs.NotFound):
		return Anonymous, nil
	case err != nil:
		return Anonymous, err
	case t.refusal(now) != nil || millis(now) >= created+sessionLife.Milliseconds() || millis(now) >= seen+sessionIdle.Milliseconds():
		return Anonymous, nil
	}
	s.note(use{t.ID, h}, fromMillis(seen))
	return Principal{TokenID: t.ID, Name: t.Name, Permissions: t.Permissions, Session: true}, nil
}

// sessionHash returns the hash of the request's session, "" if it has none.
func sessionHash(r *http.Request) string {
	c, err := r.Cookie(sessionCookie)
	if err != nil || c.Value == "" || len(c.Value) > maxPresented {
		return ""
	}
	return hash(c.Value)
}

// Login starts a session for whoever presents a token and returns its cookie, which a browser sends
// back over TLS only if secure. It removes sessions that have ended.
func (s *Store) Login(ctx context.Context, presented string, secure bool) (_ *http.Cookie, err error) {
	defer errs.Wrap(&err, "access.Login")
	p, err := s.Authenticate(ctx, presented)
	if err != nil {
		return nil, err
	}
	value, now := random(32), s.now()
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec("DELETE FROM sessions WHERE created <= $1 OR seen <= $2", millis(now.Add(-sessionLife)), millis(now.Add(-sessionIdle))); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO sessions (hash, token_id, created, seen) VALUES ($1, $2, $3, $3)", hash(value), p.TokenID, millis(now))
		return err
	})
	if err != nil {
		return nil, err
	}
	return cookie(value, int(sessionLife.Seconds()), secure), nil
}

// Logout ends the session of a request, if it has one, and returns the cookie that makes its browser
// forget it.
func (s *Store) Logout(r *http.Request) (_ *http.Cookie, err error) {
	defer errs.Wrap(&err, "access.Logout")
	if h := sessionHash(r); h != "" {
		err := s.db.Tx(r.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec("DELETE FROM sessions WHERE hash = $1", h)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return cookie("", -1, false), nil
}

func cookie(value string, maxAge int, secure bool) *http.Cookie {
	return &http.Cookie{Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: secure, SameSite: http.SameSiteLaxMode}
}

// Gate decides for routes who may read and who may write.
type Gate struct {
	*Store
	Loopback   bool // the listener is a loopback one
	PublicRead bool // public data is for everybody who gets here
}

// Read returns who wants to read, and lets caches know that the answer depends on it. Whether they may see
// protected data is for who.Can(ViewProtected) to say; it is an error if they may not even see public data.
func (g *Gate) Read(w http.ResponseWriter, r *http.Request) (who Principal, err error) {
	w.Header().Add("Vary", tokenHeader+", Cookie")
	who, err = g.FromRequest(r)
	if err == nil && who == Anonymous && !g.public(r) {
		err = errs.Public(errs.Denied, "Log in, or send a token in the header %s.", tokenHeader)
	}
	return who, err
}

// Write returns who wants to change something, if they have the permission. Requests that pages of other
// sites make in the name of a session are refused before they get here.
func (g *Gate) Write(r *http.Request, need Permissions) (who Principal, err error) {
	who, err = g.FromRequest(r)
	switch {
	case err != nil:
		return Anonymous, err
	case who == Anonymous:
		return Anonymous, errs.Public(errs.Denied, "Log in, or send a token with the permission %s in the header %s.", need, tokenHeader)
	case !who.Can(need):
		return Anonymous, errs.Public(errs.Denied, "The token %q does not have the permission %s.", who.Name, need)
	}
	return who, nil
}

// public reports whether anybody may read public data by r: where that is allowed, and on a loopback
// listener if nothing hints at a way in from elsewhere. A Host that is not loopback is a page of another
// site whose name was made to point here, and a forwarding header is a proxy, whose clients may be anybody.
func (g *Gate) public(r *http.Request) bool {
	if g.PublicRead {
		return true
	}
	if !g.Loopback || !isLoopback(r.Host) {
		return false
	}
	for name := range r.Header {
		switch name = strings.ToLower(name); {
		case name == "forwarded", name == "via", name == "x-real-ip", strings.HasPrefix(name, "x-forwarded"):
			return false
		}
	}
	return true
}

// isLoopback reports whether a Host header names this machine: localhost or a loopback address, with
// or without a port.
func isLoopback(host string) bool {
	if h, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
