package object

import (
	"encoding/binary"
	"fmt"

	"salvage/debug/breakpad"
	"salvage/debug/object/elf"
	"salvage/debug/object/pe"
)

// Fallback names, as dump_syms does, what may have no symbol: the sections of an ELF file that hold code, by where
// they start, so that its PLT has a name, and the functions that a PE file of amd64 has unwind data for. Name is
// the module's.
func (o *Object) Fallback(name string) map[uint64]breakpad.Fallback {
	all := map[uint64]breakpad.Fallback{}
	switch {
	case o.elf != nil:
		base := o.elf.ImageBase()
		for _, s := range o.elf.Sections {
			if s.Flags&elf.SectionAlloc != 0 && s.Flags&elf.SectionExecutable != 0 && s.Addr >= base {
				all[s.Addr-base] = breakpad.Fallback{Name: fmt.Sprintf("<%s ELF section in %s>", s.Name, name)}
			}
		}
	case o.pe != nil && o.pe.Machine == pe.MachineAMD64:
		for b := o.pe.ExceptionTable(); len(b) >= 12; b = b[12:] {
			start, end := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
			if end > start {
				all[uint64(start)] = breakpad.Fallback{Name: fmt.Sprintf("<unknown in %s>", name), Size: uint64(end - start)}
			}
		}
	}
	return all
}
