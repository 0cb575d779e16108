package dwarf_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/dwarf"
)

// A program of two split units, version 4, as GNU's tools make them: a skeleton and a unit with a function at the
// first address of .debug_addr, whose name is the first string of the unit's.
func skeletons() *dwarf.Sections {
	abbrev := []byte{1, 0x11, 0, 0xb0, 0x42, 0x08, 0x1b, 0x08, 0xb1, 0x42, 0x07, 0xb3, 0x42, 0x17, 0, 0, 0}
	s := &dwarf.Sections{Abbrev: abbrev}
	for i := range uint64(2) {
		entry := addr([]byte{1, 'a' + byte(i), 0, '/', 0}, 100+i)
		s.Info = append(s.Info, unitOf(nil, word(entry, uint32(8*i))).Info...)
		s.Addr = addr(s.Addr, 0x1000*(i+1))
	}
	return s
}

func packed() (*dwarf.Sections, []byte) {
	s := &dwarf.Sections{Str: []byte("one\x00two\x00")}
	abbrev := []byte{1, 0x11, 1, 0xb1, 0x42, 0x07, 0, 0, 2, 0x2e, 0, 0x03, 0x82, 0x3e, 0x11, 0x81, 0x3e, 0x12, 0x06, 0, 0, 0}
	le := binary.LittleEndian
	index := word(word(word(word(nil, 2), 3), 2), 4)
	index = addr(addr(addr(addr(index, 100), 0), 101), 0)
	index = word(word(word(word(index, 1), 0), 2), 0)
	index = word(word(word(index, 1), 3), 6)
	var sizes []byte
	for i := range uint64(2) {
		u := unitOf(nil, append(word(append(addr([]byte{1}, 100+i), 2, 0, 0), 16+uint32(i)), 0)).Info
		index = word(word(word(index, uint32(len(s.Info))), uint32(len(s.Abbrev))), uint32(len(s.StrOffsets)))
		sizes = word(word(word(sizes, uint32(len(u))), uint32(len(abbrev))), 4)
		s.Info, s.Abbrev, s.StrOffsets = append(s.Info, u...), append(s.Abbrev, abbrev...), le.AppendUint32(s.StrOffsets, uint32(4*i))
	}
	return s, append(index, sizes...)
}

func TestPackage(t *testing.T) {
	p, err := dwarf.OpenPackage(packed())
	if err != nil || !p.Has(100) || !p.Has(101) || p.Has(0) || p.Split(7) != nil {
		t.Fatal(err, p)
	}
	var res dwarf.Result
	o := dwarf.Options{Companions: dwarf.Companions{Split: p.Split}}
	got, err := list(dwarf.Symbols(context.Background(), skeletons(), o, &res))
	if want := "1000+10 one unknown, 0 lines, 0 inlines\n2000+11 two unknown, 0 lines, 0 inlines\n"; got != want || err != nil || res.Skipped > 0 || len(res.Missing) > 0 {
		t.Errorf("%s %v %+v", got, err, res)
	}
	// One file with both units, as link-time optimisation makes it.
	both, _ := packed()
	o.Split = func(uint64) *dwarf.Sections { return both }
	got, err = list(dwarf.Symbols(context.Background(), skeletons(), o, &res))
	if want := "1000+10 one unknown, 0 lines, 0 inlines\n2000+11 one unknown, 0 lines, 0 inlines\n"; got != want || err != nil || res.Skipped > 0 {
		t.Errorf("%s %v %+v", got, err, res)
	}
	found, err := dwarf.Skeletons(skeletons())
	if err != nil || fmt.Sprint(found) != "[{a / 100} {b / 101}]" || !dwarf.MayBeSkeletons(skeletons().Abbrev) {
		t.Errorf("%v %v", found, err)
	}
	for _, path := range files(t) {
		if dwarf.MayBeSkeletons(sections(t, path).Abbrev) {
			t.Errorf("%s may have skeletons", path)
		}
	}
}

