package macho_test

import (
	"bytes"
	"cmp"
	"compress/zlib"
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
	"salvage/debug/object/macho"
	"salvage/internal/debugtest"
)

func parse(t testing.TB, data []byte) *macho.File {
	t.Helper()
	f, err := macho.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(debugtest.Program(t, "llvm", name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// link compiles and links the sample as a library; the object file stays beside it.
func link(t testing.TB, arch string, flags ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "libsample.dylib")
	run(t, "clang++", "--target="+arch+"-apple-macos11", "-stdlib=libc++", "-nostdlibinc", "-std=c++17", "-O1", "-g", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-c", "../../testdata/windows.cpp", "-o", image+".o")
	run(t, "ld64.lld-14", append([]string{"-arch", arch, "-platform_version", "macos", "11.0", "11.0", "-undefined", "dynamic_lookup", "-dylib", "-install_name", "@rpath/Sample.framework/Sample", "-o", image, image + ".o"}, flags...)...)
	return image
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Sections, symbols, exports and starts as LLVM's tools read them.
func TestAgainstLLVM(t *testing.T) {
	paths := []string{debugtest.Path(t, "symbolic/macos/crash"), debugtest.Path(t, "symbolic/macos/crash.dSYM/Contents/Resources/DWARF/crash"), link(t, "x86_64"), link(t, "arm64")}
	paths = append(paths, paths[2]+".o", paths[3]+".o")
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f := parse(t, read(t, path))
			if len(f.Problems) > 0 {
				t.Errorf("%+v", f.Problems)
			}
			var got, want []string
			same := func(what string, least int) {
				t.Helper()
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) || len(got) < least {
					t.Errorf("%s:\n%.2000q want\n%.2000q", what, got, want)
				}
				got, want = nil, nil
			}
			for _, s := range f.Sections {
				data, err := f.RawData(&s)
				got = append(got, fmt.Sprintf("%s %08x %016x", s.Name, s.Size, s.Addr))
				if err == nil && uint64(len(data)) != s.Size {
					t.Errorf("%s: %d bytes", s.Name, len(data))
				}
			}
			for _, m := range regexp.MustCompile(`(?m)^ +\d+ (\S+) +([0-9a-f]+) ([0-9a-f]+) `).FindAllStringSubmatch(run(t, "llvm-objdump", "-h", path), -1) {
				want = append(want, strings.Join(m[1:], " "))
			}
			same("sections", 2)

			for s := range f.Symbols() {
				if s.Type&0xe0 == 0 && s.Type&0xe != 0 {
					got = append(got, fmt.Sprintf("%016x %s", s.Addr, s.Name))
				}
			}
			for _, m := range regexp.MustCompile(`(?m)^([0-9a-f]{16}) [^-] (.+)$`).FindAllStringSubmatch(run(t, "llvm-nm", "--no-sort", path), -1) {
				want = append(want, m[1]+" "+m[2])
			}
			same("symbols", 10)
			if bytes.HasSuffix([]byte(path), []byte(".o")) {
				return
			}

			for e := range f.Exports() {
				got = append(got, fmt.Sprintf("0x%X  %s", e.Addr+f.ImageBase(), e.Name))
			}
			want = regexp.MustCompile(`(?m)^0x[0-9A-F]+  [^ \n]+`).FindAllString(run(t, "llvm-objdump", "--macho", "--exports-trie", path), -1)
			for i := range want {
				want[i] = "0x" + cmp.Or(strings.TrimLeft(want[i][2:], "0"), want[i])
			}
			same("exports", 0)

			for a := range f.FunctionStarts() {
				got = append(got, fmt.Sprintf("%016x", a+f.ImageBase()))
			}
			want = regexp.MustCompile(`(?m)^[0-9a-f]{16}$`).FindAllString(run(t, "llvm-objdump", "--macho", "--function-starts", path), -1)
			same("function starts", 0)

			uuid := regexp.MustCompile(`UUID: (\S+) \((\S+)\)`).FindStringSubmatch(run(t, "llvm-dwarfdump", "--uuid", path))
			if id := f.DebugID(); !strings.EqualFold(id.String(), uuid[1]) || string(f.CodeID()) != strings.ToLower(strings.ReplaceAll(uuid[1], "-", "")) || id.Breakpad() != strings.ReplaceAll(uuid[1], "-", "")+"0" || f.Arch() != uuid[2] {
				t.Errorf("%s %s %s, want %s", id, f.CodeID(), f.Arch(), uuid[1])
			}
		})
	}
}

