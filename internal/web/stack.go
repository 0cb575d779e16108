package web

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"salvage/internal/errs"
)

// stackView is a walked dump as a page shows it.
type stackView struct {
	Reason, Address string
	Findings        []finding
	Facts           []fact
	Crashing        *threadView // nil: the dump names none
	Threads         []threadView
	ThreadCount     string
	Omitted         string // threads that are not there
	Modules         []moduleView
	ModuleCount     string
	ModuleSummary   string
	ModulesOmitted  string
	Crashpad        []annotation // what the dump has; it may be personal
}

type finding struct{ Title, Text, Code string }

type fact struct{ Name, Value string }

type threadView struct {
	Title, Count string
	Rows         []rowView
	Text         string // of the crashing thread, to copy
}

// rowView is a frame, a call inlined into it, or a gap between frames.
type rowView struct {
	Gap           string // what is left out here; nothing else is set
	N             string
	Inline, Top   bool
	Function      string
	Unnamed       bool
	Reason        string // why there is no name
	Again         bool   // the frame before had the same reason
	Source, Path  string // file:line; all of the path where that is more
	Module, Trust string
	Guess         bool // the frame may be none
}

type moduleView struct{ Name, Version, DebugID, Range, Status, Class, Reason string }

// decodeWalk reads a stackwalk's JSON.
func decodeWalk(data []byte) (*walkDoc, error) {
	var d walkDoc
	if err := lenient(json.Unmarshal(data, &d)); err != nil {
		return nil, fmt.Errorf("stackwalk: %w: %w", errs.Corrupt, err)
	}
	return &d, nil
}

// Limits of texts, in characters.
const (
	maxName  = 1000
	maxPath  = 500
	maxValue = 20_000
)

// stackOf makes the view. The crashing thread and the modules have the first claim to the page.
func stackOf(d *walkDoc, b *budget) *stackView {
	v := &stackView{Reason: b.text(d.CrashInfo.Type, maxName), Address: b.text(shortHex(d.CrashInfo.Address), 40)}
	v.Findings = findings(d, b)
	crashing := -1
	if d.CrashInfo.CrashingThread != nil {
		crashing = *d.CrashInfo.CrashingThread
	}
	if t := d.Crashing; t != nil {
		crashing = t.Index
		v.Crashing = threadOf(t, crashing, b)
		if len(v.Crashing.Rows) > 0 {
			v.Crashing.Text = plain(t)
		}
		for i := range v.Crashing.Rows {
			if v.Crashing.Rows[i].Top = v.Crashing.Rows[i].N == "0"; !v.Crashing.Rows[i].Top {
				break
			}
		}
	}
	v.modules(d, b)
	v.ThreadCount = number(d.Threads.Total)
	for i := range d.Threads.Head {
		if i == crashing && v.Crashing != nil {
			continue
		}
		if b.rows <= 0 {
			v.Omitted = count(d.Threads.Total-i, "more thread is", "more threads are") + " not shown: the page would be too long. The JSON has all of them."
			return v
		}
		v.Threads = append(v.Threads, *threadOf(&d.Threads.Head[i], i, b))
	}
	if n := d.Threads.omitted(); n > 0 {
		v.Omitted = count(n, "more thread is", "more threads are") + " not shown. The JSON has all of them."
	}
	return v
}

// findings are what is known of the crash beyond its stack.
func findings(d *walkDoc, b *budget) (all []finding) {
	c := &d.CrashInfo
	switch c.Adjusted.Kind {
	case "null-pointer":
		all = append(all, finding{Title: "A null pointer", Text: "The address is a small offset from null: " + b.text(c.Adjusted.Offset, 40) + "."})
	case "non-canonical":
		all = append(all, finding{Title: "An address that cannot be", Text: "The code used " + b.text(c.Adjusted.Address, 40) + ", which no memory can have."})
	}
	if c.Instruction != "" {
		all = append(all, finding{Title: "The instruction", Code: b.text(c.Instruction, 200)})
	}
	for _, a := range c.Accesses.Head {
		verb := map[string]string{"read": "It read", "write": "It wrote", "readwrite": "It read and wrote"}[strings.ToLower(a.Type)]
		if verb == "" {
			verb = "It used"
		}
		text := verb + " " + b.text(a.Address, 40)
		if a.Size > 0 {
			text = verb + " " + count(a.Size, "byte", "bytes") + " at " + b.text(a.Address, 40)
		}
		all = append(all, finding{Text: text + "."})
	}
	if c.Assertion != "" {
		all = append(all, finding{Title: "An assertion failed", Text: b.text(c.Assertion, maxName)})
	}
	return all
}

