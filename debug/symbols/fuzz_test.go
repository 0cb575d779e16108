package symbols_test

import (
	"encoding/binary"
	"testing"

	"salvage/debug/symbols"
)

// Any records give ascending rows inside the function, callers before callees, and bounded work.
func FuzzFlatten(f *testing.F) {
	f.Add(uint64(16), uint64(32), []byte("\x10\x08\x01\x00\x12\x04\x02\x01"))
	f.Fuzz(func(t *testing.T, addr, size uint64, data []byte) {
		b := symbols.NewBatch(symbols.NewStrings())
		for ; len(data) >= 8; data = data[8:] {
			w := binary.LittleEndian.Uint64(data)
			at, n := addr+uint64(int8(w)), w>>8&0xff
			if w>>63 == 0 {
				b.Lines = append(b.Lines, symbols.Line{Addr: at, Size: uint32(n), Line: uint32(w >> 16 & 3), File: symbols.StringID(w >> 20 & 3)})
			} else {
				b.Inlines = append(b.Inlines, symbols.Inline{Addr: at, Size: n, Depth: uint32(w >> 16 & 7), Name: symbols.StringID(w >> 20 & 7), CallLine: uint32(w >> 24 & 3)})
			}
		}
		fn := symbols.Function{Addr: addr, Size: size, Lines: symbols.Span{Hi: uint32(len(b.Lines))}, Inlines: symbols.Span{Hi: uint32(len(b.Inlines))}}
		var fl symbols.Flattener
		fl.Flatten(b, &fn)
		for i, r := range fl.Rows {
			if i == 0 && r.Addr != addr || i > 0 && r.Addr <= fl.Rows[i-1].Addr || r.Addr-addr >= size || int(r.Scope) >= len(fl.Scopes) {
				t.Fatalf("row %d of %d: %+v in function %#x+%#x", i, len(fl.Rows), r, addr, size)
			}
		}
		for i, s := range fl.Scopes {
			if s.Caller != symbols.NoScope && s.Caller >= uint32(i) {
				t.Fatalf("scope %d: %+v", i, s)
			}
		}
		if pieces := len(b.Lines) + 16*len(b.Inlines) + 1024; len(fl.Rows) > 2*pieces {
			t.Fatalf("%d rows of %d lines and %d inlines", len(fl.Rows), len(b.Lines), len(b.Inlines))
		}
	})
}
