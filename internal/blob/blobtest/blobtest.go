// Package blobtest holds the tests that every engine of package blob passes, benchmarks over any of
// them, and a store that fails on request.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"salvage/internal/blob"
)

// Options of a run.
type Options struct {
	// Reopen opens once more what s stores, as after a crash: s is not closed before.
	Reopen func(t testing.TB, s blob.Store) blob.Store
}

// Run checks that the stores which open returns, each of them empty, keep the contract of blob.Store:
// one subtest for each rule, which prints its sentence on failure.
func Run(t *testing.T, open func(testing.TB) blob.Store, opt Options) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the contract: %s", rule.sentence)
				}
			})
			rule.check(&suite{T: t, Store: open(t), opt: opt})
		})
	}
}

type rule struct {
	name, sentence string
	check          func(s *suite)
}

// suite is one test with its store; its methods take text for values and fail the test.
type suite struct {
	*testing.T
	blob.Store
	opt Options
}

var ctx = context.Background()

func (s *suite) put(key, value string) {
	s.Helper()
	if err := blob.Put(ctx, s.Store, key, strings.NewReader(value)); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) create(key, value string) blob.Writer {
	s.Helper()
	w, err := s.Create(ctx, key)
	if err != nil {
		s.Fatal(err)
	}
	if _, err := io.WriteString(w, value); err != nil {
		s.Fatal(err)
	}
	return w
}

func (s *suite) delete(key string) {
	s.Helper()
	if err := s.Delete(ctx, key); err != nil {
		s.Fatal(err)
	}
}

// value returns the object under key, checked against Stat.
func (s *suite) value(key string) (string, error) {
	s.Helper()
	r, info, err := s.Get(ctx, key)
	if err != nil {
		if r != nil {
			s.Errorf("Get(%q) returns a reader and %v", key, err)
		}
		return "", err
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err == nil && (info.Key != key || info.Size != int64(len(data))) {
		s.Errorf("Get(%q) = %d bytes, %+v", key, len(data), info)
	}
	return string(data), err
}

func (s *suite) want(key, value string) {
	s.Helper()
	if got, err := s.value(key); err != nil || got != value {
		s.Errorf("Get(%q) = %.60q (%d bytes), %v, want %.60q", key, got, len(got), err, value)
	}
}

// fails checks that err has the kind, or is the error, want.
func (s *suite) fails(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: %v, want %v", what, err, want)
	}
}

func (s *suite) list(prefix, after string) []string {
	s.Helper()
	keys := []string{}
	for info, err := range s.List(ctx, prefix, after) {
		if err != nil {
			s.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// pattern is n bytes that differ at each place and for each seed.
func pattern(seed, n int) io.Reader {
	return io.LimitReader(&patternReader{uint64(seed)<<40 | 1}, int64(n))
}

type patternReader struct{ x uint64 }

func (p *patternReader) Read(b []byte) (int, error) {
	for i := range b {
		p.x = p.x*6364136223846793005 + 1442695040888963407
		b[i] = byte(p.x >> 56)
	}
	return len(b), nil
}

// Bench measures the stores which open returns: values of a small and of a usual dump, and a listing.
func Bench(b *testing.B, open func(testing.TB) blob.Store) {
	for _, size := range []int{4 << 10, 500 << 10} {
		value, _ := io.ReadAll(pattern(1, size))
		b.Run(fmt.Sprintf("Put/%dK", size>>10), func(b *testing.B) {
			s := open(b)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := blob.Put(ctx, s, fmt.Sprintf("crash/20260818/%08d", i), bytes.NewReader(value)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Get/%dK", size>>10), func(b *testing.B) {
			s := open(b)
			if err := blob.Put(ctx, s, "crash/20260818/1", bytes.NewReader(value)); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				r, _, err := s.Get(ctx, "crash/20260818/1")
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); err != nil || n != int64(size) {
					b.Fatal(n, err)
				}
				r.Close()
			}
		})
	}
	b.Run("List/1000", func(b *testing.B) {
		s := open(b)
		for i := range 1000 {
			if err := blob.Put(ctx, s, fmt.Sprintf("crash/20260818/%08d", i), strings.NewReader("x")); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for _, err := range s.List(ctx, "crash/20260818/", "") {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 1000 {
				b.Fatalf("%d objects", n)
			}
		}
	})
}
