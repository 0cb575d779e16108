package blobtest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"salvage/internal/blob"
	"salvage/internal/blob/blobtest"
	"salvage/internal/blob/memblob"
	"salvage/internal/errs"
)

var ctx = context.Background()

// each does one call of each kind and returns the first error.
func each(s blob.Store) error {
	if err := blob.Put(ctx, s, "a", strings.NewReader("hello")); err != nil {
		return err
	}
	if _, err := s.Stat(ctx, "a"); err != nil {
		return err
	}
	for _, err := range s.List(ctx, "", "") {
		if err != nil {
			return err
		}
	}
	r, _, err := s.Get(ctx, "a")
	if err != nil {
		return err
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != "hello" {
		return errors.Join(err, errors.New(string(data)))
	}
	return s.Delete(ctx, "a")
}

func TestNth(t *testing.T) {
	for _, call := range []string{"create", "write", "commit", "stat", "list", "item", "get", "read", "delete"} {
		inner := memblob.New()
		s := blobtest.Faulty(inner, blobtest.Faults{Fail: blobtest.Nth(call, 1, errs.Unavailable)})
		if err := each(s); !errors.Is(err, errs.Unavailable) {
			t.Errorf("%s: %v, want Unavailable", call, err)
		}
		if _, err := inner.Stat(ctx, "a"); (err == nil) != !strings.Contains("create write commit", call) {
			t.Errorf("%s: Stat: %v", call, err)
		}
		if err := each(s); err != nil {
			t.Errorf("%s: the second time: %v", call, err)
		}
	}
}

// A Writer that lost a part is not committed, even by a caller who did not look.
func TestFirstErrorIsFinal(t *testing.T) {
	inner := memblob.New()
	s := blobtest.Faulty(inner, blobtest.Faults{Fail: blobtest.Nth("write", 2, errs.Unavailable)})
	w, err := s.Create(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, _ = io.WriteString(w, "part")
	}
	if err := w.Commit(); !errors.Is(err, errs.Unavailable) {
		t.Errorf("Commit: %v, want Unavailable", err)
	}
	if _, err := inner.Stat(ctx, "a"); !errors.Is(err, errs.NotFound) {
		t.Errorf("Stat: %v, want NotFound", err)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := blobtest.Faulty(memblob.New(), blobtest.Faults{Delay: time.Hour, ShortReads: true})
		start := time.Now()
		if err := each(s); err != nil {
			t.Fatal(err)
		}
		if d, want := time.Since(start), (8+6)*time.Hour; d != want { // 6: five bytes and io.EOF
			t.Errorf("%v, want %v", d, want)
		}
		c, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := s.Stat(c, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stat: %v", err)
		}
	})
}

// Without failures a faulty store is a store.
func TestFaultless(t *testing.T) {
	open := func(testing.TB) blob.Store {
		return blobtest.Faulty(memblob.New(), blobtest.Faults{Fail: func(string, int) error { return nil }})
	}
	blobtest.Run(t, open, blobtest.Options{Reopen: func(_ testing.TB, s blob.Store) blob.Store { return s }})
}
