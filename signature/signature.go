// Package signature names crashes so that those with the same cause have the same name: a few frames of
// the crashing stack, and why each of them was taken or left.
//
// It reads stacks that others have walked and symbolicated. The method is that of Mozilla's siggen for C,
// C++ and Rust (crash-pipeline.md §3.4), given the same lists; where it differs, the function that does so
// says why. The lists in folder lists are our own. Generate takes time linear in its input and is safe for
// concurrent use.
package signature

import (
	"fmt"
	"strings"
)

const (
	maxEntries   = 40  // frames and inlined calls that are looked at, as siggen
	maxSignature = 255 // characters, as siggen and everything that stores signatures
	separator    = " | "
)

// Result is a signature and how it came about.
type Result struct {
	Signature string   `json:"signature"`       // 1 to 255 characters of printable ASCII
	Proto     string   `json:"proto_signature"` // all frames looked at, normalised, joined like a signature
	Notes     []string `json:"notes"`           // "Rule: message" for what a person should know
	Steps     []Step   `json:"steps"`
}

// Verdict is what became of a frame.
type Verdict string

// The verdicts. A frame is part of the signature after Prefix, Last and Fallback.
const (
	AboveSentinel Verdict = "above sentinel" // Pattern is the sentinel below it
	Unnamed       Verdict = "unnamed"        // nothing is known of it
	Irrelevant    Verdict = "irrelevant"     // Pattern matches
	Repeated      Verdict = "repeated"       // the same module as the frame kept before
	Prefix        Verdict = "prefix"         // kept; Pattern says that the next one is needed too
	Last          Verdict = "last"           // kept, and enough
	Recursion     Verdict = "recursion"      // the same Java function as the frame kept before
	Fallback      Verdict = "fallback"       // kept in spite of an earlier verdict: nothing else is left
)

