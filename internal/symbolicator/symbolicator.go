// Package symbolicator answers what is at an address of a module: for the stack walker, whose Provider a
// Session is, and for the programs that ask /symbolicate.
//
// It reads derived files only: mapped in memory, on the local disk, in blob storage, in that order. Where
// there is none it says why, and asks for it to be built if it could be. What a session looked for and did
// not find as good as it can be is what its crash waits for.
package symbolicator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/debug/proguard"
	"salvage/debug/stackwalk"
	"salvage/debug/symcache"
	"salvage/internal/diskcache"
	"salvage/internal/errs"
	"salvage/internal/metadb"
	"salvage/internal/queue"
	"salvage/internal/symstore"
	"salvage/metrics"
)

// Config is what a Symbolicator needs.
type Config struct {
	Options Options
	Store   *symstore.Store
	Cache   diskcache.Options
	Dir     string // folder of the local cache, for this process alone
	Metrics *metrics.Registry
	Now     func() time.Time
}

// Symbolicator is safe for concurrent use.
type Symbolicator struct {
	Config
	cache    *diskcache.Cache[table]
	answered *metrics.Counter
}

// table is a parsed derived file; all but one are nil.
type table struct {
	names   *symcache.Cache
	rules   *cfi.Cache
	mapping *proguard.Mapping
}

func parse(data []byte) (t table, err error) {
	switch {
	case symcache.Probe(data):
		t.names, err = symcache.Parse(data)
	case proguard.Probe(data):
		t.mapping, err = proguard.Parse(data)
	default:
		t.rules, err = cfi.Parse(data)
	}
	return t, err
}

func verify(t table) error {
	switch {
	case t.names != nil:
		return t.names.Verify()
	case t.rules != nil:
		return t.rules.Verify()
	}
	return nil
}

// New returns a symbolicator.
func New(c Config) (*Symbolicator, error) {
	cache, err := diskcache.Open(diskcache.Config[table]{Options: c.Cache, Dir: c.Dir, Metrics: c.Metrics, Now: c.Now, Parse: parse, Verify: verify})
	if err != nil {
		return nil, err
	}
	return &Symbolicator{
		Config: c, cache: cache,
		answered: c.Metrics.Counter("symbolicator.modules", "Modules that were looked for, by what was found.", metrics.Tag("kind", "symcache", "cficache", "mapping"), metrics.Tag("result", "found", "missing", "failed")),
	}, nil
}

// Close ends the symbolicator. All sessions are closed before.
func (s *Symbolicator) Close() error { return s.cache.Close() }

// key of a derived file in the local cache: another original or builder makes another file.
func key(d *metadb.Derived) string {
	return fmt.Sprintf("%s/%s/%s/%d", d.Kind, d.DebugID, d.SHA256, d.Revision)
}

// Ready forgets what is believed of the derived files of a debug id, since one has come or is on its way.
func (s *Symbolicator) Ready(debugID string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, kind := range []metadb.Kind{metadb.Symcache, metadb.Cficache, metadb.Mapping} {
		if d, err := s.Store.Derived(ctx, debugID, kind); err == nil {
			s.cache.Forget(key(&d))
		}
	}
}

// open returns a derived file, and what is known of it. A nil handle comes with an error whose sentence
// says why there is none: NotFound where none was made.
func (s *Symbolicator) open(ctx context.Context, id debugid.ID, kind metadb.Kind) (h *diskcache.Handle[table], d metadb.Derived, err error) {
	defer func() {
		result := "found"
		if errors.Is(err, errs.NotFound) {
			result = "missing"
		} else if err != nil {
			result = "failed"
		}
		s.answered.With(string(kind), result).Inc()
	}()
	d, err = s.Store.Derived(ctx, id.Breakpad(), kind)
	switch {
	case errors.Is(err, errs.NotFound):
		return nil, d, s.why(ctx, id)
	case err != nil:
		return nil, d, err
	case d.Rank == metadb.None:
		return nil, d, errs.Public(errs.NotFound, "%s", d.Reason)
	}
	h, err = s.cache.Get(ctx, key(&d), func(ctx context.Context, w io.Writer) error {
		r, _, err := s.Store.Open(ctx, symstore.DerivedKey(d.DebugID, kind))
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(w, r)
		return err
	})
	if err != nil && !errs.Retryable(err) && ctx.Err() == nil {
		// It is lost, damaged or of another version: derived files can be made again.
		if again := s.rebuild(ctx, d); again != nil {
			return nil, d, again
		}
		err = fmt.Errorf("%w: %v", errPreparing, err)
	}
	return h, d, err
}

