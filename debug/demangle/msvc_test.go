package demangle

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

// undname asks LLVM's demangler about names. What it calls invalid is not in the answer.
func undname(t testing.TB, names []string) map[string]string {
	t.Helper()
	cmd := exec.Command(debugtest.Program(t, "llvm", "llvm-undname"))
	cmd.Stdin = strings.NewReader(strings.Join(names, "\n") + "\n")
	text, _ := cmd.Output() // fails if one name is invalid
	out := map[string]string{}
	for block := range strings.SplitSeq(string(text), "\n\n") {
		if name, readable, ok := strings.Cut(strings.TrimSpace(block), "\n"); ok {
			out[name] = msWords.Replace(readable)
		}
	}
	return out
}

// msWords puts Microsoft's words for what LLVM abbreviates.
var msWords = strings.NewReplacer(" dtor'", " destructor'", " dtor ", " destructor ", " ctor ", " constructor ")

// recorded is testdata/msvc.txt: linkage names, and what symbolic makes of them.
func recorded(t testing.TB) (names []string, symbolic map[string]string) {
	t.Helper()
	data, err := os.ReadFile("testdata/msvc.txt")
	if err != nil {
		t.Fatal(err)
	}
	symbolic = map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		names = append(names, name)
		symbolic[name] = text
	}
	return names, symbolic
}

// llvmWrong is where LLVM 14 is wrong: it takes an anonymous namespace for a name that can be referred to, which
// the clang of the same release does not, and prints its key.
var llvmWrong = regexp.MustCompile(`\b0x[0-9A-F]+\b`)

// llvmLacks is what LLVM 14 does not read: arguments of parameters that are auto, and what imports begin with.
var llvmLacks = regexp.MustCompile(`\$M|^__imp_|^\?\?@`)

// compare holds names against LLVM's demangler, and returns how many it knew.
func compare(t *testing.T, names []string) (valid int) {
	t.Helper()
	want := undname(t, names)
	without, forgiven := 0, 0
	for _, name := range names {
		got, ok := msvc(name, msvcFull)
		text, known := want[name]
		switch {
		case llvmLacks.MatchString(name):
			if !ok && !strings.HasPrefix(name, "??@") {
				t.Errorf("%s is not known", name)
			}
		case known && !ok && strings.Contains(name, "P8"):
			forgiven++ // LLVM forgets a mistake when it meets a pointer to a member after it
		case known != ok:
			t.Errorf("%s: %v (%s), LLVM says %v (%s)", name, ok, got, known, text)
		case llvmWrong.MatchString(text):
			if strings.Contains(got, "0x") {
				t.Errorf("%s:\n%s, LLVM says\n%s", name, got, text)
			}
		case got != text && calls.ReplaceAllString(got, "") == calls.ReplaceAllString(text, ""):
			without++
		case got != text:
			t.Errorf("%s:\n%s, LLVM says\n%s", name, got, text)
		}
		if known {
			valid++
		}
	}
	if without > len(names)/20 || forgiven > len(names)/1000 {
		t.Errorf("of %d names %d without calling conventions, %d with mistakes that LLVM forgives", len(names), without, forgiven)
	}
	t.Logf("%d names: LLVM knows %d, %d without calling conventions, %d with mistakes that it forgives", len(names), valid, without, forgiven)
	return valid
}

// calls are conventions. LLVM leaves them out within the type that a pointed-to function returns.
var calls = regexp.MustCompile(`__(cdecl|pascal|thiscall|stdcall|fastcall|clrcall|eabi|vectorcall)|__attribute__\(\(\w+\)\)| `)

func TestMSVCCompiled(t *testing.T) {
	names, _ := recorded(t)
	if valid := compare(t, names); valid < 850 {
		t.Errorf("LLVM knows %d", valid)
	}
}

