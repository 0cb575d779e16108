// Package symstore is the symbol server: it takes symbol files, builds the lookup files that answer
// questions about addresses from them, and serves them to whoever asks by debug id or code id.
//
// An original is identified by its content alone; what its uploader says about it is only checked, but for
// the name of a file that does not say its own, as a PE or PDB. It is durable in blob storage first, then
// known to the database together with the job that builds from it; then the uploader is answered. Whatever
// stops the process on the way, the same upload again mends it.
// Build makes up to two derived files for a debug id, each from the best original at hand, and in the
// transaction that makes one known it queues the crashes that waited for it.
//
// The protocols are Tecken's (symbols-server.md §1, §2), with these of its defects mended: ids in any
// case are stored in one, archives are bounded, names never lead anywhere. Further uploads are plain PUTs.
//
// A Store is safe for concurrent use, by one process. Errors have a kind of package errs; what uploaders
// do wrong has a sentence for them.
package symstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"salvage/config"
	"salvage/debug/object/macho"
	"salvage/internal/access"
	"salvage/internal/blob"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/internal/metadb"
	"salvage/internal/mmap"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/metrics"
)

// Kinds of jobs. The key of a Job is a debug id and its handler is Build; the key of a ProcessJob is a
// crash id, and its handler is the processor's.
const (
	Job        = "symbols"
	ProcessJob = "process"
)

// Options are the limits of uploads.
type Options struct {
	maxBody, maxFile, maxInflation, maxArchive int64
	maxEntries, requests                       int
}

// Options implements config.Component.
func (o *Options) Options(s *config.Spec) {
	config.Var(s, &o.maxBody, "max_body", config.Bytes, config.Default("4GiB"), config.Doc("Largest upload, as received."))
	config.Var(s, &o.maxFile, "max_file", config.Bytes, config.Default("8GiB"), config.Doc("Largest symbol file, after inflating."))
	config.Var(s, &o.maxArchive, "max_archive", config.Bytes, config.Default("16GiB"), config.Doc("Largest size of all files of a zip archive together, after inflating."))
	config.Var(s, &o.maxInflation, "max_inflation", config.Int64, config.Default("200"), config.Check(atLeastOne),
		config.Doc("How many times larger than received a file or an archive may become by inflating, beyond the first MiB."))
	config.Var(s, &o.maxEntries, "max_entries", config.Int, config.Default("10000"), config.Doc("Most files of a zip archive."))
	config.Var(s, &o.requests, "requests", config.Int, config.Default("8"), config.Doc("Uploads that are read at once; more are refused, to be sent again later."))
}

func atLeastOne(n int64) error {
	if n < 1 {
		return errors.New("must be above zero")
	}
	return nil
}

// Config is what a Store needs.
type Config struct {
	Options Options
	Blobs   blob.Store
	DB      *sqldb.DB
	Queue   *queue.Queue
	Gate    *access.Gate
	Scratch string // a folder for temporary files, emptied before
	Metrics *metrics.Registry
	Log     *slog.Logger
	Now     func() time.Time

	// Ready is called when an original of a debug id was stored, and when a derived file of it changed, so
	// that caches forget what they believe. Nil: nobody wants to know.
	Ready func(debugID string)

	// Failpoint, in tests, is called before each durable step and before the answer. Nil otherwise.
	Failpoint func(step string)
}

// Store keeps symbol files.
type Store struct {
	Config
	locks     locks
	uploads   *metrics.Counter
	size      *metrics.Histogram
	builds    *metrics.Timer
	downloads *metrics.Counter
}

const scratchPattern = "symstore-*"

// New returns a store.
func New(c Config) (*Store, error) {
	if c.Failpoint == nil {
		c.Failpoint = func(string) {}
	}
	if c.Ready == nil {
		c.Ready = func(string) {}
	}
	if _, err := os.Stat(c.Scratch); err != nil {
		return nil, err
	}
	r := c.Metrics
	return &Store{
		Config:  c,
		uploads: r.Counter("symstore.upload", "Symbol files by what became of them.", metrics.Tag("result", stored, exists, superseded, kept, "refused", "failed")),
		size: r.Histogram("symstore.upload_size", "Size of symbol files that were accepted, after inflating.", metrics.Unit("bytes"),
			metrics.Buckets(1<<14, 1<<17, 1<<20, 1<<23, 1<<26, 1<<29, 1<<32)),
		builds:    r.Timer("symstore.build", "Time to build a derived file.", metrics.Tag("kind", string(metadb.Symcache), string(metadb.Cficache), string(metadb.Mapping)), metrics.Tag("result", "success", "fail")),
		downloads: r.Counter("symstore.download", "Requests for symbol files.", metrics.Tag("result", "hit", "same", "redirect", "miss")),
	}, nil
}

