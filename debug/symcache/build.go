package symcache

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"sync"

	"salvage/debug"
	"salvage/debug/internal/tables"
	"salvage/debug/symbols"
)

// Options of Build.
type Options struct {
	Workers int // goroutines that flatten functions; default GOMAXPROCS. The output does not depend on it
}

// Stats says what Build wrote.
type Stats struct {
	Functions int             `json:"functions"` // with an address, without publics
	Publics   int             `json:"publics"`
	Ranges    int             `json:"ranges"`
	Scopes    int             `json:"scopes"`
	Bytes     uint64          `json:"bytes"`
	Repairs   symbols.Repairs `json:"repairs"`
}

// block is a batch after flattening: the rows of its functions in flat arrays.
type block struct {
	strings *symbols.Strings
	funcs   []function
	rows    []row
	scopes  []symbols.Scope
	publics []symbols.Public
	repairs symbols.Repairs
}

// function is a function whose rows are rows[rowsFrom:] up to the next function's, and its scopes
// likewise.
type function struct {
	addr, size           uint64
	rowsFrom, scopesFrom uint32
}

// row has an offset from its function's address and a scope counted from its function's first.
type row struct{ offset, scope, line uint32 }

// Build reads all of src and writes a cache of it to w. Module may be filled in while src runs; it is
// read afterwards.
//
// Tables over 2³² entries are refused with debug.ErrTooLarge; functions over 4 GiB are dropped. The output
// depends on the batches and their order alone.
func Build(ctx context.Context, w io.Writer, module *symbols.Module, src symbols.Source, o Options) (Stats, error) {
	blocks, err := flattenAll(ctx, src, o.Workers)
	if err != nil {
		return Stats{}, err
	}
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	b := builder{blocks: blocks, out: stringTable{seen: symbols.NewStrings()}}
	b.out.offsets = append(b.out.offsets, 0)
	b.out.data = append(b.out.data, 0) // offset 0: the empty string
	return b.write(w, module)
}

// flattenAll flattens batches on several goroutines, keeping their order.
func flattenAll(ctx context.Context, src symbols.Source, workers int) ([]*block, error) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	type task struct {
		batch *symbols.Batch
		block *block
	}
	var (
		blocks []*block
		tasks  = make(chan task, workers)
		failed = make(chan error, workers)
		group  sync.WaitGroup
	)
	for range workers {
		group.Go(func() {
			var f symbols.Flattener
			for t := range tasks {
				if err := t.block.fill(&f, t.batch); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
				t.batch.Free()
			}
		})
	}
	err := src(func(batch *symbols.Batch) error {
		b := new(block)
		blocks = append(blocks, b)
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case tasks <- task{batch, b}:
			return nil
		}
	})
	close(tasks)
	group.Wait()
	if err != nil {
		return nil, err
	}
	select {
	case err := <-failed:
		return nil, err
	default:
		return blocks, nil
	}
}

func tooLarge(what string) error {
	return &debug.FormatError{Format: format.Name, Reason: what, Err: debug.ErrTooLarge}
}

func (b *block) fill(f *symbols.Flattener, batch *symbols.Batch) error {
	b.strings = batch.Strings
	b.funcs = make([]function, len(batch.Functions))
	b.rows = make([]row, 0, len(batch.Lines)+len(batch.Inlines)+len(batch.Functions))
	for i := range batch.Functions {
		fn := &batch.Functions[i]
		if fn.Size > 1<<32-1 { // no code is; rows count in 32 bits
			f.Repairs.EmptyRecords++
			fn.Size = 0
		}
		f.Flatten(batch, fn)
		b.funcs[i] = function{fn.Addr, fn.Size, uint32(len(b.rows)), uint32(len(b.scopes))}
		for _, r := range f.Rows {
			b.rows = append(b.rows, row{uint32(r.Addr - fn.Addr), r.Scope, r.Line})
		}
		b.scopes = append(b.scopes, f.Scopes...)
		if uint64(len(b.rows))|uint64(len(b.scopes)) > 1<<32-1 {
			return tooLarge("over 2³² rows in one batch")
		}
	}
	b.publics = append(b.publics, batch.Publics...)
	b.repairs, f.Repairs = f.Repairs, symbols.Repairs{}
	return nil
}

func (b *block) rowsOf(i int) []row {
	if i+1 < len(b.funcs) {
		return b.rows[b.funcs[i].rowsFrom:b.funcs[i+1].rowsFrom]
	}
	return b.rows[b.funcs[i].rowsFrom:]
}

