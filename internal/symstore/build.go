package symstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"salvage/debug/cfi"
	"salvage/debug/object"
	"salvage/debug/proguard"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
	"salvage/internal/blob"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/mmap"
	"salvage/internal/queue"
)

// kinds are those that there can be of a debug id.
func (st *state) kinds() []metadb.Kind {
	for i := range st.originals {
		if st.originals[i].Format == metadb.MappingFormat {
			return []metadb.Kind{metadb.Mapping}
		}
	}
	return []metadb.Kind{metadb.Symcache, metadb.Cficache}
}

// revisions of the derived files. Raise one whenever the bytes that are built from an unchanged original
// may change: with the version or revision of a format in debug/symcache and debug/cfi (a test compares
// them), with a fix to a reader of debug information, with a change to how this package calls them. Files
// of another revision are built again by the next Build of their debug id.
var revisions = map[metadb.Kind]int{metadb.Symcache: 4, metadb.Cficache: 3, metadb.Mapping: 1}

// state is what is known of a debug id.
type state struct {
	debugID   string
	originals []metadb.Symbol
	derived   map[metadb.Kind]metadb.Derived // those of which something is known
}

func (s *Store) state(ctx context.Context, debugID string) (st *state, err error) {
	err = s.DB.View(ctx, func(tx *sql.Tx) (err error) {
		st = &state{debugID: debugID, derived: map[metadb.Kind]metadb.Derived{}}
		if st.originals, err = metadb.SymbolsByDebugID(ctx, tx, debugID); err != nil {
			return err
		}
		for _, k := range st.kinds() {
			d, err := metadb.GetDerived(ctx, tx, debugID, k)
			if err == nil {
				st.derived[k] = d
			} else if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		return nil
	})
	return st, err
}

// candidates returns the originals that give a derived file, the best first.
func (st *state) candidates(k metadb.Kind) (all []metadb.Symbol) {
	for _, o := range st.originals {
		if o.Rank(k) > metadb.None {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b metadb.Symbol) int {
		return cmp.Or(cmp.Compare(b.Rank(k), a.Rank(k)), b.Uploaded.Compare(a.Uploaded), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// tried stands in Derived.SHA256 where there is no file, for all the originals that gave none: with others
// it is worth another try.
func tried(all []metadb.Symbol) string {
	sum := sha256.New()
	for _, o := range all {
		fmt.Fprintf(sum, "%s %s\n", o.SHA256, o.Key)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// done reports whether a derived file is what Build would make, or Build would find again that there is none.
// Where the best original turned out to be damaged, and another one was used, it is not: Build tries again
// each time.
func (s *Store) done(ctx context.Context, st *state, k metadb.Kind) (bool, error) {
	d, ok := st.derived[k]
	all := st.candidates(k)
	switch {
	case !ok || d.Revision != revisions[k]:
		return false, nil
	case d.Rank == metadb.None:
		return d.SHA256 == tried(all), nil
	case len(all) == 0 || d.Source != all[0].Key || d.SHA256 != all[0].SHA256 || d.Rank != all[0].Rank(k):
		return false, nil
	}
	info, err := s.Blobs.Stat(ctx, DerivedKey(st.debugID, k))
	if errors.Is(err, errs.NotFound) {
		return false, nil
	}
	return err == nil && info.Size == d.Size, err
}

// Build makes the derived files of a debug id that are not there, or could be better; it is the handler of
// Job. From an original that cannot be used it goes on to the next best. What it finds, a file or the
// reason why there is none, is written down together with jobs for the crashes that it makes readable. It
// fails only for what may pass.
func (s *Store) Build(ctx context.Context, debugID string) (err error) {
	defer errs.Wrap(&err, "symstore.Build(%.100q)", debugID)
	unlock, err := s.locks.lock(ctx, debugID) // no key: those have slashes
	if err != nil {
		return err
	}
	defer unlock()
	b := &build{Store: s, files: map[string]*original{}}
	defer b.close()
	for tries := 1; ; tries++ {
		if b.state, err = s.state(ctx, debugID); err != nil {
			return err
		}
		if len(b.originals) == 0 {
			return nil
		}
		err = b.all(ctx)
		if err != errStale || tries == 3 {
			return err
		}
	}
}

// errStale: the database did not know what is really stored. It does now.
var errStale = fmt.Errorf("%w: originals change while they are read", errs.Unavailable)

// build is one run of Build.
type build struct {
	*Store
	*state
	files map[string]*original // by key; kept for the second derived file
}

// original is an original that is mapped from a temporary copy.
type original struct {
	f *scratch
	m *mmap.File
	o *object.Object
	e error // why there is no o
}

func (b *build) close() {
	for _, o := range b.files {
		o.m.Close()
		o.f.remove()
	}
}

func (b *build) all(ctx context.Context) error {
	for _, k := range b.kinds() {
		done, err := b.done(ctx, b.state, k)
		if err == nil && !done {
			err = b.one(ctx, k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one builds one derived file.
func (b *build) one(ctx context.Context, k metadb.Kind) (err error) {
	defer b.builds.With(string(k)).Start().StopErr(&err)
	all := b.candidates(k)
	d := metadb.Derived{DebugID: b.debugID, Kind: k, SHA256: tried(all), Revision: revisions[k]}
	var best blob.Writer // staged; d is about it
	var reasons []string
	for i := range all {
		if all[i].Rank(k) <= d.Rank {
			break
		}
		w, err := b.Blobs.Create(ctx, DerivedKey(b.debugID, k))
		if err != nil {
			return err
		}
		defer w.Abort() // a reader may panic
		p, err := b.from(ctx, k, &all[i], w)
		if err == nil && p.rank > d.Rank {
			if best != nil {
				best.Abort()
			}
			best = w
			d.Rank, d.Size, d.Source, d.SHA256 = p.rank, p.size, all[i].Key, all[i].SHA256
		} else {
			w.Abort()
		}
		switch {
		case err == nil && p.lost == "":
		case err == nil:
			reasons = append(reasons, all[i].Name+": "+p.lost)
		case !refused(err) && !errors.Is(err, errs.NotFound) || ctx.Err() != nil:
			return err
		default:
			b.Log.Warn("symbol file cannot be used", "kind", k, "key", all[i].Key, "sha256", all[i].SHA256, "error", err)
			reasons = append(reasons, all[i].Name+": "+errs.Message(err))
		}
	}
	switch {
	case len(all) == 0 && k == metadb.Symcache:
		reasons = []string{"none of the files has symbols"}
	case len(all) == 0:
		reasons = []string{"none of the files has unwind rules"}
	}
	d.Reason = clip(strings.Join(reasons, "; "), 2000)
	b.Failpoint("derived " + string(k))
	if best != nil {
		if err := best.Commit(); err != nil {
			return err
		}
	}
	if err := b.ready(ctx, &d); err != nil {
		return err
	}
	if d.Rank == metadb.None {
		return b.Blobs.Delete(ctx, DerivedKey(b.debugID, k)) // of an earlier revision, perhaps
	}
	return nil
}

// ready makes a derived file known and queues the crashes that are better with it.
func (b *build) ready(ctx context.Context, d *metadb.Derived) error {
	b.Failpoint("ready " + string(d.Kind))
	d.Built = b.Now()
	var waiting []string
	err := b.DB.Tx(ctx, func(tx *sql.Tx) error {
		waiting = nil
		old, err := metadb.GetDerived(ctx, tx, d.DebugID, d.Kind)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := metadb.PutDerived(ctx, tx, d); err != nil || d.Rank <= old.Rank {
			return err
		}
		if waiting, err = metadb.WaitingFor(ctx, tx, d.DebugID, d.Kind, d.Rank); err != nil {
			return err
		}
		return b.Queue.AddTx(ctx, tx, ProcessJob, queue.Later, waiting...)
	})
	if err != nil {
		return err
	}
	if len(waiting) > 0 {
		b.Queue.Wake(ProcessJob)
	}
	b.Ready(d.DebugID)
	b.Log.Info("derived symbol file", "kind", d.Kind, "debug_id", d.DebugID, "rank", int(d.Rank), "source", d.Source, "bytes", d.Size, "crashes", len(waiting), "reason", d.Reason)
	b.Failpoint("done " + string(d.Kind))
	return nil
}

// product is what came of building from one original.
type product struct {
	rank metadb.Rank
	size int64
	lost string // what could not be used
}

// from builds a derived file from an original.
func (b *build) from(ctx context.Context, k metadb.Kind, row *metadb.Symbol, w io.Writer) (p product, err error) {
	src, err := b.open(ctx, row)
	if err != nil {
		return p, err
	}
	if k == metadb.Mapping {
		return mapping(src.m.Data, w)
	}
	if src.e != nil {
		return p, src.e
	}
	module := src.o.Module
	if module.Name == "" {
		module.Name = row.DebugFile
	}
	p.rank = row.Rank(k)
	var rep object.Report
	if k == metadb.Symcache {
		p, err = names(ctx, src.o, &module, w, &rep, p)
	} else {
		p, err = rules(src.o, &module, w, &rep, p)
	}
	switch {
	case len(rep.Needs) > 0:
		p.lost = fmt.Sprintf("part of its debug information is in other files, which are not here: %s", rep.Needs[0])
		if n := len(rep.Needs) - 1; n > 0 {
			p.lost += fmt.Sprintf(" and %d more", n)
		}
	case rep.Lost > 0:
		p.lost = fmt.Sprintf("%d parts of it cannot be used", rep.Lost)
		if len(rep.Problems) > 0 {
			q := rep.Problems[0]
			p.lost += fmt.Sprintf(", first %s: %s: %s", q.Where, q.Kind, q.Detail)
		}
	}
	return p, err
}

func names(ctx context.Context, o *object.Object, module *symbols.Module, w io.Writer, rep *object.Report, p product) (product, error) {
	st, err := symcache.Build(ctx, w, module, o.Symbols(ctx, rep), symcache.Options{})
	switch {
	case err != nil:
		return p, err
	case st.Functions == 0 && st.Publics == 0:
		return p, errs.Public(errs.Corrupt, "none of its symbols can be used")
	case st.Functions == 0 && p.rank > metadb.Poor:
		p.rank, p.lost = metadb.Poor, "its debug information has no functions"
	case p.rank > metadb.Poor && slices.ContainsFunc(rep.Needs, func(n object.Need) bool { return n.Kind == object.SplitUnit }):
		p.rank = metadb.Poor // lines are here, inlined calls are not
	}
	p.size = int64(st.Bytes)
	return p, nil
}

// mapping copies a mapping file that can be read.
func mapping(data []byte, w io.Writer) (p product, err error) {
	m, err := proguard.Parse(data)
	switch {
	case err != nil:
		return p, err
	case m.Counts.Classes == 0:
		return p, errs.Public(errs.Corrupt, "it names no class")
	case m.Counts.Bad > 0:
		p.lost = fmt.Sprintf("%d lines of it cannot be used", m.Counts.Bad)
	}
	n, err := w.Write(data)
	p.rank, p.size = metadb.Best, int64(n)
	return p, err
}

func rules(o *object.Object, module *symbols.Module, w io.Writer, rep *object.Report, p product) (product, error) {
	cpu := cfi.CPUByName(module.Arch)
	if cpu == nil {
		return p, errs.Public(errs.Unsupported, "its CPU, %.40q, is not unwound here", module.Arch)
	}
	b := cfi.NewBuilder(cpu, o.BigEndian())
	if err := o.Rules(b, rep); err != nil {
		return p, err
	}
	st, err := b.Write(w, module.ID)
	if err == nil && st.Ranges == 0 {
		err = errs.Public(errs.Corrupt, "none of its unwind rules can be used")
	}
	p.size = int64(st.Bytes)
	return p, err
}

// open maps an original. It gives errStale after it has found, and told the database, that another file is
// stored than that knows: somebody was stopped between writing the two.
func (b *build) open(ctx context.Context, row *metadb.Symbol) (*original, error) {
	if o := b.files[row.Key]; o != nil && o.f.sha256 == row.SHA256 {
		return o, nil
	}
	r, _, err := b.Blobs.Get(ctx, row.Key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := b.copy(r)
	if err != nil {
		return nil, err
	}
	m, err := mmap.Open(f.Name())
	if err != nil {
		f.remove()
		return nil, err
	}
	o := &original{f: f, m: m}
	o.o, o.e = object.Open(m.Data)
	if old := b.files[row.Key]; old != nil {
		old.m.Close()
		old.f.remove()
	}
	b.files[row.Key] = o
	if f.sha256 != row.SHA256 {
		if err := b.correct(ctx, *row, f, m.Data); err != nil {
			return nil, err
		}
		return nil, errStale
	}
	return o, nil
}

// correct tells the database what is really stored under a key.
func (b *build) correct(ctx context.Context, row metadb.Symbol, f *scratch, data []byte) error {
	b.Log.Warn("stored symbol file is not the known one", "key", row.Key, "known_sha256", row.SHA256, "stored_sha256", f.sha256)
	known := row.SHA256
	row.Size, row.SHA256, row.SymRank, row.CfiRank = f.size, f.sha256, metadb.None, metadb.None
	if c, err := identify(data, &PutInfo{DebugFile: row.DebugFile}); err == nil && c.Key == row.Key {
		row.CodeFile, row.CodeID, row.Format, row.Arch, row.SymRank, row.CfiRank = c.CodeFile, c.CodeID, c.Format, c.Arch, c.SymRank, c.CfiRank
	}
	return b.DB.Tx(ctx, func(tx *sql.Tx) error {
		now, err := metadb.GetSymbol(ctx, tx, row.Key)
		if err != nil || now.SHA256 != known { // its upload came to an end meanwhile
			return err
		}
		return metadb.PutSymbol(ctx, tx, &row)
	})
}

// clip cuts a text to what a row needs, without what a text column may not have.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\ufffd")
	return strings.ToValidUTF8(s[:min(len(s), n)], "")
}
