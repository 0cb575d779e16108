package minidump_test

import (
	"fmt"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

func TestThreads(t *testing.T) {
	for _, padding := range []bool{false, true} {
		orders(t, func(t *testing.T, b *minidumptest.Builder) {
			b.Padding = padding
			d := parse(t, b.System(amd64).
				Thread(minidumptest.Thread{
					ID: 7, Suspended: 1, Class: 2, Priority: 3, Name: "worker", TEB: 0x7ff0_0000_0000,
					Stack: minidumptest.Region{Addr: 0x1000, Data: []byte("abc")}, Context: minidumptest.ContextAMD64{RIP: 5},
				}).
				Thread(minidumptest.Thread{ID: 8, Stack: minidumptest.Region{Addr: 0x2004}}).
				Thread(minidumptest.Thread{ID: 9, Stack: minidumptest.Region{Addr: 0x3000}}).
				Memory(0x2000, []byte("all of the pages")))
			equal(t, "threads", len(d.Threads), 3)
			context := d.Threads[0].Context
			d.Threads[0].Context = nil
			equal(t, "thread 0", d.Threads[0], minidump.Thread{
				ID: 7, Name: "worker", SuspendCount: 1, PriorityClass: 2, Priority: 3, TEB: 0x7ff0_0000_0000,
				Stack: minidump.Region{Addr: 0x1000, Data: []byte("abc")},
			})
			equal(t, "PC", context.PC(), uint64(5))
			// Windows keeps stacks in the memory list only.
			equal(t, "thread 1", d.Threads[1], minidump.Thread{ID: 8, Stack: minidump.Region{Addr: 0x2000, Data: []byte("all of the pages")}})
			equal(t, "thread 2", d.Threads[2], minidump.Thread{ID: 9})
		})
	}
}

func TestLastError(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		teb := make([]byte, 0x6c)
		teb[0x68], teb[0x6b] = 1, 2
		d := parse(t, b.System(amd64).Thread(minidumptest.Thread{ID: 1, TEB: 0x5000}).Thread(minidumptest.Thread{ID: 2}).Memory(0x5000, teb))
		want := uint32(0x02000001)
		if b.BigEndian {
			want = 0x01000002
		}
		if v, ok := d.LastError(&d.Threads[0]); v != want || !ok {
			t.Errorf("LastError = %#x, %v, want %#x", v, ok, want)
		}
		if v, ok := d.LastError(&d.Threads[1]); ok {
			t.Errorf("LastError without TEB = %#x", v)
		}
	})
}

func TestException(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		in := minidumptest.Exception{ThreadID: 1, Code: 2, Flags: 3, Record: 4, Address: 5, NumParameters: 2, Context: minidumptest.ContextAMD64{RIP: 99}}
		for i := range in.Information {
			in.Information[i] = uint64(i)<<60 | 6
		}
		e := parse(t, b.System(amd64).Exception(in)).Exception
		equal(t, "PC", e.Context.PC(), uint64(99))
		e.Context = nil
		equal(t, "Exception", *e, minidump.Exception{ThreadID: 1, Code: 2, Flags: 3, Record: 4, Address: 5, NumParameters: 2, Information: in.Information})
		equal(t, "Parameters", e.Parameters(), in.Information[:2])
	})
}

// A count of parameters above 15 makes rust-minidump's printer panic.
func TestTooManyExceptionParameters(t *testing.T) {
	d, err := minidump.Parse(minidumptest.New(false).Exception(minidumptest.Exception{NumParameters: 1 << 31}).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "Parameters", len(d.Exception.Parameters()), 15)
	equal(t, "problems", kinds(d), []string{"Exception: bad record"})
}

// contexts has each register set to a value of its own, in the order of DWARF.
func contexts() map[string]struct {
	system  uint16
	context minidumptest.Context
	names   []string
	pc, sp  uint64
} {
	x := func(n int) (regs [31]uint64) {
		for i := range regs[:n] {
			regs[i] = 0xabcdef0000000000 | uint64(i)
		}
		return regs
	}
	r := x(17)
	r32 := func(i int) uint32 { return uint32(r[i]) | 0xfe000000 }
	var arm [16]uint32
	for i := range arm {
		arm[i] = r32(i)
	}
	return map[string]struct {
		system  uint16
		context minidumptest.Context
		names   []string
		pc, sp  uint64
	}{
		"x86": {minidumptest.X86, minidumptest.ContextX86{
			EAX: r32(0), ECX: r32(1), EDX: r32(2), EBX: r32(3), ESP: r32(4), EBP: r32(5), ESI: r32(6), EDI: r32(7), EIP: r32(8),
			EFlags: 0x246, CS: 1, DS: 2, ES: 3, FS: 4, GS: 5, SS: 6,
		}, []string{"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"}, uint64(r32(8)), uint64(r32(4))},
		"amd64": {minidumptest.AMD64, minidumptest.ContextAMD64{
			RAX: r[0], RDX: r[1], RCX: r[2], RBX: r[3], RSI: r[4], RDI: r[5], RBP: r[6], RSP: r[7],
			R8: r[8], R9: r[9], R10: r[10], R11: r[11], R12: r[12], R13: r[13], R14: r[14], R15: r[15], RIP: r[16],
			EFlags: 0x246, CS: 1, DS: 2, ES: 3, FS: 4, GS: 5, SS: 6, Extra: make([]byte, 100),
		}, []string{"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip"}, r[16], r[7]},
		"arm":       {minidumptest.ARM, minidumptest.ContextARM{R: arm, CPSR: 0x246}, nil, uint64(r32(15)), uint64(r32(13))},
		"arm64":     {minidumptest.ARM64, minidumptest.ContextARM64{X: x(31), SP: 0xabcdef000000001f, PC: 0xabcdef0000000020, CPSR: 0x246}, nil, 0xabcdef0000000020, 0xabcdef000000001f},
		"arm64 old": {minidumptest.OldARM64, minidumptest.ContextARM64{Old: true, X: x(31), SP: 0xabcdef000000001f, PC: 0xabcdef0000000020, CPSR: 0x246}, nil, 0xabcdef0000000020, 0xabcdef000000001f},
	}
}