func (b *block) scopesOf(i int) []symbols.Scope {
	if i+1 < len(b.funcs) {
		return b.scopes[b.funcs[i].scopesFrom:b.funcs[i+1].scopesFrom]
	}
	return b.scopes[b.funcs[i].scopesFrom:]
}

// builder puts the blocks' functions into one address order and writes the file.
type builder struct {
	blocks []*block

	where       []place // function → block
	extents     []symbols.Extent
	scopeBase   []uint32 // function → its first scope in the file, or noScope where all of it is shadowed
	all         []symbols.Public
	publicScope []uint32 // public → its scope

	out stringTable
}

type place struct{ block, index uint32 }

func (b *builder) write(w io.Writer, module *symbols.Module) (st Stats, err error) {
	for i, bl := range b.blocks {
		st.Repairs.Add(bl.repairs)
		for j, f := range bl.funcs {
			b.where = append(b.where, place{uint32(i), uint32(j)})
			b.extents = append(b.extents, symbols.Extent{Addr: f.addr, Size: f.size})
		}
		b.all = append(b.all, bl.publics...)
	}
	pieces := symbols.Arrange(b.extents, b.all)
	covered := make([]uint64, len(b.extents))
	usedPublic := make([]bool, len(b.all))
	pieces.Pieces(func(p symbols.Piece) {
		if p.Function >= 0 {
			covered[p.Function] += p.End - p.Start
		} else {
			usedPublic[p.Public] = true
		}
	})

	t := tables.NewWriter(w, format)

	// Scopes and functions: first those with code, in the order delivered, then the inlined ones as
	// scopes mention them, then publics.
	type outFunction struct {
		addr, size  uint64
		name, flags uint32
	}
	var funcs []outFunction
	var scopes []uint32 // four words each
	b.scopeBase = make([]uint32, len(b.extents))
	live, liveScopes := uint32(0), 0
	for i, at := range b.where {
		if covered[i] > 0 {
			live++
			liveScopes += len(b.blocks[at.block].scopesOf(int(at.index)))
		}
		if covered[i] < b.extents[i].Size {
			st.Repairs.ShadowedFuncs++
		}
	}
	st.Functions = int(live)
	funcs = make([]outFunction, 0, live)
	scopes = make([]uint32, 0, 4*liveScopes)
	inlined := map[uint64]uint32{} // name offset and language → function
	var inlinedFuncs []outFunction
	for i, at := range b.where {
		if at.block > 0 {
			b.blocks[at.block-1].scopes = nil // written below; a big file has hundreds of MB of them
		}
		if covered[i] == 0 {
			b.scopeBase[i] = noScope
			continue
		}
		bl := b.blocks[at.block]
		strings := b.out.from(bl.strings)
		base := uint32(len(scopes) / 4)
		b.scopeBase[i] = base
		self := uint32(len(funcs))
		for k, s := range bl.scopesOf(int(at.index)) {
			name, fn, caller := strings.offset(s.Name), self, noScope
			flags := uint32(s.Language) << languageShift
			if s.Caller != symbols.NoScope {
				caller = base + s.Caller
				key := uint64(name)<<8 | uint64(s.Language)
				index, seen := inlined[key]
				if !seen {
					index = live + uint32(len(inlinedFuncs))
					inlined[key] = index
					inlinedFuncs = append(inlinedFuncs, outFunction{noAddr, 0, name, flags})
				}
				fn = index
			} else if k == 0 {
				funcs = append(funcs, outFunction{b.extents[i].Addr, b.extents[i].Size, name, flags})
			}
			scopes = append(scopes, fn, strings.offset(s.File), caller, s.CallLine)
		}
	}
	funcs = append(funcs, inlinedFuncs...)
	b.publicScope = make([]uint32, len(b.all))
	i := 0
	for _, bl := range b.blocks {
		for _, p := range bl.publics {
			if usedPublic[i] {
				st.Publics++
				strings := b.out.from(bl.strings)
				name := strings.offset(p.Name)
				b.publicScope[i] = uint32(len(scopes) / 4)
				scopes = append(scopes, uint32(len(funcs)), strings.offset(p.File), noScope, 0)
				funcs = append(funcs, outFunction{p.Addr, p.Size, name, flagPublic})
			}
			i++
		}
	}
	st.Scopes = len(scopes) / 4
	if uint64(len(scopes)/4) >= 1<<32-1 || uint64(len(funcs)) >= 1<<32-1 {
		return st, tooLarge("over 2³² scopes")
	}
	codeID, os, arch, name := b.out.add([]byte(module.CodeID)), b.out.add([]byte(module.OS)), b.out.add([]byte(module.Arch)), b.out.add([]byte(module.Name))
	if uint64(len(b.out.data)) > 1<<32-1 {
		return st, tooLarge("over 4 GiB of names")
	}

	t.Table(tableMeta)
	t.Bytes(module.ID.UUID[:])
	t.U32(module.ID.Age)
	if module.ID.PDB20 {
		t.U32(flagPDB20)
	} else {
		t.U32(0)
	}
	t.U64(module.ImageBase)
	for _, off := range []uint32{codeID, os, arch, name} {
		t.U32(off)
	}

	count := t.WriteIndex(tableStarts, tableSegments, func(yield func(uint64) bool) {
		b.ranges(pieces, func(addr uint64, _, _ uint32) { yield(addr) })
	})
	if count >= 1<<32-1 {
		return st, tooLarge("over 2³² ranges")
	}
	st.Ranges = int(count)
	t.Table(tableRanges)
	b.ranges(pieces, func(_ uint64, scope, line uint32) {
		t.U32(scope)
		t.U32(line)
	})
	t.Table(tableScopes)
	for _, v := range scopes {
		t.U32(v)
	}
	t.Table(tableFunctions)
	for _, f := range funcs {
		t.U64(f.addr)
		t.U64(f.size)
		t.U32(f.name)
		t.U32(f.flags)
	}
	t.Table(tableStrings)
	t.Bytes(b.out.data)
	st.Bytes, err = t.Close()
	return st, err
}

