package pdb

import (
	"encoding/binary"
	"slices"
	"strings"
)

var le = binary.LittleEndian

// words appends 32-bit numbers.
func words(b []byte, v ...uint32) []byte {
	for _, x := range v {
		b = le.AppendUint32(b, x)
	}
	return b
}

func halves(b []byte, v ...uint16) []byte {
	for _, x := range v {
		b = le.AppendUint16(b, x)
	}
	return b
}

func text0(b []byte, s string) []byte { return append(append(b, s...), 0) }

func pad4(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// record is a symbol or a type with its length and kind before it.
func record(kind uint16, body []byte) []byte {
	body = pad4(append(make([]byte, 4), body...))
	le.PutUint16(body, uint16(len(body)-2))
	le.PutUint16(body[2:], kind)
	return body
}

// builder makes PDB files by hand.
type builder struct {
	block    int
	reversed bool // streams lie backwards in the file
	features []uint32
	types    [][]byte
	ids      [][]byte
	modules  []builtModule
	publics  [][]byte
	omap     []uint32
	names    []byte // file names; the first byte is the empty one
	frames   []byte
	machine  uint16
}

type builtModule struct {
	name    string
	symbols []byte
	lines   []byte
	stream  int // of another module; 0: its own
}

const (
	codeAddr = 0x1000
	codeSize = 0x1000
)

func (b *builder) recordStream(list [][]byte) []byte {
	all := slices.Concat(list...)
	h := words(nil, 20040203, typesHeaderSize, firstType, firstType+uint32(len(list)), uint32(len(all)))
	return append(append(h, make([]byte, typesHeaderSize-len(h))...), all...)
}

// bytes returns the file.
func (b *builder) bytes() []byte {
	const firstFree = 5
	streams := make([][]byte, firstFree)
	add := func(data []byte) uint32 {
		streams = append(streams, data)
		return uint32(len(streams) - 1)
	}
	named := add(append(words(nil, namesSignature, 1, uint32(len(b.names))), b.names...))
	info := words(nil, 20000404, 0x5ab38077, 7)
	info = append(info, "0123456789abcdef"...)
	info = text0(words(info, 7), "/names")
	info = words(info, 1, 1, 1, 1, 0, 0, named)
	streams[streamInfo] = words(info, b.features...)
	streams[streamTypes] = b.recordStream(b.types)
	streams[streamIDs] = b.recordStream(b.ids)

	sections := make([]byte, sectionRecord)
	copy(sections, ".text")
	le.PutUint32(sections[8:], codeSize)
	le.PutUint32(sections[12:], codeAddr)
	le.PutUint32(sections[36:], sectionCode|sectionExecute)
	header := []uint16{noStream, noStream, noStream, noStream, noStream, noStream, noStream, noStream, noStream, noStream, noStream}
	header[headerSections] = uint16(add(sections))
	if b.omap != nil {
		header[headerOmapFromSource] = uint16(add(words(nil, b.omap...)))
		header[headerOriginalSections] = header[headerSections]
	}
	if b.frames != nil {
		header[headerFrameData] = uint16(add(b.frames))
	}
	records := add(slices.Concat(b.publics...))
	var modules []byte
	var own []uint32
	for _, m := range b.modules {
		symbols := append(words(nil, signatureC13), m.symbols...)
		if m.stream == 0 {
			own = append(own, add(append(slices.Clip(symbols), m.lines...)))
		} else {
			own = append(own, own[m.stream-1])
		}
		h := make([]byte, moduleHeaderSize)
		le.PutUint16(h[34:], uint16(own[len(own)-1]))
		le.PutUint32(h[36:], uint32(len(symbols)))
		le.PutUint32(h[44:], uint32(len(m.lines)))
		modules = append(modules, pad4(text0(text0(h, m.name), m.name))...)
	}
	contribs := words(nil, contribV60)
	contribs = append(contribs, words(halves(nil, 1, 0), 0, codeSize, 0, 0, 0, 0)...)
	dbi := words(nil, 0xffffffff, 19990903, 3)
	dbi = halves(dbi, noStream, 0, noStream, 0, uint16(records), 0)
	dbi = words(dbi, uint32(len(modules)), uint32(len(contribs)), 0, 0, 0, 0, uint32(2*len(header)), 0)
	dbi = words(halves(dbi, 0, b.machine), 0)
	streams[streamDBI] = halves(slices.Concat(dbi, modules, contribs), header...)
	return container7(b.block, b.reversed, streams)
}

// container7 puts streams into a file.
func container7(block int, reversed bool, streams [][]byte) []byte {
	file := make([]byte, 3*block)
	put := func(data []byte) (blocks []uint32) {
		n := (len(data) + block - 1) / block
		for i := range n {
			blocks = append(blocks, uint32(len(file)/block+i))
		}
		if reversed {
			slices.Reverse(blocks)
		}
		file = append(file, make([]byte, n*block)...)
		for i, k := range blocks {
			copy(file[int(k)*block:][:block], data[i*block:])
		}
		return blocks
	}
	directory := words(nil, uint32(len(streams)))
	for _, s := range streams {
		directory = words(directory, uint32(len(s)))
	}
	for _, s := range streams {
		directory = words(directory, put(s)...)
	}
	where := put(directory)
	at := len(file) / block
	keep := reversed
	reversed = false
	put(words(nil, where...))
	reversed = keep
	copy(file, magic)
	words(file[:len(magic)], uint32(block), 1, uint32(len(file)/block), uint32(len(directory)), 0, uint32(at))
	return file
}

func procedureRecord(kind uint16, offset, size, typ uint32, name string) []byte {
	body := words(nil, 0, 0, 0, size, 0, 0, typ, offset)
	return record(kind, text0(append(halves(body, 1), 0), name))
}

func siteRecord(inlinee uint32, annotations ...byte) []byte {
	return record(symbolInlineSite, append(words(nil, 0, 0, inlinee), annotations...))
}

func publicRecord(offset uint32, name string) []byte {
	return record(symbolPublic, text0(halves(words(nil, 2, offset), 1), name))
}

var (
	endRecord  = record(symbolEnd, nil)
	siteEnd    = record(symbolInlineEnd, nil)
	voidNoArgs = func(list uint32) []byte { return record(leafProcedure, words(halves(words(nil, 3), 0, 0), list)) }
)

func subsection(kind uint32, data []byte) []byte {
	return append(words(nil, kind, uint32(len(data))), pad4(slices.Clone(data))...)
}

// linesOf is a subsection of lines of one file; pairs are offsets and lines.
func linesOf(offset, size, file uint32, pairs ...uint32) []byte {
	n := uint32(len(pairs) / 2)
	b := words(halves(words(nil, offset), 1, 0), size, file, n, 12+8*n)
	return subsection(subsectionLines, words(b, pairs...))
}

// filesOf is a subsection of files, each at 8 bytes, by where their names are.
func filesOf(names ...uint32) (b []byte) {
	for _, n := range names {
		b = append(words(b, n), 0, 0, 0, 0)
	}
	return subsection(subsectionFiles, b)
}

// sample is a file with some of everything: a function of two lines with two inlined calls, one in the
// other, a part of it elsewhere, a thunk, assembly that has lines alone, publics.
func sample() *builder {
	b := &builder{block: 512, machine: 0x8664, names: []byte("\x00c:\\a.c\x00c:\\b.h\x00" + strings.Repeat("y", 1000) + "\x00d:\\far.c\x00")} // some blocks
	b.types = [][]byte{
		record(leafArguments, words(nil, 1, 0x74)), // 1000: (int)
		voidNoArgs(0x1000),                         // 1001: void (int)
		record(leafArguments, words(nil, 0)),       // 1002
		voidNoArgs(0x1002),                         // 1003: void ()
	}
	b.ids = [][]byte{
		record(leafStringID, text0(words(nil, 0), "?A0x1234abcd")),       // 1000
		record(leafFunctionID, text0(words(nil, 0x1000, 0x1001), "mid")), // 1001
		record(leafFunctionID, text0(words(nil, 0, 0x1003), "deep")),     // 1002
	}
	symbols := slices.Concat(
		record(symbolCompile3, words(nil, 1)),
		procedureRecord(symbolGlobalProc, 0x10, 0x40, 0x1001, "outer"),
		siteRecord(0x1001, opChangeLine, 4, opCodeOffsetAndLine, 0x28, opChangeCodeLength, 0x10), // line 30+2, +1 at 8..0x18
		siteRecord(0x1002, opCodeLengthAndOffset, 4, 0x0c),                                       // line 40 at c..10
		siteEnd, siteEnd, endRecord,
		record(symbolSeparated, halves(words(nil, 0, 0, 0x8, 0, 0x100, 0x10), 1, 1)), endRecord,
		record(symbolThunk, text0(append(halves(words(nil, 0, 0, 0, 0x200), 1, 6), 0), "jump")), endRecord,
		procedureRecord(symbolLocalProc, 0x300, 0x10, 0, "asm_"), endRecord,
	)
	lines := slices.Concat(
		filesOf(1, 8, uint32(len(b.names))-9),
		linesOf(0x10, 0x40, 0, 0, 10, 8, 11, 8, 12, 0x20, 13),
		linesOf(0x100, 8, 16, 0, 14), linesOf(0x400, 0x60, 8, 0, 50, 0x10, lineNever),
		subsection(subsectionInlinees, words(nil, 0, 0x1001, 8, 30, 0x1002, 8, 40)),
	)
	b.modules = []builtModule{{name: "a.obj", symbols: symbols, lines: lines}, {name: "b.obj", symbols: slices.Concat(procedureRecord(symbolGlobalProc, 0x500, 4, 0x1003, "other"), endRecord)}}
	b.publics = [][]byte{publicRecord(0x10, "?outer@@YAXH@Z"), publicRecord(0x300, "?asm@@YAXXZ"), publicRecord(0x400, "lines_only"), publicRecord(0x480, "last")}
	return b
}
