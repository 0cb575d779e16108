package inflate_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"salvage/debug"
	"salvage/debug/internal/inflate"
)

type format struct {
	name     string
	inflate  func(src []byte, size, limit uint64) ([]byte, error)
	compress func(data []byte) []byte
}

var formats = []format{
	{"zlib", inflate.Zlib, deflated},
	{"zstd", inflate.Zstd, func(data []byte) []byte { return zstandard(data) }},
	{"zstd without content size", inflate.Zstd, streamed},
	{"zstd with checksum", inflate.Zstd, func(data []byte) []byte { return zstandard(data, zstd.WithEncoderCRC(true)) }},
}

func deflated(data []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

func zstandard(data []byte, opts ...zstd.EOption) []byte {
	w, err := zstd.NewWriter(nil, append([]zstd.EOption{zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false)}, opts...)...)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(data, nil)
}

// streamed writes in pieces, so that the header has a window and no size.
func streamed(data []byte) []byte {
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithZeroFrames(true), zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(data)
	_ = w.Flush()
	_ = w.Close()
	return out.Bytes()
}

// sample returns n bytes that shrink to about a third.
func sample(n int) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rng.NormFloat64() * 3)
	}
	return out
}

func TestInflate(t *testing.T) {
	for _, f := range formats {
		for _, data := range [][]byte{{}, {1}, sample(100), sample(1 << 20), make([]byte, 5<<20), bytes.Repeat(sample(1000), 3000)} {
			n := uint64(len(data))
			src := f.compress(data)
			got, err := f.inflate(src, n, n)
			if !bytes.Equal(got, data) || err != nil || got == nil || uint64(cap(got)) > n+64 {
				t.Errorf("%s of %d bytes: %d bytes (capacity %d), %v", f.name, n, len(got), cap(got), err)
			}
			for _, tt := range []struct {
				what        string
				src         []byte
				size, limit uint64
				cause       error
			}{
				{"over the limit", src, n + 1, n, debug.ErrTooLarge},
				{"more than declared", src, n - 1, n, debug.ErrTooLarge},
				{"less than declared", src, n + 1, n + 1, debug.ErrTruncated},
				{"far less than declared", src, 1 << 40, math.MaxUint64, debug.ErrTruncated},
				{"beyond any size", src, math.MaxUint64, math.MaxUint64, debug.ErrTooLarge},
				{"cut off", src[:len(src)-1], n, n, debug.ErrTruncated},
				{"cut in half", src[:len(src)/2], n, n, debug.ErrTruncated},
				{"no input", nil, n + 1, n + 1, debug.ErrTruncated},
			} {
				if math.MaxInt == math.MaxInt32 && tt.size == 1<<40 {
					tt.cause = debug.ErrTooLarge // the address space is the limit
				}
				got, err := f.inflate(tt.src, tt.size, tt.limit)
				var fe *debug.FormatError
				known := errors.Is(err, tt.cause) || tt.what == "more than declared" && f.name == "zstd without content size"
				if got != nil || !errors.As(err, &fe) || !known {
					t.Errorf("%s of %d bytes, %s: %d bytes, %v", f.name, n, tt.what, len(got), err)
				}
			}
		}
	}
}

func TestDamage(t *testing.T) {
	data := sample(300)
	for _, f := range formats {
		src := f.compress(data)
		for i := range src {
			for _, v := range []byte{0, 1, 0x80, 0xff} {
				bad := bytes.Clone(src)
				bad[i] ^= v
				got, err := f.inflate(bad, 300, 300)
				if err == nil && len(got) != 300 {
					t.Fatalf("%s, byte %d: %d bytes without error", f.name, i, len(got))
				}
				if v == 0xff && f.name == "zlib" && err == nil {
					t.Errorf("zlib, byte %d: damage not found", i)
				}
			}
		}
	}
}

