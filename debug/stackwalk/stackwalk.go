// Package stackwalk makes the report of a minidump: what ended the process, where every thread was, with
// names, files, lines and inlined calls, and which modules could tell.
//
// The command, the processor and the page that opens a dump all use it, and nothing else produces stacks.
// It does no I/O: symbols and unwind rules come from a Provider. Reports are written as the JSON of
// Mozilla's minidump-stackwalk, extended by keys of ours, or as its text.
package stackwalk

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/demangle"
	"salvage/debug/minidump"
	"salvage/debug/triage"
	"salvage/debug/unwind"
)

// Provider knows the modules of a process. Addresses are relative to a module's base. It must be safe for
// concurrent use.
type Provider interface {
	// Rules and Covered are those of unwind.Provider.
	Rules(m *minidump.Module, addr uint64) (cfi.Rules, bool)
	Covered(m *minidump.Module, addr uint64) (covered, known bool)
	// Names returns what is at an address: the inlined calls, innermost first, and last the function
	// itself. It returns nothing where nothing is known.
	Names(m *minidump.Module, addr uint64) []Name
	// Symbols says what became of a module's symbols. It is asked after all frames.
	Symbols(m *minidump.Module) Symbols
}

// Name is a function at an address, or a call inlined there.
type Name struct {
	Function string // linkage name, or readable already; empty if there is none
	File     string // path of the source; empty if unknown
	Line     uint32 // 0: unknown
	Start    uint64 // of the function, relative to the module; of the function itself only
	Params   uint16 // bytes of parameters on the stack, of x86; of the function itself only; 0: not known
	// LineStart is where the code of the line begins, relative to the module; of the innermost only.
	LineStart uint64
}

// Symbols is the state of a module's symbols after a walk.
type Symbols struct {
	Loaded  bool   // they were found and used
	Missing bool   // they were looked for and are nowhere
	Corrupt bool   // what was found cannot be used, or only in part
	URL     string // where they came from
	Reason  string // why they are missing or corrupt, for people
	// DebugFile and DebugID are what a symbol server told of a module of which the dump does not; else zero.
	DebugFile string
	DebugID   debugid.ID
}

// Report is what a dump says.
type Report struct {
	Dump    *minidump.Dump
	Crash   *triage.Crash // nil: nothing crashed
	Threads []Thread      // in the order of the dump
	// Crashing is the index of the thread that the dump is about; −1 if it does not say.
	Crashing int
	Modules  []Module // in the order of the dump

	notes annotations
}

// Thread is a thread with its frames.
type Thread struct {
	*minidump.Thread
	Frames []Frame // innermost first
	Total  int     // how many there were; see unwind.Stack
	Cut    int
	// LastError is the thread's GetLastError on Windows.
	LastError    uint32
	HasLastError bool
	// Skipped: the thread only wrote the dump, and is not walked.
	Skipped bool
}

// Frame is a frame with its names.
type Frame struct {
	unwind.Frame
	Function string // readable; empty if unknown
	Start    uint64 // address of the function in the process; 0 if unknown
	File     string
	Line     uint32
	// LineStart is the address in the process where the code of the innermost line begins; 0 if unknown.
	LineStart uint64
	Inlines   []Inline // innermost first
	// NoName says why Function is empty.
	NoName    string
	Unloaded  []Unloaded
	Arguments *Arguments // nil unless asked for and guessed
}

// Inline is a call inlined into a frame.
type Inline struct {
	Function, File string
	Line           uint32
}

// Unloaded is a module that was gone when the dump was written and may have been at a frame's address.
type Unloaded struct {
	Name    string
	Offsets []uint64 // ascending
}

// Module is a module with the state of its symbols.
type Module struct {
	*minidump.Module
	Symbols Symbols
}

// maxFrames bounds the frames of a report: many threads of a hostile dump may share one stack. A frame
// takes some 600 bytes; real dumps with a thousand threads have some 20,000 frames.
const maxFrames = 200_000

// Options of Walk.
type Options struct {
	Limits    unwind.Limits
	Workers   int  // threads walked at once; default GOMAXPROCS
	Arguments bool // guess those of functions on x86
	// Progress, if not nil, is called after each thread, from any goroutine.
	Progress func(done, total int)
}

