package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"time"

	"salvage/internal/errs"
)

//go:embed static/*
var static embed.FS

// staticVersion changes with any of the static files.
func staticVersion() string {
	h := sha256.New()
	entries, _ := static.ReadDir("static") // of an embedded folder: sorted, never fails
	for _, e := range entries {
		data, _ := static.ReadFile("static/" + e.Name())
		sum := sha256.Sum256(data)
		h.Write(append(sum[:], e.Name()...))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

var contentTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

// serveStatic serves the files of this version forever, and to pages of another one, while servers are
// being replaced, those at hand.
func (s *Web) serveStatic(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	kind, ok := contentTypes[path.Ext(name)]
	data, err := static.ReadFile("static/" + name) // which refuses what is no plain path
	if err != nil || !ok {
		return errs.NotFound
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache")
	if r.PathValue("version") == s.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
	return nil
}
