package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/internal/debugtest"
)

// Names come of a dSYM bundle and rules of the image, given as they are, in a universal file, or in folders as
// symbol servers have them.
func TestMacProvider(t *testing.T) {
	image, bundle := debugtest.Path(t, "symbolic/macos/crash"), debugtest.Path(t, "symbolic/macos/crash.dSYM")
	dsym := debugtest.File(t, "symbolic/macos/crash.dSYM/Contents/Resources/DWARF/crash")
	other := debugtest.File(t, "symbolic/macos/overlapping_funcs.dSYM/Contents/Resources/DWARF/overlapping_funcs")
	be := binary.BigEndian
	fat := be.AppendUint32(be.AppendUint32(nil, 0xcafebabe), 2)
	for _, v := range []int{0x1000007, 3, 48, len(other), 0, 0x1000007, 3, 48 + len(other), len(dsym), 0} {
		fat = be.AppendUint32(fat, uint32(v))
	}
	fat = append(append(fat, other...), dsym...)
	id, err := debugid.Parse("67E9247C814E392BA027DBDE6748FCBF0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "fat")
	folder := filepath.Join(dir, "crash", id.Breakpad())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{path: fat, filepath.Join(folder, "crash.dbg"): fat, filepath.Join(folder, "crash"): code} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, paths := range [][]string{{image, bundle}, {bundle, image}, {path, image}, {dir}} {
		p := newFileProvider(context.Background(), paths)
		if p.problems != nil {
			t.Fatal(p.problems)
		}
		m := &minidump.Module{DebugID: id, DebugFile: "crash", Name: "/bin/crash"}
		names := p.Names(m, 0xd6a)
		if len(names) != 2 || names[0].Function != "_ZN15google_breakpad18MinidumpFileWriter5CloseEv" || names[0].Line != 127 || names[1].Line != 101 {
			t.Errorf("%v: %+v", paths, names)
		}
		if _, ok := p.Rules(m, 0xd6a); !ok || !p.Symbols(m).Loaded {
			t.Errorf("%v: rules %v, %+v", paths, ok, p.Symbols(m))
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A bundle, and an architecture of a universal file, make the lookup file that the file itself makes.
func TestMacArch(t *testing.T) {
	bundle, inside := debugtest.Path(t, "symbolic/macos/crash.dSYM"), debugtest.Path(t, "symbolic/macos/crash.dSYM/Contents/Resources/DWARF/crash")
	dsym := debugtest.File(t, "symbolic/macos/crash.dSYM/Contents/Resources/DWARF/crash")
	other := slices.Clone(debugtest.File(t, "symbolic/macos/overlapping_funcs.dSYM/Contents/Resources/DWARF/overlapping_funcs"))
	binary.LittleEndian.PutUint32(other[4:], 0x100000c) // arm64
	be := binary.BigEndian
	fat := be.AppendUint32(be.AppendUint32(nil, 0xcafebabe), 2)
	for _, v := range []int{0x100000c, 0, 48, len(other), 0, 0x1000007, 3, 48 + len(other), len(dsym), 0} {
		fat = be.AppendUint32(fat, uint32(v))
	}
	path := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(path, append(append(fat, other...), dsym...), 0o644); err != nil {
		t.Fatal(err)
	}
	build := func(args ...string) []byte {
		t.Helper()
		var stderr bytes.Buffer
		to := filepath.Join(t.TempDir(), "symcache")
		if code := run(append([]string{"symcache", "build", "-o", to}, args...), nil, &bytes.Buffer{}, &stderr); code != 0 {
			t.Fatalf("%s: exit code %d: %s", args, code, &stderr)
		}
		data, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	want := build(inside)
	for _, args := range [][]string{{bundle}, {"--arch", "x86_64", path}} {
		if !bytes.Equal(build(args...), want) {
			t.Errorf("%s: another lookup file", args)
		}
	}
	if bytes.Equal(build("--arch", "arm64", path), want) {
		t.Error("arm64 is the same")
	}
	ask := func(args ...string) string {
		t.Helper()
		var out, stderr bytes.Buffer
		if code := run(append([]string{"addr2line", "-f", "-i", "-e"}, args...), nil, &out, &stderr); code != 0 {
			t.Fatalf("%s: exit code %d: %s", args, code, &stderr)
		}
		return out.String()
	}
	answer := ask(inside, "100000d6a")
	if !strings.Contains(answer, "CrashForExceptionNonAbort") && !strings.Contains(answer, "MinidumpFileWriter") {
		t.Errorf("%q", answer)
	}
	for _, args := range [][]string{{bundle}, {path, "--arch", "x86_64"}} {
		if got := ask(append(args, "100000d6a")...); got != answer {
			t.Errorf("%s: %q, want %q", args, got, answer)
		}
	}
	var stderr bytes.Buffer
	if code := run([]string{"symcache", "build", "-o", path + ".symcache", path}, nil, &bytes.Buffer{}, &stderr); code == 0 || !strings.Contains(stderr.String(), "has to be chosen: arm64, x86_64") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}
