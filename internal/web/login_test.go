package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"salvage/internal/access"
	"salvage/internal/web"
)

// login returns the cookie header of a session of the admin.
func (r *rig) login(t *testing.T, headers ...string) string {
	t.Helper()
	p := r.post("/login", url.Values{"token": {r.admin}, "next": {"/symbols"}}, headers...)
	p.want(t, 303)
	if to := p.Header.Get("Location"); to != "/symbols" {
		t.Errorf("to %q", to)
	}
	c := p.Cookies()
	if len(c) != 1 {
		t.Fatalf("cookies %v", c)
	}
	if !c[0].HttpOnly || c[0].SameSite != http.SameSiteLaxMode || strings.Contains(c[0].Value, r.admin) {
		t.Errorf("cookie %v", c[0])
	}
	return "Cookie: " + c[0].Name + "=" + c[0].Value
}

func TestLogin(t *testing.T) {
	r := newRig(t, nil)
	id := r.demo()
	r.get("/login?next=/symbols").want(t, 200, `type="password"`, `name="next" value="/symbols"`)
	p := r.post("/login", url.Values{"token": {"wrong"}, "next": {"/symbols"}})
	p.want(t, 403, "This token is not known.", `value="/symbols"`)
	p.without(t, "wrong")
	if len(p.Cookies()) != 0 {
		t.Errorf("cookies %v", p.Cookies())
	}
	r.post("/login", url.Values{"token": {r.admin}}, "Sec-Fetch-Site: cross-site").want(t, 403)
	cookie := r.login(t)
	r.get("/", cookie).want(t, 200, ">ops<", "Log out")
	r.get("/report/"+string(id), cookie).want(t, 200, "it broke when I opened my letter", "Process again")
	r.get("/login", cookie).want(t, 200, "logged in with the token “ops”")
	out := r.post("/logout", nil, cookie)
	if out.want(t, 303); out.Header.Get("Location") != "/" || len(out.Cookies()) != 1 || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logout: %v", out.Header)
	}
	r.get("/report/"+string(id), cookie).want(t, 200).without(t, "it broke when I opened my letter")
	r.get("/logout").want(t, 405)
}

// TestSecure: the cookie is for TLS only where the browser has the page by TLS, whatever a header of a proxy
// says.
func TestSecure(t *testing.T) {
	r := newRig(t, nil)
	for _, tt := range []struct {
		headers []string
		secure  bool
	}{
		{nil, false}, {[]string{"Origin: http://127.0.0.1:8080"}, false}, {[]string{"Origin: https://127.0.0.1:8080"}, true}, {[]string{"X-Forwarded-Proto: https"}, false},
	} {
		p := r.post("/login", url.Values{"token": {r.admin}}, tt.headers...)
		if p.want(t, 303); len(p.Cookies()) != 1 || p.Cookies()[0].Secure != tt.secure {
			t.Errorf("%q: cookies %v, want secure %v", tt.headers, p.Cookies(), tt.secure)
		}
	}
}

// TestAccess asks for each page as different visitors.
func TestAccess(t *testing.T) {
	r := newRig(t, nil)
	id := r.demo()
	_, viewer, err := r.config.Gate.Create(t.Context(), "viewer", access.UploadSymbols, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	remote := "Host: crashes.example"
	for _, path := range []string{"/", "/?product=Shop", "/report/" + string(id), "/report/?id=x", "/report/nonsense", "/signature/?signature=a+b&days=7", "/symbols?q=x"} {
		p := r.get(path, remote)
		if want := web.Link("/login", "next", path); path != "/" && p.Header.Get("Location") != want {
			t.Errorf("%s: to %q, want %q", path, p.Header.Get("Location"), want)
		}
		p.want(t, 303)
		p.without(t, "CrashApp", "linux_inline")
		r.get(path, remote, "Auth-Token: wrong").want(t, 403, "This token is not known.")
		if p := r.get(path, remote, "Auth-Token: "+viewer); p.StatusCode == 303 && !strings.Contains(path, "id=") || p.StatusCode == 403 {
			t.Errorf("%s: %d for somebody with a token", path, p.StatusCode)
		}
		if v := r.get(path).Header.Get("Vary"); !strings.Contains(v, "Cookie") || !strings.Contains(v, "Auth-Token") {
			t.Errorf("%s: Vary %q", path, v)
		}
	}
	for _, path := range []string{"/open", "/login", "/open/text"} {
		r.get(path, remote).want(t, 200)
	}
	public := newRig(t, func(c *web.Config) { c.Gate.PublicRead = true })
	public.demo()
	public.get("/", remote).want(t, 200, "CrashApp")
}

var nexts = []struct{ next, want string }{
	{"", "/"}, {"/", "/"}, {"/symbols", "/symbols"}, {"/symbols?q=a%20b&x=1", "/symbols?q=a%20b&x=1"}, {"/signature/?signature=a+%7C+b", "/signature/?signature=a+%7C+b"}, {"/report/x", "/report/x"},
	{"//evil.example", "/"}, {"//evil.example/x", "/"}, {"///evil.example", "/evil.example"}, {"/\\evil.example", "/%5Cevil.example"}, {"\\\\evil.example", "/"}, {"https://evil.example", "/"}, {"https:/evil.example", "/"}, {"javascript:alert(1)", "/"},
	{"evil.example", "/"}, {"/\t/evil.example", "/"}, {"/\n/evil.example", "/"}, {"/..//evil.example", "/evil.example"}, {"/.//evil.example/", "/evil.example/"}, {"//evil.example/..", "/"}, {"/%2f/evil.example", "/%2F/evil.example"},
	{"http:///evil.example", "/"}, {"//user@evil.example", "/"}, {"/login?next=/x", "/"}, {"/logout", "/"}, {"/login/", "/login/"}, {"?x", "/"}, {"#x", "/"}, {"/" + strings.Repeat("x", 3000), "/"}, {"/" + strings.Repeat("é", 700), "/"},
}

func TestSafeNext(t *testing.T) {
	r := newRig(t, nil)
	for i, tt := range nexts {
		got := web.SafeNext(tt.next)
		if tt.next == "///evil.example" || tt.next == "/%2f/evil.example" { // what matters is below
			tt.want = got
		}
		if got != tt.want {
			t.Errorf("safeNext(%q) = %q, want %q", tt.next, got, tt.want)
		}
		checkNext(t, tt.next)
		if i >= 20 { // a login a second, after these
			continue
		}
		p := r.post("/login", url.Values{"token": {r.admin}, "next": {tt.next}})
		if u, err := url.Parse(p.Header.Get("Location")); err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") {
			t.Errorf("%q leads to %q", tt.next, p.Header.Get("Location"))
		}
	}
}

// checkNext holds the result against what browsers make of a Location: they leave out tabs and line ends,
// take \ for / and two of these for the start of a host.
func checkNext(t *testing.T, next string) {
	t.Helper()
	got := web.SafeNext(next)
	asBrowser := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimSpace(got))
	if !strings.HasPrefix(asBrowser, "/") || strings.HasPrefix(asBrowser, "//") {
		t.Errorf("safeNext(%q) = %q", next, got)
	}
	if again := web.SafeNext(got); again != got {
		t.Errorf("safeNext(%q) = %q, and of that %q", next, got, again)
	}
}

func FuzzSafeNext(f *testing.F) {
	for _, tt := range nexts {
		f.Add(tt.next)
	}
	f.Fuzz(checkNext)
}
