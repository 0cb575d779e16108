package symstore

import (
	"archive/zip"
	"errors"
	"io"
	"log/slog"
	"math"
	"mime/multipart"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"salvage/internal/access"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
)

// maxDrain is how much of a body is read before a refusal, in bytes: a client that still sends may miss the
// answer otherwise.
const maxDrain = 64 << 20

func drain(r *http.Request) {
	if r.Header.Get("Expect") == "" { // else it waits for the answer before it sends
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
	}
}

// servePut takes one file. The query parameters debug_id and debug_file say what the client believes it is.
func (s *Store) servePut(w http.ResponseWriter, r *http.Request) error {
	who, err := s.Gate.Write(r, access.UploadSymbols)
	if err != nil {
		drain(r)
		return err
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "gzip" && e != "identity" {
		return errs.Public(errs.Unsupported, "The content encoding %.40q is not understood, only gzip.", e)
	}
	q := r.URL.Query()
	res, err := s.Put(r.Context(), r.Body, PutInfo{Name: r.PathValue("name"), DebugFile: q.Get("debug_file"), DebugID: q.Get("debug_id"), Uploader: who.Name})
	if err != nil {
		return err
	}
	httpserver.AddLog(r.Context(), slog.String("key", res.Key), slog.String("result", res.Status))
	status := http.StatusCreated
	if res.Status == exists || res.Status == kept {
		status = http.StatusOK
	}
	return httpserver.WriteJSON(w, status, res)
}

// archiveAnswer is Tecken's answer to an upload (symbols-server.md §2.3.7).
type archiveAnswer struct {
	Upload archiveUpload `json:"upload"`
}

type archiveUpload struct {
	ID           int64     `json:"id"` // here: when it began, in milliseconds
	Size         int64     `json:"size"`
	Filename     string    `json:"filename"`
	Bucket       string    `json:"bucket"`
	DownloadURL  *string   `json:"download_url"`
	TrySymbols   bool      `json:"try_symbols"`
	RedirectURLs []string  `json:"redirect_urls"`
	CompletedAt  string    `json:"completed_at"`
	CreatedAt    string    `json:"created_at"`
	User         string    `json:"user"`
	SkippedKeys  []string  `json:"skipped_keys"`
	RefusedKeys  []refusal `json:"refused_keys"` // ours
}

// refusal is a file of an archive that was of no use.
type refusal struct {
	Key   string `json:"key"`
	Error string `json:"error"`
}

// teckenTime has milliseconds, as JSON in Django.
const teckenTime = "2006-01-02T15:04:05.000Z"

// serveArchive takes a zip archive of files in the order of Tecken's checks and with its texts, which
// clients show. A file in it that is of no use is named in the answer and does not spoil the rest, unless
// nothing else is in it.
func (s *Store) serveArchive(w http.ResponseWriter, r *http.Request) error {
	began := s.Now()
	who, err := s.Gate.Write(r, access.UploadSymbols)
	if err != nil {
		drain(r)
		return s.teckenDenied(r, err)
	}
	name, body, err := archivePart(r)
	if err != nil {
		return err
	}
	f, err := s.copy(body)
	if err != nil {
		if errs.KindOf(err) == errs.Internal { // of the form, as no other error is without a kind
			err = errs.Public(errs.Invalid, "The form is malformed or cut off.")
		}
		return err
	}
	defer f.remove()
	answer := archiveUpload{
		ID: began.UnixMilli(), Size: f.size, Filename: name, RedirectURLs: []string{}, CreatedAt: began.UTC().Format(teckenTime), User: who.Name,
		SkippedKeys: []string{}, RefusedKeys: []refusal{},
	}
	entries, err := s.Options.entries(f)
	if err != nil {
		return err
	}
	left := s.Options.maxArchive
	if m := s.Options.maxInflation; f.size < (math.MaxInt64-ratioFrom)/m {
		left = min(left, f.size*m+ratioFrom)
	}
	for _, e := range entries {
		status, err := s.putEntry(r, e, who.Name, &left)
		switch {
		case err == nil && (status == exists || status == kept):
			answer.SkippedKeys = append(answer.SkippedKeys, e.Name)
		case err == nil:
		case refused(err) && !errors.Is(err, errs.TooLarge) && !errors.Is(err, errArchive):
			answer.RefusedKeys = append(answer.RefusedKeys, refusal{e.Name, errs.Sentence(err)})
		default:
			return err
		}
	}
	if n := len(answer.RefusedKeys); n > 0 && n == len(entries) {
		return errs.Public(errs.Invalid, "%s: %s", answer.RefusedKeys[0].Key, answer.RefusedKeys[0].Error)
	}
	httpserver.AddLog(r.Context(), slog.Int("files", len(entries)), slog.Int("skipped", len(answer.SkippedKeys)), slog.Int("refused", len(answer.RefusedKeys)))
	answer.CompletedAt = s.Now().UTC().Format(teckenTime)
	return httpserver.WriteJSON(w, http.StatusCreated, archiveAnswer{answer})
}

// teckenDenied words a refusal as Tecken's clients know it.
func (s *Store) teckenDenied(r *http.Request, err error) error {
	who, problem := s.Gate.FromRequest(r)
	switch {
	case !errors.Is(err, errs.Denied):
		return err
	case problem != nil && errs.Sentence(problem) == "This token is not known.":
		return errs.Public(errs.Denied, "API Token not matched")
	case problem != nil: // expired, revoked
		return problem
	case who == access.Anonymous:
		return errs.Public(errs.Denied, "This requires an Auth-Token to authenticate the request")
	case !who.Can(access.UploadSymbols):
		return errs.Public(errs.Denied, "Forbidden")
	}
	return err
}

// archivePart returns the first file of a form. Its name is that of the form's field, as Tecken has it.
func archivePart(r *http.Request) (name string, body io.Reader, err error) {
	none := errs.Public(errs.Invalid, "Must be multipart form data with at least one file")
	form, err := r.MultipartReader()
	if err != nil {
		return "", nil, none
	}
	for {
		var part *multipart.Part
		part, err = form.NextRawPart()
		switch {
		case err == io.EOF:
			return "", nil, none
		case errs.KindOf(err) == errs.Internal:
			return "", nil, errs.Public(errs.Invalid, "The form is malformed or cut off.")
		case err != nil:
			return "", nil, err
		}
		if part.FileName() == "" {
			if part.FormName() == "url" {
				return "", nil, errs.Public(errs.Invalid, "Uploads by URL are not taken here.")
			}
			continue
		}
		if name = part.FormName(); !strings.EqualFold(path.Ext(name), ".zip") {
			return "", nil, errs.Public(errs.Invalid, "Unrecognized archive file extension \"%.40s\"", path.Ext(name))
		}
		return name, part, nil
	}
}

// errArchive: an archive that cannot be read to its end.
var errArchive = errs.Public(errs.Invalid, "The zip file is damaged.")

// listBytes bounds the list at the end of an archive, which is read into memory: longest names and all, an
// entry has a few hundred bytes in it.
const listBytes = 1 << 10

// entries returns the symbol files of an archive, without those that Tecken ignores. It refuses the whole for
// a name that is none of a symbol file.
func (o *Options) entries(f *scratch) (all []*zip.File, err error) {
	list := &boundedReader{f, int64(o.maxEntries)*listBytes + 1<<20}
	z, err := zip.NewReader(list, f.size)
	switch {
	case errors.Is(err, errs.TooLarge) || err == nil && len(z.File) > o.maxEntries:
		return nil, errs.Public(errs.TooLarge, "The archive has more than %d files.", o.maxEntries)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // of names we think ourselves
		return nil, errs.Public(errs.Invalid, "File is not a zip file")
	}
	list.left = math.MaxInt64
	sizes := map[string]uint64{}
	for _, e := range z.File {
		size, twice := sizes[e.Name]
		if twice && size != e.UncompressedSize64 {
			return nil, errs.Public(errs.Invalid, "The zipfile buffer contains two files both called %.200s and they have difference sizes (%d != %d)", e.Name, e.UncompressedSize64, size)
		}
		sizes[e.Name] = e.UncompressedSize64
		ok, ignored := checkEntry(e.Name)
		if !ok {
			return nil, errs.Public(errs.Invalid, "Unrecognized file pattern. Should only be <module>/<hex>/<file> or <name>-symbols.txt and nothing else. (First unrecognized pattern was '%.200s')", strings.ToValidUTF8(e.Name, "\ufffd"))
		}
		if !twice && !ignored {
			all = append(all, e)
		}
	}
	return all, nil
}

// checkEntry reports whether name is <module>/<hex>/<file> or, beyond Tecken, <file> alone, and whether it is
// ignored: folders, the list of files that builds add, and what macOS leaves behind.
func checkEntry(name string) (ok, ignored bool) {
	folder := strings.HasSuffix(name, "/")
	parts := strings.Split(strings.TrimSuffix(name, "/"), "/")
	if !utf8.ValidString(name) || strings.ContainsRune(name, '\\') || strings.ContainsFunc(name, unicode.IsControl) ||
		slices.ContainsFunc(parts, func(p string) bool { return p == "" || p == "." || p == ".." }) {
		return false, false
	}
	switch base := parts[len(parts)-1]; {
	case folder, base == ".DS_Store":
		return true, true
	case len(parts) == 1, len(parts) == 3 && isHex(parts[1]) && !strings.Contains(parts[1], "-"):
		return true, strings.HasSuffix(strings.ToLower(base), "-symbols.txt")
	}
	return false, false
}

// putEntry stores one file of an archive.
func (s *Store) putEntry(r *http.Request, e *zip.File, uploader string, left *int64) (status string, err error) {
	defer errs.Wrap(&err, "%.200q", e.Name)
	var body io.ReadCloser
	if e.Flags&1 == 0 { // of bit 0: not encrypted
		body, err = e.Open()
	}
	if body == nil && (err == nil || errors.Is(err, zip.ErrAlgorithm)) {
		return "", errs.Public(errs.Unsupported, "The file is encrypted in the archive, or compressed in a way that is not understood.")
	}
	if err != nil {
		return "", errArchive
	}
	defer body.Close()
	info := PutInfo{Name: path.Base(e.Name), Uploader: uploader}
	if parts := strings.Split(e.Name, "/"); len(parts) == 3 {
		info.DebugFile, info.DebugID = parts[0], parts[1]
	}
	limit := min(*left, s.Options.maxFile)
	before := limit
	res, err := s.put(r.Context(), entry{body}, info, &limit)
	*left -= before - limit
	return res.Status, err
}

// entry is a file in an archive whose errors have a kind.
type entry struct{ io.Reader }

func (e entry) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = errArchive
	}
	return n, err
}

// boundedReader reads so much and no more.
type boundedReader struct {
	r    io.ReaderAt
	left int64
}

func (b *boundedReader) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, errs.TooLarge
	}
	return b.r.ReadAt(p, at)
}
