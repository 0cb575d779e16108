package signature

import "strings"

// rule turns one signature into the next, in view of the crash. The note is empty where there is nothing
// to say.
type rule struct {
	name  string
	apply func(c *Crash, signature string) (after, note string)
}

// rules run in this order behind the one that reads the stack (crash-pipeline.md §3.2, whose names they
// have). The last three make the signature fit to be stored and stay last.
var rules = []rule{
	{"StackwalkerErrorSignatureRule", walkerError},
	{"OOMSignature", outOfMemory},
	{"AbortSignature", abort},
	{"StackOverflowSignature", stackOverflow},
	{"SigFixWhitespace", fixWhitespace},
	{"SigPrintableCharsOnly", printable},
	{"SigTruncate", truncate},
}

// walkerError says of an empty stack what the stack walker had to say.
func walkerError(c *Crash, signature string) (string, string) {
	if !strings.HasPrefix(signature, "EMPTY") || c.WalkerStatus == "" {
		return signature, ""
	}
	return signature + "; " + c.WalkerStatus[:min(len(c.WalkerStatus), maxSignature)], ""
}

// smallAllocation is the size in bytes up to which it does not matter who asked: memory was just full.
const smallAllocation = 256 << 10

// outOfMemory replaces the signature where a small allocation failed, and marks it where a larger one
// did or the size is not known.
func outOfMemory(c *Crash, signature string) (string, string) {
	size := c.OOMAllocationSize
	if !(size != nil && *size != 0 || isOutOfMemory(c, signature)) {
		return signature, ""
	}
	switch {
	case size == nil:
		return "OOM | unknown | " + signature, ""
	case *size <= smallAllocation:
		return "OOM | small", ""
	}
	return "OOM | large | " + signature, ""
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
	return false
}

// abort puts the message of an abort before the signature, without where in the source it happened. A
// message of which nothing is left counts as none (siggen writes "Abort | | f").
func abort(c *Crash, signature string) (string, string) {
	const marker = "###!!! ABORT:"
	message := c.AbortMessage
	if message == "" {
		return signature, ""
	}
	if strings.Contains(message, marker+" file ") {
		message = "" // it says nothing but where
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
	if message == "" {
		return "Abort | " + signature, ""
	}
	return "Abort | " + ellipsis(message, 80) + separator + signature, ""
}

func stackOverflow(c *Crash, signature string) (string, string) {
	if c.Reason != "EXCEPTION_STACK_OVERFLOW" {
		return signature, ""
	}
	return "stackoverflow | " + signature, ""
}

func fixWhitespace(_ *Crash, signature string) (string, string) {
	return strings.Join(strings.Fields(signature), " "), ""
}

// printable drops what is not printable ASCII. Unlike siggen's it never leaves an empty signature, and it
// comes after fixWhitespace, so that a tab separates words before it is dropped.
func printable(_ *Crash, signature string) (string, string) {
	after := ascii(signature)
	if after == signature {
		return signature, ""
	}
	if after = strings.Join(strings.Fields(after), " "); after == "" {
		after = "EMPTY: no printable characters"
	}
	return after, "unprintable characters removed"
}

func truncate(_ *Crash, signature string) (string, string) {
	if len(signature) <= maxSignature {
		return signature, ""
	}
	return ellipsis(signature, maxSignature), "signature truncated due to length"
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
