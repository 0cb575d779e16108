package processor

import (
	"context"

	"salvage/debug/proguard"
	"salvage/internal/crash"
)

// Java runs the rule over annotations.
func Java(annotations map[string]any, order crash.JavaOrder, m *proguard.Mapping) (doc map[string]any, notes []string) {
	w := &work{
		p: &Processor{Config: Config{Options: Options{javaOrders: javaOrders{"": order}}}}, raw: crash.Raw{Annotations: annotations}, doc: map[string]any{},
		mapping: func(string) (*proguard.Mapping, error) { return m, nil },
	}
	if err := java(context.Background(), w); err != nil {
		panic(err)
	}
	return w.doc, w.notes
}

// ParseJavaOrders is the parser of an option.
func ParseJavaOrders(text string) (map[string]crash.JavaOrder, error) { return parseJavaOrders(text) }