// Walk makes the report of a dump. It always returns one; what could not be found out is not in it. If ctx
// ends, threads that were not walked have no frames.
func Walk(ctx context.Context, d *minidump.Dump, p Provider, o Options) *Report {
	r := &Report{Dump: d, Crashing: -1, Threads: make([]Thread, len(d.Threads))}
	if c, ok := triage.Analyze(d); ok {
		r.Crash = &c
	}
	crashing, state, ok := triage.RequestingThread(d)
	if ok {
		r.Crashing = crashing
	}
	if share := maxFrames / max(1, len(d.Threads)); o.Limits.Frames == 0 || o.Limits.Frames > share {
		o.Limits.Frames = min(max(share, 2), cmp.Or(o.Limits.Frames, unwind.DefaultFrames))
	}
	workers := o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	next := make(chan int)
	var group sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range min(workers, len(d.Threads)) {
		group.Go(func() {
			w := walk{d: d, p: p, readable: map[string]string{}}
			for i := range next {
				t := &r.Threads[i]
				t.Thread = &d.Threads[i]
				t.LastError, t.HasLastError = d.LastError(t.Thread)
				ctxState := t.Context
				if i == r.Crashing {
					ctxState = state
				}
				if d.Breakpad != nil && d.Breakpad.HasDumpThread && d.Breakpad.DumpThread == t.ID {
					t.Skipped = true
				} else {
					w.thread(ctx, t, ctxState, o.Limits)
					if o.Arguments {
						t.arguments(d)
					}
				}
				if o.Progress != nil {
					mu.Lock()
					done++
					o.Progress(done, len(d.Threads))
					mu.Unlock()
				}
			}
		})
	}
	for i := range d.Threads {
		next <- i
	}
	close(next)
	group.Wait()
	for i := range d.Modules {
		m := &d.Modules[i]
		r.Modules = append(r.Modules, Module{m, p.Symbols(m)})
	}
	return r
}

// functions adds to a Provider what package unwind asks besides.
type functions struct{ Provider }

func (p functions) Function(m *minidump.Module, addr uint64) (start, params uint64, known bool) {
	names := p.Names(m, addr)
	if len(names) == 0 {
		return 0, 0, false
	}
	f := &names[len(names)-1]
	if params = uint64(f.Params); params == 0 {
		params = paramsInName(f.Function)
	}
	return f.Start, params, true
}

// registerParams is how many bytes of parameters fastcall and vectorcall pass in ecx and edx, as far as they fit.
const registerParams = 8

// paramsInName returns how many bytes of parameters lie on the stack by a linkage name of Windows on x86.
func paramsInName(linkage string) uint64 {
	_, params := demangle.Undecorate(linkage, true)
	if params > math.MaxUint16 {
		return 0 // no instruction takes off as many
	}
	if strings.HasPrefix(linkage, "@") || strings.Contains(linkage, "@@") {
		params -= min(params, registerParams)
	}
	return uint64(params)
}

// walk is what one goroutine keeps.
type walk struct {
	d        *minidump.Dump
	p        Provider
	readable map[string]string
}

func (w *walk) thread(ctx context.Context, t *Thread, state *minidump.Context, l unwind.Limits) {
	s := unwind.Walk(ctx, w.d, state, t.Stack, functions{w.p}, l)
	t.Total, t.Cut = s.Total, s.Cut
	t.Frames = make([]Frame, len(s.Frames))
	for i := range s.Frames {
		f := &t.Frames[i]
		f.Frame = s.Frames[i]
		w.name(f)
	}
}

// name fills in the names of a frame.
func (w *walk) name(f *Frame) {
	m := f.Module
	if m == nil {
		f.NoName = "the address is in no module"
		f.Unloaded = unloaded(w.d, f.Lookup)
		return
	}
	names := w.p.Names(m, f.Lookup-m.Addr)
	if len(names) == 0 {
		if s := w.p.Symbols(m); s.Reason != "" {
			f.NoName = s.Reason
		} else {
			f.NoName = "the symbols of the module say nothing about the address"
		}
		return
	}
	outer := names[len(names)-1]
	f.Function, f.File, f.Line, f.Start = w.demangle(outer.Function), outer.File, outer.Line, m.Addr+outer.Start
	if names[0].LineStart > 0 {
		f.LineStart = m.Addr + names[0].LineStart
	}
	if f.Function == "" {
		f.NoName = "the symbols of the module have no name for the function"
	}
	for _, n := range names[:len(names)-1] {
		f.Inlines = append(f.Inlines, Inline{w.demangle(n.Function), n.File, n.Line})
	}
}

func (w *walk) demangle(name string) string {
	r, ok := w.readable[name]
	if !ok {
		r = demangle.Name(name)
		w.readable[name] = r
	}
	return r
}

func unloaded(d *minidump.Dump, addr uint64) []Unloaded {
	byName := map[string][]uint64{}
	for _, m := range d.UnloadedAt(addr) {
		byName[m.Name] = append(byName[m.Name], addr-m.Addr)
	}
	var out []Unloaded
	for name, offsets := range byName {
		slices.Sort(offsets)
		out = append(out, Unloaded{name, slices.Compact(offsets)})
	}
	slices.SortFunc(out, func(a, b Unloaded) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
