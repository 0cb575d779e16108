package symcache

import (
	"encoding/binary"
	"io"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"salvage/debug/internal/tables"
	"salvage/debug/symbols"
)

// builder puts the blocks' functions into one address order and writes the file.
type builder struct {
	blocks  []*block
	workers int

	own  *symbols.Strings    // what the module says
	meta [4]symbols.StringID // code id, OS, architecture, name

	where       []place // function → block
	extents     []symbols.Extent
	publics     []symbols.Public
	pieces      []symbols.Piece
	scopeBase   []uint32 // function → its first scope in the file, or noScope where all of it is shadowed
	publicScope []uint32 // public → its scope, or noScope likewise

	out         stringTable
	funcs       []outFunction // in the order of the file
	onlyInlined uint32
	inlined     map[outFunction]uint32 // the number of a function that is only ever inlined, where its string does not say it
}

type place struct{ block, index uint32 }

type outFunction struct{ name, flags uint32 }

func newBuilder(blocks []*block, workers int, module *symbols.Module) *builder {
	own := &block{strings: symbols.NewStrings()}
	b := &builder{blocks: blocks, workers: workers, inlined: map[outFunction]uint32{}}
	for i, s := range [...]string{string(module.CodeID), module.OS, module.Arch, module.Name} {
		b.meta[i] = own.strings.Intern([]byte(s))
	}
	b.own, b.out = own.strings, newStringTable(append(slices.Clip(blocks), own))
	funcs, publics := 0, 0
	for _, bl := range blocks {
		funcs, publics = funcs+len(bl.funcs), publics+len(bl.publics)
	}
	b.where, b.extents = make([]place, 0, funcs), make([]symbols.Extent, 0, funcs)
	b.publics, b.pieces = make([]symbols.Public, 0, publics), make([]symbols.Piece, 0, funcs+publics)
	for i, bl := range blocks {
		for j, f := range bl.funcs {
			b.where = append(b.where, place{uint32(i), uint32(j)})
			b.extents = append(b.extents, symbols.Extent{Addr: f.addr, Size: f.size})
		}
		b.publics = append(b.publics, bl.publics...)
	}
	return b
}

func (b *builder) write(w io.Writer, module *symbols.Module) (st Stats, err error) {
	for _, bl := range b.blocks {
		st.Repairs.Add(bl.repairs)
	}
	if err := b.arrange(&st); err != nil {
		return st, err
	}
	// One goroutine names things, in order, while the others write down the rows.
	var ranges []rangeTable
	done := make(chan struct{})
	go func() {
		ranges = b.ranges()
		close(done)
	}()
	a := newAhead(w)
	defer a.close()
	t := tables.NewWriter(a, format)
	t.Table(tableScopes)
	b.writeScopes(t)
	<-done
	t.Table(tableFunctions)
	for _, f := range b.funcs {
		t.U32(f.name)
		t.U32(f.flags)
	}
	t.Table(tableExtents)
	for i, base := range b.scopeBase {
		if base != noScope {
			t.U64(b.extents[i].Addr)
			t.U64(b.extents[i].Size)
		}
	}
	for i, scope := range b.publicScope {
		if scope != noScope {
			t.U64(b.publics[i].Addr)
			t.U64(b.publics[i].Size)
		}
	}
	count, size := writeRanges(t, ranges)
	if size > 1<<32-1 {
		return st, tooLarge("over 4 GiB of ranges")
	}
	st.Ranges = int(count)

	t.Table(tableMeta)
	t.Bytes(module.ID.UUID[:])
	t.U32(module.ID.Age)
	if module.ID.PDB20 {
		t.U32(flagPDB20)
	} else {
		t.U32(0)
	}
	t.U64(module.ImageBase)
	for _, id := range b.meta {
		t.U32(b.out.offset(b.out.of(b.own, id)))
	}
	t.Table(tableStrings)
	b.out.write(t)
	if b.out.size > 1<<32-1 {
		return st, tooLarge("over 4 GiB of names")
	}
	if st.Bytes, err = t.Close(); err == nil {
		err = a.close()
	}
	return st, err
}

