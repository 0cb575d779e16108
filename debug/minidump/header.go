package minidump

import (
	"fmt"
	"math"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

const (
	signature = 0x504d444d // MINIDUMP_SIGNATURE, "MDMP"
	version   = 0xa793     // MINIDUMP_VERSION; the high half of the field is the writer's own

	headerSize = 32
)

// Stream is one entry of the directory.
type Stream struct {
	Type         StreamType
	Size, Offset uint32 // as claimed
}

// header reads the header and the directory. The byte order of a dump is that of its signature.
func (p *parser) header() error {
	c := p.from(0)
	if c.U32() != signature {
		p.d.BigEndian = true
		c = p.from(0)
		if c.U32() != signature {
			if uint64(len(p.data)) < headerSize {
				return &debug.FormatError{Format: "minidump", Reason: "file smaller than a header", Err: debug.ErrTruncated}
			}
			return &debug.FormatError{Format: "minidump", Reason: "no minidump signature"}
		}
	}
	if v := c.U32(); v&0xffff != version && c.Err() == nil {
		return &debug.FormatError{Format: "minidump", Offset: 4, Reason: fmt.Sprintf("version %#x", v), Err: debug.ErrUnsupported}
	}
	count := c.U32()
	directory := rva(c.U32())
	c.Skip(4) // checksum: no writer fills it
	p.d.Time = c.U32()
	p.d.Flags = c.U64()
	if err := c.Err(); err != nil {
		return err
	}
	if count > p.limits.Streams {
		return &debug.FormatError{Format: "minidump", Offset: 8, Reason: fmt.Sprintf("%d streams", count), Err: debug.ErrTooLarge}
	}
	p.where = "directory"
	c = p.from(directory)
	table := c.Sub(uint64(count) * 12)
	if err := table.Err(); err != nil {
		return err
	}
	p.d.Streams = make([]Stream, count) // count entries were there
	seen := make(map[StreamType]bool, count)
	for i := range p.d.Streams {
		s := Stream{Type: StreamType(table.U32()), Size: table.U32(), Offset: table.U32()}
		p.d.Streams[i] = s
		if seen[s.Type] && s.Type != StreamUnused {
			p.problem("duplicate stream", "%v: the last one is read", s.Type)
		}
		seen[s.Type] = true
	}
	return nil
}

// find returns the last directory entry of type t: where writers repeat a type, rust-minidump reads that one.
func (d *Dump) find(t StreamType) (Stream, bool) {
	for i := len(d.Streams) - 1; i >= 0; i-- {
		if d.Streams[i].Type == t {
			return d.Streams[i], true
		}
	}
	return Stream{}, false
}

// Stream returns the bytes of the stream of type t, as far as the file has them, or nil if there is none.
// Of several streams of one type it is the last.
func (d *Dump) Stream(t StreamType) []byte {
	s, _ := d.find(t)
	lo := min(uint64(s.Offset), uint64(len(d.data)))
	hi := min(uint64(s.Offset)+uint64(s.Size), uint64(len(d.data)))
	if lo == hi {
		return nil
	}
	return d.data[lo:hi:hi]
}

// open enters stream t and returns a cursor over what the file has of it, and the size it claims.
func (p *parser) open(t StreamType) (c cursor.Cursor, size uint64, ok bool) {
	s, ok := p.d.find(t)
	if !ok {
		return c, 0, false
	}
	p.enter(t)
	b := p.d.Stream(t)
	if uint64(len(b)) < uint64(s.Size) {
		p.problem("truncated", "%d of %d bytes at %#x are in the file", len(b), s.Size, s.Offset)
	}
	return p.at(location{uint64(len(b)), rva(min(uint64(s.Offset), uint64(len(p.data))))}), uint64(s.Size), true
}

// failed reports whether reading c failed, as a problem.
func (p *parser) failed(c *cursor.Cursor) bool {
	if c.Err() == nil {
		return false
	}
	p.problem("bad record", "%v", c.Err())
	return true
}

// read returns what record makes of a stream, or nil if there is none or it cannot be read.
func read[T any](p *parser, t StreamType, record func(c *cursor.Cursor) T) *T {
	c, _, ok := p.open(t)
	if !ok {
		return nil
	}
	if v := record(&c); !p.failed(&c) {
		return &v
	}
	return nil
}

// list reads a stream that is a count and records of size bytes, and hands each record on with its index.
// Some writers align the first record to eight bytes: the stream's size tells.
func (p *parser) list(t StreamType, size uint64, limit uint32, record func(i uint32, c *cursor.Cursor)) {
	c, claimed, ok := p.open(t)
	if !ok {
		return
	}
	count := uint64(c.U32())
	if p.failed(&c) {
		return
	}
	switch claimed {
	case 4 + count*size:
	case 8 + count*size:
		c.Skip(4)
	default:
		p.problem("size mismatch", "%d bytes for %d records of %d", claimed, count, size)
	}
	p.records(&c, count, size, limit, record)
}

// extendedList reads a stream whose header tells its own size, that of a record, and how many there are.
// Larger headers and records come from newer writers; what they add is skipped. There is a list, if perhaps an empty
// one, if the header can be read.
func (p *parser) extendedList(t StreamType, header, size uint64, countSize uint8, limit uint32, record func(i uint32, c *cursor.Cursor)) bool {
	c, _, ok := p.open(t)
	if !ok {
		return false
	}
	headerSize, recordSize := uint64(c.U32()), uint64(c.U32())
	count := c.Uint(countSize)
	if headerSize < header || recordSize < size {
		p.problem("bad record", "header of %d bytes, records of %d", headerSize, recordSize)
		return false
	}
	c.Skip(headerSize - 8 - uint64(countSize))
	if ok = !p.failed(&c); ok {
		p.records(&c, count, recordSize, limit, record)
	}
	return ok
}

func (p *parser) records(c *cursor.Cursor, count, size uint64, limit uint32, record func(i uint32, c *cursor.Cursor)) {
	if count > uint64(limit) {
		p.problem("too large", "%d records, the limit is %d", count, limit)
		return
	}
	if have := c.Len() / size; have < count {
		p.problem("truncated", "%d of %d records are there", have, count)
		count = have
	}
	for i := range uint32(min(count, math.MaxUint32)) {
		r := c.Sub(size)
		record(i, &r)
	}
}
