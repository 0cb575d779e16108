package minidumptest

// System is the system info stream. CPU fills the union of 24 bytes: numbers of 32 bits.
type System struct {
	Architecture, Level, Revision uint16
	Processors, ProductType       uint8
	Major, Minor, Build, Platform uint32
	CSD                           string // none if empty
	SuiteMask                     uint16
	CPU                           [6]uint32
}

// Architectures and platforms in use.
const (
	X86, ARM, AMD64, ARM64, OldARM64    uint16 = 0, 5, 9, 12, 0x8003
	Windows, MacOS, IOS, Linux, Android uint32 = 2, 0x8101, 0x8102, 0x8201, 0x8203
)

// System adds the system info.
func (b *Builder) System(s System) *Builder {
	return b.stream(7, func(f *file) []byte {
		csd := uint32(0)
		if s.CSD != "" {
			csd = f.utf16(s.CSD)
		}
		w := f.record()
		w.u16(s.Architecture, s.Level, s.Revision)
		w.u8(s.Processors, s.ProductType)
		w.u32(s.Major, s.Minor, s.Build, s.Platform, csd)
		w.u16(s.SuiteMask, 0)
		w.u32(s.CPU[:]...)
		return w.b
	})
}

// Region is a piece of memory.
type Region struct {
	Addr uint64
	Data []byte
}

// Memory adds a region to the memory list.
func (b *Builder) Memory(addr uint64, data []byte) *Builder {
	b.regions = append(b.regions, Region{addr, data})
	return b
}

// FullMemory adds a region to the Memory64 list, whose bytes end the file.
func (b *Builder) FullMemory(addr uint64, data []byte) *Builder {
	b.full = append(b.full, Region{addr, data})
	return b
}

func (b *Builder) buildRegions(f *file) []byte {
	w := f.list(len(b.regions))
	for _, r := range b.regions {
		w.u64(r.Addr)
		w.u32(uint32(len(r.Data)), f.put(r.Data))
	}
	return w.b
}

// MemoryInfo is an entry of the memory info list.
type MemoryInfo struct {
	Base, AllocationBase    uint64
	AllocationProtection    uint32
	Size                    uint64
	State, Protection, Type uint32
}

// MemoryInfo adds the memory info list.
func (b *Builder) MemoryInfo(list ...MemoryInfo) *Builder {
	return b.stream(16, func(f *file) []byte {
		w := f.record()
		w.u32(16, 48)
		w.u64(uint64(len(list)))
		for _, m := range list {
			w.u64(m.Base, m.AllocationBase)
			w.u32(m.AllocationProtection, 0)
			w.u64(m.Size)
			w.u32(m.State, m.Protection, m.Type, 0)
		}
		return w.b
	})
}

// Thread is a thread. A stack without data is one to be found in a memory list.
type Thread struct {
	ID, Suspended, Class, Priority uint32
	Name                           string // none if empty
	TEB                            uint64
	Stack                          Region
	Context                        Context // none if nil
}

// Thread adds a thread, and its name to the list of names.
func (b *Builder) Thread(t Thread) *Builder {
	b.threads = append(b.threads, t)
	return b
}

func (b *Builder) buildThreads(f *file) []byte {
	w := f.list(len(b.threads))
	for _, t := range b.threads {
		w.u32(t.ID, t.Suspended, t.Class, t.Priority)
		w.u64(t.TEB, t.Stack.Addr)
		if len(t.Stack.Data) > 0 {
			w.u32(uint32(len(t.Stack.Data)), f.put(t.Stack.Data))
		} else {
			w.u32(0, 0)
		}
		f.context(w, t.Context)
	}
	return w.b
}

func (b *Builder) buildNames(f *file) []byte {
	n := 0
	for _, t := range b.threads {
		if t.Name != "" {
			n++
		}
	}
	w := f.list(n)
	for _, t := range b.threads {
		if t.Name != "" {
			w.u32(t.ID)
			w.u64(uint64(f.utf16(t.Name)))
		}
	}
	return w.b
}

