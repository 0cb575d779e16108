package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/demangle"
	"salvage/debug/object"
	"salvage/debug/symbols"
	"salvage/debug/symcache"
	"salvage/internal/errs"
)

type dumpSymsOptions struct {
	output, store, arch, verbose, kind       string
	debugID, codeID, symbolServer            string
	inlines, checkCFI, noGenerator, listArch bool
	workers                                  int
	extra, mapVars, mapSources, mapTemplates []string
	mapFile                                  string
}

func (o *dumpSymsOptions) Options(s *config.Spec) {
	text := func(dst *string, name, short, example, doc string) {
		config.Var(s, dst, name, config.String, config.Short(short), config.FlagOnly(), config.Default(""), config.Example(example), config.Doc(doc))
	}
	flag := func(dst *bool, name, doc string) {
		config.Var(s, dst, name, config.Bool, config.FlagOnly(), config.Default("false"), config.Doc(doc))
	}
	text(&o.output, "output", "o", "crash.sym", "File to write; standard output if it is - or nothing.")
	text(&o.store, "store", "s", "symbols", "Folder to write to as FOLDER/name/id/name.sym, the layout of symbol servers.")
	text(&o.arch, "arch", "a", "arm64", "Architecture to take of a universal (fat) Mach-O file.")
	flag(&o.listArch, "list_arch", "Print the architectures of the files, and do nothing else.")
	flag(&o.inlines, "inlines", "Write inlined calls as well.")
	flag(&o.checkCFI, "check_cfi", "Fail if there are no unwind rules.")
	flag(&o.noGenerator, "no_generator", "Do not write which program made the file.")
	list := func(dst *[]string, name, example, doc string) {
		config.Var(s, dst, name, config.ListBy("\n", config.String), config.FlagOnly(), config.Default(""), config.Example(example), config.Doc(doc))
	}
	list(&o.extra, "extra_info", "VERSION 1.2", "INFO record to add: a keyword in capitals and its text.")
	text(&o.debugID, "debug_id", "", "44E4EC8C2F41492B9369D6B9A059577C2", "FILE is the name of a PDB to fetch: its debug id.")
	text(&o.codeID, "code_id", "", "5CFE9A8D1000", "FILE is the name of a program or library to fetch: its code id.")
	text(&o.symbolServer, "symbol_server", "", "SRV*~/cache*https://msdl.microsoft.com/download/symbols",
		"Where to fetch PDBs: the symbol path of Windows' debuggers. Without it, what $HOME/.dump_syms/config says.")
	list(&o.mapVars, "mapping_var", "rev=123abc", "NAME=VALUE for {NAME} in --mapping-dest.")
	list(&o.mapSources, "mapping_src", "^/build/src/(.*)", "Regular expression for paths of source files.")
	list(&o.mapTemplates, "mapping_dest", "git:example.org/app:{1}:{rev}",
		"What to call the files of the --mapping-src at the same place: {1} is a group of it, {digest} or {DIGEST} the file's SHA-512.")
	text(&o.mapFile, "mapping_file", "", "mapping.json", `Mappings as JSON: {"variables": {}, "mappings": [{"source": "", "destination": "", "files": []}]}.`)
	config.Var(s, &o.workers, "jobs", config.Int, config.Short("j"), config.FlagOnly(), config.Default("0"), config.Doc("Cores to use; 0 is all."))
	text(&o.verbose, "verbose", "", "error", "Taken for the sake of scripts, and without effect: problems are always told.")
	text(&o.kind, "type", "t", "elf", "Taken for the sake of scripts, and without effect.")
}

func (p *program) dumpSymsCommand() *cobra.Command {
	o := new(dumpSymsOptions)
	return command(&cobra.Command{
		Use: "dump-syms FILE...", Short: "Turn debug files into Breakpad symbol files", Args: cobra.MinimumNArgs(1),
		Long: "Turn debug files into Breakpad symbol files (.sym). The flags are those of Mozilla's dump_syms.\n\n" +
			"FILE is an ELF, PE or Mach-O file, a dSYM bundle, a PDB, a .sym, or a cabinet with one of them. Files of one module, as a library and its separate\n" +
			"debug file, are merged; what a file needs, as the PDB of a program, and the program of a PDB, is looked for where debuggers do, a PDB on symbol\n" +
			"servers as well. It fails if any of the files cannot be used.",
	}, o, func(ctx context.Context, args []string) error { return p.dumpSyms(ctx, args, o) })
}

// module is the files of one module.
type module struct {
	symbols.Module
	paths    []string
	files    []debugFile
	codeFile string // of a PE file
}

