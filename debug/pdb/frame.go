package pdb

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"slices"

	"salvage/debug/breakpad"
)

const (
	frameDataSize = 32 // FRAMEDATA
	fpoSize       = 16 // FPO_DATA, of compilers before Visual C++ 7
	maxProgram    = 4096
)

// HasFrameData reports whether FrameData yields anything.
func (f *File) HasFrameData() bool { return len(f.frames) >= frameDataSize || len(f.fpo) >= fpoSize }

// FrameData yields the unwind data of x86 in the form that Breakpad's symbol files have it in: type 4 with a
// program for each range of FRAMEDATA, type 0 to 3 for each of FPO_DATA, by address. A record whose range is
// that of the one before it is left out, and so is FPO_DATA where there is FRAMEDATA for its range. Where code
// was moved there are records for each piece.
func (f *File) FrameData() iter.Seq[breakpad.Win] {
	return func(yield func(breakpad.Win) bool) {
		var list []breakpad.Win
		for b := f.frames; len(b) >= frameDataSize; b = b[frameDataSize:] {
			u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
			w := breakpad.Win{
				Type: 4, Addr: uint64(u32(0)), CodeSize: u32(4), Locals: u32(8), Params: u32(12), MaxStack: u32(16), HasProgram: true,
				Prologue: uint32(binary.LittleEndian.Uint16(b[24:])), SavedRegs: uint32(binary.LittleEndian.Uint16(b[26:])),
			}
			if at := uint64(u32(20)); at < uint64(len(f.fileNames)) {
				program := f.fileNames[at:]
				w.Program = cut(program[:min(len(program), maxProgram)])
			}
			list = append(list, w)
		}
		for b := f.fpo; len(b) >= fpoSize; b = b[fpoSize:] {
			bits := binary.LittleEndian.Uint16(b[14:])
			list = append(list, breakpad.Win{
				Type: uint8(bits >> 14), Addr: uint64(binary.LittleEndian.Uint32(b)), CodeSize: binary.LittleEndian.Uint32(b[4:]),
				Locals: 4 * binary.LittleEndian.Uint32(b[8:]), Params: 4 * uint32(binary.LittleEndian.Uint16(b[12:])),
				Prologue: uint32(bits & 0xff), SavedRegs: 4 * uint32(bits>>8&7), AllocatesBP: bits>>12&1 == 1,
			})
		}
		slices.SortStableFunc(list, func(a, b breakpad.Win) int { return cmp.Compare(a.Addr, b.Addr) })
		var last breakpad.Win
		var buf []moved
		for _, w := range list {
			again := w.Addr == last.Addr && w.CodeSize == last.CodeSize && w.Prologue == last.Prologue
			if w.CodeSize > math.MaxInt32 || again && (w.Type == last.Type || last.Type == 4) {
				continue
			}
			last = w
			prologue := min(w.Prologue, w.CodeSize)
			buf = f.move(uint32(w.Addr), w.CodeSize, buf[:0])
			if len(buf) == 1 && buf[0].size == w.CodeSize {
				w.Addr = uint64(buf[0].to)
				if !yield(w) {
					return
				}
				continue
			}
			for _, m := range buf {
				// A piece may have the end of the prologue in it.
				part := w
				part.Addr, part.CodeSize, part.Prologue = uint64(m.to), m.size, 0
				if done := m.from - uint32(w.Addr); done < prologue {
					part.Prologue = min(m.size, prologue-done)
				}
				if !yield(part) {
					return
				}
			}
		}
	}
}
