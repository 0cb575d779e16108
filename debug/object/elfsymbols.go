package object

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"salvage/debug"
	"salvage/debug/dwarf"
	"salvage/debug/object/elf"
	"salvage/debug/symbols"
)

// maxSection bounds an inflated section. The largest .debug_info known is that of a 5.5 GB file with
// 280 000 units.
const maxSection = 16 << 30

// elfSymbols reads DWARF and, for what it does not cover, the symbol table.
func elfSymbols(ctx context.Context, f *elf.File, rep *Report) symbols.Source {
	return func(emit func(*symbols.Batch) error) error {
		functions := f.Functions()
		if f.HasDebugInfo() {
			if err := elfDWARF(ctx, f, functions, rep, emit); err != nil {
				return err
			}
		}
		b := symbols.NewBatch(symbols.NewStrings())
		for _, fn := range functions {
			b.Publics = append(b.Publics, symbols.Public{Addr: fn.Addr, Size: fn.Size, Name: b.Strings.Intern(fn.Name), File: b.Strings.Intern(fn.File)})
		}
		return emit(b)
	}
}

func elfDWARF(ctx context.Context, f *elf.File, functions []elf.Function, rep *Report, emit func(*symbols.Batch) error) error {
	s := dwarf.Sections{BigEndian: f.BigEndian}
	contents := map[string]*[]byte{
		".debug_info": &s.Info, ".debug_abbrev": &s.Abbrev, ".debug_line": &s.Line, ".debug_line_str": &s.LineStr, ".debug_str": &s.Str,
		".debug_str_offsets": &s.StrOffsets, ".debug_addr": &s.Addr, ".debug_ranges": &s.Ranges, ".debug_rnglists": &s.RngLists,
	}
	// Inflating takes longer than anything after it, so all sections at once.
	var group sync.WaitGroup
	var mu sync.Mutex
	for name, into := range contents {
		section := f.Section(name)
		if section == nil {
			continue
		}
		group.Go(func() {
			data, err := f.Data(section, maxSection)
			if err != nil && !errors.Is(err, elf.ErrNotInFile) {
				mu.Lock()
				defer mu.Unlock()
				rep.Lost++
				rep.Problems = append(rep.Problems, debug.Problem{Where: name, Kind: "unreadable section", Detail: err.Error()})
			}
			*into = data
		})
	}
	group.Wait()
	if s.Info == nil {
		return nil
	}
	base := f.ImageBase()
	names := byAddress(functions)
	var res dwarf.Result
	err := dwarf.Symbols(ctx, &s, dwarf.Options{
		ImageBase: base, Executable: f.Executable(),
		Symbol: func(addr uint64) dwarf.Symbol {
			i, _ := slices.BinarySearchFunc(names, addr-base+1, func(fn elf.Function, addr uint64) int { return cmp.Compare(fn.Addr, addr) })
			next := ^uint64(0)
			if i < len(names) {
				next = names[i].Addr + base
			}
			if i > 0 {
				fn := names[i-1]
				low := fn.Addr + base
				high := next
				if fn.Size > 0 {
					high = min(next, low+fn.Size)
				}
				if addr < high {
					return dwarf.Symbol{Name: fn.Name, Low: low, High: high}
				}
			}
			return dwarf.Symbol{High: next}
		},
	}, &res)(emit)
	rep.Problems = append(rep.Problems, res.Problems...)
	rep.Lost += uint64(res.Skipped)
	rep.Needs = res.Split
	return err
}

// byAddress returns the functions by address, of each address the one that symbols.Arrange would take.
func byAddress(functions []elf.Function) []elf.Function {
	sorted := slices.Clone(functions)
	slices.SortStableFunc(sorted, func(a, b elf.Function) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Size, b.Size))
	})
	kept := 0
	for i, fn := range sorted {
		if i+1 == len(sorted) || sorted[i+1].Addr != fn.Addr {
			sorted[kept] = fn
			kept++
		}
	}
	return sorted[:kept]
}
