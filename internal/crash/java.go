package crash

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"salvage/internal/errs"
)

// JavaException is an exception of a Java virtual machine with those that led to it (crash-pipeline.md
// §10.4). It is made of the annotation JavaException or of the text JavaStackTrace.
//
// Its JSON is that of the annotation, in Android's order: exception.values[].stacktrace with type, module,
// value and frames. Of ours are, in a stacktrace, suppressed, a list of the same documents without
// exception around them, and in exception circular and omitted.
type JavaException struct {
	Values   []JavaThrowable // the root cause first, what was caught or ended the program last
	Circular bool            // an exception is its own cause; here it is in Values once
	Omitted  int             // frames and exceptions beyond what is kept
}

// JavaThrowable is one exception.
type JavaThrowable struct {
	// Class is Module and Type with a dot between.
	Module, Type string
	Value        *string // the message, if there is one; protected
	Frames       []JavaFrame
	Suppressed   []JavaException // thrown while this one was on its way; from text only
}

// JavaFrame is a frame of an exception, the newest call first.
type JavaFrame struct {
	Module   string `json:"module"` // the class with its package
	Function string `json:"function"`
	InApp    bool   `json:"in_app"` // whether it is the program's own; Android's sender says: not a native method
	Line     int    `json:"lineno"`
	File     string `json:"filename,omitempty"`
}

// What stands for a line.
const (
	JavaNative      = -2 // a native method
	JavaUnknownLine = -1
)

// JavaOrder says how a product's client orders JavaException, as nothing in the data does. The zero value
// is the order of Android's sender, which is assumed unless the product's configuration says otherwise.
// Sentry's clients send the oldest frame first.
type JavaOrder struct {
	OutermostFirst   bool // values begin with the exception that ended the program, not with its root cause
	OldestFrameFirst bool // frames begin where the thread did, not with the newest call
}

// What is kept of an exception. Android sends 50 frames, a virtual machine keeps 1,024 of each exception.
const (
	maxJavaText       = 1 << 20 // Android's sender cuts the text after 100,000 characters
	maxJavaThrowables = 256     // with suppressed ones
	maxJavaFrames     = 4096    // of all of them together
	maxJavaSuppressed = 8       // suppressed by suppressed ones by …
	maxJavaName       = 1024    // bytes of a class, method or file
	maxJavaMessage    = 64 << 10
)

// Reasons why there is no exception. They quote nothing of the annotation, so notes may have them.
var (
	errJavaJSON  = errs.Public(errs.Invalid, "JavaException value is malformed json")
	errJavaShape = errs.Public(errs.Invalid, "JavaException value is malformed java_exception")
	errJavaSize  = errs.Public(errs.TooLarge, "JavaException value is too large")
	errJavaTrace = errs.Public(errs.Invalid, "JavaStackTrace: malformed JavaStackTrace")
	errTraceSize = errs.Public(errs.TooLarge, "JavaStackTrace: too large")
)

// ParseJavaException reads the annotation JavaException. The message of an error may be public.
func ParseJavaException(text string, order JavaOrder) (*JavaException, error) {
	if len(text) > maxJavaText {
		return nil, errJavaSize
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") && json.Valid([]byte(text)) {
		return nil, errJavaShape
	}
	var e JavaException
	err := json.Unmarshal([]byte(text), &e)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return nil, errJavaShape
	} else if err != nil {
		return nil, errJavaJSON
	}
	if order.OutermostFirst {
		slices.Reverse(e.Values)
	}
	if order.OldestFrameFirst {
		for _, v := range e.Values {
			slices.Reverse(v.Frames)
		}
	}
	left := javaBudget{maxJavaThrowables, maxJavaFrames}
	e.limit(&left)
	return &e, nil
}

type javaBudget struct{ throwables, frames int }

// limit cuts what is beyond the budget, from the root causes outward.
func (e *JavaException) limit(left *javaBudget) {
	keep := min(len(e.Values), left.throwables)
	e.Omitted += len(e.Values) - keep
	left.throwables -= keep
	e.Values = slices.Clip(e.Values[:keep])
	for i := range e.Values {
		v := &e.Values[i]
		v.Module, v.Type = clip(v.Module, maxJavaName), clip(v.Type, maxJavaName)
		if v.Value != nil {
			message := clip(*v.Value, maxJavaMessage)
			v.Value = &message
		}
		keep := min(len(v.Frames), left.frames)
		e.Omitted += len(v.Frames) - keep
		left.frames -= keep
		v.Frames = slices.Clip(v.Frames[:keep])
		for j := range v.Frames {
			f := &v.Frames[j]
			f.Module, f.Function, f.File = clip(f.Module, maxJavaName), clip(f.Function, maxJavaName), clip(f.File, maxJavaName)
		}
		for j := range v.Suppressed {
			v.Suppressed[j].limit(left)
		}
	}
}

// clip cuts text to a number of bytes, not within a character.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return strings.Clone(text[:limit])
}

// Class returns the exception's class with its package.
func (t *JavaThrowable) Class() string {
	switch {
	case t.Module == "", t.Module == t.Type && !strings.Contains(t.Type, ".") && len(t.Type) > 2:
		// Android's sender sends a class without a package twice. One of two letters is that of a shrunk
		// program, and the package and the class in it have the same name.
		return t.Type
	case t.Type == "":
		return t.Module
	}
	return t.Module + "." + t.Type
}

// SetClass sets the class by its full name.
func (t *JavaThrowable) SetClass(name string) {
	t.Module, t.Type = "", name
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && dot < len(name)-1 {
		t.Module, t.Type = name[:dot], name[dot+1:]
	}
}

