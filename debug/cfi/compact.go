package cfi

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// CompactUnwind is the section __unwind_info of a Mach-O image: a word of 32 bits for each function that says
// where its frame is. It holds for the body of a function, not while the frame is set up or taken down; where a
// function starts there is none yet. The layout and the encodings are those of Apple's <mach-o/compact_unwind_encoding.h>.
//
// Functions whose word says that they are described by DWARF are in __eh_frame, which is for Frames.
type CompactUnwind struct {
	Data []byte
	// At returns the bytes of the image from an address, relative to its base, on; nil if it has none there. Of
	// some functions only the code says how large the frame is.
	At func(addr uint64) []byte
}

const (
	compactVersion    = 1
	compactPageOld    = 2 // UNWIND_SECOND_LEVEL_REGULAR
	compactPagePacked = 3 // UNWIND_SECOND_LEVEL_COMPRESSED
	compactIndexSize  = 12
	// A page may be in the index any number of times. This many entries for each byte of the section are granted;
	// linkers write one for four bytes at most.
	compactEntriesPerByte = 1

	compactModeMask = 0x0f000000
)

// Modes of x86 and x86_64, and of arm64.
const (
	compactX86Frame     = 1 << 24
	compactX86Immediate = 2 << 24
	compactX86Indirect  = 3 << 24
	compactX86DWARF     = 4 << 24
	compactARMFrameless = 2 << 24
	compactARMDWARF     = 3 << 24
	compactARMFrame     = 4 << 24
)

// compactRegisters are the DWARF numbers of registers in the order of their encoding, from 1.
var compactRegisters = map[*CPU][7]uint8{
	X86:   {1: 3, 2: 1, 3: 2, 4: 7, 5: 6, 6: 5},
	AMD64: {1: 3, 2: 12, 3: 13, 4: 14, 5: 15, 6: 6},
}

// CompactUnwind adds the rules of all functions of a section. Functions of which it says nothing, which the
// linker lists too, are taken for leaves, as other tools do: they change no register that callees preserve, nor
// the stack pointer.
func (b *Builder) CompactUnwind(u *CompactUnwind) {
	if len(u.Data) == 0 {
		return
	}
	if b.cpu != AMD64 && b.cpu != X86 && b.cpu != ARM64 {
		return
	}
	r := &compactReader{b: b, u: u, left: len(u.Data) * compactEntriesPerByte}
	c := cursor.New(u.Data, "cfi", "__unwind_info")
	version := c.U32()
	commonAt, commonCount := uint64(c.U32()), uint64(c.U32())
	c.Skip(8)
	indexAt, indexCount := uint64(c.U32()), uint64(c.U32())
	if c.Err() == nil && version != compactVersion {
		c.Fail("unknown version", debug.ErrUnsupported)
	}
	if c.Err() != nil {
		b.compactProblem(0, c.Err().Error())
		return
	}
	r.common = r.table(commonAt, commonCount, 4)
	index := r.table(indexAt, indexCount, compactIndexSize)
	// The last entry says where the last function ends.
	for ; len(index) >= 2*compactIndexSize && r.left > 0; index = index[compactIndexSize:] {
		start, page := binary.LittleEndian.Uint32(index), binary.LittleEndian.Uint32(index[4:])
		end := binary.LittleEndian.Uint32(index[compactIndexSize:])
		if page != 0 {
			r.page(start, end, uint64(page))
		}
	}
	if r.left <= 0 {
		b.compactProblem(0, "index entries share their pages without end")
	}
}

func (b *Builder) compactProblem(at uint64, detail string) {
	b.bad++
	if len(b.problems) < maxProblems {
		b.problems = append(b.problems, debug.Problem{Where: fmt.Sprintf("__unwind_info at %#x", at), Kind: "bad entry", Detail: detail})
	}
}

type compactReader struct {
	b      *Builder
	u      *CompactUnwind
	common []byte
	left   int // entries that may still be read
}

// table returns count rows at an offset, as far as they are in the section.
func (r *compactReader) table(at, count, size uint64) []byte {
	c := cursor.New(r.u.Data, "cfi", "__unwind_info")
	c.Skip(at)
	return c.Rest()[:min(count, c.Len()/size)*size]
}

// page reads the functions from start to end.
func (r *compactReader) page(start, end uint32, at uint64) {
	c := cursor.New(r.u.Data, "cfi", "__unwind_info")
	c.Skip(at)
	kind := c.U32()
	entriesAt, count := uint64(c.U16()), uint64(c.U16())
	switch {
	case c.Err() != nil:
		r.b.compactProblem(at, c.Err().Error())
	case kind == compactPageOld:
		rows := r.table(at+entriesAt, count, 8)
		for ; len(rows) >= 8; rows = rows[8:] {
			next := end
			if len(rows) >= 16 {
				next = binary.LittleEndian.Uint32(rows[8:])
			}
			r.function(at, binary.LittleEndian.Uint32(rows), next, binary.LittleEndian.Uint32(rows[4:]))
		}
	case kind == compactPagePacked:
		encodingsAt, encodings := uint64(c.U16()), uint64(c.U16())
		own := r.table(at+encodingsAt, encodings, 4)
		rows := r.table(at+entriesAt, count, 4)
		for ; len(rows) >= 4; rows = rows[4:] {
			entry, next := binary.LittleEndian.Uint32(rows), end
			if len(rows) >= 8 {
				next = start + binary.LittleEndian.Uint32(rows[4:])&0xffffff
			}
			table, i := r.common, int(entry>>24)
			if n := len(r.common) / 4; i >= n {
				table, i = own, i-n
			}
			if 4*i+4 > len(table) {
				r.b.compactProblem(at, "encoding outside its table")
				continue
			}
			r.function(at, start+entry&0xffffff, next, binary.LittleEndian.Uint32(table[4*i:]))
		}
	default:
		r.b.compactProblem(at, "page of an unknown kind")
	}
}

