//go:build unix

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"salvage/internal/crash"
	"salvage/internal/debugtest"
)

// TestLeaks sends crashes whose e-mail fields, protected fields and exception messages hold markers. Those of
// e-mail fields are nowhere afterwards, for any reader, on disk or in the log. The others are in no log, and in
// nothing that a reader without permission gets.
func TestLeaks(t *testing.T) {
	const email, secret = "EMAILMARK", "PROTECTEDMARK"
	folder := t.TempDir()
	s := serveProcess(t, folder, "never", "--public-read", "--collector-rate", "0")
	annotations := map[string]any{"ProductName": "Leak", "Version": "1.0", "an unknown one": secret, "another": map[string]any{"x": secret}}
	for _, f := range crash.Fields() {
		switch {
		case f.Never:
			annotations[f.Annotation], annotations[strings.ToUpper(f.Annotation)] = email+"@example.org", email+"@example.org"
		case f.Annotation != "" && f.Protected:
			annotations[f.Annotation] = secret
		}
	}
	annotations["MozCrashReason"] = "byte index " + secret // which is the form that has data of users (crash-pipeline.md §2.3)
	annotations["Breadcrumbs"] = `[{"message":"` + secret + `","category":"` + secret + `","data":{"` + secret + `":"` + secret + `"}}]`
	annotations["JavaException"] = `{"exception":{"values":[{"stacktrace":{"type":"IllegalStateException","module":"java.lang","value":"` + secret +
		`","frames":[{"module":"org.demo.App","function":"start","in_app":true,"lineno":14,"filename":"App.kt"}]}}]}}`
	var ids []string
	for _, kind := range []string{"fields", "extra", "gzip", "malformed"} {
		// A dump that cannot be walked, one that can, and no dump.
		dump := []byte("MDMP no dump")
		if kind == "fields" {
			dump = debugtest.File(t, "rust-minidump/simple-crashpad.dmp")
		}
		var body bytes.Buffer
		m := multipart.NewWriter(&body)
		if kind == "extra" {
			text, err := json.Marshal(annotations)
			if err != nil {
				t.Fatal(err)
			}
			part, _ := m.CreatePart(map[string][]string{"Content-Disposition": {`form-data; name="extra"`}, "Content-Type": {"application/json"}})
			part.Write(text)
		}
		for name, value := range annotations {
			if text, ok := value.(string); ok && kind != "extra" {
				if kind == "malformed" && (name == "Breadcrumbs" || name == "JavaException") {
					text = "[" + secret
				}
				_ = m.WriteField(name, text)
			}
		}
		if kind == "malformed" {
			_ = m.WriteField("JavaStackTrace", "java.lang.Error: "+secret+"\n\tat a.B.c(B.java:1)\nCaused by: x.Y: "+secret+"\n\tat d.E.f(E.java:2)\n")
		}
		part, _ := m.CreateFormFile(crash.MinidumpName, "x.dmp")
		part.Write(dump)
		m.Close()
		r, err := http.NewRequest("POST", s.url+"/submit", &body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", m.FormDataContentType())
		if kind == "gzip" {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			body.WriteTo(z)
			z.Close()
			r.Body, r.ContentLength = io.NopCloser(&packed), int64(packed.Len())
			r.Header.Set("Content-Encoding", "gzip")
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		id, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "CrashID=bp-")
		if !ok {
			t.Fatalf("%s: %s", kind, text)
		}
		ids = append(ids, id)
	}
	get := func(path, token string) string {
		t.Helper()
		r, err := http.NewRequest("GET", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Auth-Token", token)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(res.StatusCode, " ", string(text))
	}
	paths := []string{"/", "/?product=Leak", "/symbols", "/fields", "/open", "/login", "/metrics", "/__heartbeat__", "/api/symbols/"}
	notes := ""
	for _, id := range ids {
		for n := 0; !strings.HasPrefix(get("/api/ProcessedCrash/?crash_id="+id, ""), "200"); n++ {
			if n == 500 {
				t.Fatalf("%s is not processed\n%s", id, s.log)
			}
			time.Sleep(20 * time.Millisecond)
		}
		var doc struct{ Signature, Notes string }
		text := get("/api/ProcessedCrash/?crash_id="+id, "")
		if err := json.Unmarshal([]byte(text[4:]), &doc); err != nil {
			t.Fatal(err)
		}
		notes += text
		paths = append(paths, "/report/"+id, "/report/bp-"+id, "/signature/?signature="+url.QueryEscape(doc.Signature), "/api/ProcessedCrash/?crash_id="+id,
			"/api/RawCrash/?crash_id="+id, "/api/RawCrash/?crash_id="+id+"&format=raw")
	}
	if !strings.Contains(notes, "Breadcrumbs: malformed") {
		t.Error("nothing was malformed")
	}
	seen := 0
	for _, path := range paths {
		if text := get(path, ""); strings.Contains(text, secret) || strings.Contains(text, email) {
			i := max(strings.Index(text, secret), strings.Index(text, email))
			t.Errorf("%s: …%s…", path, text[max(0, i-200):min(len(text), i+100)])
		}
		all := get(path, adminToken)
		seen += strings.Count(all, secret)
		if i := strings.Index(all, email); i >= 0 {
			t.Errorf("%s, with the token: …%s…", path, all[max(0, i-200):i+20])
		}
	}
	if seen < 100 {
		t.Errorf("the markers are hardly anywhere: %d", seen)
	}
	s.stop(os.Interrupt)
	if i := bytes.Index(s.log.Bytes(), []byte("MARK")); i >= 0 {
		t.Errorf("in the log: …%s…", s.log.Bytes()[max(0, i-300):i+20])
	}
	kept := 0
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			kept++
		}
		if bytes.Contains(data, []byte(email)) {
			t.Errorf("%s has it", path)
		}
		return err
	})
	if err != nil || kept < len(ids) {
		t.Errorf("protected values are in %d files: %v", kept, err)
	}
}
