package stackwalk_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
)

// TestParams: where a caller with STACK WIN rules has its return address depends on what its callee takes off the
// stack: FUNC and PUBLIC records tell, names of the linker if they do not.
func TestParams(t *testing.T) {
	for _, test := range []struct {
		callee string
		words  int // of parameters
	}{
		{"FUNC 1000 100 0 f", 0}, {"FUNC 1000 100 c f", 3}, {"FUNC m 1000 100 8 f", 2}, {"PUBLIC 1000 4 f", 1}, {"PUBLIC m 1000 8 f", 2},
		{"PUBLIC 1000 4 a\nPUBLIC 1000 c b", 3}, {"PUBLIC 1000 c b\nPUBLIC 1000 4 a", 3}, // of the name that is given
		{"FUNC 1000 100 10000 f", 0}, {"FUNC 1000 100 ffffffff _f@4", 1}, {"FUNC 1000 100 1fff0 f", 0},
		{"PUBLIC 1000 0 _f@12", 3}, {"FUNC 1000 100 0 _f@8", 2}, {"FUNC 1000 100 4 _f@8", 1}, {"PUBLIC 1000 0 _f@0", 0}, {"PUBLIC 1000 0 _f", 0},
		{"PUBLIC 1000 0 @f@8", 0}, {"PUBLIC 1000 0 @f@4", 0}, {"PUBLIC 1000 0 @f@12", 1}, {"PUBLIC 1000 0 f@@16", 2}, {"PUBLIC 1000 0 _f@65540", 0},
		{"PUBLIC 1000 0 ?f@@YGXH@Z", 0}, {"PUBLIC 1000 0 f(a@4)", 0}, {"FUNC 1000 100 c f\nSTACK WIN 0 1000 100 0 0 4 0 0 0 0 0", 1},
	} {
		words := make([]uint32, 16)
		words[0] = 0x402020 // the callee is a leaf
		words[1+test.words] = 0x403030
		var stack []byte
		for _, w := range words {
			stack = binary.LittleEndian.AppendUint32(stack, w)
		}
		ctx := minidumptest.ContextX86{EIP: 0x401010, ESP: 0x7000}
		d, err := minidump.Parse(minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.X86, Platform: minidumptest.Windows}).
			Module(minidumptest.Module{Addr: 0x400000, Size: 0x10000, Name: "app"}).
			Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: 0x7000, Data: stack}, Context: ctx}).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		text := "MODULE windows x86 0102030405060708090A0B0C0D0E0F101 app\n" + test.callee +
			"\nSTACK CFI INIT 1000 100 .cfa: $esp 4 + .ra: .cfa 4 - ^\nFUNC 2000 100 0 g\nSTACK WIN 0 2000 100 0 0 0 0 0 0 0 0\nFUNC 3000 100 0 h\n"
		r := stackwalk.Walk(t.Context(), d, oneSym{symFile: openSym(t, "app", []byte(text))}, stackwalk.Options{})
		got := ""
		for _, f := range r.Threads[0].Frames {
			sp, _ := f.Registers.Get(4)
			got += fmt.Sprintf("%x %x %v, ", f.PC, sp, f.Trust)
		}
		if want := fmt.Sprintf("401010 7000 context, 402020 7004 cfi, 403030 %x cfi, ", 0x7008+4*test.words); got != want {
			t.Errorf("%s: %s want %s", test.callee, got, want)
		}
	}
}