// rebuild asks for a derived file to be made again. Until then there is none, so that nobody who lacks it
// believes otherwise.
func (s *Symbolicator) rebuild(ctx context.Context, d metadb.Derived) error {
	err := s.Store.DB.Tx(ctx, func(tx *sql.Tx) error {
		now, err := metadb.GetDerived(ctx, tx, d.DebugID, d.Kind)
		if err != nil || now != d { // it is another one by now
			return err
		}
		now.Rank, now.Revision, now.Reason = metadb.None, 0, errs.Sentence(errPreparing)
		if err := metadb.PutDerived(ctx, tx, &now); err != nil {
			return err
		}
		return s.Store.Queue.AddTx(ctx, tx, symstore.Job, queue.Now, d.DebugID)
	})
	s.Store.Queue.Wake(symstore.Job)
	return err
}

var (
	errNothing   = errs.Public(errs.NotFound, "no symbols for the module were found")
	errPreparing = errs.Public(errs.NotFound, "its symbols are being prepared")
)

// why says why nothing is known of a derived file.
func (s *Symbolicator) why(ctx context.Context, id debugid.ID) error {
	var originals []metadb.Symbol
	err := s.Store.DB.View(ctx, func(tx *sql.Tx) (err error) {
		originals, err = metadb.SymbolsByDebugID(ctx, tx, id.Breakpad())
		return err
	})
	switch {
	case err != nil:
		return err
	case len(originals) > 0:
		return errPreparing
	}
	return errNothing
}

// module is what a session found of a module; each half is looked for by whoever asks first.
type module struct {
	names, rules, mapping half
}

type half struct {
	once   sync.Once
	handle *diskcache.Handle[table] // nil: none
	table
	derived metadb.Derived
	asked   bool
	err     error
}

// Session looks modules up for one dump or request, and holds what it found until Close. It is safe for
// concurrent use, and a stackwalk.Provider.
type Session struct {
	s   *Symbolicator
	ctx context.Context

	mu      sync.Mutex
	modules map[debugid.ID]*module
	asked   map[debugid.ID]*minidump.Module // the first with the id
	err     error
}

// Session returns a session. Look-ups fail when ctx ends.
func (s *Symbolicator) Session(ctx context.Context) *Session {
	return &Session{s: s, ctx: ctx, modules: map[debugid.ID]*module{}, asked: map[debugid.ID]*minidump.Module{}}
}

// Close releases the files. Nothing that came from the session may be used afterwards, but for copied text.
func (p *Session) Close() {
	for _, m := range p.modules {
		for _, h := range []*half{&m.names, &m.rules, &m.mapping} {
			if h.handle != nil {
				h.handle.Close()
			}
		}
	}
}

func (p *Session) module(id debugid.ID) *module {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.modules[id]
	if m == nil {
		m = new(module)
		p.modules[id] = m
	}
	return m
}

func (p *Session) get(h *half, id debugid.ID, kind metadb.Kind) *half {
	h.once.Do(func() {
		h.handle, h.derived, h.err = p.s.open(p.ctx, id, kind)
		if h.handle != nil {
			h.table = h.handle.Value()
		}
		p.mu.Lock()
		h.asked = true
		if h.err != nil && p.err == nil && errs.Retryable(h.err) {
			p.err = h.err
		}
		p.mu.Unlock()
	})
	return h
}

func (p *Session) names(id debugid.ID) *half { return p.get(&p.module(id).names, id, metadb.Symcache) }
func (p *Session) rules(id debugid.ID) *half { return p.get(&p.module(id).rules, id, metadb.Cficache) }

// seen notes under what names a module is missed.
func (p *Session) seen(m *minidump.Module) debugid.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked[m.DebugID] == nil {
		p.asked[m.DebugID] = m
	}
	return m.DebugID
}

