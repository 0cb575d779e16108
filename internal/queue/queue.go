// Package queue keeps jobs in the database and runs them: claim, lease, heartbeat, retry, parking. It is
// the only job loop.
//
// A job is a kind and a key, say "process" and a crash id; there is at most one of each. It holds no data:
// handlers read what there is when they run, and running one twice does no harm. Adding a job that waits
// changes nothing but its turn; adding one that is being worked on makes it run once more afterwards, so
// nothing that happened before the call is missed.
//
// A claim is a lease. A worker that dies loses it when it runs out, and somebody else does the job; one
// that only hangs loses its context. Claims count as attempts until they end well, so a job that kills its
// process is parked too, in the end, with its reason: it stays in the table, and adding it revives it.
package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"salvage/internal/errs"
	"salvage/internal/sqldb"
	"salvage/metrics"
)

// Config of a Queue. Zero values of the first two are the defaults.
type Config struct {
	Lease    time.Duration // how long a worker may be silent; default a minute
	Attempts int           // before a job is parked; default 5
	DB       *sqldb.DB
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  *metrics.Registry
}

const (
	maxIdle    = 10 * time.Second // between looks for jobs that another process added
	maxBackoff = 10 * time.Minute
	maxReason  = 2000 // bytes
)

// Queue is safe for concurrent use.
type Queue struct {
	Config
	done *metrics.Counter
	time *metrics.Timer

	mu   sync.Mutex
	wake map[string]chan struct{} // by kind
}

// New returns the queue. alone says that no other process uses the database: leases of a process before
// this one end at once then.
func New(ctx context.Context, c Config, alone bool) (*Queue, error) {
	c.Lease = cmp.Or(c.Lease, time.Minute)
	c.Attempts = cmp.Or(c.Attempts, 5)
	q := &Queue{
		Config: c, wake: map[string]chan struct{}{},
		done: c.Metrics.Counter("queue.jobs", "Attempts at jobs by how they ended.", metrics.Tag("kind"), metrics.Tag("result", "done", "again", "retry", "park", "stopped", "lost")),
		time: c.Metrics.Timer("queue.time", "Time of an attempt at a job.", metrics.Tag("kind")),
	}
	if !alone {
		return q, nil
	}
	return q, c.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE jobs SET owner = '', due = 0 WHERE owner <> ''")
		return err
	})
}

// Priorities; lower numbers run first.
const (
	Now   = 0  // somebody waits for it
	Fresh = 10 // came in just now
	Later = 20 // repeats earlier work
)

// Add adds jobs.
func (q *Queue) Add(ctx context.Context, kind string, priority int, keys ...string) error {
	err := q.DB.Tx(ctx, func(tx *sql.Tx) error { return q.AddTx(ctx, tx, kind, priority, keys...) })
	if err == nil {
		q.Wake(kind)
	}
	return err
}

// AddTx is Add as a part of a transaction; call Wake when that is committed.
func (q *Queue) AddTx(ctx context.Context, tx *sql.Tx, kind string, priority int, keys ...string) error {
	_, err := q.insert(ctx, tx, kind, priority, keys, `ON CONFLICT (kind, key) DO UPDATE SET asked = jobs.asked + 1,
		priority = CASE WHEN excluded.priority < jobs.priority THEN excluded.priority ELSE jobs.priority END,
		due      = CASE WHEN jobs.owner = '' THEN excluded.due ELSE jobs.due END,
		attempts = CASE WHEN jobs.owner = '' THEN 0 ELSE jobs.attempts END,
		parked   = 0`)
	return err
}

// Ensure adds those of the jobs that are not there, not even parked, and returns how many those are.
func (q *Queue) Ensure(ctx context.Context, kind string, priority int, keys ...string) (added int, err error) {
	err = q.DB.Tx(ctx, func(tx *sql.Tx) error {
		added, err = q.insert(ctx, tx, kind, priority, keys, "ON CONFLICT (kind, key) DO NOTHING")
		return err
	})
	if err == nil {
		q.Wake(kind)
	}
	return added, err
}

func (q *Queue) insert(ctx context.Context, tx *sql.Tx, kind string, priority int, keys []string, conflict string) (changed int, err error) {
	s, err := tx.PrepareContext(ctx, `INSERT INTO jobs (kind, key, priority, due, owner, asked, attempts, parked, reason, created)
		VALUES ($1, $2, $3, $4, '', 1, 0, 0, '', $4) `+conflict)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	now := q.Now().UnixMilli()
	for _, key := range keys {
		ok, err := affected(s.ExecContext(ctx, kind, key, priority, now))
		if err != nil {
			return 0, err
		}
		if ok {
			changed++
		}
	}
	return changed, nil
}

