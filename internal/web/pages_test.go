package web_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/errs"
	"salvage/internal/processor"
	"salvage/internal/web"
)

func TestHome(t *testing.T) {
	r := newRig(t, nil)
	r.get("/").want(t, 200, "No crash yet", "curl -F upload_file_minidump=@crash.dmp", "http://127.0.0.1:8080/submit", "salvage symbols put", "Auth-Token: TOKEN")
	id := r.demo()
	p := r.get("/")
	p.want(t, 200, `href="/report/`+string(id)+`"`, "func | bar | foo | main", "SIGILL / ILL_ILLOPN", "CrashApp 1.0", "Debian 11", `<time datetime="2026-11-24T11:53:00Z">2026-11-24 11:53</time>`,
		`href="/signature/?signature=func&#43;%7C&#43;bar`, "18 Nov – 24 Nov", `<td class="num">56`, `href="/?product=Shop"`, `href="/?days=7"`, `role="img" aria-label="Crashes a day from 28 Oct to 24 Nov: 376 in all, most on 23 Nov with 26."`,
		"modules lack symbols; the first is in 3 crashes", "today, in UTC")
	p.without(t, "No crash yet", "All versions")
	if n := strings.Count(p.body, `<tr><td class="t">`); n != 50 {
		t.Errorf("%d crashes listed, want 50", n)
	}
	if n := strings.Count(p.body, `class="chip"`) - strings.Count(p.body, `aria-current="true"`); n != 4 { // two products, two times
		t.Errorf("%d choices that are not made, want 4", n)
	}
	shop := r.get("/?product=Shop&days=7")
	shop.want(t, 200, `href="/?days=7&amp;product=Shop&amp;version=3.1"`, "All versions", `href="/?product=Shop"`, "Repo.find")
	shop.without(t, "mozalloc", "func | bar")
	r.get("/?product=CrashApp&version=0.9").want(t, 200, "mozalloc_abort", `href="/?product=Shop"`).without(t, "libfoo", "Repo.find")
	r.get("/?product=CrashApp&version=7").want(t, 200, "Nothing here", "fits these filters", ">7</a>")
	r.get("/?days=5").want(t, 400, "The parameter days is 7, 14 or 28.")
	// A crash of last year is no reason to explain how to send one.
	old := newRig(t, nil)
	old.index(old.newID(now), now.AddDate(-1, 0, 0), map[string]string{"product": "P"})
	old.get("/").want(t, 200, "Nothing here").without(t, "No crash yet", "fits these filters")
}

