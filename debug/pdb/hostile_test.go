package pdb

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"salvage/debug/symbols"
)

// A directory in which every stream has the same blocks: each of its entries, 4 bytes, stands for a block.
func TestSharedBlocks(t *testing.T) {
	const block, n = 4096, 64
	file := make([]byte, n*block)
	copy(file, magic)
	// Streams with blocks backwards, so that none can alias the file.
	const per = 32
	directory := words(nil, 200)
	for range 200 {
		directory = words(directory, per*block)
	}
	for range 200 {
		for i := range uint32(per) {
			directory = words(directory, per-i)
		}
	}
	where := []uint32{}
	for i := 0; i < len(directory); i += block {
		k := 34 + i/block
		copy(file[k*block:], directory[i:])
		where = append(where, uint32(k))
	}
	words(file[:33*block], where...)
	words(file[:len(magic)], block, 1, n, uint32(len(directory)), 0, 33)
	m, err := openContainer(file)
	if err != nil {
		t.Fatal(err)
	}
	got, refused := 0, 0
	for i := range m.streams {
		data, err := m.stream("stream", uint32(i))
		if got += len(data); err != nil {
			refused++
		}
	}
	if got > streamsFactor*len(file) || got == 0 || refused == 0 {
		t.Errorf("%d bytes of streams of a file of %d, %d refused", got, len(file), refused)
	}
}

// Every function has a thousand arguments with long names: a few bytes of file each.
func TestLongNames(t *testing.T) {
	b := sample()
	b.types = [][]byte{record(leafStructure, text0(halves(words(halves(nil, 0, 0), 0, 0, 0), 8), strings.Repeat("x", 2000)))}
	list := words(nil, 1000)
	for range 1000 {
		list = words(list, 0x1000)
	}
	b.types = append(b.types, record(leafArguments, list), voidNoArgs(0x1001))
	var symbols []byte
	for i := range uint32(2000) {
		symbols = append(append(symbols, procedureRecord(symbolGlobalProc, i, 1, 0x1002, fmt.Sprint("f", i))...), endRecord...)
	}
	b.modules = []builtModule{{name: "a.obj", symbols: symbols}}
	data := b.bytes()
	f := parse(t, data)
	var out string
	used := allocated(func() { out = dump(f, 1) })
	if limit := uint64(nameBase + namePerByte*len(symbols)); uint64(len(out)) > 2*limit || used > 16*limit {
		t.Errorf("%d bytes of names, %d allocated, for a file of %d", len(out), used, len(data))
	}
	if !strings.Contains(out, "f1999 unknown") || !strings.Contains(out, "too long") {
		t.Error("functions beyond the limit are missing, or nothing says why")
	}
}

// Types that refer to themselves.
func TestEndlessTypes(t *testing.T) {
	b := sample()
	b.types = [][]byte{
		record(leafArguments, words(nil, 3, 0x1001, 0x1002, 0x1003)),
		record(leafPointer, words(nil, 0x1001, 0x1000c)),
		record(leafModifier, halves(words(nil, 0x1002), 1)),
		record(leafProcedure, words(halves(words(nil, 0x1003), 0, 0), 0x1000)),
		record(leafArray, halves(words(nil, 0x1004, 0x74), 4)),
		record(leafPointer, words(nil, 0x1004, 0x1000c)),
		record(leafArguments, words(nil, 1, 0x1005)), voidNoArgs(0x1006), voidNoArgs(0x1000),
	}
	b.ids = [][]byte{record(leafFunctionID, text0(words(nil, 0x1000, 0x1007), "self")), record(leafFunctionID, text0(words(nil, 0x1001, 0x1008), "b")), record(leafStringID, words(nil, 0, 0))}
	b.modules[0].symbols = slices.Concat(procedureRecord(symbolGlobalProc, 0, 64, 0x1007, "f"), siteRecord(0x1000, opCodeLengthAndOffset, 1, 1), siteEnd, siteRecord(0x1001, opCodeLengthAndOffset, 1, 1), siteEnd, endRecord)
	b.modules[0].lines = subsection(subsectionInlinees, words(nil, 0, 0x1000, 0, 1, 0x1001, 0, 1))
	if out := dump(parse(t, b.bytes()), 1); len(out) > 3*maxName || !strings.Contains(out, "f(") || !strings.Contains(out, "self") {
		t.Errorf("%d bytes", len(out))
	}
}

