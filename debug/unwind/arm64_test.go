package unwind_test

import (
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/minidump/minidumptest"
)

// Shorthands of these tests: the address of word n of the stack.
func at(n int) uint64 { return stackBase + 8*uint64(n) }

const (
	signed   = 0x1f2a_8000_0000_0000 // a signature above 47 bits
	arm64Sub = "STACK CFI INIT 1000 100 .cfa: sp 0 + .ra: x30\nSTACK CFI 1004 .cfa: sp 16 + x29: .cfa -16 + ^ .ra: .cfa -8 + ^\n"
)

func TestARM64(t *testing.T) {
	record := "STACK CFI INIT 2000 100 .cfa: x29 16 + x29: .cfa -16 + ^ .ra: .cfa -8 + ^\n"
	highModule := []minidumptest.Module{{Addr: 0xffff_8000_0000, Size: 0x9000, Name: "/lib/high.so"}}
	testMachines(t, cfi.ARM64, []machineTest{
		{"the context only", machine{regs: "pc=401010 sp=10"}, "401010 context"},
		{"older contexts", machine{old: true, regs: "pc=401010 sp=7fff0000", stack: zeros(3, 0x402020, 0)}, "401010 context; 402020 scan sp=7fff0020"},
		{"scan: functions of modules with symbols, anything of others, nothing else", machine{regs: "pc=401010 sp=7fff0000",
			stack: zeros(3, 0x402800, 0x12345678, 0x402020, 5, 0x600888, 0)}, "401010 context; 402020 scan sp=7fff0030; 600888 scan sp=7fff0040"},
		{"scan: a return address behind a call at the end of a function", machine{regs: "pc=401010 sp=7fff0000", stack: []uint64{0x402104, 0x403100, 0}},
			"401010 context; 403100 scan sp=7fff0010"},
		{"scan: 160 words behind the context", machine{regs: "pc=401010 sp=7fff0000", stack: zeros(159, 0x402020, 0)}, "401010 context; 402020 scan sp=7fff0500"},
		{"scan: no further", machine{regs: "pc=401010 sp=7fff0000", stack: zeros(160, 0x402020, 0)}, "401010 context"},
		{"scan: 40 words behind a scan", machine{regs: "pc=401010 sp=7fff0000", stack: append([]uint64{0x402020}, zeros(39, 0x403030)...)},
			"401010 context; 402020 scan sp=7fff0008; 403030 scan sp=7fff0148"},
		{"scan: no further than 40", machine{regs: "pc=401010 sp=7fff0000", stack: append([]uint64{0x402020}, zeros(40, 0x403030)...)},
			"401010 context; 402020 scan sp=7fff0008"},
		{"scan: signed return addresses", machine{regs: "pc=401010 sp=7fff0000", stack: zeros(3, signed|0x402020, 0)}, "401010 context; 402020 scan sp=7fff0020"},
		{"frame pointer: a chain, with the link register of each record", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010",
			stack: []uint64{1, 2, at(5), 0x402020, 9, at(8), 0x403030, 9, 0, 0x404040, 0, 0x405050}},
			"401010 context; 402020 frame_pointer fp=7fff0028 lr=403030 sp=7fff0020; 403030 frame_pointer fp=7fff0040 lr=404040 sp=7fff0038; " +
				"404040 frame_pointer fp=0 sp=7fff0050"},
		{"frame pointer: a record of zeros is the end", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010", stack: []uint64{1, 2, at(4), 0x402020, 0, 0, 0x405050}},
			"401010 context; 402020 frame_pointer fp=7fff0020 lr=0 sp=7fff0020"},
		{"frame pointer: signatures are stripped", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010",
			stack: []uint64{1, 2, signed | at(5), signed | 0x402020, 9, 0, signed | 0x403030}},
			"401010 context; 402020 frame_pointer fp=7fff0028 lr=403030 sp=7fff0020; 403030 frame_pointer fp=0 sp=7fff0038"},
		{"frame pointer: addresses above 47 bits where a module is there", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010", modules: highModule,
			stack: []uint64{1, 2, 0, 0x1f2a_ffff_8000_0100}}, "401010 context; ffff80000100 frame_pointer fp=0 sp=7fff0020"},
		{"frame pointer: zero as an ordinary register", machine{regs: "pc=401010 sp=7fff0000", stack: zeros(1, 0x402020)}, "401010 context; 402020 scan sp=7fff0010"},
		{"frame pointer: no address", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0008", stack: []uint64{0x402020, 0, 0xfff}},
			"401010 context; 402020 scan sp=7fff0008"},
		{"frame pointer: below the stack pointer ends the walk", machine{regs: "pc=401010 sp=7fff0020 fp=7fff0008", stack: []uint64{0, at(3), 0x402020, 0, 0x403030}}, "401010 context"},
		{"frame pointer: at the end of memory", machine{base: ^uint64(0) - 47, regs: "pc=401010 sp=ffffffffffffffd0 fp=fffffffffffffff0", stack: zeros(2, 0x402020, 0)}, "401010 context; 402020 scan sp=ffffffffffffffe8"},
		{"frame pointer: nearly there", machine{base: ^uint64(0) - 47, regs: "pc=401010 sp=ffffffffffffffd0 fp=ffffffffffffffe0", stack: zeros(3, 0x402020)},
			"401010 context; 402020 frame_pointer fp=0 sp=fffffffffffffff0"},
		{"frame pointer: pointing to itself", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0008", stack: []uint64{0, at(1), 0x402020, 0}},
			"401010 context; 402020 frame_pointer fp=7fff0008 lr=402020 sp=7fff0018"},
		{"leaf: rules with the return address in the link register", machine{regs: "pc=401000 sp=7fff0000 fp=7fff0010 lr=402020", records: arm64Sub + record,
			stack: []uint64{1, 2, 0, 0x403030, 0}}, "401000 context; 402020 cfi fp=7fff0010 sp=7fff0000; 403030 cfi fp=0 sp=7fff0020"},
		{"leaf: a signed link register", machine{regs: "pc=401000 sp=7fff0000 fp=7fff0010 lr=1f2a800000402020", records: arm64Sub,
			stack: []uint64{1, 2, 0, 0x403030, 0}}, "401000 context; 402020 cfi fp=7fff0010 sp=7fff0000; 403030 frame_pointer fp=0 sp=7fff0020"},
		{"leaf: without rules, called by another function", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010 lr=402020 x19=5 x3=6",
			stack: []uint64{1, 2, 0, 0x403030, 0}}, "401010 context; 402020 scan x19=5 fp=7fff0010 sp=7fff0000; 403030 frame_pointer fp=0 sp=7fff0020"},
		{"leaf: a link register into the function itself is left from a call", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010 lr=401008",
			stack: []uint64{1, 2, 0, 0x403030, 0}}, "401010 context; 403030 frame_pointer fp=0 sp=7fff0020"},
		{"leaf: the frame record has it too", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010 lr=403030",
			stack: []uint64{1, 2, 0, 0x403030, 0}}, "401010 context; 403030 frame_pointer fp=0 sp=7fff0020"},
		{"leaf: a link register that is no return address", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010 lr=1fe0fe10",
			stack: []uint64{1, 2, 0, 0x403030, 0}}, "401010 context; 403030 frame_pointer fp=0 sp=7fff0020"},
		{"leaf: without symbols nobody knows", machine{regs: "pc=600010 sp=7fff0000 fp=7fff0010 lr=402020",
			stack: []uint64{1, 2, 0, 0x403030, 0}}, "600010 context; 403030 frame_pointer fp=0 sp=7fff0020"},
		{"a call through a null pointer", machine{regs: "pc=0 sp=7fff0000 fp=7fff0010 lr=402020", stack: []uint64{1, 2, 0, 0x403030, 0}},
			"0 context; 402020 scan fp=7fff0010 sp=7fff0000; 403030 frame_pointer fp=0 sp=7fff0020"},
		{"a null pointer and a link register that is no return address", machine{regs: "pc=0 sp=7fff0000 lr=402800", stack: []uint64{0x403030, 0}}, "0 context; 403030 scan sp=7fff0008"},
		{"a frame that leads nowhere is not asked for its link register", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0000",
			maps: "50000000-50001000 rw-p 00000000 00:00 0 \n", stack: []uint64{at(3), 0x50000000, 9, 0, 0x403030, 0}},
			"401010 context; 50000000 frame_pointer fp=7fff0018 lr=403030 sp=7fff0010; 403030 frame_pointer fp=0 sp=7fff0028"},
		{"47 bits are address", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0000", stack: []uint64{0, 0x1f2a_e123_4567_8000}},
			"401010 context; 612345678000 frame_pointer fp=0 sp=7fff0010"},
		{"a call into the heap", machine{regs: "pc=50000000 sp=7fff0000 lr=402020", maps: "50000000-50001000 rw-p 00000000 00:00 0 \n", stack: []uint64{0x403030, 0}},
			"50000000 context; 402020 scan fp=0 sp=7fff0000; 403030 scan sp=7fff0008"},
		{"just-in-time code may have called others", machine{regs: "pc=50000000 sp=7fff0000 lr=402020", maps: "50000000-50001000 r-xp 00000000 00:00 0 \n", stack: []uint64{0x403030, 0}},
			"50000000 context; 403030 scan sp=7fff0008"},
		{"rules that read the link register at the entry of a caller", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010",
			records: "STACK CFI INIT 2000 100 .cfa: sp 0 + .ra: x30\nSTACK CFI INIT 3000 100 .cfa: 0 .ra: 0\n",
			stack:   []uint64{1, 2, at(5), 0x402004, 9, 0, 0x403044, 0}}, "401010 context; 402004 frame_pointer fp=7fff0028 lr=403044 sp=7fff0020; 403044 cfi fp=7fff0028 sp=7fff0020"},
		{"elsewhere they are wrong", machine{regs: "pc=401010 sp=7fff0000 fp=7fff0010",
			records: "STACK CFI INIT 2000 100 .cfa: sp 0 + .ra: x30\n", stack: []uint64{1, 2, at(5), 0x402044, 9, 0, 0x403030, 0}},
			"401010 context; 402044 frame_pointer fp=7fff0028 lr=403030 sp=7fff0020; 403030 frame_pointer fp=0 sp=7fff0038"},
		{"a link register that rules recovered is not the caller's", machine{regs: "pc=401010 sp=7fff0000",
			records: "STACK CFI INIT 1000 100 .cfa: sp 16 + .ra: .cfa -8 + ^ x30: .cfa -16 + ^\nSTACK CFI INIT 2000 100 .cfa: sp .ra: x30\n",
			stack:   []uint64{0x404040, 0x402020, 0, 0x403030, 0}}, "401010 context; 402020 cfi fp=0 lr=404040 sp=7fff0010; 403030 scan sp=7fff0020"},
		{"rules that send each other to and fro", machine{regs: "pc=401010 sp=7fff0000 x19=402020 x20=401010",
			records: "STACK CFI INIT 1000 100 .cfa: sp .ra: x19\nSTACK CFI INIT 2000 100 .cfa: sp .ra: x20\n"},
			"401010 context; " + strings.TrimSuffix(strings.Repeat("402020 cfi x19=402020 x20=401010 fp=0 sp=7fff0000; 401010 cfi x19=402020 x20=401010 fp=0 sp=7fff0000; ", 8), "; ")},
		{"rules that stay where they are", machine{regs: "pc=401010 sp=7fff0000", records: "STACK CFI INIT 1000 100 .cfa: sp .ra: pc\n"}, "401010 context"},
		{"rules that go backwards", machine{regs: "pc=401010 sp=7fff0010", records: "STACK CFI INIT 1000 100 .cfa: sp 8 - .ra: .cfa ^\n", stack: zeros(1, 0x402020, 0x403030)}, "401010 context"},
		{"rules that fail are not the end", machine{regs: "pc=401010 sp=7fff0000", records: "STACK CFI INIT 1000 100 .cfa: sp 8 + .ra: 1 0 /\n", stack: zeros(2, 0x402020)},
			"401010 context; 402020 scan sp=7fff0018"},
		{"a pointer signed in a rule's result", machine{regs: "pc=401004 sp=7fff0000", records: arm64Sub, stack: []uint64{signed | at(9), signed | 0x402020, 0}},
			"401004 context; 402020 cfi fp=7fff0048 sp=7fff0010"},
	})
}

