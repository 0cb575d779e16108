package signature

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// rule turns one signature into the next, in view of the crash and the lists. The note is empty where there is
// nothing to say.
type rule struct {
	name  string
	apply func(l *Lists, c *Crash, r *Result) (after, note string)
}

// rules run in this order behind the one that reads the stack (crash-pipeline.md §3.2, whose names they
// have). The last three make the signature fit to be stored and stay last.
var rules = []rule{
	{"StackwalkerErrorSignatureRule", walkerError},
	{"BadHardware", badHardware},
	{"OOMSignature", outOfMemory},
	{"AbortSignature", abort},
	{"SignatureShutdownTimeout", shutdownTimeout},
	{"SignatureRunWatchDog", watchdog},
	{"SignatureIPCChannelError", channelError},
	{"SignatureIPCMessageName", messageName},
	{"StackOverflowSignature", stackOverflow},
	{"HungProcess", hang},
	{"SigPrintableCharsOnly", printable},
	{"SigFixWhitespace", fixWhitespace},
	{"SigTruncate", truncate},
}

// walkerError says of an empty stack what the stack walker had to say.
func walkerError(_ *Lists, c *Crash, r *Result) (string, string) {
	if !strings.HasPrefix(r.Signature, "EMPTY") || c.WalkerStatus == "" {
		return r.Signature, ""
	}
	return r.Signature + "; " + c.WalkerStatus[:min(len(c.WalkerStatus), maxSignature)], ""
}

func badHardware(_ *Lists, c *Crash, r *Result) (string, string) {
	if !strings.Contains(c.Reason, "STATUS_DEVICE_DATA_ERROR") {
		return r.Signature, ""
	}
	return "bad hardware | " + r.Signature, ""
}

// smallAllocation is the size in bytes up to which memory was just full, whoever asked.
const smallAllocation = 256 << 10

// outOfMemory marks the signature where an allocation failed. Where it was a small one siggen replaces it, so
// that all such crashes of a product are one; by our own lists they stay apart.
func outOfMemory(l *Lists, c *Crash, r *Result) (string, string) {
	size := c.OOMAllocationSize
	if !(size != nil && *size != 0 || isOutOfMemory(c, r.Signature)) {
		return r.Signature, ""
	}
	switch {
	case c.JSLargeAllocationFailure == "Reporting":
		return "OOM | large | " + r.Signature, ""
	case size == nil:
		return "OOM | unknown | " + r.Signature, ""
	case *size <= smallAllocation && l.own:
		return "OOM | small | " + r.Signature, ""
	case *size <= smallAllocation:
		return "OOM | small", ""
	}
	return "OOM | large | " + r.Signature, ""
}

// isOutOfMemory reports whether anything but a size tells that memory ran out.
func isOutOfMemory(c *Crash, signature string) bool {
	switch c.Reason {
	case "STATUS_FATAL_MEMORY_EXHAUSTION", "STATUS_NO_MEMORY":
		return true
	}
	thread, _ := c.crashing()
	switch thread.LastErrorValue {
	case "ERROR_COMMITMENT_LIMIT", "ERROR_NOT_ENOUGH_MEMORY":
		return true
	}
	for _, function := range []string{"NS_ABORT_OOM", "mozalloc_handle_oom", "CrashAtUnhandlableOOM", "AutoEnterOOMUnsafeRegion", "alloc::oom::oom"} {
		if strings.Contains(signature, function) {
			return true
		}
	}
	return c.JSLargeAllocationFailure == "Reporting"
}

// abort puts the message of an abort before the signature, without where in the source it happened. A
// message of which nothing is left counts as none by our own lists (siggen writes "Abort | | f").
func abort(l *Lists, c *Crash, r *Result) (string, string) {
	const marker = "###!!! ABORT:"
	message := c.AbortMessage
	if message == "" {
		return r.Signature, ""
	}
	if strings.Contains(message, marker+" file ") { // it says nothing but where
		return "Abort | " + r.Signature, ""
	}
	if _, after, ok := strings.Cut(message, marker); ok {
		message = after
	}
	message, _, _ = strings.Cut(message, ": file ")
	if strings.Contains(message, "unable to find a usable font") { // and in parentheses which were tried
		if from, to := strings.IndexByte(message, '('), strings.LastIndexByte(message, ')'); from >= 0 && to > from {
			message = message[:from] + message[to+1:]
		}
	}
	message = strings.TrimSpace(ascii(message))
	if message == "" && l.own {
		return "Abort | " + r.Signature, ""
	}
	return "Abort | " + ellipsis(message, 80) + separator + r.Signature, ""
}

