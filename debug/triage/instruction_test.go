package triage_test

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"

	"salvage/debug/minidump/minidumptest"
	"salvage/debug/triage"
)

const (
	codeAt  = 0x400000
	stackAt = 0x7ffd0000

	maxGuard = 0x8000
)

// crashed makes a dump of a crash of 64-bit code on a system, with spans of memory of four pages that have
// the given protections of Windows, one behind the other from 0x10000.
func crashed(t *testing.T, platform uint32, code []byte, c minidumptest.ContextAMD64, e minidumptest.Exception, protections ...uint32) triage.Crash {
	t.Helper()
	c.RIP = codeAt
	e.ThreadID, e.Context = 1, c
	b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: platform}).Memory(codeAt, code).
		Thread(minidumptest.Thread{ID: 1, TEB: 0x5000, Stack: minidumptest.Region{Addr: stackAt, Data: binary.LittleEndian.AppendUint64(nil, 0xabcd)}}).Exception(e)
	var infos []minidumptest.MemoryInfo
	for i, p := range protections {
		infos = append(infos, minidumptest.MemoryInfo{Base: 0x10000 + uint64(i)*0x4000, Size: 0x4000, Protection: p})
	}
	got, _ := triage.Analyze(parse(t, b.MemoryInfo(infos...)))
	return got
}

