package stackwalk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
)

// oneSym has the same symbols for every module, and has learned its id from a server.
type oneSym struct {
	*symFile
	id debugid.ID
}

func (p oneSym) Rules(_ *minidump.Module, addr uint64) (cfi.Rules, bool) { return p.rules.Lookup(addr) }
func (p oneSym) Covered(_ *minidump.Module, addr uint64) (covered, known bool) {
	return p.names.Covers(addr), true
}
func (p oneSym) Names(_ *minidump.Module, addr uint64) []stackwalk.Name {
	return stackwalk.NamesOf(p.names, addr)
}
func (p oneSym) Symbols(*minidump.Module) stackwalk.Symbols {
	return stackwalk.Symbols{Loaded: true, DebugFile: "app.pdb", DebugID: p.id}
}

// TestReasons: a failure of rules, and their absence, stand beside the scan that they led to.
func TestReasons(t *testing.T) {
	stack := make([]byte, 256)
	for at, pc := range map[int]uint64{16: 0x402050, 64: 0x403050} {
		binary.LittleEndian.PutUint64(stack[at:], pc)
	}
	b := minidumptest.New(false).System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux}).
		Module(minidumptest.Module{Addr: 0x400000, Size: 0x10000, Name: "/bin/app"}).
		Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: 0x7000, Data: stack}, Context: minidumptest.ContextAMD64{RIP: 0x401010, RSP: 0x7000}}).
		Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Context: minidumptest.ContextAMD64{RIP: 0x401010, RSP: 0x7000}})
	d, err := minidump.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	f := openSym(t, "app", []byte("MODULE Linux x86_64 0102030405060708090A0B0C0D0E0F101 app\n"+
		"FUNC 1000 100 0 a\nFUNC 2000 100 0 b\nFUNC 3000 100 0 c\nSTACK CFI INIT 1000 100 .cfa: $rbx 16 + .ra: .cfa 8 - ^\n"))
	id := debugid.FromTimestamp(1, 2)
	r := stackwalk.Walk(t.Context(), d, oneSym{f, id}, stackwalk.Options{})
	var out bytes.Buffer
	if err := r.WriteJSON(&out, false); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Modules []struct {
			DebugFile string `json:"debug_file"`
			DebugID   string `json:"debug_id"`
		}
		Threads []struct {
			Frames []struct {
				Function, Trust string
				Failed          string `json:"rules_failed_reason"`
				NoRules         bool   `json:"no_rules"`
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if m := got.Modules[0]; m.DebugFile != "app.pdb" || m.DebugID != id.Breakpad() {
		t.Errorf("module %+v", m)
	}
	frames := got.Threads[0].Frames
	if len(frames) != 3 {
		t.Fatalf("frames %+v", frames)
	}
	for i, want := range []struct {
		function, trust, failed string
		noRules                 bool
	}{{"a", "context", "rule reads memory that is not there", false}, {"b", "scan", "", true}, {"c", "scan", "", true}} {
		if f := frames[i]; f.Function != want.function || f.Trust != want.trust || f.Failed != want.failed || f.NoRules != want.noRules {
			t.Errorf("frame %d: %+v", i, f)
		}
	}
	for _, brief := range []bool{false, true} {
		out.Reset()
		if err := r.WriteHuman(&out, stackwalk.HumanOptions{Brief: brief, Reasons: true}); err != nil {
			t.Fatal(err)
		}
		const want = "\nWhat stacks lack:\n  app: unwind rules fail (rule reads memory that is not there): stack scanning (1 frame)\n" +
			"  app: no unwind rules: stack scanning (1 frame)\n  app: no unwind rules: the stack ends (1 frame)\n"
		if !strings.Contains(out.String(), want) {
			t.Errorf("brief %v: %s", brief, &out)
		}
	}
	if strings.Contains(textOf(t, r, false), "What stacks lack") {
		t.Error("not asked for")
	}
}
