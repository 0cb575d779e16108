package cfi_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/symbols"
)

// xdata is a record: the size in instructions, epilogue scopes (start in instructions, index of the first code),
// and codes.
func xdata(extended bool, size uint32, scopes [][2]uint32, codes ...byte) []byte {
	u32 := binary.LittleEndian.AppendUint32
	for len(codes)%4 != 0 {
		codes = append(codes, 0xe3)
	}
	var b []byte
	words := uint32(len(codes) / 4)
	if extended {
		b = u32(u32(b, size), uint32(len(scopes))|words<<16)
	} else {
		b = u32(b, size|uint32(len(scopes))<<22|words<<27)
	}
	for _, s := range scopes {
		b = u32(b, s[0]|s[1]<<22)
	}
	return append(b, codes...)
}

func armTable(info uint32, data []byte) *cfi.FunctionTable {
	table := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0x1000), info)
	return &cfi.FunctionTable{Data: table, At: func(addr uint32) []byte {
		if addr != 0x8000 {
			return nil
		}
		return data
	}, Code: []symbols.Extent{{Addr: 0x1000, Size: 0x1000}}}
}

func armRows(t testing.TB, table *cfi.FunctionTable) (rows []string, bad uint64) {
	t.Helper()
	b := cfi.NewBuilder(cfi.ARM64, false)
	b.FunctionTable(table)
	bad, _ = b.Bad()
	var out bytes.Buffer
	if _, err := b.Write(&out, debugid.ID{}); err != nil {
		t.Fatal(err)
	}
	c, err := cfi.Parse(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]int{}
	for i := 19; i <= 32; i++ {
		names[fmt.Sprint(i)] = i
	}
	for at := range c.Ranges() {
		if r, ok := c.Lookup(at); ok {
			rows = append(rows, fmt.Sprintf("%x %s", at-0x1000, cfi.Format(r, names)))
		} else {
			rows = append(rows, fmt.Sprintf("%x nothing", at-0x1000))
		}
	}
	return rows, bad
}