func (p *program) dumpSyms(ctx context.Context, paths []string, o *dumpSymsOptions) error {
	for _, info := range o.extra {
		if word, rest, ok := strings.Cut(info, " "); !ok || rest == "" || strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" || word == "" {
			return errs.Public(errs.Invalid, "--extra-info %q is not a keyword in capitals and a text.", info)
		}
	}
	mappings, err := pathMappings(o.mapVars, o.mapSources, o.mapTemplates, o.mapFile)
	if err != nil {
		return err
	}
	stores, err := symbolStores(o.symbolServer)
	if err != nil {
		return err
	}
	var tmp string
	if len(stores) > 0 {
		if tmp, err = os.MkdirTemp("", "salvage-*"); err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
	}
	if id := cmp.Or(o.debugID, o.codeID); id != "" {
		if len(paths) > 1 || o.debugID != "" && o.codeID != "" {
			return errs.Public(errs.Invalid, "--debug-id or --code-id is for one FILE.")
		}
		if len(stores) == 0 {
			return errs.Public(errs.Invalid, "%s is to be fetched: name a server with --symbol-server.", paths[0])
		}
		path, err := findInStores(ctx, stores, paths[0], id, tmp)
		if err != nil {
			return err
		}
		paths = []string{path}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(4 * frugal)) // names are much garbage
	if o.workers > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.workers))
	}
	var modules []*module
	var failed error
	fail := func(err error) {
		if failed = err; len(paths) > 1 {
			fmt.Fprintf(p.err, "salvage: %s\n", errs.Message(err))
			failed = errs.Public(errs.KindOf(err), "None of the files could be used.")
		}
	}
	var open files
	defer func() { open.Close() }()
	for _, path := range paths {
		if o.listArch {
			if err := p.listArchs(path); err != nil {
				fail(err)
			}
			continue
		}
		f, maps, err := openDebugFile(path, o.arch)
		if err != nil {
			fail(err)
			continue
		}
		open = append(open, maps...)
		modules = addFile(modules, path, f)
	}
	for _, m := range modules {
		found, err := m.complete(ctx, stores, tmp)
		open = append(open, found...)
		if err != nil {
			fmt.Fprintf(p.err, "salvage: %s: its PDB: %s\n", m.paths[0], errs.Message(err))
		}
	}
	if len(modules) > 1 && o.store == "" {
		var names []string
		for _, m := range modules {
			names = append(names, m.ID.Breakpad()+" "+m.Name)
		}
		return errs.Public(errs.Invalid, "The files are of different modules (%s), and one file can hold one. Use --store.", strings.Join(names, ", "))
	}
	done := 0
	if o.listArch && failed == nil {
		return nil
	}
	for _, m := range modules {
		if err := p.dumpModule(ctx, m, mappings, o); err != nil {
			if ctx.Err() != nil {
				return err
			}
			fail(err)
			continue
		}
		done++
	}
	switch {
	case failed == nil:
		return nil
	case done > 0:
		return errs.Public(errs.Partial, "Not all files could be used.")
	}
	return failed
}

// listArchs prints what dump_syms prints.
func (p *program) listArchs(path string) (err error) {
	inside, err := insideBundle(path)
	if err != nil {
		return err
	}
	m, err := openFile(inside)
	if err != nil {
		return err
	}
	defer m.Close()
	defer errs.Wrap(&err, "%s", path)
	all, err := object.OpenAll(m.Data)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s contains the following architecture(s):\n", path)
	for _, o := range all {
		fmt.Fprintln(p.out, o.Module.Arch)
	}
	return nil
}

// addFile puts a file to those of its module, the one with the most debug information first.
func addFile(all []*module, path string, f debugFile) []*module {
	i := slices.IndexFunc(all, func(m *module) bool { return m.ID == f.Module.ID && !m.ID.IsZero() })
	if i < 0 {
		i = len(all)
		all = append(all, &module{Module: f.Module})
	}
	m := all[i]
	base := wholeName(filepath.Base(path))
	name := cmp.Or(f.Module.Name, base)
	if !f.HasDebugInfo || m.Name == "" || f.Format == "pe" { // the name that what runs has or tells, not that of its debug file
		m.Name = name
	}
	if f.Format == "pe" {
		m.codeFile = base
	}
	if m.CodeID == "" {
		m.CodeID = f.Module.CodeID
	}
	m.files, m.paths = append(m.files, f), append(m.paths, path)
	if slices.ContainsFunc(m.files, func(f debugFile) bool { return f.Format == "pe" && f.HasDebugInfo }) { // it found its PDB
		m.files = slices.DeleteFunc(m.files, func(f debugFile) bool { return f.Format == "pdb" })
	}
	slices.SortStableFunc(m.files, func(a, b debugFile) int {
		rank := func(f debugFile) int {
			switch {
			case f.HasDebugInfo:
				return 0
			case f.HasSymbols:
				return 1
			}
			return 2
		}
		return rank(a) - rank(b)
	})
	return all
}

