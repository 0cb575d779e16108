package access_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"salvage/internal/access"
	"salvage/internal/errs"
	"salvage/internal/sqldb"
)

var ctx = context.Background()

// rig is a Store on a file with a clock to turn.
type rig struct {
	*access.Store
	t    testing.TB
	db   *sqldb.DB
	name string
	ms   atomic.Int64
	log  bytes.Buffer
}

func (r *rig) now() time.Time          { return time.UnixMilli(r.ms.Load()) }
func (r *rig) advance(d time.Duration) { r.ms.Add(d.Milliseconds()) }

func newRig(t testing.TB) *rig {
	r := &rig{t: t, name: filepath.Join(t.TempDir(), "x.db")}
	r.ms.Store(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC).UnixMilli())
	r.open()
	t.Cleanup(func() { r.Close(); r.db.Close() })
	return r
}

func (r *rig) open() {
	db, err := sqldb.Open(ctx, "sqlite:"+r.name)
	if err != nil {
		r.t.Fatal(err)
	}
	r.db = db
	r.Store = access.New(db, r.now, slog.New(slog.NewTextHandler(&r.log, nil)))
}

func (r *rig) reopen() {
	r.Close()
	r.db.Close()
	r.open()
}

func (r *rig) create(name string, p access.Permissions, expires time.Time) (access.Token, string) {
	r.t.Helper()
	tok, secret, err := r.Create(ctx, name, p, expires)
	if err != nil {
		r.t.Fatal(err)
	}
	return tok, secret
}

