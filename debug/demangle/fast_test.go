package demangle

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

// libraryNames are the C++ names in the tables of this machine's libraries of C++ and of LLVM.
func libraryNames(t testing.TB) (names []string) {
	t.Helper()
	path, err := exec.Command(debugtest.Program(t, "llvm", "clang++"), "-print-file-name=libstdc++.so.6").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := []string{strings.TrimSpace(string(path))}
	llvm, _ := filepath.Glob("/usr/lib/*/libLLVM-14.so.1")
	for _, file := range append(files, llvm...) {
		out, err := exec.Command(debugtest.Program(t, "llvm", "llvm-nm"), "-D", "-j", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.FieldsSeq(string(out)) {
			if name, _, _ = strings.Cut(name, "@"); strings.HasPrefix(name, "_Z") {
				names = append(names, name)
			}
		}
	}
	return names
}

// What the fast way makes of a name the library makes of it as well.
func TestFast(t *testing.T) {
	names, known := libraryNames(t), 0
	for _, name := range names {
		if got, ok := fastPlain(name); ok {
			known++
			if want := slowPlain(name); got != want {
				t.Errorf("%s:\n%s, the library says\n%s", name, got, want)
			}
		}
	}
	if len(names) < 4000 || known < len(names)/2 {
		t.Errorf("%d of %d names", known, len(names))
	}
}

func TestFastBounds(t *testing.T) {
	if _, ok := fastPlain("_Z1f" + strings.Repeat("P", fastDepth) + "v"); ok {
		t.Error("too deep a type is read")
	}
	for _, unit := range []string{"P", "1aI", "St4pairIS_S_E", "N1aI", "RK", "1a", "S_", "T_"} {
		last := 0.0
		for _, n := range []int{500, 1000, 2000, 4000} {
			s := "_Z1fI1aE" + strings.Repeat(unit, n) + "v"
			if got, _ := fastPlain(s); len(got) > 4*fastSize+4*len(s) {
				t.Errorf("%s %d: %d bytes", unit, n, len(got))
			}
			allocs := testing.AllocsPerRun(1, func() { fastPlain(s) })
			if last > 0 && allocs > last*2.2+20 {
				t.Errorf("%s %d: %v allocations, %v for half", unit, n, allocs, last)
			}
			last = allocs
		}
	}
}

func FuzzFast(f *testing.F) {
	for _, s := range []string{"_ZNK1a1bIiE1cERKS0_PS1_", "_ZSt4moveIRiEvOT_", "_ZN1aIiLb1ELm3EEC1EvE", "_ZTVN1a1bE", "_ZN12_GLOBAL__N_11f3getEPKcz", "_ZN1aSIcEaSERKS_"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := fastPlain(s); ok {
			if want := slowPlain(s); want != "" && got != want {
				t.Errorf("%q:\n%s, the library says\n%s", s, got, want)
			}
		}
	})
}

func BenchmarkPlain(b *testing.B) {
	names := libraryNames(b)
	for b.Loop() {
		for _, name := range names {
			Plain(name)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(names)), "ns/name")
}
