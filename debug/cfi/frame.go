package cfi

import (
	"fmt"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// FrameSection is a .eh_frame or .debug_frame section.
type FrameSection struct {
	Data      []byte
	Addr      uint64 // of the section in the image
	EH        bool   // .eh_frame: other ids, pointer encodings (LSB 5.0, Core, 10.6)
	AddrSize  uint8
	BigEndian bool
	// Swapped: registers 4 and 5 have each other's number, as esp and ebp have in .eh_frame of macOS for x86.
	Swapped   bool
	ImageBase uint64 // subtracted from addresses
	// Executable as in package dwarf: entries of code that is not there are left out.
	Executable []symbols.Extent
}

// Pointer encodings of .eh_frame: LSB 5.0, Core, 10.5.1.
const (
	encodingMask  = 0x0f
	encodingULEB  = 0x01
	encodingU2    = 0x02
	encodingU4    = 0x03
	encodingU8    = 0x04
	encodingSLEB  = 0x09
	encodingS2    = 0x0a
	encodingS4    = 0x0b
	encodingS8    = 0x0c
	encodingRel   = 0x70
	encodingPCRel = 0x10
	encodingOmit  = 0xff
)

// Call frame instructions: DWARF5 7.24, table 7.29, GNU's and ARM's.
const (
	cfaAdvanceLoc                = 0x40 // operand in the lower six bits
	cfaOffset                    = 0x80
	cfaRestore                   = 0xc0
	cfaNop                       = 0x00
	cfaSetLoc                    = 0x01
	cfaAdvanceLoc1               = 0x02
	cfaAdvanceLoc2               = 0x03
	cfaAdvanceLoc4               = 0x04
	cfaOffsetExtended            = 0x05
	cfaRestoreExtended           = 0x06
	cfaUndefined                 = 0x07
	cfaSameValue                 = 0x08
	cfaRegister                  = 0x09
	cfaRememberState             = 0x0a
	cfaRestoreState              = 0x0b
	cfaDefCFA                    = 0x0c
	cfaDefCFARegister            = 0x0d
	cfaDefCFAOffset              = 0x0e
	cfaDefCFAExpression          = 0x0f
	cfaExpression                = 0x10
	cfaOffsetExtendedSF          = 0x11
	cfaDefCFASF                  = 0x12
	cfaDefCFAOffsetSF            = 0x13
	cfaValOffset                 = 0x14
	cfaValOffsetSF               = 0x15
	cfaValExpression             = 0x16
	cfaMIPSAdvanceLoc8           = 0x1d
	cfaAArch64NegateRAState      = 0x2d // GNU_window_save elsewhere
	cfaGNUArgsSize               = 0x2e
	cfaGNUNegativeOffsetExtended = 0x2f
)

// maxRemembered bounds the stack of remembered rows; compilers nest two deep.
const maxRemembered = 64

// cie is a common information entry.
type cie struct {
	codeAlign uint64
	dataAlign int64
	ra        uint64
	addrSize  uint8
	encoding  uint8
	augmented bool // FDEs have augmentation data
	initial   row
}

// frames reads one section.
type frames struct {
	b *Builder
	s *FrameSection

	cies map[uint64]*cie // nil values: unusable
}

// Frames adds the rules of a section. Entries that cannot be used are counted and left out.
func (b *Builder) Frames(s *FrameSection) {
	f := frames{b: b, s: s, cies: map[uint64]*cie{}}
	c := f.cursor()
	for c.Len() > 0 {
		start := c.Offset()
		entry, offSize := f.entry(&c)
		if entry.Len() == 0 && c.Err() == nil { // a terminator; linkers leave some in the middle
			continue
		}
		if c.Err() != nil {
			b.problem(s, start, c.Err().Error())
			return
		}
		idAt := entry.Offset()
		id := entry.Uint(offSize)
		if f.isCIE(id, offSize) {
			continue // read when an FDE asks for it
		}
		at := id
		if s.EH {
			at = idAt - id
		}
		ci := f.cie(at)
		if ci == nil {
			b.problem(s, start, "entry without a usable CIE")
			continue
		}
		if err := f.fde(ci, &entry); err != nil {
			b.problem(s, start, err.Error())
		}
	}
}

func (f *frames) cursor() cursor.Cursor {
	name := ".debug_frame"
	if f.s.EH {
		name = ".eh_frame"
	}
	return cursor.New(f.s.Data, "cfi", name).BigEndian(f.s.BigEndian)
}

// entry reads the length of an entry and moves c behind it.
func (f *frames) entry(c *cursor.Cursor) (entry cursor.Cursor, offSize uint8) {
	length, offSize := uint64(c.U32()), uint8(4)
	if length == 0xffffffff {
		length, offSize = c.U64(), 8
	}
	return c.Sub(length), offSize
}

func (f *frames) isCIE(id uint64, offSize uint8) bool {
	if f.s.EH {
		return id == 0
	}
	return id == ^uint64(0)>>(64-8*uint(offSize))
}

// cie returns the CIE at an offset of the section, nil if it cannot be used.
func (f *frames) cie(at uint64) *cie {
	if ci, known := f.cies[at]; known {
		return ci
	}
	f.cies[at] = nil
	c := f.cursor()
	c.Skip(at)
	entry, offSize := f.entry(&c)
	if id := entry.Uint(offSize); entry.Err() != nil || !f.isCIE(id, offSize) {
		return nil
	}
	ci := &cie{addrSize: f.s.AddrSize}
	version := entry.U8()
	augmentation := entry.CString(16)
	if version == 4 {
		ci.addrSize = entry.U8()
		entry.U8() // segment selectors
	}
	if string(augmentation) == "eh" { // GCC 2: a pointer follows
		entry.Skip(uint64(ci.addrSize))
	}
	ci.codeAlign = entry.ULEB()
	ci.dataAlign = entry.SLEB()
	if version == 1 {
		ci.ra = uint64(entry.U8())
	} else {
		ci.ra = entry.ULEB()
	}
	if len(augmentation) > 0 && augmentation[0] == 'z' {
		ci.augmented = true
		data := entry.Sub(entry.ULEB())
	letters:
		for _, letter := range augmentation[1:] {
			switch letter {
			case 'R':
				ci.encoding = data.U8()
			case 'P':
				f.pointer(&data, data.U8(), ci.addrSize)
			case 'L':
				data.U8()
			case 'S':
				ci.initial.signal = true
			case 'B', 'G': // arm64: return addresses signed with the B key, tagged stacks
			default:
				break letters // what follows is inside data
			}
		}
	} else if len(augmentation) > 0 && string(augmentation) != "eh" {
		return nil
	}
	if ci.addrSize != 4 && ci.addrSize != 8 || entry.Err() != nil {
		return nil
	}
	p := program{f: f, cie: ci, row: ci.initial}
	p.row.cfa.kind = ruleUnset
	if err := p.run(&entry, false); err != nil {
		return nil
	}
	ci.initial = p.row
	f.cies[at] = ci
	return ci
}

// pointer reads an encoded pointer. Indirect ones give the address of the pointer; only personality
// routines are.
func (f *frames) pointer(c *cursor.Cursor, encoding, addrSize uint8) uint64 {
	if encoding == encodingOmit {
		return 0
	}
	at := f.s.Addr + c.Offset()
	var v uint64
	switch encoding & encodingMask {
	case 0:
		v = c.Uint(addrSize)
	case encodingULEB:
		v = c.ULEB()
	case encodingU2:
		v = uint64(c.U16())
	case encodingU4:
		v = uint64(c.U32())
	case encodingU8:
		v = c.U64()
	case encodingSLEB:
		v = uint64(c.SLEB())
	case encodingS2:
		v = uint64(int16(c.U16()))
	case encodingS4:
		v = uint64(int32(c.U32()))
	case encodingS8:
		v = c.U64()
	default:
		c.Fail("unknown pointer encoding", debug.ErrUnsupported)
	}
	switch encoding & encodingRel {
	case 0:
	case encodingPCRel:
		v += at
	default:
		c.Fail("pointer relative to an unknown base", debug.ErrUnsupported)
	}
	return v & (^uint64(0) >> (64 - 8*uint(addrSize)))
}

// fde reads a frame description entry behind its CIE pointer and adds its rows.
func (f *frames) fde(ci *cie, entry *cursor.Cursor) error {
	start := f.pointer(entry, ci.encoding, ci.addrSize)
	size := f.pointer(entry, ci.encoding&encodingMask, ci.addrSize)
	if ci.augmented {
		entry.Skip(entry.ULEB())
	}
	if err := entry.Err(); err != nil {
		return err
	}
	tombstone := ^uint64(0) >> (64 - 8*uint(ci.addrSize))
	if size == 0 || start >= tombstone-1 || start+size < start || !symbols.InCode(f.s.Executable, start) {
		return nil // of code that the linker threw away
	}
	if size > 1<<32-1 {
		return fmt.Errorf("entry over 4 GiB")
	}
	f.b.begin(start-f.s.ImageBase, size)
	p := program{f: f, cie: ci, row: ci.initial, start: start, loc: start, end: start + size}
	err := p.run(entry, true)
	p.emit()
	return err
}

// program runs the instructions of a CIE or FDE.
type program struct {
	f               *frames
	cie             *cie
	row             row
	remembered      []row
	start, loc, end uint64
}

// emit adds the current row at the current location. A row that ends where it starts is replaced.
func (p *program) emit() {
	if p.loc >= p.end {
		return
	}
	r := p.row
	ra := p.cie.ra
	pc := uint64(p.f.b.cpu.PC)
	if ra < NumRegisters && r.set>>ra&1 == 1 && r.regs[ra].kind != ruleUnset {
		r.put(pc, r.regs[ra])
		if r.regs[ra].kind == ruleSame {
			r.put(pc, rule{kind: ruleRegister, reg: uint8(ra)})
		}
	} else if ra < NumRegisters && ra != pc {
		r.put(pc, rule{kind: ruleRegister, reg: uint8(ra)}) // a leaf: still in the link register
	}
	if r.cfa.kind == ruleUnset {
		p.f.b.addGap(uint32(p.loc - p.start))
		return
	}
	p.f.b.add(uint32(p.loc-p.start), &r)
}

func (p *program) advance(n uint64) {
	if n *= p.cie.codeAlign; n > 0 {
		p.emit()
		if p.loc+n < p.loc {
			p.loc = p.end
			return
		}
		p.loc += n
	}
}

// run executes instructions; those of a CIE may not move the location.
func (p *program) run(c *cursor.Cursor, inFDE bool) error {
	factored := func(v int64) int64 { return v * p.cie.dataAlign }
	for c.Len() > 0 {
		op := c.U8()
		low := uint64(op & 0x3f)
		switch op & 0xc0 {
		case cfaAdvanceLoc:
			p.advance(low)
			continue
		case cfaOffset:
			p.put(low, rule{kind: ruleOffset, offset: factored(int64(c.ULEB()))})
			continue
		case cfaRestore:
			p.restore(low)
			continue
		}
		switch op {
		case cfaNop:
		case cfaSetLoc:
			to := p.f.pointer(c, p.cie.encoding, p.cie.addrSize)
			if to > p.loc {
				p.emit()
				p.loc = to
			}
		case cfaAdvanceLoc1:
			p.advance(uint64(c.U8()))
		case cfaAdvanceLoc2:
			p.advance(uint64(c.U16()))
		case cfaAdvanceLoc4:
			p.advance(uint64(c.U32()))
		case cfaMIPSAdvanceLoc8:
			p.advance(c.U64())
		case cfaOffsetExtended:
			reg := c.ULEB()
			p.put(reg, rule{kind: ruleOffset, offset: factored(int64(c.ULEB()))})
		case cfaOffsetExtendedSF:
			reg := c.ULEB()
			p.put(reg, rule{kind: ruleOffset, offset: factored(c.SLEB())})
		case cfaGNUNegativeOffsetExtended:
			reg := c.ULEB()
			p.put(reg, rule{kind: ruleOffset, offset: -factored(int64(c.ULEB()))})
		case cfaValOffset:
			reg := c.ULEB()
			p.put(reg, rule{kind: ruleValOffset, offset: factored(int64(c.ULEB()))})
		case cfaValOffsetSF:
			reg := c.ULEB()
			p.put(reg, rule{kind: ruleValOffset, offset: factored(c.SLEB())})
		case cfaRestoreExtended:
			p.restore(c.ULEB())
		case cfaUndefined:
			p.put(c.ULEB(), rule{kind: ruleUndefined})
		case cfaSameValue:
			p.put(c.ULEB(), rule{kind: ruleSame})
		case cfaRegister:
			reg := c.ULEB()
			p.put(reg, rule{kind: ruleRegister, reg: p.register(c.ULEB())})
		case cfaRememberState:
			if len(p.remembered) == maxRemembered {
				return fmt.Errorf("states remembered without end")
			}
			p.remembered = append(p.remembered, p.row)
		case cfaRestoreState:
			n := len(p.remembered) - 1
			if n < 0 {
				return fmt.Errorf("no state to restore")
			}
			p.row, p.remembered = p.remembered[n], p.remembered[:n]
		case cfaDefCFA:
			p.defCFA(c.ULEB(), int64(c.ULEB()))
		case cfaDefCFASF:
			p.defCFA(c.ULEB(), factored(c.SLEB()))
		case cfaDefCFARegister:
			p.defCFA(c.ULEB(), p.row.cfa.offset)
		case cfaDefCFAOffset:
			p.row.cfa.offset = int64(c.ULEB())
		case cfaDefCFAOffsetSF:
			p.row.cfa.offset = factored(c.SLEB())
		case cfaDefCFAExpression:
			p.row.cfa = rule{kind: ruleValExpr, expr: c.Bytes(c.ULEB())}
		case cfaExpression, cfaValExpression:
			kind := ruleExpr
			if op == cfaValExpression {
				kind = ruleValExpr
			}
			reg := c.ULEB()
			// Copied: the CFA goes first, and the section may be gone when the rules are used.
			p.put(reg, rule{kind: kind, expr: append([]byte{opCallFrameCFA}, c.Bytes(c.ULEB())...)})
		case cfaAArch64NegateRAState: // whether return addresses are signed: unwinders strip always
		case cfaGNUArgsSize:
			c.ULEB()
		default:
			c.Fail("unknown call frame instruction", debug.ErrUnsupported)
		}
	}
	if !inFDE {
		p.loc = 0
	}
	return c.Err()
}

func (p *program) defCFA(reg uint64, offset int64) {
	p.row.cfa = rule{kind: ruleRegister, reg: p.register(reg), offset: offset}
}

// register returns the number of a register, NumRegisters for one that is not known here.
func (p *program) register(reg uint64) uint8 {
	if p.f.s.Swapped && (reg == 4 || reg == 5) {
		return uint8(9 - reg)
	}
	return uint8(min(reg, NumRegisters))
}

func (p *program) put(reg uint64, v rule) { p.row.put(uint64(p.register(reg)), v) }

func (p *program) restore(number uint64) {
	reg := p.register(number)
	if reg >= NumRegisters {
		return
	}
	if p.cie.initial.set>>reg&1 == 1 {
		p.row.put(uint64(reg), p.cie.initial.regs[reg])
	} else {
		p.row.put(uint64(reg), rule{kind: ruleUnset})
	}
}
