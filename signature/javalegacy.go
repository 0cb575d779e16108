package signature

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// legacyJava names a Java crash as siggen does (crash-pipeline.md §3.3, §3.5 and §3.6): by the text if there is
// one, which may have a message, else by the first frame of the root cause.
func legacyJava(c *Crash, r *Result) {
	if c.JavaStackTrace != "" {
		legacyTrace(c.JavaStackTrace, r)
	} else {
		legacyException(c.JavaException, r)
	}
}

var (
	legacyLine    = regexp.MustCompile(`\.java:\p{Nd}+\)$`)
	legacyAddress = regexp.MustCompile(`@[0-9a-f]{8}`)
)

// legacyTrace joins the first two lines. That a colon is missing before the second, unless an address is
// before it, is a mistake that was kept (bug 865142).
func legacyTrace(text string, r *Result) {
	note := func(text string) { r.Notes = append(r.Notes, "JavaSignatureTool: "+text) }
	lines := pythonLines(text)
	class, description, ok := strings.Cut(pythonStrip(lines[0]), ":")
	if ok {
		class = pythonStrip(class)
		description = pythonStrip(legacyAddress.ReplaceAllString(description, "@<addr>"))
	} else {
		note("stack trace line 1 is not in the expected format")
	}
	method := ""
	if len(lines) < 2 {
		note("stack trace line 2 is missing")
	} else if method = legacyLine.ReplaceAllString(pythonStrip(lines[1]), ".java)"); method == "" {
		note("stack trace line 2 is empty")
	}
	delimiter := " "
	if strings.HasSuffix(description, "<addr>") {
		delimiter = ": "
	}
	r.Signature = joinNonEmpty(": ", class, joinNonEmpty(delimiter, description, method))
	if utf8.RuneCountInString(r.Signature) > maxSignature {
		r.Signature = class + ": " + method
		note("dropped Java exception description due to length")
	}
}

// legacyException takes the first frame of the first exception.
func legacyException(e *JavaException, r *Result) {
	if len(e.Values) == 0 || e.Values[0].missing {
		r.Signature = javaEmptyException
		r.Notes = append(r.Notes, "JavaExceptionSignatureTool: value not in expected format")
		return
	}
	v := &e.Values[0]
	class := v.Type
	if v.untyped {
		class = "Unknown"
	}
	if v.Module != "" && class != "" {
		class = v.Module + "." + class
	}
	r.Signature = class
	if len(v.Frames) > 0 {
		f := &v.Frames[0]
		frame := joinNonEmpty(".", f.Module, f.Function)
		if frame == "" {
			frame = "unknown"
		} else if f.File != "" {
			frame += "(" + f.File + ")"
		}
		r.Signature += javaAt + frame
	}
}

func joinNonEmpty(delimiter string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, delimiter)
}

// pythonLines splits as Python's splitlines does. There is at least one.
func pythonLines(text string) []string {
	text = strings.Map(func(c rune) rune {
		switch c {
		case '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
			return '\n'
		}
		return c
	}, strings.ReplaceAll(text, "\r\n", "\n"))
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// pythonStrip is Python's strip, for which four separators of ASCII are white space too.
func pythonStrip(text string) string {
	return strings.TrimFunc(text, func(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f })
}
