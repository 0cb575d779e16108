package minidump_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
)

// small returns dumps to damage.
func small() map[string][]byte {
	dumps := map[string][]byte{
		"everything, little": everything(false).Bytes(),
		"everything, big":    everything(true).Bytes(),
		"nothing":            minidumptest.New(false).Bytes(),
	}
	for name, tt := range contexts() {
		dumps[name] = minidumptest.New(false).System(minidumptest.System{Architecture: tt.system}).
			Thread(minidumptest.Thread{ID: 1, Name: "t", Context: tt.context}).Exception(minidumptest.Exception{Context: tt.context}).Bytes()
	}
	return dumps
}

// visit calls every accessor of d and returns how many bytes its slices and strings hold.
func visit(d *minidump.Dump) (n int) {
	context := func(c *minidump.Context) {
		if c != nil {
			n += int(c.PC()&1+c.SP()&1+c.FP()&1) + len(c.CPU.RegisterNames()) + len(c.CPU.String())
		}
	}
	for _, s := range d.Streams {
		n += len(s.Type.String()) + len(d.Stream(s.Type))
	}
	for i := range d.Threads {
		t := &d.Threads[i]
		context(t.Context)
		code, _ := d.LastError(t)
		n += len(t.Name) + len(t.Stack.Data) + len(t.Stack.Read(t.Stack.Addr, 8)) + int(code&1)
	}
	for _, r := range d.Memory.Regions {
		at, ok := d.Memory.At(r.Addr)
		if !ok || !at.Contains(r.Addr) {
			panic("a region is not found")
		}
		n += len(d.Memory.Read(r.Addr, uint64(len(r.Data))))
	}
	for i := range d.Modules {
		m := &d.Modules[i]
		if m.End() <= m.Addr || d.ModuleAt(m.Addr) == nil {
			panic("a module is not found")
		}
		n += len(m.Name) + len(m.Version) + len(m.DebugFile) + len(m.CodeID) + len(m.CodeView) + len(m.DebugID.Breakpad())
	}
	for i, m := range d.ModulesByAddr() {
		if d.ModuleAt(m.End()-1) != m || i > 0 && d.ModulesByAddr()[i-1].End() > m.Addr {
			panic("modules overlap")
		}
	}
	for _, m := range d.Unloaded {
		if len(d.UnloadedAt(m.Addr)) == 0 {
			panic("an unloaded module is not found")
		}
		n += len(m.Name) + len(m.CodeID)
	}
	if m := d.MainModule(); m != nil {
		n += len(m.Name)
	}
	for _, m := range d.MemoryInfo {
		if m.Readable() || m.Writable() || m.Executable() {
			n++
		}
	}
	if s := d.System; s != nil {
		n += len(s.CSD) + len(s.CPU.String()) + len(s.OS.String()) + len(s.Vendor) + int(s.CPU.PointerSize())
	}
	if e := d.Exception; e != nil {
		context(e.Context)
		n += len(e.Parameters())
	}
	if m := d.Misc; m != nil && m.Has(minidump.MiscBuildString) {
		n += len(m.BuildString) + len(m.DebugBuild)
	}
	pid, _ := d.Linux.PID()
	microcode, _ := d.Linux.Microcode()
	n += len(d.Linux.Distribution().ID) + int(pid&1) + int(microcode&1)
	for k, v := range minidump.Pairs(d.Linux.Environ, '=') {
		n += len(k) + len(v)
	}
	for _, m := range d.Linux.Maps {
		n += len(m.Path)
	}
	for _, l := range d.Linux.Limits {
		n += len(l.Name) + len(l.Unit)
	}
	if l := d.Linux.Linker; l != nil {
		for _, o := range l.Objects {
			n += len(o.Name)
		}
	}
	for _, h := range d.Handles {
		n += len(h.Type) + len(h.Object)
		for _, i := range h.Info {
			n += len(i.Data)
		}
	}
	for _, m := range d.MacCrashInfo {
		n += len(m.Module) + len(m.Message) + len(m.Signature) + len(m.Backtrace) + len(m.Message2)
	}
	n += len(d.MacBootArgs) + len(d.SoftErrors)
	if c := d.Crashpad; c != nil {
		for _, m := range c.Modules {
			for _, o := range m.Objects {
				n += len(o.Name) + len(o.Value)
			}
			n += len(m.List) + len(m.Annotations)
		}
		n += len(c.ReportID) + len(c.ClientID)
	}
	for _, p := range d.Problems {
		n += len(p.Where) + len(p.Kind) + len(p.Detail)
	}
	return n
}

