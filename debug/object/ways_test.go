package object_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/object"
	"salvage/internal/debugtest"
)

// addAll gives o whatever it needs of the files in folders: each file is tried, and refused if it is not it.
func addAll(t testing.TB, o *object.Object, folders []string) {
	t.Helper()
	for more := true; more; {
		more = false
		for _, n := range o.Needs() {
			for _, dir := range folders {
				paths, err := filepath.Glob(filepath.Join(dir, "*"))
				if err != nil {
					t.Fatal(err)
				}
				for _, path := range paths {
					data, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					if !more && o.Add(n, data) == nil {
						more = true
					}
				}
			}
			if more {
				break // others may not be needed any more
			}
		}
	}
}

// runIn runs a program in a folder.
func runIn(t testing.TB, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, text)
	}
}

// sample compiles the program of testdata/ways in a new folder and returns its path.
func sample(t testing.TB, compiler string, flags ...string) string {
	t.Helper()
	return sampleIn(t, t.TempDir(), compiler, flags...)
}

func sampleIn(t testing.TB, dir, compiler string, flags ...string) string {
	t.Helper()
	debugtest.Program(t, "llvm", compiler)
	here, err := filepath.Abs("testdata/ways")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-O2", "-g", "-ffreestanding", "-fno-stack-protector", "-fno-exceptions", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-nostdlib", "-nostartfiles", "-Wl,--build-id=sha1", "-o", "ways"}
	args = append(args, flags...)
	for _, name := range []string{"one.cpp", "two.cpp", "three.c"} {
		args = append(args, filepath.Join(here, name))
	}
	runIn(t, dir, compiler, args...)
	return filepath.Join(dir, "ways")
}

// compareFiles compares all answers of two files whose code is the same.
func compareFiles(t testing.TB, got, want *file) {
	t.Helper()
	n, differ := 0, 0
	for _, e := range want.Executable() {
		for a := e.Addr; a < e.Addr+e.Size; a++ {
			n++
			ours, theirs := answer(got.Cache, a-got.ImageBase()), answer(want.Cache, a-want.ImageBase())
			if ours == theirs {
				ours, theirs = languages(got, a), languages(want, a)
			}
			if ours != theirs {
				if differ++; differ <= 5 {
					t.Errorf("%#x:\n%swant\n%s", a, ours, theirs)
				}
			}
		}
	}
	if differ > 0 || n == 0 {
		t.Errorf("%d of %d answers differ", differ, n)
	}
	if got.report.Lost > 0 || len(got.report.Needs) > 0 {
		t.Errorf("lost %d: %v, needs %v", got.report.Lost, got.report.Problems, got.report.Needs)
	}
}

// languages writes the languages of the frames at an address.
func languages(f *file, a uint64) (text string) {
	for _, fr := range f.Lookup(a-f.ImageBase(), nil) {
		text += f.Cache.Function(fr).Language.String() + " "
	}
	return text
}

func openFile(t testing.TB, path string, folders ...string) *file {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, data, folders...)
}

