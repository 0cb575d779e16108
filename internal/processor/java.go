package processor

import (
	"context"
	"fmt"
	"strings"

	"salvage/debug/proguard"
	"salvage/internal/crash"
)

// java reads what a Java virtual machine said of the crash: the structured annotation, or the text where
// there is none that can be read. Whole it is for readers of protected data, without messages for all. The
// names are those of the program before it was shrunk, if its mapping is there.
func java(_ context.Context, w *work) error {
	order := w.p.Options.javaOrders[text(w.doc["product"])]
	var fromText *crash.JavaException
	if text := w.annotation("JavaStackTrace"); text != "" {
		w.doc["java_stack_trace_raw"] = text
		e, err := crash.ParseJavaStackTrace(text)
		if err != nil {
			w.note("%v", err) // which quotes nothing
			w.doc["java_stack_trace"] = "malformed"
		} else {
			if err := w.retrace(e); err != nil {
				return err
			}
			fromText = e
			w.doc["java_stack_trace"] = e.Public().StackTrace()
		}
	}
	e := fromText
	if text := w.annotation("JavaException"); text != "" {
		structured, err := crash.ParseJavaException(text, order)
		switch {
		case err != nil:
			w.note("%v", err)
		case len(structured.Values) == 0:
			w.note("JavaException has no exception")
		default:
			if err := w.retrace(structured); err != nil {
				return err
			}
			e = structured
		}
	}
	if e == nil {
		return nil
	}
	if e.Omitted > 0 {
		w.note("JavaException: %d frames and exceptions are left out", e.Omitted)
	}
	w.doc["java_exception"], w.doc["java_exception_raw"] = e.Public(), e
	return nil
}

// mappingID is what the client says of its mapping: the UUID in an annotation, or the id that R8 gave all source
// files.
func (w *work) mappingID(e *crash.JavaException) string {
	if id := w.annotation("ProguardUUID"); id != "" {
		return id
	}
	for i := range e.Values {
		for _, f := range e.Values[i].Frames {
			if id := proguard.MapIDOf(f.File); id != "" {
				return id
			}
		}
	}
	return ""
}

// maxRetraced bounds the frames of an exception behind retracing, which adds those that were inlined.
const maxRetraced = 8192

// retrace gives the names that the program had before it was shrunk.
func (w *work) retrace(e *crash.JavaException) error {
	m, err := w.mapping(w.mappingID(e))
	if m == nil {
		return err
	}
	r := retracer{mapping: m, left: maxRetraced}
	r.exception(e)
	if r.ambiguous > 0 {
		w.note("retrace: %d Java frames may have been others too", r.ambiguous)
	}
	e.Omitted += r.omitted
	return nil
}

type retracer struct {
	mapping                  *proguard.Mapping
	left, ambiguous, omitted int
}

func (r *retracer) exception(e *crash.JavaException) {
	for i := range e.Values {
		r.throwable(&e.Values[i])
	}
}

func (r *retracer) throwable(t *crash.JavaThrowable) {
	class := t.Class()
	if _, ok := r.mapping.Class(class); !ok && t.Module == t.Type {
		class = t.Type // without a package
	}
	frames := make([]proguard.Frame, len(t.Frames))
	for i, f := range t.Frames {
		frames[i] = proguard.Frame{Class: f.Module, Method: f.Function, File: f.File, Line: f.Line}
	}
	var out []crash.JavaFrame
	for i, traced := range r.mapping.Retrace(class, frames) {
		if len(traced.Or) > 0 {
			r.ambiguous++
		}
		for _, f := range traced.Frames {
			if r.left == 0 {
				r.omitted++
				continue
			}
			r.left--
			out = append(out, crash.JavaFrame{Module: f.Class, Function: f.Method, File: f.File, Line: f.Line, InApp: t.Frames[i].InApp})
		}
	}
	t.Frames = out
	if original, ok := r.mapping.Class(class); ok {
		t.SetClass(original)
	}
	for i := range t.Suppressed {
		r.exception(&t.Suppressed[i])
	}
}

// javaOrders says for products how their clients order JavaException.
type javaOrders = map[string]crash.JavaOrder

// parseJavaOrders reads "Product=outermost-first+oldest-frame-first, Other=oldest-frame-first". The order of
// Android, which products have that are not named, is root-first+newest-frame-first.
func parseJavaOrders(text string) (javaOrders, error) {
	orders := javaOrders{}
	for item := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		product, order, ok := strings.Cut(item, "=")
		if product = strings.TrimSpace(product); !ok || product == "" {
			return nil, fmt.Errorf("must be a list of Product=order")
		}
		var o crash.JavaOrder
		for word := range strings.SplitSeq(order, "+") {
			switch strings.TrimSpace(word) {
			case "outermost-first":
				o.OutermostFirst = true
			case "oldest-frame-first":
				o.OldestFrameFirst = true
			case "root-first", "newest-frame-first":
			default:
				return nil, fmt.Errorf("must have orders of root-first or outermost-first and newest-frame-first or oldest-frame-first, joined by +")
			}
		}
		orders[product] = o
	}
	return orders, nil
}
