package symcache

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"slices"
	"sync"

	"salvage/debug"
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
	rows    []byte // see appendRow
	scopes  []symbols.Scope
	publics []symbols.Public
	params  map[int]uint16 // of functions that have any
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

// appendRow appends r as its difference from the row before, the zero row before the first: there may be many.
func appendRow(d []byte, r, before row) []byte {
	d = binary.AppendUvarint(d, uint64(r.offset-before.offset))
	d = binary.AppendUvarint(d, uint64(zigzag(r.scope-before.scope)))
	return binary.AppendUvarint(d, uint64(zigzag(r.line-before.line)))
}

// nextRow turns r into the row behind it, which is at d[i:], and returns where the one behind that is.
func nextRow(d []byte, i int, r *row) int {
	offset, i := uvarint(d, i)
	scope, i := uvarint(d, i)
	line, i := uvarint(d, i)
	r.offset, r.scope, r.line = r.offset+uint32(offset), r.scope+unzigzag(uint32(scope)), r.line+unzigzag(uint32(line))
	return i
}

// Build reads all of src and writes a cache of it to w. Module may be filled in while src runs; it is
// read afterwards.
//
// Tables over 2³² entries are refused with debug.ErrTooLarge; functions over 4 GiB are dropped. The output
// depends on the batches and their order alone.
func Build(ctx context.Context, w io.Writer, module *symbols.Module, src symbols.Source, o Options) (Stats, error) {
	blocks, err := flattenAll(ctx, src, o.workers())
	if err != nil {
		return Stats{}, err
	}
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	return newBuilder(blocks, o.workers(), module).write(w, module)
}

func (o Options) workers() int {
	if o.Workers > 0 {
		return o.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// flattenAll flattens batches on several goroutines, keeping their order.
func flattenAll(ctx context.Context, src symbols.Source, workers int) ([]*block, error) {
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
			var scratch block
			for t := range tasks {
				if err := t.block.fill(&f, &scratch, t.batch); err != nil {
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

// fill flattens a batch. It collects in scratch, to keep no more than it needs.
func (b *block) fill(f *symbols.Flattener, scratch *block, batch *symbols.Batch) error {
	b.strings = batch.Strings
	b.funcs = make([]function, len(batch.Functions))
	rows, scopes := scratch.rows[:0], scratch.scopes[:0]
	for i := range batch.Functions {
		fn := &batch.Functions[i]
		if fn.Size > 1<<32-1 { // no code is; rows count in 32 bits
			f.Repairs.EmptyRecords++
			fn.Size = 0
		}
		f.Flatten(batch, fn)
		if fn.Params > 0 {
			if b.params == nil {
				b.params = map[int]uint16{}
			}
			b.params[i] = fn.Params
		}
		b.funcs[i] = function{fn.Addr, fn.Size, uint32(len(rows)), uint32(len(scopes))}
		var before row
		for _, r := range f.Rows {
			now := row{uint32(r.Addr - fn.Addr), r.Scope, r.Line}
			rows, before = appendRow(rows, now, before), now
		}
		scopes = append(scopes, f.Scopes...)
		if uint64(len(rows))|uint64(len(scopes)) > 1<<32-1 {
			return tooLarge("too many rows in one batch")
		}
	}
	scratch.rows, scratch.scopes = rows, scopes
	b.rows, b.scopes, b.publics = slices.Clone(rows), slices.Clone(scopes), slices.Clone(batch.Publics)
	b.repairs, f.Repairs = f.Repairs, symbols.Repairs{}
	return nil
}

func (b *block) rowsOf(i int) []byte {
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
