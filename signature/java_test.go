package signature_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"salvage/signature"
)

// smallJava has the Java lists that the tests need, and those of siggen empty.
var smallJava = lists(map[string]string{
	"irrelevant_signature_re.txt": "", "prefix_signature_re.txt": "", "signatures_with_line_numbers_re.txt": "", "signature_sentinels.txt": "",
	"java_irrelevant_re.txt": "irr\\.\nanch\\.A\\.a$\n(.*\\.)?access\\$\nboth\\.\n", "java_prefix_re.txt": "pre\\.\nboth\\.\n",
})

// java returns crash data of exceptions, the root cause first: "class frame frame…", a frame being
// module.function, and behind it (file:line), of which line -2 is a native method.
func java(exceptions ...string) string {
	var values []string
	for _, e := range exceptions {
		words := strings.Fields(e)
		var frames []string
		for _, f := range words[1:] {
			f, file, _ := strings.Cut(strings.TrimSuffix(f, ")"), "(")
			file, line, ok := strings.Cut(file, ":")
			if !ok {
				line = "7"
			}
			dot := strings.LastIndexByte(f, '.')
			frames = append(frames, fmt.Sprintf(`{"module":%q,"function":%q,"filename":%q,"lineno":%s,"in_app":%v}`, f[:max(0, dot)], f[dot+1:], file, line, line != "-2"))
		}
		dot := strings.LastIndexByte(words[0], '.')
		module := ""
		if dot >= 0 {
			module = words[0][:dot]
		} else if len(words[0]) > 2 {
			module = words[0] // as Android's sender
		}
		values = append(values, fmt.Sprintf(`{"stacktrace":{"type":%q,"module":%q,"value":"secret","frames":[%s]}}`, words[0][dot+1:], module, strings.Join(frames, ",")))
	}
	return `{"java_exception":{"exception":{"values":[` + strings.Join(values, ",") + `]}}}`
}

