package minidump_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

func TestHandles(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		list := []minidumptest.Handle{
			{Handle: 0x1_0000_0004, Type: text("File"), Object: text(`\Device\x`), Attributes: 1, Access: 0x120089, Handles: 2, Pointers: 3,
				Info: []minidumptest.HandleInfo{{Type: 2, Data: []byte("ab")}, {Type: 8, Data: nil}}},
			{Handle: 8, Type: text("")},
		}
		want := []minidump.Handle{
			{Handle: 0x1_0000_0004, Type: "File", HasType: true, Object: `\Device\x`, HasObject: true, Attributes: 1, Access: 0x120089, Handles: 2, Pointers: 3,
				Info: []minidump.HandleInfo{{Type: 2, Data: []byte("ab")}, {Type: 8, Data: []byte{}}}},
			{Handle: 8, HasType: true},
		}
		equal(t, "Handles", parse(t, minidumptest.New(b.BigEndian).Handles(true, list...)).Handles, want)
		want[0].Info = nil
		equal(t, "short Handles", parse(t, minidumptest.New(b.BigEndian).Handles(false, list...)).Handles, want)
		if d := parse(t, minidumptest.New(b.BigEndian).Handles(true)); d.Handles == nil || len(d.Handles) > 0 {
			t.Errorf("no handles: %v", d.Handles)
		}
		equal(t, "no stream", parse(t, b).Handles, []minidump.Handle(nil))
	})
	// A name that cannot be read is left out alone, records that are not of a known size all.
	data := minidumptest.New(false).Handles(true, minidumptest.Handle{Handle: 1, Type: text("x"), Object: text("y")}).Bytes()
	stream := len(data) - 56
	data[stream+16+8+3] = 0xff
	d, err := minidump.Parse(data)
	if err != nil || len(d.Handles) != 1 || d.Handles[0].HasType || d.Handles[0].Object != "y" {
		t.Errorf("Parse = %+v, %v", d, err)
	}
	equal(t, "problems", kinds(d), []string{"HandleData: bad record"})
	for _, at := range []int{0, 4} {
		changed := []byte(string(data))
		changed[stream+at] = 8
		if d, err := minidump.Parse(changed); err != nil || d.Handles != nil || kinds(d)[0] != "HandleData: bad record" {
			t.Errorf("Parse = %+v, %v", d, err)
		}
	}
}

// A header that is longer than what is known of it.
func TestHandleHeader(t *testing.T) {
	b := make([]byte, 24+32)
	for i, v := range []byte{24, 32, 1} {
		b[4*i] = v
	}
	b[24] = 77
	equal(t, "Handle", parse(t, minidumptest.New(false).Raw(12, b)).Handles[0].Handle, uint64(77))
}

// Records about a handle that go round in a circle.
func TestHandleCircle(t *testing.T) {
	d, err := minidump.Parse(amplifiers()["circle of records"])
	if err != nil || len(d.Handles) != 20000 || len(d.Handles[7].Info) != 8 || d.Handles[7].Info[7].Type != 1 {
		t.Fatalf("%d handles, %v", len(d.Handles), err)
	}
	equal(t, "problem", kinds(d)[0], "HandleData: bad record")
}

func TestThreadInfo(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		b.Thread(minidumptest.Thread{ID: 5}).Thread(minidumptest.Thread{ID: 6}).
			ThreadInfo(minidumptest.ThreadInfo{ID: 9, Start: 1}, minidumptest.ThreadInfo{ID: 6, Flags: 1, Error: 2, ExitStatus: 259, Create: 3, Exit: 4, KernelTime: 5, UserTime: 6, Start: 7, Affinity: 8})
		d := parse(t, b)
		equal(t, "Info", d.Threads[0].Info, (*minidump.ThreadInfo)(nil))
		equal(t, "Info", d.Threads[1].Info, &minidump.ThreadInfo{Flags: 1, Error: 2, ExitStatus: 259, Create: 3, Exit: 4, KernelTime: 5, UserTime: 6, Start: 7, Affinity: 8})
	})
}