func TestReport(t *testing.T) {
	r := newRig(t, nil)
	id := r.demo()
	p := r.get("/report/" + string(id))
	p.want(t, 200,
		"<h1 class=\"name\">func | bar | foo | main</h1>", "SIGILL / ILL_ILLOPN", "at <b>0x2161b6</b>", "Debian 11 amd64", "up <b>4 s</b>", "<b>56</b> like this in 7 days", "bp-"+string(id),
		"inlined call of frame 0 &#34;func&#34;", "X: &#34;a&#34; becomes &#34;b&#34;", "Crashing thread · 0 <small>50 frames</small>",
		`<tr class="inl top"><td class="n">0<td class="fn">func() <span class="tag">inlined</span><td class="src">linux_inline.cpp:27<td class="mod">linux_inline<td class="trust"><span class="tag quiet">registers</span>`,
		`<tr class="top"><td class="n">0<td class="fn">main<td class="src">a.cpp:42`,
		`<td class="fn no">ld-linux-x86-64.so.2 &#43; 0xbf09<span class="reason">no symbols for the module were found</span>`, `<span class="tag warn">scan</span>`, "as above",
		"1 with symbols, 4 without", ">used</span>", ">missing</span>", ">not needed</span>", "BBA6FA10B8AAB33D00000000000000000", "0x200000 – ",
		"Start processing: 2026-11-24T06:21:09Z", "The processing before", "Start processing: 2026-11-23T06:21:09Z", "assertion failed: cart.len() &gt; 0",
		`href="/api/ProcessedCrash/?crash_id=`+string(id)+`"`, `href="/api/RawCrash/?crash_id=`+string(id)+`"`, "linux_inline!func() [linux_inline.cpp:27] (inlined)", "There are no others.",
	)
	// Innermost first, then outwards.
	last := -1
	for _, f := range []string{">func() <", ">bar() <", ">foo() <", ">main<"} {
		i := strings.Index(p.body, f)
		if i < last {
			t.Errorf("%s is not where it belongs", f)
		}
		last = i
	}
	row := func(name, value, source string) string {
		return `<tr><th scope="row">` + name + `<td class="value">` + value + `<td class="soft">` + source
	}
	p.want(t, 200, row("product", "CrashApp", "annotation ProductName"), row("Winsock_LSP", "a long list\nof providers", "annotation"), row("uuid", string(id), "collector: id"),
		row("cpu_arch", "amd64", "rule Platform"), row("total_physical_memory", "33554432", "annotation TotalPhysicalMemory"))
	p.without(t, "cart is empty", "breadcrumbs", `<th scope="row">ProductName<`, `<th scope="row">json_dump`, "http-equiv")
	admin := r.get("/report/"+string(id), r.asAdmin())
	admin.want(t, 200, row("user_comments", "it broke when I opened my letter", "annotation Comments"), row("my-own-key", "protected since unknown", "annotation"),

		`<a href="#breadcrumbs">Breadcrumbs <small>3</small>`,
		`title="1796104866.5">0 s before<td><span class="tag bad">error</span><td class="soft">cart<td class="value">cart is empty
<tr><td class="t" title="2026-12-01T06:00:01Z">1 min 6 s before<td><span class="tag warn">warning</span><td class="soft">http<td class="value">GET<dl><dt>status<dd>503</dl>
<tr><td class="t" title="2026-12-01T05:58:01">3 min 6 s before<td><span class="tag quiet">info</span><td class="soft">route <span class="sub">navigation</span><td class="value"><dl><dt>from<dd>/&lt;shop&gt;<dt>to<dd>/cart</dl>`,
		row("report_id", "83e6ce16-f67b-456c-ad43-22cb77180419", "Crashpad, client"))
	admin.without(t, `<th scope="row">breadcrumbs<`, `<th scope="row">Breadcrumbs<`)

	for path, to := range map[string]string{
		"/report/bp-" + string(id):                        "/report/" + string(id),
		"/report/ABCDEF01-0000-4000-8000-000000261124":    "/report/abcdef01-0000-4000-8000-000000261124",
		"/report/?id=+bp-" + string(id) + "+":             "/report/" + string(id),
		"/report/" + url.PathEscape("BP-"+string(id)+" "): "/report/" + string(id),
	} {
		if p := r.get(path); p.Header.Get("Location") != to || p.StatusCode/100 != 3 {
			t.Errorf("%s: status %d, to %q, want %q", path, p.StatusCode, p.Header.Get("Location"), to)
		}
	}
	r.get("/report/"+string(r.newID(now))).want(t, 404, "There is no crash with this id.", `<a href="/">`)
	r.get("/report/x").want(t, 404, "This is not a crash id.")
	r.get("/report/?id=x").want(t, 400, "is not a crash id")
}

// TestFields: the catalogue, whole, for anybody.
func TestFields(t *testing.T) {
	p := newRig(t, nil).get("/fields")
	p.want(t, 200, `<tr><th scope="row">product<td class="id">ProductName<td class="soft">string<td><span class="tag quiet">readers</span><td class="soft">Firefox<td>The product.`,
		`<tr><th scope="row">cpu_count<td class="id"><td class="soft">integer<td><span class="tag quiet">readers</span><td class="soft">rule Platform<td>`,
		`<tr><th scope="row"><td class="id">Email<td class="soft">string<td>nobody<td class="soft">Firefox<td>`)
	for _, f := range crash.Fields() {
		if !strings.Contains(p.body, html.EscapeString(f.Description)) {
			t.Errorf("%+v", f)
		}
	}
}

