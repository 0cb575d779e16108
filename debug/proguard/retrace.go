package proguard

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Frame is a frame of a stack trace.
type Frame struct {
	Class  string // with its package, dots between
	Method string
	File   string // empty where it is not known
	Line   int    // not above 0 where it is not known
}

// Traced is what a frame of the shrunk program was.
type Traced struct {
	Frames []Frame   // innermost first: the method and what the compiler inlined into it; none where the compiler made the frame up
	Or     [][]Frame // what else it may have been, in the same form: the frame does not tell
}

// context is what the line above says about a frame.
type context struct {
	exception string // thrown, by its name in the shrunk program
	position  int    // the line of an outline that the frame called, or 0
}

// Retrace returns what the frames of a stack were, one result a frame, innermost first. Exception is the
// class thrown, as the shrunk program calls it, or empty where none was or where the first frame does not
// stand right below it. Frames of classes that the mapping does not know stay as they are.
//
// At most 64 candidates are told of an ambiguous frame, and at most 256 frames of one.
func (m *Mapping) Retrace(exception string, frames []Frame) []Traced {
	traced := make([]Traced, len(frames))
	c := context{exception: exception}
	for i, f := range frames {
		var all [][]Frame
		all, c = m.retrace(c, f)
		if len(all) > 0 {
			traced[i] = Traced{all[0], all[1:]}
		}
	}
	return traced
}

// retrace returns the candidates for a frame, and the context of the next.
func (m *Mapping) retrace(c context, f Frame) ([][]Frame, context) {
	class, ok := m.class(f.Class)
	if !ok {
		return [][]Frame{{f}}, context{}
	}
	methods := m.methods(class, f.Method)
	original := m.text(class.original)
	if len(methods) == 0 {
		return [][]Frame{{{original, f.Method, m.sourceFile(original, f.File), f.Line}}}, context{}
	}
	found := m.narrow(methods, f.Line, c.position)
	if len(found.ranges) == 0 {
		if f.Line > 0 {
			return [][]Frame{{{original, f.Method, m.sourceFile(original, f.File), f.Line}}}, context{}
		}
		// The method alone, of each overload: what is first said of it.
		first := map[uint64]member{}
		for rest := methods; len(rest) > 0; {
			n := inlineGroup(rest)
			if e := rest[n-1]; first[e.residual].name.n == 0 {
				e.from, e.before, e.info = none, none, none
				first[e.residual] = e
			}
			rest = rest[n:]
		}
		for _, overload := range m.overloads(methods) {
			found.ranges = append(found.ranges, []member{first[overload[len(overload)-1].residual]})
		}
	}
	var all [][]Frame
	var next context
	ambiguous := found.ambiguous()
	tries := 0
	for _, ranges := range found.ranges {
		for len(ranges) > 0 && tries < maxTries {
			n := inlineGroup(ranges)
			group := ranges[:n]
			ranges = ranges[n:]
			last := group[n-1]
			next = context{}
			if last.flags&outline != 0 && f.Line > 0 {
				next.position = f.Line
			}
			from, to := int32(none), int32(none)
			if ambiguous && group[0].vague() {
				from, to = group[0].before, group[0].behind
			}
			for line := from; tries < maxTries && line <= to; line++ {
				tries++
				candidate := m.frames(c, f, original, group, found.position, ambiguous, line)
				if len(candidate) > 0 && len(all) < maxCandidates && !slices.ContainsFunc(all, func(a []Frame) bool { return slices.Equal(a, candidate) }) {
					all = append(all, candidate)
				}
			}
		}
	}
	if len(all) > 1 {
		slices.SortStableFunc(all, func(a, b []Frame) int {
			return cmp.Or(cmp.Compare(a[0].Class, b[0].Class), cmp.Compare(a[0].Method, b[0].Method), cmp.Compare(a[0].File, b[0].File), cmp.Compare(a[0].Line, b[0].Line))
		})
	}
	return all, next
}

// found are the ranges of each overload that fit a line.
type found struct {
	position int // the line, or what an outline's became
	ranges   [][]member
}

// narrow returns the entries that fit a line, or where none is known those that need none.
func (m *Mapping) narrow(methods []member, line, outlined int) found {
	f := found{position: line}
	each := func(fit func(overload []member) []member) {
		for _, overload := range m.overloads(methods) {
			if ranges := fit(overload); len(ranges) > 0 {
				f.ranges = append(f.ranges, ranges)
			}
		}
	}
	if line <= 0 {
		each(func(overload []member) []member {
			if ranges := at(overload, 0); len(ranges) > 0 {
				return ranges
			}
			for i := range overload {
				if overload[i].from == none {
					return overload[i : i+1]
				}
			}
			return nil
		})
		return f
	}
	each(func(overload []member) []member { return at(overload, line) })
	if outlined > 0 {
		for _, ranges := range f.ranges {
			last := ranges[len(ranges)-1]
			if last.info == none || m.infos[last.info].positions == nil {
				continue
			}
			if to, ok := m.infos[last.info].positions[int32(min(outlined, 1<<30))]; ok {
				outlined = int(to)
			}
			f.position, f.ranges = outlined, nil
			each(func(overload []member) []member { return at(overload, outlined) })
			return f
		}
	}
	if len(f.ranges) == 0 {
		each(func(overload []member) (ranges []member) {
			for i := range overload {
				if overload[i].from == none && len(ranges) < maxCandidates {
					ranges = append(ranges, overload[i])
				}
			}
			return ranges
		})
	}
	return f
}

