// Package errs classifies errors: a kind decides HTTP status, exit code, whether to try again and for
// how long the failure may be remembered.
//
// Kinds are sentinels to wrap with %w and test with errors.Is. An error without a kind is Internal.
package errs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"salvage/debug"
)

// Kind is a class of errors.
type Kind struct {
	name      string
	public    string // what a user sees where no sentence was written for them
	status    int
	exit      int
	retryable bool
	remember  time.Duration
}

func (k *Kind) Error() string { return k.name }

// The kinds.
var (
	NotFound    = &Kind{"not found", "There is nothing here.", http.StatusNotFound, 1, false, time.Hour}
	Invalid     = &Kind{"invalid", "The request is not valid.", http.StatusBadRequest, 2, false, 0}
	TooLarge    = &Kind{"too large", "This is larger than allowed.", http.StatusRequestEntityTooLarge, 1, false, 0}
	Unsupported = &Kind{"unsupported", "This is not supported.", http.StatusUnsupportedMediaType, 1, false, 24 * time.Hour}
	Corrupt     = &Kind{"corrupt", "This file is damaged.", http.StatusUnprocessableEntity, 1, false, 24 * time.Hour}
	Denied      = &Kind{"denied", "You may not do this.", http.StatusForbidden, 1, false, 10 * time.Minute}
	Conflict    = &Kind{"conflict", "Something else stands in the way.", http.StatusConflict, 1, false, 0}
	Unavailable = &Kind{"unavailable", "This is not available right now; try again.", http.StatusServiceUnavailable, 1, true, 10 * time.Second}
	Shed        = &Kind{"overloaded", "Too much at once; try again.", http.StatusServiceUnavailable, 1, true, 0}
	Partial     = &Kind{"partly done", "Not everything could be done.", http.StatusInternalServerError, 3, false, 0}
	Internal    = &Kind{"internal error", "Something went wrong.", http.StatusInternalServerError, 1, false, 0}
)

var kinds = []*Kind{NotFound, Invalid, TooLarge, Unsupported, Corrupt, Denied, Conflict, Unavailable, Shed, Internal}

// KindOf returns the kind of err: the one it wraps, else what a format error or an ended context
// amounts to, else Internal. It is nil for nil.
func KindOf(err error) *Kind {
	if err == nil {
		return nil
	}
	var k *Kind
	if errors.As(err, &k) {
		return k
	}
	var format *debug.FormatError
	if errors.As(err, &format) {
		switch {
		case errors.Is(err, debug.ErrUnsupported):
			return Unsupported
		case errors.Is(err, debug.ErrTooLarge):
			return TooLarge
		}
		return Corrupt
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// Status returns the HTTP status of err.
func Status(err error) int { return KindOf(err).status }

// ExitCode returns the exit code of a command that ends with err; 0 for nil.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	return KindOf(err).exit
}

// Retryable reports whether the same call may succeed later.
func Retryable(err error) bool { return err != nil && KindOf(err).retryable }

// Remember returns for how long a cache may answer with err; 0: not at all.
func Remember(err error) time.Duration {
	if err == nil {
		return 0
	}
	return KindOf(err).remember
}

// Wrap puts where an error happened before it: defer errs.Wrap(&err, "symstore.Fetch(%s)", name).
// It leaves nil alone.
func Wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), *err)
	}
}

// public is an error with a sentence for users.
type public struct {
	kind     *Kind
	sentence string
}

func (p *public) Error() string { return p.sentence }
func (p *public) Unwrap() error { return p.kind }

// Public returns an error of the given kind whose sentence is meant for users.
func Public(kind *Kind, format string, args ...any) error {
	return &public{kind, fmt.Sprintf(format, args...)}
}

// Sentence returns what a user may read about err: the sentence written for them, else the general one
// of its kind.
func Sentence(err error) string {
	var p *public
	if errors.As(err, &p) {
		return p.sentence
	}
	return KindOf(err).public
}

// Message returns what an operator at a terminal should read: the sentence alone where one was written,
// else everything that is known.
func Message(err error) string {
	var p *public
	if errors.As(err, &p) {
		return p.sentence
	}
	return err.Error()
}
