//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"salvage/debug/proguard"
	"salvage/internal/crash"
	"salvage/signature"
)

// javaCrash returns what examples/javacrash said of a crash.
func javaCrash(t *testing.T, archive, name string) string {
	t.Helper()
	a, err := txtar.ParseFile("../../examples/javacrash/testdata/" + archive)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	t.Fatalf("no %s", name)
	return ""
}

// TestJava sends a crash of a program that R8 has shrunk, and its mapping later: then the crash has the names,
// lines and signature of the program as it was. Crashes behind it have them at once, and need no UUID where R8
// has put the id of its mapping into the program.
func TestJava(t *testing.T) {
	const file = "../../examples/javacrash/testdata/mapping.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mapping := proguard.Identify(text)
	var plain signature.Crash
	if err := json.Unmarshal([]byte(`{"java_exception":`+javaCrash(t, "plain.txtar", "cascade.json")+`}`), &plain); err != nil {
		t.Fatal(err)
	}
	want := signature.Generate(&plain, nil).Signature
	s := serveProcess(t, t.TempDir(), "never", "--public-read")
	send := func(annotations map[string]string) crash.ID {
		t.Helper()
		var body bytes.Buffer
		m := multipart.NewWriter(&body)
		for name, value := range annotations {
			_ = m.WriteField(name, value)
		}
		m.Close()
		res, err := http.Post(s.url+"/submit", m.FormDataContentType(), &body)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		answer, _ := io.ReadAll(res.Body)
		return crash.ID(strings.TrimPrefix(strings.TrimSpace(string(answer)), "CrashID=bp-"))
	}
	shrunk := javaCrash(t, "shrunk.txtar", "cascade.json")
	early := send(map[string]string{"ProductName": "Shop", "ProguardUUID": mapping.ID.String(), "JavaException": shrunk})
	if got := processed(t, s, early)["signature"]; got == want || !strings.Contains(got.(string), ": at ") {
		t.Fatalf("without the mapping: %v", got)
	}
	var out, complaints bytes.Buffer
	if code := run([]string{"symbols", "put", filepath.Dir(file), "--server", s.url, "--token", adminToken}, nil, &out, &complaints); code != 0 ||
		!strings.Contains(out.String(), "as mapping.txt/"+mapping.ID.Breakpad()+"/mapping.txt") {
		t.Fatalf("%d %s%s", code, &out, &complaints)
	}
	for n := 0; processed(t, s, early)["signature"] != want; n++ {
		if n == 500 {
			t.Fatalf("%v, want %s\n%s", processed(t, s, early)["signature"], want, s.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if page := read(t, s.url+"/report/"+string(early)); !strings.Contains(page, "root cause") || !strings.Contains(page, `<td class="src">Main.java:`) {
		t.Errorf("the page: %.3000s", page)
	}
	byHash := strings.ReplaceAll(shrunk, `"SourceFile"`, `"r8-map-id-`+mapping.MapHash[:7]+`"`)
	for name, annotations := range map[string]map[string]string{
		"with an id in the program": {"JavaException": byHash},
		"as text":                   {"JavaStackTrace": javaCrash(t, "shrunk.txtar", "cascade.txt"), "ProguardUUID": mapping.ID.String()},
		"without any id":            {"JavaException": shrunk},
		"with the wrong id":         {"JavaException": shrunk, "ProguardUUID": "no id"},
	} {
		got := processed(t, s, send(annotations))["signature"]
		if strings.HasPrefix(name, "without") || strings.HasPrefix(name, "with the wrong") {
			if got == want {
				t.Errorf("%s: it has names", name)
			}
		} else if got != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
	if res, err := http.Get(s.url + "/mapping.txt/" + mapping.ID.Breakpad() + "/mapping.txt"); err != nil || res.StatusCode != 200 {
		t.Errorf("download: %v %v", res, err)
	}
	if page := read(t, s.url+"/symbols"); !strings.Contains(page, "names of Java") {
		t.Error("the list does not say what a mapping gives")
	}
}
