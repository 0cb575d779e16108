package elf_test

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

func TestBuildID(t *testing.T) {
	id := []byte("0123456789abcdefghij")
	const want = "30313233343536373839616263646566676869" + "6a"
	forms(t, func(t *testing.T, b *builder) {
		gnu4, gnu8 := b.note(4, "GNU\x00", 3, id), b.note(8, "GNU\x00", 3, id)
		abi, property := b.note(4, "GNU\x00", 1, make([]byte, 16)), b.note(8, "GNU\x00", 5, make([]byte, 12))
		for _, tt := range []struct {
			name  string
			note  []byte
			align uint64
			want  string
		}{
			{"alone", gnu4, 4, want},
			{"behind another", append(bytes.Clone(abi), gnu4...), 4, want},
			{"alignment 8", append(bytes.Clone(property), gnu8...), 8, want},
			{"odd alignment", append(b.note(4, "GNU\x00", 5, make([]byte, 12)), gnu4...), 1, want},
			{"name of 5 bytes", append(b.note(4, "Linux\x00", 3, make([]byte, 4)), gnu4...), 4, want},
			{"name of 5 bytes, alignment 8", append(b.note(8, "Linux\x00", 3, make([]byte, 4)), gnu8...), 8, want},
			{"no padding at the end", b.note(4, "GNU\x00", 3, id[:19])[:12+4+19], 4, want[:38]},
			{"no id, then one", append(b.note(4, "GNU\x00", 3, nil), gnu4...), 4, want},
			// A core file's NT_PRPSINFO has the number of a build id.
			{"another owner", b.note(4, "CORE\x00", 3, id), 4, ""},
			{"description past the end", gnu4[:20], 4, ""},
			{"huge name", append(b.u32(nil, 0xffffffff, 4, 3), gnu4...), 4, ""},
			{"huge description", b.u32(nil, 4, 0xfffffff0, 3, 0), 4, ""},
		} {
			for _, where := range []string{"segment", "sections"} {
				b.segments = nil
				b.sections = []section{{name: "notes", kind: 1, align: tt.align, data: tt.note}}
				if where == "segment" {
					b.segments = []segment{{kind: 4, align: tt.align, of: "notes"}}
				} else {
					b.sections[0].kind = 7
				}
				if got := hex.EncodeToString(parse(t, b.bytes()).BuildID()); got != tt.want {
					t.Errorf("%s in %s: BuildID = %s, want %s", tt.name, where, got, tt.want)
				}
			}
		}
		b.segments = []segment{{kind: 4, of: "a"}}
		b.sections = []section{{name: "a", kind: 1, data: b.note(4, "GNU\x00", 3, []byte("seg"))}, {name: ".note.gnu.build-id", kind: 1, data: gnu4}}
		if got := parse(t, b.bytes()).BuildID(); string(got) != "seg" {
			t.Errorf("segment and section: BuildID = %q", got)
		}
		b.segments = nil
		if got := parse(t, b.bytes()).BuildID(); string(got) != string(id) {
			t.Errorf("section by name: BuildID = %q", got)
		}
	})
}

func TestBuildIDPlayStation(t *testing.T) {
	b := &builder{is64: true, noSections: true, sections: []section{{name: "x", kind: 1, data: []byte("0123456789abcdefghijklmnop")}}}
	b.segments = []segment{{kind: 0x61000000, of: "x"}}
	if got := parse(t, b.bytes()).BuildID(); string(got) != "0123456789abcdefghij" {
		t.Errorf("BuildID = %q", got)
	}
}

// Overlapping notes ask for quadratic work: the search gives up before the last segment.
func TestBuildIDWork(t *testing.T) {
	many := bytes.Repeat(b64.note(4, "X\x00", 3, nil), 1000)
	b := &builder{is64: true, sections: []section{
		{name: "many", kind: 1, data: many}, {name: "id", kind: 1, data: append(bytes.Clone(many), b64.note(4, "GNU\x00", 3, []byte("id"))...)},
	}}
	for _, tt := range []struct {
		overlapping int
		want        string
	}{{3, "id"}, {20, ""}} {
		b.segments = nil
		for range tt.overlapping {
			b.segments = append(b.segments, segment{kind: 4, of: "many"})
		}
		b.segments = append(b.segments, segment{kind: 4, of: "id"})
		if got := parse(t, b.bytes()).BuildID(); string(got) != tt.want {
			t.Errorf("behind %d: BuildID = %q, want %q", tt.overlapping, got, tt.want)
		}
	}
}

