package symbolicator

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"salvage/debug/debugid"
	"salvage/internal/errs"
	"salvage/internal/metadb"
)

// inText is a frame in a text: a module's name, and an offset in it.
var inText = regexp.MustCompile(`([A-Za-z0-9_.+@~-]+?)\s?\+\s?0x([0-9A-Fa-f]{1,15})\b`)

const (
	maxTextModules = 200   // different names in a text
	maxTextFrames  = 10000 // in a text; further ones stay as they are
)

// Text puts names into a text: below each line with module+0xoffset in it, what is there, innermost first.
// A text does not say which build of a module it is about; the one whose symbols came last is taken. A
// request of version 5 in JSON is answered as the API does.
func (s *Symbolicator) Text(ctx context.Context, text string) (string, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		jobs, err := parseRequest([]byte(text), s.Options.maxJobs)
		if err != nil {
			return "", err
		}
		p := s.Session(ctx)
		defer p.Close()
		return string(answerV5(nil, p, jobs)), ctx.Err()
	}
	p := s.Session(ctx)
	defer p.Close()
	modules := map[string]*lookup{}
	var b strings.Builder
	frames := 0
	for line := range strings.Lines(text) {
		b.WriteString(line)
		for _, m := range inText.FindAllStringSubmatch(line, -1) {
			if frames++; frames > maxTextFrames {
				break
			}
			l, ok := modules[m[1]]
			if !ok && len(modules) < maxTextModules {
				var err error
				if l, err = p.named(m[1]); err != nil {
					return "", err
				}
				modules[m[1]] = l
			}
			offset, err := strconv.ParseInt(m[2], 16, 64)
			if l == nil || err != nil {
				continue
			}
			if !strings.HasSuffix(b.String()[max(0, b.Len()-1):], "\n") {
				b.WriteByte('\n')
			}
			c, found := l.find(offset)
			for i, f := range found {
				fmt.Fprintf(&b, "    %s", name(c, f))
				if file := c.File(f); len(file) > 0 {
					fmt.Fprintf(&b, " at %s", bytes.ToValidUTF8(file, []byte("\ufffd")))
					if f.Line != 0 {
						fmt.Fprintf(&b, ":%d", f.Line)
					}
				}
				if i < len(found)-1 {
					b.WriteString(" (inlined)")
				}
				b.WriteByte('\n')
			}
			if len(found) == 0 {
				fmt.Fprintf(&b, "    no name: %s\n", l.why())
			}
		}
	}
	return b.String(), ctx.Err()
}

// why says why a module has no name for an address.
func (l *lookup) why() string {
	if l.err != nil {
		return errs.Sentence(l.err)
	}
	return "the module has no symbol there"
}

// named looks for a module by the name of its file.
func (p *Session) named(file string) (*lookup, error) {
	var id string
	err := p.s.Store.DB.View(p.ctx, func(tx *sql.Tx) error {
		recent, err := metadb.RecentSymbols(p.ctx, tx, file, 1000)
		for _, o := range recent {
			if strings.EqualFold(o.DebugFile, file) || strings.EqualFold(o.CodeFile, file) {
				id = o.DebugID
				break
			}
		}
		return err
	})
	l := &lookup{err: errNothing}
	if err != nil || id == "" {
		return l, err
	}
	parsed, err := debugid.Parse(id)
	if err != nil {
		return l, nil
	}
	l.half = p.names(parsed)
	l.err = l.half.err
	return l, nil
}