func TestARMUnwindCodes(t *testing.T) {
	for _, tt := range []struct {
		name string
		info uint32
		data []byte
		want string
	}{
		{"pairs, the next and the next", 0x8000, xdata(false, 16, [][2]uint32{{9, 0}}, 0xe6, 0xe6, 0x26, 0xe4),
			"0 sp+0 32:lr, 4 sp+48 19:c-48 20:c-40 32:lr, 8 sp+48 19:c-48 20:c-40 21:c-32 22:c-24 32:lr, c sp+48 19:c-48 20:c-40 21:c-32 22:c-24 23:c-16 24:c-8 32:lr," +
				" 28 sp+48 19:c-48 20:c-40 21:c-32 22:c-24 32:lr, 2c sp+48 19:c-48 20:c-40 32:lr, 30 sp+0 32:lr, 34 sp+48 19:c-48 20:c-40 21:c-32 22:c-24 23:c-16 24:c-8 32:lr, 40 sp+0 32:lr, 1000 nothing"},
		{"frame above, extended header", 0x8000, xdata(true, 8, nil, 0xe2, 2, 0x42, 0xc0, 4, 0xe4), // sub sp, #64; stp x29, lr, [sp, #16]; add x29, sp, #16
			"0 sp+0 32:lr, 4 sp+64 32:lr, 8 sp+64 29:c-48 30:c-40 32:c-40, c fp+48 29:c-48 30:c-40 32:c-40, 20 sp+0 32:lr, 1000 nothing"},
		{"all single registers", 0x8000, xdata(false, 32, nil, 0xd0, 0x02, 0xd4, 0x21, 0xd6, 0x42, 0xdc, 0x06, 0xd8, 0x07, 0xda, 0x01, 0xde, 0x01, 0xe4), // save_reg, _reg_x, lrpair, freg, fregp, fregp_x, freg_x
			"0 sp+0 32:lr, 4 sp+16 32:lr, 8 sp+32 32:lr, 14 sp+32 21:c-16 30:c-8 32:c-8, 18 sp+48 20:c-48 21:c-16 30:c-8 32:c-8, 1c sp+48 19:c-32 20:c-48 21:c-16 30:c-8 32:c-8, 80 sp+0 32:lr, 1000 nothing"},
		{"fragment: the prologue ran elsewhere", 0x8000, xdata(false, 8, [][2]uint32{{5, 1}}, 0xe5, 0x81, 0xe4),
			"0 sp+16 29:c-16 30:c-8 32:c-8, 18 sp+0 32:lr, 1c sp+16 29:c-16 30:c-8 32:c-8, 20 sp+0 32:lr, 1000 nothing"},
		{"own prologue behind another's", 0x8000, xdata(false, 8, nil, 0x02, 0xe5, 0x81, 0xe4),
			"0 sp+16 29:c-16 30:c-8 32:c-8, 4 sp+48 29:c-16 30:c-8 32:c-8, 20 sp+0 32:lr, 1000 nothing"},
		{"machine frame", 0x8000, xdata(false, 8, nil, 0xe9, 0xe4), "20 sp+0 32:lr, 1000 nothing"},
		{"not by a call", 0x8000, xdata(false, 8, nil, 0xec, 0x01, 0xe4), "0 sp+0 32:lr, 4 sp+16 32:lr, 20 sp+0 32:lr, 1000 nothing"},
		{"large", 0x8000, xdata(false, 8, nil, 0xe0, 0x01, 0, 0, 0xe4), "0 sp+0 32:lr, 4 sp+1048576 32:lr, 20 sp+0 32:lr, 1000 nothing"},
		{"any register", 0x8000, xdata(false, 8, nil, 0xe7, 0x40|21, 2, 0xe7, 0x60|19, 3, 0xe4), // stp x19, x20, [sp, #-64]!; stp x21, x22, [sp, #32]
			"0 sp+0 32:lr, 4 sp+64 19:c-64 20:c-56 32:lr, 8 sp+64 19:c-64 20:c-56 21:c-32 22:c-24 32:lr, 20 sp+0 32:lr, 1000 nothing"},
		{"single epilogue", 0x8000, func() []byte {
			b := xdata(false, 8, nil, 0xe1, 0x81, 0xe4)
			binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)|1<<21|1<<22)
			return b
		}(), "0 sp+0 32:lr, 4 sp+16 29:c-16 30:c-8 32:c-8, 8 fp+16 29:c-16 30:c-8 32:c-8, 18 sp+16 29:c-16 30:c-8 32:c-8, 1c sp+0 32:lr, 1000 nothing"},
		// x19, lr; homes; 64 bytes of locals.
		{"packed, homes", 1 | 32<<2 | 1<<16 | 1<<20 | 1<<21 | 9<<23, nil,
			"0 sp+0 32:lr, 4 sp+80 19:c-80 30:c-72 32:c-72, 18 sp+144 19:c-80 30:c-72 32:c-72, 78 sp+80 19:c-80 30:c-72 32:c-72, 7c sp+0 32:lr, 1000 nothing"},
		// pacibsp; x19; d8, d9; 5 kB of locals; x29 and lr.
		{"packed, signed", 1 | 64<<2 | 1<<13 | 1<<16 | 2<<21 | 322<<23, nil,
			"0 sp+0 32:lr, 8 sp+32 19:c-32 32:lr, 10 sp+4112 19:c-32 32:lr, 14 sp+5152 19:c-32 32:lr, 18 sp+5152 19:c-32 29:c-5152 30:c-5144 32:c-5144, 1c fp+5152 19:c-32 29:c-5152 30:c-5144 32:c-5144," +
				" e4 sp+5152 19:c-32 29:c-5152 30:c-5144 32:c-5144, e8 sp+5152 19:c-32 32:lr, ec sp+4112 19:c-32 32:lr, f0 sp+32 19:c-32 32:lr, f8 sp+0 32:lr, 1000 nothing"},
		{"packed, 512 bytes and the pair", 1 | 32<<2 | 3<<21 | 32<<23, nil,
			"0 sp+0 32:lr, 4 sp+512 29:c-512 30:c-504 32:c-504, 8 fp+512 29:c-512 30:c-504 32:c-504, 78 sp+512 29:c-512 30:c-504 32:c-504, 7c sp+0 32:lr, 1000 nothing"},
		{"packed, lr by itself", 1 | 32<<2 | 2<<16 | 1<<21 | 2<<23, nil,
			"0 sp+0 32:lr, 4 sp+32 19:c-32 20:c-24 32:lr, 8 sp+32 19:c-32 20:c-24 30:c-16 32:c-16, 78 sp+32 19:c-32 20:c-24 32:lr, 7c sp+0 32:lr, 1000 nothing"},
		{"packed fragment", 2 | 8<<2 | 3<<21 | 1<<23, nil, "0 fp+16 29:c-16 30:c-8 32:c-8, 20 sp+0 32:lr, 1000 nothing"},
	} {
		rows, bad := armRows(t, armTable(tt.info, tt.data))
		got := strings.Join(slices.DeleteFunc(rows, func(r string) bool { return strings.HasPrefix(r, "-") || strings.HasPrefix(r, "fffffffffffff") }), ", ")
		if got != tt.want || bad > 0 {
			t.Errorf("%s: %d bad\n%s want\n%s", tt.name, bad, got, tt.want)
		}
	}
}

