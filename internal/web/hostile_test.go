package web_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"salvage/internal/access"
	"salvage/internal/crash"
	"salvage/internal/metadb"
	"salvage/internal/web"
)

// marker would break out of text and of attributes, hide, and turn what follows around.
const marker = "<xss \"xss 'xss\u202e\x1b\u200b"

// raw is what a page never has of it.
var raw = []string{"<xss", `"xss`, "'xss", "\u202e", "\x1b", "\u200b"}

// poison puts the marker behind every text in v.
func poison(v any) any {
	switch v := v.(type) {
	case string:
		return v + marker
	case map[string]any:
		for k, e := range v {
			v[k] = poison(e)
		}
	case []any:
		for i, e := range v {
			v[i] = poison(e)
		}
	}
	return v
}

// dumpForm is a form with a dump.
func dumpForm(name, dump string) (body *bytes.Buffer, contentType string) {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	_ = m.WriteField("other", "x")
	f, _ := m.CreateFormFile("dump", name)
	f.Write([]byte(dump))
	m.Close()
	return &b, "Content-Type: " + m.FormDataContentType()
}

func TestEscaping(t *testing.T) {
	r := newRig(t, func(c *web.Config) {
		walk := c.Walk
		c.Walk = func(ctx context.Context, dump []byte) (map[string]any, error) {
			d, err := walk(ctx, dump)
			return poison(d).(map[string]any), err
		}
	})
	id := r.newID(now)
	doc := r.doc(id)
	for _, f := range crash.Fields() {
		if f.Name != "" && doc[f.Name] == nil {
			doc[f.Name] = "x"
		}
	}
	doc["more"+marker] = "x"
	date := doc["date_processed"]
	doc = poison(doc).(map[string]any)
	doc["date_processed"] = date
	doc["processor_history"] = []string{"earlier" + marker}
	dump := doc["json_dump"].(map[string]any)
	dump["crash_info"].(map[string]any)["instruction"] = "mov" + marker
	dump["crash_info"].(map[string]any)["assertion"] = "assert" + marker
	dump["crash_info"].(map[string]any)["adjusted_address"] = map[string]any{"kind": "null-pointer", "offset": "8" + marker}
	dump["crash_info"].(map[string]any)["memory_accesses"] = []any{map[string]any{"address": "1" + marker, "size": 4, "access_type": "write"}}
	annotation := map[string]any{"name": "n" + marker, "value": "v" + marker}
	dump["crashpad"] = map[string]any{"annotations": []any{annotation}, "modules": []any{map[string]any{"module": "m" + marker, "annotations": []any{annotation}, "list": []any{"l" + marker}}}}
	r.putProcessed(id, doc)
	r.putRaw(id, map[string]any{"ProductName": "x" + marker, "Winsock_LSP": "x\n" + marker, "unknown" + marker: map[string]any{"a": marker}, "Add-ons": []any{marker}})
	r.index(id, now, map[string]string{"product": "p" + marker, "version": "v" + marker, "signature": "s" + marker, "reason": "r" + marker, "platform_pretty_version": "l" + marker})
	err := r.config.DB.Tx(t.Context(), func(tx *sql.Tx) error {
		m := marker
		if err := metadb.PutSymbol(t.Context(), tx, &metadb.Symbol{Key: "k", DebugFile: m, DebugID: m, CodeFile: m, CodeID: m, Name: m, Format: m, Arch: m, Uploader: m}); err != nil {
			return err
		}
		_, err := metadb.SetMissing(t.Context(), tx, "c", []metadb.Missing{{DebugID: m, Kind: metadb.Symcache, DebugFile: m, CodeFile: m, CodeID: m}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	form, kind := dumpForm("file"+marker, "MDMP")
	q := url.QueryEscape(marker)
	for name, p := range map[string]response{
		"home":      r.get("/", r.asAdmin()),
		"filtered":  r.get("/?product="+url.QueryEscape("p"+marker)+"&version="+url.QueryEscape("v"+marker), r.asAdmin()),
		"unknown":   r.get("/?product=" + q + "&version=" + q),
		"report":    r.get("/report/"+string(id), r.asAdmin()),
		"signature": r.get("/signature/?signature="+url.QueryEscape("s"+marker), r.asAdmin()),
		"none":      r.get("/signature/?signature=" + q),
		"symbols":   r.get("/symbols?q="+q, r.asAdmin()),
		"walked":    r.do("POST", "/open", form, kind),
		"text":      r.post("/open/text", url.Values{"text": {"x"}}),
		"login":     r.get("/login?next=" + url.QueryEscape("/?"+marker)),
		"refused":   r.post("/login", url.Values{"token": {marker}, "next": {"/?" + marker}}),
		"host":      r.get("/symbols", "Host: localhost\"xss<xss", r.asAdmin()),
		"id":        r.get("/report/" + url.PathEscape(marker)),
		"find":      r.get("/report/?id=" + q),
	} {
		t.Run(name, func(t *testing.T) {
			if p.StatusCode >= 500 {
				t.Fatalf("status %d\n%s", p.StatusCode, p.body)
			}
			// What a browser is to send back is in the form as it was.
			page := regexp.MustCompile(`value="[^"]*"|href="[^"]*"`).ReplaceAllString(p.body, "")
			for _, m := range raw {
				in := page
				if len(m) > 3 {
					in = p.body
				}
				if i := strings.Index(in, m); i >= 0 {
					t.Errorf("%q in …%s…", m, in[max(0, i-200):min(len(in), i+60)])
				}
			}
			t.Log(strings.Count(p.body, "&lt;xss"), "markers")
		})
	}
	report := r.get("/report/"+string(id), r.asAdmin())
	for _, s := range []string{"func()&lt;xss", "a.cpp&lt;xss", "no symbols for the module were found&lt;xss", "instruction", "mov&lt;xss", "assert&lt;xss", "1&lt;xss", "8&lt;xss", "l&lt;xss", "earlier&lt;xss", "⟨U&#43;202E⟩␛⟨U&#43;200B⟩"} {
		report.want(t, 200, s)
	}
	if n := strings.Count(report.body, "&lt;xss"); n < 300 {
		t.Errorf("only %d markers reached the page", n)
	}
}

// TestProtected looks for protected values in everything that the public can get.
func TestProtected(t *testing.T) {
	r := newRig(t, nil)
	id := r.demo()
	doc := r.doc(id)
	n := 0
	secret := func() string { n++; return fmt.Sprintf("PROTECTED-%d", n) }
	madeOf := map[string]bool{"Breadcrumbs": true, "JavaException": true, "JavaStackTrace": true}
	annotations, both := map[string]any{"Version": "1.0"}, 0
	for _, f := range crash.Fields() {
		if f.Protected && f.Name != "" {
			doc[f.Name] = secret()
		}
		if f.Protected && f.Annotation != "" {
			annotations[f.Annotation] = secret()
			if f.Name != "" || madeOf[f.Annotation] || f.Never {
				both++ // shown as the field, or not at all
			}
		}
	}
	doc["java_exception_raw"] = javaException(doc["java_exception_raw"])
	doc["java_exception"] = javaException(nil)
	doc["breadcrumbs"] = []any{map[string]any{"message": doc["breadcrumbs"]}}
	doc["a_field_of_tomorrow"], annotations["anything"] = secret(), secret()
	dump := doc["json_dump"].(map[string]any)
	dump["crashpad"] = map[string]any{"annotations": []any{map[string]any{"name": secret(), "value": secret()}}, "client_id": secret()}
	dump["mac_boot_args"], dump["soft_errors"] = secret(), secret()
	dump["crashing_thread"].(map[string]any)["frames"].([]any)[0].(map[string]any)["registers"] = map[string]any{"rip": secret()}
	r.putProcessed(id, doc)
	r.putRaw(id, annotations)
	// The parked job of the crash failed with a message that quotes something.
	parked := r.waiting("parked")

	admin := r.get("/report/"+string(id), r.asAdmin())
	admin.want(t, 200, "Download dump", "Process again")
	shown := map[string]bool{}
	for _, m := range regexp.MustCompile(`PROTECTED-\d+`).FindAllString(admin.body, -1) {
		shown[m] = true
	}
	// All but three things of the dump that no page shows, and annotations that are fields.
	if want := n - 3 - both; len(shown) != want {
		t.Errorf("an admin sees %d protected values, want %d", len(shown), want)
	}
	admin.without(t, "hidden: they may tell")
	model, err := r.web.ReportModel(t.Context(), id, access.Anonymous)
	if err != nil || strings.Contains(model, "PROTECTED") || !strings.Contains(model, "CrashApp") {
		t.Errorf("the page for the public is made of protected values, or not at all: %v %.200s", err, model)
	}
	public := r.get("/report/" + string(id))
	hidden := 0
	for _, f := range crash.Fields() {
		if f.Protected && !f.Never && !madeOf[f.Annotation] {
			hidden++
		}
	}
	// collector_metadata is among them; so are two that no catalogue knows.
	public.want(t, 200, fmt.Sprintf("%d protected values are hidden", hidden+2), "log in", "view_protected")
	public.without(t, "Download dump", "Process again", "a_field_of_tomorrow", "anything")
	r.get("/report/"+string(parked), r.asAdmin()).want(t, 200, "SECRETUSER", "given up after 5 attempts")
	r.get("/report/"+string(parked)).want(t, 200, "The reason is for those who may see protected data.")
	for _, path := range []string{"/", "/?product=CrashApp", "/report/" + string(id), "/report/" + string(parked), "/signature/?signature=" + url.QueryEscape("func | bar | foo | main"), "/symbols", "/open", "/login"} {
		r.get(path).without(t, "PROTECTED", "SECRETUSER", "build machine", "opened my letter", "bank.example")
	}
	r.get("/symbols", r.asAdmin()).want(t, 200, "by build machine")
}

// TestBounds gives pages more than they can show.
func TestBounds(t *testing.T) {
	r := newRig(t, nil)
	long := strings.Repeat("\"long\u202e", 400)
	frames := func(n int, name string) []any {
		out := make([]any, n)
		for i := range out {
			out[i] = map[string]any{"frame": i, "function": name, "file": name}
		}
		return out
	}
	threads := func(n, each int, name string) []any {
		out := make([]any, n)
		for i := range out {
			out[i] = map[string]any{"frames": frames(each, name)}
		}
		return out
	}
	inlines, deep := frames(3000, "i"), frames(300, "f")
	for i := range inlines {
		inlines[i].(map[string]any)["function"] = fmt.Sprintf("call-%d;", i)
	}
	for i := range deep {
		deep[i].(map[string]any)["inlines"] = frames(40, "i")
	}
	each := 5000
	if testing.Short() {
		each = 301
	}
	walks := map[string]map[string]any{
		"many": {"threads": threads(200, each, "f"), "crashing_thread": map[string]any{"frames": frames(5000, "f"), "threads_index": 0}},
		"long": {"threads": threads(30, 100, long), "crashing_thread": map[string]any{"frames": frames(300, long), "threads_index": 0}},
		"inlines": {"crashing_thread": map[string]any{"frames": []any{map[string]any{"frame": 0, "function": "outer", "inlines": inlines}, map[string]any{"frame": 9, "function": "far"}},
			"threads_index": 0, "total_frames": 12}},
	}
	modules := make([]any, 3000)
	for i := range modules {
		modules[i] = map[string]any{"filename": long, "missing_symbols": true, "symbols_reason": long}
	}
	walks["deep"] = map[string]any{"crashing_thread": map[string]any{"frames": deep}}
	walks["modules"] = map[string]any{"modules": modules}
	for name, parts := range map[string][]string{
		"many":    {"4,700 frames left out", "not shown: the page would be too long", "5,000 frames", "more threads are not shown"},
		"long":    {"more)", "not shown: the page would be too long"},
		"inlines": {"2,960 inlined calls left out", "8 frames left out", "12 frames, of which 2 were kept", ">outer<", ">far<"},
		"deep":    {"more frames not shown: the page would be too long"},
		"modules": {"2,000 more modules are not shown"},
	} {
		t.Run(name, func(t *testing.T) {
			id := r.newID(now)
			annotations := map[string]any{}
			if name == "long" {
				for i := range 3000 {
					annotations[fmt.Sprint("key", i)] = long
				}
			}
			r.putRaw(id, annotations)
			r.putProcessed(id, map[string]any{"json_dump": walks[name], "signature": long, "processor_notes": strings.Repeat(long, 1000)})
			p := r.get("/report/"+string(id), r.asAdmin())
			for _, part := range parts {
				p.want(t, 200, part)
			}
			last := -1
			for _, call := range []string{"call-0;", "call-29;", "2,960 inlined calls left out", "call-2990;", "call-2999;", ">outer<"} {
				if i := strings.Index(p.body, call); name == "inlines" && i <= last {
					t.Errorf("%s is not where it belongs", call)
				} else {
					last = i
				}
			}
			if n := strings.Count(p.body, `<td class="n">`); n > 3000+40+300 {
				t.Errorf("%d rows of stacks", n)
			}
			if len(p.body) > 12<<20 {
				t.Errorf("the page has %d bytes", len(p.body))
			}
			if n := strings.Count(p.body, "<tr"); n > 3000+1000+2000+1000 {
				t.Errorf("the page has %d rows", n)
			}
		})
	}
}

// FuzzWalk gives the view any JSON.
func FuzzWalk(f *testing.F) {
	f.Add(walkJSON(f))
	f.Add([]byte(`{"crash_info":{"crashing_thread":-1},"crashing_thread":{"threads_index":7,"frames":[{"frame":9223372036854775807,"inlines":{}},{"frame":-1}]},"threads":[null,1,{"frames":[[]]}]}`))
	f.Add([]byte(`{"threads":[{"total_frames":-5,"frames":[{"frame":3,"unloaded_modules":[{"module":"x"},{}]}]}],"modules":{"a":1},"system_info":3,"process_uptime":-9}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, characters, err := web.WalkRows(data)
		if err != nil && json.Valid(data) {
			t.Errorf("valid JSON is refused: %v", err)
		}
		if rows > 7000 || characters > 3_000_000 {
			t.Errorf("%d rows, %d characters", rows, characters)
		}
	})
}
