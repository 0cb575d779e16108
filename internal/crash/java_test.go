package crash_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"salvage/internal/crash"
	"salvage/internal/errs"
)

// recorded returns what examples/javacrash reported, by file name: a text and a JavaException of each crash.
func recorded(t testing.TB, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile("../../examples/javacrash/testdata/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range txtar.Parse(data).Files {
		files[f.Name] = string(f.Data)
	}
	if len(files) < 30 {
		t.Fatalf("%d files", len(files))
	}
	return files
}

func exception(t testing.TB, text string) *crash.JavaException {
	t.Helper()
	e, err := crash.ParseJavaException(text, crash.JavaOrder{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func stackTrace(t testing.TB, text string) *crash.JavaException {
	t.Helper()
	e, err := crash.ParseJavaStackTrace(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return e
}

func describe(e *crash.JavaException) string {
	var b strings.Builder
	var all func(e *crash.JavaException, indent string)
	all = func(e *crash.JavaException, indent string) {
		for _, v := range e.Values {
			fmt.Fprintf(&b, "%s%s", indent, v.Class())
			if v.Value != nil {
				fmt.Fprintf(&b, ": %s", *v.Value)
			}
			b.WriteString("\n")
			for _, f := range v.Frames {
				fmt.Fprintf(&b, "%s  %s in_app=%v\n", indent, f, f.InApp)
			}
			for _, s := range v.Suppressed {
				fmt.Fprintf(&b, "%s  suppressed\n", indent)
				all(&s, indent+"    ")
			}
		}
	}
	all(e, "")
	return b.String()
}

// The text says the same as the JSON, which the program made of the virtual machine's own objects.
func TestTextAndJSON(t *testing.T) {
	for _, build := range []string{"plain", "shrunk"} {
		files := recorded(t, build)
		for name, text := range files {
			crashName, ok := strings.CutSuffix(name, ".txt")
			if !ok || crashName == "message" { // whose message looks like frames
				continue
			}
			want := exception(t, files[crashName+".json"])
			got := stackTrace(t, text)
			if got.Circular != (crashName == "circular") || got.Omitted != 0 || want.Omitted != 0 {
				t.Errorf("%s %s: circular %v, %d omitted", build, crashName, got.Circular, got.Omitted)
			}
			// The sender leaves suppressed exceptions out, and sends 50 frames.
			left := 50
			for i := range got.Values {
				got.Values[i].Suppressed = nil
				keep := min(left, len(got.Values[i].Frames))
				got.Values[i].Frames = got.Values[i].Frames[:keep]
				left -= keep
			}
			if got, want := describe(got), describe(want); got != want {
				t.Errorf("%s %s: text\n%s\nJSON\n%s", build, crashName, got, want)
			}
		}
	}
}

func TestSuppressed(t *testing.T) {
	e := stackTrace(t, recorded(t, "plain")["suppressed.txt"])
	v := e.Values[0]
	if len(e.Values) != 1 || v.Class() != "java.io.IOException" || len(v.Frames) != 5 || len(v.Suppressed) != 2 {
		t.Fatalf("%s", describe(e))
	}
	for i, name := range []string{"coins", "paper"} {
		s := v.Suppressed[i]
		if len(s.Values) != 2 || s.Values[0].Class() != "java.lang.NumberFormatException" || *s.Values[1].Value != "drawer "+name+" is stuck" {
			t.Fatalf("%s", describe(e))
		}
		// What "... 3 more" and "... 4 more" stand for.
		if a, b, c := s.Values[0].Frames, s.Values[1].Frames, v.Frames; len(b) != 5 || len(a) != 8 || !slices.Equal(b[2:], c[2:]) || !slices.Equal(a[4:], b[1:]) {
			t.Errorf("%s", describe(e))
		}
	}
}

// A document is read as it was written, and what is written is what clients send.
func TestJavaRoundTrip(t *testing.T) {
	for name, text := range recorded(t, "plain") {
		var e *crash.JavaException
		if strings.HasSuffix(name, ".json") {
			e = exception(t, text)
		} else {
			e = stackTrace(t, text)
		}
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		again := exception(t, string(data))
		if describe(again) != describe(e) || again.Circular != e.Circular {
			t.Errorf("%s:\n%s\n%s", name, describe(e), describe(again))
		}
		if strings.HasSuffix(name, ".json") {
			var a, b any
			if err := errors.Join(json.Unmarshal(data, &a), json.Unmarshal([]byte(text), &b)); err != nil || fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s: %v\n%s\n%s", name, err, data, text)
			}
		}
		// As the virtual machine printed it, but for modules and causes.
		if strings.HasSuffix(name, ".txt") {
			trace := e.Public().StackTrace()
			for line := range strings.Lines(trace) {
				if strings.HasPrefix(line, "\t") && !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(text, "java.base/", ""), "jdk.proxy1/", ""), line) {
					t.Errorf("%s: %s", name, line)
				}
			}
		}
	}
	e := stackTrace(t, "a.B: secret\n\tat c.D.e(D.java:1)\n\tat f.G.h(Native Method)\n\tat f.G.h(Unknown Source)\nCaused by: x.Y\n\tat z.z.z(Z.kt)\n")
	if got, want := e.Public().StackTrace(), "a.B\n\tat c.D.e(D.java:1)\n\tat f.G.h(Native Method)\n\tat f.G.h(Unknown Source)\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := new(crash.JavaException).StackTrace(); got != "" {
		t.Errorf("trace of nothing: %q", got)
	}
}

