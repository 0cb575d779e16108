package cfi_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/cfi"
)

// section returns a .debug_frame of AMD64 with a CIE that starts as functions do, and an FDE of 0x20 bytes at each
// of addrs with the same instructions.
func section(instructions []byte, addrs ...uint64) []byte {
	entry := func(body []byte) []byte {
		for len(body)%8 != 4 {
			body = append(body, 0) // DW_CFA_nop
		}
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	data := entry([]byte{0xff, 0xff, 0xff, 0xff, 3, 0, 1, 0x78, 16, 0x0c, 7, 8, 0x90, 1})
	for _, addr := range addrs {
		body := binary.LittleEndian.AppendUint64(make([]byte, 4), addr)
		data = append(data, entry(append(binary.LittleEndian.AppendUint64(body, 0x20), instructions...))...)
	}
	return data
}

// What each kind of rule is as text. Of what STACK CFI cannot say nothing is there.
func TestText(t *testing.T) {
	const first = "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n"
	for _, tt := range []struct {
		name, instructions, want string
		lost                     int
	}{
		{"push", "\x41\x0e\x10\x86\x02", first + "STACK CFI 1001 .cfa: $rsp 16 + $rbp: .cfa -16 + ^\n", 0},
		{"restore", "\x86\x02\x80\x03\x41\xc6\xc0", // of a register that callees preserve, and of one they do not
			"STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rax: .cfa -24 + ^ $rbp: .cfa -16 + ^\nSTACK CFI 1001 $rax: .undef $rbp: $rbp\n", 0},
		{"end of stack", "\x07\x10", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .undef\n", 0},
		{"register and value", "\x09\x03\x00\x14\x06\x02", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: $rax $rbp: .cfa -16 +\n", 0},
		{"expression in memory", "\x10\x03\x03\x77\xf8\x00", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: $rsp 120 + ^\n", 0},
		{"negative offset", "\x16\x03\x02\x77\x70", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: $rsp -16 +\n", 0},
		{"aligned CFA", "\x0f\x05\x76\x08\x09\xf0\x1a", "STACK CFI INIT 1000 20 .cfa: $rbp 8 + 16 @ .ra: .cfa -8 + ^\n", 0},
		{"low bits", "\x16\x03\x04\x70\x00\x3f\x1a", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: $rax 16 %\n", 0},
		{"PLT", "\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + $rip 16 % 5 + 16 / 8 * + .ra: .cfa -8 + ^\n", 0},
		{"shift", "\x16\x03\x04\x70\x00\x33\x24", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: .undef\n", 1},
		{"two values", "\x16\x03\x03\x70\x00\x33", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: .undef\n", 1},
		{"xmm6 saved, then as it was: it has no name", "\x97\x02\x41\x08\x17", first, 0},
		{"rbx in xmm6", "\x09\x03\x17", "STACK CFI INIT 1000 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^ $rbx: .undef\n", 1},
		{"CFA from xmm6", "\x44\x0d\x17", "STACK CFI INIT 1000 4 .cfa: $rsp 8 + .ra: .cfa -8 + ^\n", 1},
		{"shift in the CFA", "\x44\x0f\x04\x77\x00\x33\x24\x44\x0c\x07\x20\x48\x0e\x28",
			"STACK CFI INIT 1000 4 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI INIT 1008 18 .cfa: $rsp 32 + .ra: .cfa -8 + ^\nSTACK CFI 1010 .cfa: $rsp 40 +\n", 1},
	} {
		b := cfi.NewBuilder(cfi.AMD64, false)
		b.Frames(&cfi.FrameSection{Data: section([]byte(tt.instructions), 0x1000), AddrSize: 8})
		var text strings.Builder
		lost, err := b.WriteText(&text)
		bad, problems := b.Bad()
		if text.String() != tt.want || (lost > 0) != (tt.lost > 0) || err != nil || bad > 0 {
			t.Errorf("%s: %d lost, %v, %v\n%swant\n%s", tt.name, lost, err, problems, &text, tt.want)
		}
	}
}

// Where functions overlap, each has the records of its own bytes; on ARM the return address is in a register unless
// something else is said.
func TestTextOverlap(t *testing.T) {
	b := cfi.NewBuilder(cfi.AMD64, false)
	b.Frames(&cfi.FrameSection{Data: section([]byte("\x4c\x0e\x10"), 0x1010, 0x1000, 0x1024), AddrSize: 8})
	var text strings.Builder
	if _, err := b.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	const want = "STACK CFI INIT 1000 10 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI 100c .cfa: $rsp 16 +\n" +
		"STACK CFI INIT 1010 20 .cfa: $rsp 8 + .ra: .cfa -8 + ^\nSTACK CFI 101c .cfa: $rsp 16 +\n" +
		"STACK CFI INIT 1030 14 .cfa: $rsp 16 + .ra: .cfa -8 + ^\n"
	if text.String() != want {
		t.Errorf("%swant\n%s", &text, want)
	}
	b = cfi.NewBuilder(cfi.ARM64, false)
	data := section([]byte("\x0c\x1f\x10\x9d\x02"), 0x1000) // the CIE's rules of registers 7 and 16 are ordinary ones there
	data[12] = 30
	b.Frames(&cfi.FrameSection{Data: data, AddrSize: 8})
	text.Reset()
	if _, err := b.WriteText(&text); err != nil || !strings.HasSuffix(text.String(), ".cfa: sp 16 + .ra: x30 x16: .cfa -8 + ^ x29: .cfa -16 + ^\n") {
		t.Errorf("%s, %v", &text, err)
	}
}

// STACK WIN records go through as they came.
func TestTextWin(t *testing.T) {
	const records = "STACK WIN 4 1000 20 5 0 8 c 10 0 1 $T0 .raSearch = $eip $T0 ^ = $esp $T0 4 + =\nSTACK WIN 0 1040 20 0 0 4 4 8 0 0 1\n"
	b := cfi.NewBuilder(cfi.X86, false)
	if _, err := breakpad.Parse([]byte("MODULE windows x86 000000000000000000000000000000000 x\n"+records), breakpad.Handler{Win: b.StackWin}, breakpad.Options{Strict: true}); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := b.WriteText(&text); err != nil || text.String() != records || b.Empty() {
		t.Errorf("%s, %v", &text, err)
	}
}