// Install adds the routes. Tecken's third form of a download, at the root, is for Download: as a pattern
// it would conflict with those of other services.
func (s *Store) Install(handle func(pattern string, h http.Handler)) {
	upload := httpserver.Limit(httpserver.Limits{
		Name: "symbols", Body: s.Options.maxBody, Read: time.Hour, Write: 2 * time.Hour, Requests: s.Options.requests,
	})
	handle("PUT /symbols/{name}", upload(httpserver.JSON(s.servePut))) // user: curl -T
	archive := upload(httpserver.JSON(s.serveArchive))
	handle("POST /upload/{$}", archive) // job: a build's Tecken client
	handle("POST /upload", archive)     // job: the same, without the slash
	download := httpserver.Raw(s.serveDownload)
	handle("GET /symbols/{file}/{id}/{name}", download)             // client: debuggers, stack walkers
	handle("GET /try/{file}/{id}/{name}", download)                 // client: those set up for Tecken's second name space
	handle("GET /api/symbols/{$}", httpserver.JSON(s.serveSymbols)) // user: salvage symbols
}

// PutInfo is what an uploader says about a file.
type PutInfo struct {
	Name      string // of the file; folders in it are dropped. The content's own name comes first
	DebugFile string // may be empty; comes between these two
	DebugID   string // may be empty, or a code id; refused if it is not the content's
	Uploader  string // name of the token
}

// What became of an upload.
const (
	stored     = "stored"
	exists     = "exists"     // the same file is there
	superseded = "superseded" // it replaces another file under its key
	kept       = "kept"       // a richer file is under its key and stays
)

// Result is the answer to an upload. For "kept" it still describes what was sent.
type Result struct {
	Status       string `json:"status"` // stored, exists, superseded or kept
	Key          string `json:"key"`
	DebugFile    string `json:"debug_file"`
	DebugID      string `json:"debug_id"`
	CodeFile     string `json:"code_file,omitempty"`
	CodeID       string `json:"code_id,omitempty"`
	Name         string `json:"name"`
	Format       string `json:"format"`
	Arch         string `json:"arch"`
	Size         int64  `json:"size"`
	SHA256       string `json:"sha256"`
	HasSymbols   bool   `json:"has_symbols"`    // names
	HasDebugInfo bool   `json:"has_debug_info"` // with files and lines
	HasRules     bool   `json:"has_unwind_rules"`
	Warning      string `json:"warning,omitempty"`
	// Others are those of the other architectures of a universal file, each of which is stored by itself.
	Others []Result `json:"others,omitempty"`
}

// Put stores a symbol file, plain or compressed by gzip. When it returns, the file is durable and the job
// to build from it is queued. It reads r to its end, and gives Invalid, Corrupt, Unsupported or TooLarge
// for a file that is refused; errors of r keep their kind.
func (s *Store) Put(ctx context.Context, r io.Reader, info PutInfo) (_ Result, err error) {
	defer errs.Wrap(&err, "symstore.Put(%.100q)", info.Name)
	left := s.Options.maxFile
	return s.put(ctx, r, info, &left)
}

// put is Put of a file of at most left bytes, which it takes off.
func (s *Store) put(ctx context.Context, r io.Reader, info PutInfo, left *int64) (res Result, err error) {
	defer func() {
		result := res.Status
		switch {
		case refused(err):
			result = "refused"
		case err != nil:
			result = "failed"
		}
		s.uploads.With(result).Inc()
	}()
	f, err := s.receive(r, left)
	if err != nil {
		return Result{}, err
	}
	defer f.remove()
	m, err := mmap.Open(f.Name())
	if err != nil {
		return Result{}, err
	}
	defer m.Close()
	if macho.ProbeFat(m.Data) {
		return s.putFat(ctx, m.Data, &info)
	}
	c, err := identify(m.Data, &info)
	if err != nil {
		return Result{}, err
	}
	return s.putContent(ctx, f, &c, &info)
}

// putFat stores each architecture of a universal file that is of use, as a file of its own. An id that info
// claims must be that of one of them.
func (s *Store) putFat(ctx context.Context, data []byte, info *PutInfo) (res Result, err error) {
	slices, err := macho.Slices(data)
	if err != nil {
		return Result{}, errs.Public(errs.KindOf(err), "The file cannot be read: %v.", err)
	}
	unclaimed := *info
	unclaimed.DebugID = ""
	all := make([]*content, len(slices))
	var refusal error
	claimed := false
	for i := range slices {
		c, err := identify(slices[i].Data, &unclaimed)
		if err == nil {
			all[i] = &c
			err = c.checkID(info.DebugID)
			claimed = claimed || err == nil
		}
		if err != nil && refusal == nil {
			refusal = err
		}
	}
	if !claimed {
		return Result{}, refusal
	}
	var results []Result
	for i, c := range all {
		if c == nil {
			continue
		}
		f, err := s.copy(bytes.NewReader(slices[i].Data))
		if err != nil {
			return Result{}, err
		}
		r, err := s.putContent(ctx, f, c, info)
		f.remove()
		if err != nil {
			return Result{}, err
		}
		results = append(results, r)
	}
	res = results[0]
	res.Others = results[1:]
	return res, nil
}

