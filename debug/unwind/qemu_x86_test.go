package unwind_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/unwind"
	"salvage/internal/debugtest"
)

// TestEveryPCX86 steps through examples/crashapp on x86 as TestEveryPC does on arm64.
func TestEveryPCX86(t *testing.T) {
	qemu := debugtest.Program(t, "qemu", "qemu-i386")
	compiler := debugtest.Program(t, "qemu", "g++-12")
	if testing.Short() {
		t.Skip("-short: it takes ten seconds; the full run has it")
	}
	// Without frame pointers, as gcc does at -O2. The kernel's headers: gcc-multilib, which has a link to them,
	// excludes the compiler for arm64.
	app := debugtest.Crashapp(t, compiler, "-O2", "-m32", "-static-pie", "-idirafter", "/usr/include/x86_64-linux-gnu")
	stepThroughX86(t, startStub(t, qemu, app, "work"), app)
}

// registers32 returns eax to edi, eip; in gdb's order as in DWARF's.
func (s *stub) registers32() (r [33]uint64) {
	b, err := hex.DecodeString(s.ask("g")[:9*8])
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range 9 {
		r[i] = uint64(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return r
}

func stepThroughX86(t *testing.T, s *stub, app string) {
	const esp, eip = 4, 8
	p, f := image(t, app)
	base := f.ImageBase()
	fmt.Sscanf(s.ask("qOffsets"), "Text=%x", &base)
	var main uint64
	for _, fn := range p.functions {
		if string(fn.Name) == "main" {
			main = base + fn.Addr
		}
	}
	s.ask(fmt.Sprintf("Z0,%x,1", main))
	if stop := s.ask("c"); main == 0 || !strings.HasPrefix(stop, "T05") {
		t.Fatalf("at main %#x: %s", main, stop)
	}
	s.ask(fmt.Sprintf("z0,%x,1", main))
	d, err := minidump.Parse(minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.X86, Platform: minidumptest.Linux}).
		Module(minidumptest.Module{Addr: base, Size: 0x400000, Name: app}).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	word := func(addr uint64) uint64 {
		b := s.memory(addr, 4)
		if len(b) < 4 {
			t.Fatalf("no memory at %#x", addr)
		}
		return uint64(binary.LittleEndian.Uint32(b))
	}
	r := s.registers32()
	shadow := []shadowFrame{{ret: word(r[esp]), sp: r[esp] + 4}} // of main
	top := r[esp] + 512
	stats := map[string]int{}
	seen := map[[2]uint64]int{} // program counters with their callers; loops need not be checked in each round
	wrong := 0
	at := func(pc uint64) string {
		if fn := p.function(pc - base); fn != nil {
			return fmt.Sprintf("%s+%#x", fn.Name, pc-base-fn.Addr)
		}
		return fmt.Sprintf("%#x", pc)
	}
	stop := ""
	for steps := 0; len(shadow) > 0 && steps < 100_000 && wrong < 20; steps++ {
		where := at(r[eip])
		if strings.Contains(where, "pthread_cond_broadcast") {
			break
		}
		key := [2]uint64{r[eip], shadow[len(shadow)-1].ret}
		var stack []byte
		if seen[key]++; seen[key] <= 3 {
			stack = s.memory(r[esp], int(min(top-r[esp], 1024))) // one packet
		}
		state := minidump.Context{CPU: minidump.CPUX86}
		copy(state.Regs[:], r[:])
		var walk unwind.Stack
		if stack != nil {
			walk = unwind.Walk(t.Context(), d, &state, minidump.Region{Addr: r[esp], Data: stack}, p, unwind.Limits{})
		}
		// The unwinder of libgcc moves to a landing pad at the end of these.
		moving := strings.Contains(where, "_Unwind_R") || strings.Contains(where, "_Unwind_ForcedUnwind")
		_, hasRules := p.rules.Lookup(r[eip] - base)
		for i := range shadow[:min(len(shadow), len(stack))] {
			want := shadow[len(shadow)-1-i]
			if !hasRules && i == 0 {
				stats["no rules at "+where]++
				break
			}
			if want.signal { // glibc's trampoline for programs without a vDSO has no rules
				stats["trampoline"]++
				break
			}
			if want.sp >= r[esp]+uint64(len(stack)) { // what is further up was checked when it was further down
				break
			}
			var got unwind.Frame
			if i+1 < len(walk.Frames) {
				got = walk.Frames[i+1]
			}
			sp, _ := got.Registers.Get(esp)
			if got.PC == want.ret && sp == want.sp && got.Trust == unwind.TrustCFI && (got.Lookup == got.PC) == want.signal {
				stats["frames"]++
				continue
			}
			for k := range i {
				moving = moving || strings.Contains(at(shadow[len(shadow)-1-k].ret), "_Unwind_R")
			}
			if moving {
				stats["on the way to a landing pad"]++
			} else if i == 0 && strings.HasPrefix(where, "memcpy+") && (sp == want.sp-4 || len(walk.Frames) == 1) {
				stats["memcpy pushed eax"]++ // of which glibc's rules say nothing: eax passes for the return address
			} else if wrong++; wrong <= 8 {
				t.Errorf("%s: step %d: frame %d is %s, stack pointer %#x, %v, want %s, %#x\n%s", where, steps, i+1, at(got.PC), sp, got.Trust, at(want.ret), want.sp, list(walk))
			}
			break
		}
		stats["instructions"]++
		// Step.
		before, code := r, s.bytes(r[eip])
		packet := "s"
		if stop != "" && stop != "05" {
			packet = "vCont;S" + stop
		}
		answer := s.ask(packet)
		if answer == "" || answer[0] != 'T' {
			t.Fatalf("the process ended after %d steps: %s", steps, answer)
		}
		stop = answer[1:3]
		r = s.registers32()
		switch {
		case packet != "s":
			stats["signals"]++
			// The handler's first instruction is done: it pushed ebp, or called what tells it the program counter.
			entry := r[esp] + 4
			shadow = append(shadow, shadowFrame{ret: before[eip], sp: before[esp], signal: true}, shadowFrame{ret: word(entry), sp: entry + 4})
			if ret := word(r[esp]); strings.Contains(at(ret), "OnSignal") {
				shadow = append(shadow, shadowFrame{ret: ret, sp: entry})
			}
		case isCallX86(code) && r[esp] == before[esp]-4:
			shadow = append(shadow, shadowFrame{ret: word(r[esp]), sp: r[esp] + 4})
		default:
			for len(shadow) > 0 {
				last := shadow[len(shadow)-1]
				if r[esp] < last.sp || r[esp] == last.sp && r[eip] != last.ret && !moving {
					break
				}
				shadow = shadow[:len(shadow)-1]
			}
		}
	}
	var lines []string
	for k, n := range stats {
		lines = append(lines, k+": "+strconv.Itoa(n))
	}
	slices.Sort(lines)
	t.Log(strings.Join(lines, "\n"))
	if n := stats["on the way to a landing pad"]; n == 0 || n > 1500 {
		t.Errorf("%d instructions on the way to a landing pad", n)
	}
	if stats["instructions"] < 20_000 || stats["signals"] != 1 || stats["trampoline"] > 100 || stats["memcpy pushed eax"] > 1000 || wrong > 0 {
		t.Errorf("the program did not do what it should, or %d instructions have other callers", wrong)
	}
}

// bytes returns the first bytes of the instruction at pc, which does not change.
func (s *stub) bytes(pc uint64) []byte {
	b := s.code[pc]
	if b == nil {
		b = s.memory(pc, 8)
		s.code[pc] = b
	}
	return b
}

// isCallX86 reports whether an instruction is a call: e8, or ff /2, which may have a segment of its own.
func isCallX86(code []byte) bool {
	for len(code) > 2 && slices.Contains([]byte{0x2e, 0x3e, 0x65, 0xf2}, code[0]) {
		code = code[1:]
	}
	return len(code) > 1 && (code[0] == 0xe8 || code[0] == 0xff && code[1]>>3&7 == 2)
}
