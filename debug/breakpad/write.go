package breakpad

import (
	"bufio"
	"bytes"
	"cmp"
	"io"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"salvage/debug/symbols"
	"salvage/debug/symcache"
)

// Text is what goes into a symbol file besides what a lookup file knows.
type Text struct {
	CodeFile string   // of a PE file, behind the code id
	Info     []string // INFO records: a keyword and its text
	Inlines  bool     // INLINE records as well
	// Name returns what to call a function, and how many bytes of parameters its linkage name says that it
	// takes. It is called on several goroutines.
	Name func(linkage []byte) (name string, params uint32)
	// File returns what to call a source file.
	File func(path []byte) string
	// Fallback is what stands at addresses where no other record starts and no function is.
	Fallback map[uint64]Fallback
	// End is the name of a public behind the last function, none if it is empty.
	End string

	places []place
}

// place is a function or public. A lookup file has one for each address.
type place struct {
	addr    uint64
	strings *symbols.Strings
	name    symbols.StringID
	public  bool
}

func (p *place) text() []byte { return p.strings.Bytes(p.name) }

// Note hands src on, and notes where several functions or publics stand at one address, which FUNC and PUBLIC
// records say with m; on Windows a function takes its parameters from a public's name.
func (t *Text) Note(src symbols.Source) symbols.Source {
	return func(emit func(*symbols.Batch) error) error {
		return src(func(b *symbols.Batch) error {
			for _, f := range b.Functions {
				t.places = append(t.places, place{f.Addr, b.Strings, f.Name, false})
			}
			for _, p := range b.Publics {
				t.places = append(t.places, place{p.Addr, b.Strings, p.Name, true})
			}
			return emit(b)
		})
	}
}

// Fallback is a FUNC, or if it has no size a PUBLIC.
type Fallback struct {
	Name string
	Size uint64
}

// Write writes what c knows as a symbol file, but for STACK records, in the order of Mozilla's dump_syms:
// MODULE, INFO, FILE, INLINE_ORIGIN, and by address FUNC, each followed by its INLINE and line records, and
// PUBLIC. Of functions that overlap each has the bytes that a lookup gives it: one that is cut in two has two
// FUNC records.
//
// Not in the format, so lost, are the size of a public, a function's language, where a line without number
// is, unless there are INLINE records, and of functions at one address all but one. Where c was built of sources
// that went through t.Note, FUNC and PUBLIC say with m that there are others.
func Write(w io.Writer, c *symcache.Cache, t *Text) error {
	x := writer{c: c, t: t, out: bufio.NewWriterSize(w, 1<<20), files: map[uint32]uint32{}, origins: make([]uint32, c.NumFunctions())}
	x.header()
	x.index()
	named := x.readNames()
	x.pieces(func(p *piece) { x.number(p) })
	named()
	x.names()
	x.texts()
	return x.out.Flush()
}

type writer struct {
	c   *symcache.Cache
	t   *Text
	out *bufio.Writer
	buf []byte

	files     map[uint32]uint32 // ids of the cache to numbers of the file
	fileNames []string
	origins   []uint32          // the same of inlined functions; first 1 for those that are any
	inlined   []uint32          // their ids, as they come
	shared    map[uint64]shared // by address, where there is more than one function or public
	pending   []uint64          // of the fallback, ascending
	end       uint64            // of the last record that is written
	named     []name            // by the cache's id of the function
}

type name struct {
	text   string
	params uint32
}

// shared is what stands at an address.
type shared struct {
	functions, publics int // with different names
	public             *place
}

// piece is a stretch of code of one function, or one public, with its rows.
type piece struct {
	fn         symcache.Frame
	start, end uint64
	rows       []pieceRow
	frames     []symcache.Frame // of all rows
	before     []uint64         // what of the fallback stands before it
}

type pieceRow struct {
	start  uint64
	lo, hi int // of the piece's frames, innermost first
}

// pieces yields each piece by address.
func (x *writer) pieces(yield func(*piece)) {
	var p piece
	id := func(f symcache.Frame) uint32 { fn, _ := f.IDs(); return fn }
	flush := func(end uint64) {
		if len(p.rows) > 0 {
			p.end = end
			yield(&p)
			p.rows, p.frames = p.rows[:0], p.frames[:0]
		}
	}
	for r := range x.c.Ranges() {
		lo := len(p.frames)
		p.frames = x.c.Frames(r, p.frames)
		if len(p.frames) == lo {
			flush(r.Start)
			continue
		}
		if fn := p.frames[len(p.frames)-1]; len(p.rows) == 0 || id(fn) != id(p.fn) && !x.goesOn(p.fn, fn, r.Start) {
			added := slices.Clone(p.frames[lo:])
			p.frames = p.frames[:lo]
			flush(r.Start)
			p.frames, lo = append(p.frames, added...), 0
			p.fn, p.start = fn, r.Start
		}
		p.rows = append(p.rows, pieceRow{r.Start, lo, len(p.frames)})
	}
	flush(^uint64(0))
}

