package symcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/debugid"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
	"salvage/internal/debugtest"
)

// build makes a cache of a .sym.
func build(t testing.TB, sym []byte, o symcache.Options) ([]byte, symcache.Stats) {
	t.Helper()
	var out bytes.Buffer
	st := buildTo(t, &out, sym, o)
	return out.Bytes(), st
}

func buildTo(t testing.TB, w io.Writer, sym []byte, o symcache.Options) symcache.Stats {
	t.Helper()
	var module symbols.Module
	st, err := symcache.Build(context.Background(), w, &module, func(emit func(*symbols.Batch) error) error {
		f, err := breakpad.Parse(sym, breakpad.Handler{Batch: emit}, breakpad.Options{})
		if err != nil {
			return err
		}
		module = f.Module
		return nil
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func open(t testing.TB, data []byte) *symcache.Cache {
	t.Helper()
	c, err := symcache.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// frames writes the answer at addr as one line, innermost first.
func frames(c *symcache.Cache, addr uint64) string {
	var parts []string
	for _, f := range c.Lookup(addr, nil) {
		parts = append(parts, fmt.Sprintf("%s %s:%d", c.Name(f), c.File(f), f.Line))
	}
	return strings.Join(parts, " < ")
}

const header = "MODULE Linux x86_64 BBA6FA10B8AAB33D00000000000000000 prog\nINFO CODE_ID 10FAA6BBAAB83DB3\n"

func TestLookup(t *testing.T) {
	data, st := build(t, []byte(header+`FILE 0 a.c
FILE 1 g.h
INLINE_ORIGIN 0 g
FUNC 10 8 0 f
INLINE 0 2 0 0 14 4
10 4 1 0
14 4 7 1
FUNC 20 4 0 h
PUBLIC 28 0 p
PUBLIC 30 0 q
`), symcache.Options{})
	c := open(t, data)
	if err := c.Verify(); err != nil {
		t.Error(err)
	}
	if st.Functions != 2 || st.Publics != 2 || st.Ranges != 7 || st.Bytes != uint64(len(data)) {
		t.Errorf("stats %+v, %d bytes", st, len(data))
	}
	want := symbols.Module{CodeID: "10faa6bbaab83db3", OS: "Linux", Arch: "x86_64", Name: "prog"}
	want.ID, _ = debugid.Parse("BBA6FA10B8AAB33D00000000000000000")
	if c.Module() != want {
		t.Errorf("meta %+v, want %+v", c.Module(), want)
	}
	for addr, want := range map[uint64]string{
		0: "", 0xf: "", 0x10: "f a.c:1", 0x13: "f a.c:1", 0x14: "g g.h:7 < f a.c:2", 0x17: "g g.h:7 < f a.c:2", 0x18: "", 0x1f: "",
		0x20: "h :0", 0x24: "", 0x28: "p :0", 0x2f: "p :0", 0x30: "q :0", 0x1000: "q :0", 1 << 40: "q :0",
	} {
		if got := frames(c, addr); got != want {
			t.Errorf("Lookup(%#x) = %q, want %q", addr, got, want)
		}
	}
	f := c.Lookup(0x15, nil)
	if fn := c.Function(f[0]); fn.HasAddr || !f[0].Inlined {
		t.Errorf("the inlined function: %+v %+v", f[0], fn)
	}
	if fn := c.Function(f[1]); fn != (symcache.Function{Addr: 0x10, Size: 8, HasAddr: true}) || f[1].Inlined {
		t.Errorf("the function: %+v %+v", f[1], fn)
	}
	if fn := c.Function(c.Lookup(0x30, nil)[0]); fn != (symcache.Function{Addr: 0x30, Public: true, HasAddr: true}) {
		t.Errorf("the public: %+v", fn)
	}
	names := ""
	for f := range c.Functions() {
		names += string(c.Name(f)) + " "
	}
	if names != "f h p q " {
		t.Errorf("Functions() = %s", names)
	}
	buf := make([]symcache.Frame, 0, 8)
	if n := testing.AllocsPerRun(100, func() { buf = c.Lookup(0x15, buf[:0]) }); n != 0 {
		t.Errorf("Lookup allocates %v times", n)
	}
}

// Images over 4 GiB get a segment for each reach of 32 bits.
func TestSegments(t *testing.T) {
	data, _ := build(t, []byte(header+`FUNC 10 8 0 low
FUNC fffffff8 10 0 across
FUNC 100001000 8 0 high
FUNC ffffffffffffff00 80 0 top
PUBLIC 200000000 0 far
`), symcache.Options{})
	c := open(t, data)
	for addr, want := range map[uint64]string{
		0x10: "low :0", 0xfffffff8: "across :0", 0x100000007: "across :0", 0x100000008: "", 0x100001007: "high :0", 0x100001008: "",
		0x200000000: "far :0", 0x123456789abcdef0: "far :0", 1<<64 - 0x100: "top :0", 1<<64 - 0x81: "top :0", 1<<64 - 0x80: "", 1<<64 - 1: "",
	} {
		if got := frames(c, addr); got != want {
			t.Errorf("Lookup(%#x) = %q, want %q", addr, got, want)
		}
	}
	st, err := symcache.Build(context.Background(), new(bytes.Buffer), new(symbols.Module), func(emit func(*symbols.Batch) error) error {
		b := symbols.NewBatch(symbols.NewStrings())
		b.Functions = append(b.Functions, symbols.Function{Size: 1 << 32})
		return emit(b)
	}, symcache.Options{})
	if err != nil || st.Functions != 0 || st.Repairs.EmptyRecords != 1 {
		t.Errorf("a function of 4 GiB: %+v, %v", st, err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	batches := 0
	_, err := symcache.Build(ctx, new(bytes.Buffer), new(symbols.Module), func(emit func(*symbols.Batch) error) error {
		for {
			batches++
			if batches == 5 {
				cancel()
			}
			if err := emit(symbols.NewBatch(symbols.NewStrings())); err != nil {
				return err
			}
		}
	}, symcache.Options{})
	if !errors.Is(err, context.Canceled) || batches > 100 {
		t.Errorf("after %d batches: %v", batches, err)
	}
}

// Every record of every .sym at hand: the cache gives the line record's file and line, and the FUNC's
// name as the outermost frame; whatever the number of workers, the bytes are the same.
func TestFixtures(t *testing.T) {
	for _, name := range []string{
		"symbolic/linux/crash.sym", "symbolic/macos/crash.sym", "symbolic/macos/crash.inlines.sym", "symbolic/windows/crash.sym",
		"symbolic/windows/CrashWithException.pdb.sym", "breakpad/dump_syms_regtest64.sym", "breakpad/symbols/test_app.pdb/5A9832E5287241C1838ED98914E9B7FF1/test_app.sym",
		"dump_syms/windows/basic64.sym", "rust-minidump/symbols/crash-client/509C0610949836F7B70BD88BCF03E5400/crash-client.sym",
	} {
		t.Run(path.Base(name), func(t *testing.T) {
			sym := debugtest.File(t, name)
			data, st := build(t, sym, symcache.Options{Workers: 1})
			if again, _ := build(t, sym, symcache.Options{Workers: 7}); !bytes.Equal(data, again) {
				t.Error("output depends on the number of workers")
			}
			c := open(t, data)
			if err := c.Verify(); err != nil {
				t.Fatal(err)
			}
			checked, differ := 0, 0
			_, err := breakpad.Parse(sym, breakpad.Handler{Batch: func(b *symbols.Batch) error {
				for _, fn := range b.Functions {
					for _, l := range b.Lines[fn.Lines.Lo:fn.Lines.Hi] {
						if l.Size == 0 || l.Addr < fn.Addr || l.Addr+uint64(l.Size) > fn.Addr+fn.Size {
							continue // empty, or outside its function: dropped or cut
						}
						for _, addr := range []uint64{l.Addr, l.Addr + uint64(l.Size) - 1} {
							got := c.Lookup(addr, nil)
							checked++
							if len(got) == 0 || string(c.File(got[0])) != string(b.Strings.Bytes(l.File)) || got[0].Line != l.Line ||
								string(c.Name(got[len(got)-1])) != string(b.Strings.Bytes(fn.Name)) {
								if differ++; differ == 1 {
									t.Logf("%#x: %s, want %s:%d in %s", addr, frames(c, addr), b.Strings.Bytes(l.File), l.Line, b.Strings.Bytes(fn.Name))
								}
							}
						}
					}
				}
				return nil
			}}, breakpad.Options{})
			if err != nil {
				t.Fatal(err)
			}
			// What a symcache must lose: bytes that an earlier function or line of the file has taken.
			if st.Repairs.ShadowedFuncs == 0 && st.Repairs.OverlapLines == 0 && differ > 0 {
				t.Errorf("%d of %d records differ without any overlap", differ, checked)
			}
			t.Logf("%d records checked, %d hidden by overlaps, %+v", checked, differ, st)
		})
	}
}

func TestFacts(t *testing.T) {
	for _, name := range []string{"symbolic/windows/crash.sym"} {
		data, _ := build(t, debugtest.File(t, name), symcache.Options{})
		c := open(t, data)
		for _, fact := range debugtest.Facts(t, name) {
			if fact.DebugID != "" && c.Module().ID.String() != fact.DebugID {
				t.Fatalf("debug id %s, want %s", c.Module().ID, fact.DebugID)
			}
			addr, _ := strconv.ParseUint(strings.TrimPrefix(fact.Query, "0x"), 16, 64)
			got := c.Lookup(addr, nil)
			ok := true
			switch fact.Kind {
			case "function":
				ok = len(got) > 0 && fmt.Sprintf("%s size=%#x", c.Name(got[len(got)-1]), c.Function(got[len(got)-1]).Size) == fact.Expected
			case "symbol":
				ok = len(got) == 1 && string(c.Name(got[0])) == fact.Expected
			case "lookup":
				var parts []string
				for _, f := range got {
					parts = append(parts, fmt.Sprintf("%s @ %s:%d", c.Name(f), c.File(f), f.Line))
				}
				ok = strings.Join(parts, " <= ") == fact.Expected
			case "fixture":
				ok = strings.HasSuffix(fact.Expected, "code_id="+string(c.Module().CodeID))
			}
			if !ok {
				t.Errorf("%s %s: %s, want %s", fact.Kind, fact.Query, frames(c, addr), fact.Expected)
			}
		}
	}
}

// Every prefix is refused or found out; no changed byte leads further than to another answer.
func TestDamage(t *testing.T) {
	data, _ := build(t, []byte(header+"FILE 0 a\nINLINE_ORIGIN 0 g\nFUNC 10 8 0 f\nINLINE 0 2 0 0 14 4\n10 8 1 0\nPUBLIC 28 0 p\n"), symcache.Options{})
	for n := range data {
		if _, err := symcache.Parse(data[:n]); err == nil {
			t.Errorf("prefix of %d bytes opened", n)
		}
	}
	for i := range data {
		for _, v := range []byte{0, 0xff} {
			bad := bytes.Clone(data)
			bad[i] = v
			if c, err := symcache.Parse(bad); err == nil {
				touch(c)
			}
		}
	}
	old := bytes.Clone(data)
	old[8]++
	if _, err := symcache.Parse(old); !errors.Is(err, debug.ErrVersion) {
		t.Errorf("another builder revision: %v", err)
	}
}

func touch(c *symcache.Cache) {
	_ = c.Verify()
	for r := range c.Ranges() {
		for _, f := range c.Lookup(r.Start, nil) {
			c.Name(f)
			c.File(f)
			c.Function(f)
		}
	}
	for f := range c.Functions() {
		c.Name(f)
		c.File(f)
	}
	c.Lookup(1<<64-1, nil)
}

// Tables with any content under a sound directory.
func FuzzLookup(f *testing.F) {
	data, _ := build(f, []byte(header+"FILE 0 a\nINLINE_ORIGIN 0 g\nFUNC 10 8 0 f\nINLINE 0 2 0 0 14 4\n10 8 1 0\nPUBLIC 28 0 p\n"), symcache.Options{})
	f.Add(uint16(20), []byte{1, 2, 3}, uint64(0x15))
	f.Fuzz(func(t *testing.T, at uint16, patch []byte, addr uint64) {
		bad := bytes.Clone(data)
		copy(bad[min(int(at), len(bad)):], patch)
		c, err := symcache.Parse(bad)
		if err != nil {
			return
		}
		if got := c.Lookup(addr, nil); len(got) > len(data) {
			t.Errorf("%d frames", len(got))
		}
		touch(c)
	})
}
