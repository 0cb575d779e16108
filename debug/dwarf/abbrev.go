package dwarf

import (
	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// slot numbers the attributes that are kept of an entry.
type slot uint8

const (
	slotNone slot = iota
	slotSibling
	slotName
	slotLinkageName
	slotLowPC
	slotHighPC
	slotRanges
	slotAbstractOrigin
	slotSpecification
	slotCallFile
	slotCallLine
	// Of unit entries only.
	slotLanguage
	slotStmtList
	slotCompDir
	slotStrOffsetsBase
	slotAddrBase
	slotRnglistsBase
	slotGNURangesBase
	slotDwoName
	slotDwoID
	slotCount
)

var slots = map[uint64]slot{
	atSibling: slotSibling, atName: slotName, atLinkageName: slotLinkageName, atMIPSLinkage: slotLinkageName,
	atLowPC: slotLowPC, atHighPC: slotHighPC, atRanges: slotRanges, atAbstractOrigin: slotAbstractOrigin,
	atSpecification: slotSpecification, atCallFile: slotCallFile, atCallLine: slotCallLine, atLanguage: slotLanguage,
	atStmtList: slotStmtList, atCompDir: slotCompDir, atStrOffsetsBase: slotStrOffsetsBase, atAddrBase: slotAddrBase,
	atGNUAddrBase: slotAddrBase, atRnglistsBase: slotRnglistsBase, atGNURangesBase: slotGNURangesBase,
	atDwoName: slotDwoName, atGNUDwoName: slotDwoName, atGNUDwoID: slotDwoID,
}

// op is one step of reading an entry: skip a number of bytes, skip a value, or read one into a slot.
type op struct {
	slot     slot
	form     uint16 // 0: skip size bytes
	size     uint32 // of the value, where the form says it
	fixed    bool   // it does
	implicit uint64 // the value, where it has no bytes
}

// abbrev is the compiled declaration of a kind of entry.
type abbrev struct {
	tag          uint16
	hasChildren  bool
	skipChildren bool // if it has a sibling: nothing below it has code
	ops          []op
}

// abbrevTable is the declarations of a unit. Codes are dense in practice.
type abbrevTable struct {
	dense  []abbrev // by code
	sparse map[uint64]*abbrev
}

func (t *abbrevTable) get(code uint64) *abbrev {
	if code < uint64(len(t.dense)) {
		if a := &t.dense[code]; a.tag != 0 {
			return a
		}
		return nil
	}
	return t.sparse[code]
}

// abbrevKey: what the compiled form depends on besides the declarations.
type abbrevKey struct {
	section           *byte // the first byte of .debug_abbrev
	offset            uint64
	addrSize, offSize uint8
	version           uint16
}

// abbrevs returns the table at an offset of .debug_abbrev, compiled for units of the given kind. It is
// called before the walkers start, so that tables are shared without locks.
func (r *reader) abbrevs(f *file, key abbrevKey) (*abbrevTable, error) {
	if len(f.Abbrev) > 0 {
		key.section = &f.Abbrev[0]
	}
	if t := r.tables[key]; t != nil {
		return t, nil
	}
	c := cursor.New(f.Abbrev, "dwarf", ".debug_abbrev")
	c.Skip(key.offset)
	if c.Len() == 0 {
		c.Fail("no abbreviations there", debug.ErrTruncated)
	}
	t := &abbrevTable{}
	for c.Len() > 0 {
		code := c.ULEB()
		if code == 0 {
			break
		}
		a := abbrev{tag: uint16(c.ULEB()), hasChildren: c.U8() != 0}
		switch a.tag {
		case tagArrayType, tagEnumerationType, tagSubroutineType:
			a.skipChildren = true
		}
		// Of most entries, which are types, variables and parameters, nothing is asked for: reading them is one step.
		keeps := false
		switch a.tag {
		case tagSubprogram, tagInlinedSubroutine, tagCompileUnit, tagTypeUnit, tagPartialUnit, tagSkeletonUnit:
			keeps = true
		}
		for {
			attr, form := c.ULEB(), c.ULEB()
			if attr == 0 && form == 0 || c.Err() != nil {
				break
			}
			o := op{form: uint16(form), implicit: 1}
			if keeps || a.skipChildren && attr == atSibling {
				o.slot = slots[attr]
			}
			if form > 0xffff {
				o.form = 0xffff // no such form: reading an entry fails
			}
			if form == formImplicitConst {
				o.implicit = uint64(c.SLEB())
			}
			o.size, o.fixed = fixedSize(uint64(o.form), key.addrSize, key.offSize, key.version)
			switch last := len(a.ops) - 1; {
			case o.slot != slotNone || !o.fixed:
				a.ops = append(a.ops, o)
			case o.size == 0:
			case last >= 0 && a.ops[last].form == 0:
				a.ops[last].size += o.size
			default:
				a.ops = append(a.ops, op{size: o.size})
			}
		}
		if a.tag == 0 {
			continue // null entries have code 0; a tag of 0 marks absence here
		}
		if n := uint64(len(t.dense)); code <= n+64 && code < 1<<20 {
			for uint64(len(t.dense)) <= code {
				t.dense = append(t.dense, abbrev{})
			}
			if t.dense[code].tag == 0 {
				t.dense[code] = a
			}
		} else {
			if t.sparse == nil {
				t.sparse = map[uint64]*abbrev{}
			}
			if t.sparse[code] == nil {
				t.sparse[code] = &a
			}
		}
	}
	if err := c.Err(); err != nil {
		return nil, err
	}
	// Tables may overlap: thousands of units that each start at another offset of one long table would
	// make the work quadratic.
	r.abbrevWork += c.Offset() - key.offset
	if r.abbrevWork > 16*r.abbrevSize+1<<20 {
		return nil, &debug.FormatError{Format: "dwarf", Section: ".debug_abbrev", Offset: key.offset, Reason: "abbreviation tables overlap without end", Err: debug.ErrTooLarge}
	}
	r.tables[key] = t
	return t, nil
}

// fixedSize returns the size of values of a form, where it does not depend on the value.
func fixedSize(form uint64, addrSize, offSize uint8, version uint16) (size uint32, ok bool) {
	switch form {
	case formFlagPresent, formImplicitConst:
		return 0, true
	case formData1, formRef1, formFlag, formStrx1, formAddrx1:
		return 1, true
	case formData2, formRef2, formStrx2, formAddrx2:
		return 2, true
	case formStrx3, formAddrx3:
		return 3, true
	case formData4, formRef4, formRefSup4, formStrx4, formAddrx4:
		return 4, true
	case formData8, formRef8, formRefSup8, formRefSig8:
		return 8, true
	case formData16:
		return 16, true
	case formAddr:
		return uint32(addrSize), true
	case formStrp, formSecOffset, formLineStrp, formStrpSup, formGNURefAlt, formGNUStrpAlt:
		return uint32(offSize), true
	case formRefAddr:
		if version == 2 { // DWARF 2 had it as an address
			return uint32(addrSize), true
		}
		return uint32(offSize), true
	}
	return 0, false
}