func TestJava(t *testing.T) {
	const badException, badTrace = "EMPTY: Java exception not in expected format", "EMPTY: Java stack trace not in expected format"
	long := strings.Repeat("l", 90)
	for _, tt := range []struct{ name, data, want string }{
		{"§10.4", java("java.lang.NullPointerException org.demo.Store.load(Store.kt:41) org.demo.App.start(App.kt:12)", "java.lang.IllegalStateException org.demo.App.start(App.kt:14)"), "java.lang.NullPointerException: at org.demo.Store.load(Store.kt)"},
		{"irrelevant, prefix, last", java("E irr.A.a pre.B.b c.D.e f.G.h"), "E: at pre.B.b | c.D.e"},
		{"irrelevant wins", java("E both.A.a c.D.e"), "E: at c.D.e"},
		{"matched without the file", java("E access$000(A.java) p.Q.access$100(Q.java) c.D.e"), "E: at c.D.e"},
		{"matched to the end without the file", java("E anch.A.a(A.java) anch.A.ab(A.java)"), "E: at anch.A.ab(A.java)"},
		{"native", java("E c.D.e(:-2) f.G.h"), "E: at c.D.e | f.G.h"},
		{"native, with a file", java("E c.D.e(D.java:-2) f.G.h(G.java)"), "E: at c.D.e | f.G.h(G.java)"},
		{"recursion", java("E pre.A.a pre.A.a pre.B.b pre.A.a c.D.e"), "E: at pre.A.a | pre.B.b | pre.A.a | c.D.e"},
		{"only prefixes", java("E pre.A.a pre.B.b"), "E: at pre.A.a | pre.B.b"},
		{"only irrelevant", java("E irr.A.a irr.B.b"), "E: at irr.A.a"},
		{"only irrelevant, in all", java("E irr.A.a", "F irr.B.b"), "E: at irr.A.a"},
		{"no frames in the root cause", java("E", "F c.D.e"), "E: at c.D.e"},
		{"only irrelevant frames in the root cause", java("E irr.A.a", "F irr.B.b", "G c.D.e"), "E: at c.D.e"},
		{"no frames at all", java("E", "F"), "E"},
		{"class of the root cause in no package", java("Oops c.D.e"), "Oops: at c.D.e"},
		{"class of a shrunk program", `{"java_exception":{"exception":{"values":[{"stacktrace":{"type":"a","module":"a"}}]}}}`, "a.a"},
		{"no class", `{"java_exception":{"exception":{"values":[{"stacktrace":{"frames":[{"module":"c.D","function":"e"}]}}]}}}`, "Unknown: at c.D.e"},
		{"a message for a class", `{"java_exception":{"exception":{"values":[{"stacktrace":{"type":"my secret","module":"my secret"}}]}}}`, "Unknown"},
		{"nothing but a number", `{"java_exception":{"exception":{"values":[{"stacktrace":{"type":"@1234"}}]}}}`, "Unknown"},
		{"frames with nothing", `{"java_exception":{"exception":{"values":[{"stacktrace":{"type":"E","frames":[{},{"filename":"X.java"},{"function":"f"},{"module":"m.N"}]}}]}}}`, "E: at f"},
		{"a module alone", `{"java_exception":{"exception":{"values":[{"stacktrace":{"type":"E","frames":[{"module":"m.N"}]}}]}}}`, "E: at m.N"},
		{"files that are none", java("E c.D.e(SourceFile)"), "E: at c.D.e"},
		{"more files that are none", java("E c.D.e(r8-map-id-12) "), "E: at c.D.e"},
		{"the frame of a proxy by the default list", java("E com.sun.proxy.$Proxy12.x c.D.e"), "E: at com.sun.proxy.$Proxy.x"}, // small lists: no
		{"anonymous", java("E c.D$1$2.e(D.java)"), "E: at c.D$$.e(D.java)"},
		{"class with a number", java("a.E$1 c.D.e"), "a.E$: at c.D.e"},
		{"no values", `{"java_exception":{"exception":{"values":[]}}}`, badException},
		{"not an object", `{"java_exception":[1]}`, badException},
		{"a text that nobody read", `{"java_stack_trace":"java.lang.X: secret"}`, badTrace},
		{"structure wins", strings.Replace(java("E c.D.e"), "{", `{"java_stack_trace":"x: y\nat z",`, 1), "E: at c.D.e"},
		{"empty: native", `{"java_exception":{},"java_stack_trace":"","crashing_thread":0,"threads":[{"frames":[{"function":"x"}]}]}`, "x"},
		{"null: native", `{"java_exception":null,"crashing_thread":0,"threads":[{"frames":[{"function":"x"}]}]}`, "x"},
		{"Java wins", strings.Replace(java("E c.D.e"), "{", `{"crashing_thread":0,"threads":[{"frames":[{"function":"x"}]}],`, 1), "E: at c.D.e"},
		{"rules behind", strings.Replace(java("E c.Dé.e"), "{", `{"mdsw_status_string":"bad",`, 1), "E: at c.D.e"},
		{"overflow", java("x.StackOverflowError c.D.leaf c.D.b c.D.a c.D.b c.D.a c.D.b c.D.a c.D.b"), "x.StackOverflowError: at c.D.a"},
		{"overflow of one", java("x.StackOverflowError c.D.b c.D.b c.D.b"), "x.StackOverflowError: at c.D.b"},
		{"overflow, no recursion seen", java("x.StackOverflowError c.D.b c.D.a c.D.b c.D.c"), "x.StackOverflowError: at c.D.b"},
		{"overflow, twice is no recursion", java("x.StackOverflowError c.D.b c.D.a c.D.b c.D.a c.D.c"), "x.StackOverflowError: at c.D.b"},
		{"recursion, no overflow", java("E c.D.b c.D.a c.D.b c.D.a c.D.b c.D.a"), "E: at c.D.b"},
		{"too long: the middle goes", java("E pre.A." + long + " pre.B." + long + " pre.C." + long + " c.D.e"), "E: at pre.A." + long + " | pre.C." + long + " | c.D.e"},
		{"too long: the program's own stays", java("E pre.A." + long + long + " c.D." + long), "E: at c.D." + long},
		{"too long: the outermost goes", java("E pre.A." + long + " pre.B." + long + " pre.C." + long), "E: at pre.A." + long + " | pre.B." + long},
	} {
		c := decode(t, tt.data)
		r := signature.Generate(c, smallJava)
		if r.Signature != tt.want {
			t.Errorf("%s: %q, want %q\n%v", tt.name, r.Signature, tt.want, r.Steps)
		}
		checkJava(t, r)
	}
}