// A stripped library is named by its exports, and sizes come of function starts also where nothing has a name.
func TestStripped(t *testing.T) {
	path := link(t, "arm64")
	whole := parse(t, read(t, path))
	stripped := path + ".stripped"
	run(t, "llvm-strip", "-x", "-o", stripped, path)
	f := parse(t, read(t, stripped))
	if f.Name != "@rpath/Sample.framework/Sample" || !f.HasCode() || f.HasDebugInfo() || !f.HasSymbols() || len(f.DebugMap()) != 0 || len(whole.DebugMap()) != 1 {
		t.Errorf("%+v", f)
	}
	sizes := map[string]uint64{}
	for _, fn := range whole.Functions() {
		sizes[string(fn.Name)] = fn.Size
	}
	n := 0
	for _, fn := range f.Functions() {
		if n++; fn.Size == 0 || fn.Size != sizes[string(fn.Name)] {
			t.Errorf("%s: %d bytes, with all symbols %d", fn.Name, fn.Size, sizes[string(fn.Name)])
		}
	}
	if n < 8 || n >= len(sizes) {
		t.Errorf("%d functions, with all symbols %d", n, len(sizes))
	}
}

func everyKind() []builder {
	var all []builder
	for i := range 4 {
		b := builder{is64: i&1 != 0, big: i&2 != 0, cpu: 0x100000c, subtype: 0x80000002, kind: 2, uuid: []byte("0123456789abcdef"), dylib: "/usr/lib/libx.dylib", old: i == 1}
		b.segments = []segment{
			{"__TEXT", 0x10000, []section{{name: "__text", addr: 0x11000, flags: code, data: bytes.Repeat([]byte{0xc3}, 64)}, {name: "__eh_frame", addr: 0x12000, data: []byte{1}}}},
			{"__DATA", 0x20000, []section{{name: "__bss", addr: 0x20000, flags: 1, data: []byte{1}}, {name: "__stripped", addr: 0x20080, size: 64}, {name: "__thread_bss", addr: 0x20040, flags: 0x12, data: []byte{1, 2}}}},
			{"__DWARF", 0x30000, []section{{name: "__debug_str_offs", data: []byte("offsets")}, {name: "__zdebug_info", data: append([]byte("ZLIB\x00\x00\x00\x00\x00\x00\x00\x10"), deflated("sixteen  letters")...)}}},
		}
		b.symbols = []symbol{
			{name: "_first", kind: 0xf, section: 1, value: 0x11000}, {name: "_alias", kind: 0xe, section: 1, value: 0x11000},
			{name: "_data", kind: 0xf, section: 3, value: 0x20000}, {name: "_imported", kind: 1}, {name: "_absolute", kind: 3, value: 0x11004},
			{name: "a.c", kind: 0x64, value: 0x11000}, {name: "/lib/a.a(m.o)", kind: 0x66, value: 77}, {name: "_first", kind: 0x24, section: 1, value: 0x11000}, {name: "", kind: 0x24, value: 16},
			{name: "_data", kind: 0x20}, {name: "", kind: 0x64},
			{name: "-[Objective c:]", kind: 0xe, section: 1, value: 0x11010}, {name: "_$s5Swift", kind: 0xe, section: 1, value: 0x11018}, {name: "__hidden#1_", kind: 0xe, section: 1, value: 0x11020},
			{name: "stab", kind: 0x2e, section: 1, value: 0x11002}, {name: "below", kind: 0xe, section: 1, value: 0x1000},
		}
		b.exports = trie
		b.starts = []byte{0x80, 0x20, 8, 0x28, 0, 0}
		all = append(all, b)
	}
	return all
}

// trie exports _first, _e and _e2 (in code), _fwd of another library, _abs, and _far, which is no code.
var trie = []byte{0, 1, '_', 0, 5, // root, and the node at 5
	0, 5, 'f', 'i', 'r', 's', 't', 0, 38, 'e', 0, 43, 'f', 'w', 'd', 0, 53, 'a', 'b', 's', 0, 57, 'f', 'a', 'r', 0, 62,
	0, 0, 0, 0, 0, 0,
	3, 0, 0x80, 0x20, 0, // 38: 0x1000
	3, 0, 0xac, 0x20, 1, '2', 0, 66, 0, 0, // 43: 0x102c
	2, 8, 1, 0, // 53
	3, 2, 0x80, 0x20, 0, // 57
	2, 0, 1, 0, // 62
	3, 4, 0xb0, 0x20, 0, // 66: 0x1030
}

