package object_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/object"
	"salvage/debug/object/pe"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
	"salvage/internal/debugtest"
)

// delivered is all that a file delivers, and a symcache of it.
type delivered struct {
	*symcache.Cache
	object    *object.Object
	report    object.Report
	functions []symbols.Function
	names     map[uint64][]string // of functions by address
	publics   map[uint64][]string
	files     map[string]bool
	edges     []uint64 // addresses at which functions, lines and inlined calls start or end, and one before the end
	inlines   int
}

func deliver(t testing.TB, data []byte) *delivered {
	t.Helper()
	o, err := object.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	return deliverFrom(t, o, func(rep *object.Report) symbols.Source { return o.Symbols(context.Background(), rep) })
}

// deliverFrom is deliver for an opened file and a source made of it.
func deliverFrom(t testing.TB, o *object.Object, source func(*object.Report) symbols.Source) *delivered {
	t.Helper()
	d := &delivered{object: o, names: map[uint64][]string{}, publics: map[uint64][]string{}, files: map[string]bool{}}
	add := func(addr, size uint64) { d.edges = append(d.edges, addr, addr+size-1, addr+size) }
	src := source(&d.report)
	var out bytes.Buffer
	var texts []func() // taken at the end: until then the source adds to the strings
	text := func(s *symbols.Strings, id symbols.StringID, use func(string)) {
		texts = append(texts, func() { use(string(s.Bytes(id))) })
	}
	_, err := symcache.Build(context.Background(), &out, &o.Module, func(emit func(*symbols.Batch) error) error {
		return src(func(b *symbols.Batch) error {
			for _, fn := range b.Functions {
				add(fn.Addr, fn.Size)
				d.functions = append(d.functions, fn)
				text(b.Strings, fn.Name, func(s string) { d.names[fn.Addr] = append(d.names[fn.Addr], s) })
			}
			for _, l := range b.Lines {
				add(l.Addr, uint64(l.Size))
				text(b.Strings, l.File, func(s string) { d.files[s] = true })
			}
			for _, in := range b.Inlines {
				add(in.Addr, in.Size)
				text(b.Strings, in.CallFile, func(s string) { d.files[s] = true })
			}
			d.inlines += len(b.Inlines)
			for _, p := range b.Publics {
				text(b.Strings, p.Name, func(s string) { d.publics[p.Addr] = append(d.publics[p.Addr], s) })
			}
			return emit(b)
		})
	}, symcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, take := range texts {
		take()
	}
	if d.Cache, err = symcache.Parse(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(d.edges)
	d.edges = slices.Compact(d.edges)
	return d
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// run runs a program of LLVM's or GNU's tools.
func run(t testing.TB, thing, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(debugtest.Program(t, thing, name), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// linkWindows compiles sources for Windows, with no library but what the flags name, and links them with
// a PDB. It returns the paths of both.
func linkWindows(t testing.TB, target string, sources []string, flags ...string) (exe, pdb string) {
	t.Helper()
	dir := t.TempDir()
	exe, pdb = filepath.Join(dir, "out.exe"), filepath.Join(dir, "out.pdb")
	link := []string{"/nodefaultlib", "/entry:start", "/subsystem:console", "/debug", "/pdb:" + pdb, "/out:" + exe}
	if strings.HasPrefix(target, "i386") {
		link = append(link, "/safeseh:no")
	}
	for i, source := range sources {
		obj := filepath.Join(dir, fmt.Sprintf("%d.obj", i))
		args := append([]string{"--target=" + target, "-g", "-gcodeview", "-ffreestanding", "-fno-stack-protector", "-mno-stack-arg-probe", "-fno-exceptions", "-fno-rtti", "-c", source, "-o", obj}, flags...)
		run(t, "llvm", "clang++", args...)
		link = append(link, obj)
	}
	run(t, "llvm", "lld-link", link...)
	return exe, pdb
}

// comparePDB compares the answers at every edge of a PDB's records with those of LLVM.
func comparePDB(t testing.TB, exe, pdbPath string) {
	t.Helper()
	d := deliver(t, read(t, pdbPath))
	if d.report.Lost > 0 {
		t.Errorf("%d lost: %+v", d.report.Lost, d.report.Problems)
	}
	image, err := pe.Parse(read(t, exe))
	if err != nil {
		t.Fatal(err)
	}
	id, name := image.CodeView()
	if id != d.object.Module.ID || filepath.Base(name) != filepath.Base(pdbPath) || image.Arch() != d.object.Module.Arch {
		t.Errorf("image %s %q %s, PDB %s %s", id, name, image.Arch(), d.object.Module.ID, d.object.Module.Arch)
	}
	var addrs []uint64
	for _, a := range d.edges {
		if symbols.InCode(image.Executable(), a) {
			addrs = append(addrs, a+image.ImageBase)
		}
	}
	theirs := askJSON(t, exe, addrs)
	ours := make([][]string, len(addrs))
	for i, a := range addrs {
		ours[i] = frames(answer(d.Cache, a-image.ImageBase))
	}
	twice := twoLines(t, pdbPath)
	differ, lines, first := 0, 0, 0
	for i, a := range addrs {
		if both := lineOf(theirs[i][0]) + " " + lineOf(ours[i][0]); twice[a-image.ImageBase] == both {
			theirs[i][0] = strings.TrimSuffix(theirs[i][0], lineOf(theirs[i][0])) + lineOf(ours[i][0])
			first++
		}
		switch {
		case slices.EqualFunc(ours[i], theirs[i], sameFrame):
		case len(ours[i]) == len(theirs[i]) && explained(ours, theirs, i):
			lines++
		default:
			if differ++; differ <= 5 {
				t.Errorf("%#x:\n%q want\n%q", addrs[i], ours[i], theirs[i])
			}
		}
	}
	if differ > 0 {
		t.Errorf("%d of %d answers differ", differ, len(addrs))
	}
	t.Logf("%d functions, %d pieces of inlined calls, %d addresses, %d of them with an inlined frame for which LLVM 14 has the line of the next row, %d where it has the first of two lines", len(d.functions), d.inlines, len(addrs), lines, first)
}

// twoLines returns the first and the last of the lines that a line table has for one address: functions whose
// code was moved or thrown away leave their lines behind. DWARF's rule, that the last counts, is that of
// Microsoft's and Mozilla's tools; LLVM 14 takes the first for PDBs.
func twoLines(t testing.TB, pdb string) map[uint64]string {
	t.Helper()
	sections := map[string]uint64{}
	header := regexp.MustCompile(`SECTION HEADER #(\d+)\n(?:.*\n)*? *([0-9A-F]+) virtual address`)
	for _, m := range header.FindAllStringSubmatch(string(run(t, "llvm", "llvm-pdbutil", "dump", "-section-headers", pdb)), -1) {
		n, _ := strconv.Atoi(m[1])
		addr, _ := strconv.ParseUint(m[2], 16, 64)
		sections[fmt.Sprintf("%04d", n)] = addr
	}
	result, base, last, lastAddr := map[uint64]string{}, uint64(0), "", ^uint64(0)
	entry := regexp.MustCompile(`(\d+) ([0-9A-F]{8}) [! ]`)
	for _, text := range strings.Split(string(run(t, "llvm", "llvm-pdbutil", "dump", "-l", pdb)), "\n") {
		if m := regexp.MustCompile(`^  ([0-9]{4}):[0-9A-F]{8}-`).FindStringSubmatch(text); m != nil {
			base, lastAddr = sections[m[1]], ^uint64(0)
			continue
		}
		for _, m := range entry.FindAllStringSubmatch(text, -1) {
			addr, _ := strconv.ParseUint(m[2], 16, 64)
			if addr += base; addr == lastAddr {
				result[addr] = strings.SplitN(cmp.Or(result[addr], last), " ", 2)[0] + " " + m[1]
			}
			last, lastAddr = m[1], addr
		}
	}
	return result
}

func lineOf(frame string) string { return frame[strings.LastIndexByte(frame, ':')+1:] }

// frames are the frames of an answer, the outermost first.
func frames(answer string) []string {
	f := strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
	slices.Reverse(f)
	return f
}

// sameFrame compares a frame of ours with one of LLVM's, which has the function's name without arguments.
func sameFrame(ours, theirs string) bool {
	i, j := strings.LastIndexByte(ours, ' '), strings.LastIndexByte(theirs, ' ')
	if ours[i:] != theirs[j:] {
		return false
	}
	rest, ok := strings.CutPrefix(ours[:i], theirs[:j])
	return ok && (rest == "" || rest[0] == '(')
}

// explained reports whether all that differs in the answer at edge i is the line of inlined frames for which
// LLVM 14 agrees where the run of code of that line begins: inside of it, it adds up the line numbers of
// the annotations one too far. Ours are those that llvm-pdbutil prints.
func explained(ours, theirs [][]string, i int) bool {
	for depth, f := range ours[i] {
		if sameFrame(f, theirs[i][depth]) {
			continue
		}
		first := i
		for first > 0 && len(ours[first-1]) > depth && slices.Equal(ours[first-1][:depth+1], ours[i][:depth+1]) {
			first--
		}
		if depth == 0 || first == i || len(theirs[first]) <= depth || !sameFrame(f, theirs[first][depth]) {
			return false
		}
	}
	return true
}

// askJSON returns llvm-symbolizer's answers at file addresses, with names as the PDB has them.
func askJSON(t testing.TB, exe string, addrs []uint64) [][]string {
	t.Helper()
	var in, out bytes.Buffer
	for _, a := range addrs {
		fmt.Fprintf(&in, "%#x\n", a)
	}
	cmd := exec.Command(debugtest.Program(t, "llvm", "llvm-symbolizer"), "--obj="+exe, "--functions=short", "--no-demangle", "--inlines", "--output-style=JSON")
	cmd.Stdin, cmd.Stdout = &in, &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var answers [][]string
	for dec := json.NewDecoder(&out); ; {
		var a struct {
			Symbol []struct {
				FunctionName, FileName string
				Line                   uint32
			}
		}
		err := dec.Decode(&a)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, f := range a.Symbol {
			fmt.Fprintf(&b, "%s %s:%d\n", cmp.Or(f.FunctionName, "??"), cmp.Or(f.FileName, "??"), f.Line)
		}
		answers = append(answers, frames(b.String()))
	}
	if len(answers) != len(addrs) {
		t.Fatalf("%d answers of %d", len(answers), len(addrs))
	}
	return answers
}

// SALVAGE_LLVM_PDBS names images, whose PDBs lie beside them, to compare at every edge: the long differential
// run.
func TestPDBFilesAgainstLLVM(t *testing.T) {
	files := filepath.SplitList(os.Getenv("SALVAGE_LLVM_PDBS"))
	if len(files) == 0 {
		t.Skip("a run by hand over other files: SALVAGE_LLVM_PDBS is not set")
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			comparePDB(t, path, strings.TrimSuffix(path, filepath.Ext(path))+".pdb")
		})
	}
}

// What dump_syms and we read of one PDB: functions, and the lines of the functions themselves, which is all
// that its .sym has.
func TestPDBAgainstSym(t *testing.T) {
	for _, name := range []string{"symbolic/windows/crash", "breakpad/dump_syms_regtest", "breakpad/dump_syms_regtest64", "dump_syms/windows/dump_syms_regtest64"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			compareSym(t, debugtest.File(t, name+".pdb"), debugtest.File(t, name+".sym"))
		})
	}
}

func compareSym(t *testing.T, pdb, sym []byte) {
	d, want := deliver(t, pdb), deliver(t, sym)
	if d.object.Module.ID != want.object.Module.ID || d.object.Module.Arch != want.object.Module.Arch {
		t.Errorf("module %+v, want %+v", d.object.Module, want.object.Module)
	}
	decoration := regexp.MustCompile(`@+\d+$`) // of C's calling conventions; dump_syms takes it off
	outer := func(d *delivered, addr uint64) string {
		all := d.Lookup(addr, nil)
		if len(all) == 0 {
			return "nothing"
		}
		f := all[len(all)-1]
		name, _, _ := strings.Cut(string(d.Name(f)), "(") // arguments have other spaces, some names the type returned
		name = decoration.ReplaceAllString(strings.TrimLeft(name[strings.LastIndexByte(name, ' ')+1:], "@_"), "")
		return fmt.Sprintf("%#x %s:%d %s", d.Function(f).Addr, d.File(f), f.Line, name)
	}
	edges := slices.Concat(d.edges, want.edges)
	slices.Sort(edges)
	edges = slices.Compact(edges)
	differ, special, folded, assembly, open := 0, 0, 0, 0, 0
	for _, a := range edges {
		ours, theirs := outer(d, a), outer(want, a)
		start := uint64(0)
		fmt.Sscanf(theirs, "%v", &start)
		switch {
		case ours == theirs:
		case ours == strings.Replace(theirs, ":15732480 ", ":0 ", 1):
			special++ // 0xf00f00: code that a debugger steps over; it has no line
		case theirs == "nothing" && strings.Contains(ours, ".asm:"):
			assembly++ // lines without a function, which get the linker's name for it
		case ours == "nothing" && strings.Contains(theirs, " :0 "):
			open++ // a public ends with its module's code; in a .sym it has no end
		case len(d.names[start]) > 1:
			folded++ // equal functions in one place: of those we take the first of the first module
		default:
			differ++
			t.Errorf("%#x: %s, want %s", a, ours, theirs)
		}
	}
	if explained := special + folded + assembly + open; explained > 12 {
		t.Errorf("%d differences explained", explained)
	}
	t.Logf("%d addresses, %d functions; explained: %d special lines, %d of folded functions, %d of assembly, %d behind publics", len(edges), len(d.functions), special, folded, assembly, open)
}

// Every edge of what clang and lld-link write, for each CPU and with and without optimisation.
func TestPDBAgainstLLVM(t *testing.T) {
	for _, target := range []string{"x86_64-pc-windows-msvc", "i386-pc-windows-msvc", "aarch64-pc-windows-msvc"} {
		for _, opt := range []string{"-O0", "-O1", "-O2", "-Os"} {
			t.Run(target+" "+opt, func(t *testing.T) {
				exe, pdb := linkWindows(t, target, []string{"../testdata/windows.cpp"}, opt, "-std=c++17")
				comparePDB(t, exe, pdb)
			})
		}
	}
}

// Facts about the fixtures of symbolic: names with arguments, sizes, inlined calls, publics, files.
func TestWindowsFacts(t *testing.T) {
	for _, name := range []string{"symbolic/windows/crash.pdb", "symbolic/windows/CrashWithException.exe"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			d := deliver(t, debugtest.File(t, name))
			stack := stackRecords(t, d.object, debugtest.File(t, name))
			checked := 0
			for _, fact := range debugtest.Facts(t, name) {
				addr, err := strconv.ParseUint(strings.TrimPrefix(fact.Query, "0x"), 16, 64)
				got := answer(d.Cache, addr)
				ok := true
				switch fact.Kind {
				case "function":
					ok = slices.ContainsFunc(d.functions, func(fn symbols.Function) bool {
						return fn.Addr == addr && slices.Contains(d.names[addr], strings.TrimSuffix(fact.Expected, fmt.Sprintf(" size=%#x", fn.Size)))
					})
				case "symbol":
					ok = slices.Contains(d.publics[addr], fact.Expected)
				case "lookup":
					var want strings.Builder
					for _, f := range strings.Split(fact.Expected, " <= ") {
						name, place, _ := strings.Cut(f, " @ ")
						fmt.Fprintf(&want, "%s %s\n", name, place)
					}
					ok = got == want.String()
					if text, found := strings.CutPrefix(fact.Expected, "inlinee named "); found {
						inner, outer, _ := strings.Cut(text, " inside ")
						outer, _, _ = strings.Cut(outer, " (")
						ok = strings.Contains(got, inner+" ") && strings.Contains(got, outer+"(")
					}
				case "file": // headers without code in them are not delivered
					ok = d.files[fact.Expected] || bytes.Contains(debugtest.File(t, name), []byte(fact.Expected+"\x00"))
				case "object":
					m := d.Module()
					for _, want := range strings.Fields(strings.ReplaceAll(fact.Expected, ";", "")) {
						key, value, _ := strings.Cut(want, "=")
						switch key {
						case "code_id":
							ok = ok && string(m.CodeID) == value
						case "debug_id":
							ok = ok && m.ID.String() == value
						case "arch":
							ok = ok && m.Arch == value
						case "load":
							ok = ok && fmt.Sprintf("%#x", m.ImageBase) == value
						case "unwind":
							ok = ok && d.object.HasRules
						}
					}
				case "cfi_record":
					ok = slices.Contains(stack, fact.Expected)
				case "cfi_summary":
					sum := sha256.Sum256([]byte(strings.Join(stack, "\n") + "\n"))
					ok = strings.HasPrefix(fact.Expected, fmt.Sprintf("records=%d ", len(stack))) && strings.HasSuffix(fact.Expected, hex.EncodeToString(sum[:]))
				case "fixture":
					ok = d.Module().ID.String() == fact.DebugID && d.Module().Arch == fact.Arch
				default:
					ok = false
				}
				checked++
				if !ok || err != nil && fact.Kind == "lookup" {
					t.Errorf("%s %s:\n%swant %s", fact.Kind, fact.Query, got, fact.Expected)
				}
			}
			t.Logf("%d facts", checked)
		})
	}
}