// Public returns a copy without what only readers of protected data may see: messages, and names that are
// none. A program may put a message where the class should be, by an exception that prints itself otherwise.
func (e *JavaException) Public() *JavaException {
	p := &JavaException{Values: make([]JavaThrowable, len(e.Values)), Circular: e.Circular, Omitted: e.Omitted}
	for i, v := range e.Values {
		w := &p.Values[i]
		if w.Module, w.Type = v.Module, v.Type; !isJavaName(v.Module+v.Type, "") {
			w.Module, w.Type = "", "Unknown"
		}
		for _, f := range v.Frames {
			if !isJavaName(f.Module, "") {
				f.Module = "Unknown"
			}
			if !isJavaName(f.Function, "") {
				f.Function = "unknown"
			}
			if !isJavaName(f.File, "") {
				f.File = ""
			}
			w.Frames = append(w.Frames, f)
		}
		for _, s := range v.Suppressed {
			w.Suppressed = append(w.Suppressed, *s.Public())
		}
	}
	return p
}

// isJavaName reports whether name is like those of classes, methods and source files, or has one of the
// other characters given. Virtual machines allow more.
func isJavaName(name, other string) bool {
	return !strings.ContainsFunc(name, func(c rune) bool {
		return !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.Is(unicode.M, c) && !strings.ContainsRune("_$.-/<>", c) && !strings.ContainsRune(other, c)
	})
}

// StackTrace returns the field java_stack_trace of Crash Stats: the class and the frames of the exception
// that ended the program, without its message and causes. Made of a public copy it is public.
func (e *JavaException) StackTrace() string {
	if len(e.Values) == 0 {
		return ""
	}
	last := &e.Values[len(e.Values)-1]
	var b strings.Builder
	b.WriteString(last.Class() + "\n")
	for _, f := range last.Frames {
		b.WriteString("\tat " + f.String() + "\n")
	}
	return b.String()
}

// The JSON of an exception.
type (
	javaDocument struct {
		Exception javaValues `json:"exception"`
	}
	javaValues struct {
		Values   []javaValue `json:"values"`
		Circular bool        `json:"circular,omitempty"`
		Omitted  int         `json:"omitted,omitempty"`
	}
	javaValue struct {
		Stacktrace javaStacktrace `json:"stacktrace"`
		// Where Sentry has them.
		Type   *string `json:"type,omitempty"`
		Module *string `json:"module,omitempty"`
		Value  *string `json:"value,omitempty"`
	}
	javaStacktrace struct {
		Type       *string      `json:"type,omitempty"`
		Module     *string      `json:"module,omitempty"`
		Value      *string      `json:"value,omitempty"`
		Frames     []JavaFrame  `json:"frames"`
		Suppressed []javaValues `json:"suppressed,omitempty"`
	}
)

// UnmarshalJSON reads a frame. Members that are null or missing are not known; whose frame it is, then, is
// what Android's sender would say.
func (f *JavaFrame) UnmarshalJSON(data []byte) error {
	var wire struct {
		Module   string `json:"module"`
		Function string `json:"function"`
		File     string `json:"filename"`
		InApp    *bool  `json:"in_app"`
		Line     *int   `json:"lineno"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*f = JavaFrame{Module: wire.Module, Function: wire.Function, File: wire.File, Line: JavaUnknownLine}
	if wire.Line != nil {
		f.Line = *wire.Line
	}
	f.InApp = f.Line != JavaNative
	if wire.InApp != nil {
		f.InApp = *wire.InApp
	}
	return nil
}

// MarshalJSON writes the document.
func (e *JavaException) MarshalJSON() ([]byte, error) {
	return Marshal(javaDocument{e.values()})
}

func (e *JavaException) values() javaValues {
	out := javaValues{Values: make([]javaValue, len(e.Values)), Circular: e.Circular, Omitted: e.Omitted}
	for i := range e.Values {
		v := &e.Values[i]
		s := &out.Values[i].Stacktrace
		s.Type, s.Module, s.Value, s.Frames = &v.Type, &v.Module, v.Value, v.Frames
		if v.Frames == nil {
			s.Frames = []JavaFrame{}
		}
		for j := range v.Suppressed {
			s.Suppressed = append(s.Suppressed, v.Suppressed[j].values())
		}
	}
	return out
}

// UnmarshalJSON reads a document in Android's order. Members may be missing.
func (e *JavaException) UnmarshalJSON(data []byte) error {
	var doc javaDocument
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	*e = doc.Exception.exception(0)
	return nil
}

func (d *javaValues) exception(depth int) JavaException {
	e := JavaException{Values: make([]JavaThrowable, len(d.Values)), Circular: d.Circular, Omitted: min(max(0, d.Omitted), maxJavaText)}
	for i := range d.Values {
		in, out := &d.Values[i], &e.Values[i]
		s := &in.Stacktrace
		out.Type, out.Module = first(s.Type, in.Type), first(s.Module, in.Module)
		out.Frames = s.Frames
		if out.Value = s.Value; out.Value == nil {
			out.Value = in.Value
		}
		for j := range s.Suppressed {
			if depth == maxJavaSuppressed {
				e.Omitted += len(s.Suppressed)
				break
			}
			out.Suppressed = append(out.Suppressed, s.Suppressed[j].exception(depth+1))
		}
	}
	return e
}

// first returns the text that the first pointer to one points to.
func first(texts ...*string) string {
	for _, t := range texts {
		if t != nil {
			return *t
		}
	}
	return ""
}
