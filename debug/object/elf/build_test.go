package elf_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"

	"salvage/debug/object/elf"
)

// builder writes ELF files: header, program headers, contents, section headers. It shares nothing with
// the reader.
type builder struct {
	is64, big     bool
	kind, machine uint16
	flags         uint32
	extended      bool // counts go to section 0
	noSections    bool // write none
	segments      []segment
	sections      []section
}

type segment struct {
	kind, flags                 uint32
	off, addr, size, mem, align uint64
	of                          string // section whose offset and size to take
}

type section struct {
	name              string
	kind              uint32
	flags             uint64
	addr              uint64
	data              []byte
	size              uint64 // of NOBITS
	link, info        uint32
	align, entry, off uint64
}

func (b *builder) order() binary.AppendByteOrder {
	if b.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

func (b *builder) u16(out []byte, v ...uint16) []byte {
	for _, v := range v {
		out = b.order().AppendUint16(out, v)
	}
	return out
}

func (b *builder) u32(out []byte, v ...uint32) []byte {
	for _, v := range v {
		out = b.order().AppendUint32(out, v)
	}
	return out
}

func (b *builder) word(out []byte, v ...uint64) []byte {
	for _, v := range v {
		if b.is64 {
			out = b.order().AppendUint64(out, v)
		} else {
			out = b.order().AppendUint32(out, uint32(v))
		}
	}
	return out
}

func (b *builder) bytes() []byte {
	header, programHeader := 52, 32
	if b.is64 {
		header, programHeader = 64, 56
	}
	if b.kind == 0 {
		b.kind = 3
	}
	names := []byte{0}
	all := append([]section{{}}, b.sections...)
	all = append(all, section{name: ".shstrtab", kind: 3})
	var nameAt []uint32
	for _, s := range all {
		nameAt = append(nameAt, uint32(len(names)))
		names = append(append(names, s.name...), 0)
	}
	nameAt[0] = 0
	all[len(all)-1].data = names
	contents := make([]byte, header+programHeader*len(b.segments))
	for i := range all[1:] {
		s := &all[i+1]
		for len(contents)%8 != 0 {
			contents = append(contents, 0)
		}
		s.off = uint64(len(contents))
		if s.kind != 8 {
			s.size = uint64(len(s.data))
		}
		contents = append(contents, s.data...)
	}
	for len(contents)%8 != 0 {
		contents = append(contents, 0)
	}
	sectionHeaders, count, nameSection, phnum := uint64(len(contents)), uint16(len(all)), uint16(len(all)-1), uint16(len(b.segments))
	if b.extended {
		all[0].size, all[0].link, all[0].info = uint64(count), uint32(nameSection), uint32(phnum)
		count, nameSection, phnum = 0, 0xffff, 0xffff
	}
	if b.noSections {
		sectionHeaders, count, nameSection = 0, 0, 0
	}

	h := []byte{0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if b.is64 {
		h[4] = 2
	}
	if b.big {
		h[5] = 2
	}
	h = b.u32(b.u16(h, b.kind, b.machine), 1)
	h = b.word(h, 0x1234, uint64(header), sectionHeaders)
	h = b.u32(h, b.flags)
	shentsize := uint16(40)
	if b.is64 {
		shentsize = 64
	}
	h = b.u16(h, uint16(header), uint16(programHeader), phnum, shentsize, count, nameSection)
	for _, p := range b.segments {
		for _, s := range all {
			if p.of != "" && s.name == p.of {
				p.off, p.size = s.off, s.size
			}
		}
		h = b.u32(h, p.kind)
		if b.is64 {
			h = b.u32(h, p.flags)
		}
		h = b.word(h, p.off, p.addr, p.addr, p.size, max(p.mem, p.size))
		if !b.is64 {
			h = b.u32(h, p.flags)
		}
		h = b.word(h, p.align)
	}
	copy(contents, h)
	if b.noSections {
		return contents
	}
	for i, s := range all {
		contents = b.u32(contents, nameAt[i], s.kind)
		contents = b.word(contents, s.flags, s.addr, s.off, s.size)
		contents = b.u32(contents, s.link, s.info)
		contents = b.word(contents, s.align, s.entry)
	}
	return contents
}

type symbol struct {
	name       string
	addr, size uint64
	kind, bind uint8
	section    uint16
}

// symtab returns a symbol table and its strings.
func (b *builder) symtab(list ...symbol) (table, strings []byte) {
	strings = []byte{0}
	for _, s := range append([]symbol{{}}, list...) {
		at := uint32(0)
		if s.name != "" {
			at = uint32(len(strings))
			strings = append(append(strings, s.name...), 0)
		}
		table = b.u32(table, at)
		if b.is64 {
			table = append(table, s.bind<<4|s.kind, 0)
			table = b.word(b.u16(table, s.section), s.addr, s.size)
		} else {
			table = b.word(table, s.addr, s.size)
			table = b.u16(append(table, s.bind<<4|s.kind, 0), s.section)
		}
	}
	return table, strings
}

func (b *builder) note(align int, name string, kind uint32, desc []byte) []byte {
	pad := func(n []byte) []byte {
		for len(n)%align != 0 {
			n = append(n, 0)
		}
		return n
	}
	n := b.u32(nil, uint32(len(name)), uint32(len(desc)), kind)
	return pad(append(pad(append(n, name...)), desc...))
}

// chdr returns data compressed as a SHF_COMPRESSED section holds it.
func (b *builder) chdr(kind uint32, size uint64, stream []byte) []byte {
	h := b.u32(nil, kind)
	if b.is64 {
		h = b.u32(h, 0)
	}
	return append(b.word(h, size, 1), stream...)
}

func deflated(data []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

func zstandard(data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(data, nil)
}

// forms calls test for both classes and byte orders.
func forms(t *testing.T, test func(t *testing.T, b *builder)) {
	for name, b := range map[string]*builder{
		"32-bit little-endian": {}, "32-bit big-endian": {big: true},
		"64-bit little-endian": {is64: true}, "64-bit big-endian": {is64: true, big: true},
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
}

func parse(t testing.TB, data []byte) *elf.File {
	t.Helper()
	f, err := elf.Parse(data)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return f
}
