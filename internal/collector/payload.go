package collector

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"unicode/utf8"

	"salvage/internal/crash"
	"salvage/internal/errs"
)

// malformed is why a submission cannot be read: the client is told Discarded=malformed_<reason>.
type malformed string

func (m malformed) Error() string { return "malformed submission: " + string(m) }
func (m malformed) Unwrap() error { return errs.Invalid }

// The reasons, in the order they are checked (crash-pipeline.md §1.2).
const (
	noContentType    malformed = "no_content_type"
	wrongContentType malformed = "wrong_content_type"
	noBoundary       malformed = "no_boundary"
	noContentLength  malformed = "no_content_length"
	badGzip          malformed = "bad_gzip"
	invalidPayload   malformed = "invalid_payload_structure"
	invalidJSON      malformed = "invalid_json"
	invalidJSONValue malformed = "invalid_json_value"
	invalidDumpName  malformed = "invalid_dump_name"
	noAnnotations    malformed = "no_annotations"
)

// payload is what came of reading a submission.
type payload struct {
	annotations map[string]any
	notes       []string
	sums        map[string]string // of dumps, by name
	isJSON      bool
	size        int64 // bytes received
}

// dumpWriter takes the bytes of one dump while they arrive. A second dump of a name replaces the first.
type dumpWriter func(name string) (io.Writer, error)

// boundary checks the headers that say how the body is to be read.
func boundary(h http.Header) (string, error) {
	value := h.Get("Content-Type")
	if value == "" {
		return "", noContentType
	}
	kind, rest, found := strings.Cut(value, ";")
	if kind = strings.TrimSpace(kind); kind != "multipart/form-data" && kind != "multipart/mixed" {
		return "", wrongContentType
	}
	b, isBoundary := strings.CutPrefix(strings.TrimSpace(rest), "boundary=")
	if !found || !isBoundary {
		return "", noBoundary
	}
	b, _, _ = strings.Cut(b, ";")
	b = strings.Trim(strings.TrimSpace(b), `"`)
	if b == "" || len(b) > 70 { // RFC 2046 5.1.1
		return "", noBoundary
	}
	return b, nil
}

// read reads a submission to its end, handing dumps on as they arrive. Whatever the error, what was handed
// on is to be thrown away.
func (o *Options) read(r *http.Request, dumps dumpWriter) (*payload, error) {
	b, err := boundary(r.Header)
	if err != nil {
		return nil, err
	}
	// Crashpad sends chunked, without a length; HTTP/2 need not have one. Only a request that is neither has
	// no body.
	if r.ContentLength == 0 {
		return nil, noContentLength
	}
	received := &counter{r: r.Body, left: o.maxBody}
	var body io.Reader = received
	if r.Header.Get("Content-Encoding") == "gzip" {
		body = &inflater{raw: received, left: o.maxInflated, ratio: o.maxRatio}
	}
	p := &payload{annotations: map[string]any{}, sums: map[string]string{}}
	end := &endFinder{r: body, pattern: []byte("--" + b + "--")}
	err = o.parts(p, multipart.NewReader(bufio.NewReader(end), b), dumps)
	if err == nil && !end.found {
		err = io.ErrUnexpectedEOF // multipart.Reader takes a part cut in its headers for the end
	}
	if err == nil {
		// What is behind the last part has no meaning, but a damaged end of a gzip stream shows only there.
		_, err = io.Copy(io.Discard, body)
	}
	p.size = received.n
	switch {
	case err == nil:
	case errors.Is(err, errs.TooLarge), errors.Is(err, errs.Unavailable), isMalformed(err):
		return nil, err
	case received.err != nil:
		return nil, fmt.Errorf("%w: %w", errs.Unavailable, received.err) // the connection broke
	case body != received && body.(*inflater).bad:
		return nil, badGzip
	default:
		return nil, invalidPayload // without the parser's words, which quote the submission
	}
	if len(p.annotations) == 0 {
		return nil, noAnnotations
	}
	return p, nil
}

func isMalformed(err error) bool {
	var m malformed
	return errors.As(err, &m)
}

func tooLarge(what string, limit int64) error {
	return errs.Public(errs.TooLarge, "%s over the limit of %d bytes.", what, limit)
}

