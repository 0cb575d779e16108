package breakpad_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/symbols"
	"salvage/internal/debugtest"
)

// dump reads a file through read and writes down everything that arrives.
func dump(t testing.TB, read func(breakpad.Handler) (*breakpad.File, error)) (string, *breakpad.File, error) {
	t.Helper()
	var out, win strings.Builder
	var batches []*symbols.Batch
	f, err := read(breakpad.Handler{
		Batch: func(b *symbols.Batch) error { batches = append(batches, b); return nil },
		CFI: func(c breakpad.CFI) error {
			fmt.Fprintf(&out, "CFI %v %x %x %q\n", c.Init, c.Addr, c.Size, c.Rules)
			return nil
		},
		Win: func(w breakpad.Win) error {
			fmt.Fprintf(&win, "WIN %d %x %x %x %x %x %x %x %x %v %q %v\n", w.Type, w.Addr, w.CodeSize, w.Prologue, w.Epilogue, w.Params,
				w.SavedRegs, w.Locals, w.MaxStack, w.HasProgram, w.Program, w.AllocatesBP)
			return nil
		},
	})
	out.WriteString(win.String())
	for _, b := range batches {
		name := b.Strings.Bytes
		for _, fn := range b.Functions {
			fmt.Fprintf(&out, "FUNC %x %x %s\n", fn.Addr, fn.Size, name(fn.Name))
			for _, in := range b.Inlines[fn.Inlines.Lo:fn.Inlines.Hi] {
				fmt.Fprintf(&out, " INLINE %d %x %x %s called at %s:%d\n", in.Depth, in.Addr, in.Size, name(in.Name), name(in.CallFile), in.CallLine)
			}
			for _, l := range b.Lines[fn.Lines.Lo:fn.Lines.Hi] {
				fmt.Fprintf(&out, " %x %x %s:%d\n", l.Addr, l.Size, name(l.File), l.Line)
			}
		}
		for _, p := range b.Publics {
			fmt.Fprintf(&out, "PUBLIC %x %s\n", p.Addr, name(p.Name))
		}
	}
	return out.String(), f, err
}

func parse(data string, o breakpad.Options) func(breakpad.Handler) (*breakpad.File, error) {
	return func(h breakpad.Handler) (*breakpad.File, error) { return breakpad.Parse([]byte(data), h, o) }
}

// inParts parses data in parts of at least size bytes on several goroutines.
func inParts(data string, o breakpad.Options, size int) func(breakpad.Handler) (*breakpad.File, error) {
	return func(h breakpad.Handler) (*breakpad.File, error) {
		return breakpad.ParseParts([]byte(data), h, o, size, 3)
	}
}

const header = "MODULE Linux x86_64 BBA6FA10B8AAB33D00000000000000000 a b\n"