// checkJava holds for all results of Java crashes.
func checkJava(t testing.TB, r signature.Result) {
	t.Helper()
	if r.Signature == "" || len(r.Signature) > 255 || strings.Contains(r.Signature+r.Proto, "secret") || r.Notes == nil || r.Steps == nil {
		t.Errorf("%+v", r)
	}
	var kept []string
	for _, s := range r.Steps {
		if s.Verdict == signature.Prefix || s.Verdict == signature.Last || s.Verdict == signature.Fallback {
			kept = append(kept, s.Name)
		}
		if s.Frame != nil && (*s.Frame < 0 || *s.Frame >= 40) || s.String() == "" {
			t.Errorf("step %+v", s)
		}
		if s.Rule == "JavaExceptionClass" && len(strings.Join(kept, " | ")) < 200 && s.Before != strings.Join(kept, " | ") {
			t.Errorf("kept %q, then %v", kept, s)
		}
	}
}

func TestJavaSteps(t *testing.T) {
	r := signature.Generate(decode(t, java("a.Root irr.A.a", "a.Outer irr.A.a pre.B.b pre.B.b c.D.n(:-2) c.D.e(D.kt)")), smallJava)
	want := []string{
		`a.Root frame 0 "irr.A.a": irrelevant: matches irr\.`,
		`a.Outer frame 0 "irr.A.a": irrelevant: matches irr\.`,
		`a.Outer frame 1 "pre.B.b": kept, prefix: continues after pre\.`,
		`a.Outer frame 2 "pre.B.b": skipped: the same function again`,
		`a.Outer frame 3 "c.D.n": kept, prefix: continues after in_app: false`,
		`a.Outer frame 4 "c.D.e(D.kt)": kept, last: not a prefix`,
		`JavaExceptionClass: "pre.B.b | c.D.n | c.D.e(D.kt)" becomes "a.Root: at pre.B.b | c.D.n | c.D.e(D.kt)"`,
	}
	var got []string
	for _, s := range r.Steps {
		got = append(got, s.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("steps:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Proto != "a.Root: at irr.A.a" || len(r.Notes) != 0 {
		t.Errorf("%q, %q", r.Proto, r.Notes)
	}
	text, _ := json.Marshal(r.Steps[2])
	if want := `{"rule":"SignatureGenerationRule","frame":1,"exception":"a.Outer","name":"pre.B.b","verdict":"prefix","pattern":"pre\\."}`; string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
	for data, want := range map[string]string{
		java("E", "F c.D.e"): "E: at c.D.e", java("E a.B.c d.E.f"): "E: at a.B.c | d.E.f", java("E"): "E", `{"java_stack_trace":"x"}`: "",
		java("E " + strings.Repeat("a.B.c ", 41)): "E: at " + strings.TrimSuffix(strings.Repeat("a.B.c | ", 40), " | "),
	} {
		if got := signature.Generate(decode(t, data), smallJava).Proto; got != want {
			t.Errorf("proto of %.80s: %q, want %q", data, got, want)
		}
	}
	for data, want := range map[string]string{
		java("E"): "SignatureGenerationRule: no Java frame is known", `{"java_stack_trace":"x"}`: "SignatureGenerationRule: the Java stack trace could not be read",
		`{"java_exception":[1]}`: "SignatureGenerationRule: there is no Java exception",
	} {
		if got := strings.Join(signature.Generate(decode(t, data), smallJava).Notes, "\n"); got != want {
			t.Errorf("notes of %s: %q, want %q", data, got, want)
		}
	}
}

// Names with what compilers, libraries and virtual machines number, as they make them.
func TestJavaNames(t *testing.T) {
	for name, want := range map[string]string{
		"javacrash.Main$$Lambda$14/0x00007fa9ac002aa0.run":                                                            "javacrash.Main$$Lambda.run",
		"javacrash.Main$$Lambda/0x00007fa9ac002aa0.run":                                                               "javacrash.Main$$Lambda.run",
		"javacrash.Main$$Lambda$1/1234567.run":                                                                        "javacrash.Main$$Lambda.run",
		"shop.Main$$ExternalSyntheticLambda12.run":                                                                    "shop.Main$$ExternalSyntheticLambda.run",
		"shop.Main$$InternalSyntheticLambda$1$ebaa538726b99bb77e0f5e7c86443911af17d6e5be2b8771952ae0caa4ff2ac7$0.run": "shop.Main$$InternalSyntheticLambda.run",
		"shop.-$$Lambda$Main$Xn3kPqhO2lZK0vQ5o0nDqK5Yx_A.run":                                                         "shop.-$$Lambda$Main.run",
		"shop.-$$Lambda$Main$Inner$Xn3kPqhO2lZK0vQ5o0nDqK5Yx_A.run":                                                   "shop.-$$Lambda$Main$Inner.run",
		"shop.Basket$1.compare":                                                                                       "shop.Basket$.compare", "shop.Basket$1Local.x": "shop.Basket$Local.x", "shop.MainKt$main$1$job$2.invokeSuspend": "shop.MainKt$main$$job$.invokeSuspend",
		"shop.Main.lambda$pay$3": "shop.Main.lambda$pay$", "shop.Main.access$1200": "shop.Main.access$", "shop.Main.$r8$lambda$4AfZ9-dT_x": "shop.Main.$r8$lambda$",
		"shop.Main.pay$lambda-3": "shop.Main.pay$lambda$", "shop.Main.pay$lambda$3": "shop.Main.pay$lambda$", "shop.Main.Text--4IGK_g": "shop.Main.Text", "shop.Main.Text--4IGK_g$default": "shop.Main.Text$default",
		"shop.Money.constructor-impl": "shop.Money.constructor-impl", "shop.Main.component12": "shop.Main.component12", "shop.Main2.pay2": "shop.Main2.pay2",
		"javacrash.$Proxy0.price": "javacrash.$Proxy.price", "jdk.proxy2.$Proxy7.price": "jdk.proxy.$Proxy.price", "com.sun.proxy.$Proxy12.x": "com.sun.proxy.$Proxy.x",
		"jdk.internal.reflect.GeneratedMethodAccessor12.invoke":              "jdk.internal.reflect.GeneratedMethodAccessor.invoke",
		"sun.reflect.GeneratedSerializationConstructorAccessor1.newInstance": "sun.reflect.GeneratedSerializationConstructorAccessor.newInstance",
		"shop.Basket$$EnhancerBySpringCGLIB$$1a2b3c4d.pay":                   "shop.Basket$$EnhancerBySpringCGLIB.pay", "shop.Basket$$FastClassBySpringCGLIB$$e7f8.invoke": "shop.Basket$$FastClassBySpringCGLIB.invoke",
		"shop.Basket$$SpringCGLIB$$0.pay": "shop.Basket$$SpringCGLIB.pay", "shop.Basket$HibernateProxy$aB3dE9xY.pay": "shop.Basket$HibernateProxy.pay", "shop.Basket_$$_jvst7b1_0.pay": "shop.Basket_$$_jvst.pay",
		"shop.Build$_run_closure1_closure2.doCall": "shop.Build$_run_closure_closure.doCall", "shop$fn__1234.invoke": "shop$fn__.invoke", "shop.Main@1b6d3586.run": "shop.Main.run",
		"java.util.Base64.decode": "java.util.Base64.decode", "shop.R2D2$X.go": "shop.R2D2$X.go",
	} {
		r := signature.Generate(decode(t, java("E "+name)), smallJava)
		if got := strings.TrimPrefix(r.Proto, "E: at "); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		again := signature.Generate(decode(t, java("E "+want)), smallJava)
		if again.Proto != r.Proto {
			t.Errorf("%s becomes %s", want, again.Proto)
		}
	}
}

// What crashes typically look like, with our own lists.
func TestJavaDefault(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"§7.2: the mega-bucket", java("java.lang.IllegalStateException shop.Basket.pay(Basket.kt:5) android.app.Activity.performResume(Activity.java:8)", "java.lang.RuntimeException android.app.ActivityThread.performResumeActivity(ActivityThread.java:4) com.android.internal.os.RuntimeInit$MethodAndArgsCaller.run(RuntimeInit.java:9)"),
			"java.lang.IllegalStateException: at shop.Basket.pay(Basket.kt)"},
		{"parse", java("java.lang.NumberFormatException java.lang.NumberFormatException.forInputString(NumberFormatException.java:67) java.lang.Integer.parseInt(Integer.java:668) java.lang.Integer.parseInt(Integer.java:786) shop.Basket.pay(Basket.java:5)"),
			"java.lang.NumberFormatException: at java.lang.Integer.parseInt(Integer.java) | shop.Basket.pay(Basket.java)"},
		{"index", java("java.lang.IndexOutOfBoundsException jdk.internal.util.Preconditions.outOfBounds jdk.internal.util.Preconditions.checkIndex java.util.Objects.checkIndex java.util.ArrayList.get shop.Basket.pay"),
			"java.lang.IndexOutOfBoundsException: at java.util.ArrayList.get | shop.Basket.pay"},
		{"Kotlin null", java("java.lang.NullPointerException kotlin.jvm.internal.Intrinsics.checkNotNullParameter shop.Basket.pay"), "java.lang.NullPointerException: at shop.Basket.pay"},
		{"reflection", java("E shop.A.a jdk.internal.reflect.NativeMethodAccessorImpl.invoke0(:-2) java.lang.reflect.Method.invoke shop.B.b"), "E: at shop.A.a"},
		{"called by reflection only", java("E jdk.internal.reflect.NativeMethodAccessorImpl.invoke0(:-2) java.lang.reflect.Method.invoke shop.B.b"), "E: at shop.B.b"},
		{"coroutine", java("E kotlinx.coroutines.JobKt.ensureActive shop.Load$load$2.invokeSuspend kotlin.coroutines.jvm.internal.BaseContinuationImpl.resumeWith"), "E: at shop.Load$load$.invokeSuspend"},
		{"lambda class", java("E shop.Main$$ExternalSyntheticLambda3.run shop.Main.lambda$pay$1"), "E: at shop.Main.lambda$pay$"},
		{"stream", java("E java.util.stream.ReferencePipeline$3$1.accept java.util.ArrayList$ArrayListSpliterator.forEachRemaining shop.Basket.total"), "E: at shop.Basket.total"},
		{"proxy", java("E com.sun.proxy.$Proxy7.price shop.Basket.total"), "E: at shop.Basket.total"},
		{"array copy", java("E java.lang.System.arraycopy(:-2) shop.Basket.total"), "E: at java.lang.System.arraycopy | shop.Basket.total"},
		{"all of it the platform's", java("android.view.WindowManager$BadTokenException android.view.ViewRootImpl.setView android.app.ActivityThread.main"), "android.view.WindowManager$BadTokenException: at android.view.ViewRootImpl.setView"},
		{"own names that start alike", java("E javax2.A.a"), "E: at javax2.A.a"},
		{"own package of Android", java("E androids.A.a"), "E: at androids.A.a"},
		{"pool", java("E java.util.concurrent.ThreadPoolExecutor.runWorker java.util.concurrent.ConcurrentHashMap.put shop.A.a"), "E: at java.util.concurrent.ConcurrentHashMap.put | shop.A.a"},
	} {
		r := signature.Generate(decode(t, tt.data), nil)
		if r.Signature != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, r.Signature, tt.want)
		}
		checkJava(t, r)
	}
}

