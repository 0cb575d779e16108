package blob

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"salvage/internal/errs"
)

// Limits of keys, in bytes as CheckKey counts them. A segment, escaped and with the marks of its case,
// fits into a file name of 255 bytes; a key fits into the 1024 bytes that S3 has for one.
const (
	MaxSegment = 200
	MaxKey     = 1000
)

// CheckKey returns an Invalid error unless key can name an object in every engine: segments with "/"
// between, none empty, "." or "..", UTF-8 without control characters and backslashes, within the
// limits. A byte that is not Plain counts three times. Case matters: a and A are two keys. One key may
// be the start of another: a and a/b can both be objects.
func CheckKey(key string) error {
	bad := func(reason string) error { return fmt.Errorf("%w: key %.80q %s", errs.Invalid, key, reason) }
	if len(key) > MaxKey {
		return bad("is too long")
	}
	if !utf8.ValidString(key) {
		return bad("is not UTF-8")
	}
	if strings.ContainsRune(key, '\\') || strings.ContainsFunc(key, unicode.IsControl) {
		return bad("has a backslash or a control character")
	}
	total := 0
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return bad("has an empty segment, . or ..")
		}
		n := len(segment)
		for i := range len(segment) {
			if !Plain(segment[i]) {
				n += 2
			}
		}
		total += n + 1
		if n > MaxSegment || total-1 > MaxKey {
			return bad("is too long")
		}
	}
	return nil
}

// checkPrefix returns an Invalid error if no key starts with prefix.
func checkPrefix(prefix string) error {
	if prefix == "" || CheckKey(prefix) == nil {
		return nil
	}
	return CheckKey(prefix + "x") // "a/" and "." are no keys, yet keys start with them
}

// Plain reports whether c needs no escaping in the file name of any system.
func Plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(" !#$&'()+,-.@[]^_{}", c) >= 0
}
