package cfi

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"salvage/debug/breakpad"
)

// Registers of X86 that no machine has: what STACK WIN rules must know besides the machine's. Who unwinds
// sets them in the callee; unset they are unknown, and STACK WIN rules fail.
const (
	// X86First is 1 in the first frame of a stack, else 0.
	X86First = 30
	// X86CalleeParams holds how many bytes of parameters the frame below took, 0 if it is not known.
	// STACK WIN rules set it in the caller.
	X86CalleeParams = 31
)

// winTypes of records: frame data is more precise and goes first (minidump.md §3.10).
const (
	winFPO       = 0
	winFrameData = 4
)

// maxProgram bounds a compiled program string: values used twice are compiled twice. The longest of
// kernel32 and ntdll take some 60 bytes for a register.
const maxProgram = 1024

// winRecord is a compiled STACK WIN record, and what it was compiled from.
type winRecord struct {
	addr, size uint64
	fpo        bool
	row        row
	text       breakpad.Win
}

// StackWin adds a STACK WIN record. They go before all other rules. The returned error is always nil:
// records that cannot be used are counted.
func (b *Builder) StackWin(w breakpad.Win) error {
	r := winRecord{addr: w.Addr, size: uint64(w.CodeSize), fpo: w.Type == winFPO}
	var ok bool
	switch {
	case b.cpu != X86 || w.CodeSize == 0 || r.addr+r.size < r.addr:
	case w.Type == winFrameData && w.HasProgram:
		r.row, ok = winProgram(w)
	case w.Type == winFPO && !w.HasProgram:
		r.row, ok = winFrame(w), true
	}
	if !ok {
		b.bad++
		return nil
	}
	r.text = w
	r.text.Program = bytes.Clone(w.Program)
	b.win = append(b.win, r)
	return nil
}

// Params returns how many bytes of parameters the function takes that STACK WIN rules are for, or false if the rules
// are others.
func (r Rules) Params() (uint64, bool) {
	d := decoder{r.code}
	d.byte() // flags
	d.rule()
	for reg := d.byte(); reg != 0; reg = d.byte() {
		if rule := d.rule(); reg == X86CalleeParams+1 && r.cpu == X86 {
			e := evaluation{rules: r, callee: new(Registers)}
			v, err := e.value(rule)
			return v, err == nil
		}
	}
	return 0, false
}

