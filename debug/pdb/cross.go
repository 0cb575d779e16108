package pdb

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"salvage/debug/internal/cursor"
)

// A module that refers to a type or an id that another one defines, as code that was compiled when it was
// linked does, names the module and a number of that module's own, which the other exports under the number
// that it has in the file.

const (
	crossReference     = 0x80000000
	subsectionImports  = 0xf7
	subsectionExports  = 0xf8
	maxImportedModules = 1 << 11
)

// imports are what a module uses of others.
type imports struct {
	module uint32 // offset of the module's name in /names
	locals []byte // 4 bytes each
}

func readImports(c *cursor.Cursor) (list []imports) {
	for c.Len() >= 8 && len(list) < maxImportedModules {
		i := imports{module: c.U32()}
		i.locals = c.Table(uint64(c.U32()), 4)
		list = append(list, i)
	}
	return list
}

// crossModules finds what modules export. Each is read once, when it is first asked for.
type crossModules struct {
	once    sync.Once
	byName  map[string]int
	modules []struct {
		once    sync.Once
		exports []export // by local number
	}
}

type export struct{ local, global uint32 }

// resolve returns the number in the file of what one module calls n, 0 if it cannot be found.
func (f *File) resolve(n uint32, from []imports) uint32 {
	if n&crossReference == 0 {
		return n
	}
	module, at := n>>20&(maxImportedModules-1), uint64(n&0xfffff)
	if uint64(module) >= uint64(len(from)) || 4*at >= uint64(len(from[module].locals)) || uint64(from[module].module) >= uint64(len(f.fileNames)) {
		return 0
	}
	x := &f.cross
	x.once.Do(func() {
		x.byName = map[string]int{}
		for i := range f.modules {
			if name := strings.ToLower(string(f.modules[i].name)); !f.modules[i].duplicate {
				x.byName[name] = i
			}
		}
		x.modules = make([]struct {
			once    sync.Once
			exports []export
		}, len(f.modules))
	})
	name := f.fileNames[from[module].module:]
	i, ok := x.byName[strings.ToLower(string(cut(name[:min(len(name), maxPath)])))]
	if !ok {
		return 0
	}
	m := &x.modules[i]
	m.once.Do(func() { m.exports = f.exports(&f.modules[i]) })
	local := binary.LittleEndian.Uint32(from[module].locals[4*at:])
	k, ok := slices.BinarySearchFunc(m.exports, local, func(e export, local uint32) int { return cmp.Compare(e.local, local) })
	if !ok {
		return 0
	}
	return m.exports[k].global
}

func (f *File) exports(m *module) (list []export) {
	data, err := f.msf.stream("module", uint32(m.stream))
	if err != nil || m.stream == noStream {
		return nil
	}
	c := cursor.New(data, "pdb", "module")
	c.Skip(uint64(m.symbolSize) + uint64(m.c11))
	c = c.Sub(min(uint64(m.c13), c.Len()))
	eachSubsection(&c, func(kind uint32, s *cursor.Cursor) {
		for kind == subsectionExports && s.Len() >= 8 {
			list = append(list, export{s.U32(), s.U32()})
		}
	})
	slices.SortStableFunc(list, func(a, b export) int { return cmp.Compare(a.local, b.local) })
	return list
}
