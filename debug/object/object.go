// Package object opens debug files and binaries of any format: it tells the format and hands the bytes
// to its reader.
//
// It does no I/O. Malformed input yields a *debug.FormatError, never a panic.
package object

import (
	"context"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/object/elf"
	"salvage/debug/symbols"
)

// Object is an opened file. It aliases the bytes it was opened over.
type Object struct {
	Format string // "elf", "breakpad"
	Module symbols.Module
	// HasSymbols: names can be had of the file, HasDebugInfo: with files and lines. For a .sym both are
	// only known after reading it, and true.
	HasSymbols, HasDebugInfo bool
	HasRules                 bool // unwind rules; likewise

	data []byte
	elf  *elf.File
}

// Report says what a reader could not use.
type Report struct {
	Problems []debug.Problem // the first few
	Lost     uint64          // records or units that were left out, whole or in part
	// Needs names other files that hold part of the debug information: split units (.dwo).
	Needs []string
}

// Open tells the format of data and reads what identifies it. The module's name is empty where the
// file does not say it.
func Open(data []byte) (*Object, error) {
	switch {
	case elf.Probe(data):
		f, err := elf.Parse(data)
		if err != nil {
			return nil, err
		}
		m := symbols.Module{
			ID: f.DebugID(), CodeID: f.CodeID(), OS: "Linux", Arch: f.Arch(), Name: f.SOName(), ImageBase: f.ImageBase(),
		}
		return &Object{Format: "elf", Module: m, HasSymbols: f.HasSymbols(), HasDebugInfo: f.HasDebugInfo(), HasRules: f.HasUnwindInfo(), elf: f}, nil
	case breakpad.Probe(data):
		m, err := breakpad.Header(data)
		if err != nil {
			return nil, err
		}
		return &Object{Format: "breakpad", Module: m, HasSymbols: true, HasDebugInfo: true, HasRules: true, data: data}, nil
	}
	return nil, &debug.FormatError{Format: "object", Reason: "unknown file format", Err: debug.ErrUnsupported}
}

// Symbols returns the functions and publics of the file. It fills in rep while it runs.
func (o *Object) Symbols(ctx context.Context, rep *Report) symbols.Source {
	if o.elf != nil {
		return elfSymbols(ctx, o.elf, rep)
	}
	return func(emit func(*symbols.Batch) error) error {
		f, err := breakpad.Parse(o.data, breakpad.Handler{Batch: emit}, breakpad.Options{})
		if err != nil {
			return err
		}
		rep.Problems = f.Problems
		rep.Lost = f.Counts.Bad + f.Counts.Unknown + f.Counts.TooLong
		return nil
	}
}
