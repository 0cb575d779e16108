package pe_test

import (
	"bytes"
	"encoding/binary"
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
	"salvage/debug/object/pe"
	"salvage/internal/debugtest"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t testing.TB, data []byte) *pe.File {
	t.Helper()
	f, err := pe.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// at returns where a string is in the file, once.
func at(t *testing.T, data []byte, s string) int {
	t.Helper()
	i := bytes.Index(data, []byte(s))
	if i < 0 {
		t.Fatalf("no %q", s)
	}
	return i
}

func TestIdentity(t *testing.T) {
	base := read(t, "windows-clang.exe")
	f := parse(t, base)
	header := int(binary.LittleEndian.Uint32(base[0x3c:]))
	record := at(t, base, "RSDS")
	entry := at(t, base, string(binary.LittleEndian.AppendUint32(nil, uint32(record)))) - 24 // its directory entry has the offset
	stamp := binary.LittleEndian.Uint32(base[header+8:])
	guid := fmt.Sprintf("%08X%04X%04X%X", binary.LittleEndian.Uint32(base[record+4:]), binary.LittleEndian.Uint16(base[record+8:]), binary.LittleEndian.Uint16(base[record+10:]), base[record+12:record+20])
	if f.Arch() != "x86_64" || !f.Is64 || f.DLL || f.ImageBase != 0x140000000 || string(f.CodeID()) != fmt.Sprintf("%08x%x", stamp, f.SizeOfImage) || !f.HasCode() || !f.HasUnwindInfo() || f.HasDebugInfo() || len(f.Problems) > 0 {
		t.Errorf("%+v", f)
	}
	for _, tt := range []struct {
		name   string
		change func(b []byte)
		id     string
	}{
		{"GUID and age", func(b []byte) {}, guid + "1"},
		{"another age", func(b []byte) { binary.LittleEndian.PutUint32(b[record+20:], 0xab) }, guid + "ab"},
		{"portable PDB", func(b []byte) { binary.LittleEndian.PutUint16(b[entry+10:], 0x504d) }, guid + fmt.Sprintf("%x", stamp)},
		{"GUID of zeros", func(b []byte) { clear(b[record+4 : record+20]) }, strings.Repeat("0", 33)},
		{"PDB 2.0", func(b []byte) {
			copy(b[record:], "NB10\x00\x00\x00\x00\x9d\xd9\x49\x32\x0a\x00\x00\x00windows-clang.pdb\x00")
		}, "3249D99Da"},
		{"no CodeView", func(b []byte) { b[entry+12] = 16 }, strings.Repeat("0", 33)},
		{"record outside", func(b []byte) { b[entry+27] = 0x7f }, strings.Repeat("0", 33)},
	} {
		b := bytes.Clone(base)
		tt.change(b)
		id, name := parse(t, b).CodeView()
		if id.Breakpad() != tt.id || !id.IsZero() && name != "windows-clang.pdb" {
			t.Errorf("%s: %s %q, want %s", tt.name, id.Breakpad(), name, tt.id)
		}
	}
}

func TestSectionNames(t *testing.T) {
	base := read(t, "windows-mingw.exe")
	f := parse(t, base)
	info := f.Section(".debug_info")
	if info == nil || !f.HasDebugInfo() {
		t.Fatal("no .debug_info")
	}
	data, err := f.Data(info)
	if err != nil || uint32(len(data)) != info.Size || info.Size >= info.FileSize {
		t.Errorf("%d bytes of %d, %v", len(data), info.Size, err)
	}
	// The same name by the other notation.
	b := bytes.Clone(base)
	table := int(binary.LittleEndian.Uint32(base[0x3c:])) + 24 + int(binary.LittleEndian.Uint16(base[binary.LittleEndian.Uint32(base[0x3c:])+20:]))
	found := false
	for i := range f.Sections {
		name := b[table+40*i:][:8]
		if name[0] == '/' {
			n, _ := strconv.Atoi(strings.TrimRight(string(name[1:]), "\x00"))
			const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
			text := []byte("//AAAAAA")
			for k := 7; n > 0; k-- {
				text[k] = digits[n%64]
				n /= 64
			}
			copy(name, text)
			found = true
		}
	}
	if g := parse(t, b); !found || !slices.EqualFunc(f.Sections, g.Sections, func(a, b pe.Section) bool { return a == b }) {
		t.Errorf("%+v\n%+v", f.Sections, g.Sections)
	}
}

func TestRefused(t *testing.T) {
	base := read(t, "windows-clang.exe")
	dos := bytes.Clone(base)
	copy(dos[binary.LittleEndian.Uint32(base[0x3c:]):], "NE")
	object := bytes.Clone(base)
	binary.LittleEndian.PutUint16(object[binary.LittleEndian.Uint32(base[0x3c:])+24:], 0)
	for i, data := range [][]byte{dos, object} {
		if _, err := pe.Parse(data); !errors.Is(err, debug.ErrUnsupported) {
			t.Errorf("%d: %v", i, err)
		}
	}
	for _, n := range []int{0, 1, 2, 0x3f, 0x80, 0x100} {
		if _, err := pe.Parse(base[:n]); err == nil {
			t.Errorf("the first %d bytes are a file", n)
		}
	}
}

// mingw builds windows.cpp with GNU's tools.
func mingw(t *testing.T, flags ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.exe")
	args := append([]string{"-std=c++17", "-O1", "-nostdlib", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-Wl,-e,start", "-o", out, "../../testdata/windows.cpp"}, flags...)
	if text, err := exec.Command(debugtest.Program(t, "mingw", "x86_64-w64-mingw32-g++"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// Exports and symbols as llvm-readobj reads them.
func TestSymbolsAgainstLLVM(t *testing.T) {
	path := mingw(t, "-shared")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := parse(t, data)
	readobj := func(args ...string) string {
		out, err := exec.Command(debugtest.Program(t, "llvm", "llvm-readobj"), append(args, path)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	var want, got []string
	for _, m := range regexp.MustCompile(`Ordinal: \d+\s+Name: (\S+)\s+RVA: 0x([0-9A-F]+)`).FindAllStringSubmatch(readobj("--coff-exports"), -1) {
		want = append(want, m[2]+" "+m[1])
	}
	for s := range f.Exports() {
		got = append(got, fmt.Sprintf("%X %s", s.Addr, s.Name))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || len(want) < 10 {
		t.Errorf("exports\n%q, want\n%q", got, want)
	}
	got, want = nil, nil
	for _, m := range regexp.MustCompile(`Name: (\S+)\s+Value: (\d+)\s+Section: \.text \(1\)\s+BaseType: \S+ \S+\s+ComplexType: (\S+) \S+\s+StorageClass: (\S+)`).FindAllStringSubmatch(readobj("--symbols"), -1) {
		if n, _ := strconv.Atoi(m[2]); n < int(f.Sections[0].Size) && (m[4] == "External" || m[3] == "Function") {
			want = append(want, fmt.Sprintf("%X %s", int(f.Sections[0].Addr)+n, m[1]))
		}
	}
	for _, s := range f.Functions() {
		got = append(got, fmt.Sprintf("%X %s", s.Addr, s.Name))
	}
	if !slices.Equal(got, want) || len(want) < 20 {
		t.Errorf("symbols\n%q, want\n%q", got, want)
	}
	// Without the symbol table, the exports.
	stripped := mingw(t, "-shared", "-s")
	if data, err = os.ReadFile(stripped); err != nil {
		t.Fatal(err)
	}
	f = parse(t, data)
	if n := len(f.Functions()); n < 10 || !f.HasSymbols() || !f.DLL {
		t.Errorf("%d functions of a library without symbols", n)
	}
	// A forwarded export, whose address is that of a text in the table, is none of this library.
	n := 0
	for s := range f.Exports() {
		if n++; n == 1 {
			t.Logf("first export %s", s.Name)
		}
	}
	edata := f.Section(".edata")
	table := edata.Offset + binary.LittleEndian.Uint32(data[edata.Offset+28:]) - edata.Addr
	binary.LittleEndian.PutUint32(data[table:], edata.Addr+44)
	for range parse(t, data).Exports() {
		n--
	}
	if n != 1 {
		t.Errorf("%d forwarded exports left out, want 1", n)
	}
}

func TestDebugFile(t *testing.T) {
	path := mingw(t, "-g")
	out := path + ".debug"
	if text, err := exec.Command(debugtest.Program(t, "mingw", "x86_64-w64-mingw32-objcopy"), "--only-keep-debug", path, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if f := parse(t, data); f.HasCode() || !f.HasDebugInfo() || f.HasUnwindInfo() || len(f.Executable()) == 0 {
		t.Errorf("%+v", f.Sections)
	}
}

// touch calls everything a File has.
func touch(data []byte) {
	f, err := pe.Parse(data)
	if err != nil {
		return
	}
	bytes := 0
	for i := range f.Sections {
		s := &f.Sections[i]
		raw, _ := f.Data(s)
		bytes += len(s.Name) + len(raw)/len(f.Sections)
	}
	for s := range f.Exports() {
		bytes += len(s.Name)
	}
	for _, s := range f.Functions() {
		bytes += len(s.Name)
	}
	end := uint64(0)
	for i, e := range f.Executable() {
		if i > 0 && e.Addr <= end || e.Size == 0 {
			panic("executable ranges out of order")
		}
		end = e.Addr + e.Size
	}
	_, name := f.CodeView()
	f.CodeID()
	f.Arch()
	f.HasCode()
	f.HasDebugInfo()
	f.HasUnwindInfo()
	if bytes+len(name) > 40*len(data) {
		panic("names out of proportion")
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"windows-clang.exe", "windows-mingw.exe"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) { touch(data) })
}

func TestDamage(t *testing.T) {
	for _, name := range []string{"windows-clang.exe", "windows-mingw.exe"} {
		data := read(t, name)
		for i := range data {
			touch(data[:i:i])
			for _, v := range []byte{0, 0xff} {
				bad := bytes.Clone(data)
				bad[i] = v
				touch(bad)
			}
		}
	}
}