func TestMac(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		strs := [5]string{"/lib/x", "assertion failed", "sig", "0 1 2", "more"}
		for version := uint64(0); version < 7; version++ {
			m := minidumptest.MacCrashInfo{Version: version, Thread: 11, DialogMode: 12, AbortCause: 13, Strings: strs}
			want := minidump.MacCrashInfo{Version: version}
			if version >= 4 {
				want = minidump.MacCrashInfo{Version: version, Thread: 11, DialogMode: 12, Module: strs[0], Message: strs[1], Signature: strs[2], Backtrace: strs[3], Message2: strs[4]}
			}
			if version >= 5 {
				want.AbortCause = 13
			}
			wants := []minidump.MacCrashInfo{want, want}
			if version == 0 {
				wants = []minidump.MacCrashInfo{}
			}
			for _, start := range []uint32{40, 64} { // newer versions have more before the strings
				equal(t, fmt.Sprint("version ", version), parse(t, minidumptest.New(b.BigEndian).MacCrashInfo(start, m, m)).MacCrashInfo, wants)
			}
		}
		d := parse(t, b.MacBootArgs("-v \U0001f4a9"))
		equal(t, "MacBootArgs", d.MacBootArgs, "-v \U0001f4a9")
		equal(t, "HasMacBootArgs", d.HasMacBootArgs, true)
	})
	for _, tt := range []struct {
		name    string
		list    []minidumptest.MacCrashInfo
		start   uint32
		records int
		text    string
	}{
		{"two versions", []minidumptest.MacCrashInfo{{Version: 5, Strings: [5]string{"m"}}, {Version: 4}}, 40, 1, "m"},
		{"strings in the record", []minidumptest.MacCrashInfo{{Version: 5, Thread: 7, Strings: [5]string{"m"}}}, 39, 1, ""},
		{"a long string", []minidumptest.MacCrashInfo{{Version: 5, Strings: [5]string{"m", strings.Repeat("x", 9000), "after"}}}, 40, 1, "m"},
	} {
		d, err := minidump.Parse(minidumptest.New(false).MacCrashInfo(tt.start, tt.list...).Bytes())
		if err != nil || len(d.MacCrashInfo) != tt.records || d.MacCrashInfo[0].Module != tt.text || len(d.Problems) != 1 {
			t.Errorf("%s: %+v, %v", tt.name, d, err)
		}
	}
	many := minidumptest.New(false).MacCrashInfo(40, make([]minidumptest.MacCrashInfo, 20)...).Bytes()
	copy(many[len(many)-168:], "\xff\xff\xff\xff")
	if d, err := minidump.Parse(many); err != nil || len(d.Problems) != 1 || d.Problems[0].Kind != "too large" {
		t.Errorf("4 billion records: %+v, %v", d.Problems, err)
	}
}

func TestLinker(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		for size, architecture := range map[int]uint16{4: minidumptest.ARM, 8: minidumptest.ARM64} {
			d := parse(t, minidumptest.New(b.BigEndian).System(minidumptest.System{Architecture: architecture, Platform: minidumptest.Linux}).
				Linker(size, 1, 0x1111, 0x2222, 0x3333, minidumptest.LinkedObject{Addr: 0x400000, Dynamic: 0x401000}, minidumptest.LinkedObject{Addr: 5, Dynamic: 6, Name: "/lib/libc.so.6"}))
			equal(t, "Linker", d.Linux.Linker, &minidump.Linker{Version: 1, Brk: 0x1111, Base: 0x2222, Dynamic: 0x3333, Objects: []minidump.LinkedObject{
				{Addr: 0x400000, Dynamic: 0x401000}, {Addr: 5, Dynamic: 6, Name: "/lib/libc.so.6"},
			}})
		}
		d := parse(t, minidumptest.New(b.BigEndian).System(amd64).Aux(33, 0x7ffe_1234_5678, 6, 4096, 0, 0, 9, 9))
		equal(t, "Auxv", d.Linux.Auxv, []minidump.Aux{{Type: 33, Value: 0x7ffe_1234_5678}, {Type: 6, Value: 4096}})
		equal(t, "long Auxv", len(parse(t, minidumptest.New(b.BigEndian).System(amd64).Aux(slices.Repeat([]uint64{1}, 2000)...)).Linux.Auxv), 256)
	})
}

func TestMozilla(t *testing.T) {
	limits := func(text string) []minidump.ProcLimit {
		return parse(t, minidumptest.New(false).Raw(0x4d7a0003, []byte(text))).Linux.Limits
	}
	equal(t, "Limits", limits("\nLimit                     Soft Limit           Hard Limit           Units     \n"+
		"Max cpu time              unlimited            8388608              seconds   \r\nMax nice priority         0                    x                    \n\nshort  1\nlast  1  2"),
		[]minidump.ProcLimit{
			{Name: "Max cpu time", Soft: minidump.Limit{Unlimited: true}, Hard: minidump.Limit{Value: 8388608}, Unit: "seconds"},
			{Name: "Max nice priority", Unit: "n/a"},
			{Name: "last", Soft: minidump.Limit{Value: 1}, Hard: minidump.Limit{Value: 2}, Unit: "n/a"},
		})
	equal(t, "no Limits", limits("header"), []minidump.ProcLimit{})

	equal(t, "SoftErrors", string(parse(t, minidumptest.New(false).Raw(0x4d7a0004, []byte(`["x"]`))).SoftErrors), `["x"]`)
	for n, want := range map[int]int{1 << 20: 0, 1<<20 + 1: 1} {
		d, err := minidump.Parse(minidumptest.New(false).Raw(0x4d7a0004, make([]byte, n)).Bytes())
		if err != nil || len(d.Problems) != want || (d.SoftErrors == nil) != (want > 0) {
			t.Errorf("%d bytes of soft errors: %v, %v", n, d.Problems, err)
		}
	}
	d := parse(t, minidumptest.New(true).Raw(18, []byte("\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00")))
	equal(t, "HandleOperations", d.HandleOperations, uint32(0x102))
}
