package cursor_test

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"salvage/debug"
	"salvage/debug/internal/cursor"
)

func TestFixed(t *testing.T) {
	data := []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	le := cursor.New(data, "t", "s")
	if a, b, c, d := le.U8(), le.U16(), le.U32(), le.U64(); a != 1 || b != 0x302 || c != 0x7060504 || d != 0xf0e0d0c0b0a0908 || le.Err() != nil {
		t.Errorf("little-endian: %#x %#x %#x %#x %v", a, b, c, d, le.Err())
	}
	be := cursor.New(data, "t", "s").BigEndian(true)
	if a, b, c, d := be.U8(), be.U16(), be.U32(), be.U64(); a != 1 || b != 0x203 || c != 0x4050607 || d != 0x8090a0b0c0d0e0f || be.Err() != nil {
		t.Errorf("big-endian: %#x %#x %#x %#x %v", a, b, c, d, be.Err())
	}
	u3 := cursor.New(data, "t", "s")
	if v := u3.Uint(3); v != 0x30201 {
		t.Errorf("Uint(3) = %#x", v)
	}
	if u3.Uint(9); !errors.Is(u3.Err(), debug.ErrUnsupported) {
		t.Errorf("Uint(9): %v", u3.Err())
	}
}

// The first failure stays, with the offset where it happened, and nothing is read after it.
func TestLatch(t *testing.T) {
	c := cursor.New([]byte{1, 2, 3}, "t", "s")
	c.Skip(2)
	if c.U32() != 0 || c.U8() != 0 || c.Len() != 0 {
		t.Error("reads after a failure return data")
	}
	var fe *debug.FormatError
	if !errors.As(c.Err(), &fe) || fe.Offset != 2 || fe.Section != "s" || !errors.Is(fe, debug.ErrTruncated) {
		t.Errorf("Err() = %v", c.Err())
	}
}

func TestLEB(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, 127, 128, math.MaxInt64, math.MinInt64} {
		c := cursor.New(sleb(v), "t", "s")
		if got := c.SLEB(); got != v || c.Len() != 0 || c.Err() != nil {
			t.Errorf("SLEB(% x) = %d, want %d; left %d, %v", sleb(v), got, v, c.Len(), c.Err())
		}
		u := cursor.New(binary.AppendUvarint(nil, uint64(v)), "t", "s")
		if got := u.ULEB(); got != uint64(v) || u.Len() != 0 || u.Err() != nil {
			t.Errorf("ULEB of %d = %d, %v", uint64(v), got, u.Err())
		}
	}
	over := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}
	for _, bad := range [][]byte{nil, {0x80}, {0xff, 0xff}, over} {
		u, s := cursor.New(bad, "t", "s"), cursor.New(bad, "t", "s")
		if u.ULEB() != 0 || u.Err() == nil || s.SLEB() != 0 || s.Err() == nil {
			t.Errorf("LEB(% x) accepted: %v %v", bad, u.Err(), s.Err())
		}
		if truncated := len(bad) < 10; errors.Is(u.Err(), debug.ErrTruncated) != truncated || errors.Is(s.Err(), debug.ErrTruncated) != truncated {
			t.Errorf("LEB(% x): causes %v, %v", bad, u.Err(), s.Err())
		}
	}
}

func sleb(v int64) (b []byte) {
	for {
		x := byte(v & 0x7f)
		v >>= 7
		if v == 0 && x&0x40 == 0 || v == -1 && x&0x40 != 0 {
			return append(b, x)
		}
		b = append(b, x|0x80)
	}
}

func TestStrings(t *testing.T) {
	c := cursor.New([]byte("abc\x00def"), "t", "s")
	if s := c.CString(3); string(s) != "abc" || c.Offset() != 4 {
		t.Errorf("CString = %q at %d", s, c.Offset())
	}
	if c.CString(100); c.Err() == nil {
		t.Error("unterminated string accepted")
	}
	short := cursor.New([]byte("abcd\x00"), "t", "s")
	if short.CString(3); short.Err() == nil {
		t.Error("string over the limit accepted")
	}
	unlimited := cursor.New([]byte("abcd\x00"), "t", "s")
	if s := unlimited.CString(math.MaxUint64); string(s) != "abcd" {
		t.Errorf("CString(huge limit) = %q", s)
	}
	w := cursor.New([]byte{'A', 0, 0x3d, 0xd8, 0x00, 0xde, 0x3d, 0xd8}, "t", "s")
	if s := w.UTF16(8); s != "A\U0001F600\uFFFD" {
		t.Errorf("UTF16 = %q", s)
	}
}

func TestRanges(t *testing.T) {
	c := cursor.New(make([]byte, 16), "t", "s")
	sub := c.Sub(4)
	if sub.U64(); sub.Err() == nil || c.Err() != nil || c.Offset() != 4 {
		t.Errorf("child failure: child %v, parent %v at %d", sub.Err(), c.Err(), c.Offset())
	}
	if at := c.At(8, 4); at.Len() != 4 || at.Offset() != 12 || c.Offset() != 4 {
		t.Errorf("At: %d bytes at %d, parent at %d", at.Len(), at.Offset(), c.Offset())
	}
	if at := c.At(8, 5); at.Err() == nil || at.Len() != 0 {
		t.Error("At past the end accepted")
	}
	if b := c.Table(3, 4); len(b) != 12 {
		t.Errorf("Table = %d bytes", len(b))
	}
	for _, n := range []uint64{1, 1 << 32, math.MaxUint64} {
		d := cursor.New(make([]byte, 16), "t", "s")
		if d.Table(n, 1<<33); d.Err() == nil {
			t.Errorf("Table(%d, 1<<33) accepted", n)
		}
	}
}
