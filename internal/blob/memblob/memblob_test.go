package memblob_test

import (
	"testing"

	"salvage/internal/blob"
	"salvage/internal/blob/blobtest"
	"salvage/internal/blob/memblob"
)

func open(testing.TB) blob.Store { return memblob.New() }

func TestStore(t *testing.T) {
	blobtest.Run(t, open, blobtest.Options{
		Reopen: func(_ testing.TB, s blob.Store) blob.Store { return s }, // memory does not outlive a crash; what was staged must still not show
	})
}

func BenchmarkStore(b *testing.B) { blobtest.Bench(b, open) }