// Wake makes a worker of this process look for jobs of a kind.
func (q *Queue) Wake(kind string) {
	select {
	case q.waker(kind) <- struct{}{}:
	default: // one is on its way
	}
}

func (q *Queue) waker(kind string) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.wake[kind]
	if c == nil {
		c = make(chan struct{}, 1)
		q.wake[kind] = c
	}
	return c
}

// Job is the state of a job. Times that are not set are zero.
type Job struct {
	Kind, Key string
	Running   bool
	Attempts  int
	Parked    time.Time
	Due       time.Time // when it is tried (again), or when the lease ends
	Reason    string    // of the last failure
	Created   time.Time
}

// Get returns a job; NotFound if there is none, which mostly means that it is done.
func (q *Queue) Get(ctx context.Context, kind, key string) (j Job, err error) {
	err = q.DB.View(ctx, func(tx *sql.Tx) (err error) {
		var owner string
		var parked, due, created int64
		err = tx.QueryRowContext(ctx, "SELECT owner, attempts, parked, due, reason, created FROM jobs WHERE kind = $1 AND key = $2", kind, key).
			Scan(&owner, &j.Attempts, &parked, &due, &j.Reason, &created)
		j.Kind, j.Key, j.Running, j.Due, j.Created = kind, key, owner != "", time.UnixMilli(due), time.UnixMilli(created)
		if parked != 0 {
			j.Parked = time.UnixMilli(parked)
		}
		return err
	})
	return j, err
}

// claim is a lease on a job.
type claim struct {
	kind, key, owner string
	attempts, asked  int64
}

// next claims the first job that is due. Without one it returns nil and when to look again.
func (q *Queue) next(ctx context.Context, kind string) (c *claim, wait time.Duration, err error) {
	now := q.Now()
	var due sql.NullInt64
	first := func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT min(due) FROM jobs WHERE kind = $1 AND parked = 0", kind).Scan(&due)
	}
	if err := q.DB.View(ctx, first); err != nil { // most looks find nothing, and readers stand in nobody's way
		return nil, 0, err
	}
	if !due.Valid {
		return nil, maxIdle, nil
	}
	if wait := time.UnixMilli(due.Int64).Sub(now); wait > 0 {
		return nil, min(wait, maxIdle), nil
	}
	err = q.DB.Tx(ctx, func(tx *sql.Tx) error {
		c = &claim{kind: kind, owner: rand.Text()}
		err := tx.QueryRowContext(ctx, `UPDATE jobs SET owner = $1, due = $2, attempts = attempts + 1
			WHERE kind = $3 AND key = (SELECT key FROM jobs WHERE kind = $3 AND parked = 0 AND due <= $4 ORDER BY priority, due, key LIMIT 1)
			RETURNING key, attempts, asked`,
			c.owner, now.Add(q.Lease).UnixMilli(), kind, now.UnixMilli()).Scan(&c.key, &c.attempts, &c.asked)
		if errors.Is(err, sql.ErrNoRows) { // another worker has it
			c = nil
			return nil
		}
		return err
	})
	return c, 0, err
}

// errLost: the lease ran out, or somebody else has the job.
var errLost = errors.New("the lease of the job is lost")

