package crash_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"salvage/internal/crash"
	"salvage/internal/errs"
)

// size counts the exceptions and frames of e.
func size(e *crash.JavaException) (throwables, frames, depth int) {
	for _, v := range e.Values {
		throwables++
		frames += len(v.Frames)
		for i := range v.Suppressed {
			t, f, d := size(&v.Suppressed[i])
			throwables, frames, depth = throwables+t, frames+f, max(depth, d)
		}
	}
	return throwables, frames, depth + 1
}

// checkJava holds for whatever was parsed.
func checkJava(t testing.TB, e *crash.JavaException) {
	t.Helper()
	if throwables, frames, depth := size(e); throwables > 256 || frames > 4096 || depth > 9 {
		t.Errorf("%d exceptions, %d frames, %d deep", throwables, frames, depth)
	}
	public := e.Public()
	data, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), `"value"`) {
		t.Errorf("a message is public: %s", data)
	}
	for _, v := range public.Values {
		if strings.ContainsAny(v.Class(), " @:\n\"") {
			t.Errorf("class %q", v.Class())
		}
		for _, f := range v.Frames {
			if strings.ContainsAny(f.Module+f.Function+f.File, " @:\n\"") {
				t.Errorf("frame %+v", f)
			}
		}
	}
	data, err = json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var again crash.JavaException
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	if second, err := json.Marshal(&again); err != nil || string(second) != string(data) {
		t.Errorf("%v: %s becomes %s", err, data, second)
	}
}

func TestJavaBounds(t *testing.T) {
	repeat := func(n int, f string) string { return strings.TrimSuffix(strings.Repeat(f+",", n), ",") }
	deep := "B\n"
	for i := range 500 {
		deep += strings.Repeat("\t", i+1) + "Suppressed: S\n" + strings.Repeat("\t", i+2) + "at a.b.c(d)\n"
	}
	for name, text := range map[string]string{
		"frames":    "B\n" + strings.Repeat("\tat c.D.e(D.java:1)\n", 5000),
		"causes":    "B\n" + strings.Repeat("Caused by: C\n\tat c.D.e(D.java:1)\n", 5000),
		"shared":    "B\n" + strings.Repeat("\tat c.D.e(D.java:1)\n", 4000) + strings.Repeat("Caused by: C\n\t... 4000 more\n", 5000),
		"siblings":  "B\n" + strings.Repeat("\tSuppressed: C\n\t\tat c.D.e(D.java:1)\n", 5000),
		"deep":      deep,
		"message":   "B: " + strings.Repeat("m\n", 100_000),
		"long name": "B" + strings.Repeat("b", 10_000) + "\n\tat " + strings.Repeat("c", 1000) + ".d(" + strings.Repeat("f", 10_000) + ")\n",
	} {
		e, err := crash.ParseJavaStackTrace(text)
		if err != nil {
			t.Fatal(name, err)
		}
		checkJava(t, e)
		if (e.Omitted > 0) != (name == "frames" || name == "causes" || name == "shared" || name == "siblings" || name == "deep") {
			t.Errorf("%s: %d omitted", name, e.Omitted)
		}
	}
	for name, text := range map[string]string{
		"frames":     `{"exception":{"values":[{"stacktrace":{"frames":[` + repeat(5000, `{}`) + `]}}]}}`,
		"values":     `{"exception":{"values":[` + repeat(5000, `{"stacktrace":{"frames":[{},{}]}}`) + `]}}`,
		"deep":       strings.Repeat(`{"exception":{"values":[{"stacktrace":{"suppressed":[`, 1) + strings.Repeat(`{"values":[{"stacktrace":{"suppressed":[`, 500) + strings.Repeat(`]}}]}`, 500) + `]}}]}}`,
		"suppressed": `{"exception":{"values":[{"stacktrace":{"frames":[{},{}],"suppressed":[` + repeat(5000, `{"values":[{"stacktrace":{"frames":[{}]}}]}`) + `]}}]}}`,
		"message":    `{"exception":{"values":[{"stacktrace":{"value":"` + strings.Repeat("é", 100_000) + `"}}]}}`,
		"names":      `{"exception":{"values":[{"stacktrace":{"type":"x` + strings.Repeat("é", 10_000) + `","frames":[{"module":"` + strings.Repeat("é", 10_000) + `"}]}}]}}`,
	} {
		e := exception(t, text)
		checkJava(t, e)
		if len(describe(e)) > 400_000 || e.Values[0].Value != nil && len(*e.Values[0].Value) != 64<<10 || name == "names" && len(e.Values[0].Type) != 1023 {
			t.Errorf("%s: %d bytes", name, len(describe(e)))
		}
		if (e.Omitted > 0) != (name == "frames" || name == "values") {
			t.Errorf("%s: %d omitted", name, e.Omitted)
		}
	}
	big := strings.Repeat("x", 1<<20+1)
	if _, err := crash.ParseJavaException(`{"a":"`+big+`"}`, crash.JavaOrder{}); errs.KindOf(err) != errs.TooLarge {
		t.Error(err)
	}
	if _, err := crash.ParseJavaStackTrace(big); errs.KindOf(err) != errs.TooLarge {
		t.Error(err)
	}
}

