package stackwalk_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/minidump/minidumptest"
	"salvage/debug/stackwalk"
	"salvage/debug/unwind"
	"salvage/internal/debugtest"
)

// called are names of functions, the innermost first, and what their arguments are then. Each has a frame of 4 words
// above its saved frame pointer, which are arg 0 and so on of the function below.
var called = []struct{ name, want string }{
	{"f(int, char const*)", "cdecl int=a0 char const*=a1"},
	{"C::m(int)", "thiscall this=? int=b0"}, // of others than Windows: b0, b1
	{"g()", "cdecl"},
	{"h(void)", "cdecl"},
	{"std::map<a, b<c, d>>::at(std::pair<x, y>, void (*)(int, int), ...)", "thiscall this=? std::pair<x, y>=e0 void (*)(int, int)=e1 ...=e2"},
	{"plain", ""},
	{"many(a, b, c, d, e, f, g, h, i)", "cdecl a=g0 b=g1 c=g2 d=g3 e=g4 f=g5 g=0x00007100 h=0x00409020 i=?"},
	{"operator>(a)", "cdecl a=h0"},
	{"lost(a>b)", ""},
	{"lost(a<b)", ""},
	{"(anonymous namespace)::lost(int)", ""},
	{"i(a, (b, c), d) const", "cdecl a=l0 (b, c)=l1 d=l2"},
	{"last(a, b)", "cdecl a=m0 b=m1"},
}

// argumentsDump is a dump of the functions called. A word of the stack is the letter of its frame and a number.
func argumentsDump(os uint32, bigEndian bool) (dump []byte, symbols string, value func(string) uint32) {
	const size = 8 // words: what is below is called with 6 of them
	value = func(s string) uint32 { return 0xf0000000 | uint32(s[0])<<8 | uint32(s[1]-'0') }
	b := minidumptest.New(bigEndian)
	var order binary.AppendByteOrder = binary.LittleEndian
	if bigEndian {
		order = binary.BigEndian
	}
	text := "MODULE windows x86 0102030405060708090A0B0C0D0E0F101 app\n"
	var stack []byte
	for i, c := range called {
		text += fmt.Sprintf("FUNC %x 100 0 %s\n", 0x1000*(i+1), c.name)
		at := uint32(0x7000 + len(stack) + 4*size)
		next, pc := at, uint32(0x400000+0x1000*(i+2)+0x20)
		if i+1 == len(called) {
			next, pc = 0, 0
		}
		stack = order.AppendUint32(stack, next)
		stack = order.AppendUint32(stack, pc)
		for n := range size - 2 {
			stack = order.AppendUint32(stack, value(fmt.Sprintf("%c%d", 'a'+i, n)))
		}
	}
	ctx := minidumptest.ContextX86{EIP: 0x401020, ESP: 0x7000, EBP: 0x7000, EAX: 0xeaa, ECX: 0xecc}
	return b.System(minidumptest.System{Architecture: minidumptest.X86, Platform: os, CPU: [6]uint32{0x756e6547, 0x49656e69, 0x6c65746e}}).
		Module(minidumptest.Module{Addr: 0x400000, Size: 0x20000, Name: "app", CodeView: minidumptest.PDB70{
			UUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Age: 1, File: "app"}}).
		Thread(minidumptest.Thread{ID: 1, Stack: minidumptest.Region{Addr: 0x7000, Data: stack}, Context: ctx}).
		Exception(minidumptest.Exception{ThreadID: 1, Code: 11, Context: ctx}).Bytes(), text, value
}

func walkArguments(t *testing.T, data []byte, symbols string, o stackwalk.Options) *stackwalk.Report {
	t.Helper()
	d, err := minidump.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return stackwalk.Walk(t.Context(), d, oneSym{symFile: openSym(t, "app", []byte(symbols))}, o)
}

