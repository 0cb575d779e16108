package inflate

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"salvage/debug"
)

// Format returns the format of a compressed file, told from how it begins: "gzip", "zstd", "xz", "cabinet" or
// "" for anything else.
func Format(src []byte) string {
	for _, f := range [][2]string{{"\x1f\x8b\x08", "gzip"}, {"\x28\xb5\x2f\xfd", "zstd"}, {xzMagic, "xz"}, {cabMagic, "cabinet"}} {
		if bytes.HasPrefix(src, []byte(f[0])) {
			return f[1]
		}
	}
	return ""
}

const (
	// maxWindow bounds what a decoder of zstd or xz keeps: `zstd --ultra` and `xz -9` need 128 and 64 MiB.
	maxWindow = 128 << 20
)

// File inflates a whole file of a format that Format knows, whose inflated size is not known: gzip
// (RFC 1952) of one or more members, Zstandard, xz or a cabinet with one file. More than limit bytes give debug.ErrTooLarge, an end that
// is missing debug.ErrTruncated. With any error come the bytes that were inflated before it. It allocates at
// most four times what it returns, besides a window.
func File(src []byte, limit uint64) ([]byte, error) {
	format := Format(src)
	in := bytes.NewReader(src)
	var r io.Reader
	var err error
	switch format {
	case "gzip":
		r, err = gzip.NewReader(in)
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			defer z.Close()
			r = z
		}
	case "xz":
		r = newXZReader(src)
	case "cabinet":
		return cabinet(src, limit)
	default:
		return nil, fail("compressed file", 0, "unknown format", debug.ErrUnsupported)
	}
	out := make([]byte, 0, 512)
	for err == nil {
		if uint64(len(out)) == limit { // full: this is to find the end
			var n int
			var extra [1]byte
			if n, err = r.Read(extra[:]); n > 0 {
				return out, fail(format, 0, "holds more than the limit", debug.ErrTooLarge)
			}
			continue
		}
		if len(out) == cap(out) {
			grown := make([]byte, len(out), min(limit, 2*uint64(cap(out))))
			copy(grown, out)
			out = grown
		}
		var n int
		n, err = r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
	}
	var fe *debug.FormatError
	switch at := uint64(len(src) - in.Len()); {
	case err == io.EOF:
		return out, nil
	case errors.As(err, &fe):
		return out, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return out, fail(format, at, "no end", debug.ErrTruncated)
	case errors.Is(err, zstd.ErrUnknownDictionary), errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return out, fail(format, at, err.Error(), debug.ErrUnsupported)
	default:
		return out, fail(format, at, err.Error(), nil)
	}
}
