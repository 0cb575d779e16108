// Package breakpad reads Breakpad symbol files (.sym): text with the functions, lines, inlined calls,
// public symbols and unwind rules of one binary.
//
// The grammar is the union of what Breakpad, Mozilla's dump_syms and their relatives write, both
// dialects of INLINE included. A file is cut into parts that are parsed on all cores and handed on in
// their order; nothing of it is retained. Addresses stay relative to the image base, as in the file.
//
// By default bad lines are skipped and counted, as Breakpad's own processor does (rust-minidump gives up
// the whole file); Strict turns the first into an error. Malformed input yields a *debug.FormatError or
// counts, never a panic.
package breakpad

import (
	"bytes"

	"salvage/debug"
	"salvage/debug/symbols"
)

// CFI is a STACK CFI record. Rules is text for package cfi.
type CFI struct {
	Init       bool // STACK CFI INIT: opens a block of Size bytes
	Addr, Size uint64
	Rules      []byte
}

// Win is a STACK WIN record: x86 unwind data of a PDB.
type Win struct {
	Type                                                    uint8 // 0 FPO, 4 frame data
	Addr                                                    uint64
	CodeSize, Prologue, Epilogue, Params, SavedRegs, Locals uint32
	MaxStack                                                uint32
	HasProgram                                              bool
	Program                                                 []byte // if HasProgram
	AllocatesBP                                             bool   // if not: the last field is exactly 1
}

// Handler receives the records of a file, each kind in file order, from the goroutine that called Parse;
// nil fields skip their records. Byte slices are valid during the call only. An error stops the reader,
// which returns it.
type Handler struct {
	// Batch receives functions in file order and, last, all publics by address. It owns the batch;
	// all batches of a file share one Strings. Names used before their FILE or INLINE_ORIGIN record
	// are filled in until Parse returns, so Strings is to be read after that only.
	Batch func(*symbols.Batch) error
	CFI   func(CFI) error
	Win   func(Win) error
}

// Options of Parse. The zero value is lenient.
type Options struct {
	Strict bool // fail on the first line that cannot be used
	// Wanted, if set, tells of which addresses something will be asked: a function for which it is false
	// comes without name, lines and inlined calls, which are not looked at, and its unwind rules do not
	// come. Names then alias what was parsed. It is called on several goroutines.
	Wanted func(addr, size uint64) bool
	// Done, if set, gets the pieces of the input, in order, when they have been handed on, for the caller
	// to let go of their memory.
	Done func([]byte)
	// MaxLine is the longest line kept, in bytes; longer ones are skipped and counted. Default 1 MiB:
	// the longest names known are 82 KB (C++), and rust-minidump skips at 160 KiB.
	MaxLine int
}

// Counts says how many records of each kind a file has.
type Counts struct {
	Lines                                           uint64 // lines of text
	Files, Origins, Functions, LineRecords, Inlines uint64
	OldInlines                                      uint64 // of Inlines, those in the dialect without call files
	Publics, CFIInits, CFIRows, Win, Info           uint64
	Bad                                             uint64 // lines no rule fits
	Unknown                                         uint64 // lines with an unknown keyword
	TooLong                                         uint64
	Empty                                           uint64 // functions and records without size, or beyond the address space
}

// File is what Parse learned about a file besides the records it handed on.
type File struct {
	Module    symbols.Module // the first MODULE record and INFO CODE_ID; zero if there is none
	CodeFile  string         // from INFO CODE_ID; PE only
	Generator string         // INFO GENERATOR
	URL       string         // INFO URL, which symbol caches append
	Counts    Counts
	Problems  []debug.Problem // the first few bad lines
}

// Probe reports whether data looks like the start of a symbol file.
func Probe(data []byte) bool { return bytes.HasPrefix(data, []byte("MODULE ")) }

const (
	defaultMaxLine = 1 << 20
	maxProblems    = 10
)

// Header returns the module that the first lines of data describe, without reading further than
// MODULE and the INFO records behind it.
func Header(data []byte) (symbols.Module, error) {
	p := part{reader: newReader(Handler{}, Options{})}
	for n := 0; len(data) > 0 && n < 100; n++ {
		line, rest, _ := bytes.Cut(data[:min(len(data), defaultMaxLine)], []byte("\n"))
		if n > 0 && !bytes.HasPrefix(line, []byte("INFO ")) {
			break
		}
		p.line(line)
		data = rest
	}
	if p.file.Module.OS == "" {
		return symbols.Module{}, &debug.FormatError{Format: "breakpad", Reason: "no MODULE record in the first line"}
	}
	return p.file.Module, nil
}
