// Package crash holds the types of a crash on its way: its id, what the client sent, and under which keys
// both are kept.
//
// It does no I/O. All types are plain values.
package crash

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"salvage/internal/errs"
)

// ID is a crash id: a random UUID whose last seven characters are the throttle result, one digit, and the
// day of the submission in UTC, YYMMDD. Clients see it with the prefix "bp-"; everything else uses it bare.
type ID string

// Prefix stands before an id towards clients and people.
const Prefix = "bp-"

// Throttle is the result of throttling: the digit in the id.
type Throttle byte

// Throttle results.
const (
	Accept Throttle = 0
	Defer  Throttle = 1
)

// NewID returns a new id for a crash submitted at t.
func NewID(t time.Time, result Throttle) ID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return ID(fmt.Sprintf("%s-%s-%s-%s-%s%d%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:25], result, t.UTC().Format("060102")))
}

// ParseID reads an id with or without prefix.
func ParseID(s string) (ID, error) {
	if len(s) == len(Prefix)+36 && s[:len(Prefix)] == Prefix {
		s = s[len(Prefix):]
	}
	bad := func() (ID, error) {
		return "", errs.Public(errs.Invalid, "%.60q is not a crash id.", s)
	}
	if len(s) != 36 {
		return bad()
	}
	for i := range 36 {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return bad()
			}
		case i == 29:
			if c != '0' && c != '1' {
				return bad()
			}
		case i >= 30:
			if c < '0' || c > '9' {
				return bad()
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return bad()
			}
		}
	}
	if _, err := time.Parse("060102", s[30:]); err != nil {
		return bad()
	}
	return ID(s), nil
}

// Day returns the day of the submission as YYYYMMDD.
func (id ID) Day() string { return "20" + string(id[30:]) }

// Throttle returns the throttle result.
func (id ID) Throttle() Throttle { return Throttle(id[29] - '0') }

// Keys of what is stored of a crash. They start with the day, so that a sweep lists days and never
// everything, and the raw crash is written last: where there is one, the dumps it names are there too.

// RawKey is the key of the raw crash.
func (id ID) RawKey() string { return id.prefix() + "raw_crash" }

// DumpKey is the key of a dump. The name is one that CleanDumpName returns.
func (id ID) DumpKey(name string) string { return id.prefix() + "dump/" + name }

func (id ID) prefix() string { return DayPrefix(id.Day()) + string(id) + "/" }

// DayPrefix is what the keys of all crashes of a day, YYYYMMDD, start with.
func DayPrefix(day string) string { return "crash/" + day + "/" }
