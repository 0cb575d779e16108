package stackwalk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
	"salvage/debug/unwind"
	"salvage/internal/debugtest"
)

// made is a kind of process that dumps are made up of.
type made struct {
	name         string
	arch         uint16
	os           uint32
	size         uint64 // of a word
	sp, fp, link string // names in rules; link is empty where calls push the return address
	saved        []string
}

var kinds = []made{
	{"arm64 Linux", minidumptest.ARM64, minidumptest.Linux, 8, "sp", "x29", "x30", []string{"x19", "x20"}},
	{"arm64 macOS", minidumptest.ARM64, minidumptest.MacOS, 8, "sp", "x29", "x30", []string{"x19", "x20"}},
	{"arm64 iOS, older contexts", minidumptest.OldARM64, minidumptest.IOS, 8, "sp", "x29", "x30", []string{"x19", "x20"}},
	{"arm Linux", minidumptest.ARM, minidumptest.Linux, 4, "sp", "r11", "lr", []string{"r4", "r5"}},
	{"arm iOS", minidumptest.ARM, minidumptest.IOS, 4, "sp", "r7", "lr", []string{"r4", "r5"}},
	{"x86 Windows", minidumptest.X86, minidumptest.Windows, 4, "$esp", "$ebp", "", []string{"$ebx", "$esi"}},
	{"x86 Linux", minidumptest.X86, minidumptest.Linux, 4, "$esp", "$ebp", "", []string{"$ebx", "$esi"}},
}

const (
	madeStack = 0x7fff0000
	madeProg  = 0x400000 // with symbols: functions of 0x100 bytes at 0x1000, 0x2000, …
	madeLib   = 0x600000 // without
	madeWords = 200
	signature = 0x1f2a_8000_0000_0000
)

// rules returns unwind rules for the function at addr, of some kind or none.
func (k *made) rules(r *rand.Rand, addr uint64) string {
	frame := k.size * uint64(2+r.IntN(6)) // from the stack pointer to the CFA
	ra := fmt.Sprintf(" .ra: .cfa %d - ^", k.size)
	saved := func() string {
		return fmt.Sprintf(" %s: .cfa %d - ^ %s: .cfa %d - ^", k.fp, 2*k.size, k.saved[r.IntN(2)], 3*k.size)
	}
	init := fmt.Sprintf("STACK CFI INIT %x 100 ", addr)
	switch r.IntN(7) {
	case 0, 1:
		return ""
	case 2:
		if k.link != "" {
			return fmt.Sprintf("%s.cfa: %s 0 + .ra: %s\n", init, k.sp, k.link)
		}
		return fmt.Sprintf("%s.cfa: %s %d +%s\n", init, k.sp, k.size, ra)
	case 3:
		return fmt.Sprintf("%s.cfa: %s %d +%s%s\n", init, k.fp, 2*k.size, ra, saved())
	case 4:
		return fmt.Sprintf("%s.cfa: %s %d +%s\nSTACK CFI %x %s: .cfa %d - ^\n", init, k.sp, frame, ra, addr+0x40, k.saved[0], 2*k.size)
	}
	if k.os != minidumptest.Windows {
		return fmt.Sprintf("%s.cfa: %s %d +%s%s\n", init, k.sp, frame, ra, saved())
	}
	sizes := fmt.Sprintf("0 0 %x %x %x 0", 4*r.IntN(4), 8+4*r.IntN(3), 4*r.IntN(6))
	programs := []string{
		"$T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + = $L $T0 .cbSavedRegs - = $P $T0 4 + .cbParams + =",
		"$T2 $esp .cbLocals + .cbSavedRegs + = $T0 .raSearchStart = $eip $T0 ^ = $esp $T0 4 + = $ebx $T0 4 - ^ =",
		"$T0 $ebp = $T2 $esp = $T1 .raSearchStart = $eip $T1 ^ = $ebp $ebp = $esp $T1 4 + = $L $T0 .cbSavedRegs - =",
		"$T0 $ebp 8 @ = $eip .raSearch ^ =$esp .raSearch 4 + = $ebp $ebp ^ =",
		"$eip .raSearch ^ = $esp .raSearch 4 + .cbCalleeParams 4 % + = $ebp .undef =",
	}
	if r.IntN(2) == 0 {
		return fmt.Sprintf("STACK WIN 4 %x 100 %s 1 %s\n", addr, sizes, programs[r.IntN(len(programs))])
	}
	return fmt.Sprintf("STACK WIN 0 %x 100 %s 0 %d\n", addr, sizes, r.IntN(2))
}

