package object_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/object"
	"salvage/debug/object/pe"
	"salvage/debug/pdb"
	"salvage/internal/debugtest"
)

// stackRecords returns the unwind data of a file as symbolic's tools write it.
func stackRecords(t testing.TB, o *object.Object, data []byte) (list []string) {
	t.Helper()
	if o.Format == "pdb" {
		f, err := pdb.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		for w := range f.FrameData() {
			program := bytes.TrimRight(w.Program, " ")
			if !w.HasProgram {
				program = fmt.Append(nil, w.AllocatesBP)
			}
			list = append(list, fmt.Sprintf("STACK WIN %x %x %x %x %x %x %x %x %x 1 %s",
				w.Type, w.Addr, w.CodeSize, w.Prologue, w.Epilogue, w.Params, w.SavedRegs, w.Locals, w.MaxStack, program))
		}
		b, rep := cfi.NewBuilder(cfi.X86, false), new(object.Report)
		if err := o.Rules(b, rep); err != nil || rep.Lost > 0 || !o.HasRules {
			t.Errorf("rules: %v, %+v", err, rep)
		}
		if st, err := b.Write(io.Discard, o.Module.ID); err != nil || st.Ranges < len(list) {
			t.Errorf("%d ranges of %d records, %v", st.Ranges, len(list), err)
		}
		return list
	}
	f, err := pe.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	b := cfi.NewBuilder(cfi.AMD64, false)
	if err := o.Rules(b, new(object.Report)); err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for p := f.ExceptionTable(); len(p) >= 12; p = p[12:] {
		begin, end := binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])
		if begin == 0 {
			continue
		}
		info := binary.LittleEndian.Uint32(p[8:])
		list = append(list, fmt.Sprintf("STACK CFI INIT %x %x %s", begin, end-begin, slowBody(f, info)))
		if uint32(f.At(info)[1]) < end-begin { // else all of it is prologue
			bodies = append(bodies, list[len(list)-1])
		}
	}
	sameRules(t, b, bodies)
	return list
}

// The rules of images against a second reader, and the frames of that against what dump_syms wrote. Where
// registers are it got wrong: all that are moved to the stack in the place of one of them.
func TestPERulesAgainstSym(t *testing.T) {
	for name, functions := range map[string]int{"dump_syms_regtest64.exe": 195, "basic64.dll": 1502} {
		t.Run(name, func(t *testing.T) {
			data := debugtest.File(t, "dump_syms/windows/"+name)
			o, err := object.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			frame := func(record string) string { return strings.Join(strings.Fields(record)[:9], " ") } // up to the CFA
			var ours, theirs []string
			for _, r := range stackRecords(t, o, data) {
				ours = append(ours, frame(r))
			}
			sym := debugtest.File(t, "dump_syms/windows/"+strings.TrimSuffix(name, filepath.Ext(name))+".sym")
			for _, line := range strings.Split(string(sym), "\n") {
				if strings.HasPrefix(line, "STACK CFI INIT") {
					theirs = append(theirs, frame(line))
				}
			}
			slices.Sort(ours)
			slices.Sort(theirs)
			if len(ours) != functions || !slices.Equal(ours, theirs) {
				t.Errorf("%d functions, want %d; %d records differ", len(ours), functions, len(theirs))
			}
		})
	}
}

// slowBody says in Breakpad's words what an unwind information says of the code behind the prologue, as
// symbolic does: a second reader, of what this file needs only.
func slowBody(f *pe.File, info uint32) string {
	names := strings.Fields("rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15")
	size, rules, cfa := 8, "", ""
	var do func(info uint32)
	do = func(info uint32) {
		x := f.At(info)
		count := int(x[2])
		if x[0]>>3&4 != 0 { // what it is chained to has run before; symbolic has it the other way around
			do(binary.LittleEndian.Uint32(x[4+2*(count+count&1)+8:]))
		}
		codes := x[4 : 4+2*count]
		var ops [][]byte
		for at := 0; at < len(codes); {
			n := []int{1, 2, 1, 1, 2, 3, 2, 3, 2, 3, 1}[codes[at+1]&15]
			if codes[at+1] == 0x11 {
				n = 3
			}
			ops = append(ops, codes[at:at+2*n])
			at += 2 * n
		}
		for i := len(ops) - 1; i >= 0; i-- {
			op := ops[i]
			arg := int(op[1] >> 4)
			switch op[1] & 15 {
			case 0:
				size += 8
				rules += fmt.Sprintf(" $%s: .cfa %d - ^", names[arg], size)
			case 1:
				if arg == 0 {
					size += 8 * int(binary.LittleEndian.Uint16(op[2:]))
				} else {
					size += int(binary.LittleEndian.Uint32(op[2:]))
				}
			case 2:
				size += 8*arg + 8
			case 3:
				cfa = fmt.Sprintf(".cfa: $%s %d +", names[x[3]&15], size-int(x[3]>>4)*16)
			case 4:
				rules += fmt.Sprintf(" $%s: .cfa %d - ^", names[arg], size-8*int(binary.LittleEndian.Uint16(op[2:])))
			}
		}
	}
	do(info)
	return cmp.Or(cfa, fmt.Sprintf(".cfa: $rsp %d +", size)) + rules + " .ra: .cfa 8 - ^"
}

// sameRules compares the rules at the last byte of each function with those that records say.
func sameRules(t testing.TB, b *cfi.Builder, records []string) {
	t.Helper()
	open := func(b *cfi.Builder) *cfi.Cache {
		var out bytes.Buffer
		if _, err := b.Write(&out, debugid.ID{}); err != nil {
			t.Fatal(err)
		}
		c, err := cfi.Parse(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	text := cfi.NewBuilder(cfi.AMD64, false)
	var ends []uint64
	for _, r := range records {
		var addr, size uint64
		if _, err := fmt.Sscanf(r, "STACK CFI INIT %x %x", &addr, &size); err != nil {
			t.Fatal(err)
		}
		// What symbolic leaves out: registers that are not saved keep their values.
		rules := strings.SplitN(r, " ", 6)[5]
		for _, reg := range []string{"$rsi", "$rdi"} {
			if !strings.Contains(rules, reg+":") {
				rules += " " + reg + ": " + reg
			}
		}
		if err := text.StackCFI(breakpad.CFI{Init: true, Addr: addr, Size: size, Rules: []byte(rules)}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, addr+size-1)
	}
	ours, theirs := open(b), open(text)
	for _, addr := range ends {
		callee := cfi.Registers{Valid: 1<<17 - 1}
		for i := range callee.Values[:17] {
			callee.Values[i] = 0x1000000 * uint64(i+1)
		}
		mem := func(addr uint64, size uint8) (uint64, bool) { return addr * 0x9e3779b97f4a7c15, true }
		a, ok1 := ours.Lookup(addr)
		z, ok2 := theirs.Lookup(addr)
		if !ok1 || !ok2 {
			t.Errorf("%#x: rules %v, %v", addr, ok1, ok2)
			continue
		}
		x, err1 := a.Unwind(&callee, mem)
		y, err2 := z.Unwind(&callee, mem)
		if err1 != nil || err2 != nil || x != y {
			t.Errorf("%#x: %v %v, want %v %v", addr, x, err1, y, err2)
		}
	}
}