// threadOf makes the view of thread i.
func threadOf(t *threadDoc, i int, b *budget) *threadView {
	v := &threadView{Title: number(i)}
	if name := b.text(t.Name, 100); name != "" {
		v.Title += " · " + name
	}
	total := max(t.Total, t.Frames.Total)
	v.Count = count(total, "frame", "frames")
	if t.Total > t.Frames.Total {
		v.Count += fmt.Sprintf(", of which %s were kept", number(t.Frames.Total))
	}
	next := 0 // number of the next frame if none is left out
	frames := slices.Concat(t.Frames.Head, t.Frames.Tail)
	for k := range frames {
		f := &frames[k]
		if b.rows <= 0 {
			v.gap(count(total-next, "more frame", "more frames") + " not shown: the page would be too long")
			return v
		}
		if k > 0 && f.Number > next {
			v.gap(count(f.Number-next, "frame", "frames") + " left out")
		}
		next = f.Number + 1
		v.frame(f, b)
	}
	return v
}

func (v *threadView) gap(text string) { v.Rows = append(v.Rows, rowView{Gap: text}) }

// frame adds the rows of a frame: its inlined calls, innermost first, then the function itself.
func (v *threadView) frame(f *frameDoc, b *budget) {
	n, module := number(f.Number), b.text(f.Module, 100)
	trust, guess := trustOf(f.Trust)
	for i, c := range slices.Concat(f.Inlines.Head, f.Inlines.Tail) {
		if omitted := f.Inlines.omitted(); omitted > 0 && i == len(f.Inlines.Head) {
			v.gap(count(omitted, "inlined call", "inlined calls") + " left out")
		}
		r := rowView{N: n, Inline: true, Function: b.text(c.Function, maxName), Module: module, Trust: trust, Guess: guess}
		r.Source, r.Path = sourceOf(c.File, c.Line, b)
		v.Rows = append(v.Rows, r)
		b.rows--
	}
	r := rowView{N: n, Function: b.text(f.Function, maxName), Module: module, Trust: trust, Guess: guess}
	r.Source, r.Path = sourceOf(f.File, f.Line, b)
	if f.Function == "" {
		r.Unnamed, r.Reason = true, b.text(f.NoName, maxName)
		r.Function = b.text(place(f), maxName)
		for i, u := range f.Unloaded.Head {
			if i == 0 {
				r.Reason = strings.TrimPrefix(r.Reason+"; unloaded by then: ", "; ")
			} else {
				r.Reason += ", "
			}
			r.Reason += b.text(u.Module, 100)
		}
	}
	if n := len(v.Rows); n > 0 {
		r.Again = r.Reason != "" && v.Rows[n-1].Reason == r.Reason
	}
	v.Rows = append(v.Rows, r)
	b.rows--
}

// place names a frame without a function.
func place(f *frameDoc) string {
	switch {
	case f.Module != "" && f.ModuleOffset != "":
		return f.Module + " + " + shortHex(f.ModuleOffset)
	case f.Offset != "":
		return f.Offset
	}
	return "(nothing is known of it)"
}

// shortHex is a hexadecimal number without leading zeros.
func shortHex(s string) string {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return s
	}
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		digits = "0"
	}
	return "0x" + digits
}

// sourceOf returns the last part of a path, with the line, and the path if that says more. Files of a
// version control system are vcs:root:path:revision.
func sourceOf(file string, line int, b *budget) (source, path string) {
	if file == "" {
		return "", ""
	}
	name := file
	if parts := strings.Split(file, ":"); len(parts) == 4 {
		name = parts[2]
	}
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	source = b.text(name, 100)
	if line > 0 {
		source += ":" + fmt.Sprint(line)
	}
	if name != file {
		path = b.text(file, maxPath)
	}
	return source, path
}

// trustOf says how a frame was found, and whether that was a guess.
func trustOf(trust string) (text string, guess bool) {
	switch trust {
	case "context":
		return "registers", false
	case "cfi":
		return "unwind rules", false
	case "cfi_scan":
		return "scan, then rules", true
	case "frame_pointer":
		return "frame pointer", false
	case "scan":
		return "scan", true
	case "prewalked":
		return "by the client", false
	}
	return show(trust, 20), trust != ""
}