// Rules implements stackwalk.Provider.
func (p *Session) Rules(m *minidump.Module, addr uint64) (cfi.Rules, bool) {
	if m.DebugID.IsZero() {
		return cfi.Rules{}, false
	}
	if c := p.rules(p.seen(m)).table.rules; c != nil {
		return c.Lookup(addr)
	}
	return cfi.Rules{}, false
}

// Covered implements stackwalk.Provider.
func (p *Session) Covered(m *minidump.Module, addr uint64) (covered, known bool) {
	if m.DebugID.IsZero() {
		return false, false
	}
	if c := p.names(p.seen(m)).table.names; c != nil {
		return c.Covers(addr), true
	}
	return false, false
}

// Names implements stackwalk.Provider.
func (p *Session) Names(m *minidump.Module, addr uint64) []stackwalk.Name {
	if m.DebugID.IsZero() {
		return nil
	}
	if c := p.names(p.seen(m)).table.names; c != nil {
		return stackwalk.NamesOf(c, addr)
	}
	return nil
}

// Mapping returns the mapping file of a shrunk program by its id, or by the start of R8's hash of it; nil if it
// is not there. Of an id it is remembered that it was asked for.
func (p *Session) Mapping(id string) (*proguard.Mapping, error) {
	debugID, err := debugid.Parse(id)
	if err != nil || debugID.IsZero() || debugID.PDB20 {
		if debugID, err = p.s.mappingByHash(p.ctx, id); err != nil || debugID.IsZero() {
			return nil, err
		}
	}
	h := p.get(&p.module(p.seen(&minidump.Module{DebugID: debugID, DebugFile: "mapping.txt"})).mapping, debugID, metadb.Mapping)
	if errs.Retryable(h.err) {
		return nil, h.err
	}
	return h.table.mapping, nil
}

// mappingByHash returns the id of the newest mapping whose hash starts like that.
func (s *Symbolicator) mappingByHash(ctx context.Context, start string) (id debugid.ID, err error) {
	const least = 7 // digits: R8's own choice
	if len(start) < least || strings.Trim(start, "0123456789abcdef") != "" {
		return id, nil
	}
	err = s.Store.DB.View(ctx, func(tx *sql.Tx) error {
		found, err := metadb.RecentSymbols(ctx, tx, start, 100)
		for _, f := range found {
			if f.Format == metadb.MappingFormat && strings.HasPrefix(f.CodeID, start) {
				id, err = debugid.Parse(f.DebugID)
				break
			}
		}
		return err
	})
	return id, err
}

// Symbols implements stackwalk.Provider. A module that no frame touched was not looked for.
func (p *Session) Symbols(m *minidump.Module) stackwalk.Symbols {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.modules[m.DebugID]
	switch {
	case m.DebugID.IsZero():
		return stackwalk.Symbols{Missing: true, Reason: "the dump has no debug id for the module"}
	case found == nil || !found.names.asked:
		return stackwalk.Symbols{}
	case found.names.err == nil:
		d := &found.names.derived
		return stackwalk.Symbols{Loaded: true, URL: "/symbols/" + d.Source, Corrupt: d.Reason != "", Reason: d.Reason}
	}
	return stackwalk.Symbols{Missing: errors.Is(found.names.err, errs.NotFound), Corrupt: !errors.Is(found.names.err, errs.NotFound), Reason: errs.Sentence(found.names.err)}
}

// Missing returns what the session would have done better with: derived files that it asked for and that
// were not there, or may come in a better one.
func (p *Session) Missing() (all []metadb.Missing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, m := range p.modules {
		for kind, h := range map[metadb.Kind]*half{metadb.Symcache: &m.names, metadb.Cficache: &m.rules, metadb.Mapping: &m.mapping} {
			rank := h.derived.Rank
			if h.err != nil {
				rank = metadb.None
			}
			named := p.asked[id]
			if !h.asked || rank == metadb.Best || named == nil {
				continue
			}
			all = append(all, metadb.Missing{
				DebugID: id.Breakpad(), Kind: kind, Rank: rank, DebugFile: leaf(named.DebugFile), CodeFile: leaf(named.Name), CodeID: string(named.CodeID),
			})
		}
	}
	return all
}

// Err returns an error that may pass and kept a file from being used, if there was one: the same session
// may find more later.
func (p *Session) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// leaf is the file's own name in a path of any system.
func leaf(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' || path[i] == '\\' {
			return path[i+1:]
		}
	}
	return path
}
