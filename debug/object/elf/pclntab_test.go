package elf_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"salvage/debug/symbols"
)

// goFile makes a program of Go 1.20 with two functions of 32 bytes, the first of which has the second inlined into
// it. Edit changes the parts of its table.
func goFile(edit func(names, pcs []byte, calls []uint32)) []byte {
	le := binary.LittleEndian
	u32 := func(b []byte, v ...uint32) []byte {
		for _, v := range v {
			b = le.AppendUint32(b, v)
		}
		return b
	}
	names := []byte("\x00main.f\x00main.g\x00")
	pcs := []byte{0, 2, 32, 0 /* 4: lines 10, 12 */, 22, 16, 4, 16, 0 /* 9: none, call 0, none */, 0, 8, 2, 8, 1, 16, 0}
	calls := []uint32{0, 8, 4, 1}
	if edit != nil {
		edit(names, pcs, calls)
	}
	var tables []byte
	const index, function = 20, 4*11 + 3*4 + 4*4
	tables = u32(tables, 0, index, 32, index+function, 64)
	for i := range uint32(2) {
		tables = u32(tables, 32*i, 1+7*i, 0, 0, 0, 1, 4, 3, 0, 1, 4<<24, 0, 0, 9*(1-i), 1<<32-1, 1<<32-1, 1<<32-1, 0)
	}
	const header, base = 72, 0x500000
	table := append(u32(nil, 0xfffffff1), 0, 0, 1, 8)
	at := uint64(header)
	parts := [][]byte{names, u32(nil, 0), []byte("a.go\x00"), pcs, tables}
	table = le.AppendUint64(le.AppendUint64(le.AppendUint64(table, 2), 1), 0)
	for _, p := range parts {
		table = le.AppendUint64(table, at)
		at += uint64(len(p))
	}
	for _, p := range parts {
		table = append(table, p...)
	}
	module := make([]byte, 8*41)
	for i, v := range map[int]uint64{0: base, 1: base + header, 22: 0x401000, 40: 0x600000} {
		le.PutUint64(module[8*i:], v)
	}
	b := &builder{is64: true, kind: 2, machine: 62}
	b.sections = []section{
		{name: ".text", kind: 1, flags: 6, addr: 0x401000, data: make([]byte, 64)}, {name: ".gopclntab", kind: 1, flags: 2, addr: base, data: table},
		{name: ".noptrdata", kind: 1, flags: 3, addr: 0x700000, data: module}, {name: ".rodata", kind: 1, flags: 2, addr: 0x600000, data: u32(nil, calls...)},
	}
	b.segments = []segment{{kind: 1, flags: 5, addr: 0x401000, size: 64, mem: 64, of: ".text"}, {kind: 1, flags: 4, addr: 0x600000, size: 16, mem: 16, of: ".rodata"}}
	return b.bytes()
}

// goList writes what a program's table delivers.
func goList(t testing.TB, data []byte) (text string, lost int) {
	t.Helper()
	f := parse(t, data)
	lost, err := f.GoSymbols(func(b *symbols.Batch) error {
		for _, fn := range b.Functions {
			text += fmt.Sprintf("%x+%x %s", fn.Addr, fn.Size, b.Strings.Bytes(fn.Name))
			for _, l := range b.Lines[fn.Lines.Lo:fn.Lines.Hi] {
				text += fmt.Sprintf(" %x+%x %s:%d", l.Addr, l.Size, b.Strings.Bytes(l.File), l.Line)
			}
			for _, in := range b.Inlines[fn.Inlines.Lo:fn.Inlines.Hi] {
				text += fmt.Sprintf(" [%d %x+%x %s %s:%d]", in.Depth, in.Addr, in.Size, b.Strings.Bytes(in.Name), b.Strings.Bytes(in.CallFile), in.CallLine)
			}
			text += "\n"
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text, lost
}

func TestGoSymbols(t *testing.T) {
	const g = "20+20 main.g 20+10 a.go:10 30+10 a.go:12\n"
	want := "0+20 main.f 0+10 a.go:10 10+10 a.go:12 [0 8+8 main.g a.go:10]\n" + g
	if got, lost := goList(t, goFile(nil)); got != want || lost != 0 {
		t.Errorf("lost %d\n%swant\n%s", lost, got, want)
	}
	// A call that is inlined into itself.
	loop := func(_, _ []byte, calls []uint32) { calls[2] = 8 }
	if got, lost := goList(t, goFile(loop)); got != "0+20 main.f 0+10 a.go:10 10+10 a.go:12\n"+g || lost != 1 {
		t.Errorf("lost %d\n%s", lost, got)
	}
	for n, data := 0, goFile(nil); n < len(data); n++ {
		touch(data[:n:n])
		data[n] ^= 0xff
		touch(data)
		data[n] ^= 0xff
	}
}
