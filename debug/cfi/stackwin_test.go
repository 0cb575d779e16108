package cfi_test

import (
	"bytes"
	"fmt"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
)

// win builds a cache of the records of a symbol file for x86.
func win(t testing.TB, records string) (*cfi.Cache, uint64) {
	t.Helper()
	b := cfi.NewBuilder(cfi.X86, false)
	if _, err := breakpad.Parse([]byte("MODULE windows x86 000000000000000000000000000000001 x\n"+records), breakpad.Handler{CFI: b.StackCFI, Win: b.StackWin}, breakpad.Options{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	st, err := b.Write(&out, debugid.ID{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c, st.Bad
}

// unwindWin applies the rules at an address. Memory holds m[a] at address a, where a is a multiple of 4; the callee
// took params bytes.
func unwindWin(c *cfi.Cache, addr uint64, regs map[uint8]uint64, memory map[uint64]uint64, params uint64, first uint64) string {
	rules, ok := c.Lookup(addr)
	if !ok {
		return "no rules"
	}
	var callee cfi.Registers
	for r, v := range regs {
		callee.Set(r, v)
	}
	callee.Set(cfi.X86CalleeParams, params)
	callee.Set(cfi.X86First, first)
	caller, err := rules.Unwind(&callee, func(addr uint64, size uint8) (uint64, bool) {
		v, ok := memory[addr]
		return v, ok && size == 4
	})
	if err != nil {
		return err.Error()
	}
	s := ""
	for _, r := range []uint8{8, 4, 5, 3, 6, 7} {
		if v, ok := caller.Get(r); ok {
			s += fmt.Sprintf("%s=%x ", cfi.X86.RegisterName(r), v)
		}
	}
	p, _ := caller.Get(cfi.X86CalleeParams)
	return s + fmt.Sprintf("params=%x", p)
}

func TestStackWin(t *testing.T) {
	regs := map[uint8]uint64{4: 0x100, 5: 0x200, 3: 0xb, 6: 0x51, 7: 0xd1, 8: 0x1010}
	memory := map[uint64]uint64{0x100: 0xa0, 0x104: 0xa4, 0x108: 0xa8, 0x10c: 0xac, 0x110: 0xb0, 0x114: 0xb4, 0x118: 0xb8, 0x11c: 0xbc, 0x1f8: 0xf8, 0x200: 0xf0, 0x204: 0xf4}
	const sizes = "0 0 10 4 8 0" // parameters, saved registers, locals
	for _, tt := range []struct{ name, record, want string }{
		// The program that most functions of Windows with a frame pointer have.
		{"a frame pointer", "$T0 $ebp = $eip $T0 4 + ^ = $ebp $T0 ^ = $esp $T0 8 + = $L $T0 .cbSavedRegs - = $P $T0 8 + .cbParams + =",
			"eip=f4 esp=208 ebp=f0 params=10"},
		{"the search start: saved registers, locals and the callee's parameters up", "$T2 $esp .cbLocals + .cbSavedRegs + = $T0 .raSearchStart = $eip $T0 ^ = $esp $T0 4 + =",
			"eip=b4 esp=118 ebp=200 params=10"},
		{"an aligned frame: the search starts at ebp", "$T0 .raSearch 8 @ = $eip .raSearch ^ = $esp .raSearch 4 + =", "eip=f4 esp=208 ebp=200 params=10"},
		{"registers that are restored; others are lost", "$eip .raSearch ^ = $esp .raSearch 4 + = $ebx $esp 4 + = $esi .cbParams = $edi .cbCalleeParams =",
			"eip=b4 esp=118 ebp=200 ebx=11c esi=10 edi=8 params=10"},
		{"ebp that is given up", "$eip .raSearch ^ = $esp .raSearch 4 + = $ebp .undef =", "eip=b4 esp=118 params=10"},
		{"operators: 32 bits, unsigned, wrapping", "$eip 7 2 - = $esp .raSearch = $ebx 0 8 - 3 / = $esi 0 1 - 16 % = $edi 255 16 @ = $ebp 65536 65537 * =",
			"eip=5 esp=204 ebp=10000 ebx=55555552 esi=f edi=f0 params=10"},
		{"negative numbers", "$eip 8 -4 + = $esp .raSearch = $ebx -4 2 / =", "eip=4 esp=114 ebp=200 ebx=7ffffffe params=10"},
		{"glued tokens", "$T0 .raSearch =$eip $T0 ^ =$esp $T0 4 + =", "eip=b4 esp=118 ebp=200 params=10"},
		{"values that are left over", "1 2 $eip .raSearch ^ = $esp .raSearch = 3", "eip=b4 esp=114 ebp=200 params=10"},
		{"a variable that changes keeps earlier uses", "$T0 8 = $T1 $T0 = $T0 4 = $eip $T1 = $esp .raSearch =", "eip=8 esp=114 ebp=200 params=10"},
		{"no return address", "$eip 12 ^ = $esp .raSearch =", cfi.ErrMemory.Error()},
		{"division by zero", "$eip 8 0 / = $esp .raSearch =", cfi.ErrExpression.Error()},
		{"alignment to no power of two", "$eip 8 3 @ = $esp $esp 4 + =", cfi.ErrExpression.Error()},
	} {
		c, bad := win(t, "STACK WIN 4 1000 20 "+sizes+" 1 "+tt.record+"\n")
		if got := unwindWin(c, 0x1010, regs, memory, 8, 0); got != tt.want || bad != 0 {
			t.Errorf("%s: got %s, want %s; %d bad", tt.name, got, tt.want, bad)
		}
	}
	for _, tt := range []struct {
		name, record string
		params, pc   uint64
		first        uint64
		want         string
	}{
		{"FPO: ebp and ebx untouched", sizes + " 0 0", 8, 0x1010, 0, "eip=b4 esp=118 ebp=200 ebx=b params=10"},
		{"FPO: ebp saved", sizes + " 0 1", 8, 0x1010, 0, "eip=b4 esp=118 ebp=a4 params=10"},
		{"FPO: a leftover return address", sizes + " 0 0", 8, 0xb4, 1, "eip=b8 esp=11c ebp=200 ebx=b params=10"},
		{"FPO: the same address, but it is another one's", sizes + " 0 0", 8, 0xb4, 0, "eip=b4 esp=118 ebp=200 ebx=b params=10"},
		{"FPO: the first frame, but another address", sizes + " 0 0", 8, 0x1010, 1, "eip=b4 esp=118 ebp=200 ebx=b params=10"},
	} {
		c, bad := win(t, "STACK WIN 0 1000 20 "+tt.record+"\n")
		regs[8] = tt.pc
		if got := unwindWin(c, 0x1010, regs, memory, tt.params, tt.first); got != tt.want || bad != 0 {
			t.Errorf("%s: got %s, want %s; %d bad", tt.name, got, tt.want, bad)
		}
	}
}

// Which of several records speaks for an address.
func TestStackWinPrecedence(t *testing.T) {
	program := func(n int) string { return fmt.Sprintf("1 $eip %d = $esp $esp 4 + =\n", n) }
	c, bad := win(t, "STACK CFI INIT 0 80 .cfa: $esp 4 + .ra: 1\n"+
		"STACK WIN 0 10 10 0 0 0 0 0 0 0 0\n"+ // under frame data for its second half
		"STACK WIN 4 18 10 0 0 0 0 0 0 "+program(2)+
		"STACK WIN 4 30 10 0 0 0 0 0 0 "+program(3)+ // a function whose later parts follow
		"STACK WIN 4 34 c 0 0 0 0 0 0 "+program(4)+
		"STACK WIN 4 38 4 0 0 0 0 0 0 "+program(5)+ // one inside
		"STACK WIN 4 50 8 0 0 0 0 0 0 "+program(6)+ // two of one start: the smaller first
		"STACK WIN 4 50 10 0 0 0 0 0 0 "+program(7)+
		"STACK WIN 0 64 8 0 0 0 0 0 0 0 0\nSTACK WIN 4 60 10 0 0 0 0 0 0 "+program(8)) // frame data over all of another
	want := map[uint64]uint64{0: 1, 0xf: 1, 0x10: 0xaa, 0x17: 0xaa, 0x18: 2, 0x27: 2, 0x28: 1, 0x30: 3, 0x33: 3, 0x34: 4, 0x37: 4, 0x38: 5, 0x3b: 5, 0x3c: 4, 0x3f: 4, 0x40: 1, 0x50: 6, 0x57: 6, 0x58: 7, 0x60: 8, 0x64: 8, 0x70: 1}
	for addr, n := range want {
		got := unwindWin(c, addr, map[uint8]uint64{4: 0x100, 5: 0x200, 8: addr}, map[uint64]uint64{0x100: 0xaa}, 0, 0)
		if head := fmt.Sprintf("eip=%x ", n); len(got) < len(head) || got[:len(head)] != head {
			t.Errorf("at %#x: %s, want eip=%x", addr, got, n)
		}
	}
	if bad != 0 {
		t.Errorf("%d bad records", bad)
	}
	r, _ := c.Lookup(0x12)
	if n, ok := r.Params(); n != 0 || !ok {
		t.Errorf("parameters %d", n)
	}
	c, _ = win(t, "STACK WIN 4 30 10 0 0 1c 0 0 0 "+program(3)+"STACK CFI INIT 0 10 .cfa: $esp 4 + .ra: 1\n")
	for addr, n := range map[uint64]uint64{0x30: 0x1c, 0: 0} {
		r, ok := c.Lookup(addr)
		if got, are := r.Params(); !ok || got != n || are != (n > 0) {
			t.Errorf("at %#x: parameters %d %v, want %d", addr, got, are, n)
		}
	}
}

// Records that cannot be used are counted.
func TestBadStackWin(t *testing.T) {
	doubling := "$T0 8 = "
	for range 20 {
		doubling += "$T0 $T0 $T0 + = "
	}
	for _, record := range []string{
		"4 10 8 0 0 0 0 0 0 1 $eip", "4 10 8 0 0 0 0 0 0 1 $eip 4 +", "4 10 8 0 0 0 0 0 0 1 $eip $T9 = $esp 4 =", "4 10 8 0 0 0 0 0 0 1 4 5 =",
		"4 10 8 0 0 0 0 0 0 1 $esp 4 =", "4 10 8 0 0 0 0 0 0 1 $eip 4 = $esp .undef =", "4 10 8 0 0 0 0 0 0 1 $eip 4294967296 =", "4 10 8 0 0 0 0 0 0 1 $eip x =",
		"4 10 8 0 0 0 0 0 0 1 $eip .undef 1 + =", "4 10 8 0 0 0 0 0 0 1 =", "4 10 8 0 0 0 0 0 0 1 ^", "4 10 8 0 0 0 0 0 0 1 " + doubling + "$eip $T0 = $esp 4 =",
		"4 10 0 0 0 0 0 0 0 1 $eip 4 = $esp 4 =", "4 10 8 0 0 0 0 0 0 0 1", "0 10 8 0 0 0 0 0 0 1 $eip 4 = $esp 4 =", "2 10 8 0 0 0 0 0 0 0 0",
	} {
		c, bad := win(t, "STACK WIN "+record+"\nSTACK WIN 0 20 8 0 0 0 0 0 0 0 0\n")
		if _, ok := c.Lookup(0x10); ok {
			t.Errorf("%s: has rules", record)
		}
		if _, ok := c.Lookup(0x20); !ok || bad > 1 {
			t.Errorf("%s: %d bad, the next one is there: %v", record, bad, ok)
		}
	}
	b := cfi.NewBuilder(cfi.AMD64, false)
	if b.StackWin(breakpad.Win{CodeSize: 8}); func() uint64 { n, _ := b.Bad(); return n }() != 1 {
		t.Error("taken for amd64")
	}
}