// What instructions access and where they go, worked out by hand from Intel's manuals.
func TestInstruction(t *testing.T) {
	c := minidumptest.ContextAMD64{RAX: 0x1_0000_1001, RBX: 0x2000, RCX: 3, RSP: stackAt, RSI: 0x5150, RDI: 0xd1d0, R15: 0xffff_ffff_ffff_fff0}
	const flow = "falls through"
	for _, tt := range []struct {
		code []byte
		text string
		want string // accesses and flow
	}{
		{[]byte{0x8b, 0x43, 0x08}, "mov eax, dword [rbx + 0x8]", "r4@0x2008 " + flow},
		{[]byte{0x8b, 0x83, 0xf8, 0xff, 0xff, 0xff}, "mov eax, dword [rbx - 0x8]", "r4@0x1ff8 " + flow},
		{[]byte{0x8b, 0x04, 0x25, 0x00, 0x00, 0x00, 0x80}, "mov eax, dword [0xffffffff80000000]", "r4@0xffffffff80000000 " + flow},
		{[]byte{0xa1, 0x00, 0x00, 0x00, 0x80, 0, 0, 0, 0}, "mov eax, dword [0x80000000]", "r4@0x80000000 " + flow},
		{[]byte{0x49, 0x89, 0x44, 0xcf, 0x10}, "mov qword [r15 + rcx * 8 + 0x10], rax", "w8@0x18 " + flow},
		{[]byte{0x8b, 0x05, 0x10, 0, 0, 0}, "mov eax, dword [rip + 0x10]", "r4@0x400016 " + flow},
		{[]byte{0xc5, 0xf8, 0x28, 0x35, 0x10, 0, 0, 0}, "vmovaps xmm6, xmmword [rip + 0x10]", "?16@0x400018 " + flow},
		{[]byte{0xc4, 0xe2, 0xf9, 0x92, 0x14, 0x4b}, "vgatherdpd xmm2, xmmword [rbx + xmm1 * 2], xmm0", "unknown " + flow},
		{[]byte{0x67, 0x8b, 0x00}, "mov eax, dword [eax]", "r4@0x1001 " + flow},
		{[]byte{0x67, 0x41, 0x8b, 0x47, 0x20}, "mov eax, dword [r15d + 0x20]", "r4@0x10 " + flow},
		{[]byte{0x65, 0x48, 0x8b, 0x04, 0x25, 0x30, 0, 0, 0}, "mov rax, qword gs:[0x30]", "r8@0x5030 " + flow},
		{[]byte{0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0}, "mov rax, qword fs:[0x28]", "unknown " + flow},
		{[]byte{0x8d, 0x43, 0x08}, "lea eax, dword [rbx + 0x8]", flow},
		{[]byte{0x0f, 0x1f, 0x43, 0x08}, "nop dword [rbx + 0x8]", flow},
		{[]byte{0x01, 0x03}, "add dword [rbx], eax", "rw4@0x2000 " + flow},
		{[]byte{0x3b, 0x03}, "cmp eax, dword [rbx]", "r4@0x2000 " + flow},
		{[]byte{0x50}, "push rax", "w8@0x7ffcfff8 " + flow},
		{[]byte{0x66, 0x50}, "push ax", "w2@0x7ffcfffe " + flow},
		{[]byte{0xff, 0x33}, "push qword [rbx]", "r8@0x2000 w8@0x7ffcfff8 " + flow},
		{[]byte{0x58}, "pop rax", "r8@0x7ffd0000 " + flow},
		{[]byte{0x8f, 0x44, 0x24, 0x08}, "pop qword [rsp + 0x8]", "w8@0x7ffd0010 r8@0x7ffd0000 " + flow},
		{[]byte{0xff, 0xd3}, "call rbx", "w8@0x7ffcfff8 to 0x2000"},
		{[]byte{0xff, 0x24, 0x24}, "jmp qword [rsp]", "r8@0x7ffd0000 to 0xabcd"},
		{[]byte{0xff, 0x23}, "jmp qword [rbx]", "r8@0x2000"},
		{[]byte{0xe8, 0, 0, 0, 0}, "call $+0x0", "w8@0x7ffcfff8"},
		{[]byte{0xc3}, "ret", "r8@0x7ffd0000 to 0xabcd"},
		{[]byte{0xcb}, "retf", "r8@0x7ffd0000 to 0xabcd"},
		{[]byte{0x48, 0xcb}, "retf", "r16@0x7ffd0000 to 0xabcd"},
		{[]byte{0x74, 0x00}, "jz $+0x0", ""},
		{[]byte{0xd7}, "xlatb byte [rbx]", "?1@0x2001 " + flow},
		{[]byte{0xf3, 0xa4}, "rep movs byte [rdi], byte [rsi]", "?1@0xd1d0 ?1@0x5150 " + flow},
		{[]byte{0xf2, 0x0f, 0x10, 0x03}, "movsd_xmm xmm0, qword [rbx]", "?8@0x2000 " + flow},
		{[]byte{0xdb, 0x2b}, "fld mword [rbx]", "?10@0x2000 " + flow},
		{[]byte{0xf0, 0xff, 0x03}, "lock inc dword [rbx]", "rw4@0x2000 " + flow},
		{[]byte{0xf0, 0xff, 0xc0}, "", ""},       // a lock of a register
		{[]byte{0x0f, 0x22, 0xc8}, "", ""},       // a control register that is none
		{[]byte{0x8b, 0x83, 0, 0, 0}, "", ""},    // cut off
		{[]byte{0xc5, 0xf8, 0x28}, "", ""},       // cut off
		{[]byte{0x06}, "", ""},                   // not in 64-bit mode
		{[]byte{0x0f, 0x04, 0xff, 0xff}, "", ""}, // none at all
		{nil, "", ""},                            // not in the dump
	} {
		i := crashed(t, minidumptest.Windows, tt.code, c, minidumptest.Exception{Code: 0xc0000005}).Instruction
		if i == nil {
			if tt.text != "" {
				t.Errorf("% x is no instruction, want %s", tt.code, tt.text)
			}
			continue
		}
		got := ""
		if !i.AccessesKnown {
			got = "unknown "
		}
		for _, a := range i.Accesses {
			kind := map[[2]bool]string{{true, false}: "r", {false, true}: "w", {true, true}: "rw", {}: "?"}[[2]bool{a.Read, a.Write}]
			got += fmt.Sprintf("%s%d@%#x ", kind, a.Size, a.Address)
		}
		switch {
		case i.HasTarget:
			got += fmt.Sprintf("to %#x", i.Target)
		case i.FallsThrough:
			got += flow
		}
		if i.Text != tt.text || got != tt.want && got != tt.want+" " {
			t.Errorf("% x = %q: %q, want %q: %q", tt.code, i.Text, got, tt.text, tt.want)
		}
	}
	for _, platform := range []uint32{minidumptest.Linux, minidumptest.MacOS} { // gs is not the environment block
		if i := crashed(t, platform, []byte{0x65, 0x8b, 0x03}, c, minidumptest.Exception{}).Instruction; i.AccessesKnown || i.Accesses != nil {
			t.Errorf("platform %#x: gs has a base: %+v", platform, i)
		}
	}
}

