package web

import (
	"encoding/json"
	"fmt"

	"salvage/internal/crash"
)

// javaView is an exception with those that it led to, the root cause first.
type javaView struct {
	Thrown []thrownView
	Note   string // what is not there
}

type thrownView struct {
	Class, Message string
	How            string // root cause, or that it was caused by the one before
	Root           bool
	Frames         []javaFrameView
	Gap            string // how many frames are left out
	Suppressed     []thrownView
}

type javaFrameView struct {
	N, Function, Source string
	Top, Ours           bool
}

const (
	maxThrown     = 50
	maxJavaFrames = 250 // of an exception
	maxNested     = 4   // suppressed ones of suppressed ones
)

// javaOf makes the view of java_exception, or of java_exception_raw for those who may see it; nil if there is
// none that can be read.
func javaOf(raw json.RawMessage, b *budget) *javaView {
	var e crash.JavaException
	if len(raw) == 0 || json.Unmarshal(raw, &e) != nil || len(e.Values) == 0 {
		return nil
	}
	v := &javaView{Thrown: thrown(&e, b, maxNested)}
	switch {
	case e.Circular:
		v.Note = "An exception is its own cause; it is here once."
	case e.Omitted > 0:
		v.Note = count(e.Omitted, "frame or exception is", "frames and exceptions are") + " left out."
	}
	return v
}

func thrown(e *crash.JavaException, b *budget, depth int) (all []thrownView) {
	for i := range e.Values[:min(len(e.Values), maxThrown)] {
		t := &e.Values[i]
		v := thrownView{Class: b.text(t.Class(), maxName), Root: i == 0, How: "root cause"}
		if i > 0 {
			v.How = "caused by the one above"
		}
		if t.Value != nil {
			v.Message = b.lines(*t.Value, maxName)
		}
		for j := range t.Frames {
			if j == maxJavaFrames || b.rows <= 0 {
				v.Gap = count(len(t.Frames)-j, "more frame", "more frames")
				break
			}
			b.rows--
			f := &t.Frames[j]
			row := javaFrameView{N: fmt.Sprint(j), Function: b.text(f.Module+"."+f.Function, maxName), Top: i == 0 && j == 0, Ours: f.InApp, Source: b.text(f.File, maxPath)}
			switch {
			case f.Line == crash.JavaNative:
				row.Source = "native method"
			case f.Line > 0 && f.File != "":
				row.Source += fmt.Sprint(":", f.Line)
			}
			v.Frames = append(v.Frames, row)
		}
		for j := range t.Suppressed {
			if depth > 0 {
				v.Suppressed = append(v.Suppressed, thrown(&t.Suppressed[j], b, depth-1)...)
			}
		}
		all = append(all, v)
	}
	return all
}
