package processor

import (
	"context"

	"salvage/internal/crash"
)

// breadcrumbs reads what happened before the crash.
func breadcrumbs(_ context.Context, w *work) error {
	sent, ok := w.raw.Annotations["Breadcrumbs"]
	if !ok {
		return nil
	}
	list, err := crash.ParseBreadcrumbs(sent)
	if err != nil {
		w.note("Breadcrumbs: malformed: %v", err)
		return nil
	}
	if len(list) > 0 {
		w.doc["breadcrumbs"] = list
	}
	return nil
}