// Spans of the address space: which are guard pages, and what flips of bits lead into.
func TestSpans(t *testing.T) {
	const none, read, write, guard = 1, 2, 4, 0x104
	load := []byte{0x8b, 0x03} // mov eax, [rbx]
	fault := func(kind, addr uint64) minidumptest.Exception {
		return minidumptest.Exception{Code: 0xc0000005, NumParameters: 2, Information: [15]uint64{kind, addr}}
	}
	for _, tt := range []struct {
		protections []uint32
		addr        uint64
		want        bool
	}{
		{[]uint32{none, write}, 0x10000, true},
		{[]uint32{none, write}, 0x13fff, true},
		{[]uint32{write, none}, 0x14000, true},
		{[]uint32{write, none}, 0x13fff, false},
		{[]uint32{none, none, write}, 0x10000, false},
		{[]uint32{guard}, 0x10000, true},
		{[]uint32{none}, 0x10000, false},
		{[]uint32{none, write}, 0x18000, false},
		{[]uint32{none, write}, 0xffff, false},
		{nil, 0x10000, false},
	} {
		c := crashed(t, minidumptest.Windows, load, minidumptest.ContextAMD64{RBX: tt.addr}, fault(0, tt.addr), tt.protections...)
		if got := c.Instruction.Accesses[0].GuardPage; got != tt.want {
			t.Errorf("%#x in %#x: guard page %v, want %v", tt.addr, tt.protections, got, tt.want)
		}
	}

	flips := func(kind, addr, rbx uint64, protections ...uint32) (got []string) {
		for _, f := range crashed(t, minidumptest.Windows, load, minidumptest.ContextAMD64{RBX: rbx, RSP: 0x5000_0000, RBP: 0x5000_0000}, fault(kind, addr), protections...).BitFlips {
			got = append(got, fmt.Sprintf("%#x %s %.4f", f.Address, f.Register, f.Confidence))
		}
		return got
	}
	for _, tt := range []struct {
		kind, addr, rbx uint64
		protections     []uint32
		want            []string
	}{
		{0, 0x810000, 0x810000, []uint32{read}, []string{"0x10000  0.2500", "0x10000 rbx 0.2500"}},
		{0, 0x810000, 0x810000, []uint32{none}, nil}, // reading is not allowed there either
		{1, 0x810000, 0x810000, []uint32{read}, nil},
		{0, 0x810002, 0x810000, []uint32{read}, []string{"0x10000  0.2500", "0x10000 rbx 0.2500"}}, // that of the access
		{0, 0x14001, 0x14001, []uint32{read}, nil},                                                 // just behind: it ran over the end
		{0, 0x14004, 0x14004, []uint32{read}, []string{"0x10004  0.2500", "0x10004 rbx 0.2500"}},
		{0, 0x10000, 0x10000, []uint32{read}, nil}, // it is good
		{0, 0x20000000000, 0x20000000000, []uint32{read}, []string{"0x0  0.6250", "0x0 rbx 0.6250"}},
		{0, 0x2000, 0x2000, []uint32{read}, []string{"0x0  0.4375", "0x12000  0.2500", "0x0 rbx 0.4375", "0x12000 rbx 0.2500"}},
		{0, 0x4000, 0x4000, []uint32{none}, []string{"0x0  0.6250", "0x0 rbx 0.6250"}},
		{0, 0x1000, 0x1000, []uint32{read}, []string{"0x0  0.4375", "0x11000  0.2500", "0x0 rbx 0.4375", "0x11000 rbx 0.2500"}},
	} {
		if got := flips(tt.kind, tt.addr, tt.rbx, tt.protections...); !reflect.DeepEqual(got, tt.want) && len(got)+len(tt.want) > 0 {
			t.Errorf("%#x, rbx %#x, %#x: %q, want %q", tt.addr, tt.rbx, tt.protections, got, tt.want)
		}
	}
	// Spans that overlap, are empty or run past the end: the first one counts.
	for _, tt := range []struct {
		infos []minidumptest.MemoryInfo
		maps  string
		addr  uint64
		want  bool // a flip into 0x10000
	}{
		{[]minidumptest.MemoryInfo{{Base: 0x10000, Size: 0x4000, Protection: read}, {Base: 0x11000, Size: 0x800000, Protection: read}}, "", 0x810000, true},
		{[]minidumptest.MemoryInfo{{Base: 0x10000, Size: 0x4000, Protection: read}, {Base: 0x810000, Size: 0, Protection: read}, {Base: 0, Size: 0, Protection: read}}, "", 0x810000, true},
		{[]minidumptest.MemoryInfo{{Base: 0x10000, Size: 0x4000, Protection: read}, {Base: 0x810000, Size: ^uint64(0), Protection: read}}, "", 0x810000, true},
		{[]minidumptest.MemoryInfo{{Base: 0x10000, Size: 0x4000, Protection: read}, {Base: 0x80fffd, Size: 1, Protection: read}}, "", 0x810000, false},
		{[]minidumptest.MemoryInfo{{Base: 0x10000, Size: 0x4000, Protection: read}, {Base: 0x80fffc, Size: 1, Protection: read}}, "", 0x810000, true},
		{[]minidumptest.MemoryInfo{{Base: 0x10000, Size: 0x4000, Protection: read}, {Base: 0x80fffd, Size: 1, Protection: none}}, "", 0x810000, true},
		{[]minidumptest.MemoryInfo{{Base: 0x10000, Size: 0x4000, Protection: read}, {Base: 0x810003, Size: 1, Protection: read}, {Base: 0x910003, Size: 1, Protection: read}}, "", 0x810000, false},
		{nil, "10000-14000 r--p 0 0:0 0\n810000-810000 r--p 0 0:0 0\n900000-800000 r--p 0 0:0 0\n800000-0 r--p 0 0:0 0\n", 0x810000, true},
	} {
		e := fault(0, tt.addr)
		e.ThreadID, e.Context = 1, minidumptest.ContextAMD64{RIP: codeAt, RBX: tt.addr}
		b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Windows}).
			Memory(codeAt, load).Exception(e).LinuxText(minidumptest.LinuxMaps, tt.maps)
		if tt.infos != nil {
			b.MemoryInfo(tt.infos...)
		}
		if c, _ := triage.Analyze(parse(t, b)); (c.BitFlips != nil) != tt.want {
			t.Errorf("%#x in %#x %q: %+v", tt.addr, tt.infos, tt.maps, c.BitFlips)
		}
	}
	for size, want := range map[uint64]bool{maxGuard: true, maxGuard + 1: false} {
		e := fault(0, 0x10000)
		e.ThreadID, e.Context = 1, minidumptest.ContextAMD64{RIP: codeAt, RBX: 0x10000}
		d := parse(t, minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Windows}).Memory(codeAt, load).
			MemoryInfo(minidumptest.MemoryInfo{Base: 0x10000, Size: size, Protection: none}, minidumptest.MemoryInfo{Base: 0x10000 + size, Size: 1, Protection: write}).Exception(e))
		if c, _ := triage.Analyze(d); c.Instruction.Accesses[0].GuardPage != want {
			t.Errorf("%#x bytes: guard page %v", size, !want)
		}
	}
	// A span may end the address space.
	d := parse(t, minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}).
		MemoryInfo(minidumptest.MemoryInfo{Base: 0xffff_ffff_ffff_f000, Size: 0x1000, Protection: read}).
		Exception(minidumptest.Exception{Code: 11, Flags: 1, Address: 0xffff_7fff_ffff_f123}))
	if c, _ := triage.Analyze(d); len(c.BitFlips) != 1 || c.BitFlips[0].Address != 0xffff_ffff_ffff_f123 {
		t.Errorf("flips into the last page: %+v", c.BitFlips)
	}
	// Nothing is said where addresses have 32 bits, nor on arm64.
	for _, architecture := range []uint16{minidumptest.X86, minidumptest.ARM, minidumptest.ARM64} {
		d := parse(t, minidumptest.New(false).System(minidumptest.System{Architecture: architecture, Platform: minidumptest.Linux}).
			MemoryInfo(minidumptest.MemoryInfo{Base: 0x10000, Size: 0x1000, Protection: read}).
			Exception(minidumptest.Exception{Code: 11, Flags: 1, Address: 0x810000}))
		if c, _ := triage.Analyze(d); c.BitFlips != nil {
			t.Errorf("architecture %d: %+v", architecture, c.BitFlips)
		}
	}
}

