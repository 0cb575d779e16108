package stackwalk

import (
	"bytes"
	"cmp"
	_ "embed" // names.txt
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"salvage/debug/internal/tables"
	"salvage/debug/minidump"
	"salvage/debug/triage"
	"salvage/debug/unwind"
)

// What a report says of the process and the machine, in the words of rust-minidump 0.27, oddities
// included: reports are compared and searched by them.

// system returns the system info of the dump, or an empty one if it has none.
func (r *Report) system() *minidump.SystemInfo {
	if r.Dump.System == nil {
		return &minidump.SystemInfo{}
	}
	return r.Dump.System
}

// hex spells an address: with all digits of a pointer, which are 16 if nothing is known of the CPU.
func (r *Report) hex(addr uint64) string {
	if r.system().CPU.PointerSize() == 4 {
		return fmt.Sprintf("0x%08x", addr)
	}
	return fmt.Sprintf("0x%016x", addr)
}

var osNames = map[minidump.OS]string{
	minidump.OSWindows: "Windows NT", minidump.OSMacOS: "Mac OS X", minidump.OSIOS: "iOS", minidump.OSLinux: "Linux",
	minidump.OSSolaris: "Solaris", minidump.OSAndroid: "Android", minidump.OSPS3: "PS3", minidump.OSNaCl: "NaCl",
	minidump.OSFuchsia: "Fuchsia",
}

// osName returns the long name of the operating system. An unknown one is its number with two prefixes.
func osName(s *minidump.SystemInfo) string {
	if name := osNames[s.OS]; name != "" {
		return name
	}
	return fmt.Sprintf("0x0x%06x", s.Platform)
}

// osVersion returns the version and, behind a space, what else identifies the build.
//
// Linux writers know no numbers and leave 0.0.0, but write what `uname -srvmo` prints, such as "Linux
// 4.9.60 #1 SMP Mon Jan 1 00:00:00 UTC 2018 x86_64 GNU/Linux": its second word is the version, the rest
// the build, without the last word and, if that was Linux/GNU, the one before it. As uname says GNU/Linux,
// the machine stays.
func osVersion(s *minidump.SystemInfo) string {
	version, build := fmt.Sprintf("%d.%d.%d", s.Major, s.Minor, s.Build), strings.TrimSpace(s.CSD)
	if words := strings.Split(s.CSD, " "); s.OS == minidump.OSLinux && version == "0.0.0" && len(words) > 1 && words[1] != version {
		version, words = words[1], words[2:]
		n := max(0, len(words)-1)
		if n < len(words) && words[n] == "Linux/GNU" {
			n = max(0, n-1)
		}
		return version + " " + strings.Join(words[:n], " ")
	}
	if build == "" {
		return version
	}
	return version + " " + build
}

//go:embed names.txt
var texts tables.Names

// cpuInfo describes the processor, where the dump does so; otherwise it returns "".
func cpuInfo(s *minidump.SystemInfo) string {
	switch s.CPU {
	case minidump.CPUX86:
		return fmt.Sprintf("%s family %d model %d stepping %d", s.Vendor, s.Level, s.Revision>>8, s.Revision&0xff)
	case minidump.CPUAMD64:
		return fmt.Sprintf("family %d model %d stepping %d", s.Level, s.Revision>>8, s.Revision&0xff)
	case minidump.CPUARM:
		return armInfo(s)
	}
	return ""
}

func armInfo(s *minidump.SystemInfo) string {
	info := fmt.Sprintf("ARMv%d", s.Level)
	if id := s.Features[0]; id != 0 {
		named := func(table string, v uint64) string {
			return " " + cmp.Or(texts.Name("arm."+table, uint32(v)), fmt.Sprintf("%s(0x%x)", table, v))
		}
		info += named("vendor", id>>24) + named("part", id&0xff00fff0)
	}
	var names []string
	for bit := range uint32(64) {
		if name := texts.Name("arm.feature", bit); name != "" && s.Features[1]>>bit&1 != 0 {
			names = append(names, name)
		}
	}
	if names != nil {
		info += " features: " + strings.Join(names, ",")
	}
	return info
}

