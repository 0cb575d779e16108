package demangle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

// dependent is what has names that are not resolved: members of templates that depend on arguments.
const dependent = `
namespace std { template <bool B, class T = void> struct enable_if { typedef T type; }; template <class T> struct is_signed { static const bool value = true; }; template <class A, class B> struct both { static const bool value = true; template <class C> struct in { static const bool value = true; }; }; }
namespace llvm {
template <class T> struct Optional { T t; };
template <class T> struct has_traits { static const bool value = true; };
template <class T> typename std::enable_if<std::is_signed<T>::value, Optional<T>>::type checkedAdd(T, T) { return {}; }
template <class T> typename std::enable_if<has_traits<T>::value>::type yamlize(T &, Optional<T> *, Optional<T> *) {}
template <class T, class U> typename std::enable_if<std::both<T, U>::value && std::is_signed<U>::value, Optional<U> *>::type two(T, U, Optional<T> *, Optional<U> *, Optional<U>) { return 0; }
template <class T> typename std::enable_if<std::is_signed<std::both<T, Optional<T>>>::value, int>::type nested(T *, Optional<T>, Optional<T>, T *) { return 0; }
template <class T> typename std::enable_if<(sizeof(T) > 1) && ::llvm::has_traits<T>::value, T *>::type global(T *, Optional<T *>, T *, Optional<T *>) { return 0; }
template Optional<int> checkedAdd(int, int); template Optional<long> checkedAdd(long, long); template Optional<Optional<char> *> checkedAdd(Optional<char> *, Optional<char> *);
template void yamlize(int &, Optional<int> *, Optional<int> *); template void yamlize(Optional<int> &, Optional<Optional<int>> *, Optional<Optional<int>> *);
template Optional<long *> *two(char *, long *, Optional<char *> *, Optional<long *> *, Optional<long *>); template int nested(char *, Optional<char>, Optional<char>, char *); template int *global(int *, Optional<int *>, int *, Optional<int *>);
}
struct sr3Named { template <class T> sr3Named f(T, T *, sr3Named) { return *this; } }; template sr3Named sr3Named::f(int *, int **, sr3Named);
`

// Names that the library reads wrong by itself. LLVM's demangler and GNU's say the same of them.
func TestDependent(t *testing.T) {
	src := filepath.Join(t.TempDir(), "d.cpp")
	if err := os.WriteFile(src, []byte(dependent), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(debugtest.Program(t, "llvm", "clang"), "-c", "-o", src+".o", src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	out, err := exec.Command(debugtest.Program(t, "llvm", "llvm-nm"), "-j", src+".o").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	cmd := exec.Command(debugtest.Program(t, "llvm", "llvm-cxxfilt"))
	cmd.Stdin = strings.NewReader(strings.Join(names, "\n"))
	if out, err = cmd.Output(); err != nil {
		t.Fatal(err)
	}
	plain := strings.NewReplacer(" ", "", "(", "", ")", "", "&& ::", "&&") // newer LLVM has less of the first; 14 drops a leading ::
	repaired := 0
	for i, want := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if got := Name(names[i]); plain.Replace(got) != plain.Replace(want) {
			t.Errorf("%s:\n%s, LLVM says\n%s", names[i], got, want)
		}
		if repair(names[i]) != names[i] {
			repaired++
		}
	}
	if len(names) < 9 || repaired < 7 {
		t.Errorf("%d of %d names repaired: %q", repaired, len(names), names)
	}
}

// Both schemes of Rust, for people and for symbol files alike.
func TestRust(t *testing.T) {
	data, err := os.ReadFile("testdata/rust.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		name, want, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if got := Name(name); got != want {
			t.Errorf("Name(%s) = %s, want %s", name, got, want)
		}
		if got := Plain(name); got != want {
			t.Errorf("Plain(%s) = %s, want %s", name, got, want)
		}
		n++
	}
	if n < 190 {
		t.Errorf("%d names", n)
	}
}

// What has no readable form here stays as it is.
func TestRaw(t *testing.T) {
	for _, name := range []string{"-[Foo bar:baz:]", "+[NSString stringWithFormat:]", "$s4main3FooV3barSiyF", "_$s4main3FooVACycfC", "_TtC4main3Foo", "_D3std5stdio7writelnFZv", "_R", "_ZN", "_Z", "__Z", "_ZNK3fooE$"} {
		if Name(name) != name || Plain(name) != name {
			t.Errorf("%s: %s, %s", name, Name(name), Plain(name))
		}
	}
}

// Repairing asks the library a bounded number of times, whatever the name.
func TestRepairGrowth(t *testing.T) {
	for _, unit := range []string{"Xsr3fooIiE1xE", "sr3fooIS_E", "S0_", "Xsr1aI"} {
		last := 0.0
		for _, n := range []int{500, 1000, 2000, 4000} {
			s := "_Z1fIi" + strings.Repeat(unit, n) + "EvT_"
			allocs := testing.AllocsPerRun(1, func() { Name(s); Plain(s) })
			if last > 0 && allocs > last*2.2+50 {
				t.Errorf("%d of %s: %v allocations, %v for half", n, unit, allocs, last)
			}
			last = allocs
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"_ZN4llvm10checkedAddIiEENSt9enable_ifIXsr3std9is_signedIT_EE5valueENS_8OptionalIS2_EEE4typeES2_S2_", "_RNvC6_123foo3bar", "_ZN1a1f17h0123456789abcdefE", "_f@8", "?f@@YAXXZ", "_Z1fv.cold.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, x86 := range []bool{false, true} {
			name, _ := Undecorate(s, x86)
			if len(name) > len(s) {
				t.Errorf("%q", name)
			}
		}
		if got := Plain(s); len(got) > max(len(s), 1<<(maxOutput+1)) {
			t.Errorf("%d bytes", len(got))
		}
	})
}
