package pdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/symbols"
)

// dump writes all that a file delivers.
func dump(f *File, workers int) string {
	var b strings.Builder
	var res Result
	err := f.Symbols(context.Background(), Options{Workers: workers}, &res)(func(x *symbols.Batch) error {
		name := func(id symbols.StringID) []byte { return x.Strings.Bytes(id) }
		for _, fn := range x.Functions {
			fmt.Fprintf(&b, "%#x+%#x %s %s\n", fn.Addr, fn.Size, name(fn.Name), fn.Language)
			for _, l := range x.Lines[fn.Lines.Lo:fn.Lines.Hi] {
				fmt.Fprintf(&b, "  %#x+%#x %s:%d\n", l.Addr, l.Size, name(l.File), l.Line)
			}
			for _, in := range x.Inlines[fn.Inlines.Lo:fn.Inlines.Hi] {
				fmt.Fprintf(&b, "  %d %#x+%#x %s at %s:%d\n", in.Depth, in.Addr, in.Size, name(in.Name), name(in.CallFile), in.CallLine)
			}
		}
		for _, p := range x.Publics {
			fmt.Fprintf(&b, "public %#x+%#x %s\n", p.Addr, p.Size, name(p.Name))
		}
		x.Free()
		return nil
	})
	for _, p := range res.Problems {
		fmt.Fprintf(&b, "%s: %s: %s\n", p.Where, p.Kind, p.Detail)
	}
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	return b.String()
}

