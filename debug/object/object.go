// Package object opens debug files and binaries of any format: it tells the format and hands the bytes
// to its reader.
//
// It does no I/O. Malformed input yields a *debug.FormatError, never a panic.
package object

import (
	"context"
	"strings"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/internal/inflate"
	"salvage/debug/object/elf"
	"salvage/debug/object/macho"
	"salvage/debug/object/pe"
	"salvage/debug/pdb"
	"salvage/debug/symbols"
)

// Object is an opened file. It aliases the bytes it was opened over.
type Object struct {
	Format string // "elf", "pe", "pdb", "macho", "breakpad"
	Module symbols.Module
	// HasSymbols: names can be had of the file, HasDebugInfo: with files and lines. For a .sym both are
	// only known after reading it, and true.
	HasSymbols, HasDebugInfo bool
	HasRules                 bool // unwind rules; likewise
	// Forget, if set, gets the pieces of the file that were inflated, for the caller to let go of their memory. They
	// reach to the end of the bytes that were opened. It is called on several goroutines.
	Forget func([]byte)
	// Wanted, if set, says whether any of some addresses will be asked for. Of ELF and PE files what says nothing of such
	// may be left out: see dwarf.Options.
	Wanted func(addr, size uint64) bool

	data  []byte
	elf   *elf.File
	pe    *pe.File
	pdb   *pdb.File
	macho *macho.File
	companions
}

// Report says what a reader could not use.
type Report struct {
	Problems []debug.Problem // the first few
	Lost     uint64          // records or units that were left out, whole or in part
	// Needs are files that hold part of the debug information and were not added.
	Needs []Need
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
		return &Object{Format: "elf", Module: m, HasSymbols: f.HasSymbols(), HasDebugInfo: f.HasDebugInfo() || f.HasGoTable(), HasRules: f.HasUnwindInfo(), data: data, elf: f}, nil
	case pe.Probe(data):
		f, err := pe.Parse(data)
		if err != nil {
			return nil, err
		}
		id, name := f.CodeView()
		m := symbols.Module{
			ID: id, CodeID: f.CodeID(), OS: "windows", Arch: f.Arch(), Name: leaf(name), ImageBase: f.ImageBase,
		}
		return &Object{Format: "pe", Module: m, HasSymbols: f.HasSymbols(), HasDebugInfo: f.HasDebugInfo(), HasRules: hasRules(f), pe: f}, nil
	case pdb.Probe(data):
		f, err := pdb.Parse(data)
		if err != nil {
			return nil, err
		}
		m := symbols.Module{ID: f.ID, OS: "windows", Arch: pe.Arch(f.Machine)}
		return &Object{Format: "pdb", Module: m, HasSymbols: f.HasSymbols(), HasDebugInfo: f.HasDebugInfo(), HasRules: f.HasFrameData(), pdb: f}, nil
	case macho.Probe(data):
		return openMachO(data)
	case macho.ProbeFat(data):
		return OpenArch(data, "")
	case breakpad.Probe(data):
		m, err := breakpad.Header(data)
		if err != nil {
			return nil, err
		}
		return &Object{Format: "breakpad", Module: m, HasSymbols: true, HasDebugInfo: true, HasRules: true, data: data}, nil
	}
	return nil, &debug.FormatError{Format: "object", Reason: "unknown file format", Err: debug.ErrUnsupported}
}

// Symbols returns the functions and publics of the file and its companions. It fills in rep while it runs.
func (o *Object) Symbols(ctx context.Context, rep *Report) symbols.Source {
	switch {
	case o.pe != nil && o.pdb != nil:
		return func(emit func(*symbols.Batch) error) error {
			if err := pdbSymbols(ctx, o.pdb, rep)(emit); err != nil {
				return err
			}
			return imageSymbols(ctx, o.image(), rep)(emit)
		}
	case o.elf != nil || o.pe != nil:
		rep.Needs = append(rep.Needs, o.databaseNeed()...)
		return imageSymbols(ctx, o.image(), rep)
	case o.pdb != nil:
		return pdbSymbols(ctx, o.pdb, rep)
	case o.macho != nil:
		return o.machoSymbols(ctx, rep)
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

func pdbSymbols(ctx context.Context, f *pdb.File, rep *Report) symbols.Source {
	return func(emit func(*symbols.Batch) error) error {
		var res pdb.Result
		err := f.Symbols(ctx, pdb.Options{}, &res)(emit)
		rep.Problems = append(rep.Problems, res.Problems...)
		rep.Lost += uint64(res.Skipped)
		return err
	}
}

// Unpack returns the file in data if that is a cabinet, as symbol servers keep files in, or another compressed file; else data.
func Unpack(data []byte) ([]byte, error) {
	if inflate.Format(data) == "" {
		return data, nil
	}
	return inflate.File(data, maxSection)
}

// leaf returns the last part of a path of any system.
func leaf(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }
