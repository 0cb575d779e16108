package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"salvage/debug/object/elf"
	"salvage/internal/debugtest"
)

// What LLVM says and we do not: discriminators, columns and starts of functions; and its older spelling
// of nested templates.
var unsaid = regexp.MustCompile(` \(discriminator \d+\)|"Column":\d+|"Discriminator":\d+|"Start[A-Za-z]+":("[^"]*"|\d+),?`)

// addr2line prints what llvm-addr2line prints, flag by flag, for every byte of code of the small files.
func TestAddr2lineAgainstLLVM(t *testing.T) {
	llvm := debugtest.Program(t, "llvm", "llvm-addr2line")
	files, err := filepath.Glob("../../debug/testdata/tiny-*.elf")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	n := 0
	for _, path := range files {
		// Every byte of the functions; between them LLVM gives the line of what is before.
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		var addrs strings.Builder
		for _, fn := range f.Functions() {
			for i := range fn.Size {
				fmt.Fprintf(&addrs, "%#x\n", f.ImageBase()+fn.Addr+i)
			}
		}
		addrs.WriteString("401040\nzzz\n")
		for _, flags := range []string{"", "-f", "-i", "-f -i", "-a -f -i -C", "-p -f -i", "-a -p", "-s -f", "-s -i -f -C -p", "-a -f -i --output-style=LLVM"} {
			if n++; testing.Short() && n%5 != 0 {
				continue
			}
			args := append([]string{"-e", path}, strings.Fields(flags)...)
			cmd := exec.Command(llvm, args...)
			cmd.Stdin = strings.NewReader(addrs.String())
			want, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got, stderr bytes.Buffer
			if code := run(append([]string{"addr2line"}, args...), strings.NewReader(addrs.String()), &got, &stderr); code != 0 {
				t.Fatalf("%s: exit %d, %s", flags, code, stderr.Bytes())
			}
			text := unsaid.ReplaceAllString(string(want), "")
			if strings.Contains(flags, "LLVM") {
				text = regexp.MustCompile(`(?m)(:\d+):\d+$`).ReplaceAllString(text, "$1:0")
			}
			if got.String() != text {
				a, b := strings.Split(got.String(), "\n"), strings.Split(text, "\n")
				for i := range a {
					if i >= len(b) || a[i] != b[i] {
						t.Errorf("%s %s: line %d: %q, llvm-addr2line has %q", filepath.Base(path), flags, i+1, a[i], b[min(i, len(b)-1)])
						break
					}
				}
			}
		}
	}
}

// Who asks one address at a time has each answer before the next question; who asks many at once gets them together.
func TestAddr2lineAnswersAtOnce(t *testing.T) {
	questions, ask := io.Pipe()
	answers, tell := io.Pipe()
	done := make(chan int)
	go func() {
		var stderr bytes.Buffer
		code := run([]string{"addr2line", "-f", "-e", "../../debug/testdata/tiny-gcc-dwarf5.elf"}, questions, tell, &stderr)
		tell.Close()
		done <- code
	}()
	lines := bufio.NewScanner(answers)
	next := func() string { lines.Scan(); return lines.Text() }
	for _, q := range [][]string{{"0\n", "??", "??:0"}, {"zzz\n", "zzz"}, {"0\n0", "??", "??:0"}} {
		if _, err := io.WriteString(ask, q[0]); err != nil {
			t.Fatal(err)
		}
		for _, want := range q[1:] {
			if got := next(); got != want {
				t.Errorf("%q: %q, want %q", q[0], got, want)
			}
		}
	}
	ask.Close()
	if a, b := next(), next(); a != "??" || b != "??:0" || lines.Scan() {
		t.Errorf("after the last line, which does not end: %q %q", a, b)
	}
	if code := <-done; code != 0 {
		t.Error(code)
	}
	var many, out writes
	for i := range 1000 {
		fmt.Fprintf(&many, "%x\n", i)
	}
	run([]string{"addr2line", "-f", "-e", "../../debug/testdata/tiny-gcc-dwarf5.elf"}, bytes.NewReader(many.Bytes()), &out, io.Discard)
	if n := bytes.Count(out.Bytes(), []byte("\n")); n != 2000 || out.n > 10 {
		t.Errorf("%d lines in %d writes", n, out.n)
	}
}

// writes counts them.
type writes struct {
	bytes.Buffer
	n int
}

func (w *writes) Write(b []byte) (int, error) {
	w.n++
	return w.Buffer.Write(b)
}

// Where the questions are known nothing else need be read, and the answers are those that all of it gives: each
// byte of small files alone, and some of a larger one together.
func TestAddr2lineKnownQuestions(t *testing.T) {
	type input struct {
		path        string
		from, until uint64
	}
	inputs := []input{{debugtest.Path(t, "symbolic/linux/crash.debug-zlib"), 0x401500, 0x414d00}}
	tiny, _ := filepath.Glob("../../debug/testdata/tiny-*.elf")
	for _, path := range tiny {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		in := input{path, ^uint64(0), 0}
		for _, fn := range f.Functions() {
			in.from, in.until = min(in.from, f.ImageBase()+fn.Addr), max(in.until, f.ImageBase()+fn.Addr+fn.Size)
		}
		inputs = append(inputs, input{path, in.from - 16, in.until + 16})
	}
	ask := func(path string, in io.Reader) []string {
		var out bytes.Buffer
		if code := run([]string{"addr2line", "-f", "-i", "--output-style=JSON", "-e", path}, in, &out, io.Discard); code != 0 {
			t.Fatal(path, code)
		}
		return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	}
	r := rand.New(rand.NewPCG(1, 2))
	known := 0
	for i, in := range inputs {
		var all bytes.Buffer
		for a := in.from; a < in.until; a++ {
			fmt.Fprintf(&all, "%#x\n", a)
		}
		want := ask(in.path, &all)
		for _, w := range want {
			known += strings.Count(w, `"Line":`)
		}
		file := filepath.Join(t.TempDir(), "questions")
		some := func(list ...uint64) {
			var text strings.Builder
			for _, a := range list {
				fmt.Fprintf(&text, " %x\n", a)
			}
			if err := os.WriteFile(file, []byte(text.String()+"\nno address\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got := ask(in.path, f)
			for k, a := range list {
				if got[k] != want[a-in.from] {
					t.Errorf("%s %#x of %d: %s, want %s", filepath.Base(in.path), a, len(list), got[k], want[a-in.from])
				}
			}
			if len(got) != len(list)+2 {
				t.Errorf("%d answers of %d", len(got), len(list)+2)
			}
		}
		if i > 0 {
			for a := in.from; a < in.until; a += 11 + uint64(i) {
				some(a)
			}
		}
		for range 4 {
			list := make([]uint64, 1+r.IntN(300))
			for k := range list {
				list[k] = in.from + r.Uint64N(in.until-in.from)
			}
			some(list...)
		}
	}
	if known < 100_000 {
		t.Errorf("%d frames", known)
	}
}
