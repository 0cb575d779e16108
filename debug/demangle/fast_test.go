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
	if len(names) < 4000 || known < len(names)*8/10 {
		t.Errorf("%d of %d names", known, len(names))
	}
}

// Each of these is read the fast way, to what the library says.
func TestFastGrammar(t *testing.T) {
	for _, name := range []string{
		// packs: empty, of numbers, between others, spread, pointed to, in a template, in functions
		"_Z1fIJEEvDpT_", "_Z1fIJiEEvDpT_", "_Z1fIJicEEvDpOT_", "_Z1fIiJ1acE1bEvT_DpRKT0_T1_", "_Z1fIJiRcO1bEEvDpOT_",
		"_ZN1aIJLi1ELb0EEE1fEv", "_ZN1aIJEE1fEv", "_ZN1aIiJEcE1fEv", "_Z1fIJicEEv1aIJDpT_EES0_IJbDpPT_EE", "_Z1fIJicEEv1aIDpT_EPS3_",
		"_Z1fIJicEEvPFvDpT_E1bS3_", "_Z1fIJ1aIiEEEvDpT_S1_", "_Z1fIJPFivEEEvDpRT_",
		// functions
		"_Z1fPFivE", "_Z1fPPFi1aPS_E", "_Z1fRFvzES_", "_Z1fOFvvE", "_Z1fPKPFvvES1_S2_", "_ZN1aIFivEE1fEv", "_ZN1aIFiPFvvERS1_EE1fES2_",
		"_Z1fIFvvEEvPT_S2_", "_Z1fI1aIFvvEEEvT_",
		// arrays
		"_Z1fPA5_i", "_Z1fRA5_KcS1_S0_", "_ZN1aIA7_cE1fEv", "_Z1fIA7_cEvRKT_", "_Z1fIA7_cEvOT_PKS0_",
		// references to references and constants twice
		"_Z1fIRiEvOT_", "_Z1fIRiEvRT_", "_Z1fIOiEvOT_", "_Z1fIOiEvRT_", "_Z1fIOiEvPFvOT_RS1_E", "_Z1fIKiEvRKT_", "_Z1fIRFvvEEvOT_",
		// templates of constructors and of operators
		"_ZN1aC2IiEET_", "_ZN1aIcEC1IiLi0EEERKS_IT_E", "_ZN1aclIiEEvT_", "_ZNK1aeqIiEEbRKT_",
	} {
		got, ok := fastPlain(name)
		if want := slowPlain(name); !ok || got != want || want == "" {
			t.Errorf("%s: %v\n%s, the library says\n%s", name, ok, got, want)
		}
	}
}

func TestFastBounds(t *testing.T) {
	if _, ok := fastPlain("_Z1f" + strings.Repeat("P", fastDepth) + "v"); ok {
		t.Error("too deep a type is read")
	}
	scope := "N1a" + strings.Repeat("I1aE1a", 4000)
	for _, last := range []string{"C1E", "clE", "C1IiEE", "clIiEE", "1bE"} {
		if _, ok := fastPlain("_Z" + scope + last + "v"); ok {
			t.Errorf("too long a text with %s is read", last)
		}
	}
	for _, unit := range []string{"P", "1aI", "St4pairIS_S_E", "N1aI", "RK", "1a", "S_", "T_", "FvvE", "PF", "A1_", "DpT_", "IJ", "1aIJDpT_EE", "RT_"} {
		last := 0.0
		for _, n := range []int{500, 1000, 2000, 4000} {
			s := "_Z1fI1aJ1bcEE" + strings.Repeat(unit, n) + "v"
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
	for _, s := range []string{"_ZNK1a1bIiE1cERKS0_PS1_", "_ZSt4moveIRiEvOT_", "_ZN1aIiLb1ELm3EEC1EvE", "_ZTVN1a1bE", "_ZN12_GLOBAL__N_11f3getEPKcz", "_ZN1aSIcEaSERKS_", "_Z1fIJicEEv1aIJDpT_EEDpRKT_", "_Z1fPA5_PFvvE", "_Z1fIRFvvEOA2_cEvOT_RT0_", "_ZN1aC2IiEET_"} {
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
