package cfi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// TestReadelf compares every row of .eh_frame with what readelf -wF says about it. The long run names
// more files in SALVAGE_CFI_FILES.
func TestReadelf(t *testing.T) {
	readelf := debugtest.Program(t, "llvm", "readelf")
	files := filepath.SplitList(os.Getenv("SALVAGE_CFI_FILES"))
	if len(files) == 0 {
		files = []string{"/lib/x86_64-linux-gnu/libc.so.6"}
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
	rows, differ := 0, 0
	var columns []string
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
			rows++
			r, ok := c.Lookup(addr)
			got := "nothing"
			if ok {
				got = cfi.Format(r, names)
			}
			if got != prev.want {
				if differ++; differ <= 5 {
					t.Errorf("%#x: %s, readelf has %s", addr, got, prev.want)
				}
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
		}
	}
	flush(end)
	_ = cmd.Wait()
	if rows < 100 {
		t.Errorf("only %d rows read", rows)
	}
	if differ > 0 {
		t.Errorf("%d of %d rows differ", differ, rows)
	}
	t.Logf("%d rows", rows/2)
}
