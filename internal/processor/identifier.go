package processor

import (
	"context"

	"salvage/internal/crash"
)

// identifier says which crash this is, and what the collector knew of it.
func identifier(_ context.Context, w *work) error {
	w.doc["crash_id"], w.doc["uuid"] = string(w.id), string(w.id)
	w.doc["collector_metadata"] = w.raw.Metadata
	w.doc["minidump_sha256_hash"] = w.raw.Metadata.DumpChecksums[crash.MinidumpName]
	w.doc["report_type"] = "crash"
	if w.annotation("Hang") != "" {
		w.doc["report_type"] = "hang"
	}
	return nil
}
