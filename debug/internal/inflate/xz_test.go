package inflate_test

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"testing"

	"salvage/debug"
	"salvage/debug/internal/inflate"
	"salvage/internal/debugtest"
)

func packXZ(t testing.TB, data []byte, flags ...string) []byte {
	t.Helper()
	cmd := exec.Command(debugtest.Program(t, "llvm", "xz"), append([]string{"-c"}, flags...)...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestXZ(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300<<10)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	copy(random[100<<10:], bytes.Repeat([]byte("salvage"), 10_000)) // chunks of both kinds
	for _, flags := range [][]string{
		{"-0"}, {"-9"}, {"--check=none"}, {"--check=crc32"}, {"--check=sha256"}, {"--block-size=65536"}, {"-T2", "--block-size=100000"}, {"--lzma2=dict=4KiB"},
	} {
		for _, n := range []int{0, 100, len(random)} {
			want := random[:n]
			packed := packXZ(t, want, flags...)
			got, err := inflate.XZ(append(packed, "behind"...), uint64(n))
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v, %d bytes: %d, %v", flags, n, len(got), err)
			}
			if n > 0 {
				if _, err := inflate.XZ(packed, uint64(n-1)); !errors.Is(err, debug.ErrTooLarge) {
					t.Errorf("%v, %d bytes, limit one less: %v", flags, n, err)
				}
			}
		}
	}
	if _, err := inflate.XZ(packXZ(t, random[:100], "--x86", "--lzma2"), 1<<20); !errors.Is(err, debug.ErrUnsupported) {
		t.Errorf("another filter: %v", err)
	}
}

// No prefix and no changed byte of a block is taken for the whole.
func TestXZDamage(t *testing.T) {
	data := []byte("salvage salvage what is left of it")
	packed := packXZ(t, data)
	const index = 20 // bytes and more of index and footer, which are not needed
	for n := range len(packed) - index {
		if _, err := inflate.XZ(packed[:n], 100); err == nil {
			t.Errorf("%d of %d bytes", n, len(packed))
		}
	}
	for i := range packed {
		bad := bytes.Clone(packed)
		bad[i] ^= 0x10
		if got, err := inflate.XZ(bad, 100); err == nil && !bytes.Equal(got, data) {
			t.Errorf("byte %d changed: %q", i, got)
		}
	}
}

// A window of 4 GiB is not allocated for a block of some bytes.
func TestXZWindow(t *testing.T) {
	packed := packXZ(t, []byte("salvage"))
	const header = 12
	size := 4 * (int(packed[header]) + 1)
	packed[header+4] = 40 // size, flags, filter, size of properties, window
	sum := crc32.ChecksumIEEE(packed[header : header+size-4])
	for i := range 4 {
		packed[header+size-4+i] = byte(sum >> (8 * i))
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := inflate.XZ(packed, 100)
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err != nil || string(got) != "salvage" || n > 1<<20 {
		t.Errorf("%q, %v, %d bytes allocated", got, err, n)
	}
}

func FuzzXZ(f *testing.F) {
	f.Add(packXZ(f, bytes.Repeat([]byte("salvage"), 100)))
	f.Add(packXZ(f, []byte("salvage"), "--check=sha256", "--block-size=4"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := inflate.XZ(data, 1<<20); err == nil && len(got) > 1<<20 {
			t.Error(len(got))
		}
	})
}
