package elf_test

import (
	"bytes"
	"testing"

	"salvage/debug/object/elf"
	"salvage/debug/symbols"
)

// touch calls everything a File has.
func touch(data []byte) {
	f, err := elf.Parse(data)
	if err != nil {
		return
	}
	names := 0
	for i := range f.Sections {
		s := &f.Sections[i]
		if f.Section(s.Name) == nil {
			panic("section not found under its name")
		}
		raw, err := f.RawData(s)
		if uint64(len(raw)) != s.Size && err == nil {
			panic("section of another size")
		}
		if data, err := f.Data(s, 1<<20); err == nil && len(data) > max(1<<20, len(raw)) {
			panic("section over the limit")
		}
		names += len(s.Name)
	}
	for _, t := range []elf.Table{elf.Static, elf.Dynamic} {
		for s := range f.Symbols(t) {
			names += len(s.Name)
		}
	}
	for _, s := range f.Functions() {
		names += len(s.Name)
	}
	end := uint64(0)
	for i, e := range f.Executable() {
		if i > 0 && e.Addr <= end || e.Size == 0 || e.Addr+e.Size < e.Addr {
			panic("executable ranges out of order")
		}
		end = e.Addr + e.Size
	}
	f.Arch()
	f.ImageBase()
	f.BuildID()
	f.DebugID()
	f.CodeID()
	f.DebugLink()
	f.DebugAltLink()
	f.SOName()
	f.HasCode()
	f.HasDebugInfo()
	f.HasUnwindInfo()
	if _, err := f.GoSymbols(func(*symbols.Batch) error { return nil }); err == nil {
		f.HasGoTable()
	}
	if f.HasSymbols() != (len(f.Functions()) > 0) {
		panic("HasSymbols")
	}
	if names > 600*len(data) {
		panic("names out of proportion")
	}
}

// small returns files with everything in them: each class and byte order, with and without sections.
func small() (files [][]byte) {
	for _, b := range []builder{{}, {big: true}, {is64: true}, {is64: true, big: true}} {
		b.machine = 40
		symtab, strtab := b.symtab(
			symbol{name: "main@@V1", addr: 0x1001, size: 4, kind: 2, section: 1}, symbol{name: "label", addr: 0x1002, section: 1},
			symbol{name: "$t", addr: 0x1002, section: 1}, symbol{name: "far", addr: 0x1003, kind: 10, section: 0xffff})
		text := bytes.Repeat([]byte("text"), 4)
		b.sections = []section{
			{name: ".text", kind: 1, flags: 6, addr: 0x1000, data: text},
			{name: ".note.gnu.build-id", kind: 7, align: 4, data: b.note(4, "GNU\x00", 3, text)},
			{name: ".symtab", kind: 2, link: 4, data: symtab}, {name: ".strtab", kind: 3, data: strtab},
			{name: ".symtab_shndx", kind: 18, link: 3, data: b.u32(nil, 0, 0, 0, 0, 1)},
			{name: ".dynsym", kind: 11, link: 4, data: symtab}, {name: ".dynamic", kind: 6, link: 4, data: b.word(nil, 14, 1, 0, 0)},
			{name: ".gnu_debuglink", kind: 1, data: b.u32([]byte("a.debug\x00"), 1)},
			{name: ".gnu_debugaltlink", kind: 1, data: []byte("a.dwz\x00id")},
			{name: ".zdebug_info", kind: 1, data: append([]byte("ZLIB\x00\x00\x00\x00\x00\x00\x00\x10"), deflated(text)...)},
			{name: ".debug_line", kind: 1, flags: 1 << 11, data: b.chdr(1, 16, deflated(text))},
			{name: ".debug_str", kind: 1, flags: 1 << 11, data: b.chdr(2, 16, zstandard(text))},
		}
		b.segments = []segment{{kind: 1, flags: 5, addr: 0x1000, of: ".text"}, {kind: 4, of: ".note.gnu.build-id"}}
		files = append(files, b.bytes())
		files = append(files, dynamicOnly(&b, b.big))
		// A relocatable object: what .debug_info says is at the symbol main.
		b.kind, b.machine, b.segments = elf.TypeRel, 3, nil
		if b.is64 {
			b.machine = 62
		}
		b.sections[0].addr = 0
		b.sections = append(b.sections, section{name: ".debug_info", kind: 1, data: make([]byte, 16)},
			section{name: ".rela.debug_info", kind: 4, link: 3, info: uint32(len(b.sections) + 1), data: b.word(nil, 4, 1<<32|1, 7)})
		files = append(files, b.bytes())
	}
	return append(files, goFile(nil))
}

func FuzzParse(f *testing.F) {
	for _, data := range small() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { touch(data) })
}

func TestPrefixes(t *testing.T) {
	for _, data := range small() {
		for n := range data {
			touch(data[:n:n])
		}
	}
}

func TestDamage(t *testing.T) {
	for _, data := range small() {
		used := allocated(func() {
			for i := range data {
				for _, v := range []byte{0, 0xff} {
					bad := bytes.Clone(data)
					bad[i] = v
					touch(bad)
				}
			}
		})
		if per := used / uint64(2*len(data)); per > 1<<20 {
			t.Errorf("%d bytes allocated for a file of %d", per, len(data))
		}
	}
}

// Names may share a long string, so that a small file asks for quadratic work.
func TestSharedNames(t *testing.T) {
	b := &builder{is64: true}
	const n = 20_000
	list := make([]symbol, n)
	for i := range list {
		list[i] = symbol{addr: uint64(i), kind: 2, section: 1}
	}
	table, _ := b.symtab(list...)
	for i := range n {
		table[24*(i+1)] = 1
	}
	strings := append(append([]byte{0}, bytes.Repeat([]byte("x"), 1<<20)...), 0)
	b.sections = []section{{name: ".text", kind: 1, flags: 6, data: []byte{0}}, {name: ".symtab", kind: 2, link: 3, data: table}, {name: ".strtab", kind: 3, data: strings}}
	f := parse(t, b.bytes())
	total, count := 0, 0
	for s := range f.Symbols(elf.Static) {
		total += len(s.Name)
		count++
	}
	if count != n || total < 1<<20 || total > len(strings)+256*(n+1) {
		t.Errorf("%d symbols with %d bytes of names", count, total)
	}
}
