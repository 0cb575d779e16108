// Package inflate decompresses blocks whose inflated size the file declares: sections of object files.
//
// It does no I/O. Results are new buffers of exactly the declared size. A declared size is a claim: no
// call allocates more than the caller's limit, nor more than the compressed bytes could inflate to.
// Functions are safe for concurrent use and start no goroutines.
//
// The formats are RFC 1950 (zlib) and RFC 8878 (Zstandard). Malformed input yields a
// *debug.FormatError, never a panic.
package inflate

import (
	"bytes"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/zlib"
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

var zlibReaders = sync.Pool{}

// Zlib inflates the zlib stream at the start of src, which is to give exactly size bytes; what follows
// the stream is ignored. A size over limit gives debug.ErrTooLarge, as does a stream that holds more
// than size; one that holds less gives debug.ErrTruncated. Src is not retained.
func Zlib(src []byte, size, limit uint64) ([]byte, error) {
	if err := check("zlib", size, limit, min(uint64(len(src)), math.MaxUint64/zlibMaxRatio)*zlibMaxRatio); err != nil {
		return nil, err
	}
	in := bytes.NewReader(src)
	r, ok := zlibReaders.Get().(io.ReadCloser)
	var err error
	if ok {
		err = r.(zlib.Resetter).Reset(in, nil)
	} else {
		r, err = zlib.NewReader(in)
	}
	if err != nil {
		return nil, zlibError(src, in, err)
	}
	defer func() {
		// The pooled reader must not keep src alive.
		_ = r.(zlib.Resetter).Reset(bytes.NewReader(emptyZlib), nil)
		zlibReaders.Put(r)
	}()
	out := make([]byte, 0, min(size, zlibFirstRatio*uint64(len(src))))
	for {
		if len(out) == cap(out) && uint64(len(out)) < size {
			grown := make([]byte, len(out), min(size, 2*uint64(cap(out))))
			copy(grown, out)
			out = grown
		}
		var n int
		if len(out) < cap(out) {
			n, err = r.Read(out[len(out):cap(out)])
			out = out[:len(out)+n]
		} else { // full: this is to find the end and the checksum
			var extra [1]byte
			if n, err = r.Read(extra[:]); n > 0 {
				return nil, fail("zlib", offset(src, in), "holds more than the declared size", debug.ErrTooLarge)
			}
		}
		switch {
		case err == nil:
		case err != io.EOF:
			return nil, zlibError(src, in, err)
		case uint64(len(out)) < size:
			return nil, fail("zlib", offset(src, in), "holds less than the declared size", debug.ErrTruncated)
		default:
			return out, nil
		}
	}
}

// emptyZlib is a stream of no bytes.
var emptyZlib = []byte{0x78, 0x01, 0x03, 0, 0, 0, 0, 1}

func offset(src []byte, in *bytes.Reader) uint64 { return uint64(len(src) - in.Len()) }

func zlibError(src []byte, in *bytes.Reader, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fail("zlib", offset(src, in), "stream without end", debug.ErrTruncated)
	}
	return fail("zlib", offset(src, in), err.Error(), nil)
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
