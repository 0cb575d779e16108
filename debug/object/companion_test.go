package object_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/object"
	"salvage/debug/object/elf"
	"salvage/internal/debugtest"
)

// Split DWARF: the same answers as LLVM, which reads the same files, as the program that is not split, and
// from a package of the units.
func TestSplit(t *testing.T) {
	llvm := debugtest.Program(t, "llvm", "llvm-symbolizer")
	static := []string{"-static"}
	lld := []string{"-static", "-fuse-ld=lld"}
	for _, tt := range []struct {
		name, compiler, dwp string
		flags               []string
	}{
		{"gcc DWARF 4", "gcc", "dwp", append(static, "-gdwarf-4")},
		{"gcc DWARF 4, type units", "gcc", "dwp", append(static, "-gdwarf-4", "-fdebug-types-section")},
		{"gcc DWARF 5", "gcc", "", append(static, "-gdwarf-5")},
		{"gcc DWARF 5, sections, gc", "gcc", "", append(static, "-gdwarf-5", "-ffunction-sections", "-Wl,--gc-sections")},
		{"clang DWARF 4", "clang", "llvm-dwp", append(lld, "-gdwarf-4")},
		{"clang DWARF 4, sections, gc", "clang", "llvm-dwp", append(lld, "-gdwarf-4", "-ffunction-sections", "-Wl,--gc-sections", "-Wl,--icf=all")},
		{"clang DWARF 5", "clang", "llvm-dwp", append(lld, "-gdwarf-5")},
		{"clang DWARF 5, type units", "clang", "llvm-dwp", append(lld, "-gdwarf-5", "-fdebug-types-section")},
		{"clang DWARF 5, 64 bits", "clang", "", append(lld, "-gdwarf-5", "-gdwarf64")},
		{"clang DWARF 5, sections, gc", "clang", "llvm-dwp", append(lld, "-gdwarf-5", "-ffunction-sections", "-Wl,--gc-sections", "-Wl,--icf=all")},
		{"clang DWARF 5, inlines in the skeleton", "clang", "llvm-dwp", append(lld, "-gdwarf-5", "-fsplit-dwarf-inlining")},
		{"clang PIE", "clang", "llvm-dwp", []string{"-pie", "-fPIE", "-fuse-ld=lld"}},
		{"clang arm", "clang", "llvm-dwp", append(lld, "--target=armv7-linux-gnueabihf")},
		{"clang ppc64 DWARF 4", "clang", "", append(lld, "--target=powerpc64-linux-gnu", "-mabi=elfv2", "-gdwarf-4")},
		{"clang ppc64 DWARF 5", "clang", "", append(lld, "--target=powerpc64-linux-gnu", "-mabi=elfv2", "-gdwarf-5")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			whole := openFile(t, sample(t, tt.compiler, tt.flags...))
			path := sample(t, tt.compiler, append(slices.Clone(tt.flags), "-gsplit-dwarf")...)
			dir := filepath.Dir(path)
			alone := openFile(t, path)
			if n := alone.report.Needs; len(n) != 3 || !strings.HasPrefix(n[0].String(), dir) || !strings.HasSuffix(n[0].String(), ".dwo") {
				t.Errorf("needs %v", n)
			}
			if tt.name == "clang arm" {
				// LLVM 14 loses the base address of two range lists here, and with it an inlined call, which it
				// tells of the program that is not split.
				compareFiles(t, openFile(t, path, dir), whole)
			} else {
				compareFiles(t, compareLLVM(t, llvm, path, true, dir), whole)
			}
			if tt.dwp == "" {
				return
			}
			runIn(t, dir, debugtest.Program(t, "llvm", tt.dwp), "-e", "ways", "-o", "ways.dwp")
			dwos, err := filepath.Glob(filepath.Join(dir, "*.dwo"))
			if err != nil || len(dwos) != 3 {
				t.Fatal(dwos, err)
			}
			for _, dwo := range dwos {
				if err := os.Remove(dwo); err != nil {
					t.Fatal(err)
				}
			}
			compareFiles(t, openFile(t, path, dir), whole)
		})
	}
}

