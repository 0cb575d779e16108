package minidumptest

// Handle is a handle with what is known of its object. Names are none if nil.
type Handle struct {
	Handle             uint64
	Type, Object       *string
	Attributes, Access uint32
	Handles, Pointers  uint32
	Info               []HandleInfo // chained
}

// HandleInfo is a record about the object of a handle.
type HandleInfo struct {
	Type uint32
	Data []byte
}

// Handles adds the handle data, in its longer form or the one without records about objects.
func (b *Builder) Handles(long bool, list ...Handle) *Builder {
	return b.stream(12, func(f *file) []byte {
		w := f.record()
		size := uint32(32)
		if long {
			size = 40
		}
		w.u32(16, size, uint32(len(list)), 0)
		name := func(s *string) uint32 {
			if s == nil {
				return 0
			}
			return f.utf16(*s)
		}
		for _, h := range list {
			next := uint32(0)
			for i := len(h.Info) - 1; i >= 0; i-- {
				r := f.record()
				r.u32(next, h.Info[i].Type, uint32(len(h.Info[i].Data)))
				next = f.put(append(r.b, h.Info[i].Data...))
			}
			w.u64(h.Handle)
			w.u32(name(h.Type), name(h.Object), h.Attributes, h.Access, h.Handles, h.Pointers)
			if long {
				w.u32(next, 0)
			}
		}
		return w.b
	})
}

// ThreadInfo is an entry of the thread info list.
type ThreadInfo struct {
	ID, Flags, Error, ExitStatus                        uint32
	Create, Exit, KernelTime, UserTime, Start, Affinity uint64
}

// ThreadInfo adds the thread info list.
func (b *Builder) ThreadInfo(list ...ThreadInfo) *Builder {
	return b.stream(17, func(f *file) []byte {
		w := f.record()
		w.u32(12, 64, uint32(len(list)))
		for _, t := range list {
			w.u32(t.ID, t.Flags, t.Error, t.ExitStatus)
			w.u64(t.Create, t.Exit, t.KernelTime, t.UserTime, t.Start, t.Affinity)
		}
		return w.b
	})
}

// MacCrashInfo is a record of macOS' crash info. Of version 4 on it has strings.
type MacCrashInfo struct {
	Version                        uint64
	Thread, DialogMode, AbortCause uint64
	Strings                        [5]string
}

// MacCrashInfo adds macOS' crash info, whose strings begin at an offset in each record.
func (b *Builder) MacCrashInfo(start uint32, list ...MacCrashInfo) *Builder {
	return b.stream(0x4d7a0001, func(f *file) []byte {
		w := f.record()
		w.u32(0x4d7a0001, uint32(len(list)), start)
		for _, m := range list {
			r := f.record()
			r.u64(0x4d7a0001, m.Version)
			if m.Version >= 4 {
				r.u64(m.Thread, m.DialogMode)
			}
			if m.Version >= 5 {
				r.u64(m.AbortCause)
			}
			for len(r.b) < int(start) {
				r.u8(0xee) // what later versions have there
			}
			if m.Version >= 4 {
				for _, s := range m.Strings {
					r.b = append(append(r.b, s...), 0)
				}
			}
			f.location(w, r.b)
		}
		w.zero(8 * (20 - len(list)))
		return w.b
	})
}

// MacBootArgs adds the arguments that macOS was started with.
func (b *Builder) MacBootArgs(text string) *Builder {
	return b.stream(0x4d7a0002, func(f *file) []byte {
		w := f.record()
		w.u32(0x4d7a0002)
		w.u64(uint64(f.utf16(text)))
		return w.b
	})
}

// Aux adds Linux' auxiliary vector of 64 bits: types and values.
func (b *Builder) Aux(values ...uint64) *Builder {
	return b.stream(LinuxAuxv, func(f *file) []byte {
		w := f.record()
		w.u64(values...)
		return w.b
	})
}

// LinkedObject is what the dynamic linker loaded.
type LinkedObject struct {
	Addr, Dynamic uint64
	Name          string
}

// Linker adds what the dynamic linker knows, in packed records with words of size bytes.
func (b *Builder) Linker(size int, version uint32, brk, base, dynamic uint64, list ...LinkedObject) *Builder {
	return b.stream(LinuxDSODebug, func(f *file) []byte {
		objects, w := f.record(), f.record()
		word := func(w *writer, v uint64) {
			if size == 8 {
				w.u64(v)
			} else {
				w.u32(uint32(v))
			}
		}
		for _, o := range list {
			word(objects, o.Addr)
			objects.u32(f.utf16(o.Name))
			word(objects, o.Dynamic)
		}
		w.u32(version, f.put(objects.b), uint32(len(list)))
		word(w, brk)
		word(w, base)
		word(w, dynamic)
		w.zero(2 * size) // a copy of _DYNAMIC
		return w.b
	})
}
