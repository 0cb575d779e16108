package minidump

import (
	"bytes"
	"iter"
	"strconv"
	"strings"

	"salvage/debug/internal/cursor"
)

// Linux holds what the system says about itself and the process: texts as they are in /proc and /etc,
// aliasing the dump, and the parsed memory map.
type Linux struct {
	CPUInfo    []byte // /proc/cpuinfo
	Status     []byte // /proc/PID/status
	LSBRelease []byte // /etc/lsb-release or /etc/os-release
	CmdLine    []byte // /proc/PID/cmdline: words that end in NUL
	Environ    []byte // /proc/PID/environ: NAME=VALUE that end in NUL
	Auxv       []Aux  // /proc/PID/auxv
	Linker     *Linker
	Maps       []Mapping
	Limits     []ProcLimit // /proc/PID/limits
}

// Aux is a value that the kernel hands to a program (getauxval(3)).
type Aux struct{ Type, Value uint64 }

// Linker is what the dynamic linker knows: r_debug of link.h, in the form of MDRawDebug of Breakpad's
// minidump_format.h.
type Linker struct {
	Version            uint32
	Brk, Base, Dynamic uint64 // addresses: r_brk, r_ldbase, the program's _DYNAMIC
	Objects            []LinkedObject
}

// LinkedObject is a link_map.
type LinkedObject struct {
	Addr, Dynamic uint64 // by how much it was moved, and its _DYNAMIC
	Name          string // path; empty for the program itself
}

// Mapping is a line of /proc/PID/maps.
type Mapping struct {
	Start, End                    uint64 // End is exclusive
	Read, Write, Execute, Private bool
	Offset                        uint64 // into the file
	Device                        string
	Inode                         uint64
	Path                          string // "/file", perhaps with " (deleted)", "[stack]" and the like, or empty
}

func (p *parser) linux() {
	l := &p.d.Linux
	for _, s := range []struct {
		t    StreamType
		text *[]byte
	}{
		{StreamLinuxCPUInfo, &l.CPUInfo}, {StreamLinuxProcStatus, &l.Status}, {StreamLinuxLSBRelease, &l.LSBRelease},
		{StreamLinuxCmdLine, &l.CmdLine}, {StreamLinuxEnviron, &l.Environ},
	} {
		if c, _, ok := p.open(s.t); ok {
			*s.text = c.Rest()
		}
	}
	if p.d.System != nil && p.d.System.CPU != CPUUnknown {
		p.auxv(p.d.System.CPU.PointerSize())
		p.linker(p.d.System.CPU.PointerSize())
	}
	p.procLimits()
	c, _, ok := p.open(StreamLinuxMaps)
	if !ok {
		return
	}
	l.Maps = []Mapping{}
	for line := range bytes.FieldsFuncSeq(c.Rest(), newline) {
		if uint64(len(l.Maps)) >= uint64(p.limits.Mappings) {
			p.problem("too large", "more than %d mappings", p.limits.Mappings)
			l.Maps = nil
			return
		}
		if m, ok := parseMapping(string(line)); ok {
			l.Maps = append(l.Maps, m)
		} else {
			p.problem("bad record", "%.80q", line)
		}
	}
}

func newline(r rune) bool { return r == '\n' || r == '\r' }

// maxAux is more than there are values, which end with AT_NULL.
const maxAux = 256

func (p *parser) auxv(pointer uint8) {
	c, _, ok := p.open(StreamLinuxAuxv)
	for ok && len(p.d.Linux.Auxv) < maxAux && c.Len() >= 2*uint64(pointer) {
		a := Aux{c.Uint(pointer), c.Uint(pointer)}
		if a.Type == 0 {
			return
		}
		p.d.Linux.Auxv = append(p.d.Linux.Auxv, a)
	}
}