// dump makes up a dump and the symbol file of its first module. All of it follows from r.
func (k *made) dump(r *rand.Rand) (dump []byte, symbols string, lr uint64) {
	var text strings.Builder
	arch, _, _ := strings.Cut(k.name, " ")
	fmt.Fprintf(&text, "MODULE Linux %s 0102030405060708090A0B0C0D0E0F101 prog\n", arch)
	for addr := uint64(0x1000); addr < 0x9000; addr += 0x1000 {
		fmt.Fprintf(&text, "FUNC %x 100 %x f%x\n", addr, addr>>10&12, addr)
	}
	for addr := uint64(0x1000); addr < 0x9000; addr += 0x1000 {
		text.WriteString(k.rules(r, addr))
	}
	// Away from the ends of functions: they look one before a word, whatever the size of calls.
	code := func() uint64 {
		if r.IntN(4) == 0 {
			return madeLib + 16*uint64(r.IntN(0x800)+1)
		}
		return madeProg + 0x1000*uint64(1+r.IntN(8)) + 8 + 4*uint64(r.IntN(60))
	}
	word := func(near uint64) uint64 {
		v := uint64(r.IntN(0x2000))
		switch r.IntN(10) {
		case 0, 1, 2:
			v = code()
		case 3, 4, 5, 6:
			v = near + k.size*uint64(r.IntN(12))
		case 7:
			v = 0
		case 8:
			v = uint64(r.Uint32())
		}
		if k.size == 8 && k.os != minidumptest.Linux && r.IntN(8) == 0 {
			v |= signature
		}
		return v
	}
	var stack []byte
	for i := range uint64(madeWords) {
		if v := word(madeStack + k.size*i); k.size == 8 {
			stack = binary.LittleEndian.AppendUint64(stack, v)
		} else {
			stack = binary.LittleEndian.AppendUint32(stack, uint32(v))
		}
	}
	sp := madeStack + k.size*uint64(r.IntN(20))
	pc := code()
	switch r.IntN(12) {
	case 0:
		pc = 0
	case 1:
		pc = uint64(r.Uint32())
	}
	fp := sp + k.size*uint64(r.IntN(12))
	if r.IntN(6) == 0 {
		fp = word(sp)
	}
	lr = word(sp)
	var ctx minidumptest.Context
	switch k.arch {
	case minidumptest.X86:
		ctx = minidumptest.ContextX86{EIP: uint32(pc), ESP: uint32(sp), EBP: uint32(fp), EBX: uint32(word(sp)), ESI: 0x51, EDI: 0xd1}
	case minidumptest.ARM:
		c := minidumptest.ContextARM{}
		c.R[4], c.R[5], c.R[7], c.R[11], c.R[13], c.R[14], c.R[15] = 4, 5, uint32(fp), uint32(fp), uint32(sp), uint32(lr), uint32(pc)
		ctx = c
	default:
		c := minidumptest.ContextARM64{Old: k.arch == minidumptest.OldARM64, SP: sp, PC: pc}
		c.X[19], c.X[20], c.X[29], c.X[30] = 19, 20, fp, lr
		ctx = c
	}
	b := minidumptest.New(false).System(minidumptest.System{Architecture: k.arch, Platform: k.os, CPU: [6]uint32{0x756e6547, 0x49656e69, 0x6c65746e}}).
		Module(minidumptest.Module{Addr: madeProg, Size: 0xa000, Name: "/bin/prog", CodeView: minidumptest.PDB70{
			UUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Age: 1, File: "prog"}}).
		Module(minidumptest.Module{Addr: madeLib, Size: 0xa000, Name: "/lib/other"}).
		Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: madeStack, Data: stack}, Context: ctx}).
		Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Context: ctx})
	return b.Bytes(), text.String(), lr
}

