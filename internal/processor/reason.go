package processor

import (
	"context"
	"strings"
)

// personal are starts of crash reasons that quote what the user did.
var personal = []string{"Failed to load module", "byte index", "do not use eval with system privileges"}

// mozCrashReason keeps the reason that the program gave, and shows it to all unless it may quote the user.
func mozCrashReason(_ context.Context, w *work) error {
	reason := w.annotation("MozCrashReason")
	if reason == "" {
		return nil
	}
	w.doc["moz_crash_reason_raw"], w.doc["moz_crash_reason"] = reason, reason
	for _, start := range personal {
		if strings.HasPrefix(reason, start) {
			w.doc["moz_crash_reason"] = "sanitized--see moz_crash_reason_raw"
		}
	}
	return nil
}
