package object_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/object"
	"salvage/debug/object/pe"
	"salvage/internal/debugtest"
)

// armMachine runs the instructions of prologues and epilogues of arm64.
type armMachine struct {
	regs   [32]uint64 // sp is 31
	floats [32]uint64
	mem    map[uint64]uint64
	pc     uint32
	cookie [2]uint32       // functions that push and pop 16 bytes for their caller; 0: none
	stored map[uint32]bool // registers that are on the stack; floating point ones from 32
}

func (m *armMachine) clone() *armMachine {
	c := *m
	c.mem = map[uint64]uint64{}
	for k, v := range m.mem {
		c.mem[k] = v
	}
	return &c
}

// step runs an instruction; false: it is none of a prologue (or, of an epilogue).
func (m *armMachine) step(w uint32, epilogue bool) bool {
	sp := &m.regs[31]
	imm := uint64(w >> 10 & 0xfff)
	if w>>22&1 == 1 {
		imm <<= 12
	}
	reg := func(n uint32, float bool) *uint64 {
		if float {
			return &m.floats[n]
		}
		return &m.regs[n]
	}
	transfer := func(n uint32, float bool, addr uint64, load bool) {
		if load {
			*reg(n, float) = m.mem[addr]
			return
		}
		m.mem[addr] = *reg(n, float)
		if float {
			n += 32
		}
		m.stored[n] = true
	}
	kept := func(n uint32, float bool) bool {
		return !float && n >= 19 && n <= 30 || float && n >= 8 && n <= 15 || !epilogue && !float && n < 8
	}
	at := m.pc
	m.pc += 4
	switch {
	case w>>26 == 0x25 && m.cookie[0] > 0 && at+uint32(int32(w<<6)>>4) == m.cookie[0] && !epilogue:
		*sp -= 16
	case w>>26 == 0x25 && m.cookie[0] > 0 && at+uint32(int32(w<<6)>>4) == m.cookie[1] && epilogue:
		*sp += 16
	case w == 0xd503237f, w == 0xd50323ff, w == 0xd503201f: // pacibsp, autibsp, nop
		return w != 0xd503201f
	case w&0xff8003ff == 0xd10003ff && !epilogue: // sub sp, sp, #
		*sp -= imm
	case w&0xff8003ff == 0x910003ff && epilogue: // add sp, sp, #
		*sp += imm
	case w&0xff8003ff == 0x910003fd && !epilogue: // add x29, sp, #
		m.regs[29] = *sp + imm
	case w&0xff8003ff == 0x910003bf && epilogue: // add sp, x29, #
		*sp = m.regs[29] + imm
	case w&0xff8003ff == 0xd10003bf && epilogue: // sub sp, x29, #
		*sp = m.regs[29] - imm
	case (w>>25 == 0x54 || w>>25 == 0x36) && w>>5&31 == 31: // stp, ldp
		load, float, mode := w>>22&1 == 1, w>>26&1 == 1, w>>23&3
		offset := uint64(int64(int32(w<<10)>>25) * 8)
		a, b := w&31, w>>10&31
		if load != epilogue || !kept(a, float) || mode == 0 {
			return false
		}
		if mode == 3 {
			*sp += offset
		}
		at := *sp
		if mode == 2 {
			at += offset
		}
		transfer(a, float, at, load)
		transfer(b, float, at+8, load)
		if mode == 1 {
			*sp += offset
		}
	case (w>>22 == 0xf9000000>>22 || w>>22 == 0xf9400000>>22 || w>>22 == 0xfd000000>>22 || w>>22 == 0xfd400000>>22) && w>>5&31 == 31:
		load, float := w>>22&1 == 1, w>>26&1 == 1
		if load != epilogue || !kept(w&31, float) {
			return false
		}
		transfer(w&31, float, *sp+8*uint64(w>>10&0xfff), load)
	case (w>>21 == 0xf8000000>>21 || w>>21 == 0xf8400000>>21 || w>>21 == 0xfc000000>>21 || w>>21 == 0xfc400000>>21) && w>>5&31 == 31:
		load, float := w>>22&1 == 1, w>>26&1 == 1
		offset := uint64(int64(int32(w<<11) >> 23))
		if load != epilogue || !kept(w&31, float) {
			return false
		}
		switch {
		case w>>10&3 == 3 && !load:
			*sp += offset
			transfer(w&31, float, *sp, false)
		case w>>10&3 == 1 && load:
			transfer(w&31, float, *sp, true)
			*sp += offset
		default:
			return false
		}
	default:
		return false
	}
	return true
}

