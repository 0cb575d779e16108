package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/debug/object"
	"salvage/debug/symcache"
	"salvage/internal/errs"
	"salvage/internal/mmap"
)

func (p *program) symcacheCommand() *cobra.Command {
	return group("symcache", "Build and read symbol lookup files",
		p.symcacheBuildCommand(), p.symcacheLookupCommand(), p.symcacheDumpCommand())
}

// warn says on standard error what of a file could not be used, and what else it would take.
func (p *program) warn(path string, r *object.Report) {
	if r.Lost > 0 {
		fmt.Fprintf(p.err, "salvage: %s: %d parts could not be used\n", path, r.Lost)
	}
	for _, pr := range r.Problems {
		fmt.Fprintf(p.err, "salvage: %s: %s: %s: %s\n", path, pr.Where, pr.Kind, pr.Detail)
	}
	if n := len(r.Needs); n > 0 {
		fmt.Fprintf(p.err, "salvage: %s: part of the debug information is in %s not found, first %s\n", path, plural(n, "file"), r.Needs[0])
	}
}

// openFile maps a file; the error says what a person needs to know.
func openFile(path string) (*mmap.File, error) {
	f, err := mmap.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = errs.Public(errs.NotFound, "%s: no such file", path)
	}
	return f, err // which names the file
}

type symcacheBuildOptions struct {
	output, arch string
	json         bool
	workers      int
}

func (o *symcacheBuildOptions) Options(s *config.Spec) {
	config.Var(s, &o.output, "output", config.String, config.Short("o"), config.FlagOnly(), config.Example("crash.symcache"),
		config.Doc("File to write."))
	archOption(s, &o.arch)
	config.Var(s, &o.json, "json", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Print the figures as JSON."))
	config.Var(s, &o.workers, "jobs", config.Int, config.Short("j"), config.FlagOnly(), config.Default("0"),
		config.Doc("Goroutines to use; 0 is one for each core. The file does not depend on it."))
}

func archOption(s *config.Spec, dst *string) {
	config.Var(s, dst, "arch", config.String, config.FlagOnly(), config.Default(""), config.Example("arm64"),
		config.Doc("Architecture to take of a universal (fat) Mach-O file."))
}

func (p *program) symcacheBuildCommand() *cobra.Command {
	o := new(symcacheBuildOptions)
	return command(&cobra.Command{
		Use: "build FILE -o OUT", Short: "Turn a debug file into a lookup file", Args: cobra.ExactArgs(1),
		Long: "Turn a debug file into a lookup file.\n\nFILE is a Breakpad symbol file (.sym), a PDB, a dSYM bundle, or an ELF, PE or Mach-O file: a program, a library or its separate debug file.",
	}, o, func(ctx context.Context, args []string) error { return p.symcacheBuild(ctx, args[0], o) })
}

func (p *program) symcacheBuild(ctx context.Context, path string, o *symcacheBuildOptions) (err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(frugal))
	start := time.Now()
	obj, open, err := openDebugFile(path, o.arch)
	if err != nil {
		return err
	}
	defer open.Close()
	defer errs.Wrap(&err, "%s", path)
	var report object.Report
	var stats symcache.Stats
	err = writeFile(o.output, func(w io.Writer) (err error) {
		stats, err = symcache.Build(ctx, w, &obj.Module, obj.symbols(ctx, nil, nil, &report), symcache.Options{Workers: o.workers})
		return err
	})
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	p.warn(path, &report)
	if o.json {
		return json.NewEncoder(p.out).Encode(struct {
			DebugID string `json:"debug_id"`
			symcache.Stats
			InputBytes int     `json:"input_bytes"`
			Lost       uint64  `json:"lost"`
			Seconds    float64 `json:"seconds"`
			PeakBytes  int64   `json:"peak_bytes"`
		}{obj.Module.ID.Breakpad(), stats, len(obj.file.Data), report.Lost, seconds, peakMemory()})
	}
	m := obj.Module
	w := bufio.NewWriter(p.out)
	fmt.Fprintf(w, "%s %s %s %s\n", m.OS, m.Arch, m.ID.Breakpad(), m.Name)
	fmt.Fprintf(w, "  %s, %s, %s, %s\n", plural(stats.Functions, "function"), plural(stats.Publics, "public"), plural(stats.Ranges, "range"), plural(stats.Scopes, "scope"))
	fmt.Fprintf(w, "  %d bytes from %d in %.3f s, peak memory %d MB\n", stats.Bytes, len(obj.file.Data), seconds, peakMemory()>>20)
	return w.Flush()
}

// openSymcache opens and verifies the lookup file at path.
func openSymcache(path string) (*symcache.Cache, io.Closer, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, nil, err
	}
	c, err := symcache.Parse(f.Data)
	if err == nil {
		err = c.Verify()
	}
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, f, nil
}

type lookupOptions struct{ json bool }

