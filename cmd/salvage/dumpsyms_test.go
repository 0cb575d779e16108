package main

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/internal/debugtest"
)

// symRecords is a symbol file as its text has it, read by rules of its own.
type symRecords struct {
	header  []string
	funcs   []symFunc // by address
	publics map[uint64]string
	blocks  []cfiBlock
	wins    []string
}

type symFunc struct {
	start, end uint64
	name       string // with the size of parameters and m
	lines      []symSpan
	inlines    []symSpan
}

// symSpan is a line record, or a range of an INLINE record.
type symSpan struct {
	start, end uint64
	depth      int
	text       string
}

type cfiBlock struct {
	start, end uint64
	rows       []cfiRow
}

type cfiRow struct {
	addr  uint64
	rules map[string]string
}

func parseSym(t *testing.T, data []byte) *symRecords {
	t.Helper()
	s := &symRecords{publics: map[uint64]string{}}
	files, origins := map[string]string{}, map[string]string{}
	hex := func(text string) uint64 {
		v, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var fn *symFunc
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		f := strings.Fields(line)
		name := func(n int) string { return strings.SplitN(line, " ", n+1)[n] }
		switch {
		case len(f) == 0 || line == "INFO GENERATOR" || strings.HasPrefix(line, "INFO GENERATOR "):
		case f[0] == "MODULE" || f[0] == "INFO":
			s.header = append(s.header, line)
		case f[0] == "FILE":
			files[f[1]] = name(2)
		case f[0] == "INLINE_ORIGIN":
			origins[f[1]] = name(2)
		case f[0] == "FUNC" || f[0] == "PUBLIC":
			m := ""
			if f[1] == "m" {
				m, line = "m ", strings.Replace(line, " m ", " ", 1)
				f = strings.Fields(line)
			}
			if f[0] == "PUBLIC" {
				s.publics[hex(f[1])] = m + f[2] + " " + name(3)
				continue
			}
			s.funcs = append(s.funcs, symFunc{start: hex(f[1]), end: hex(f[1]) + hex(f[2]), name: m + f[3] + " " + name(4)})
			fn = &s.funcs[len(s.funcs)-1]
		case f[0] == "INLINE":
			depth, _ := strconv.Atoi(f[1])
			for i := 5; i < len(f); i += 2 {
				fn.inlines = append(fn.inlines, symSpan{hex(f[i]), hex(f[i]) + hex(f[i+1]), depth, fmt.Sprintf("%s called at %s:%s", origins[f[4]], files[f[3]], f[2])})
			}
		case strings.HasPrefix(line, "STACK WIN"):
			s.wins = append(s.wins, strings.TrimSpace(line))
		case f[0] == "STACK":
			rules, at := map[string]string{}, 3
			if f[2] == "INIT" {
				s.blocks = append(s.blocks, cfiBlock{start: hex(f[3]), end: hex(f[3]) + hex(f[4])})
				at = 5
			}
			b := &s.blocks[len(s.blocks)-1]
			if f[2] != "INIT" {
				rules = maps.Clone(b.rows[len(b.rows)-1].rules)
			}
			reg := ""
			for _, token := range f[at:] {
				if r, ok := strings.CutSuffix(token, ":"); ok {
					reg = r
					rules[reg] = ""
				} else {
					rules[reg] += " " + token
				}
			}
			b.rows = append(b.rows, cfiRow{hex(f[at-1-map[bool]int{true: 1, false: 0}[f[2] == "INIT"]]), rules})
		default:
			fn.lines = append(fn.lines, symSpan{hex(f[0]), hex(f[0]) + hex(f[1]), 0, files[f[3]] + ":" + f[2]})
		}
	}
	slices.SortStableFunc(s.funcs, func(a, b symFunc) int { return int(int64(a.start - b.start)) })
	return s
}

// answers says what the file knows from each address on where that changes.
func (s *symRecords) answers() map[uint64]string {
	all := map[uint64]string{}
	for i, fn := range s.funcs {
		edges := map[uint64]bool{fn.start: true}
		for _, x := range slices.Concat(fn.lines, fn.inlines) {
			edges[x.start], edges[x.end] = true, true
		}
		for at := range edges {
			if at < fn.start || at >= fn.end {
				continue
			}
			text := fn.name
			var inlines []symSpan
			for _, x := range fn.inlines {
				if at >= x.start && at < x.end {
					inlines = append(inlines, x)
				}
			}
			slices.SortStableFunc(inlines, func(a, b symSpan) int { return a.depth - b.depth })
			for _, x := range inlines {
				text += " > " + x.text
			}
			for _, x := range fn.lines {
				if at >= x.start && at < x.end {
					text += " @ " + x.text
					break
				}
			}
			all[at] = text
		}
		if i+1 == len(s.funcs) || s.funcs[i+1].start > fn.end {
			all[fn.end] = "-"
		}
	}
	return all
}

