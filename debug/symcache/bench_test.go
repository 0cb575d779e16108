package symcache_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
)

// synthetic makes a .sym of about size bytes in the proportions of a large C++ library: of a hundred
// records 75 are lines, 20 inlines, 3 functions, 2 origins.
func synthetic(size int) []byte {
	rng := rand.New(rand.NewPCG(5, 6))
	var b bytes.Buffer
	b.WriteString(header)
	for i := range 5000 {
		fmt.Fprintf(&b, "FILE %d /builds/worker/checkouts/source/component%d/part%d/File%d.cpp\n", i, i%40, i%300, i)
	}
	origins := size / 2000
	for i := range origins {
		fmt.Fprintf(&b, "INLINE_ORIGIN %d void ns%d::Container<ns%d::Element, std::allocator<ns%d::Element>>::operation%d(unsigned long, ns%d::Element const&) const\n", i, i%20, i%50, i%50, i, i%50)
	}
	addr := uint64(0x1000)
	for n := 0; b.Len() < size; n++ {
		rows := 1 + rng.IntN(50)
		fmt.Fprintf(&b, "FUNC %x %x 0 ns%d::Class%d::method%d(int, std::basic_string<char> const&)\n", addr, 8*rows, n%20, n%3000, n)
		for i := 0; i < rows; i += 4 {
			fmt.Fprintf(&b, "INLINE 0 %d %d %d %x 18\n", rng.IntN(3000), rng.IntN(5000), rng.IntN(origins), addr+uint64(8*i))
			if i%8 == 0 {
				fmt.Fprintf(&b, "INLINE 1 %d %d %d %x 10\n", rng.IntN(3000), rng.IntN(5000), rng.IntN(origins), addr+uint64(8*i))
			}
		}
		for i := range rows {
			fmt.Fprintf(&b, "%x 8 %d %d\n", addr+uint64(8*i), rng.IntN(3000), rng.IntN(5000))
		}
		addr += uint64(8*rows + 8)
	}
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	sym := synthetic(16 << 20)
	b.SetBytes(int64(len(sym)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := breakpad.Parse(sym, breakpad.Handler{Batch: func(batch *symbols.Batch) error { batch.Free(); return nil }}, breakpad.Options{})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	sym := synthetic(16 << 20)
	b.SetBytes(int64(len(sym)))
	b.ReportAllocs()
	for b.Loop() {
		buildTo(b, io.Discard, sym, symcache.Options{})
	}
}

func BenchmarkLookup(b *testing.B) {
	data, _ := build(b, synthetic(64<<20), symcache.Options{})
	c := open(b, data)
	var starts []uint64
	for r := range c.Ranges() {
		if !r.Empty {
			starts = append(starts, r.Start)
		}
	}
	rng := rand.New(rand.NewPCG(7, 8))
	rng.Shuffle(len(starts), func(i, j int) { starts[i], starts[j] = starts[j], starts[i] })
	buf := make([]symcache.Frame, 0, 64)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		buf = c.Lookup(starts[i], buf[:0])
		if i++; i == len(starts) {
			i = 0
		}
	}
}
