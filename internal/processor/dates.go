package processor

import (
	"context"
	"strconv"
	"time"
)

// dates works out when things happened, in Unix seconds by the client's clock. Where the client does not
// say, the dump does.
func dates(_ context.Context, w *work) error {
	submitted := w.raw.Submitted
	w.doc["submitted_timestamp"], w.doc["date_processed"] = isoTime(submitted), isoTime(submitted) // the same, as searches expect
	crashed := submitted.Unix()
	switch s := w.annotation("CrashTime"); {
	case s != "":
		n, err := strconv.ParseInt(s[:min(len(s), 10)], 10, 64)
		if err != nil {
			w.note(`non-integer value of "CrashTime"`)
		} else {
			crashed = n
		}
	case w.dump.written != 0:
		crashed = int64(w.dump.written)
	default:
		w.note("neither the client nor the dump says when the crash was")
	}
	startup, known := w.doc["startup_time"].(int64)
	if !known && w.dump.created != 0 {
		startup, known = int64(w.dump.created), true
	}
	if !known {
		startup = crashed
	}
	install := startup
	if s := w.annotation("InstallTime"); s != "" {
		var err error
		if install, err = strconv.ParseInt(s, 10, 64); err != nil {
			w.note(`non-integer value of "InstallTime"`)
			install = startup
		}
	}
	w.doc["crash_time"] = crashed
	w.doc["client_crash_date"] = time.Unix(crashed, 0).UTC().Format(time.DateTime)
	w.doc["install_age"] = crashed - install
	if known {
		w.doc["uptime"] = max(0, crashed-startup)
	}
	if s := w.annotation("SecondsSinceLastCrash"); s != "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			w.doc["last_crash"] = n
		} else {
			w.note(`non-integer value of "SecondsSinceLastCrash"`)
		}
	}
	return nil
}