// TestTool compares walks of made-up dumps with those of minidump-stackwalk 0.27. They must be the same up to where
// a rule of ours says other.
func TestTool(t *testing.T) {
	tool := debugtest.Program(t, "stackwalk", "minidump-stackwalk")
	runs := 100
	if testing.Short() {
		runs = 20
	}
	folder := t.TempDir()
	sym := filepath.Join(folder, "prog", "0102030405060708090A0B0C0D0E0F101", "prog.sym")
	if err := os.MkdirAll(filepath.Dir(sym), 0o777); err != nil {
		t.Fatal(err)
	}
	trusts, why := map[string]int{}, map[string]int{}
	for _, k := range kinds {
		for seed := range uint64(runs) {
			data, symbols, lr := k.dump(rand.New(rand.NewPCG(seed, uint64(k.arch)<<32|uint64(k.os))))
			file := filepath.Join(folder, "dump")
			if err := os.WriteFile(file, data, 0o666); err != nil {
				t.Fatal(err)
			}
			// Apple's frame pointer is r7; they take r11 for it. The dump has both, the rules of each side its own.
			if err := os.WriteFile(sym, []byte(strings.ReplaceAll(symbols, "r7", "r11")), 0o666); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(tool, "--json", file, folder).Output()
			if err != nil {
				t.Fatalf("%s %d: %v", k.name, seed, err)
			}
			if err := os.WriteFile(sym, []byte(symbols), 0o666); err != nil {
				t.Fatal(err)
			}
			theirs := framesOf(t, out)
			d, err := minidump.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			r := stackwalk.Walk(t.Context(), d, newSymFolders(t, folder), stackwalk.Options{})
			var ours []string
			for _, f := range r.Threads[0].Frames {
				ours = append(ours, fmt.Sprintf("%#x %v", f.Lookup, f.Trust))
			}
			i := 0
			for i < len(ours) && i < len(theirs) && ours[i] == theirs[i] {
				_, trust, _ := strings.Cut(ours[i], " ")
				trusts[k.name+" "+trust]++
				i++
			}
			if i == len(ours) && i == len(theirs) {
				why["equal"]++
				k.sameJSON(t, out, r)
				continue
			}
			if reason := k.explain(r.Threads[0].Frames, d.Threads[0].Stack, ours, theirs, i, lr); reason != "" {
				why[reason]++
				continue
			}
			t.Errorf("%s %d: frame %d: ours %q\ntheirs %q", k.name, seed, i, ours, theirs)
		}
	}
	t.Log(why)
	t.Log(trusts)
}

// sameJSON compares all values of two reports with the same frames.
func (k *made) sameJSON(t *testing.T, out []byte, r *stackwalk.Report) {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	if c, ok := v["crashing_thread"].(map[string]any); ok {
		c["frames"] = c["frames"].([]any)[:1]
	}
	theirs, ours := map[string]any{}, leavesOf(t, r)
	leaves(theirs, "", v, longest)
	for path, b := range ours {
		if a := lookup(theirs, path); k.size == 8 && a == false && b == true && strings.HasSuffix(path, "_symbols") {
			// Asked whether the link register or a signed word leads into a function of it.
		} else if a != b && explain(k.name, path, a, b) == "" && (a != none || !additions.MatchString(path)) {
			t.Errorf("%s: %s: %v, theirs %v", k.name, path, b, a)
		}
		delete(theirs, path)
	}
	for path, a := range theirs {
		if explain(k.name, path, a, none) == "" {
			t.Errorf("%s: %s: theirs %v", k.name, path, a)
		}
	}
}

func framesOf(t *testing.T, out []byte) (frames []string) {
	var report struct {
		Threads []struct {
			Frames []struct{ Offset, Trust string }
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Threads[0].Frames {
		var offset uint64
		fmt.Sscanf(f.Offset, "0x%x", &offset)
		frames = append(frames, fmt.Sprintf("%#x %s", offset, f.Trust))
	}
	return frames
}

// explain says why frame i is the first to differ: what we do that minidump-stackwalk does not.
func (k *made) explain(frames []stackwalk.Frame, stack minidump.Region, ours, theirs []string, i int, lr uint64) string {
	callee := frames[i-1].Frame
	fp := map[uint16]uint8{minidumptest.X86: 5, minidumptest.ARM: 7, minidumptest.ARM64: 29, minidumptest.OldARM64: 29}[k.arch]
	at, known := callee.Registers.Get(fp)
	chained := i - 1 // the frame that the frame pointer is from
	for chained > 0 && frames[chained].Trust == unwind.TrustCFI {
		chained--
	}
	switch {
	case k.os == minidumptest.Windows && !known:
		return "STACK WIN rules that need no ebp work without one, and those that undefine it do"
	case k.link == "":
	case i == 1 && i < len(ours) && frames[i].Trust == unwind.TrustScan && frames[i].PC == lr&^signature:
		return "the link register has the caller of a leaf, or of a bad pointer"
	case i == len(ours) && i < len(theirs) && strings.HasSuffix(theirs[i], " scan") &&
		(at == 0 && callee.Trust == unwind.TrustFramePointer || bytes.Equal(stack.Read(at, 2*k.size), make([]byte, 2*k.size))):
		return "a chain of frame pointers that ends is the end"
	case i < len(ours) && k.scannedSigned(&frames[i], stack) || k.scannedSigned(&frames[i-1], stack): // or found the same address further up
		return "scans see signed return addresses"
	case frames[chained].Trust == unwind.TrustFramePointer && chained < i-1:
		return "a frame pointer is kept through frames with rules: they look for it under another name"
	}
	return ""
}

func (k *made) scannedSigned(f *stackwalk.Frame, stack minidump.Region) bool {
	sp, _ := f.Registers.Get(31)
	b := stack.Read(sp-8, 8)
	return k.size == 8 && f.Trust == unwind.TrustScan && b != nil && binary.LittleEndian.Uint64(b) != f.PC
}
