package dwarf_test

import (
	"context"
	"debug/elf" // as an oracle, and to find the sections
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/dwarf"
	"salvage/debug/symbols"
)

// sections returns the sections of a file of testdata.
func sections(t testing.TB, path string) *dwarf.Sections {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	get := func(name string) []byte {
		s := f.Section(name)
		if s == nil {
			return nil
		}
		data, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return &dwarf.Sections{
		Info: get(".debug_info"), Abbrev: get(".debug_abbrev"), Line: get(".debug_line"), LineStr: get(".debug_line_str"), Str: get(".debug_str"),
		StrOffsets: get(".debug_str_offsets"), Addr: get(".debug_addr"), Ranges: get(".debug_ranges"), RngLists: get(".debug_rnglists"),
	}
}

func files(t testing.TB) []string {
	t.Helper()
	found, err := filepath.Glob("../testdata/tiny-*.elf")
	if err != nil || len(found) < 8 {
		t.Fatalf("%d files, %v", len(found), err)
	}
	return found
}

// list writes the functions that a source delivers.
func list(src symbols.Source) (string, error) {
	var out strings.Builder
	var batches []*symbols.Batch // their strings grow while the source runs
	err := src(func(b *symbols.Batch) error {
		batches = append(batches, b)
		return nil
	})
	for _, b := range batches {
		for _, fn := range b.Functions {
			fmt.Fprintf(&out, "%x+%x %s %s, %d lines, %d inlines\n", fn.Addr, fn.Size, b.Strings.Bytes(fn.Name), fn.Language,
				fn.Lines.Hi-fn.Lines.Lo, fn.Inlines.Hi-fn.Inlines.Lo)
		}
		b.Free()
	}
	return out.String(), err
}

// Without a symbol table names come from the debug information alone, and code that has lines but no
// function and is no larger than padding is left out.
func TestWithoutSymbols(t *testing.T) {
	var res dwarf.Result
	got, err := list(dwarf.Symbols(context.Background(), sections(t, "../testdata/tiny-clang-dwarf5.elf"), dwarf.Options{ImageBase: 0x200000}, &res))
	if err != nil || res.Units != 1 || len(res.Problems) > 0 {
		t.Fatalf("%v %+v", err, res)
	}
	for _, want := range []string{"_ZN4tiny4workEPVKii cpp", "_ZN4tinyL6helperEi cpp", "_start cpp", "_ZN4tiny4failEi cpp"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// Executable ranges and tombstones decide what is code.
func TestExecutable(t *testing.T) {
	s := sections(t, "../testdata/tiny-gcc-dwarf5.elf")
	all, _ := list(dwarf.Symbols(context.Background(), s, dwarf.Options{}, new(dwarf.Result)))
	none, err := list(dwarf.Symbols(context.Background(), s, dwarf.Options{Executable: []symbols.Extent{{Addr: 0x10, Size: 1}}}, new(dwarf.Result)))
	if err != nil || none != "" || strings.Count(all, "\n") != 5 {
		t.Errorf("all:\n%snone:\n%s%v", all, none, err)
	}
}

func TestErrors(t *testing.T) {
	s := sections(t, "../testdata/tiny-gcc-dwarf5.elf")
	stop := errors.New("stop")
	err := dwarf.Symbols(context.Background(), s, dwarf.Options{}, new(dwarf.Result))(func(*symbols.Batch) error { return stop })
	if err != stop {
		t.Errorf("emit's error: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := list(dwarf.Symbols(ctx, s, dwarf.Options{}, new(dwarf.Result))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var res dwarf.Result
	broken := *s
	broken.Abbrev = nil
	if got, err := list(dwarf.Symbols(context.Background(), &broken, dwarf.Options{}, &res)); err != nil || got != "" || res.Skipped != 1 {
		t.Errorf("without abbreviations: %q, %v, %+v", got, err, res)
	}
}

// A file of n units, as many as ask for quadratic work: the work must not grow faster than the input.
func TestGrowth(t *testing.T) {
	one := sections(t, "../testdata/tiny-gcc-dwarf5.elf")
	allocations := func(n int) float64 {
		s := *one
		s.Info = nil
		for range n {
			s.Info = append(s.Info, one.Info...) // all refer to the same tables
		}
		return testing.AllocsPerRun(3, func() {
			var res dwarf.Result
			if _, err := list(dwarf.Symbols(context.Background(), &s, dwarf.Options{Workers: 1}, &res)); err != nil || res.Units != n {
				t.Fatal(err, res.Units)
			}
		})
	}
	if a, b := allocations(1000), allocations(2000); b > 2.2*a {
		t.Errorf("%v allocations, then %v when the input doubled", a, b)
	}
}

func FuzzSymbols(f *testing.F) {
	for _, path := range files(f) {
		s := sections(f, path)
		f.Add(s.Info, s.Abbrev, s.Line, s.Str, append(s.Ranges, s.RngLists...), append(s.StrOffsets, s.Addr...), false)
	}
	f.Fuzz(func(t *testing.T, info, abbrev, line, str, ranges, indexed []byte, big bool) {
		s := dwarf.Sections{
			Info: info, Abbrev: abbrev, Line: line, Str: str, LineStr: str, Ranges: ranges, RngLists: ranges, StrOffsets: indexed, Addr: indexed, BigEndian: big,
		}
		for _, wanted := range []func(addr, size uint64) bool{nil, func(addr, size uint64) bool { return addr&64+size > 64 }} {
			_, _ = list(dwarf.Symbols(context.Background(), &s, dwarf.Options{Workers: 1, Wanted: wanted, Symbol: func(addr uint64) dwarf.Symbol {
				return dwarf.Symbol{Name: []byte("s"), Low: addr &^ 15, High: addr | 15}
			}}, new(dwarf.Result)))
		}
	})
}
