package object_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"salvage/debug/object"
	"salvage/debug/object/elf"
	"salvage/debug/symcache"
	"salvage/internal/debugtest"
)

var update = flag.Bool("update", false, "write the golden files")

// dump writes all that a cache says.
func dump(c *symcache.Cache) string {
	var b strings.Builder
	m := c.Module()
	fmt.Fprintf(&b, "%s %s base %#x\n", m.OS, m.Arch, m.ImageBase)
	if m.OS == "windows" {
		fmt.Fprintf(&b, "%s %s %q\n", m.ID, m.CodeID, m.Name)
	}
	for f := range c.Functions() {
		fn := c.Function(f)
		fmt.Fprintf(&b, "%#x+%#x %s %s public %v\n", fn.Addr, fn.Size, fn.Language, c.Name(f), fn.Public)
	}
	for r := range c.Ranges() {
		fmt.Fprintf(&b, "%#x\n", r.Start)
		for _, f := range c.Lookup(r.Start, nil) {
			fmt.Fprintf(&b, "  %s %s:%d\n", c.Name(f), c.File(f), f.Line)
		}
	}
	return b.String()
}

func testdata(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../testdata/tiny-*.elf")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return append(files, "../testdata/windows-clang.exe", "../testdata/windows-clang.pdb", "../testdata/windows-mingw.exe")
}

// build makes a cache of any bytes.
func build(data []byte, workers int) (*symcache.Cache, *object.Report, error) {
	o, err := object.Open(data)
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	rep := new(object.Report)
	if _, err := symcache.Build(context.Background(), &out, &o.Module, o.Symbols(context.Background(), rep), symcache.Options{Workers: workers}); err != nil {
		return nil, nil, err
	}
	c, err := symcache.Parse(out.Bytes())
	return c, rep, err
}

// What the files of testdata, one for each version of DWARF and compiler and each format of Windows, say. The
// golden files were read against their sources and agree with llvm-symbolizer.
func TestGolden(t *testing.T) {
	for _, path := range testdata(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, rep, err := build(data, 1)
			if err != nil || rep.Lost > 0 {
				t.Fatal(err, rep)
			}
			again, _, err := build(data, 5)
			if err != nil || dump(again) != dump(c) {
				t.Error("the result depends on the number of workers", err)
			}
			golden := filepath.Join("testdata", strings.TrimSuffix(filepath.Base(path), ".elf")+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(dump(c)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || dump(c) != string(want) {
				t.Errorf("%s differs (-update writes it): %v\n%s", golden, err, dump(c))
			}
		})
	}
}

// No prefix and no changed byte does more than change the answer.
func TestDamage(t *testing.T) {
	files := testdata(t)
	if testing.Short() {
		files = files[:1]
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		step := 1 + len(data)/20000*10 // the packages of the formats look closer
		for n := 0; n < len(data); n += 23 * step {
			_, _, _ = build(data[:n], 1)
		}
		for i := 0; i < len(data); i += 11 * step {
			for _, v := range []byte{0, 0xff} {
				bad := bytes.Clone(data)
				bad[i] = v
				_, _, _ = build(bad, 1)
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, data := range []string{"", "hello", "MODULE", "MODULE x\n", "\x7fELF", "MZ", "Microsoft C/C++ MSF 7.00\r\n\x1aDS\x00\x00\x00"} {
		if _, err := object.Open([]byte(data)); err == nil {
			t.Errorf("%q opened", data)
		}
	}
}

func FuzzSymbols(f *testing.F) {
	for _, path := range testdata(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := build(data, 1)
		if err == nil {
			for r := range c.Ranges() {
				c.Lookup(r.Start, nil)
			}
		}
	})
}

// What was inflated is let go of, and what is asked for again is there again.
func TestForget(t *testing.T) {
	data := debugtest.File(t, "symbolic/linux/crash.debug-zlib")
	want, _, err := build(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	o, err := object.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	forgotten := map[string]bool{}
	o.Forget = func(piece []byte) {
		mu.Lock()
		defer mu.Unlock()
		if cap(piece) > cap(data) || &piece[:cap(piece)][cap(piece)-1] != &data[:cap(data)][cap(data)-1] {
			t.Error("a piece that does not reach to the end")
		}
		forgotten[string(piece)] = true
	}
	f, err := elf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var out bytes.Buffer
		if _, err := symcache.Build(context.Background(), &out, &o.Module, o.Symbols(context.Background(), new(object.Report)), symcache.Options{}); err != nil {
			t.Fatal(err)
		}
		if c, err := symcache.Parse(out.Bytes()); err != nil || dump(c) != dump(want) {
			t.Fatalf("other answers, %v", err)
		}
	}
	for _, name := range []string{".debug_info", ".debug_line", ".debug_str"} {
		if raw, err := f.RawData(f.Section(name)); err != nil || len(raw) == 0 || !forgotten[string(raw)] {
			t.Errorf("%s is kept, %v", name, err)
		}
	}
}