// parts reads the parts of a form.
func (o *Options) parts(p *payload, form *multipart.Reader, dumps dumpWriter) error {
	left := o.maxAnnotations
	jsonParts, textParts := 0, 0
	for n := 0; ; n++ {
		part, err := form.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if n >= o.maxParts {
			return errs.Public(errs.TooLarge, "More than %d parts.", o.maxParts)
		}
		if e := part.Header.Get("Content-Transfer-Encoding"); e != "" && e != "binary" {
			return invalidPayload
		}
		name, isFile := disposition(part.Header)
		if name == "" {
			continue
		}
		kind := part.Header.Get("Content-Type")
		if kind == "" {
			kind = "text/plain"
		}
		switch {
		case strings.HasPrefix(kind, "application/json"):
			jsonParts++
			text, err := readText(part, &left)
			if err != nil {
				return err
			}
			// It replaces what came before: the format says that all annotations are in it.
			if p.annotations, err = decodeObject(text); err != nil {
				return err
			}
			p.isJSON = true
		case strings.HasPrefix(kind, "text/plain") && !isFile:
			textParts++
			text, err := readText(part, &left)
			if err != nil {
				return err
			}
			value, err := decodeText(text, kind)
			if err != nil { // the annotation goes, the crash stays
				p.notes = append(p.notes, "extract payload text part exception: "+err.Error())
				continue
			}
			p.annotations[name] = value
		default:
			if kind != "application/octet-stream" {
				p.notes = append(p.notes, fmt.Sprintf("unknown content type: %.100s %.100s", name, kind))
			}
			dump := crash.CleanDumpName(name)
			switch dump {
			case "dump_names", "processed_crash", "raw_crash":
				return invalidDumpName
			case "":
				dump = crash.MinidumpName // as Antenna stores it
			}
			w, err := dumps(dump)
			if err != nil {
				return err
			}
			sum := sha256.New()
			if _, err := io.Copy(io.MultiWriter(w, sum), part); err != nil {
				return err
			}
			p.sums[dump] = hex.EncodeToString(sum.Sum(nil))
		}
	}
	if jsonParts > 0 && textParts > 0 {
		p.notes = append(p.notes, "includes annotations in both json-encoded extra and formdata parts")
	}
	return nil
}

// disposition returns the name of a part, which clients also send without quotes, and whether it is a file.
func disposition(h textproto.MIMEHeader) (name string, isFile bool) {
	_, params, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	if err != nil {
		return "", false
	}
	_, isFile = params["filename"]
	return params["name"], isFile
}

func readText(r io.Reader, left *int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, *left+1))
	if err != nil {
		return nil, err
	}
	if *left -= int64(len(text)); *left < 0 {
		return nil, errs.Public(errs.TooLarge, "Annotations over the limit.")
	}
	return text, nil
}

func decodeObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, invalidJSON
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, invalidJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, invalidJSON
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalidJSONValue
	}
	return object, nil
}

// decodeText decodes an annotation by the charset of its part.
func decodeText(text []byte, kind string) (string, error) {
	charset := "utf-8"
	if _, params, err := mime.ParseMediaType(kind); err == nil && params["charset"] != "" {
		charset = strings.ToLower(params["charset"])
	}
	switch charset {
	case "utf-8", "utf8", "us-ascii", "ascii":
		if !utf8.Valid(text) {
			return "", errors.New("not valid UTF-8")
		}
		return string(text), nil
	case "iso-8859-1", "latin-1", "latin1":
		runes := make([]rune, len(text))
		for i, b := range text {
			runes[i] = rune(b)
		}
		return string(runes), nil
	}
	return "", fmt.Errorf("unknown charset %.40q", charset)
}

// endFinder looks for the delimiter that ends a form in what is read through it.
type endFinder struct {
	r       io.Reader
	pattern []byte
	tail    []byte // of what was read, shorter than pattern
	found   bool
}

func (e *endFinder) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	if e.found {
		return n, err
	}
	over := append(e.tail, b[:min(n, len(e.pattern)-1)]...)
	e.found = bytes.Contains(over, e.pattern) || bytes.Contains(b[:n], e.pattern)
	if n >= len(e.pattern)-1 {
		over = b[:n]
	}
	e.tail = append(e.tail[:0], over[max(0, len(over)-len(e.pattern)+1):]...)
	return n, err
}

// counter counts what a client sends and stops at the limit.
type counter struct {
	r       io.Reader
	n, left int64
	err     error // of the connection
}

func (c *counter) Read(b []byte) (int, error) {
	if c.left <= 0 {
		// One byte more than the limit is too much; the end exactly there is not.
		var one [1]byte
		if n, err := c.r.Read(one[:]); n == 0 && err == io.EOF {
			return 0, io.EOF
		}
		return 0, tooLarge("The body is", c.n)
	}
	n, err := c.r.Read(b[:min(int64(len(b)), c.left)])
	c.n += int64(n)
	c.left -= int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// inflater inflates a gzip body within limits: of its size, and of the ratio to what was received, which
// for real minidumps is under 100.
type inflater struct {
	raw   *counter
	zip   *gzip.Reader
	n     int64
	left  int64
	ratio int64
	bad   bool
}

func (i *inflater) Read(b []byte) (int, error) {
	if i.zip == nil {
		zip, err := gzip.NewReader(bufio.NewReader(i.raw))
		if err != nil {
			i.bad = i.raw.err == nil
			return 0, err
		}
		i.zip = zip
	}
	n, err := i.zip.Read(b)
	i.n += int64(n)
	if i.left -= int64(n); i.left < 0 || i.n > 1<<20 && i.n > i.ratio*i.raw.n {
		return 0, tooLarge("The inflated body is", i.n)
	}
	if err != nil && err != io.EOF {
		i.bad = i.raw.err == nil
	}
	return n, err
}
