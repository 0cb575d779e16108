package processor

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"testing"
)

// InsertRule puts a rule before the others until the test ends.
func InsertRule(t *testing.T, name string, apply func() error) {
	before := rules
	rules = slices.Concat([]rule{{name, func(context.Context, *work) error { return apply() }}}, rules)
	t.Cleanup(func() { rules = before })
}

// WatchRules calls seen, until the test ends, with each field that a rule sets or changes.
func WatchRules(t *testing.T, seen func(rule, field string)) {
	before := rules
	rules = nil
	for _, r := range before {
		rules = append(rules, rule{r.name, func(ctx context.Context, w *work) error {
			old := maps.Clone(w.doc)
			err := r.apply(ctx, w)
			for field, value := range w.doc {
				if was, ok := old[field]; !ok || !reflect.DeepEqual(was, value) {
					seen(r.name, field)
				}
			}
			return err
		}})
	}
	t.Cleanup(func() { rules = before })
}

var (
	PrettyVersion = prettyVersion
	Convert       = convert
)
