package processor

import (
	"context"
	"encoding/json"

	"salvage/internal/crash"
	"salvage/signature"
)

// generateSignature groups the crash with its like.
func generateSignature(_ context.Context, w *work) error {
	var c signature.Crash
	if w.walk != nil {
		var walk struct {
			CrashInfo struct {
				Type           string `json:"type"`
				CrashingThread *int   `json:"crashing_thread"`
			} `json:"crash_info"`
			SystemInfo struct {
				OS string `json:"os"`
			} `json:"system_info"`
			Threads []signature.Thread `json:"threads"`
		}
		if err := json.Unmarshal(w.walk, &walk); err != nil {
			return err
		}
		c = signature.Crash{OS: walk.SystemInfo.OS, CrashingThread: walk.CrashInfo.CrashingThread, Threads: walk.Threads, Reason: walk.CrashInfo.Type}
	}
	c.WalkerStatus = text(w.doc["mdsw_status_string"])
	c.AbortMessage = text(w.doc["abort_message"])
	if n, ok := w.doc["oom_allocation_size"].(int64); ok && n >= 0 {
		size := uint64(n)
		c.OOMAllocationSize = &size
	}
	r := signature.Generate(&c, nil)
	w.doc["signature"] = r.Signature
	if r.Proto != "" {
		w.doc["proto_signature"] = r.Proto
	}
	w.notes = append(w.notes, r.Notes...)
	steps, err := crash.Marshal(r.Steps)
	w.doc["signature_steps"] = json.RawMessage(steps)
	return err
}
