package cfi_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/internal/debugtest"
)

// text builds a cache of STACK CFI records.
func text(t testing.TB, cpu *cfi.CPU, records string) (*cfi.Cache, uint64) {
	t.Helper()
	b := cfi.NewBuilder(cpu, false)
	_, err := breakpad.Parse([]byte("MODULE Linux x 000000000000000000000000000000001 x\n"+records), breakpad.Handler{CFI: b.StackCFI}, breakpad.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	st, err := b.Write(&out, debugid.ID{Age: 1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(); err != nil {
		t.Error(err)
	}
	if c.CPU() != cpu || c.ID().Age != 1 {
		t.Errorf("CPU %v, id %v", c.CPU(), c.ID())
	}
	return c, st.Bad
}

// unwind applies the rules at an address to registers and memory written as "name=value" and
// "[address]=value", and writes what is known of the caller.
func unwind(t testing.TB, c *cfi.Cache, addr uint64, state string) string {
	t.Helper()
	rules, ok := c.Lookup(addr)
	if !ok {
		return "no rules"
	}
	var callee cfi.Registers
	memory := map[uint64]uint64{}
	for _, part := range strings.Fields(state) {
		name, value, _ := strings.Cut(part, "=")
		var v, at uint64
		fmt.Sscanf(value, "%x", &v)
		if _, err := fmt.Sscanf(name, "[%x]", &at); err == nil {
			memory[at] = v
			continue
		}
		found := false
		for r := range uint8(cfi.NumRegisters) {
			if c.CPU().RegisterName(r) == name {
				callee.Set(r, v)
				found = true
			}
		}
		if !found {
			t.Fatalf("no register %s", name)
		}
	}
	caller, err := rules.Unwind(&callee, func(addr uint64, size uint8) (uint64, bool) {
		v, ok := memory[addr]
		return v, ok && size == c.CPU().PointerSize
	})
	if err != nil {
		return err.Error()
	}
	var out []string
	for r := range uint8(cfi.NumRegisters) {
		if v, ok := caller.Get(r); ok {
			out = append(out, fmt.Sprintf("%s=%x", c.CPU().RegisterName(r), v))
		}
	}
	return strings.Join(out, " ")
}

func TestStackCFI(t *testing.T) {
	for _, tt := range []struct {
		name, records string
		cpu           *cfi.CPU
		addr          uint64
		state, want   string
	}{
		{"return address on the stack; callee-saved registers are kept, others are not",
			"STACK CFI INIT 10 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n", cfi.AMD64, 0x10,
			"rsp=100 rbx=5 rdi=6 [100]=aa", "rbx=5 rsp=108 rip=aa"},
		{"a delta changes what it says and keeps the rest",
			"STACK CFI INIT 10 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI 11 .cfa: $rsp 16 + $rbx: .cfa 16 - ^\n", cfi.AMD64, 0x12,
			"rsp=f8 rbx=5 [100]=aa [f8]=bb", "rbx=bb rsp=108 rip=aa"},
		{"before the delta",
			"STACK CFI INIT 10 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI 11 .cfa: $rsp 16 +\n", cfi.AMD64, 0x10,
			"rsp=100 [100]=aa", "rsp=108 rip=aa"},
		{"outside the block", "STACK CFI INIT 10 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n", cfi.AMD64, 0x18, "rsp=100", "no rules"},
		{"deltas in any order; the last of an address counts",
			"STACK CFI INIT 10 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI 14 .cfa: $rsp 32 +\nSTACK CFI 12 .cfa: $rsp 16 +\nSTACK CFI 12 .cfa: $rsp 24 +\n", cfi.AMD64, 0x13,
			"rsp=f0 [100]=aa", "rsp=108 rip=aa"},
		{"a rule for the stack pointer overrides the CFA",
			"STACK CFI INIT 0 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rsp: .cfa 64 +\n", cfi.AMD64, 0, "rsp=100 [100]=aa", "rsp=148 rip=aa"},
		{"an undefined return address ends the stack", "STACK CFI INIT 0 8 .cfa: $rsp 8 + .ra: .undef\n", cfi.AMD64, 0, "rsp=100", "end of stack"},
		{"a register that cannot be read is unknown, not kept",
			"STACK CFI INIT 0 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: .cfa 800 - ^\n", cfi.AMD64, 0, "rsp=100 rbx=5 rbp=7 [100]=aa", "rbp=7 rsp=108 rip=aa"},
		{"a return address that cannot be read is a failure", "STACK CFI INIT 0 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n", cfi.AMD64, 0, "rsp=100", cfi.ErrMemory.Error()},
		{"an unknown base is a failure", "STACK CFI INIT 0 8 .cfa: $rbp 8 + .ra: .cfa -8 + ^\n", cfi.AMD64, 0, "rsp=100", cfi.ErrRegister.Error()},
		{"expressions: unsigned division, remainder, alignment",
			"STACK CFI INIT 0 8 .cfa: $rsp 16 @ 8 + .ra: $rax 7 / $rbx: $rax 7 % $r12: $rax 2 * 1 -\n", cfi.AMD64, 0, "rsp=10f rax=1e", "rbx=2 rsp=108 r12=3b rip=4"},
		{"a load of a load, and the CFA in the middle",
			"STACK CFI INIT 0 8 .cfa: $rsp ^ 8 + .ra: .cfa 8 - ^ ^\n", cfi.AMD64, 0, "rsp=100 [100]=200 [200]=300 [300]=aa", "rsp=208 rip=aa"},
		{"division by zero fails", "STACK CFI INIT 0 8 .cfa: $rsp 8 + .ra: $rax 0 /\n", cfi.AMD64, 0, "rsp=100 rax=8", cfi.ErrExpression.Error()},
		{"names without sigil, floating point ignored: arm64, a leaf",
			"STACK CFI INIT 0 8 .cfa: sp 0 + .ra: x30 v8: .cfa -8 + ^\n", cfi.ARM64, 0, "sp=100 lr=aa x19=5", "x19=5 sp=100 pc=aa"},
		{"arm64 with a frame",
			"STACK CFI INIT 0 8 .cfa: sp 16 + .ra: .cfa -8 + ^ x29: .cfa -16 + ^\n", cfi.ARM64, 0, "sp=100 [108]=aa [100]=7", "fp=7 sp=110 pc=aa"},
		{"Windows arm64 files of Sentry's tools: a dot before the name",
			"STACK CFI INIT 0 8 .cfa: sp 16 + .ra: .cfa -8 + ^ .x29: .cfa -16 + ^\n", cfi.ARM64, 0, "sp=100 [108]=aa [100]=7", "fp=7 sp=110 pc=aa"},
		{"32 bits wrap", "STACK CFI INIT 0 8 .cfa: $esp 4 + .ra: .cfa 4 - ^\n", cfi.X86, 0, "esp=fffffffc [fffffffc]=aa", "esp=0 eip=aa"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, bad := text(t, tt.cpu, tt.records)
			if got := unwind(t, c, tt.addr, tt.state); got != tt.want || bad != 0 {
				t.Errorf("got  %s\nwant %s; %d bad records", got, tt.want, bad)
			}
		})
	}
}

// Records that make no sense are counted and left out; those around them stay.
func TestBadStackCFI(t *testing.T) {
	for _, bad := range []string{
		"STACK CFI INIT 20 8 rubbish", "STACK CFI INIT 20 8 .cfa: .ra: $rsp", "STACK CFI INIT 20 8 .cfa: .cfa 8 + .ra: $rip", "STACK CFI INIT 20 0 .cfa: $rsp 8 + .ra: $rip",
		"STACK CFI INIT 20 8 .cfa: $rsp + .ra: $rip", "STACK CFI INIT 20 8 .cfa: $rsp 8 .ra: $rip", "STACK CFI INIT 20 8 .cfa: $nope 8 + .ra: $rip",
		"STACK CFI INIT 20 8 .cfa: .undef .ra: $rip", "STACK CFI INIT ffffffffffffffff 8 .cfa: $rsp 8 + .ra: $rip", "STACK CFI INIT 20 8 .cfa: $rsp 8 + .ra: 8 +",
	} {
		c, n := text(t, cfi.AMD64, bad+"\nSTACK CFI INIT 30 8 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n")
		if got := unwind(t, c, 0x20, "rsp=100 rip=5"); n != 1 || got != "no rules" && got != cfi.ErrRegister.Error() {
			t.Errorf("%s: %d bad, %s", bad, n, got)
		}
		if got := unwind(t, c, 0x30, "rsp=100 [100]=aa"); got != "rsp=108 rip=aa" {
			t.Errorf("%s: the next record gives %s", bad, got)
		}
	}
}

// The rules that symbolic writes of an ELF file are those that we read of it. An INIT of symbolic and its
// deltas are one line each in the facts.
func TestFacts(t *testing.T) {
	c := ehFrame(t, debugtest.File(t, "symbolic/linux/crash"))
	n := 0
	for _, fact := range debugtest.Facts(t, "symbolic/linux/crash") {
		if fact.Kind != "cfi_record" || !strings.HasPrefix(fact.Expected, "STACK CFI INIT ") {
			continue
		}
		var start, size uint64
		fmt.Sscanf(fact.Expected, "STACK CFI INIT %x %x", &start, &size)
		want, _ := text(t, cfi.AMD64, fact.Expected+"\n")
		state := "rsp=1000 rbx=1 rbp=2 r12=3 r13=4 r14=5 r15=6 [1000]=77 [1008]=78 [1010]=79 [1018]=7a"
		if a, b := unwind(t, c, start, state), unwind(t, want, start, state); a != b || a == "no rules" {
			t.Errorf("%s: %s, want %s", fact.Expected, a, b)
		}
		n++
	}
	if n < 20 {
		t.Errorf("only %d facts", n)
	}
}

func TestDamage(t *testing.T) {
	b := cfi.NewBuilder(cfi.AMD64, false)
	_ = b.StackCFI(breakpad.CFI{Init: true, Addr: 16, Size: 8, Rules: []byte(".cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: $rax 7 /")})
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	for n := range data {
		if _, err := cfi.Parse(data[:n]); err == nil {
			t.Errorf("prefix of %d bytes opened", n)
		}
	}
	for i := range data {
		for _, v := range []byte{0, 1, 0xff} {
			bad := bytes.Clone(data)
			bad[i] = v
			if c, err := cfi.Parse(bad); err == nil {
				touch(c)
			}
		}
	}
	data[8]++
	if _, err := cfi.Parse(data); !errors.Is(err, debug.ErrVersion) {
		t.Errorf("another revision: %v", err)
	}
}

// touch applies every rule of a cache.
func touch(c *cfi.Cache) {
	_ = c.Verify()
	var callee cfi.Registers
	for r := range uint8(cfi.NumRegisters) {
		callee.Set(r, uint64(r)*0x1000)
	}
	for start := range c.Ranges() {
		if rules, ok := c.Lookup(start); ok {
			rules.Signal()
			_, _ = rules.Unwind(&callee, func(addr uint64, size uint8) (uint64, bool) { return addr ^ 0x55, addr&1 == 0 })
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0x14, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 0x10, 1, 0x1b, 0xc, 7, 8, 0x90, 1, 0, 0,
		0x14, 0, 0, 0, 0x1c, 0, 0, 0, 0, 1, 0, 0, 0x10, 0, 0, 0, 0, 0x41, 0xe, 0x10, 0x83, 2, 0, 0}, true, false)
	f.Add([]byte{0xc, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 4, 0, 8, 0, 1, 0x78, 0x10, 0}, false, false)
	f.Fuzz(func(t *testing.T, data []byte, eh, big bool) {
		for _, cpu := range []*cfi.CPU{cfi.AMD64, cfi.ARM64, cfi.X86, cfi.ARM} {
			b := cfi.NewBuilder(cpu, big)
			b.Frames(&cfi.FrameSection{Data: data, Addr: 0x1000, EH: eh, AddrSize: cpu.PointerSize, BigEndian: big})
			roundTrip(t, b)
		}
	})
}

func FuzzStackCFI(f *testing.F) {
	f.Add(uint64(16), uint64(8), ".cfa: $rsp 8 + .ra: .cfa -8 + ^", ".cfa: $rsp 16 + $rbx: $rax 7 / ^")
	f.Fuzz(func(t *testing.T, addr, size uint64, first, second string) {
		for _, cpu := range []*cfi.CPU{cfi.AMD64, cfi.ARM64, cfi.X86, cfi.ARM} {
			b := cfi.NewBuilder(cpu, false)
			_ = b.StackCFI(breakpad.CFI{Init: true, Addr: addr, Size: size, Rules: []byte(first)})
			_ = b.StackCFI(breakpad.CFI{Addr: addr + 1, Rules: []byte(second)})
			roundTrip(t, b)
		}
	})
}

func roundTrip(t *testing.T, b *cfi.Builder) {
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	touch(c)
}
