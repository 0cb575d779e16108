// Package access knows who may do what: tokens, the sessions of browsers, and what a request may read
// without either.
//
// A token is a random secret that is shown once; the database has its SHA-256, which at 256 bits of
// entropy is enough. Package access does not guard routes and does not check for cross-origin requests:
// whoever serves a route asks FromRequest and Principal.Can, and lets a Principal of a session write
// only behind http.CrossOriginProtection.
//
// A Store is safe for concurrent use. Refusals are errs.Denied with a sentence for whoever holds the
// secret; no error and no log line holds one.
package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"salvage/internal/errs"
	"salvage/internal/sqldb"
)

// Permissions is a set of things one may do. They are stored by name.
type Permissions uint8

// The permissions. Admin includes the others.
const (
	UploadSymbols Permissions = 1 << iota
	ViewProtected
	Reprocess
	Admin
)

var permissionNames = []string{"upload_symbols", "view_protected", "reprocess", "admin"}

// String returns the names, separated by commas.
func (p Permissions) String() string {
	var names []string
	for i, name := range permissionNames {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// ParsePermissions is the inverse of String; it permits spaces.
func ParsePermissions(names string) (p Permissions, err error) {
next:
	for name := range strings.SplitSeq(names, ",") {
		for i, known := range permissionNames {
			if strings.TrimSpace(name) == known {
				p |= 1 << i
				continue next
			}
		}
		return 0, errs.Public(errs.Invalid, "There is no permission %q. There are: %s.", name, strings.Join(permissionNames, ", "))
	}
	return p, nil
}

// Principal is who makes a request. It is comparable; the zero value is Anonymous.
type Principal struct {
	TokenID     string
	Name        string // of the token
	Permissions Permissions
	Session     bool // by cookie: a write needs http.CrossOriginProtection too
}

// Anonymous presented nothing.
var Anonymous Principal

// Can reports whether p has all permissions of need.
func (p Principal) Can(need Permissions) bool {
	return p != Anonymous && (p.Permissions&Admin != 0 || p.Permissions&need == need)
}

// Token is what is known about a token, besides its secret. Zero times: never.
type Token struct {
	ID          string
	Name        string
	Permissions Permissions
	FromEnv     bool // set by the environment, not made by Create
	Created     time.Time
	Expires     time.Time
	LastUsed    time.Time // up to a minute late
	Revoked     time.Time
}

// refusal says why t does not count at now, nil if it does.
func (t *Token) refusal(now time.Time) error {
	switch {
	case !t.Revoked.IsZero():
		return errs.Public(errs.Denied, "This token was revoked.")
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return errs.Public(errs.Denied, "This token expired on %s.", t.Expires.UTC().Format(time.DateOnly))
	}
	return nil
}

const (
	maxPresented = 512 // bytes of a token, with a comment; a session's value is shorter
	minFromEnv   = 16  // the one secret that people may make up
	maxName      = 200
	usedEvery    = time.Minute // how exact "last used" is
)

// Store keeps tokens and sessions in the database.
type Store struct {
	db  *sqldb.DB
	now func() time.Time
	log *slog.Logger

	mu       sync.Mutex
	used     map[use]int64 // uses not yet written
	flushing bool          // a goroutine writes them
	idle     sync.Cond     // flushing ended
}

// use is of a token, and of the session it came through, if any.
type use struct{ tokenID, sessionHash string }

// New returns a Store over db. now is the clock.
func New(db *sqldb.DB, now func() time.Time, log *slog.Logger) *Store {
	s := &Store{db: db, now: now, log: log, used: map[use]int64{}}
	s.idle.L = &s.mu
	return s
}

// Close waits until the last uses are written. Call it after the last request, before the database's
// Close.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.flushing {
		s.idle.Wait()
	}
}

// millis is how the database stores t.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// random returns n random bytes as hexadecimal digits, which no '-' is among.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

const tokenColumns = "t.id, t.name, t.permissions, t.from_env, t.created, t.expires, t.last_used, t.revoked"

