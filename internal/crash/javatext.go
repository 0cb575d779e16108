package crash

import (
	"slices"
	"strconv"
	"strings"
)

// ParseJavaStackTrace reads the annotation JavaStackTrace, which is what Throwable.printStackTrace prints.
//
// A message may have any lines, also such as end it: text that looks like a frame or a cause is taken for
// one. Frames that a cause shares with what it caused, which is printed as their number, are filled in.
// The message of an error may be public.
func ParseJavaStackTrace(text string) (*JavaException, error) {
	if len(text) > maxJavaText {
		return nil, errTraceSize
	}
	p := javaText{left: javaBudget{maxJavaThrowables, maxJavaFrames}}
	for line := range strings.Lines(strings.ToValidUTF8(text, "\ufffd")) {
		if strings.TrimSpace(line) != "" && !p.line(strings.TrimRight(line, "\r\n")) {
			return nil, errJavaTrace
		}
	}
	if len(p.open) == 0 {
		return nil, errJavaTrace
	}
	e := p.open[0].chain.exception()
	e.Circular, e.Omitted = p.circular, p.omitted
	if last := e.Values[len(e.Values)-1]; len(e.Values) == 1 && len(last.Frames) == 0 && last.Value == nil && len(last.Suppressed) == 0 && !strings.Contains(last.Class(), ".") {
		return nil, errJavaTrace // a word, which may be anything, and is public as a class
	}
	return &e, nil
}

// javaText reads a trace line by line.
type javaText struct {
	open     []javaOpen // by how deep suppressed exceptions are within each other
	now      *javaNode  // that the next frame belongs to; nil for one that is not kept
	message  bool       // other lines belong to the message
	left     javaBudget
	circular bool
	omitted  int
}

// javaOpen is an exception whose causes may follow.
type javaOpen struct {
	chain *javaChain
	last  *javaNode
}

// javaChain are an exception and its causes, in that order.
type javaChain struct{ nodes []*javaNode }

type javaNode struct {
	JavaThrowable
	said       []byte // its message
	suppressed []*javaChain
	around     *javaNode // whose frames it shares
}

func (c *javaChain) exception() JavaException {
	var e JavaException
	for _, n := range slices.Backward(c.nodes) {
		for _, s := range n.suppressed {
			n.Suppressed = append(n.Suppressed, s.exception())
		}
		if message := clip(strings.TrimSpace(string(n.said)), maxJavaMessage); message != "" {
			n.Value = &message
		}
		e.Values = append(e.Values, n.JavaThrowable)
	}
	return e
}

// line reads a line that is not blank. It reports whether it has its place there.
func (p *javaText) line(line string) bool {
	body := strings.TrimLeft(line, " \t")
	depth := len(line) - len(strings.TrimLeft(line, "\t"))
	if len(p.open) == 0 {
		if _, frame := parseJavaFrame(body); frame {
			return false
		}
		if thread, ok := strings.CutPrefix(body, `Exception in thread "`); ok {
			if _, after, ok := strings.Cut(thread, `" `); ok {
				body = after
			}
		}
		chain := &javaChain{}
		p.open = []javaOpen{{chain: chain}}
		p.header(body, chain, nil)
		p.open[0].last = p.now
		return true
	}
	if f, ok := parseJavaFrame(body); ok && len(body) < len(line) {
		p.message = false
		p.frame(f)
		return true
	}
	if n, ok := commonFrames(body); ok && len(body) < len(line) {
		p.message = false
		if p.now != nil && p.now.around != nil {
			around := p.now.around.Frames
			for _, f := range around[max(0, len(around)-n):] {
				p.frame(f)
			}
		}
		return true
	}
	if rest, ok := strings.CutPrefix(body, "Caused by: "); ok {
		if p.circle(rest) {
			return true
		}
		depth = min(depth, len(p.open)-1)
		p.open = p.open[:depth+1]
		at := &p.open[depth]
		p.header(rest, at.chain, at.last)
		if p.now != nil {
			at.last = p.now
		}
		return true
	}
	if rest, ok := strings.CutPrefix(body, "Suppressed: "); ok && len(body) < len(line) {
		if p.circle(rest) {
			return true
		}
		depth = min(max(depth, 1), len(p.open), maxJavaSuppressed)
		p.open = p.open[:depth]
		in := p.open[depth-1].last
		chain := &javaChain{}
		p.header(rest, chain, in)
		if p.now != nil {
			in.suppressed = append(in.suppressed, chain)
			p.open = append(p.open, javaOpen{chain, p.now})
		}
		return true
	}
	if p.message {
		p.say("\n" + line)
		return true
	}
	return p.circle(body) || len(body) < len(line) // such as a lock that a frame holds
}