// at returns the entries that describe a line: the first that has it and those for the same lines behind
// it.
func at(members []member, line int) []member {
	for i := range members {
		if e := &members[i]; e.from != none && int(e.from) <= line && line <= int(e.to) {
			return members[i : i+inlineGroup(members[i:])]
		}
	}
	return nil
}

// overloads splits the entries of a name by the original method they belong to, which is the outermost of
// calls inlined into each other.
func (m *Mapping) overloads(members []member) [][]member {
	same := func(a, b *member) bool { return string(m.bytes(a.signature)) == string(m.bytes(b.signature)) }
	n := inlineGroup(members)
	if same(&members[n-1], &members[len(members)-1]) {
		return [][]member{members} // what else stands between is rare, and retrace does not look either
	}
	var all [][]member
	start := 0
	for i := n; i < len(members); i += n {
		n = inlineGroup(members[i:])
		if !same(&members[i-1], &members[i+n-1]) {
			all = append(all, members[start:i])
			start = i
		}
	}
	return append(all, members[start:])
}

// vague reports whether the entry gives several original lines and does not tell which.
func (e *member) vague() bool {
	return e.before != none && e.before != e.behind && (e.from == none || e.to-e.from != e.behind-e.before)
}

// ambiguous reports whether the frame does not tell what it was.
func (f *found) ambiguous() bool {
	if len(f.ranges) > 1 {
		return true
	}
	for _, ranges := range f.ranges {
		for i := range ranges {
			if ranges[i].vague() || i > 0 && (ranges[i].from == none || ranges[i].from != ranges[0].from || ranges[i].to != ranges[0].to) {
				return true
			}
		}
	}
	return false
}

// frames returns the frames of entries for the same lines. The first has the given line, unless that is
// none.
func (m *Mapping) frames(c context, f Frame, class string, group []member, position int, ambiguous bool, line int32) []Frame {
	remove := m.removed(c, group)
	if remove > len(group) {
		remove = 0
	}
	last := len(group)
	if group[last-1].flags&synthesized != 0 {
		last--
	}
	var frames []Frame
	for i := remove; i < min(last, remove+maxInlined); i++ {
		e := &group[i]
		out := Frame{Class: class, Method: m.text(e.original), Line: f.Line}
		if dot := strings.LastIndexByte(out.Method, '.'); dot >= 0 {
			out.Class, out.Method = out.Method[:dot], out.Method[dot+1:]
		}
		out.File = m.sourceFile(out.Class, f.File)
		if i == 0 && line != none {
			out.Line = int(line)
		} else if l := e.line(position, ambiguous); l != none {
			out.Line = int(l)
		}
		frames = append(frames, out)
	}
	return frames
}

// line returns the original of a line, or none where the entry does not say.
func (e *member) line(position int, ambiguous bool) int32 {
	if e.before != none && e.before == e.behind {
		return e.before
	}
	if !ambiguous && (e.from == none || position <= 0) { // whatever it is, it starts there
		return cmp.Or(max(e.before, 0), max(e.from, 0), none)
	}
	if e.from == none || position < int(e.from) || position > int(e.to) {
		return none
	}
	if e.before == none {
		return int32(position)
	}
	return e.before + int32(position) - e.from
}

// removed returns how many inner frames the compiler put there for the exception thrown.
func (m *Mapping) removed(c context, group []member) int {
	n := 0
	if c.exception == "" {
		return 0
	}
	for i := range group {
		if group[i].info == none {
			continue
		}
		for _, w := range m.infos[group[i].info].rewrites {
			if !slices.ContainsFunc(w.throws, func(class string) bool { return class != c.exception }) {
				n = min(n+w.remove, 1<<30)
			}
		}
	}
	return n
}

// sourceFile returns the file of a class: as the mapping says, else after the class, if it has one at all.
func (m *Mapping) sourceFile(class, file string) string {
	if file == "" {
		return ""
	}
	if known := m.file(class); known != "" {
		return known
	}
	outer := class[strings.LastIndexByte(class, '.')+1:]
	if i := strings.IndexByte(outer, '$'); i >= 0 {
		outer = outer[:i]
	}
	extension := strings.TrimPrefix(path.Ext(file), ".")
	if kt, ok := strings.CutSuffix(outer, "Kt"); ok && (extension == "" || extension == "kt") {
		return kt + ".kt"
	}
	if extension == "kt" {
		return outer + ".kt"
	}
	return outer + ".java"
}
