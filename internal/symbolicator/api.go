package symbolicator

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"salvage/config"
	"salvage/debug/debugid"
	"salvage/debug/demangle"
	"salvage/debug/symcache"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
)

// Options of the requests.
type Options struct {
	maxBody  int64
	maxJobs  int
	requests int
}

// Options implements config.Component.
func (o *Options) Options(s *config.Spec) {
	config.Var(s, &o.maxBody, "max_body", config.Bytes, config.Default("32MiB"), config.Doc("Largest body of a request to symbolicate."))
	config.Var(s, &o.maxJobs, "max_jobs", config.Int, config.Default("10"), config.Doc("Most jobs of a request to symbolicate."))
	config.Var(s, &o.requests, "requests", config.Int, config.Default("32"), config.Doc("Requests to symbolicate that are answered at once; more are refused, to be sent again later."))
}

// Install adds the routes of the symbolication API (symbols-server.md §3). Anybody may ask, pages of other
// sites too.
func (s *Symbolicator) Install(handle func(pattern string, h http.Handler)) {
	limit := httpserver.Limit(httpserver.Limits{
		Name: "symbolicate", Body: s.Options.maxBody, Bytes: 4 * s.Options.maxBody, Read: time.Minute, Write: 5 * time.Minute, Requests: s.Options.requests,
	})
	for pattern, v := range map[string]func([]byte, *Session, []job) []byte{"/symbolicate/v5": answerV5, "/symbolicate/v4": answerV4} {
		maxJobs := s.Options.maxJobs
		if pattern == "/symbolicate/v4" {
			maxJobs = 1
		}
		h := httpserver.CrossOrigin(limit(httpserver.JSON(func(w http.ResponseWriter, r *http.Request) error { return s.serve(w, r, maxJobs, v) })))
		handle("POST "+pattern, h) // client: Firefox Profiler, Crash Stats, samply
		handle("OPTIONS "+pattern, h)
		handle("GET "+pattern, h)
	}
}

// buffers hold answers until they are sent.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxBuffer = 1 << 20 // larger ones are not kept