// Run works on jobs of a kind, one at a time, until ctx ends; for more at once call it more often. handle
// must be idempotent, and give up when its context ends. If it fails in a way that may pass, the job is
// tried again later; failures for want of something outside the job (errs.Unavailable) do not use up its
// attempts. Otherwise, or after too many attempts, the job is parked with the error as reason.
func (q *Queue) Run(ctx context.Context, kind string, handle func(ctx context.Context, key string) error) {
	wake := q.waker(kind)
	for ctx.Err() == nil {
		c, wait, err := q.next(ctx, kind)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			q.Log.Error("looking for a job failed", "kind", kind, "error", err)
			wait = time.Second
		case c != nil:
			q.Wake(kind) // the next worker: there may be more
			q.attempt(ctx, c, handle)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// attempt does a job and writes down how it ended.
func (q *Queue) attempt(ctx context.Context, c *claim, handle func(context.Context, string) error) {
	log := q.Log.With("kind", c.kind, "key", c.key, "attempt", c.attempts)
	var result string
	var err error
	if c.attempts > int64(q.Attempts) {
		// The process was gone before it could say so.
		result, err = q.end(ctx, c, errs.Public(errs.TooLarge, "None of %d attempts came to an end: each time the program stopped, or the work hung.", q.Attempts))
	} else {
		stop := q.time.With(c.kind).Start()
		failure := q.hold(ctx, c, handle)
		stop.Stop()
		if failure != nil {
			log = log.With("cause", failure)
		}
		result, err = q.end(ctx, c, failure)
	}
	q.done.With(c.kind, result).Inc()
	switch {
	case err != nil: // the lease will run out, and the job be done again
		log.Error("writing down how a job ended failed", "error", err)
	case result == "park":
		log.Error("job parked")
	case result == "retry", result == "lost":
		log.Warn("job failed", "result", result)
	}
}

// hold runs handle under the lease, which it renews.
func (q *Queue) hold(ctx context.Context, c *claim, handle func(context.Context, string) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beat sync.WaitGroup
	defer beat.Wait()
	stop := make(chan struct{})
	defer close(stop)
	beat.Go(func() {
		tick := time.NewTicker(q.Lease / 3)
		defer tick.Stop()
		last := time.Now() // of this process, whatever q.Now is
		for {
			select {
			case <-stop:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			kept, err := q.update(ctx, c, "due = $4", q.Now().Add(q.Lease).UnixMilli())
			switch {
			case err == nil && kept:
				last = time.Now()
			case err == nil || time.Since(last) >= q.Lease:
				cancel(errLost)
				return
			}
		}
	})
	defer func() {
		if p := recover(); p != nil {
			q.Log.Error("job panicked", "kind", c.kind, "key", c.key, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
		if errors.Is(context.Cause(ctx), errLost) {
			err = errLost
		}
	}()
	return handle(ctx, c.key)
}

// update changes the job if the claim still holds, and reports whether it does. Parameters of set start at
// $4.
func (q *Queue) update(ctx context.Context, c *claim, set string, args ...any) (held bool, err error) {
	err = q.DB.Tx(ctx, func(tx *sql.Tx) error {
		held, err = affected(tx.ExecContext(ctx, "UPDATE jobs SET "+set+" WHERE kind = $1 AND key = $2 AND owner = $3", append([]any{c.kind, c.key, c.owner}, args...)...))
		return err
	})
	return held, err
}

func affected(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// end writes down how an attempt ended, and returns which of the results of queue.jobs that is.
func (q *Queue) end(ctx context.Context, c *claim, failure error) (result string, err error) {
	stopped := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	now := q.Now()
	held := true
	switch kind := errs.KindOf(failure); {
	case failure == errLost:
		return "lost", nil
	case failure == nil:
		result = "done"
		err = q.DB.Tx(ctx, func(tx *sql.Tx) error {
			held, err = affected(tx.ExecContext(ctx, "DELETE FROM jobs WHERE kind = $1 AND key = $2 AND owner = $3 AND asked = $4", c.kind, c.key, c.owner, c.asked))
			return err
		})
		if err == nil && !held { // added meanwhile
			result = "again"
			held, err = q.update(ctx, c, "owner = '', due = $4, attempts = 0, reason = ''", now.UnixMilli())
		}
	case stopped:
		result = "stopped"
		held, err = q.update(ctx, c, "owner = '', due = $4, attempts = attempts - 1", now.UnixMilli())
	case kind == errs.Unavailable, kind == errs.Shed, kind == errs.Internal && c.attempts < int64(q.Attempts):
		result = "retry"
		used := 1
		if kind != errs.Internal {
			used = 0
		}
		backoff := min(time.Second<<min(2*c.attempts, 20), maxBackoff)
		// What was added meanwhile may be what it lacked.
		held, err = q.update(ctx, c, `owner = '', reason = $4,
			due      = CASE WHEN asked = $5 THEN $6 ELSE $7 END,
			attempts = CASE WHEN asked = $5 THEN attempts - 1 + $8 ELSE 0 END`,
			reason(failure), c.asked, now.Add(backoff).UnixMilli(), now.UnixMilli(), used)
	default:
		result = "park"
		held, err = q.update(ctx, c, `owner = '', reason = $4,
			due      = $6,
			attempts = CASE WHEN asked = $5 THEN attempts ELSE 0 END,
			parked   = CASE WHEN asked = $5 THEN $6 ELSE 0 END`,
			reason(failure), c.asked, now.UnixMilli())
	}
	if err == nil && !held {
		result = "lost"
	}
	return result, err
}

// reason is an error as the table has it.
func reason(err error) string {
	s := strings.ToValidUTF8(strings.ReplaceAll(errs.Message(err), "\x00", ""), "\ufffd")
	return strings.ToValidUTF8(s[:min(len(s), maxReason)], "")
}
