package web_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"salvage/config"
	"salvage/config/configtest"
	"salvage/debug/cfi"
	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/internal/blob"
	"salvage/internal/crash"
	"salvage/internal/debugtest"
	"salvage/internal/diskcache"
	"salvage/internal/processor"
	"salvage/internal/symbolicator"
	"salvage/internal/symstore"
	"salvage/internal/web"
	"salvage/metrics"
)

// noSymbols knows nothing.
type noSymbols struct{}

func (noSymbols) Rules(*minidump.Module, uint64) (r cfi.Rules, ok bool)  { return r, false }
func (noSymbols) Covered(*minidump.Module, uint64) (covered, known bool) { return false, false }
func (noSymbols) Names(*minidump.Module, uint64) []stackwalk.Name        { return nil }
func (noSymbols) Symbols(*minidump.Module) stackwalk.Symbols {
	return stackwalk.Symbols{Missing: true, Reason: "nobody has them"}
}

// walked is a dump's report and its JSON, both nil for what is no dump.
func walked(t *testing.T, dump []byte) (*stackwalk.Report, map[string]any, error) {
	d, err := minidump.Parse(dump)
	if err != nil {
		return nil, nil, err
	}
	report := stackwalk.Walk(t.Context(), d, noSymbols{}, stackwalk.Options{})
	var b bytes.Buffer
	if err := report.WriteJSON(&b, false); err != nil {
		return nil, nil, err
	}
	return report, decode(t, b.Bytes()), nil
}

// TestRealDumps opens recorded dumps and compares the pages with the walker's report.
func TestRealDumps(t *testing.T) {
	var report *stackwalk.Report
	r := newRig(t, func(c *web.Config) {
		c.Walk = func(_ context.Context, dump []byte) (jsonDump map[string]any, err error) {
			report, jsonDump, err = walked(t, dump)
			return jsonDump, err
		}
	})
	files, err := filepath.Glob(debugtest.Path(t, "breakpad/dumps") + "/*.dmp")
	if err != nil || len(files) < 20 {
		t.Fatal(err, files)
	}
	pages := 0
	for _, file := range files {
		dump, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		report = nil
		form, kind := dumpForm(filepath.Base(file), string(dump))
		p := r.do("POST", "/open", form, kind)
		if report == nil {
			p.want(t, 422, "This file is damaged.")
			continue
		}
		pages++
		page := html.UnescapeString(p.want(t, 200).body)
		var want []string
		if report.Crash != nil {
			want = append(want, report.Crash.Reason)
		}
		for _, m := range report.Modules[:min(len(report.Modules), 1000)] {
			want = append(want, m.DebugID.Breakpad())
		}
		if report.Crashing >= 0 {
			for _, f := range report.Threads[report.Crashing].Frames[:min(len(report.Threads[report.Crashing].Frames), 250)] {
				if f.Module != nil && f.Function == "" {
					want = append(want, m64(f.Lookup-f.Module.Addr))
				}
			}
		}
		for _, s := range want {
			if !strings.Contains(page, s) {
				t.Errorf("%s: no %q", filepath.Base(file), s)
			}
		}
	}
	if pages < 20 {
		t.Errorf("only %d dumps", pages)
	}
}

// m64 is an offset as a frame without a name has it.
func m64(n uint64) string { return fmt.Sprintf("+ 0x%x", n) }

// defaults returns options as nobody set them.
func defaults[T any, P interface {
	*T
	config.Component
}](t *testing.T) (o T) {
	configtest.Load(t, P(&o), nil)
	return o
}

// TestProcessed shows what the processor makes of a recorded dump.
func TestProcessed(t *testing.T) {
	dump := debugtest.File(t, "breakpad/dumps/linux_null_read_av.dmp")
	r := newRig(t, nil)
	c, registry := r.config, metrics.New("test")
	symbols, err := symstore.New(symstore.Config{Options: defaults[symstore.Options](t), Blobs: c.Store, DB: c.DB, Queue: c.Queue, Gate: c.Gate, Scratch: t.TempDir(), Metrics: registry, Log: c.Log, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	names, err := symbolicator.New(symbolicator.Config{Options: defaults[symbolicator.Options](t), Store: symbols, Cache: defaults[diskcache.Options](t), Dir: t.TempDir(), Metrics: registry, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { names.Close() })
	p := processor.New(processor.Config{Options: defaults[processor.Options](t), Store: c.Store, DB: c.DB, Queue: c.Queue, Gate: c.Gate, Symbols: names, Index: c.Index, Scratch: t.TempDir(), Metrics: registry, Log: c.Log, Now: c.Now, Version: "test"})
	id := r.newID(now)
	sum := sha256.Sum256(dump)
	if err := blob.Put(t.Context(), c.Store, id.DumpKey(crash.MinidumpName), bytes.NewReader(dump)); err != nil {
		t.Fatal(err)
	}
	r.put(id.RawKey(), &crash.Raw{ID: id, Submitted: now, Annotations: map[string]any{"ProductName": "CrashApp", "Version": "2.5", "Comments": "PROTECTED"},
		Metadata: crash.Metadata{DumpChecksums: map[string]string{crash.MinidumpName: hex.EncodeToString(sum[:])}}})
	if err := p.Process(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	public := r.get("/report/" + string(id))
	public.want(t, 200, "SIGSEGV", "CrashApp 2.5", "2026-11-24 12:00", "amd64", "Why this signature", "Crashing thread · 0", "null_read_av &#43; 0x", "Start processing", ">missing</span>", "<b>1</b> like this", "protected values are hidden")
	public.without(t, "PROTECTED")
	r.get("/report/"+string(id), r.asAdmin()).want(t, 200, "PROTECTED")
	r.get("/").want(t, 200, "CrashApp 2.5", "/report/"+string(id))
	r.get("/symbols").want(t, 200, `<tr><th scope="row">null_read_av`)
}
