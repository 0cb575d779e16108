package symstore

import (
	"cmp"
	"database/sql"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"salvage/debug/debugid"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/internal/metadb"
)

// downloadTime is how long the transfer of one file may take.
const downloadTime = time.Hour

func (s *Store) serveDownload(w http.ResponseWriter, r *http.Request) error {
	return s.download(w, r, r.PathValue("file"), r.PathValue("id"), r.PathValue("name"))
}

// Download answers GET and HEAD of /{file}/{id}/{name}, also below /symbols/ and /try/, where the id looks
// like one; of other requests it reports that they are not its. It is for the handler of "GET /".
func (s *Store) Download(w http.ResponseWriter, r *http.Request) (handled bool, err error) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if len(parts) == 4 && (parts[0] == "try" || parts[0] == "symbols") {
		parts = parts[1:]
	}
	if len(parts) != 3 || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false, nil
	}
	for i, p := range parts {
		if parts[i], err = url.PathUnescape(p); err != nil || parts[i] == "" {
			return false, nil
		}
	}
	if !isHex(parts[1]) {
		return false, nil
	}
	return true, s.download(w, r, parts[0], parts[1], parts[2])
}

// download answers with a file: the bytes, where Tecken redirects to its storage. A .sym file that is asked
// for by a code id is a redirect all the same: rust-minidump learns the debug id from its Location.
func (s *Store) download(w http.ResponseWriter, r *http.Request, file, id, name string) error {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	row, byCode, err := s.find(r, file, id, name)
	if errors.Is(err, errs.NotFound) {
		return s.miss(w)
	}
	if err != nil {
		return err
	}
	if byCode && formOf(row) == formSym {
		s.downloads.With("redirect").Inc()
		prefix := "/"
		for _, p := range []string{"/try/", "/symbols/"} {
			if path := r.URL.Path; strings.HasPrefix(path, p) && strings.Count(path, "/") > 3 {
				prefix = p
			}
		}
		to := url.URL{Path: prefix + row.DebugFile + "/" + row.DebugID + "/" + row.Name, RawQuery: r.URL.RawQuery}
		h.Set("Location", to.EscapedPath()+query(to.RawQuery))
		w.WriteHeader(http.StatusFound)
		return nil
	}
	etag := `"` + row.SHA256 + `"`
	h.Set("ETag", etag)
	if slices.ContainsFunc(strings.Split(r.Header.Get("If-None-Match"), ","), func(t string) bool {
		return strings.TrimPrefix(strings.TrimSpace(t), "W/") == etag
	}) {
		s.downloads.With("same").Inc()
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	body, info, err := s.Blobs.Get(r.Context(), row.Key)
	if errors.Is(err, errs.NotFound) {
		s.Log.Error("a symbol file is lost", "key", row.Key)
		h.Del("ETag")
		return s.miss(w)
	}
	if err != nil {
		return err
	}
	defer body.Close()
	s.downloads.With("hit").Inc()
	kind := "application/octet-stream"
	if formOf(row) == formSym {
		kind = "text/plain; charset=utf-8"
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": row.Name}))
	h.Set("Content-Length", strconv.FormatInt(info.Size, 10))
	if r.Method == http.MethodHead {
		return nil
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(downloadTime))
	_, err = io.Copy(w, body)
	return err
}

func query(raw string) string {
	if raw == "" {
		return ""
	}
	return "?" + raw
}

// miss answers as Tecken does: dump_syms looks at the text.
func (s *Store) miss(w http.ResponseWriter) error {
	s.downloads.With("miss").Inc()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusNotFound)
	_, err := io.WriteString(w, "Symbol Not Found")
	return err
}

// form is what is asked for by the end of a name.
type form uint8

const (
	formOther form = iota // a .pd_, a file.ptr: only what has the very name will do
	formImage
	formDebug
	formSym
)

func formOf(row *metadb.Symbol) form {
	switch {
	case row.Format == "pe": // which lies beside its PDB
		return formOther
	case row.Name == row.DebugFile:
		return formImage
	case row.Name == row.DebugFile+".dbg":
		return formDebug
	}
	return formSym
}

// find returns the original that a request means: of all with the debug id, or else the code id, those of the
// form that the name has; of these the one whose names are the request's, or the newest.
func (s *Store) find(r *http.Request, file, id, name string) (found *metadb.Symbol, byCode bool, err error) {
	if !isHex(id) {
		return nil, false, errs.NotFound
	}
	var rows []metadb.Symbol
	err = s.DB.View(r.Context(), func(tx *sql.Tx) (err error) {
		rows, byCode = nil, false
		if id, err := debugid.Parse(id); err == nil && !id.IsZero() {
			if rows, err = metadb.SymbolsByDebugID(r.Context(), tx, id.Breakpad()); err != nil {
				return err
			}
		}
		if len(rows) == 0 {
			byCode = true
			rows, err = metadb.SymbolsByCodeID(r.Context(), tx, string(debugid.ParseCodeID(id)))
		}
		return err
	})
	if err != nil {
		return nil, false, err
	}
	want := formOther
	switch low := strings.ToLower(name); {
	case name == file:
		want = formImage
	case strings.HasSuffix(low, ".sym"):
		want = formSym
	case strings.HasSuffix(low, ".dbg"), strings.HasSuffix(low, ".debug"):
		want = formDebug
	}
	named := func(row *metadb.Symbol) int { // how well the names fit
		switch {
		case row.Name == name:
			return 2
		case row.DebugFile == file || row.CodeFile == file:
			return 1
		}
		return 0
	}
	rows = slices.DeleteFunc(rows, func(row metadb.Symbol) bool { return row.Name != name && formOf(&row) != want })
	if len(rows) == 0 {
		return nil, false, errs.NotFound
	}
	best := slices.MinFunc(rows, func(a, b metadb.Symbol) int {
		return cmp.Or(cmp.Compare(named(&b), named(&a)), b.Uploaded.Compare(a.Uploaded), cmp.Compare(a.Key, b.Key))
	})
	return &best, byCode, nil
}

// Most and default number of files in one answer of serveSymbols.
const (
	maxListed     = 1000
	defaultListed = 100
)

// listed is a file in the answer of serveSymbols.
type listed struct {
	Key       string    `json:"key"`
	DebugFile string    `json:"debug_file"`
	DebugID   string    `json:"debug_id"`
	CodeFile  string    `json:"code_file"`
	CodeID    string    `json:"code_id"`
	Name      string    `json:"name"`
	Format    string    `json:"format"`
	Arch      string    `json:"arch"`
	Size      int64     `json:"size"`
	SHA256    string    `json:"sha256"`
	Uploaded  time.Time `json:"uploaded"`
}

// serveSymbols lists the files whose name or id contains q, the latest first.
func (s *Store) serveSymbols(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Gate.Read(w, r); err != nil {
		return err
	}
	q := r.URL.Query()
	limit := defaultListed
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxListed {
			return errs.Public(errs.Invalid, "The parameter limit is a number from 1 to %d.", maxListed)
		}
		limit = n
	}
	answer := struct {
		Symbols []listed `json:"symbols"`
	}{[]listed{}}
	err := s.DB.View(r.Context(), func(tx *sql.Tx) error {
		answer.Symbols = answer.Symbols[:0]
		rows, err := metadb.RecentSymbols(r.Context(), tx, clip(q.Get("q"), 1000), limit)
		for _, o := range rows {
			answer.Symbols = append(answer.Symbols, listed{o.Key, o.DebugFile, o.DebugID, o.CodeFile, o.CodeID, o.Name, o.Format, o.Arch, o.Size, o.SHA256, o.Uploaded.UTC()})
		}
		return err
	})
	if err != nil {
		return err
	}
	return httpserver.WriteJSON(w, http.StatusOK, answer)
}
