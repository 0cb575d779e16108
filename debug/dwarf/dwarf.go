// Package dwarf reads DWARF debug information, versions 2 to 5, into the form of package symbols:
// functions with their lines and inlined calls.
//
// It knows no container: the caller gives it the sections. It reads what symbolication needs and skips
// the rest, units in parallel, without an allocation per entry. What it cannot use of a unit is left out
// and reported as a Problem; the other units are unharmed.
//
// The specification is "DWARF Debugging Information Format", versions 2 to 5 (dwarfstd.org), quoted here
// as DWARF5 with the section; GNU's extensions are from binutils' include/dwarf2.def. Malformed input
// yields a *debug.FormatError or Problems, never a panic.
package dwarf

import (
	"context"

	"salvage/debug"
	"salvage/debug/symbols"
)

// Sections are the contents of the .debug_ sections, inflated; absent ones are nil. They are aliased
// until the Source has returned.
type Sections struct {
	Info, Abbrev, Line, LineStr, Str, StrOffsets, Addr, Ranges, RngLists []byte

	// Growing, if it is not nil, has the contents of .debug_info in place of Info, while they are inflated: each
	// value is all that is there so far, which does not change any more. It is closed when no more will come.
	// They are to be InfoSize bytes. Only Symbols takes them so: it walks the units that are there.
	Growing  <-chan []byte
	InfoSize uint64

	BigEndian bool
}

// Companions are the sections of other files that those of a file refer to.
type Companions struct {
	// Alt is the supplementary file that dwz made of what several files share, nil if there is none
	// (DWARF5 7.3.6).
	Alt *Sections
	// Split returns the sections named .debug_….dwo that hold the unit with the given id (DWARF5 7.3.2),
	// nil if they are not known. Units that ask for the same may get the same.
	Split func(id uint64) *Sections
}

// Options of Symbols.
type Options struct {
	ImageBase uint64 // subtracted from every address
	// Executable are the address ranges of the image that hold code, before ImageBase is subtracted.
	// Code outside them is a leftover of what the linker threw away. Nil: only the values that linkers
	// write for such code are left out.
	Executable []symbols.Extent
	// Symbol returns what the symbol table has at an address (before ImageBase is subtracted); nil if
	// there is no table. It must be safe for concurrent use. The name of a symbol at a function's start
	// overrides that of the debug information, which does not tell clones and cold parts from the
	// function they were made of. Code that has lines but no function (assembly) gets its name from it.
	Symbol func(addr uint64) Symbol
	// Wanted says whether any of the addresses from addr on, ImageBase subtracted, will be asked for; nil: all. Lines
	// and inlined calls without any may be left out, and names of functions; a whole unit without any may be functions
	// where it says it has code, and its damage goes untold. It must be safe for concurrent use.
	Wanted  func(addr, size uint64) bool
	Workers int // default GOMAXPROCS; the output does not depend on it
	Companions
}

// Symbol is an entry of a symbol table: Low ≤ addr < High. Where no symbol covers the address Name is
// nil and High is where the next one starts.
type Symbol struct {
	Name      []byte
	Low, High uint64
}

// Result is filled in by the Source that Symbols returns.
type Result struct {
	Units    int
	Problems []debug.Problem // the first of them, in order of units
	Skipped  int             // units with a problem that hid part of them
	// Missing are the units whose .dwo file is not known: of their functions a few are here at most.
	Missing []Skeleton
	// MissingAlt: names are in a supplementary file that is not known.
	MissingAlt bool
}

// Skeleton names the file that holds a unit.
type Skeleton struct {
	Name, Dir string // Name may be relative to Dir, the directory of compilation
	ID        uint64 // of the unit
}

const maxProblems = 20

// Symbols returns the functions of all units in the order of .debug_info.
func Symbols(ctx context.Context, s *Sections, o Options, res *Result) symbols.Source {
	return func(emit func(*symbols.Batch) error) error {
		return newReader(s, o).run(ctx, emit, res)
	}
}

// unitResult is what came of one unit.
type unitResult struct {
	batches []*symbols.Batch
	fill    *symbols.Batch // what has lines but no function; nil if nothing
	problem *debug.Problem

	missingAlt bool
}

// run reads the units on one goroutine, walks them on several others and hands their batches on in order.
func (r *reader) run(ctx context.Context, emit func(*symbols.Batch) error, res *Result) error {
	inner, cancel := context.WithCancel(ctx)
	units := make(chan error, 1)
	var found, walked Result
	go func() { units <- r.readUnits(inner, &found) }()
	var fills []*symbols.Batch // last, so that functions of other units come first
	walker := func() func(context.Context, int) unitResult {
		w := newWalker(r)
		return func(ctx context.Context, i int) unitResult { return w.unit(ctx, r.main.unit(i)) }
	}
	more := func(i int) bool { return r.main.unit(i) != nil }
	err := symbols.Parallel(inner, r.opts.Workers, more, walker, func(u unitResult) (err error) {
		if u.problem != nil {
			walked.problem(*u.problem)
		}
		if u.fill != nil {
			fills = append(fills, u.fill)
		}
		res.MissingAlt = res.MissingAlt || u.missingAlt
		for _, b := range u.batches {
			if err == nil {
				err = emit(b)
			}
		}
		if err != nil {
			cancel() // walkers may wait for units
		}
		return err
	})
	cancel()
	if failed := <-units; err == nil {
		err = failed
	}
	res.Units, res.Missing, res.Skipped = len(r.main.units), found.Missing, found.Skipped+walked.Skipped
	res.Problems = append(found.Problems, walked.Problems[:min(len(walked.Problems), maxProblems-len(found.Problems))]...)
	if err != nil {
		return err
	}
	for _, b := range fills {
		if err := emit(b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (res *Result) problem(p debug.Problem) {
	res.Skipped++
	if len(res.Problems) < maxProblems {
		res.Problems = append(res.Problems, p)
	}
}
