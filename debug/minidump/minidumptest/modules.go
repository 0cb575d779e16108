package minidumptest

// Module is a loaded module. Version holds the words 2 to 5 of a VS_FIXEDFILEINFO; none if it is zero.
type Module struct {
	Addr                      uint64
	Size, Checksum, Timestamp uint32
	Name                      string
	Version                   [4]uint32
	CodeView                  CodeView // none if nil
}

// CodeView is a CodeView record; one of the types below.
type CodeView interface{ encode(w *writer) }

// PDB70 is the record of a PDB 7.0 and, on Apple systems, of a Mach-O. The UUID is in network order.
type PDB70 struct {
	UUID [16]byte
	Age  uint32
	File string
}

func (v PDB70) encode(w *writer) {
	w.u32(0x53445352)
	w.guid(v.UUID)
	w.u32(v.Age)
	w.u8(append([]byte(v.File), 0)...)
}

// PDB20 is the record of a PDB 2.0.
type PDB20 struct {
	Timestamp, Age uint32
	File           string
}

func (v PDB20) encode(w *writer) {
	w.u32(0x3031424e, 0, v.Timestamp, v.Age)
	w.u8(append([]byte(v.File), 0)...)
}

// ELF is Breakpad's record of a build id.
type ELF struct{ BuildID []byte }

func (v ELF) encode(w *writer) {
	w.u32(0x4270454c)
	w.u8(v.BuildID...)
}

// OtherCodeView is a record of any other kind.
type OtherCodeView []byte

func (v OtherCodeView) encode(w *writer) { w.u8(v...) }

// Module adds a loaded module.
func (b *Builder) Module(m Module) *Builder {
	b.modules = append(b.modules, m)
	return b
}

func (b *Builder) buildModules(f *file) []byte {
	w := f.list(len(b.modules))
	for _, m := range b.modules {
		w.u64(m.Addr)
		w.u32(m.Size, m.Checksum, m.Timestamp, f.utf16(m.Name))
		if m.Version == [4]uint32{} {
			w.zero(13 * 4)
		} else {
			w.u32(0xfeef04bd, 0x10000)
			w.u32(m.Version[:]...)
			w.zero(7 * 4)
		}
		if m.CodeView == nil {
			w.u32(0, 0)
		} else {
			r := f.record()
			m.CodeView.encode(r)
			w.u32(uint32(len(r.b)), f.put(r.b))
		}
		w.zero(8 + 16) // the older debug record, reserved
	}
	return w.b
}

// Unloaded is an unloaded module.
type Unloaded struct {
	Addr                      uint64
	Size, Checksum, Timestamp uint32
	Name                      string
}

// Unloaded adds the list of unloaded modules.
func (b *Builder) Unloaded(list ...Unloaded) *Builder {
	return b.stream(14, func(f *file) []byte {
		w := f.record()
		w.u32(12, 24, uint32(len(list)))
		for _, m := range list {
			w.u64(m.Addr)
			w.u32(m.Size, m.Checksum, m.Timestamp, f.utf16(m.Name))
		}
		return w.b
	})
}

// Crashpad is the Crashpad stream.
type Crashpad struct {
	Version            uint32
	ReportID, ClientID [16]byte // network order
	Annotations        [][2]string
	Modules            []CrashpadModule
}

// CrashpadModule holds the annotations of the module of that index.
type CrashpadModule struct {
	Index       uint32
	List        []string
	Annotations [][2]string
	Objects     []Annotation
}

// Annotation is a typed annotation.
type Annotation struct {
	Name  string
	Type  uint16
	Value []byte
}

// Crashpad adds the Crashpad stream.
func (b *Builder) Crashpad(c Crashpad) *Builder {
	return b.stream(0x43500001, func(f *file) []byte {
		links := f.record()
		links.u32(uint32(len(c.Modules)))
		for _, m := range c.Modules {
			list := f.record()
			list.u32(uint32(len(m.List)))
			for _, s := range m.List {
				list.u32(f.utf8(s))
			}
			objects := f.record()
			objects.u32(uint32(len(m.Objects)))
			for _, a := range m.Objects {
				objects.u32(f.utf8(a.Name))
				objects.u16(a.Type, 0)
				objects.u32(f.bytes(a.Value))
			}
			info := f.record()
			info.u32(1)
			f.location(info, list.b)
			f.location(info, f.dictionary(m.Annotations))
			f.location(info, objects.b)
			links.u32(m.Index)
			f.location(links, info.b)
		}
		w := f.record()
		w.u32(c.Version)
		w.guid(c.ReportID)
		w.guid(c.ClientID)
		f.location(w, f.dictionary(c.Annotations))
		f.location(w, links.b)
		return w.b
	})
}

func (f *file) dictionary(entries [][2]string) []byte {
	w := f.record()
	w.u32(uint32(len(entries)))
	for _, e := range entries {
		w.u32(f.utf8(e[0]), f.utf8(e[1]))
	}
	return w.b
}

// location appends data to the file, and its size and place to w.
func (f *file) location(w *writer, data []byte) { w.u32(uint32(len(data)), f.put(data)) }
