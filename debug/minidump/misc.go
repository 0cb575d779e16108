package minidump

import (
	"unicode/utf16"

	"salvage/debug/internal/cursor"
)

// MiscFlags says which fields of a MiscInfo the writer filled: MINIDUMP_MISC… of minidumpapiset.h.
type MiscFlags uint32

// The flags, each with the fields it is about.
const (
	MiscProcessID     MiscFlags = 0x001 // ProcessID
	MiscProcessTimes  MiscFlags = 0x002 // CreateTime, UserTime, KernelTime
	MiscPower         MiscFlags = 0x004 // MaxMHz … CurrentIdleState
	MiscIntegrity     MiscFlags = 0x010 // IntegrityLevel
	MiscExecuteFlags  MiscFlags = 0x020 // ExecuteFlags
	MiscTimeZone      MiscFlags = 0x040 // TimeZoneID, TimeZone
	MiscProtected     MiscFlags = 0x080 // Protected
	MiscBuildString   MiscFlags = 0x100 // BuildString, DebugBuild
	MiscProcessCookie MiscFlags = 0x200 // ProcessCookie
)

// MiscInfo describes the process (MINIDUMP_MISC_INFO_5 and the shorter forms before it).
type MiscInfo struct {
	Size  uint32    // of the stream, which tells the form
	Flags MiscFlags // of fields this form has

	ProcessID                                                    uint32
	CreateTime                                                   uint32 // Unix seconds
	UserTime, KernelTime                                         uint32 // seconds
	MaxMHz, CurrentMHz, MHzLimit, MaxIdleState, CurrentIdleState uint32
	IntegrityLevel, ExecuteFlags, Protected                      uint32
	TimeZoneID                                                   uint32 // 1 standard, 2 daylight saving time
	TimeZone                                                     TimeZone
	BuildString, DebugBuild                                      string
	XState                                                       XState
	ProcessCookie                                                uint32
}

// Has reports whether all fields of f are filled.
func (m *MiscInfo) Has(f MiscFlags) bool { return m.Flags&f == f }

// TimeZone is a TIME_ZONE_INFORMATION. Biases are minutes to add to local time to get UTC.
type TimeZone struct {
	Bias, StandardBias, DaylightBias int32
	StandardName, DaylightName       string
	StandardDate, DaylightDate       [8]uint16 // SYSTEMTIME: year, month, weekday, day, hour, minute, second, ms
}

// XState is an XSTATE_CONFIG_FEATURE_MSC_INFO: where contexts keep extended registers. Offsets are
// relative to the legacy floating point area, byte 256 of an amd64 context.
type XState struct {
	ContextSize uint32
	Enabled     uint64 // a bit per feature
	Features    [64]struct{ Offset, Size uint32 }
}

// The forms of MINIDUMP_MISC_INFO: the bytes each needs, and the flags of fields it introduced.
var miscForms = [...]struct {
	size  uint64
	flags MiscFlags
}{
	{24, MiscProcessID | MiscProcessTimes},
	{44, MiscPower},
	{232, MiscIntegrity | MiscExecuteFlags | MiscTimeZone | MiscProtected},
	{832, MiscBuildString},
	{1364, MiscProcessCookie},
}

func (p *parser) misc() {
	p.d.Misc = read(p, StreamMiscInfo, func(c *cursor.Cursor) MiscInfo {
		form, allowed := 0, MiscFlags(0)
		size := c.Len()
		for _, f := range miscForms {
			if size >= f.size {
				form++
				allowed |= f.flags
			}
		}
		c.Skip(4) // claims a size, which the stream's own overrides
		m := MiscInfo{Size: uint32(size), Flags: MiscFlags(c.U32()) & allowed}
		m.ProcessID, m.CreateTime, m.UserTime, m.KernelTime = c.U32(), c.U32(), c.U32(), c.U32()
		if form >= 2 {
			m.MaxMHz, m.CurrentMHz, m.MHzLimit = c.U32(), c.U32(), c.U32()
			m.MaxIdleState, m.CurrentIdleState = c.U32(), c.U32()
		}
		if form >= 3 {
			m.IntegrityLevel, m.ExecuteFlags, m.Protected, m.TimeZoneID = c.U32(), c.U32(), c.U32(), c.U32()
			m.TimeZone = readTimeZone(c)
		}
		if form >= 4 {
			m.BuildString, m.DebugBuild = fixedUTF16(c, 260), fixedUTF16(c, 40)
		}
		if form >= 5 {
			c.Skip(4)
			m.XState.ContextSize, m.XState.Enabled = c.U32(), c.U64()
			for i := range m.XState.Features {
				f := &m.XState.Features[i]
				f.Offset, f.Size = c.U32(), c.U32()
			}
			m.ProcessCookie = c.U32()
		}
		return m
	})
}

func readTimeZone(c *cursor.Cursor) (z TimeZone) {
	date := func() (d [8]uint16) {
		for i := range d {
			d[i] = c.U16()
		}
		return d
	}
	z.Bias = int32(c.U32())
	z.StandardName, z.StandardDate, z.StandardBias = fixedUTF16(c, 32), date(), int32(c.U32())
	z.DaylightName, z.DaylightDate, z.DaylightBias = fixedUTF16(c, 32), date(), int32(c.U32())
	return z
}

// fixedUTF16 reads an array of n UTF-16 units: a string up to the first zero.
func fixedUTF16(c *cursor.Cursor, n uint64) string {
	a := c.Sub(2 * n)
	var units []uint16
	for u := a.U16(); u != 0; u = a.U16() {
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
