package object_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/object"
	"salvage/debug/symcache"
	"salvage/internal/debugtest"
)

// textFiles are files of all formats and CPUs: ours, those of other projects, and the system's.
func textFiles(t *testing.T) []string {
	files := testdata(t)
	for _, name := range []string{
		"symbolic/linux/crash.debug", "symbolic/linux/crash", "symbolic/linux/cfi_test_arm64", "symbolic/linux/cross_language_lto.debug",
		"symbolic/linux/libjemalloc.so.debug", "symbolic/windows/crash.pdb", "symbolic/windows/CrashWithException.exe", "symbolic/windows/CrashWithException.pdb",
		"breakpad/dump_syms_regtest.pdb", "breakpad/dump_syms_regtest64.pdb", "dump_syms/windows/basic32.dll", "dump_syms/windows/basic64.dll",
		"dump_syms/windows/basic64-dwarf.dll", "symbolic/windows/arm64_test.exe", "symbolic/macos/crash", "symbolic/macos/crash.dSYM/Contents/Resources/DWARF/crash",
		"dump_syms/linux/basic.full", "dump_syms/linux/basic.stripped", "dump_syms/windows/basic32.sym",
		"breakpad/symbols/kernel32.pdb/BCE8785C57B44245A669896B6A19B9542/kernel32.sym", "breakpad/symbols/libc-2.13.so/F4F8DFCD5A5FB5A7CE64717E9E6AE3890/libc-2.13.so.sym",
	} {
		files = append(files, debugtest.Path(t, name))
	}
	return append(files, "/lib/x86_64-linux-gnu/libc.so.6")
}

// What a symbol file loses of names, lines and inlined calls: the size of a public, and what has no file.
func TestDetour(t *testing.T) {
	total := 0
	for _, path := range textFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			debugtest.Require(t, "linux", err.Error())
		}
		direct, _, err := build(data, 0)
		if err != nil {
			t.Fatal(path, err)
		}
		for _, inlines := range []bool{true, false} {
			var text bytes.Buffer
			plain := func(linkage []byte) (string, uint32) { return string(linkage), 0 }
			if err := breakpad.Write(&text, direct, &breakpad.Text{Inlines: inlines, Name: plain, File: func(path []byte) string { return string(path) }}); err != nil {
				t.Fatal(err)
			}
			if f, err := breakpad.Parse(text.Bytes(), breakpad.Handler{}, breakpad.Options{Strict: true}); err != nil || f.Counts.Empty > 0 {
				t.Fatalf("%s: %+v, %v", path, f, err)
			}
			detour, _, err := build(text.Bytes(), 0)
			if err != nil {
				t.Fatal(path, err)
			}
			edges := map[uint64]bool{}
			for _, c := range []*symcache.Cache{direct, detour} {
				for r := range c.Ranges() {
					edges[r.Start], edges[r.Start-1] = true, true
				}
			}
			total += len(edges)
			wrong := 0
			for _, addr := range slices.Sorted(maps.Keys(edges)) {
				want, got := direct.Lookup(addr, nil), detour.Lookup(addr, nil)
				if len(want) == 0 && len(got) == 1 && detour.Function(got[0]).Public {
					continue // a public goes up to whatever is next
				}
				if !inlines && len(want) > 1 {
					want = want[len(want)-1:] // at the line of the call
				}
				if a, b := asText(direct, want, inlines), asText(detour, got, inlines); a != b {
					if wrong++; wrong < 5 {
						t.Errorf("%s, inlines %v, %#x:\n direct %s\n detour %s", path, inlines, addr, a, b)
					}
				}
			}
			if wrong > 0 {
				t.Errorf("%s: %d of %d edges differ", path, wrong, len(edges))
			}
		}
	}
	if total < 100_000 {
		t.Errorf("%d edges compared", total)
	}
}

// asText writes frames as a symbol file can have them.
func asText(c *symcache.Cache, list []symcache.Frame, inlines bool) (s string) {
	for i, f := range list {
		name, file, line := string(c.Name(f)), string(c.File(f)), f.Line
		switch {
		case i > 0 && file == "":
			file = "<unknown>"
		case i == 0 && (file == "" || line == 0 && !inlines):
			file, line = "", 0
		}
		if name == "" {
			name = "<name omitted>"
		}
		if c.Function(f).Public {
			file = ""
		}
		s += fmt.Sprintf("%s at %s:%d, ", name, file, line)
	}
	return s
}

// Rules written as text unwind as they do directly, from any registers and memory.
func TestRulesText(t *testing.T) {
	for _, path := range textFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			debugtest.Require(t, "linux", err.Error())
		}
		o, err := object.Open(data)
		if err != nil {
			t.Fatal(path, err)
		}
		cpu := cfi.CPUByName(o.Module.Arch)
		if cpu == nil || !o.HasRules {
			continue
		}
		b := cfi.NewBuilder(cpu, o.BigEndian())
		if err := o.Rules(b, new(object.Report)); err != nil {
			t.Fatal(err)
		}
		text := bytes.NewBufferString("MODULE Linux x86 000000000000000000000000000000000 x\n")
		lost, err := b.WriteText(text)
		if err != nil {
			t.Fatal(err)
		}
		again := cfi.NewBuilder(cpu, o.BigEndian())
		f, err := breakpad.Parse(text.Bytes(), breakpad.Handler{CFI: again.StackCFI, Win: again.StackWin}, breakpad.Options{Strict: true})
		bad, _ := again.Bad()
		if err != nil || bad > 0 {
			t.Fatalf("%s: %d bad, %v", path, bad, err)
		}
		direct, detour := written(t, b), written(t, again)
		edges := map[uint64]bool{}
		for _, c := range []*cfi.Cache{direct, detour} {
			for start := range c.Ranges() {
				edges[start], edges[start-1] = true, true
			}
		}
		var callee cfi.Registers
		for n := range uint8(cfi.NumRegisters) {
			callee.Set(n, 0x1000_0000+uint64(n)*0x10_0103) // not the same below a PLT entry's middle
		}
		memory := func(addr uint64, size uint8) (uint64, bool) { return addr * 0x9e3779b97f4a7c15 >> 33, addr%7 != 0 }
		differ := 0
		for addr := range edges {
			x, ok := direct.Lookup(addr)
			y, okToo := detour.Lookup(addr)
			same := ok == okToo
			for pc := uint64(0); ok && same && pc < 16; pc++ {
				callee.Set(cpu.PC, 0x1000+pc)
				a, errA := x.Unwind(&callee, memory)
				b, errB := y.Unwind(&callee, memory)
				same = (errA == nil) == (errB == nil) && (errA != nil || a == b)
			}
			if !same {
				if differ++; lost == 0 && differ < 5 {
					t.Errorf("%s: other rules at %#x: %v %v", path, addr, ok, okToo)
				}
			}
		}
		t.Logf("%s: %d edges, %d records, %d lost, %d differ", path, len(edges), f.Counts.CFIInits+f.Counts.CFIRows+f.Counts.Win, lost, differ)
		if len(edges) < 4 || differ > 2*lost {
			t.Errorf("%s: %d edges, %d lost, %d differ", path, len(edges), lost, differ)
		}
	}
}

func written(t *testing.T, b *cfi.Builder) *cfi.Cache {
	t.Helper()
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