// complete finds what of a program and its PDB was not given. An error is that of a symbol server; without a PDB there
// are the program's own symbols.
func (m *module) complete(ctx context.Context, stores []symbolStore, tmp string) (open files, err error) {
	is := func(format string) int {
		return slices.IndexFunc(m.files, func(f debugFile) bool { return f.Format == format })
	}
	if is("pdb") >= 0 && is("pe") < 0 {
		base := strings.TrimSuffix(m.paths[0], filepath.Ext(m.paths[0]))
		for _, ext := range []string{".dll", ".exe", ".sys"} {
			for _, path := range []string{base + ext, compressedName(base + ext)} {
				f, maps, err := openDebugFile(path, "")
				open = append(open, maps...)
				if err == nil && f.Format == "pe" && f.Module.ID == m.ID && is("pe") < 0 {
					addFile([]*module{m}, base+ext, f)
				}
			}
		}
	}
	i := is("pe")
	if i < 0 || is("pdb") >= 0 || len(stores) == 0 {
		return open, nil
	}
	for _, n := range m.files[i].Needs() {
		if n.Kind != object.Database {
			continue
		}
		path, err := findInStores(ctx, stores, leafName(n.Name), m.ID.Breakpad(), tmp)
		if err != nil {
			return open, err
		}
		pdb, maps, err := openDebugFile(path, "")
		if err != nil {
			return open, err
		}
		open = append(open, maps...)
		addFile([]*module{m}, path, pdb)
		break
	}
	return open, nil
}

func (p *program) dumpModule(ctx context.Context, m *module, mappings []pathMapping, o *dumpSymsOptions) (err error) {
	defer errs.Wrap(&err, "%s", m.paths[0])
	unmapped := error(nil)
	text := breakpad.Text{
		CodeFile: m.codeFile, Info: o.extra, Inlines: o.inlines, Fallback: map[uint64]breakpad.Fallback{},
		Name: func(linkage []byte) (name string, params uint32) {
			if name = string(linkage); m.OS == "windows" {
				name, params = demangle.Undecorate(name, m.Arch == "x86")
				name = strings.ReplaceAll(name, "`anonymous namespace'", "(anonymous namespace)") // as dump_syms and demanglers write it
			}
			return demangle.Plain(name), params
		},
		File: func(file []byte) string {
			name := string(file)
			if name != "" && m.OS != "windows" {
				name = path.Clean(name) // as dump_syms does: /build/x/../y is /build/y
			}
			for i := range mappings {
				switch to, ok, err := mappings[i].apply(name); {
				case err != nil:
					unmapped = cmp.Or(unmapped, err)
					return name
				case ok:
					return to
				}
			}
			return name
		},
	}
	if !o.noGenerator {
		text.Info = append(slices.Clone(text.Info), "GENERATOR salvage "+revision())
	}
	var rules *cfi.Builder
	if cpu := cfi.CPUByName(m.Arch); cpu != nil {
		rules = cfi.NewBuilder(cpu, m.files[0].BigEndian())
	}
	var report object.Report
	source := func(emit func(*symbols.Batch) error) error {
		for _, f := range m.files {
			var r object.Report
			if err := f.symbols(ctx, nil, nil, &r)(emit); err != nil {
				return err
			}
			report.Lost += r.Lost
			report.Problems = append(report.Problems, r.Problems...)
			if f.HasDebugInfo || !m.files[0].HasDebugInfo { // else it was given
				report.Needs = append(report.Needs, r.Needs...)
			}
		}
		return nil
	}
	var names bytes.Buffer
	if _, err := symcache.Build(ctx, &names, &m.Module, text.Note(source), symcache.Options{Workers: o.workers}); err != nil {
		return err
	}
	cache, err := symcache.Parse(names.Bytes())
	if err != nil {
		return err
	}
	for _, f := range m.files {
		for addr, fb := range f.Fallback(m.Name) {
			text.Fallback[addr] = fb
		}
		if rules != nil {
			if err := f.Rules(rules, &report); err != nil {
				return err
			}
		}
	}
	if m.OS == "windows" {
		text.End = fmt.Sprintf("<unknown in %s>", m.Name)
	}
	if o.checkCFI && (rules == nil || rules.Empty()) {
		return errs.Public(errs.Invalid, "%s: there are no unwind rules in it.", m.paths[0])
	}
	write := func(w io.Writer) error {
		if err := breakpad.Write(w, cache, &text); err != nil {
			return err
		}
		if rules == nil {
			return nil
		}
		_, err := rules.WriteText(w)
		return err
	}
	p.warn(m.paths[0], &report)
	defer func() {
		if unmapped != nil {
			fmt.Fprintf(p.err, "salvage: %s: not all source files have a digest: %v\n", m.paths[0], unmapped)
		}
	}()
	var to []string
	if o.output != "" && o.output != "-" {
		to = append(to, o.output)
	}
	if o.store != "" {
		to = append(to, filepath.Join(o.store, m.Name, m.ID.Breakpad(), strings.TrimSuffix(m.Name, ".pdb")+".sym"))
	}
	for _, name := range to {
		if err := writeFile(name, write); err != nil {
			return err
		}
	}
	if len(to) == 0 {
		w := bufio.NewWriter(p.out)
		return errors.Join(write(w), w.Flush())
	}
	return nil
}

// writeFile writes a file under another name first, with the folders it needs: who reads it, or has the old one mapped,
// finds it whole.
func writeFile(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(path), ".salvage-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	if err := write(out); err != nil {
		return err
	}
	return errors.Join(out.Chmod(0o644), out.Sync(), out.Close(), os.Rename(out.Name(), path))
}
