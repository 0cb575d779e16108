package object_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvage/debug"
	"salvage/debug/object"
	"salvage/debug/object/elf"
	"salvage/debug/symbols"
	"salvage/internal/debugtest"
)

// functionsOf returns the functions that a file delivers, and what it reports.
func functionsOf(t *testing.T, data []byte) ([]string, object.Report) {
	t.Helper()
	o, err := object.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	var rep object.Report
	var batches []*symbols.Batch // their strings grow while the source runs
	err = o.Symbols(t.Context(), &rep)(func(b *symbols.Batch) error { batches = append(batches, b); return nil })
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, b := range batches {
		for _, f := range b.Functions {
			list = append(list, fmt.Sprintf("%x+%x %s", f.Addr, f.Size, b.Strings.Bytes(f.Name)))
		}
	}
	return list, rep
}

// Where .debug_info cannot be inflated to its end, that is said, and the units before it are there, always the same ones.
func TestDamagedStream(t *testing.T) {
	good := debugtest.File(t, "symbolic/linux/crash.debug-zlib")
	whole, rep := functionsOf(t, good)
	if rep.Lost > 0 || len(whole) < 100 {
		t.Fatalf("%+v, %d functions", rep, len(whole))
	}
	f, err := elf.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(".debug_info")
	if _, ok := f.Grows(s); !ok {
		t.Fatal(".debug_info does not grow")
	}
	for _, tt := range []struct {
		what        string
		at          uint64 // of the section's bytes
		least, most int
		reason      string
	}{
		{"header", 24, 0, 0, "no zlib header"},
		{"start", 27, 0, 0, ""},
		{"middle", s.Size / 2, 1, len(whole) - 1, ""},
		{"checksum", s.Size - 1, len(whole), len(whole), "checksum does not match"},
	} {
		bad := bytes.Clone(good)
		for i := range min(64, s.Size-tt.at) {
			bad[s.Offset+tt.at+i] ^= 0xff
		}
		got, rep := functionsOf(t, bad)
		again, _ := functionsOf(t, bad)
		inflating := slices.IndexFunc(rep.Problems, func(p debug.Problem) bool {
			return p.Where == ".debug_info" && p.Kind == "unreadable section" && strings.Contains(p.Detail, tt.reason)
		})
		t.Logf("%s: %d of %d functions, %+v", tt.what, len(got), len(whole), rep)
		if inflating < 0 || rep.Lost == 0 || len(got) < tt.least || len(got) > tt.most || !slices.Equal(got, again) {
			t.Errorf("%s: %d of %d functions, %d the second time, %+v", tt.what, len(got), len(whole), len(again), rep)
		}
	}
	// Where nobody wants more, inflating ends as well.
	stop := errors.New("stop")
	o, err := object.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	rep = object.Report{}
	if err := o.Symbols(t.Context(), &rep)(func(*symbols.Batch) error { return stop }); err != stop || rep.Lost > 0 {
		t.Error(err, rep)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Symbols(ctx, &rep)(func(*symbols.Batch) error { return nil }); !errors.Is(err, context.Canceled) || rep.Lost > 0 {
		t.Error(err, rep)
	}
}
