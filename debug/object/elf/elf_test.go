package elf_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"testing"

	"salvage/debug"
	"salvage/debug/object/elf"
	"salvage/debug/symbols"
)

func TestParse(t *testing.T) {
	forms(t, func(t *testing.T, b *builder) {
		b.machine, b.kind = 62, 2
		b.segments = []segment{{kind: 1, flags: 5, addr: 0x400000, size: 0x40, mem: 0x80, align: 0x1000}, {kind: 4, of: ".note", align: 4}}
		b.sections = []section{
			{name: ".text", kind: 1, flags: 6, addr: 0x400100, data: []byte("code"), align: 16},
			{name: ".note", kind: 7, data: []byte("note"), link: 1, info: 2, entry: 3},
			{name: ".bss", kind: 8, flags: 3, addr: 0x500000, size: 1 << 30},
		}
		for _, b.extended = range []bool{false, true} {
			f := parse(t, b.bytes())
			if f.Is64 != b.is64 || f.BigEndian != b.big || f.Type != elf.TypeExec || f.Arch() != "x86_64" || f.Entry != 0x1234 || f.Problems != nil {
				t.Errorf("header: %+v", f)
			}
			want := elf.Segment{Type: 1, Flags: 5, Addr: 0x400000, FileSize: 0x40, MemSize: 0x80, Align: 0x1000}
			if len(f.Segments) != 2 || f.Segments[0] != want {
				t.Errorf("extended %v: segments %+v", b.extended, f.Segments)
			}
			if len(f.Sections) != 5 {
				t.Fatalf("extended %v: %d sections", b.extended, len(f.Sections))
			}
			text, note, bss := f.Section(".text"), f.Section(".note"), f.Section(".bss")
			if text == nil || text.Flags != 6 || text.Addr != 0x400100 || text.Align != 16 || note.Link != 1 || note.Info != 2 || note.EntSize != 3 || bss.Size != 1<<30 {
				t.Errorf("sections %+v", f.Sections)
			}
			if data, err := f.Data(text, 0); string(data) != "code" || err != nil {
				t.Errorf("Data(.text) = %q, %v", data, err)
			}
			if data, err := f.Data(bss, 1<<40); data != nil || !errors.Is(err, elf.ErrNotInFile) {
				t.Errorf("Data(.bss) = %d bytes, %v", len(data), err)
			}
			if _, err := f.Data(f.Section(".none"), 0); !errors.Is(err, elf.ErrNotInFile) {
				t.Errorf("Data(nil): %v", err)
			}
		}
	})
}

