package object

import (
	"errors"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/object/elf"
)

// Rules adds the unwind rules of the file to b and reports in rep what could not be used. A file without
// any adds none. The CPU of b must be the file's.
func (o *Object) Rules(b *cfi.Builder, rep *Report) error {
	if o.elf != nil {
		elfRules(o.elf, b, rep)
	} else {
		_, err := breakpad.Parse(o.data, breakpad.Handler{CFI: b.StackCFI}, breakpad.Options{})
		if err != nil {
			return err
		}
	}
	lost, problems := b.Bad()
	rep.Lost += lost
	rep.Problems = append(rep.Problems, problems...)
	return nil
}

func elfRules(f *elf.File, b *cfi.Builder, rep *Report) {
	size := uint8(8)
	if !f.Is64 {
		size = 4
	}
	for _, name := range []string{".eh_frame", ".debug_frame"} {
		s := f.Section(name)
		if s == nil {
			continue
		}
		data, err := f.Data(s, maxSection)
		if err != nil {
			if !errors.Is(err, elf.ErrNotInFile) { // in a debug file .eh_frame has stayed in the image
				rep.Lost++
				rep.Problems = append(rep.Problems, debug.Problem{Where: name, Kind: "unreadable section", Detail: err.Error()})
			}
			continue
		}
		b.Frames(&cfi.FrameSection{
			Data: data, Addr: s.Addr, EH: name == ".eh_frame", AddrSize: size, BigEndian: f.BigEndian,
			ImageBase: f.ImageBase(), Executable: f.Executable(),
		})
	}
}

// BigEndian reports the byte order of the module. Symbol files do not say it; the CPUs they are for are
// little-endian.
func (o *Object) BigEndian() bool { return o.elf != nil && o.elf.BigEndian }