// TestJavaReport: exceptions stand where the stack does, their messages only for those who may see them.
func TestJavaReport(t *testing.T) {
	r := newRig(t, nil)
	id := r.newID(now)
	r.putProcessed(id, map[string]any{"signature": "java.lang.NullPointerException: at org.demo.Store.load(Store.kt)",
		"java_exception": javaException(nil), "java_exception_raw": javaException("name of <somebody>\nis null")})
	page := func(message string) []string {
		return []string{
			`<span class="bad"><b>java.lang.NullPointerException</b></span>`, `<a href="#java">Exception</a>`, `Exception <small>2 in all`,
			`<h3 class="thrown root"><span class="tag">root cause</span> <b>java.lang.NullPointerException</b>` + message + `</h3>`,
			`<tr class="top"><td class="n">0<td class="fn">org.demo.Store.load<td class="src">Store.kt:41
<tr><td class="n">1<td class="fn no">jdk.Method.invoke0<td class="src">native method`,
			`<h3 class="thrown"><span class="tag quiet">caused by the one above</span> <b>org.demo.Failed&lt;T&gt;</b>` + message + `</h3>`,
			`<summary>1 suppressed</summary>`, `<b>a.Closed</b></h3>`, "It came without frames.",
		}
	}
	p := r.get("/report/" + string(id))
	p.want(t, 200, page("")...)
	p.without(t, "somebody", `id="stack"`, `<th scope="row">java_exception`)
	r.get("/report/"+string(id), r.asAdmin()).want(t, 200, page(`<span class="said">name of &lt;somebody&gt;
is null</span>`)...)
}