// Functions that all have the same lines, and modules that are one stream.
func TestSharedLines(t *testing.T) {
	b := sample()
	var symbols []byte
	for range 3000 {
		symbols = append(append(symbols, procedureRecord(symbolGlobalProc, 0, 0x1000, 0, "f")...), endRecord...)
	}
	var pairs []uint32
	for i := range uint32(3000) {
		pairs = append(pairs, i, i)
	}
	b.modules = []builtModule{{name: "a.obj", symbols: symbols, lines: slices.Concat(filesOf(1), linesOf(0, 0x1000, 0, pairs...))}}
	for range 50 {
		b.modules = append(b.modules, builtModule{name: "b.obj", stream: 1})
	}
	data := b.bytes()
	lines, functions := 0, 0
	var res Result
	err := parse(t, data).Symbols(context.Background(), Options{}, &res)(func(x *batch) error {
		lines, functions = lines+len(x.Lines), functions+len(x.Functions)
		return nil
	})
	if err != nil || lines > 17*3000+workBase || functions != 3000 || res.Skipped != 51 {
		t.Errorf("%d functions with %d lines, %+v, %v", functions, lines, res, err)
	}
}

type batch = symbols.Batch

// Annotations, each with the rows it leads to. The bytes are those of clang and of Microsoft's compiler.
func TestAnnotations(t *testing.T) {
	for _, tt := range []struct {
		name, code string
		want       []row
	}{
		{"length, offset", "\x0c\x06\x03", []row{{3, 9, 7, 100}}},
		{"offset, length, offset", "\x03\x05\x04\x02\x03\x01\x04\x01", []row{{5, 7, 7, 100}, {8, 9, 7, 100}}},
		{"row up to the next", "\x03\x05\x06\x02\x03\x05\x04\x02", []row{{5, 10, 7, 100}, {10, 12, 7, 101}}},
		{"lines back", "\x0b\x72\x0b\x42\x04\x04", []row{{2, 4, 7, 97}, {4, 8, 7, 99}}},
		{"another file", "\x05\x18\x0c\x02\x04\x05\x07\x0c\x02\x04", []row{{4, 6, 24, 100}, {8, 10, 7, 100}}},
		{"two bytes, four bytes", "\x03\x81\x00\x04\xc0\x00\x01\x00", []row{{256, 512, 7, 100}}},
		{"absolute, with a base", "\x02\x10\x01\x08\x03\x01\x04\x02", []row{{25, 27, 7, 100}}},
		{"columns and ends of lines", "\x07\x01\x08\x01\x09\x02\x0a\x03\x0d\x04\x0c\x01\x01", []row{{1, 2, 7, 100}}},
		{"beyond the function", "\x0c\x7f\x83\xff", []row{{1023, 1024, 7, 100}}},
		{"no end", "\x03\x05", nil},
		{"behind the end", "\x0c\x06\x03\x00\x0c\x06\x03", []row{{3, 9, 7, 100}}},
	} {
		s := site{annotations: []byte(tt.code)}
		if err := s.decode(inlinee{file: 7, line: 100}, 1024); err != nil || !slices.Equal(s.rows, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.name, s.rows, err, tt.want)
		}
	}
	for _, code := range []string{"\x0e", "\x03\xff", "\x03\xe0\x00", "\x03\x80", "\x03"} {
		s := site{annotations: []byte(code)}
		if s.decode(inlinee{}, 1024) == nil {
			t.Errorf("% x is read", code)
		}
	}
}

// slowFrames returns the frames at an offset of a function: the line of each call and what it calls, outer
// first, by looking at all rows of all sites.
func slowFrames(own []row, sites []site, at uint32) (frames []string) {
	find := func(rows []row) (row, bool) {
		for _, r := range rows {
			if at >= r.start && at < r.end {
				return r, true
			}
		}
		return row{file: noFile}, false
	}
	covers := func(i int) bool {
		for k := range sites { // a site covers what its descendants do
			for j := k; j >= 0; j = sites[j].parent {
				if j == i {
					if _, ok := find(sites[k].rows); ok {
						return true
					}
				}
			}
		}
		return false
	}
	r, _ := find(own)
	parent, text := -1, ""
	for {
		frames = append(frames, fmt.Sprintf("%s%d:%d", text, int32(r.file), r.line))
		next := -1
		for i := range sites {
			if sites[i].parent == parent && covers(i) {
				next = i
				break
			}
		}
		if next < 0 {
			return frames
		}
		parent, text = next, fmt.Sprintf("in %d at ", sites[next].inlinee)
		var ok bool
		if r, ok = find(sites[next].rows); !ok && len(sites[next].rows) > 0 {
			r = row{file: sites[next].rows[0].file}
		}
	}
}

