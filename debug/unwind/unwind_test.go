package unwind_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/unwind"
)

const (
	stackBase = 0x7fff0000
	module    = 0x400000 // with functions of 0x100 bytes at 0x1000, 0x2000, … 0x8000
	handler   = 0x600000 // a second module, without symbols
)

// process describes a dump of one thread.
type process struct {
	stack    []uint64 // words from stackBase on
	rip      uint64
	rsp, rbp uint64 // 0: stackBase
	rules    string // STACK CFI records of module
	maps     string
	windows  bool
}

// provider knows module: its rules, and that it has functions at 0x1000, 0x2000, …
type provider struct{ rules *cfi.Cache }

func (p provider) Rules(m *minidump.Module, addr uint64) (cfi.Rules, bool) {
	if m.Addr != module {
		return cfi.Rules{}, false
	}
	return p.rules.Lookup(addr)
}

func (p provider) Covered(m *minidump.Module, addr uint64) (covered, known bool) {
	return addr&0xfff < 0x100 && addr >= 0x1000, m.Addr == module
}

// Function has the functions from 0x4000 on take 4, 8, … bytes of parameters.
func (p provider) Function(m *minidump.Module, addr uint64) (start, params uint64, known bool) {
	covered, known := p.Covered(m, addr)
	if addr >= 0x4000 && covered && known {
		params = addr>>12*4 - 12
	}
	return addr &^ 0xfff, params, covered && known
}