func TestParseErrors(t *testing.T) {
	good := (&builder{is64: true}).bytes()
	change := func(at int, v byte) []byte {
		bad := bytes.Clone(good)
		bad[at] = v
		return bad
	}
	for name, tt := range map[string]struct {
		data  []byte
		cause error
	}{
		"empty": {nil, nil}, "magic": {change(0, 0), nil}, "ident cut off": {good[:10], debug.ErrTruncated},
		"header cut off": {good[:63], debug.ErrTruncated}, "class": {change(4, 3), debug.ErrUnsupported}, "byte order": {change(5, 0), debug.ErrUnsupported},
	} {
		_, err := elf.Parse(tt.data)
		var fe *debug.FormatError
		if !errors.As(err, &fe) || fe.Err != tt.cause {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !elf.Probe(good) || elf.Probe([]byte("\x7fELG")) || elf.Probe(nil) {
		t.Error("Probe")
	}
}

// What one table lacks does not spoil the other, and a file that is cut off keeps what is there.
func TestTolerance(t *testing.T) {
	b := &builder{is64: true, segments: []segment{{kind: 1, flags: 5, addr: 0x1000, size: 8}, {kind: 2}}}
	b.sections = []section{{name: ".a", kind: 1, data: []byte("aaaa")}, {name: ".b", kind: 1, data: []byte("bbbb")}}
	good := b.bytes()
	const phoff, shoff, phentsize, shentsize, shstrndx = 32, 40, 54, 58, 62
	for _, tt := range []struct {
		name               string
		change             func(data []byte) []byte
		segments, sections int
		problem            string
		named              bool
	}{
		{"sound", func(d []byte) []byte { return d }, 2, 4, "", true},
		{"no segments", func(d []byte) []byte { d[phoff+7] = 1; return d }, 0, 4, "segments", true},
		{"small segments", func(d []byte) []byte { d[phentsize] = 55; return d }, 0, 4, "segments", true},
		{"no sections", func(d []byte) []byte { d[shoff+7] = 1; return d }, 2, 0, "sections", false},
		{"small sections", func(d []byte) []byte { d[shentsize] = 63; return d }, 2, 0, "sections", false},
		{"names elsewhere", func(d []byte) []byte { d[shstrndx] = 200; return d }, 2, 4, "sections", false},
		{"last header cut off", func(d []byte) []byte { return d[:len(d)-1] }, 2, 3, "sections", false},
		{"segments cut off", func(d []byte) []byte { return d[:64+56+1] }, 1, 0, "segments", false},
	} {
		f := parse(t, tt.change(bytes.Clone(good)))
		where := ""
		if len(f.Problems) > 0 {
			where = f.Problems[0].Where
		}
		if len(f.Segments) != tt.segments || len(f.Sections) != tt.sections || where != tt.problem || (f.Section(".a") != nil) != tt.named {
			t.Errorf("%s: %d segments, %d sections, problems %v", tt.name, len(f.Segments), len(f.Sections), f.Problems)
		}
	}
	cut := parse(t, append(bytes.Clone(good[:shoff]), append([]byte{64}, good[shoff+1:]...)...)) // section headers over the segments
	if len(cut.Sections) == 0 {
		t.Error("sections of nonsense are dropped")
	}
	short := &builder{is64: true, sections: []section{{name: ".a", kind: 1, data: []byte("aaaa")}}}
	data := short.bytes()
	data[len(data)-2*64+32+2] = 1 // sh_size of .a += 1<<16
	f := parse(t, data)
	if _, err := f.Data(f.Section(".a"), 0); !errors.Is(err, debug.ErrTruncated) || len(f.Problems) != 1 {
		t.Errorf("section past the end: %v, problems %v", err, f.Problems)
	}
}

func TestArch(t *testing.T) {
	for _, tt := range []struct {
		machine uint16
		flags   uint32
		is64    bool
		want    string
	}{
		{3, 0, false, "x86"}, {62, 0, true, "x86_64"}, {40, 0, false, "arm"}, {183, 0, true, "arm64"},
		{8, 0, false, "mips"}, {8, 0, true, "mips64"}, {10, 0x2000, false, "mips64"}, {8, 0x1000, false, "mips"},
		{20, 0, false, "ppc"}, {21, 0, true, "ppc64"}, {243, 0, true, "riscv64"}, {243, 0, false, "riscv"},
		{22, 0, false, "s390"}, {22, 0, true, "s390x"}, {258, 0, true, "loongarch64"}, {9999, 0, true, "unknown"},
	} {
		f := parse(t, (&builder{is64: tt.is64, machine: tt.machine, flags: tt.flags}).bytes())
		if got := f.Arch(); got != tt.want {
			t.Errorf("Arch of machine %d, flags %#x = %s, want %s", tt.machine, tt.flags, got, tt.want)
		}
	}
}

func TestImageBase(t *testing.T) {
	load := func(addr uint64) segment { return segment{kind: 1, addr: addr, mem: 0x100} }
	for _, tt := range []struct {
		name     string
		kind     uint16
		segments []segment
		want     uint64
	}{
		{"none", 3, nil, 0},
		{"position-independent", 3, []segment{load(0), load(0x2000)}, 0},
		{"fixed", 2, []segment{{kind: 6, addr: 0x40}, load(0x400000), load(0x600000)}, 0x400000},
		{"starts inside a page", 2, []segment{load(0x10054)}, 0x10000},
		// patchelf puts a new segment below the others, whatever the order of the headers.
		{"unsorted", 2, []segment{load(0x400000), load(0x3ff000)}, 0x3ff000},
		{"relocatable", 1, []segment{load(0x400000)}, 0},
	} {
		if got := parse(t, (&builder{is64: true, kind: tt.kind, segments: tt.segments}).bytes()).ImageBase(); got != tt.want {
			t.Errorf("%s: ImageBase = %#x, want %#x", tt.name, got, tt.want)
		}
	}
}

func TestExecutable(t *testing.T) {
	text := section{name: ".text", kind: 1, flags: 6, addr: 0x100, data: make([]byte, 0x10)}
	other := []section{text, {name: ".data", kind: 1, flags: 3, addr: 0x200, data: make([]byte, 8)}, {name: ".init", kind: 1, flags: 6, addr: 0x80, data: make([]byte, 8)}}
	for _, tt := range []struct {
		name     string
		segments []segment
		want     []symbols.Extent
	}{
		{"by sections", []segment{{kind: 4, flags: 1, addr: 1, size: 1}}, []symbols.Extent{{Addr: 0x80, Size: 8}, {Addr: 0x100, Size: 0x10}}},
		{"by segments", []segment{{kind: 1, flags: 5, addr: 0x5000, size: 4, mem: 0x20}, {kind: 1, flags: 6, addr: 0x1000, size: 9}}, []symbols.Extent{{Addr: 0x5000, Size: 0x20}}},
		{"none", []segment{{kind: 1, flags: 4, addr: 0, size: 4}}, nil},
		{
			"overlapping", []segment{{kind: 1, flags: 1, addr: 0x20, mem: 0x20}, {kind: 1, flags: 1, addr: 0x10, mem: 0x18}, {kind: 1, flags: 1, addr: 0x50}, {kind: 1, flags: 1, addr: 0x12, mem: 4}, {kind: 1, flags: 1, addr: ^uint64(0) - 1, mem: 50}},
			[]symbols.Extent{{Addr: 0x10, Size: 0x30}, {Addr: ^uint64(0) - 1, Size: 1}},
		},
	} {
		got := parse(t, (&builder{is64: true, segments: tt.segments, sections: other}).bytes()).Executable()
		if len(got)+len(tt.want) > 0 && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: Executable = %x, want %x", tt.name, got, tt.want)
		}
	}
}

func TestHas(t *testing.T) {
	some := []byte("....")
	for _, tt := range []struct {
		name     string
		sections []section
		segments []segment
		want     string // code, debug, unwind
	}{
		{"image", []section{{name: ".text", kind: 1, flags: 6, data: some}, {name: ".eh_frame", kind: 1, flags: 2, data: some}}, nil, "true false true"},
		{
			"debug file", []section{{name: ".text", kind: 8, flags: 6, size: 4}, {name: ".eh_frame", kind: 8, flags: 2, size: 4}, {name: ".debug_info", kind: 1, data: some}},
			[]segment{{kind: 1, flags: 5, size: 4}}, "false true false",
		},
		{"compressed", []section{{name: ".zdebug_info", kind: 1, data: some}, {name: ".zdebug_frame", kind: 1, data: some}}, nil, "false true true"},
		{"empty", []section{{name: ".debug_info", kind: 1}, {name: ".debug_frame", kind: 1}, {name: ".text", kind: 1, flags: 6}}, nil, "false false false"},
		{"instructions without memory", []section{{name: ".x", kind: 1, flags: 4, data: some}}, nil, "false false false"},
		{"without sections", nil, []segment{{kind: 1, flags: 5, size: 4}, {kind: 0x6474e550, size: 4}}, "true false true"},
		{"data only, without sections", nil, []segment{{kind: 1, flags: 6, size: 4}}, "false false false"},
	} {
		f := parse(t, (&builder{is64: true, sections: tt.sections, segments: tt.segments, noSections: tt.sections == nil}).bytes())
		if got := fmt.Sprint(f.HasCode(), f.HasDebugInfo(), f.HasUnwindInfo()); got != tt.want {
			t.Errorf("%s: HasCode, HasDebugInfo, HasUnwindInfo = %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestCompressed(t *testing.T) {
	want := bytes.Repeat([]byte("debug information "), 1000)
	forms(t, func(t *testing.T, b *builder) {
		n := uint64(len(want))
		size := []byte{0, 0, 0, 0, 0, 0, byte(n >> 8), byte(n)}
		legacy := append(append([]byte("ZLIB"), size...), deflated(want)...)
		b.sections = []section{
			{name: ".debug_zlib", kind: 1, flags: 1 << 11, data: b.chdr(1, n, deflated(want))},
			{name: ".debug_zstd", kind: 1, flags: 1 << 11, data: b.chdr(2, n, zstandard(want))},
			{name: ".zdebug_old", kind: 1, data: legacy},
			{name: ".debug_plain", kind: 1, data: want},
			{name: ".debug_odd", kind: 1, flags: 1 << 11, data: b.chdr(3, n, nil)},
			{name: ".debug_short", kind: 1, flags: 1 << 11, data: b.chdr(1, n, nil)[:11]},
			{name: ".debug_less", kind: 1, flags: 1 << 11, data: b.chdr(1, n-1, deflated(want))},
			{name: ".debug_more", kind: 1, flags: 1 << 11, data: b.chdr(2, n+1, zstandard(want))},
			{name: ".zdebug_bad", kind: 1, data: want},
			{name: ".debug_void", kind: 8, flags: 1 << 11, size: 100},
		}
		f := parse(t, b.bytes())
		for _, name := range []string{".debug_zlib", ".debug_zstd", ".debug_old", ".debug_plain"} {
			s := f.Section(name)
			if data, err := f.Data(s, n); !bytes.Equal(data, want) || err != nil {
				t.Errorf("Data(%s) = %d bytes, %v", name, len(data), err)
			}
			_, err := f.Data(s, n-1)
			if (name != ".debug_plain") != errors.Is(err, debug.ErrTooLarge) {
				t.Errorf("Data(%s) over the limit: %v", name, err)
			}
		}
		for name, cause := range map[string]error{
			".debug_odd": debug.ErrUnsupported, ".debug_short": debug.ErrTruncated, ".debug_less": debug.ErrTooLarge,
			".debug_more": debug.ErrTruncated, ".debug_bad": nil, ".debug_void": elf.ErrNotInFile,
		} {
			data, err := f.Data(f.Section(name), 1<<30)
			var fe *debug.FormatError
			if !errors.As(err, &fe) || data != nil || cause != nil && !errors.Is(err, cause) {
				t.Errorf("Data(%s) = %d bytes, %v", name, len(data), err)
			}
		}
		if raw, err := f.RawData(f.Section(".debug_old")); !bytes.Equal(raw, legacy) || err != nil {
			t.Errorf("RawData = %d bytes, %v", len(raw), err)
		}
	})
}

// Claims of any size cost no memory.
func TestMemory(t *testing.T) {
	b := &builder{is64: true, extended: true, sections: []section{
		{name: ".debug_info", kind: 1, flags: 1 << 11, data: b64.chdr(1, 1<<40, deflated(make([]byte, 1000)))},
		{name: ".debug_line", kind: 1, flags: 1 << 11, data: b64.chdr(2, 1<<40, zstandard(make([]byte, 1000)))},
		{name: ".symtab", kind: 2, data: make([]byte, 1000)},
	}}
	data := b.bytes()
	zero := len(data) - 5*64
	for i := range 7 {
		data[zero+32+i] = 0xff // sh_size, the section count
	}
	data[zero+44], data[zero+46] = 0xff, 0xff // sh_info, the segment count
	if used := allocated(func() { touch(data) }); used > 1<<20 {
		t.Errorf("%d bytes allocated for a file of %d", used, len(data))
	}
}

var b64 = &builder{is64: true}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