// ahead writes on a goroutine of its own.
type ahead struct {
	full, free chan []byte
	done       chan error
	closed     bool
	err        error
}

func newAhead(w io.Writer) *ahead {
	const buffers = 8
	a := &ahead{full: make(chan []byte, buffers), free: make(chan []byte, buffers), done: make(chan error, 1)}
	for range buffers {
		a.free <- nil
	}
	go func() {
		var err error
		for buf := range a.full {
			if err == nil {
				_, err = w.Write(buf)
			}
			a.free <- buf
		}
		a.done <- err
	}()
	return a
}

func (a *ahead) Write(b []byte) (int, error) {
	a.full <- append((<-a.free)[:0], b...)
	return len(b), nil
}

// close waits for what was written and returns the first error.
func (a *ahead) close() error {
	if !a.closed {
		a.closed = true
		close(a.full)
		a.err = <-a.done
	}
	return a.err
}

// arrange decides which bytes belong to whom, and which scopes that takes.
func (b *builder) arrange(st *Stats) error {
	covered := make([]uint64, len(b.extents))
	b.scopeBase, b.publicScope = make([]uint32, len(b.extents)), make([]uint32, len(b.publics))
	for i := range b.publicScope {
		b.publicScope[i] = noScope
	}
	symbols.Arrange(b.extents, b.publics).Pieces(func(p symbols.Piece) {
		b.pieces = append(b.pieces, p)
		if p.Function >= 0 {
			covered[p.Function] += p.End - p.Start
		} else {
			b.publicScope[p.Public] = 0
		}
	})
	scopes := uint64(0)
	for i, at := range b.where {
		b.scopeBase[i] = noScope
		if covered[i] > 0 {
			st.Functions++
			b.scopeBase[i] = uint32(scopes)
			scopes += uint64(len(b.blocks[at.block].scopesOf(int(at.index))))
		}
		if covered[i] < b.extents[i].Size {
			st.Repairs.ShadowedFuncs++
		}
	}
	for i, scope := range b.publicScope {
		if scope != noScope {
			st.Publics++
			b.publicScope[i] = uint32(scopes)
			scopes++
		}
	}
	st.Scopes = int(scopes)
	// There are at most as many functions.
	if scopes >= 1<<32-1 {
		return tooLarge("over 2³² scopes")
	}
	b.funcs = make([]outFunction, 0, st.Functions+st.Publics)
	return nil
}

// writeScopes writes the scopes and collects the functions and strings they mention, the latter in the
// order in which they are mentioned first.
func (b *builder) writeScopes(t *tables.Writer) {
	var buf []byte
	var only []outFunction // only ever inlined
	put := func(function, file, caller, callLine uint32) {
		buf = binary.LittleEndian.AppendUint32(buf, function)
		buf = binary.LittleEndian.AppendUint32(buf, file)
		buf = binary.LittleEndian.AppendUint32(buf, caller)
		buf = binary.LittleEndian.AppendUint32(buf, callLine)
	}
	withCode, block := uint32(cap(b.funcs)), uint32(0)
	for i, at := range b.where {
		base := b.scopeBase[i]
		if base == noScope {
			continue
		}
		bl := b.blocks[at.block]
		if at.block != block {
			b.blocks[block].scopes = nil // written; a big file has a hundred MB of them
			block = at.block
			b.out.touch(bl)
		}
		self := uint32(len(b.funcs))
		buf = buf[:0]
		for k, s := range bl.scopesOf(int(at.index)) {
			name, fn, caller := b.out.of(bl.strings, s.Name), self, noScope
			flags := uint32(s.Language) << languageShift
			if s.Caller != symbols.NoScope {
				caller = base + s.Caller
				index := name.function
				if index == 0 || name.flags != flags {
					if index = b.inlinedFunction(name, flags); index > uint32(len(only)) {
						only = append(only, outFunction{b.out.offset(name), flags})
					}
				}
				fn = withCode + index - 1
			} else if k == 0 {
				b.funcs = append(b.funcs, outFunction{b.out.offset(name), flags | uint32(bl.params[int(at.index)])<<paramsShift})
			}
			put(fn, b.out.offset(b.out.of(bl.strings, s.File)), caller, s.CallLine)
		}
		t.Bytes(buf)
	}
	i := 0
	for _, bl := range b.blocks {
		for _, p := range bl.publics {
			if b.publicScope[i] != noScope {
				buf = buf[:0]
				put(uint32(len(b.funcs)), b.out.offset(b.out.of(bl.strings, p.File)), noScope, 0)
				b.funcs = append(b.funcs, outFunction{b.out.offset(b.out.of(bl.strings, p.Name)), flagPublic | uint32(p.Params)<<paramsShift})
				t.Bytes(buf)
			}
			i++
		}
	}
	b.funcs = append(b.funcs, only...)
}

