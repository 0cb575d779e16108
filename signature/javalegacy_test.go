package signature_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"salvage/internal/debugtest"
	"salvage/signature"
)

var update = flag.Bool("update", false, "record what siggen makes of the first generated Java crashes")

// javaCase is crash data and what siggen makes of it.
type javaCase struct {
	Data      json.RawMessage
	Signature string   // of the Java method
	Notes     []string // of that
	Final     string   // behind all rules
}

// generateJava returns crash data with a text, or without.
func generateJava(rng *rand.Rand) json.RawMessage {
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	some := func(n int, all ...string) (s string) {
		for range rng.IntN(n) {
			s += pick(all...)
		}
		return s
	}
	data := map[string]any{}
	if rng.IntN(2) == 0 {
		class := pick("java.lang.NullPointerException", "a.B", "B", "", " a.B ", "\ta.B", "a.B$1", "x y")
		message := some(5, " boom", ":", " @0123abcd", "@0123ABCD", "@0123abcd9", " view Foo@0123abcd", " é", " 日", "\u00a0", "\x1c", "  ", "\t", strings.Repeat("m", 90), "<addr>")
		frame := some(3, "\t", " ", "\x1f") + pick("at a.B.c(B.java:12)", "at a.B.c(B.kt:12)", "at a.B.c(Native Method)", "at a.B.c(B.java:x)", "at a.B.c(B.java:1) ", "at a.B.c(B.java:١٢)", "at a.B.c(B.java:12)x", "", "at "+strings.Repeat("p.", 130)+"c(B.java:3)", "Caused by: x")
		text := class + pick(":", "", ": ") + message
		for range rng.IntN(3) {
			text += pick("\n", "\n", "\n", "\r\n", "\r", "\v", "\f", "\x1d", "\u0085", "\u2028", "\n\n") + frame
		}
		if text += pick("", "\n", "\r\n"); text != "" {
			data["java_stack_trace"] = text
		}
	}
	if len(data) == 0 || rng.IntN(4) == 0 {
		frames := []any{}
		for range rng.IntN(3) {
			f := map[string]any{"lineno": rng.IntN(100) - 2, "in_app": true}
			for name, value := range map[string]string{"module": pick("a.B", "a.B$1", ""), "function": pick("c", "<init>", ""), "filename": pick("B.java", "B.kt", "")} {
				if rng.IntN(5) > 0 {
					f[name] = value
				}
			}
			frames = append(frames, f)
		}
		trace := map[string]any{}
		if rng.IntN(5) > 0 {
			trace["type"] = pick("NullPointerException", "B", "")
		}
		if rng.IntN(5) > 0 {
			trace["module"] = pick("java.lang", "a", "")
		}
		if rng.IntN(5) > 0 {
			trace["frames"] = frames
		}
		if rng.IntN(3) > 0 {
			trace["value"] = "secret"
		}
		values := []any{map[string]any{"stacktrace": trace}, map[string]any{"stacktrace": map[string]any{"type": "Outer"}}}
		switch rng.IntN(12) {
		case 0:
			data["java_exception"] = map[string]any{"exception": map[string]any{"values": []any{}}}
		case 1:
			data["java_exception"] = map[string]any{"other": 1}
		case 2:
			data["java_exception"] = map[string]any{"exception": map[string]any{"values": []any{map[string]any{"stacktrace": map[string]any{}}}}}
		case 3:
			data["java_exception"] = []any{1}
		default:
			data["java_exception"] = map[string]any{"exception": map[string]any{"values": values}}
		}
	}
	text, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return text
}

