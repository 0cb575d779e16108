package proguard_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/proguard"
)

func ExampleMapping_Retrace() {
	m, err := proguard.Parse([]byte(`shop.Basket -> a.b:
    1:1:int total():23:23 -> c
    1:1:void pay():40 -> c
`))
	if err != nil {
		panic(err)
	}
	for _, f := range m.Retrace("", []proguard.Frame{{Class: "a.b", Method: "c", File: "SourceFile", Line: 1}})[0].Frames {
		fmt.Printf("%s.%s(%s:%d)\n", f.Class, f.Method, f.File, f.Line)
	}
	// Output:
	// shop.Basket.total(Basket.java:23)
	// shop.Basket.pay(Basket.java:40)
}

func TestCounts(t *testing.T) {
	text := read(t, javacrash+"/mapping.txt")
	m := parse(t, []byte(text))
	var classes, methods, fields uint64
	for line := range strings.Lines(text) {
		switch {
		case strings.Contains(line, "#"):
		case strings.HasSuffix(line, ":\n"):
			classes++
		case strings.Contains(line, "("):
			methods++
		default:
			fields++
		}
	}
	want := proguard.Counts{Lines: uint64(strings.Count(text, "\n")), Classes: classes, Methods: methods, Fields: fields}
	if m.Counts != want || classes != 19 {
		t.Errorf("%+v, want %+v", m.Counts, want)
	}
	for name, want := range map[string]string{"a.k": "javacrash.Till", "javacrash.Main": "javacrash.Main", "R8$$REMOVED$$CLASS$$0": "javacrash.Suspend"} {
		if got, ok := m.Class(name); got != want || !ok {
			t.Errorf("%s was %s, %v, want %s", name, got, ok, want)
		}
	}
	if got, ok := m.Class("a.zz"); got != "a.zz" || ok {
		t.Errorf("a.zz was %s", got)
	}
}

// The id of the special mapping is what the crate proguard 5.10.5 of Sentry computes.
func TestIdentify(t *testing.T) {
	data := []byte(read(t, javacrash+"/mapping.txt"))
	id := proguard.Identify(data)
	hash := ""
	for line := range strings.Lines(string(data)) {
		if after, ok := strings.CutPrefix(line, "# pg_map_hash: SHA-256 "); ok {
			hash = strings.TrimSpace(after)
		}
	}
	if id.MapHash != hash || len(hash) != 64 || id.MapID != hash[:7] || id.Changed {
		t.Errorf("%+v", id)
	}
	changed := append([]byte(nil), data...)
	changed[len(changed)-2] = 'x'
	if c := proguard.Identify(changed); c.ID == id.ID || c.MapHash != hash || !c.Changed {
		t.Errorf("changed: %+v", c)
	}
	if id := proguard.Identify([]byte(read(t, special+"/mapping.txt"))); id.ID.String() != "b7b543d2-a5c7-5da1-bd72-1bdc667a0e85" || id.MapID != "" || id.MapHash != "" || id.Changed {
		t.Errorf("special: %+v", id)
	}
	for file, want := range map[string]string{"r8-map-id-97820f6": "97820f6", "SourceFile": "", "": "", "Main.java": ""} {
		if got := proguard.MapIDOf(file); got != want {
			t.Errorf("id of %q: %q", file, got)
		}
	}
}

func TestProbe(t *testing.T) {
	for text, want := range map[string]bool{
		"a.b -> c:\n": true, "# x\n\n  # {}\na.b -> c:": true, "\ufeffa -> b:\r\n": true, "a->b:": true,
		"": false, "# only\n": false, "a -> b\n": false, "MODULE Linux x86_64 000 app\n": false, "a b -> c:\n": false, " -> c:\n": false, "\x7fELF\x02": false,
		"x\na -> b:\n": false, "class A {\n": false, "{\"a -> b\":\n": false,
	} {
		if got := proguard.Probe([]byte(text)); got != want {
			t.Errorf("Probe(%q) = %v", text, got)
		}
	}
	for _, file := range []string{special, javacrash} {
		if !proguard.Probe([]byte(read(t, file+"/mapping.txt"))) {
			t.Errorf("%s is none", file)
		}
	}
}