// What follows a zlib stream is padding; frames may follow frames.
func TestTrailer(t *testing.T) {
	data := sample(1000)
	if got, err := inflate.Zlib(append(deflated(data), 0, 0, 0), 1000, 1000); !bytes.Equal(got, data) || err != nil {
		t.Errorf("zlib with padding: %d bytes, %v", len(got), err)
	}
	frames := append([]byte{0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}, zstandard(data[:600])...)
	frames = append(frames, zstandard(data[600:])...)
	if got, err := inflate.Zstd(frames, 1000, 1000); !bytes.Equal(got, data) || err != nil {
		t.Errorf("two frames behind a skippable one: %d bytes, %v", len(got), err)
	}
	if _, err := inflate.Zstd(append(frames, 0, 0, 0, 0), 1000, 1000); err == nil {
		t.Error("nonsense behind a frame accepted")
	}
}

// A frame names a window of 1 TiB, or a dictionary.
func TestFrameHeaders(t *testing.T) {
	magic := binary.LittleEndian.AppendUint32(nil, 0xfd2fb528)
	raw := []byte{3<<3 | 1, 0, 0, 'a', 'b', 'c'}
	if got, err := inflate.Zstd(append(append(bytes.Clone(magic), 0x20, 3), raw...), 3, 3); string(got) != "abc" || err != nil {
		t.Errorf("one segment: %q, %v", got, err)
	}
	if used := allocated(func() { _, _ = inflate.Zstd(append(append(bytes.Clone(magic), 0, 0xf0), raw...), 3, 3) }); used > 4<<20 {
		t.Errorf("%d bytes allocated for a large window", used)
	}
	if _, err := inflate.Zstd(append(append(bytes.Clone(magic), 0x21, 7, 3), raw...), 3, 3); !errors.Is(err, debug.ErrUnsupported) {
		t.Errorf("dictionary: %v", err)
	}
	if _, err := inflate.Zstd(append(bytes.Clone(magic), 0x20, 3, 3<<3|7, 0, 0), 3, 3); err == nil {
		t.Error("reserved block type accepted")
	}
}

// The memory of a call is bounded by the limit and by what the input can hold, whatever is declared.
func TestMemory(t *testing.T) {
	const bomb = 256 << 20
	zeros := make([]byte, bomb)
	random := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for _, f := range formats {
		big, small, dense := f.compress(zeros), f.compress(zeros[:1000]), f.compress(random)
		_, _ = f.inflate(small, 1000, 1000) // fills the pools
		for _, tt := range []struct {
			what        string
			src         []byte
			size, limit uint64
			most        uint64
		}{
			{"declares 1 TiB", small, 1 << 40, math.MaxUint64, 1 << 10},
			{"declares 1 GiB within the limit", small, 1 << 30, 1 << 30, 1 << 10},
			{"declares 768 MiB, 1 MiB there", dense, 768 << 20, 1 << 30, 33 << 20},
			{"declares more than the limit", big, bomb, 1 << 20, 1 << 10},
			{"holds more than it declares", big, 1 << 20, 1 << 20, 5 << 20},
		} {
			if used := allocated(func() {
				if _, err := f.inflate(tt.src, tt.size, tt.limit); err == nil {
					t.Errorf("%s, %s: no error", f.name, tt.what)
				}
			}); used > tt.most {
				t.Errorf("%s, %s: %d bytes allocated, at most %d expected", f.name, tt.what, used, tt.most)
			}
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func FuzzInflate(f *testing.F) {
	for _, format := range formats {
		f.Add(format.compress(sample(100)), uint16(100))
		f.Add(format.compress(make([]byte, 5000)), uint16(5000))
	}
	f.Fuzz(func(t *testing.T, src []byte, size uint16) {
		for _, format := range formats[:2] {
			if got, err := format.inflate(src, uint64(size), 1<<15); err == nil && (len(got) != int(size) || size > 1<<15) {
				t.Fatalf("%s: %d bytes, declared %d", format.name, len(got), size)
			}
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	for _, f := range formats {
		for _, n := range []int{1 << 10, 1 << 24} {
			data := sample(n)
			src := f.compress(data)
			b.Run(f.name+" "+map[bool]string{true: "small", false: "large"}[n < 1<<20], func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := f.inflate(src, uint64(n), uint64(n)); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