func (r *rig) token(id string) access.Token {
	r.t.Helper()
	all, err := r.List(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, tok := range all {
		if tok.ID == id {
			return tok
		}
	}
	return access.Token{}
}

func (r *rig) exec(query string, args ...any) {
	r.t.Helper()
	if err := r.db.Tx(ctx, func(tx *sql.Tx) error { _, err := tx.Exec(query, args...); return err }); err != nil {
		r.t.Fatal(err)
	}
}

// denied checks that presented does not get in, and that the error does not give it away.
func (r *rig) denied(presented, sentence string) {
	r.t.Helper()
	p, err := r.Authenticate(ctx, presented)
	if p != access.Anonymous || !errors.Is(err, errs.Denied) || !strings.Contains(errs.Sentence(err), sentence) {
		r.t.Errorf("Authenticate(%.80q) = %v, %v; want Denied, %q", presented, p, err, sentence)
	}
	if len(presented) > 16 && strings.Contains(err.Error(), presented) {
		r.t.Errorf("the error quotes the secret: %v", err)
	}
}

func (r *rig) allowed(presented, id string) {
	r.t.Helper()
	if p, err := r.Authenticate(ctx, presented); err != nil || p.TokenID != id {
		r.t.Errorf("Authenticate(%.80q) = %v, %v; want %s", presented, p, err, id)
	}
}

func request(token string, cookie *http.Cookie) *http.Request {
	req := httptest.NewRequest("GET", "/", nil)
	if token != "" {
		req.Header.Set("Auth-Token", token)
	}
	if cookie != nil {
		req.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	return req
}

func (r *rig) from(req *http.Request) access.Principal {
	r.t.Helper()
	p, err := r.FromRequest(req)
	if err != nil {
		r.t.Errorf("FromRequest = %v", err)
	}
	return p
}

func TestPermissions(t *testing.T) {
	all := access.UploadSymbols | access.ViewProtected | access.Reprocess | access.Admin
	if s := all.String(); s != "upload_symbols,view_protected,reprocess,admin" {
		t.Error(s)
	}
	if p, err := access.ParsePermissions("reprocess, upload_symbols"); err != nil || p != access.UploadSymbols|access.Reprocess {
		t.Errorf("%v, %v", p, err)
	}
	for _, s := range []string{"", "root", "admin,", "Admin"} {
		if p, err := access.ParsePermissions(s); p != 0 || !errors.Is(err, errs.Invalid) {
			t.Errorf("ParsePermissions(%q) = %v, %v", s, p, err)
		}
	}
	admin := access.Principal{TokenID: "x", Permissions: access.Admin}
	uploader := access.Principal{TokenID: "x", Permissions: access.UploadSymbols}
	if !admin.Can(all) || !uploader.Can(access.UploadSymbols) || uploader.Can(access.Reprocess) ||
		uploader.Can(access.UploadSymbols|access.Reprocess) || uploader.Can(access.Admin) || access.Anonymous.Can(access.ViewProtected) || access.Anonymous.Can(0) {
		t.Error("Can")
	}
}

func TestTokens(t *testing.T) {
	r := newRig(t)
	a, secretA := r.create("ci", access.UploadSymbols, time.Time{})
	r.advance(time.Second)
	b, secretB := r.create("nightly é", access.ViewProtected|access.Reprocess, r.now().Add(time.Hour))
	if len(secretA) != 64 || secretA == secretB || strings.Contains(secretA, "-") {
		t.Errorf("secrets %q and %q", secretA, secretB)
	}
	r.reopen()
	all, err := r.List(ctx)
	if err != nil || len(all) != 2 || all[0] != a || all[1] != b {
		t.Errorf("List = %+v, %v; want %+v, %+v", all, err, a, b)
	}
	p, err := r.Authenticate(ctx, secretB)
	if want := (access.Principal{TokenID: b.ID, Name: "nightly é", Permissions: access.ViewProtected | access.Reprocess}); err != nil || p != want {
		t.Errorf("%+v, %v; want %+v", p, err, want)
	}
	r.advance(time.Hour - time.Millisecond)
	r.allowed(secretB, b.ID)
	r.advance(time.Millisecond)
	r.denied(secretB, "expired on 2026-11-24")
	r.denied(secretB+"-comment", "expired on 2026-11-24")

	for range 2 {
		if err := r.Revoke(ctx, a.ID); err != nil {
			t.Fatal(err)
		}
	}
	r.denied(secretA, "revoked")
	when := r.token(a.ID).Revoked
	r.advance(time.Hour)
	r.Revoke(ctx, a.ID)
	if got := r.token(a.ID).Revoked; got != when || when.IsZero() {
		t.Errorf("revoked at %v, then at %v", when, got)
	}
	if err := r.Revoke(ctx, "nobody"); !errors.Is(err, errs.NotFound) {
		t.Errorf("Revoke(nobody) = %v", err)
	}
	// The files hold no secret.
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(r.name + suffix)
		if err != nil || len(data) == 0 {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(secretA)) || bytes.Contains(data, []byte(secretB)) {
			t.Errorf("a secret is in the file%s", suffix)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		name    string
		p       access.Permissions
		expires time.Time
	}{
		{"", access.Admin, time.Time{}},
		{strings.Repeat("x", 201), access.Admin, time.Time{}},
		{"a\x00b", access.Admin, time.Time{}},
		{"a\nb", access.Admin, time.Time{}},
		{"\xff", access.Admin, time.Time{}},
		{"x", 0, time.Time{}},
		{"x", 16, time.Time{}},
		{"x", access.Admin, r.now()},
	} {
		if _, secret, err := r.Create(ctx, tt.name, tt.p, tt.expires); !errors.Is(err, errs.Invalid) || secret != "" {
			t.Errorf("Create(%q, %d, %v) = %q, %v", tt.name, tt.p, tt.expires, secret, err)
		}
	}
	if all, err := r.List(ctx); err != nil || len(all) != 0 {
		t.Errorf("List = %v, %v", all, err)
	}
}

// Whole first, then the part before the first '-'.
func TestComment(t *testing.T) {
	r := newRig(t)
	plain, secret := r.create("plain", access.UploadSymbols, time.Time{})
	r.allowed(secret+"-uploader-on-host-7", plain.ID)
	r.allowed(secret+"-", plain.ID)
	r.denied("x"+secret, "not known")
	r.denied("x-"+secret, "not known")
	r.denied("-"+secret, "not known")
	r.denied(secret+" -x", "not known")
	r.denied(secret[:63], "not known")
	r.denied(strings.ToUpper(secret), "not known")
	// The environment's token may have a '-', and may begin with another token.
	whole := secret + "-admin-of-us"
	if _, _, err := r.EnsureAdmin(ctx, whole); err != nil {
		t.Fatal(err)
	}
	p, err := r.Authenticate(ctx, whole)
	if err != nil || p.Permissions != access.Admin {
		t.Errorf("whole: %v, %v", p, err)
	}
	r.allowed(whole+"-x", plain.ID) // is not the admin's
	if err := r.Revoke(ctx, p.TokenID); err != nil {
		t.Fatal(err)
	}
	r.allowed(whole, plain.ID) // a revoked token's secret is a comment like others
	if err := r.Revoke(ctx, plain.ID); err != nil {
		t.Fatal(err)
	}
	r.denied(whole, "revoked")
}

func TestHostileTokens(t *testing.T) {
	r := newRig(t)
	tok, secret := r.create("x", access.Admin, time.Time{})
	for _, s := range []string{"", strings.Repeat("x", 1<<26), strings.Repeat("-", 1<<20), secret + "-" + strings.Repeat("x", 448), strings.Repeat("é", 300)} {
		start := time.Now()
		r.denied(s, "not a token")
		if d := time.Since(start); d > time.Second {
			t.Errorf("%d bytes took %v", len(s), d)
		}
	}
	r.allowed(secret+"-"+strings.Repeat("x", 447), tok.ID)
	for _, s := range []string{"\x00", secret + "\x00", "\x00" + secret, "\xff\xfe", "\u202e" + secret, secret + "\u2010x", secret + "'; DROP TABLE tokens; --", "' OR 1=1", "%", "-", "----", " " + secret, secret + "\n"} {
		r.denied(s, "not known")
	}
	r.allowed(secret, tok.ID)
}

// A corrupt or newer set of permissions is an error, never a guess.
func TestUnknownPermission(t *testing.T) {
	r := newRig(t)
	tok, secret := r.create("x", access.UploadSymbols, time.Time{})
	r.exec("UPDATE tokens SET permissions = 'upload_symbols,fly'")
	if p, err := r.Authenticate(ctx, secret); err == nil || errs.KindOf(err) != errs.Internal || p != access.Anonymous || !strings.Contains(err.Error(), tok.ID) {
		t.Errorf("%v, %v", p, err)
	}
}

func TestLastUsed(t *testing.T) {
	r := newRig(t)
	tok, secret := r.create("x", access.UploadSymbols, time.Time{})
	want := func(want time.Time) {
		t.Helper()
		r.Close() // waits
		if got := r.token(tok.ID).LastUsed; !got.Equal(want) {
			t.Errorf("last used %v, want %v", got, want)
		}
	}
	want(time.Time{})
	first := r.now()
	r.allowed(secret, tok.ID)
	want(first)
	r.advance(59 * time.Second)
	r.allowed(secret, tok.ID)
	want(first)
	r.advance(time.Second)
	r.allowed(secret, tok.ID)
	want(r.now())
	second := r.now()
	r.advance(time.Hour)
	r.denied("x"+secret, "not known")
	want(second)

	// The hot path does not wait for a writer, nor fail with it.
	release, held := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		r.db.Tx(ctx, func(*sql.Tx) error { close(held); <-release; return nil })
	})
	<-held
	for range 100 {
		r.allowed(secret, tok.ID)
	}
	close(release)
	wg.Wait()
	want(r.now())

	r.advance(time.Hour)
	r.exec("CREATE TRIGGER no BEFORE UPDATE ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END")
	r.allowed(secret, tok.ID)
	r.Close()
	if s := r.log.String(); !strings.Contains(s, "last use of tokens not written") || strings.Contains(s, secret) {
		t.Errorf("log: %q", s)
	}
}

