package tables_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/internal/tables"
)

// Every line of every file of names is found, and nothing else is. The search relies on how the lines are written
// and sorted.
func TestNames(t *testing.T) {
	files, _ := filepath.Glob("../../*/*.txt")
	counts := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := tables.Names(data)
		lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		if !strings.Contains(lines[0], ": table, value, name") {
			continue
		}
		body := slices.IndexFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "#") })
		if !slices.IsSorted(lines[body:]) {
			t.Errorf("%s: the lines are not sorted", file)
		}
		known, inTable := map[string]bool{}, map[string]int{}
		for _, line := range lines[body:] {
			fields := strings.SplitN(line, " ", 3)
			value, err := strconv.ParseUint(fields[1], 16, 32)
			if err != nil || len(fields) != 3 || len(fields[1]) != 8 || strings.ToLower(fields[1]) != fields[1] || strings.TrimSpace(fields[2]) != fields[2] || fields[2] == "" {
				t.Fatalf("%s: line %q: %v", file, line, err)
			}
			if key := line[:len(fields[0])+9]; known[key] {
				t.Errorf("%s: %s twice", file, key)
			} else {
				known[key] = true
			}
			if got := names.Name(fields[0], uint32(value)); got != fields[2] {
				t.Errorf("%s: %s %#x is %q, want %q", file, fields[0], value, got, fields[2])
			}
			inTable[fields[0]]++
		}
		for key := range known {
			table, number, _ := strings.Cut(key, " ")
			value, _ := strconv.ParseUint(number, 16, 32)
			for _, other := range []uint32{uint32(value) - 1, uint32(value) + 1, uint32(value) ^ 0x80000000} {
				if got := names.Name(table, other); (got != "") != known[fmt.Sprintf("%s %08x", table, other)] {
					t.Errorf("%s: %s %#x is %q", file, table, other, got)
				}
			}
			for _, other := range []string{table + "x", table + ".", table[:len(table)-1], "", "#", "~", "# Codes"} {
				if got := names.Name(other, uint32(value)); (got != "") != known[fmt.Sprintf("%s %08x", other, value)] {
					t.Errorf("%s: %s %#x is %q", file, other, value, got)
				}
			}
		}
		counts[filepath.Base(file)] = fmt.Sprint(len(known), " ", len(inTable))
	}
	// What was counted when the lists were made.
	for file, want := range map[string]string{"windows.txt": "5902 6", "linux.txt": "75 8", "mach.txt": "145 29", "streams.txt": "55 1", "names.txt": "68 4"} {
		if counts[file] != want {
			t.Errorf("%s has %s names and tables, want %s", file, counts[file], want)
		}
	}
	for _, names := range []tables.Names{"", "\n", "#", "a", "a 0", "a 00000000", "\n\n\n"} {
		if got := names.Name("a", 0); got != "" {
			t.Errorf("%q: %q", names, got)
		}
	}
	if got := tables.Names("a 00000000 no newline").Name("a", 0); got != "no newline" {
		t.Errorf("the last line: %q", got)
	}
}

// Naming a number takes no memory, not even the first time.
func TestNameAllocates(t *testing.T) {
	data, err := os.ReadFile("../../triage/windows.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := tables.Names(data)
	for _, code := range []uint32{0, 0xc0000005, 0xc0000374, 0xffffffff} {
		if n := testing.AllocsPerRun(100, func() { names.Name("n", code) }); n != 0 {
			t.Errorf("%#x: %v allocations", code, n)
		}
	}
}