// What a signal interrupted is found by what the kernel left on the stack, as it was: the frame it is in may be a leaf.
func TestARM64Signal(t *testing.T) {
	const frame = 8 // word where struct rt_sigframe begins
	stack := make([]uint64, frame+4688/8+8)
	record := len(stack) - 8 // behind it
	stack[0], stack[1] = at(record), 0x600500
	stack[frame+592/8] = 0x210_4650_8001
	regs := stack[frame+312/8:]
	regs[19], regs[29], regs[30], regs[31], regs[32] = 0x13, at(record+4), 0x403030, at(record+2), 0x402020
	stack[record], stack[record+1] = at(record+4), 0x403030
	stack[record+5] = 0x404040
	m := machine{regs: "pc=401010 sp=7fff0000 fp=7fff0000", stack: stack}
	const handled = "401010 context\n600500 frame_pointer signal fp=7fff1290 lr=403030 sp=7fff0010\n" +
		"402020 cfi interrupted x19=13 fp=7fff12b0 lr=403030 sp=7fff12a0\n"
	const want = handled + "403030 scan x19=13 fp=7fff12b0 sp=7fff12a0\n404040 frame_pointer fp=0 sp=7fff12c0\n"
	m.cpu = cfi.ARM64
	if got := m.frames(t); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// Rules apply to the interrupted instruction, not to one before it.
	m.records = "STACK CFI INIT 2000 20 .cfa: sp 0 + .ra: .undef\nSTACK CFI INIT 2020 20 .cfa: sp 0 + .ra: x30\n"
	if got, want := m.frames(t), handled+"403030 cfi x19=13 fp=7fff12b0 sp=7fff12a0\n404040 frame_pointer fp=0 sp=7fff12c0\n"; got != want {
		t.Errorf("with rules: got\n%swant\n%s", got, want)
	}
	m.records = ""
	// One whose registers differ from the record, and other systems.
	const plain = "401010 context\n600500 frame_pointer fp=7fff1290 lr=403030 sp=7fff0010\n403030 frame_pointer fp=7fff12b0 lr=404040 sp=7fff12a0\n404040 frame_pointer fp=0 sp=7fff12c0\n"
	for name, change := range map[string]func(){
		"other records": func() { stack[frame+592/8]++ },
		"other fp":      func() { regs[29]++ },
		"other lr":      func() { regs[30]++ },
		"a bad pc":      func() { regs[32] = 1 << 60 },
		"macOS":         func() { m.os = minidumptest.MacOS },
	} {
		before, os := append([]uint64(nil), stack...), m.os
		change()
		if got := m.frames(t); got != plain {
			t.Errorf("%s: got\n%swant\n%s", name, got, plain)
		}
		copy(stack, before)
		m.os = os
	}
}
