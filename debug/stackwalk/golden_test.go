package stackwalk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
	"salvage/debug/unwind"
)

var update = flag.Bool("update", false, "write the golden files")

// fixed is a Provider that knows names by address in the process and nothing else.
type fixed struct {
	names   map[uint64][]stackwalk.Name
	symbols map[string]stackwalk.Symbols // by name of the module
}

func (p fixed) Names(m *minidump.Module, addr uint64) []stackwalk.Name { return p.names[m.Addr+addr] }
func (p fixed) Rules(*minidump.Module, uint64) (cfi.Rules, bool)       { return cfi.Rules{}, false }
func (p fixed) Covered(m *minidump.Module, addr uint64) (bool, bool) {
	return p.names[m.Addr+addr] != nil, len(p.names) > 0
}
func (p fixed) Symbols(m *minidump.Module) stackwalk.Symbols { return p.symbols[m.Name] }

func walk(t *testing.T, b *minidumptest.Builder, p stackwalk.Provider, frames int) *stackwalk.Report {
	t.Helper()
	d, err := minidump.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return stackwalk.Walk(t.Context(), d, p, stackwalk.Options{Limits: unwind.Limits{Frames: frames}})
}

func words(w ...uint64) (b []byte) {
	for _, w := range w {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// stack is the memory of a stack whose frames are linked by frame pointers, 16 bytes each, with the given
// return addresses.
func stack(base uint64, returns ...uint64) minidumptest.Region {
	var w []uint64
	for i, r := range returns {
		link := base + 16*uint64(i+1)
		if i == len(returns)-1 {
			link = 0
		}
		w = append(w, link, r)
	}
	return minidumptest.Region{Addr: base, Data: words(w...)}
}

var linux = minidumptest.System{
	Architecture: minidumptest.AMD64, Platform: minidumptest.Linux, Level: 6, Revision: 0x2d07, Processors: 8,
	CSD: "Linux 4.9.60 #1 SMP Mon Jan 1 00:00:00 UTC 2018 x86_64 GNU/Linux",
}

const hostile = "/tmp/\x1b[31m\"evil\"\n<script>&\a\u2028.so"

// full is a dump that has everything a report tells.
func full() (*minidumptest.Builder, stackwalk.Provider) {
	b := minidumptest.New(false)
	b.Time = 1_600_000_100
	b.System(linux).
		Misc(minidumptest.Misc{Form: 1, Flags: 3, PID: 4711, Create: 1_600_000_000}).
		LinuxText(minidumptest.LinuxCPUInfo, "processor : 0\nmicrocode : 0x1e34\n").
		LinuxText(minidumptest.LinuxLSBRelease, "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n").
		LinuxText(minidumptest.LinuxMaps, "00400000-00402000 r-xp 00000000 00:00 0 /bin/app\n00700000-00800000 r-xp 00000000 00:00 0 \n").
		LinuxText(minidumptest.LinuxAuxv, "x").
		Raw(10, []byte{1}).Raw(0x8003, []byte{1}).Raw(10, []byte{1}).Raw(0x4d7a9999, []byte{1}).
		Thread(minidumptest.Thread{
			ID: 1, Name: "idle", TEB: 0x7000, Stack: stack(0x20000, 0x401235, 0x700124, 0x401345, 0),
			Context: minidumptest.ContextAMD64{RIP: 0x300010, RSP: 0x1fff0, RBP: 0x20000},
		}).
		Thread(minidumptest.Thread{ID: 2, Name: "main", Stack: stack(0x10000, 0x401235, 0x401346), Context: minidumptest.ContextAMD64{RIP: 1}}).
		Thread(minidumptest.Thread{ID: 3, Name: "dumper", Context: minidumptest.ContextAMD64{RIP: 0x400010, RSP: 8}}).
		Thread(minidumptest.Thread{ID: 4}).
		BreakpadInfo(1, 3, 0).Assertion("p != nullptr", "Bar::bar", `c:\src\bar.cc`, 20, 1).
		Memory(0x401234, []byte{0xc7, 0x40, 0x45, 5, 0, 0, 0}). // mov dword [rax + 0x45], 5
		Memory(0x7068, binary.LittleEndian.AppendUint32(nil, 2)).
		Module(minidumptest.Module{Addr: 0x400000, Size: 0x2000, Name: "/bin/app", Version: [4]uint32{1, 2, 3, 4}, CodeView: minidumptest.ELF{BuildID: []byte{1, 2, 3, 4}}}).
		Module(minidumptest.Module{Addr: 0x300000, Size: 0x1000, Name: hostile}).
		Unloaded(minidumptest.Unloaded{Addr: 0x700100, Size: 0x100, Name: "/lib/gone.so"}, minidumptest.Unloaded{Addr: 0x700000, Size: 0x1000, Name: "/lib/gone.so"}).
		Exception(minidumptest.Exception{ThreadID: 2, Code: 11, Flags: 1, Address: 0x45, Context: minidumptest.ContextAMD64{
			RIP: 0x401234, RSP: 0xfff0, RBP: 0x10000, R15: 15,
		}}).
		Crashpad(minidumptest.Crashpad{
			Version: 1, ReportID: [16]byte{1}, Annotations: [][2]string{{"ptype", "renderer"}, {"ptype", "again \x01\""}},
			Modules: []minidumptest.CrashpadModule{
				{Index: 0, List: []string{"abort() called"}, Annotations: [][2]string{{"k", "v"}}, Objects: []minidumptest.Annotation{
					{Name: "text", Type: 1, Value: []byte("caf\xc3\xa9 \xff")}, {Name: "bytes", Type: 0x8001, Value: []byte{0, 0xff}},
				}},
				{Index: 9},
			},
		})
	return b, fixed{
		names: map[uint64][]stackwalk.Name{
			0x401234: {
				{Function: "_ZN3fooEv", File: "/src/foo.h", Line: 7, LineStart: 0x1230}, {Function: "Bar::bar", File: `c:\src\bar.cc`, Line: 20},
				{Function: "main", File: "/src/main.cc", Line: 42, Start: 0x1200},
			},
			0x401345: {{Function: "_start", Start: 0x1300}},
			0x401344: {{File: "/src/main.cc"}},
		},
		symbols: map[string]stackwalk.Symbols{
			"/bin/app": {Loaded: true, Corrupt: true, URL: "https://symbols.example.org/app.sym", Reason: "2 lines cannot be used"},
			hostile:    {Missing: true, Reason: "no symbols were found"},
		},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	name = "testdata/" + name + ".golden"
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	same(t, name, got, string(want))
}

// same compares texts and shows where they part.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("%s: from byte %d on\ngot  %q\nwant %q", what, i, got[max(0, i-80):min(len(got), i+200)], want[max(0, i-80):min(len(want), i+200)])
}

func jsonOf(t *testing.T, r *stackwalk.Report, pretty bool) string {
	t.Helper()
	var out strings.Builder
	if err := r.WriteJSON(&out, pretty); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func textOf(t *testing.T, r *stackwalk.Report, brief bool) string {
	t.Helper()
	var out strings.Builder
	if err := r.WriteHuman(&out, stackwalk.HumanOptions{Brief: brief}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGolden(t *testing.T) {
	b, p := full()
	r := walk(t, b, p, 0)
	golden(t, "full.json", jsonOf(t, r, true)+"\n")
	golden(t, "full.txt", textOf(t, r, false))
	var raw strings.Builder
	if err := stackwalk.WriteDump(&raw, r.Dump, false); err != nil {
		t.Fatal(err)
	}
	golden(t, "full.dump", raw.String())
	if text := textOf(t, r, false); !strings.HasPrefix(text, textOf(t, r, true)) || strings.Contains(textOf(t, r, true), "Thread 0") {
		t.Error("the brief text is not the start of the text, up to the thread that crashed")
	}

	// Recursion: the middle is left out.
	returns := make([]uint64, 20)
	for i := range returns {
		returns[i] = 0x401235
	}
	b = minidumptest.New(false).System(linux).Exception(minidumptest.Exception{ThreadID: 2, Code: 6}).
		Module(minidumptest.Module{Addr: 0x400000, Size: 0x2000, Name: "app"}).
		Thread(minidumptest.Thread{ID: 2, Stack: stack(0x10000, returns...), Context: minidumptest.ContextAMD64{RIP: 0x401300, RSP: 0xfff0, RBP: 0x10000}})
	r = walk(t, b, p, 4)
	golden(t, "deep.json", jsonOf(t, r, true)+"\n")
	golden(t, "deep.txt", textOf(t, r, true))
}

// Compact and indented output are the same value, with all keys in order and no newline at the end.
func TestJSONForm(t *testing.T) {
	b, p := full()
	r := walk(t, b, p, 0)
	compact, pretty := jsonOf(t, r, false), jsonOf(t, r, true)
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(compact), "", "  "); err != nil {
		t.Fatal(err)
	}
	same(t, "indented", pretty, indented.String())
	var v any
	if err := json.Unmarshal([]byte(compact), &v); err != nil {
		t.Fatal(err)
	}
	sorted := &strings.Builder{}
	e := json.NewEncoder(sorted)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // sorts the keys of maps
		t.Fatal(err)
	}
	same(t, "sorted", strings.ReplaceAll(compact, "\u2028", `\u2028`), strings.TrimSuffix(sorted.String(), "\n"))
}

// Text of a dump goes through JSON unchanged, whatever it is.
func TestHostileText(t *testing.T) {
	var all []byte
	for c := range 256 {
		all = append(all, byte(c))
	}
	for _, name := range []string{hostile, string(all), "\xff\xfe", "\xed\xa0\x80", "\xc3", "", "\u007f\u0085\U0001f4a9\ufffd"} {
		d := &minidump.Dump{Crashpad: &minidump.Crashpad{Annotations: []minidump.KeyValue{{Key: name, Value: name}}}}
		r := &stackwalk.Report{Dump: d, Crashing: -1}
		for _, pretty := range []bool{false, true} {
			var v struct {
				Crashpad struct {
					Annotations []struct{ Name, Value string }
				}
			}
			text := jsonOf(t, r, pretty)
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			want := string([]rune(name)) // an invalid byte is a U+FFFD
			if got := v.Crashpad.Annotations[0]; got.Name != want || got.Value != want {
				t.Errorf("%q is read as %+q", want, got)
			}
			if !slices.Equal([]byte(text), []byte(string([]rune(text)))) {
				t.Errorf("%q: not UTF-8", name)
			}
		}
	}
}

type failing struct{ n int }

func (w *failing) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

var errFull = errors.New("full")

func TestWriterError(t *testing.T) {
	b, p := full()
	r := walk(t, b, p, 0)
	for _, n := range []int{0, 4096} {
		if err := r.WriteJSON(&failing{n}, true); !errors.Is(err, errFull) {
			t.Errorf("WriteJSON = %v, want %v", err, errFull)
		}
	}
	if err := r.WriteHuman(&failing{}, stackwalk.HumanOptions{}); !errors.Is(err, errFull) {
		t.Errorf("WriteHuman = %v, want %v", err, errFull)
	}
}