// The sample as it is, by compiler, linker and version of DWARF.
func TestWays(t *testing.T) {
	llvm := debugtest.Program(t, "llvm", "llvm-symbolizer")
	static := []string{"-static"}
	lld := []string{"-static", "-fuse-ld=lld"}
	for _, tt := range []struct {
		name, compiler string
		flags          []string
	}{
		{"gcc static", "gcc", static},
		{"gcc DWARF 2", "gcc", append(static, "-gdwarf-2")},
		{"gcc DWARF 3", "gcc", append(static, "-gdwarf-3")},
		{"gcc DWARF 4", "gcc", append(static, "-gdwarf-4")},
		{"gcc DWARF 5, 64 bits", "gcc", append(static, "-gdwarf64")},
		{"gcc DWARF 4, type units", "gcc", append(static, "-gdwarf-4", "-fdebug-types-section")},
		{"gcc DWARF 5, type units", "gcc", append(static, "-gdwarf-5", "-fdebug-types-section")},
		{"gcc PIE", "gcc", []string{"-pie", "-fPIE"}},
		{"gcc LTO", "gcc", append(static, "-flto", "-fno-toplevel-reorder")},
		{"gcc sections, gc", "gcc", append(static, "-ffunction-sections", "-Wl,--gc-sections")},
		{"gcc sections, gc, icf", "gcc", append(lld, "-ffunction-sections", "-Wl,--gc-sections", "-Wl,--icf=all")},
		{"gcc x86", "gcc", append(static, "-m32")},
		{"gcc x86 DWARF 4", "gcc", append(static, "-m32", "-gdwarf-4")},
		{"gcc arm64", "aarch64-linux-gnu-gcc", static},
		{"gcc arm64 DWARF 4", "aarch64-linux-gnu-gcc", append(static, "-gdwarf-4")},
		{"clang", "clang", lld},
		{"clang DWARF 2", "clang", append(lld, "-gdwarf-2")},
		{"clang DWARF 3", "clang", append(lld, "-gdwarf-3")},
		{"clang DWARF 4", "clang", append(lld, "-gdwarf-4")},
		{"clang DWARF 4, GNU ld", "clang", append(static, "-gdwarf-4")},
		{"clang DWARF 5, 64 bits", "clang", append(lld, "-gdwarf-5", "-gdwarf64")},
		{"clang DWARF 4, type units", "clang", append(lld, "-gdwarf-4", "-fdebug-types-section")},
		{"clang DWARF 5, type units", "clang", append(lld, "-gdwarf-5", "-fdebug-types-section")},
		{"clang PIE", "clang", []string{"-pie", "-fPIE", "-fuse-ld=lld"}},
		{"clang LTO", "clang", append(lld, "-flto")},
		{"clang thin LTO", "clang", append(lld, "-flto=thin")},
		{"clang sections, gc, icf", "clang", append(lld, "-ffunction-sections", "-Wl,--gc-sections", "-Wl,--icf=all")},
		{"clang DWARF 4, sections, gc, icf", "clang", append(lld, "-gdwarf-4", "-ffunction-sections", "-Wl,--gc-sections", "-Wl,--icf=all")},
		{"clang x86", "clang", append(lld, "--target=i686-linux-gnu")},
		{"clang arm", "clang", append(lld, "--target=armv7-linux-gnueabihf")},
		{"clang arm, Thumb", "clang", append(lld, "--target=armv7-linux-gnueabihf", "-mthumb", "-gdwarf-4")},
		{"clang arm64", "clang", append(lld, "--target=aarch64-linux-gnu")},
		{"clang arm64, big-endian", "clang", append(lld, "--target=aarch64_be-linux-gnu")},
		{"clang ppc64 DWARF 2", "clang", append(lld, "--target=powerpc64-linux-gnu", "-mabi=elfv2", "-gdwarf-2")},
		{"clang ppc64 DWARF 3", "clang", append(lld, "--target=powerpc64-linux-gnu", "-mabi=elfv2", "-gdwarf-3")},
		{"clang ppc64 DWARF 4", "clang", append(lld, "--target=powerpc64-linux-gnu", "-mabi=elfv2", "-gdwarf-4")},
		{"clang ppc64 DWARF 5", "clang", append(lld, "--target=powerpc64-linux-gnu", "-mabi=elfv2", "-gdwarf-5")},
		{"clang ppc64 DWARF 5, 64 bits", "clang", append(lld, "--target=powerpc64-linux-gnu", "-mabi=elfv2", "-gdwarf-5", "-gdwarf64")},
		{"clang ppc DWARF 4", "clang", append(lld, "--target=powerpc-linux-gnu", "-gdwarf-4")},
		{"clang mips64", "clang", append(lld, "--target=mips64-linux-gnuabi64")},
		{"clang mips", "clang", append(lld, "--target=mips-linux-gnu", "-gdwarf-3")},
		{"clang riscv64", "clang", append(lld, "--target=riscv64-linux-gnu")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			compareLLVM(t, llvm, sample(t, tt.compiler, tt.flags...), true)
		})
	}
}

func TestRustWays(t *testing.T) {
	llvm := debugtest.Program(t, "llvm", "llvm-symbolizer")
	rustc := debugtest.Program(t, "rust", "rustc")
	for _, flags := range [][]string{nil, {"-C", "lto=fat"}, {"-C", "opt-level=1"}} {
		out := filepath.Join(t.TempDir(), "ways")
		args := []string{"--edition", "2021", "-g", "-O", "-C", "panic=abort", "-C", "relocation-model=static", "-o", out, "testdata/ways/ways.rs"}
		for _, link := range []string{"-nostartfiles", "-nostdlib", "-static"} {
			args = append(args, "-C", "link-args="+link)
		}
		runIn(t, ".", rustc, append(args, flags...)...)
		compareLLVM(t, llvm, out, true)
	}
}
