package elf_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvage/debug/object/elf"
)

func list(f *elf.File) string {
	var out []string
	for _, s := range f.Functions() {
		out = append(out, fmt.Sprintf("%s %x+%x", s.Name, s.Addr, s.Size))
	}
	return strings.Join(out, ", ")
}

func TestSymbols(t *testing.T) {
	forms(t, func(t *testing.T, b *builder) {
		table, names := b.symtab(
			symbol{name: "one", addr: 0x1001, size: 5, kind: 2, bind: 1, section: 1}, symbol{kind: 3, section: 2},
			symbol{name: "abs", addr: 7, section: 0xfff1}, symbol{name: "far", addr: 9, section: 0xffff}, symbol{name: "common", section: 0xfff2})
		b.sections = []section{
			{name: ".text", kind: 1, flags: 6}, {name: ".symtab", kind: 2, link: 3, data: table}, {name: ".strtab", kind: 3, data: names},
			{name: ".dynsym", kind: 11, link: 99, data: table}, {name: "x", kind: 18, link: 4, data: make([]byte, 40)},
			{name: ".symtab_shndx", kind: 18, link: 2, data: b.u32(nil, 0, 0, 0, 0, 0x12345, 0)},
		}
		f := parse(t, b.bytes())
		var got []string
		for s := range f.Symbols(elf.Static) {
			got = append(got, fmt.Sprintf("%s %x %x %d %d %x", s.Name, s.Addr, s.Size, s.Type, s.Bind, s.Section))
		}
		want := []string{"one 1001 5 2 1 1", " 0 0 3 0 2", "abs 7 0 0 0 fffffff1", "far 9 0 0 0 12345", "common 0 0 0 0 fffffff2"}
		if !slices.Equal(got, want) {
			t.Errorf("Symbols = %q, want %q", got, want)
		}
		n := 0
		for s := range f.Symbols(elf.Dynamic) {
			if n++; s.Name != nil {
				t.Errorf("name %q from nowhere", s.Name)
			}
			if n == 3 {
				break
			}
		}
		if n != 3 {
			t.Errorf("%d dynamic symbols", n)
		}
	})
}

func TestFunctions(t *testing.T) {
	forms(t, func(t *testing.T, b *builder) {
		for _, tt := range []struct {
			name    string
			machine uint16
			in      []symbol
			want    string
		}{
			{"functions", 62, []symbol{{name: "f", addr: 0x2001, size: 1, kind: 2, section: 1}, {name: "i", addr: 0x2004, kind: 10, section: 1}}, "f 1001+1, i 1004+fc"},
			{"others", 62, []symbol{{name: "o", addr: 0x2000, kind: 1, section: 1}, {name: "s", addr: 0x2000, kind: 3, section: 1}, {name: "f", addr: 0x2000, kind: 4, section: 1}, {name: "t", addr: 0x2000, kind: 6, section: 1}}, ""},
			{"labels", 62, []symbol{{name: "code", addr: 0x2000, section: 1}, {name: "data", addr: 0x3000, section: 2}, {name: "none", addr: 0x2000, section: 77}, {addr: 0x2000, section: 1}}, "code 1000+100"},
			{"undefined, absolute, common", 62, []symbol{{name: "u", addr: 0x2000, kind: 2}, {name: "a", addr: 0x2000, kind: 2, section: 0xfff1}, {name: "c", addr: 0x2000, kind: 2, section: 0xfff2}}, ""},
			{"below the base", 62, []symbol{{name: "f", addr: 0xfff, kind: 2, section: 1}, {name: "g", addr: 0x1000, kind: 2, section: 1}}, "g 0+1100"},
			{"versions", 62, []symbol{{name: "f@@V1", addr: 0x2000, kind: 2, section: 1}, {name: "g@V", addr: 0x2000, kind: 2, section: 1}, {name: "@h", addr: 0x2000, kind: 2, section: 1}}, "f 1000+100, g 1000+100, @h 1000+100"},
			{"thumb", 40, []symbol{{name: "f", addr: 0x2001, kind: 2, section: 1}, {name: "i", addr: 0x2003, kind: 10, section: 1}, {name: "label", addr: 0x2005, section: 1}}, "f 1000+0, i 1002+0, label 1005+fb"},
			{"micromips", 8, []symbol{{name: "f", addr: 0x2001, kind: 2, section: 1}}, "f 1000+100"},
			{"mapping on arm", 40, names("$a", "$t", "$d", "$t.1", "$x", "$", "$ab", "$d.x"), "$x 1000+100, $ 1000+100, $ab 1000+100"},
			{"mapping on arm64", 183, names("$x", "$d", "$d.2", "$a", "$xy"), "$a 1000+100, $xy 1000+100"},
			{"mapping on riscv", 243, names("$x", "$d", "$xrv64i2p1", "$a"), "$a 1000+100"},
			{"no mapping elsewhere", 62, names("$x"), "$x 1000+100"},
			{"file order", 62, []symbol{{name: "b", addr: 0x2002, kind: 2, section: 1}, {name: "z", addr: 0x2000, kind: 2, section: 1}, {name: "a", addr: 0x2000, kind: 2, section: 1}}, "b 1002+fe, z 1000+0, a 1000+0"},
		} {
			b.machine = tt.machine
			table, names := b.symtab(tt.in...)
			b.segments = []segment{{kind: 1, flags: 5, addr: 0x1000, mem: 0x10000}}
			b.sections = []section{
				{name: ".text", kind: 8, flags: 6, addr: 0x2000, size: 0x100}, {name: ".data", kind: 8, flags: 3, addr: 0x3000, size: 0x100},
				{name: "table", kind: 2, link: 4, data: table}, {name: "strings", kind: 3, data: names},
			}
			for _, b.sections[2].kind = range []uint32{2, 11} {
				f := parse(t, b.bytes())
				if got := list(f); got != tt.want || f.HasSymbols() != (tt.want != "") {
					t.Errorf("%s: Functions = %s, want %s; HasSymbols = %v", tt.name, got, tt.want, f.HasSymbols())
				}
			}
		}
	})
}