// at returns what all says of an address.
func at(all map[uint64]string, addrs []uint64, addr uint64) string {
	i, found := slices.BinarySearch(addrs, addr)
	if !found {
		i--
	}
	if i < 0 {
		return "-"
	}
	return all[addrs[i]]
}

// rules says which rules hold from each address on where that changes.
func (s *symRecords) rules() map[uint64]string {
	all := map[uint64]string{}
	for _, b := range s.blocks {
		for _, r := range b.rows {
			var text []string
			for _, reg := range slices.Sorted(maps.Keys(r.rules)) {
				text = append(text, reg+":"+r.rules[reg])
			}
			all[r.addr] = strings.Join(text, " ")
		}
	}
	for _, b := range s.blocks {
		if _, ok := all[b.end]; !ok {
			all[b.end] = "-"
		}
	}
	return all
}

// difference is a boundary where two files differ.
type difference struct {
	addr      uint64
	ours, its string
}

func compare(ours, its map[uint64]string) (differences []difference, compared int) {
	a, b := slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(its))
	both := slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
	for _, addr := range both {
		if x, y := at(ours, a, addr), at(its, b, addr); x != y {
			differences = append(differences, difference{addr, x, y})
		}
	}
	return differences, len(both)
}

func dumpSyms(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, stderr bytes.Buffer
	if code := run(append([]string{"dump-syms"}, args...), nil, &out, &stderr); code != 0 {
		t.Fatalf("dump-syms %s: exit code %d: %s", args, code, &stderr)
	}
	return out.Bytes()
}

// lostType is what dump_syms has otherwise in the names of PDBs.
var lostType = regexp.MustCompile(`std::nullptr_t|void( const)?\*|\.\.\.|<NoType>`)