// General protection faults, as each system tells of them, and how far non-canonical addresses go.
func TestNonCanonical(t *testing.T) {
	load := []byte{0x8b, 0x03} // mov eax, [rbx]
	linux := func(signal uint32) minidumptest.Exception { return minidumptest.Exception{Code: signal, Flags: 0x80} }
	windows := minidumptest.Exception{Code: 0xc0000005, NumParameters: 2, Information: [15]uint64{0, ^uint64(0)}}
	other := windows
	other.Information[1] = 0x1234
	mac := minidumptest.Exception{Code: 1, Flags: 13}
	for _, tt := range []struct {
		platform uint32
		e        minidumptest.Exception
		rbx      uint64
		want     bool
	}{
		{minidumptest.Linux, linux(11), 0x0000_7fff_ffff_ffff, false},
		{minidumptest.Linux, linux(11), 0x0000_8000_0000_0000, true},
		{minidumptest.Linux, linux(11), 0xffff_7fff_ffff_ffff, true},
		{minidumptest.Linux, linux(11), 0xffff_8000_0000_0000, false},
		{minidumptest.Linux, linux(7), 0x0005_0000_0000_0000, true},
		{minidumptest.Linux, linux(4), 0x0005_0000_0000_0000, false},
		{minidumptest.Android, linux(11), 0x0005_0000_0000_0000, true},
		{minidumptest.MacOS, mac, 0x0005_0000_0000_0000, true},
		{minidumptest.IOS, mac, 0x0005_0000_0000_0000, true},
		{minidumptest.MacOS, minidumptest.Exception{Code: 1, Flags: 1}, 0x0005_0000_0000_0000, false},
		{minidumptest.Windows, windows, 0x0005_0000_0000_0000, true},
		{minidumptest.Windows, other, 0x0005_0000_0000_0000, false},
	} {
		c := crashed(t, tt.platform, load, minidumptest.ContextAMD64{RBX: tt.rbx}, tt.e)
		if (c.Adjusted == triage.NonCanonical) != tt.want || tt.want && c.AdjustedAddress != tt.rbx {
			t.Errorf("platform %#x, code %#x, rbx %#x: %d, %#x", tt.platform, tt.e.Code, tt.rbx, c.Adjusted, c.AdjustedAddress)
		}
		if c.NullPointer && tt.want {
			t.Errorf("platform %#x, rbx %#x: null", tt.platform, tt.rbx)
		}
		for _, f := range c.BitFlips { // only in the bits that make it so
			if (f.Address^tt.rbx)<<16 != 0 {
				t.Errorf("rbx %#x: %+v", tt.rbx, f)
			}
		}
	}
}

