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
	"salvage/debug/object/pe"
	"salvage/debug/symbols"
)

// maxSection bounds an inflated section. The largest .debug_info known is that of a 5.5 GB file with
// 280 000 units.
const maxSection = 16 << 30

// image is a file that has DWARF and a symbol table in it, of whatever format.
type image struct {
	functions  func() []elf.Function // relative to base
	base       uint64
	executable []symbols.Extent // before base is subtracted
	bigEndian  bool
	hasDWARF   bool
	swapped    bool // see cfi.FrameSection, for .eh_frame
	// section returns the contents of a section, nil if there is none, or none in this file.
	section func(name string) ([]byte, error)
	info    *growing                        // .debug_info where it can be had piece by piece
	split   func(id uint64) *dwarf.Sections // nil: no split units are known
	alt     *image                          // the supplementary file, nil if it is not known
	wanted  func(addr, size uint64) bool    // see Object.Wanted
	altNeed *Need                           // what names it
	// goSymbols delivers what Go's own table says and returns how many functions of it are lost; nil if there is
	// none, or DWARF, which says more.
	goSymbols func(emit func(*symbols.Batch) error) (lost int, err error)
}

// growing is a section that is inflated piece by piece; see elf.File.Grow.
type growing struct {
	size    uint64
	section *elf.Section
	inflate func(grown func(contents []byte, taken int) bool) error
}

// start inflates on a goroutine of its own, which stop ends. Pieces is dwarf.Sections.Growing.
func (g *growing) start(ctx context.Context) (pieces <-chan []byte, stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ahead := make(chan []byte, 1)
	done := make(chan error, 1)
	go func() {
		done <- g.inflate(func(contents []byte, _ int) bool {
			select { // the last piece has all before it
			case <-ahead:
			default:
			}
			ahead <- contents
			return ctx.Err() == nil
		})
		close(ahead)
	}()
	return ahead, func() error { cancel(); return <-done }
}

func elfImage(f *elf.File) *image {
	m := &image{
		functions: f.Functions, base: f.ImageBase(), executable: f.Executable(), bigEndian: f.BigEndian, hasDWARF: f.HasDebugInfo(),
		section: func(name string) ([]byte, error) {
			s := f.Section(name)
			if s == nil {
				return nil, nil
			}
			data, err := f.Data(s, maxSection)
			if errors.Is(err, elf.ErrNotInFile) {
				return nil, nil
			}
			return data, err
		},
	}
	if s := f.Section(".debug_info"); s != nil {
		if size, ok := f.Grows(s); ok {
			m.info = &growing{size, s, func(grown func([]byte, int) bool) error {
				_, err := f.Grow(s, maxSection, grown)
				return err
			}}
		}
	}
	if !m.hasDWARF && f.HasGoTable() {
		m.goSymbols = f.GoSymbols
	}
	return m
}

func peImage(f *pe.File) *image {
	m := &image{
		base: f.ImageBase, hasDWARF: f.HasDebugInfo(),
		section: func(name string) ([]byte, error) {
			s := f.Section(name)
			if s == nil {
				return nil, nil
			}
			return f.Data(s)
		},
	}
	m.executable = []symbols.Extent{}
	for _, e := range f.Executable() {
		m.executable = append(m.executable, symbols.Extent{Addr: e.Addr + f.ImageBase, Size: e.Size})
	}
	m.functions = func() (list []elf.Function) {
		for _, s := range f.Functions() {
			list = append(list, elf.Function{Addr: uint64(s.Addr), Name: s.Name})
		}
		return list
	}
	return m
}

// imageSymbols reads DWARF and, for what it does not cover, the symbol table.
func imageSymbols(ctx context.Context, m *image, rep *Report) symbols.Source {
	return func(emit func(*symbols.Batch) error) error {
		functions := m.functions()
		if m.hasDWARF {
			if err := m.dwarf(ctx, functions, rep, emit); err != nil {
				return err
			}
		} else if m.goSymbols != nil {
			lost, err := m.goSymbols(emit)
			if rep.Lost += uint64(lost); err != nil {
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

// sections inflates the sections of DWARF whose names end in suffix: nothing, or ".dwo".
func (m *image) sections(suffix string, rep *Report) *dwarf.Sections {
	return m.fill(&dwarf.Sections{BigEndian: m.bigEndian}, suffix, rep)
}

// fill is sections, but for .debug_info where it grows.
func (m *image) fill(s *dwarf.Sections, suffix string, rep *Report) *dwarf.Sections {
	contents := map[string]*[]byte{
		".debug_info": &s.Info, ".debug_abbrev": &s.Abbrev, ".debug_line": &s.Line, ".debug_line_str": &s.LineStr, ".debug_str": &s.Str,
		".debug_str_offsets": &s.StrOffsets, ".debug_addr": &s.Addr, ".debug_ranges": &s.Ranges, ".debug_rnglists": &s.RngLists,
	}
	// Inflating takes longer than anything after it, so all sections at once.
	var group sync.WaitGroup
	var mu sync.Mutex
	if s.Growing != nil {
		delete(contents, ".debug_info")
	}
	for name, into := range contents {
		group.Go(func() {
			data, err := m.section(name + suffix)
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				rep.unreadable(name+suffix, err)
			}
			*into = data
		})
	}
	group.Wait()
	return s
}

func (rep *Report) unreadable(section string, err error) {
	rep.Lost++
	rep.Problems = append(rep.Problems, debug.Problem{Where: section, Kind: "unreadable section", Detail: err.Error()})
}

func (m *image) dwarf(ctx context.Context, functions []elf.Function, rep *Report, emit func(*symbols.Batch) error) (err error) {
	s := &dwarf.Sections{BigEndian: m.bigEndian}
	if g := m.info; g != nil {
		pieces, stop := g.start(ctx)
		s.Growing, s.InfoSize = pieces, g.size
		defer func() {
			if failed := stop(); failed != nil && err == nil {
				rep.unreadable(".debug_info", failed)
			}
		}()
	}
	if m.fill(s, "", rep); s.Info == nil && s.Growing == nil {
		return nil
	}
	companions := dwarf.Companions{Split: m.split}
	if m.alt != nil {
		companions.Alt = m.alt.sections("", rep)
	}
	base := m.base
	names := byAddress(functions)
	var res dwarf.Result
	err = dwarf.Symbols(ctx, s, dwarf.Options{
		ImageBase: base, Executable: m.executable, Companions: companions, Wanted: m.wanted,
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
	for _, s := range res.Missing {
		rep.Needs = append(rep.Needs, splitNeed(s))
	}
	if res.MissingAlt && m.altNeed != nil {
		rep.Needs = append(rep.Needs, *m.altNeed)
	}
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