// damaged parses what is left of a dump: it may fail, but in one way only.
func damaged(t *testing.T, what string, data []byte) {
	t.Helper()
	d, err := minidump.Parse(data)
	var fe *debug.FormatError
	switch {
	case err == nil:
		if d == nil {
			t.Fatalf("%s: neither dump nor error", what)
		}
		visit(d)
	case d != nil || !errors.As(err, &fe):
		t.Fatalf("%s: Parse = %v, %v", what, d, err)
	}
}

func TestEveryPrefix(t *testing.T) {
	for name, data := range small() {
		for n := range data {
			damaged(t, fmt.Sprintf("%s, %d bytes", name, n), data[:n:n])
		}
		d, err := minidump.Parse(data[:len(data)-1])
		if name != "nothing" && (err != nil || len(d.Problems) == 0) {
			t.Errorf("%s without its last byte: error %v and no problem", name, err)
		}
	}
}

// The header, the directory, and all the rest as well.
func TestEveryByte(t *testing.T) {
	for name, data := range small() {
		for i := range data {
			for _, v := range []byte{0x00, 0xff} {
				old := data[i]
				data[i] = v
				damaged(t, fmt.Sprintf("%s, byte %#x = %#x", name, i, v), data)
				data[i] = old
			}
		}
	}
}

func TestBadHeader(t *testing.T) {
	good := everything(false).Bytes()
	for _, tt := range []struct {
		name   string
		change func(b []byte) []byte
		cause  error
	}{
		{"empty", func([]byte) []byte { return nil }, debug.ErrTruncated},
		{"short", func(b []byte) []byte { return b[:31] }, debug.ErrTruncated},
		{"cut directory", func(b []byte) []byte { return b[:32+12+11] }, debug.ErrTruncated},
		{"signature", func(b []byte) []byte { b[0] = 'm'; return b }, nil},
		{"version", func(b []byte) []byte { b[4] = 0; return b }, debug.ErrUnsupported},
		{"directory outside", func(b []byte) []byte { b[14] = 0xff; return b }, debug.ErrTruncated},
		{"streams", func(b []byte) []byte { b[10] = 0xff; return b }, debug.ErrTooLarge},
	} {
		var fe *debug.FormatError
		d, err := minidump.Parse(tt.change([]byte(string(good))))
		if d != nil || !errors.As(err, &fe) || fe.Format != "minidump" || fe.Err != tt.cause {
			t.Errorf("%s: Parse = %v, want cause %v", tt.name, err, tt.cause)
		}
	}
	// The high half of the version is the writer's own.
	good[6], good[7] = 0xff, 0xff
	if _, err := minidump.Parse(good); err != nil {
		t.Errorf("other implementation version: %v", err)
	}
}

func TestTruncatedList(t *testing.T) {
	orders(t, func(t *testing.T, b *minidumptest.Builder) {
		b.Module(minidumptest.Module{Addr: 0x1000, Size: 1, Name: "a"}).Module(minidumptest.Module{Addr: 0x2000, Size: 1, Name: "b"})
		data := b.Bytes()
		d, err := minidump.Parse(data[:len(data)-1])
		if err != nil || len(d.Modules) != 1 || d.Modules[0].Name != "a" {
			t.Fatalf("Parse = %+v, %v, want module a", d, err)
		}
		equal(t, "problems", kinds(d), []string{"ModuleList: truncated", "ModuleList: truncated"})
	})
}

