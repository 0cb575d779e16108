package pdb

import (
	"bytes"
	"encoding/binary"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

// The container: a file of blocks, of which streams are made. The first block describes the directory,
// which has the sizes of all streams and after them the blocks of each.

const (
	magic         = "Microsoft C/C++ MSF 7.00\r\n\x1aDS\x00\x00\x00"
	magicPDB20    = "Microsoft C/C++ program database 2.00\r\n\x1aJG"
	magicMSFZ     = "Microsoft MSFZ Container\r\n\x1aALD\x00\x00"
	minBlock      = 512
	maxBlock      = 64 << 10 // link /PDBPAGESIZE goes up to 32 KiB
	absentStream  = 0xffffffff
	noStream      = 0xffff // in 16-bit fields
	streamsFactor = 2      // see container.streams
)

// container is an MSF file.
type container struct {
	data  []byte
	block uint64
	// streams never hold the same block twice in a file that a linker wrote. A file that says otherwise
	// can make a few bytes of directory stand for megabytes, so all streams together may have twice the
	// bytes of the file; those beyond it are unusable.
	streams []stream
}

type stream struct {
	size     uint32
	blocks   []byte // numbers, 4 bytes each; nil if unusable
	unusable string
}

func fail(section string, off uint64, reason string, cause error) error {
	return &debug.FormatError{Format: "pdb", Section: section, Offset: off, Reason: reason, Err: cause}
}

func openContainer(data []byte) (*container, error) {
	switch {
	case bytes.HasPrefix(data, []byte(magicPDB20)):
		return nil, fail("", 0, "a PDB 2.0 file, as compilers before Visual C++ 7 wrote", debug.ErrUnsupported)
	case bytes.HasPrefix(data, []byte(magicMSFZ)):
		return nil, fail("", 0, "a compressed PDB (MSFZ): unpack it with pdbcopy or msfz first", debug.ErrUnsupported)
	case !bytes.HasPrefix(data, []byte(magic)):
		return nil, fail("", 0, "wrong magic", nil)
	}
	c := cursor.New(data, "pdb", "")
	c.Skip(uint64(len(magic)))
	f := &container{data: data, block: uint64(c.U32())}
	c.Skip(8) // free block map, number of blocks
	size := uint64(c.U32())
	c.Skip(4)
	mapBlock := uint64(c.U32())
	if c.Err() != nil {
		return nil, c.Err()
	}
	if f.block < minBlock || f.block > maxBlock || f.block&(f.block-1) != 0 {
		return nil, fail("", uint64(len(magic)), "block size is no power of two between 512 and 65536", nil)
	}
	if size > uint64(len(data)) {
		return nil, fail("directory", 0, "directory is larger than the file", debug.ErrTruncated)
	}
	m := cursor.New(data, "pdb", "block map")
	m.Skip(mapBlock * f.block)
	blocks := m.Table(f.count(size), 4)
	if m.Err() != nil {
		return nil, m.Err()
	}
	directory, err := f.gather("directory", blocks, size)
	if err != nil {
		return nil, err
	}
	d := cursor.New(directory, "pdb", "directory")
	n := uint64(d.U32())
	sizes := d.Table(n, 4)
	if d.Err() != nil {
		return nil, d.Err()
	}
	f.streams = make([]stream, n)
	budget := streamsFactor * uint64(len(data))
	for i := range f.streams {
		s := &f.streams[i]
		if s.size = binary.LittleEndian.Uint32(sizes[4*i:]); s.size == absentStream {
			s.size = 0
		}
		need := f.count(uint64(s.size))
		if s.unusable == "" && need*4 > d.Len() {
			s.unusable = "the directory ends before it"
			continue
		}
		s.blocks = d.Bytes(need * 4)
		if uint64(s.size) > budget {
			s.unusable = "streams share blocks"
			continue
		}
		budget -= uint64(s.size)
	}
	return f, nil
}

// count returns how many blocks size bytes take.
func (f *container) count(size uint64) uint64 { return (size + f.block - 1) / f.block }

// gather puts blocks together. The result aliases the file if they follow each other.
func (f *container) gather(name string, blocks []byte, size uint64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	first := uint64(binary.LittleEndian.Uint32(blocks))
	contiguous := true
	for i := uint64(0); 4*i < uint64(len(blocks)); i++ {
		n := uint64(binary.LittleEndian.Uint32(blocks[4*i:]))
		contiguous = contiguous && n == first+i
		if end := n*f.block + min(f.block, size-i*f.block); end > uint64(len(f.data)) {
			return nil, fail(name, i*f.block, "block ends outside the file", debug.ErrTruncated)
		}
	}
	if start := first * f.block; contiguous {
		return f.data[start : start+size : start+size], nil
	}
	out := make([]byte, 0, size)
	for ; len(blocks) > 0; blocks = blocks[4:] {
		start := uint64(binary.LittleEndian.Uint32(blocks)) * f.block
		out = append(out, f.data[start:start+min(f.block, size-uint64(len(out)))]...)
	}
	return out, nil
}

// stream returns the contents of a stream, empty if there is none of that number. What it costs is bounded
// only if each stream is asked for once.
func (f *container) stream(name string, n uint32) ([]byte, error) {
	if uint64(n) >= uint64(len(f.streams)) {
		return nil, nil
	}
	s := &f.streams[n]
	if s.unusable != "" {
		return nil, fail(name, 0, s.unusable, nil)
	}
	return f.gather(name, s.blocks, uint64(s.size))
}