// compareLegacy checks that Legacy makes of a case what siggen does.
func compareLegacy(t *testing.T, c javaCase) {
	t.Helper()
	r := signature.Generate(decode(t, string(c.Data)), signature.Default().Defects())
	base, notes := r.Signature, []string{}
	if len(r.Steps) > 0 {
		base = r.Steps[0].Before
	}
	for _, n := range r.Notes {
		if strings.HasPrefix(n, "Java") {
			notes = append(notes, n)
		}
	}
	if base != c.Signature || !slices.Equal(notes, c.Notes) {
		t.Errorf("%s: %q %q, siggen %q %q", c.Data, base, notes, c.Signature, c.Notes)
	}
	// The rules behind differ where the signature has what is not printable: siggen of 2024 keeps it, and
	// ours makes words of what a tab separates. And none of ours is empty.
	if strings.IndexFunc(base, func(c rune) bool { return c > '~' || c < ' ' }) < 0 && c.Final != "" && r.Signature != c.Final {
		t.Errorf("%s: %q behind all rules, siggen %q", c.Data, r.Signature, c.Final)
	}
}

const recordedJava = "testdata/siggen_java.jsonl"

func TestLegacyRecorded(t *testing.T) {
	data, err := os.ReadFile(recordedJava)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range bytes.Lines(data) {
		var c javaCase
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		compareLegacy(t, c)
		n++
	}
	if n != 300 {
		t.Errorf("%d cases", n)
	}
}

// TestLegacySiggen compares with siggen itself. SIGGEN_PYTHON is a Python that has it (pip install siggen;
// 2.2.20241029).
func TestLegacySiggen(t *testing.T) {
	python := os.Getenv("SIGGEN_PYTHON")
	if python == "" {
		debugtest.Require(t, "SIGGEN", "SIGGEN_PYTHON is not set")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	cases := make([]javaCase, 20_000)
	var in bytes.Buffer
	for i := range cases {
		cases[i].Data = generateJava(rng)
		in.Write(append(cases[i].Data, '\n'))
	}
	cmd := exec.Command(python, "testdata/siggen_java.py")
	cmd.Stdin, cmd.Stderr = &in, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(out))
	for i := range cases {
		if err := d.Decode(&[]any{&cases[i].Signature, &cases[i].Notes, &cases[i].Final}); err != nil {
			t.Fatal(i, err)
		}
		compareLegacy(t, cases[i])
	}
	if *update {
		var b bytes.Buffer
		for _, c := range cases[:300] {
			line, _ := json.Marshal(c)
			fmt.Fprintf(&b, "%s\n", line)
		}
		if err := os.WriteFile(recordedJava, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The tables of crash-pipeline.md §3.5 and §10.4.
func TestLegacyJava(t *testing.T) {
	for text, want := range map[string]string{
		"java.lang.NullPointerException: boom\nat org.mozilla.Foo.bar(Foo.java:12)": "java.lang.NullPointerException: boom at org.mozilla.Foo.bar(Foo.java)",
		"java.lang.X\nat org.Foo.bar(Foo.kt:12)":                                    "java.lang.X: at org.Foo.bar(Foo.kt:12)",
		"a.B: view Foo@0123abcd\nat c.D.e(D.java:4)":                                "a.B: view Foo@<addr>: at c.D.e(D.java)",
		"a.B: view Foo@0123abcd gone\nat c.D.e(D.java:4)":                           "a.B: view Foo@<addr> gone at c.D.e(D.java)",
	} {
		if r := signature.Generate(&signature.Crash{JavaStackTrace: text}, signature.Default().Defects()); r.Signature != want {
			t.Errorf("%q: %q, want %q", text, r.Signature, want)
		}
	}
	// What is too long is counted in characters.
	for n, want := range map[int]int{200: 0, 300: 1} {
		r := signature.Generate(&signature.Crash{JavaStackTrace: "a.B: " + strings.Repeat("é", n) + "\nat c.D.e(D.java:4)"}, signature.Default().Defects())
		if got := strings.Count(strings.Join(r.Notes, "\n"), "dropped Java exception description due to length"); got != want {
			t.Errorf("%d characters: %q", n, r.Notes)
		}
	}
	// Of a native crash it is Generate's.
	c := decode(t, stack("", "x::y", "main"))
	if a, b := signature.Generate(c, nil), signature.Generate(c, signature.Default().Defects()); a.Signature != b.Signature || a.Signature != "x::y" {
		t.Errorf("%q, %q", a.Signature, b.Signature)
	}
}
