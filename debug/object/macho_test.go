package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/object"
	"salvage/debug/object/macho"
	"salvage/debug/symbols"
	"salvage/internal/debugtest"
)

// linkMac compiles the sample of the Windows tests for macOS and links it, with no library. The object file
// stays beside the image.
func linkMac(t testing.TB, arch string, flags ...string) (image string) {
	t.Helper()
	dir := t.TempDir()
	image = filepath.Join(dir, "sample-"+arch)
	args := append([]string{"--target=" + arch + "-apple-macos11", "-nostdlibinc", "-stdlib=libc++", "-std=c++17", "-g", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-stack-protector", "-funwind-tables", "-c", "../testdata/windows.cpp", "-o", image + ".o"}, flags...)
	run(t, "llvm", "clang++", args...)
	linkMacObjects(t, arch, image, image+".o")
	return image
}

func linkMacObjects(t testing.TB, arch, image string, objects ...string) {
	t.Helper()
	run(t, "llvm", "ld64.lld-14", append([]string{"-arch", arch, "-platform_version", "macos", "11.0", "11.0", "-undefined", "dynamic_lookup", "-e", "_start", "-o", image}, objects...)...)
}

// dsym makes the dSYM of an image and returns the file in it.
func dsym(t testing.TB, image string) string {
	t.Helper()
	run(t, "llvm", "dsymutil-14", "--out="+image+".dSYM", image)
	return filepath.Join(image+".dSYM", "Contents", "Resources", "DWARF", filepath.Base(image))
}

// What dsymutil 14 makes of DWARF 5 has no addresses, so there is none.
var macFlags = []string{"x86_64 -O0", "x86_64 -O2", "x86_64 -Os -gdwarf-2", "arm64 -O1", "arm64 -O2"}

// compareMac compares the answers at every edge of a file's records with those of LLVM.
func compareMac(t testing.TB, path, obj string, data []byte) *delivered {
	t.Helper()
	llvm := debugtest.Program(t, "llvm", "llvm-symbolizer")
	d := deliver(t, data)
	if d.report.Lost > 0 {
		t.Errorf("%d lost: %+v", d.report.Lost, d.report.Problems)
	}
	f, err := macho.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var addrs []uint64
	for _, a := range d.edges {
		if symbols.InCode(f.Executable(), a+f.ImageBase()) {
			addrs = append(addrs, a+f.ImageBase())
		}
	}
	differ, padding := 0, 0
	for i, theirs := range askLLVM(t, llvm, obj, addrs) {
		ours := answer(d.Cache, addrs[i]-f.ImageBase())
		switch {
		case ours == theirs:
		case ours == "?? ??:0\n" && strings.Count(theirs, "\n") == 1:
			padding++
		default:
			if differ++; differ <= 5 {
				t.Errorf("%#x:\n%swant\n%s", addrs[i], ours, theirs)
			}
		}
	}
	if differ > 0 || len(d.functions) == 0 {
		t.Errorf("%s: %d of %d answers differ, %d functions", path, differ, len(addrs), len(d.functions))
	}
	t.Logf("%s: %d functions, %d pieces of inlined calls, %d addresses; explained: %d of padding", filepath.Base(path), len(d.functions), d.inlines, len(addrs), padding)
	return d
}

// Every edge of what clang, lld and dsymutil write.
func TestDSYMAgainstLLVM(t *testing.T) {
	for _, flags := range macFlags {
		t.Run(flags, func(t *testing.T) {
			f := strings.Fields(flags)
			path := dsym(t, linkMac(t, f[0], f[1:]...))
			compareMac(t, path, path, read(t, path))
		})
	}
	for _, name := range []string{"crash.dSYM/Contents/Resources/DWARF/crash", "overlapping_funcs.dSYM/Contents/Resources/DWARF/overlapping_funcs"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			path := debugtest.Path(t, "symbolic/macos/"+name)
			compareMac(t, path, path, read(t, path))
		})
	}
}

