package errs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"salvage/debug"
)

func TestKindsAreComplete(t *testing.T) {
	for _, k := range kinds {
		if k.name == "" || k.public == "" || k.status < 400 || k.status > 599 || k.exit < 1 || k.exit > 2 {
			t.Errorf("kind %q: %+v", k.name, k)
		}
		if k.retryable && k.status < 500 {
			t.Errorf("kind %q asks for a retry with status %d", k.name, k.status)
		}
	}
	if Internal.remember != 0 {
		t.Error("internal errors are remembered")
	}
}

func TestKindOf(t *testing.T) {
	format := func(cause error) error { return fmt.Errorf("x: %w", &debug.FormatError{Format: "elf", Err: cause}) }
	for _, tt := range []struct {
		err  error
		want *Kind
	}{
		{nil, nil},
		{io.EOF, Internal},
		{fmt.Errorf("a: %w", fmt.Errorf("b: %w", NotFound)), NotFound},
		{Public(Denied, "no"), Denied},
		{format(nil), Corrupt},
		{format(debug.ErrTruncated), Corrupt},
		{format(debug.ErrUnsupported), Unsupported},
		{format(debug.ErrTooLarge), TooLarge},
		{context.DeadlineExceeded, Unavailable},
	} {
		if got := KindOf(tt.err); got != tt.want {
			t.Errorf("KindOf(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestWrapAndSentence(t *testing.T) {
	f := func(in error) (err error) {
		defer Wrap(&err, "f(%d)", 7)
		return in
	}
	if err := f(nil); err != nil {
		t.Errorf("f(nil) = %v", err)
	}
	err := f(Public(Invalid, "Give me an address, not %q.", "x"))
	if err.Error() != `f(7): Give me an address, not "x".` || !errors.Is(err, Invalid) || Sentence(err) != `Give me an address, not "x".` || ExitCode(err) != 2 || Status(err) != 400 {
		t.Errorf("%v: %q", err, Sentence(err))
	}
	if s := Message(err); s != `Give me an address, not "x".` {
		t.Errorf("Message = %q", s)
	}
	if s := Message(f(io.EOF)); s != "f(7): EOF" {
		t.Errorf("Message(internal) = %q", s)
	}
	if s := Sentence(f(io.EOF)); s != Internal.public {
		t.Errorf("Sentence(internal) = %q", s)
	}
	if ExitCode(nil) != 0 || Retryable(nil) || Remember(nil) != 0 || !Retryable(Shed) {
		t.Error("tables of nil or of a bare kind")
	}
}