// serve answers a request. Mistakes in it are answered as Eliot does, {"title": text}.
func (s *Symbolicator) serve(w http.ResponseWriter, r *http.Request, maxJobs int, answer func([]byte, *Session, []job) []byte) error {
	if r.Header.Get("Origin") != "" {
		w.Header().Set("Access-Control-Allow-Origin", "*")
	}
	switch r.Method {
	case http.MethodOptions:
		return preflight(w, r)
	case http.MethodGet, http.MethodHead: // as a route without methods would, were there no "GET /"
		w.Header().Set("Allow", "POST, OPTIONS")
		return httpserver.WriteJSON(w, http.StatusMethodNotAllowed, map[string]string{"title": "405 Method Not Allowed"})
	}
	body, err := io.ReadAll(r.Body) // whatever its content type
	if err != nil {
		return err
	}
	jobs, err := parseRequest(body, maxJobs)
	if errors.Is(err, errs.Invalid) {
		return httpserver.WriteJSON(w, http.StatusBadRequest, map[string]string{"title": errs.Sentence(err)})
	}
	if err != nil {
		return err
	}
	if len(jobs) == 0 && maxJobs == 1 {
		return httpserver.WriteJSON(w, http.StatusBadRequest, map[string]string{"title": "job 0 is invalid"})
	}
	p := s.Session(r.Context())
	defer p.Close()
	buf := buffers.Get().(*[]byte)
	text := answer((*buf)[:0], p, jobs)
	if cap(text) <= maxBuffer {
		defer func() { *buf = text; buffers.Put(buf) }()
	}
	if err := r.Context().Err(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, err = w.Write(text)
	return err
}

// lookup is what the request's frames find in a module.
type lookup struct {
	library
	name   string // of the module: its symbols', else as sent
	half   *half
	err    error // why there are no names; nil where nobody asked
	asked  bool
	texts  map[int64][2]int // of offsets that were written before: the text behind the frame's number, from and to
	frames []symcache.Frame // the last found ones
}

// lookups finds the modules of all jobs; those with the same spelling are one.
func lookups(p *Session, jobs []job) map[library]*lookup {
	all := map[library]*lookup{}
	for _, j := range jobs {
		for _, m := range j.modules {
			if all[m] == nil {
				all[m] = &lookup{library: m, name: m.name, texts: map[int64][2]int{}}
			}
		}
		for _, stack := range j.stacks {
			for _, a := range stack {
				if a.module >= 0 {
					all[j.modules[a.module]].asked = true
				}
			}
		}
	}
	for m, l := range all {
		if m.name == "" || m.id == "" {
			l.asked = false
		}
		if !l.asked {
			continue
		}
		id, err := debugid.Parse(m.id)
		if err != nil || id.IsZero() {
			l.err = errs.Public(errs.Invalid, "%q is no debug id", m.id)
			continue
		}
		l.half = p.names(id)
		l.err = l.half.err
		if c := l.half.table.names; c != nil && c.Module().Name != "" {
			l.name = c.Module().Name
		}
	}
	return all
}

// maxOffset is behind every module; a public symbol may reach to the end of the address space.
const maxOffset = 1 << 40

// find returns what is at an offset, innermost first; nothing where nothing is known. The frames hold until
// the next call.
func (l *lookup) find(offset int64) (*symcache.Cache, []symcache.Frame) {
	if l.half == nil || l.half.table.names == nil || offset < 0 || offset > maxOffset {
		return nil, nil
	}
	c := l.half.table.names
	l.frames = c.Lookup(uint64(offset), l.frames[:0])
	return c, l.frames
}

// name is a function's name for people.
func name(c *symcache.Cache, f symcache.Frame) string { return demangle.Name(string(c.Name(f))) }

// answerV5 appends the answer of version 5, with what samply adds to it: function_size and module_errors.
func answerV5(b []byte, p *Session, jobs []job) []byte {
	all := lookups(p, jobs)
	b = append(b, `{"results":[`...)
	for i, j := range jobs {
		b = comma(b, i)
		b = append(b, `{"stacks":[`...)
		for i, stack := range j.stacks {
			b = comma(b, i)
			b = append(b, '[')
			for i, a := range stack {
				b = comma(b, i)
				b = append(b, `{"frame":`...)
				b = strconv.AppendInt(b, int64(i), 10)
				if a.module < 0 {
					b = appendFrame(b, nil, a.offset)
					continue
				}
				l := all[j.modules[a.module]]
				if at, ok := l.texts[a.offset]; ok {
					b = append(b, b[at[0]:at[1]]...)
					continue
				}
				from := len(b)
				b = appendFrame(b, l, a.offset)
				l.texts[a.offset] = [2]int{from, len(b)}
			}
			b = append(b, ']')
		}
		b = append(b, `],"found_modules":{`...)
		written := map[string]bool{}
		for _, m := range j.modules {
			name := m.name + "/" + m.id
			if written[name] {
				continue
			}
			b = comma(b, len(written))
			written[name] = true
			b = appendString(b, name)
			b = appendFound(append(b, ':'), all[m])
		}
		b = append(b, '}')
		n := 0
		for _, m := range j.modules {
			l := all[m]
			if name := m.name + "/" + m.id; l.err != nil && written[name] {
				written[name] = false
				if n == 0 {
					b = append(b, `,"module_errors":{`...)
				}
				b = comma(b, n)
				n++
				b = appendString(b, name)
				b = append(b, `:[{"name":`...)
				b = appendString(b, errs.KindOf(l.err).Error())
				b = append(b, `,"message":`...)
				b = appendString(b, errs.Sentence(l.err))
				b = append(b, `}]`...)
			}
		}
		if n > 0 {
			b = append(b, '}')
		}
		b = append(b, '}')
	}
	return append(b, "]}\n"...)
}

// appendFrame writes a frame behind its number; no lookup: the address is in no module.
func appendFrame(b []byte, l *lookup, offset int64) []byte {
	module := "<unknown>"
	var c *symcache.Cache
	var frames []symcache.Frame
	if l != nil {
		c, frames = l.find(offset)
		if l.name != "" {
			module = l.name
		}
	}
	b = append(b, `,"module":`...)
	b = appendString(b, module)
	b = appendHex(append(b, `,"module_offset":"`...), offset)
	if n := len(frames) - 1; n >= 0 {
		b = append(b, `,"function":`...)
		b = appendString(b, name(c, frames[n]))
		f := c.Function(frames[n])
		b = appendHex(append(b, `,"function_offset":"`...), offset-int64(f.Addr))
		if f.Size != 0 {
			b = appendHex(append(b, `,"function_size":"`...), int64(f.Size))
		}
		b = appendSource(b, c, frames[n])
		for i, in := range frames[:n] {
			b = append(b, []string{`,"inlines":[`, ","}[min(i, 1)]...)
			b = append(b, `{"function":`...)
			b = appendString(b, name(c, in))
			b = append(appendSource(b, c, in), '}')
		}
		if n > 0 {
			b = append(b, ']')
		}
	}
	return append(b, '}')
}

func appendSource(b []byte, c *symcache.Cache, f symcache.Frame) []byte {
	file := string(c.File(f))
	if file == "" {
		return b
	}
	b = appendString(append(b, `,"file":`...), file)
	if f.Line != 0 {
		b = strconv.AppendUint(append(b, `,"line":`...), uint64(f.Line), 10)
	}
	return b
}

// answerV4 appends the answer of version 4, a text for each frame.
func answerV4(b []byte, p *Session, jobs []job) []byte {
	all := lookups(p, jobs)
	j := jobs[0]
	b = append(b, `{"symbolicatedStacks":[`...)
	for i, stack := range j.stacks {
		b = comma(b, i)
		b = append(b, '[')
		for i, a := range stack {
			b = comma(b, i)
			text, module := string(appendHexText(nil, a.offset)), "<unknown>"
			if a.module >= 0 {
				l := all[j.modules[a.module]]
				if c, frames := l.find(a.offset); len(frames) > 0 {
					text = name(c, frames[len(frames)-1])
				}
				if l.name != "" {
					module = l.name
				}
			}
			b = appendString(b, text+" (in "+module+")")
		}
		b = append(b, ']')
	}
	b = append(b, `],"knownModules":[`...)
	for i, m := range j.modules {
		b = appendFound(comma(b, i), all[m])
	}
	return append(b, "]}\n"...)
}

// appendFound writes whether a module's symbols were found: null where nobody asked.
func appendFound(b []byte, l *lookup) []byte {
	if !l.asked {
		return append(b, "null"...)
	}
	return strconv.AppendBool(b, l.err == nil)
}

func comma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

func appendHexText(b []byte, n int64) []byte {
	if n < 0 {
		return strconv.AppendInt(append(b, "-0x"...), -n, 16)
	}
	return strconv.AppendInt(append(b, "0x"...), n, 16)
}

// appendHex writes a number and the quote behind it.
func appendHex(b []byte, n int64) []byte { return append(appendHexText(b, n), '"') }

// appendString writes a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	plain := 0
	for plain < len(s) && s[plain] >= 0x20 && s[plain] < 0x7f && s[plain] != '"' && s[plain] != '\\' {
		plain++
	}
	b = append(b, s[:plain]...)
	for _, r := range s[plain:] {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == 0x7f || r == 0x2028 || r == 0x2029:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', hex[r>>12], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// preflight answers what a browser asks before it sends a request of another site's page.
func preflight(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Allow", "POST, OPTIONS")
	if r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		wanted := r.Header.Get("Access-Control-Request-Headers")
		if wanted == "" {
			wanted = "*"
		}
		h.Set("Access-Control-Allow-Methods", "POST")
		h.Set("Access-Control-Allow-Headers", wanted)
		h.Set("Access-Control-Max-Age", "86400")
	}
	w.WriteHeader(http.StatusOK)
	return nil
}