// goesOn reports whether what follows is no function but more of the one before: code with lines behind it, as
// padding, which debug information does not say is part of it.
func (x *writer) goesOn(before, fn symcache.Frame, start uint64) bool {
	return x.c.Function(fn).Addr != start && !x.c.Function(fn).Public && bytes.Equal(x.c.Name(fn), x.c.Name(before))
}

// index finds out where several functions stand at one address.
func (x *writer) index() {
	all := x.t.places
	slices.SortStableFunc(all, func(a, b place) int { return cmp.Compare(a.addr, b.addr) })
	x.shared = map[uint64]shared{}
	for i := 0; i < len(all); {
		first := i
		for i++; i < len(all) && all[i].addr == all[first].addr; i++ {
		}
		if i == first+1 {
			continue
		}
		var s shared
		names := map[string]bool{} // the same again is what is left of one, or in two tables
		for k := range all[first:i] {
			p := &all[first+k]
			name := string(p.text())
			switch {
			case p.public && !names["p"+name]:
				names["p"+name], s.public = true, p
				s.publics++
			case !p.public && !names["f"+name]:
				names["f"+name] = true
				s.functions++
			}
		}
		x.shared[all[first].addr] = s
	}
	x.pending = slices.Sorted(maps.Keys(x.t.Fallback))
}

// number gives the files and inlined functions of a piece their numbers.
func (x *writer) number(p *piece) {
	if x.c.Function(p.fn).Public {
		return
	}
	for _, r := range p.rows {
		lo := x.innermost(r)
		for i := r.hi - 1; i >= lo; i-- {
			f := p.frames[i]
			fn, file := f.IDs()
			if _, ok := x.files[file]; !ok && (i > lo || x.hasLine(f)) {
				x.files[file] = uint32(len(x.fileNames))
				x.fileNames = append(x.fileNames, cmp.Or(line(x.t.File(x.c.File(f))), "<unknown>"))
			}
			if i < r.hi-1 && x.origins[fn] == 0 {
				x.origins[fn] = 1
				x.inlined = append(x.inlined, fn)
			}
		}
	}
}

// innermost returns which frame of a row its line record is for. Without INLINE records it is the function itself,
// at the line of the call.
func (x *writer) innermost(r pieceRow) int {
	if x.t.Inlines {
		return r.lo
	}
	return r.hi - 1
}

// hasLine reports whether a line record is written for f.
func (x *writer) hasLine(f symcache.Frame) bool {
	return len(x.c.File(f)) > 0 && (f.Line > 0 || x.t.Inlines)
}

func (x *writer) name(f symcache.Frame) *name {
	fn, _ := f.IDs()
	return &x.named[fn]
}

// readNames begins to make the names of all functions, on all cores: it is most of the work. It returns what waits
// for them.
func (x *writer) readNames() (wait func()) {
	x.named = make([]name, x.c.NumFunctions())
	var next atomic.Int64
	var group sync.WaitGroup
	const share = 256
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				lo := int(next.Add(share)) - share
				if lo >= len(x.named) {
					return
				}
				for i := lo; i < min(lo+share, len(x.named)); i++ {
					text, params := x.t.Name(x.c.FunctionName(uint32(i)))
					x.named[i] = name{cmp.Or(line(text), "<name omitted>"), params} // as others write
				}
			}
		})
	}
	return group.Wait
}

// line makes a text one that does not end its record.
func line(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, s)
}

// record writes a keyword or nothing, numbers and texts.
func (x *writer) record(parts ...any) {
	x.buf = record(x.buf[:0], parts...)
	_, _ = x.out.Write(x.buf) // an error stays until Flush
}

func record(b []byte, parts ...any) []byte {
	for i, p := range parts {
		if i > 0 {
			b = append(b, ' ')
		}
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case uint64:
			b = strconv.AppendUint(b, p, 16)
		case uint32:
			b = strconv.AppendUint(b, uint64(p), 10)
		}
	}
	return append(b, '\n')
}

