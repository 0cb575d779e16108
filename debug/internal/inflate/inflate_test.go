package inflate_test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"io"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	klauspost "github.com/klauspost/compress/zlib"
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

// text returns n bytes that repeat themselves as debug sections do.
func text(n int) []byte {
	rng := rand.New(rand.NewPCG(2, uint64(n)))
	out := make([]byte, 0, n+64)
	for len(out) < n {
		if back := 1 + int(math.Exp2(rng.Float64()*15)); back < len(out) && rng.IntN(2) == 0 {
			for range 4 + rng.IntN(20) {
				out = append(out, out[len(out)-back])
			}
		} else {
			out = append(out, byte(rng.NormFloat64()*12))
		}
	}
	return out[:n]
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

// What grows does not change any more, and ends as the whole; it stops when it is told.
func TestGrowing(t *testing.T) {
	data := text(3 << 20)
	src := deflated(data)
	for stop := range 8 {
		var readers sync.WaitGroup
		calls, length, used := 0, 0, 0
		got, err := inflate.ZlibGrowing(src, uint64(len(data)), uint64(len(data)), func(out []byte, taken int) bool {
			calls++
			if len(out) < length || taken <= used || taken > len(src) {
				t.Errorf("%d bytes of %d behind %d of %d", len(out), taken, length, used)
			}
			length, used = len(out), taken
			readers.Go(func() { // while more is written: the race detector looks
				if !bytes.Equal(out, data[:len(out)]) {
					t.Error("other bytes")
				}
			})
			return calls != stop
		})
		readers.Wait()
		var fe *debug.FormatError
		switch {
		case stop > 0:
			if got != nil || !errors.As(err, &fe) || calls != stop {
				t.Errorf("told to stop: %d calls, %d bytes, %v", calls, len(got), err)
			}
		case err != nil || !bytes.Equal(got, data) || length != len(data) || calls < 9:
			t.Errorf("%d calls, %d bytes, %v", calls, len(got), err)
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
	if testing.Short() {
		t.Skip("-short: with the race detector it takes 25 seconds, and has one goroutine")
	}
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
	f.Add(deflated(sample(30000)), uint16(30000))
	f.Fuzz(func(t *testing.T, src []byte, size uint16) {
		for _, format := range formats[:2] {
			if got, err := format.inflate(src, uint64(size), 1<<15); err == nil && (len(got) != int(size) || size > 1<<15) {
				t.Fatalf("%s: %d bytes, declared %d", format.name, len(got), size)
			}
		}
		sameAsLibrary(t, src, 1<<15)
	})
}

// sameAsLibrary fails unless Zlib says of src what the standard library says. It knows no sizes: what it
// inflates gives the size that is declared.
func sameAsLibrary(t *testing.T, src []byte, limit int) {
	t.Helper()
	var want []byte
	r, err := zlib.NewReader(bytes.NewReader(src))
	if err == nil {
		want, err = io.ReadAll(io.LimitReader(r, int64(limit)+1))
	}
	if len(want) > limit {
		return
	}
	got, gotErr := inflate.Zlib(src, uint64(len(want)), uint64(limit))
	if err == nil && (gotErr != nil || !bytes.Equal(got, want)) || err != nil && gotErr == nil {
		t.Fatalf("%d bytes, %v; the library has %d, %v\n%x", len(got), gotErr, len(want), err, src)
	}
}

// Streams of every writer there is, whole and damaged in each byte: blocks as they are, with the fixed
// code, with codes of their own; codes longer than the tables' index; matches of all lengths and
// distances, across the ends of input and output.
func TestLibrary(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var inputs [][]byte
	for _, n := range []int{0, 1, 7, 8, 9, 257, 258, 259, 260, 300, 1000, 40_000, 200_000} {
		inputs = append(inputs, sample(n), make([]byte, n))
		skewed := make([]byte, n) // frequencies of powers of two: the longest codes
		for i := range skewed {
			skewed[i] = byte(bits.TrailingZeros64(rng.Uint64() | 1<<40))
		}
		far := make([]byte, 0, n+300) // matches from everywhere
		for len(far) < n {
			if len(far) > 10 && rng.IntN(3) > 0 {
				back := 1 + rng.IntN(min(len(far), 1<<rng.IntN(16)))
				for range 3 + rng.IntN(1<<rng.IntN(9)) {
					far = append(far, far[len(far)-back])
				}
			} else {
				far = append(far, byte(rng.Uint32()))
			}
		}
		inputs = append(inputs, skewed, far)
	}
	damages := 40
	if testing.Short() {
		damages = 4
	}
	for _, data := range inputs {
		for _, level := range []int{zlib.NoCompression, zlib.BestSpeed, zlib.BestCompression, zlib.HuffmanOnly} {
			var src bytes.Buffer
			w, _ := zlib.NewWriterLevel(&src, level)
			for rest := data; len(rest) > 0; { // several blocks
				n := min(len(rest), 1+rng.IntN(30_000))
				_, _ = w.Write(rest[:n])
				if rng.IntN(4) == 0 {
					_ = w.Flush()
				}
				rest = rest[n:]
			}
			_ = w.Close()
			sameAsLibrary(t, src.Bytes(), len(data))
			for range damages {
				bad := bytes.Clone(src.Bytes())
				bad[rng.IntN(min(len(bad), 300))] ^= byte(1 << rng.IntN(8))
				sameAsLibrary(t, bad, 2*len(data)+1000)
				sameAsLibrary(t, bad[:rng.IntN(len(bad))], 2*len(data)+1000)
			}
		}
	}
}

// Streams no writer makes: codes of all shapes, complete and not quite, of too many symbols, and random
// bits in them.
func TestLibraryMadeUp(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		w := bitWriter{out: []byte{0x78, 0x01}}
		for range rng.IntN(3) { // something to repeat
			w.bits(0, 3)
			w.align()
			n := rng.IntN(400)
			w.bits(uint64(n|(n^0xffff)<<16), 32)
			for range n {
				w.bits(uint64(rng.IntN(4)), 8)
			}
		}
		w.bits(1, 1)
		if rng.IntN(3) == 0 {
			w.bits(1, 2)
		} else {
			w.bits(2, 2)
			nlit, ndist := 257+rng.IntN(32), 1+rng.IntN(32)
			if rng.IntN(4) > 0 {
				nlit, ndist = min(nlit, 286), min(ndist, 30)
			}
			w.bits(uint64(nlit-257), 5)
			w.bits(uint64(ndist-1), 5)
			w.bits(19-4, 4)
			for _, sym := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} {
				w.bits(map[bool]uint64{true: 4, false: 0}[sym < 16], 3)
			}
			lens := append(codeLengths(rng, nlit), codeLengths(rng, ndist)...)
			if rng.IntN(3) == 0 {
				lens[rng.IntN(len(lens))] = uint8(rng.IntN(16))
			}
			for _, n := range lens {
				w.bits(uint64(bits.Reverse8(n)>>4), 4)
			}
		}
		for range rng.IntN(60) {
			w.bits(rng.Uint64()>>rng.IntN(50), 32)
		}
		sameAsLibrary(t, w.out, 20_000)
	}
}

// What means nothing in an otherwise good stream, near its end and far from it: symbols 286 and 287,
// distances 30 and 31, and one byte more than there is before it.
func TestMeaningless(t *testing.T) {
	for _, before := range []int{0, 1, 5, 900} {
		for _, behind := range []int{0, 100} {
			for sym := 257; sym < 288; sym++ {
				for dist := range 32 {
					for extra := range uint64(4) {
						w := bitWriter{out: []byte{0x78, 0x01}}
						w.bits(0, 3)
						w.align()
						w.bits(uint64(before|(before^0xffff)<<16), 32)
						for i := range before {
							w.bits(uint64(i), 8)
						}
						w.bits(1|1<<1, 3)
						if sym < 280 {
							w.bits(uint64(bits.Reverse8(uint8(sym-256))>>1), 7)
						} else {
							w.bits(uint64(bits.Reverse8(uint8(0xc0+sym-280))), 8)
						}
						if sym >= 265 && sym < 285 {
							w.bits(0, uint(sym-261)/4)
						}
						w.bits(uint64(bits.Reverse8(uint8(dist))>>3), 5)
						if dist >= 4 && dist < 30 {
							w.bits(extra, uint(dist)/2-1)
						}
						for range behind {
							w.bits(0x0c, 8) // literal 0
						}
						w.bits(0, 7) // end
						w.align()
						data, _ := io.ReadAll(flate.NewReader(bytes.NewReader(w.out[2:])))
						_, err := inflate.Zlib(binary.BigEndian.AppendUint32(w.out, adler32.Checksum(data)), uint64(before+258+behind), 1<<16)
						var fe *debug.FormatError
						switch good := sym < 286 && dist < 30 && backAt(dist, extra) <= before; {
						case good && err != nil && !errors.Is(err, debug.ErrTruncated), // less than the declared size
							!good && (!errors.As(err, &fe) || fe.Reason != "no code" && fe.Reason != "repeats what is before the start"):
							t.Fatalf("%d before, %d behind, symbol %d, distance %d+%d: %v", before, behind, sym, dist, extra, err)
						}
					}
				}
			}
		}
	}
}

// backAt returns the distance that a code stands for.
func backAt(dist int, extra uint64) int {
	if dist < 4 {
		return 1 + dist
	}
	n := dist/2 - 1
	return 1 + (2+dist%2)<<n + int(extra&(1<<n-1))
}

// codeLengths returns n lengths of a complete code of some of n symbols.
func codeLengths(rng *rand.Rand, n int) []uint8 {
	leaves := []uint8{0}
	for used := 1 + rng.IntN(n); len(leaves) < used; {
		i := rng.IntN(len(leaves))
		if rng.IntN(2) == 0 {
			i = len(leaves) - 1 // deep ones
		}
		if leaves[i] < 15 {
			leaves[i]++
			leaves = append(leaves, leaves[i])
		}
	}
	if len(leaves) == 1 {
		leaves[0] = uint8(rng.IntN(3)) // no code, an incomplete one of one bit, or nonsense
	}
	out := make([]uint8, n)
	copy(out, leaves)
	rng.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// bitWriter appends bits, the lowest first.
type bitWriter struct {
	out  []byte
	acc  uint64
	have uint
}

func (w *bitWriter) bits(v uint64, n uint) {
	w.acc |= v & (1<<n - 1) << w.have
	for w.have += n; w.have >= 8; w.have -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}

func (w *bitWriter) align() {
	if w.have > 0 {
		w.bits(0, 8-w.have)
	}
}

// The library beside it: how much faster our own is.
func BenchmarkInflate(b *testing.B) {
	formats := append(formats[:len(formats):len(formats)], format{"zlib by klauspost", func(src []byte, size, _ uint64) ([]byte, error) {
		r, err := klauspost.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		out := make([]byte, size)
		_, err = io.ReadFull(r, out)
		return out, err
	}, deflated})
	for _, f := range formats {
		for _, n := range []int{1 << 10, 1 << 24} {
			data := text(n)
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
