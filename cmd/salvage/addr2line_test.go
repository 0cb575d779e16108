package main

import (
	"bytes"
	"fmt"
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
