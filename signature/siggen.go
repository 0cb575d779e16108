package signature

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// With lists that were loaded, frames are named exactly as siggen does (crash-pipeline.md §3.4), so that its
// lists match what they were written for. The names that Default's lists are for are normalize's.

var (
	siggenHash  = regexp.MustCompile(`::h[0-9a-fA-F]+$`)
	siggenSpace = regexp.MustCompile(` ([*&,])`)
)

// siggenName names a frame by the first of these that is known: its function, its file and line, its
// module, an unloaded module, its address.
func (l *Lists) siggenName(f *Frame, lowerModules bool) string {
	switch {
	case f.Function != "":
		source := siggenSource(f.File)
		function := f.Function
		if qualified, ok := rustPaths[[2]string{source, function}]; ok {
			function = qualified
		}
		return clip(l.siggenFunction(function, strings.HasSuffix(source, ".rs"), f.Line))
	case f.File != "" && f.Line != 0:
		file := strings.TrimRight(f.File, `/\`)
		separator := "/"
		if strings.Contains(file, `\`) {
			separator = `\`
		}
		return clip(file[strings.LastIndex(file, separator)+1:]) + "#" + strconv.Itoa(f.Line)
	case f.Module != "":
		module := f.Module
		if lowerModules {
			module = strings.ToLower(module)
		}
		return clip(strings.Trim(module, "[]"))
	case len(f.UnloadedModules) > 0:
		return "(unloaded " + clip(f.UnloadedModules[0].Module) + ")"
	case f.Offset != "":
		digits := strings.ToLower(strings.TrimSpace(f.Offset))
		n, ok := new(big.Int).SetString(strings.TrimPrefix(digits, "0x"), 16)
		if !ok || len(digits) > maxName {
			return clip("@" + f.Offset)
		}
		return "@0x" + n.Text(16)
	}
	return ""
}

// siggenSource is the path of a source file; empty where it is neither absolute nor has a form that is known.
func siggenSource(file string) string {
	switch parts := strings.SplitN(file, ":", 5); {
	case len(parts) == 4:
		return parts[2]
	case len(parts) == 2:
		return parts[1]
	case strings.HasPrefix(file, "/"):
		return file
	}
	return ""
}

func (l *Lists) siggenFunction(name string, rust bool, line int) string {
	if rust {
		name = siggenLastWord(name)
		name = collapse(name, '<', '>', l.defects, func(_, group string) string {
			if strings.Contains(group, " as ") {
				return group
			}
			return "<T>"
		})
		name = collapse(name, '(', ')', l.defects, func(_, _ string) string { return "" })
	} else {
		for _, qualifier := range []string{"const", "const&", "const &", "&&", "&"} {
			if rest, ok := strings.CutSuffix(name, qualifier); ok {
				name = strings.TrimSpace(rest)
			}
		}
		if !strings.Contains(name, "::operator") {
			name = siggenLastWord(name)
		}
		name = strings.ReplaceAll(name, "`anonymous namespace'", "(anonymous namespace)")
		name = clangLambda.ReplaceAllString(name, "::$$::")
		name = l.collapseTypes(name, 0)
		name = collapse(name, '(', ')', l.defects, func(before, group string) string {
			if group == "(anonymous namespace)" || strings.HasSuffix(before, "operator") {
				return group
			}
			return ""
		})
		if strings.Contains(name, "clone .cold") {
			name = collapse(name, '[', ']', l.defects, func(_, _ string) string { return "" })
		}
	}
	if _, ok := l.lineNumbers.match(name); ok {
		switch {
		case line != 0:
			name += ":" + strconv.Itoa(line)
		case l.defects:
			name += ":None"
		}
	}
	name = siggenSpace.ReplaceAllString(name, "$1")
	name = strings.ReplaceAll(strings.ReplaceAll(name, ", ", ","), ",", ", ")
	if rust {
		name = siggenHash.ReplaceAllString(name, "")
	}
	return name
}

// siggenLastWord returns the last of the words that name consists of, which spaces outside brackets end, with
// those that belong to it: it does not start with ( or [clone, unless it is the only one.
func siggenLastWord(name string) string {
	var nesting []byte // the closing characters that are due
	var words []string
	start := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '(':
			nesting = append(nesting, ')')
		case c == '{' || c == '[' || c == '<':
			nesting = append(nesting, c+2)
		case c == '`':
			nesting = append(nesting, '\'')
		case len(nesting) > 0 && c == nesting[len(nesting)-1]:
			nesting = nesting[:len(nesting)-1]
		case len(nesting) == 0 && c == ' ':
			words = append(words, name[start:i])
			start = i + 1
		}
	}
	if start < len(name) {
		words = append(words, name[start:])
	}
	last := len(words) - 1
	if last < 0 {
		return ""
	}
	word := words[last]
	for last > 0 && (strings.HasPrefix(word, "(") || strings.HasPrefix(word, "[clone")) {
		last--
		word = words[last] + " " + word
	}
	return word
}

// siggenRepeats reports whether a frame says nothing new behind one of the same name.
func siggenRepeats(name string) bool {
	lower := strings.ToLower(name)
	return !strings.HasPrefix(name, "(unloaded") && (strings.HasSuffix(lower, ".dll") || strings.HasSuffix(lower, ".so") || name == "XUL" ||
		name == "<name omitted>" || strings.HasPrefix(name, "<unknown in"))
}