func TestArguments(t *testing.T) {
	for _, os := range []uint32{minidumptest.Windows, minidumptest.Linux} {
		for _, bigEndian := range []bool{false, true} {
			data, symbols, value := argumentsDump(os, bigEndian)
			r := walkArguments(t, data, symbols, stackwalk.Options{Arguments: true})
			var out bytes.Buffer
			if err := r.WriteJSON(&out, false); err != nil {
				t.Fatal(err)
			}
			var report struct {
				Threads []struct {
					Frames []struct {
						Arguments *struct {
							Convention string
							List       []struct {
								Name  string
								Value *string
							}
						}
					}
				}
			}
			if err := json.Unmarshal(out.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			frames := report.Threads[0].Frames
			if len(frames) != len(called) {
				t.Fatalf("%d frames", len(frames))
			}
			for i, c := range called {
				got := ""
				if a := frames[i].Arguments; a != nil {
					got = a.Convention
					for _, arg := range a.List {
						text := "?"
						if arg.Value != nil {
							text = *arg.Value
						}
						got += " " + arg.Name + "=" + text
					}
				}
				want := c.want
				if os == minidumptest.Linux { // the object is an argument as others
					want = strings.NewReplacer("this=? int=b0", "this=b0 int=b1", "this=? std::pair<x, y>=e0 void (*)(int, int)=e1 ...=e2", "this=e0 std::pair<x, y>=e1 void (*)(int, int)=e2 ...=e3").Replace(want)
				}
				want = regexp.MustCompile(`=[a-m]\d`).ReplaceAllStringFunc(want, func(s string) string { return fmt.Sprintf("=0x%08x", value(s[1:])) })
				if c.name == "last(a, b)" {
					want = "cdecl a=? b=?" // its caller is not known, where the stack ends
				}
				if got != want {
					t.Errorf("%#x %v: %s: %s, want %s", os, bigEndian, c.name, got, want)
				}
			}
			if r := walkArguments(t, data, symbols, stackwalk.Options{}); r.Threads[0].Frames[0].Arguments != nil {
				t.Error("not asked for")
			}
		}
	}
	// Of the innermost frame ecx is known.
	data, symbols, _ := argumentsDump(minidumptest.Windows, false)
	symbols = strings.Replace(symbols, "f(int, char const*)", "D::f(int)", 1)
	a := walkArguments(t, data, symbols, stackwalk.Options{Arguments: true}).Threads[0].Frames[0].Arguments
	if len(a.List) != 2 || a.List[0] != (stackwalk.Argument{Name: "this", Value: 0xecc, Known: true}) {
		t.Errorf("%+v", a)
	}
	// A frame whose caller is left out.
	for _, f := range walkArguments(t, data, symbols, stackwalk.Options{Arguments: true, Limits: unwind.Limits{Frames: 2}}).Threads[0].Frames[:1] {
		for _, arg := range f.Arguments.List[1:] {
			if arg.Known {
				t.Errorf("%+v", f.Arguments)
			}
		}
	}
}

// TestArgumentsTool compares the text with minidump-stackwalk's. It takes eax for the object where Visual C++ has ecx,
// and has an argument for an empty list and for void.
func TestArgumentsTool(t *testing.T) {
	tool := debugtest.Program(t, "stackwalk", "minidump-stackwalk")
	for _, change := range []string{"", "D::f(int)"} {
		data, symbols, _ := argumentsDump(minidumptest.Windows, false)
		if change != "" {
			symbols = strings.Replace(symbols, called[0].name, change, 1)
		}
		dir := t.TempDir()
		file, sym := filepath.Join(dir, "dump"), filepath.Join(dir, "app.sym")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(sym, []byte(symbols), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tool, "--human", "--recover-function-args", file, sym).Output()
		if err != nil {
			t.Fatal(err)
		}
		theirs := regexp.MustCompile(`(?m)^        arg 0 \((void)?\) = .*\n`).ReplaceAllString(string(out), "")
		theirs = strings.Replace(theirs, "arg 0 (this) = 0x00000eaa", "arg 0 (this) = 0x00000ecc", 1)
		same(t, change, textOf(t, walkArguments(t, data, symbols, stackwalk.Options{Arguments: true}), false), theirs)
	}
}