// shutdownTimeout replaces the signature by the phase of a shutdown that took too long and by what it waited
// for. (In siggen JSON that is no object makes the rule fail.)
func shutdownTimeout(l *Lists, c *Crash, r *Result) (string, string) {
	if c.AsyncShutdownTimeout == "" {
		return r.Signature, ""
	}
	var shutdown any
	err := json.Unmarshal([]byte(c.AsyncShutdownTimeout), &shutdown)
	object, ok := shutdown.(map[string]any)
	if l.defects && err == nil && !ok {
		return r.Signature, "Rule failed"
	}
	const name = "AsyncShutdownTimeout"
	if !ok {
		return name + " | UNKNOWN", "the annotation is no JSON object"
	}
	phase, ok := object["phase"].(string)
	if !ok {
		phase = "(unknown)"
	}
	var conditions []string
	list, _ := object["conditions"].([]any)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			if item, ok = m["name"]; !ok {
				return name + separator + phase + " | UNKNOWN", "a condition has no name"
			}
		}
		text, ok := item.(string)
		if !ok {
			text = fmt.Sprint(item)
		}
		conditions = append(conditions, text)
	}
	slices.Sort(conditions)
	what := strings.Join(conditions, ",")
	if len(conditions) == 0 {
		what = "(none)"
	}
	return name + separator + phase + separator + what, "the signature of the stack was " + strconv.Quote(r.Signature)
}

// watchdog takes thread 0 where a thread that watches the shutdown ended the program: thread 0 is what hung.
// (Siggen takes its own lists for that, whatever it was given.)
func watchdog(l *Lists, c *Crash, r *Result) (string, string) {
	if !strings.Contains(r.Signature, "RunWatchdog") {
		return r.Signature, ""
	}
	again := *c
	again.CrashingThread = new(int)
	r.Steps = r.Steps[:0] // they were about another thread
	l.fromStack(&again, r)
	return "shutdownhang | " + r.Signature, "thread 0 is what hung"
}

// channelError replaces the signature of a process that was ended since its channel to others failed.
func channelError(_ *Lists, c *Crash, r *Result) (string, string) {
	if c.IPCChannelError == "" {
		return r.Signature, ""
	}
	process := "content"
	if slices.Contains(c.AdditionalMinidumps, "upload_file_minidump_browser") {
		process = "browser"
	}
	failure := []rune(c.IPCChannelError)
	return "IPCError-" + process + separator + string(failure[:min(len(failure), 100)]), "the signature of the stack was " + strconv.Quote(r.Signature)
}

func messageName(_ *Lists, c *Crash, r *Result) (string, string) {
	if c.IPCMessageName == "" {
		return r.Signature, ""
	}
	return r.Signature + " | IPC_Message_Name=" + c.IPCMessageName, ""
}

// deep is how many frames a stack has only where something calls itself without end. Our own lists ask for
// it, since Linux and macOS have no reason for it; the walker stops at 1,024 frames.
const deep = 500

func stackOverflow(l *Lists, c *Crash, r *Result) (string, string) {
	thread, _ := c.crashing()
	if c.Reason != "EXCEPTION_STACK_OVERFLOW" && !(l.own && len(thread.Frames) >= deep) {
		return r.Signature, ""
	}
	return "stackoverflow | " + r.Signature, ""
}

func hang(_ *Lists, c *Crash, r *Result) (string, string) {
	if c.Hang == nil {
		return r.Signature, ""
	}
	return "hang: " + *c.Hang + separator + r.Signature, ""
}

func fixWhitespace(_ *Lists, _ *Crash, r *Result) (string, string) {
	return strings.Join(strings.Fields(r.Signature), " "), ""
}

// printable drops what is not printable ASCII. Unlike siggen's it never leaves an empty signature, and by our
// own lists a tab separates words before it is dropped.
func printable(l *Lists, _ *Crash, r *Result) (string, string) {
	before := strings.TrimSpace(r.Signature)
	if l.own {
		before = strings.Join(strings.Fields(before), " ")
	}
	after := ascii(before)
	switch {
	case strings.TrimSpace(after) == "":
		return "EMPTY: no printable characters", "unprintable characters removed"
	case after != before:
		return after, "unprintable characters removed"
	}
	return after, ""
}

func truncate(_ *Lists, _ *Crash, r *Result) (string, string) {
	if len(r.Signature) <= maxSignature {
		return r.Signature, ""
	}
	return ellipsis(r.Signature, maxSignature), "signature truncated due to length"
}

// ascii drops what is not printable ASCII.
func ascii(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
}

// ellipsis cuts ASCII text to at most limit characters.
func ellipsis(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit-len("...")] + "..."
}
