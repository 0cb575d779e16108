package minidump_test

import (
	"testing"

	"salvage/debug/minidump"
)

// FuzzParse reads any bytes, calls every accessor and checks what they promise of each other.
func FuzzParse(f *testing.F) {
	for _, data := range small() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := minidump.Parse(data)
		if (d == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v", d, err)
		}
		if err == nil {
			visit(d)
		}
	})
}
