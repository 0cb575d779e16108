package object_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/object"
	"salvage/debug/object/elf"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
	"salvage/internal/debugtest"
)

// file is a debug file under test.
type file struct {
	*symcache.Cache
	*elf.File
	report    object.Report
	edges     []uint64 // addresses at which records start or end
	functions []elf.Function
	inlines   int
}

// open reads an ELF file, with what it needs of folders, and builds its symcache.
func open(t testing.TB, data []byte, folders ...string) *file {
	t.Helper()
	o, err := object.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	addAll(t, o, folders)
	edges := map[uint64]bool{}
	add := func(addr, size uint64) {
		for _, a := range []uint64{addr, addr + size - 1, addr + size} {
			edges[a] = true
		}
	}
	f := new(file)
	if f.File, err = elf.Parse(data); err != nil {
		t.Fatal(err)
	}
	f.functions = f.File.Functions()
	var out bytes.Buffer
	src := o.Symbols(context.Background(), &f.report)
	_, err = symcache.Build(context.Background(), &out, &o.Module, func(emit func(*symbols.Batch) error) error {
		return src(func(b *symbols.Batch) error {
			for _, fn := range b.Functions {
				add(fn.Addr, fn.Size)
			}
			for _, l := range b.Lines {
				add(l.Addr, uint64(l.Size))
			}
			for _, in := range b.Inlines {
				add(in.Addr, in.Size)
			}
			f.inlines += len(b.Inlines)
			for _, p := range b.Publics {
				add(p.Addr, max(1, p.Size))
			}
			return emit(b)
		})
	}, symcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Cache, err = symcache.Parse(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	for a := range edges {
		f.edges = append(f.edges, a)
	}
	slices.Sort(f.edges)
	return f
}

// answer writes the frames at an address as LLVM does, without columns.
func answer(c *symcache.Cache, addr uint64) string {
	var b strings.Builder
	for _, f := range c.Lookup(addr, nil) {
		name, file, line := string(c.Name(f)), string(c.File(f)), f.Line
		if name == "" {
			name = "??"
		}
		if file == "" {
			file, line = "??", 0
		}
		fmt.Fprintf(&b, "%s %s:%d\n", name, file, line)
	}
	if b.Len() == 0 {
		return "?? ??:0\n"
	}
	return b.String()
}

// askLLVM returns llvm-symbolizer's answers at file addresses.
func askLLVM(t testing.TB, llvm, path string, addrs []uint64) []string {
	t.Helper()
	var in bytes.Buffer
	for _, a := range addrs {
		fmt.Fprintf(&in, "%#x\n", a)
	}
	cmd := exec.Command(llvm, "--obj="+path, "--functions=linkage", "--no-demangle", "--inlines", "--output-style=LLVM")
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var answers []string
	var frames strings.Builder
	r := bufio.NewReader(out)
	for {
		name, err := r.ReadString('\n')
		if err == io.EOF {
			break
		}
		if name = strings.TrimSuffix(name, "\n"); name == "" {
			answers = append(answers, frames.String())
			frames.Reset()
			continue
		}
		pos, _ := r.ReadString('\n')
		pos = strings.TrimSuffix(pos, "\n")
		fmt.Fprintf(&frames, "%s %s\n", name, pos[:strings.LastIndexByte(pos, ':')]) // without the column
	}
	if err := cmd.Wait(); err != nil || len(answers) != len(addrs) {
		t.Fatalf("%s: %v, %d answers of %d\n%s", llvm, err, len(answers), len(addrs), stderr.Bytes())
	}
	return answers
}

// compareLLVM compares the answers at every edge of a file's records, or at every byte of its code. What the
// file needs is in folders.
func compareLLVM(t testing.TB, llvm, path string, every bool, folders ...string) *file {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f := open(t, data, folders...)
	if f.report.Lost > 0 {
		t.Errorf("%d lost: %+v", f.report.Lost, f.report.Problems)
	}
	base := f.ImageBase()
	var addrs []uint64
	if every {
		for _, e := range f.Executable() {
			for a := e.Addr; a < e.Addr+e.Size; a++ {
				addrs = append(addrs, a)
			}
		}
	} else {
		for _, a := range f.edges {
			if symbols.InCode(f.Executable(), a+base) { // LLVM also names data
				addrs = append(addrs, a+base)
			}
		}
	}
	differ := 0
	explained := map[string]int{}
	for i, theirs := range askLLVM(t, llvm, path, addrs) {
		ours := answer(f.Cache, addrs[i]-base)
		if ours == theirs {
			continue
		}
		if why := f.explain(addrs[i]-base, ours, theirs); why != "" {
			explained[why]++
			continue
		}
		if differ++; differ <= 5 {
			t.Errorf("%#x:\n%swant\n%s", addrs[i], ours, theirs)
		}
	}
	if differ > 0 {
		t.Errorf("%s: %d of %d answers differ", filepath.Base(path), differ, len(addrs))
	}
	t.Logf("%s: %d addresses, explained differences: %v", filepath.Base(path), len(addrs), explained)
	return f
}

// explain says why an answer that differs from LLVM's is as good, or "".
func (f *file) explain(addr uint64, ours, theirs string) string {
	// Line tables run through the padding between functions; that is no code of the line before it.
	if ours == "?? ??:0\n" && strings.HasPrefix(theirs, "?? ") && strings.Count(theirs, "\n") == 1 {
		return "line of padding"
	}
	a, b := strings.Split(ours, "\n"), strings.Split(theirs, "\n")
	if len(a) != len(b) {
		return ""
	}
	why := ""
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		name, place, _ := strings.Cut(a[i], " ")
		theirName, theirPlace, _ := strings.Cut(b[i], " ")
		dir, rest, _ := strings.Cut(place, "/")
		sub, _, _ := strings.Cut(rest, "/")
		theirName, version, _ := strings.Cut(theirName, "@")
		switch {
		case strings.HasPrefix(theirName, ".L") && place == theirPlace:
			why = "label" // inside a function, left by assemblers for RISC-V; LLVM takes any symbol for a name
		case name != theirName:
			return ""
		case version != "" && place == theirPlace:
			why = "symbol version" // we cut it: it is not part of the function's name
		case place == "??:0" && strings.HasSuffix(theirPlace, ":0") && !strings.Contains(theirPlace, "/"):
			why = "file symbol" // LLVM takes it for a function of the debug information without lines, too
		case theirPlace == dir+"/"+sub+"/"+place, theirPlace == dir+"/"+place && dir == ".":
			// Directory 0 of DWARF 5 is the compilation directory; LLVM 14 joins it with itself where it
			// is relative.
			why = "compilation directory twice"
		case len(a) == 2 && f.folded(addr):
			// The line table has rows of each of the functions that were folded into one piece of code.
			// All are right; LLVM's choice depends on the order of a sort.
			why = "folded"
		default:
			return ""
		}
	}
	return why
}

// folded reports whether several function symbols cover an address.
func (f *file) folded(addr uint64) bool {
	n := 0
	for _, fn := range f.functions {
		if addr-fn.Addr < fn.Size {
			n++
		}
	}
	return n > 1
}

// Every byte of the code of examples/crashapp, as compilers and linkers of different kinds make it.
func TestCrashappAgainstLLVM(t *testing.T) {
	llvm := debugtest.Program(t, "llvm", "llvm-symbolizer")
	n := 0
	for _, compiler := range []string{"g++", "clang++"} {
		for _, opt := range []string{"-O0", "-O2"} {
			for _, version := range []string{"-gdwarf-4", "-gdwarf-5"} {
				for _, link := range [][]string{{"-pie", "-fPIE"}, {"-no-pie", "-fuse-ld=lld", "-ffunction-sections", "-Wl,--gc-sections", "-Wl,--icf=all"}, {"-no-pie", "-ffunction-sections", "-Wl,--gc-sections"}} {
					n++
					if testing.Short() && n%7 != 1 {
						continue
					}
					flags := append([]string{opt, version}, link...)
					t.Run(compiler+" "+strings.Join(flags, " "), func(t *testing.T) {
						t.Parallel()
						compareLLVM(t, llvm, debugtest.Crashapp(t, compiler, flags...), true)
					})
				}
			}
		}
	}
}

// SALVAGE_LLVM_FILES names more files to compare at every edge: the long differential run.
func TestFilesAgainstLLVM(t *testing.T) {
	files := filepath.SplitList(os.Getenv("SALVAGE_LLVM_FILES"))
	if len(files) == 0 {
		t.Skip("SALVAGE_LLVM_FILES is not set")
	}
	llvm := debugtest.Program(t, "llvm", "llvm-symbolizer")
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) { compareLLVM(t, llvm, path, false) })
	}
}

