// Package minidump reads minidump files: what a crash client wrote about a process, its threads,
// modules, memory and the exception that ended it.
//
// Parse decodes every stream it knows at once, because a stack walker needs nearly all of them; the
// others stay available as bytes. It interprets nothing: crash reasons, report texts and the unwinding of
// stacks are made of a Dump by packages triage, stackwalk and unwind. It does no I/O. A Dump is immutable and
// safe for concurrent use; its memory, stacks and raw texts alias the input, its strings are copies.
//
// The layouts are those of MINIDUMP_… in the Windows SDK's minidumpapiset.h, of Breakpad's
// minidump_format.h with its extensions, and of Crashpad's minidump_extensions.h.
//
// Only a broken header or directory is an error, a *debug.FormatError. A stream that cannot be read, and a
// record that cannot be read within one, are left out and named in Problems; a missing stream is no problem.
package minidump

import (
	"cmp"
	"fmt"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// Limits bounds what Parse takes from one dump. Zero fields mean the defaults. A list above its limit is
// left out as a whole, with a problem of kind "too large".
type Limits struct {
	Streams     uint32 // directory entries, else an error. Default 1024; writers use up to 18, Breakpad reads 128
	Threads     uint32 // Default 100,000; Breakpad reads 4,096
	Modules     uint32 // loaded, and unloaded. Default 65,536; Breakpad reads 2,048
	Regions     uint32 // of each memory list, and of the memory info list. Default 1,048,576; full dumps have thousands
	Mappings    uint32 // lines of /proc/PID/maps. Default 1,048,576; Linux allows 65,530 unless raised
	Handles     uint32 // Default 1,048,576; a process of Windows can have 16 million
	Annotations uint32 // of Crashpad, and its modules, all together. Default 65,536
	StringBytes uint32 // one string, as stored. Default 65,536: Windows paths end at 65,534
	// TextBytes bounds all strings together, as stored: many records may point to one string.
	// Default 16 MiB; 1,000 modules have some 200 KB.
	TextBytes uint64
	// Inflated bounds what Open inflates each wrapping of a dump to. Default 512 MiB.
	Inflated uint64
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Streams: cmp.Or(l.Streams, 1<<10), Threads: cmp.Or(l.Threads, 100_000), Modules: cmp.Or(l.Modules, 1<<16),
		Regions: cmp.Or(l.Regions, 1<<20), Mappings: cmp.Or(l.Mappings, 1<<20), Handles: cmp.Or(l.Handles, 1<<20),
		Annotations: cmp.Or(l.Annotations, 1<<16), StringBytes: cmp.Or(l.StringBytes, 1<<16),
		TextBytes: cmp.Or(l.TextBytes, 16<<20), Inflated: cmp.Or(l.Inflated, 512<<20),
	}
}

// Dump is a parsed minidump. Pointers are nil and slices empty where the dump has no such stream or
// none that can be read.
type Dump struct {
	BigEndian bool   // byte order of the file and of the process: words in memory included
	Time      uint32 // when the dump was written, Unix seconds
	Flags     uint64 // MINIDUMP_TYPE bits
	Streams   []Stream

	System     *SystemInfo
	Threads    []Thread
	Modules    []Module // in file order
	Unloaded   []UnloadedModule
	Memory     Memory
	MemoryInfo []MemoryInfo
	Exception  *Exception
	Misc       *MiscInfo
	Linux      Linux
	Breakpad   *BreakpadInfo
	Assertion  *Assertion
	Crashpad   *Crashpad
	// Handles is not nil, but may be empty, if the writer listed what was open. HandleOperations is how many
	// operations on handles are in a log.
	Handles          []Handle
	HandleOperations uint32
	MacCrashInfo     []MacCrashInfo // not nil if there is the stream
	MacBootArgs      string
	HasMacBootArgs   bool
	SoftErrors       []byte // JSON of Mozilla's writer: what it could not do. Not checked; aliases the dump

	// Problems says what could not be read. Where is the stream's name. Kinds: "truncated", "bad
	// record", "too large", "size mismatch", "duplicate stream", "unsupported", "more".
	Problems []debug.Problem

	data   []byte
	byAddr []*Module
}

