package unwind_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/unwind"
)

// machine is a thread of a 32-bit or an ARM process with the modules of process.
type machine struct {
	cpu     *cfi.CPU
	old     bool   // arm64's older contexts
	os      uint32 // default Linux
	regs    string // name=hex
	base    uint64 // of the stack; default stackBase
	stack   []uint64
	more    []minidumptest.Region // other memory
	modules []minidumptest.Module // besides
	records string                // of module's symbol file
	maps    string
}

// number returns the register of that name.
func number(cpu *cfi.CPU, name string) uint8 {
	for r := range uint8(cfi.NumRegisters) {
		if cpu.RegisterName(r) == name {
			return r
		}
	}
	panic("no register " + name)
}

func (m machine) context() (c minidumptest.Context, arch uint16) {
	var r [cfi.NumRegisters]uint64
	for _, part := range strings.Fields(m.regs) {
		name, value, _ := strings.Cut(part, "=")
		fmt.Sscanf(value, "%x", &r[number(m.cpu, name)])
	}
	switch m.cpu {
	case cfi.ARM64:
		c := minidumptest.ContextARM64{Old: m.old, X: [31]uint64(r[:31]), SP: r[31], PC: r[32]}
		if m.old {
			return c, minidumptest.OldARM64
		}
		return c, minidumptest.ARM64
	case cfi.ARM:
		var c minidumptest.ContextARM
		for i := range c.R {
			c.R[i] = uint32(r[i])
		}
		return c, minidumptest.ARM
	}
	return minidumptest.ContextX86{
		EAX: uint32(r[0]), ECX: uint32(r[1]), EDX: uint32(r[2]), EBX: uint32(r[3]), ESP: uint32(r[4]), EBP: uint32(r[5]),
		ESI: uint32(r[6]), EDI: uint32(r[7]), EIP: uint32(r[8]),
	}, minidumptest.X86
}

// bytesOf lays words out as the CPU does.
func bytesOf(cpu *cfi.CPU, words []uint64) (b []byte) {
	for _, v := range words {
		if cpu.PointerSize == 4 {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		} else {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return b
}

func (m machine) dump() *minidumptest.Builder {
	ctx, arch := m.context()
	if m.os == 0 {
		m.os = minidumptest.Linux
	}
	if m.base == 0 {
		m.base = stackBase
	}
	b := minidumptest.New(false).System(minidumptest.System{Architecture: arch, Platform: m.os}).
		Module(minidumptest.Module{Addr: module, Size: 0x9000, Name: "/bin/prog"}).
		Module(minidumptest.Module{Addr: handler, Size: 0x9000, Name: "/lib/other.so"}).
		Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: m.base, Data: bytesOf(m.cpu, m.stack)}, Context: ctx})
	for _, x := range m.modules {
		b.Module(x)
	}
	for _, r := range m.more {
		b.Memory(r.Addr, r.Data)
	}
	if m.maps != "" {
		b.LinuxText(minidumptest.LinuxMaps, m.maps)
	}
	return b
}

func (m machine) walk(t testing.TB) unwind.Stack {
	t.Helper()
	d, err := minidump.Parse(m.dump().Bytes())
	if err != nil || len(d.Problems) > 0 {
		t.Fatal(err, d.Problems)
	}
	b := cfi.NewBuilder(m.cpu, false)
	if _, err := breakpad.Parse([]byte("MODULE Linux x 000000000000000000000000000000001 p\n"+m.records), breakpad.Handler{CFI: b.StackCFI, Win: b.StackWin}, breakpad.Options{}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return unwind.Walk(context.Background(), d, d.Threads[0].Context, d.Threads[0].Stack, provider{c}, unwind.Limits{})
}

// frames writes each frame on a line: the program counter, the trust, and of all but the first the registers that
// are known; of the general ones only those that are not zero.
func (m machine) frames(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	for i, f := range m.walk(t).Frames {
		fmt.Fprintf(&b, "%x %s", f.PC, f.Trust)
		if f.Signal {
			b.WriteString(" signal")
		}
		if f.Lookup == f.PC && i > 0 {
			b.WriteString(" interrupted")
		}
		for r := range uint8(cfi.NumRegisters) {
			v, ok := f.Registers.Get(r)
			name := m.cpu.RegisterName(r)
			special := r == m.cpu.SP || r == m.cpu.FP || r == m.cpu.LR
			if ok && i > 0 && r != m.cpu.PC && name != "" && (v != 0 || special) {
				fmt.Fprintf(&b, " %s=%x", name, v)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

type machineTest struct {
	name string
	in   machine
	want string // lines are separated by "; "
}

func testMachines(t *testing.T, cpu *cfi.CPU, tests []machineTest) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.in.cpu = cpu
			if got := strings.TrimSuffix(strings.ReplaceAll(tt.in.frames(t), "\n", "; "), "; "); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// zeros returns n words of zero and then the others.
func zeros(n int, words ...uint64) []uint64 { return append(make([]uint64, n), words...) }