// Facts about the fixtures of symbolic. Its paths are as the line table has them, ours are joined with
// the compilation directory.
func TestFacts(t *testing.T) {
	for _, name := range []string{"symbolic/linux/crash.debug", "symbolic/linux/dynsyms_only", "symbolic/linux/crash"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			f := open(t, debugtest.File(t, name))
			c := f.Cache
			// symbolic names code after the first symbol at its address, we, as LLVM, after the last of
			// the largest: of constructors and weak aliases, which are the same code, another.
			aliases := map[uint64][]string{}
			for _, fn := range f.File.Functions() {
				aliases[fn.Addr] = append(aliases[fn.Addr], string(fn.Name))
			}
			named := func(fr symcache.Frame, want string) bool {
				return string(c.Name(fr)) == want || !fr.Inlined && slices.Contains(aliases[c.Function(fr).Addr], want)
			}
			checked := 0
			for _, fact := range debugtest.Facts(t, name) {
				addr, err := strconv.ParseUint(strings.TrimPrefix(fact.Query, "0x"), 16, 64)
				got := c.Lookup(addr, nil)
				var last symcache.Frame
				if len(got) > 0 {
					last = got[len(got)-1]
				}
				ok := true
				switch fact.Kind {
				case "function":
					ok = len(got) > 0 && fmt.Sprintf("%s size=%#x", c.Name(last), c.Function(last).Size) == fact.Expected
				case "symbol", "symcache_function_entry":
					ok = len(got) > 0 && named(last, fact.Expected)
				case "lookup":
					want := strings.Split(fact.Expected, " <= ")
					ok = len(got) == len(want)
					for i := range min(len(got), len(want)) {
						name, place, _ := strings.Cut(want[i], " @ ")
						have := fmt.Sprintf("%s:%d", c.File(got[i]), got[i].Line)
						ok = ok && named(got[i], name) && (have == place || strings.HasSuffix(have, "/"+place))
					}
				case "object", "fixture":
					m := c.Module()
					for _, want := range strings.Fields(fact.Expected) {
						if id, found := strings.CutPrefix(want, "code_id="); found {
							ok = ok && string(m.CodeID) == id
						}
					}
					ok = ok && m.ID.String() == fact.DebugID && m.Arch == fact.Arch
				default:
					continue
				}
				checked++
				if !ok || err != nil && fact.Kind == "lookup" {
					t.Errorf("%s %s:\n%swant %s", fact.Kind, fact.Query, answer(c, addr), fact.Expected)
				}
			}
			t.Logf("%d facts", checked)
		})
	}
}