func TestContexts(t *testing.T) {
	for name, tt := range contexts() {
		t.Run(name, func(t *testing.T) {
			orders(t, func(t *testing.T, b *minidumptest.Builder) {
				d := parse(t, b.System(minidumptest.System{Architecture: tt.system}).Thread(minidumptest.Thread{ID: 1, Context: tt.context}))
				c := d.Threads[0].Context
				names := d.System.CPU.RegisterNames()
				equal(t, "CPU", c.CPU, d.System.CPU)
				equal(t, "PC", c.PC(), tt.pc)
				equal(t, "SP", c.SP(), tt.sp)
				equal(t, "Status", c.Status, uint32(0x246))
				if tt.names != nil {
					equal(t, "names", names, tt.names)
					equal(t, "Segments", c.Segments, minidump.Segments{CS: 1, DS: 2, ES: 3, FS: 4, GS: 5, SS: 6})
				}
				for i, v := range c.Regs {
					want := 0xabcdef0000000000 | uint64(i)
					if d.System.CPU.PointerSize() == 4 {
						want = 0xfe000000 | uint64(i)
					}
					if i >= len(names) {
						want = 0
					}
					if v != want {
						t.Errorf("Regs[%d] = %#x, want %#x", i, v, want)
					}
				}
				equal(t, "FP is", map[string]string{"x86": "ebp", "amd64": "rbp", "arm": "fp", "arm64": "fp"}[d.System.CPU.String()], names[c.FP()&0xff])
			})
		})
	}
}

// Of CPUs that are not unwound the registers are those that others print. Layouts: minidump.md §1.11.
func TestOtherContexts(t *testing.T) {
	for _, tt := range []struct {
		architecture uint16
		in           minidumptest.ContextWords
		words        int    // of registers
		names        string // with the number of the word each is in
		pc, sp, fp   int
		status       uint32
	}{
		{1, minidumptest.ContextWords{Flags: 0x40001, Pad: true, WordSize: 8, Size: 600}, 41, "gp28 sp29 fp30 ra31 pc38 s016 s117 s218 s319 s420 s521 s622 s723", 38, 29, 30, 0x1000028},
		{1, minidumptest.ContextWords{Flags: 0x80001, Pad: true, WordSize: 8, Size: 600}, 41, "gp28 sp29 fp30 ra31 pc38 s016 s117 s218 s319 s420 s521 s622 s723", 38, 29, 30, 0x1000028},
		{0x8004, minidumptest.ContextWords{Flags: 0x80001, Pad: true, WordSize: 8, Size: 600}, 41, "gp28 sp29 fp30 ra31 pc38 s016 s117 s218 s319 s420 s521 s622 s723", 38, 29, 30, 0x1000028},
		{3, minidumptest.ContextWords{Flags: 0x20000001, WordSize: 4, Size: 1004}, 40, "srr00 srr11 r02 … r3133 cr34 xer35 lr36 ctr37 mq38 vrsave39", 0, 3, 33, 0},
		{0x8002, minidumptest.ContextWords{Flags: 0x1000001, WideFlags: true, WordSize: 8, Size: 1160}, 39, "srr00 srr11 r02 … r3133 cr34 xer35 lr36 ctr37 vrsave38", 0, 3, 33, 0},
		{0x8001, minidumptest.ContextWords{Flags: 0x10000001, Pad: true, WordSize: 8, Size: 584}, 38, "g_r00 … g_r3131 ccr32 pc33 npc34 y35 asi36 fprs37", 33, 14, 30, 0},
		{0x8005, minidumptest.ContextWords{Flags: 0x800001, Pad: true, WordSize: 4, Size: 268}, 32, "pc0 ra1 sp2 gp3 tp4 t05 t16 t27 s08 s19 a010 a111 a212 a313 a414 a515 a616 a717 s218 s319 s420 s521 s622 s723 s824 s925 s1026 s1127 t328 t429 t530 t631", 0, 2, 8, 0},
		{0x8006, minidumptest.ContextWords{Flags: 0x8000001, Pad: true, WordSize: 8, Size: 524}, 32, "pc0 ra1 sp2 gp3 tp4 t05 t16 t27 s08 s19 a010 a111 a212 a313 a414 a515 a616 a717 s218 s319 s420 s521 s622 s723 s824 s925 s1026 s1127 t328 t429 t530 t631", 0, 2, 8, 0},
	} {
		t.Run(fmt.Sprintf("%#x", tt.architecture), func(t *testing.T) {
			orders(t, func(t *testing.T, b *minidumptest.Builder) {
				for i := range tt.words {
					tt.in.Words = append(tt.in.Words, 0x1000000|uint64(i)) // one half of MIPS' last word is the status
				}
				if tt.status != 0 && b.BigEndian {
					tt.in.Words[40] <<= 32
				}
				d := parse(t, b.System(minidumptest.System{Architecture: tt.architecture}).Thread(minidumptest.Thread{ID: 1, Context: tt.in}))
				c := d.Threads[0].Context
				names := ""
				for i, name := range d.System.CPU.RegisterNames() {
					names += fmt.Sprintf(" %s%d", name, c.Regs[i]-0x1000000)
				}
				want := " " + tt.names
				for _, all := range []string{"r", "g_r"} {
					first := map[string]int{"r": 2, "g_r": 0}[all]
					text := fmt.Sprintf(" %s0%d …", all, first)
					full := ""
					for i := range 31 {
						full += fmt.Sprintf(" %s%d%d", all, i, first+i)
					}
					want = strings.Replace(want, text, full, 1)
				}
				equal(t, "registers", names, want)
				equal(t, "PC", c.PC(), 0x1000000|uint64(tt.pc))
				equal(t, "SP", c.SP(), 0x1000000|uint64(tt.sp))
				equal(t, "FP", c.FP(), 0x1000000|uint64(tt.fp))
				equal(t, "Status", c.Status, tt.status)
				tt.in.Words = nil
			})
		})
	}
}

