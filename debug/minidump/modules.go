package minidump

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"salvage/debug"
	"salvage/debug/debugid"
	"salvage/debug/internal/cursor"
)

// Module is a binary that was loaded into the process (MINIDUMP_MODULE).
type Module struct {
	Index     uint32 // in the module list of the file; Crashpad refers to it
	Addr      uint64
	Size      uint32
	Checksum  uint32
	Timestamp uint32 // of a PE header
	Name      string // path of the binary in the process; empty if it cannot be read
	Version   string // empty if there is none
	DebugFile string // name or path of the file with the debug information; empty if there is none
	DebugID   debugid.ID
	CodeID    debugid.CodeID
	CodeView  []byte // the record the ids come from, of any kind; aliases the dump
}

// End returns the address behind the module.
func (m *Module) End() uint64 { return m.Addr + uint64(m.Size) }

// UnloadedModule is a binary that was in the process at an earlier time (MINIDUMP_UNLOADED_MODULE).
type UnloadedModule struct {
	Addr      uint64
	Size      uint32
	Checksum  uint32
	Timestamp uint32
	Name      string
	CodeID    debugid.CodeID // always of timestamp and size, as there is no other
}

const (
	fixedInfoSignature = 0xfeef04bd // VS_FFI_SIGNATURE
	fixedInfoVersion   = 0x00010000 // VS_FFI_STRUCVERSION

	codeViewPDB70 = 0x53445352 // "RSDS"
	codeViewPDB20 = 0x3031424e // "NB10"
	codeViewELF   = 0x4270454c // "BpEL", Breakpad's own: a build id
	maxCodeView   = 32768      // as Breakpad's processor; a record is a path and some bytes
)

// modules reads the module list. Only a module without a range is left out: one whose name or CodeView
// record cannot be read still tells what lies at an address.
func (p *parser) modules() {
	p.list(StreamModuleList, 108, p.limits.Modules, func(i uint32, c *cursor.Cursor) {
		m := Module{Index: i, Addr: c.U64(), Size: c.U32(), Checksum: c.U32(), Timestamp: c.U32()}
		name := rva(c.U32())
		var fixed [13]uint32 // VS_FIXEDFILEINFO
		for i := range fixed {
			fixed[i] = c.U32()
		}
		codeView := readLocation(c)
		if m.Size == 0 || m.End() < m.Addr {
			p.problem("bad record", "module %d: %#x bytes at %#x", i, m.Size, m.Addr)
			return
		}
		m.Name, _ = p.utf16(name, "module %d: name", i)
		m.Version = version4(p.os(), &fixed)
		if err := p.codeView(&m, codeView); err != nil {
			p.problem("bad record", "module %d: CodeView record: %v", i, err)
		}
		p.d.Modules = append(p.d.Modules, m)
	})
	p.d.arrangeModules()
}

// version4 returns a file version. ELF writers store its four parts as four words where Windows has pairs of halves.
func version4(os OS, v *[13]uint32) string {
	if v[0] != fixedInfoSignature || v[1] != fixedInfoVersion {
		return ""
	}
	switch os {
	case OSWindows, OSMacOS, OSIOS:
		return fmt.Sprintf("%d.%d.%d.%d", v[2]>>16, v[2]&0xffff, v[3]>>16, v[3]&0xffff)
	}
	return fmt.Sprintf("%d.%d.%d.%d", v[2], v[3], v[4], v[5])
}

