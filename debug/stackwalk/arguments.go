package stackwalk

import (
	"encoding/binary"
	"strings"

	"salvage/debug/minidump"
)

// Arguments are what a function of x86 was likely called with, by the list in its readable name: a guess, since each
// is taken for a word on the stack, whatever its type, and the calling convention is told from the name too.
type Arguments struct {
	This bool // a member function: the first is the object
	List []Argument
}

// Argument is one of Arguments.
type Argument struct {
	Name  string // its type; "this"
	Value uint32
	Known bool
}

// The numbers of registers that thiscall and calls use.
const (
	x86ECX = 1
	x86ESP = 4
)

// arguments fills in those of all frames of a thread. They lie where the caller's stack begins, up to where the stack of
// its caller does. Visual C++ passes the object in ecx, which is known of the innermost frame only (minidump-stackwalk
// looks into eax, on any system); others pass it as an argument.
func (t *Thread) arguments(d *minidump.Dump) {
	if d.System == nil || d.System.CPU != minidump.CPUX86 {
		return
	}
	var order binary.ByteOrder = binary.LittleEndian
	if d.BigEndian {
		order = binary.BigEndian
	}
	end := t.Stack.Addr + uint64(len(t.Stack.Data))
	sp := func(k int) uint64 {
		if k < len(t.Frames) {
			if v, ok := t.Frames[k].Registers.Get(x86ESP); ok {
				return v
			}
		}
		return end
	}
	for k := range t.Frames {
		f := &t.Frames[k]
		types, this, ok := argumentTypes(f.Function)
		if !ok {
			continue
		}
		at, limit := sp(k+1), sp(k+2)
		if t.Cut > 0 && k+1 == t.Cut { // the caller was left out
			at = limit
		}
		pop := func(name string) (a Argument) {
			a.Name = name
			if at < limit {
				if b := t.Stack.Read(at, 4); b != nil {
					a.Value, a.Known = order.Uint32(b), true
				}
				at += 4
			}
			return a
		}
		f.Arguments = &Arguments{This: this}
		list := &f.Arguments.List
		if this && d.System.OS == minidump.OSWindows {
			v, ok := f.Registers.Get(x86ECX)
			*list = append(*list, Argument{"this", uint32(v), ok})
		} else if this {
			*list = append(*list, pop("this"))
		}
		for _, name := range types {
			*list = append(*list, pop(name))
		}
	}
}

// argumentTypes parts the arguments in a readable name, as minidump-stackwalk does: from its first parenthesis to the
// last, at commas that are not within others or angle brackets. It fails where brackets do not match. This: the name
// before is qualified, so that it may be a member function.
func argumentTypes(function string) (types []string, this, ok bool) {
	name, rest, ok := strings.Cut(function, "(")
	end := strings.LastIndexByte(rest, ')')
	if !ok || end < 0 {
		return nil, false, false
	}
	list := rest[:end]
	angles, parens, start := 0, 0, 0
	for i, c := range []byte(list) {
		switch {
		case c == '<':
			angles++
		case c == '>':
			angles--
		case c == '(':
			parens++
		case c == ')':
			parens--
		case c == ',' && angles == 0 && parens == 0:
			types = append(types, strings.TrimSpace(list[start:i]))
			start = i + 1
		}
		if angles < 0 || parens < 0 {
			return nil, false, false
		}
	}
	if angles > 0 || parens > 0 {
		return nil, false, false
	}
	if last := strings.TrimSpace(list[start:]); types != nil || last != "" && last != "void" {
		types = append(types, last)
	}
	return types, strings.Contains(name, "::"), true
}
