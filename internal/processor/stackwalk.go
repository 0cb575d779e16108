package processor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"salvage/debug/cfi"
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
	d, err := minidump.Parse(f.Data)
	if err != nil {
		return failed("UnreadableMinidump", "the dump cannot be read")
	}
	if name == crash.MinidumpName {
		w.dump = timesOf(d)
	}
	walking, cancel := context.WithTimeout(ctx, w.p.Options.walkTime)
	defer cancel()
	report := stackwalk.Walk(walking, d, noSymbols{}, stackwalk.Options{})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if walking.Err() != nil {
		w.note("%s: the walk took longer than %s; threads may be missing", name, w.p.Options.walkTime)
	}
	for _, p := range d.Problems {
		w.note("%s: %s: %s", name, p.Where, p.Kind)
	}
	var b bytes.Buffer
	if err := report.WriteJSON(&b, false); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(b.Bytes()))
	decoder.UseNumber()
	var dump map[string]any
	if err := decoder.Decode(&dump); err != nil {
		return nil, err
	}
	into["json_dump"], into["success"], into["mdsw_status_string"] = dump, true, "OK"
	return b.Bytes(), nil
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

// noSymbols knows nothing.
type noSymbols struct{}

func (noSymbols) Rules(*minidump.Module, uint64) (r cfi.Rules, ok bool)  { return r, false }
func (noSymbols) Covered(*minidump.Module, uint64) (covered, known bool) { return false, false }
func (noSymbols) Names(*minidump.Module, uint64) []stackwalk.Name        { return nil }
func (noSymbols) Symbols(*minidump.Module) stackwalk.Symbols {
	return stackwalk.Symbols{Missing: true, Reason: "not looked for"}
}
