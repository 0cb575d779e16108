// Package demangle makes linkage names readable.
//
// It knows Itanium C++ (leading underscore of Mach-O included), both Rust schemes and Microsoft's C++; names of other
// languages, and names that are none, come back as they are. It keeps no state and is safe for concurrent
// use. Hostile names are bounded: in length, and in the length of what they expand to.
package demangle

import (
	"strconv"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

const (
	// maxInput is the longest name that is tried; C++ names of 82 KB have been seen.
	maxInput = 128 << 10
	// maxOutput, a power of two: back references let a short name ask for gigabytes.
	maxOutput = 18
)

// Name returns the readable form of a linkage name, with parameters: ns::f(int).
func Name(linkage string) string {
	if len(linkage) > maxInput {
		return linkage
	}
	if name, ok := msvc(linkage, msvcReadable); ok {
		return name
	}
	mangled, ok := itanium(linkage)
	if !ok {
		return linkage
	}
	var name string
	var err error
	if isRust(mangled) {
		name, err = rust(mangled)
	} else {
		name, err = demangle.ToString(repair(mangled), demangle.MaxLength(maxOutput), demangle.LLVMStyle)
	}
	if err != nil || name == "" {
		return linkage
	}
	return name
}

// itanium returns a name of C++ or Rust without what Mach-O puts before it, and whether it is one.
func itanium(name string) (string, bool) {
	if strings.HasPrefix(name, "__Z") || strings.HasPrefix(name, "__R") {
		name = name[1:] // Mach-O puts an underscore before every name of C
	}
	return name, strings.HasPrefix(name, "_Z") || strings.HasPrefix(name, "_R")
}

// Plain returns the readable form that symbol files have: without the type that is returned, and without what
// compilers append to a copy or a part of a function (.cold, .isra.0, [clone …]). Names of C stay as they are but
// for that.
func Plain(linkage string) string {
	if len(linkage) > maxInput {
		return linkage
	}
	base := trimClones(linkage)
	if name, ok := msvc(base, msvcSym); ok {
		return name
	}
	mangled, ok := itanium(base)
	if !ok {
		return base
	}
	if isRust(mangled) {
		if name, err := rust(mangled); err == nil && name != "" {
			return name
		}
		return base
	}
	if name, ok := fastPlain(mangled); ok {
		return name
	}
	if name := slowPlain(mangled); name != "" {
		return name
	}
	return base
}

// slowPlain asks the library; the result is empty if it does not know the name.
func slowPlain(mangled string) string {
	tree, err := demangle.ToAST(repair(mangled), demangle.MaxLength(maxOutput))
	if err != nil {
		return ""
	}
	if t, ok := tree.(*demangle.Typed); ok {
		f := t.Type
		if m, ok := f.(*demangle.MethodWithQualifiers); ok {
			f = m.Method
		}
		if f, ok := f.(*demangle.FunctionType); ok {
			f.Return = nil
		}
	}
	return demangle.ASTToString(tree, demangle.MaxLength(maxOutput))
}

var cloneSuffixes = []string{".cold", ".constprop", ".llvm", ".localalias", ".lto_priv", ".isra", ".part", ".str"}

// trimClones takes the marks of copies and parts off the end of a name.
func trimClones(name string) string {
	for {
		rest := strings.TrimRight(name, "0123456789")
		if rest == name || !strings.HasSuffix(rest, ".") {
			rest = name
		} else {
			rest = rest[:len(rest)-1]
		}
		found := false
		for _, s := range cloneSuffixes {
			if cut, ok := strings.CutSuffix(rest, s); ok && cut != "" {
				name, found = cut, true
			}
		}
		if i := strings.LastIndex(name, " [clone "); !found && i > 0 && strings.HasSuffix(name, "]") {
			name, found = name[:i], true
		}
		if !found {
			return name
		}
	}
}

// Undecorate takes off a name of C what compilers for Windows add to tell the calling convention, and returns how
// many bytes of parameters it says: _f@8 of stdcall, @f@8 of fastcall, f@@8 of vectorcall; and on 32-bit x86 the
// one underscore that cdecl puts before all. Other names come back as they are.
func Undecorate(linkage string, x86 bool) (name string, params uint32) {
	if strings.HasPrefix(linkage, "?") || strings.ContainsAny(linkage, ":(<") {
		return linkage, 0
	}
	if i := strings.LastIndexByte(linkage, '@'); i > 1 && digits(linkage[i+1:]) {
		if n, err := strconv.ParseUint(linkage[i+1:], 10, 32); err == nil {
			switch {
			case linkage[i-1] == '@':
				return linkage[:i-1], uint32(n)
			case linkage[0] == '_' || linkage[0] == '@':
				return linkage[1:i], uint32(n)
			}
		}
	}
	if name, ok := strings.CutPrefix(linkage, "_"); ok && x86 && name != "" {
		return name, 0
	}
	return linkage, 0
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