func deflated(s string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

// Every width and byte order.
func TestKinds(t *testing.T) {
	for _, b := range everyKind() {
		f := parse(t, b.bytes())
		if len(f.Problems) > 0 || f.Is64 != b.is64 || f.BigEndian != b.big || f.Arch() != "arm64e" || f.CodeID() != "30313233343536373839616263646566" || f.ImageBase() != 0x10000 || f.Name != b.dylib {
			t.Errorf("%+v", f)
		}
		var got []string
		for _, fn := range f.Functions() {
			got = append(got, fmt.Sprintf("%x+%x %s", fn.Addr, fn.Size, fn.Name))
		}
		// 0x1008 is in the table of starts, and has no name; 0x1030 is there twice.
		want := []string{"102c+4 e", "1030+10 e2", "1000+8 first", "1000+8 alias", "1010+8 -[Objective c:]", "1018+8 $s5Swift", "1020+c __hidden#1_"}
		if !slices.Equal(got, want) {
			t.Errorf("%q want\n%q", got, want)
		}
		got = nil
		for e := range f.Exports() {
			got = append(got, fmt.Sprintf("%x %s", e.Addr, e.Name))
		}
		if want = []string{"1000 _first", "102c _e", "1030 _e2", "1 _far"}; !slices.Equal(got, want) || f.Subtype != 2 {
			t.Errorf("%q want\n%q", got, want)
		}
		if m := f.DebugMap(); len(m) != 1 || m[0].Path != "/lib/a.a" || m[0].Member != "m.o" || m[0].Modified != 77 || len(m[0].Functions) != 1 || string(m[0].Functions[0].Name) != "_first" || m[0].Functions[0].Size != 16 {
			t.Errorf("%+v", m)
		}
		for name, want := range map[string]string{".debug_str_offsets": "offsets", ".debug_info": "sixteen  letters", ".eh_frame": "\x01"} {
			if data, err := f.Data(f.Section(name), 1<<20); err != nil || string(data) != want {
				t.Errorf("%s: %q, %v", name, data, err)
			}
		}
		for _, name := range []string{"__bss", "__thread_bss", "__stripped", "__none", ".debug_line"} {
			if data, err := f.Data(f.Section(name), 1<<20); !errors.Is(err, macho.ErrNotInFile) {
				t.Errorf("%s: %q, %v", name, data, err)
			}
		}
		if _, err := f.Data(f.Section(".debug_info"), 15); !errors.Is(err, debug.ErrTooLarge) {
			t.Error(err)
		}
		if code := f.At(0x103f); len(code) != 1 || f.At(0x1040) != nil || f.At(0x10040) != nil {
			t.Errorf("%x", code)
		}
	}
}

// External relocations add the symbol's address, whatever the byte order; others are in place.
func TestRelocated(t *testing.T) {
	for _, big := range []bool{false, true} {
		for _, is64 := range []bool{false, true} {
			b := builder{is64: is64, big: big, cpu: 7, kind: 1}
			info := func(symbol, relative, length, external, kind uint32) uint32 {
				if big {
					return symbol<<8 | relative<<7 | length<<5 | external<<4 | kind
				}
				return symbol | relative<<24 | length<<25 | external<<27 | kind<<28
			}
			relocations := b.u32(nil, 0, info(0, 0, 2, 1, 0), 4, info(1, 0, 2, 0, 0), 8, info(0, 1, 2, 1, 0), 12, info(0, 0, 2, 1, 1), 16, info(1, 0, 2, 1, 0), 1<<31|20, info(0, 0, 2, 1, 0), 24, info(0, 0, 3, 1, 0), 30, info(0, 0, 3, 1, 0), 0, info(9, 0, 2, 1, 0))
			data := b.u32(nil, 5, 5, 5, 5, 5, 5, 0, 0)
			b.segments = []segment{{"", 0, []section{{name: "__debug_info", flags: 0x02000000, data: data, relocations: relocations}}}}
			b.symbols = []symbol{{name: "_f", kind: 0xf, section: 1, value: 0x100}, {name: "_u", kind: 1, value: 0x100}}
			f := parse(t, b.bytes())
			want := b.u32(nil, 0x105, 5, 5, 5, 5, 5)
			want = b.order().AppendUint64(want, 0x100)
			got, err := f.Data(f.Section(".debug_info"), 32)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%x, want %x, %v", got, want, err)
			}
			if _, err := f.Data(f.Section(".debug_info"), 31); !errors.Is(err, debug.ErrTooLarge) {
				t.Error(err)
			}
		}
	}
}

// In files of more than 4 GiB the offsets of sections wrap; those of segments do not.
func TestFarOffsets(t *testing.T) {
	b := builder{is64: true, cpu: 0x1000007, kind: 10, segments: []segment{{"__DWARF", 0x1000, []section{{name: "__debug_line", addr: 0x1008, data: []byte("data")}}}}}
	data := b.bytes()
	f := parse(t, data)
	at := f.Section(".debug_line").Offset
	place := bytes.Index(data, b.word(nil, f.Segments[0].Offset)) // of the segment's offset
	copy(data[place:], b.word(nil, at+1<<32-8))
	if s := parse(t, data).Section(".debug_line"); s.Offset != at+1<<32 {
		t.Errorf("%#x, want %#x", s.Offset, at+1<<32)
	}
	copy(data[place:], b.word(nil, at+1<<32-4)) // does not fit the section
	if s := parse(t, data).Section(".debug_line"); s.Offset != at {
		t.Errorf("%#x, want %#x", s.Offset, at)
	}
}

