package object

import (
	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/object/elf"
	"salvage/debug/object/pe"
)

// Rules adds the unwind rules of the file and its debug file to b and reports in rep what could not be used. A file without
// any adds none. The CPU of b must be the file's.
func (o *Object) Rules(b *cfi.Builder, rep *Report) error {
	switch {
	case o.elf != nil:
		elfRules(o.elf, b, rep)
		if o.debug != nil {
			elfRules(o.debug.elf, b, rep)
		}
	case o.pe != nil || o.pdb != nil:
		if o.pe != nil {
			peRules(o.pe, b, rep)
		}
		if o.pdb != nil {
			for w := range o.pdb.FrameData() {
				if err := b.StackWin(w); err != nil {
					return err
				}
			}
		}
	case o.macho != nil:
		machoRules(o.macho, b, rep)
	default:
		_, err := breakpad.Parse(o.data, breakpad.Handler{CFI: b.StackCFI, Win: b.StackWin}, breakpad.Options{})
		if err != nil {
			return err
		}
	}
	lost, problems := b.Bad()
	rep.Lost += lost
	rep.Problems = append(rep.Problems, problems...)
	return nil
}

// frameRules adds the rules of the sections that DWARF's rules are in.
func (m *image) frameRules(b *cfi.Builder, addrSize uint8, addr func(name string) uint64, rep *Report) {
	for _, name := range []string{".eh_frame", ".debug_frame"} {
		data, err := m.section(name) // in a debug file .eh_frame has stayed in the image
		if err != nil {
			rep.Lost++
			rep.Problems = append(rep.Problems, debug.Problem{Where: name, Kind: "unreadable section", Detail: err.Error()})
			continue
		}
		if data == nil {
			continue
		}
		b.Frames(&cfi.FrameSection{
			Data: data, Addr: addr(name), EH: name == ".eh_frame", AddrSize: addrSize, BigEndian: m.bigEndian,
			ImageBase: m.base, Executable: m.executable, Swapped: m.swapped && name == ".eh_frame",
		})
	}
}

func elfRules(f *elf.File, b *cfi.Builder, rep *Report) {
	size := uint8(8)
	if !f.Is64 {
		size = 4
	}
	elfImage(f).frameRules(b, size, func(name string) uint64 { return f.Section(name).Addr }, rep)
}

// hasRules reports whether peRules finds anything.
func hasRules(f *pe.File) bool {
	has := func(name string) bool {
		s := f.Section(name)
		return s != nil && s.FileSize > 0
	}
	return (f.Machine == pe.MachineAMD64 || f.Machine == pe.MachineARM64) && f.HasUnwindInfo() || has(".eh_frame") || has(".debug_frame")
}

func peRules(f *pe.File, b *cfi.Builder, rep *Report) {
	size := uint8(4)
	if f.Is64 {
		size = 8
	}
	peImage(f).frameRules(b, size, func(name string) uint64 { return f.ImageBase + uint64(f.Section(name).Addr) }, rep)
	// DWARF knows epilogues as well, so it comes first where there is both, as in MinGW's files.
	b.FunctionTable(&cfi.FunctionTable{Data: f.ExceptionTable(), At: f.At, Code: f.Executable()})
}

// BigEndian reports the byte order of the module. Symbol files do not say it; the CPUs they are for are
// little-endian.
func (o *Object) BigEndian() bool {
	return o.elf != nil && o.elf.BigEndian || o.macho != nil && o.macho.BigEndian
}
