package memindex_test

import (
	"testing"

	"salvage/internal/crashindex"
	"salvage/internal/crashindex/indextest"
	"salvage/internal/crashindex/memindex"
)

func TestIndex(t *testing.T) {
	indextest.Run(t, func(testing.TB) crashindex.Index { return memindex.New() })
}