func TestRecords(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"function with lines", "FILE 1 a b.c\nFUNC 10 8 4 int f(int, char)\n10 4 7 1\n14 4 8 1\n",
			"FUNC 10 8 int f(int, char)\n 10 4 a b.c:7\n 14 4 a b.c:8\n"},
		{"upper-case hex, CRLF, several spaces, no last newline", "FILE 1 a.c\r\nFUNC  m AB  8 0  f g \r\nAB 4 7 1\r\nAF  4 8  1 ",
			"FUNC ab 8 f g\n ab 4 a.c:7\n af 4 a.c:8\n"},
		{"blank lines separate nothing", "FUNC 10 8 0 f\n\n10 4 7 1\n\n", "FUNC 10 8 f\n 10 4 :7\n"},
		{"a file that is defined after its use", "FUNC 10 8 0 f\n10 4 7 3\nFILE 3 late.c\n", "FUNC 10 8 f\n 10 4 late.c:7\n"},
		{"records of other kinds inside a function", "FUNC 10 8 0 f\nINFO x y\nINLINE_ORIGIN 0 g\nFILE 3 c\n10 4 7 3\n", "FUNC 10 8 f\n 10 4 c:7\n"},
		{"the first of two definitions counts (Breakpad; rust-minidump: the last)", "FILE 0 a\nFILE 0 b\nFUNC 1 1 0 f\n1 1 1 0\n", "FUNC 1 1 f\n 1 1 a:1\n"},
		{"large and sparse numbers", "FILE 4294967295 z\nFILE 99999999 y\nFUNC 1 2 0 f\n1 1 1 4294967295\n2 1 1 99999999\n", "FUNC 1 2 f\n 1 1 z:1\n 2 1 y:1\n"},
		{"a negative line number is none", "FUNC 1 1 0 f\n1 1 -5 0\n", "FUNC 1 1 f\n 1 1 :0\n"},
		{"names may be empty", "FUNC 1 1 0 \n1 1 1 0\nFUNC 4 1 0\n", "FUNC 1 1 \n 1 1 :1\nFUNC 4 1 \n"},
		{"sizes of 64 bits", "FUNC 1 ffffffff0 0 f\n", "FUNC 1 ffffffff0 f\n"},
		{"publics come last, by address and name", "PUBLIC 20 0 b\nPUBLIC m 10 4 z\nPUBLIC 20 0 a\nFUNC 1 1 0 f\n",
			"FUNC 1 1 f\nPUBLIC 10 z\nPUBLIC 20 a\nPUBLIC 20 b\n"},
		{"PUBLIC ends a function", "FUNC 1 1 0 f\nPUBLIC 10 0 p\n1 1 1 0\n", "FUNC 1 1 f\nPUBLIC 10 p\n"},
		{"inlines, new dialect", "FILE 0 a\nFILE 1 b\nINLINE_ORIGIN 0 g(int)\nINLINE_ORIGIN 1 2nd\nFUNC 0 20 0 f\nINLINE 0 7 1 0 0 8 10 4\nINLINE 1 9 -1 1 2 2\n",
			"FUNC 0 20 f\n INLINE 0 0 8 g(int) called at b:7\n INLINE 0 10 4 g(int) called at b:7\n INLINE 1 2 2 2nd called at :9\n"},
		{"inlines, old dialect: the call stands in the file of the caller",
			"FILE 0 main.c\nFILE 1 foo.h\nINLINE_ORIGIN 0 1 foo()\nINLINE_ORIGIN 1 -1 bar()\nFUNC 0 20 0 f\nINLINE 0 7 0 0 8\nINLINE 1 9 1 2 2\nINLINE 2 11 0 2 1\n0 20 1 0\n",
			"FUNC 0 20 f\n INLINE 0 0 8 foo() called at main.c:7\n INLINE 1 2 2 bar() called at foo.h:9\n INLINE 2 2 1 foo() called at :11\n 0 20 main.c:1\n"},
		{"inlines, old dialect: an origin whose file comes after its use",
			"FILE 1 foo.h\nFUNC 0 20 0 f\nINLINE 0 7 5 0 8\nINLINE_ORIGIN 5 1 late()\nINLINE 1 9 5 2 2\nFUNC 40 8 0 g\nINLINE 0 1 5 40 8\nINLINE 1 2 5 40 4\n",
			"FUNC 0 20 f\n INLINE 0 0 8 late() called at :7\n INLINE 1 2 2 late() called at :9\nFUNC 40 8 g\n INLINE 0 40 8 late() called at :1\n INLINE 1 40 4 late() called at foo.h:2\n"},
		{"an origin that is used before it is defined", "FUNC 0 20 0 f\nINLINE 0 7 0 5 0 8\nINLINE_ORIGIN 5 late\n", "FUNC 0 20 f\n INLINE 0 0 8 late called at :7\n"},
		{"an origin whose name is a number", "INLINE_ORIGIN 5 42\nFUNC 0 8 0 f\nINLINE 0 7 0 5 0 8\n", "FUNC 0 8 f\n INLINE 0 0 8 42 called at :7\n"},
		{"STACK CFI", "STACK CFI INIT 10 8 .cfa: $rsp 8 + .ra: .cfa 8 - ^\nSTACK CFI 14 .cfa: $rsp 16 +\n",
			"CFI true 10 8 \".cfa: $rsp 8 + .ra: .cfa 8 - ^\"\nCFI false 14 0 \".cfa: $rsp 16 +\"\n"},
		{"STACK WIN", "STACK WIN 4 1030 92 1 2 8 9 c 3 1 $T0 .raSearch =\nSTACK WIN 0 10 1 0 0 0 0 0 0 0 1\nSTACK WIN 0 10 1 0 0 0 0 0 0 0 2\n",
			"WIN 4 1030 92 1 2 8 9 c 3 true \"$T0 .raSearch =\" false\nWIN 0 10 1 0 0 0 0 0 0 false \"\" true\nWIN 0 10 1 0 0 0 0 0 0 false \"\" false\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, f, err := dump(t, parse(header+tt.in, breakpad.Options{Strict: true}))
			if tt.name == "PUBLIC ends a function" {
				if err == nil {
					t.Error("a line record after PUBLIC passed as strict")
				}
				got, f, err = dump(t, parse(header+tt.in, breakpad.Options{}))
			}
			if err != nil || got != tt.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, got, tt.want)
			}
			if again, _, _ := dump(t, inParts(header+tt.in, breakpad.Options{}, 1)); again != got {
				t.Errorf("in parts %s", again)
			}
			if err == nil && (f.Module.Name != "a b" || f.Module.OS != "Linux" || f.Module.ID.Breakpad() != "BBA6FA10B8AAB33D00000000000000000") {
				t.Errorf("module %+v", f.Module)
			}
		})
	}
}