func TestIDs(t *testing.T) {
	text := make([]byte, 5000)
	for i := range text {
		text[i] = byte(i * i >> 3)
	}
	fold := func(b []byte) (id [16]byte) {
		for i, x := range b {
			id[i&15] ^= x
		}
		return id
	}
	full, odd := fold(text[:4096]), fold(text[:37])
	forms(t, func(t *testing.T, b *builder) {
		want := func(id []byte) string {
			if !b.big {
				id = []byte{id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]}
			}
			return fmt.Sprintf("%X0", id)
		}
		for _, tt := range []struct {
			name           string
			sections       []section
			debugID, codID string
		}{
			{"build id", []section{{name: ".note.gnu.build-id", kind: 7, data: b.note(4, "GNU\x00", 3, []byte("0123456789abcdefghij"))}}, want([]byte("0123456789abcdef")), "303132333435363738396162636465666768696a"},
			{"short build id", []section{{name: ".note.gnu.build-id", kind: 7, data: b.note(4, "GNU\x00", 3, []byte("01234567"))}}, want([]byte("01234567\x00\x00\x00\x00\x00\x00\x00\x00")), "3031323334353637"},
			{"first page of text", []section{{name: ".text", kind: 1, flags: 6, data: text}}, want(full[:]), ""},
			{"less text", []section{{name: ".text", kind: 1, flags: 6, data: text[:37]}}, want(odd[:]), ""},
			{"text elsewhere", []section{{name: ".text", kind: 8, flags: 6, size: 5000}}, strings.Repeat("0", 33), ""},
			{"nothing", nil, strings.Repeat("0", 33), ""},
		} {
			b.sections = tt.sections
			f := parse(t, b.bytes())
			if id, code := f.DebugID().Breakpad(), string(f.CodeID()); id != tt.debugID || code != tt.codID {
				t.Errorf("%s: ids %s, %q, want %s, %q", tt.name, id, code, tt.debugID, tt.codID)
			}
		}
	})
}

func TestLinks(t *testing.T) {
	forms(t, func(t *testing.T, b *builder) {
		for name, pad := range map[string]string{"a": "\x00\x00", "ab": "\x00", "abc": "", "a.debug": "", "abcd": "\x00\x00\x00"} {
			link := b.u32([]byte(name+"\x00"+pad), 0xabf39bdc)
			b.sections = []section{{name: ".gnu_debuglink", kind: 1, data: link}, {name: ".gnu_debugaltlink", kind: 1, data: []byte(name + "\x00build id")}}
			f := parse(t, b.bytes())
			if got, crc, ok := f.DebugLink(); got != name || crc != 0xabf39bdc || !ok {
				t.Errorf("DebugLink = %q, %x, %v, want %q", got, crc, ok, name)
			}
			if got, id, ok := f.DebugAltLink(); got != name || string(id) != "build id" || !ok {
				t.Errorf("DebugAltLink = %q, %q, %v, want %q", got, id, ok, name)
			}
			b.sections[0].data, b.sections[1].data = link[:len(link)-1], []byte(name)
			f = parse(t, b.bytes())
			if _, _, ok := f.DebugLink(); ok {
				t.Errorf("DebugLink accepts a cut-off link to %q", name)
			}
			if _, _, ok := f.DebugAltLink(); ok {
				t.Errorf("DebugAltLink accepts a name without end")
			}
		}
		b.sections = nil
		if _, _, ok := parse(t, b.bytes()).DebugLink(); ok {
			t.Error("DebugLink without section")
		}
	})
}

