package breakpad

import (
	"bytes"
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"salvage/debug"
	"salvage/debug/symbols"
)

// partSize is about how many bytes are parsed at once. What comes out depends on neither it nor the
// number of cores.
const partSize = 1 << 20

// reader is what the parts of a file have in common.
type reader struct {
	Handler
	Options
}

func newReader(h Handler, o Options) *reader {
	o.MaxLine = cmp.Or(o.MaxLine, defaultMaxLine)
	return &reader{h, o}
}

// Parse reads a whole file from memory.
func Parse(data []byte, h Handler, o Options) (*File, error) {
	return newReader(h, o).run(data, partSize, runtime.GOMAXPROCS(0))
}

func (r *reader) run(data []byte, size, workers int) (*File, error) {
	type task struct {
		data []byte
		done chan *part
	}
	var (
		tasks = make(chan task)
		order = make(chan chan *part, workers) // bounds what is parsed and not yet handed on
		stop  = make(chan struct{})
		free  = make(chan *part, 2*workers+1)
		group sync.WaitGroup
	)
	defer group.Wait()
	defer close(stop)
	group.Go(func() {
		defer close(order)
		defer close(tasks)
		for head := true; len(data) > 0; {
			n := cut(data, size, &head)
			t := task{data[:n], make(chan *part, 1)}
			data = data[n:]
			select {
			case order <- t.done:
				tasks <- t
			case <-stop:
				return
			}
		}
	})
	for range workers {
		group.Go(func() {
			for t := range tasks {
				var p *part
				select {
				case p = <-free:
				default:
					p = &part{reader: r}
				}
				p.parse(t.data)
				t.done <- p
			}
		})
	}
	m := newMerger(r)
	for done := range order {
		p := <-done
		if err := m.add(p); err != nil {
			return nil, err
		}
		if r.Done != nil {
			r.Done(p.data)
		}
		p.reset()
		select {
		case free <- p:
		default:
		}
	}
	return m.finish()
}

// alone are the starts of records that nothing before them has a say in.
var alone = [][]byte{[]byte("FUNC "), []byte("PUBLIC "), []byte("STACK CFI INIT "), []byte("STACK WIN ")}

// cut returns the length of the first part of data: at least size bytes, up to a record of those, or, in the
// head of a file, up to a definition.
func cut(data []byte, size int, head *bool) int {
	for pos := size; pos < len(data); pos++ {
		n := bytes.IndexByte(data[pos-1:], '\n')
		if n < 0 {
			break
		}
		pos += n
		for _, start := range alone {
			if bytes.HasPrefix(data[pos:], start) {
				return pos
			}
		}
		if *head && (bytes.HasPrefix(data[pos:], []byte("FILE ")) || bytes.HasPrefix(data[pos:], []byte("INLINE_ORIGIN "))) {
			if *head = !bytes.Contains(data[:pos], []byte("FUNC")) && !bytes.Contains(data[:pos], []byte("STACK")); *head {
				return pos
			}
		}
	}
	return len(data)
}

// merger puts the parts together. Numbers of FILE and INLINE_ORIGIN records are resolved here, in the
// order of the file, since a definition may stand in any part.
type merger struct {
	*reader
	file    File
	strings *symbols.Strings
	files   idTable
	origins idTable
	publics []symbols.Public

	// The old INLINE dialect, which names no call files; see part.inlineRecord.
	originFiles map[symbols.StringID]symbols.StringID
	callers     []symbols.StringID // files of the open calls
}

func newMerger(r *reader) *merger {
	s := symbols.NewStrings()
	return &merger{reader: r, strings: s, files: idTable{strings: s}, origins: idTable{strings: s}}
}

// add takes over what is in p and hands it on.
func (m *merger) add(p *part) error {
	for _, b := range p.bad {
		line := m.file.Counts.Lines + b.line
		if m.Strict {
			return &debug.FormatError{Format: "breakpad", Section: "line", Offset: line, Reason: b.kind + ": " + b.text}
		}
		if len(m.file.Problems) < maxProblems {
			m.file.Problems = append(m.file.Problems, debug.Problem{Where: fmt.Sprintf("line %d", line), Kind: b.kind, Detail: b.text})
		}
	}
	m.file.add(&p.file)
	if m.Batch != nil {
		m.resolve(p)
		if len(p.batch.Functions) > 0 {
			b := p.batch
			p.batch = nil
			if err := m.Batch(b); err != nil {
				return err
			}
		}
	}
	for _, c := range p.cfiRecords {
		if err := m.CFI(c); err != nil {
			return err
		}
	}
	for _, w := range p.winRecords {
		if err := m.Win(w); err != nil {
			return err
		}
	}
	return nil
}