// Parse reads a dump under the default limits. The result aliases data.
func Parse(data []byte) (*Dump, error) { return Limits{}.Parse(data) }

// Parse reads a dump. The result aliases data.
func (l Limits) Parse(data []byte) (*Dump, error) {
	p := parser{data: data, limits: l.withDefaults(), d: &Dump{data: data}}
	p.text, p.annotations = p.limits.TextBytes, uint64(p.limits.Annotations)
	if err := p.header(); err != nil {
		return nil, err
	}
	p.system() // the CPU tells the layout of contexts, the OS the meaning of module records
	p.memory() // stacks refer to it
	p.memoryInfo()
	p.threads()
	p.modules()
	p.unloadedModules()
	p.exception()
	p.misc()
	p.linux()
	p.breakpadInfo()
	p.assertion()
	p.crashpad()
	p.handles()
	p.handleOperations()
	p.macCrashInfo()
	p.macBootArgs()
	p.softErrors()
	p.leave()
	return p.d, nil
}

const maxProblems = 10 // per stream; the rest is counted

type parser struct {
	data        []byte
	limits      Limits
	d           *Dump
	text        uint64 // bytes of strings that may still be read
	annotations uint64 // annotations that may still be read

	where    string // stream being read
	problems int    // found in it
}

// rva is an offset from the start of the file.
type rva uint64

// location is a LOCATION_DESCRIPTOR.
type location struct {
	size uint64
	rva  rva
}

func readLocation(c *cursor.Cursor) location {
	size := uint64(c.U32())
	return location{size, rva(c.U32())}
}

// from returns a cursor over the file from off to its end.
func (p *parser) from(off rva) cursor.Cursor {
	c := cursor.New(p.data, "minidump", p.where).BigEndian(p.d.BigEndian)
	c.Skip(uint64(off))
	return c
}

func (p *parser) at(l location) cursor.Cursor {
	c := p.from(l.rva)
	return c.Sub(l.size)
}

// charge latches a failure in c unless n more bytes of text are allowed.
func (p *parser) charge(c *cursor.Cursor, n uint64) {
	switch {
	case n > uint64(p.limits.StringBytes):
		c.Fail("string over the limit", debug.ErrTooLarge)
	case n > p.text:
		c.Fail("strings of the dump over their limit", debug.ErrTooLarge)
	default:
		p.text -= n
	}
}

// utf16 reads a MINIDUMP_STRING: its length in bytes, then UTF-16. Windows allows unpaired surrogates in
// file names; they become U+FFFD. A problem tells what it is of.
func (p *parser) utf16(off rva, format string, args ...any) (s string, ok bool) {
	c := p.from(off)
	n := uint64(c.U32())
	p.charge(&c, n)
	if s = c.UTF16(n); c.Err() != nil {
		p.problem("bad record", "%s: %v", fmt.Sprintf(format, args...), c.Err())
	}
	return s, c.Err() == nil
}

// enter names the stream that problems are about from here on.
func (p *parser) enter(t StreamType) {
	p.leave()
	p.where, p.problems = t.String(), 0
}

func (p *parser) leave() {
	if more := p.problems - maxProblems; more > 0 {
		p.d.Problems = append(p.d.Problems, debug.Problem{Where: p.where, Kind: "more", Detail: fmt.Sprintf("%d more problems", more)})
	}
	p.problems = 0
}

func (p *parser) problem(kind, format string, args ...any) {
	if p.problems++; p.problems <= maxProblems {
		p.d.Problems = append(p.d.Problems, debug.Problem{Where: p.where, Kind: kind, Detail: fmt.Sprintf(format, args...)})
	}
}
