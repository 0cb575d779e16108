// Package tables is the container of Salvage's own lookup files: a header, byte tables, a directory.
//
//	offset  size  field
//	0       4     magic of the format
//	4       4     format version
//	8       4     builder revision: bumped when the same input must give another output
//	12      4     zero
//	16            tables, each starting at a multiple of 8, zero padding between
//	d             directory: per table, in the order written: tag u32, CRC32C u32, offset u64, size u64
//	end−24        d u64, table count u32, CRC32C of the directory u32, total file size u64
//
// All integers are little-endian. Writing is a stream: no seeking, no table held twice. Opening checks
// the header, the directory and its bounds; Verify checks the contents, once, when a file enters a cache.
//
// Malformed input yields a *debug.FormatError, never a panic.
package tables

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"salvage/debug"
)

const (
	headerSize   = 16
	entrySize    = 24
	footerSize   = 24
	maxTables    = 64 // far above what any of our formats has
	writerBuffer = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Format identifies one lookup file format.
type Format struct {
	Name     string // in errors
	Magic    [4]byte
	Version  uint32
	Revision uint32
}

type entry struct {
	tag, crc     uint32
	offset, size uint64
}

// Writer writes one file. Errors of the underlying writer are latched and returned by Close.
type Writer struct {
	w       io.Writer
	buf     []byte
	n       uint64 // bytes handed out so far
	crc     uint32
	entries []entry
	err     error
}

// NewWriter starts a file of the given format on w.
func NewWriter(w io.Writer, f Format) *Writer {
	t := &Writer{w: w, buf: make([]byte, 0, writerBuffer)}
	t.Bytes(f.Magic[:])
	t.U32(f.Version)
	t.U32(f.Revision)
	t.U32(0)
	return t
}

// Table starts the next table; what is written from here on belongs to it.
func (t *Writer) Table(tag uint32) {
	t.endTable()
	t.align()
	t.entries = append(t.entries, entry{tag: tag, offset: t.n})
	t.crc = 0
}

func (t *Writer) endTable() {
	t.flush()
	if i := len(t.entries) - 1; i >= 0 && t.entries[i].size == 0 {
		t.entries[i].crc, t.entries[i].size = t.crc, t.n-t.entries[i].offset
	}
}

func (t *Writer) align() {
	var zero [8]byte
	t.Bytes(zero[:-t.n&7])
	t.flush()
}

// U32 appends a little-endian value to the table.
func (t *Writer) U32(v uint32) {
	if len(t.buf)+4 > cap(t.buf) {
		t.flush()
	}
	t.buf = binary.LittleEndian.AppendUint32(t.buf, v)
	t.n += 4
}

// U64 appends a little-endian value to the table.
func (t *Writer) U64(v uint64) {
	t.U32(uint32(v))
	t.U32(uint32(v >> 32))
}

// Bytes appends b to the table.
func (t *Writer) Bytes(b []byte) {
	t.n += uint64(len(b))
	for len(b) > 0 {
		if len(t.buf) == cap(t.buf) {
			t.flush()
		}
		k := min(len(b), cap(t.buf)-len(t.buf))
		t.buf = append(t.buf, b[:k]...)
		b = b[k:]
	}
}

func (t *Writer) flush() {
	if len(t.buf) > 0 && t.err == nil {
		t.crc = crc32.Update(t.crc, castagnoli, t.buf)
		_, t.err = t.w.Write(t.buf)
	}
	t.buf = t.buf[:0]
}

// Close writes directory and footer and returns the file's size and the first error. It does not
// close the underlying writer.
func (t *Writer) Close() (size uint64, err error) {
	t.endTable()
	t.align()
	dir := t.n
	t.crc = 0
	for _, e := range t.entries {
		t.U32(e.tag)
		t.U32(e.crc)
		t.U64(e.offset)
		t.U64(e.size)
	}
	t.flush()
	crc := t.crc
	t.U64(dir)
	t.U32(uint32(len(t.entries)))
	t.U32(crc)
	t.U64(t.n + 8)
	t.flush()
	return t.n, t.err
}

// File is an opened file. It aliases the bytes it was opened over and is safe for concurrent use.
type File struct {
	format  Format
	data    []byte
	entries []entry
}

// Open reads the header and the directory of data. A file of another version or revision gives an
// error for which errors.Is(err, debug.ErrVersion) holds.
func Open(data []byte, f Format) (*File, error) {
	fail := func(off uint64, reason string, cause error) (*File, error) {
		return nil, &debug.FormatError{Format: f.Name, Offset: off, Reason: reason, Err: cause}
	}
	size := uint64(len(data))
	if size < headerSize+footerSize {
		return fail(size, "shorter than header and footer", debug.ErrTruncated)
	}
	if [4]byte(data) != f.Magic {
		return fail(0, "wrong magic", nil)
	}
	if binary.LittleEndian.Uint32(data[4:]) != f.Version || binary.LittleEndian.Uint32(data[8:]) != f.Revision {
		return fail(4, "written by another version", debug.ErrVersion)
	}
	foot := data[size-footerSize:]
	dir, count := binary.LittleEndian.Uint64(foot), binary.LittleEndian.Uint32(foot[8:])
	if binary.LittleEndian.Uint64(foot[16:]) != size {
		return fail(size-8, "file size differs from the one recorded", debug.ErrTruncated)
	}
	if count > maxTables || dir < headerSize || dir > size || size-dir != uint64(count)*entrySize+footerSize {
		return fail(size-footerSize, "directory outside the file", nil)
	}
	raw := data[dir : size-footerSize]
	if crc32.Checksum(raw, castagnoli) != binary.LittleEndian.Uint32(foot[12:]) {
		return fail(dir, "directory checksum differs", nil)
	}
	t := &File{format: f, data: data, entries: make([]entry, count)}
	for i := range t.entries {
		r := raw[i*entrySize:]
		e := entry{
			tag: binary.LittleEndian.Uint32(r), crc: binary.LittleEndian.Uint32(r[4:]),
			offset: binary.LittleEndian.Uint64(r[8:]), size: binary.LittleEndian.Uint64(r[16:]),
		}
		if e.offset < headerSize || e.offset > dir || e.size > dir-e.offset {
			return fail(dir+uint64(i)*entrySize, "table outside the file", nil)
		}
		t.entries[i] = e
	}
	return t, nil
}

// Table returns the bytes of the table with the given tag, or nil. It aliases the file.
func (t *File) Table(tag uint32) []byte {
	for _, e := range t.entries {
		if e.tag == tag {
			return t.data[e.offset : e.offset+e.size : e.offset+e.size]
		}
	}
	return nil
}

// Verify checks the checksum of every table.
func (t *File) Verify() error {
	for _, e := range t.entries {
		if crc32.Checksum(t.data[e.offset:e.offset+e.size], castagnoli) != e.crc {
			return &debug.FormatError{Format: t.format.Name, Offset: e.offset, Reason: "table checksum differs"}
		}
	}
	return nil
}