func TestArch(t *testing.T) {
	for _, tt := range []struct {
		cpu, subtype uint32
		want         string
	}{
		{7, 3, "x86"}, {0x1000007, 3, "x86_64"}, {0x1000007, 0x80000003, "x86_64"}, {0x1000007, 8, "x86_64h"}, {0x100000c, 0, "arm64"}, {0x100000c, 1, "arm64"}, {0x100000c, 2, "arm64e"},
		{0x100000c, 0x80000002, "arm64e"}, {0x100000c, 0xc1000002, "arm64e"}, {0x200000c, 1, "arm64_32"}, {12, 9, "armv7"}, {12, 11, "armv7s"}, {12, 12, "armv7k"}, {12, 0, "arm"}, {12, 99, "arm"}, {12, 8, "arm"},
		{18, 0, "ppc"}, {0x1000012, 0, "ppc64"}, {99, 0, "unknown"},
	} {
		if got := macho.Arch(tt.cpu, tt.subtype); got != tt.want {
			t.Errorf("%#x, %#x: %s, want %s", tt.cpu, tt.subtype, got, tt.want)
		}
	}
}

func TestSlices(t *testing.T) {
	a, b := everyKind()[0].bytes(), everyKind()[1].bytes()
	for _, wide := range []bool{false, true} {
		data := fat(wide, a, b)
		got, err := macho.Slices(data)
		if err != nil || len(got) != 2 || !bytes.Equal(got[0].Data, a) || !bytes.Equal(got[1].Data, b) || macho.Arch(got[0].CPU, got[0].Subtype) != "x86_64" || macho.Arch(got[1].CPU, got[1].Subtype) != "arm64e" {
			t.Errorf("%d slices, %v", len(got), err)
		}
		if _, err := macho.Slices(data[:len(data)-1]); !errors.Is(err, debug.ErrTruncated) {
			t.Error(err)
		}
		if _, err := macho.Slices(fat(wide, a, data)); !errors.Is(err, debug.ErrUnsupported) {
			t.Error("nested:", err)
		}
	}
	overlap := fat(false, a, b)
	copy(overlap[28:], overlap[8:28])
	if _, err := macho.Slices(append(overlap[:48+len(a)+8:48+len(a)+8], 0)); err == nil {
		t.Error("overlapping slices")
	}
	path := filepath.Join(t.TempDir(), "fat")
	for _, how := range [][]string{{}, {"-fat64"}} {
		one, two := link(t, "x86_64"), link(t, "arm64")
		if text, err := exec.Command(debugtest.Program(t, "llvm", "llvm-lipo-14"), append([]string{"-create", one, two, "-output", path}, how...)...).CombinedOutput(); err != nil {
			if len(how) > 0 && bytes.Contains(text, []byte("fat64")) {
				continue // lipo of LLVM 14 does not know it
			}
			t.Fatalf("%v\n%s", err, text)
		}
		got, err := macho.Slices(read(t, path))
		if err != nil || len(got) != 2 || !bytes.Equal(got[0].Data, read(t, one)) || !bytes.Equal(got[1].Data, read(t, two)) {
			t.Errorf("%d slices, %v", len(got), err)
		}
	}
	class := []byte("\xca\xfe\xba\xbe\x00\x00\x00\x34\x00\x10")
	if macho.ProbeFat(class) || macho.ProbeFat(fat(false)) || macho.Probe(class) || !macho.Probe(a) {
		t.Error("probes")
	}
}

func TestMember(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for i, name := range []string{"a.o", "a long name, with spaces.o", "odd"} {
		files = append(files, filepath.Join(dir, name))
		if err := os.WriteFile(files[i], bytes.Repeat([]byte{byte('a' + i)}, 3+i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{"gnu", "darwin", "bsd"} {
		path := filepath.Join(dir, format+".a")
		run(t, "llvm-ar", append([]string{"--format=" + format, "rcU", path}, files...)...)
		archive := read(t, path)
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			when := uint64(info.ModTime().Unix())
			for _, tt := range []struct {
				modified uint64
				found    bool
			}{{0, true}, {when, true}, {when + 1, false}} {
				got, err := macho.Member(archive, filepath.Base(file), tt.modified)
				if (err == nil) != tt.found || tt.found && !bytes.HasPrefix(got, read(t, file)) {
					t.Errorf("%s %s %d: %q, %v", format, file, tt.modified, got, err)
				}
			}
		}
		for n := range archive {
			macho.Member(archive[:n], "odd", 0)
		}
	}
	if _, err := macho.Member([]byte("!<arch>\n"+strconv.Itoa(0)), "x", 0); err == nil {
		t.Error("no error")
	}
}