func TestARMUnwindDamage(t *testing.T) {
	for name, table := range map[string]*cfi.FunctionTable{
		"kind":      armTable(3, nil),
		"nothing":   armTable(0x9000, nil),
		"version":   armTable(0x8000, []byte{8, 0, 4, 8, 0, 0, 0, 0}),
		"registers": armTable(1|8<<2|11<<16|20<<23, nil),
		"frame":     armTable(1|8<<2|10<<16|1<<23, nil),
		"code":      armTable(0x8000, xdata(false, 8, nil, 0xf0, 0xe4)),
		"cut":       armTable(0x8000, xdata(false, 8, nil, 0xe4, 0xe0, 0, 0)[:7]),
	} {
		if _, bad := armRows(t, table); bad != 1 {
			t.Errorf("%s: %d bad", name, bad)
		}
	}
	base := xdata(false, 16, [][2]uint32{{9, 0}}, 0xe6, 0xe2, 1, 0x26, 0xd6, 0x44, 0xe4)
	for i := range base {
		armRows(t, armTable(0x8000, base[:i]))
		for _, v := range []byte{0, 0x7f, 0x80, 0xff} {
			b := bytes.Clone(base)
			b[i] = v
			armRows(t, armTable(0x8000, b))
		}
	}
	// 20,000 entries share a record with 1,000 codes and epilogues.
	scopes := make([][2]uint32, 20000)
	for i := range scopes {
		scopes[i][0] = 2000 + uint32(i)
	}
	table := armTable(0x8000, xdata(true, 1<<18-1, scopes, bytes.Repeat([]byte{0xe6}, 1000)...))
	table.Data = bytes.Repeat(table.Data, 20000)
	if _, bad := armRows(t, table); bad == 0 {
		t.Error("no end of work")
	}
}

func FuzzARMUnwind(f *testing.F) {
	f.Add(uint32(0x8000), xdata(false, 16, [][2]uint32{{9, 0}}, 0xe6, 0xe2, 1, 0x26, 0xd6, 0x44, 0xe4))
	f.Add(uint32(1|64<<2|1<<13|1<<16|2<<21|322<<23), []byte{})
	f.Fuzz(func(t *testing.T, info uint32, data []byte) { armRows(t, armTable(info, data)) })
}