func TestInfo(t *testing.T) {
	_, f, err := dump(t, parse(header+"INFO CODE_ID 5AB380779000 crash me.exe\nINFO GENERATOR salvage 1\nINFO URL https://example.org/x y\n", breakpad.Options{}))
	if err != nil || f.Module.CodeID != "5ab380779000" || f.CodeFile != "crash me.exe" || f.Generator != "salvage 1" || f.URL != "https://example.org/x y" {
		t.Errorf("%+v, %v", f, err)
	}
}

// Every bad line is counted, does not disturb its neighbours, and fails a strict reader at its number.
func TestBadLines(t *testing.T) {
	for _, bad := range []string{
		"FUNC", "FUNC 10", "FUNC 10 4", "FUNC xx 4 0 f", "FUNC 10 4 123456789 f", "FUNC 12345678123456789 4 0 f",
		"FILE", "FILE x a", "FILE -1 a", "FILE 4294967296 a", "INLINE_ORIGIN", "INLINE_ORIGIN x y",
		"PUBLIC 10", "PUBLIC x 0 n", "STACK", "STACK FOO", "STACK CFI 10 .cfa: $rsp", "STACK CFI INIT 10 .cfa:", "STACK CFI INIT 10 4",
		"STACK WIN 4 1 1 1 1 1 1 1 1 0 x", "STACK WIN 0 1 1 1 1 1 1 1 1 1 x", "STACK WIN 44 1 1 1 1 1 1 1 1 1 x", "STACK WIN 4 1 1",
		"MODULE Linux x86_64 xyz name", "10 4 7", "10 4 7 1 2", "123456789 123456789 7 1", "10 4 4294967296 1", "ab", "INLINE 0 1 1 0 10",
		"MYSTERY 1 2 3", "\x00\x01", "INLINE 0 1 0 1 0 8",
	} {
		text := header + "FUNC 0 4 0 before\n0 4 1 0\nPUBLIC 30 0 p\n" + bad + "\nFUNC 20 4 0 after\n20 4 1 0\n"
		got, f, err := dump(t, parse(text, breakpad.Options{}))
		want := "FUNC 0 4 before\n 0 4 :1\nFUNC 20 4 after\n 20 4 :1\nPUBLIC 30 p\n"
		if err != nil || got != want || f.Counts.Bad+f.Counts.Unknown != 1 || len(f.Problems) != 1 || f.Problems[0].Where != "line 5" {
			t.Errorf("%q: %v %+v\n%s", bad, err, f, got)
		}
		var fe *debug.FormatError
		if _, _, err := dump(t, parse(text, breakpad.Options{Strict: true})); !errors.As(err, &fe) || fe.Offset != 5 {
			t.Errorf("strict %q: %v", bad, err)
		}
	}
	if got, f, err := dump(t, parse(header+"FUNC 10 8 0 f\n 10 4 7\n 10 4 7 0\n", breakpad.Options{})); err != nil || f.Counts.Bad != 1 || got != "FUNC 10 8 f\n 10 4 :7\n" {
		t.Errorf("lines behind a space: %v, %+v\n%s", err, f, got)
	}
	for _, text := range []string{"", "\n\n", "hello\n", "\x7fELF"} {
		if _, _, err := dump(t, parse(text, breakpad.Options{})); err == nil {
			t.Errorf("%q read as a symbol file", text)
		}
	}
}