// Messages reach no reader who may not see them, wherever a program puts them.
func TestJavaPublic(t *testing.T) {
	const marker = "tom at example"
	for _, text := range []string{
		"a.B: " + marker + "\n\tat c.D.e(D.java:1)\nCaused by: a.C: x\n" + marker + "\n\tat c.D.e(D.java:1)\n\tSuppressed: a.D: " + marker + "\n",
		marker + "\n\tat c.D.e(D.java:1)\n", "B\nCaused by: " + marker + ": x\n", "B: m\n\tat " + marker + ".x(y)\n", "B\n\tat c.D.e(" + marker + ")\n",
	} {
		e := stackTrace(t, text)
		data, err := json.Marshal(e.Public())
		if err != nil || strings.Contains(string(data)+e.Public().StackTrace(), "tom") {
			t.Errorf("%q: %v %s", text, err, data)
		}
	}
	secret, _ := json.Marshal(marker)
	for _, member := range []string{"type", "module", "value"} {
		e := exception(t, fmt.Sprintf(`{"exception":{"values":[{"stacktrace":{"%s":%s,"secret":%s}}]}}`, member, secret, secret))
		if data, _ := json.Marshal(e.Public()); strings.Contains(string(data), "tom") {
			t.Errorf("%s: %s", member, data)
		}
		if data, _ := json.Marshal(e); !strings.Contains(string(data), marker) {
			t.Errorf("%s: %s", member, data)
		}
	}
	for _, member := range []string{"module", "function", "filename"} {
		e := exception(t, fmt.Sprintf(`{"exception":{"values":[{"stacktrace":{"frames":[{"%s":%s}]}}]}}`, member, secret))
		if data, _ := json.Marshal(e.Public()); strings.Contains(string(data), "tom") {
			t.Errorf("%s: %s", member, data)
		}
	}
	// A copy: the original keeps what it has.
	e := stackTrace(t, "a.B: m\n\tat c.D.e(D.java:1)\n\tSuppressed: a.C: n\n")
	before := describe(e)
	p := e.Public()
	p.Values[0].Frames[0].Module, p.Values[0].Suppressed[0].Values[0].Type = "x", "x"
	if describe(e) != before {
		t.Errorf("%s became %s", before, describe(e))
	}
}

func FuzzJavaException(f *testing.F) {
	for name, text := range recorded(f, "plain") {
		if strings.HasSuffix(name, ".json") {
			f.Add(text, false, false)
		}
	}
	f.Fuzz(func(t *testing.T, text string, outermost, oldest bool) {
		if e, err := crash.ParseJavaException(text, crash.JavaOrder{OutermostFirst: outermost, OldestFrameFirst: oldest}); err == nil {
			checkJava(t, e)
		}
	})
}

func FuzzJavaStackTrace(f *testing.F) {
	for _, build := range []string{"plain", "shrunk"} {
		for name, text := range recorded(f, build) {
			if strings.HasSuffix(name, ".txt") {
				f.Add(text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if e, err := crash.ParseJavaStackTrace(text); err == nil {
			checkJava(t, e)
		}
	})
}
