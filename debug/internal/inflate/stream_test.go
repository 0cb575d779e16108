package inflate_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"testing"

	"github.com/ulikunitz/xz"

	"salvage/debug"
	"salvage/debug/internal/inflate"
	"salvage/internal/debugtest"
)

func gzipped(data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(data)
	_ = w.Close()
	return out.Bytes()
}

func xzed(data []byte) []byte { return xzedWith(data, xz.WriterConfig{}) }

func xzedWith(data []byte, c xz.WriterConfig) []byte {
	var out bytes.Buffer
	w, err := c.NewWriter(&out)
	if err == nil {
		_, err = w.Write(data)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return out.Bytes()
}

var files = []struct {
	name     string
	compress func([]byte) []byte
}{
	{"gzip", gzipped},
	{"zstd", streamed},
	{"zstd", func(data []byte) []byte { return zstandard(data) }},
	{"xz", xzed},
	{"xz", func(data []byte) []byte { return xzedWith(data, xz.WriterConfig{BlockSize: 3000, CheckSum: xz.CRC32}) }},
	{"xz", func(data []byte) []byte { return xzedWith(data, xz.WriterConfig{NoCheckSum: true}) }},
	{"xz", func(data []byte) []byte { return xzedWith(data, xz.WriterConfig{CheckSum: xz.SHA256}) }},
}

// contents are what is compressed: nothing, a little, what shrinks and what does not.
func contents() [][]byte {
	noise := make([]byte, 9000)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(noise)
	return [][]byte{{}, []byte("x"), bytes.Repeat([]byte("salvage "), 3000), noise, append(noise, make([]byte, 20000)...)}
}

func TestFile(t *testing.T) {
	for i, f := range files {
		for _, data := range contents() {
			src := f.compress(data)
			name := fmt.Sprintf("%s %d, %d bytes", f.name, i, len(data))
			if got := inflate.Format(src); got != f.name {
				t.Errorf("%s: Format = %q", name, got)
			}
			for _, limit := range []uint64{uint64(len(data)), 1 << 30} {
				if out, err := inflate.File(src, limit); err != nil || !bytes.Equal(out, data) {
					t.Errorf("%s, limit %d: %d bytes, %v", name, limit, len(out), err)
				}
			}
			if len(data) == 0 {
				continue
			}
			out, err := inflate.File(src, uint64(len(data)-1))
			if !errors.Is(err, debug.ErrTooLarge) || !bytes.Equal(out, data[:len(data)-1]) {
				t.Errorf("%s, limited: %d bytes, %v", name, len(out), err)
			}
			if twice, err := inflate.File(append(src[:len(src):len(src)], src...), 1<<30); err != nil || len(twice) != 2*len(data) {
				t.Errorf("%s, twice: %d bytes, %v", name, len(twice), err)
			}
			// Cut off anywhere, a file yields the start of what is in it.
			most := 0
			for n := len(src) - 1; n > 8; n -= 1 + len(src)/12 {
				out, err := inflate.File(src[:n], 1<<30)
				if !errors.Is(err, debug.ErrTruncated) || !bytes.HasPrefix(data, out) {
					t.Fatalf("%s, cut at %d of %d: %d bytes, %v", name, n, len(src), len(out), err)
				}
				most = max(most, len(out))
			}
			if len(data) > 1000 && most < len(data)/2 && f.name != "zstd" { // which has blocks of 128 KiB
				t.Errorf("%s, cut: at most %d bytes", name, most)
			}
		}
	}
	for _, src := range []string{"", "MDMP", "\x1f\x8b\x09", "PK\x03\x04"} {
		if _, err := inflate.File([]byte(src), 1); inflate.Format([]byte(src)) != "" || !errors.Is(err, debug.ErrUnsupported) {
			t.Errorf("%q: %v", src, err)
		}
	}
}

// The files that the program of the format writes.
func TestXZProgram(t *testing.T) {
	program := debugtest.Program(t, "xz", "xz")
	for _, args := range [][]string{
		{"-0"}, {"-6"}, {"-9e"}, {"--check=none"}, {"--check=crc32"}, {"--check=crc64"}, {"--check=sha256"}, {"-T2", "--block-size=4096"},
		{"--lzma2=dict=4KiB"}, {"--lzma2=lc=0,lp=2,pb=0"}, {"--flush-timeout=1"},
	} {
		for _, data := range contents() {
			cmd := exec.Command(program, append([]string{"-c"}, args...)...)
			cmd.Stdin = bytes.NewReader(data)
			src, err := cmd.Output()
			if err != nil {
				t.Fatal(args, err)
			}
			if out, err := inflate.File(append(src, 0, 0, 0, 0), 1<<30); err != nil || !bytes.Equal(out, data) {
				t.Errorf("%v, %d bytes: %d bytes, %v", args, len(data), len(out), err)
			}
		}
	}
	far := make([]byte, 300000) // chunks that inflate to more than 64 KiB, and something far back in the window
	r := rand.New(rand.NewPCG(1, 2))
	for i := range far {
		far[i] = "ab"[r.IntN(2)]
	}
	far = append(far, far...)
	cmd := exec.Command(program, "-c")
	cmd.Stdin = bytes.NewReader(far)
	src, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := inflate.File(src, 1<<30); err != nil || !bytes.Equal(out, far) {
		t.Errorf("far back: %d bytes, %v", len(out), err)
	}
	cmd = exec.Command(program, "-c", "--x86", "--lzma2")
	cmd.Stdin = bytes.NewReader(make([]byte, 5000))
	src, err = cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inflate.File(src, 1<<30); !errors.Is(err, debug.ErrUnsupported) {
		t.Errorf("a filter: %v", err)
	}
}

// Files with any one byte changed: they fail, or the change is in what is not looked at.
func TestFileDamaged(t *testing.T) {
	data := bytes.Repeat([]byte("salvage and other words "), 50)
	for _, f := range files[:5] {
		src := f.compress(data)
		failed := 0
		for i := range src {
			for _, bit := range []byte{1 << (i % 8)} {
				src[i] ^= bit
				out, err := inflate.File(src, 1<<20)
				var fe *debug.FormatError
				if err != nil && !errors.As(err, &fe) {
					t.Fatalf("%s, byte %d: %v", f.name, i, err)
				}
				if err != nil {
					failed++
				}
				if err == nil && !bytes.Equal(out, data) && f.name != "zstd" && f.name != "xz" {
					t.Errorf("%s, byte %d: other content", f.name, i)
				}
				src[i] ^= bit
			}
		}
		if failed < len(src)/3 { // zstd may have no checksum
			t.Errorf("%s: %d of %d changes are found", f.name, failed, len(src))
		}
	}
}

// Damage to xz files that has to be found.
func TestXZDamaged(t *testing.T) {
	noise := contents()[3]
	for check, c := range map[string]xz.WriterConfig{"crc32": {CheckSum: xz.CRC32}, "crc64": {CheckSum: xz.CRC64}} {
		for what, change := range map[string]func(src []byte){
			"content":     func(src []byte) { src[bytes.Index(src, noise[100:200])] ^= 1 }, // it is stored as it is
			"end":         func(src []byte) { src[len(src)-1] ^= 1 },
			"window code": func(src []byte) { src[bytes.Index(src, []byte{0x21, 1})+2] = 0xff },
		} {
			src := xzedWith(noise, c)
			change(src)
			if _, err := inflate.File(src, 1<<20); err == nil {
				t.Errorf("%s, %s: no error", check, what)
			}
		}
	}
}

// What a file makes us allocate is bounded by what it yields and the windows that are allowed.
func TestFileMemory(t *testing.T) {
	block := func(bits byte) []byte { // one that claims a window, and 128 chunks of 2 MiB
		b := []byte{2, 0, 0x21, 1, bits, 0, 0, 0, 0, 0, 0, 0}
		for range 128 {
			b = append(b, 0xff, 0xff, 0xff, 0, 4, 0x5d, 0, 0, 0, 0, 0)
		}
		return append(b, 0, 0, 0, 0)
	}
	stream := append([]byte("\xfd7zXZ\x00\x00\x00"), 0, 0, 0, 0)
	for name, tt := range map[string]struct {
		src   []byte
		bound uint64
		cause error
	}{
		"4 GiB":         {append(stream[:12:12], block(40)...), 64 << 10, debug.ErrTooLarge},
		"192 MiB":       {append(stream[:12:12], block(31)...), 64 << 10, debug.ErrTooLarge},
		"no window":     {append(stream[:12:12], block(41)...), 64 << 10, nil},
		"gzip of zeros": {gzipped(make([]byte, 2<<20)), 9 << 20, nil},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := inflate.File(tt.src, 1<<30)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > tt.bound || tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("%s: %d bytes allocated, at most %d expected, %v", name, got, tt.bound, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	for _, file := range files {
		f.Add(file.compress([]byte("salvage salvage")))
	}
	f.Add(cab{method: 1, reserve: true}.build([]byte("salvage salvage")))
	f.Add(cab{skip: 3}.build([]byte("salvage salvage")))
	f.Fuzz(func(t *testing.T, src []byte) {
		out, err := inflate.File(src, 1<<20)
		var fe *debug.FormatError
		if err != nil && !errors.As(err, &fe) || len(out) > 1<<20 {
			t.Errorf("%d bytes, %v", len(out), err)
		}
		if inflate.Format(src) == "xz" && err == nil { // then the reader of the library agrees
			r, err := xz.NewReader(bytes.NewReader(src))
			if err != nil {
				return
			}
			if want, err := io.ReadAll(io.LimitReader(r, 1<<20)); err == nil && !bytes.Equal(out, want) {
				t.Errorf("%q, want %q", out, want)
			}
		}
	})
}