// Files that tools made of one program give its answers. Plain is never theirs to read.
func TestMade(t *testing.T) {
	for _, compiler := range []string{"gcc", "clang"} {
		for _, version := range []string{"-gdwarf-4", "-gdwarf-5"} {
			t.Run(compiler+version, func(t *testing.T) {
				t.Parallel()
				plain := sample(t, compiler, "-pie", "-fPIE", "-fasynchronous-unwind-tables", version)
				want := openFile(t, plain)
				// made makes a file called ways in a new folder: commands, in which plain stands for %s.
				made := func(commands ...string) string {
					dir := t.TempDir()
					for _, c := range commands {
						args := strings.Fields(strings.ReplaceAll(c, "%s", plain))
						runIn(t, dir, debugtest.Program(t, "llvm", args[0]), args[1:]...)
					}
					return filepath.Join(dir, "ways")
				}
				for _, how := range []string{"zlib", "zlib-gnu", "zstd"} {
					compareFiles(t, openFile(t, made("objcopy --compress-debug-sections="+how+" %s ways")), want)
				}
				stripped := "objcopy -S --add-gnu-debuglink=ways.debug %s ways"
				linked := made("objcopy --only-keep-debug --compress-debug-sections %s ways.debug", stripped)
				got := openFile(t, linked, filepath.Dir(linked))
				compareFiles(t, got, want)
				compareFiles(t, openFile(t, filepath.Join(filepath.Dir(linked), "ways.debug")), want)
				sameBytesOfRules(t, linked, plain)
				// Rules in the debug information alone, .debug_frame.
				frames := sample(t, compiler, "-static", "-O1", version)
				sameBytesOfRules(t, made("objcopy --only-keep-debug "+frames+" ways.debug", "objcopy -S --add-gnu-debuglink=ways.debug "+frames+" ways"), frames)

				// By build id alone, and by checksum alone.
				byID := made("objcopy --only-keep-debug "+frames+" another", "objcopy --only-keep-debug %s other", "objcopy -S %s ways")
				compareFiles(t, openFile(t, byID, filepath.Dir(byID)), want)
				byCRC := made("objcopy --remove-section=.note.gnu.build-id %s tmp", "objcopy --only-keep-debug tmp ways.debug",
					"objcopy -S --add-gnu-debuglink=ways.debug tmp ways", "rm tmp")
				compareFiles(t, openFile(t, byCRC, filepath.Dir(byCRC)), want)

				// The symbol table alone, whole and in a file packed inside (MiniDebugInfo).
				symbols := openFile(t, made("strip --strip-debug -o ways %s"))
				mini := openFile(t, made("strip --strip-debug -o tmp %s", "objcopy --only-keep-debug tmp mini", "xz mini",
					"objcopy -S --add-section .gnu_debugdata=mini.xz %s ways"))
				compareFiles(t, mini, symbols)
				if !mini.HasSymbols() || slices.ContainsFunc(mini.Sections, func(s elf.Section) bool { return s.Type == elf.SectionSymTab }) {
					t.Error("no symbols, or a table of its own")
				}

				// dwz in one file, and in two that share a third. It does not know the forms that clang uses in version 5.
				if compiler == "clang" && version == "-gdwarf-5" {
					return
				}
				compareFiles(t, openFile(t, made("dwz -o ways %s")), want)
				for _, option := range []string{"", " --dwarf-5"} {
					path := made("cp %s ways", "cp %s other", "dwz -m shared"+option+" ways other")
					compareFiles(t, openFile(t, path, filepath.Dir(path)), want)
					alone := openFile(t, path)
					if n := alone.report.Needs; len(n) != 1 || n[0].Kind != object.Supplement || n[0].String() != "shared" {
						t.Errorf("needs %v", n)
					}
				}
			})
		}
	}
}

// sameBytesOfRules compares what the unwind rules of two files compile to, with what is beside the first.
func sameBytesOfRules(t testing.TB, path, want string) {
	t.Helper()
	build := func(path string, folders ...string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o, err := object.Open(data)
		if err != nil {
			t.Fatal(err)
		}
		addAll(t, o, folders)
		b := cfi.NewBuilder(cfi.CPUByName(o.Module.Arch), o.BigEndian())
		if err := o.Rules(b, new(object.Report)); err != nil || !o.HasRules {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if st, err := b.Write(&out, o.Module.ID); err != nil || st.Ranges == 0 {
			t.Fatal(st, err)
		}
		return out.Bytes()
	}
	if !bytes.Equal(build(path, filepath.Dir(path)), build(want)) {
		t.Error("other rules")
	}
}
