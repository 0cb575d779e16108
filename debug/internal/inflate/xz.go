package inflate

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

const (
	xzLZMA2 = 0x21 // filter id
)

var xzChecks = map[byte]func([]byte) []byte{
	0: func([]byte) []byte { return nil },
	1: func(b []byte) []byte { return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)) },
	4: func(b []byte) []byte {
		return binary.LittleEndian.AppendUint64(nil, crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)))
	},
	10: func(b []byte) []byte { s := sha256.Sum256(b); return s[:] },
}

// XZ inflates the .xz stream at the start of src ("The .xz File Format" 1.2, tukaani.org), whose blocks tell
// their size piece by piece. More than limit bytes give debug.ErrTooLarge, an end before the stream's gives
// debug.ErrTruncated, and filters other than LZMA2 debug.ErrUnsupported. Src is not retained.
func XZ(src []byte, limit uint64) ([]byte, error) {
	c := cursor.New(src, "xz", "")
	if magic := c.Bytes(6); c.Err() == nil && string(magic) != "\xfd7zXZ\x00" {
		c.Fail("no xz stream", nil)
	}
	c.U8()
	check := xzChecks[c.U8()]
	c.Skip(4)
	if c.Err() == nil && check == nil {
		c.Fail("unknown check", debug.ErrUnsupported)
	}
	var out []byte
	for c.Err() == nil {
		start := c.Offset()
		headerSize := 4 * (uint64(c.U8()) + 1)
		if headerSize == 4 || c.Err() != nil { // the index, which ends the blocks
			break
		}
		header := c.Sub(headerSize - 1)
		flags := header.U8()
		for bit := byte(0x40); bit != 0; bit <<= 1 { // sizes, which the pieces say as well
			if flags&bit != 0 {
				header.ULEB()
			}
		}
		filter, properties := header.ULEB(), header.ULEB()
		dictionary := header.U8()
		if header.Err() == nil && (flags&3 != 0 || filter != xzLZMA2 || properties != 1 || dictionary > 40) {
			header.Fail("unknown filter", debug.ErrUnsupported)
		}
		if err := header.Err(); err != nil {
			return nil, err
		}
		pieces, size := xzPieces(&c)
		if size > limit-uint64(len(out)) {
			return nil, fail("xz", start, "holds more than the limit", debug.ErrTooLarge)
		}
		if c.Err() != nil {
			break
		}
		// The window may be declared as 4 GiB; no more than the block is of use.
		window := uint64(2|dictionary&1) << (dictionary/2 + 11)
		window = max(min(window, size), lzma.MinDictCap)
		block, err := xzBlock(pieces, size, int(window))
		if err != nil {
			return nil, fail("xz", start, err.Error(), nil)
		}
		c.Skip((start - c.Offset()) & 3)
		if sum := check(block); !bytes.Equal(c.Bytes(uint64(len(sum))), sum) && c.Err() == nil {
			return nil, fail("xz", start, "wrong check sum", nil)
		}
		if out == nil {
			out = block
		} else {
			out = append(out, block...)
		}
	}
	return out, c.Err()
}

// xzPieces consumes the pieces of a block, which are LZMA2's chunks, and returns them and what they inflate to.
func xzPieces(c *cursor.Cursor) (pieces []byte, size uint64) {
	all := c.Rest()
	start := c.Offset()
	for c.Err() == nil {
		control := c.U8()
		big := func() uint64 { b := uint64(c.U8()); return b<<8 | uint64(c.U8()) }
		switch {
		case control == 0:
			return all[:c.Offset()-start], size
		case control >= 0x80:
			size += uint64(control&0x1f)<<16 + big() + 1
			packed := big() + 1
			if control >= 0xc0 {
				c.U8() // properties
			}
			c.Skip(packed)
		case control <= 2: // as is
			n := big() + 1
			size += n
			c.Skip(n)
		default:
			c.Fail("unknown kind of chunk", nil)
		}
	}
	return nil, size
}

func xzBlock(pieces []byte, size uint64, window int) ([]byte, error) {
	r, err := lzma.Reader2Config{DictCap: window}.NewReader2(bytes.NewReader(pieces))
	if err != nil {
		return nil, err
	}
	block := make([]byte, size)
	_, err = io.ReadFull(r, block)
	return block, err
}
