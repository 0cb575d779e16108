// Package proguard reads the mapping files of ProGuard and R8, which tell what the classes, methods and
// lines of a shrunk Java or Kotlin program were called before, and turns frames of that program back.
//
// It does no I/O. A Mapping is immutable, safe for concurrent use and keeps a reference to the bytes it
// was parsed from; what it returns are copies. Lines that cannot be used are skipped and counted.
//
// The format is that of ProGuard's manual, with what R8 adds in comments up to version 2.2 of its mapping
// format. Results are those of the retrace tool in R8 8.5. Malformed input counts or yields a
// *debug.FormatError, never a panic; memory stays below ten times the input.
package proguard

import (
	"bytes"
	"fmt"
	"slices"

	"salvage/debug"
)

const (
	// maxBytes bounds a file. Those of the largest Android programs have 150 MB.
	maxBytes = 1 << 30
	// maxRanges bounds the ranges of all methods of a class that share a name, all of which a lookup may
	// look at. R8 gives a method 65,535 lines at most.
	maxRanges = 1 << 18
	// maxProblems bounds the problems kept of a file.
	maxProblems = 20
	// maxCandidates bounds what an ambiguous frame may have been. What R8 leaves ambiguous are the
	// overloads of a name or the lines of a method, where no line is known.
	maxCandidates = 64
	// maxTries bounds what is looked at for them, which is mostly the same again.
	maxTries = 4096
	// maxInlined bounds the frames of one candidate.
	maxInlined = 256
)

// Mapping is a parsed file.
type Mapping struct {
	Counts   Counts
	Problems []debug.Problem // the first few lines that could not be used

	data    []byte
	classes []class // by obfuscated name
	members []member
	infos   []info
	sources []source // by original class
}

// Counts says how much of what a file has.
type Counts struct {
	Lines, Classes, Fields, Methods uint64 // a method counts once for each of its ranges and inlined calls
	Bad                             uint64 // lines no rule fits
}

// span is a piece of the file.
type span struct{ at, n uint32 }

func (m *Mapping) bytes(s span) []byte { return m.data[s.at : s.at+s.n] }
func (m *Mapping) text(s span) string  { return string(m.bytes(s)) }

// class is a class line and the methods below it.
type class struct {
	name, original span
	first, last    uint32 // of its members, by obfuscated name and then as in the file
}

// member is a line that says what some lines of a method, or calls inlined into them, were.
type member struct {
	name      span // obfuscated
	signature span // type name(types) as in the original
	original  span // the name alone, behind its class and a dot if that is another one
	// residual is a hash of the types that the method has in the shrunk program, which with its name say
	// which method it is. R8 states them where they are not those of the original.
	residual       uint64
	from, to       int32 // lines of the shrunk program; from is none where the entry holds for all
	before, behind int32 // first and last line of the original; before is none where they are the same as the shrunk
	info           int32 // index in infos, or none
	flags          flags
}

const none = -1

type flags uint8

// The flags of a method that the compiler made.
const (
	synthesized flags = 1 << iota
	outline           // code shared by several methods; where it was called from says which lines it was
)

// info is what R8 says of a range in comments.
type info struct {
	rewrites  []rewrite
	positions map[int32]int32 // of an outline to lines of the method that calls it
}

// rewrite removes inner frames below the exceptions that it names.
type rewrite struct {
	throws []string // classes, all of which must have been thrown
	remove int
}

// source is the file that a class was written in.
type source struct {
	class span
	file  string
}

func malformed(line uint64, reason string, cause error) error {
	return &debug.FormatError{Format: "proguard", Offset: line, Reason: reason, Err: cause}
}