// Exception is the exception stream.
type Exception struct {
	ThreadID, Code, Flags uint32
	Record, Address       uint64
	NumParameters         uint32
	Information           [15]uint64
	Context               Context // none if nil
}

// Exception adds the exception.
func (b *Builder) Exception(e Exception) *Builder {
	return b.stream(6, func(f *file) []byte {
		w := f.record()
		w.u32(e.ThreadID, 0, e.Code, e.Flags)
		w.u64(e.Record, e.Address)
		w.u32(e.NumParameters, 0)
		w.u64(e.Information[:]...)
		f.context(w, e.Context)
		return w.b
	})
}

// Misc is the misc info stream in one of its five forms; fields a form does not have are left out.
type Misc struct {
	Form                          int // 1 to 5
	Flags                         uint32
	PID, Create, User, Kernel     uint32
	Power                         [5]uint32
	Integrity, Execute, Protected uint32
	TimeZoneID                    uint32
	Bias, StandardBias            int32
	DaylightBias                  int32
	StandardName, DaylightName    string
	StandardDate, DaylightDate    [8]uint16
	BuildString, DebugBuild       string
	ContextSize                   uint32
	Enabled                       uint64
	FeatureOffset, FeatureSize    [64]uint32
	Cookie                        uint32
}

// Misc adds the misc info.
func (b *Builder) Misc(m Misc) *Builder {
	return b.stream(15, func(f *file) []byte {
		w := f.record()
		w.u32([]uint32{24, 44, 232, 832, 1364}[m.Form-1], m.Flags, m.PID, m.Create, m.User, m.Kernel)
		if m.Form >= 2 {
			w.u32(m.Power[:]...)
		}
		if m.Form >= 3 {
			w.u32(m.Integrity, m.Execute, m.Protected, m.TimeZoneID, uint32(m.Bias))
			w.fixed(m.StandardName, 32)
			w.u16(m.StandardDate[:]...)
			w.u32(uint32(m.StandardBias))
			w.fixed(m.DaylightName, 32)
			w.u16(m.DaylightDate[:]...)
			w.u32(uint32(m.DaylightBias))
		}
		if m.Form >= 4 {
			w.fixed(m.BuildString, 260)
			w.fixed(m.DebugBuild, 40)
		}
		if m.Form >= 5 {
			w.u32(528, m.ContextSize)
			w.u64(m.Enabled)
			for i := range m.FeatureOffset {
				w.u32(m.FeatureOffset[i], m.FeatureSize[i])
			}
			w.u32(m.Cookie)
		}
		return w.b
	})
}

// Assertion adds the assertion of Breakpad's Windows client.
func (b *Builder) Assertion(expression, function, source string, line, kind uint32) *Builder {
	return b.stream(0x47670002, func(f *file) []byte {
		w := f.record()
		w.fixed(expression, 128)
		w.fixed(function, 128)
		w.fixed(source, 128)
		w.u32(line, kind)
		return w.b
	})
}

// BreakpadInfo adds the threads of interest; validity is 1 for the dump thread plus 2 for the requesting one.
func (b *Builder) BreakpadInfo(validity, dumpThread, requestingThread uint32) *Builder {
	return b.stream(0x47670001, func(f *file) []byte {
		w := f.record()
		w.u32(validity, dumpThread, requestingThread)
		return w.b
	})
}

// Texts of Linux, for LinuxText.
const (
	LinuxCPUInfo = 0x47670003 + iota
	LinuxStatus
	LinuxLSBRelease
	LinuxCmdLine
	LinuxEnviron
	LinuxAuxv
	LinuxMaps
	LinuxDSODebug
)

// LinuxText adds a text of /proc or /etc.
func (b *Builder) LinuxText(number uint32, text string) *Builder { return b.Raw(number, []byte(text)) }
