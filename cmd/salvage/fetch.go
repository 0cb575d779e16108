package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/internal/errs"
)

// symbolServers are servers with Tecken's paths, and the folder for what comes from them, which is laid out as
// they are and may be shared with minidump-stackwalk.
type symbolServers struct {
	urls       []*url.URL // the first that has a file gives it
	cache, tmp string
	timeout    time.Duration // of a file
	limit      int64         // bytes of a file
	log        *walkLog

	mu    sync.Mutex
	files map[string]*fetched // by path below a server
}

// fetched is the answer to whoever asked first for a file; the others wait for it.
type fetched struct {
	once   sync.Once
	file   debugFile
	cached string // path in the cache, if it was there
	err    error  // of kind errs.NotFound if no server has it
}

const (
	// maxFetches bounds the files that are fetched at once: one for each thread that is walked.
	maxFetches = 16
	// maxFetched bounds a file; the largest known have 1.5 GB.
	maxFetched = 8 << 30
	infoPrefix = "INFO URL "
)

// get returns the .sym file of a module, from the cache, where it is then, or from a server. It is asked for once in a
// process.
func (s *symbolServers) get(p *fileProvider, m *minidump.Module, name string, id debugid.ID) (f debugFile, cached string, err error) {
	path := []string{name, id.Breakpad(), symName(name)}
	key := strings.Join(path, "/")
	s.mu.Lock()
	got := s.files[key]
	if got == nil {
		got = new(fetched)
		s.files[key] = got
	}
	s.mu.Unlock()
	got.once.Do(func() {
		cached := filepath.Join(s.cache, filepath.Join(path...))
		if got.file, got.err = p.open(cached, id); got.err == nil {
			got.cached = cached
			s.log.say("debug", "symbols of %s are in the cache", name)
			return
		}
		if !errors.Is(got.err, errs.NotFound) { // a file that cannot be used is told of, unless a server has a better one
			s.log.say("warn", "the cache has something else: %v", got.err)
		}
		query := "?code_file=" + url.QueryEscape(leafName(m.Name)) + "&code_id=" + url.QueryEscape(string(m.CodeID))
		for _, server := range s.urls {
			from := server.JoinPath(url.PathEscape(path[0]), path[1], url.PathEscape(path[2])).String() + query
			var err error
			if got.file, err = s.fetch(p, from, cached, id); err == nil {
				got.err = nil
				s.log.say("info", "symbols of %s came from %s", name, from)
				return
			}
			s.log.say("warn", "%v", err)
			if !errors.Is(err, errs.NotFound) {
				got.err = err
			}
		}
	})
	return got.file, got.cached, got.err
}

// fetch gets a file and moves it into the cache. A cache that cannot be written to is no failure.
func (s *symbolServers) fetch(p *fileProvider, from, cached string, id debugid.ID) (debugFile, error) {
	ctx, cancel := context.WithTimeout(p.ctx, s.timeout)
	defer cancel()
	res, err := ask(ctx, http.DefaultClient, from, "salvage")
	if err != nil {
		return debugFile{}, err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return debugFile{}, errs.Public(errs.NotFound, "%s: %s", from, res.Status)
	}
	_ = os.MkdirAll(s.tmp, 0o755)
	tmp, err := os.CreateTemp(s.tmp, "salvage-*.sym")
	if err != nil {
		return debugFile{}, err
	}
	kept := false
	defer func() {
		tmp.Close()
		if !kept {
			os.Remove(tmp.Name())
		}
	}()
	end := &lastByte{w: tmp}
	if err := receive(end, res.Body, from, s.limit); err != nil {
		return debugFile{}, err
	}
	line := infoPrefix + from + "\n"
	if end.last != '\n' {
		line = "\n" + line
	}
	if _, err := tmp.WriteString(line); err != nil {
		return debugFile{}, err
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Close()); err != nil {
		return debugFile{}, err
	}
	f, err := p.open(tmp.Name(), id)
	if err != nil {
		return debugFile{}, fmt.Errorf("%s: %w", from, err)
	}
	// On Windows an open file can neither be moved nor removed; there it stays until the system tidies up.
	if err := errors.Join(os.MkdirAll(filepath.Dir(cached), 0o755), os.Rename(tmp.Name(), cached)); err != nil {
		s.log.say("warn", "symbols are not kept: %v", err)
	} else {
		kept = true
	}
	return f, nil
}

