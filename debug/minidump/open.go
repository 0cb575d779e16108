package minidump

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"salvage/debug"
	"salvage/debug/internal/inflate"
)

// maxLayers is how often a dump may be wrapped: the body of a compressed submission of a compressed dump
// has three layers.
const maxLayers = 4

// Open reads a dump under the default limits, as Limits.Open does.
func Open(data []byte) (*Dump, error) { return Limits{}.Open(data) }

// Open reads a dump that may be wrapped: compressed with gzip, Zstandard or xz, or in the multipart body
// (RFC 7578) that it was submitted with, or several of these. What a wrapping that is cut off holds is read, with
// a problem. The result aliases data, or what was inflated.
func (l Limits) Open(data []byte) (*Dump, error) {
	l = l.withDefaults()
	var problems []debug.Problem
	for range maxLayers {
		format := inflate.Format(data)
		switch {
		case format != "":
			out, err := inflate.File(data, l.Inflated)
			if err != nil {
				if len(out) == 0 || errors.Is(err, debug.ErrTooLarge) {
					return nil, err
				}
				kind := "bad record"
				if errors.Is(err, debug.ErrTruncated) {
					kind = "truncated"
				}
				problems = append(problems, debug.Problem{Where: format, Kind: kind, Detail: err.Error()})
			}
			data = out
			continue
		case bytes.HasPrefix(data, []byte("--")):
			part, whole := dumpPart(data)
			if part == nil {
				return nil, &debug.FormatError{Format: "multipart", Reason: "no part is a minidump"}
			}
			if !whole {
				problems = append(problems, debug.Problem{Where: "multipart", Kind: "truncated", Detail: fmt.Sprintf("no end after %d bytes of the dump", len(part))})
			}
			data = part
			continue
		}
		break
	}
	d, err := l.Parse(data)
	if err == nil {
		d.Problems = append(problems, d.Problems...)
	}
	return d, err
}

// dumpField is the name of the part that Breakpad's and Crashpad's clients put the dump in.
const dumpField = `name="upload_file_minidump"`

// dumpPart returns the content of the part of a multipart body that is the dump: the one of the usual name,
// else the first that begins like one. Whole: the body has what ends the part.
func dumpPart(body []byte) (part []byte, whole bool) {
	line, rest, _ := bytes.Cut(body, []byte("\n"))
	boundary := bytes.TrimRight(line, "\r \t")
	if len(boundary) < 3 || len(boundary) > 72 { // of 1 to 70 characters (RFC 2046)
		return nil, false
	}
	end := append([]byte("\n"), boundary...)
	for len(rest) > 0 {
		headers, content, ok := cutHeaders(rest)
		if !ok {
			break
		}
		content, rest, ok = bytes.Cut(content, end)
		if ok {
			content = bytes.TrimSuffix(content, []byte("\r"))
		}
		if strings.Contains(headers, dumpField) {
			return content, ok
		}
		if part == nil && (inflate.Format(content) != "" || bytes.HasPrefix(content, []byte("MDMP")) || bytes.HasPrefix(content, []byte("PMDM"))) {
			part, whole = content, ok
		}
		if bytes.HasPrefix(rest, []byte("--")) {
			break
		}
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
	}
	return part, whole
}

// maxHeaders bounds the headers of a part.
const maxHeaders = 16 << 10

// cutHeaders parts the headers of a part from its content, at the first empty line.
func cutHeaders(part []byte) (headers string, content []byte, ok bool) {
	for at := 0; at < min(len(part), maxHeaders); {
		line, _, _ := bytes.Cut(part[at:], []byte("\n"))
		start := at
		at = min(at+len(line)+1, len(part))
		if len(bytes.TrimRight(line, "\r")) == 0 {
			return string(part[:start]), part[at:], true
		}
	}
	return "", nil, false
}
