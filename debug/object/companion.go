package object

import (
	"bytes"
	"fmt"
	"hash/crc32"

	"salvage/debug"
	"salvage/debug/dwarf"
	"salvage/debug/object/elf"
	"salvage/debug/object/macho"
)

// Need is a file that holds part of the debug information of another.
type Need struct {
	Kind NeedKind
	// Name is the file as the other calls it: of a debug file without a folder, of others perhaps relative,
	// and empty if only an id is known.
	Name string
	Dir  string // of a split unit: what Name is relative to, the directory of compilation
	ID   uint64 // of a split unit
	// BuildID is that of a debug or supplementary file, nil if it is not known.
	BuildID []byte
	CRC     uint32 // of the bytes of a debug file that has a Name; CRC-32 of IEEE 802.3
	// Member is that of an archive that an object file is in, empty if it is a file; Modified when it was written, in
	// seconds since 1970, 0 if that is not known.
	Member   string
	Modified uint64
}

// NeedKind is how a file holds what is missing in another.
type NeedKind uint8

// The kinds.
const (
	DebugFile  NeedKind = iota + 1 // separate debug file: named by .gnu_debuglink, or told by its build id
	Supplement                     // what dwz moved out of several files: named by .gnu_debugaltlink or .debug_sup
	SplitUnit                      // a unit of split DWARF: a .dwo file, or a .dwp that it was put into
	Database                       // PDB of a PE file, named as its linker wrote it
	ObjectFile                     // what a Mach-O image was linked of: its debug map names where its debug information stayed
)

func (n Need) String() string {
	switch {
	case n.Name == "":
		return fmt.Sprintf("build id %x", n.BuildID)
	case n.Dir != "" && n.Name[0] != '/':
		return n.Dir + "/" + n.Name
	case n.Member != "":
		return n.Name + "(" + n.Member + ")"
	}
	return n.Name
}

func splitNeed(s dwarf.Skeleton) Need {
	return Need{Kind: SplitUnit, Name: s.Name, Dir: s.Dir, ID: s.ID}
}

// companions are the files that were added to an Object.
type companions struct {
	debug     *Object
	alt       *image
	units     map[uint64]*dwarf.Sections // of .dwo files
	packages  []*dwarf.Package
	skeletons []dwarf.Skeleton       // of which units and packages have some
	objects   map[string]*macho.File // by Need.String
	looked    bool                   // for skeletons
}

// image returns what o and its companions say, nil if it is no file with DWARF or a symbol table.
func (o *Object) image() *image {
	var m *image
	switch {
	case o.debug != nil:
		m = o.debug.image()
		own, theirs := o.ownImage().functions, m.functions
		m.functions = func() []elf.Function { return elf.MergeFunctions(own(), theirs()) }
	default:
		if m = o.ownImage(); m == nil {
			return nil
		}
	}
	m.alt, m.altNeed, m.wanted = o.alt, o.altNeed(), o.Wanted
	if len(o.units)+len(o.packages) > 0 {
		m.split = o.split
	}
	return m
}

func (o *Object) ownImage() *image {
	switch {
	case o.elf != nil:
		m := elfImage(o.elf)
		if o.Forget == nil {
			return m
		}
		section := m.section
		m.section = func(name string) ([]byte, error) {
			data, err := section(name)
			if s := o.elf.Section(name); err == nil && s != nil && s.Flags&elf.SectionCompressed != 0 {
				o.Forget(o.data[s.Offset : s.Offset+s.Size])
			}
			return data, err
		}
		if g := m.info; g != nil {
			m.info = &growing{g.size, g.section, func(grown func([]byte, int) bool) error {
				from := g.section.Offset
				err := g.inflate(func(contents []byte, taken int) bool {
					if to := g.section.Offset + uint64(taken); to-from >= forgetAtOnce {
						o.Forget(o.data[from:to])
						from = to
					}
					return grown(contents, taken)
				})
				o.Forget(o.data[from : g.section.Offset+g.section.Size])
				return err
			}}
		}
		return m
	case o.pe != nil:
		return peImage(o.pe)
	}
	return nil
}

// forgetAtOnce is how much of a file has been inflated when its memory is let go of.
const forgetAtOnce = 4 << 20

// withDWARF returns the file that has the debug information: o or its debug file.
func (o *Object) withDWARF() *Object {
	if o.debug != nil {
		return o.debug
	}
	return o
}

func (o *Object) split(id uint64) *dwarf.Sections {
	if s := o.units[id]; s != nil {
		return s
	}
	for _, p := range o.packages {
		if s := p.Split(id); s != nil {
			return s
		}
	}
	return nil
}

// Needs returns the files that hold part of what o says and were not added yet. Those that were may need
// others. It is not safe for concurrent use, nor is Add.
func (o *Object) Needs() []Need {
	var needs []Need
	if o.macho != nil && !o.macho.HasDebugInfo() {
		for _, d := range o.macho.DebugMap() {
			if n := objectNeed(&d); o.objects[n.String()] == nil {
				needs = append(needs, n)
			}
		}
	}
	if n := o.debugNeed(); n != nil && o.debug == nil {
		needs = append(needs, *n)
	}
	needs = append(needs, o.databaseNeed()...)
	if n := o.altNeed(); n != nil && o.alt == nil {
		needs = append(needs, *n)
	}
	if m := o.withDWARF().ownImage(); m != nil && m.hasDWARF && !o.looked {
		o.looked = true
		if abbrev, _ := m.section(".debug_abbrev"); dwarf.MayBeSkeletons(abbrev) {
			o.skeletons, _ = dwarf.Skeletons(m.sections("", new(Report))) // Symbols will say what is wrong
		}
	}
	for _, s := range o.skeletons {
		if o.split(s.ID) == nil {
			needs = append(needs, splitNeed(s))
		}
	}
	return needs
}

