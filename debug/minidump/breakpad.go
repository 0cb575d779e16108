package minidump

// BreakpadInfo names two threads (MDRawBreakpadInfo of Breakpad's minidump_format.h). The one that wrote
// the dump is of no interest in a report; the one that asked for it is, where there is no exception.
type BreakpadInfo struct {
	HasDumpThread, HasRequestingThread bool
	DumpThread, RequestingThread       uint32 // thread ids
}

func (p *parser) breakpadInfo() {
	c, _, ok := p.open(StreamBreakpadInfo)
	if !ok {
		return
	}
	validity := c.U32()
	b := BreakpadInfo{DumpThread: c.U32(), RequestingThread: c.U32()}
	b.HasDumpThread, b.HasRequestingThread = validity&1 != 0, validity&2 != 0
	if !p.failed(&c) {
		p.d.Breakpad = &b
	}
}

// AssertionType tells the kinds of Assertion apart.
type AssertionType uint32

// MD_ASSERTION_INFO_TYPE_… of minidump_format.h.
const (
	AssertionUnknown          AssertionType = 0
	AssertionInvalidParameter AssertionType = 1 // of a function of the C runtime
	AssertionPureVirtualCall  AssertionType = 2
)

// Assertion is a check of Microsoft's C runtime that failed (MDRawAssertionInfo of minidump_format.h).
type Assertion struct {
	Expression, Function, File string
	Line                       uint32
	Type                       AssertionType
}

func (p *parser) assertion() {
	c, _, ok := p.open(StreamAssertionInfo)
	if !ok {
		return
	}
	a := Assertion{Expression: fixedUTF16(&c, 128), Function: fixedUTF16(&c, 128), File: fixedUTF16(&c, 128)}
	a.Line, a.Type = c.U32(), AssertionType(c.U32())
	if !p.failed(&c) {
		p.d.Assertion = &a
	}
}
