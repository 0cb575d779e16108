package cfi_test

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/object/elf"
	"salvage/internal/debugtest"
)

// ehFrame builds the cficache of an ELF file's .eh_frame.
func ehFrame(t testing.TB, data []byte) *cfi.Cache {
	t.Helper()
	f, err := elf.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	cpu := cfi.CPUByName(f.Arch())
	if cpu == nil {
		t.Fatalf("no CPU %s", f.Arch())
	}
	b := cfi.NewBuilder(cpu, f.BigEndian)
	s := f.Section(".eh_frame")
	section, err := f.Data(s, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	size := uint8(8)
	if !f.Is64 {
		size = 4
	}
	b.Frames(&cfi.FrameSection{Data: section, Addr: s.Addr, EH: true, AddrSize: size, BigEndian: f.BigEndian, ImageBase: f.ImageBase(), Executable: f.Executable()})
	if n, problems := b.Bad(); n > 0 {
		t.Errorf("%d bad entries: %v", n, problems)
	}
	var out bytes.Buffer
	st, err := b.Write(&out, debugid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d ranges, %d rules, %d bytes", st.Ranges, st.Rules, st.Bytes)
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestReadelf compares every row of .eh_frame with what readelf -wF says about it, at its first and at its
// last byte, and that nothing is known where readelf knows no row. SALVAGE_CFI_FILES names other files.
func TestReadelf(t *testing.T) {
	readelf := debugtest.Program(t, "llvm", "readelf")
	files := filepath.SplitList(os.Getenv("SALVAGE_CFI_FILES"))
	if len(files) == 0 {
		files = []string{"/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"}
		if !testing.Short() {
			files = append(files, "/usr/lib/chromium/chromium")
		}
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				debugtest.Require(t, "llvm", err.Error())
			}
			compareReadelf(t, readelf, path, ehFrame(t, data))
		})
	}
}

var (
	fdeLine    = regexp.MustCompile(`^[0-9a-f]{8,16} [0-9a-f]{16} [0-9a-f]{8} FDE .* pc=([0-9a-f]+)\.\.([0-9a-f]+)$`)
	rowLine    = regexp.MustCompile(`^([0-9a-f]{16}) (\S+)\s+(.*)$`)
	inRegister = regexp.MustCompile(`r\d+ \((\w+)\)`)
	headLine   = regexp.MustCompile(`^\s+LOC\s+CFA\s+(.*)$`)
)

func compareReadelf(t *testing.T, readelf, path string, c *cfi.Cache) {
	cmd := exec.Command(readelf, "-wF", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	names := map[string]int{"ra": int(c.CPU().PC)}
	for r := range uint8(cfi.NumRegisters) {
		if n := c.CPU().RegisterName(r); n != "" && r != c.CPU().PC {
			names[n] = int(r)
		}
	}
	lookups, differ := 0, 0
	fail := func(addr uint64, got, want string) {
		if differ++; differ <= 5 {
			t.Errorf("%#x: %s, readelf has %s", addr, got, want)
		}
	}
	var columns []string
	var fdes [][2]uint64
	var end uint64
	inFDE := false
	type pending struct {
		start uint64
		want  string
	}
	var prev *pending
	flush := func(next uint64) {
		if prev == nil {
			return
		}
		for _, addr := range []uint64{prev.start, next - 1} {
			lookups++
			r, ok := c.Lookup(addr)
			got := "nothing"
			if ok {
				got = cfi.Format(r, names)
			}
			if got != prev.want {
				fail(addr, got, prev.want)
			}
		}
		prev = nil
	}
	scan := bufio.NewScanner(out)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		line := inRegister.ReplaceAllString(scan.Text(), "$1")
		if m := fdeLine.FindStringSubmatch(line); m != nil {
			flush(end)
			start, _ := strconv.ParseUint(m[1], 16, 64)
			end, _ = strconv.ParseUint(m[2], 16, 64)
			inFDE, columns = start < end, nil
			if inFDE {
				fdes = append(fdes, [2]uint64{start, end})
			}
			continue
		}
		if strings.Contains(line, " CIE ") || strings.Contains(line, "ZERO terminator") || strings.HasPrefix(line, "Contents of") {
			flush(end)
			inFDE = false
			if strings.Contains(line, ".debug_frame") {
				break
			}
			continue
		}
		if !inFDE {
			continue
		}
		if m := headLine.FindStringSubmatch(line); m != nil {
			columns = strings.Fields(m[1])
			continue
		}
		if m := rowLine.FindStringSubmatch(line); m != nil {
			start, _ := strconv.ParseUint(m[1], 16, 64)
			if prev != nil && prev.start == start {
				prev = nil // replaced at the same address
			}
			flush(start)
			want := m[2]
			for i, cell := range strings.Fields(m[3]) {
				if reg, known := names[columns[i]]; known && cell != "u" || columns[i] == "ra" {
					want += fmt.Sprintf(" %d:%s", reg, cell)
				}
			}
			prev = &pending{start, want}
		} else if line != "" {
			t.Fatalf("not understood: %s", line)
		}
	}
	flush(end)
	_ = cmd.Wait()
	if lookups < 200 {
		t.Errorf("only %d rows read", lookups/2)
	}
	slices.SortFunc(fdes, func(a, b [2]uint64) int { return cmp.Compare(a[0], b[0]) })
	gaps, covered := 0, uint64(0)
	for _, f := range fdes {
		if covered < f[0] {
			gaps++
			for _, addr := range []uint64{covered, f[0] - 1} {
				if r, ok := c.Lookup(addr); ok {
					fail(addr, cfi.Format(r, names), "nothing")
				}
			}
		}
		covered = max(covered, f[1])
	}
	if r, ok := c.Lookup(covered); ok {
		fail(covered, cfi.Format(r, names), "nothing")
	}
	if differ > 0 {
		t.Errorf("%d answers differ", differ)
	}
	t.Logf("%d rows of %d functions, %d gaps", lookups/2, len(fdes), gaps)
}