// TestReportParts are crashes that lack something.
func TestReportParts(t *testing.T) {
	r := newRig(t, nil)
	for name, tt := range map[string]struct {
		doc     map[string]any
		want    []string
		without []string
	}{
		"nothing":       {map[string]any{}, []string{"No signature", "No dump was walked.", "The raw crash is not to be had"}, []string{"Why this signature", "Other threads", "like this"}},
		"no dump":       {map[string]any{"mdsw_status_string": "MissingMinidump"}, []string{"The dump is not stored any more."}, nil},
		"unreadable":    {map[string]any{"mdsw_status_string": "UnreadableMinidump"}, []string{"The dump cannot be read."}, nil},
		"no thread":     {map[string]any{"json_dump": map[string]any{"threads": []any{map[string]any{"thread_name": "worker", "frames": []any{}}}}}, []string{"The dump does not say which thread crashed.", "Thread 0 · worker", "No frames."}, nil},
		"wrong types":   {map[string]any{"json_dump": map[string]any{"threads": "x", "modules": 5, "crash_info": []any{}}, "signature": 5, "signature_steps": map[string]any{}, "uptime": "x", "processor_history": 3}, []string{"<h1 class=\"name\">5</h1>", "The dump lists none."}, nil},
		"foreign steps": {map[string]any{"signature_steps": []any{map[string]any{"verdict": "prefix", "rule": "x"}, 5, map[string]any{"rule": "R", "before": "a", "after": "b"}}}, []string{"<ol><li>R: "}, nil},
		"unloaded": {map[string]any{"json_dump": map[string]any{"crashing_thread": map[string]any{"frames": []any{map[string]any{"frame": 0, "offset": "0x10", "no_name_reason": "no module",
			"unloaded_modules": []any{map[string]any{"module": "a.dll"}, map[string]any{"module": "b.dll"}}}}}}}, []string{"0x10<span class=\"reason\">no module; unloaded by then: a.dll, b.dll</span>"}, nil},
		"sources": {map[string]any{"json_dump": map[string]any{"crashing_thread": map[string]any{"frames": []any{map[string]any{"frame": 0, "function": "f", "file": `C:\src\x.cc`, "line": 7},
			map[string]any{"frame": 1, "function": "g", "file": "hg:hg.example.org/repo:dir/y.cc:abc123", "line": 8}}}}}, []string{`title="C:\src\x.cc">x.cc:7<`, `title="hg:hg.example.org/repo:dir/y.cc:abc123">y.cc:8<`}, nil},
		"damaged symbols": {map[string]any{"json_dump": map[string]any{"modules": []any{map[string]any{"filename": "m", "corrupt_symbols": true, "symbols_reason": "line 3"}}}}, []string{`<span class="tag bad">damaged</span><span class="reason">line 3</span>`, "1 with damaged ones"}, nil},
		"findings": {map[string]any{"json_dump": map[string]any{"crash_info": map[string]any{"adjusted_address": map[string]any{"kind": "non-canonical", "address": "0xdead"}, "instruction": "mov eax, [rsi]",
			"memory_accesses": []any{map[string]any{"address": "0x8", "size": 4, "access_type": "Write"}}}}}, []string{"The code used 0xdead", "<code>mov eax, [rsi]</code>", "It wrote 4 bytes at 0x8."}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			id := r.newID(now)
			r.putProcessed(id, tt.doc)
			p := r.get("/report/" + string(id))
			p.want(t, 200, tt.want...).without(t, tt.without...)
		})
	}
	id := r.newID(now)
	r.putProcessed(id, map[string]any{"product": "P", "version": "1"})
	r.putRaw(id, map[string]any{"prod": "P", "_version": "1", "ver": nil})
	r.get("/report/"+string(id)).want(t, 200, `product<td class="value">P<td class="soft">annotation prod`, `version<td class="value">1<td class="soft">annotation _version`, "<title>Crash "+string(id)).without(t, ">ver<")
	id = r.newID(now)
	if err := blob.Put(t.Context(), r.config.Store, id.ProcessedKey(), strings.NewReader("{")); err != nil {
		t.Fatal(err)
	}
	r.get("/report/"+string(id), r.asAdmin()).want(t, 200, "This report is damaged", "Process again", "Processed JSON")
}

func TestWaiting(t *testing.T) {
	r := newRig(t, nil)
	for state, want := range map[string]string{"": "This crash has arrived", "waiting": "Waiting to be processed", "running": "Being processed", "again": "the next is in 1 min 0 s", "parked": "Processing failed"} {
		p := r.get("/report/" + string(r.waiting(state)))
		p.want(t, 200, want, "Raw JSON")
		if got := strings.Contains(p.body, `http-equiv="refresh" content="5"`); got != (state != "parked") {
			t.Errorf("%q: refresh %v", state, got)
		}
		p.without(t, "SECRETUSER")
	}
	// A crash that is there already and is processed again.
	id := r.waiting("waiting")
	r.putProcessed(id, r.doc(id))
	r.get("/report/"+string(id)).want(t, 200, "Waiting to be processed.", "Look again", "func()").without(t, "http-equiv")
}