func names(names ...string) (list []symbol) {
	for _, n := range names {
		list = append(list, symbol{name: n, addr: 0x2000, section: 1})
	}
	return list
}

// strip -K keeps some of .symtab; .dynsym knows more.
func TestFunctionsBoth(t *testing.T) {
	b := &builder{is64: true}
	static, staticNames := b.symtab(symbol{name: "kept", addr: 0x10, kind: 2, section: 1}, symbol{name: "both", addr: 0x20, kind: 2, section: 1})
	dynamic, dynamicNames := b.symtab(symbol{name: "alias", addr: 0x20, kind: 2, section: 1}, symbol{name: "other", addr: 0x30, kind: 2, section: 1})
	b.sections = []section{
		{name: ".text", kind: 1, flags: 6}, {name: ".symtab", kind: 2, link: 3, data: static}, {name: ".strtab", kind: 3, data: staticNames},
		{name: ".dynsym", kind: 11, link: 5, data: dynamic}, {name: ".dynstr", kind: 3, data: dynamicNames},
	}
	if got, want := list(parse(t, b.bytes())), "other 30+0, kept 10+0, both 20+0"; got != want {
		t.Errorf("Functions = %s, want %s", got, want)
	}
}

// dynamicOnly builds a file without sections whose symbols are found by way of a hash table.
func dynamicOnly(b *builder, gnuHash bool) []byte {
	b = &builder{is64: b.is64, big: b.big, machine: 62}
	const base, padded = 0x1000, 0x200
	table, strings := b.symtab(symbol{name: "lib.so"}, symbol{name: "f", addr: 0x1800, kind: 2, section: 5}, symbol{name: "label", addr: 0x1801, section: 5}, symbol{name: "data", addr: 0x9000, section: 6})
	pad := func(data []byte) []byte { return append(data, make([]byte, padded-len(data))...) }
	hash := b.u32(nil, 1, 5, 0, 0, 0, 0, 0, 0)
	tag := uint64(4)
	if gnuHash { // symbols 2 to 4 are hashed, in two chains
		hash = b.word(b.u32(nil, 2, 2, 1, 0), 0)
		hash = b.u32(hash, 2, 3, 1, 2, 3, 99)
		tag = 0x6ffffef5
	}
	image := append(append(pad(table), pad(strings)...), pad(hash)...)
	header := uint64(52 + 2*32)
	if b.is64 {
		header = 64 + 2*56
	}
	at := (header + 7) &^ 7
	b.sections = []section{
		{name: "image", kind: 1, data: image},
		{name: "dynamic", kind: 1, data: b.word(nil, 14, 1, 5, base+at+padded, 10, uint64(len(strings)), 6, base+at, tag, base+at+2*padded, 0, 0)},
	}
	b.segments = []segment{{kind: 1, flags: 5, addr: base, size: at + uint64(len(image))}, {kind: 2, of: "dynamic"}}
	b.noSections = true
	b.segments[0].mem = 0x1000
	return b.bytes()
}

func TestWithoutSections(t *testing.T) {
	forms(t, func(t *testing.T, b *builder) {
		for _, gnuHash := range []bool{false, true} {
			f := parse(t, dynamicOnly(b, gnuHash))
			if got, want := list(f), "f 800+0, label 801+7ff"; got != want || f.SOName() != "lib.so" {
				t.Errorf("gnu hash %v: Functions = %s, want %s; SOName = %q", gnuHash, got, want, f.SOName())
			}
			n := 0
			for range f.Symbols(elf.Dynamic) {
				n++
			}
			if n != 4 {
				t.Errorf("gnu hash %v: %d symbols", gnuHash, n)
			}
		}
	})
}

// No allocation per symbol.
func TestSymbolsAllocs(t *testing.T) {
	b := &builder{is64: true}
	table, strings := b.symtab(names(make([]string, 1000)...)...)
	b.sections = []section{{name: ".symtab", kind: 2, link: 2, data: table}, {name: ".strtab", kind: 3, data: strings}}
	f := parse(t, b.bytes())
	n := 0
	if allocs := testing.AllocsPerRun(10, func() {
		for range f.Symbols(elf.Static) {
			n++
		}
	}); allocs > 10 || n != 11_000 {
		t.Errorf("%v allocations for 1000 symbols, %d seen", allocs, n)
	}
}

func BenchmarkFunctions(b *testing.B) {
	var bb builder
	bb.is64 = true
	var in []symbol
	for i := range 10_000 {
		in = append(in, symbol{name: fmt.Sprint("_ZN7example4nameE", i), addr: uint64(16 * i), size: 16, kind: 2, section: 1})
	}
	table, strings := bb.symtab(in...)
	bb.sections = []section{{name: ".text", kind: 1, flags: 6}, {name: ".symtab", kind: 2, link: 3, data: table}, {name: ".strtab", kind: 3, data: strings}}
	data := bb.bytes()
	f := parse(b, data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		f.Functions()
	}
}
