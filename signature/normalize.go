package signature

import (
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxName bounds a normalised frame, in bytes. A signature is a quarter of it.
const maxName = 1024

// entry is a frame, or a call inlined into one, under its normalised name.
type entry struct {
	frame    int // index in the thread
	inline   bool
	name     string
	byModule bool // named by its module, for want of more
}

// normalize names a frame by the first of these that is known and leaves something: its function, its
// file and line, its module, an unloaded module, its address. (Siggen stops at the first that is known.)
func (l *Lists) normalize(f *Frame, lowerModules bool) (name string, byModule bool) {
	if f.Function != "" {
		source := sourcePath(f.File)
		function := f.Function
		if qualified, ok := rustPaths[[2]string{source, function}]; ok {
			function = qualified
		}
		if name = l.function(function, strings.HasSuffix(source, ".rs"), f.Line); name != "" {
			return clip(name), false
		}
	}
	if file := baseName(sourcePath(f.File)); file != "" && f.Line > 0 {
		return clip(file) + "#" + strconv.Itoa(f.Line), false
	}
	if name = strings.TrimSpace(strings.Trim(f.Module, "[]")); name != "" { // [vdso]
		if lowerModules {
			name = strings.ToLower(name)
		}
		return clip(name), true
	}
	if len(f.UnloadedModules) > 0 && f.UnloadedModules[0].Module != "" {
		return "(unloaded " + clip(f.UnloadedModules[0].Module) + ")", false
	}
	return clip(address(f.Offset)), false
}

// address returns a hexadecimal address as @0x and digits without leading zeros, other text behind an @.
func address(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	digits := strings.ToLower(text)
	digits = strings.TrimPrefix(digits, "0x")
	if digits == "" || strings.Trim(digits, "0123456789abcdef") != "" {
		return "@" + text
	}
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		digits = "0"
	}
	return "@0x" + digits
}

// sourcePath returns the path in vcs:root:path:revision and in C:path, otherwise all of file.
func sourcePath(file string) string {
	switch parts := strings.SplitN(file, ":", 5); len(parts) {
	case 4:
		return parts[2]
	case 2:
		return parts[1]
	}
	return file
}

// baseName returns the last element of a path, whose separator is a backslash if it has one.
func baseName(file string) string {
	file = strings.TrimRight(file, `/\`)
	if i := strings.LastIndexByte(file, '\\'); i >= 0 {
		return file[i+1:]
	}
	if file == "" {
		return ""
	}
	return path.Base(file)
}

// clip cuts a name that is too long to be one.
func clip(name string) string {
	if len(name) <= maxName {
		return name
	}
	cut := maxName - len("...")
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + "..."
}

// rustPaths completes names that the standard library of Rust 1.34 has in symbols without their modules
// (Mozilla bug 1544246).
var rustPaths = map[[2]string]string{
	{"src/liballoc/raw_vec.rs", "capacity_overflow"}:       "alloc::raw_vec::capacity_overflow",
	{"src/libcore/option.rs", "expect_failed"}:             "core::option::expect_failed",
	{"src/libcore/panicking.rs", "panic_bounds_check"}:     "core::panicking::panic_bounds_check",
	{"src/libcore/panicking.rs", "panic_fmt"}:              "core::panicking::panic_fmt",
	{"src/libcore/panicking.rs", "panic"}:                  "core::panicking::panic",
	{"src/libcore/slice/mod.rs", "slice_index_order_fail"}: "core::slice::slice_index_order_fail",
	{"src/libstd/panicking.rs", "begin_panic_fmt"}:         "std::panicking::begin_panic_fmt",
	{"src/libstd/panicking.rs", "continue_panic_fmt"}:      "std::panicking::continue_panic_fmt",
	{"src/libstd/panicking.rs", "rust_panic_with_hook"}:    "std::panicking::rust_panic_with_hook",
}

var (
	// What compilers append to the name of a copy of a function, or of a part of it: GCC's c++filt,
	// LLVM's demangler, the bare linkage name.
	cloneSuffix = regexp.MustCompile(`(?:\s*\[clone [^\]]*\]|\s+\(\.[a-z_][^()]*\)|\.cold(?:\.\d+)?|\.localalias|\.(?:isra|part|constprop|lto_priv|llvm|clone|__uniq)(?:\.\d+)+)+\s*$`)
	// The hash of Rust's legacy mangling.
	rustHash    = regexp.MustCompile(`::h[0-9a-f]{16}$`)
	clangLambda = regexp.MustCompile(`::\$_\d+::`)

	noSpace       = strings.NewReplacer(" *", "*", " &", "&", " ,", ",")
	msvcAnonymous = strings.NewReplacer("`anonymous namespace'", "(anonymous namespace)", "`anonymous-namespace'", "(anonymous namespace)")
)

