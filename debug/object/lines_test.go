package object_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

// lineProgram is a line program made by chance, as text for an assembler, that keeps to code between lineBase and lineEnd.
type lineProgram struct {
	*rand.Rand
	strings.Builder
	version, minLength, maxOps, lineRange, opcodeBase int
	lineBase, line                                    int
	files                                             int
}

const linesFrom, linesEnd = 0x10000, 0x20000

func (p *lineProgram) bytes(values ...int) {
	for _, v := range values {
		fmt.Fprintf(p, "\t.byte %d\n", v&0xff)
	}
}

func (p *lineProgram) ext(op int, operands string) {
	fmt.Fprintf(p, "\t.byte 0\n\t.uleb128 2f-1f\n1:\t.byte %d\n%s2:\n", op, operands)
}

// header writes everything before the opcodes. File i is f<i>.c in folder d<i%3>, /d0 being that of the unit.
func (p *lineProgram) header() {
	fmt.Fprintf(p, "\t.section .debug_line,\"\",@progbits\n\t.long 9f-1f\n1:\t.short %d\n", p.version)
	if p.version >= 5 {
		p.bytes(8, 0)
	}
	fmt.Fprintf(p, "\t.long 3f-2f\n2:\n")
	p.bytes(p.minLength)
	if p.version >= 4 {
		p.bytes(p.maxOps)
	}
	p.bytes(1, p.lineBase, p.lineRange, p.opcodeBase)
	lengths := []int{0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}
	for i := range p.opcodeBase - 1 {
		if i < len(lengths) {
			p.bytes(lengths[i])
		} else {
			p.bytes(i % 4) // opcodes that nobody knows
		}
	}
	if p.version < 5 {
		fmt.Fprintf(p, "\t.asciz \"d1\"\n\t.asciz \"/d2\"\n\t.byte 0\n")
		for i := 1; i <= p.files; i++ {
			fmt.Fprintf(p, "\t.asciz \"f%d.c\"\n\t.uleb128 %d, %d, %d\n", i, i%3, p.IntN(1000), p.IntN(1000))
		}
		p.bytes(0)
	} else {
		// Folders by name; files by name, folder, MD5, time, size and what a vendor has, in forms by chance.
		forms := map[string][2]int{"\t.asciz": {1, 8}, "\t.uleb128": {2, 15}}
		p.bytes(1, forms["\t.asciz"][0], forms["\t.asciz"][1])
		fmt.Fprintf(p, "\t.uleb128 3\n\t.asciz \"/d0\"\n\t.asciz \"d1\"\n\t.asciz \"/d2\"\n")
		md5, vendor, narrow := p.IntN(2) == 0, p.IntN(2) == 0, p.IntN(2) == 0
		columns := []int{1, 8}
		if narrow {
			columns = append(columns, 2, 11) // data1
		} else {
			columns = append(columns, 2, 15) // udata
		}
		if md5 {
			columns = append(columns, 5, 30) // data16
		}
		columns = append(columns, 3, 6, 4, 15) // time as data4, size as udata
		p.bytes(len(columns)/2 + btoi(vendor))
		p.bytes(columns...)
		if vendor {
			fmt.Fprintf(p, "\t.uleb128 0x2001, 9\n") // a block
		}
		fmt.Fprintf(p, "\t.uleb128 %d\n", p.files+1)
		for i := range p.files + 1 {
			fmt.Fprintf(p, "\t.asciz \"f%d.c\"\n", i)
			if narrow {
				p.bytes(i % 3)
			} else {
				fmt.Fprintf(p, "\t.uleb128 %d\n", i%3)
			}
			if md5 {
				fmt.Fprintf(p, "\t.quad %d, %d\n", p.Uint64(), p.Uint64())
			}
			fmt.Fprintf(p, "\t.long 7\n\t.uleb128 %d\n", p.IntN(10000))
			if vendor {
				fmt.Fprintf(p, "\t.uleb128 3\n\t.byte 1, 2, 3\n")
			}
		}
	}
	fmt.Fprintf(p, "3:\n")
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// sequence writes a sequence that starts at from.
func (p *lineProgram) sequence(from int) {
	p.line = 1
	p.ext(2, fmt.Sprintf("\t.quad %#x\n", from))
	to := func(line int) {
		fmt.Fprintf(p, "\t.byte 3\n\t.sleb128 %d\n", line-p.line)
		p.line = line
	}
	to(1000)
	special := func() {
		for {
			op := p.opcodeBase + p.IntN(256-p.opcodeBase)
			if line := p.line + p.lineBase + (op-p.opcodeBase)%p.lineRange; line > 0 {
				p.line = line
				p.bytes(op)
				return
			}
		}
	}
	for range 30 + p.IntN(60) {
		switch p.IntN(13) {
		case 0:
			p.bytes(1) // copy
		case 1:
			fmt.Fprintf(p, "\t.byte 2\n\t.uleb128 %d\n", p.IntN(20)) // advance_pc
		case 2:
			to(1 + p.IntN(100000))
		case 3:
			fmt.Fprintf(p, "\t.byte 4\n\t.uleb128 %d\n", 1+p.IntN(p.files))
		case 4:
			fmt.Fprintf(p, "\t.byte 5\n\t.uleb128 %d\n", p.IntN(300)) // column
		case 5:
			p.bytes(6, 7) // negate_stmt, basic_block
		case 6:
			p.bytes(8) // const_add_pc
		case 7:
			fmt.Fprintf(p, "\t.byte 9\n\t.short %d\n", p.IntN(30)) // fixed_advance_pc
		case 8:
			if p.opcodeBase > 12 {
				fmt.Fprintf(p, "\t.byte 10, 11, 12\n\t.uleb128 %d\n", p.IntN(300)) // prologue_end, epilogue_begin, set_isa
			}
		case 9:
			p.ext(4, fmt.Sprintf("\t.uleb128 %d\n", p.IntN(300))) // discriminator
			p.ext(0x90, "\t.byte 1, 2, 3\n")                      // a vendor's
		case 10:
			if p.opcodeBase > 13 {
				op := 13 + p.IntN(p.opcodeBase-13)
				p.bytes(op)
				for range (op - 1) % 4 {
					fmt.Fprintf(p, "\t.uleb128 %d\n", p.IntN(1000))
				}
			}
		default:
			special()
		}
	}
	special()
	fmt.Fprintf(p, "\t.byte 2\n\t.uleb128 %d\n", 3*p.maxOps)
	p.ext(1, "")
}

// Line programs made by chance, of every version and with every opcode, also of machines that have several operations in an
// instruction: at every row what readelf decodes.
func TestLinePrograms(t *testing.T) {
	readelf, gcc := debugtest.Program(t, "llvm", "readelf"), debugtest.Program(t, "llvm", "gcc")
	row := regexp.MustCompile(`(?m)^f(\d+)\.c +(-|\d+) +(0x[0-9a-f]+|0)(\[\d+\])? *(\(end seq\)|END)?`)
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 7))
		p := &lineProgram{
			Rand: r, version: 2 + int(seed%4), minLength: 1 + r.IntN(4), maxOps: 1, lineBase: -r.IntN(8), lineRange: 9 + r.IntN(8),
			opcodeBase: []int{10, 13, 17}[r.IntN(3)], files: 1 + r.IntN(6),
		}
		if p.version >= 4 && r.IntN(2) == 0 {
			p.maxOps = 2 + r.IntN(3)
		}
		fmt.Fprintf(p, "\t.text\n\t.skip %d\n", linesEnd-linesFrom)
		fmt.Fprintf(p, "\t.section .debug_abbrev,\"\",@progbits\n\t.uleb128 1, 0x11\n\t.byte 1\n\t.uleb128 3, 8, 0x1b, 8, 0x10, 6, 0x11, 1, 0x12, 1, 0, 0\n")
		fmt.Fprintf(p, "\t.uleb128 2, 0x2e\n\t.byte 0\n\t.uleb128 3, 8, 0x11, 1, 0x12, 1, 0, 0, 0\n")
		unit := fmt.Sprintf("\t.asciz \"u.c\"\n\t.asciz \"/d0\"\n\t.long 0\n\t.quad %#x, %#x\n\t.uleb128 2\n\t.asciz \"all\"\n\t.quad %#x, %#x\n\t.byte 0\n9:\n", linesFrom, linesEnd, linesFrom, linesEnd)
		fmt.Fprintf(p, "\t.section .debug_info,\"\",@progbits\n\t.long 9f-1f\n1:\t.short 3\n\t.long 0\n\t.byte 8\n\t.uleb128 1\n%s", unit)
		p.header()
		starts := r.Perm(8)
		for _, s := range starts[:5] {
			p.sequence(linesFrom + s*0x2000 + r.IntN(100)*16)
		}
		fmt.Fprintf(p, "9:\n")
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p.s"), []byte(p.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		runIn(t, dir, gcc, "-nostdlib", "-static", "-Wl,--build-id=none,-Ttext=0x10000,-e,0", "-o", "p", "p.s")
		f := openFile(t, filepath.Join(dir, "p"))
		if f.report.Lost > 0 || len(f.report.Problems) > 0 {
			t.Fatalf("seed %d: %+v", seed, f.report)
		}
		text, err := exec.Command(readelf, "--debug-dump=decodedline", filepath.Join(dir, "p")).Output()
		if err != nil {
			t.Fatal(err)
		}
		type known struct {
			addr uint64
			text string
			end  bool
		}
		var rows []known
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			addr, _ := strconv.ParseUint(m[3], 0, 64)
			file, _ := strconv.Atoi(m[1])
			folder := []string{"/d0", "/d0/d1", "/d2"}[file%3]
			k := known{addr, fmt.Sprintf("all %s/f%d.c:%s\n", folder, file, m[2]), m[5] != "" || m[2] == "-"}
			if n := len(rows); n > 0 && !rows[n-1].end && rows[n-1].addr == addr {
				rows = rows[:n-1] // the last row of an address counts
			}
			rows = append(rows, k)
		}
		if len(rows) < 40 {
			t.Fatalf("seed %d: %d rows of readelf's:\n%s", seed, len(rows), text)
		}
		for i, k := range rows {
			if k.end {
				continue
			}
			for _, a := range []uint64{k.addr, rows[i+1].addr - 1} {
				if got := answer(f.Cache, a-f.Cache.Module().ImageBase); got != k.text {
					t.Fatalf("seed %d, version %d, %d operations, base %d at %#x: %q, want %q", seed, p.version, p.maxOps, p.opcodeBase, a, got, k.text)
				}
			}
		}
	}
}
