package cfi_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/symbols"
)

// machine runs prologues: registers in the order of unwind codes, and a stack.
type machine struct {
	regs [16]uint64
	mem  map[uint64]uint64
	pc   uint64
}

const msRSP = 4

// dwarfNumber maps registers of unwind codes.
var dwarfNumber = [16]uint8{0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15}

func (m *machine) push(v uint64) {
	m.regs[msRSP] -= 8
	m.mem[m.regs[msRSP]] = v
}

func (m *machine) registers() (r cfi.Registers) {
	for i, v := range m.regs {
		r.Set(dwarfNumber[i], v)
	}
	r.Set(cfi.AMD64.PC, m.pc)
	return r
}

// unwindImage collects unwind data at addresses.
type unwindImage struct {
	pdata []byte
	data  []byte // from xdataAddr on
}

const xdataAddr = 0x100000

func (u *unwindImage) at(addr uint32) []byte {
	if addr < xdataAddr || addr-xdataAddr >= uint32(len(u.data)) {
		return nil
	}
	return u.data[addr-xdataAddr:]
}

func (u *unwindImage) entry(begin, end, info uint32) []byte {
	var b []byte
	for _, v := range []uint32{begin, end, info} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// info adds an unwind information and returns its address. Codes are in the order in which they run.
func (u *unwindImage) info(flags, frame byte, codes [][]byte, chain []byte) uint32 {
	addr := uint32(xdataAddr + len(u.data))
	codes = slices.Clone(codes)
	slices.Reverse(codes)
	all := slices.Concat(codes...)
	u.data = append(u.data, 1|flags<<3, 0, byte(len(all)/2), frame)
	u.data = append(u.data, all...)
	if len(all)%4 != 0 {
		u.data = append(u.data, 0, 0)
	}
	u.data = append(u.data, chain...)
	for len(u.data)%4 != 0 {
		u.data = append(u.data, 0)
	}
	return addr
}

func (u *unwindImage) cache(t *testing.T) *cfi.Cache {
	t.Helper()
	b := cfi.NewBuilder(cfi.AMD64, false)
	b.FunctionTable(&cfi.FunctionTable{Data: u.pdata, At: u.at, Code: []symbols.Extent{{Addr: 0x1000, Size: 0x1000}}})
	if n, problems := b.Bad(); n > 0 {
		t.Fatal(problems)
	}
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Random prologues are run on a machine. After each instruction, and in the body, the rules must give the
// registers that the caller had.
func TestPrologues(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	nonvolatile := []byte{3, 5, 6, 7, 12, 13, 14, 15}
	checked, frames, traps, chains := 0, 0, 0, 0
	for range 4000 {
		m := &machine{mem: map[uint64]uint64{}}
		for i := range m.regs {
			m.regs[i] = rng.Uint64()
		}
		m.regs[msRSP] = 0x7000_0000 + rng.Uint64N(1<<20)*16
		want := m.registers()
		ret := rng.Uint64()
		var codes [][]byte // in the order in which they run
		var states []machine
		var offsets []uint32
		offset := byte(0)
		snapshot := func() {
			states = append(states, machine{regs: m.regs, pc: m.pc})
			offsets = append(offsets, uint32(offset))
		}
		code := func(op, info byte, more ...byte) {
			codes = append(codes, append([]byte{offset, info<<4 | op}, more...))
			snapshot()
		}
		want.Set(cfi.AMD64.PC, ret)
		signal := rng.IntN(8) == 0
		if signal {
			traps++
			old := m.regs[msRSP]
			for _, v := range []uint64{0x2b, old, 0x246, 0x33, ret} { // SS, RSP, EFLAGS, CS, RIP
				m.push(v)
			}
			info := byte(rng.IntN(2))
			if info == 1 {
				m.push(14)
			}
			code(10, info)
		} else {
			m.push(ret)
			snapshot()
		}
		step := func() { offset += byte(1 + rng.IntN(7)) }
		size := 0 // of pushes and allocations
		saved := map[byte]bool{}
		for range rng.IntN(4) {
			if r := nonvolatile[rng.IntN(len(nonvolatile))]; !saved[r] {
				saved[r] = true
				m.push(m.regs[r])
				size += 8
				step()
				code(0, r)
				if rng.IntN(2) == 0 {
					m.regs[r] = rng.Uint64()
				}
			}
		}
		alloc := 0
		switch rng.IntN(4) {
		case 1:
			alloc = 8 * (1 + rng.IntN(16))
			m.regs[msRSP] -= uint64(alloc)
			step()
			code(2, byte(alloc/8-1))
		case 2:
			alloc = 8 * (17 + rng.IntN(1000))
			m.regs[msRSP] -= uint64(alloc)
			step()
			code(1, 0, byte(alloc/8), byte(alloc/8>>8))
		case 3:
			alloc = 1<<20 + 8*rng.IntN(1000)
			m.regs[msRSP] -= uint64(alloc)
			step()
			code(1, 1, binary.LittleEndian.AppendUint32(nil, uint32(alloc))...)
		}
		frame := byte(0)
		base := m.regs[msRSP]
		if r := nonvolatile[rng.IntN(len(nonvolatile))]; rng.IntN(2) == 0 && saved[r] {
			n := byte(rng.IntN(min(16, alloc/16+1)))
			frame = n<<4 | r
			m.regs[r] = base + 16*uint64(n)
			step()
			code(3, n)
			frames++
			if rng.IntN(2) == 0 { // what is saved later is found by the frame register all the same
				more := 8 * (1 + rng.IntN(16))
				m.regs[msRSP] -= uint64(more)
				step()
				code(2, byte(more/8-1))
			}
		}
		parent := len(codes)
		var slots []int
		for i := 0; i+8 <= alloc && i < 4000; i += 8 {
			slots = append(slots, i)
		}
		chained := rng.IntN(3) == 0
		save := func() {
			for range rng.IntN(4) {
				r := nonvolatile[rng.IntN(len(nonvolatile))]
				if saved[r] || len(slots) == 0 {
					continue
				}
				saved[r] = true
				k := rng.IntN(len(slots))
				at := slots[k]
				slots = slices.Delete(slots, k, k+1)
				m.mem[base+uint64(at)] = m.regs[r]
				step()
				if rng.IntN(2) == 0 {
					code(4, r, byte(at/8), byte(at/8>>8))
				} else {
					code(5, r, binary.LittleEndian.AppendUint32(nil, uint32(at))...)
				}
				m.regs[r] = rng.Uint64()
			}
		}
		u := new(unwindImage)
		starts := make([]uint32, 0, 32) // of the function that each state is in
		if !chained {
			save()
			u.pdata = append(u.pdata, u.entry(0x1100, 0x1200, u.info(1, frame, codes, []byte{1, 2, 3, 4}))...)
			for range states {
				starts = append(starts, 0x1100)
			}
		} else {
			chains++
			info := u.info(0, frame, codes, nil)
			for range states {
				starts = append(starts, 0x1100)
			}
			first := u.entry(0x1100, 0x1200, info)
			offset = 0
			states, offsets = append(states, machine{regs: m.regs}), append(offsets, 0)
			save()
			for len(starts) < len(states) {
				starts = append(starts, 0x1300)
			}
			second := u.entry(0x1300, 0x1400, u.info(4, frame, codes[parent:], first))
			u.pdata = append(append(u.pdata, first...), second...)
		}
		if frame != 0 { // alloca
			m.regs[msRSP] -= 16 * rng.Uint64N(100)
		}
		offset = 0xff
		snapshot()
		starts = append(starts, starts[len(starts)-1])
		c := u.cache(t)
		for i, s := range states {
			rules, ok := c.Lookup(uint64(starts[i] + offsets[i]))
			if !ok {
				t.Fatal("no rules")
			}
			regs := s.registers()
			got, err := rules.Unwind(&regs, func(addr uint64, size uint8) (uint64, bool) {
				v, ok := m.mem[addr]
				return v, ok && size == 8
			})
			if err != nil || rules.Signal() != signal {
				t.Fatalf("state %d: %v, signal %v", i, err, rules.Signal())
			}
			checked++
			for _, r := range append([]byte{msRSP}, nonvolatile...) {
				a, ok := got.Get(dwarfNumber[r])
				b, _ := want.Get(dwarfNumber[r])
				if !ok || a != b {
					t.Fatalf("state %d, %#x into %#x: register %d %#x %v, want %#x\ncodes % x", i, offsets[i], starts[i], r, a, ok, b, codes)
				}
			}
			if a, _ := got.Get(cfi.AMD64.PC); a != ret {
				t.Fatalf("state %d: returns to %#x, want %#x", i, a, ret)
			}
		}
	}
	if frames == 0 || traps == 0 || chains == 0 {
		t.Error("something was never tried")
	}
	t.Logf("%d states, %d with a frame register, %d traps, %d chained", checked, frames, traps, chains)
}

// Code without an entry is a leaf: the return address is on top of the stack.
func TestLeaf(t *testing.T) {
	u := new(unwindImage)
	u.pdata = u.entry(0x1100, 0x1200, u.info(0, 0, [][]byte{{4, 0x92}}, nil)) // 80 bytes
	c := u.cache(t)
	for _, tt := range []struct {
		addr, cfa uint64
	}{{0x1000, 8}, {0x10ff, 8}, {0x1100, 8}, {0x1104, 88}, {0x11ff, 88}, {0x1200, 8}, {0x1fff, 8}} {
		r, ok := c.Lookup(tt.addr)
		regs := cfi.Registers{}
		regs.Set(7, 0x100000)
		got, err := r.Unwind(&regs, func(addr uint64, size uint8) (uint64, bool) { return addr, true })
		sp, _ := got.Get(7)
		pc, _ := got.Get(16)
		if !ok || err != nil || sp != 0x100000+tt.cfa || pc != sp-8 {
			t.Errorf("%#x: sp %#x, pc %#x, %v", tt.addr, sp, pc, err)
		}
	}
	if _, ok := c.Lookup(0x2000); ok {
		t.Error("rules outside the code")
	}
}

// What cannot be used of a table is counted.
func TestBadFunctionTable(t *testing.T) {
	u := new(unwindImage)
	good := u.info(0, 0, [][]byte{{1, 0x50}}, nil)
	loop := uint32(xdataAddr + len(u.data))
	u.info(4, 0, nil, u.entry(0, 0, loop))
	version := uint32(xdataAddr + len(u.data))
	u.data = append(u.data, 7, 0, 0, 0)
	unknown := u.info(0, 0, [][]byte{{1, 0x0f}}, nil)
	cut := uint32(xdataAddr + len(u.data))
	u.data = append(u.data, 1, 0, 40, 0)
	for i, info := range []uint32{good, loop, version, unknown, cut, 0x50, good} {
		begin := uint32(0x1000 + 0x10*i)
		end := begin + 0x10
		if i == 6 {
			end = begin - 1
		}
		u.pdata = append(u.pdata, u.entry(begin, end, info)...)
	}
	u.pdata = append(u.pdata, make([]byte, 15)...)
	b := cfi.NewBuilder(cfi.AMD64, false)
	b.FunctionTable(&cfi.FunctionTable{Data: u.pdata, At: u.at})
	n, problems := b.Bad()
	if n != 6 || len(problems) != 6 {
		t.Errorf("%d bad: %v", n, problems)
	}
	// Entries that share many codes: work ends.
	u = new(unwindImage)
	var codes [][]byte
	for i := range byte(250) {
		codes = append(codes, []byte{i, 0x50})
	}
	info := u.info(0, 0, codes, nil)
	for i := range uint32(20000) {
		u.pdata = append(u.pdata, u.entry(0x1000*i+1, 0x1000*i+0x1000, info)...)
	}
	b = cfi.NewBuilder(cfi.AMD64, false)
	b.FunctionTable(&cfi.FunctionTable{Data: u.pdata, At: u.at})
	if n, _ := b.Bad(); n != 1 {
		t.Errorf("%d bad", n)
	}
}

func FuzzFunctionTable(f *testing.F) {
	u := new(unwindImage)
	info := u.info(0, 0x35, [][]byte{{0, 0xa}, {1, 0x50}, {4, 0x92}, {8, 0x03}, {12, 0x64, 2, 0}}, nil)
	first := u.entry(0x1100, 0x1200, info)
	second := u.entry(0x1300, 0x1400, u.info(4, 0x35, [][]byte{{3, 0x75, 8, 0, 0, 0}}, first))
	f.Add(append(append([]byte{}, first...), second...), u.data)
	f.Fuzz(func(t *testing.T, pdata, xdata []byte) {
		u := unwindImage{pdata, xdata}
		b := cfi.NewBuilder(cfi.AMD64, false)
		b.FunctionTable(&cfi.FunctionTable{Data: u.pdata, At: u.at, Code: []symbols.Extent{{Addr: 0x1000, Size: 0x1000}}})
		var out bytes.Buffer
		st, err := b.Write(&out, debugid.ID{})
		if err != nil {
			return
		}
		c, err := cfi.Parse(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for addr := range c.Ranges() {
			n++
			r, ok := c.Lookup(addr)
			if !ok {
				continue
			}
			var regs cfi.Registers
			_, _ = r.Unwind(&regs, func(uint64, uint8) (uint64, bool) { return 0, false })
		}
		if n != st.Ranges {
			t.Fatal(fmt.Sprint(n, st.Ranges))
		}
	})
}