// plain is a thread as text, with full paths.
func plain(t *threadDoc) string {
	var b strings.Builder
	line := func(n int, module, function, file string, row int, inline bool) {
		fmt.Fprintf(&b, "%2d  ", n)
		if module != "" {
			b.WriteString(show(module, 100) + "!")
		}
		b.WriteString(show(function, maxName))
		if file != "" {
			fmt.Fprintf(&b, " [%s", show(file, maxPath))
			if row > 0 {
				fmt.Fprintf(&b, ":%d", row)
			}
			b.WriteByte(']')
		}
		if inline {
			b.WriteString(" (inlined)")
		}
		b.WriteByte('\n')
	}
	const maxFrames = 100
	for i, f := range t.Frames.Head {
		if i == maxFrames {
			break
		}
		for _, c := range f.Inlines.Head {
			line(f.Number, f.Module, c.Function, c.File, c.Line, true)
		}
		if f.Function == "" {
			line(f.Number, "", place(&f), "", 0, false)
		} else {
			line(f.Number, f.Module, f.Function, f.File, f.Line, false)
		}
		if b.Len() > 200_000 {
			break
		}
	}
	return b.String()
}

func (v *stackView) modules(d *walkDoc, b *budget) {
	loaded, missing, corrupt := 0, 0, 0
	for i := range d.Modules.Head {
		m := &d.Modules.Head[i]
		row := moduleView{
			Name: b.text(m.Filename, 200), Version: b.text(m.Version, 60), DebugID: b.text(m.DebugID, 60),
			Range: b.text(shortHex(m.Base), 20) + " – " + b.text(shortHex(m.End), 20), Reason: b.text(m.Reason, maxName),
			Status: "not needed", Class: "soft",
		}
		switch {
		case m.Corrupt:
			row.Status, row.Class = "damaged", "bad"
			corrupt++
		case m.Missing:
			row.Status, row.Class = "missing", "warn"
			missing++
		case m.Loaded:
			row.Status, row.Class = "used", "good"
			loaded++
		}
		v.Modules = append(v.Modules, row)
	}
	v.ModuleCount = number(d.Modules.Total)
	var parts []string
	for _, p := range []struct {
		n    int
		text string
	}{{loaded, "with symbols"}, {missing, "without"}, {corrupt, "with damaged ones"}} {
		if p.n > 0 {
			parts = append(parts, number(p.n)+" "+p.text)
		}
	}
	v.ModuleSummary = strings.Join(parts, ", ")
	if n := d.Modules.omitted(); n > 0 {
		v.ModulesOmitted = count(n, "more module is", "more modules are") + " not shown. The JSON has all of them."
	}
}

// system are the facts of a walk about the machine.
func (d *walkDoc) system(b *budget) (all []fact) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, fact{name, b.text(value, 200)})
		}
	}
	add("System", join(d.System.OS, d.System.Version))
	add("Distribution", d.Distribution.Description)
	cpu := d.System.CPU
	if d.System.CPUs > 0 {
		cpu += ", " + count(d.System.CPUs, "core", "cores")
	}
	add("CPU", cpu)
	add("Model", d.System.CPUInfo)
	if d.Uptime != nil {
		add("Uptime", span(*d.Uptime))
	}
	return all
}

// crashpad lists the annotations that Crashpad wrote into the dump.
func (d *walkDoc) crashpad(b *budget) (all []annotation) {
	add := func(name, value, source string) {
		if value != "" || name != "" {
			all = append(all, annotation{b.text(name, 200), b.lines(value, maxValue), source})
		}
	}
	c := &d.Crashpad
	for _, p := range c.Annotations.Head {
		add(p.Name, p.Value, "Crashpad, process")
	}
	for _, m := range c.Modules.Head {
		source := "Crashpad, " + b.text(m.Module, 100)
		for _, p := range slices.Concat(m.Annotations.Head, m.Objects.Head) {
			add(p.Name, p.Value, source)
		}
		for _, s := range m.List.Head {
			add("", string(s), source)
		}
	}
	if c.ClientID != "" {
		add("client_id", c.ClientID, "Crashpad, client")
	}
	if c.ReportID != "" {
		add("report_id", c.ReportID, "Crashpad, client")
	}
	return all
}