// Where a process of 32 bits runs on MIPS of 64, the sign of its addresses is extended.
func TestContextSignExtended(t *testing.T) {
	words := make([]uint64, 39)
	words[29], words[38] = 0xffffffff80002000, 0xffffffff80001000
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		in := minidumptest.ContextWords{Flags: 0x40001, Pad: true, WordSize: 8, Size: 600, Words: words}
		c := parse(t, b.System(minidumptest.System{Architecture: 1}).Thread(minidumptest.Thread{ID: 1, Context: in})).Threads[0].Context
		equal(t, "PC", c.PC(), uint64(0x80001000))
		equal(t, "SP", c.SP(), uint64(0x80002000))
		equal(t, "pc", c.Regs[4], words[38])
	})
}

// The CPU of the system info decides how a context is read. One that does not carry its flag was written for another.
func TestContextOfOtherCPU(t *testing.T) {
	for _, tt := range []struct {
		system  minidumptest.System
		context minidumptest.Context
		want    string
	}{
		{minidumptest.System{Architecture: minidumptest.ARM64}, minidumptest.ContextARM64{Old: true}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: minidumptest.X86}, minidumptest.ContextX86{Flags: 0x100001}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: minidumptest.OldARM64}, minidumptest.ContextARM64{}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: minidumptest.AMD64}, minidumptest.ContextX86{}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 2}, minidumptest.ContextX86{}, "ThreadList: unsupported"}, // Alpha
		{minidumptest.System{Architecture: 1}, minidumptest.ContextWords{Flags: 0x10001, Size: 600}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 1}, minidumptest.ContextWords{Flags: 0x1, Size: 600}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 1}, minidumptest.ContextWords{Flags: 0x140000, Size: 600}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 1}, minidumptest.ContextWords{Flags: 0x40000, Size: 599}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 0x8006}, minidumptest.ContextWords{Flags: 0x800000, Size: 524}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 0x8006}, minidumptest.ContextWords{Flags: 0x8000000, Size: 523}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 0x8005}, minidumptest.ContextWords{Flags: 0x800000, Size: 267}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 3}, minidumptest.ContextWords{Flags: 0x20000000, Size: 1003}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 0x8002}, minidumptest.ContextWords{Flags: 0x1000000, WideFlags: true, Size: 1159}, "ThreadList: bad record"},
		{minidumptest.System{Architecture: 0x8001}, minidumptest.ContextWords{Flags: 0x10000000, Size: 583}, "ThreadList: bad record"},
	} {
		d, err := minidump.Parse(minidumptest.New(false).System(tt.system).Thread(minidumptest.Thread{ID: 1, Context: tt.context}).Bytes())
		if err != nil || len(d.Threads) != 1 || d.Threads[0].Context != nil {
			t.Errorf("%v: context read from %T", tt.system.Architecture, tt.context)
		}
		equal(t, "problems", fmt.Sprint(kinds(d)), fmt.Sprint([]string{tt.want}))
	}
}
