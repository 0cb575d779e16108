package unwind_test

import (
	"testing"

	"salvage/debug/cfi"
)

func TestX86(t *testing.T) {
	// Type, address, size, prologue, epilogue, parameters, saved registers, locals, stack, program follows.
	const frameData = "$T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + = $ebx $T0 16 - ^ ="
	testMachines(t, cfi.X86, []machineTest{
		{"the context only", machine{regs: "eip=401010 esp=10"}, "401010 context"},
		{"frame pointers", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0008", stack: []uint64{1, 2, at4(5), 0x402020, 9, 0, 0x403030, 0}},
			"401010 context; 402020 frame_pointer esp=7fff0010 ebp=7fff0014; 403030 frame_pointer esp=7fff001c ebp=0"},
		{"frame pointers are not judged: code that is not known, a saved one that leads nowhere", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0008",
			stack: []uint64{1, 2, 7, 0x12345678, 0x402020, 0}}, "401010 context; 12345678 frame_pointer esp=7fff0010 ebp=7; 402020 scan esp=7fff0014"},
		{"frame pointers that end the stack", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0008", stack: []uint64{1, 2, 0, 0, 0x402020}}, "401010 context"},
		{"frame pointers that go backwards", machine{regs: "eip=401010 esp=7fff0010 ebp=7fff0004", stack: []uint64{1, 0, 0x403030, 0, 0, 0x402020}}, "401010 context"},
		{"a scan, then frame pointers", machine{regs: "eip=401010 esp=7fff0000 ebp=5", stack: []uint64{1, 2, at4(6), 0x402020, 9, 9, 0, 0x403030, 0}},
			"401010 context; 402020 scan esp=7fff0010 ebp=7fff0018; 403030 frame_pointer esp=7fff0020 ebp=0"},
		{"a scan does not take a frame pointer that leads too far", machine{regs: "eip=401010 esp=7fff0000 ebp=5", stack: append([]uint64{0x20014 + stackBase, 0x402020}, make([]uint64, 0x8100)...)},
			"401010 context; 402020 scan esp=7fff0008"},
		{"128 KiB is not too far", machine{regs: "eip=401010 esp=7fff0000 ebp=5", stack: append([]uint64{0x20000 + stackBase, 0x402020}, make([]uint64, 0x8100)...)},
			"401010 context; 402020 scan esp=7fff0008 ebp=80010000"},
		{"a scan keeps a frame pointer that was not touched", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0010", stack: []uint64{1, 0x402020, 0, 0}, records: "STACK CFI INIT 1000 100 .cfa: $esp 1 0 / .ra: 0\n"},
			"401010 context; 402020 scan esp=7fff0008"},
		{"a scan does not take frame pointers from below", machine{regs: "eip=401010 esp=7fff0008 ebp=fffffffc", stack: []uint64{1, 2, 3, at4(1), 0x402020, 0}}, "401010 context; 402020 scan esp=7fff0014"},
		{"a scan does not take a frame pointer from below the stack", machine{regs: "eip=401010 esp=7fff0004 ebp=fffffffc", stack: []uint64{at4(4), 0x402020, 0, 0, 0}}, "401010 context; 402020 scan esp=7fff0008"},
		{"a scan does not take one that points to itself", machine{regs: "eip=401010 esp=7fff0000 ebp=fffffffc", stack: []uint64{1, at4(1), 0x402020, 0, 0}}, "401010 context; 402020 scan esp=7fff000c"},
		{"STACK WIN: rules that fail tell the parameters still", machine{regs: "eip=401010 esp=7fff0000 ebp=fffffffc", stack: []uint64{1, 0x402020, 2, 3, 0x403030, 0},
			records: "STACK WIN 4 1000 100 0 0 8 0 0 0 1 $eip $ebp ^ = $esp .raSearch =\nSTACK WIN 0 2000 100 0 0 0 0 0 0 0 0\n"},
			"401010 context; 402020 scan esp=7fff0008; 403030 cfi esp=7fff0014"},
		{"STACK WIN: parameters are those of the frame below only", machine{regs: "eip=401010 esp=7fff0000 ebp=fffffffc", stack: []uint64{0x600500, 2, 3, 0x402020, 0x403030, 0},
			records: "STACK WIN 0 1000 100 0 0 8 0 0 0 0 0\nSTACK WIN 0 2000 100 0 0 0 0 0 0 0 0\n"},
			"401010 context; 600500 cfi esp=7fff0004 ebp=fffffffc; 402020 scan esp=7fff0010; 403030 cfi esp=7fff0014"},
		{"a scan over a long distance", machine{regs: "eip=401010 esp=7fff0000", stack: zeros(159, 0x402020, 0)}, "401010 context; 402020 scan esp=7fff0280"},
		{"and no further", machine{regs: "eip=401010 esp=7fff0000", stack: zeros(160, 0x402020, 0)}, "401010 context"},
		{"a frame pointer at the end of memory", machine{regs: "eip=401010 esp=7fff0000 ebp=fffffff8", stack: zeros(2, 0x402020)}, "401010 context; 402020 scan esp=7fff000c"},
		{"a stack above 4 GiB", machine{base: 1<<32 - 16, regs: "eip=401010 esp=fffffff0 ebp=fffffff8", stack: zeros(1, 0x402020, 0, 0x403030, 0, 0)},
			"401010 context; 402020 scan esp=fffffff8 ebp=fffffff8"},
		{"nearly there", machine{base: 1<<32 - 32, regs: "eip=401010 esp=ffffffe0 ebp=ffffffe8", stack: zeros(3, 0x402020, 0)},
			"401010 context; 402020 frame_pointer esp=fffffff0 ebp=0"},
		{"STACK WIN: frame data", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0050 ebx=1 esi=2 edi=3", stack: []uint64{1, 0xeb, 3, 4, 5, 0x402020, 7},
			records: "STACK WIN 4 1000 100 0 0 10 4 10 0 1 " + frameData + "\n"},
			"401010 context; 402020 cfi ebx=eb esp=7fff0018 ebp=7fff0050"},
		{"STACK WIN: frame data of which the later parts of a function follow", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0050", stack: []uint64{1, 2, 0x402020, 7},
			records: "STACK WIN 4 1000 80 0 0 0 0 0 0 1 $eip 0 = $esp $esp 4 + =\nSTACK WIN 4 1008 78 0 0 0 4 4 0 1 $eip .raSearch ^ = $esp .raSearch 4 + =\nSTACK WIN 4 1020 60 0 0 0 0 0 0 1 $eip 0 = $esp $esp 4 + =\n"},
			"401010 context; 402020 cfi esp=7fff000c ebp=7fff0050"},
		{"STACK WIN: parameters of the callee lie on the caller's stack", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0050", stack: []uint64{1, 0x402020, 2, 3, 4, 0x403030, 5, 0},
			records: "STACK WIN 4 1000 100 0 0 8 4 0 0 1 $eip .raSearch ^ = $esp .raSearch 4 + =\nSTACK WIN 0 2000 100 0 0 0 0 4 0 0 0\n"},
			"401010 context; 402020 cfi esp=7fff0008 ebp=7fff0050; 403030 cfi esp=7fff0018 ebp=7fff0050"},
		{"STACK WIN: parameters of a callee without such rules are its function's", machine{regs: "eip=405010 esp=7fff0000 ebp=7fff0008", stack: []uint64{1, 2, at4(9), 0x402020, 3, 4, 0x403030, 0},
			records: "STACK WIN 0 2000 100 0 0 0 0 0 0 0 0\n"}, "405010 context; 402020 frame_pointer esp=7fff0010 ebp=7fff0024; 403030 cfi esp=7fff001c ebp=7fff0024"},
		{"STACK WIN: and those of one with STACK CFI", machine{regs: "eip=404010 esp=7fff0000 ebp=7fff0008", stack: []uint64{0x402020, 3, 0x403030, 0},
			records: "STACK CFI INIT 4000 100 .cfa: $esp 4 + .ra: .cfa 4 - ^\nSTACK WIN 0 2000 100 0 0 0 0 0 0 0 0\n"}, "404010 context; 402020 cfi esp=7fff0004 ebp=7fff0008; 403030 cfi esp=7fff000c ebp=7fff0008"},
		{"STACK WIN: its rules are believed before its function, 0 parameters too", machine{regs: "eip=404010 esp=7fff0000 ebp=7fff0008", stack: []uint64{0x402020, 0x403030, 0, 0},
			records: "STACK WIN 0 4000 100 0 0 0 0 0 0 0 0\nSTACK WIN 0 2000 100 0 0 0 0 0 0 0 0\n"}, "404010 context; 402020 cfi esp=7fff0004 ebp=7fff0008; 403030 cfi esp=7fff0008 ebp=7fff0008"},
		{"STACK WIN: a frame below that is in no function has none", machine{regs: "eip=405800 esp=7fff0000 ebp=7fff0008", stack: []uint64{1, 2, at4(9), 0x402020, 0x403030, 0},
			records: "STACK WIN 0 2000 100 0 0 0 0 0 0 0 0\n"}, "405800 context; 402020 frame_pointer esp=7fff0010 ebp=7fff0024; 403030 cfi esp=7fff0014 ebp=7fff0024"},
		{"STACK WIN: a system call's leftover return address", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0050 ebx=b", stack: []uint64{0x401010, 0x402020, 0, 0},
			records: "STACK WIN 0 1000 100 0 0 0 0 0 0 0 0\nSTACK CFI INIT 2000 100 .cfa: $esp 4 + .ra: .undef\n"}, "401010 context; 402020 cfi ebx=b esp=7fff0008 ebp=7fff0050"},
		{"STACK WIN: in a recursion none is left over", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0050", stack: []uint64{0x401020, 0x401020, 0x402020, 0},
			records: "STACK WIN 0 1000 100 0 0 0 0 0 0 0 0\nSTACK CFI INIT 2000 100 .cfa: $esp 4 + .ra: .undef\n"},
			"401010 context; 401020 cfi esp=7fff0004 ebp=7fff0050; 401020 cfi esp=7fff0008 ebp=7fff0050; 402020 cfi esp=7fff000c ebp=7fff0050"},
		{"STACK WIN: a frame that has saved ebp", machine{regs: "eip=401010 esp=7fff0000 ebp=bad ebx=b", stack: []uint64{0xeb, 0xf0, 3, 0x402020, 0},
			records: "STACK WIN 0 1000 100 0 0 0 8 4 0 0 1\nSTACK CFI INIT 2000 100 .cfa: $esp 4 + .ra: .undef\n"},
			"401010 context; 402020 cfi esp=7fff0010 ebp=eb"},
		{"STACK WIN before STACK CFI", machine{regs: "eip=401010 esp=7fff0000 ebp=7fff0050", stack: []uint64{0x403030, 0x402020, 0},
			records: "STACK CFI INIT 1000 100 .cfa: $esp 4 + .ra: .cfa 4 - ^\nSTACK CFI INIT 2000 100 .cfa: $esp 4 + .ra: .undef\nSTACK WIN 0 1000 80 0 0 0 0 4 0 0 0\n"},
			"401010 context; 402020 cfi esp=7fff0008 ebp=7fff0050"},
	})
}