func parse(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const sampleDump = `0x1010+0x40 outer(int) cpp
  0x1010+0x8 c:\a.c:10
  0x1018+0x4 c:\b.h:33
  0x101c+0x4 c:\b.h:40
  0x1020+0x8 c:\b.h:33
  0x1028+0x8 c:\a.c:12
  0x1030+0x20 c:\a.c:13
  0 0x1018+0x10 ` + "`anonymous namespace'" + `::mid(int) at c:\a.c:12
  1 0x101c+0x4 deep() at c:\b.h:33
0x1100+0x8 outer(int) cpp
  0x1100+0x8 d:\far.c:14
0x1300+0x10 ?asm@@YAXXZ cpp
0x1500+0x4 other() unknown
0x1400+0x60 lines_only cpp
  0x1400+0x10 c:\b.h:50
  0x1410+0x50 c:\b.h:0
public 0x1200+0x6 jump
public 0x1010+0xff0 ?outer@@YAXH@Z
public 0x1300+0xd00 ?asm@@YAXXZ
public 0x1400+0xc00 lines_only
public 0x1480+0xb80 last
`

func TestSample(t *testing.T) {
	for _, block := range []int{512, 4096, 65536} {
		for _, reversed := range []bool{false, true} {
			b := sample()
			b.block, b.reversed = block, reversed
			f := parse(t, b.bytes())
			if got := dump(f, 1); got != sampleDump {
				t.Errorf("blocks of %d:\n%swant\n%s", block, got, sampleDump)
			}
			if dump(f, 5) != sampleDump {
				t.Error("the result depends on the number of workers")
			}
			// The age is the DBI stream's, 3; the info stream says 7.
			if got := f.ID.Breakpad(); got != "333231303534373638396162636465663" || f.Machine != 0x8664 || !f.HasDebugInfo() || !f.HasSymbols() {
				t.Errorf("id %s, machine %#x", got, f.Machine)
			}
		}
	}
}

// Code that was moved after linking: the first 20 bytes of the function went elsewhere, 4 were thrown away.
func TestOmap(t *testing.T) {
	b := sample()
	b.omap = []uint32{0x1000, 0x1000, 0x1010, 0x1810, 0x101e, 0, 0x1022, 0x1040, 0x1050, 0x1050, 0x1300, 0x1600, 0x1310, 0x1310}
	got := dump(parse(t, b.bytes()), 1)
	want := `0x1810+0xe outer(int) cpp
  0x1810+0x8 c:\a.c:10
  0x1818+0x4 c:\b.h:33
  0x181c+0x2 c:\b.h:40
  0 0x1818+0x6 ` + "`anonymous namespace'" + `::mid(int) at c:\a.c:12
  1 0x181c+0x2 deep() at c:\b.h:33
0x1040+0x2e outer(int) cpp
  0x1040+0x6 c:\b.h:33
  0x1046+0x8 c:\a.c:12
  0x104e+0x20 c:\a.c:13
  0 0x1040+0x6 ` + "`anonymous namespace'" + `::mid(int) at c:\a.c:12
0x1100+0x8 outer(int) cpp
`
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "\n0x1600+0x10 ?asm") || !strings.Contains(got, "\npublic 0x1600") || !strings.Contains(got, "\npublic 0x1810") {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestRefused(t *testing.T) {
	fast := sample()
	fast.features = []uint32{20140508, featureMinimal}
	for _, tt := range []struct {
		data []byte
		says string
	}{
		{fast.bytes(), "/DEBUG:FULL"}, {[]byte(magicPDB20 + "\x00\x00\x00"), "PDB 2.0"}, {[]byte(magicMSFZ), "compressed"},
	} {
		if _, err := Parse(tt.data); !Probe(tt.data) || !errors.Is(err, debug.ErrUnsupported) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v, want %q in it", err, tt.says)
		}
	}
	other := sample()
	other.features = []uint32{20091201, 20140508}
	parse(t, other.bytes())
}

// FRAMEDATA and its program, and a record that is there twice.
func TestFrameData(t *testing.T) {
	b := sample()
	b.machine = machineX86
	one := words(halves(words(nil, 0x1010, 0x40, 8, 4, 0, uint32(len(b.names))), 6, 12), 0)
	b.names = append(b.names, "$T0 = \x00"...)
	b.frames = append(append([]byte{}, one...), one...)
	var got []string
	f := parse(t, b.bytes())
	for w := range f.FrameData() {
		got = append(got, fmt.Sprintf("%d %x %x prologue %x params %x saved %x locals %x %q", w.Type, w.Addr, w.CodeSize, w.Prologue, w.Params, w.SavedRegs, w.Locals, w.Program))
	}
	if want := []string{`4 1010 40 prologue 6 params 4 saved c locals 8 "$T0 = "`}; !f.HasFrameData() || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
	b.omap = []uint32{0x1000, 0x1000, 0x1014, 0x1814}
	got = nil
	for w := range parse(t, b.bytes()).FrameData() {
		got = append(got, fmt.Sprintf("%x %x prologue %x", w.Addr, w.CodeSize, w.Prologue))
	}
	if want := []string{"1010 4 prologue 4", "1814 3c prologue 2"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// touch reads everything of a file.
func touch(data []byte) {
	f, err := Parse(data)
	if err != nil {
		return
	}
	dump(f, 1)
	n := 0
	for range f.FrameData() {
		n++
	}
	if n > len(data) {
		panic("frame data out of proportion")
	}
}

func files(t testing.TB) (list [][]byte) {
	t.Helper()
	moved := sample()
	moved.omap = []uint32{0x1000, 0x1000, 0x1010, 0x1810, 0x101e, 0, 0x1022, 0x1040}
	moved.reversed = true
	return [][]byte{sample().bytes(), moved.bytes()}
}

func FuzzSymbols(f *testing.F) {
	for _, data := range files(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { touch(data) })
}

func TestPrefixes(t *testing.T) {
	for _, data := range files(t) {
		for n := range data {
			touch(data[:n:n])
		}
	}
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestDamage(t *testing.T) {
	for _, data := range files(t) {
		const chunk = 64
		for at := 0; at < len(data); at += chunk {
			used := allocated(func() {
				for i := at; i < min(at+chunk, len(data)); i++ {
					for _, v := range []byte{0, data[i] ^ 0xff} {
						bad := bytes.Clone(data)
						bad[i] = v
						touch(bad)
					}
				}
			})
			if used > 2*chunk<<20 {
				t.Fatalf("bytes from %#x: %d bytes allocated for %d files of %d", at, used, 2*chunk, len(data))
			}
		}
	}
}

// The same over a file of a real linker, with larger steps.
func TestDamageReal(t *testing.T) {
	data, err := os.ReadFile("../testdata/windows-clang.pdb")
	if err != nil {
		t.Fatal(err)
	}
	step := 7
	if testing.Short() {
		step = 97
	}
	for i := 0; i < len(data); i += step {
		bad := bytes.Clone(data)
		bad[i] ^= 0xff
		touch(bad)
		touch(data[:i])
	}
}