// checkARM runs every function with unwind data and compares what the rules say of its caller at each
// instruction: of the prologue, the body, and each epilogue.
func checkARM(t *testing.T, data []byte, cookie [2]uint32, least int) {
	t.Helper()
	f, err := pe.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	o, err := object.Open(data)
	if err != nil || !o.HasRules {
		t.Fatal("no rules", err)
	}
	rules := rulesOf(t, cfi.ARM64, func(b *cfi.Builder) {
		if err := o.Rules(b, new(object.Report)); err != nil {
			t.Error(err)
		}
	})
	r := rand.New(rand.NewPCG(1, 2))
	packed, full, checked, epilogues, differ := 0, 0, 0, 0, 0
	for p := f.ExceptionTable(); len(p) >= 8; p = p[8:] {
		begin, info := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])
		size := 4 * (info >> 2 & 0x7ff)
		if info&3 == 0 {
			full++
			size = 4 * (binary.LittleEndian.Uint32(f.At(info)) & 0x3ffff)
		} else {
			packed++
		}
		code := f.At(begin)[:size]
		if begin == cookie[0] || begin == cookie[1] {
			continue // they return with another stack pointer
		}
		m := &armMachine{mem: map[uint64]uint64{}, stored: map[uint32]bool{}, pc: begin, cookie: cookie}
		for i := range m.regs {
			m.regs[i] = r.Uint64()
			m.floats[i] = r.Uint64()
		}
		m.regs[31] &^= 15
		first := m.regs
		check := func(m *armMachine, at int, what string) bool {
			rule, ok := rules.Lookup(uint64(begin) + uint64(at))
			if !ok {
				t.Errorf("%#x+%#x: no rules", begin, at)
				return false
			}
			var callee cfi.Registers
			for i, v := range m.regs {
				callee.Set(uint8(i), v)
			}
			callee.Set(cfi.ARM64.PC, uint64(begin)+uint64(at))
			caller, err := rule.Unwind(&callee, func(addr uint64, _ uint8) (uint64, bool) { v, ok := m.mem[addr]; return v, ok })
			good := err == nil && caller.Values[cfi.ARM64.PC] == first[30] && caller.Values[31] == first[31]
			for i := 19; i <= 29; i++ {
				good = good && caller.Values[i] == first[i] && caller.Valid>>i&1 == 1
			}
			if checked++; !good {
				if differ++; differ < 6 {
					t.Errorf("%#x+%#x (%s, %#x), entry %#x: %v\n%x want\n%x", begin, at, what, binary.LittleEndian.Uint32(code[at:]), info, err, caller.Values[19:], first[19:])
				}
			}
			return good
		}
		at, ok := 0, true
		for ; at < len(code) && ok; at += 4 {
			ok = check(m, at, "prologue") // the state before the instruction
			if !ok || !m.step(binary.LittleEndian.Uint32(code[at:]), false) {
				break
			}
		}
		if !ok {
			continue
		}
		for reg := range m.stored { // the body has other values in them
			if reg >= 19 && reg < 29 {
				m.regs[reg] = r.Uint64()
			}
		}
		if m.stored[30] {
			m.regs[30] = r.Uint64()
		}
		for body := at; body < len(code); {
			if n, ok := epilogueLength(code[body:], begin+uint32(body), cookie); ok {
				e := m.clone()
				e.pc = begin + uint32(body)
				epilogues++
				for i := range n {
					if !check(e, body+4*i, "epilogue") {
						break
					}
					e.step(binary.LittleEndian.Uint32(code[body+4*i:]), true)
				}
				body += 4 * n
				continue
			}
			if !check(m, body, "body") {
				break
			}
			body += 4
		}
	}
	t.Logf("%d packed, %d full entries, %d instructions checked, %d epilogues", packed, full, checked, epilogues)
	if packed+full < least || differ > 0 {
		t.Errorf("%d functions, %d instructions differ", packed+full, differ)
	}
}

// epilogueLength returns how many instructions an epilogue that starts here has, with its return.
func epilogueLength(code []byte, pc uint32, cookie [2]uint32) (int, bool) {
	m := &armMachine{mem: map[uint64]uint64{}, stored: map[uint32]bool{}, pc: pc, cookie: cookie}
	for i := 0; 4*i+4 <= len(code); i++ {
		w := binary.LittleEndian.Uint32(code[4*i:])
		if w == 0xd65f03c0 || i > 0 && w>>26 == 5 { // ret, or b to another function
			return i + 1, true
		}
		if !m.step(w, true) {
			break
		}
	}
	return 0, false
}

func TestPEARMRules(t *testing.T) {
	t.Run("fixture", func(t *testing.T) {
		checkARM(t, debugtest.File(t, "symbolic/windows/arm64_test.exe"), [2]uint32{0x1000, 0x1020}, 700)
	})
	dir := t.TempDir()
	source := filepath.Join(dir, "a.c")
	text := strings.ReplaceAll(frameSource("arm64"), "asm(\".globl", "//") + "int _fltused;\nint ext(char *c) { return c[0]; }\nint start(void) { return large7() + small7(1) + leaf14(2) + dynamic(2); }\n"
	text = strings.ReplaceAll(text, "int main(", "int many(const char* f, ...) { char c[99]; return ext(c) + f[0]; }\nint main(")
	if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []string{"-O0", "-O1", "-O2 -fno-omit-frame-pointer", "-Os -fomit-frame-pointer"} {
		t.Run(flags, func(t *testing.T) {
			obj, exe := filepath.Join(dir, "a.obj"), filepath.Join(dir, "a.exe")
			run(t, "llvm", "clang", append([]string{"--target=aarch64-pc-windows-msvc", "-ffreestanding", "-funwind-tables", "-mno-stack-arg-probe", "-fno-stack-protector", "-c", source, "-o", obj}, strings.Fields(flags)...)...)
			run(t, "llvm", "lld-link", "/nodefaultlib", "/entry:start", "/subsystem:console", "/opt:noref", "/opt:noicf", "/out:"+exe, obj)
			checkARM(t, read(t, exe), [2]uint32{}, 70)
		})
	}
}