// Reasons that instructions cannot have.
func TestInconsistencies(t *testing.T) {
	idiv, div, load, store, nop := []byte{0x48, 0xf7, 0xf9}, []byte{0x48, 0xf7, 0xf1}, []byte{0x8b, 0x03}, []byte{0x89, 0x03}, []byte{0x90}
	access := func(kind, addr uint64) minidumptest.Exception {
		return minidumptest.Exception{Code: 0xc0000005, NumParameters: 2, Information: [15]uint64{kind, addr}}
	}
	const read, write = 2, 4
	for _, tt := range []struct {
		platform   uint32
		code       []byte
		e          minidumptest.Exception
		protection uint32 // of 0x10000
		want       string
	}{
		{minidumptest.Linux, idiv, minidumptest.Exception{Code: 8, Flags: 1}, read, "[]"},
		{minidumptest.Linux, div, minidumptest.Exception{Code: 8, Flags: 1}, read, "[]"},
		{minidumptest.Linux, nop, minidumptest.Exception{Code: 8, Flags: 1}, read, "[" + triage.NoDivision + "]"},
		{minidumptest.Linux, nop, minidumptest.Exception{Code: 8, Flags: 3}, read, "[]"},
		{minidumptest.MacOS, nop, minidumptest.Exception{Code: 3, Flags: 1}, read, "[" + triage.NoDivision + "]"},
		{minidumptest.Windows, load, minidumptest.Exception{Code: 0xc0000094}, read, "[" + triage.NoDivision + "]"},
		{minidumptest.Windows, nop, minidumptest.Exception{Code: 0xc0000096}, read, "[" + triage.NotPrivileged + "]"},
		{minidumptest.Windows, []byte{0xf4}, minidumptest.Exception{Code: 0xc0000096}, read, "[]"},
		{minidumptest.Windows, load, access(0, 0x10000), 1, "[]"},
		{minidumptest.Windows, load, access(0, 0x10004), 1, "[" + triage.AccessNotPerformed + "]"},
		{minidumptest.Windows, load, access(1, 0x10000), 1, "[" + triage.AccessNotPerformed + "]"},
		{minidumptest.Windows, store, access(0, 0x10000), 1, "[" + triage.AccessNotPerformed + "]"},
		{minidumptest.Windows, store, access(1, 0x10003), 1, "[]"},
		{minidumptest.Windows, []byte{0x01, 0x03}, access(1, 0x10000), 1, "[]"},
		{minidumptest.Windows, []byte{0x0f, 0xaf, 0x03}, access(1, 0x10000), 1, "[]"}, // imul: what it does to its operand is not known
		{minidumptest.Windows, load, access(0, 0x10000), read, "[" + triage.AccessAllowed + "]"},
		{minidumptest.Windows, store, access(1, 0x10000), read, "[]"},
		{minidumptest.Windows, store, access(1, 0x10000), write, "[" + triage.AccessAllowed + "]"},
		{minidumptest.Windows, load, access(8, codeAt), read, "[]"},
		{minidumptest.Windows, load, access(8, 0x10000), read, "[" + triage.AccessNotPerformed + "]"},
		{minidumptest.Windows, load, access(0, ^uint64(0)), read, "[" + triage.NotNonCanonical + "]"},
		{minidumptest.Windows, []byte{0x0f, 0x28, 0x03}, access(0, ^uint64(0)), read, "[]"}, // movaps may be misaligned
		{minidumptest.Windows, []byte{0x74, 0}, access(0, ^uint64(0)), read, "[]"},          // whether it jumps is not known
		{minidumptest.Windows, []byte{0xff, 0xe1}, access(0, ^uint64(0)), read, "[]"},       // jumps to a non-canonical address
		{minidumptest.Windows, nop, minidumptest.Exception{Code: 0xc00000fd}, read, "[]"},   // not known
		{minidumptest.Windows, []byte{0x01, 0xd8}, minidumptest.Exception{Code: 0xc00000fd}, read, "[" + triage.AccessNotPerformed + "]"},
		{minidumptest.Windows, load, minidumptest.Exception{Code: 0xc00000fd}, read, "[]"},
		{minidumptest.Windows, nil, access(0, 0x10000), 1, "[]"},
	} {
		c := crashed(t, tt.platform, tt.code, minidumptest.ContextAMD64{RBX: 0x10000, RCX: 0x5_0000_0000_0000}, tt.e, tt.protection)
		if got := fmt.Sprint(c.Inconsistencies); got != tt.want {
			t.Errorf("platform %#x, % x, code %#x %#x: %s, want %s", tt.platform, tt.code, tt.e.Code, tt.e.Information[:2], got, tt.want)
		}
	}
}

