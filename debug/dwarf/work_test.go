package dwarf_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/dwarf"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
)

// workSources ask for n times the work, from the sections, or what readers deliver, to the symcache.
func workSources() map[string]func(n int) symbols.Source {
	sources := map[string]func(n int) symbols.Source{
		"publics": func(n int) symbols.Source { // in falling order, each reaching over those above it
			return func(emit func(*symbols.Batch) error) error {
				b := symbols.NewBatch(symbols.NewStrings())
				for i := range uint64(n) {
					b.Publics = append(b.Publics, symbols.Public{Addr: uint64(n) - i, Size: 2 * i, Name: b.Strings.Intern([]byte(strconv.Itoa(int(i))))})
				}
				return emit(b)
			}
		},
		"functions": func(n int) symbols.Source { // each with all that follow in it, and a line
			return func(emit func(*symbols.Batch) error) error {
				b := symbols.NewBatch(symbols.NewStrings())
				for i := range uint64(n) {
					b.Functions = append(b.Functions, symbols.Function{
						Addr: 4 * i, Size: 4 * (uint64(n) - i), Name: b.Strings.Intern([]byte(strconv.Itoa(int(i)))), Lines: symbols.Span{Lo: uint32(i), Hi: uint32(i + 1)},
					})
					b.Lines = append(b.Lines, symbols.Line{Addr: 4 * i, Size: 4, Line: uint32(i)})
				}
				return emit(b)
			}
		},
	}
	for name, input := range grown {
		sources[name] = func(n int) symbols.Source {
			return dwarf.Symbols(context.Background(), input(n), dwarf.Options{Workers: 1}, new(dwarf.Result))
		}
	}
	return sources
}

const workPackages = "salvage/debug/dwarf,salvage/debug/symbols,salvage/debug/symcache"

// On n, 2n and 4n the statements that are executed, as the coverage of a test counts them, grow by no more than 2.2 for
// each doubling.
func TestWorkGrows(t *testing.T) {
	if what := os.Getenv("SALVAGE_WORK"); what != "" { // the program that is counted
		name, size, _ := strings.Cut(what, "=")
		n, _ := strconv.Atoi(size)
		module := symbols.Module{OS: "Linux", Arch: "x86_64", Name: "grown"}
		if _, err := symcache.Build(context.Background(), new(bytes.Buffer), &module, workSources()[name](n), symcache.Options{Workers: 1}); err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	program, profile := filepath.Join(dir, "work"), filepath.Join(dir, "profile")
	if text, err := exec.Command("go", "test", "-c", "-covermode=atomic", "-coverpkg="+workPackages, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	statements := func(name string, n int) (sum float64) {
		cmd := exec.Command(program, "-test.run=^TestWorkGrows$", "-test.coverprofile="+profile)
		cmd.Env = append(os.Environ(), fmt.Sprintf("SALVAGE_WORK=%s=%d", name, n))
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		text, err := os.ReadFile(profile)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) { // file:from,to, how many statements, how often
			if f := strings.Fields(line); len(f) == 3 {
				size, _ := strconv.ParseFloat(f[1], 64)
				count, _ := strconv.ParseFloat(f[2], 64)
				sum += size * count
			}
		}
		return sum
	}
	for _, name := range slices.Sorted(maps.Keys(workSources())) {
		const n = 4000
		a, b, c := statements(name, n), statements(name, 2*n), statements(name, 4*n)
		t.Logf("%s: %.0f, %.0f, %.0f statements", name, a, b, c)
		if a < n || b > 2.2*a || c > 2.2*b {
			t.Errorf("%s: grows faster than the input: %.0f, %.0f, %.0f statements", name, a, b, c)
		}
	}
}