// A folder of siggen's lists has none for Java: ours stand in. One that is there and wrong is an error.
func TestJavaLists(t *testing.T) {
	data := java("E com.sun.proxy.$Proxy7.price java.util.ArrayList.get c.D.e")
	if got, want := signature.Generate(decode(t, data), small).Signature, "E: at java.util.ArrayList.get | c.D.e"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range []string{"java_irrelevant_re.txt", "java_prefix_re.txt"} {
		folder := fstest.MapFS{name: {Data: []byte("a\n(\n")}}
		for _, other := range []string{"irrelevant_signature_re.txt", "prefix_signature_re.txt", "signatures_with_line_numbers_re.txt", "signature_sentinels.txt"} {
			folder[other] = &fstest.MapFile{}
		}
		if _, err := signature.Parse(folder); err == nil || !strings.Contains(err.Error(), name+":2: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The recorded crashes of examples/javacrash: each has a signature of its own, which names the program, and
// no message is in it.
func TestJavaRecorded(t *testing.T) {
	for _, build := range []string{"plain", "shrunk"} {
		archive, err := txtar.ParseFile("../examples/javacrash/testdata/" + build + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, f := range archive.Files {
			if !strings.HasSuffix(f.Name, ".json") {
				continue
			}
			r := signature.Generate(decode(t, `{"java_exception":`+string(f.Data)+`}`), nil)
			checkJava(t, r)
			if other, ok := seen[r.Signature]; ok {
				t.Errorf("%s: %s and %s: %s", build, other, f.Name, r.Signature)
			}
			seen[r.Signature] = f.Name
			if _, frames, _ := strings.Cut(r.Signature, ": at "); build == "plain" && !strings.Contains(frames, "javacrash.") {
				t.Errorf("%s: %s", f.Name, r.Signature)
			}
			for _, message := range []string{"4111", "goldpear", "fake", "boom", "of 3", "paper"} {
				if strings.Contains(r.Signature+r.Proto+fmt.Sprint(r.Steps), message) {
					t.Errorf("%s: %+v", f.Name, r)
				}
			}
		}
		if len(seen) != 17 {
			t.Errorf("%s: %d crashes", build, len(seen))
		}
	}
	if data, err := os.ReadFile("../examples/javacrash/testdata/plain.txtar"); err != nil || !strings.Contains(string(data), "4111") {
		t.Errorf("the record has no message: %v", err)
	}
}

// A signature stays with other lines, messages, numbers of lambdas and anonymous classes, hashes and
// addresses.
func TestJavaStable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	hash := func(n int) string {
		const digits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
		b := make([]byte, n)
		for i := range b {
			b[i] = digits[rng.IntN(len(digits))]
		}
		return string(b)
	}
	number := func() string { return fmt.Sprint(rng.IntN(1000)) }
	modules := []func() string{
		func() string { return "shop.Basket" }, func() string { return "shop.Basket$" + number() }, func() string { return "shop.Main$$Lambda$" + number() + "/0x" + fmt.Sprintf("%016x", rng.Uint64()) },
		func() string { return "shop.Main$$ExternalSyntheticLambda" + number() }, func() string { return "shop.-$$Lambda$Main$" + hash(27) },
		func() string { return "com.sun.proxy.$Proxy" + number() }, func() string { return "jdk.proxy" + number() + ".$Proxy" + number() },
		func() string { return "shop.Basket$$EnhancerBySpringCGLIB$$" + fmt.Sprintf("%x", rng.Uint32()) }, func() string { return "java.util.ArrayList" },
		func() string { return "sun.reflect.GeneratedMethodAccessor" + number() }, func() string { return "shop.MainKt$main$" + number() + "$job$" + number() },
		func() string { return "shop.Basket$HibernateProxy$" + hash(8) }, func() string { return "kotlinx.coroutines.JobKt" },
	}
	functions := []func() string{
		func() string { return "pay" }, func() string { return "lambda$pay$" + number() }, func() string { return "access$" + number() }, func() string { return "$r8$lambda$" + hash(27) },
		func() string { return "pay$lambda$" + number() }, func() string { return "invokeSuspend" }, func() string { return "Text-" + hash(7) }, func() string { return "<init>" },
	}
	build := func(picks [][]int) string {
		var values []any
		for _, exception := range picks {
			frames := []any{}
			for _, p := range exception[1:] {
				frames = append(frames, map[string]any{"module": modules[p%len(modules)](), "function": functions[p/len(modules)%len(functions)](), "lineno": rng.IntN(5000), "filename": "Basket.java", "in_app": p%5 > 0})
			}
			values = append(values, map[string]any{"stacktrace": map[string]any{"type": []string{"Failed", "Failed$" + number(), "StackOverflowError"}[exception[0]%3], "module": "shop", "value": "secret " + hash(20), "frames": frames}})
		}
		text, err := json.Marshal(map[string]any{"java_exception": map[string]any{"exception": map[string]any{"values": values}}})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	distinct := map[string]bool{}
	for range short(200, 2000) {
		var picks [][]int
		for range 1 + rng.IntN(3) {
			exception := []int{rng.IntN(3)}
			for range rng.IntN(10) {
				exception = append(exception, rng.IntN(len(modules)*len(functions)*5))
			}
			picks = append(picks, exception)
		}
		a, b := build(picks), build(picks)
		ra, rb := signature.Generate(decode(t, a), nil), signature.Generate(decode(t, b), nil)
		if ra.Signature != rb.Signature || ra.Proto != rb.Proto {
			t.Fatalf("%q and %q of\n%s\n%s", ra.Signature, rb.Signature, a, b)
		}
		checkJava(t, ra)
		distinct[ra.Signature] = true
	}
	if len(distinct) < short(50, 500) {
		t.Errorf("%d signatures", len(distinct))
	}
}

func TestJavaHostile(t *testing.T) {
	for _, unit := range []string{"$", "$1", "-", "-$$Lambda$a", "/0x1", "@abcd", "__1", "a.", ".", "(", "é", "\xff", "$$EnhancerByX$$1", "Synthetic1", " ", "|", "$Proxy1"} {
		name := strings.Repeat(unit, hostile()/len(unit))
		var frames []signature.JavaFrame
		for range 41 {
			frames = append(frames, signature.JavaFrame{Module: name, Function: name, File: name + ".java"})
		}
		c := &signature.Crash{JavaStackTrace: name, JavaException: &signature.JavaException{Values: []signature.JavaThrowable{{Module: name, Type: name, Frames: frames}, {Type: "StackOverflowError", Frames: frames}}}}
		r := signature.Generate(c, nil)
		if checkJava(t, r); len(r.Proto) > 43*1100 {
			t.Errorf("proto of %d bytes", len(r.Proto))
		}
		signature.Generate(c, signature.Default().Defects())
	}
	many := &signature.JavaException{Values: make([]signature.JavaThrowable, 5000)}
	for i := range many.Values {
		many.Values[i].Frames = []signature.JavaFrame{{Module: "java.lang.reflect.X", Function: "f"}}
	}
	if r := signature.Generate(&signature.Crash{JavaException: many}, nil); len(r.Steps) > 2000 {
		t.Errorf("%d steps", len(r.Steps))
	}
}

func FuzzJava(f *testing.F) {
	f.Add(java("a.E irr.A.a c.D$1.lambda$e$3(D.kt:5)", "F"))
	f.Add(`{"java_stack_trace":"a.B: c@0123abcd\n\tat d.E.f(E.java:3)"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var c signature.Crash
		if json.Unmarshal([]byte(text), &c) != nil {
			c.JavaException = &signature.JavaException{Values: []signature.JavaThrowable{{Module: text, Type: text, Frames: []signature.JavaFrame{{Module: text, Function: text, File: text}, {Module: text}}}}}
			c.JavaStackTrace = text
		}
		for _, l := range []*signature.Lists{smallJava, nil} {
			if r := signature.Generate(&c, l); r.Signature == "" || len(r.Signature) > 255 {
				t.Errorf("%q", r.Signature)
			}
			if r := signature.Generate(&c, signature.Default().Defects()); len(r.Signature) > 255 {
				t.Errorf("%q", r.Signature)
			}
		}
	})
}

// TestJavaDistinct: the recorded crashes are of different causes, and so are their signatures.
func TestJavaDistinct(t *testing.T) {
	archive, err := txtar.ParseFile("../examples/javacrash/testdata/plain.txtar")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, f := range archive.Files {
		name, ok := strings.CutSuffix(f.Name, ".json")
		if !ok {
			continue
		}
		s := signature.Generate(decode(t, `{"java_exception":`+string(f.Data)+`}`), nil).Signature
		if other := names[s]; other != "" {
			t.Errorf("%s and %s are both %s", name, other, s)
		}
		names[s] = name
	}
	if len(names) < 15 {
		t.Errorf("only %d crashes: %v", len(names), names)
	}
}
