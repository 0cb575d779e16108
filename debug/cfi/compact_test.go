package cfi_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
)

// compactPage is a table with one page of functions of 16 bytes each from 0x1000 on. Encodings are shared as
// linkers do: the first ones are common, the others the page's own.
func compactPage(packed bool, encodings []uint32) []byte {
	u32 := func(b []byte, values ...uint32) []byte {
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	common := len(encodings) / 3
	n := uint32(len(encodings))
	indexAt := 28 + 4*uint32(common)
	page := indexAt + 24
	b := u32(nil, 1, 28, uint32(common), indexAt, 0, indexAt, 2)
	b = u32(b, encodings[:common]...)
	b = u32(b, 0x1000, page, 0, 0x1000+16*n, 0, 0)
	if !packed {
		b = u32(b, 2, 8|n<<16)
		for i, e := range encodings {
			b = u32(b, 0x1000+16*uint32(i), e)
		}
		return b
	}
	b = u32(b, 3, 12|n<<16, (12+4*n)|(n-uint32(common))<<16)
	for i := range encodings {
		b = u32(b, 16*uint32(i)|uint32(i)<<24)
	}
	return u32(b, encodings[common:]...)
}

func compactCache(t testing.TB, cpu *cfi.CPU, table []byte, at func(uint64) []byte) (*cfi.Cache, uint64) {
	t.Helper()
	b := cfi.NewBuilder(cpu, false)
	b.CompactUnwind(&cfi.CompactUnwind{Data: table, At: at})
	bad, _ := b.Bad()
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return c, bad
}

// permutations returns the ordered choices of n of the numbers 1 to 6.
func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, p := range permutations(n - 1) {
		for r := 1; r <= 6; r++ {
			if !slices.Contains(p, r) {
				all = append(all, append(slices.Clone(p), r))
			}
		}
	}
	return all
}

// encode numbers a permutation: each register by how many of the smaller ones are not before it, with the weights
// that the header file says.
func encode(p []int) uint32 {
	weights := [][]uint32{{}, {1}, {5, 1}, {20, 4, 1}, {60, 12, 3, 1}, {120, 24, 6, 2, 1}, {120, 24, 6, 2, 1, 0}}[len(p)]
	code := uint32(0)
	for i, r := range p {
		smaller := uint32(r - 1)
		for _, q := range p[:i] {
			if q < r {
				smaller--
			}
		}
		code += smaller * weights[i]
	}
	return code
}

// Every order in which registers can lie on the stack, in both kinds of page, with the size of the frame in the
// encoding and in the code.
func TestCompactPermutations(t *testing.T) {
	numbers := []uint8{0, 3, 12, 13, 14, 15, 6}
	var lists [][]int
	for n := range 7 {
		lists = append(lists, permutations(n)...)
	}
	for _, indirect := range []bool{false, true} {
		for len(lists) > 0 || indirect {
			part := lists[:min(len(lists), 200)]
			if indirect {
				part = permutations(4)[:200]
			} else {
				lists = lists[len(part):]
			}
			var encodings []uint32
			for _, p := range part {
				e := uint32(0x02<<24 | 20<<16)
				if indirect {
					e = 0x03<<24 | 3<<16 | 5<<13 // 120 in the code, and 5 words
				}
				encodings = append(encodings, e|uint32(len(p))<<10|encode(p))
			}
			for _, packed := range []bool{false, true} {
				c, bad := compactCache(t, cfi.AMD64, compactPage(packed, encodings), func(addr uint64) []byte {
					if addr&15 != 3 {
						t.Errorf("code at %#x", addr)
					}
					return []byte{120, 0, 0, 0}
				})
				if bad > 0 {
					t.Errorf("%d bad", bad)
				}
				for i, p := range part {
					rules, ok := c.Lookup(uint64(0x1001 + 16*i))
					if !ok {
						t.Fatalf("%v: no rules", p)
					}
					callee := cfi.Registers{Valid: 1<<17 - 1}
					callee.Set(cfi.AMD64.SP, 0x8000)
					caller, err := rules.Unwind(&callee, func(addr uint64, size uint8) (uint64, bool) { return addr, true })
					if err != nil || caller.Values[cfi.AMD64.SP] != 0x8000+160 || caller.Values[cfi.AMD64.PC] != 0x8000+152 {
						t.Fatalf("%v: %v, %x", p, err, caller.Values)
					}
					for k := 1; k <= 6; k++ {
						want := uint64(0)
						if at := slices.Index(p, k); at >= 0 {
							want = 0x8000 + 152 - 8*uint64(len(p)-at)
						}
						if got := caller.Values[numbers[k]]; got != want {
							t.Errorf("%v: register %d at %#x, want %#x", p, k, got, want)
						}
					}
				}
			}
			if indirect {
				break
			}
		}
	}
}

// What cannot be is counted, and work is bounded.
func TestCompactDamage(t *testing.T) {
	none := func(uint64) []byte { return nil }
	for _, e := range []uint32{0x05000000, 0x03000000, 0x02001fff, 0x02001c00, 0x02000006, 0x01000007} {
		if _, bad := compactCache(t, cfi.AMD64, compactPage(false, []uint32{e}), none); bad != 1 {
			t.Errorf("%#x: %d bad", e, bad)
		}
	}
	if _, bad := compactCache(t, cfi.ARM64, compactPage(false, []uint32{0x01000000}), none); bad != 1 {
		t.Error("arm64")
	}
	for _, e := range []uint32{0x04000000} { // DWARF's
		if c, bad := compactCache(t, cfi.AMD64, compactPage(true, []uint32{e}), none); bad != 0 {
			t.Error(c, bad)
		}
	}
	base := compactPage(true, []uint32{0x02020000, 0x01020021, 0x03030000, 0x02060c02})
	for i := range base {
		compactCache(t, cfi.AMD64, base[:i], none)
		for _, v := range []byte{0, 1, 0x7f, 0xff} {
			b := bytes.Clone(base)
			b[i] = v
			compactCache(t, cfi.AMD64, b, none)
			compactCache(t, cfi.X86, b, none)
			compactCache(t, cfi.ARM64, b, none)
		}
	}
	// An index of one page over and over.
	const n = 20000
	u32 := binary.LittleEndian.AppendUint32
	var b []byte
	for _, v := range []uint32{1, 28, 0, 28, 0, 28, n} {
		b = u32(b, v)
	}
	for i := range uint32(n) {
		b = u32(u32(u32(b, i*0x10000), 28+12*n), 0)
	}
	b = u32(u32(b, 2), 8|0xffff<<16)
	for i := range uint32(0xffff) {
		b = u32(u32(b, i), 0x02020000|i%2<<16)
	}
	if _, bad := compactCache(t, cfi.AMD64, b, none); bad == 0 {
		t.Error("no end of work")
	}
}

func FuzzCompactUnwind(f *testing.F) {
	f.Add(compactPage(true, []uint32{0x02020000, 0x01020021, 0x03030000, 0x02060c02}), uint8(0))
	f.Add(compactPage(false, []uint32{0x02020000, 0x04000001, 0x03030000}), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, which uint8) {
		cpu := []*cfi.CPU{cfi.AMD64, cfi.ARM64, cfi.X86}[which%3]
		b := cfi.NewBuilder(cpu, false)
		b.CompactUnwind(&cfi.CompactUnwind{Data: data, At: func(addr uint64) []byte { return data[min(addr, uint64(len(data))):] }})
		if _, err := b.Write(new(bytes.Buffer), debugid.ID{}); err != nil {
			t.Fatal(err)
		}
	})
}