func TestReprocess(t *testing.T) {
	r := newRig(t, nil)
	id := r.demo()
	path := "/report/" + string(id) + "/reprocess"
	r.post(path, nil).want(t, 403, "Log in")
	if _, err := r.config.Queue.Get(t.Context(), processor.Job, string(id)); err == nil {
		t.Fatal("a job although it was refused")
	}
	_, viewer, err := r.config.Gate.Create(t.Context(), "viewer", access.ViewProtected, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	r.post(path, nil, "Auth-Token: "+viewer).want(t, 403, "does not have the permission reprocess")
	p := r.post(path, nil, r.asAdmin())
	if p.want(t, 303); p.Header.Get("Location") != "/report/"+string(id) {
		t.Errorf("to %q", p.Header.Get("Location"))
	}
	if _, err := r.config.Queue.Get(t.Context(), processor.Job, string(id)); err != nil {
		t.Errorf("no job: %v", err)
	}
	r.post("/report/"+string(r.newID(now))+"/reprocess", nil, r.asAdmin()).want(t, 404, "no crash with this id")
	cookie := r.login(t)
	r.post(path, nil, cookie, "Sec-Fetch-Site: cross-site").want(t, 403)
	r.post(path, nil, cookie, "Sec-Fetch-Site: same-origin").want(t, 303)
}

func TestSignature(t *testing.T) {
	r := newRig(t, nil)
	id := r.demo()
	r.get("/signature/?signature=func+%7C+bar+%7C+foo+%7C+main&days=14").want(t, 200, "<b>56</b> in 14 days", "<b>56</b> ever", `first <b><time datetime="2026-11-18T11:24:00Z">`, `last <b><time datetime="2026-11-24T11:53:00Z">`,
		"Debian 11", "100 %", `<rect width="100" height="8"/>`, `href="/report/`+string(id)+`">bp-`+string(id), "the first 50 of 56")
	r.get("/signature/?signature=nothing").want(t, 404, "No crash has this signature.")
	r.get("/signature/").want(t, 404, "No crash has this signature.")
	old := r.newID(now)
	r.index(old, now.AddDate(0, -6, 0), map[string]string{"signature": "old"})
	r.get("/signature/?signature=old").want(t, 200, "None in the last 28 days", "<b>1</b> ever")
}

func TestSymbols(t *testing.T) {
	r := newRig(t, nil)
	r.get("/symbols").want(t, 200, "No symbol file has been uploaded yet.", "No crash lacks symbols.")
	r.demo()
	p := r.get("/symbols")
	p.want(t, 200, "linux_inline", "names, lines and inlines; unwind rules", "names and lines; unwind rules", "function names; unwind rules", "3.0 MiB", "code id 5A9832E54000", "793.3 KiB", "1.0 GiB",
		"libstdc&#43;&#43;.so.6", `<td class="num">3`, `curl -H "Auth-Token: TOKEN" -T`)
	if strings.Index(p.body, "libstdc") > strings.Index(p.body, "ld-linux") {
		t.Error("the module that most crashes lack is not the first")
	}
	r.get("/symbols?q=CRASH_app").want(t, 200, "crash_app.pdb", `value="CRASH_app"`).without(t, "linux_inline<")
	r.get("/symbols?q=%25").want(t, 200, "No file or id contains this.")
	r.get("/symbols?q="+strings.Repeat("x", 300)).want(t, 400, "The parameter q is longer")
}

func TestOpen(t *testing.T) {
	r := newRig(t, nil)
	r.get("/open").want(t, 200, `enctype="multipart/form-data"`, "module+0xoffset", "/open.js")
	form, kind := dumpForm("my.dmp", "MDMP")
	p := r.do("POST", "/open", form, kind)
	p.want(t, 200, "<h1 class=\"name\">SIGILL / ILL_ILLOPN</h1>", "my.dmp", "not stored", "at <b>0x2161b6</b>", ">func() <", "72 cores", "report_id")
	p.without(t, "/reprocess", "/api/")
	for info, err := range r.config.Store.List(t.Context(), "", "") {
		t.Errorf("stored: %v %v", info, err)
	}
	form, kind = dumpForm("bad.dmp", "bad")
	r.do("POST", "/open", form, kind).want(t, 422, "This is no minidump.", `enctype="multipart/form-data"`)
	form, kind = dumpForm("", "")
	r.do("POST", "/open", form, kind).want(t, 400, "Choose a dump first.")
	r.do("POST", "/open", strings.NewReader("--x\r\nbroken"), "Content-Type: multipart/form-data; boundary=x").want(t, 400, "The form cannot be read.")
	r.post("/open", url.Values{"dump": {"x"}}).want(t, 400, "Send the dump as a file of a form")
	form, kind = dumpForm("my.dmp", "MDMP")
	r.do("POST", "/open", form, kind, "Sec-Fetch-Site: cross-site").want(t, 403)
	r.post("/open/text", url.Values{"text": {"a+0x1\r\nb\u202e"}}).want(t, 200, "answer: a&#43;0x1\nb⟨U&#43;202E⟩", ">\na&#43;0x1")
	r.post("/open/text", url.Values{"text": {"bad"}}).want(t, 400, "There is nothing to symbolicate.")
	r.post("/open/text", url.Values{"text": {strings.Repeat("x", 1<<20)}}).want(t, 413)
	r.get("/open/text").want(t, 200, "Open a dump")

	none := newRig(t, func(c *web.Config) { c.Walk, c.Symbolicate = nil, nil })
	none.get("/open").want(t, 200, "This server does not open dumps.").without(t, "<textarea", `type="file"`, ".js")
	form, kind = dumpForm("my.dmp", "MDMP")
	none.do("POST", "/open", form, kind).want(t, 404)
	none.post("/open/text", url.Values{"text": {"x"}}).want(t, 404)
	broken := newRig(t, func(c *web.Config) {
		c.Walk = func(context.Context, []byte) (map[string]any, error) { return nil, fmt.Errorf("disk /secret/path") }
	})
	form, kind = dumpForm("my.dmp", "MDMP")
	broken.do("POST", "/open", form, kind).want(t, 500, "Something went wrong.").without(t, "/secret/path", "<form")
}

// everyPage are the paths of all kinds of pages, over the demo.
func everyPage(r *rig) []string {
	id := r.demo()
	return []string{"/", "/?product=Shop&days=7", "/report/" + string(id), "/report/" + string(r.waiting("")), "/report/" + string(r.waiting("parked")), "/report/x", "/signature/?signature=" + url.QueryEscape("func | bar | foo | main"),
		"/signature/", "/symbols", "/open", "/login"}
}

// TestHeaders checks what all pages have in common.
func TestHeaders(t *testing.T) {
	r := newRig(t, nil)
	inline := regexp.MustCompile(`(?i)<[^>]*\s(style|on[a-z]+)\s*=|<style|<script(?: [^>]*)?>[^<]|https?://[^ <"]*\.(css|js|svg)|javascript:`)
	for _, path := range everyPage(r) {
		p := r.get(path, r.asAdmin())
		policy := "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
		if path == "/open" {
			policy += "; script-src 'self'"
		}
		for name, want := range map[string]string{
			"Content-Security-Policy": policy, "Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
			"Content-Length": fmt.Sprint(len(p.body)),
		} {
			if got := p.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if m := inline.FindString(p.body); m != "" {
			t.Errorf("%s: the policy does not allow %q", path, m)
		}
		for what, n := range map[string]int{"<h1": 1, "<main": 1, "<header": 1, " · Salvage</title>": 1} {
			if got := strings.Count(p.body, what); got != n {
				t.Errorf("%s: %d times %s", path, got, what)
			}
		}
		if strings.Count(p.body, "<th scope=") != strings.Count(p.body, "<th")-strings.Count(p.body, "<thead") {
			t.Errorf("%s: a table header without scope", path)
		}
		if strings.Contains(p.body, "<table") && strings.Count(p.body, "<tr") > strings.Count(p.body, "<td")+strings.Count(p.body, "<th ") {
			t.Errorf("%s: empty rows", path)
		}
	}
}

// TestLinks follows every link of every page.
func TestLinks(t *testing.T) {
	r := newRig(t, nil)
	seen := map[string]bool{}
	for _, path := range everyPage(r) {
		body := r.get(path, r.asAdmin()).body
		for _, m := range regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
			to := html.UnescapeString(m[1])
			if fragment, ok := strings.CutPrefix(to, "#"); ok {
				if !strings.Contains(body, `id="`+fragment+`"`) {
					t.Errorf("%s links to #%s, which is not there", path, fragment)
				}
				continue
			}
			if seen[to] || strings.HasPrefix(to, "/api/") || strings.HasSuffix(to, "/reprocess") || to == "/logout" || to == "/report/" {
				continue
			}
			seen[to] = true
			if len(seen) > 150 && strings.HasPrefix(to, "/report/") { // more of the same: without a document here
				continue
			}
			to, fragment, _ := strings.Cut(to, "#")
			p := r.get(to, r.asAdmin())
			if fragment != "" && !strings.Contains(p.body, `id="`+fragment+`"`) {
				t.Errorf("%s links to #%s of %s, which is not there", path, fragment, to)
			}
			if p.StatusCode != 200 && !(p.StatusCode == 404 && strings.HasPrefix(to, "/report/")) {
				t.Errorf("%s links to %s: status %d", path, to, p.StatusCode)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d links", len(seen))
	}
}

func TestStatic(t *testing.T) {
	r := newRig(t, nil)
	base := regexp.MustCompile(`/static/[0-9a-f]{16}`).FindString(r.get("/").body)
	for name, kind := range map[string]string{"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml", "open.js": "text/javascript; charset=utf-8"} {
		p := r.get(base + "/" + name)
		p.want(t, 200)
		if p.Header.Get("Content-Type") != kind || p.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || len(p.body) < 100 {
			t.Errorf("%s: %v, %d bytes", name, p.Header, len(p.body))
		}
		if p := r.get("/static/older/" + name); p.StatusCode != 200 || p.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s of another version: %d %v", name, p.StatusCode, p.Header)
		}
	}
	for _, path := range []string{base + "/none.css", base + "/..%2fstyle.css", base + "/..%2f..%2fweb.go", base + "/", "/static/"} {
		if p := r.get(path); p.StatusCode == 200 {
			t.Errorf("%s: %.60q", path, p.body)
		}
	}
}

// TestFailures has stores that do not answer: no page of ours, no detail.
func TestFailures(t *testing.T) {
	r := newRig(t, func(c *web.Config) {
		c.Store = failing{c.Store}
		c.Index = failingIndex{c.Index}
	})
	id := r.newID(now)
	for path, status := range map[string]int{"/": 503, "/signature/?signature=x": 503, "/report/" + string(id): 503} {
		p := r.get(path)
		p.want(t, status, "try again")
		p.without(t, "/secret/path")
		if p.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
}

type failing struct{ blob.Store }

func (failing) Get(context.Context, string) (_ io.ReadCloser, _ blob.Info, err error) {
	return nil, blob.Info{}, fmt.Errorf("/secret/path: %w", errs.Unavailable)
}

type failingIndex struct{ crashindex.Index }

func (failingIndex) Search(context.Context, crashindex.Query) (crashindex.Result, error) {
	return crashindex.Result{}, fmt.Errorf("/secret/path: %w", errs.Unavailable)
}

// TestTooLarge has a document that nobody should read into memory.
func TestTooLarge(t *testing.T) {
	r := newRig(t, func(c *web.Config) { c.Store = huge{c.Store} })
	r.get("/report/"+string(r.newID(now))).want(t, 200, "too large for a page", "It has 65.0 MiB", "Processed JSON")
}

type huge struct{ blob.Store }

func (huge) Get(context.Context, string) (io.ReadCloser, blob.Info, error) {
	return io.NopCloser(strings.NewReader("{}")), blob.Info{Size: 65 << 20}, nil
}

// TestLikeFails: a report is worth more than the number of its like.
func TestLikeFails(t *testing.T) {
	r := newRig(t, func(c *web.Config) { c.Index = failingIndex{c.Index} })
	id := crash.ID("00000001-0000-4000-8000-000000261124")
	r.putProcessed(id, r.doc(id))
	r.get("/report/"+string(id)).want(t, 200, "func()").without(t, "like this")
}
