// Package crashindex keeps a few fields of each processed crash for questions: which crashes match, how
// many are there for each value, each day.
//
// The engines are packages below this one; indextest holds the suite that each of them passes. Rules that
// are the same for all engines are here: the fields, cleaning of values, the limits of a query. What the
// index has is derived and can be built again from the processed crashes.
//
// An Index is safe for concurrent use. Its errors have a kind of package errs.
package crashindex

import (
	"context"
	"slices"
	"time"

	"salvage/internal/crash"
	"salvage/internal/errs"
)

// Doc is what the index keeps of a crash.
type Doc struct {
	ID        crash.ID
	Submitted time.Time // kept in whole milliseconds, rounded down; from Earliest on, before Latest
	// Values by name of the field; a field that is not there is null. Their text may be of any bytes: see
	// MaxText, Text and Index.Put.
	Values map[string]Value
}

// Submitted is within these bounds: from the first on, before the second.
var (
	Earliest = time.UnixMilli(0).UTC()
	Latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// MaxBatch is how many docs, or ids, one call of Put or Delete takes.
const MaxBatch = 1000

// Index answers questions about crashes. All methods give Invalid for what does not keep to the limits, for
// ids that are none and for unknown fields; Unavailable where a later try may succeed, Internal for
// what else an engine meets.
type Index interface {
	// Put adds docs, each in place of the one with its id; of two with the same id the last counts. It
	// happens as a whole or not at all, also to those who search meanwhile. In texts, each byte that is not
	// UTF-8 becomes U+FFFD, NUL is left out, and what exceeds MaxText is cut off. docs is not retained.
	Put(ctx context.Context, docs []Doc) error

	// Delete removes the docs with these ids, as a whole or not at all. That there is none is no error.
	Delete(ctx context.Context, ids []crash.ID) error

	// Search answers q from one state of the index. The same docs and the same q give the same result,
	// whatever the engine. ctx bounds its time.
	Search(ctx context.Context, q Query) (Result, error)
}

// New returns an engine's index with the rules of all indexes around it. The engine sees a live context
// and checked input only: at most MaxBatch docs, clean, its own to keep, each id once; a Query as check
// leaves it.
func New(engine Index) Index { return &index{engine} }

type index struct{ engine Index }

func (x *index) Put(ctx context.Context, docs []Doc) (err error) {
	defer errs.Wrap(&err, "crashindex.Put(%d docs)", len(docs))
	if len(docs) > MaxBatch {
		return errs.Public(errs.Invalid, "At most %d crashes are put at once.", MaxBatch)
	}
	own := make([]Doc, 0, len(docs))
	seen := make(map[crash.ID]bool, len(docs))
	for _, d := range slices.Backward(docs) {
		if d, err = d.checked(); err != nil {
			return err
		}
		if !seen[d.ID] {
			seen[d.ID] = true
			own = append(own, d)
		}
	}
	if len(own) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return x.engine.Put(ctx, own)
}

// checked returns d as engines keep it.
func (d Doc) checked() (Doc, error) {
	if err := checkID(d.ID); err != nil {
		return Doc{}, err
	}
	if d.Submitted.Before(Earliest) || !d.Submitted.Before(Latest) {
		return Doc{}, errs.Public(errs.Invalid, "The crash %s was submitted in %d, which cannot be.", d.ID, d.Submitted.Year())
	}
	own := Doc{d.ID, time.UnixMilli(d.Submitted.UnixMilli()).UTC(), make(map[string]Value, len(d.Values))}
	for name, v := range d.Values {
		f, err := Lookup(name)
		if err != nil {
			return Doc{}, err
		}
		if v, err = f.value(v); err != nil {
			return Doc{}, err
		}
		if !v.IsNull() {
			own.Values[name] = v
		}
	}
	return own, nil
}

func checkID(id crash.ID) error {
	if parsed, err := crash.ParseID(string(id)); err != nil || parsed != id {
		return errs.Public(errs.Invalid, "%.60q is not a crash id.", id)
	}
	return nil
}

func (x *index) Delete(ctx context.Context, ids []crash.ID) (err error) {
	defer errs.Wrap(&err, "crashindex.Delete(%d ids)", len(ids))
	if len(ids) > MaxBatch {
		return errs.Public(errs.Invalid, "At most %d crashes are deleted at once.", MaxBatch)
	}
	for _, id := range ids {
		if err := checkID(id); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return x.engine.Delete(ctx, slices.Compact(ids))
}

func (x *index) Search(ctx context.Context, q Query) (_ Result, err error) {
	defer errs.Wrap(&err, "crashindex.Search")
	q, err = q.check()
	if err != nil {
		return Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	return x.engine.Search(ctx, q)
}