// codeView fills in the ids of a module and the name of its debug file.
func (p *parser) codeView(m *Module, l location) error {
	if l.size == 0 {
		if p.os() == OSWindows {
			m.CodeID = debugid.CodeIDFromPE(m.Timestamp, m.Size)
		}
		return nil
	}
	c := p.at(l)
	if l.size > maxCodeView {
		c.Fail("record over the limit", debug.ErrTooLarge)
	}
	n := *m // for good if all of the record can be read
	n.CodeView = c.Rest()
	switch c.U32() {
	case codeViewPDB70:
		var guid [16]byte
		copy(guid[:], c.Bytes(16))
		id := debugid.FromGUID(guid, c.U32())
		if p.d.BigEndian {
			id.UUID = guid
		}
		if guid != [16]byte{} {
			n.DebugID = id
		}
		n.DebugFile = p.cstring(&c)
		n.CodeID = debugid.CodeIDFromPE(m.Timestamp, m.Size)
		// Writers on Apple systems put the UUID of a Mach-O into a PDB record, for want of one of its own: it names the
		// binary as well. Timestamp and size are those of no header there.
		if os := p.os(); os == OSMacOS || os == OSIOS {
			n.CodeID = debugid.CodeID(fmt.Sprintf("%x", id.UUID))
		}
	case codeViewPDB20:
		c.Skip(4)
		n.DebugID = debugid.FromTimestamp(c.U32(), c.U32())
		n.DebugFile = p.cstring(&c)
		n.CodeID = debugid.CodeIDFromPE(m.Timestamp, m.Size)
	case codeViewELF:
		p.charge(&c, c.Len())
		n.DebugFile = m.Name
		if n.CodeID = debugid.CodeIDFromBuildID(c.Rest()); n.CodeID != "" {
			n.DebugID = debugid.FromBuildID(c.Rest(), p.d.BigEndian)
		}
	}
	if c.Err() == nil {
		*m = n
	}
	return c.Err()
}

// cstring reads text up to a NUL or the end of c.
func (p *parser) cstring(c *cursor.Cursor) string {
	text, _, _ := bytes.Cut(c.Rest(), []byte{0})
	p.charge(c, uint64(len(text)))
	if c.Err() != nil {
		return ""
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// arrangeModules builds the map of addresses: modules by address and size, without those that overlap one
// kept before.
func (d *Dump) arrangeModules() {
	sorted := make([]*Module, len(d.Modules))
	for i := range d.Modules {
		sorted[i] = &d.Modules[i]
	}
	slices.SortStableFunc(sorted, func(a, b *Module) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Size, b.Size))
	})
	d.byAddr = sorted[:0]
	for _, m := range sorted {
		if n := len(d.byAddr); n == 0 || m.Addr >= d.byAddr[n-1].End() {
			d.byAddr = append(d.byAddr, m)
		}
	}
}

// MainModule returns the program itself, which is the first module of the file, or nil if that cannot be read.
func (d *Dump) MainModule() *Module {
	if len(d.Modules) == 0 || d.Modules[0].Index != 0 {
		return nil
	}
	return &d.Modules[0]
}

// ModuleAt returns the module at addr, or nil. Of modules that overlap only one is found: the one that
// starts first, of several that start together the smallest.
func (d *Dump) ModuleAt(addr uint64) *Module {
	i := sort.Search(len(d.byAddr), func(i int) bool { return d.byAddr[i].Addr > addr }) - 1
	if i < 0 || addr >= d.byAddr[i].End() {
		return nil
	}
	return d.byAddr[i]
}

// ModulesByAddr returns the modules ModuleAt finds, by address. The caller must not change the slice.
func (d *Dump) ModulesByAddr() []*Module { return d.byAddr }

func (p *parser) unloadedModules() {
	p.extendedList(StreamUnloadedModuleList, 12, 24, 4, p.limits.Modules, func(i uint32, c *cursor.Cursor) {
		m := UnloadedModule{Addr: c.U64(), Size: c.U32(), Checksum: c.U32(), Timestamp: c.U32()}
		name := rva(c.U32())
		if m.Size == 0 || m.Addr+uint64(m.Size) < m.Addr {
			p.problem("bad record", "module %d: %#x bytes at %#x", i, m.Size, m.Addr)
			return
		}
		m.Name, _ = p.utf16(name, "module %d: name", i)
		m.CodeID = debugid.CodeIDFromPE(m.Timestamp, m.Size)
		p.d.Unloaded = append(p.d.Unloaded, m)
	})
}

// UnloadedAt returns all modules that once were at addr, by address and size. It takes time linear in
// their number.
func (d *Dump) UnloadedAt(addr uint64) (modules []*UnloadedModule) {
	for i := range d.Unloaded {
		if m := &d.Unloaded[i]; addr-m.Addr < uint64(m.Size) {
			modules = append(modules, m)
		}
	}
	slices.SortStableFunc(modules, func(a, b *UnloadedModule) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Size, b.Size))
	})
	return modules
}
