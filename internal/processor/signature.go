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
		if err := c.SetWalk(w.walk); err != nil {
			return err
		}
	}
	if e, ok := w.doc["java_exception"]; ok {
		public, err := crash.Marshal(e)
		if err != nil {
			return err
		}
		if c.JavaException = new(signature.JavaException); json.Unmarshal(public, c.JavaException) != nil {
			c.JavaException = nil
		}
	} else {
		c.JavaStackTrace = text(w.doc["java_stack_trace"]) // malformed
	}
	c.WalkerStatus = text(w.doc["mdsw_status_string"])
	c.AbortMessage = text(w.doc["abort_message"])
	c.JSLargeAllocationFailure = text(w.doc["js_large_allocation_failure"])
	c.AsyncShutdownTimeout = text(w.doc["async_shutdown_timeout"])
	c.IPCChannelError, c.IPCMessageName = text(w.doc["ipc_channel_error"]), text(w.doc["ipc_message_name"])
	if kind := text(w.doc["hang"]); kind != "" {
		c.Hang = &kind
	}
	c.AdditionalMinidumps, _ = w.doc["additional_minidumps"].([]string)
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
