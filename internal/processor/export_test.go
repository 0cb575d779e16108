package processor

import (
	"context"
	"slices"
	"testing"
)

// InsertRule puts a rule before the others until the test ends.
func InsertRule(t *testing.T, name string, apply func() error) {
	before := rules
	rules = slices.Concat([]rule{{name, func(context.Context, *work) error { return apply() }}}, rules)
	t.Cleanup(func() { rules = before })
}

var (
	PrettyVersion = prettyVersion
	Convert       = convert
)
