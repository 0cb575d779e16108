// Package breakpad reads Breakpad symbol files (.sym): text with the functions, lines, inlined calls,
// public symbols and unwind rules of one binary.
//
// The grammar is the union of what Breakpad, Mozilla's dump_syms and their relatives write, both
// dialects of INLINE included. Reading is a stream: lines are parsed as they arrive and nothing of the
// input is retained. Addresses stay relative to the image base, as in the file.
//
// By default bad lines are skipped and counted, as Breakpad's own processor does (rust-minidump gives up
// the whole file); Strict turns the first into an error. Malformed input yields a *debug.FormatError or
// counts, never a panic.
package breakpad

import (
	"bytes"
	"fmt"
	"io"

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

// Handler receives the records of a file; nil fields skip their records. Byte slices are valid during
// the call only. An error stops the reader, which returns it.
type Handler struct {
	// Batch receives functions in file order and, last, all publics by address. It owns the batch;
	// all batches of a file share one Strings. Names used before their FILE or INLINE_ORIGIN record
	// are filled in until Read returns, so Strings is to be read after that only.
	Batch func(*symbols.Batch) error
	CFI   func(CFI) error
	Win   func(Win) error
}

// Options of Read. The zero value is lenient.
type Options struct {
	Strict bool // fail on the first line that cannot be used
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

// File is what Read learned about a file besides the records it handed on.
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
	chunkSize      = 1 << 20
	maxProblems    = 10
)

// Parse reads a whole file from memory.
func Parse(data []byte, h Handler, o Options) (*File, error) {
	p := newParser(h, o)
	n, err := p.consume(data)
	if err == nil {
		err = p.finish(data[n:])
	}
	return p.result(err)
}

// Read reads a file from r to its end. Errors of r are returned as they are.
func Read(r io.Reader, h Handler, o Options) (*File, error) {
	p := newParser(h, o)
	buf := make([]byte, 0, chunkSize)
	for {
		if len(buf) == cap(buf) { // one long line
			if len(buf) > p.maxLine {
				buf = p.skipLong(buf)
			} else {
				buf = append(make([]byte, 0, 2*cap(buf)), buf...)
			}
		}
		n, readErr := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		used, err := p.consume(buf)
		if err != nil {
			return p.result(err)
		}
		buf = buf[:copy(buf, buf[used:])]
		if readErr == io.EOF {
			return p.result(p.finish(buf))
		}
		if readErr != nil {
			return p.result(readErr)
		}
	}
}

func (p *parser) result(err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	c := &p.file.Counts
	if c.Functions+c.Publics+c.CFIInits+c.Win+c.Files+c.Info == 0 && p.file.Module == (symbols.Module{}) {
		return nil, &debug.FormatError{Format: "breakpad", Reason: "no records of a symbol file"}
	}
	return &p.file, nil
}

// bad accounts for a line that cannot be used.
func (p *parser) bad(counter *uint64, kind string, line []byte) error {
	*counter++
	shown := line[:min(len(line), 80)]
	if p.strict {
		return &debug.FormatError{Format: "breakpad", Section: "line", Offset: p.file.Counts.Lines, Reason: fmt.Sprintf("%s: %q", kind, shown)}
	}
	if len(p.file.Problems) < maxProblems {
		p.file.Problems = append(p.file.Problems, debug.Problem{
			Where: fmt.Sprintf("line %d", p.file.Counts.Lines), Kind: kind, Detail: fmt.Sprintf("%q", shown),
		})
	}
	return nil
}

// Header returns the module that the first lines of data describe, without reading further than
// MODULE and the INFO records behind it.
func Header(data []byte) (symbols.Module, error) {
	p := newParser(Handler{}, Options{})
	for n := 0; len(data) > 0 && n < 100; n++ {
		line, rest, _ := bytes.Cut(data[:min(len(data), defaultMaxLine)], []byte("\n"))
		if n > 0 && !bytes.HasPrefix(line, []byte("INFO ")) {
			break
		}
		if err := p.line(line); err != nil {
			return symbols.Module{}, err
		}
		data = rest
	}
	if p.file.Module.OS == "" {
		return symbols.Module{}, &debug.FormatError{Format: "breakpad", Reason: "no MODULE record in the first line"}
	}
	return p.file.Module, nil
}
