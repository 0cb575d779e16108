package elf_test

import (
	"bytes"
	stdelf "debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"salvage/debug/object/elf"
	"salvage/debug/symbols"
	"salvage/internal/debugtest"
)

// machineFiles returns ELF files of the machine the test runs on, and of the fixtures.
func machineFiles(t *testing.T) (paths []string) {
	patterns := []string{
		"/bin/ls", "/bin/bash", "/usr/bin/gdb", "/usr/bin/gcc", "/lib/*/libc.so.6", "/usr/lib/*/libstdc++.so.6", "/usr/lib32/libc.so.6",
		"/usr/lib/*/crt1.o", "/lib/*/libm.so.6", "/lib/*/ld-linux*",
		filepath.Join(os.Getenv("SALVAGE_FIXTURES"), "*/linux/*"), filepath.Join(os.Getenv("SALVAGE_FIXTURES"), "symbolic/linux/*/*"),
	}
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			data, err := os.ReadFile(path)
			if err != nil || !elf.Probe(data) {
				continue
			}
			paths = append(paths, path)
			if id := fmt.Sprintf("%x", parse(t, data).BuildID()); len(id) > 2 {
				debugFile := "/usr/lib/debug/.build-id/" + id[:2] + "/" + id[2:] + ".debug"
				if _, err := os.Stat(debugFile); err == nil {
					paths = append(paths, debugFile)
				}
			}
		}
	}
	return paths
}

// Against the standard library's reader: segments, sections, contents and symbols are the same.
func TestStandardLibrary(t *testing.T) {
	files, sections, symbolCount := 0, 0, 0
	for _, path := range machineFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		std, err := stdelf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		f := parse(t, data)
		files++
		if uint16(std.Type) != f.Type || uint16(std.Machine) != f.Machine || std.Entry != f.Entry || (std.Class == stdelf.ELFCLASS64) != f.Is64 || len(f.Problems) > 0 {
			t.Errorf("%s: header %+v, problems %v", path, std.FileHeader, f.Problems)
		}
		var segments []elf.Segment
		for _, p := range std.Progs {
			segments = append(segments, elf.Segment{Type: uint32(p.Type), Flags: uint32(p.Flags), Offset: p.Off, Addr: p.Vaddr, FileSize: p.Filesz, MemSize: p.Memsz, Align: p.Align})
		}
		if !reflect.DeepEqual(segments, f.Segments) {
			t.Errorf("%s: segments differ", path)
		}
		if len(std.Sections) != len(f.Sections) {
			t.Fatalf("%s: %d sections, want %d", path, len(f.Sections), len(std.Sections))
		}
		for i, s := range std.Sections {
			ours := &f.Sections[i]
			want := elf.Section{Name: s.Name, Type: uint32(s.Type), Flags: uint64(s.Flags), Addr: s.Addr, Offset: s.Offset, Size: s.FileSize, Link: s.Link, Info: s.Info, Align: ours.Align, EntSize: s.Entsize}
			if f.Type == elf.TypeRel {
				want.Addr = ours.Addr // laid out: TestRelocatable of package object
			}
			if *ours != want || s.Flags&stdelf.SHF_COMPRESSED == 0 && ours.Align != s.Addralign {
				t.Errorf("%s: section %+v, want %+v", path, *ours, want)
			}
			got, err := f.Data(ours, 1<<30)
			if s.Type == stdelf.SHT_NOBITS || s.Type == stdelf.SHT_NULL {
				if !errors.Is(err, elf.ErrNotInFile) {
					t.Errorf("%s: Data(%s): %v", path, s.Name, err)
				}
				continue
			}
			wantData, wantErr := s.Data()
			if f.Type == elf.TypeRel && s.Flags&stdelf.SHF_COMPRESSED == 0 {
				got, err = f.RawData(ours) // not relocated
			}
			if !bytes.Equal(got, wantData) || (err == nil) != (wantErr == nil) {
				t.Errorf("%s: Data(%s) = %d bytes, %v, want %d, %v", path, s.Name, len(got), err, len(wantData), wantErr)
			}
			sections++
		}
		static, _ := std.Symbols()
		dynamic, _ := std.DynamicSymbols()
		for table, want := range map[elf.Table][]stdelf.Symbol{elf.Static: static, elf.Dynamic: dynamic} {
			i := 0
			for s := range f.Symbols(table) {
				if i >= len(want) {
					i++
					continue
				}
				w := want[i]
				i++
				section := uint32(w.Section)
				if section >= 0xff00 {
					section |= 0xffff0000
				}
				if string(s.Name) != w.Name || s.Addr != w.Value || s.Size != w.Size || s.Type != uint8(stdelf.ST_TYPE(w.Info)) || s.Bind != uint8(stdelf.ST_BIND(w.Info)) || s.Visibility != uint8(stdelf.ST_VISIBILITY(w.Other)) || s.Section != section {
					t.Fatalf("%s: symbol %d: %+v %s, want %+v", path, i, s, s.Name, w)
				}
				symbolCount++
			}
			if i != len(want) {
				t.Errorf("%s: %d symbols in table %d, want %d", path, i, table, len(want))
			}
		}
		if names, err := std.DynString(stdelf.DT_SONAME); err == nil && f.Section(".dynamic") != nil && f.Section(".dynamic").Type == elf.SectionDynamic {
			if want := strings.Join(names, ""); f.SOName() != want {
				t.Errorf("%s: SOName = %q, want %q", path, f.SOName(), want)
			}
		}
	}
	t.Logf("%d files, %d sections, %d symbols", files, sections, symbolCount)
	if files == 0 {
		debugtest.Require(t, "binaries", "no ELF files on this machine")
	}
}