// circle reads "[CIRCULAR REFERENCE: class: message]".
func (p *javaText) circle(text string) bool {
	if !strings.HasPrefix(text, "[CIRCULAR REFERENCE:") {
		return false
	}
	p.circular, p.message, p.now = true, true, nil
	return true
}

// header begins an exception with "class: message".
func (p *javaText) header(text string, chain *javaChain, around *javaNode) {
	p.now, p.message = nil, true
	if p.left.throwables == 0 {
		p.omitted++
		return
	}
	p.left.throwables--
	class, message, _ := strings.Cut(text, ":")
	p.now = &javaNode{around: around}
	if class = clip(strings.TrimSpace(class), maxJavaName); isJavaName(class, "") {
		p.now.SetClass(class)
	} else {
		p.now.Type = class
	}
	p.say(message)
	chain.nodes = append(chain.nodes, p.now)
}

func (p *javaText) say(text string) {
	if p.now != nil && len(p.now.said) < maxJavaMessage {
		p.now.said = append(p.now.said, clip(text, maxJavaMessage)...)
	}
}

func (p *javaText) frame(f JavaFrame) {
	if p.now == nil || p.left.frames == 0 {
		p.omitted++
		return
	}
	p.left.frames--
	p.now.Frames = append(p.now.Frames, f)
}

// commonFrames reads "... 3 more", or "... 3 common frames omitted" as Logback has it.
func commonFrames(text string) (n int, ok bool) {
	count, ok := strings.CutPrefix(text, "... ")
	if !ok {
		return 0, false
	}
	count, what, _ := strings.Cut(count, " ")
	n, err := strconv.Atoi(count)
	return n, err == nil && n >= 0 && (what == "more" || what == "common frames omitted")
}

// parseJavaFrame reads "at loader/module@version/package.Class.method(File.java:12)", of which loader and
// module are left out. Behind it may be "[library.jar:version]".
func parseJavaFrame(text string) (f JavaFrame, ok bool) {
	text, ok = strings.CutPrefix(text, "at ")
	if !ok {
		return f, false
	}
	method, source, ok := strings.Cut(text, "(")
	source, after, closed := strings.Cut(source, ")")
	after = strings.TrimLeft(after, " ~")
	if !ok || !closed || after != "" && after[0] != '[' {
		return f, false
	}
	method = strings.TrimSpace(method)
	dot := strings.LastIndexByte(method, '.')
	if dot <= 0 || dot == len(method)-1 || len(method) > maxJavaName || !isJavaName(method, "@+|:!#%&*=?~^") {
		return f, false
	}
	f = JavaFrame{Module: javaClass(method[:dot]), Function: method[dot+1:], Line: JavaUnknownLine, InApp: true}
	switch source {
	case "Native Method":
		f.Line, f.InApp = JavaNative, false
	case "Unknown Source":
	default:
		f.File = source
		if colon := strings.LastIndexByte(source, ':'); colon >= 0 {
			if n, err := strconv.ParseInt(source[colon+1:], 10, 32); err == nil && n >= 0 {
				f.File, f.Line = source[:colon], int(n)
			}
		}
		if f.File == "Unknown Source" {
			f.File = "" // Android has it with a line
		}
		f.File = clip(f.File, maxJavaName)
	}
	return f, f.Module != ""
}

// javaClass drops the class loader and the module before a class. A hidden class has its number behind
// a slash: Main$$Lambda$14/0x00007fa9ac002aa0.
func javaClass(name string) string {
	from := 0
	for i := range len(name) {
		if name[i] == '/' && i+1 < len(name) && (name[i+1] < '0' || name[i+1] > '9') {
			from = i + 1
		}
	}
	return name[from:]
}

// String writes the frame as a virtual machine does.
func (f JavaFrame) String() string {
	source := f.File
	switch {
	case f.Line == JavaNative:
		source = "Native Method"
	case source == "" && f.Line < 0:
		source = "Unknown Source"
	case f.Line >= 0:
		source += ":" + strconv.Itoa(f.Line)
	}
	return f.Module + "." + f.Function + "(" + source + ")"
}