// Random trees of inlined calls whose siblings are apart, with callers that lack some of what they call,
// against a model that looks at everything for each byte.
func TestInlineModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	checked := 0
	for range 3000 {
		size := 1 + rng.Uint32N(60)
		randomRows := func(lo, hi uint32, file uint32) (rows []row) {
			for at := lo; at < hi; {
				end := at + 1 + rng.Uint32N(hi-at)
				if rng.IntN(4) > 0 {
					rows = append(rows, row{at, end, file, 1 + rng.Uint32N(5)})
				}
				at = end
			}
			return rows
		}
		own := randomRows(0, size, 1)
		var sites []site
		var grow func(parent int, depth, lo, hi uint32)
		grow = func(parent int, depth, lo, hi uint32) {
			for at := lo; at < hi && depth < 5; {
				end := at + 1 + rng.Uint32N(hi-at)
				if rng.IntN(2) == 0 {
					id := uint32(len(sites))
					rows := randomRows(at, end, 100+id)
					sites = append(sites, site{parent: parent, depth: depth, inlinee: id, rows: rows})
					if len(rows) > 0 {
						grow(len(sites)-1, depth+1, at, end)
					}
				}
				at = end
			}
		}
		grow(-1, 0, 0, size)
		want := make([][]string, size)
		for at := range size {
			want[at] = slowFrames(own, sites, at)
		}
		w := inliner{l: new(lineInfo), sites: slices.Clone(sites)}
		for i := range w.sites {
			w.sites[i].rows = slices.Clone(w.sites[i].rows)
		}
		if !w.run(own, size) {
			t.Fatal("not whole")
		}
		// What symbols makes of calls and lines.
		batch := symbols.NewBatch(symbols.NewStrings())
		name := func(n uint32) symbols.StringID { return batch.Strings.Intern(fmt.Append(nil, int32(n))) }
		fn := symbols.Function{Size: uint64(size)}
		for _, r := range w.lines {
			batch.Lines = append(batch.Lines, symbols.Line{Addr: uint64(r.start), Size: r.end - r.start, File: name(r.file), Line: r.line})
		}
		for _, c := range w.calls {
			batch.Inlines = append(batch.Inlines, symbols.Inline{
				Addr: uint64(c.start), Size: uint64(c.end - c.start), Name: name(w.sites[c.site].inlinee), CallFile: name(c.file), CallLine: c.line, Depth: w.sites[c.site].depth,
			})
		}
		fn.Lines.Hi, fn.Inlines.Hi = uint32(len(batch.Lines)), uint32(len(batch.Inlines))
		var flat symbols.Flattener
		flat.Flatten(batch, &fn)
		for at := range size {
			k := 0
			for k+1 < len(flat.Rows) && flat.Rows[k+1].Addr <= uint64(at) {
				k++
			}
			line, scope := flat.Rows[k].Line, flat.Rows[k].Scope
			var got []string
			for scope != symbols.NoScope {
				s := flat.Scopes[scope]
				text := ""
				if s.Caller != symbols.NoScope {
					text = fmt.Sprintf("in %s at ", batch.Strings.Bytes(s.Name))
				}
				file := "-1"
				if f := batch.Strings.Bytes(s.File); f != nil {
					file = string(f)
				}
				got = append(got, fmt.Sprintf("%s%s:%d", text, file, line))
				scope, line = s.Caller, s.CallLine
			}
			slices.Reverse(got)
			checked++
			if !slices.Equal(got, want[at]) {
				t.Fatalf("at %d of %d:\n%q want\n%q\nown %v\nsites %+v", at, size, got, want[at], own, sites)
			}
		}
	}
	t.Logf("%d addresses", checked)
}