// ranges yields the rows of the file: ascending, equal neighbours merged, gaps as noScope.
func (b *builder) ranges(pieces *symbols.Arrangement, yield func(addr uint64, scope, line uint32)) {
	end := uint64(0) // of what is covered so far
	lastScope, lastLine := noScope, uint32(0)
	put := func(addr uint64, scope, line uint32) {
		if scope != lastScope || line != lastLine {
			yield(addr, scope, line)
			lastScope, lastLine = scope, line
		}
	}
	pieces.Pieces(func(p symbols.Piece) {
		if p.Start > end {
			put(end, noScope, 0)
		}
		end = p.End
		if p.Function < 0 {
			put(p.Start, b.publicScope[p.Public], 0)
			return
		}
		at := b.where[p.Function]
		rows, addr := b.blocks[at.block].rowsOf(int(at.index)), b.extents[p.Function].Addr
		for i, r := range rows {
			start, rowEnd := addr+uint64(r.offset), p.End
			if i+1 < len(rows) {
				rowEnd = addr + uint64(rows[i+1].offset)
			}
			if start >= p.End {
				break
			}
			if rowEnd > p.Start {
				put(max(start, p.Start), b.scopeBase[p.Function]+r.scope, r.line)
			}
		}
	})
	if end != ^uint64(0) {
		put(end, noScope, 0)
	}
}

// stringTable collects the strings of the file, each once.
type stringTable struct {
	seen    *symbols.Strings
	offsets []uint32 // by id of seen
	data    []byte
	sources map[*symbols.Strings]*sourceStrings
	last    *sourceStrings
}

// sourceStrings maps the ids of one source table to offsets; 0 is "not yet".
type sourceStrings struct {
	table   *stringTable
	strings *symbols.Strings
	offsets []uint32
}

func (t *stringTable) add(s []byte) uint32 {
	id := t.seen.Intern(s)
	if int(id) == len(t.offsets) {
		t.offsets = append(t.offsets, uint32(len(t.data)))
		t.data = append(binary.AppendUvarint(t.data, uint64(len(s))), s...)
	}
	return t.offsets[id]
}

func (t *stringTable) from(s *symbols.Strings) *sourceStrings {
	if t.last != nil && t.last.strings == s {
		return t.last
	}
	if t.sources == nil {
		t.sources = map[*symbols.Strings]*sourceStrings{}
	}
	m := t.sources[s]
	if m == nil {
		m = &sourceStrings{t, s, make([]uint32, s.Len())}
		t.sources[s] = m
	}
	t.last = m
	return m
}

func (m *sourceStrings) offset(id symbols.StringID) uint32 {
	if m.offsets[id] == 0 && id != 0 {
		m.offsets[id] = m.table.add(m.strings.Bytes(id))
	}
	return m.offsets[id]
}
