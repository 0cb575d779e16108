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

const (
	handleSize  = 32
	handle2Size = 40
	// maxHandleInfo bounds what is chained to a handle, which may be a circle. There are eight types.
	maxHandleInfo = 8
)

func (p *parser) handles() {
	c, _, ok := p.open(StreamHandleData)
	if !ok {
		return
	}
	header, size, count := uint64(c.U32()), uint64(c.U32()), uint64(c.U32())
	c.Skip(4)
	if header < 16 || size < handleSize {
		p.problem("bad record", "header of %d bytes, records of %d", header, size)
		return
	}
	c.Skip(header - 16)
	if p.failed(&c) {
		return
	}
	p.d.Handles = []Handle{} // none is known to be open
	p.records(&c, count, size, p.limits.Handles, func(i uint32, c *cursor.Cursor) {
		h := Handle{Handle: c.U64()}
		name := func() (string, bool) {
			off := rva(c.U32())
			if off == 0 {
				return "", false
			}
			s, err := p.utf16(off)
			if err != nil {
				p.problem("bad record", "handle %d: name: %v", i, err)
			}
			return s, err == nil
		}
		h.Type, h.HasType = name()
		h.Object, h.HasObject = name()
		h.Attributes, h.Access, h.Handles, h.Pointers = c.U32(), c.U32(), c.U32(), c.U32()
		if size >= handle2Size {
			h.Info = p.handleInfo(i, rva(c.U32()))
		}
		p.d.Handles = append(p.d.Handles, h)
	})
}

func (p *parser) handleInfo(i uint32, next rva) (info []HandleInfo) {
	for next != 0 {
		if len(info) == maxHandleInfo {
			p.problem("bad record", "handle %d: more than %d records about it", i, maxHandleInfo)
			break
		}
		c := p.from(next)
		next = rva(c.U32())
		h := HandleInfo{Type: c.U32()}
		if h.Data = c.Bytes(uint64(c.U32())); p.failed(&c) {
			break
		}
		info = append(info, h)
	}
	return info
}

// handleOperations reads how many operations on handles were recorded, as Application Verifier does
// (MINIDUMP_HANDLE_OPERATION_LIST). They stay bytes.
func (p *parser) handleOperations() {
	if c, _, ok := p.open(StreamHandleOperationList); ok {
		c.Skip(8)
		if n := c.U32(); !p.failed(&c) {
			p.d.HandleOperations = n
		}
	}
}