// Against llvm-symbolizer: the name at the start of every function, and at its last byte where it has a
// size, by way of symbols.Arrange.
func TestLLVM(t *testing.T) {
	tool := debugtest.Program(t, "llvm", "llvm-symbolizer")
	files, total := 0, 0
	for _, path := range machineFiles(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f := parse(t, data)
		if f.Type == elf.TypeRel || len(data) > 64<<20 {
			continue
		}
		if f.Section(".gnu_debugdata") != nil {
			continue // LLVM 14 does not look into it: cmd/salvage.TestDumpSyms does
		}
		functions := f.Functions()
		var publics []symbols.Public
		for i, s := range functions {
			publics = append(publics, symbols.Public{Addr: s.Addr, Size: s.Size, Name: symbols.StringID(i)})
		}
		var ours []string
		var addrs bytes.Buffer
		symbols.Arrange(nil, publics).Pieces(func(p symbols.Piece) {
			s := functions[p.Public]
			ours = append(ours, string(s.Name))
			fmt.Fprintf(&addrs, "%#x\n", p.Start+f.ImageBase())
			if s.Size > 0 {
				ours = append(ours, string(s.Name))
				fmt.Fprintf(&addrs, "%#x\n", p.End-1+f.ImageBase())
			}
		})
		if len(ours) == 0 {
			continue
		}
		// A file under another name in an empty folder, so that no separate debug file is found.
		alone := filepath.Join(t.TempDir(), "alone")
		if err := os.WriteFile(alone, data, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(tool, "--obj="+alone, "--no-inlines", "--functions=linkage", "--no-demangle", "--debug-file-directory=/nonexistent")
		cmd.Stdin = &addrs
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		answers := strings.Split(strings.TrimSpace(string(out)), "\n\n")
		if len(answers) != len(ours) {
			t.Fatalf("%s: %d answers to %d questions", path, len(answers), len(ours))
		}
		differ := 0
		for i, a := range answers {
			name, _, _ := strings.Cut(a, "\n")
			name, _, _ = strings.Cut(name, "@")
			if name != ours[i] {
				if differ++; differ <= 5 {
					t.Logf("%s: %s, want %s", path, ours[i], name)
				}
			}
		}
		if differ > 0 {
			t.Errorf("%s: %d of %d names differ", path, differ, len(ours))
		}
		files++
		total += len(ours)
	}
	t.Logf("%d files, %d addresses", files, total)
}
