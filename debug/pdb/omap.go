package pdb

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// Tools that move code around after linking (BBT, as for parts of Windows) leave the symbols where they
// were and add a map from the addresses before to those after: each entry says where the bytes up to the
// next entry went, 0 for nowhere.

type omapEntry struct{ from, to uint32 }

// moved is a run of bytes and where it is now.
type moved struct{ from, to, size uint32 }

// maxMoves bounds the entries that are looked at for one function.
const maxMoves = 4096

func readOmap(data []byte) (m []omapEntry) {
	for ; len(data) >= 8; data = data[8:] {
		m = append(m, omapEntry{binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])})
	}
	if !slices.IsSortedFunc(m, compareFrom) {
		slices.SortStableFunc(m, compareFrom)
	}
	return m
}

func compareFrom(a, b omapEntry) int { return cmp.Compare(a.from, b.from) }

// move appends to buf where the bytes of [addr, addr+size) are now, in the order they had. Runs that stayed
// together are one.
func (f *File) move(addr, size uint32, buf []moved) []moved {
	if len(f.omap) == 0 {
		return append(buf, moved{addr, addr, size})
	}
	start, end := uint64(addr), uint64(addr)+uint64(size)
	i := max(0, sort.Search(len(f.omap), func(i int) bool { return f.omap[i].from > addr })-1)
	for last := i + maxMoves; i < min(last, len(f.omap)) && uint64(f.omap[i].from) < end; i++ {
		e := f.omap[i]
		from, to := max(start, uint64(e.from)), end
		if i+1 < len(f.omap) {
			to = min(to, uint64(f.omap[i+1].from))
		}
		if e.to == 0 || from >= to {
			continue
		}
		m := moved{uint32(from), e.to + uint32(from) - e.from, uint32(to - from)}
		if n := len(buf) - 1; n >= 0 && buf[n].from+buf[n].size == m.from && buf[n].to+buf[n].size == m.to {
			buf[n].size += m.size
			continue
		}
		buf = append(buf, m)
	}
	return buf
}