// inlinedFunction returns the number, from 1, of a function that is only ever inlined, and notes it where
// it will be found sooner. A new one gets the next number.
func (b *builder) inlinedFunction(name *resolved, flags uint32) uint32 {
	e := &b.out.entries[name.entry]
	key := outFunction{e.offset, flags}
	index := e.function
	if index != 0 && e.flags != flags { // of several languages the first is at hand
		index = b.inlined[key]
	}
	if index == 0 {
		b.onlyInlined++
		index = b.onlyInlined
		if e.function == 0 {
			e.function, e.flags = index, flags
		} else {
			b.inlined[key] = index
		}
	}
	name.function, name.flags = index, flags
	return index
}

// piecesPerTask is how many pieces one goroutine writes down at a time. Blocks of ranges begin with it.
const piecesPerTask = 4096

// ranges makes the tables of ranges of all pieces, in order.
func (b *builder) ranges() []rangeTable {
	parts := make([]rangeTable, (len(b.pieces)+piecesPerTask-1)/piecesPerTask)
	var next atomic.Int64
	var group sync.WaitGroup
	for range b.workers {
		group.Go(func() {
			var buf []byte
			for {
				i := int(next.Add(1)) - 1
				if i >= len(parts) {
					return
				}
				p := &parts[i]
				p.data = buf[:0]
				b.rangesOf(i*piecesPerTask, min((i+1)*piecesPerTask, len(b.pieces)), p)
				buf = p.data
				p.data = slices.Clone(buf)
			}
		})
	}
	group.Wait()
	return parts
}

// rangesOf puts down the rows of some pieces: ascending, equal neighbours merged, gaps as noScope.
func (b *builder) rangesOf(from, to int, out *rangeTable) {
	for i := from; i < to; i++ {
		p := &b.pieces[i]
		if i > 0 && p.Start > b.pieces[i-1].End {
			out.put(b.pieces[i-1].End, noScope, 0)
		}
		if p.Function < 0 {
			out.put(p.Start, b.publicScope[p.Public], 0)
			continue
		}
		at := b.where[p.Function]
		rows, addr, base := b.blocks[at.block].rowsOf(int(at.index)), b.extents[p.Function].Addr, b.scopeBase[p.Function]
		var now row
		for k := nextRow(rows, 0, &now); k > 0 && addr+uint64(now.offset) < p.End; {
			r, last := now, k == len(rows)
			end := p.End
			if !last {
				k = nextRow(rows, k, &now)
				end = addr + uint64(now.offset)
			}
			if end > p.Start {
				out.put(max(addr+uint64(r.offset), p.Start), base+r.scope, r.line)
			}
			if last {
				break
			}
		}
	}
	if to == len(b.pieces) && b.pieces[to-1].End != ^uint64(0) {
		out.put(b.pieces[to-1].End, noScope, 0)
	}
}