func (x *writer) header() {
	m := x.c.Module()
	os := m.OS
	if os == "mac" {
		os = "Mac" // as dump_syms has it; readers take both
	}
	x.record("MODULE", os, m.Arch, m.ID.Breakpad(), line(m.Name))
	if m.CodeID != "" {
		id := strings.ToUpper(string(m.CodeID))
		if x.t.CodeFile != "" {
			x.record("INFO CODE_ID", id, line(x.t.CodeFile))
		} else {
			x.record("INFO CODE_ID", id)
		}
	}
	for _, info := range x.t.Info {
		x.record("INFO", line(info))
	}
}

func (x *writer) names() {
	for i, f := range x.fileNames {
		x.record("FILE", uint32(i), f)
	}
	numbers := map[string]uint32{}
	for _, fn := range x.inlined {
		text := x.named[fn].text
		n, known := numbers[text]
		if !known {
			n = uint32(len(numbers))
			numbers[text] = n
			x.record("INLINE_ORIGIN", n, text)
		}
		x.origins[fn] = n
	}
}

// share is pieces that one goroutine makes the text of.
type share struct {
	*writer
	pieces []piece
	rows   []pieceRow
	frames []symcache.Frame
	text   []byte
	made   chan struct{} // it holds one

	// Of a piece: the last range of each site, the sites by their first range, and all ranges.
	sites  map[site]int
	order  []siteRanges
	ranges []siteRange
}

// shareRows is how many rows are a share.
const shareRows = 4096

// texts writes the pieces, and the fallback between them. The text is made on all cores, a few shares ahead of what
// is written.
func (x *writer) texts() {
	ahead := 2 * runtime.GOMAXPROCS(0)
	free, queue := make(chan *share, ahead), make(chan *share, ahead)
	for range ahead {
		free <- &share{writer: x, made: make(chan struct{}, 1), sites: map[site]int{}}
	}
	var written sync.WaitGroup
	written.Go(func() {
		for s := range queue {
			<-s.made
			_, _ = x.out.Write(s.text) // an error stays until Flush
			s.pieces, s.rows, s.frames, s.text = s.pieces[:0], s.rows[:0], s.frames[:0], s.text[:0]
			free <- s
		}
	})
	s := <-free
	send := func() {
		queue <- s
		go s.make()
	}
	x.pieces(func(p *piece) {
		if len(s.rows) >= shareRows {
			send()
			s = <-free
		}
		s.add(p)
	})
	send()
	close(queue)
	written.Wait()
	for _, addr := range x.before(^uint64(0)) {
		x.buf = x.fallback(x.buf[:0], addr)
		_, _ = x.out.Write(x.buf)
	}
	if x.t.End != "" && x.end > 0 {
		x.record("PUBLIC", x.end, uint64(0), line(x.t.End))
	}
}

// add takes a copy of p.
func (s *share) add(p *piece) {
	own := *p
	own.before = s.before(p.start)
	rows, frames := len(s.rows), len(s.frames)
	s.rows, s.frames = append(s.rows, p.rows...), append(s.frames, p.frames...)
	own.rows, own.frames = s.rows[rows:], s.frames[frames:]
	s.pieces = append(s.pieces, own)
	last := p.end - 1
	if fn := s.c.Function(p.fn); fn.Public {
		last = fn.Addr
	}
	s.end = max(s.end, last+1)
	for len(s.pending) > 0 && s.pending[0] <= last {
		s.pending = s.pending[1:]
	}
}

// before takes what of the fallback is before addr.
func (x *writer) before(addr uint64) []uint64 {
	n, _ := slices.BinarySearch(x.pending, addr)
	all := x.pending[:n]
	for _, a := range all {
		x.end = max(x.end, a+max(x.t.Fallback[a].Size, 1))
	}
	x.pending = x.pending[n:]
	return all
}

func (s *share) make() {
	for i := range s.pieces {
		s.piece(&s.pieces[i])
	}
	s.made <- struct{}{}
}

