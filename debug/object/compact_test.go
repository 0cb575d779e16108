package object_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/object"
	"salvage/debug/object/macho"
	"salvage/debug/symbols"
	"salvage/internal/debugtest"
)

// frameSource is C with a function for each of many sets of registers to save, with small frames, large ones and
// none.
func frameSource(arch string) string {
	sets := map[string][]string{
		"x86_64": {"rbx", "r12", "r13", "r14", "r15", "rbp"}, "i386": {"ebx", "esi", "edi", "ebp"},
		"arm64": {"x19", "x21", "x23", "x25", "x27", "d8", "d10", "d12", "d14"},
	}
	registers := sets[arch]
	var b strings.Builder
	b.WriteString("int ext(char*);\n")
	for set := range 1 << len(registers) {
		if arch == "arm64" && set%7 != 0 {
			continue
		}
		var clobbers []string
		for i, r := range registers {
			if set>>i&1 != 0 {
				clobbers = append(clobbers, strconv.Quote(r))
			}
		}
		list := strings.Join(clobbers, ",")
		fmt.Fprintf(&b, "int leaf%d(int a) { asm volatile(\"nop\":::%s); return a; }\n", set, list)
		fmt.Fprintf(&b, "int small%d(int a) { asm volatile(\"nop\":::%s); return ext((char*)&a) + 1; }\n", set, list)
		fmt.Fprintf(&b, "int large%d(void) { char c[%d]; asm volatile(\"nop\":::%s); return ext(c) + 1; }\n", set, 1000+set*100, list)
	}
	if arch == "arm64" { // with one that has no compact form, an object file has DWARF's rules of all
		b.WriteString("asm(\".globl _odd\\n_odd:\\n.cfi_startproc\\n.cfi_escape 0x2e, 0x10\\nret\\n.cfi_endproc\");\n")
	}
	b.WriteString("int dynamic(int n) { char c[n]; return ext(c) + ext(c); }\nint main(void) { return 0; }\n")
	return b.String()
}