// function adds the rules of one function.
func (r *compactReader) function(at uint64, start, end, encoding uint32) {
	if r.left--; r.left <= 0 || end <= start {
		return
	}
	var rules *row
	var reason string
	if r.b.cpu == ARM64 {
		rules, reason = compactARM64(encoding)
	} else {
		rules, reason = r.x86(start, encoding)
	}
	if reason != "" {
		r.b.compactProblem(at, fmt.Sprintf("function at %#x, encoding %#08x: %s", start, encoding, reason))
	}
	if rules == nil {
		return
	}
	r.b.begin(uint64(start), uint64(end-start))
	first := uint32(1) // the shortest instruction
	if r.b.cpu == ARM64 {
		first = 4
		entry, _ := compactARM64(0)
		r.b.add(0, entry)
	} else {
		entry, _ := r.x86(start, 0)
		r.b.add(0, entry)
	}
	if first < end-start {
		r.b.add(first, rules)
	}
}

// x86 returns the rules of a function for x86 or x86_64; nil for one that DWARF describes. The lower bits of an
// encoding are the same for both, in words of their size.
func (r *compactReader) x86(start, encoding uint32) (*row, string) {
	cpu := r.b.cpu
	word := int64(cpu.PointerSize)
	s := new(row)
	s.put(uint64(cpu.PC), rule{kind: ruleOffset, offset: -word})
	save := func(register uint32, at int64) bool {
		if register > 6 {
			return false
		}
		if register > 0 {
			s.put(uint64(compactRegisters[cpu][register]), rule{kind: ruleOffset, offset: at})
		}
		return true
	}
	size := int64(encoding>>16&0xff) * word
	switch encoding & compactModeMask {
	case 0:
		s.cfa = rule{kind: ruleRegister, reg: cpu.SP, offset: word}
		return s, ""
	case compactX86DWARF:
		return nil, ""
	case compactX86Frame:
		s.cfa = rule{kind: ruleRegister, reg: cpu.FP, offset: 2 * word}
		save(6, -2*word)
		for i := range int64(5) {
			if !save(encoding>>(3*i)&7, -2*word-size+i*word) {
				return nil, "unknown register"
			}
		}
		return s, ""
	case compactX86Indirect:
		// The offset is that of the operand of "sub $size, %esp" from the start of the function.
		code := r.u.At(uint64(start) + uint64(encoding>>16&0xff))
		if len(code) < 4 {
			return nil, "the code that says the size of the frame is not there"
		}
		size = int64(binary.LittleEndian.Uint32(code)) + int64(encoding>>13&7)*word
		fallthrough
	case compactX86Immediate:
		s.cfa = rule{kind: ruleRegister, reg: cpu.SP, offset: size}
		registers, ok := permutation(encoding&0x3ff, int(encoding>>10&7))
		if !ok {
			return nil, "unknown registers"
		}
		for i, reg := range registers {
			save(reg, -word-int64(len(registers)-i)*word)
		}
		return s, ""
	}
	return nil, "unknown mode"
}

// permutation decodes which count of the six registers were pushed, in the order in which they lie upwards: each
// digit, of a base that shrinks by one, counts those that are left.
func permutation(code uint32, count int) (registers []uint32, ok bool) {
	if count > 6 {
		return nil, false
	}
	digits := make([]uint32, count)
	base := uint32(6 - count + 1)
	if count == 6 { // the last digit is always 0, and not written
		base = 2
	}
	for i := min(count, 5) - 1; i >= 0; i-- {
		digits[i] = code % base
		code /= base
		base++
	}
	left := []uint32{1, 2, 3, 4, 5, 6}
	for _, d := range digits {
		registers = append(registers, left[d])
		left = append(left[:d:d], left[d+1:]...)
	}
	return registers, code == 0
}

// compactARM64 returns the rules of a function for arm64; nil for one that DWARF describes.
func compactARM64(encoding uint32) (*row, string) {
	s := new(row)
	at := int64(0) // of the last saved register
	switch encoding & compactModeMask {
	case 0, compactARMFrameless:
		s.cfa = rule{kind: ruleRegister, reg: ARM64.SP, offset: int64(encoding>>12&0xfff) * 16}
		s.put(uint64(ARM64.PC), rule{kind: ruleRegister, reg: ARM64.LR})
		if encoding&compactModeMask == 0 {
			s.cfa.offset = 0
			return s, ""
		}
	case compactARMDWARF:
		return nil, ""
	case compactARMFrame:
		s.cfa = rule{kind: ruleRegister, reg: ARM64.FP, offset: 16}
		s.put(uint64(ARM64.PC), rule{kind: ruleOffset, offset: -8})
		s.put(uint64(ARM64.LR), rule{kind: ruleOffset, offset: -8})
		s.put(uint64(ARM64.FP), rule{kind: ruleOffset, offset: -16})
		at = -16
	default:
		return nil, "unknown mode"
	}
	// Pairs x19 and x20 to x27 and x28, then d8 and d9 to d14 and d15, each lower than the one before.
	for pairs := encoding & 0xf1f; pairs != 0; pairs &= pairs - 1 {
		if i := bits.TrailingZeros32(pairs); i < 5 {
			s.put(uint64(19+2*i), rule{kind: ruleOffset, offset: at - 8})
			s.put(uint64(20+2*i), rule{kind: ruleOffset, offset: at - 16})
		}
		at -= 16
	}
	return s, ""
}
