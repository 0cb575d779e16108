package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
)

const (
	files    = 6000
	maxDepth = 6 // of calls inlined into each other
)

// generator writes a .sym in the proportions of those that dump_syms makes of large C++ programs with --inlines.
type generator struct {
	rng     *rand.Rand
	origins int
	addr    uint64
	inlines bytes.Buffer
	rows    bytes.Buffer
}

// sym writes about size bytes. Of a hundred records some 64 are lines, 19 inlined calls, 3 origins, 3 functions and
// 10 unwind rules; behind every twelfth function there is one that is known as a public only.
func sym(w *bufio.Writer, size int64, module string) error {
	g := &generator{rng: rand.New(rand.NewPCG(5, 6)), origins: int(max(100, size/900)), addr: 0x1000}
	written := int64(0)
	print := func(format string, args ...any) {
		n, _ := fmt.Fprintf(w, format, args...)
		written += int64(n)
	}
	print("%s\n", module)
	for i := range files {
		print("FILE %d /build/source/component%d/part%d/File%d.cpp\n", i, i%40, i%300, i)
	}
	for i := range g.origins {
		print("INLINE_ORIGIN %d %s\n", i, g.name(i))
	}
	type extent struct{ addr, size uint64 }
	var functions []extent
	var publics []uint64
	for written < size*84/100 {
		start := g.addr
		file := g.rng.IntN(files)
		g.inlines.Reset()
		g.rows.Reset()
		rows := 2 + int(g.rng.ExpFloat64()*18)
		g.block(0, file, 1+g.rng.IntN(4000), min(rows, 3000))
		functions = append(functions, extent{start, g.addr - start})
		print("FUNC %x %x 0 %s\n", start, g.addr-start, g.name(g.origins+len(functions)))
		for _, part := range [][]byte{g.inlines.Bytes(), g.rows.Bytes()} {
			n, _ := w.Write(part)
			written += int64(n)
		}
		g.addr = (g.addr + 15) &^ 15
		if len(functions)%12 == 0 {
			publics = append(publics, g.addr)
			g.addr += 48
		}
	}
	for i, addr := range publics {
		print("PUBLIC %x 0 _ZN3lib9Component8assembly%dEv\n", addr, i)
	}
	for _, f := range functions {
		print("STACK CFI INIT %x %x .cfa: $rsp 8 + .ra: .cfa -8 + ^\n", f.addr, f.size)
		if f.size > 16 {
			print("STACK CFI %x .cfa: $rsp 16 + $rbp: .cfa -16 + ^\n", f.addr+1)
			print("STACK CFI %x .cfa: $rbp 16 +\n", f.addr+4)
		}
	}
	return nil
}

func (g *generator) name(i int) string {
	n := strconv.Itoa
	switch i % 3 {
	case 0:
		return "lib" + n(i%20) + "::Container<lib" + n(i%50) + "::Element, std::allocator<lib" + n(i%50) + "::Element> >::operation" + n(i) + "(unsigned long, lib" + n(i%50) + "::Element const&) const"
	case 1:
		return "lib" + n(i%20) + "::Class" + n(i%3000) + "::method" + n(i) + "(int, std::basic_string<char> const&)"
	}
	return "lib" + n(i%20) + "::function" + n(i) + "(lib" + n(i%50) + "::Element*)"
}

// block adds rows of code of one function, inlined at a depth, some of which are calls inlined into it.
func (g *generator) block(depth, file, line, rows int) {
	for rows > 0 {
		if depth < maxDepth && rows > 1 && g.rng.IntN(100) < 30 {
			inner := 1 + g.rng.IntN(min(rows, 8))
			start := g.addr
			at := g.inlines.Len()
			g.block(depth+1, g.rng.IntN(files), 1+g.rng.IntN(4000), inner)
			// The record of an outer call comes before those inside it.
			inside := bytes.Clone(g.inlines.Bytes()[at:])
			g.inlines.Truncate(at)
			fmt.Fprintf(&g.inlines, "INLINE %d %d %d %d %x %x", depth, line, file, g.rng.IntN(g.origins), start, g.addr-start)
			if size := g.addr - start; size > 8 && g.rng.IntN(10) == 0 { // in two parts
				g.inlines.Truncate(g.inlines.Len() - len(fmt.Sprintf("%x", size)))
				fmt.Fprintf(&g.inlines, "%x %x %x", size/2, start+size/2, size-size/2)
			}
			g.inlines.WriteByte('\n')
			g.inlines.Write(inside)
			rows -= inner
			continue
		}
		size := uint64(2 + g.rng.IntN(16))
		b := g.rows.AvailableBuffer()
		b = strconv.AppendUint(b, g.addr, 16)
		b = append(b, ' ')
		b = strconv.AppendUint(b, size, 16)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(line), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(file), 10)
		g.rows.Write(append(b, '\n'))
		g.addr += size
		line = max(1, line+g.rng.IntN(9)-3)
		rows--
	}
}