// Every name in the Windows files of the fixtures: type descriptors, strings and imports.
func TestMSVCFixtures(t *testing.T) {
	shape := regexp.MustCompile(`(?:__imp_)?\.?\?[A-Za-z0-9_@?$<>-]+@[A-Za-z0-9_@?$<>-]*`)
	var names []string
	files, err := filepath.Glob(filepath.Join(debugtest.Path(t, "dump_syms/windows"), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for word := range bytes.SplitSeq(data, []byte{0}) {
			if len(word) < 4096 && shape.Match(word) && string(shape.Find(word)) == string(word) {
				names = append(names, string(word))
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	want := undname(t, names)
	names = slices.DeleteFunc(names, func(n string) bool { return want[n] == "" && !strings.HasPrefix(n, "__imp_") }) // not names
	if valid := compare(t, names); valid < 700 {
		t.Errorf("LLVM knows %d", valid)
	}
}

// Names that a grammar makes, the same each time. LLVM skips what comes after a name, so nothing does.
func TestMSVCGrammar(t *testing.T) {
	g := mangler{r: rand.New(rand.NewPCG(1, 2))}
	n := 12000
	if testing.Short() {
		n = 2000
	}
	var names []string
	for range n {
		g.fuel = 4 + g.r.IntN(40)
		if name := g.symbol(); len(name) < 2000 {
			names = append(names, name)
		}
	}
	if valid := compare(t, names); valid < n/2 {
		t.Errorf("LLVM knows %d of %d", valid, len(names))
	}
}

// symbolicWrong is where names for symbol files are not symbolic's, by linkage name or by what symbolic says.
var symbolicWrong = []struct{ name, text, why string }{
	{``, "^`string'$", "strings are said"},
	{`^\?\$TSS`, ``, "the guard's own name is lost"},
	{``, `::ctor<|operatorcast`, "templates of structors and conversions have no name"},
	{`^\?\?_8`, `}}$`, "a brace too many"},
	{`^\?\?_R0`, `::.RTTI`, "a descriptor is no member"},
	{`^\?\?__[EF]`, ``, "an initializer is no member, and a function"},
	{``, `\)(\)\(|\)\[|\(\w+)|[a-z\d]\)[(\[]\w`, "what is left of the type that a function returns or a variable has"},
	{`\$1\?`, `::\*\)`, "a function is no pointer to member"},
	{``, `\w(const|volatile)&`, "no space"},
	{`\$\$C`, ``, "the qualifiers of elements twice, and && of arrays"},
	{``, `\[0\]`, "the bound is not known"},
	{`\$M`, ``, "auto"},
	{`\$0\?*[A-P]{9,}@|\$0\?0@@`, ``, "numbers of 64 bits"},
	{`^\?(qualified|unaligned)`, ``, "__restrict and __unaligned"},
	{`\?A0x.*[12]\?A0x`, ``, "clang does not refer back to an anonymous namespace"},
}

func TestMSVCPlain(t *testing.T) {
	names, symbolic := recorded(t)
	same := 0
	for _, name := range names {
		got, ok := msvc(name, msvcSym)
		want := strings.ReplaceAll(symbolic[name], "`anonymous namespace'", "(anonymous namespace)")
		switch {
		case !ok && !strings.HasPrefix(name, "??@"):
			t.Errorf("%s is not known", name)
		case got == want:
			same++
		case want == name: // symbolic does not know it
		default:
			explained := false
			for _, w := range symbolicWrong {
				explained = explained || regexp.MustCompile(w.name).MatchString(name) && regexp.MustCompile(w.text).MatchString(want)
			}
			if !explained {
				t.Errorf("%s:\n%s, symbolic says\n%s", name, got, want)
			}
		}
	}
	if same < 550 {
		t.Errorf("%d of %d as symbolic has them", same, len(names))
	}
}

func TestMSVCName(t *testing.T) {
	for _, test := range []struct{ linkage, name, plain string }{
		{"?f@@YAXXZ", "f()", "f(void)"},
		{"?f@A@ns@@UEBAHPEAX_J@Z", "ns::A::f(void*, __int64) const", "ns::A::f(void*, int64_t) const"},
		{"?f@@YAXV?$A@V?$B@H@@@@P6AHD@Z@Z", "f(A<B<int>>, int (*)(char))", "f(A<B<int> >, int (*)(char))"},
		{"??0?$A@H@@QEAA@$$QEAV0@@Z", "A<int>::A(A<int>&&)", "A<int>::A<int>(A<int>&&)"},
		{"??$?0J@?$A@H@@QEAA@J@Z", "A<int>::A<long>(long)", "A<int>::A<int><long>(long)"},
		{"?f@A@@WCI@EAAXXZ", "[thunk]: A::f`adjustor{40}'()", "A::f(void)"},
		{"?f@A@@$4PPPPPPPM@A@EAAXXZ", "[thunk]: A::f`vtordisp{-4, 0}'()", "A::f(void)"},
		{"??_9A@@$B7AA", "[thunk]: A::`vcall'{8, {flat}}", "A::`vcall'{8, {flat}}"},
		{"?x@?1??f@A@?A0x12@@QAEXXZ@4HA", "`(anonymous namespace)::A::f()'::`2'::x", "`(anonymous namespace)::A::f(void)'::`2'::x"},
		{"?x@ns@@3PBDB", "ns::x", "ns::x"},
		{"??_7A@@6BB@@C@@@", "A::`vftable'{for `B's `C'}", "A::`vftable'{for `B's `C'}"},
		{"??_R0?AVA@@@8", "A `RTTI Type Descriptor'", "A `RTTI Type Descriptor'"},
		{".?AVA@ns@@", "ns::A `RTTI Type Descriptor Name'", "ns::A `RTTI Type Descriptor Name'"},
		{"__imp_?f@@YAXXZ", "__imp_f()", "__imp_f(void)"},
		{"?f@?$A@$MH00@@QEAAXXZ", "A<1>::f()", "A<1>::f(void)"},
		{"?f@?$A@$2UP@@01U?$Q@H@@02@@@@QEAAXXZ", "", ""}, // a member is a value without a type
		{"?f@?$A@$2UP@@0102@@@QEAAXXZ", "A<P{2, 3}>::f()", "A<P{2, 3}>::f(void)"},
		{"?f@U@?A0x62@ns@@QEAAXPEAU1?A0x62@2@@Z", "ns::(anonymous namespace)::U::f(ns::(anonymous namespace)::U*)", "ns::(anonymous namespace)::U::f(ns::(anonymous namespace)::U*)"},
		{"??_9A@@7AA", "", ""},
		{"?f@@YAX" + strings.Repeat("PA", msvcDepth) + "H@Z", "", ""},
		{"??@0123456789abcdef0123456789abcdef@", "", ""},
		{"?f@@YAXXZtail", "", ""},
		{"?f@@YAXX", "", ""},
		{"?f@0123@@YAXXZ", "", ""},
		{"?", "", ""},
		{"??", "", ""},
	} {
		if test.name == "" {
			test.name, test.plain = test.linkage, test.linkage
		}
		if got := Name(test.linkage); got != test.name {
			t.Errorf("Name(%s) = %s, want %s", test.linkage, got, test.name)
		}
		if got := Plain(test.linkage); got != test.plain {
			t.Errorf("Plain(%s) = %s, want %s", test.linkage, got, test.plain)
		}
	}
}

// hostile are names that nest or refer to themselves, n times.
var hostile = map[string]func(n int) string{
	"pointers": func(n int) string { return "?f@@YAX" + strings.Repeat("PA", n) + "H@Z" },
	"templates": func(n int) string {
		return "?f@@YAX" + strings.Repeat("V?$A@", n) + "H" + strings.Repeat("@@", n) + "@Z"
	},
	"scopes":    func(n int) string { return "?f@" + strings.Repeat("a@", n) + "@YAXXZ" },
	"locals":    func(n int) string { return strings.Repeat("?f@?1?", n) + "?f@@YAXXZ" + strings.Repeat("@4HA", n) },
	"questions": func(n int) string { return "?f@" + strings.Repeat("?B", n) },
	"doubling": func(n int) string {
		return "?f@@YAX" + strings.Repeat("P6AX00@Z", n) + "@Z"
	},
	"arguments": func(n int) string { return "??$f@" + strings.Repeat("PAUx@@", n) + "@@YAXXZ" },
	"siblings":  func(n int) string { return "?f@@YAX" + strings.Repeat("U?$A@U?$B@H@@@@", n) + "@Z" },
	"dimensions": func(n int) string {
		return fmt.Sprintf("?x@@3PAY%s@%sHA", "PPPPPP", strings.Repeat("0", n))
	},
	"members": func(n int) string { return "??$f@$2UA@@" + strings.Repeat("$2UA@@", n) },
	"bomb": func(n int) string { // each parameter is a function of the last one, twice
		s := "?f@@YAXP6AXHH@Z"
		for i := range min(n, 9) {
			s += fmt.Sprintf("P6AX%d%d@Z", i, i)
		}
		return s + strings.Repeat("9", n) + "@Z"
	},
}

// Work grows as the name does: what is allocated at most doubles when a name does.
func TestMSVCGrowth(t *testing.T) {
	for kind, name := range hostile {
		var last float64
		for _, n := range []int{500, 1000, 2000, 4000} {
			s := name(n)
			if got := Name(s); len(got) > max(len(s), 2<<maxOutput) {
				t.Errorf("%s %d: %d bytes", kind, n, len(got))
			}
			allocs := testing.AllocsPerRun(1, func() { Name(s) })
			if last > 0 && allocs > last*2.2+20 {
				t.Errorf("%s %d: %v allocations, %v for half", kind, n, allocs, last)
			}
			last = allocs
		}
	}
}

func FuzzMSVC(f *testing.F) {
	names, _ := recorded(f)
	for i := 0; i < len(names); i += 20 {
		f.Add(names[i])
	}
	f.Add(".?AVFoo@@")
	f.Add("__imp_?f@@YAXXZ")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > maxInput {
			return
		}
		for _, style := range []msvcStyle{msvcReadable, msvcSym, msvcFull} {
			got, ok := msvc(s, style)
			if len(got) > 1<<maxOutput || ok && got == "" {
				t.Errorf("%q: %d bytes", s, len(got))
			}
		}
	})
}