// function takes from a function's name what differs between builds and between instances of the same
// code: qualifiers, return type, template arguments, parameters, clone suffixes, hashes.
//
// It differs from siggen where that merges or splits what it should not. -> closes no bracket. Clone
// suffixes go first and all of them; siggen knows [clone .cold], and takes "const" for the name of
// "f() const [clone .cold]". A Rust hash has 16 digits (not the "add" of ::hadd) and goes whatever the
// source file. Parameters go even if they mention (anonymous namespace). Of neighbouring lambdas a::$_1::$_2:: both lose their number. Receivers of Go, as in
// main.(*T).f, are no parameters. Return types behind a name (Swift) are dropped like those before it.
// "operator new(unsigned)" keeps both words. A line number of 0 is not appended.
func (l *Lists) function(name string, rust bool, line int) string {
	name = strings.TrimSpace(name)
	name = cutEnd(cutEnd(name, cloneSuffix), rustHash)
	if rust {
		name = dropReturnType(name)
		name = collapse(name, '<', '>', false, func(_, group string) string {
			if strings.Contains(group, " as ") {
				return group
			}
			return "<T>"
		})
		name = collapse(name, '(', ')', false, func(_, _ string) string { return "" })
	} else {
		for _, qualifier := range []string{"const", "const&", "const &", "&&", "&"} {
			if rest, ok := strings.CutSuffix(name, qualifier); ok {
				name = strings.TrimSpace(rest)
			}
		}
		if !strings.Contains(name, "::operator") {
			name = dropReturnType(name)
		}
		name = msvcAnonymous.Replace(name)
		for range 2 { // a match eats the :: that the next one needs
			name = clangLambda.ReplaceAllString(name, "::$$::")
		}
		name = l.collapseTypes(name, 0)
		name = collapse(name, '(', ')', false, func(before, group string) string {
			if group == "(anonymous namespace)" || strings.HasSuffix(before, "operator") || strings.HasSuffix(before, ".") {
				return group
			}
			return ""
		})
	}
	if _, ok := l.lineNumbers.match(name); ok && line > 0 {
		name += ":" + strconv.Itoa(line)
	}
	name = noSpace.Replace(name)
	name = strings.ReplaceAll(strings.ReplaceAll(name, ", ", ","), ",", ", ")
	return strings.TrimSpace(name)
}

// cutEnd removes what end matches in the last 512 bytes of name, unless it is all of it.
func cutEnd(name string, end *regexp.Regexp) string {
	from := max(len(name)-512, 0)
	if at := end.FindStringIndex(name[from:]); at != nil && from+at[0] > 0 {
		return name[:from+at[0]]
	}
	return name
}

// collapseTypes replaces template arguments by <T>. depth counts how often it was called from itself.
func (l *Lists) collapseTypes(name string, depth int) string {
	return collapse(name, '<', '>', l.defects, func(before, group string) string {
		switch {
		case group == "<name omitted>", strings.Contains(group, " as "), strings.Contains(group, " in "), strings.HasSuffix(before, "operator"):
			return group
		case strings.HasSuffix(before, "IPC::ParamTraits") && strings.HasSuffix(group, ">") && depth < 8:
			return "<" + l.collapseTypes(group[1:len(group)-1], depth+1) + ">" // the argument is what the method belongs to
		}
		return "<T>"
	})
}

// collapse replaces every outermost group from open to close by what with makes of it and of the text
// between the group before and this one. A group that is not closed ends with the text. arrows: -> closes a
// group, as in siggen (crash-pipeline.md §9, 17).
func collapse(text string, open, closing byte, arrows bool, with func(before, group string) string) string {
	var b strings.Builder
	done, start, depth := 0, 0, 0
	group := func(end int) {
		b.WriteString(text[done:start])
		b.WriteString(with(text[done:start], text[start:end]))
		done = end
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == open:
			if depth == 0 {
				start = i
			}
			depth++
		case c == closing && depth > 0 && (arrows || !isArrow(text, i)):
			if depth--; depth == 0 {
				group(i + 1)
			}
		}
	}
	if depth > 0 {
		group(len(text))
	}
	b.WriteString(text[done:])
	return b.String()
}

// isArrow reports whether the character at i is the end of ->.
func isArrow(text string, i int) bool { return text[i] == '>' && i > 0 && text[i-1] == '-' }

// dropReturnType returns the last of the words that name consists of. Words end at spaces outside
// brackets; one that starts with ( or [clone, or follows operator, belongs to the one before. What follows the last -> or : is
// a return type, and throws or async between it and the name are not the name.
func dropReturnType(name string) string {
	var nesting []byte // the closing characters that are due
	var last, beforeArrow string
	from, start := 0, -1 // of the last word with what belongs to it, and of the word at hand
	word := func(end int) {
		switch text := name[start:end]; {
		case text == "->" || text == ":":
			beforeArrow, last = last, ""
		case (text == "throws" || text == "async" || text == "rethrows") && strings.HasSuffix(last, ")"):
		case last != "" && (text[0] == '(' || strings.HasPrefix(text, "[clone") || last == "operator"):
			last = name[from:end]
		default:
			from, last = start, text
		}
		start = -1
	}
	for i := range len(name) {
		c := name[i]
		if c == ' ' && len(nesting) == 0 {
			if start >= 0 {
				word(i)
			}
			continue
		}
		if start < 0 {
			start = i
		}
		switch {
		case len(nesting) > 0 && c == nesting[len(nesting)-1] && !isArrow(name, i):
			nesting = nesting[:len(nesting)-1]
		case c == '(':
			nesting = append(nesting, ')')
		case c == '{' || c == '[' || c == '<':
			nesting = append(nesting, c+2)
		case c == '`':
			nesting = append(nesting, '\'')
		}
	}
	if start >= 0 {
		word(len(name))
	}
	if beforeArrow != "" {
		return beforeArrow
	}
	return last
}
