package macho_test

import (
	"encoding/binary"
)

// builder writes Mach-O files: what the tests need of them.
type builder struct {
	is64, big          bool
	cpu, subtype, kind uint32
	uuid               []byte
	dylib              string
	segments           []segment
	symbols            []symbol
	strings            []byte // instead of those of the symbols
	exports, starts    []byte
	old                bool // exports in LC_DYLD_INFO
}

type segment struct {
	name     string
	addr     uint64
	sections []section
}

type section struct {
	name        string
	addr        uint64
	size        uint64 // without data: what is not in the file
	flags       uint32
	data        []byte
	relocations []byte
}

type symbol struct {
	name          string
	kind, section uint8
	flags         uint16
	value         uint64
	at            uint32 // offset of the name, if the strings are given
}

const code = 1<<31 | 1<<10

func (b *builder) order() binary.AppendByteOrder {
	if b.big {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

func (b *builder) u32(out []byte, values ...uint32) []byte {
	for _, v := range values {
		out = b.order().AppendUint32(out, v)
	}
	return out
}

func (b *builder) word(out []byte, values ...uint64) []byte {
	for _, v := range values {
		if b.is64 {
			out = b.order().AppendUint64(out, v)
		} else {
			out = b.u32(out, uint32(v))
		}
	}
	return out
}

func name16(s string) []byte { return append([]byte(s), make([]byte, 16-len(s))...) }

func (b *builder) bytes() []byte {
	var tail []byte // after the commands
	header, sectionSize := 28, 68
	if b.is64 {
		header, sectionSize = 32, 80
	}
	size := 0 // of the commands
	for _, s := range b.segments {
		size += header + 28 + sectionSize*len(s.sections)
		if b.is64 {
			size += 12
		}
	}
	pad := func(n int) int { return (n + 7) &^ 7 }
	if b.uuid != nil {
		size += 24
	}
	if b.dylib != "" {
		size += 24 + pad(len(b.dylib)+1)
	}
	size += 24 // symbols
	if b.exports != nil && b.old {
		size += 48
	} else if b.exports != nil {
		size += 16
	}
	if b.starts != nil {
		size += 16
	}
	put := func(data []byte) (at uint32) {
		at = uint32(header + size + len(tail))
		tail = append(tail, data...)
		return at
	}
	var out []byte
	count := uint32(0)
	command := func(kind uint32, body []byte) {
		count++
		out = b.u32(out, kind, uint32(8+len(body)))
		out = append(out, body...)
	}
	for _, s := range b.segments {
		var rows []byte
		first := uint32(header + size + len(tail))
		for _, x := range s.sections {
			at, relocations := uint32(0), uint32(0)
			if x.data != nil {
				at, x.size = put(x.data), uint64(len(x.data))
			}
			if x.relocations != nil {
				relocations = put(x.relocations)
			}
			rows = append(append(rows, name16(x.name)...), name16(s.name)...)
			rows = b.word(rows, x.addr, x.size)
			rows = b.u32(rows, at, 0, relocations, uint32(len(x.relocations)/8), x.flags, 0, 0)
			if b.is64 {
				rows = b.u32(rows, 0)
			}
		}
		body := b.word(name16(s.name), s.addr, 0x100000, uint64(first), uint64(len(tail)))
		body = append(b.u32(body, 7, 5, uint32(len(s.sections)), 0), rows...)
		kind := uint32(1)
		if b.is64 {
			kind = 0x19
		}
		command(kind, body)
	}
	if b.uuid != nil {
		command(0x1b, b.uuid)
	}
	if b.dylib != "" {
		body := b.u32(nil, 24, 1, 0x10000, 0x10000)
		command(0xd, append(append(body, b.dylib...), make([]byte, pad(len(b.dylib)+1)-len(b.dylib))...))
	}
	strings := []byte{0}
	var rows []byte
	for _, s := range b.symbols {
		at := uint32(len(strings))
		if b.strings != nil {
			at = s.at
		} else {
			strings = append(append(strings, s.name...), 0)
		}
		rows = append(b.u32(rows, at), s.kind, s.section)
		rows = b.order().AppendUint16(rows, s.flags)
		rows = b.word(rows, s.value)
	}
	if b.strings != nil {
		strings = b.strings
	}
	command(2, b.u32(nil, put(rows), uint32(len(b.symbols)), put(strings), uint32(len(strings))))
	if b.exports != nil && b.old {
		command(0x80000022, b.u32(make([]byte, 32), put(b.exports), uint32(len(b.exports))))
	} else if b.exports != nil {
		command(0x80000033, b.u32(nil, put(b.exports), uint32(len(b.exports))))
	}
	if b.starts != nil {
		command(0x26, b.u32(nil, put(b.starts), uint32(len(b.starts))))
	}
	magic := uint32(0xfeedface)
	if b.is64 {
		magic = 0xfeedfacf
	}
	head := b.u32(nil, magic, b.cpu, b.subtype, b.kind, count, uint32(len(out)), 0)
	if b.is64 {
		head = b.u32(head, 0)
	}
	return append(append(head, out...), tail...)
}

// fat puts files side by side.
func fat(wide bool, files ...[]byte) []byte {
	be := binary.BigEndian
	size := 20
	out := be.AppendUint32(nil, 0xcafebabe)
	if wide {
		size = 32
		out = be.AppendUint32(nil, 0xcafebabf)
	}
	out = be.AppendUint32(out, uint32(len(files)))
	at := 8 + size*len(files)
	for i, f := range files {
		out = be.AppendUint32(be.AppendUint32(out, uint32(0x1000007+5*i)), 0x80000002)
		if wide {
			out = be.AppendUint64(be.AppendUint64(out, uint64(at)), uint64(len(f)))
			out = be.AppendUint64(out, 0)
		} else {
			out = be.AppendUint32(be.AppendUint32(be.AppendUint32(out, uint32(at)), uint32(len(f))), 0)
		}
		at += len(f)
	}
	for _, f := range files {
		out = append(out, f...)
	}
	return out
}
