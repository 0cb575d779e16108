package minidump

import "salvage/debug/internal/cursor"

// Handle is something of the system the process had open: a handle of Windows, or a file descriptor of
// Linux with what it refers to as Object (MINIDUMP_HANDLE_DESCRIPTOR_2 and the shorter one before it).
type Handle struct {
	Handle             uint64
	Type, Object       string // names
	HasType, HasObject bool   // there is one
	Attributes, Access uint32
	Handles, Pointers  uint32 // that refer to the object
	Info               []HandleInfo
}

// HandleInfo is what the writer found out about an object (MINIDUMP_HANDLE_OBJECT_INFORMATION).
type HandleInfo struct {
	Type uint32 // of MINIDUMP_HANDLE_OBJECT_INFORMATION_TYPE: 1 thread, 2 and 3 mutex, 4 and 5 process, 6 event, 7 section, 8 semaphore
	Data []byte // aliases the dump
}

// maxHandleInfo bounds what is chained to a handle, which may be a circle. There are eight types.
const maxHandleInfo = 8

func (p *parser) handles() {
	handles := []Handle{}
	if !p.extendedList(StreamHandleData, 16, 32, 4, p.limits.Handles, func(i uint32, c *cursor.Cursor) {
		h := Handle{Handle: c.U64()}
		name := func() (s string, ok bool) {
			if off := rva(c.U32()); off != 0 {
				return p.utf16(off, "handle %d: name", i)
			}
			return "", false
		}
		h.Type, h.HasType = name()
		h.Object, h.HasObject = name()
		h.Attributes, h.Access, h.Handles, h.Pointers = c.U32(), c.U32(), c.U32(), c.U32()
		h.Info = p.handleInfo(i, rva(c.U32())) // 0 in records without it
		handles = append(handles, h)
	}) {
		handles = nil // not known
	}
	p.d.Handles = handles
}

func (p *parser) handleInfo(i uint32, next rva) (info []HandleInfo) {
	for next != 0 && len(info) < maxHandleInfo {
		c := p.from(next)
		next = rva(c.U32())
		h := HandleInfo{c.U32(), c.Bytes(uint64(c.U32()))}
		if p.failed(&c) {
			return info
		}
		info = append(info, h)
	}
	if next != 0 {
		p.problem("bad record", "handle %d: more than %d records about it", i, maxHandleInfo)
	}
	return info
}

// handleOperations reads how many operations on handles were recorded, as Application Verifier does
// (MINIDUMP_HANDLE_OPERATION_LIST). They stay bytes.
func (p *parser) handleOperations() {
	if n := read(p, StreamHandleOperationList, func(c *cursor.Cursor) uint32 { c.Skip(8); return c.U32() }); n != nil {
		p.d.HandleOperations = *n
	}
}