func (p process) walk(t testing.TB, l unwind.Limits) unwind.Stack {
	t.Helper()
	var stack []byte
	for _, w := range p.stack {
		stack = binary.LittleEndian.AppendUint64(stack, w)
	}
	regs := minidumptest.ContextAMD64{RIP: p.rip, RSP: p.rsp, RBP: p.rbp, RBX: 0xb}
	if regs.RSP == 0 {
		regs.RSP = stackBase
	}
	platform := minidumptest.Linux
	if p.windows {
		platform = minidumptest.Windows
	}
	b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: platform}).
		Module(minidumptest.Module{Addr: module, Size: 0x9000, Name: "/bin/prog"}).
		Module(minidumptest.Module{Addr: handler, Size: 0x9000, Name: "/lib/other.so"}).
		Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: stackBase, Data: stack}, Context: regs})
	if p.maps != "" {
		b = b.LinuxText(minidumptest.LinuxMaps, p.maps)
	}
	d, err := minidump.Parse(b.Bytes())
	if err != nil || len(d.Problems) > 0 {
		t.Fatal(err, d.Problems)
	}
	rules := cfi.NewBuilder(cfi.AMD64, false)
	if _, err := breakpad.Parse([]byte("MODULE Linux x86_64 000000000000000000000000000000001 p\n"+p.rules), breakpad.Handler{CFI: rules.StackCFI}, breakpad.Options{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := rules.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return unwind.Walk(context.Background(), d, d.Threads[0].Context, d.Threads[0].Stack, provider{c}, l)
}

func list(s unwind.Stack) string {
	var b strings.Builder
	for _, f := range s.Frames {
		fmt.Fprintf(&b, "%x %s", f.PC, f.Trust)
		if f.Lookup != f.PC-1 && f.Trust != unwind.TrustContext {
			fmt.Fprintf(&b, " at %x", f.Lookup)
		}
		if f.Signal {
			b.WriteString(" signal")
		}
		if f.NoRules {
			b.WriteString(" no rules")
		}
		b.WriteString("\n")
	}
	return b.String()
}

const leaf = "STACK CFI INIT 1000 100 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n"

func TestWalk(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   process
		want string
	}{
		{"rules; a return address of zero ends the stack", process{rip: 0x401010, rules: leaf + "STACK CFI INIT 2000 100 .cfa: $rsp 24 + .ra: .cfa -8 + ^\n",
			stack: []uint64{0x402020, 1, 2, 0}}, "401010 context\n402020 cfi\n"},
		{"rules that say that there is no caller", process{rip: 0x401010, rules: leaf + "STACK CFI INIT 2000 100 .cfa: $rsp 8 + .ra: .undef\n",
			stack: []uint64{0x402020, 0x403030, 0x404040}}, "401010 context\n402020 cfi\n"},
		{"a frame pointer where there are no rules", process{rip: 0x401010, rbp: stackBase + 16,
			stack: []uint64{1, 2, stackBase + 32, 0x402020, 0, 0x403030, 0, 0}}, "401010 context no rules\n402020 frame_pointer no rules\n403030 frame_pointer no rules\n"},
		{"a scan where the frame pointer is an ordinary register", process{rip: 0x401010, rbp: 5,
			stack: []uint64{1, 0x402020, 0x333, 0x403030, 0}}, "401010 context no rules\n402020 scan no rules\n403030 scan no rules\n"},
		{"a scan passes over what is no code: outside modules, between functions, not canonical", process{rip: 0x401010,
			stack: []uint64{0x12345678, 0x402800, 1 << 60, 0x402020, 0}}, "401010 context no rules\n402020 scan no rules\n"},
		{"a scan takes any address of a module without symbols", process{rip: 0x401010, stack: []uint64{0x600800, 0}}, "401010 context no rules\n600800 scan no rules\n"},
		{"a return address at the end of a function that does not return is looked up one before",
			process{rip: 0x401010, rules: leaf + "STACK CFI INIT 2000 100 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n", stack: []uint64{0x402100, 0x403030, 0}},
			"401010 context\n402100 cfi\n403030 cfi no rules\n"},
		{"a frame pointer into memory that is not executable is none", process{rip: 0x401010, rbp: stackBase + 8, maps: "00400000-00409000 r-xp 00000000 00:00 0 /bin/prog\n7f000000-7f001000 rw-p 00000000 00:00 0 \n",
			stack: []uint64{0x402020, stackBase + 24, 0x7f000010, 1, 0, 0}}, "401010 context no rules\n402020 scan no rules\n"},
		{"just-in-time code through the frame pointer", process{rip: 0x401010, rbp: stackBase + 8, maps: "00400000-00409000 r-xp 00000000 00:00 0 /bin/prog\n7f000000-7f001000 r-xp 00000000 00:00 0 \n",
			stack: []uint64{0x402020, stackBase + 24, 0x7f000010, 0, 0, 0}}, "401010 context no rules\n7f000010 frame_pointer\n"},
		{"a saved frame pointer that leads nowhere", process{rip: 0x401010, rbp: stackBase + 8,
			stack: []uint64{0x402020, 0xcccccccccccccccc, 0x403030, 0}}, "401010 context no rules\n402020 scan no rules\n403030 scan no rules\n"},
		{"the end of a chain, called from code that has rules and another use for rbp", process{rip: 0x401010, rbp: stackBase + 16, rules: "STACK CFI INIT 2000 100 .cfa: $rsp 8 + .ra: .undef\n",
			stack: []uint64{0x403030, 2, 1, 0x402020, 0}}, "401010 context no rules\n402020 frame_pointer\n"},
		{"the same with an address that is not in the dump", process{rip: 0x401010, rbp: stackBase + 16, rules: "STACK CFI INIT 2000 100 .cfa: $rsp 8 + .ra: .undef\n",
			stack: []uint64{0x403030, 2, 0xcccccccccccccccc, 0x402020, 0}}, "401010 context no rules\n402020 frame_pointer\n"},
		{"nor is rbp trusted so on Windows, where all code has rules and uses it as it likes", process{rip: 0x401010, rbp: stackBase + 16, windows: true, rules: "STACK CFI INIT 2000 100 .cfa: $rsp 8 + .ra: .undef\n",
			stack: []uint64{0x403030, 2, 1, 0x402020, 0}}, "401010 context no rules\n403030 scan no rules\n402020 scan\n"},
		{"Windows: rbp may point into the frame", process{rip: 0x401010, rbp: stackBase + 8, windows: true,
			stack: []uint64{1, 2, 3, stackBase + 56, 0x402020, 6, 7, 0, 0, 0}}, "401010 context no rules\n402020 frame_pointer no rules\n"},
		{"elsewhere it may not", process{rip: 0x401010, rbp: stackBase + 8, stack: []uint64{1, 2, 3, stackBase + 56, 0x402020, 6, 7, 0, 0, 0}}, "401010 context no rules\n402020 scan no rules\n"},
		{"rules that make no progress", process{rip: 0x401010, rules: "STACK CFI INIT 1000 100 .cfa: $rsp .ra: $rip\n", stack: []uint64{0x402020}}, "401010 context\n"},
		{"no stack at all", process{rip: 0x401010, rsp: 0x10}, "401010 context no rules\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := list(tt.in.walk(t, unwind.Limits{})); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// A recursion of 50 000 frames costs linear time and keeps the first and the last frames.
func TestRecursion(t *testing.T) {
	rules := leaf + "STACK CFI INIT 3000 100 .cfa: $rsp 8 + .ra: .undef\n"
	for _, n := range []int{7, 1023, 1024, 1025, 50_000} {
		p := process{rip: 0x401010, rules: rules}
		for i := range n - 2 {
			p.stack = append(p.stack, 0x401020+uint64(i%16))
		}
		p.stack = append(p.stack, 0x403030)
		s := p.walk(t, unwind.Limits{})
		if s.Total != n || len(s.Frames) != min(n, 1024) || (s.Cut > 0) != (n > 1024) {
			t.Errorf("%d frames: total %d, kept %d, cut at %d", n, s.Total, len(s.Frames), s.Cut)
		}
		if first, last := s.Frames[0].PC, s.Frames[len(s.Frames)-1].PC; first != 0x401010 || last != 0x403030 {
			t.Errorf("%d frames: from %#x to %#x", n, first, last)
		}
		sp := uint64(0)
		for i, f := range s.Frames {
			at, _ := f.Registers.Get(cfi.AMD64.SP)
			if at <= sp || s.Cut != i && i > 0 && at != sp+8 {
				t.Fatalf("%d frames: frame %d has its stack at %#x after %#x", n, i, at, sp)
			}
			sp = at
		}
	}
}

// A CPU that is not unwound has the frame that its context gives.
func TestOtherCPU(t *testing.T) {
	d, err := minidump.Parse(minidumptest.New(true).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	state := minidump.Context{CPU: minidump.CPURISCV64, Regs: [40]uint64{0x1234}}
	s := unwind.Walk(context.Background(), d, &state, minidump.Region{}, provider{}, unwind.Limits{})
	if len(s.Frames) != 1 || s.Frames[0].PC != 0x1234 {
		t.Errorf("%+v", s)
	}
	if s := unwind.Walk(context.Background(), d, nil, minidump.Region{}, provider{}, unwind.Limits{}); len(s.Frames) != 0 {
		t.Errorf("without a context: %+v", s)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(uint64(0x401010), uint64(stackBase), uint64(stackBase+16), []byte("\x20\x20\x40\x00\x00\x00\x00\x00"), leaf)
	f.Fuzz(func(t *testing.T, rip, rsp, rbp uint64, stack []byte, rules string) {
		p := process{rip: rip, rsp: rsp, rbp: rbp, rules: rules}
		for ; len(stack) >= 8; stack = stack[8:] {
			p.stack = append(p.stack, binary.LittleEndian.Uint64(stack))
		}
		if s := p.walk(t, unwind.Limits{Frames: 16}); len(s.Frames) > 16 || s.Total < len(s.Frames) {
			t.Errorf("%d frames of %d", len(s.Frames), s.Total)
		}
	})
}

// Any stack, registers and rules, on each CPU.
func FuzzMachine(f *testing.F) {
	cpus := []*cfi.CPU{cfi.X86, cfi.ARM, cfi.ARM64}
	systems := []uint32{minidumptest.Linux, minidumptest.Windows, minidumptest.IOS}
	f.Add(uint8(2), uint64(0x401010), uint64(stackBase), uint64(stackBase+16), uint64(0x402020), []byte("\x20\x20\x40\x00\x00\x00\x00\x00"), arm64Sub)
	f.Add(uint8(3), uint64(0x401010), uint64(stackBase), uint64(stackBase+16), uint64(0), []byte("\x20\x20\x40\x00"), "STACK WIN 4 1000 100 0 0 10 4 10 0 1 $T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + =\n")
	f.Add(uint8(1), uint64(0), uint64(stackBase), uint64(stackBase+16), uint64(0x402021), []byte("\x20\x20\x40\x00"), "STACK CFI INIT 2000 100 .cfa: sp 8 + .ra: lr\n")
	f.Fuzz(func(t *testing.T, kind uint8, pc, sp, fp, lr uint64, stack []byte, records string) {
		cpu := cpus[kind%3]
		m := machine{cpu: cpu, os: systems[kind/3%3], records: records}
		m.regs = fmt.Sprintf("%s=%x %s=%x %s=%x", cpu.RegisterName(cpu.PC), pc, cpu.RegisterName(cpu.SP), sp, cpu.RegisterName(cpu.FP), fp)
		if cpu != cfi.X86 {
			m.regs += fmt.Sprintf(" lr=%x", lr)
		}
		for ; len(stack) >= 8; stack = stack[8:] {
			m.stack = append(m.stack, binary.LittleEndian.Uint64(stack))
		}
		at, still := uint64(0), 0
		for _, f := range m.walk(t).Frames {
			next, _ := f.Registers.Get(cpu.SP)
			if still++; next != at {
				still = 0
			}
			if next < at && f.Lookup != f.PC || still > 20 {
				t.Fatalf("from %#x to %#x, for %d frames", at, next, still)
			}
			at = next
		}
	})
}
