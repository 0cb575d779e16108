package signature

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// JavaException is an exception of a Java virtual machine with those that led to it, the root cause first:
// java_exception in crash data (crash-pipeline.md §10.4), in the order of Android's sender.
type JavaException struct {
	Values []JavaThrowable
}

// JavaThrowable is one exception.
type JavaThrowable struct {
	Module, Type string      // the class and, before it, its package; both the class for one without
	Frames       []JavaFrame // newest call first
	untyped      bool        // there is no type
	missing      bool        // there is no stacktrace, or nothing in it
}

// JavaFrame is a frame of an exception. An empty text is what is not known.
type JavaFrame struct {
	Module   string // the class with its package
	Function string
	File     string
	InApp    bool // the program's own; of Android's sender: not a native method
}

// UnmarshalJSON decodes java_exception. What has the wrong type stays at zero.
func (e *JavaException) UnmarshalJSON(data []byte) error {
	type frame struct {
		Module   string `json:"module"`
		Function string `json:"function"`
		File     string `json:"filename"`
		InApp    *bool  `json:"in_app"`
	}
	var doc struct {
		Exception struct {
			Values []struct {
				Stacktrace map[string]json.RawMessage `json:"stacktrace"`
			} `json:"values"`
		} `json:"exception"`
	}
	if err := decode(data, &doc); err != nil {
		return err
	}
	for _, v := range doc.Exception.Values {
		t := JavaThrowable{missing: len(v.Stacktrace) == 0, untyped: v.Stacktrace["type"] == nil}
		_ = json.Unmarshal(v.Stacktrace["type"], &t.Type)
		_ = json.Unmarshal(v.Stacktrace["module"], &t.Module)
		var frames []json.RawMessage
		_ = json.Unmarshal(v.Stacktrace["frames"], &frames)
		for _, text := range frames {
			var f frame
			if err := decode(text, &f); err != nil {
				return err
			}
			t.Frames = append(t.Frames, JavaFrame{f.Module, f.Function, f.File, f.InApp == nil || *f.InApp})
		}
		e.Values = append(e.Values, t)
	}
	return nil
}

// optionalJava is java_exception in crash data: none if it is null or, as siggen has it, empty.
type optionalJava struct{ *JavaException }

func (o *optionalJava) UnmarshalJSON(data []byte) error {
	switch string(bytes.Join(bytes.Fields(data), nil)) {
	case "null", "false", "0", `""`, "[]", "{}":
		return nil
	}
	o.JavaException = new(JavaException)
	return o.JavaException.UnmarshalJSON(data)
}

// isJava reports whether the crash is one of a virtual machine.
func (c *Crash) isJava() bool { return c.JavaException != nil || c.JavaStackTrace != "" }

// javaEmpty names crashes of which nothing can be read, as siggen does.
const (
	javaEmptyException = "EMPTY: Java exception not in expected format"
	javaEmptyTrace     = "EMPTY: Java stack trace not in expected format"
)

// fromJava sets the signature that the other rules start from: the class of the root cause and, as in a
// native stack, those of its frames that tell something (crash-pipeline.md §10.5). Neither messages nor
// lines are part of it, nor numbers that compilers give. Where the root cause has no frames that tell
// something, they are those of the exception that it led to.
func (l *Lists) fromJava(c *Crash, r *Result) {
	note := func(text string) { r.Notes = append(r.Notes, stackRule+": "+text) }
	switch {
	case c.JavaException == nil:
		r.Signature = javaEmptyTrace
		note("the Java stack trace could not be read")
		return
	case len(c.JavaException.Values) == 0:
		r.Signature = javaEmptyException
		note("there is no Java exception")
		return
	}
	values := c.JavaException.Values
	values = values[:min(len(values), maxEntries)]
	root := values[0].name()
	var frames string
	for i := range values {
		class := values[i].name()
		entries := javaEntries(&values[i])
		if i == 0 || r.Proto == root {
			r.Proto = joinJava(root, names(entries))
		}
		if kept, last := l.walkJava(class, values[i].Frames, entries, r); len(kept) > 0 {
			frames = fitJava(root, kept, last)
			break
		}
	}
	if frames == "" { // nothing that tells something: what there is
		for i := range values {
			if entries := javaEntries(&values[i]); len(entries) > 0 {
				if at := slices.IndexFunc(entries, func(e entry) bool { return e.name != "" }); at >= 0 {
					frames = entries[at].name
					r.Steps = append(r.Steps, Step{Rule: stackRule, Exception: values[i].name(), Frame: &entries[at].frame, Name: frames, Verdict: Fallback})
					break
				}
			}
		}
	}
	if r.Signature = root; frames != "" {
		r.Signature = root + javaAt + frames
		r.Steps = append(r.Steps, Step{Rule: "JavaExceptionClass", Before: frames, After: r.Signature})
	} else {
		note("no Java frame is known")
	}
}