// What is known about real files: identity and kind.
func TestFixtures(t *testing.T) {
	for _, tt := range []struct {
		path, codeID, arch string
		base               uint64
		has                string // code, debug info, unwind info, symbols
		soName, link       string
	}{
		{"symbolic/linux/crash", "f1c3bcc0279865fe3058404b2831d9e64135386c", "x86_64", 0x400000, "true false true true", "", "crash.debug a5010837"},
		{"symbolic/linux/crash.debug", "f1c3bcc0279865fe3058404b2831d9e64135386c", "x86_64", 0x400000, "false true false true", "", ""},
		{"symbolic/linux/crash.debug-zlib", "f1c3bcc0279865fe3058404b2831d9e64135386c", "x86_64", 0x400000, "false true false true", "", ""},
		{"symbolic/linux/crash.debug-zstd", "f1c3bcc0279865fe3058404b2831d9e64135386c", "x86_64", 0x400000, "false true false true", "", ""},
		{"symbolic/linux/cfi_test_arm64", "c2f2a4782a23a5892d7636d11b9254a88b79b715", "arm64", 0x400000, "true true true true", "", ""},
		{"symbolic/linux/dynsyms_only", "b931c4fbd186e551bb617b3807d594b9064f5cac", "x86_64", 0, "false false false true", "", ""},
		{"symbolic/linux/libjemalloc.so.debug", "a8a1d99c1066edf320adfc5299464e674b1d9287", "arm64", 0, "false true false true", "", ""},
		{"symbolic/linux/cross_language_lto.debug", "a4bf298b879036980ab4cb99aed1902f0038b995", "x86_64", 0, "false true false true", "", ""},
		{"symbolic/linux/elf_debuglink/elf_with_debuglink", "4f81639fdcacd007d2ad4ff4f6e6d6e30dee5e4b", "x86_64", 0, "true false true true", "", "debug_info.txt abf39bdc"},
		{"symbolic/linux/elf_debuglink/elf_with1_debuglink", "4f81639fdcacd007d2ad4ff4f6e6d6e30dee5e4b", "x86_64", 0, "true false true true", "", "debug_info1.txt abf39bdc"},
		{"symbolic/linux/elf_debuglink/elf_with12_debuglink", "4f81639fdcacd007d2ad4ff4f6e6d6e30dee5e4b", "x86_64", 0, "true false true true", "", "debug_info12.txt abf39bdc"},
		{"symbolic/linux/elf_debuglink/elf_with123_debuglink", "4f81639fdcacd007d2ad4ff4f6e6d6e30dee5e4b", "x86_64", 0, "true false true true", "", "debug_info123.txt abf39bdc"},
		{"symbolic/linux/elf_debuglink/elf_with_compressed_debuglink", "4f81639fdcacd007d2ad4ff4f6e6d6e30dee5e4b", "x86_64", 0, "true false true true", "", "debug_info.txt abf39bdc"},
		{"symbolic/linux/elf_debuglink/elf_without_debuglink", "4f81639fdcacd007d2ad4ff4f6e6d6e30dee5e4b", "x86_64", 0, "true false true true", "", ""},
		{"dump_syms/linux/basic.full", "b060ad20c6b47781552708aa192e7739fac7c84a", "x86_64", 0, "true true true true", "", ""},
		{"dump_syms/linux/basic.stripped", "b060ad20c6b47781552708aa192e7739fac7c84a", "x86_64", 0, "true false true false", "", ""},
		{"dump_syms/linux/basic.dbg", "b060ad20c6b47781552708aa192e7739fac7c84a", "x86_64", 0, "false true false true", "", ""},
		{"dump_syms/linux/basic.dwz", "b060ad20c6b47781552708aa192e7739fac7c84a", "x86_64", 0, "false true false true", "", ""},
		{"dump_syms/linux/basic.minidebuginfo", "b060ad20c6b47781552708aa192e7739fac7c84a", "x86_64", 0, "true false true true", "", ""},
	} {
		f := parse(t, debugtest.File(t, tt.path))
		if string(f.CodeID()) != tt.codeID || f.Arch() != tt.arch || f.ImageBase() != tt.base || f.SOName() != tt.soName || f.Problems != nil {
			t.Errorf("%s: code id %s, %s, base %#x, soname %q, problems %v", tt.path, f.CodeID(), f.Arch(), f.ImageBase(), f.SOName(), f.Problems)
		}
		if got := fmt.Sprint(f.HasCode(), f.HasDebugInfo(), f.HasUnwindInfo(), f.HasSymbols()); got != tt.has {
			t.Errorf("%s: HasCode, HasDebugInfo, HasUnwindInfo, HasSymbols = %s, want %s", tt.path, got, tt.has)
		}
		link := ""
		if name, crc, ok := f.DebugLink(); ok {
			link = fmt.Sprintf("%s %x", name, crc)
		}
		if link != tt.link {
			t.Errorf("%s: DebugLink = %q, want %q", tt.path, link, tt.link)
		}
	}
	f := parse(t, debugtest.File(t, "dump_syms/linux/basic.dwz"))
	if name, id, ok := f.DebugAltLink(); name != "basic.dwz" || len(id) != 20 || !ok {
		t.Errorf("DebugAltLink = %q, %x, %v", name, id, ok)
	}
}

// The identities and symbols symbolic's own tests assert.
func TestFacts(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(debugtest.File(t, "symbolic-facts.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "symbolic:symbolic-testutils/fixtures/"
	ids, found := 0, 0
	for _, r := range rows {
		path, ok := strings.CutPrefix(r[0], prefix)
		if !ok || r[2] != "elf" {
			continue
		}
		f := parse(t, debugtest.File(t, "symbolic/"+path))
		if got := f.DebugID().String(); got != r[3] || f.Arch() != r[4] {
			t.Errorf("%s: DebugID = %s, Arch = %s, want %s, %s", path, got, f.Arch(), r[3], r[4])
		}
		ids++
		if _, code, ok := strings.Cut(r[7], "code_id="); ok && !strings.HasPrefix(code, string(f.CodeID())) {
			t.Errorf("%s: CodeID = %s, want %s", path, f.CodeID(), code)
		}
		if r[5] != "symbol" {
			continue
		}
		names := map[string]bool{}
		for _, s := range f.Functions() {
			names[fmt.Sprintf("%#x %s", s.Addr, s.Name)] = true
		}
		if want := r[6] + " " + r[7]; !names[want] {
			t.Errorf("%s: no symbol %s", path, want)
		}
		found++
	}
	if ids < 100 || found < 80 {
		t.Errorf("%d identities and %d symbols compared", ids, found)
	}
}
