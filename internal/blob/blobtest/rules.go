package blobtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"salvage/internal/blob"
	"salvage/internal/errs"
)

var rules = []rule{
	{"RoundTrip", "Get and Stat give what Put stored, its size and the time of the write", func(s *suite) {
		before := time.Now().Add(-time.Minute) // clocks of stores may differ
		s.put("v1/xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym", "hello")
		s.want("v1/xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym", "hello")
		info, err := s.Stat(ctx, "v1/xul.pdb/44E4EC8C2F41492B9369D6B9A059577C2/xul.sym")
		if err != nil || info.Size != 5 || info.ModTime.Before(before) || info.ModTime.After(time.Now().Add(time.Minute)) {
			s.Errorf("Stat = %+v, %v", info, err)
		}
	}},
	{"Empty", "a value may be empty", func(s *suite) {
		s.put("empty", "")
		s.want("empty", "")
		w, err := s.Create(ctx, "unwritten")
		if err != nil {
			s.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			s.Fatal(err)
		}
		s.want("unwritten", "")
	}},
	{"Large", "a value may be of any size and is streamed", func(s *suite) {
		const size = 64 << 20
		if err := blob.Put(ctx, s.Store, "large", pattern(7, size)); err != nil {
			s.Fatal(err)
		}
		r, info, err := s.Get(ctx, "large")
		if err != nil || info.Size != size {
			s.Fatalf("Get = %+v, %v", info, err)
		}
		defer r.Close()
		got, want := sha256.New(), sha256.New()
		if n, err := io.Copy(got, r); err != nil || n != size {
			s.Fatalf("read %d bytes, %v", n, err)
		}
		_, _ = io.Copy(want, pattern(7, size))
		if string(got.Sum(nil)) != string(want.Sum(nil)) {
			s.Error("the content differs")
		}
	}},
	{"Replace", "Put replaces the object; a reader of the old one reads that to its end", func(s *suite) {
		s.put("a", "the first, which is long")
		r, _, err := s.Get(ctx, "a")
		if err != nil {
			s.Fatal(err)
		}
		defer r.Close()
		s.put("a", "second")
		s.want("a", "second")
		s.delete("a")
		if data, err := io.ReadAll(r); err != nil || string(data) != "the first, which is long" {
			s.Errorf("the reader gives %q, %v", data, err)
		}
	}},
	{"NotFound", "Get and Stat of a key without an object give NotFound, also where it is the start of other keys", func(s *suite) {
		s.put("a/b", "x")
		for _, key := range []string{"a", "a/b/c", "b", "A/b"} {
			_, err := s.value(key)
			s.fails(fmt.Sprintf("Get(%q)", key), err, errs.NotFound)
			_, err = s.Stat(ctx, key)
			s.fails(fmt.Sprintf("Stat(%q)", key), err, errs.NotFound)
		}
	}},
	{"Nested", "one key may be the start of another, before or after a slash", func(s *suite) {
		keys := []string{"a", "a/b", "a/b/c", "a=", "a~", "ab"}
		for _, key := range keys {
			s.put(key, key)
		}
		for _, key := range keys {
			s.want(key, key)
		}
		s.delete("a/b")
		s.want("a/b/c", "a/b/c")
		s.want("a", "a")
	}},
	{"Case", "keys that differ only in case, or in the form of a Unicode letter, are different keys", func(s *suite) {
		keys := []string{"Foo/x", "foo/x", "foo/X", "FOO", "foo", "fOO", "\u00e9", "\u00c9", "e\u0301"}
		for _, key := range keys {
			s.put(key, "of "+key)
		}
		for _, key := range keys {
			s.want(key, "of "+key)
		}
		slices.Sort(keys)
		if got := s.list("", ""); !slices.Equal(got, keys) {
			s.Errorf("List = %q, want %q", got, keys)
		}
	}},
	{"Delete", "Delete removes the object alone; that there is none is no error; the key can be used again", func(s *suite) {
		s.put("d/1/a", "a")
		s.put("d/1/b", "b")
		s.delete("d/1/a")
		_, err := s.value("d/1/a")
		s.fails("Get", err, errs.NotFound)
		s.want("d/1/b", "b")
		for _, key := range []string{"d/1/a", "d/1", "d", "none/at/all"} {
			s.delete(key)
		}
		s.want("d/1/b", "b")
		s.delete("d/1/b")
		if got := s.list("", ""); len(got) != 0 {
			s.Errorf("List = %q, want none", got)
		}
		s.put("d/1/b", "again")
		s.want("d/1/b", "again")
	}},
	{"Staged", "nothing of a Writer is visible before Commit, nothing changes after Abort, and both happen once", func(s *suite) {
		s.put("a", "old")
		w := s.create("a", "new")
		fresh := s.create("fresh", "x")
		s.want("a", "old")
		if got := s.list("", ""); !slices.Equal(got, []string{"a"}) {
			s.Errorf("List = %q, want a", got)
		}
		_, err := s.Stat(ctx, "fresh")
		s.fails("Stat of a staged object", err, errs.NotFound)
		fresh.Abort()
		fresh.Abort()
		_, err = s.Stat(ctx, "fresh")
		s.fails("Stat of an aborted object", err, errs.NotFound)
		if err := fresh.Commit(); err == nil {
			s.Error("Commit after Abort succeeds")
		}
		if err := w.Commit(); err != nil {
			s.Fatal(err)
		}
		w.Abort()
		s.want("a", "new")
		if _, err := w.Write([]byte("more")); err == nil {
			s.Error("Write after Commit succeeds")
		}
		if err := w.Commit(); err == nil {
			s.Error("the second Commit succeeds")
		}
		s.want("a", "new")
	}},
	{"ManyStaged", "Writers of one key do not disturb each other; the last Commit stays", func(s *suite) {
		a, b := s.create("k", "a1"), s.create("k", "b1")
		_, _ = io.WriteString(a, "a2")
		_, _ = io.WriteString(b, "b2")
		if err := b.Commit(); err != nil {
			s.Fatal(err)
		}
		s.want("k", "b1b2")
		if err := a.Commit(); err != nil {
			s.Fatal(err)
		}
		s.want("k", "a1a2")
	}},
	{"NotRetained", "Write does not keep its argument", func(s *suite) {
		w := s.create("k", "")
		p := []byte("before")
		if n, err := w.Write(p); n != len(p) || err != nil {
			s.Fatal(n, err)
		}
		copy(p, "AFTER!")
		if err := w.Commit(); err != nil {
			s.Fatal(err)
		}
		s.want("k", "before")
	}},
	{"ReaderFails", "an error of Put's reader comes back with its kind, and the key stays as it was", func(s *suite) {
		s.put("k", "old")
		for _, key := range []string{"k", "none"} {
			err := blob.Put(ctx, s.Store, key, io.MultiReader(pattern(1, 100_000), failing{errs.TooLarge}))
			s.fails("Put", err, errs.TooLarge)
		}
		s.want("k", "old")
		if got := s.list("", ""); !slices.Equal(got, []string{"k"}) {
			s.Errorf("List = %q, want k", got)
		}
	}},
	{"Cancel", "after its context has ended a Writer gives that error, even of Commit, and the key stays as it was", func(s *suite) {
		s.put("k", "old")
		c, cancel := context.WithCancel(ctx)
		defer cancel()
		err := blob.Put(c, s.Store, "k", io.MultiReader(pattern(1, 100_000), callback(cancel), pattern(2, 100_000)))
		s.fails("Put, cancelled while it reads", err, context.Canceled)
		s.want("k", "old")
		c, cancel = context.WithCancel(ctx)
		w, err := s.Create(c, "k")
		if err != nil {
			s.Fatal(err)
		}
		_, _ = io.WriteString(w, "new")
		cancel()
		s.fails("Commit", w.Commit(), context.Canceled)
		s.want("k", "old")
		if got := s.list("", ""); !slices.Equal(got, []string{"k"}) {
			s.Errorf("List = %q, want k", got)
		}
	}},
	{"Ended", "no method does anything under a context that has ended", func(s *suite) {
		s.put("k", "x")
		c, cancel := context.WithCancel(ctx)
		cancel()
		_, err := s.Create(c, "k")
		s.fails("Create", err, context.Canceled)
		_, _, err = s.Get(c, "k")
		s.fails("Get", err, context.Canceled)
		_, err = s.Stat(c, "k")
		s.fails("Stat", err, context.Canceled)
		s.fails("Delete", s.Delete(c, "k"), context.Canceled)
		s.fails("List", listError(s, c, ""), context.Canceled)
		s.want("k", "x")
	}},
	{"BadKeys", "keys with empty segments, . or .., control characters, backslashes, no UTF-8, or too long are Invalid", func(s *suite) {
		s.put("a/b", "x")
		for _, key := range BadKeys() {
			_, err := s.Create(ctx, key)
			s.fails(fmt.Sprintf("Create(%.60q)", key), err, errs.Invalid)
			_, _, err = s.Get(ctx, key)
			s.fails(fmt.Sprintf("Get(%.60q)", key), err, errs.Invalid)
			_, err = s.Stat(ctx, key)
			s.fails(fmt.Sprintf("Stat(%.60q)", key), err, errs.Invalid)
			s.fails(fmt.Sprintf("Delete(%.60q)", key), s.Delete(ctx, key), errs.Invalid)
		}
		if got := s.list("", ""); !slices.Equal(got, []string{"a/b"}) {
			s.Errorf("List = %q, want a/b", got)
		}
	}},
	{"OddKeys", "every other key works: file names of any system, devices of Windows, whatever an engine uses itself, the longest", func(s *suite) {
		keys := OddKeys()
		for _, key := range keys {
			s.put(key, "of "+key)
		}
		for _, key := range keys {
			s.want(key, "of "+key)
		}
		slices.Sort(keys)
		if got := s.list("", ""); !slices.Equal(got, keys) {
			s.Errorf("List = %q, want %q", got, keys)
		}
		for _, key := range keys {
			if got := s.list(key, ""); len(got) == 0 || got[0] != key {
				s.Errorf("List(%.60q) = %.60q", key, got)
			}
			s.delete(key)
		}
		if got := s.list("", ""); len(got) != 0 {
			s.Errorf("List = %q, want none", got)
		}
	}},
	{"Order", "List yields keys in byte order, those with the prefix and greater than after, wherever both cut", func(s *suite) {
		rng := rand.New(rand.NewPCG(1, 2))
		letters := []string{"a", "B", "b", "-", "/", "/", "0", "=", "~", "é", "."}
		word := func(n int) (w string) {
			for range n {
				w += letters[rng.IntN(len(letters))]
			}
			return w
		}
		var keys []string
		for len(keys) < 150 {
			if key := word(1 + rng.IntN(9)); blob.CheckKey(key) == nil && !slices.Contains(keys, key) {
				s.put(key, key)
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for range 400 {
			prefix, after := word(rng.IntN(4)), word(rng.IntN(5))
			switch rng.IntN(3) {
			case 0:
				after = keys[rng.IntN(len(keys))]
			case 1:
				prefix = ""
			}
			if blob.CheckKey(prefix+"x") != nil {
				continue
			}
			want := []string{}
			for _, key := range keys {
				if strings.HasPrefix(key, prefix) && key > after {
					want = append(want, key)
				}
			}
			if got := s.list(prefix, after); !slices.Equal(got, want) {
				s.Fatalf("List(%q, %q) = %q, want %q of %q", prefix, after, got, want, keys)
			}
		}
	}},
	{"Restart", "a listing may end anywhere, and one with the last key as after goes on there", func(s *suite) {
		var want, got []string
		for i := range 40 {
			key := fmt.Sprintf("crash/202608%02d/%02d", 1+i/10, i)
			s.put(key, "x")
			want = append(want, key)
		}
		for after := ""; len(got) <= len(want); {
			n := 0
			for info, err := range s.List(ctx, "crash/", after) {
				if err != nil {
					s.Fatal(err)
				}
				if info.Size != 1 || info.ModTime.IsZero() {
					s.Errorf("%+v", info)
				}
				got = append(got, info.Key)
				after = info.Key
				if n++; n == 7 {
					break
				}
			}
			if n == 0 {
				break
			}
		}
		if !slices.Equal(got, want) {
			s.Errorf("pages give %q, want %q", got, want)
		}
	}},
	{"BadPrefixes", "a prefix that no key can have is Invalid", func(s *suite) {
		for _, prefix := range []string{"/", "/a", "a//", "../", "a/../", "./", "a\x00", "a\\", "\xff", strings.Repeat("a", 201)} {
			s.fails(fmt.Sprintf("List(%.60q)", prefix), listError(s, ctx, prefix), errs.Invalid)
		}
		for _, prefix := range []string{"", "a", "a/", ".", "..", "a/..", strings.Repeat("a", 200)} {
			if err := listError(s, ctx, prefix); err != nil {
				s.Errorf("List(%.60q): %v", prefix, err)
			}
		}
	}},
	{"ListCancel", "a listing whose context ends gives that error last", func(s *suite) {
		for i := range 10 {
			s.put(fmt.Sprint(i), "x")
		}
		c, cancel := context.WithCancel(ctx)
		defer cancel()
		n, last := 0, error(nil)
		for _, err := range s.List(c, "", "") {
			if last != nil {
				s.Error("something follows the error")
			}
			if last = err; err == nil {
				n++
				cancel()
			}
		}
		s.fails("List", last, context.Canceled)
		if n != 1 {
			s.Errorf("%d objects, want 1", n)
		}
	}},
	{"ListMutation", "an object that is there during a whole listing is yielded exactly once, in order, whatever comes and goes", func(s *suite) {
		for i := range 60 {
			s.put(fmt.Sprintf("%d/stay%02d", i%3, i), "x")
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					key := fmt.Sprintf("%d/come%d-%d", i%4, g, i%20)
					if err := blob.Put(ctx, s.Store, key, strings.NewReader("y")); err != nil {
						s.Error(err)
						return
					}
					if err := s.Delete(ctx, fmt.Sprintf("%d/come%d-%d", (i+2)%4, g, (i+10)%20)); err != nil {
						s.Error(err)
						return
					}
				}
			})
		}
		for range 20 {
			all := s.list("", "")
			if !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != len(all) {
				s.Errorf("not in order: %q", all)
			}
			if n := len(slices.DeleteFunc(all, func(key string) bool { return !strings.Contains(key, "stay") })); n != 60 {
				s.Errorf("%d of 60", n)
			}
		}
		close(stop)
		wg.Wait()
	}},
	{"Concurrent", "a store is safe for concurrent use: of several writes of a key one is there as a whole, and no Delete beside it loses another object", func(s *suite) {
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				own := fmt.Sprintf("same/folder/%d", g)
				for i := range 15 {
					value := strings.Repeat(string(rune('a'+g)), 1+g*1000)
					for _, key := range []string{"same/key", own} {
						if err := blob.Put(ctx, s.Store, key, strings.NewReader(value)); err != nil {
							s.Error(err)
							return
						}
					}
					got, err := s.value("same/key")
					if err != nil || len(got) == 0 || got != strings.Repeat(got[:1], 1+int(got[0]-'a')*1000) {
						s.Errorf("Get(same/key) = %.20q, %d bytes, %v", got, len(got), err)
					}
					if got, err := s.value(own); err != nil || got != value {
						s.Errorf("Get(%s) = %.20q, %v", own, got, err)
					}
					if i%2 == g%2 { // the folder becomes empty now and then
						if err := s.Delete(ctx, own); err != nil {
							s.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
	}},
	{"Reopen", "what is committed is there when the store is opened after a crash, and what was staged is not", func(s *suite) {
		s.put("a/b", "x")
		s.put("c", "y")
		s.delete("c")
		s.create("staged", "z")
		s.create("a/b", "z")
		again := &suite{T: s.T, Store: s.opt.Reopen(s, s.Store), opt: s.opt}
		again.want("a/b", "x")
		if got := again.list("", ""); !slices.Equal(got, []string{"a/b"}) {
			s.Errorf("List = %q, want a/b", got)
		}
		again.put("staged", "new")
		again.want("staged", "new")
	}},
}

// BadKeys returns keys that no store takes.
func BadKeys() []string {
	long := func(n int) string { return strings.Repeat("a", n) }
	return []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "./a", "/etc/passwd", "a/../../../etc/passwd",
		"a\x00", "a\x00/b", "a\nb", "a\x7f", "a\u0085b", "\t", `a\b`, `..\a`, `C:\a`, "\xff", "a\xc3", "a/\xed\xa0\x80",
		long(201), "a/" + long(201) + "/b", long(5000), strings.Repeat("a/", 500) + "a", strings.Repeat("é", 34), strings.Repeat(long(199)+"/", 5) + "a",
	}
}

// OddKeys returns keys that a store must take although some file system would not.
func OddKeys() []string {
	return []string{
		"...", "..a", ".hidden", "a.", "a./b", "a ", " a", "a /b", "-rf", "~", "~root", "=", "a=1", "a~1", "%", "%2f", "a%2e%2e", "a:b", "C:", "a?b*c", `"<>|"`,
		"con", "CON", "con/aux.h", "nul.txt", "Com1", "com1.x/y", "lost+found", ".DS_Store", "tmp", "tmp/x", "objects", "objects/x", "LOCK", "FORMAT",
		"日本語/ファイル", "é", "e\u0301", "😀", "libstdc++.so.6", "a\u202eb",
		strings.Repeat("a", 200), strings.Repeat("A", 200), strings.Repeat("é", 33) + "AB", "CON." + strings.Repeat("Z", 195) + ".",
		strings.Repeat(strings.Repeat("B", 199)+"/", 5)[:999], strings.Repeat("d/", 499) + "dd",
	}
}

func listError(s *suite, c context.Context, prefix string) error {
	for _, err := range s.List(c, prefix, "") {
		if err != nil {
			return err
		}
	}
	return nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, errors.Join(errors.New("in the middle"), f.err) }

// callback is an empty reader that calls a function when it is read.
type callback func()

func (f callback) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