// stringTable collects the strings of the file, each once, without copying them.
type stringTable struct {
	sources []source
	last    int // the source that was used last
	index   map[*symbols.Strings]int
	entries []stringEntry // in the order of the file
	slots   []stringSlot  // open addressing
	size    uint64        // of the table in the file
	touched uint32
}

type source struct {
	strings *symbols.Strings
	ids     []resolved
}

// resolved is what is known of a string by its id in a source.
type resolved struct {
	entry    uint32 // 0: not yet, or empty
	function uint32 // that has it as a name and is only ever inlined, from 1; 0: none yet
	flags    uint32 // of that function
}

// stringEntry is a string of the file: where its text is, and what resolved has.
type stringEntry struct {
	source          uint32
	id              symbols.StringID
	offset          uint32
	function, flags uint32
}

type stringSlot struct{ hash, entry uint32 } // entry 0: free

// newStringTable makes room for the strings of all blocks.
func newStringTable(blocks []*block) stringTable {
	t := stringTable{index: map[*symbols.Strings]int{}, size: 1} // offset 0 is the empty string
	n := 64
	for _, b := range blocks {
		if _, seen := t.index[b.strings]; !seen {
			t.index[b.strings] = len(t.sources)
			t.sources = append(t.sources, source{b.strings, make([]resolved, b.strings.Len())})
			n += b.strings.Len()
		}
	}
	t.entries = make([]stringEntry, 1, n)
	t.slots = make([]stringSlot, 1<<bits.Len(uint(n+n/3)))
	return t
}

// of returns what is known of a string. Its source must be complete.
func (t *stringTable) of(s *symbols.Strings, id symbols.StringID) *resolved {
	if t.sources[t.last].strings != s {
		t.last = t.index[s]
	}
	r := &t.sources[t.last].ids[id]
	if r.entry == 0 && id != 0 {
		r.entry = t.add(s, id)
	}
	return r
}

func (t *stringTable) offset(r *resolved) uint32 { return t.entries[r.entry].offset }

// touch brings what of will read for a block into the processor's cache: loads that wait for nothing overlap.
func (t *stringTable) touch(b *block) {
	src := &t.sources[t.last]
	if src.strings != b.strings {
		return
	}
	for _, s := range b.scopes {
		if r := &src.ids[s.Name]; r.entry == 0 {
			t.touched += t.slots[t.first(b.strings.Hash(s.Name))].entry
		}
	}
}

func (t *stringTable) add(s *symbols.Strings, id symbols.StringID) uint32 {
	text := s.Bytes(id)
	if len(text) == 0 {
		return 0
	}
	hash := s.Hash(id)
	i := t.first(hash)
	for ; t.slots[i].entry != 0; i = t.next(i) {
		if s := &t.slots[i]; s.hash == hash && string(t.text(s.entry)) == string(text) {
			return s.entry
		}
	}
	t.slots[i] = stringSlot{hash, uint32(len(t.entries))}
	t.entries = append(t.entries, stringEntry{source: uint32(t.last), id: id, offset: uint32(t.size)})
	var size [binary.MaxVarintLen64]byte
	t.size += uint64(binary.PutUvarint(size[:], uint64(len(text))) + len(text))
	return uint32(len(t.entries) - 1)
}

func (t *stringTable) first(hash uint32) int { return int(hash) & (len(t.slots) - 1) }
func (t *stringTable) next(i int) int        { return (i + 1) & (len(t.slots) - 1) }

func (t *stringTable) text(entry uint32) []byte {
	e := t.entries[entry]
	return t.sources[e.source].strings.Bytes(e.id)
}

func (t *stringTable) write(w *tables.Writer) {
	w.Bytes([]byte{0})
	var size [binary.MaxVarintLen64]byte
	for i := 1; i < len(t.entries); i++ {
		text := t.text(uint32(i))
		w.Bytes(size[:binary.PutUvarint(size[:], uint64(len(text)))])
		w.Bytes(text)
	}
}
