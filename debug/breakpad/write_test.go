package breakpad_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/debugid"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
)

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// write builds a lookup file of the records of text and writes it again.
func write(t *testing.T, module symbols.Module, text string, o *breakpad.Text) string {
	t.Helper()
	var cache, out bytes.Buffer
	source := func(emit func(*symbols.Batch) error) error {
		_, err := breakpad.Parse([]byte("MODULE Linux x86 000000000000000000000000000000000 x\n"+text), breakpad.Handler{Batch: emit}, breakpad.Options{Strict: true})
		return err
	}
	if _, err := symcache.Build(context.Background(), &cache, &module, o.Note(source), symcache.Options{}); err != nil {
		t.Fatal(err)
	}
	c, err := symcache.Parse(cache.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	o.File = func(path []byte) string { return string(path) }
	o.Name = func(linkage []byte) (string, uint32) {
		name, params, _ := strings.Cut(string(linkage), "@")
		return name, uint32(len(params))
	}
	if err := breakpad.Write(&out, c, o); err != nil {
		t.Fatal(err)
	}
	if err := breakpad.Write(full{}, c, o); err != errFull {
		t.Errorf("%v of a writer that fails", err)
	}
	return out.String()
}

// What is made in shares is written in order, the fallback between them included; an error of the writer is returned.
func TestWriteShares(t *testing.T) {
	var in, want strings.Builder
	text := breakpad.Text{Inlines: true, Fallback: map[uint64]breakpad.Fallback{}}
	in.WriteString("FILE 0 a.c\nFILE 1 b.c\nINLINE_ORIGIN 0 x\nINLINE_ORIGIN 1 y\n")
	want.WriteString(in.String())
	for i := range uint64(20000) {
		addr := 0x1000 + i*0x40
		f := fmt.Sprintf("FUNC %x 20 0 f%d\nINLINE 0 %d 0 %d %x 8\n%x 8 %d 0\n%x 8 %d 1\n%x 10 %d 0\n", addr, i, i+1, i%2, addr+8, addr, i+1, addr+8, i+2, addr+16, i+3)
		in.WriteString(f)
		want.WriteString(f)
		if i%3 == 0 {
			text.Fallback[addr+0x20] = breakpad.Fallback{Name: fmt.Sprint("p", i)}
			fmt.Fprintf(&want, "PUBLIC %x 0 p%d\n", addr+0x20, i)
		}
	}
	module := symbols.Module{OS: "Linux", Arch: "x86_64", Name: "a"}
	_, got, _ := strings.Cut(write(t, module, in.String(), &text), "\n")
	if got != want.String() {
		i := 0
		for i < min(len(got), want.Len()) && got[i] == want.String()[i] {
			i++
		}
		t.Errorf("%d bytes, not %d; from %d on they are\n%.200s", len(got), want.Len(), i, got[max(0, i-100):])
	}
}

func TestWrite(t *testing.T) {
	linux := symbols.Module{OS: "Linux", Arch: "x86_64", Name: "lib with\nspace.so", CodeID: debugid.ParseCodeID("ab01"), ID: debugid.ID{UUID: [16]byte{0xab}, Age: 2}}
	windows := symbols.Module{OS: "windows", Arch: "x86", Name: "a.pdb", CodeID: debugid.ParseCodeID("5c1e2f3a7000")}
	for _, tt := range []struct {
		name       string
		module     symbols.Module
		in         string
		text       breakpad.Text
		want, tail string
	}{
		{"header", linux, "", breakpad.Text{Info: []string{"A b", "GENERATOR x\n y"}},
			"MODULE Linux x86_64 AB0000000000000000000000000000002 lib withspace.so\nINFO CODE_ID AB01\nINFO A b\nINFO GENERATOR x y\n", ""},
		{"code file", windows, "", breakpad.Text{CodeFile: "a.dll"}, "MODULE windows x86 000000000000000000000000000000000 a.pdb\nINFO CODE_ID 5C1E2F3A7000 a.dll\n", ""},
		{"macOS", symbols.Module{OS: "mac", Arch: "arm64", Name: "a"}, "", breakpad.Text{}, "MODULE Mac arm64 000000000000000000000000000000000 a\n", ""},
		{"two at one address, and one again", linux, "FUNC 10 10 0 first\nFUNC 10 10 0 second\nFUNC 20 10 0 same\nFUNC 20 10 0 same\nFUNC 30 8 0 same\nPUBLIC 40 0 p\nPUBLIC 40 0 q\nPUBLIC 50 0 r\nPUBLIC 50 0 r\n", breakpad.Text{}, "",
			"FUNC m 10 10 0 first\nFUNC 20 10 0 same\nFUNC 30 8 0 same\nPUBLIC m 40 0 q\nPUBLIC 50 0 r\n"},
		{"cut in two", linux, "FUNC 10 30 0 outer\nFUNC 10 30 0 twin\nFUNC 0 50 0 late\nPUBLIC 48 0 inside\n", breakpad.Text{}, "",
			"FUNC 0 10 0 late\nFUNC m 10 30 0 outer\nFUNC 40 10 0 late\nPUBLIC 48 0 inside\n"},
		{"more of the same", linux, "FUNC 10 10 0 f\n10 10 7 0\nFILE 0 a.c\nFUNC 10 18 0 f\n10 18 8 0\n", breakpad.Text{}, "",
			"FILE 0 a.c\nFUNC 10 18 0 f\n10 10 7 0\n20 8 8 0\n"},
		{"names of the linker", windows, "FUNC 10 10 0 f\nPUBLIC 10 0 f(int)@1234\nFUNC 20 10 0 g(long)\nPUBLIC 20 0 g(int)@12\nPUBLIC 30 0 h@1\n", breakpad.Text{}, "",
			"FUNC 10 10 4 f(int)\nFUNC 20 10 2 g(long)\nPUBLIC 30 1 h\n"},
		{"not those of others", linux, "FUNC 10 10 0 f\nPUBLIC 10 0 f(int)\n", breakpad.Text{}, "", "FUNC 10 10 0 f\n"},
		{"fallback", windows, "FUNC 10 10 0 f\nPUBLIC 40 0 p\n", breakpad.Text{End: "end", Fallback: map[uint64]breakpad.Fallback{
			8: {"before", 4}, 0x10: {"f too", 8}, 0x18: {"inside", 0}, 0x1f: {"at its end", 0}, 0x20: {"behind", 0x10}, 0x40: {"p too", 0}, 0x50: {"last", 0x20},
		}}, "", "FUNC 8 4 0 before\nFUNC 10 10 0 f\nFUNC 20 10 0 behind\nPUBLIC 40 0 p\nFUNC 50 20 0 last\nPUBLIC 70 0 end\n"},
		{"inlined", linux, "FILE 0 a.c\nFILE 1 b.h\nINLINE_ORIGIN 0 in\nINLINE_ORIGIN 1 deep\nFUNC 10 40 0 f\nINLINE 0 5 0 0 18 10 30 8\nINLINE 1 9 1 1 1c 4\n10 8 4 0\n18 4 9 1\n1c 4 20 1\n20 8 10 1\n28 8 0 0\n30 8 9 1\n",
			breakpad.Text{Inlines: true}, "", "FILE 0 a.c\nFILE 1 b.h\nINLINE_ORIGIN 0 in\nINLINE_ORIGIN 1 deep\nFUNC 10 40 0 f\nINLINE 0 5 0 0 18 10 30 8\nINLINE 1 9 1 1 1c 4\n10 8 4 0\n18 4 9 1\n1c 4 20 1\n20 8 10 1\n28 8 0 0\n30 8 9 1\n"},
		{"the same without them", linux, "FILE 0 a.c\nFILE 1 b.h\nINLINE_ORIGIN 0 in\nINLINE_ORIGIN 1 deep\nFUNC 10 40 0 f\nINLINE 0 5 0 0 18 10 30 8\nINLINE 1 9 1 1 1c 4\n10 8 4 0\n18 4 9 1\n1c 4 20 1\n20 8 10 1\n28 8 0 0\n30 8 9 1\n",
			breakpad.Text{}, "", "FILE 0 a.c\nFUNC 10 40 0 f\n10 8 4 0\n18 10 5 0\n30 8 5 0\n"},
		{"parameters", linux, "FUNC 10 10 c f\nFUNC 20 10 10000 g\nFUNC m 30 10 ffff h\nPUBLIC 40 8 p\nPUBLIC 50 ffffffff q\n", breakpad.Text{}, "",
			"FUNC 10 10 c f\nFUNC 20 10 0 g\nFUNC 30 10 ffff h\nPUBLIC 40 8 p\nPUBLIC 50 0 q\n"},
		{"nameless", linux, "FUNC 10 10 0 @\n10 10 1 0\nFILE 0 a\x01b\n", breakpad.Text{}, "", "FILE 0 ab\nFUNC 10 10 0 <name omitted>\n10 10 1 0\n"},
	} {
		got := write(t, tt.module, tt.in, &tt.text)
		if tt.tail != "" {
			_, got, _ = strings.Cut(got, "INFO CODE_ID ")
			_, got, _ = strings.Cut(got, "\n")
			tt.want = tt.tail
		}
		if got != tt.want {
			t.Errorf("%s:\n%swant\n%s", tt.name, got, tt.want)
		}
	}
}
