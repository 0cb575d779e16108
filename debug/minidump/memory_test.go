package minidump_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

func TestMemory(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		d := parse(t, b.Memory(0x3000, []byte("later")).Memory(0x1000, []byte("first")).Memory(0x1005, []byte("next")).
			FullMemory(0x2000, []byte("full")).FullMemory(0xffff_ffff_ffff_fffc, []byte("last")))
		var addrs []uint64
		for _, r := range d.Memory.Regions {
			addrs = append(addrs, r.Addr)
		}
		equal(t, "Regions", addrs, []uint64{0x2000, 0xffff_ffff_ffff_fffc, 0x3000, 0x1000, 0x1005})
		for _, tt := range []struct {
			addr, n uint64
			want    string
		}{
			{0x1000, 5, "first"}, {0x1001, 2, "ir"}, {0x1005, 4, "next"}, {0x2001, 3, "ull"}, {0xffff_ffff_ffff_fffe, 2, "st"},
		} {
			if got := d.Memory.Read(tt.addr, tt.n); string(got) != tt.want || uint64(cap(got)) != tt.n {
				t.Errorf("Read(%#x, %d) = %q, want %q", tt.addr, tt.n, got, tt.want)
			}
		}
		// Reads neither cross regions nor wrap.
		for _, tt := range [][2]uint64{{0xfff, 1}, {0x1004, 2}, {0x1009, 1}, {0xffff_ffff_ffff_fffe, 3}, {0x1000, math.MaxUint64}, {0x1001, math.MaxUint64}, {0, 1}, {0x2004, 1}} {
			if got := d.Memory.Read(tt[0], tt[1]); got != nil {
				t.Errorf("Read(%#x, %#x) = %q, want nil", tt[0], tt[1], got)
			}
		}
	})
	if r, ok := new(minidump.Memory).At(0); ok {
		t.Errorf("empty memory has %v", r)
	}
}

// However regions overlap, an address in any of them is found, in the region that reaches furthest.
func TestOverlappingMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := minidumptest.New(false)
		var regions []minidumptest.Region
		for range 1 + rng.IntN(8) {
			r := minidumptest.Region{Addr: uint64(rng.IntN(64)), Data: make([]byte, 1+rng.IntN(24))}
			regions = append(regions, r)
			b.Memory(r.Addr, r.Data)
		}
		m := parse(t, b).Memory
		for addr := range uint64(100) {
			end := uint64(0)
			for _, r := range regions {
				if addr >= r.Addr && addr < r.Addr+uint64(len(r.Data)) {
					end = max(end, r.Addr+uint64(len(r.Data)))
				}
			}
			r, ok := m.At(addr)
			if ok != (end != 0) || ok && (r.Addr > addr || r.Addr+uint64(len(r.Data)) != end) {
				t.Fatalf("%v: At(%d) = %d+%d, %v, want the end %d", regions, addr, r.Addr, len(r.Data), ok, end)
			}
		}
	}
}

// Uploads of full dumps break off. What arrived is kept, and the rest named.
func TestTruncatedMemory64(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		data := b.FullMemory(0x1000, []byte("aaaa")).FullMemory(0x2000, []byte("bbbb")).FullMemory(0x3000, []byte("cccc")).Bytes()
		d, err := minidump.Parse(data[:len(data)-6])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "Regions", d.Memory.Regions, []minidump.Region{{Addr: 0x1000, Data: []byte("aaaa")}, {Addr: 0x2000, Data: []byte("bb")}})
		equal(t, "problems", kinds(d), []string{"Memory64List: truncated", "Memory64List: truncated"})
	})
}

// Regions that cannot be are left out one by one.
func TestBadMemory(t *testing.T) {
	w := func(v ...uint64) (b []byte) {
		for _, v := range v {
			for range 8 {
				b, v = append(b, byte(v)), v>>8
			}
		}
		return b
	}
	data := minidumptest.New(false).Raw(9, w(4, 32, 0x1000, 8, math.MaxUint64, 2, 0x2000, math.MaxUint64-1, 0x3000, 8)).Bytes()
	d, err := minidump.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "Regions", d.Memory.Regions, []minidump.Region{{Addr: 0x1000, Data: data[32:40]}})
	equal(t, "problems", kinds(d), []string{"Memory64List: bad record", "Memory64List: bad record", "Memory64List: truncated"})
}

func TestMemoryInfo(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		d := parse(t, b.MemoryInfo(
			minidumptest.MemoryInfo{Base: 1 << 40, AllocationBase: 1 << 39, AllocationProtection: 1, Size: 1 << 33, State: 0x1000, Protection: 0x20, Type: 0x1000000},
			minidumptest.MemoryInfo{Protection: 0x04}, minidumptest.MemoryInfo{Protection: 0x80}, minidumptest.MemoryInfo{Protection: 0x101},
		))
		equal(t, "entries", len(d.MemoryInfo), 4)
		equal(t, "MemoryInfo[0]", d.MemoryInfo[0], minidump.MemoryInfo{
			Base: 1 << 40, Size: 1 << 33, AllocationBase: 1 << 39, AllocationProtection: 1, State: 0x1000, Protection: 0x20, Type: 0x1000000,
		})
		for i, want := range []string{"r-x", "rw-", "-wx", "---"} {
			m, got := d.MemoryInfo[i], []byte("---")
			for j, allowed := range []bool{m.Readable(), m.Writable(), m.Executable()} {
				if allowed {
					got[j] = "rwx"[j]
				}
			}
			equal(t, "permissions", string(got), want)
		}
	})
}

// Newer writers may have larger headers and records.
func TestLargerExtendedList(t *testing.T) {
	record := make([]byte, 52)
	record[0], record[24] = 1, 2
	stream := append([]byte{20, 0, 0, 0, 52, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9}, bytes.Repeat(record, 2)...)
	d := parse(t, minidumptest.New(false).Raw(16, stream))
	equal(t, "MemoryInfo", d.MemoryInfo, []minidump.MemoryInfo{{Base: 1, Size: 2}, {Base: 1, Size: 2}})
	stream[4] = 47
	d, _ = minidump.Parse(minidumptest.New(false).Raw(16, stream).Bytes())
	equal(t, "problems", kinds(d), []string{"MemoryInfoList: bad record"})
}