// pid returns the process id. The status text of Linux counts where there is no misc info only.
func (r *Report) pid() (uint32, bool) {
	if m := r.Dump.Misc; m != nil {
		return m.ProcessID, m.Has(minidump.MiscProcessID)
	}
	return r.Dump.Linux.PID()
}

// uptime returns the seconds from the start of the process to the dump; clocks that were set back make it 0.
func (r *Report) uptime() (uint32, bool) {
	m := r.Dump.Misc
	if m == nil || !m.Has(minidump.MiscProcessTimes) {
		return 0, false
	}
	return r.Dump.Time - min(r.Dump.Time, m.CreateTime), true
}

// assertion tells which check of the C runtime failed, or "": "invalid parameter: format != nullptr,
// function common_vfprintf, output.cpp:32".
func (r *Report) assertion() string {
	a := r.Dump.Assertion
	if a == nil {
		return ""
	}
	kind := "assertion"
	switch a.Type {
	case minidump.AssertionInvalidParameter:
		kind = "invalid parameter"
	case minidump.AssertionPureVirtualCall:
		kind = "pure virtual call"
	}
	var parts []string
	if a.Expression != "" {
		parts = append(parts, a.Expression)
	}
	if a.Function != "" {
		parts = append(parts, "function "+a.Function)
	}
	if a.File != "" {
		parts = append(parts, fmt.Sprintf("%s:%d", a.File, a.Line))
	}
	if parts == nil {
		return kind
	}
	return kind + ": " + strings.Join(parts, ", ")
}

// mapCount returns the number of memory mappings, where the dump lists any.
func (r *Report) mapCount() (int, bool) {
	return len(r.Dump.Linux.Maps), r.Dump.Linux.Maps != nil
}

// softErrors returns what Mozilla's writer could not do, or nil if that is not JSON. Numbers are kept as they are.
func (r *Report) softErrors() (v any) {
	decoder := json.NewDecoder(bytes.NewReader(r.Dump.SoftErrors))
	decoder.UseNumber()
	if !utf8.Valid(r.Dump.SoftErrors) || decoder.Decode(&v) != nil {
		return nil
	}
	if _, err := decoder.Token(); err != io.EOF || depth(v) > maxDepth { // more behind it
		return nil
	}
	return v
}

// maxDepth bounds the nesting of JSON from a dump, as serde_json does.
const maxDepth = 127

func depth(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			n = max(n, depth(x))
		}
	case map[string]any:
		for _, x := range v {
			n = max(n, depth(x))
		}
	default:
		return 0
	}
	return n + 1
}

// lastError names a thread's GetLastError, which is not told of the one that wrote the dump.
func (t *Thread) lastError() (string, bool) {
	if !t.HasLastError || t.Skipped {
		return "", false
	}
	return triage.WindowsError(t.LastError), true
}

// threadName returns the name of a thread, which is not told of the one that wrote the dump.
func (t *Thread) threadName() (string, bool) { return t.Name, t.Name != "" && !t.Skipped }

// registerHex spells the value of a register with all its digits.
func (r *Report) registerHex(v uint64) string {
	return fmt.Sprintf("0x%0*x", 2*r.system().CPU.RegisterSize(), v)
}

// registers returns the known registers of a frame of thread i and their names in the order of the text.
func (r *Report) registers(i int, f *Frame) (names []string, values map[string]uint64) {
	cpu := r.system().CPU
	names, values = cpu.RegisterNames(), map[string]uint64{}
	state := r.Threads[i].Context
	if i == r.Crashing && r.Dump.Exception != nil && r.Dump.Exception.Context != nil {
		state = r.Dump.Exception.Context
	}
	own := f.Trust == unwind.TrustContext && state != nil
	for n, name := range names {
		if v, ok := f.Registers.Get(uint8(n)); ok {
			values[name] = v
		} else if own { // of a CPU that is not unwound
			values[name] = state.Regs[n]
		}
	}
	if cpu == minidump.CPUX86 {
		if names = x86Names; own {
			values["eflags"] = uint64(state.Status)
		}
	}
	return names, values
}

var x86Names = strings.Fields("eip esp ebp ebx esi edi eax ecx edx eflags")

// leaf returns the part of a path behind its last separator, of whichever system.
func leaf(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }
