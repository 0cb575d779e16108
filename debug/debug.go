// Package debug is the root of Salvage's debug format packages: it holds the error types they share.
//
// The packages below it read what compilers, linkers and crash clients write, and answer questions about it:
//
//	debugid              names of binaries: debug id, code id, build id
//	object, dwarf, …     readers of one container or debug format each
//	symbols              the form every reader produces: functions, lines, inlines, publics
//	symcache             that form as a file that answers "what is at this address"
//	cfi, unwind          unwind rules and the stack walker
//	minidump, stackwalk  crash dumps and their report
//
// They do no I/O, read no clock, keep no global state and take any bytes: malformed input yields a
// *FormatError or a counted Problem, never a panic and never unbounded work.
package debug

import (
	"errors"
	"fmt"
)

// Causes a FormatError can carry in Err; test with errors.Is.
var (
	// ErrUnsupported marks input that is well-formed as far as it was read but uses a feature no reader here handles.
	ErrUnsupported = errors.New("unsupported")
	// ErrTooLarge marks input that exceeds a declared limit of the reader or writer.
	ErrTooLarge = errors.New("too large")
	// ErrTruncated marks input that ends before the structure it announces.
	ErrTruncated = errors.New("truncated")
	// ErrVersion marks one of our own derived files written by another format or builder revision:
	// rebuild it from its original.
	ErrVersion = errors.New("other version")
)

// FormatError reports input that a reader cannot use. It is the only error type the debug packages
// return for bad bytes.
type FormatError struct {
	Format  string // "elf", "dwarf", "breakpad", …
	Section string // section, stream or table inside the file; empty if none
	Offset  uint64 // absolute byte offset inside Section (or the file), or a line number for text formats
	Reason  string // what is wrong there, lower case
	Err     error  // one of the causes above, or nil
}

func (e *FormatError) Error() string {
	where := e.Format
	if e.Section != "" {
		where += " " + e.Section
	}
	s := fmt.Sprintf("%s at %#x: %s", where, e.Offset, e.Reason)
	if e.Err != nil && e.Err.Error() != e.Reason {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *FormatError) Unwrap() error { return e.Err }

// Problem is one thing a reader could not use while the rest stayed usable. Readers return problems
// beside their result instead of failing.
type Problem struct {
	Where  string // section, stream, unit or line
	Kind   string // stable identifier, "bad line", "missing abbreviation"
	Detail string // for people
}