// Step is one decision: about a frame, or a rule's change of the signature. Frames below the last one
// kept have none.
type Step struct {
	Rule string `json:"rule"`

	// About a frame; otherwise Verdict is empty.
	Frame     *int    `json:"frame,omitempty"`     // index in the thread
	Exception string  `json:"exception,omitempty"` // class of the Java exception that the frame is of
	Inline    bool    `json:"inline,omitempty"`    // it is a call inlined into that frame
	Name      string  `json:"name,omitempty"`      // normalised
	Verdict   Verdict `json:"verdict,omitempty"`
	Pattern   string  `json:"pattern,omitempty"` // as the list has it

	// Of the signature, if a rule changed it.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// String explains the step in a sentence.
func (s Step) String() string {
	why := string(s.Verdict)
	switch s.Verdict {
	case "":
		return fmt.Sprintf("%s: %q becomes %q", s.Rule, s.Before, s.After)
	case AboveSentinel:
		why = "skipped: above the sentinel " + s.Pattern
	case Unnamed:
		why = "skipped: nothing is known of it"
	case Irrelevant:
		why = "irrelevant: matches " + s.Pattern
	case Repeated:
		why = "skipped: the same module again"
	case Recursion:
		why = "skipped: the same function again"
	case Prefix:
		why = "kept, prefix: continues after " + s.Pattern
	case Last:
		why = "kept, last: not a prefix"
	case Fallback:
		why = "kept: nothing else is left"
	}
	kind := "frame"
	if s.Inline {
		kind = "inlined call of frame"
	}
	if s.Exception != "" {
		kind = s.Exception + " " + kind
	}
	return fmt.Sprintf("%s %d %q: %s", kind, *s.Frame, s.Name, why)
}

// Generate returns the signature of c by the given lists, nil meaning Default.
func Generate(c *Crash, l *Lists) Result {
	if l == nil {
		l = Default()
	}
	r := Result{Notes: []string{}, Steps: []Step{}}
	switch {
	case !c.isJava():
		l.fromStack(c, &r)
	case l.defects:
		legacyJava(c, &r)
	default:
		l.fromJava(c, &r)
	}
	for _, rule := range rules {
		after, note := rule.apply(l, c, &r)
		before := r.Signature // of another thread, if the rule chose one
		if note != "" {
			r.Notes = append(r.Notes, rule.name+": "+note)
		}
		if after != before {
			r.Steps = append(r.Steps, Step{Rule: rule.name, Before: before, After: after})
		}
		r.Signature = after
	}
	return r
}

const stackRule = "SignatureGenerationRule"

// fromStack sets the signature that the other rules start from.
//
// A crash whose crashing thread is not known gets that of thread 0, like in siggen, and a note. Where siggen
// leaves an empty signature since the frame to fall back on has no name, the next one with a name is taken.
func (l *Lists) fromStack(c *Crash, r *Result) {
	note := func(format string, args ...any) {
		r.Notes = append(r.Notes, stackRule+": "+fmt.Sprintf(format, args...))
	}
	thread, index := c.crashing()
	entries := l.entries(thread, c.OS == "Windows NT")
	if c.CrashingThread == nil && len(entries) > 0 {
		note("no crashing thread is known; thread 0 is taken")
	}
	names := make([]string, len(entries))
	first := 0 // below the first sentinel's callees
	for i := range entries {
		names[i] = entries[i].name
	}
	if len(names) > 0 { // a watchdog's own stays where thread 0 has no frames
		r.Proto = strings.Join(names, separator)
	}
	for i, name := range names {
		if l.sentinels[name] {
			first = i
			break
		}
	}

	var kept []string
	named := false
	for i := range entries {
		e := &entries[i]
		verdict, pattern := Verdict(""), ""
		switch {
		case i < first:
			verdict, pattern = AboveSentinel, names[first]
		default:
			verdict, pattern = l.judge(e, kept)
		}
		r.Steps = append(r.Steps, Step{Rule: stackRule, Frame: &e.frame, Inline: e.inline, Name: e.name, Verdict: verdict, Pattern: pattern})
		if verdict == Prefix || verdict == Last {
			kept = append(kept, e.name)
			named = named || !e.byModule
		}
		if verdict == Last {
			break
		}
	}
	if len(kept) > 0 {
		r.Signature = strings.Join(kept, separator)
		if l.own && !named {
			if places := l.places(thread, entries[first:]); places != "" && places != r.Signature {
				r.Steps = append(r.Steps, Step{Rule: stackRule, Before: r.Signature, After: places})
				r.Signature = places
			}
		}
		return
	}
	note("no frame data for crashing thread (%d)", index)
	for i := range entries[first:] {
		if e := &entries[first+i]; e.name != "" {
			r.Steps = append(r.Steps, Step{Rule: stackRule, Frame: &e.frame, Inline: e.inline, Name: e.name, Verdict: Fallback})
			r.Signature = e.name
			return
		}
	}
	r.Signature = "EMPTY: no frame data available"
}

// maxPlaces is how many frames stand for a stack without names.
const maxPlaces = 3

// places names a stack without names by where in its modules it was, so that not all crashes of a module are
// one. Frames that are guesses count only if the first is one.
func (l *Lists) places(t *Thread, entries []entry) string {
	var places []string
	for _, e := range entries {
		f := &t.Frames[e.frame]
		if _, irrelevant := l.irrelevant.match(e.name); irrelevant || !e.byModule || e.inline {
			continue
		}
		if len(places) == maxPlaces || len(places) > 0 && f.Trust == "scan" {
			break
		}
		place := e.name
		if f.ModuleOffset != "" {
			place += address(f.ModuleOffset)
		}
		places = append(places, place)
	}
	return strings.Join(places, separator)
}

// judge decides about an entry at or below the sentinel.
func (l *Lists) judge(e *entry, kept []string) (Verdict, string) {
	if e.name == "" {
		return Unnamed, ""
	}
	if pattern, ok := l.irrelevant.match(e.name); ok {
		return Irrelevant, pattern
	}
	if len(kept) > 0 && kept[len(kept)-1] == e.name && (l.own && e.repeats() || !l.own && siggenRepeats(e.name)) {
		return Repeated, ""
	}
	if pattern, ok := l.prefix.match(e.name); ok {
		return Prefix, pattern
	}
	return Last, ""
}

// repeats reports whether the entry says nothing new behind one of the same name: it stands for some
// code of a module. Siggen asks for .dll, .so or XUL; a module is one whatever its name.
func (e *entry) repeats() bool {
	lower := strings.ToLower(e.name)
	return e.byModule || strings.HasSuffix(lower, ".dll") || strings.HasSuffix(lower, ".so") ||
		e.name == "<name omitted>" || strings.HasPrefix(e.name, "<unknown in")
}

// entries names the frames of a thread and the calls inlined into them, innermost first, the first 40.
func (l *Lists) entries(t *Thread, lowerModules bool) []entry {
	var all []entry
	add := func(frame int, inline bool, f *Frame) bool {
		if len(all) == maxEntries {
			return false
		}
		name, byModule := "", false
		if l.own {
			name, byModule = l.normalize(f, lowerModules)
		} else {
			name = l.siggenName(f, lowerModules)
		}
		all = append(all, entry{frame, inline, name, byModule})
		return true
	}
	for i := range t.Frames {
		f := &t.Frames[i]
		for _, in := range f.Inlines {
			if !add(i, true, &Frame{Function: in.Function, File: in.File, Line: in.Line, Module: f.Module, Offset: f.Offset}) {
				return all
			}
		}
		if !add(i, false, f) {
			return all
		}
	}
	return all
}