func (o *Object) databaseNeed() []Need {
	if o.pe == nil || o.pdb != nil || o.HasDebugInfo {
		return nil
	}
	if id, name := o.pe.CodeView(); !id.IsZero() && name != "" {
		return []Need{{Kind: Database, Name: name}}
	}
	return nil
}

func (o *Object) debugNeed() *Need {
	n := &Need{Kind: DebugFile}
	var found bool
	switch {
	case o.elf != nil && !o.elf.HasDebugInfo():
		n.Name, n.CRC, found = o.elf.DebugLink()
		n.BuildID = o.elf.BuildID()
	case o.pe != nil && !o.pe.HasDebugInfo():
		if s := o.pe.Section(".gnu_debuglink"); s != nil {
			data, _ := o.pe.Data(s)
			n.Name, n.CRC, found = elf.DebugLink(data, false)
		}
	}
	if !found && n.BuildID == nil {
		return nil
	}
	return n
}

func (o *Object) altNeed() *Need {
	f := o.withDWARF().elf
	if f == nil {
		return nil
	}
	if name, id, ok := f.DebugAltLink(); ok {
		return &Need{Kind: Supplement, Name: name, BuildID: id}
	}
	return nil
}

// Add gives o the bytes of a file that it needs, of an object file perhaps the archive that it is in, of split
// units perhaps a .dwp file that has others of o. They are aliased. It fails if they are not that file.
func (o *Object) Add(n Need, data []byte) error {
	if n.Member != "" {
		var err error
		if data, err = macho.Member(data, n.Member, n.Modified); err != nil {
			return err
		}
	}
	c, err := Open(data)
	if err != nil {
		return err
	}
	other := func(reason string) error {
		return &debug.FormatError{Format: c.Format, Reason: reason}
	}
	switch {
	case n.Kind == DebugFile:
		id := []byte(nil)
		if c.elf != nil {
			id = c.elf.BuildID()
		}
		switch {
		case c.Format != o.Format || !c.HasSymbols && !c.HasDebugInfo:
			return other("no debug file")
		case n.BuildID != nil && id != nil && !bytes.Equal(id, n.BuildID):
			return other(fmt.Sprintf("build id %x, not %x", id, n.BuildID))
		case (n.BuildID == nil || id == nil) && (n.Name == "" || crc32.ChecksumIEEE(data) != n.CRC):
			return other("another checksum than the debug link says")
		}
		o.debug = c
		o.looked = false
		o.HasSymbols, o.HasDebugInfo, o.HasRules = o.HasSymbols || c.HasSymbols, o.HasDebugInfo || c.HasDebugInfo, o.HasRules || c.HasRules
	case n.Kind == Supplement:
		if c.elf == nil || !bytes.Equal(c.elf.SupplementID(), n.BuildID) {
			return other(fmt.Sprintf("not the supplementary file with the id %x", n.BuildID))
		}
		o.alt = elfImage(c.elf)
	case n.Kind == Database:
		if c.pdb == nil || c.Module.ID != o.Module.ID {
			return other("not the PDB with the id " + o.Module.ID.Breakpad())
		}
		o.pdb = c.pdb
		o.HasSymbols, o.HasDebugInfo, o.HasRules = o.HasSymbols || c.HasSymbols, o.HasDebugInfo || c.HasDebugInfo, o.HasRules || c.HasRules
	case n.Kind == ObjectFile:
		if c.macho == nil || !c.HasDebugInfo || c.Module.Arch != o.Module.Arch {
			return other("no object file of this CPU with debug information")
		}
		if o.objects == nil {
			o.objects = map[string]*macho.File{}
		}
		o.objects[n.String()], o.HasDebugInfo = c.macho, true
	default:
		return o.addSplit(n.ID, c)
	}
	return nil
}

// addSplit adds the units of c, a .dwo file, a .dwp, or an object file that has the sections of both.
func (o *Object) addSplit(id uint64, c *Object) error {
	m := c.ownImage()
	if m == nil {
		return &debug.FormatError{Format: c.Format, Reason: "no file with split units"}
	}
	var rep Report
	s := m.sections(".dwo", &rep)
	missing := &debug.FormatError{Format: c.Format, Section: ".debug_info.dwo", Reason: fmt.Sprintf("no unit with the id %016x", id)}
	if index, _ := m.section(".debug_cu_index"); index != nil {
		p, err := dwarf.OpenPackage(s, index)
		if err != nil {
			return err
		}
		for _, s := range append(o.skeletons, dwarf.Skeleton{ID: id}) {
			if p.Has(s.ID) {
				o.packages = append(o.packages, p)
				return nil
			}
		}
		return missing
	}
	ids, err := dwarf.SplitUnits(s)
	if err != nil {
		return err
	}
	found := false
	for _, u := range ids {
		found = found || u == id
	}
	if !found {
		return missing
	}
	if o.units == nil {
		o.units = map[uint64]*dwarf.Sections{}
	}
	for _, u := range ids {
		o.units[u] = s
	}
	return nil
}
