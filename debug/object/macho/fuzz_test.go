package macho_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"salvage/debug/object/macho"
	"salvage/internal/debugtest"
)

// touch calls everything that a file has.
func touch(data []byte) {
	if slices, err := macho.Slices(data); err == nil {
		for _, s := range slices {
			if macho.ProbeFat(s.Data) {
				panic("nested")
			}
		}
		return
	}
	f, err := macho.Parse(data)
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
		if err == nil && uint64(len(raw)) != s.Size {
			panic("section of another size")
		}
		if data, err := f.Data(s, 1<<20); err == nil && len(data) > max(1<<20, len(raw)) {
			panic("section over the limit")
		}
		f.At(s.Addr)
	}
	for s := range f.Symbols() {
		names += len(s.Name)
	}
	for e := range f.Exports() {
		names += len(e.Name)
	}
	functions := f.Functions()
	for _, fn := range functions {
		names += len(fn.Name)
		if fn.Addr+fn.Size < fn.Addr {
			panic("function beyond the end")
		}
	}
	if f.HasSymbols() != (len(functions) > 0) {
		panic("HasSymbols")
	}
	end := uint64(0)
	for i, e := range f.Executable() {
		if i > 0 && e.Addr <= end || e.Size == 0 || e.Addr+e.Size < e.Addr {
			panic("executable ranges out of order")
		}
		end = e.Addr + e.Size
	}
	for _, d := range f.DebugMap() {
		names += len(d.Path) + len(d.Member)
		f.Place(&d).Extents()
	}
	for range f.FunctionStarts() {
	}
	f.Arch()
	f.DebugID()
	f.CodeID()
	f.HasCode()
	f.HasDebugInfo()
	f.HasUnwindInfo()
	if names > 600*len(data)+4<<20 {
		panic("names out of proportion")
	}
}

func small() (files [][]byte) {
	for _, b := range everyKind() {
		files = append(files, b.bytes())
	}
	return append(files, fat(false, files[0], files[1]), fat(true, files[2]))
}

func FuzzParse(f *testing.F) {
	for _, data := range small() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { touch(data) })
}

func FuzzMember(f *testing.F) {
	f.Add([]byte("!<arch>\n#1/4            1           0     0     644     6         `\nnamexx//              0           0     0     0       6         `\nlong/\n/0              0           0     0     0       2         `\nab"), "name")
	f.Fuzz(func(t *testing.T, data []byte, name string) { macho.Member(data, name, 0) })
}