func TestLimits(t *testing.T) {
	data := everything(false).Bytes()
	for _, tt := range []struct {
		limits minidump.Limits
		want   string
	}{
		{minidump.Limits{Threads: 1}, "ThreadList: too large"},
		{minidump.Limits{Modules: 2}, "ModuleList: too large"},
		{minidump.Limits{Annotations: 1}, "CrashpadInfo: too large"},
		{minidump.Limits{StringBytes: 8}, "ModuleList: bad record"},
		{minidump.Limits{TextBytes: 20}, "ModuleList: bad record"},
	} {
		d, err := tt.limits.Parse(data)
		if err != nil || !strings.Contains(strings.Join(kinds(d), ", "), tt.want) {
			t.Errorf("%+v: problems %v, %v, want %s", tt.limits, kinds(d), err, tt.want)
		}
	}
	var fe *debug.FormatError
	if _, err := (minidump.Limits{Streams: 3}).Parse(data); !errors.As(err, &fe) || fe.Err != debug.ErrTooLarge {
		t.Errorf("Streams: 3: %v", err)
	}
	handles := minidumptest.New(false).Handles(false, minidumptest.Handle{}, minidumptest.Handle{}).Bytes()
	if d, err := (minidump.Limits{Handles: 1}).Parse(handles); err != nil || d.Handles == nil || len(d.Handles) > 0 || len(d.Problems) != 1 {
		t.Errorf("Handles: 1: %+v, %v", d, err)
	}
	linker := minidumptest.New(false).System(amd64).Linker(8, 1, 0, 0, 0, minidumptest.LinkedObject{}, minidumptest.LinkedObject{}).Bytes()
	if d, err := (minidump.Limits{Modules: 1}).Parse(linker); err != nil || len(d.Linux.Linker.Objects) > 0 || len(d.Problems) != 1 {
		t.Errorf("Modules: 1: %+v, %v", d, err)
	}
	two := minidumptest.New(false).Memory(1, []byte("a")).Memory(2, []byte("b")).LinuxText(minidumptest.LinuxMaps, strings.Repeat("1-2 rwxp 0 0 0\n", 2)).Bytes()
	d, err := minidump.Limits{Regions: 1, Mappings: 1}.Parse(two)
	if err != nil || len(d.Memory.Regions) != 0 || len(d.Linux.Maps) != 0 {
		t.Errorf("%+v, %v", d, err)
	}
	equal(t, "problems", kinds(d), []string{"MemoryList: too large", "LinuxMaps: too large"})
}

// A stream of problems is cut, and says so.
func TestManyProblems(t *testing.T) {
	d, err := minidump.Parse(minidumptest.New(false).LinuxText(minidumptest.LinuxMaps, strings.Repeat("x\n", 1000)).Bytes())
	if err != nil || len(d.Problems) != 11 || d.Problems[10] != (debug.Problem{Where: "LinuxMaps", Kind: "more", Detail: "990 more problems"}) {
		t.Errorf("Problems = %v, %v", d.Problems, err)
	}
}