// putContent stores a file whose content is known.
func (s *Store) putContent(ctx context.Context, f *scratch, c *content, info *PutInfo) (res Result, err error) {
	c.Size, c.SHA256, c.Uploader = f.size, f.sha256, info.Uploader
	res = c.result()
	if res.Status, err = s.keep(ctx, f, c.Symbol); err != nil {
		return Result{}, err
	}
	s.size.Observe(float64(c.Size))
	switch res.Status {
	case superseded:
		res.warn("It replaces another file that was stored under its key.")
	case kept:
		res.warn("A richer file is stored under its key already and stays; this one is not kept.")
	}
	s.Failpoint("answer")
	return res, nil
}

func (r *Result) warn(sentence string) {
	if r.Warning != "" {
		r.Warning += " "
	}
	r.Warning += sentence
}

// refused reports whether err is about the file that was sent: sending it again would not help.
func refused(err error) bool {
	switch errs.KindOf(err) {
	case errs.Invalid, errs.Corrupt, errs.Unsupported, errs.TooLarge:
		return true
	}
	return false
}

// keep stores a file under its key unless what is there is the same or richer.
func (s *Store) keep(ctx context.Context, f *scratch, c metadb.Symbol) (status string, err error) {
	unlock, err := s.locks.lock(ctx, c.Key)
	if err != nil {
		return "", err
	}
	defer unlock()
	var old metadb.Symbol
	err = s.DB.View(ctx, func(tx *sql.Tx) error {
		old, err = metadb.GetSymbol(ctx, tx, c.Key)
		return err
	})
	switch {
	case err == nil:
		if status, err = s.compare(ctx, &old, &c); err != nil {
			return "", err
		}
	case errors.Is(err, errs.NotFound):
		status = stored
	default:
		return "", err
	}
	if status == superseded || status == kept {
		s.Log.Warn("another symbol file of the same key", "result", status, "key", c.Key, "stored_sha256", old.SHA256, "sent_sha256", c.SHA256, "uploader", c.Uploader)
	}
	if status == exists || status == kept {
		return status, s.ensure(ctx, c.DebugID)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	s.Failpoint("original")
	if err := blob.Put(ctx, s.Blobs, c.Key, f); err != nil {
		return "", err
	}
	s.Failpoint("row")
	c.Uploaded = s.Now()
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		if err := metadb.PutSymbol(ctx, tx, &c); err != nil {
			return err
		}
		return s.Queue.AddTx(ctx, tx, Job, queue.Fresh, c.DebugID)
	})
	if err != nil {
		return "", err
	}
	s.Queue.Wake(Job)
	s.Ready(c.DebugID)
	return status, nil
}

// compare says what to do with c where old is under its key: of two files the richer stays, of equally
// rich ones the newer.
func (s *Store) compare(ctx context.Context, old, c *metadb.Symbol) (status string, err error) {
	info, err := s.Blobs.Stat(ctx, c.Key)
	switch {
	case errors.Is(err, errs.NotFound), err == nil && info.Size != old.Size:
		return stored, nil // lost, or a write that stopped half-way: see Build
	case err != nil:
		return "", err
	case old.SHA256 == c.SHA256:
		return exists, nil
	case old.SymRank > c.SymRank, old.SymRank == c.SymRank && old.CfiRank > c.CfiRank:
		return kept, nil
	}
	return superseded, nil
}

// ensure queues the job of a debug id if there is something for it to do.
func (s *Store) ensure(ctx context.Context, debugID string) error {
	st, err := s.state(ctx, debugID)
	if err != nil {
		return err
	}
	for _, k := range st.kinds() {
		if done, err := s.done(ctx, st, k); err != nil {
			return err
		} else if !done {
			return s.Queue.Add(ctx, Job, queue.Fresh, debugID)
		}
	}
	return nil
}

// Derived returns what is known of a derived file, whose object has DerivedKey; NotFound if nothing. Rank
// None: there is none, and Reason says why.
func (s *Store) Derived(ctx context.Context, debugID string, k metadb.Kind) (d metadb.Derived, err error) {
	defer errs.Wrap(&err, "symstore.Derived(%.100q, %s)", debugID, k)
	err = s.DB.View(ctx, func(tx *sql.Tx) error {
		d, err = metadb.GetDerived(ctx, tx, debugID, k)
		return err
	})
	return d, err
}

// DerivedKey returns the key of a derived file.
func DerivedKey(debugID string, k metadb.Kind) string { return string(k) + "/" + debugID }

// Open opens an original or a derived file by its key, as blob.Store.Get does.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, blob.Info, error) {
	return s.Blobs.Get(ctx, key)
}

// locks are mutexes by name whose waiters heed their contexts.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	turn  chan struct{}
	users int // holder and waiters
}

func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.held[name]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		if l.held == nil {
			l.held = map[string]*lock{}
		}
		l.held[name] = k
	}
	k.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, name)
		}
	}
	select {
	case k.turn <- struct{}{}:
		return func() { <-k.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