// Facts about the fixtures of symbolic.
func TestMacFacts(t *testing.T) {
	for _, name := range []string{"symbolic/macos/crash", "symbolic/macos/crash.dSYM/Contents/Resources/DWARF/crash", "symbolic/macos/overlapping_funcs.dSYM/Contents/Resources/DWARF/overlapping_funcs"} {
		t.Run(strings.TrimPrefix(name, "symbolic/macos/"), func(t *testing.T) {
			data := debugtest.File(t, name)
			d := deliver(t, data)
			kinds := map[string]int{}
			for _, fact := range debugtest.Facts(t, name) {
				addr, err := strconv.ParseUint(strings.TrimPrefix(fact.Query, "0x"), 16, 64)
				got := answer(d.Cache, addr)
				ok := true
				switch fact.Kind {
				case "function":
					ok = slices.ContainsFunc(d.functions, func(fn symbols.Function) bool {
						return fn.Addr == addr && slices.Contains(d.names[addr], strings.TrimSuffix(fact.Expected, fmt.Sprintf(" size=%#x", fn.Size)))
					})
				case "symbol":
					ok = slices.Contains(d.publics[addr], fact.Expected)
				case "symcache_function_entry":
					ok = slices.Contains(slices.Concat(d.publics[addr], d.names[addr]), fact.Expected)
				case "lookup":
					var want strings.Builder
					for _, f := range strings.Split(fact.Expected, " <= ") {
						name, place, _ := strings.Cut(f, " @ ")
						fmt.Fprintf(&want, "%s %s\n", name, place)
					}
					// Its paths are as the line table has them, ours are joined with the compilation directory.
					ok = strings.ReplaceAll(got, " /Users/travis/build/getsentry/breakpad-tools/macos/../", " ../") == want.String()
					if n, outer, found := strings.Cut(fact.Expected, " frames; outermost "); found {
						f := frames(got)
						ok = n == strconv.Itoa(len(f)) && strings.HasPrefix(f[0], outer+" ")
					}
				case "file":
					ok = d.files[fact.Expected] || bytes.Contains(data, []byte(filepath.Base(fact.Expected)+"\x00"))
				case "object", "fixture":
					m := d.Module()
					for _, want := range strings.Fields(fact.Expected) {
						key, value, _ := strings.Cut(want, "=")
						switch key {
						case "code_id":
							ok = ok && string(m.CodeID) == value
						case "debug_id":
							ok = ok && m.ID.String() == value
						case "arch":
							ok = ok && m.Arch == value
						case "load":
							ok = ok && fmt.Sprintf("%#x", m.ImageBase) == value
						}
					}
					ok = ok && m.ID.String() == fact.DebugID && m.Arch == fact.Arch
				default:
					continue
				}
				kinds[fact.Kind]++
				if !ok || err != nil && fact.Kind == "lookup" {
					t.Errorf("%s %s:\n%swant %s", fact.Kind, fact.Query, got, fact.Expected)
				}
			}
			t.Logf("%v", kinds)
		})
	}
}

// sameAnswers compares the answers of two files at every edge of either.
func sameAnswers(t *testing.T, got, want *delivered) {
	t.Helper()
	edges := slices.Concat(got.edges, want.edges)
	slices.Sort(edges)
	differ := 0
	for _, a := range slices.Compact(edges) {
		if ours, theirs := answer(got.Cache, a), answer(want.Cache, a); ours != theirs {
			if differ++; differ <= 5 {
				t.Errorf("%#x:\n%swant\n%s", a, ours, theirs)
			}
		}
	}
	if differ > 0 || len(got.functions) != len(want.functions) || got.inlines != want.inlines {
		t.Errorf("%d of %d answers differ; %d functions, %d pieces of inlined calls, want %d, %d", differ, len(edges), len(got.functions), got.inlines, len(want.functions), want.inlines)
	}
}

// The object files that an image names answer as its dSYM does.
func TestDebugMap(t *testing.T) {
	for _, flags := range macFlags {
		t.Run(flags, func(t *testing.T) {
			f := strings.Fields(flags)
			image := linkMac(t, f[0], f[1:]...)
			want := deliver(t, read(t, dsym(t, image)))
			o, err := object.Open(read(t, image))
			if err != nil {
				t.Fatal(err)
			}
			if n := deliver(t, read(t, image)); n.report.Needs == nil {
				t.Error("image needs nothing")
			}
			for _, n := range o.Needs() {
				if err := o.Add(n, read(t, n.Name)); n.Kind != object.ObjectFile || err != nil {
					t.Fatal(n, err)
				}
				if o.Add(n, read(t, image)) == nil {
					t.Error("an image taken for an object file")
				}
				// As a member of a library it is found by its name.
				library := filepath.Join(t.TempDir(), "lib.a")
				if text, err := exec.Command(debugtest.Program(t, "llvm", "llvm-ar"), "rc", library, n.Name).CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				member := object.Need{Kind: object.ObjectFile, Name: library, Member: filepath.Base(n.Name)}
				if err := o.Add(member, read(t, library)); err != nil {
					t.Error(err)
				}
				if member.Member = "other.o"; o.Add(member, read(t, library)) == nil {
					t.Error("another member taken")
				}
			}
			got := deliverFrom(t, o, func(rep *object.Report) symbols.Source { return o.Symbols(context.Background(), rep) })
			if got.report.Needs != nil || o.Needs() != nil {
				t.Errorf("still needed: %v, %v", got.report.Needs, o.Needs())
			}
			sameAnswers(t, got, want)
		})
	}
}