// scan reads tokenColumns and then more.
func scan(row interface{ Scan(...any) error }, more ...any) (*Token, error) {
	var t Token
	var permissions string
	var created, expires, lastUsed, revoked int64
	if err := row.Scan(append([]any{&t.ID, &t.Name, &permissions, &t.FromEnv, &created, &expires, &lastUsed, &revoked}, more...)...); err != nil {
		return nil, err
	}
	t.Created, t.Expires, t.LastUsed, t.Revoked = fromMillis(created), fromMillis(expires), fromMillis(lastUsed), fromMillis(revoked)
	var err error
	if t.Permissions, err = ParsePermissions(permissions); err != nil {
		return nil, fmt.Errorf("permissions of token %s: %q", t.ID, permissions)
	}
	return &t, nil
}

func (s *Store) insert(tx *sql.Tx, t Token, secret string) error {
	fromEnv := 0
	if t.FromEnv {
		fromEnv = 1
	}
	_, err := tx.Exec("INSERT INTO tokens (id, hash, name, permissions, from_env, created, expires, last_used, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)",
		t.ID, hash(secret), t.Name, t.Permissions.String(), fromEnv, millis(t.Created), millis(t.Expires))
	return err
}

// Create makes a token and returns its secret, which is not to be had again. A zero expires is never.
func (s *Store) Create(ctx context.Context, name string, p Permissions, expires time.Time) (_ Token, secret string, err error) {
	defer errs.Wrap(&err, "access.Create")
	now := s.now()
	switch {
	case name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return Token{}, "", errs.Public(errs.Invalid, "A token needs a name of 1 to %d bytes, without control characters.", maxName)
	case p == 0 || p >= 1<<len(permissionNames):
		return Token{}, "", errs.Public(errs.Invalid, "A token needs at least one of the permissions %s.", strings.Join(permissionNames, ", "))
	case !expires.IsZero() && !expires.After(now):
		return Token{}, "", errs.Public(errs.Invalid, "The token would have expired already.")
	}
	t := Token{ID: random(8), Name: name, Permissions: p, Created: fromMillis(millis(now)), Expires: fromMillis(millis(expires))}
	secret = random(32)
	if err := s.db.Tx(ctx, func(tx *sql.Tx) error { return s.insert(tx, t, secret) }); err != nil {
		return Token{}, "", err
	}
	return t, secret, nil
}

// List returns all tokens, the oldest first, also those that no longer count.
func (s *Store) List(ctx context.Context) (all []Token, err error) {
	defer errs.Wrap(&err, "access.List")
	err = s.db.View(ctx, func(tx *sql.Tx) error {
		all, err = query(tx, "SELECT "+tokenColumns+" FROM tokens t ORDER BY t.created, t.id")
		return err
	})
	return all, err
}

func query(tx *sql.Tx, q string, args ...any) (all []Token, err error) {
	rows, err := tx.Query(q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, *t)
	}
	return all, rows.Err()
}

// Revoke ends a token and its sessions, from now on. It keeps the token's first revocation.
func (s *Store) Revoke(ctx context.Context, id string) (err error) {
	defer errs.Wrap(&err, "access.Revoke(%.40q)", id)
	return s.db.Tx(ctx, func(tx *sql.Tx) error {
		var found string
		err := tx.QueryRow("UPDATE tokens SET revoked = CASE revoked WHEN 0 THEN $1 ELSE revoked END WHERE id = $2 RETURNING id", millis(s.now()), id).Scan(&found)
		if err == nil {
			_, err = tx.Exec("DELETE FROM sessions WHERE token_id = $1", id)
		}
		return err
	})
}

// Authenticate returns who presented a token: the token as a whole if there is such a one that counts,
// else the part before its first '-', after which uploaders put a comment.
//
// Secrets meet only as hashes: how long the database looks says nothing that helps to guess one.
func (s *Store) Authenticate(ctx context.Context, presented string) (_ Principal, err error) {
	defer errs.Wrap(&err, "access.Authenticate")
	if presented == "" || len(presented) > maxPresented {
		return Anonymous, errs.Public(errs.Denied, "This is not a token.")
	}
	var t *Token
	err = s.db.View(ctx, func(tx *sql.Tx) error {
		t, err = s.find(tx, presented)
		return err
	})
	if err != nil {
		return Anonymous, err
	}
	s.note(use{t.ID, ""}, t.LastUsed)
	return Principal{TokenID: t.ID, Name: t.Name, Permissions: t.Permissions}, nil
}