func TestBadLines(t *testing.T) {
	for _, tt := range []struct {
		line string
		ok   bool
	}{
		{"    1:1:int f():2:3 -> a", true}, {"\tint f() -> a", true}, {"    int f():2 -> a", true}, {"    int f -> a", true}, {"    int[] x.y.f(int[],a.B) -> a", true},
		{"  # {\"id\":\"sourceFile\",\"fileName\":\"x\"}", true}, {"  # {\"id\":\"future\"}", true}, {"# plain", true}, {"    void <init>()->a", true},
		{"  # {'id':'x'}", false}, {"  # {\"id\":5}", false}, {"# {\"id\":\"com.android.tools.r8.rewriteFrame\",\"conditions\":[\"x\"]}", false},
		{"# {\"id\":\"com.android.tools.r8.rewriteFrame\",\"actions\":[\"removeInnerFrames(x)\"]}", false},
		{"    1:1:int f -> a", false}, {"    1:int f() -> a", false}, {"    1:1 int f() -> a", false}, {"    1:x:int f() -> a", false},
		{"    1:1:int f():x -> a", false}, {"    1:1:int f():1:x -> a", false}, {"    1:1:int f():1:2:3 -> a", false}, {"    1:1:int f() x -> a", false},
		{"    4294967297:4294967297:int f() -> a", false}, {"    f() -> a", false}, {"    int () -> a", false}, {"    int f() -> ", false}, {"    int f()", false},
		{"    int f) -> a", false}, {"    int -> a", false}, {"    int f g -> a", false}, {"    int f() -> a b", false}, {"no class", false}, {"x ->:", false}, {"-> x:", false}, {"a b -> c:", false},
	} {
		m, err := proguard.Parse([]byte("# {\"id\":\"com.android.tools.r8.mapping\",\"version\":\"2.2\"}\np.C -> c:\n" + tt.line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if ok := m.Counts.Bad == 0; ok != tt.ok || len(m.Problems) != int(m.Counts.Bad) {
			t.Errorf("%q: %v", tt.line, m.Problems)
		}
		for _, p := range m.Problems {
			if p.Where != "line 3" || p.Kind != "bad line" || p.Detail == "" {
				t.Errorf("%q: %+v", tt.line, p)
			}
		}
	}
	m, err := proguard.Parse([]byte("a -> b:\n" + strings.Repeat("x\n", 100)))
	if err != nil || m.Counts.Bad != 100 || len(m.Problems) != 20 {
		t.Errorf("%+v, %d problems, %v", m.Counts, len(m.Problems), err)
	}
}

func TestErrors(t *testing.T) {
	for _, text := range []string{"", "# x\n", "x\ny\n", "    int f() -> a\n"} {
		var format *debug.FormatError
		if m, err := proguard.Parse([]byte(text)); m != nil || !errors.As(err, &format) || format.Format != "proguard" {
			t.Errorf("Parse(%q): %v", text, err)
		}
	}
	if strconv.IntSize == 64 { // there is room for it
		if _, err := proguard.Parse(make([]byte, 1<<30+1)); !errors.Is(err, debug.ErrTooLarge) {
			t.Errorf("a gigabyte: %v", err)
		}
	}
	many := "a -> b:\n" + strings.Repeat(" a b()->c\n", 1<<18)
	if _, err := proguard.Parse([]byte(many)); err != nil {
		t.Error(err)
	}
	if _, err := proguard.Parse([]byte(many + " a b()->c\n")); !errors.Is(err, debug.ErrTooLarge) {
		t.Errorf("ranges: %v", err)
	}
}

// Strange things that files do, each with what it means.
func TestReading(t *testing.T) {
	for _, tt := range []struct{ name, mapping, frame, want string }{
		{"carriage returns", "p.C -> c:\r\n    1:1:void f():5:5 -> a\r\n", "c.a(S:1)", "p.C.f(C.java:5)"},
		{"byte order mark", "\ufeffp.C -> c:\n    1:1:void f():5:5 -> a", "c.a(S:1)", "p.C.f(C.java:5)"},
		{"the first of two classes", "p.C -> c:\n    1:1:void f():5:5 -> a\nq.D -> c:\n    1:1:void g():6:6 -> a", "c.a(S:1)", "p.C.f(C.java:5)"},
		{"the last of two files", "p.C -> c:\n# {\"id\":\"sourceFile\",\"fileName\":\"A.kt\"}\n# {\"id\":\"sourceFile\",\"fileName\":\"B.kt\"}\n    1:1:void f():5:5 -> a", "c.a(S:1)", "p.C.f(B.kt:5)"},
		{"a file behind a member", "p.C -> c:\n    1:1:void f():5:5 -> a\n# {\"id\":\"sourceFile\",\"fileName\":\"A.kt\"}\n", "c.a(S:1)", "p.C.f(C.java:5)"},
		{"an escaped file", "p.C -> c:\n# {\"id\":\"sourceFile\",\"fileName\":\"\\u0041\\\"\"}\n    void f() -> a", "c.a(S)", "p.C.f(A\")"},
		{"methods of the next class", "p.C -> c:\nq.D -> d:\n    void f() -> a", "c.a(S)", "p.C.a(C.java)"},
		{"no version: no synthesized", "p.C -> c:\n    void f() -> a\n# {\"id\":\"com.android.tools.r8.synthesized\"}\n", "c.a(S)", "p.C.f(C.java)"},
		{"version 1.0: synthesized", "# {\"id\":\"com.android.tools.r8.mapping\",\"version\":\"1.0\"}\np.C -> c:\n    void f() -> a\n# {\"id\":\"com.android.tools.r8.synthesized\"}\n", "c.a(S)", ""},
		{"experimental: no synthesized", "# {\"id\":\"com.android.tools.r8.mapping\",\"version\":\"experimental\"}\np.C -> c:\n    void f() -> a\n# {\"id\":\"com.android.tools.r8.synthesized\"}\n", "c.a(S)", "p.C.f(C.java)"},
		{"of a class, not of the method above", "# {\"id\":\"com.android.tools.r8.mapping\",\"version\":\"1.0\"}\np.C -> c:\n    void f() -> a\nq.D -> d:\n# {\"id\":\"com.android.tools.r8.synthesized\"}\n", "c.a(S)", "p.C.f(C.java)"},
		{"names of all kinds", "p.Ünï$1 -> é:\n    1:1:void a-b$c():5:5 -> ?", "é.?(S:1)", "p.Ünï$1.a-b$c(Ünï.java:5)"},
		{"no file, none made up", "p.C -> c:\n    1:1:void f():5:5 -> a", "c.a(:1)", "p.C.f(:5)"},
		{"unknown class", "p.C -> c:\n", "d.a(S:1)", "d.a(S:1)"},
	} {
		m, err := proguard.Parse([]byte(tt.mapping))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := strings.TrimPrefix(strings.TrimSpace(retrace(m, "\tat "+tt.frame+"\n")), "at "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Where neither the line nor the method is known, no line is made up.
func TestNoLine(t *testing.T) {
	m := parse(t, []byte("p.C -> c:\n    0:2:void f(int):5:7 -> a\n    0:2:void g(long):8:10 -> b\n    0:1:void h():11:12 -> b\n"))
	for _, r := range m.Retrace("", []proguard.Frame{{Class: "c", Method: "a", Line: -1}, {Class: "c", Method: "b", Line: -1}}) {
		for _, candidate := range append(r.Or, r.Frames) {
			f := candidate[0]
			if want := map[string]int{"f": 5, "g": -1, "h": -1}[f.Method]; f.Line != want {
				t.Errorf("%+v, want line %d: %+v", f, want, r)
			}
		}
	}
}

// Frames that the compiler put there are removed directly below the exception only, as R8's manual says. Its
// tool also does below frames that it does not know, where an inlined call may well have been on its way.
func TestDirectlyBelow(t *testing.T) {
	m := parse(t, []byte(read(t, special+"/mapping.txt")))
	frame := proguard.Frame{Class: "a.f", Method: "a", File: "S", Line: 1}
	for _, above := range []proguard.Frame{{Class: "java.util.ArrayList", Method: "addAll"}, {Class: "a.f", Method: "unknown"}, frame} {
		if r := m.Retrace("java.lang.NullPointerException", []proguard.Frame{above, frame}); len(r[1].Frames) != 3 {
			t.Errorf("below %+v: %+v", above, r[1])
		}
	}
	if r := m.Retrace("java.lang.NullPointerException", []proguard.Frame{frame}); len(r[0].Frames) != 2 {
		t.Errorf("%+v", r)
	}
}

// A descriptor and the types of a mapping say the same.
func TestDescriptor(t *testing.T) {
	for descriptor, want := range map[string][2]string{
		"()V": {"void", "()"}, "(La/c;[[JZ)[Lx;": {"x[]", "(a.c,long[][],boolean)"}, "(BCDFIJSZ)I": {"int", "(byte,char,double,float,int,long,short,boolean)"},
		"(" + strings.Repeat("[", 255) + "I)V": {"void", "(int" + strings.Repeat("[]", 255) + ")"},
	} {
		if got, ok := proguard.Descriptor(descriptor); !ok || got != proguard.Hash([]byte(want[0]), []byte(want[1])) {
			t.Errorf("%s is not %s%s, %v", descriptor, want[0], want[1], ok)
		}
	}
	for _, bad := range []string{"", "V", "Lx;", "(", "()", "(V", "(Lx)V", "(X)V", "([)V", "()VV", "()" + strings.Repeat("[", 256) + "I"} {
		if _, ok := proguard.Descriptor(bad); ok {
			t.Errorf("%.20s is a descriptor", bad)
		}
	}
	if proguard.Hash([]byte("ab"), []byte("c")) == proguard.Hash([]byte("a"), []byte("bc")) {
		t.Error("the hash has no border")
	}
}

// What an ambiguous or deeply inlined frame may cost is bounded.
func TestBounds(t *testing.T) {
	one := func(mapping string, line int) proguard.Traced {
		m, err := proguard.Parse([]byte("p.C -> c:\n" + mapping))
		if err != nil {
			t.Fatal(err)
		}
		return m.Retrace("x", []proguard.Frame{{Class: "c", Method: "a", File: "S", Line: line}})[0]
	}
	if r := one("    1:1:void f():1:2000000000 -> a\n", 1); len(r.Or) != 63 || r.Frames[0].Line != 1 || r.Or[62][0].Line != 64 {
		t.Errorf("lines: %d candidates", len(r.Or)+1)
	}
	if r := one(strings.Repeat("    1:1:void f():1:1 -> a\n", 1000), 1); len(r.Or) != 0 || len(r.Frames) != 256 {
		t.Errorf("inlined: %d candidates of %d frames", len(r.Or)+1, len(r.Frames))
	}
	var overloads strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&overloads, "    void f%d(a%d) -> a\n", i, i)
	}
	if r := one(overloads.String(), 0); len(r.Or) != 63 {
		t.Errorf("overloads: %d candidates", len(r.Or)+1)
	}
	if r := one(overloads.String(), 5); len(r.Or) != 63 {
		t.Errorf("overloads with a line: %d candidates", len(r.Or)+1)
	}
	if r := one("    2147483646:2147483646:void f():2147483646:2147483646 -> a\n", 2147483646); r.Frames[0].Line != 2147483646 {
		t.Errorf("%+v", r)
	}
}

// Memory stays below ten times the input, for the lines that cost most for their length.
func TestMemory(t *testing.T) {
	// Each name is another, or there would be too many ranges of one.
	hostile := map[string]func(i int) string{
		"methods": func(i int) string { return fmt.Sprintf(" a b()->%x\n", i) },
		"classes": func(i int) string { return fmt.Sprintf("a->%x:\n", i) },
		"rewrites": func(i int) string {
			return fmt.Sprintf("a->%x:\n a b()->c\n#{\"id\":\"com.android.tools.r8.rewriteFrame\"}\n", i)
		},
		"callsites": func(i int) string {
			return fmt.Sprintf("a->%x:\n a b()->c\n#{\"id\":\"com.android.tools.r8.outlineCallsite\"}\n", i)
		},
		"files": func(i int) string { return fmt.Sprintf("a->%x:\n#{\"id\":\"sourceFile\",\"fileName\":\"\"}\n", i) },
		"residuals": func(i int) string {
			return fmt.Sprintf(" a b()->%x\n#{\"id\":\"com.android.tools.r8.residualsignature\",\"signature\":\"()V\"}\n", i)
		},
		"positions": func(i int) string {
			return fmt.Sprintf(" a b()->%x\n#{\"id\":\"com.android.tools.r8.outlineCallsite\",\"positions\":{\"1\":1,\"2\":2}}\n", i)
		},
	}
	for name, line := range hostile {
		var b strings.Builder
		b.WriteString("#{\"id\":\"com.android.tools.r8.mapping\",\"version\":\"2.2\"}\na->b:\n")
		for i := 0; b.Len() < 2<<20; i++ {
			b.WriteString(line(i))
		}
		data := []byte(b.String())
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		m, err := proguard.Parse(data)
		if err != nil {
			t.Fatal(name, err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 10*int64(len(data)) {
			t.Errorf("%s: %d bytes for %d", name, grown, len(data))
		} else {
			t.Logf("%s: %.1f bytes for each", name, float64(grown)/float64(len(data)))
		}
		if m.Counts.Bad > 0 {
			t.Errorf("%s: %v", name, m.Problems[0])
		}
		runtime.KeepAlive(m)
	}
}

// touch asks for everything that a damaged mapping may still answer.
func touch(t testing.TB, data []byte) {
	m, err := proguard.Parse(data)
	proguard.Probe(data)
	proguard.Identify(data)
	if err != nil {
		var format *debug.FormatError
		if !errors.As(err, &format) || m != nil {
			t.Fatal(err)
		}
		return
	}
	if m.Counts.Bad > m.Counts.Lines || m.Counts.Classes+m.Counts.Methods+m.Counts.Fields > m.Counts.Lines {
		t.Fatalf("%+v", m.Counts)
	}
	var frames []proguard.Frame
	for _, class := range []string{"a.c", "a.d", "a.e", "a.f", "a.h", "a.o", "a.v"} {
		for _, method := range []string{"a", "b", "c", "d", "s"} {
			for _, line := range []int{-2, 0, 1, 4, 27, math.MaxInt} {
				frames = append(frames, proguard.Frame{Class: class, Method: method, File: "S.kt", Line: line})
			}
		}
	}
	for i, r := range m.Retrace("java.lang.NullPointerException", frames) {
		if len(r.Or) > 63 || len(r.Frames) > 256 || len(r.Frames) == 0 && len(r.Or) > 0 {
			t.Fatalf("%+v: %d candidates, %d frames", frames[i], len(r.Or)+1, len(r.Frames))
		}
		for _, f := range r.Frames {
			if f.Class == "" || f.Method == "" {
				t.Fatalf("%+v was %+v", frames[i], f)
			}
		}
	}
}

func TestDamaged(t *testing.T) {
	data := []byte(read(t, special+"/mapping.txt"))
	for n := range data {
		touch(t, data[:n])
		was := data[n]
		data[n] = "\x00\xff\n :9"[n%6]
		touch(t, data)
		data[n] = was
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(read(f, special+"/mapping.txt")))
	f.Add([]byte("a -> a.c:\n    1:1:void f():1:9 -> s\n    void g() -> s\n"))
	f.Fuzz(func(t *testing.T, data []byte) { touch(t, data) })
}
