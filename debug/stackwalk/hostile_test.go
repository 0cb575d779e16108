package stackwalk_test

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
	"salvage/debug/unwind"
)

// FuzzReport makes reports of any bytes: valid JSON in valid UTF-8, or an error, and a text.
func FuzzReport(f *testing.F) {
	b, _ := full()
	f.Add(b.Bytes())
	for seed := range uint64(20) {
		f.Add(process(seed))
		f.Add(crash(seed * 7))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := minidump.Limits{Inflated: 1 << 20}.Open(data)
		if err != nil {
			return
		}
		r := stackwalk.Walk(t.Context(), d, fixed{}, stackwalk.Options{Limits: unwind.Limits{Frames: 32}, Workers: 1})
		for _, pretty := range []bool{false, true} {
			var out bytes.Buffer
			if err := r.WriteJSON(&out, pretty); err != nil || !json.Valid(out.Bytes()) || strings.ToValidUTF8(out.String(), "") != out.String() {
				t.Fatalf("%v: %s", err, out.Bytes())
			}
		}
		if err := r.WriteHuman(io.Discard, stackwalk.HumanOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}

// counter counts what is written.
type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// What a report allocates and how long it is are bounded by the size of the dump.
func TestReportGrowth(t *testing.T) {
	const n = 20000
	crashed := func() *minidumptest.Builder {
		c := minidumptest.ContextAMD64{RIP: crashCode, RAX: 0x4000_0000_0000, RBX: 0x4000_0000_0000, RSP: crashStack}
		return minidumptest.New(false).System(linux).Memory(crashCode, []byte{0x8b, 0x04, 0x18, 0, 0, 0}).
			Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: crashStack, Data: make([]byte, 64)}, Context: c}).
			Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Flags: 1, Address: 0x4000_0000_0000, Context: c})
	}
	infos := make([]minidumptest.MemoryInfo, n)
	for i := range infos {
		infos[i] = minidumptest.MemoryInfo{Base: uint64(i) << 12, Size: 0x1000, Protection: 4}
	}
	nested := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for name, b := range map[string]*minidumptest.Builder{
		"memory infos": crashed().MemoryInfo(infos...),
		"mappings":     crashed().LinuxText(minidumptest.LinuxMaps, strings.Repeat("1000-2000 rwxp 0 0 0\n", n)),
		"handles":      crashed().Handles(true, make([]minidumptest.Handle, n)...),
		"soft errors":  crashed().Raw(0x4d7a0004, []byte("["+strings.Repeat(nested+",", 1000)+"0]")),
		"limits":       crashed().Raw(0x4d7a0003, []byte("x\n"+strings.Repeat("a  1  2\n", 8000))),
		"annotations":  crashed().Crashpad(minidumptest.Crashpad{Version: 1, Annotations: make([][2]string, n)}),
	} {
		data := b.Bytes()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := minidump.Open(data)
		if err != nil {
			t.Fatal(err)
		}
		var out counter
		r := stackwalk.Walk(t.Context(), d, fixed{}, stackwalk.Options{})
		if err := r.WriteJSON(&out, false); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		got := after.TotalAlloc - before.TotalAlloc
		if most := uint64(len(data))*64 + 1<<20; got > most || int(out) > 32*len(data)+1<<20 {
			t.Errorf("%s: %d bytes allocated and %d written for a dump of %d", name, got, out, len(data))
		}
		t.Logf("%s: %d bytes, %d allocated, %d written", name, len(data), got, out)
	}
}
