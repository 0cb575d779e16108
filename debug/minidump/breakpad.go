package minidump

import "salvage/debug/internal/cursor"

// BreakpadInfo names two threads (MDRawBreakpadInfo of Breakpad's minidump_format.h). The one that wrote
// the dump is of no interest in a report; the one that asked for it is, where there is no exception.
type BreakpadInfo struct {
	HasDumpThread, HasRequestingThread bool
	DumpThread, RequestingThread       uint32 // thread ids
}

func (p *parser) breakpadInfo() {
	p.d.Breakpad = read(p, StreamBreakpadInfo, func(c *cursor.Cursor) BreakpadInfo {
		validity := c.U32()
		return BreakpadInfo{validity&1 != 0, validity&2 != 0, c.U32(), c.U32()}
	})
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
	p.d.Assertion = read(p, StreamAssertionInfo, func(c *cursor.Cursor) Assertion {
		return Assertion{fixedUTF16(c, 128), fixedUTF16(c, 128), fixedUTF16(c, 128), c.U32(), AssertionType(c.U32())}
	})
}
