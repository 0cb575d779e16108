package tables_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"salvage/debug/internal/tables"
)

func index(t testing.TB, addrs []uint64) tables.Index {
	t.Helper()
	var out bytes.Buffer
	w := tables.NewWriter(&out, format)
	if n := w.WriteIndex(1, 2, slices.Values(addrs)); n != uint64(len(addrs)) {
		t.Fatalf("WriteIndex = %d, want %d", n, len(addrs))
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := tables.Open(out.Bytes(), format)
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.OpenIndex(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestIndex(t *testing.T) {
	x := index(t, nil)
	if i, _ := x.Find(0); i != -1 || x.Len() != 0 {
		t.Error("an empty index finds something")
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		var addrs []uint64
		at := uint64(rng.IntN(3))
		for range 1 + rng.IntN(40) {
			addrs = append(addrs, at)
			step := uint64(1 + rng.IntN(5))
			if rng.IntN(6) == 0 {
				step += 1<<32 - 3 + uint64(rng.IntN(5)) // around the reach of a segment
			}
			at += step
		}
		x := index(t, addrs)
		i := 0
		for n, addr := range x.All() {
			if n != i || addr != addrs[i] {
				t.Fatalf("All()[%d] = %d, %#x, want %#x", i, n, addr, addrs[i])
			}
			i++
		}
		if i != len(addrs) {
			t.Fatalf("All() yields %d of %d", i, len(addrs))
		}
		for _, a := range addrs {
			for _, addr := range []uint64{a - 1, a, a + 1, a + 1<<32, 1<<64 - 1} {
				want := sort.Search(len(addrs), func(i int) bool { return addrs[i] > addr }) - 1
				got, start := x.Find(addr)
				if got != want || got >= 0 && start != addrs[got] {
					t.Fatalf("Find(%#x) = %d, %#x, want %d in %#x", addr, got, start, want, addrs)
				}
			}
		}
	}
}
