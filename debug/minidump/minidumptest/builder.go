// Package minidumptest builds synthetic minidumps for tests, in both byte orders.
//
// It shares no layout with package minidump, so that a mistake in one is not repeated in the other: every number
// here was written down from the format's description a second time. A Builder takes the parts of a
// dump in any order and lays them out in Bytes; it is not safe for concurrent use.
//
// It builds well-formed dumps; tests of malformed ones change the bytes, or put their own into a Raw stream.
package minidumptest

import (
	"encoding/binary"
	"unicode/utf16"
)

// Builder collects the parts of a dump. The zero Builder is a little-endian dump without streams.
type Builder struct {
	BigEndian bool
	Time      uint32
	Flags     uint64
	// Padding puts four bytes between the count and the first record of the lists that may have them.
	Padding bool

	streams []func(f *file) stream
	threads []Thread
	modules []Module
	regions []Region
	full    []Region
}

type stream struct {
	number uint32
	data   []byte
}

// file is a dump being written. Data that streams refer to is appended before the stream.
type file struct {
	writer
	padding bool
}

// writer appends numbers in one byte order.
type writer struct {
	b   []byte
	big bool
}

func (w *writer) u8(v ...uint8) { w.b = append(w.b, v...) }

func (w *writer) u16(values ...uint16) {
	for _, v := range values {
		if w.big {
			w.b = binary.BigEndian.AppendUint16(w.b, v)
		} else {
			w.b = binary.LittleEndian.AppendUint16(w.b, v)
		}
	}
}

func (w *writer) u32(values ...uint32) {
	for _, v := range values {
		if w.big {
			w.b = binary.BigEndian.AppendUint32(w.b, v)
		} else {
			w.b = binary.LittleEndian.AppendUint32(w.b, v)
		}
	}
}

func (w *writer) u64(values ...uint64) {
	for _, v := range values {
		if w.big {
			w.b = binary.BigEndian.AppendUint64(w.b, v)
		} else {
			w.b = binary.LittleEndian.AppendUint64(w.b, v)
		}
	}
}

func (w *writer) zero(n int) { w.b = append(w.b, make([]byte, n)...) }

// guid writes a UUID given in network order: three numbers and eight bytes.
func (w *writer) guid(u [16]byte) {
	w.u32(binary.BigEndian.Uint32(u[0:]))
	w.u16(binary.BigEndian.Uint16(u[4:]), binary.BigEndian.Uint16(u[6:]))
	w.u8(u[8:]...)
}

// fixed writes s into an array of n UTF-16 units.
func (w *writer) fixed(s string, n int) {
	units := make([]uint16, n)
	copy(units, utf16.Encode([]rune(s)))
	w.u16(units...)
}

// record returns an empty writer of the same byte order.
func (f *file) record() *writer { return &writer{big: f.big} }

// put appends data and returns where it is.
func (f *file) put(data []byte) uint32 {
	for len(f.b)%4 != 0 {
		f.b = append(f.b, 0)
	}
	at := uint32(len(f.b))
	f.b = append(f.b, data...)
	return at
}

// utf16 appends a string: length in bytes, units, a zero.
func (f *file) utf16(s string) uint32 {
	units := utf16.Encode([]rune(s))
	w := f.record()
	w.u32(uint32(2 * len(units)))
	w.u16(units...)
	w.u16(0)
	return f.put(w.b)
}

// utf8 appends a string as Crashpad does: length, bytes, a zero.
func (f *file) utf8(s string) uint32 {
	at := f.bytes([]byte(s))
	f.b = append(f.b, 0)
	return at
}

func (f *file) bytes(b []byte) uint32 {
	w := f.record()
	w.u32(uint32(len(b)))
	return f.put(append(w.b, b...))
}

// list returns the writer of a list with its count written.
func (f *file) list(n int) *writer {
	w := f.record()
	w.u32(uint32(n))
	if f.padding {
		w.u32(0)
	}
	return w
}

// New returns a builder for the byte order.
func New(bigEndian bool) *Builder { return &Builder{BigEndian: bigEndian} }

// Raw adds a stream of any type.
func (b *Builder) Raw(number uint32, data []byte) *Builder {
	return b.stream(number, func(*file) []byte { return data })
}

func (b *Builder) stream(number uint32, build func(f *file) []byte) *Builder {
	b.streams = append(b.streams, func(f *file) stream { return stream{number, build(f)} })
	return b
}

// Bytes lays the dump out: header, directory, then each stream after what it refers to, in the order added;
// the lists of threads, modules and memory are the last, full memory is the end of the file.
func (b *Builder) Bytes() []byte {
	builds := b.streams
	add := func(n int, number uint32, build func(f *file) []byte) {
		if n > 0 {
			builds = append(builds[:len(builds):len(builds)], func(f *file) stream { return stream{number, build(f)} })
		}
	}
	add(len(b.threads), 3, b.buildThreads)
	names := 0
	for _, t := range b.threads {
		names += len(t.Name)
	}
	add(names, 24, b.buildNames)
	add(len(b.modules), 4, b.buildModules)
	add(len(b.regions), 5, b.buildRegions)
	add(len(b.full), 9, func(f *file) []byte { return make([]byte, 16+16*len(b.full)) }) // filled in at the end

	const header, entry = 32, 12
	f := &file{writer: writer{big: b.BigEndian}, padding: b.Padding}
	f.u32(0x504d444d, 0xa793|0x51280000, uint32(len(builds)), header, 0, b.Time)
	f.u64(b.Flags)
	f.zero(entry * len(builds))
	directory := f.record()
	var fullAt uint32
	for _, build := range builds {
		s := build(f)
		at := f.put(s.data)
		directory.u32(s.number, uint32(len(s.data)), at)
		if s.number == 9 {
			fullAt = at
		}
	}
	copy(f.b[header:], directory.b)
	if len(b.full) > 0 {
		w := f.record()
		w.u64(uint64(len(b.full)), uint64(len(f.b)))
		for _, r := range b.full {
			w.u64(r.Addr, uint64(len(r.Data)))
		}
		copy(f.b[fullAt:], w.b)
		for _, r := range b.full {
			f.b = append(f.b, r.Data...)
		}
	}
	return f.b
}
