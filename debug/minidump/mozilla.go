package minidump

import (
	"strconv"
	"strings"

	"salvage/debug/internal/cursor"
)

// MacCrashInfo is what a library of macOS left for crash reports: crashreporter_annotations_t of Apple's
// CrashReporterClient.h in the form of Mozilla's stream. What the version does not have is zero.
type MacCrashInfo struct {
	Version                                         uint64
	Thread, DialogMode                              uint64 // from version 4
	AbortCause                                      uint64 // from version 5
	Module, Message, Signature, Backtrace, Message2 string // from version 4
}

// maxMacCrashInfo is the room that the stream has for records, maxMacString what its writer keeps of a string.
const (
	maxMacCrashInfo = 20
	maxMacString    = 8192
)

// macCrashInfo reads the records. They share the offset of their strings and so have to have one version.
func (p *parser) macCrashInfo() {
	c, _, ok := p.open(StreamMozMacosCrashInfo)
	c.Skip(4)
	count, start := c.U32(), uint64(c.U32())
	if !ok || p.failed(&c) {
		return
	}
	if count > maxMacCrashInfo {
		p.problem("too large", "%d records, the limit is %d", count, maxMacCrashInfo)
	}
	p.d.MacCrashInfo = []MacCrashInfo{}
	for i := range min(count, maxMacCrashInfo) {
		r := p.at(readLocation(&c))
		size := r.Len()
		text := r.At(start, size-min(start, size))
		r.Skip(8)
		info := MacCrashInfo{Version: r.U64()}
		if info.Version >= 4 {
			info.Thread, info.DialogMode = r.U64(), r.U64()
		}
		if info.Version >= 5 {
			info.AbortCause = r.U64()
		}
		if first := p.d.MacCrashInfo; len(first) > 0 && first[0].Version != info.Version {
			p.problem("unsupported", "record %d: version %d beside version %d", i, info.Version, first[0].Version)
			continue
		}
		if size-r.Len() > start {
			text.Fail("strings before the end of what has a size", nil)
		}
		if info.Version >= 4 {
			for _, s := range []*string{&info.Module, &info.Message, &info.Signature, &info.Backtrace, &info.Message2} {
				b := text.CString(maxMacString)
				p.charge(&text, uint64(len(b)))
				if text.Err() == nil {
					*s = strings.ToValidUTF8(string(b), "\uFFFD")
				}
			}
			p.failed(&text)
		}
		if info.Version > 0 && !p.failed(&r) {
			p.d.MacCrashInfo = append(p.d.MacCrashInfo, info)
		}
	}
}

// macBootArgs reads the arguments that macOS was started with.
func (p *parser) macBootArgs() {
	if text := read(p, StreamMozMacosBootargs, func(c *cursor.Cursor) rva { c.Skip(4); return rva(c.U64()) }); text != nil {
		p.d.MacBootArgs, p.d.HasMacBootArgs = p.utf16(*text, "boot arguments")
	}
}

// ProcLimit is a line of /proc/PID/limits.
type ProcLimit struct {
	Name       string
	Soft, Hard Limit
	Unit       string // "n/a" if there is none
}

// Limit is the value of a resource limit.
type Limit struct {
	Unlimited bool
	Value     uint64
}

// procLimits reads a table whose columns are two spaces or more apart: Linux fills them up with spaces. Its first line
// names them.
func (p *parser) procLimits() {
	lines := read(p, StreamMozLinuxLimits, func(c *cursor.Cursor) []string {
		p.charge(c, c.Len())
		return strings.FieldsFunc(string(c.Rest()), newline)
	})
	if lines == nil {
		return
	}
	p.d.Linux.Limits = []ProcLimit{}
	for _, line := range (*lines)[min(1, len(*lines)):] {
		var fields []string
		for f := range strings.SplitSeq(line, "  ") {
			if f != "" {
				fields = append(fields, strings.ToValidUTF8(strings.TrimSpace(f), "\uFFFD"))
			}
		}
		if len(fields) >= 3 {
			fields = append(fields, "n/a")
			p.d.Linux.Limits = append(p.d.Linux.Limits, ProcLimit{fields[0], parseLimit(fields[1]), parseLimit(fields[2]), fields[3]})
		}
	}
}

// parseLimit takes what is no number for 0.
func parseLimit(s string) Limit {
	l := Limit{Unlimited: s == "unlimited"}
	if v, err := strconv.ParseUint(s, 10, 64); err == nil {
		l.Value = v
	}
	return l
}

// maxSoftErrors bounds a list of the writer's troubles.
const maxSoftErrors = 1 << 20

// softErrors takes over what the writer could not do: JSON, as it is.
func (p *parser) softErrors() {
	if c, _, _ := p.open(StreamMozSoftErrors); c.Len() > maxSoftErrors {
		p.problem("too large", "%d bytes, the limit is %d", c.Len(), maxSoftErrors)
	} else {
		p.d.SoftErrors = c.Rest()
	}
}