// rulesOf makes a cache of the rules that add adds.
func rulesOf(t testing.TB, cpu *cfi.CPU, add func(*cfi.Builder)) *cfi.Cache {
	t.Helper()
	b := cfi.NewBuilder(cpu, false)
	add(b)
	if n, problems := b.Bad(); n > 0 {
		t.Errorf("%d bad entries: %+v", n, problems)
	}
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sameUnwind compares what rules of two caches make of the same registers and memory.
func sameUnwind(a, b cfi.Rules) (string, bool) {
	callee := cfi.Registers{Valid: 1<<cfi.NumRegisters - 1}
	for i := range callee.Values {
		callee.Values[i] = 0x1000000 * uint64(i+1)
	}
	mem := func(addr uint64, size uint8) (uint64, bool) { return addr * 0x9e3779b97f4a7c15 >> (64 - 8*size), true }
	x, err1 := a.Unwind(&callee, mem)
	y, err2 := b.Unwind(&callee, mem)
	for i := range x.Values { // of no meaning where not valid
		if x.Valid>>i&1 == 0 {
			x.Values[i] = 0
		}
		if y.Valid>>i&1 == 0 {
			y.Values[i] = 0
		}
	}
	if err1 != err2 || x != y {
		return fmt.Sprintf("%x %v, want %x %v", x, err1, y, err2), false
	}
	return "", true
}

// frameTruth returns DWARF's rules in an object file, whose addresses its relocations say.
func frameTruth(t testing.TB, cpu *cfi.CPU, f *macho.File) *cfi.Cache {
	size := cpu.PointerSize
	return rulesOf(t, cpu, func(b *cfi.Builder) {
		if s := f.Section(".debug_frame"); s != nil {
			data, err := f.Data(s, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			b.Frames(&cfi.FrameSection{Data: data, AddrSize: size, Executable: f.Executable()})
			return
		}
		s := f.Section(".eh_frame")
		raw, err := f.RawData(s)
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Clone(raw)
		addrs := map[string]uint64{}
		for s := range f.Symbols() {
			addrs[string(s.Name)] = s.Addr
		}
		listing := string(run(t, "llvm", "llvm-objdump", "-r", "-j", "__eh_frame", testPath(f)))
		from := map[uint64]uint64{}
		for _, m := range regexp.MustCompile(`(?m)^([0-9a-f]{16}) \S+_(SUBTRACTOR|UNSIGNED)\s+(\S+)`).FindAllStringSubmatch(listing, -1) {
			at, _ := strconv.ParseUint(m[1], 16, 64)
			if m[2] == "SUBTRACTOR" {
				from[at] = addrs[m[3]]
				continue
			}
			v := binary.LittleEndian.Uint64(data[at:])
			binary.LittleEndian.PutUint64(data[at:], v+addrs[m[3]]-from[at])
		}
		b.Frames(&cfi.FrameSection{Data: data, Addr: s.Addr, EH: true, AddrSize: size, Executable: f.Executable()})
	})
}

var paths = map[*macho.File]string{}

func testPath(f *macho.File) string { return paths[f] }

func parseMac(t testing.TB, path string) *macho.File {
	t.Helper()
	f, err := macho.Parse(read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	paths[f] = path
	return f
}

// compactTable is an __unwind_info with one page of the older kind for functions, ascending; the last is where
// they end.
func compactTable(functions [][2]uint32) []byte {
	u32 := func(b []byte, values ...uint32) []byte {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	const chunk = 5000
	n := len(functions) - 1
	pages := (n + chunk - 1) / chunk
	b := u32(nil, 1, 28, 0, 28, 0, 28, uint32(pages+1))
	at := uint32(28 + 12*(pages+1))
	for i := 0; i < n; i += chunk {
		b = u32(b, functions[i][0], at, 0)
		at += 8 + 8*uint32(min(chunk, n-i))
	}
	b = u32(b, functions[n][0], 0, 0)
	for i := 0; i < n; i += chunk {
		b = u32(b, 2, 8|uint32(min(chunk, n-i))<<16)
		for _, f := range functions[i:min(n, i+chunk)] {
			b = u32(b, f[0], f[1])
		}
	}
	return b
}

// Behind the prologue of every function compact rules say what DWARF's do.
func TestCompactAgainstDWARF(t *testing.T) {
	for _, arch := range []string{"x86_64", "arm64", "i386"} {
		for _, flags := range []string{"-O1 -fomit-frame-pointer", "-O1 -fno-omit-frame-pointer", "-O0"} {
			t.Run(arch+" "+flags, func(t *testing.T) { compactAgainstDWARF(t, arch, strings.Fields(flags)) })
		}
	}
}

func compactAgainstDWARF(t *testing.T, arch string, flags []string) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	source := frameSource(arch)
	if slices.Contains(flags, "-O0") || slices.Contains(flags, "-fno-omit-frame-pointer") {
		source = regexp.MustCompile(`,?"[er]bp"`).ReplaceAllString(source, "")
		source = strings.ReplaceAll(source, ":::,", ":::")
	}
	if err := os.WriteFile(path("a.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	target := "--target=" + arch + "-apple-macos11"
	run(t, "llvm", "clang", append([]string{target, "-funwind-tables", "-S", path("a.c"), "-o", path("a.s")}, flags...)...)
	text := append([]byte(".cfi_sections .eh_frame, .debug_frame\n"), read(t, path("a.s"))...)
	if err := os.WriteFile(path("a.s"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "llvm", "clang", target, "-c", path("a.s"), "-o", path("a.o"))
	cpu := cfi.CPUByName(arch)
	obj := parseMac(t, path("a.o"))
	truth := frameTruth(t, cpu, obj)
	image := obj
	var table []byte
	encodings := map[uint64]uint32{} // by function of the image
	listing := func(name string) string { return string(run(t, "llvm", "llvm-objdump", "--unwind-info", path(name))) }
	if arch == "i386" { // which lld does not link: a table of what the object file has for the linker
		var functions [][2]uint32
		last := uint64(0)
		for _, m := range regexp.MustCompile(`start: +0x([0-9a-f]+).*\n.*length: +0x([0-9a-f]+)\n.*encoding: +0x([0-9a-f]+)`).FindAllStringSubmatch(listing("a.o"), -1) {
			start, _ := strconv.ParseUint(m[1], 16, 32)
			size, _ := strconv.ParseUint(m[2], 16, 32)
			encoding, _ := strconv.ParseUint(m[3], 16, 32)
			functions = append(functions, [2]uint32{uint32(start), uint32(encoding)})
			encodings[start], last = uint32(encoding), start+size
		}
		slices.SortFunc(functions, func(a, b [2]uint32) int { return int(a[0]) - int(b[0]) })
		table = compactTable(append(functions, [2]uint32{uint32(last), 0}))
	} else {
		linkMacObjects(t, arch, path("a"), "-e", "_main", path("a.o"))
		image = parseMac(t, path("a"))
		table = unwindInfo(t, image)
		for start, encoding := range listedEncodings(listing("a")) {
			encodings[start] = encoding
		}
	}
	if arch == "i386" { // the two kinds of section number registers differently there
		eh := rulesOf(t, cpu, func(b *cfi.Builder) {
			var rep object.Report
			o, err := object.Open(bytes.ReplaceAll(read(t, path("a.o")), []byte("__debug_frame"), []byte("__other_frames")[:13]))
			if err == nil {
				err = o.Rules(b, &rep)
			}
			if err != nil || rep.Lost > 0 {
				t.Errorf("%v %+v", err, rep)
			}
		})
		for a := range obj.At(0) {
			x, ok1 := eh.Lookup(uint64(a))
			y, ok2 := truth.Lookup(uint64(a))
			if ok1 != ok2 {
				t.Fatalf("%#x: rules in .eh_frame %v", a, ok1)
			}
			if ok1 {
				if text, same := sameUnwind(x, y); !same {
					t.Fatalf("%#x in .eh_frame: %s", a, text)
				}
			}
		}
	}
	compact := rulesOf(t, cpu, func(b *cfi.Builder) { b.CompactUnwind(&cfi.CompactUnwind{Data: table, At: image.At}) })
	in := map[string]uint64{}
	for _, fn := range obj.Functions() {
		in[string(fn.Name)] = fn.Addr
	}
	var starts []uint64
	for a := range truth.Ranges() {
		starts = append(starts, a)
	}
	index := table[binary.LittleEndian.Uint32(table[20:]):]
	tableEnd := uint64(binary.LittleEndian.Uint32(index[12*(binary.LittleEndian.Uint32(table[24:])-1):]))
	modes := map[uint32]int{}
	bytesOf, differ := 0, 0
	for _, fn := range image.Functions() {
		from, ok := in[string(fn.Name)]
		encoding, listed := encodings[fn.Addr]
		if !ok || !listed || fn.Addr == tableEnd { // where lld 14 has its last function without a frame
			continue
		}
		mode := encoding >> 24 & 0xf
		modes[mode]++
		dwarf := mode == 4 && arch != "arm64" || mode == 3 && arch == "arm64"
		body := from // where the last row starts; starts also has the ends of the last
		for _, a := range starts {
			if _, ok := truth.Lookup(a); ok && a >= from && a < from+fn.Size {
				body = a
			}
		}
		for a := from; a < from+fn.Size; a++ {
			if a == from+1 && body > from {
				a = body
			}
			want, ok := truth.Lookup(a)
			if !ok {
				break // padding
			}
			got, ok := compact.Lookup(fn.Addr + a - from)
			if ok == dwarf {
				t.Errorf("%s: rules %v, encoding %#x", fn.Name, ok, encoding)
			}
			if !ok {
				break
			}
			if text, same := sameUnwind(got, want); !same {
				if differ++; differ < 5 {
					t.Errorf("%s+%#x, encoding %#x: %s", fn.Name, a-from, encoding, text)
				}
				break
			}
			bytesOf++
		}
	}
	if differ > 0 || bytesOf < 100 {
		t.Errorf("%d functions differ", differ)
	}
	t.Logf("functions by mode %v, %d bytes of code compared", modes, bytesOf)
}

func unwindInfo(t testing.TB, f *macho.File) []byte {
	t.Helper()
	data, err := f.Data(f.Section("__unwind_info"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// listedEncodings reads llvm-objdump's listing of a table.
func listedEncodings(listing string) map[uint64]uint32 {
	all := map[uint64]uint32{}
	_, pages, _ := strings.Cut(listing, "Second level indices:")
	for _, m := range regexp.MustCompile(`function offset=0x([0-9a-f]+), encoding(?:\[\d+\])?=0x([0-9a-f]+)`).FindAllStringSubmatch(pages, -1) {
		start, _ := strconv.ParseUint(m[1], 16, 64)
		encoding, _ := strconv.ParseUint(m[2], 16, 32)
		all[start] = uint32(encoding)
	}
	return all
}

// A table gives the rules of the functions and encodings that llvm-objdump lists.
func TestCompactTable(t *testing.T) {
	paths := []string{debugtest.Path(t, "symbolic/macos/crash")}
	for _, arch := range []string{"x86_64", "arm64"} {
		paths = append(paths, linkMac(t, arch, "-O1"))
	}
	for _, path := range paths {
		f := parseMac(t, path)
		var functions [][2]uint32
		for start, encoding := range listedEncodings(string(run(t, "llvm", "llvm-objdump", "--unwind-info", path))) {
			functions = append(functions, [2]uint32{uint32(start), encoding})
		}
		slices.SortFunc(functions, func(a, b [2]uint32) int { return int(a[0]) - int(b[0]) })
		data := unwindInfo(t, f)
		index := data[binary.LittleEndian.Uint32(data[20:]):]
		end := binary.LittleEndian.Uint32(index[12*(binary.LittleEndian.Uint32(data[24:])-1):])
		cache := func(table []byte) []byte {
			b := cfi.NewBuilder(cfi.CPUByName(f.Arch()), false)
			b.CompactUnwind(&cfi.CompactUnwind{Data: table, At: f.At})
			var out bytes.Buffer
			st, err := b.Write(&out, debugid.ID{})
			if err != nil || st.Bad > 0 || st.Ranges < 9 {
				t.Errorf("%+v, %v", st, err)
			}
			return out.Bytes()
		}
		if !bytes.Equal(cache(data), cache(compactTable(append(functions, [2]uint32{end, 0})))) {
			t.Errorf("%s: other rules than those of the %d functions listed", path, len(functions))
		}
	}
}

// What symbolic says of the fixture, and the records that dump_syms wrote for it.
func TestMacRulesFacts(t *testing.T) {
	const name = "symbolic/macos/crash"
	o, err := object.Open(debugtest.File(t, name))
	if err != nil {
		t.Fatal(err)
	}
	ours := rulesOf(t, cfi.AMD64, func(b *cfi.Builder) {
		var rep object.Report
		if err := o.Rules(b, &rep); err != nil || rep.Lost > 0 || !o.HasRules {
			t.Errorf("%v %+v", err, rep)
		}
	})
	f := parseMac(t, debugtest.Path(t, name))
	encodings := listedEncodings(string(run(t, "llvm", "llvm-objdump", "--unwind-info", testPath(f))))
	n := 0
	for _, fact := range debugtest.Facts(t, name) {
		if fact.Kind != "cfi_record" {
			continue
		}
		n++
		var start, size uint64
		if _, err := fmt.Sscanf(fact.Expected, "STACK CFI INIT %x %x", &start, &size); err != nil {
			t.Fatal(err)
		}
		sym, err := object.Open([]byte("MODULE mac x86_64 000000000000000000000000000000000 x\n" + fact.Expected + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		theirs := rulesOf(t, cfi.AMD64, func(b *cfi.Builder) {
			if err := sym.Rules(b, new(object.Report)); err != nil {
				t.Error(err)
			}
		})
		at := start + size - 1
		if mode := encodings[start] >> 24 & 0xf; mode == 3 || mode == 4 { // of these it says how they start
			at = start
		}
		a, _ := ours.Lookup(at)
		b, _ := theirs.Lookup(at)
		if text, same := sameUnwind(a, b); !same {
			t.Errorf("%s (encoding %#x): %s", fact.Expected, encodings[start], text)
		}
	}
	sym, err := object.Open(debugtest.File(t, name+".sym"))
	if err != nil {
		t.Fatal(err)
	}
	var edges []uint64
	theirs := rulesOf(t, cfi.AMD64, func(b *cfi.Builder) {
		if err := sym.Rules(b, new(object.Report)); err != nil {
			t.Error(err)
		}
	})
	for a := range theirs.Ranges() {
		edges = append(edges, a, max(a, 1)-1)
	}
	for a := range ours.Ranges() {
		edges = append(edges, a, max(a, 1)-1)
	}
	compared := 0
	for _, addr := range edges {
		b, ok := theirs.Lookup(addr)
		if !ok || !symbols.InCode(o2executable(f), addr) {
			continue
		}
		compared++
		a, _ := ours.Lookup(addr)
		if text, same := sameUnwind(a, b); !same {
			t.Errorf("%#x: %s", addr, text)
		}
	}
	t.Logf("%d facts; %d edges of the rules in the .sym", n, compared)
}

// o2executable are the ranges with code relative to the base.
func o2executable(f *macho.File) []symbols.Extent {
	var all []symbols.Extent
	for _, e := range f.Executable() {
		all = append(all, symbols.Extent{Addr: e.Addr - f.ImageBase(), Size: e.Size})
	}
	return all
}
