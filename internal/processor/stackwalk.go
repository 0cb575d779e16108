package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/internal/crash"
	"salvage/internal/errs"
	"salvage/internal/mmap"
)

// stackwalkRule walks the dumps: the main one's fields are those of the crash, the others' are in an object
// under the name of each.
func stackwalkRule(ctx context.Context, w *work) error {
	others := []string{}
	for _, name := range slices.Sorted(maps.Keys(w.raw.Metadata.DumpChecksums)) {
		if !strings.HasPrefix(name, crash.MinidumpName) {
			continue
		}
		into := w.doc
		if name != crash.MinidumpName {
			into = map[string]any{}
			w.doc[name] = into
			others = append(others, name)
		}
		walk, err := w.walkDump(ctx, name, into)
		if err != nil {
			return err
		}
		if name == crash.MinidumpName {
			w.walk = walk
		}
	}
	w.doc["additional_minidumps"] = others
	return nil
}

// walkDump walks a dump and puts what a stack walker answers into a document. A dump that cannot be walked
// is no error, but said there.
func (w *work) walkDump(ctx context.Context, name string, into map[string]any) (json.RawMessage, error) {
	into["success"], into["stackwalk_version"] = false, "salvage "+w.p.Version
	failed := func(status, note string) (json.RawMessage, error) {
		into["mdsw_status_string"] = status
		w.note("%s: %s", name, note)
		return nil, nil
	}
	f, err := w.p.fetch(ctx, w.id.DumpKey(name))
	switch {
	case errors.Is(err, errs.NotFound):
		return failed("MissingMinidump", "the dump is not there any more")
	case err != nil:
		return nil, err
	}
	defer f.Close()
	if len(f.Data) == 0 {
		return failed("EmptyMinidump", "the dump is empty")
	}
	r, err := walk(ctx, f.Data, w.symbols, w.p.Options.walkTime)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, errs.Corrupt):
		return failed("UnreadableMinidump", "the dump cannot be read")
	case err != nil:
		return nil, err
	}
	if name == crash.MinidumpName {
		w.dump = timesOf(r.parsed)
	}
	if r.cut {
		w.note("%s: the walk took longer than %s; threads may be missing", name, w.p.Options.walkTime)
	}
	for _, p := range r.parsed.Problems {
		w.note("%s: %s: %s", name, p.Where, p.Kind)
	}
	into["json_dump"], into["success"], into["mdsw_status_string"] = r.dump, true, "OK"
	return r.text, nil
}

// walked is the report of a dump.
type walked struct {
	parsed *minidump.Dump
	text   json.RawMessage // as the stack walker prints it
	dump   map[string]any  // text, decoded
	cut    bool            // the time was up
}

// walk walks a dump. Corrupt: it is none that can be read.
func walk(ctx context.Context, data []byte, p stackwalk.Provider, limit time.Duration) (r walked, err error) {
	if r.parsed, err = minidump.Open(data); err != nil {
		return r, fmt.Errorf("%w: %w", errs.Corrupt, err)
	}
	withoutForbidden(r.parsed.Crashpad)
	walking, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	report := stackwalk.Walk(walking, r.parsed, p, stackwalk.Options{})
	r.cut = walking.Err() != nil
	var b bytes.Buffer
	if err := report.WriteJSON(&b, false); err != nil {
		return r, err
	}
	r.text = b.Bytes()
	decoder := json.NewDecoder(bytes.NewReader(r.text))
	decoder.UseNumber()
	return r, decoder.Decode(&r.dump)
}

// withoutForbidden takes from Crashpad's annotations what may not be kept. The dump itself stays as it came.
func withoutForbidden(c *minidump.Crashpad) {
	if c == nil {
		return
	}
	forbidden := func(a minidump.KeyValue) bool { return crash.Forbidden(a.Key) }
	c.Annotations = slices.DeleteFunc(c.Annotations, forbidden)
	for i := range c.Modules {
		m := &c.Modules[i]
		m.Annotations = slices.DeleteFunc(m.Annotations, forbidden)
		m.Objects = slices.DeleteFunc(m.Objects, func(a minidump.Annotation) bool { return crash.Forbidden(a.Name) })
	}
}

// Walk walks a dump that is not stored, and returns what the stack walker prints of it, decoded with
// json.Number.
func (p *Processor) Walk(ctx context.Context, data []byte) (map[string]any, error) {
	symbols := p.Symbols.Session(ctx)
	defer symbols.Close()
	r, err := walk(ctx, data, symbols, p.Options.walkTime)
	if errors.Is(err, errs.Corrupt) {
		err = errs.Public(errs.Corrupt, "This is no minidump that can be read.")
	}
	return r.dump, err
}

// fetch maps a copy of an object into memory.
func (p *Processor) fetch(ctx context.Context, key string) (*mmap.File, error) {
	r, _, err := p.Store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := os.CreateTemp(p.Scratch, "dump-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // the mapping stays
	defer f.Close()
	if _, err := io.Copy(f, r); err != nil {
		return nil, errs.Public(errs.Unavailable, "A dump could not be copied: %v.", err)
	}
	return mmap.Open(f.Name())
}