func (x *share) piece(p *piece) {
	for _, addr := range p.before {
		x.text = x.fallback(x.text, addr)
	}
	fn := x.c.Function(p.fn)
	n := *x.name(p.fn)
	n.params = max(n.params, uint32(fn.Params))
	at := x.shared[fn.Addr]
	if fn.Public {
		x.text = symbol(x.text, "PUBLIC", at.publics > 1, fn.Addr, 0, n)
		return
	}
	if at.publics > 0 && fn.Addr == p.start && x.c.Module().OS == "windows" {
		// The name that PDBs have for the linker tells overloads apart, and how many parameters there are.
		public, params := x.t.Name(at.public.text())
		n.params = max(n.params, params)
		if !strings.Contains(n.text, "(") && strings.Contains(public, "(") {
			n.text = line(public)
		}
	}
	x.text = symbol(x.text, "FUNC", at.functions > 1, p.start, p.end-p.start, n)
	if x.t.Inlines {
		x.inlines(p)
	}
	for i := 0; i < len(p.rows); {
		f := p.frames[x.innermost(p.rows[i])]
		start := p.rows[i].start
		_, file := f.IDs()
		for i++; i < len(p.rows); i++ {
			next := p.frames[x.innermost(p.rows[i])]
			if _, nextFile := next.IDs(); nextFile != file || next.Line != f.Line {
				break
			}
		}
		if !x.hasLine(f) {
			continue
		}
		end := p.end
		if i < len(p.rows) {
			end = p.rows[i].start
		}
		b := strconv.AppendUint(x.text, start, 16)
		b = strconv.AppendUint(append(b, ' '), end-start, 16)
		b = strconv.AppendUint(append(b, ' '), uint64(f.Line), 10)
		b = strconv.AppendUint(append(b, ' '), uint64(x.files[file]), 10)
		x.text = append(b, '\n')
	}
}

func symbol(b []byte, keyword string, multiple bool, addr, size uint64, n name) []byte {
	if multiple {
		keyword += " m"
	}
	if size == 0 {
		return record(b, keyword, addr, uint64(n.params), n.text)
	}
	return record(b, keyword, addr, size, uint64(n.params), n.text)
}

func (x *writer) fallback(b []byte, addr uint64) []byte {
	f := x.t.Fallback[addr]
	return symbol(b, map[bool]string{true: "FUNC", false: "PUBLIC"}[f.Size > 0], false, addr, f.Size, name{text: line(f.Name)})
}

// site is an inlined call, at a depth of a piece. Calls that look alike are one site, as dump_syms has them: where
// each of its ranges is says what it is inlined into. Its file is the cache's.
type site struct{ depth, line, file, origin uint32 }

// inlines writes the INLINE records of a piece: one for each site, with all its ranges.
func (x *share) inlines(p *piece) {
	clear(x.sites)
	x.order, x.ranges = x.order[:0], x.ranges[:0]
	for i, r := range p.rows {
		end := p.end
		if i+1 < len(p.rows) {
			end = p.rows[i+1].start
		}
		for k := r.hi - 2; k >= r.lo; k-- { // outermost first
			function, _ := p.frames[k].IDs()
			_, file := p.frames[k+1].IDs()
			s := site{uint32(r.hi - 2 - k), p.frames[k+1].Line, file, x.origins[function]}
			last, known := x.sites[s]
			if known && x.ranges[last].end == r.start {
				x.ranges[last].end = end
				continue
			}
			n := len(x.ranges)
			x.ranges = append(x.ranges, siteRange{start: r.start, end: end, next: -1})
			x.sites[s] = n
			if known {
				x.ranges[last].next = n
			} else {
				x.order = append(x.order, siteRanges{s, n})
			}
		}
	}
	for _, o := range x.order {
		b := append(x.text, "INLINE"...)
		for _, v := range []uint32{o.depth, o.line, x.files[o.file], o.origin} {
			b = strconv.AppendUint(append(b, ' '), uint64(v), 10)
		}
		for n := o.first; n >= 0; n = x.ranges[n].next {
			r := &x.ranges[n]
			b = strconv.AppendUint(append(b, ' '), r.start, 16)
			b = strconv.AppendUint(append(b, ' '), r.end-r.start, 16)
		}
		x.text = append(b, '\n')
	}
}

// siteRange is a range of a site and the index of the next.
type siteRange struct {
	start, end uint64
	next       int
}

// siteRanges is a site and the index of its first range.
type siteRanges struct {
	site
	first int
}

// Append appends the record as text.
func (w *Win) Append(b []byte) []byte {
	b = append(b, "STACK WIN "...)
	b = strconv.AppendUint(b, uint64(w.Type), 16)
	b = strconv.AppendUint(append(b, ' '), w.Addr, 16)
	for _, v := range []uint32{w.CodeSize, w.Prologue, w.Epilogue, w.Params, w.SavedRegs, w.Locals, w.MaxStack} {
		b = strconv.AppendUint(append(b, ' '), uint64(v), 16)
	}
	switch {
	case w.HasProgram:
		b = append(append(b, " 1 "...), bytes.TrimSpace(w.Program)...)
	case w.AllocatesBP:
		b = append(b, " 0 1"...)
	default:
		b = append(b, " 0 0"...)
	}
	return append(b, '\n')
}