func TestLongLines(t *testing.T) {
	text := header + "FUNC 0 4 0 " + strings.Repeat("x", 3000) + "\n0 4 1 0\nFUNC 8 4 0 g\n8 4 1 0\n"
	got, f, err := dump(t, parse(text, breakpad.Options{MaxLine: 1000}))
	if err != nil || got != "FUNC 8 4 g\n 8 4 :1\n" || f.Counts.TooLong != 1 || f.Counts.Bad != 1 {
		t.Errorf("%v %+v\n%s", err, f, got)
	}
}

// An error of a handler comes back as it is, and nothing is left running.
func TestErrors(t *testing.T) {
	stop := errors.New("stop")
	text := header + strings.Repeat("FUNC 0 4 0 f\n", 100_000)
	_, err := breakpad.Parse([]byte(text), breakpad.Handler{Batch: func(*symbols.Batch) error { return stop }}, breakpad.Options{})
	if err != stop {
		t.Errorf("Parse: %v", err)
	}
	_, err = breakpad.Parse([]byte(header+"STACK CFI INIT 10 8 x\n"), breakpad.Handler{CFI: func(breakpad.CFI) error { return stop }}, breakpad.Options{})
	if err != stop {
		t.Errorf("CFI: %v", err)
	}
}

// Every .sym at hand is read strictly, and gives the same however it is cut.
func TestFixtures(t *testing.T) {
	root := debugtest.Path(t, ".")
	n := 0
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sym" {
			return err
		}
		n++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		whole, f, err := dump(t, parse(string(data), breakpad.Options{Strict: true}))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return nil
		}
		if len(data) > 300_000 {
			return nil
		}
		for _, size := range []int{1, 100, 10_000} {
			again, g, err := dump(t, inParts(string(data), breakpad.Options{}, size))
			if err != nil || again != whole || g.Counts != f.Counts || g.Module != f.Module {
				t.Errorf("%s in parts of %d bytes differs: %v", path, size, err)
			}
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("%d files, %v", n, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(header + "FILE 0 a\nINLINE_ORIGIN 0 0 g\nFUNC 0 20 0 f\nINLINE 0 7 0 0 8\nINLINE 0 7 1 0 0 8\n0 20 1 0\nPUBLIC 3 0 p\n")
	f.Add(header + "STACK WIN 4 1030 92 1 2 8 9 c 3 1 $T0 .raSearch =\nSTACK CFI INIT 10 8 .cfa: $rsp 8 +\nSTACK CFI 14 .cfa: $rsp 16 +\n")
	f.Fuzz(func(t *testing.T, text string) {
		whole, a, err := dump(t, parse(text, breakpad.Options{MaxLine: 200}))
		again, b, err2 := dump(t, inParts(text, breakpad.Options{MaxLine: 200}, 1))
		if whole != again || (err == nil) != (err2 == nil) || err == nil && !reflect.DeepEqual(a, b) {
			t.Errorf("whole: %v %+v\n%s\nin parts: %v %+v\n%s", err, a, whole, err2, b, again)
		}
		if err == nil {
			_, _, strictErr := dump(t, parse(text, breakpad.Options{MaxLine: 200, Strict: true}))
			if _, _, err := dump(t, inParts(text, breakpad.Options{MaxLine: 200, Strict: true}, 1)); !reflect.DeepEqual(err, strictErr) {
				t.Errorf("strict: %v, in parts: %v", strictErr, err)
			}
			if clean := a.Counts.Bad+a.Counts.Unknown+a.Counts.TooLong == 0; clean != (strictErr == nil) {
				t.Errorf("strict: %v, counts %+v", strictErr, a.Counts)
			}
		}
	})
}