// Deep and wide trees take work in proportion to their size.
func TestInlineGrowth(t *testing.T) {
	count := func(n int) int {
		w := inliner{l: new(lineInfo)}
		for i := range n {
			w.sites = append(w.sites, site{parent: i - 1, depth: uint32(i), rows: []row{{uint32(i), uint32(2*n - i), 1, uint32(i)}}})
		}
		own := []row{{0, uint32(2 * n), 0, 1}}
		if !w.run(own, uint32(2*n)) {
			t.Fatal("not whole")
		}
		return workPerRow*(n+1+n) + workBase - w.work
	}
	a, b, c := count(1000), count(2000), count(4000)
	if b > 11*a/5 || c > 11*b/5 {
		t.Errorf("work %d, %d, %d", a, b, c)
	}
	// Siblings that all cover the same: too much work is refused, not done.
	w := inliner{l: new(lineInfo)}
	rows := make([]row, 5000)
	for i := range rows {
		rows[i] = row{uint32(i), uint32(i + 1), 1, uint32(i)}
	}
	for range 5000 {
		w.sites = append(w.sites, site{parent: -1, rows: []row{{0, 5000, 1, 1}}})
	}
	if w.run(rows, 5000) || len(w.calls) > workPerRow*15000+workBase {
		t.Errorf("%d calls", len(w.calls))
	}
}

// Types as people write them.
func TestTypeNames(t *testing.T) {
	structure := func(name string, size uint16, properties uint16) []byte {
		return record(leafStructure, text0(halves(words(halves(nil, 0, properties), 0, 0, 0), size), name))
	}
	b := sample()
	b.types = [][]byte{
		structure("S", 12, 0),                                                  // 1000
		structure("S", 0, propForward),                                         // 1001
		record(leafModifier, halves(words(nil, 0x1000), 3)),                    // 1002: const volatile S
		record(leafPointer, words(nil, 0x1002, 8<<13|0xc)),                     // 1003
		record(leafPointer, words(nil, 0x1003, 8<<13|0xc|pointerConst)),        // 1004
		record(leafPointer, words(nil, 0x1002, 8<<13|0xc|4<<5)),                // 1005: &&
		record(leafArray, text0(halves(words(nil, 0x1001, 0x74), 24), "")),     // 1006: S[2] by its declaration
		record(leafArray, text0(halves(words(nil, 0x1006, 0x74), 72), "")),     // 1007: S[3][2]
		record(leafPointer, words(nil, 0x1007, 8<<13|0xc|1<<5)),                // 1008: &
		record(leafArguments, words(nil, 2, 0x74, 0)),                          // 1009: (int, ...)
		record(leafProcedure, words(halves(words(nil, 0x0620), 0, 0), 0x1009)), // 100a
		record(leafPointer, words(nil, 0x100a, 8<<13|0xc)),                     // 100b
		record(leafPointer, words(nil, 0x74, 8<<13|0xc|2<<5, 0x1000)),          // 100c: int S::*
		record(leafUnion, text0(halves(words(halves(nil, 0, 0), 0), 4), "U")),  // 100d
		record(leafEnum, text0(words(halves(nil, 0, 0), 0x74, 0), "E")),        // 100e
		record(leafModifier, halves(words(nil, 0x74), 1)),                      // 100f: const int
		record(leafModifier, halves(words(nil, 0x1003), 1)),                    // 1010: const pointer
	}
	args := []uint32{0x1000, 0x1002, 0x1003, 0x1004, 0x1005, 0x1008, 0x100b, 0x100c, 0x100d, 0x100e, 0x100f, 0x1010, 0x0603, 0x0103, 0x70, 0x9999}
	b.types = append(b.types, record(leafArguments, words(words(nil, uint32(len(args))), args...)), voidNoArgs(0x1011))
	f := parse(t, b.bytes())
	w := formatter{f: f}
	want := "f(S, const volatile S, S const volatile*, S const volatile** const, S const volatile&&, S[3][2]&, unsigned char* (*)(int, ...), int S::*, U, E, const int, S const volatile* const, void*, std::nullptr_t, char, <missing type 0x9999>)"
	if got := string(w.function([]byte("f"), 0x1012)); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if got := string(w.function([]byte("f"), 0)); got != "f" || !bytes.HasPrefix(w.function(nil, 0x1012), []byte("<name omitted>(")) {
		t.Error(got)
	}
}
