package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
)

func TestPages(t *testing.T) {
	var p pages
	for _, addr := range []uint64{0x5fff, 0x2000, 0x2001, 0x5000, 1<<64 - 1} {
		p.add(addr)
	}
	p.sort()
	if want := (pages{2, 5, 1<<52 - 1}); !reflect.DeepEqual(p, want) {
		t.Errorf("%v, want %v", p, want)
	}
	for _, tt := range []struct {
		addr, size uint64
		want       bool
	}{
		{0, 0x2000, false}, {0, 0x2001, true}, {0x1fff, 1, false}, {0x2fff, 1, true}, {0x2fff, 0, true}, {0x3000, 0x2000, false},
		{0x3000, 0x2001, true}, {0x6000, 1 << 62, false}, {0x6000, 1<<64 - 1, true},
	} {
		if got := p.overlap(tt.addr, tt.size); got != tt.want {
			t.Errorf("overlap(%#x, %#x) = %v", tt.addr, tt.size, got)
		}
	}
}

// A walk that makes ready only what it asks for gives what one with everything gives; and what it did not expect
// to be asked for is known as well.
func TestExpect(t *testing.T) {
	dump, err := minidump.Parse(demoFile("inline.dmp"))
	if err != nil {
		t.Fatal(err)
	}
	// Every module gets functions of 512 bytes with lines, inlined calls and rules, gaps with publics between.
	folder := t.TempDir()
	for i := range dump.Modules {
		m := &dump.Modules[i]
		if m.DebugID.IsZero() {
			continue
		}
		var sym bytes.Buffer
		name := filepath.Base(m.DebugFile)
		fmt.Fprintf(&sym, "MODULE Linux x86_64 %s %s\nFILE 0 a.c\nFILE 1 b.h\nINLINE_ORIGIN 0 inlined\n", m.DebugID.Breakpad(), name)
		for addr := uint64(0); addr < uint64(m.Size); addr += 768 {
			fmt.Fprintf(&sym, "FUNC %x 200 0 %s_%x\nINLINE 0 7 0 0 %x 80\n%x 100 1 0\n%x 100 2 1\nPUBLIC %x 0 public_%x\n", addr, name, addr, addr+64, addr, addr+256, addr+512, addr)
			fmt.Fprintf(&sym, "STACK CFI INIT %x 200 .cfa: $rsp 16 + .ra: .cfa 8 - ^\nSTACK CFI %x .cfa: $rsp 24 +\n", addr, addr+64)
		}
		dir := filepath.Join(folder, name, m.DebugID.Breakpad())
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".sym"), sym.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	walk := func(expect bool) (*fileProvider, []byte) {
		p := newFileProvider(context.Background(), []string{folder})
		t.Cleanup(func() { p.Close() })
		if expect {
			p.expect(dump)
		}
		var out bytes.Buffer
		if err := stackwalk.Walk(context.Background(), dump, p, stackwalk.Options{}).WriteJSON(&out, true); err != nil {
			t.Fatal(err)
		}
		return p, out.Bytes()
	}
	all, want := walk(false)
	some, got := walk(true)
	if !bytes.Equal(got, want) || !bytes.Contains(got, []byte("inlined")) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	loaded := 0
	for m, s := range some.modules {
		if !s.loaded {
			continue
		}
		loaded++
		if s.part == nil {
			t.Errorf("%s was loaded as a whole", m.Name)
			continue
		}
		part := s.part
		for _, asked := range []bool{true, false} {
			for addr := uint64(0); addr < uint64(m.Size); addr += 129 {
				if asked && !part.has(addr) {
					continue
				}
				a, b := all.Names(m, addr), some.Names(m, addr)
				ra, oka := all.Rules(m, addr)
				rb, okb := some.Rules(m, addr)
				if !reflect.DeepEqual(a, b) || oka != okb || !reflect.DeepEqual(ra, rb) {
					t.Fatalf("%s at %#x: %v, want %v; rules %v, want %v", m.Name, addr, b, a, okb, oka)
				}
			}
			if (s.part != nil) != asked {
				t.Errorf("%s: all of it is known: %v", m.Name, asked)
			}
		}
	}
	// The first question may be one that was not expected.
	first := newFileProvider(context.Background(), []string{folder})
	defer first.Close()
	first.expect(dump)
	for m, asked := range first.asked {
		addr := uint64(0)
		for asked.has(addr) {
			addr += 1 << pageShift
		}
		if got, want := first.Names(m, addr), all.Names(m, addr); !reflect.DeepEqual(got, want) {
			t.Errorf("%s at %#x: %v, want %v", m.Name, addr, got, want)
		}
	}
	// A return address at the start of a page is looked up in the page before.
	dump.Threads, dump.Exception = dump.Threads[:1], nil
	m, thread := dump.MainModule(), &dump.Threads[0]
	thread.Context, thread.Stack.Data = nil, binary.LittleEndian.AppendUint64(nil, m.Addr+0x3000)
	if p, want := askedIn(dump)[m], (pages{2, 3}); !reflect.DeepEqual(*p, want) {
		t.Errorf("pages %x, want %x", *p, want)
	}
	if loaded < 2 {
		t.Errorf("%d modules were asked for", loaded)
	}
}

func TestSharedStacks(t *testing.T) {
	d := &minidump.Dump{Threads: make([]minidump.Thread, 300)}
	for i := range d.Threads {
		d.Threads[i].Stack.Data = make([]byte, 0)
	}
	if askedIn(d) == nil {
		t.Error("small stacks are not looked through")
	}
	shared := make([]byte, 1<<20)
	for i := range d.Threads {
		d.Threads[i].Stack.Data = shared
	}
	if askedIn(d) != nil {
		t.Error("300 MB of stacks are looked through")
	}
}

// addresses are a set, of any density.
func TestAddresses(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	if newAddresses(nil).overlap(0, 10) {
		t.Error("an empty set has some")
	}
	for round := range 300 {
		list := make([]uint64, 1+r.IntN(40))
		for i := range list {
			list[i] = r.Uint64()>>r.IntN(64) | uint64(round%2)<<63
		}
		a := newAddresses(slices.Clone(list))
		for range 300 {
			addr, size := list[r.IntN(len(list))]+r.Uint64N(20)-10, r.Uint64()>>r.IntN(64)
			want := slices.ContainsFunc(list, func(x uint64) bool { return x >= addr && x-addr < size })
			if got := a.overlap(addr, size); got != want {
				t.Fatalf("%#x+%#x in %#x: %v", addr, size, list, got)
			}
		}
	}
}