func TestJavaOrder(t *testing.T) {
	android := `{"exception":{"values":[
		{"stacktrace":{"type":"Root","module":"a","frames":[{"module":"a.A","function":"new"},{"module":"a.A","function":"old"}]}},
		{"stacktrace":{"type":"Outer","module":"a","frames":[{"module":"a.B","function":"new"},{"module":"a.B","function":"old"}]}}]}}`
	sentry := `{"exception":{"values":[
		{"type":"Root","module":"a","value":"v","stacktrace":{"frames":[{"module":"a.A","function":"old"},{"module":"a.A","function":"new"}]}},
		{"type":"Outer","module":"a","stacktrace":{"frames":[{"module":"a.B","function":"old"},{"module":"a.B","function":"new"}]}}]}}`
	other := `{"exception":{"values":[
		{"stacktrace":{"type":"Outer","module":"a","frames":[{"module":"a.B","function":"new"},{"module":"a.B","function":"old"}]}},
		{"stacktrace":{"type":"Root","module":"a","frames":[{"module":"a.A","function":"new"},{"module":"a.A","function":"old"}]}}]}}`
	want := strings.Replace(describe(exception(t, android)), "a.Root", "a.Root: v", 1)
	for text, order := range map[string]crash.JavaOrder{sentry: {OldestFrameFirst: true}, other: {OutermostFirst: true}} {
		e, err := crash.ParseJavaException(text, order)
		if err != nil {
			t.Fatal(err)
		}
		if got := describe(e); got != want && got != strings.Replace(want, ": v", "", 1) || text == sentry && got != want {
			t.Errorf("%+v: %s, want %s", order, got, want)
		}
	}
}