// linker reads the records, which some builds of the writer pack and others align to words. A copy of
// _DYNAMIC follows, of pairs of words, so the size tells.
func (p *parser) linker(pointer uint8) {
	var padding, count uint64
	var objects rva
	l := read(p, StreamLinuxDSODebug, func(c *cursor.Cursor) Linker {
		if s, _ := p.d.find(StreamLinuxDSODebug); pointer == 8 && s.Size%16 == 40%16 { // packed 36%16
			padding = 4
		}
		version := c.U32()
		objects, count = rva(c.U32()), uint64(c.U32())
		c.Skip(padding)
		return Linker{version, c.Uint(pointer), c.Uint(pointer), c.Uint(pointer), nil}
	})
	if p.d.Linux.Linker = l; l == nil {
		return
	}
	c := p.from(objects)
	p.records(&c, count, 2*uint64(pointer)+4+padding, p.limits.Modules, func(i uint32, c *cursor.Cursor) {
		o := LinkedObject{Addr: c.Uint(pointer)}
		o.Name, _ = p.utf16(rva(c.U32()), "object %d: name", i)
		c.Skip(padding)
		o.Dynamic = c.Uint(pointer)
		l.Objects = append(l.Objects, o)
	})
}

// parseMapping reads "start-end perms offset device inode path" (proc_pid_maps(5)). The path may hold spaces.
func parseMapping(line string) (m Mapping, ok bool) {
	field := func() (f string) {
		f, line, _ = strings.Cut(line, " ")
		return f
	}
	hex := func(s string) uint64 {
		v, err := strconv.ParseUint(s, 16, 64)
		ok = ok && err == nil
		return v
	}
	ok = true
	start, end, _ := strings.Cut(field(), "-")
	m.Start, m.End = hex(start), hex(end)
	perms := field()
	if len(perms) < 4 {
		return m, false
	}
	m.Read, m.Write, m.Execute, m.Private = perms[0] == 'r', perms[1] == 'w', perms[2] == 'x', perms[3] == 'p'
	m.Offset, m.Device = hex(field()), field()
	inode, err := strconv.ParseUint(field(), 10, 64)
	m.Inode, m.Path = inode, strings.TrimLeft(line, " ")
	return m, ok && err == nil
}

// Pairs yields the lines "key, separator, value" of a text: /proc/cpuinfo and status have ':', os-release
// and lsb-release '='. Both sides are without the white space and one pair of double quotes around
// them; lines without a separator are passed over.
func Pairs(text []byte, separator byte) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for line := range bytes.Lines(text) {
			key, value, ok := bytes.Cut(line, []byte{separator})
			if ok && !yield(unquote(key), unquote(value)) {
				return
			}
		}
	}
}

func unquote(b []byte) string {
	b = bytes.Trim(b, " \t\r\n\v\f")
	if n := len(b); n >= 2 && b[0] == '"' && b[n-1] == '"' {
		b = b[1 : n-1]
	}
	return string(b)
}

// number returns the first value of key in a text that begins with prefix.
func number(text []byte, name, prefix string, base, bits int) (uint64, bool) {
	for key, value := range Pairs(text, ':') {
		if digits, ok := strings.CutPrefix(value, prefix); ok && key == name {
			v, err := strconv.ParseUint(digits, base, bits)
			return v, err == nil
		}
	}
	return 0, false
}

// PID returns the process id of the status text.
func (l *Linux) PID() (uint32, bool) {
	v, ok := number(l.Status, "Pid", "", 10, 32)
	return uint32(v), ok
}

// Microcode returns the microcode version of the first processor, which x86 kernels tell.
func (l *Linux) Microcode() (uint64, bool) { return number(l.CPUInfo, "microcode", "0x", 16, 64) }

// Distribution identifies a Linux distribution. Fields the dump does not tell are empty.
type Distribution struct{ ID, Release, Codename, Description string }

// Distribution reads the keys of lsb-release and those of os-release. Where a text has several for a
// field, the last counts.
func (l *Linux) Distribution() (d Distribution) {
	for key, value := range Pairs(l.LSBRelease, '=') {
		switch key {
		case "DISTRIB_ID", "ID":
			d.ID = value
		case "DISTRIB_RELEASE", "VERSION_ID":
			d.Release = value
		case "DISTRIB_CODENAME", "VERSION_CODENAME":
			d.Codename = value
		case "DISTRIB_DESCRIPTION", "PRETTY_NAME":
			d.Description = value
		}
	}
	return d
}