// amplifiers are dumps whose records share what they point to, or claim more than there is.
func amplifiers() map[string][]byte {
	u32 := func(v ...uint32) (b []byte) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return b
	}
	dumps := map[string][]byte{}
	for typ, header := range map[uint32][]byte{
		3: u32(0xffffffff), 4: u32(0xffffffff), 5: u32(0xffffffff), 24: u32(0xffffffff), 9: u32(0xffffffff, 0xffffffff, 0, 0),
		12: u32(16, 40, 0xffffffff, 0), 17: u32(12, 64, 0xffffffff), 14: u32(12, 24, 0xffffffff), 16: u32(16, 48, 0xffffffff, 0xffffffff),
	} {
		dumps[fmt.Sprintf("stream %d claims all", typ)] = minidumptest.New(false).Raw(typ, append(header, make([]byte, 200)...)).Bytes()
	}

	// Every module has the same name and the same build id, as long as they may be.
	b := minidumptest.New(false).Raw(99, append(u32(0x10000), make([]byte, 0x10000)...)).Raw(98, append(u32(0x4270454c), append(make([]byte, 32763), 1)...))
	offset := func(typ uint32) uint32 {
		d, err := minidump.Parse(b.Bytes())
		if err != nil {
			panic(err)
		}
		for _, s := range d.Streams {
			if uint32(s.Type) == typ {
				return s.Offset
			}
		}
		panic("no such stream")
	}
	const modules = 20000
	list := u32(modules)
	name, id := offset(99)+12, offset(98)+12 // the directory will have one entry more
	for i := range uint32(modules) {
		list = append(list, u32(i<<12, 0, 0x1000, 0, 0, name)...)
		list = append(list, make([]byte, 52)...)
		list = append(list, u32(32768, id)...)
		list = append(list, make([]byte, 24)...)
	}
	dumps["shared names"] = b.Raw(4, list).Bytes()

	// Every module of Crashpad has the same list of annotations.
	b = minidumptest.New(false)
	const header, n = 32 + 12, 20000
	objects := u32(n)
	for range n {
		objects = append(objects, u32(0, 1, 0)...)
	}
	info := u32(1, 0, 0, 0, 0, uint32(len(objects)), header+52)
	links := u32(n)
	for range n {
		links = append(links, u32(0, 28, header+52+uint32(len(objects)))...)
	}
	// Every handle has the same records about it, which are a circle.
	handles := u32(16, 40, n, 0)
	for range n {
		handles = append(handles, u32(0, 0, 0, 0, 0, 0, 0, 0, header+12, 0)...)
	}
	dumps["circle of records"] = minidumptest.New(false).Raw(99, u32(header+12, 1, 0)).Raw(12, handles).Bytes()

	stream := append(u32(1), make([]byte, 32)...)
	stream = append(stream, u32(0, 0, uint32(len(links)), header+52+uint32(len(objects)+len(info)))...)
	stream = append(append(append(stream, objects...), info...), links...)
	binary.LittleEndian.PutUint32(stream[52+4:], header) // a name: no text, but a problem
	dumps["shared annotations"] = b.Raw(0x43500001, stream).Bytes()
	return dumps
}

// What Parse allocates is bounded by the size of the dump and by the limit on text.
func TestMemoryBound(t *testing.T) {
	const text = 1 << 20
	for name, data := range amplifiers() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := minidump.Limits{TextBytes: text}.Parse(data)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(d.Problems) == 0 {
			t.Errorf("%s: no problem", name)
		}
		got, bound := after.TotalAlloc-before.TotalAlloc, uint64(64<<10+16*len(data)+16*text)
		if strings.HasPrefix(name, "stream") {
			bound = 64 << 10
		}
		if got > bound {
			t.Errorf("%s: %d bytes allocated for a dump of %d, want at most %d", name, got, len(data), bound)
		}
		t.Logf("%s: %d bytes allocated for %d", name, got, len(data))
	}
}

func BenchmarkParse(b *testing.B) {
	m := minidumptest.New(false).System(amd64)
	for i := range uint64(500) {
		m.Module(minidumptest.Module{Addr: i << 24, Size: 1 << 20, Name: "/usr/lib/x86_64-linux-gnu/libsomething.so.1", CodeView: minidumptest.ELF{BuildID: make([]byte, 20)}})
	}
	for i := range uint64(200) {
		m.Thread(minidumptest.Thread{ID: uint32(i), Stack: minidumptest.Region{Addr: i << 20, Data: make([]byte, 8192)}, Context: minidumptest.ContextAMD64{}})
	}
	data := m.Bytes()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := minidump.Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