func TestPrefixes(t *testing.T) {
	for _, data := range small() {
		for n := range data {
			touch(data[:n:n])
		}
	}
	for _, name := range []string{"crash", "crash.dSYM/Contents/Resources/DWARF/crash", "overlapping_funcs.dSYM/Contents/Resources/DWARF/overlapping_funcs"} {
		data := debugtest.File(t, "symbolic/macos/"+name)
		for n := 0; n < len(data); n += 1 + n/4 {
			touch(data[:n:n])
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestDamage(t *testing.T) {
	files := small()
	for _, name := range []string{"crash", "overlapping_funcs.dSYM/Contents/Resources/DWARF/overlapping_funcs"} {
		files = append(files, debugtest.File(t, "symbolic/macos/"+name))
	}
	for _, data := range files {
		count := uint64(0)
		used := allocated(func() {
			for i := 0; i < len(data) && i < 6000; i += 1 + i/48 {
				for _, v := range []byte{0, 0xff} {
					bad := bytes.Clone(data)
					bad[i] = v
					touch(bad)
					count++
				}
			}
		})
		if per := used / count; per > uint64(16*len(data)+1<<20) {
			t.Errorf("%d bytes allocated for a file of %d", per, len(data))
		}
	}
}

// Names may share a long string, and the nodes of a trie may be the inside of others, so that small files
// ask for quadratic work.
func TestSharedNames(t *testing.T) {
	b := &builder{is64: true, segments: []segment{{"__TEXT", 0, []section{{name: "__text", addr: 0x1000, flags: code, data: make([]byte, 1<<16)}}}}}
	const n = 20_000
	for i := range n {
		b.symbols = append(b.symbols, symbol{kind: 0xf, section: 1, value: uint64(0x1000 + i), at: 1})
	}
	b.strings = append(append([]byte{0}, bytes.Repeat([]byte("x"), 1<<20)...), 0)
	f := parse(t, b.bytes())
	total, count := 0, 0
	for s := range f.Symbols() {
		total += len(s.Name)
		count++
	}
	if count != n || total < 1<<20 || total > len(b.strings)+256*(n+1) {
		t.Errorf("%d symbols with %d bytes of names", count, total)
	}
	// A node that is its own child.
	b.symbols, b.strings, b.exports = nil, nil, []byte{0, 1, 'a', 0, 5, 3, 0, 0x80, 0x20, 1, 'b', 0, 5}
	if got := parse(t, b.bytes()).Functions(); len(got) != 1 || string(got[0].Name) != "a" {
		t.Errorf("%+v", got)
	}
	// Every offset is a node: 255 children each, of one letter.
	for _, unit := range []string{"\x02\x00\x10", "\xff", "\x00\xffa\x00\x01", "\x00\x01a\x00"} {
		trie := append([]byte{0, 255}, bytes.Repeat([]byte(unit), 1<<16)...)
		for i := 0; i+4 < len(trie) && i < 1<<18; i += 7 { // offsets everywhere
			trie[i], trie[i+1], trie[i+2] = byte(i)|0x80, byte(i>>7)|0x80, byte(i>>14)&0x7f
		}
		trie[0] = 0
		b.symbols, b.strings, b.exports = nil, nil, trie
		touch(b.bytes())
	}
}

// Work and memory grow with the input.
func TestGrowth(t *testing.T) {
	symbols := func(n int) func() {
		b := &builder{is64: true, segments: []segment{{"__TEXT", 0, []section{{name: "__text", addr: 0x1000, flags: code, data: make([]byte, 16*n)}}}}}
		for i := range n {
			b.symbols = append(b.symbols, symbol{name: fmt.Sprintf("_function%08d", i), kind: 0xf, section: 1, value: uint64(0x1000 + 16*(i*7919%n))})
			b.starts = append(b.starts, 16)
		}
		f := parse(t, b.bytes())
		return func() { f.Functions() }
	}
	exports := func(n int) func() {
		b := &builder{is64: true, segments: []segment{{"__TEXT", 0, []section{{name: "__text", addr: 0x1000, flags: code, data: make([]byte, 16*n)}}}}}
		b.exports = growTrie(n)
		f := parse(t, b.bytes())
		if got := len(f.Functions()); got != n {
			t.Fatalf("%d exports of %d", got, n)
		}
		return func() { f.Functions() }
	}
	for name, input := range map[string]func(int) func(){"symbols": symbols, "exports": exports} {
		one, two, four := input(2000), input(4000), input(8000)
		if a, b, c := testing.AllocsPerRun(3, one), testing.AllocsPerRun(3, two), testing.AllocsPerRun(3, four); b > 2.2*a+10 || c > 2.2*b+10 {
			t.Errorf("%s: %g, %g, %g allocations", name, a, b, c)
		}
		if a, c := allocated(one), allocated(four); c > 6*a { // slices grow in steps; quadratic were 16
			t.Errorf("%s: %d, %d bytes", name, a, c)
		}
	}
}

// growTrie is a trie of n exports with names of four letters, each level with 16 children.
func growTrie(n int) []byte {
	uleb := func(v int) []byte {
		return []byte{byte(v) | 0x80, byte(v>>7) | 0x80, byte(v>>14) | 0x80, byte(v >> 21)}
	}
	var out []byte
	var node func(depth, first int) int
	node = func(depth, first int) (at int) {
		if depth == 4 {
			at = len(out)
			out = append(out, 5, 0)
			out = append(append(out, uleb(0x1000+16*first)...), 0)
			return at
		}
		step := 1 << (4 * (3 - depth))
		children := 0
		for children < 16 && first+children*step < n {
			children++
		}
		at = len(out)
		out = append(out, 0, byte(children))
		out = append(out, make([]byte, 6*children)...)
		for i := range children {
			child := node(depth+1, first+i*step)
			copy(out[at+2+6*i:], append([]byte{'a' + byte(i), 0}, uleb(child)...))
		}
		return at
	}
	node(0, 0)
	return out
}