// Every edge of what MinGW's compiler and linker write: DWARF in a PE file, and the COFF symbol table.
func TestMinGWAgainstLLVM(t *testing.T) {
	llvm := debugtest.Program(t, "llvm", "llvm-symbolizer")
	for _, flags := range []string{
		"-O0 -g", "-O2 -g", "-O2 -gdwarf-2", "-O2 -gdwarf-4 -ffunction-sections -Wl,--gc-sections", "-O2 -g -shared",
	} {
		t.Run(flags, func(t *testing.T) {
			exe := filepath.Join(t.TempDir(), "out.exe")
			args := append(strings.Fields(flags), "-std=c++17", "-nostdlib", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-Wl,-e,start", "-o", exe, "../testdata/windows.cpp")
			run(t, "mingw", "x86_64-w64-mingw32-g++", args...)
			data := read(t, exe)
			d := deliver(t, data)
			if d.report.Lost > 0 || !d.object.HasDebugInfo {
				t.Errorf("%d lost: %+v", d.report.Lost, d.report.Problems)
			}
			image, err := pe.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			var addrs []uint64
			for _, a := range d.edges {
				if symbols.InCode(image.Executable(), a) {
					addrs = append(addrs, a+image.ImageBase)
				}
			}
			differ, padding := 0, 0
			for i, theirs := range askLLVM(t, llvm, exe, addrs) {
				ours := answer(d.Cache, addrs[i]-image.ImageBase)
				switch {
				case ours == theirs:
				case ours == "?? ??:0\n" && strings.HasSuffix(theirs, " ??:0\n") && strings.Count(theirs, "\n") == 1:
					padding++ // symbols of COFF have no size, so LLVM names what is behind a function after it
				default:
					if differ++; differ <= 5 {
						t.Errorf("%#x:\n%swant\n%s", addrs[i], ours, theirs)
					}
				}
			}
			t.Logf("%d functions, %d addresses, explained: %d of padding", len(d.functions), len(addrs), padding)
		})
	}
}