func TestConcurrent(t *testing.T) {
	r := newRig(t)
	_, adminSecret, err := func() (bool, string, error) { s, c, err := r.EnsureAdmin(ctx, ""); return c, s, err }()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				tok, secret, err := r.Create(ctx, fmt.Sprint(i, j), access.UploadSymbols, time.Time{})
				if err != nil {
					t.Error(err)
					return
				}
				r.allowed(secret, tok.ID)
				c, err := r.Login(ctx, adminSecret, true)
				if err != nil {
					t.Error(err)
					return
				}
				if p := r.from(request("", c)); !p.Can(access.Admin) {
					t.Errorf("session: %v", p)
				}
				r.advance(time.Minute)
				if err := r.Revoke(ctx, tok.ID); err != nil {
					t.Error(err)
				}
				r.denied(secret, "revoked")
			}
		})
	}
	wg.Wait()
}

func TestEnsureAdmin(t *testing.T) {
	r := newRig(t)
	ensure := func(env string, want bool) string {
		t.Helper()
		secret, created, err := r.EnsureAdmin(ctx, env)
		if err != nil || created != want || (secret != "") != (want && env == "") {
			t.Errorf("EnsureAdmin(%q) = %q, %v, %v", env, secret, created, err)
		}
		return secret
	}
	admins := func(want int) {
		t.Helper()
		all, err := r.List(ctx)
		n := 0
		for _, tok := range all {
			if tok.Permissions == access.Admin && tok.Revoked.IsZero() {
				n++
			}
		}
		if err != nil || n != want {
			t.Errorf("%d admins, want %d: %+v, %v", n, want, all, err)
		}
	}
	r.create("not an admin", access.UploadSymbols, time.Time{})
	first := ensure("", true)
	r.reopen()
	ensure("", false)
	admins(1)
	p, err := r.Authenticate(ctx, first)
	if err != nil || !p.Can(access.Admin) {
		t.Fatalf("%v, %v", p, err)
	}
	// Of no use: revoked, and expired.
	if err := r.Revoke(ctx, p.TokenID); err != nil {
		t.Fatal(err)
	}
	r.create("short", access.Admin, r.now().Add(time.Minute))
	ensure("", false)
	r.advance(time.Minute)
	second := ensure("", true)
	r.denied(first, "revoked")

	// From the environment: A, A, B, A again.
	envA, envB := "environment-secret-A", "environment-secret-B"
	ensure(envA, true)
	ensure(envA, false)
	pa, err := r.Authenticate(ctx, envA)
	if err != nil || !pa.Can(access.Admin) || !r.token(pa.TokenID).FromEnv {
		t.Errorf("%v, %v", pa, err)
	}
	session, err := r.Login(ctx, envA, false)
	if err != nil {
		t.Fatal(err)
	}
	ensure(envB, true)
	r.denied(envA, "not known")
	if p := r.from(request("", session)); p != access.Anonymous {
		t.Errorf("session of the environment's old token: %v", p)
	}
	ensure(envA, true)
	r.denied(envB, "not known")
	ensure("", false)
	admins(3) // second, short (expired), envA
	// The one that was printed, put into the environment: it becomes the environment's.
	ensure(second, false)
	r.denied(envA, "not known")
	ensure(envA, true)
	r.denied(second, "not known")
	// A token with less that is put there becomes an admin, for good.
	small, smallSecret := r.create("small", access.UploadSymbols, r.now().Add(time.Hour))
	ensure(smallSecret, false)
	r.advance(2 * time.Hour)
	if p, err := r.Authenticate(ctx, smallSecret); err != nil || !p.Can(access.Admin) {
		t.Errorf("%v, %v", p, err)
	}
	// What was revoked does not come back by a restart.
	if err := r.Revoke(ctx, small.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.EnsureAdmin(ctx, smallSecret); !errors.Is(err, errs.Conflict) || strings.Contains(err.Error(), smallSecret) {
		t.Errorf("revoked: %v", err)
	}
	for _, env := range []string{"short", strings.Repeat("x", 513), "with spaces in the middle", "with-a-nul\x00-in-the-middle", "umlaut-ä-in-the-middle", "line-at-the-end-of-it\n"} {
		if _, _, err := r.EnsureAdmin(ctx, env); !errors.Is(err, errs.Invalid) || strings.Contains(err.Error(), env) {
			t.Errorf("EnsureAdmin(%.30q): %v", env, err)
		}
	}
}

func TestSession(t *testing.T) {
	r := newRig(t)
	tok, secret := r.create("me", access.ViewProtected, time.Time{})
	if c, err := r.Login(ctx, "x"+secret, true); c != nil || !errors.Is(err, errs.Denied) {
		t.Errorf("Login with another token: %v, %v", c, err)
	}
	login := func(secure bool) *http.Cookie {
		t.Helper()
		c, err := r.Login(ctx, secret+"-from-a-link", secure)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := login(true)
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 14*24*3600 || len(c.Value) != 64 || c.Value == secret || c.Valid() != nil {
		t.Errorf("cookie %v", c)
	}
	if login(false).Secure {
		t.Error("a cookie for TLS only, without TLS")
	}
	want := access.Principal{TokenID: tok.ID, Name: "me", Permissions: access.ViewProtected, Session: true}
	if p := r.from(request("", c)); p != want {
		t.Errorf("%+v, want %+v", p, want)
	}
	is := func(c *http.Cookie, want bool) {
		t.Helper()
		if p := r.from(request("", c)); (p != access.Anonymous) != want {
			t.Errorf("%v, want a session: %v", p, want)
		}
		r.Close()
	}
	// Idle for a day; in use, two weeks.
	r.advance(24*time.Hour - time.Millisecond)
	is(c, true)
	r.advance(24*time.Hour - time.Millisecond)
	is(c, true)
	idle := login(true)
	r.advance(24 * time.Hour)
	is(c, false)
	is(idle, false)
	c = login(true) // removes those two
	n := ""
	r.db.View(ctx, func(tx *sql.Tx) error { return tx.QueryRow("SELECT count(*) FROM sessions").Scan(&n) })
	if n != "1" {
		t.Errorf("%s sessions", n)
	}
	for range 27 {
		r.advance(12 * time.Hour)
		is(c, true)
	}
	r.advance(12*time.Hour - time.Millisecond)
	is(c, true)
	r.advance(time.Millisecond)
	is(c, false)
	// Only the hash is stored.
	c = login(true)
	r.db.View(ctx, func(tx *sql.Tx) error {
		return tx.QueryRow("SELECT count(*) FROM sessions WHERE hash = $1", c.Value).Scan(&n)
	})
	if n != "0" {
		t.Error("the value of a cookie is stored")
	}
	// Logout ends this session and no other.
	other := login(true)
	gone, err := r.Logout(request("", c))
	if err != nil || gone.Name != c.Name || gone.Value != "" || gone.MaxAge >= 0 || gone.Path != c.Path {
		t.Errorf("Logout = %v, %v", gone, err)
	}
	is(c, false)
	is(other, true)
	if _, err := r.Logout(request("", nil)); err != nil {
		t.Errorf("Logout without a session: %v", err)
	}
	// A session ends with its token.
	if err := r.Revoke(ctx, tok.ID); err != nil {
		t.Fatal(err)
	}
	is(other, false)
	r.db.View(ctx, func(tx *sql.Tx) error { return tx.QueryRow("SELECT count(*) FROM sessions").Scan(&n) })
	if n != "0" {
		t.Errorf("%s sessions of a revoked token", n)
	}
	brief, briefSecret := r.create("brief", access.Admin, r.now().Add(time.Minute))
	if c, err = r.Login(ctx, briefSecret, true); err != nil {
		t.Fatal(err)
	}
	is(c, true)
	r.advance(time.Minute)
	is(c, false)
	// It survives a restart.
	_, secret = r.create("again", access.Admin, time.Time{})
	c = login(true)
	r.reopen()
	is(c, true)
	if r.token(brief.ID).LastUsed.IsZero() {
		t.Error("a login is not a use")
	}
}

func TestFromRequest(t *testing.T) {
	r := newRig(t)
	a, secretA := r.create("a", access.UploadSymbols, time.Time{})
	b, secretB := r.create("b", access.Admin, time.Time{})
	cookieB, err := r.Login(ctx, secretB, false)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.from(request("", nil)); p != access.Anonymous {
		t.Errorf("nothing: %v", p)
	}
	if p := r.from(request(secretA+"-x", cookieB)); p.TokenID != a.ID || p.Session {
		t.Errorf("header and cookie: %v", p)
	}
	if p, err := r.FromRequest(request("wrong", cookieB)); !errors.Is(err, errs.Denied) || p != access.Anonymous {
		t.Errorf("wrong header, good cookie: %v, %v", p, err)
	}
	empty := request("", cookieB)
	empty.Header.Set("Auth-Token", "")
	if p := r.from(empty); p.TokenID != b.ID || !p.Session {
		t.Errorf("empty header, good cookie: %v", p)
	}
	two := request(secretA, nil)
	two.Header.Add("Auth-Token", secretB)
	if p, err := r.FromRequest(two); !errors.Is(err, errs.Denied) || p != access.Anonymous {
		t.Errorf("two headers: %v, %v", p, err)
	}
	for _, value := range []string{"x", secretB, cookieB.Value + "x", cookieB.Value + "-x", strings.Repeat("x", 1<<20), "\x00"} {
		req := httptest.NewRequest("GET", "/", nil)
		req.Header.Set("Cookie", cookieB.Name+"="+value)
		if p := r.from(req); p != access.Anonymous {
			t.Errorf("cookie %.80q: %v", value, p)
		}
	}
	// A session's value is no token.
	r.denied(cookieB.Value, "not known")
	// A database that fails is an error, not Anonymous.
	r.db.Close()
	if _, err := r.FromRequest(request("", cookieB)); err == nil || errors.Is(err, errs.Denied) {
		t.Errorf("closed database: %v", err)
	}
}

func TestReadPublic(t *testing.T) {
	store := newRig(t).Store
	for _, tt := range []struct {
		host, header     string
		loopback, public bool
		want             bool
	}{
		{"127.0.0.1:8080", "", true, false, true},
		{"127.0.0.1", "", true, false, true},
		{"127.9.8.7:1", "", true, false, true},
		{"localhost:8080", "", true, false, true},
		{"LocalHost", "", true, false, true},
		{"[::1]:8080", "", true, false, true},
		{"[::1]", "", true, false, true},
		{"127.0.0.1:8080", "", false, false, false}, // a spoofed Host on an open listener
		{"crash.example.org", "", true, false, false},
		{"crash.example.org", "", false, true, true},
		{"crash.example.org", "X-Forwarded-For", true, true, true},
		{"", "", true, false, false},
		{"localhost.example.org:8080", "", true, false, false},
		{"127.0.0.1.example.org", "", true, false, false},
		{"example.org:127.0.0.1", "", true, false, false},
		{"localhost:example.org", "", true, false, false},
		{"evil@localhost", "", true, false, false},
		{"localhost@evil:80", "", true, false, false},
		{"localhost.", "", true, false, false},
		{"0.0.0.0:8080", "", true, false, false},
		{"[::]:8080", "", true, false, false},
		{"192.168.1.2:8080", "", true, false, false},
		{"127.1", "", true, false, false},
		{"2130706433", "", true, false, false},
		{"[::1", "", true, false, false},
		{"127.0.0.1\x00.example.org", "", true, false, false},
		{"localhost", "Forwarded", true, false, false},
		{"localhost", "Via", true, false, false},
		{"localhost", "X-Real-Ip", true, false, false},
		{"localhost", "X-Real-IP", true, false, false},
		{"localhost", "X-Forwarded-For", true, false, false},
		{"localhost", "X-Forwarded-Host", true, false, false},
		{"localhost", "X-Forwarded-Anything", true, false, false},
		{"localhost", "x-forwarded-proto", true, false, false},
		{"localhost", "X-Forwarded", true, false, false},
		{"localhost", "Forward", true, false, true},
		{"localhost", "Accept", true, false, true},
	} {
		for _, value := range []string{"", "127.0.0.1"} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host = tt.host
			r.TLS = &tls.ConnectionState{}
			if tt.header != "" {
				r.Header[tt.header] = []string{value}
			}
			g := access.Gate{Store: store, Loopback: tt.loopback, PublicRead: tt.public}
			w := httptest.NewRecorder()
			_, err := g.Read(w, r)
			if got := err == nil; got != tt.want || err != nil && !errors.Is(err, errs.Denied) || w.Header().Get("Vary") != "Auth-Token, Cookie" {
				t.Errorf("Read(Host %q, %s: %q, loopback %v, public %v) = %v", tt.host, tt.header, value, tt.loopback, tt.public, got)
			}
		}
	}
}

// TestGate: what a token may do, by header and by session.
func TestGate(t *testing.T) {
	rig := newRig(t)
	_, uploader := rig.create("ci", access.UploadSymbols, time.Time{})
	_, admin := rig.create("boss", access.Admin, time.Time{})
	cookie, err := rig.Login(ctx, admin, false)
	if err != nil {
		t.Fatal(err)
	}
	g := access.Gate{Store: rig.Store}
	for _, tt := range []struct {
		token           string
		cookie          bool
		read, protected bool
		write           string // part of the refusal
	}{
		{"", false, false, false, "Log in"},
		{uploader, false, true, false, "does not have the permission reprocess"},
		{admin, false, true, true, ""},
		{"", true, true, true, ""},
		{"wrong-token-of-nobody", true, false, false, "not known"},
	} {
		r := httptest.NewRequest("POST", "http://example.org/api/Reprocessing/", nil)
		if tt.token != "" {
			r.Header.Set("Auth-Token", tt.token)
		}
		if tt.cookie {
			r.AddCookie(cookie)
		}
		who, err := g.Read(httptest.NewRecorder(), r)
		if (err == nil) != tt.read || who.Can(access.ViewProtected) != tt.protected {
			t.Errorf("%+v: Read = %+v, %v", tt, who, err)
		}
		switch _, err := g.Write(r, access.Reprocess); {
		case tt.write == "" && err != nil, tt.write != "" && (!errors.Is(err, errs.Denied) || !strings.Contains(errs.Sentence(err), tt.write)):
			t.Errorf("%+v: Write: %v", tt, err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	r := newRig(b)
	for i := range 1000 {
		r.create(fmt.Sprint(i), access.UploadSymbols, time.Time{})
	}
	tok, secret := r.create("x", access.UploadSymbols, time.Time{})
	c, err := r.Login(ctx, secret, true)
	if err != nil {
		b.Fatal(err)
	}
	r.Close()
	for name, f := range map[string]func(){
		"token":   func() { r.allowed(secret, tok.ID) },
		"comment": func() { r.allowed(secret+"-x", tok.ID) },
		"unknown": func() { r.denied("unknown-x", "not known") },
		"session": func() { r.from(request("", c)) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
