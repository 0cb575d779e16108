package minidump

import (
	"bytes"
	"iter"
	"strconv"
	"strings"
)

// Linux holds what the system says about itself and the process: texts as they are in /proc and /etc,
// aliasing the dump, and the parsed memory map.
type Linux struct {
	CPUInfo    []byte // /proc/cpuinfo
	Status     []byte // /proc/PID/status
	LSBRelease []byte // /etc/lsb-release or /etc/os-release
	CmdLine    []byte // /proc/PID/cmdline: words that end in NUL
	Environ    []byte // /proc/PID/environ: NAME=VALUE that end in NUL
	Auxv       []byte // /proc/PID/auxv: pairs of pointer-sized numbers
	DSODebug   []byte // MDRawDebug of Breakpad's minidump_format.h: the dynamic linker's list of objects
	Maps       []Mapping
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
		{StreamLinuxCmdLine, &l.CmdLine}, {StreamLinuxEnviron, &l.Environ}, {StreamLinuxAuxv, &l.Auxv},
		{StreamLinuxDSODebug, &l.DSODebug},
	} {
		if c, _, ok := p.open(s.t); ok {
			*s.text = c.Rest()
		}
	}
	c, _, ok := p.open(StreamLinuxMaps)
	if !ok {
		return
	}
	for line := range bytes.Lines(c.Rest()) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		if uint64(len(l.Maps)) >= uint64(p.limits.Mappings) {
			p.problem("too large", "more than %d mappings", p.limits.Mappings)
			l.Maps = nil
			return
		}
		m, ok := parseMapping(string(line))
		if !ok {
			p.problem("bad record", "%.80q", line)
			continue
		}
		l.Maps = append(l.Maps, m)
	}
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

// PID returns the process id of the status text.
func (l *Linux) PID() (uint32, bool) {
	for key, value := range Pairs(l.Status, ':') {
		if key == "Pid" {
			v, err := strconv.ParseUint(value, 10, 32)
			return uint32(v), err == nil
		}
	}
	return 0, false
}

// Microcode returns the microcode version of the first processor, which x86 kernels tell.
func (l *Linux) Microcode() (uint64, bool) {
	for key, value := range Pairs(l.CPUInfo, ':') {
		if digits, ok := strings.CutPrefix(value, "0x"); ok && key == "microcode" {
			v, err := strconv.ParseUint(digits, 16, 64)
			return v, err == nil
		}
	}
	return 0, false
}

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
