package minidump_test

import (
	"encoding/binary"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

// A record that is cut off anywhere is left out as a whole, with a problem.
func TestTruncatedRecords(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kind  minidump.StreamType
		bytes int
		read  func(d *minidump.Dump) bool
	}{
		{"Breakpad", minidump.StreamBreakpadInfo, 12, func(d *minidump.Dump) bool { return d.Breakpad != nil }},
		{"assertion", minidump.StreamAssertionInfo, 776, func(d *minidump.Dump) bool { return d.Assertion != nil }},
		{"exception", minidump.StreamException, 168, func(d *minidump.Dump) bool { return d.Exception != nil }},
		{"system", minidump.StreamSystemInfo, 56, func(d *minidump.Dump) bool { return d.System != nil }},
		{"misc", minidump.StreamMiscInfo, 24, func(d *minidump.Dump) bool { return d.Misc != nil }},
		{"Crashpad", minidump.StreamCrashpadInfo, 52, func(d *minidump.Dump) bool { return d.Crashpad != nil }},
		{"operations", minidump.StreamHandleOperationList, 12, func(d *minidump.Dump) bool { return d.HandleOperations != 0 }},
		{"handles", minidump.StreamHandleData, 16, func(d *minidump.Dump) bool { return d.Handles != nil }},
	} {
		data := make([]byte, tt.bytes)
		for i := range data {
			data[i] = 1 // says that all is valid
		}
		if tt.kind == minidump.StreamHandleData {
			copy(data, []byte{16, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0})
		}
		for n := range tt.bytes + 1 {
			d, err := minidump.Parse(minidumptest.New(false).Raw(uint32(tt.kind), data[:n]).Bytes())
			if err != nil {
				t.Fatal(err)
			}
			if read := tt.read(d); read != (n == tt.bytes) || !read && len(d.Problems) == 0 {
				t.Errorf("%s: %d bytes: %v, %v", tt.name, n, read, d.Problems)
			}
		}
	}
	// A header that is too short for its fields, and one that reaches beyond the stream.
	for _, header := range []uint32{0, 12, 15, 17, 1 << 31} {
		data := binary.LittleEndian.AppendUint32(nil, header)
		d, err := minidump.Parse(minidumptest.New(false).Raw(uint32(minidump.StreamHandleData), append(data, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)).Bytes())
		if err != nil || d.Handles != nil || len(d.Problems) != 1 {
			t.Errorf("header of %d bytes: %v, %v, %v", header, d.Handles, d.Problems, err)
		}
	}
}

// A CodeView record that is cut off tells nothing, and 4 bytes of one name no ids.
func TestTruncatedCodeView(t *testing.T) {
	whole := minidumptest.PDB70{UUID: [16]byte{1, 2, 3}, Age: 1, File: "a.pdb"}
	full := parse(t, minidumptest.New(false).System(amd64).Module(minidumptest.Module{Addr: 1, Size: 1, CodeView: whole})).Modules[0]
	for n := range 24 {
		m := minidumptest.Module{Addr: 1, Size: 1, Name: "a", CodeView: minidumptest.OtherCodeView(full.CodeView[:n])}
		d, err := minidump.Parse(minidumptest.New(false).System(amd64).Module(m).Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got := d.Modules[0]
		if n > 0 && len(d.Problems) != 1 || !got.DebugID.IsZero() || got.DebugFile != "" || got.CodeID != "" || got.CodeView != nil {
			t.Errorf("%d bytes: %+v, %v", n, got, d.Problems)
		}
	}
}