// find returns the token for what was presented, or the refusal of the better match.
func (s *Store) find(tx *sql.Tx, presented string) (*Token, error) {
	candidates := []string{hash(presented)}
	if before, _, ok := strings.Cut(presented, "-"); ok {
		candidates = append(candidates, hash(before))
	}
	var err error
	for _, h := range candidates {
		var stored string
		t, e := scan(tx.QueryRow("SELECT "+tokenColumns+", t.hash FROM tokens t WHERE t.hash = $1", h), &stored)
		switch {
		case errors.Is(e, sql.ErrNoRows):
			continue
		case e != nil:
			return nil, e
		case subtle.ConstantTimeCompare([]byte(stored), []byte(h)) != 1:
			continue
		}
		if e = t.refusal(s.now()); e == nil {
			return t, nil
		}
		err = cmp.Or(err, e)
	}
	return nil, cmp.Or(err, errs.Public(errs.Denied, "This token is not known."))
}

// note remembers a use for the next write, unless the last one is fresh enough, and sees to it that one
// goroutine writes. The caller does not wait.
func (s *Store) note(u use, last time.Time) {
	now := s.now()
	if now.Sub(last) < usedEvery {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[u] = millis(now)
	if !s.flushing {
		s.flushing = true
		go s.flush()
	}
}

func (s *Store) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.used) > 0 {
		batch := s.used
		s.used = map[use]int64{}
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		err := s.db.Tx(ctx, func(tx *sql.Tx) error {
			for u, at := range batch {
				before := at - usedEvery.Milliseconds() // another use may have been written meanwhile
				if _, err := tx.Exec("UPDATE tokens SET last_used = $1 WHERE id = $2 AND last_used <= $3", at, u.tokenID, before); err != nil {
					return err
				}
				if _, err := tx.Exec("UPDATE sessions SET seen = $1 WHERE hash = $2 AND seen <= $3", at, u.sessionHash, before); err != nil {
					return err
				}
			}
			return nil
		})
		cancel()
		if err != nil {
			s.log.Warn("last use of tokens not written", "tokens", len(batch), "err", err)
		}
		s.mu.Lock()
	}
	s.flushing = false
	s.idle.Broadcast()
}

// EnsureAdmin sees to it that somebody can administer. Without fromEnv, it makes an admin token if there
// is none that counts, and returns its secret to be shown once. With fromEnv, it makes that the secret
// of the one token that comes from the environment, in place of the one before; the secret it returns
// is empty then. created says whether there is a new token.
//
// It refuses a secret from the environment that is short, unfit for a header, or of a revoked token.
func (s *Store) EnsureAdmin(ctx context.Context, fromEnv string) (secret string, created bool, err error) {
	defer errs.Wrap(&err, "access.EnsureAdmin")
	if fromEnv != "" && (len(fromEnv) < minFromEnv || len(fromEnv) > maxPresented || strings.ContainsFunc(fromEnv, func(r rune) bool { return r <= ' ' || r > '~' })) {
		return "", false, errs.Public(errs.Invalid, "The admin token from the environment needs %d to %d printable ASCII characters, without spaces.", minFromEnv, maxPresented)
	}
	now := s.now()
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		secret, created = "", false
		t := Token{ID: random(8), Name: "first admin", Permissions: Admin, Created: now}
		if fromEnv == "" {
			all, err := query(tx, "SELECT "+tokenColumns+" FROM tokens t WHERE t.revoked = 0")
			if err != nil {
				return err
			}
			for _, have := range all {
				if have.Permissions&Admin != 0 && have.refusal(now) == nil {
					return nil
				}
			}
			secret, created = random(32), true
			return s.insert(tx, t, secret)
		}
		have, err := scan(tx.QueryRow("SELECT "+tokenColumns+" FROM tokens t WHERE t.hash = $1", hash(fromEnv)))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			created = true
		case err != nil:
			return err
		case !have.Revoked.IsZero():
			return errs.Public(errs.Conflict, "The admin token from the environment was revoked. Set another.")
		default:
			t.ID = have.ID
			if _, err := tx.Exec("UPDATE tokens SET permissions = $1, from_env = 1, expires = 0 WHERE id = $2", Admin.String(), t.ID); err != nil {
				return err
			}
		}
		if _, err := tx.Exec("DELETE FROM tokens WHERE from_env = 1 AND revoked = 0 AND id <> $1", t.ID); err != nil || !created {
			return err
		}
		t.Name, t.FromEnv = "from the environment", true
		return s.insert(tx, t, fromEnv)
	})
	if err != nil {
		return "", false, err
	}
	return secret, created, nil
}