// A null pointer and the end of a stack, told from the address alone, on any processor.
func TestLikely(t *testing.T) {
	const sp = uint64(0x7f00_0010_0000)
	maps := fmt.Sprintf("%x-%x ---p 00000000 00:00 0 \n%x-%x rw-p 00000000 00:00 0 \n", sp-0x1000, sp, sp, sp+0x100000)
	maps += fmt.Sprintf("%x-%x rw-p 00000000 00:00 0 \n", sp+0x301000, sp+0x302000)
	for _, tt := range []struct {
		code, flags    uint32
		addr, sp       uint64
		null, overflow bool
	}{
		{11, 1, 0, sp + 64, true, false},
		{11, 1, 4095, sp + 64, true, false},
		{11, 1, 4096, sp + 64, false, false},
		{11, 0, 0, sp + 64, true, false},
		{11, 0x80, 0, sp + 64, false, false}, // an address the system did not learn
		{11, 0xfffffffa, 77, sp + 64, false, false},
		{8, 1, 0, sp + 64, false, false},
		{11, 2, sp - 8, sp, false, true},
		{11, 2, sp - 8, sp - 8, false, true},
		{7, 2, sp - 8, sp, false, true},
		{11, 1, sp - 0x1008, sp, false, true},              // a frame larger than the guard page
		{11, 1, sp - 0x20000, sp, false, false},            // too far
		{11, 2, sp - 8, sp + 0x20000, false, false},        // the stack pointer is elsewhere
		{11, 2, sp + 8, sp, false, false},                  // accessible
		{11, 1, sp + 0x100000, sp + 0xffff0, false, false}, // behind the other end
		{4, 1, sp - 8, sp, false, false},
		{11, 2, sp + 0x300000, sp + 0x300000, false, false}, // another stack, of which nothing is in the dump
		{11, 2, sp - 0x18000, sp - 0x10000, false, false},
	} {
		b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.ARM64, Platform: minidumptest.Linux}).LinuxText(minidumptest.LinuxMaps, maps).
			Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: sp, Data: make([]byte, 64)}}).
			Exception(minidumptest.Exception{ThreadID: 1, Code: tt.code, Flags: tt.flags, Address: tt.addr, Context: minidumptest.ContextARM64{SP: tt.sp}})
		c, _ := triage.Analyze(parse(t, b))
		if c.NullPointer != tt.null || c.StackOverflow != tt.overflow {
			t.Errorf("signal %d, %#x at %#x, sp %#x: null %v, overflow %v", tt.code, tt.flags, tt.addr, tt.sp, c.NullPointer, c.StackOverflow)
		}
	}
	for addr, want := range map[uint64]bool{sp + 8: false, sp - 8: true, sp - stackAt: false} { // of an address space that is not in the dump
		b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.ARM64, Platform: minidumptest.Linux}).
			Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: sp, Data: make([]byte, 64)}}).
			Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Flags: 1, Address: addr, Context: minidumptest.ContextARM64{SP: sp - 16}})
		if c, _ := triage.Analyze(parse(t, b)); c.StackOverflow != want {
			t.Errorf("%#x: overflow %v", addr, c.StackOverflow)
		}
	}
	for addr, want := range map[uint64]bool{0x8008: false, 0x7ff8: true} { // of a stack that is not in the dump
		b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.ARM64, Platform: minidumptest.Linux}).
			LinuxText(minidumptest.LinuxMaps, "8000-9000 rw-p 0 0:0 0\n9000-a000 rw-p 0 0:0 0\n").
			Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Flags: 1, Address: addr, Context: minidumptest.ContextARM64{SP: 0x8000}})
		if c, _ := triage.Analyze(parse(t, b)); c.StackOverflow != want {
			t.Errorf("%#x: overflow %v", addr, c.StackOverflow)
		}
	}
	if c := crashed(t, minidumptest.Windows, nil, minidumptest.ContextAMD64{}, minidumptest.Exception{Code: 0xc00000fd}); !c.StackOverflow {
		t.Error("EXCEPTION_STACK_OVERFLOW is none")
	}
}