func (o *lookupOptions) Options(s *config.Spec) {
	config.Var(s, &o.json, "json", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Print one JSON object for each address."))
}

func (p *program) symcacheLookupCommand() *cobra.Command {
	o := new(lookupOptions)
	return command(&cobra.Command{
		Use: "lookup FILE ADDR...", Short: "Say what is at an address", Args: cobra.MinimumNArgs(2),
		Long: "Say what is at an address: the function, preceded by the calls inlined there, innermost first.\n\n" +
			"ADDR is hexadecimal, with or without 0x, relative to the start of the module.",
	}, o, func(_ context.Context, args []string) error { return p.symcacheLookup(args[0], args[1:], o) })
}

// jsonFrame is a frame in --json output.
type jsonFrame struct {
	Function string `json:"function"`
	File     string `json:"file,omitempty"`
	Line     uint32 `json:"line,omitempty"`
	Inlined  bool   `json:"inlined,omitempty"`
	Offset   string `json:"function_offset,omitempty"`
	Size     string `json:"function_size,omitempty"`
	Public   bool   `json:"public,omitempty"`
}

func (p *program) symcacheLookup(path string, addrs []string, o *lookupOptions) error {
	c, closer, err := openSymcache(path)
	if err != nil {
		return err
	}
	defer closer.Close()
	w := bufio.NewWriter(p.out)
	defer w.Flush()
	var buf []symcache.Frame
	for _, text := range addrs {
		addr, err := parseAddress(text)
		if err != nil {
			return err
		}
		buf = c.Lookup(addr, buf[:0])
		if o.json {
			frames := []jsonFrame{}
			for _, f := range buf {
				fn := c.Function(f)
				j := jsonFrame{Function: string(c.Name(f)), File: string(c.File(f)), Line: f.Line, Inlined: f.Inlined, Public: fn.Public}
				if fn.HasAddr {
					j.Offset = fmt.Sprintf("%#x", addr-fn.Addr)
				}
				if fn.Size > 0 {
					j.Size = fmt.Sprintf("%#x", fn.Size)
				}
				frames = append(frames, j)
			}
			if err := json.NewEncoder(w).Encode(map[string]any{"address": fmt.Sprintf("%#x", addr), "frames": frames}); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%#x\n", addr)
		if len(buf) == 0 {
			fmt.Fprintln(w, "  nothing is known here")
		}
		for _, f := range buf {
			fmt.Fprintf(w, "  %s\n", describe(c, f, addr))
		}
	}
	return nil
}

// describe writes a frame for people: name + offset at file:line.
func describe(c *symcache.Cache, f symcache.Frame, addr uint64) string {
	var b strings.Builder
	if name := c.Name(f); len(name) > 0 {
		b.Write(name)
	} else {
		b.WriteString("(no name)")
	}
	if fn := c.Function(f); f.Inlined {
		b.WriteString(" (inlined)")
	} else if fn.HasAddr {
		fmt.Fprintf(&b, " + %#x", addr-fn.Addr)
	}
	if file := c.File(f); len(file) > 0 {
		fmt.Fprintf(&b, " at %s", file)
		if f.Line > 0 {
			fmt.Fprintf(&b, ":%d", f.Line)
		}
	}
	return b.String()
}

// parseAddress reads a hexadecimal address, with or without 0x.
func parseAddress(s string) (uint64, error) {
	digits := s
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		digits = s[2:]
	}
	addr, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0, errs.Public(errs.Invalid, "%q is not a hexadecimal address", s)
	}
	return addr, nil
}

func (p *program) symcacheDumpCommand() *cobra.Command {
	return command(&cobra.Command{
		Use: "dump FILE", Short: "Print everything a lookup file says", Args: cobra.ExactArgs(1),
	}, noOptions{}, func(_ context.Context, args []string) error { return p.symcacheDump(args[0]) })
}

func (p *program) symcacheDump(path string) error {
	c, closer, err := openSymcache(path)
	if err != nil {
		return err
	}
	defer closer.Close()
	w := bufio.NewWriter(p.out)
	m := c.Module()
	fmt.Fprintf(w, "module %s %s %s %s\ncode id %s\nimage base %#x\n", m.OS, m.Arch, m.ID.Breakpad(), m.Name, m.CodeID, m.ImageBase)
	for f := range c.Functions() {
		fn := c.Function(f)
		kind := "function"
		if fn.Public {
			kind = "public"
		}
		fmt.Fprintf(w, "%s %#x %#x %s %s\n", kind, fn.Addr, fn.Size, fn.Language, c.Name(f))
	}
	var buf []symcache.Frame
	for r := range c.Ranges() {
		fmt.Fprintf(w, "%#x", r.Start)
		buf = c.Frames(r, buf[:0])
		for i, f := range buf {
			if i > 0 {
				fmt.Fprint(w, " <")
			}
			fmt.Fprintf(w, " %s %s:%d", c.Name(f), c.File(f), f.Line)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