// resolve turns the numbers in a part's batch into ids of strings.
func (m *merger) resolve(p *part) {
	b := p.batch
	b.Strings = m.strings
	first := m.strings.Append(p.text, p.names)
	for i := range b.Functions {
		b.Functions[i].Name += first
	}
	for _, s := range p.publics {
		s.Name += first
		m.publics = append(m.publics, s)
	}
	last, id := uint32(0), symbols.StringID(0) // lines of one file stand together
	for i := range b.Lines {
		if l := &b.Lines[i]; id == 0 || uint32(l.File) != last {
			last = uint32(l.File)
			id = m.files.use(last)
		}
		b.Lines[i].File = id
	}
	defs, old, function, depth := p.defs, p.old, ^uint32(0), 0
	for i := 0; ; i++ {
		for len(defs) > 0 && (defs[0].inlines <= uint32(i) || i == len(b.Inlines)) {
			m.define(defs[0], first)
			defs = defs[1:]
		}
		if i == len(b.Inlines) {
			break
		}
		in := &b.Inlines[i]
		in.Name = m.origins.use(uint32(in.Name))
		if in.Language == noCallFile {
			in.CallFile, in.Language = 0, symbols.LanguageUnknown
		} else {
			in.CallFile = m.files.use(uint32(in.CallFile))
		}
		if len(old) > 0 && old[0].inlines.Lo <= uint32(i) {
			o := &old[0]
			if o.function != function {
				function, m.callers = o.function, m.callers[:0]
			}
			if uint32(i) == o.inlines.Lo {
				depth = min(int(in.Depth), len(m.callers))
				m.callers = append(m.callers[:depth], m.originFiles[in.Name])
			}
			if depth > 0 {
				in.CallFile = m.callers[depth-1]
			}
			if uint32(i)+1 == o.inlines.Hi {
				old = old[1:]
			}
		}
	}
	// Calls from a function itself stand in the file of its first line.
	for i, o := range p.old {
		if fn := &b.Functions[o.function]; (i == 0 || o.function != p.old[i-1].function) && fn.Lines.Lo < fn.Lines.Hi {
			for j := fn.Inlines.Lo; j < fn.Inlines.Hi; j++ {
				if in := &b.Inlines[j]; in.Depth == 0 && in.CallFile == 0 {
					in.CallFile = b.Lines[fn.Lines.Lo].File
				}
			}
		}
	}
}

func (m *merger) define(d definition, first symbols.StringID) {
	name := d.name + first
	if !d.origin {
		m.files.define(d.number, name)
		return
	}
	if d.hasFile {
		if m.originFiles == nil {
			m.originFiles = map[symbols.StringID]symbols.StringID{}
		}
		m.originFiles[m.origins.use(d.number)] = m.files.use(d.file)
	}
	m.origins.define(d.number, name)
}

// finish hands on the publics.
func (m *merger) finish() (*File, error) {
	c := &m.file.Counts
	if c.Functions+c.Publics+c.CFIInits+c.Win+c.Files+c.Info == 0 && m.file.Module == (symbols.Module{}) {
		return nil, &debug.FormatError{Format: "breakpad", Reason: "no records of a symbol file"}
	}
	if len(m.publics) == 0 {
		return &m.file, nil
	}
	// Arrange lets the last of equal addresses speak: with this order the greatest name, as
	// rust-minidump has it.
	slices.SortStableFunc(m.publics, func(a, b symbols.Public) int {
		return cmp.Or(cmp.Compare(a.Addr, b.Addr),
			bytes.Compare(m.strings.Bytes(a.Name), m.strings.Bytes(b.Name)), cmp.Compare(a.Params, b.Params))
	})
	batch := symbols.NewBatch(m.strings)
	batch.Publics = append(batch.Publics, m.publics...)
	return &m.file, m.Batch(batch)
}

// add takes over what the part of a file behind f's said.
func (f *File) add(p *File) {
	id, codeFile := f.Module.CodeID, f.CodeFile
	if f.Module.OS == "" {
		f.Module = p.Module
	}
	if f.Module.CodeID, f.CodeFile = id, codeFile; id == "" {
		f.Module.CodeID, f.CodeFile = p.Module.CodeID, cmp.Or(p.CodeFile, codeFile)
	}
	f.Generator, f.URL = cmp.Or(p.Generator, f.Generator), cmp.Or(p.URL, f.URL)
	c, d := &f.Counts, &p.Counts
	for _, n := range [...]struct {
		sum *uint64
		add uint64
	}{
		{&c.Lines, d.Lines}, {&c.Files, d.Files}, {&c.Origins, d.Origins}, {&c.Functions, d.Functions}, {&c.LineRecords, d.LineRecords},
		{&c.Inlines, d.Inlines}, {&c.OldInlines, d.OldInlines}, {&c.Publics, d.Publics}, {&c.CFIInits, d.CFIInits}, {&c.CFIRows, d.CFIRows},
		{&c.Win, d.Win}, {&c.Info, d.Info}, {&c.Bad, d.Bad}, {&c.Unknown, d.Unknown}, {&c.TooLong, d.TooLong}, {&c.Empty, d.Empty},
	} {
		*n.sum += n.add
	}
}