const javaAt = ": at "

func joinJava(class string, names []string) string {
	if len(names) == 0 {
		return class
	}
	return class + javaAt + strings.Join(names, separator)
}

func names(entries []entry) []string {
	all := make([]string, len(entries))
	for i := range entries {
		all[i] = entries[i].name
	}
	return all
}

// javaEntries names the first 40 frames of an exception.
func javaEntries(t *JavaThrowable) []entry {
	entries := make([]entry, min(len(t.Frames), maxEntries))
	for i := range entries {
		entries[i] = entry{frame: i, name: javaName(&t.Frames[i])}
	}
	return entries
}

// walkJava returns the names of the frames that tell something, and whether the last is enough.
func (l *Lists) walkJava(class string, frames []JavaFrame, entries []entry, r *Result) (kept []string, last bool) {
	first := 0
	if strings.HasSuffix(class, "StackOverflowError") {
		first = recursion(entries)
	}
	for i := range entries {
		e := &entries[i]
		bare, _, _ := strings.Cut(e.name, "(")
		verdict, pattern := Last, ""
		if i < first {
			verdict, pattern = AboveSentinel, entries[first].name
		} else if e.name == "" {
			verdict = Unnamed
		} else if p, ok := l.javaIrrelevant.match(bare); ok {
			verdict, pattern = Irrelevant, p
		} else if len(kept) > 0 && kept[len(kept)-1] == e.name {
			verdict = Recursion
		} else if p, ok := l.javaPrefix.match(bare); ok {
			verdict, pattern = Prefix, p
		} else if !frames[i].InApp {
			verdict, pattern = Prefix, "in_app: false"
		}
		r.Steps = append(r.Steps, Step{Rule: stackRule, Exception: class, Frame: &e.frame, Name: e.name, Verdict: verdict, Pattern: pattern})
		if verdict == Prefix || verdict == Last {
			kept = append(kept, e.name)
		}
		if verdict == Last {
			return kept, true
		}
	}
	return kept, false
}

// recursion returns where a stack that overflowed should be read from: which of the functions that call
// each other was the last to be called is chance, so it is the one whose name comes first. It is 0 where no
// recursion is seen.
func recursion(entries []entry) int {
	const most = 12 // frames of one round, and above the first
	for period := 1; period <= most; period++ {
		for start := range min(most, len(entries)) {
			end := start + 3*period
			if end > len(entries) {
				break
			}
			if slices.Equal(names(entries[start:end-period]), names(entries[start+period:end])) {
				round := names(entries[start : start+period])
				return start + slices.Index(round, slices.Min(round))
			}
		}
	}
	return 0
}

// fitJava joins the frames kept. Where that is too long, those go that tell least: between the place where
// it happened and the program's own frame, or without such a frame the outermost.
func fitJava(class string, kept []string, last bool) string {
	for len(kept) > 1 && len(class)+len(javaAt)+len(strings.Join(kept, separator)) > maxSignature {
		switch {
		case !last:
			kept = kept[:len(kept)-1]
		case len(kept) > 2:
			kept = slices.Delete(kept, 1, 2)
		default:
			kept = kept[1:]
		}
	}
	return strings.Join(kept, separator)
}

// name is the class as signatures have it. What is none, which may be a message, is unknown.
func (t *JavaThrowable) name() string {
	name := javaClass(t.class())
	if name == "" || strings.ContainsAny(name, " \t\r\n:\"") {
		return "Unknown"
	}
	return name
}

// class returns the class with its package.
func (t *JavaThrowable) class() string {
	switch {
	case t.Type == "" && t.Module == "":
		return "Unknown"
	case t.Module == "", t.Module == t.Type && !strings.Contains(t.Type, ".") && len(t.Type) > 2:
		return t.Type // Android's sender sends one without a package twice; a.a is one of a shrunk program
	case t.Type == "":
		return t.Module
	}
	return t.Module + "." + t.Type
}
