package unwind_test

import (
	"fmt"
	"strings"
	"testing"

	"salvage/debug/cfi"
)

// A function in six steps: entered, registers pushed, frame pointer saved, set, registers overwritten, the frame
// given to another register, and the stack pointer moved far below. At each the caller is the same.
func TestPrologue(t *testing.T) {
	for _, tt := range []struct {
		cpu     *cfi.CPU
		size    uint64 // of a word
		records string
		regs    [7]string // at each step; {n} is the address of the word n of the stack
		want    string
	}{
		{cfi.ARM64, 8, `INIT 1000 100 .cfa: sp 0 + .ra: x30
1001 .cfa: sp 48 + x19: .cfa -48 + ^ x20: .cfa -40 + ^
1002 x29: .cfa -16 + ^ .ra: .cfa -8 + ^
1003 .cfa: x29 16 +
1004 .ra: .cfa 8 - ^
1005 .cfa: x21 16 + x21: .cfa -32 + ^
1006 .cfa: x29 16 +`,
			[7]string{
				"sp={6} lr=402020 x19=13 x20=14 x21=15 fp=7fff0f00", "sp={0} lr=402020 x19=bad x20=bad x21=15 fp=7fff0f00", "sp={0} lr=bad x19=bad x20=bad x21=15 fp=bad",
				"sp={0} lr=bad fp={4} x21=15", "sp={0} lr=bad fp={4} x21=15", "sp={0} fp=bad x21={4}", "sp={0} fp={4} x21=bad",
			},
			"402020 cfi x19=13 x20=14 x21=15 fp=7fff0f00 sp=7fff0030"},
		{cfi.ARM, 4, `INIT 1000 100 .cfa: sp .ra: lr
1001 .cfa: sp 24 + r4: .cfa -24 + ^ r5: .cfa -20 + ^
1002 r11: .cfa -8 + ^ .ra: .cfa -4 + ^
1003 .cfa: r11 8 +
1004 .ra: .cfa 4 - ^
1005 .cfa: r6 8 + r6: .cfa -16 + ^
1006 .cfa: fp 8 +`,
			[7]string{
				"sp={6} lr=402021 r4=13 r5=14 r6=15 fp=7fff0f00", "sp={0} lr=402021 r4=bad r5=bad r6=15 fp=7fff0f00", "sp={0} lr=bad r4=bad r5=bad r6=15 fp=bad",
				"sp={0} lr=bad fp={4} r6=15", "sp={0} lr=bad fp={4} r6=15", "sp={0} fp=bad r6={4}", "sp={0} fp={4} r6=bad",
			},
			"402021 cfi r4=13 r5=14 r6=15 fp=7fff0f00 sp=7fff0018"},
		{cfi.X86, 4, `INIT 1000 100 .cfa: $esp 4 + .ra: .cfa 4 - ^
1001 .cfa: $esp 24 + $ebx: .cfa -24 + ^ $esi: .cfa -20 + ^
1002 $ebp: .cfa -8 + ^
1003 .cfa: $ebp 8 +
1004 .ra: .cfa -4 + ^
1005 .cfa: $edi 8 + $edi: .cfa -16 + ^
1006 .cfa: $ebp 8 +`,
			[7]string{
				"esp={5} ebx=13 esi=14 edi=15 ebp=7fff0f00", "esp={0} ebx=bad esi=bad edi=15 ebp=7fff0f00", "esp={0} edi=15 ebp=bad",
				"esp={0} ebp={4} edi=15", "esp={0} ebp={4} edi=15", "esp={0} ebp=bad edi={4}", "esp={0} ebp={4} edi=bad",
			},
			"402020 cfi ebx=13 esp=7fff0018 ebp=7fff0f00 esi=14 edi=15"},
	} {
		ra := uint64(0x402020)
		if tt.cpu == cfi.ARM {
			ra++ // Thumb
		}
		for step, regs := range tt.regs {
			for n := range 7 {
				regs = strings.ReplaceAll(regs, fmt.Sprintf("{%d}", n), fmt.Sprintf("%x", stackBase+tt.size*uint64(n)))
			}
			m := machine{cpu: tt.cpu, regs: fmt.Sprintf("%s=%x %s", tt.cpu.RegisterName(tt.cpu.PC), module+0x1000+step, regs),
				stack: []uint64{0x13, 0x14, 0x15, 0, 0x7fff0f00, ra, 0, 0, 0}, records: "STACK CFI " + strings.ReplaceAll(tt.records, "\n", "\nSTACK CFI ") + "\n"}
			if lines := strings.Split(m.frames(t), "\n"); len(lines) < 2 || lines[1] != tt.want {
				t.Errorf("%s at step %d: got  %q\nwant %s", tt.cpu.Name, step, lines, tt.want)
			}
		}
	}
}
