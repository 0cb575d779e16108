package proguard_test

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/proguard"
)

var (
	frameLine     = regexp.MustCompile(`^(\s*at )(?:[^/()]*/)*([^/()\s]+)\.([^.()\s]+)\((.*?)(?::(\d+))?\)$`)
	exceptionLine = regexp.MustCompile(`^((?:\s*(?:Caused by|Suppressed|Exception in thread "[^"]*"):? )?)([\p{L}_$][^\s:]*)((?::.*)?)$`)
)

// retrace does to a text what retrace does, ambiguous frames included.
func retrace(m *proguard.Mapping, text string) string {
	var out strings.Builder
	var exception string
	var stack []proguard.Frame
	var lines [][]string // of each frame: prefix
	flush := func() {
		for i, traced := range m.Retrace(exception, stack) {
			if len(traced.Frames) == 0 {
				continue
			}
			out.WriteString(render(lines[i][0], stack[i], traced))
		}
		exception, stack, lines = "", nil, nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if p := frameLine.FindStringSubmatch(line); p != nil {
			n, _ := strconv.Atoi(p[5])
			stack = append(stack, proguard.Frame{Class: p[2], Method: p[3], File: p[4], Line: n})
			prefix := line[:strings.Index(line, p[2]+"."+p[3]+"(")]
			lines = append(lines, []string{prefix})
			continue
		}
		flush()
		if p := exceptionLine.FindStringSubmatch(line); p != nil {
			exception = p[2]
			original, _ := m.Class(p[2])
			line = p[1] + original + p[3]
		}
		fmt.Fprintln(&out, line)
	}
	flush()
	return out.String()
}

// render writes the candidates for a frame as retrace does: line by line, the first of each without a mark.
func render(prefix string, from proguard.Frame, traced proguard.Traced) string {
	var out strings.Builder
	all := append([][]proguard.Frame{traced.Frames}, traced.Or...)
	for depth := 0; ; depth++ {
		var seen []string
		for i, candidate := range all {
			if depth >= len(candidate) {
				continue
			}
			f := candidate[depth]
			line := ""
			if f.Line > 0 && (from.Line > 0 || len(all) == 1) {
				line = ":" + strconv.Itoa(f.Line)
			}
			file := cmp.Or(f.File, from.File)
			mark := ""
			if i > 0 {
				mark = "<OR> "
			}
			text := f.Class + "." + f.Method + "(" + file + line + ")"
			if !slices.Contains(seen, text) {
				seen = append(seen, text)
				at := strings.Index(prefix, "at ")
				out.WriteString(prefix[:at] + mark + prefix[at:] + text + "\n")
			}
		}
		if !slices.ContainsFunc(all, func(c []proguard.Frame) bool { return depth < len(c) }) {
			return out.String()
		}
	}
}

func parse(t testing.TB, data []byte) *proguard.Mapping {
	t.Helper()
	m, err := proguard.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Problems {
		t.Error(p)
	}
	return m
}
