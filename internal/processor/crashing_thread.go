package processor

import "context"

// crashingThread copies what the walk says of the crash. An address near null or without meaning is the one
// that the code was about to use.
func crashingThread(_ context.Context, w *work) error {
	dump := w.doc["json_dump"]
	if dump == nil {
		return nil
	}
	info := at(dump, "crash_info")
	w.doc["crashing_thread"] = at(info, "crashing_thread")
	if w.doc["crashing_thread"] == nil {
		w.note("the dump does not say which thread crashed")
	}
	w.doc["crashing_thread_name"] = at(dump, "crashing_thread", "thread_name")
	w.doc["reason"] = text(at(info, "type"))
	address := at(info, "address")
	switch adjusted := at(info, "adjusted_address"); text(at(adjusted, "kind")) {
	case "null-pointer":
		address = "0x00000000"
		if len(text(at(info, "address"))) == len("0x0123456789abcdef") {
			address = "0x0000000000000000"
		}
	case "non-canonical":
		if a := text(at(adjusted, "address")); a != "" {
			address = a
		}
	}
	w.doc["address"] = address
	if e, ok := at(dump, "crashing_thread", "last_error_value").(string); ok {
		w.doc["last_error_value"] = e
	}
	w.doc["thread_count"] = at(dump, "thread_count")
	return nil
}