// flushWin puts the STACK WIN records before what was added already, in the order of precedence: frame data,
// then, of records that overlap, the one that starts last. Compilers split a function at each push of its
// prologue, and give each part the function's end.
func (b *Builder) flushWin() {
	if len(b.win) == 0 {
		return
	}
	slices.SortStableFunc(b.win, func(x, y winRecord) int {
		if x.fpo != y.fpo {
			if y.fpo {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(y.addr, x.addr), cmp.Compare(x.size, y.size))
	})
	extents, first, rows := b.extents, b.first, b.rows
	b.extents, b.first, b.rows = nil, nil, nil
	for i := range b.win {
		b.begin(b.win[i].addr, b.win[i].size)
		b.add(0, &b.win[i].row)
	}
	n := uint32(len(b.rows))
	for _, f := range first {
		b.first = append(b.first, f+n)
	}
	b.extents, b.rows, b.win = append(b.extents, extents...), append(b.rows, rows...), nil
}

// sumOf compiles register + offset + the parameters of the callee.
func sumOf(register uint8, offset int64) []byte {
	code := appendSLEB([]byte{opBreg0 + register}, offset)
	return append(code, opBreg0+X86CalleeParams, 0, opPlus)
}

func frameSize(w breakpad.Win) int64 { return int64(w.Locals) + int64(w.SavedRegs) }

// winRow returns what all rows have: other registers than those that are mentioned are lost.
func winRow(w breakpad.Win) (r row) {
	for _, reg := range []uint64{3, 6, 7} { // ebx, esi, edi
		r.put(reg, rule{kind: ruleUndefined})
	}
	r.put(X86CalleeParams, rule{kind: ruleValExpr, expr: appendSLEB([]byte{opConsts}, int64(w.Params))})
	return r
}

// winFrame compiles a record without program: a frame whose size is known. Where a system call is the
// first frame its return address may lie there twice: the leftover one is the address it is at.
func winFrame(w breakpad.Win) row {
	r := winRow(w)
	at := sumOf(X86.SP, frameSize(w))
	at = append(at, opDup, opDeref, opBreg0+X86.PC, 0, opEq, opBreg0+X86First, 0, opAnd) // 1: leftover
	at = append(at, opLit0+4, opMul, opPlus, opLit0+4, opPlus)
	r.cfa = rule{kind: ruleValExpr, expr: at}
	r.put(uint64(X86.PC), rule{kind: ruleOffset, offset: -4})
	if w.AllocatesBP {
		r.put(uint64(X86.FP), rule{kind: ruleExpr, expr: sumOf(X86.SP, int64(w.SavedRegs)-8)})
	} else {
		// Forwarding functions of ntdll leave ebx alone, and what calls them needs it (Breakpad).
		r.put(3, rule{kind: ruleSame})
	}
	return r
}

// winValue is an operand of a program: a variable's name, a value, or ".undef".
type winValue struct {
	name string
	code []byte
}

// winProgram compiles a program string: postfix expressions that assign to variables. As nothing has
// effects, each variable is the expression that was assigned to it.
func winProgram(w breakpad.Win) (row, bool) {
	constant := func(v int64) []byte { return appendSLEB([]byte{opConsts}, v) }
	start := sumOf(X86.SP, frameSize(w))
	if bytes.IndexByte(w.Program, '@') >= 0 { // the frame is aligned: esp does not tell, but ebp does
		start = []byte{opBreg0 + X86.FP, 4}
	}
	vars := map[string][]byte{
		"$esp": {opBreg0 + X86.SP, 0}, "$ebp": {opBreg0 + X86.FP, 0}, "$ebx": {opBreg0 + 3, 0},
		".cbParams": constant(int64(w.Params)), ".cbCalleeParams": {opBreg0 + X86CalleeParams, 0},
		".cbSavedRegs": constant(int64(w.SavedRegs)), ".cbLocals": constant(int64(w.Locals)),
		".raSearch": start, ".raSearchStart": start,
	}
	assigned := map[string]bool{}
	var stack []winValue
	pop := func() (v winValue, ok bool) {
		if len(stack) == 0 {
			return v, false
		}
		v, stack = stack[len(stack)-1], stack[:len(stack)-1]
		return v, true
	}
	number := func() (code []byte, ok bool) {
		v, ok := pop()
		if v.name != "" {
			return vars[v.name], ok && vars[v.name] != nil
		}
		return v.code, ok && v.code != nil
	}
	for _, t := range tokensOf(w.Program) {
		op, isOperator := operators[t]
		switch {
		case t == "=":
			v, ok1 := pop()
			to, ok2 := pop()
			if v.name != "" {
				v.code = vars[v.name]
				ok1 = v.code != nil
			}
			if !ok1 || !ok2 || to.name == "" {
				return row{}, false
			}
			vars[to.name], assigned[to.name] = v.code, v.code != nil // nil: .undef
		case isOperator && op != opCallFrameCFA:
			b, ok := number()
			var a []byte
			if ok && op != opDeref {
				a, b = b, nil
				if b, ok = number(); ok {
					a, b = b, a
				}
			}
			if !ok || len(a)+len(b) > maxProgram {
				return row{}, false
			}
			stack = append(stack, winValue{code: append(slices.Concat(a, b), op)})
		case t == ".undef":
			stack = append(stack, winValue{})
		case t[0] == '$' || t[0] == '.':
			stack = append(stack, winValue{name: t})
		default:
			v, err := strconv.ParseInt(t, 10, 32)
			if err != nil {
				return row{}, false
			}
			stack = append(stack, winValue{code: constant(v)})
		}
	}
	r := winRow(w)
	if !assigned["$eip"] || vars["$esp"] == nil {
		return row{}, false
	}
	r.cfa = rule{kind: ruleValExpr, expr: vars["$esp"]}
	for name, reg := range map[string]uint64{"$eip": 8, "$ebp": 5, "$ebx": 3, "$esi": 6, "$edi": 7} {
		if assigned[name] {
			r.put(reg, rule{kind: ruleValExpr, expr: vars[name]})
		} else if vars[name] == nil {
			r.put(reg, rule{kind: ruleUndefined})
		}
	}
	return r, true
}

// tokensOf splits a program. Some writers leave out the space behind "=".
func tokensOf(program []byte) (tokens []string) {
	for _, t := range bytes.Fields(program) {
		if len(t) > 1 && t[0] == '=' {
			tokens = append(tokens, "=")
			t = t[1:]
		}
		tokens = append(tokens, string(t))
	}
	return tokens
}
