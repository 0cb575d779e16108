package processor

import (
	"context"
	"strconv"
	"strings"
)

// version completes what identifies the build and the kind of process.
func version(_ context.Context, w *work) error {
	v := text(w.doc["version"])
	if text(w.doc["release_channel"]) == "esr" && v != "" {
		w.doc["version"] = v + "esr"
	}
	major, _, _ := strings.Cut(v, ".")
	n, err := strconv.ParseInt(major, 10, 64)
	if err != nil {
		n = 0
	}
	w.doc["major_version"] = n
	process := w.annotation("ProcessType")
	if process == "" {
		process = w.annotation("ptype") // Crashpad's in Chromium and Electron
	}
	switch process {
	case "", "main", "browser":
		process = "parent"
	}
	w.doc["process_type"] = process
	return nil
}
