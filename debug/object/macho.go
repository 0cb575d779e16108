package object

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"salvage/debug"
	"salvage/debug/cfi"
	"salvage/debug/object/elf"
	"salvage/debug/object/macho"
	"salvage/debug/symbols"
)

// OpenAll opens data, and of a universal (fat) Mach-O file each architecture.
func OpenAll(data []byte) ([]*Object, error) {
	if !macho.ProbeFat(data) {
		o, err := Open(data)
		if err != nil {
			return nil, err
		}
		return []*Object{o}, nil
	}
	slices, err := macho.Slices(data)
	if err != nil {
		return nil, err
	}
	all := make([]*Object, len(slices))
	for i, s := range slices {
		if all[i], err = Open(s.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", macho.Arch(s.CPU, s.Subtype), err)
		}
	}
	return all, nil
}

// OpenArch is Open for a file that may be a universal one: of that it opens the architecture of the given
// name, or the only one where arch is empty. A name without subtype (x86_64, arm64, arm) does for the only one
// of any subtype (x86_64h, arm64e, armv7).
func OpenArch(data []byte, arch string) (*Object, error) {
	if !macho.ProbeFat(data) {
		return Open(data)
	}
	all, err := OpenAll(data)
	if err != nil {
		return nil, err
	}
	if arch == "i386" {
		arch = "x86"
	}
	var similar []*Object
	var names []string
	for _, o := range all {
		if o.Module.Arch == arch {
			return o, nil
		}
		if arch == "" || family(o.Module.Arch) == arch {
			similar = append(similar, o)
		}
		names = append(names, o.Module.Arch)
	}
	if len(similar) == 1 {
		return similar[0], nil
	}
	return nil, &debug.FormatError{Format: "macho", Reason: "universal file, one architecture of which has to be chosen: " + strings.Join(names, ", "), Err: debug.ErrUnsupported}
}

// family returns the name of a CPU without its subtype.
func family(arch string) string {
	switch {
	case arch == "x86_64h" || arch == "arm64e":
		return arch[:len(arch)-1]
	case strings.HasPrefix(arch, "armv"):
		return "arm"
	}
	return arch
}

func openMachO(data []byte) (*Object, error) {
	f, err := macho.Parse(data)
	if err != nil {
		return nil, err
	}
	m := symbols.Module{ID: f.DebugID(), CodeID: f.CodeID(), OS: "mac", Arch: f.Arch(), Name: leaf(f.Name), ImageBase: f.ImageBase()}
	return &Object{Format: "macho", Module: m, HasSymbols: f.HasSymbols(), HasDebugInfo: f.HasDebugInfo(), HasRules: f.HasUnwindInfo(), macho: f}, nil
}

func machoImage(f *macho.File) *image {
	return &image{
		base: f.ImageBase(), executable: f.Executable(), bigEndian: f.BigEndian, hasDWARF: f.HasDebugInfo(), swapped: f.CPU == macho.CPUX86,
		functions: func() (list []elf.Function) {
			for _, s := range f.Functions() {
				list = append(list, elf.Function{Addr: s.Addr, Size: s.Size, Name: s.Name})
			}
			return list
		},
		section: func(name string) ([]byte, error) {
			data, err := f.Data(f.Section(name), maxSection)
			if errors.Is(err, macho.ErrNotInFile) {
				return nil, nil
			}
			return data, err
		},
	}
}

func objectNeed(d *macho.DebugObject) Need {
	return Need{Kind: ObjectFile, Name: d.Path, Member: d.Member, Modified: d.Modified}
}

// machoSymbols reads an image or a dSYM: its own debug information, or that of the object files that it stayed in.
func (o *Object) machoSymbols(ctx context.Context, rep *Report) symbols.Source {
	return func(emit func(*symbols.Batch) error) error {
		if !o.macho.HasDebugInfo() {
			for _, d := range o.macho.DebugMap() {
				f := o.objects[objectNeed(&d).String()]
				if f == nil {
					rep.Needs = append(rep.Needs, objectNeed(&d))
					continue
				}
				m := machoImage(f)
				place := f.Place(&d)
				seen := map[uint64]bool{}
				m.executable = place.Extents()
				if !m.hasDWARF || len(m.executable) == 0 {
					continue
				}
				err := m.dwarf(ctx, m.functions(), rep, func(b *symbols.Batch) error {
					move(b, place, o.Module.ImageBase, seen)
					return emit(b)
				})
				if err != nil {
					return err
				}
			}
		}
		return imageSymbols(ctx, machoImage(o.macho), rep)(emit)
	}
}

// move moves functions of an object file to where the linker put them. Of several at one address the first stays:
// the last is made of the padding behind it, which has lines in the object file.
func move(b *symbols.Batch, place *macho.Placement, base uint64, seen map[uint64]bool) {
	kept := b.Functions[:0]
	for _, fn := range b.Functions {
		to, ok := place.Find(fn.Addr)
		if !ok || to < base || seen[fn.Addr] {
			continue
		}
		seen[fn.Addr] = true
		delta := to - base - fn.Addr
		fn.Addr += delta
		for i := fn.Lines.Lo; i < fn.Lines.Hi; i++ {
			b.Lines[i].Addr += delta
		}
		for i := fn.Inlines.Lo; i < fn.Inlines.Hi; i++ {
			b.Inlines[i].Addr += delta
		}
		kept = append(kept, fn)
	}
	b.Functions = kept
}

// machoRules takes DWARF's rules first: they are exact also where a function sets up its frame, which compact
// ones are not.
func machoRules(f *macho.File, b *cfi.Builder, rep *Report) {
	size := uint8(8)
	if !f.Is64 {
		size = 4
	}
	m := machoImage(f)
	m.frameRules(b, size, func(name string) uint64 { return f.Section(name).Addr }, rep)
	data, err := m.section("__unwind_info")
	if err != nil {
		rep.Lost++
		rep.Problems = append(rep.Problems, debug.Problem{Where: "__unwind_info", Kind: "unreadable section", Detail: err.Error()})
	}
	b.CompactUnwind(&cfi.CompactUnwind{Data: data, At: f.At})
}
