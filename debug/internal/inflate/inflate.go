// Package inflate decompresses blocks whose inflated size the file declares, sections of object files, and
// whole files up to a limit.
//
// It does no I/O. Results are new buffers of exactly the declared size. A declared size is a claim: no
// call allocates more than the caller's limit, nor more than the compressed bytes could inflate to.
// Functions are safe for concurrent use and start no goroutines.
//
// File is for files of which no size is known.
//
// The formats are RFC 1950 (zlib), RFC 8878 (Zstandard), RFC 1952 (gzip), xz and Microsoft's cabinet. Malformed input yields a
// *debug.FormatError, never a panic.
package inflate

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io"
	"math"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

const (
	// Deflate's best case is 258 bytes (RFC 1951 §3.2.5) for one bit of length code and one of distance code.
	zlibMaxRatio = 258 * 8 / 2
	// What the first buffer may be, as a multiple of the input. Debug sections shrink to a half or a
	// fifth, so almost all need one buffer; more is allocated only as data arrives.
	zlibFirstRatio = 16
)

// Zlib inflates the zlib stream at the start of src, which is to give exactly size bytes; what follows
// the stream is ignored. A size over limit gives debug.ErrTooLarge, as does a stream that holds more
// than size; one that holds less gives debug.ErrTruncated. Src is not retained.
func Zlib(src []byte, size, limit uint64) ([]byte, error) { return ZlibGrowing(src, size, limit, nil) }

// ZlibGrowing is Zlib that, unless grown is nil, calls it behind each block with all that is inflated so far,
// and how much of src that took. Nothing of it changes any more, though more may be written behind it, and it
// is as yet without a checksum. It ends with an error if grown returns false.
func ZlibGrowing(src []byte, size, limit uint64, grown func(out []byte, taken int) bool) ([]byte, error) {
	if err := check("zlib", size, limit, min(uint64(len(src)), math.MaxUint64/zlibMaxRatio)*zlibMaxRatio); err != nil {
		return nil, err
	}
	d := deflaters.Get().(*deflater)
	defer func() {
		d.src, d.out = nil, nil
		deflaters.Put(d)
	}()
	d.src, d.in, d.bit, d.have, d.size = src, 0, 0, 0, size
	d.out = make([]byte, 0, min(size, zlibFirstRatio*uint64(len(src))))
	header, err := d.take(16)
	switch {
	case err != nil:
		return nil, err
	case header&0xf != 8 || header>>4&0xf > 7 || bits.ReverseBytes16(uint16(header))%31 != 0:
		return nil, fail("zlib", 0, "no zlib header", nil)
	case header>>13&1 != 0:
		return nil, fail("zlib", 0, "stream needs a dictionary", debug.ErrUnsupported)
	}
	sum := adler32.New()
	for last := false; !last; {
		from := len(d.out)
		if last, err = d.block(); err != nil {
			return nil, err
		}
		if grown != nil && !grown(d.out[:len(d.out):len(d.out)], int(d.offset())) {
			return nil, fail("zlib", d.offset(), "stopped", nil)
		}
		_, _ = sum.Write(d.out[from:])
	}
	d.align()
	switch {
	case uint64(len(d.out)) < size:
		return nil, fail("zlib", uint64(d.in), "holds less than the declared size", debug.ErrTruncated)
	case len(src)-d.in < 4:
		return nil, d.truncated()
	case binary.BigEndian.Uint32(src[d.in:]) != sum.Sum32():
		return nil, fail("zlib", uint64(d.in), "checksum does not match", nil)
	}
	return d.out, nil
}

var zstdReaders = sync.Pool{New: func() any {
	r, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		// The buffer given to DecodeAll is the limit. The window takes no memory of its own there, and
		// for a frame in one segment it is the whole content, which may be gigabytes.
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(1<<40), zstd.WithDecoderMaxWindow(min(1<<40, math.MaxInt)))
	if err != nil {
		panic(err) // only options out of range do this
	}
	return r
}}

// Zstd inflates the Zstandard frames of src, which are to give exactly size bytes. Errors are those of
// Zlib, but too much in a frame that does not tell its size may have no cause. Frames that need a
// dictionary give debug.ErrUnsupported. Src is not retained.
func Zstd(src []byte, size, limit uint64) ([]byte, error) {
	most, err := zstdMost(src)
	if err != nil {
		return nil, err
	}
	if err := check("zstd", size, limit, most); err != nil {
		return nil, err
	}
	r := zstdReaders.Get().(*zstd.Decoder)
	defer zstdReaders.Put(r)
	out, err := r.DecodeAll(src, make([]byte, 0, size))
	switch {
	case errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, fail("zstd", 0, "holds more than the declared size", debug.ErrTooLarge)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fail("zstd", 0, "frame without end", debug.ErrTruncated)
	case errors.Is(err, zstd.ErrUnknownDictionary):
		return nil, fail("zstd", 0, "frame needs a dictionary", debug.ErrUnsupported)
	case err != nil:
		return nil, fail("zstd", 0, err.Error(), nil)
	case uint64(len(out)) < size:
		return nil, fail("zstd", uint64(len(src)), "holds less than the declared size", debug.ErrTruncated)
	case uint64(len(out)) > size:
		return nil, fail("zstd", uint64(len(src)), "holds more than the declared size", debug.ErrTooLarge)
	}
	return out, nil
}

// Frames of RFC 8878 §3.1.
const (
	zstdMagic     = 0xfd2fb528
	zstdSkippable = 0x184d2a50 // to …5f
	zstdBlockMax  = 128 << 10  // inflated
)

// zstdMost returns the most that the frames of src can inflate to, by the headers of their blocks.
func zstdMost(src []byte) (uint64, error) {
	most := uint64(0)
	c := cursor.New(src, "zstd", "")
	for c.Len() > 0 {
		switch magic := c.U32(); {
		case c.Err() != nil:
		case magic&^0xf == zstdSkippable:
			c.Skip(uint64(c.U32()))
			continue
		case magic != zstdMagic:
			c.Fail("no frame", nil)
		}
		descriptor := c.U8()
		single := descriptor >> 5 & 1
		c.Skip(uint64(1 - single))                                // window
		c.Skip([4]uint64{0, 1, 2, 4}[descriptor&3])               // dictionary
		c.Skip([4]uint64{uint64(single), 2, 4, 8}[descriptor>>6]) // content size
		for last := false; !last && c.Err() == nil; {
			block := c.Uint(3)
			last = block&1 != 0
			size := block >> 3
			switch block >> 1 & 3 {
			case 0: // as is
				c.Skip(size)
				most += size
			case 1: // one byte, repeated
				c.Skip(1)
				most += min(size, zstdBlockMax)
			case 2:
				c.Skip(size)
				most += zstdBlockMax
			default:
				c.Fail("block of a reserved type", nil)
			}
		}
		c.Skip(4 * uint64(descriptor>>2&1)) // checksum
	}
	return most, c.Err()
}

// check says whether a buffer of size may be allocated for input that can give at most most bytes.
func check(format string, size, limit, most uint64) error {
	switch {
	case size > limit || size > math.MaxInt:
		return fail(format, 0, "declared size over the limit", debug.ErrTooLarge)
	case size > most:
		return fail(format, 0, "declared size is more than the input can hold", debug.ErrTruncated)
	}
	return nil
}

func fail(format string, off uint64, reason string, cause error) error {
	return &debug.FormatError{Format: format, Offset: off, Reason: reason, Err: cause}
}