// receive copies what a server sends, up to a limit.
func receive(w io.Writer, body io.Reader, from string, limit int64) error {
	switch n, err := io.Copy(w, io.LimitReader(body, limit+1)); {
	case err != nil:
		return errs.Public(errs.Unavailable, "%s: %v", from, err)
	case n > limit:
		return errs.Public(errs.TooLarge, "%s: larger than %s", from, bytesText(limit))
	}
	return nil
}

// lastByte remembers the last byte that was written.
type lastByte struct {
	w    io.Writer
	last byte
}

func (l *lastByte) Write(b []byte) (int, error) {
	if len(b) > 0 {
		l.last = b[len(b)-1]
	}
	return l.w.Write(b)
}

func ask(ctx context.Context, client *http.Client, from, agent string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", from, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", agent)
	res, err := client.Do(r)
	if err != nil {
		return nil, errs.Public(errs.Unavailable, "%v", err)
	}
	return res, nil
}

// identify asks the servers for the debug file and id of a module of which the dump tells the code id only. Tecken
// answers /<code file>/<CODEID>/<code file without .dll>.sym with where the symbols are.
func (s *symbolServers) identify(ctx context.Context, m *minidump.Module) (name string, id debugid.ID) {
	leaf := leafName(m.Name)
	if m.CodeID == "" || !nameOfFile(leaf) {
		return "", id
	}
	base := leaf
	if n := len(leaf) - len(".dll"); n > 0 && strings.EqualFold(leaf[n:], ".dll") {
		base = leaf[:n]
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for _, server := range s.urls {
		from := server.JoinPath(url.PathEscape(leaf), url.PathEscape(strings.ToUpper(string(m.CodeID))), url.PathEscape(base+".sym")).String()
		res, err := ask(ctx, client, from, "salvage")
		if err != nil {
			s.log.say("warn", "%v", err)
			continue
		}
		res.Body.Close()
		to, err := res.Location()
		if err != nil || res.StatusCode != http.StatusMovedPermanently && res.StatusCode != http.StatusFound {
			continue
		}
		parts := strings.Split(to.Path, "/")
		if len(parts) < 4 {
			continue
		}
		parts = parts[len(parts)-3:]
		if id, err := debugid.Parse(parts[1]); err == nil && !id.IsZero() && nameOfFile(parts[0]) && parts[2] == symName(parts[0]) {
			return parts[0], id
		}
		s.log.say("warn", "%s: leads to %s, which has no debug id", from, to)
	}
	return "", id
}

// infoURL returns where a .sym file came from: the line that was appended to it.
func infoURL(data []byte) string {
	data = bytes.TrimRight(data[max(0, len(data)-16<<10):], "\r\n")
	from, ok := bytes.CutPrefix(data[bytes.LastIndexByte(data, '\n')+1:], []byte(infoPrefix))
	if !ok {
		return ""
	}
	return string(from)
}

// walkLog writes what minidump-stackwalk would log: a line for each message of a level or a worse one.
type walkLog struct {
	level int
	mu    sync.Mutex
	w     io.Writer
}

var logLevels = []string{"off", "error", "warn", "info", "debug", "trace"}

func (l *walkLog) say(level, format string, args ...any) {
	if slices.Index(logLevels, level) > l.level {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' {
			return '\uFFFD' // names are of dumps
		}
		return r
	}, fmt.Sprintf(format, args...))
	fmt.Fprintf(l.w, "%5s %s\n", strings.ToUpper(level), text)
}