func TestJavaShapes(t *testing.T) {
	const badJSON, badShape = "JavaException value is malformed json", "JavaException value is malformed java_exception"
	frame := func(f string) string {
		return `{"exception":{"values":[{"stacktrace":{"frames":[` + f + `]}}]}}`
	}
	for _, tt := range []struct{ text, want string }{ // or the error
		{`{}`, ""}, {`{"exception":null}`, ""}, {`{"exception":{}}`, ""}, {`{"exception":{"values":[]}}`, ""}, {` {"other":[1]} `, ""},
		{`{"exception":{"values":[{}]}}`, "\n"}, {`{"exception":{"values":[{"stacktrace":{"type":"T"}}]}}`, "T\n"},
		{`{"exception":{"values":[{"stacktrace":{"type":"T","module":"a.b","value":"v","unknown":{}}}]}}`, "a.b.T: v\n"},
		{`{"exception":{"values":[{"stacktrace":{"type":"Error","module":"Error"}}]}}`, "Error\n"},
		{`{"exception":{"values":[{"stacktrace":{"type":"a","module":"a"}}]}}`, "a.a\n"}, {`{"exception":{"values":[{"stacktrace":{"module":"a.b"}}]}}`, "a.b\n"},
		{frame(`{}`), "\n  .(Unknown Source) in_app=true\n"}, {frame(`{"module":null,"function":null,"in_app":null,"lineno":null,"filename":null}`), "\n  .(Unknown Source) in_app=true\n"},
		{frame(`{"lineno":-2,"module":"a","function":"b"}`), "\n  a.b(Native Method) in_app=false\n"}, {frame(`{"lineno":-2,"in_app":true}`), "\n  .(Native Method) in_app=true\n"},
		{frame(`{"lineno":0,"filename":"X.kt","in_app":false,"module":"a","function":"b"}`), "\n  a.b(X.kt:0) in_app=false\n"},
		{``, badJSON}, {`{`, badJSON}, {`{} x`, badJSON}, {`x`, badJSON}, {strings.Repeat(`{"exception":`, 20000), badJSON},
		{`null`, badShape}, {`[]`, badShape}, {`"x"`, badShape}, {`7`, badShape}, {`{"exception":[]}`, badShape}, {`{"exception":{"values":{}}}`, badShape},
		{`{"exception":{"values":[7]}}`, badShape}, {`{"exception":{"values":[{"stacktrace":[]}]}}`, badShape}, {`{"exception":{"values":[{"stacktrace":{"type":5}}]}}`, badShape},
		{`{"exception":{"values":[{"stacktrace":{"value":{}}}]}}`, badShape}, {frame(`7`), badShape}, {frame(`{"module":5}`), badShape}, {frame(`{"function":[]}`), badShape},
		{frame(`{"in_app":"yes"}`), badShape}, {frame(`{"lineno":"7"}`), badShape}, {frame(`{"lineno":7.5}`), badShape}, {frame(`{"filename":{}}`), badShape},
	} {
		e, err := crash.ParseJavaException(tt.text, crash.JavaOrder{})
		if err != nil {
			if err.Error() != tt.want || errs.KindOf(err) != errs.Invalid || e != nil {
				t.Errorf("%.80s: %v", tt.text, err)
			}
			continue
		}
		if got := describe(e); got != tt.want {
			t.Errorf("%.80s: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestJavaText(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{ // malformed: !
		{"no frames", "a.B", "a.B\n"},
		{"a word", "B", "!"}, {"a word and a frame", "B\n\tat c.D.e(D.java:1)\n", "B\n  c.D.e(D.java:1) in_app=true\n"},
		{"message", "a.B: c: d\n", "a.B: c: d\n"},
		{"empty message", "a.B:\n", "a.B\n"},
		{"blank lines", "\n\na.B\n\n\tat c.D.e(D.java:1)\r\n\n", "a.B\n  c.D.e(D.java:1) in_app=true\n"},
		{"message of several lines", "a.B: one\n two\nthree\n\tat c.D.e(D.java:1)\n", "a.B: one\n two\nthree\n  c.D.e(D.java:1) in_app=true\n"},
		{"thread", "Exception in thread \"main\" a.B: m\n\tat c.D.e(D.java:1)\n", "a.B: m\n  c.D.e(D.java:1) in_app=true\n"},
		{"class without a package", "B: m\n", "B: m\n"},
		{"no class", "It went wrong: badly\n", "It went wrong: badly\n"},
		{"loaders and modules", "B\n\tat app//c.D.e(D.java:1)\n\tat java.base@17.0.1/java.lang.Thread.run(Thread.java:840)\n\tat app/mod@1/c.D.e(D.java)\n", "B\n  c.D.e(D.java:1) in_app=true\n  java.lang.Thread.run(Thread.java:840) in_app=true\n  c.D.e(D.java) in_app=true\n"},
		{"hidden classes", "B\n\tat m/c.D$$Lambda$14/0x00007f0.run(Unknown Source)\n\tat c.D$$Lambda/12.run(Unknown Source)\n", "B\n  c.D$$Lambda$14/0x00007f0.run(Unknown Source) in_app=true\n  c.D$$Lambda/12.run(Unknown Source) in_app=true\n"},
		{"sources", "B\n\tat c.D.<init>(Native Method)\n\tat c.D.e(Unknown Source:7)\n\tat c.D.e(SourceFile:12)\n\tat c.D.e(:5)\n\tat c.D.e()\n\tat c.D.e(a:b:3)\n\tat c.D.e(X:)\n\tat c.D.e(X:99999999999)\n",
			"B\n  c.D.<init>(Native Method) in_app=false\n  c.D.e(:7) in_app=true\n  c.D.e(SourceFile:12) in_app=true\n  c.D.e(:5) in_app=true\n  c.D.e(Unknown Source) in_app=true\n  c.D.e(a:b:3) in_app=true\n  c.D.e(X:) in_app=true\n  c.D.e(X:99999999999) in_app=true\n"},
		{"Logback", "B\n\tat c.D.e(D.java:1) ~[d.jar:1.0]\n\tat c.D.f(D.java:2) [d.jar:?]\nCaused by: C: m\n\tat c.D.g(D.java:3)\n\t... 1 common frames omitted\n",
			"C: m\n  c.D.g(D.java:3) in_app=true\n  c.D.f(D.java:2) in_app=true\nB\n  c.D.e(D.java:1) in_app=true\n  c.D.f(D.java:2) in_app=true\n"},
		{"spaces", "B: m\n    at c.D.e(D.java:1)\n    Suppressed: S\n        at c.D.f(D.java:2)\n", "B: m\n  c.D.e(D.java:1) in_app=true\n  suppressed\n    S\n      c.D.f(D.java:2) in_app=true\n"},
		{"locks", "B\n\tat c.D.e(D.java:1)\n\t- locked <0x1>\n\tat c.D.f(D.java:2)\n", "B\n  c.D.e(D.java:1) in_app=true\n  c.D.f(D.java:2) in_app=true\n"},
		{"causes without frames", "B\nCaused by: C\nCaused by: D\n", "D\nC\nB\n"},
		{"more than there are", "B\n\tat c.D.e(D.java:1)\nCaused by: C\n\t... 999 more\n", "C\n  c.D.e(D.java:1) in_app=true\nB\n  c.D.e(D.java:1) in_app=true\n"},
		{"more of nothing", "a.B\n\t... 3 more\n", "a.B\n"},
		{"suppressed deep", "B\n\tat b.b.b(B)\n\tSuppressed: S\n\t\tat s.s.s(S)\n\t\tSuppressed: T\n\t\t\tat t.t.t(T)\n\t\tCaused by: U\n\t\t\tat u.u.u(U)\n\t\t\t... 1 more\n\tCaused by: V\n\t\t... 1 more\nCaused by: W\n\t... 1 more\n",
			"W\n  b.b.b(B) in_app=true\nB\n  b.b.b(B) in_app=true\n  suppressed\n    V\n      s.s.s(S) in_app=true\n    S\n      s.s.s(S) in_app=true\n      suppressed\n        U\n          u.u.u(U) in_app=true\n          t.t.t(T) in_app=true\n        T\n          t.t.t(T) in_app=true\n"},
		{"a cause too deep", "B\n\tSuppressed: S\nCaused by: C\n\tCaused by: D\n", "D\nC\nB\n  suppressed\n    S\n"},
		{"old circle", "B\n\tat b.b.b(B)\n\t[CIRCULAR REFERENCE:B: m]\n", "B\n  b.b.b(B) in_app=true\n"},
		{"suppressed circle", "B\n\tat b.b.b(B)\n\tSuppressed: [CIRCULAR REFERENCE: B: m\nmore]\nCaused by: C\n", "C\nB\n  b.b.b(B) in_app=true\n"},
		{"nothing", "", "!"}, {"blank", "\n \n", "!"}, {"frames only", "\tat c.D.e(D.java:1)\n", "!"},
		{"not indented", "B\n\tat c.D.e(D.java:1)\nat c.D.f(D.java:2)\n", "!"}, {"text below", "B\n\tat c.D.e(D.java:1)\nbye\n", "!"},
		{"no frame in a message", "B: m\n\tat home with john.doe(secret)\n\tat c.D(x\n\tat d(x)\n\tat .d(x)\n\tat c.(x)\n\tat c.d(x) y\n", "B: m\n\tat home with john.doe(secret)\n\tat c.D(x\n\tat d(x)\n\tat .d(x)\n\tat c.(x)\n\tat c.d(x) y\n"},
	} {
		e, err := crash.ParseJavaStackTrace(tt.text)
		if err != nil {
			if tt.want != "!" || err.Error() != "JavaStackTrace: malformed JavaStackTrace" || e != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if got := describe(e); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if e.Circular != strings.Contains(tt.name, "circle") {
			t.Errorf("%s: circular %v", tt.name, e.Circular)
		}
	}
}