// An architecture of a universal file, also of dSYMs, answers as the file it was made of, and as LLVM says.
func TestFat(t *testing.T) {
	one, two := dsym(t, linkMac(t, "x86_64", "-O1")), dsym(t, linkMac(t, "arm64", "-O1"))
	path := filepath.Join(t.TempDir(), "fat")
	run(t, "llvm", "llvm-lipo-14", "-create", one, two, "-output", path)
	data := read(t, path)
	all, err := object.OpenAll(data)
	if err != nil || len(all) != 2 {
		t.Fatalf("%d architectures, %v", len(all), err)
	}
	for arch, thin := range map[string]string{"x86_64": one, "arm64": two} {
		o, err := object.OpenArch(data, arch)
		if err != nil || o.Module.Arch != arch || o.Format != "macho" {
			t.Fatalf("%s: %+v, %v", arch, o, err)
		}
		got := deliverFrom(t, o, func(rep *object.Report) symbols.Source { return o.Symbols(context.Background(), rep) })
		want := deliver(t, read(t, thin))
		sameAnswers(t, got, want)
		if got.object.Module.ID != want.object.Module.ID {
			t.Error("other id")
		}
		compareMac(t, path, path+":"+arch, read(t, thin))
	}
	for _, arch := range []string{"", "x86", "i386", "arm", "armv7", "arm64e"} {
		if o, err := object.OpenArch(data, arch); !errors.Is(err, debug.ErrUnsupported) || !strings.Contains(err.Error(), "x86_64, arm64") {
			t.Errorf("%q: %+v, %v", arch, o, err)
		}
	}
	if _, err := object.Open(data); !errors.Is(err, debug.ErrUnsupported) {
		t.Error(err)
	}
	run(t, "llvm", "llvm-lipo-14", "-create", two, "-output", path)
	if o, err := object.Open(read(t, path)); err != nil || o.Module.Arch != "arm64" {
		t.Error(o, err)
	}
	e := bytes.Clone(read(t, two))
	e[8] = 2 // arm64e
	for _, arch := range []string{"arm64", "arm64e"} {
		if err := os.WriteFile(path+".e", e, 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, "llvm", "llvm-lipo-14", "-create", one, path+".e", "-output", path)
		if o, err := object.OpenArch(read(t, path), arch); err != nil || o.Module.Arch != "arm64e" {
			t.Errorf("%s: %v, %v", arch, o, err)
		}
	}
	if _, err := object.OpenAll(data[:len(data)/2]); !errors.Is(err, debug.ErrTruncated) {
		t.Error(err)
	}
}

// One program as an ELF file and as a dSYM has the same functions, with code of the same lines, inlined alike; but
// for constructors and destructors, which Mach-O has twice where ELF has aliases, and code of no line. Optimised,
// the compiler's choices differ by system.
func TestMacAgainstELF(t *testing.T) {
	special := regexp.MustCompile(`[CD][12]E|:0\n`)
	for _, arch := range []string{"x86_64", "aarch64"} {
		for _, opt := range []string{"-O0"} {
			t.Run(arch+" "+opt, func(t *testing.T) {
				obj := filepath.Join(t.TempDir(), "sample")
				run(t, "llvm", "clang++", "--target="+arch+"-linux-gnu", "-gdwarf-4", "-std=c++17", opt, "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-stack-protector", "-funwind-tables", "-fPIC", "-c", "../testdata/windows.cpp", "-o", obj+".o")
				run(t, "llvm", "ld.lld", "-e", "start", "-o", obj, obj+".o")
				places := func(d *delivered) (list []string) {
					for _, a := range d.edges {
						if text := answer(d.Cache, a); !special.MatchString(text) {
							list = append(list, text)
						}
					}
					slices.Sort(list)
					return slices.Compact(list)
				}
				mac := strings.Replace(arch, "aarch64", "arm64", 1)
				ours, theirs := places(deliver(t, read(t, dsym(t, linkMac(t, mac, opt))))), places(deliver(t, read(t, obj)))
				missing := slices.DeleteFunc(slices.Clone(theirs), func(s string) bool { return slices.Contains(ours, s) })
				extra := slices.DeleteFunc(slices.Clone(ours), func(s string) bool { return slices.Contains(theirs, s) })
				t.Logf("%d places, %d missing, %d more", len(theirs), len(missing), len(extra))
				if len(missing)+len(extra) > 0 {
					t.Errorf("missing %.1500q\nmore %.1500q", missing, extra)
				}
			})
		}
	}
}
