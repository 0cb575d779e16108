package tables_test

import (
	"bytes"
	"errors"
	"testing"

	"salvage/debug"
	"salvage/debug/internal/tables"
)

var format = tables.Format{Name: "test", Magic: [4]byte{'T', 'E', 'S', 'T'}, Version: 3, Revision: 7}

func build(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tables.NewWriter(&out, format)
	w.Table(1)
	w.Bytes([]byte("hello"))
	w.Table(2)
	w.Table(3)
	for i := range uint32(40_000) { // over the writer's buffer
		w.U32(i)
	}
	w.U64(1 << 40)
	size, err := w.Close()
	if err != nil || size != uint64(out.Len()) {
		t.Fatalf("Close = %d, %v; wrote %d", size, err, out.Len())
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	f, err := tables.Open(build(t), format)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(); err != nil {
		t.Error(err)
	}
	if got := f.Table(1); string(got) != "hello" {
		t.Errorf("Table(1) = %q", got)
	}
	if got := f.Table(2); got == nil || len(got) != 0 {
		t.Errorf("Table(2) = %v, want empty", got)
	}
	if got := f.Table(3); len(got) != 40_000*4+8 || got[4] != 1 || got[len(got)-3] != 1 {
		t.Errorf("Table(3): %d bytes", len(got))
	}
	if f.Table(4) != nil {
		t.Error("Table(4) is not nil")
	}
}

func TestOtherVersion(t *testing.T) {
	data := build(t)
	for _, other := range []tables.Format{
		{Magic: format.Magic, Version: 4, Revision: 7},
		{Magic: format.Magic, Version: 3, Revision: 8},
	} {
		if _, err := tables.Open(data, other); !errors.Is(err, debug.ErrVersion) {
			t.Errorf("Open as %d.%d: %v", other.Version, other.Revision, err)
		}
	}
}

// Every prefix is refused; every changed byte is refused, found by Verify, or padding.
func TestDamage(t *testing.T) {
	var out bytes.Buffer
	w := tables.NewWriter(&out, format)
	w.Table(1)
	w.Bytes([]byte("hello, table"))
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	for n := range data {
		if _, err := tables.Open(data[:n], format); err == nil {
			t.Errorf("prefix of %d bytes opened", n)
		}
	}
	padding := 0
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0xff
		f, err := tables.Open(bad, format)
		if err == nil && f.Verify() == nil {
			padding++
		}
	}
	if want := 4 + 4; padding != want { // the zero word of the header, the bytes after the table
		t.Errorf("%d changed bytes went unnoticed, want %d", padding, want)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(build(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := tables.Open(data, format)
		if err != nil {
			return
		}
		for tag := range uint32(5) {
			file.Table(tag)
		}
		_ = file.Verify()
	})
}
