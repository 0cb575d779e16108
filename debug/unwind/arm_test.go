package unwind_test

import (
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/minidump/minidumptest"
)

// at4 returns the address of word n of a stack of 32-bit words.
func at4(n int) uint64 { return stackBase + 4*uint64(n) }

func TestARM(t *testing.T) {
	leafRules := "STACK CFI INIT 1000 100 .cfa: sp .ra: lr\nSTACK CFI INIT 2000 100 .cfa: sp 8 + .ra: .cfa -4 + ^ r4: .cfa -8 + ^\n"
	testMachines(t, cfi.ARM, []machineTest{
		{"the context only", machine{regs: "pc=401010 sp=10"}, "401010 context"},
		{"scan", machine{regs: "pc=401010 sp=7fff0000", stack: zeros(3, 0x402800, 0x12345678, 0x402021, 5, 0x600888, 0)},
			"401010 context; 402021 scan sp=7fff0018; 600888 scan sp=7fff0020"},
		{"scan: a Thumb return address behind a call of two bytes at the end of a function", machine{regs: "pc=401010 sp=7fff0000", stack: []uint64{0x402101, 0x402103, 0}},
			"401010 context; 402101 scan sp=7fff0004"},
		{"scan: 160 words behind the context", machine{regs: "pc=401010 sp=7fff0000", stack: zeros(159, 0x402020, 0)}, "401010 context; 402020 scan sp=7fff0280"},
		{"scan: no further", machine{regs: "pc=401010 sp=7fff0000", stack: zeros(160, 0x402020, 0)}, "401010 context"},
		{"a link register that may be left from any call", machine{regs: "pc=401010 sp=7fff0000 lr=404040", stack: zeros(2, 0x402020, 0)}, "401010 context; 402020 scan sp=7fff000c"},
		{"a call through a null pointer", machine{regs: "pc=0 sp=7fff0000 lr=402021 r4=5", stack: zeros(2, 0x403031, 0)},
			"0 context; 402021 scan r4=5 fp=0 sp=7fff0000; 403031 scan sp=7fff000c"},
		{"a leaf by rules, into Thumb code", machine{regs: "pc=401010 sp=7fff0000 lr=402101 r4=5", stack: []uint64{4, 0x403031, 0}, records: leafRules},
			"401010 context; 402101 cfi r4=5 fp=0 sp=7fff0000; 403031 cfi r4=4 fp=0 sp=7fff0008"},
		{"rules of a caller that read the link register", machine{regs: "pc=402010 sp=7fff0000 lr=404040", stack: []uint64{4, 0x401031, 0x403031}, records: leafRules},
			"402010 context; 401031 cfi r4=4 fp=0 sp=7fff0008; 403031 scan sp=7fff000c"},
		{"a link register that rules recovered is not the caller's", machine{regs: "pc=401010 sp=7fff0000",
			records: "STACK CFI INIT 1000 100 .cfa: sp 8 + .ra: .cfa -4 + ^ lr: .cfa -8 + ^\nSTACK CFI INIT 2000 100 .cfa: sp .ra: lr\n",
			stack:   []uint64{0x404041, 0x402021, 0, 0x403031, 0}}, "401010 context; 402021 cfi fp=0 sp=7fff0008 lr=404041; 403031 scan sp=7fff0010"},
		{"a frame pointer but for iOS is none", machine{regs: "pc=401010 sp=7fff0000 r7=7fff0008 fp=7fff0008", stack: zeros(2, 0, 0x402021, 0, 0)}, "401010 context; 402021 scan sp=7fff0010"},
		{"iOS: a chain of r7", machine{os: minidumptest.IOS, regs: "pc=401010 sp=7fff0000 r7=7fff0008 fp=7fff0010", stack: []uint64{1, 2, at4(5), 0x402021, 9, 0, 0x403031, 0x404041}},
			"401010 context; 402021 frame_pointer r7=7fff0014 sp=7fff0010; 403031 frame_pointer sp=7fff001c"},
		{"iOS: no chain", machine{os: minidumptest.IOS, regs: "pc=401010 sp=7fff0000", stack: zeros(2, 0x402021)}, "401010 context"},
		{"iOS: a stackless leaf is taken for its caller, which is lost", machine{os: minidumptest.IOS, regs: "pc=401010 sp=7fff0000 lr=402021 r7=7fff0008",
			stack: []uint64{1, 2, 0, 0x403031, 0}}, "401010 context; 403031 frame_pointer sp=7fff0010"},
		{"iOS: a stackful one too", machine{os: minidumptest.IOS, regs: "pc=401010 sp=7fff0000 lr=402021 r7=7fff0010",
			stack: []uint64{1, 2, 3, 4, 0, 0x403031, 0}}, "401010 context; 403031 frame_pointer sp=7fff0018"},
		{"iOS: pointing to itself", machine{os: minidumptest.IOS, regs: "pc=401010 sp=7fff0000 r7=7fff0004", stack: []uint64{0, at4(1), 0x402020, 0}},
			"401010 context; 402020 frame_pointer r7=7fff0004 sp=7fff000c"},
		{"iOS: at the end of memory", machine{os: minidumptest.IOS, regs: "pc=401010 sp=7fff0000 r7=fffffffc", stack: zeros(2, 0x402021)}, "401010 context; 402021 scan sp=7fff000c"},
		{"iOS: a stack above 4 GiB", machine{os: minidumptest.IOS, base: 1<<32 - 16, regs: "pc=401010 sp=fffffff0 r7=fffffff8", stack: zeros(1, 0x402021, 0, 0x403031, 0, 0)},
			"401010 context; 402021 scan sp=fffffff8"},
		{"iOS: nearly there", machine{os: minidumptest.IOS, base: 1<<32 - 32, regs: "pc=401010 sp=ffffffe0 r7=ffffffe8", stack: zeros(3, 0x402021, 0)},
			"401010 context; 402021 frame_pointer sp=fffffff0"},
		{"rules that send each other to and fro", machine{regs: "pc=401010 sp=7fff0000 r4=402021 r5=401011",
			records: "STACK CFI INIT 1000 100 .cfa: sp .ra: r4\nSTACK CFI INIT 2000 100 .cfa: sp 4 - .ra: r5\n"},
			"401010 context; 402021 cfi r4=402021 r5=401011 fp=0 sp=7fff0000"},
		{"rules that fail are not the end", machine{regs: "pc=401010 sp=7fff0000", records: "STACK CFI INIT 1000 100 .cfa: sp 8 + .ra: 1 0 /\n", stack: zeros(2, 0x402020)},
			"401010 context; 402020 scan sp=7fff000c"},
	})
}