// The same offset is another entry in a supplementary file, and without that file it is said that it is missing.
func TestSupplement(t *testing.T) {
	abbrev := []byte{
		1, 0x11, 1, 0, 0, 2, 0x2e, 0, 0x03, 0x08, 0, 0, 3, 0x2e, 0, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0, 0,
		4, 0x2e, 0, 0x31, 0xa0, 0x3e, 0x11, 0x01, 0x12, 0x06, 0, 0, 0,
	}
	const declared = 12
	unit := func(name byte) []byte { return []byte{1, 2, name, 0} }
	entries := word(addr(word(append(unit('m'), 3), declared), 0x1000), 16)
	entries = word(addr(word(append(entries, 4), declared), 0x2000), 16)
	main, alt := unitOf(abbrev, append(entries, 0)), unitOf(abbrev, append(unit('a'), 0))
	for _, tt := range []struct {
		alt  *dwarf.Sections
		want string
	}{
		{alt, "1000+10 m unknown, 0 lines, 0 inlines\n2000+10 a unknown, 0 lines, 0 inlines\n"},
		{nil, "1000+10 m unknown, 0 lines, 0 inlines\n2000+10  unknown, 0 lines, 0 inlines\n"},
	} {
		var res dwarf.Result
		got, err := list(dwarf.Symbols(context.Background(), main, dwarf.Options{Companions: dwarf.Companions{Alt: tt.alt}}, &res))
		if got != tt.want || err != nil || res.MissingAlt != (tt.alt == nil) {
			t.Errorf("%s %v %+v", got, err, res)
		}
	}
}

// Many skeletons of one unit do not read it many times, and are told.
func TestSkeletonsOfOne(t *testing.T) {
	p, err := dwarf.OpenPackage(packed())
	if err != nil {
		t.Fatal(err)
	}
	s := skeletons()
	one := s.Info[:len(s.Info)/2]
	for range 1000 {
		s.Info = append(s.Info, one...)
	}
	// The unit is long: of what it takes to read, its skeletons are a small part.
	unit := *p.Split(100)
	unit.Info = append([]byte(nil), unit.Info...)
	unit.Info = append(unit.Info, make([]byte, 100_000)...)
	binary.LittleEndian.PutUint32(unit.Info, uint32(len(unit.Info)-4))
	all := func(uint64) *dwarf.Sections { return &unit }
	var res dwarf.Result
	got, err := list(dwarf.Symbols(context.Background(), s, dwarf.Options{Companions: dwarf.Companions{Split: all}}, &res))
	if n := strings.Count(got, "\n"); err != nil || n > 32 || n < 16 || res.Skipped == 0 {
		t.Errorf("%d functions, %v, %d skipped", n, err, res.Skipped)
	}
}

// Indexes that are no good are refused.
func TestBadPackage(t *testing.T) {
	for what, change := range map[string]func(index []byte) []byte{
		"cut off":         func(b []byte) []byte { return b[:len(b)-1] },
		"empty":           func(b []byte) []byte { return nil },
		"version":         func(b []byte) []byte { b[0] = 3; return b },
		"units":           func(b []byte) []byte { b[11] = 0xff; return b },
		"slots":           func(b []byte) []byte { b[15] = 0xff; return b },
		"columns":         func(b []byte) []byte { b[7] = 0xff; return b },
		"no columns":      func(b []byte) []byte { b[4] = 0; return b },
		"row":             func(b []byte) []byte { b[48] = 3; return b },
		"overlap":         func(b []byte) []byte { b[len(b)-24]++; return b },
		"past the end":    func(b []byte) []byte { b[len(b)-12]++; return b },
		"abbrev past end": func(b []byte) []byte { b[len(b)-5] = 1; return b },
	} {
		s, index := packed()
		var format *debug.FormatError
		if p, err := dwarf.OpenPackage(s, change(index)); !errors.As(err, &format) {
			t.Errorf("%s: %v, %v", what, p, err)
		}
	}
}

func FuzzPackage(f *testing.F) {
	s, index := packed()
	main := skeletons()
	f.Add(index, s.Info, s.Abbrev, s.Str, s.StrOffsets, main.Info, main.Abbrev, main.Addr, false)
	f.Fuzz(func(t *testing.T, index, info, abbrev, str, offsets, mainInfo, mainAbbrev, addrs []byte, big bool) {
		s := &dwarf.Sections{Info: info, Abbrev: abbrev, Str: str, StrOffsets: offsets, RngLists: offsets, BigEndian: big}
		main := &dwarf.Sections{Info: mainInfo, Abbrev: mainAbbrev, Addr: addrs, Ranges: addrs, Str: str, BigEndian: big}
		o := dwarf.Options{Workers: 1, Companions: dwarf.Companions{Alt: s}}
		if p, err := dwarf.OpenPackage(s, index); err == nil {
			o.Split = p.Split
		}
		_, _ = dwarf.SplitUnits(s)
		dwarf.MayBeSkeletons(abbrev)
		_, _ = list(dwarf.Symbols(context.Background(), main, o, new(dwarf.Result)))
	})
}
