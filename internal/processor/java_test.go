package processor_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"salvage/debug/proguard"
	"salvage/internal/crash"
	"salvage/internal/processor"
	"salvage/signature"
)

// javaRecorded returns what examples/javacrash reported.
func javaRecorded(t *testing.T, name string) map[string]string {
	t.Helper()
	archive, err := txtar.ParseFile("../../examples/javacrash/testdata/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	return files
}

func javaMapping(t *testing.T) *proguard.Mapping {
	t.Helper()
	data, err := os.ReadFile("../../examples/javacrash/testdata/mapping.txt")
	if err != nil {
		t.Fatal(err)
	}
	m, err := proguard.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// javaSignature is that of the public document.
func javaSignature(t *testing.T, doc map[string]any) string {
	t.Helper()
	public, err := json.Marshal(doc["java_exception"])
	if err != nil {
		t.Fatal(err)
	}
	var c signature.Crash
	if err := json.Unmarshal([]byte(`{"java_exception":`+string(public)+`}`), &c); err != nil {
		t.Fatal(err)
	}
	return signature.Generate(&c, nil).Signature
}

// A shrunk crash with its mapping has the frames that R8's retrace tool gives it, and the signature of the
// same crash of the program as it was; so has its text.
func TestJavaRetraced(t *testing.T) {
	m := javaMapping(t)
	plain, shrunk, retraced := javaRecorded(t, "plain"), javaRecorded(t, "shrunk"), javaRecorded(t, "retraced")
	n := 0
	for file, text := range shrunk {
		name, ok := strings.CutSuffix(file, ".txt")
		if !ok || name == "message" { // which looks like frames
			continue
		}
		n++
		doc, notes := processor.Java(map[string]any{"JavaException": shrunk[name+".json"], "JavaStackTrace": text}, crash.JavaOrder{}, m)
		if len(notes) > 0 {
			t.Errorf("%s: %q", name, notes)
		}
		before, _ := processor.Java(map[string]any{"JavaException": plain[name+".json"]}, crash.JavaOrder{}, nil)
		got, want := javaSignature(t, doc), javaSignature(t, before)
		if got != want {
			t.Errorf("%s: %q, of the program as it was %q", name, got, want)
		}
		fromText, _ := processor.Java(map[string]any{"JavaStackTrace": text}, crash.JavaOrder{}, m)
		if sig := javaSignature(t, fromText); sig != got {
			t.Errorf("%s: %q of the text, %q of the structure", name, sig, got)
		}
		// The text of the tool, parsed. Common frames are counted before retracing, so only those of the
		// exceptions as a whole can be compared: the frames of each that stand in its own lines.
		e := fromText["java_exception"].(*crash.JavaException)
		tool, err := crash.ParseJavaStackTrace(retraced[file])
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range tool.Public().Values {
			if ours := e.Values[i]; ours.Class() != v.Class() || len(ours.Frames) == 0 && len(v.Frames) > 0 {
				t.Errorf("%s: %s, retrace %s", name, ours.Class(), v.Class())
			}
		}
		for i, s := range tool.Values[0].Suppressed {
			ours := e.Values[0].Suppressed[i].Values
			if outer := len(ours) - 1; fmt.Sprint(ours[outer].Frames) != fmt.Sprint(s.Values[outer].Frames) {
				t.Errorf("%s: suppressed\n%v\nretrace\n%v", name, ours[outer].Frames, s.Values[outer].Frames)
			}
		}
		last, want2 := e.Values[len(e.Values)-1], tool.Values[len(tool.Values)-1]
		if fmt.Sprint(last.Frames) != fmt.Sprint(want2.Frames) {
			t.Errorf("%s:\n%v\nretrace\n%v", name, last.Frames, want2.Frames)
		}
	}
	if n != 16 {
		t.Errorf("%d crashes", n)
	}
}

func TestJavaRule(t *testing.T) {
	const exception = `{"exception":{"values":[{"stacktrace":{"type":"E","module":"a","value":"SECRET","frames":[{"module":"c.D","function":"e","lineno":1}]}}]}}`
	const trace = "x.Y: SECRET\n\tat z.Z.z(Z.java:1)\n"
	for _, tt := range []struct{ name, exception, trace, signature, stack, notes string }{
		{"both", exception, trace, "a.E: at c.D.e", "x.Y\n\tat z.Z.z(Z.java:1)\n", ""},
		{"text alone", "", trace, "x.Y: at z.Z.z(Z.java)", "x.Y\n\tat z.Z.z(Z.java:1)\n", ""},
		{"structure alone", exception, "", "a.E: at c.D.e", "", ""},
		{"malformed structure", `{"exception":[]}`, trace, "x.Y: at z.Z.z(Z.java)", "x.Y\n\tat z.Z.z(Z.java:1)\n", "JavaException value is malformed java_exception"},
		{"no JSON", `SECRET`, "", "", "", "JavaException value is malformed json"},
		{"empty structure", `{}`, trace, "x.Y: at z.Z.z(Z.java)", "x.Y\n\tat z.Z.z(Z.java:1)\n", "JavaException has no exception"},
		{"malformed text", exception, "x\n\tat a.b.c(d)\nSECRET", "a.E: at c.D.e", "malformed", "JavaStackTrace: malformed JavaStackTrace"},
		{"neither", "", "", "", "", ""},
	} {
		doc, notes := processor.Java(map[string]any{"JavaException": tt.exception, "JavaStackTrace": tt.trace}, crash.JavaOrder{}, nil)
		if got, _ := doc["java_stack_trace"].(string); got != tt.stack || strings.Join(notes, "\n") != tt.notes {
			t.Errorf("%s: %q, notes %q", tt.name, got, notes)
		}
		if (doc["java_exception"] != nil) != (tt.signature != "") || (doc["java_exception_raw"] != nil) != (tt.signature != "") {
			t.Errorf("%s: %v", tt.name, doc)
		}
		if tt.signature != "" {
			if got := javaSignature(t, doc); got != tt.signature {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.signature)
			}
			raw, err := json.Marshal(doc["java_exception_raw"])
			public, err2 := json.Marshal(doc["java_exception"])
			if err != nil || err2 != nil || !strings.Contains(string(raw), "SECRET") || strings.Contains(string(public)+fmt.Sprint(doc["java_stack_trace"]), "SECRET") {
				t.Errorf("%s: %s, %s", tt.name, raw, public)
			}
		}
	}
	doc, notes := processor.Java(map[string]any{"JavaStackTrace": "B\n" + strings.Repeat("\tat a.b.c(d)\n", 5000)}, crash.JavaOrder{}, nil)
	if doc["java_exception"].(*crash.JavaException).Omitted != 904 || strings.Join(notes, "") != "JavaException: 904 frames and exceptions are left out" {
		t.Errorf("notes %q", notes)
	}
}

// Retracing adds frames; how many is bounded.
func TestJavaRetraceBounds(t *testing.T) {
	m, err := proguard.Parse([]byte("p.C -> c:\n" + strings.Repeat("    1:1:void f():1:1 -> a\n", 100) + "    2:2:void g(int):5:6 -> a\np.E -> q.q:\np.F -> r:\n"))
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := processor.Java(map[string]any{"JavaStackTrace": "q.q\n" + strings.Repeat("\tat c.a(S:1)\n", 200)}, crash.JavaOrder{}, m)
	e := doc["java_exception"].(*crash.JavaException)
	if len(e.Values[0].Frames) != 8192 || e.Omitted != 200*100-8192 || e.Values[0].Class() != "p.E" {
		t.Errorf("%d frames of %s, %d omitted", len(e.Values[0].Frames), e.Values[0].Class(), e.Omitted)
	}
	// What is sent twice is a class without a package, or a class and a package of one name.
	for class, want := range map[string]string{"q": "p.E", "r": "p.F", "s": "s.s"} {
		doc, _ := processor.Java(map[string]any{"JavaException": fmt.Sprintf(`{"exception":{"values":[{"stacktrace":{"type":%q,"module":%q}}]}}`, class, class)}, crash.JavaOrder{}, m)
		if got := doc["java_exception"].(*crash.JavaException).Values[0].Class(); got != want {
			t.Errorf("%s was %s, want %s", class, got, want)
		}
	}
	_, notes := processor.Java(map[string]any{"JavaStackTrace": "x\n\tat c.a(S)\n"}, crash.JavaOrder{}, m)
	if strings.Join(notes, "") != "retrace: 1 Java frames may have been others too" {
		t.Errorf("%q", notes)
	}
}

func TestJavaOrders(t *testing.T) {
	orders, err := processor.ParseJavaOrders(" A = outermost-first + newest-frame-first, B=oldest-frame-first,C=root-first,")
	if err != nil || len(orders) != 3 || orders["A"] != (crash.JavaOrder{OutermostFirst: true}) || orders["B"] != (crash.JavaOrder{OldestFrameFirst: true}) || orders["C"] != (crash.JavaOrder{}) {
		t.Errorf("%v, %v", orders, err)
	}
	for _, text := range []string{"A", "=root-first", "A=", "A=x", "A=root-first+"} {
		if _, err := processor.ParseJavaOrders(text); err == nil {
			t.Errorf("%q is a list of orders", text)
		}
	}
}
