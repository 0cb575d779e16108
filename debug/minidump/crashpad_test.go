package minidump_test

import (
	"encoding/binary"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

func TestCrashpad(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		c := parse(t, b.Crashpad(minidumptest.Crashpad{
			Version: 1, ReportID: uuid(0), Annotations: [][2]string{{"hello", "world"}, {"hello", "again"}, {"", "ü"}},
			Modules: []minidumptest.CrashpadModule{
				{Index: 16, List: []string{"abort() called", "x"}, Annotations: [][2]string{{"k", "v"}}, Objects: []minidumptest.Annotation{
					{Name: "same", Type: 1, Value: []byte("a")}, {Name: "same", Type: 1, Value: []byte("b")}, {Name: "own", Type: 0x8001, Value: []byte{0, 1, 2}}, {Name: "none"},
				}},
				{Index: 3},
			},
		})).Crashpad
		equal(t, "Crashpad", *c, minidump.Crashpad{
			Version: 1, ReportID: "00010203-0405-0607-0809-0a0b0c0d0e0f", Annotations: []minidump.KeyValue{{Key: "hello", Value: "world"}, {Key: "hello", Value: "again"}, {Value: "ü"}},
			Modules: []minidump.CrashpadModule{
				{Index: 16, List: []string{"abort() called", "x"}, Annotations: []minidump.KeyValue{{Key: "k", Value: "v"}}, Objects: []minidump.Annotation{
					{Name: "same", Type: 1, Value: []byte("a")}, {Name: "same", Type: 1, Value: []byte("b")}, {Name: "own", Type: 0x8001, Value: []byte{0, 1, 2}}, {Name: "none", Value: []byte{}},
				}},
				{Index: 3},
			},
		})
	})
}

// A bad annotation is left out alone; rust-minidump gives up the whole stream.
func TestBadCrashpadAnnotation(t *testing.T) {
	b := minidumptest.New(false).Crashpad(minidumptest.Crashpad{Version: 1, Annotations: [][2]string{{"a", "1"}, {"b", "2"}, {"c", "\xff3"}}})
	data := b.Bytes()
	d, err := minidump.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	stream := d.Stream(minidump.StreamCrashpadInfo)
	dictionary := binary.LittleEndian.Uint32(stream[40:])
	binary.LittleEndian.PutUint32(data[dictionary+4+8:], 0xffffff00) // the key of the second
	if d, err = minidump.Parse(data); err != nil {
		t.Fatal(err)
	}
	equal(t, "Annotations", d.Crashpad.Annotations, []minidump.KeyValue{{Key: "a", Value: "1"}, {Key: "c", Value: "\uFFFD3"}})
	equal(t, "problems", kinds(d), []string{"CrashpadInfo: bad record"})

	terminator := binary.LittleEndian.Uint32(data[dictionary+4:]) + 4 + 1
	data[terminator] = 'x'
	d, _ = minidump.Parse(data)
	equal(t, "Annotations", d.Crashpad.Annotations, []minidump.KeyValue{{Key: "c", Value: "\uFFFD3"}})
}

func TestCrashpadVersion0(t *testing.T) {
	d, err := minidump.Parse(minidumptest.New(false).Crashpad(minidumptest.Crashpad{}).Bytes())
	if err != nil || d.Crashpad != nil {
		t.Errorf("version 0: %+v, %v", d.Crashpad, err)
	}
	equal(t, "problems", kinds(d), []string{"CrashpadInfo: unsupported"})
}
