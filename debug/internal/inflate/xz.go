package inflate

import (
	"bytes"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

const (
	xzMagic     = "\xfd7zXZ\x00"
	xzEndMagic  = "YZ"
	xzLZMA2     = 0x21
	xzMaxBits   = 40 // of the code for the size of a window
	xzMinWindow = lzma.MinDictCap
)

// xzReader reads an xz file (tukaani.org/xz/xz-file-format.txt, version 1.2.1), of one or more streams.
//
// The container is read here and only the content of blocks by package lzma: ulikunitz/xz allocates whatever
// window a block asks for, up to 4 GiB. Filters other than LZMA2 give debug.ErrUnsupported. Checksums of CRC32
// and CRC64 are checked, SHA-256 is passed over, as are those of headers.
type xzReader struct {
	c      cursor.Cursor
	block  io.Reader // nil: between blocks
	check  uint8     // type of the checksum of blocks; within a stream
	stream bool      // within a stream
	sum    hash.Hash
}

func newXZReader(src []byte) *xzReader { return &xzReader{c: cursor.New(src, "xz", "")} }

// Read implements io.Reader.
func (x *xzReader) Read(p []byte) (n int, err error) {
	for {
		if x.block == nil {
			if err := x.next(); err != nil {
				return 0, err
			}
		}
		n, err = x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if err == io.EOF {
			x.block = nil
			if err = x.blockEnd(); err == nil && n == 0 {
				continue
			}
		}
		return n, err
	}
}

// next enters the next block; io.EOF if there is none.
func (x *xzReader) next() error {
	c := &x.c
	for {
		switch {
		case c.Err() != nil:
			return c.Err()
		case !x.stream && c.Len() == 0:
			return io.EOF
		case !x.stream && bytes.HasPrefix(c.Rest(), make([]byte, 4)): // padding behind a stream
			c.Skip(4)
		case !x.stream:
			if string(c.Bytes(6)) != xzMagic {
				c.Fail("no stream", nil)
			}
			c.Skip(1)
			x.check = c.U8() & 15
			c.Skip(4)
			x.stream = true
		default:
			if size := uint64(c.U8()); size > 0 {
				return x.enter(4*size + 3)
			}
			x.index()
			x.stream = false
		}
	}
}

// enter enters a block whose header has n bytes more.
func (x *xzReader) enter(n uint64) error {
	h := x.c.Sub(n)
	flags := h.U8()
	for bit := 6; bit < 8; bit++ { // sizes, if they are there
		if flags>>bit&1 != 0 {
			h.ULEB()
		}
	}
	if flags&0x3f != 0 || h.ULEB() != xzLZMA2 || h.ULEB() != 1 {
		h.Fail("filters other than LZMA2", debug.ErrUnsupported)
	}
	bits := h.U8()
	if bits > xzMaxBits {
		h.Fail("window of an unknown size", nil)
	}
	content, size := x.chunks()
	window := uint64(2|bits&1) << (bits/2 + 11)
	if window > maxWindow {
		h.Fail("window over the limit", debug.ErrTooLarge)
	}
	window = min(window, max(size, xzMinWindow)) // so windows have no more than the output, but the last
	if err := h.Err(); err != nil {
		return err
	}
	r, err := lzma.Reader2Config{DictCap: int(window)}.NewReader2(bytes.NewReader(content))
	if err != nil {
		return err
	}
	x.block = r
	switch x.check {
	case 1:
		x.sum = crc32.NewIEEE()
	case 4:
		x.sum = crc64.New(xzTable)
	default:
		x.sum = nil
	}
	return nil
}

var xzTable = crc64.MakeTable(crc64.ECMA)

// chunks passes over the chunks of LZMA2, and returns them and what they claim to inflate to. A control byte
// tells their kind, sizes are stored less one (LZMA2InputStream of XZ for Java).
func (x *xzReader) chunks() (content []byte, size uint64) {
	c := &x.c
	rest, start := c.Rest(), c.Offset()
	for control := c.U8(); control != 0; control = c.U8() {
		high := uint64(c.U8())
		n := high<<8 | uint64(c.U8())
		if control >= 0x80 { // else they are as they are
			size += uint64(control&0x1f) << 16
			high = uint64(c.U8())
			size += n
			n = high<<8 | uint64(c.U8())
			if control >= 0xc0 {
				n++ // properties
			}
		} else {
			size += n
		}
		size++
		c.Skip(n + 1)
	}
	used := c.Offset() - start
	if c.Err() != nil { // cut off: what there is
		used = uint64(len(rest))
	}
	if c.Err() == nil {
		c.Skip(-used & 3)
	}
	return rest[:min(used, uint64(len(rest)))], size
}

// blockEnd checks the checksum of a block.
func (x *xzReader) blockEnd() error {
	stored := x.c.Bytes([16]uint64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[x.check])
	var want []byte
	switch s := x.sum.(type) {
	case hash.Hash32:
		want = binary.LittleEndian.AppendUint32(nil, s.Sum32())
	case hash.Hash64:
		want = binary.LittleEndian.AppendUint64(nil, s.Sum64())
	default:
		return x.c.Err()
	}
	if x.c.Err() == nil && !bytes.Equal(stored, want) {
		x.c.Fail("checksum of a block", nil)
	}
	return x.c.Err()
}

// index passes over the index and the end of a stream.
func (x *xzReader) index() {
	c := &x.c
	start := c.Offset() - 1
	for n := c.ULEB(); n > 0 && c.Err() == nil; n-- {
		c.ULEB()
		c.ULEB()
	}
	c.Skip(-(c.Offset() - start) & 3)
	c.Skip(4 + 10) // checksums, the size of the index and flags
	if string(c.Bytes(2)) != xzEndMagic {
		c.Fail("no end of a stream", nil)
	}
}