// Files of other projects, with what Mozilla's dump_syms made of them. Differences are explained, or fail:
//   - "(...)" is what a function without prototype takes; dump_syms has "(<NoType>)";
//   - it leaves out volatile, has pointers for nullptr_t and <NoType> for the dots of variadic functions;
//   - a debugger's mark that code is to be stepped over, line 0xf00f00, is no line: it has the one before it;
//   - code that has lines but is in no function belongs to the symbol before it (padding, assembly);
//   - MinGW's exports have names of C++: dump_syms takes off an underscore, as from names of C, and has their code as functions;
//   - an undefined return address is the end of the stack; dump_syms leaves it out, and readers scan on;
//   - Windows: dump_syms has rules for where a prologue is done only, and where the stack has several
//     registers of one kind, for all of them the last one's place (TestPERulesAgainstSym); MinGW: DWARF's rules go first;
//   - the name is that of the program, not of the debug file.
func TestDumpSyms(t *testing.T) {
	for _, tt := range []struct {
		sym                            string
		args                           []string
		answers, rules, publics, inits int // how many there are at least
	}{
		{"linux/basic.full.inlines.sym", []string{"--inlines", "linux/basic.full"}, 54, 44, 11, 0},
		{"linux/basic.full.sym", []string{"linux/basic.full"}, 26, 44, 11, 0},
		{"linux/basic.dbg.sym", []string{"linux/basic.dbg", "linux/basic.stripped"}, 26, 44, 11, 0},
		{"linux/basic.minidebuginfo.sym", []string{"linux/basic.minidebuginfo"}, 0, 44, 16, 0},
		{"windows/dump_syms_regtest64.sym", []string{"windows/dump_syms_regtest64.exe", "windows/dump_syms_regtest64.pdb"}, 3700, 0, 2, 190},
		{"windows/basic32.sym", []string{"windows/basic32.pd_"}, 20000, 0, 0, 0},
		{"windows/basic64-dwarf.sym", []string{"windows/basic64-dwarf.dll"}, 400, 0, 0, 49},
	} {
		want := parseSym(t, debugtest.File(t, "dump_syms/"+tt.sym))
		var args []string
		for _, a := range tt.args {
			if a[0] != '-' {
				a = debugtest.Path(t, "dump_syms/"+a)
			}
			args = append(args, a)
		}
		text := dumpSyms(t, args...)
		got := parseSym(t, text)
		explained := map[string]int{}
		answers, its := got.answers(), want.answers()
		differences, n := compare(answers, its)
		for _, d := range differences {
			plain := strings.ReplaceAll(d.its, "(<NoType>)", "(...)")
			switch {
			case d.ours == plain:
				explained["no prototype"]++
			case strings.HasPrefix(d.its, d.ours+" @ ") && strings.HasSuffix(tt.sym, "32.sym"):
				explained["never step into"]++
			case lostType.ReplaceAllString(strings.ReplaceAll(d.ours, " volatile", ""), "?") == lostType.ReplaceAllString(d.its, "?"):
				explained["types"]++
			case d.its == "-" && strings.Contains(d.ours, " @ "):
				explained["lines without function"]++
			case d.ours == "-" && strings.HasSuffix(tt.sym, "dwarf.sym") && !strings.Contains(d.its, "@") && got.publics[d.addr] != "":
				explained["exports"]++
			case strings.Replace(d.ours, "fpreset", "_fpreset", 1) == d.its || d.addr == 0x2202:
				explained["aliases, and what is behind a function"]++
			default:
				t.Errorf("%s at %#x:\n ours %s\n its  %s", tt.sym, d.addr, d.ours, d.its)
			}
		}
		if n < tt.answers || len(differences)*20 > n && !strings.HasSuffix(tt.sym, "dwarf.sym") {
			t.Errorf("%s: %d of %d answers differ", tt.sym, len(differences), n)
		}
		for _, fn := range got.funcs { // assembly with lines is a function
			if want.publics[fn.start] == fn.name {
				delete(want.publics, fn.start)
			}
		}
		for addr, name := range want.publics {
			if got.publics[addr] != name && !strings.Contains(name, "<unknown") && !strings.HasPrefix(name, "0 <.plt") || got.publics[addr] == "" && !strings.Contains(tt.sym, "dwarf") {
				t.Errorf("%s at %#x: public %q, its %q", tt.sym, addr, got.publics[addr], name)
			}
		}
		if len(want.publics) < tt.publics {
			t.Errorf("%s: %d publics", tt.sym, len(want.publics))
		}
		if tt.rules > 0 {
			differences, n := compare(got.rules(), want.rules())
			for _, d := range differences {
				if strings.Replace(d.ours, " .ra: .undef", "", 1) != d.its {
					t.Errorf("%s at %#x:\n ours %s\n its  %s", tt.sym, d.addr, d.ours, d.its)
				}
			}
			if n < tt.rules {
				t.Errorf("%s: %d rows", tt.sym, n)
			}
		}
		inits := 0
		for _, b := range want.blocks { // where a prologue is done
			found := false
			for _, ours := range got.blocks {
				for _, r := range ours.rows {
					found = found || r.addr >= b.start && r.addr < b.end && r.rules[".cfa"] == b.rows[0].rules[".cfa"]
				}
			}
			if tt.inits > 0 && !found {
				t.Errorf("%s: no rules %v between %#x and %#x", tt.sym, b.rows[0].rules, b.start, b.end)
			}
			inits++
		}
		if inits < tt.inits {
			t.Errorf("%s: %d blocks", tt.sym, inits)
		}
		t.Log(tt.sym, n, "answers,", explained)
		if !slices.Equal(headerOf(got), headerOf(want)) {
			t.Errorf("%q, its %q", got.header, want.header)
		}
	}
}

// headerOf returns the header without what the name of the file given decides.
func headerOf(s *symRecords) (h []string) {
	for _, line := range s.header {
		f := strings.Fields(line)
		if f[0] == "MODULE" {
			f = f[:min(4, len(f))]
		}
		h = append(h, strings.ToUpper(strings.Join(f, " ")))
	}
	return h
}

// A dSYM bundle and its image are one file, with the functions, lines and inlined calls that dump_syms found, at
// every edge. Names of inlined functions differ: of parameters that depend on templates dump_syms has others.
func TestDumpSymsMac(t *testing.T) {
	bundle, image := debugtest.Path(t, "symbolic/macos/crash.dSYM"), debugtest.Path(t, "symbolic/macos/crash")
	got, want := parseSym(t, dumpSyms(t, "--inlines", "-a", "x86_64", bundle, image)), parseSym(t, debugtest.File(t, "symbolic/macos/crash.inlines.sym"))
	for _, s := range []*symRecords{got, want} {
		for i := range s.funcs {
			for j := range s.funcs[i].inlines {
				_, s.funcs[i].inlines[j].text, _ = strings.Cut(s.funcs[i].inlines[j].text, " called at ")
			}
		}
	}
	differences, n := compare(got.answers(), want.answers())
	if n < 4700 || len(differences) > 0 || len(got.blocks) < 200 || !strings.HasPrefix(got.header[0], "MODULE Mac x86_64 67E9247C814E392BA027DBDE6748FCBF0 crash") {
		t.Errorf("%d of %d differ: %v, %d blocks, %s", len(differences), n, differences, len(got.blocks), got.header)
	}
}