// Parse reads a file, which must not change while the mapping is in use. Offsets in errors are line
// numbers.
func Parse(data []byte) (*Mapping, error) {
	if len(data) > maxBytes {
		return nil, malformed(0, fmt.Sprintf("%d bytes", len(data)), debug.ErrTooLarge)
	}
	r := reader{m: &Mapping{data: data}}
	for line := range bytes.Lines(data) {
		r.line(line)
	}
	m := r.m
	if m.Counts.Classes == 0 {
		return nil, malformed(0, "no class", nil)
	}
	// Of two entries for a name the first counts, of two files for a class the last.
	slices.SortStableFunc(m.classes, func(a, b class) int { return bytes.Compare(m.bytes(a.name), m.bytes(b.name)) })
	slices.Reverse(m.sources)
	slices.SortStableFunc(m.sources, func(a, b source) int { return bytes.Compare(m.bytes(a.class), m.bytes(b.class)) })
	for i := range m.classes {
		c := &m.classes[i]
		members := m.members[c.first:c.last]
		slices.SortStableFunc(members, func(a, b member) int { return bytes.Compare(m.bytes(a.name), m.bytes(b.name)) })
		for len(members) > 0 {
			n := m.sameName(members)
			if n > maxRanges {
				return nil, malformed(0, fmt.Sprintf("%d ranges of one name", n), debug.ErrTooLarge)
			}
			m.spread(members[:n])
			members = members[n:]
		}
	}
	return m, nil
}

// sameName returns how many members share the name of the first.
func (m *Mapping) sameName(members []member) int {
	n := 1
	for n < len(members) && bytes.Equal(m.bytes(members[n].name), m.bytes(members[0].name)) {
		n++
	}
	return n
}

// spread gives the flags of a method to all its entries: a comment stands below one of them only.
func (m *Mapping) spread(members []member) {
	if !slices.ContainsFunc(members, func(e member) bool { return e.flags != 0 }) {
		return
	}
	byMethod := map[uint64]flags{}
	for rest := members; len(rest) > 0; {
		n := inlineGroup(rest)
		for _, e := range rest[:n] {
			byMethod[rest[n-1].residual] |= e.flags
		}
		rest = rest[n:]
	}
	for rest := members; len(rest) > 0; {
		n := inlineGroup(rest)
		rest[n-1].flags = byMethod[rest[n-1].residual]
		rest = rest[n:]
	}
}

// inlineGroup returns how many of the members describe the same lines as the first: calls inlined into
// each other, innermost first.
func inlineGroup(members []member) int {
	n := 1
	for n < len(members) && members[0].from != none && members[n].from == members[0].from && members[n].to == members[0].to {
		n++
	}
	return n
}

// class returns the class of an obfuscated name.
func (m *Mapping) class(name string) (*class, bool) {
	i, ok := slices.BinarySearchFunc(m.classes, name, func(c class, name string) int { return compare(m.bytes(c.name), name) })
	if !ok {
		return nil, false
	}
	return &m.classes[i], true
}

// methods returns the entries of an obfuscated name in a class.
func (m *Mapping) methods(c *class, name string) []member {
	members := m.members[c.first:c.last]
	i, ok := slices.BinarySearchFunc(members, name, func(e member, name string) int { return compare(m.bytes(e.name), name) })
	if !ok {
		return nil
	}
	return members[i : i+m.sameName(members[i:])]
}

// file returns the file that a class, by its original name, was written in; empty if the mapping does not say.
func (m *Mapping) file(class string) string {
	i, ok := slices.BinarySearchFunc(m.sources, class, func(s source, class string) int { return compare(m.bytes(s.class), class) })
	if !ok {
		return ""
	}
	return m.sources[i].file
}

func compare(a []byte, b string) int {
	switch {
	case string(a) < b:
		return -1
	case string(a) > b:
		return 1
	}
	return 0
}

// Class returns what a class was called before, by its name in the shrunk program. Where the mapping does
// not know it, that is the name itself.
func (m *Mapping) Class(name string) (original string, known bool) {
	c, ok := m.class(name)
	if !ok {
		return name, false
	}
	return m.text(c.original), true
}
