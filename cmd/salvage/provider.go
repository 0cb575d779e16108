package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/debug/object"
	"salvage/debug/object/macho"
	"salvage/debug/stackwalk"
	"salvage/debug/symcache"
	"salvage/internal/errs"
)

// fileProvider finds the symbols of modules in folders laid out as symbol servers are,
// <debug file>/<DEBUGID>/<name>, in dSYM bundles and single files of any format, whose identity is told by their
// contents, and on symbol servers.
type fileProvider struct {
	ctx      context.Context
	folders  []string
	files    map[debugid.ID][]debugFile
	problems []error        // of paths that cannot be used
	servers  *symbolServers // nil: none
	local    bool           // look where the dump says that binaries are, and where this system has debug files

	asked map[*minidump.Module]*pages // nil: not known

	making  sync.Mutex // held while a lookup file is made
	mu      sync.Mutex
	closers []func() error
	paths   map[*object.Object]string // of files whose companions were not looked for
	modules map[*minidump.Module]*moduleSymbols
}

// moduleSymbols is what was found for a module, by whoever asked first.
type moduleSymbols struct {
	mu     sync.Mutex
	loaded bool
	part   pages // that names and rules are known of; nil: all
	found  []debugFile
	cached string // path of the only one found, where its lookup files may be kept
	moduleTables
	state stackwalk.Symbols
}

type moduleTables struct {
	names *symcache.Cache // nil: none
	rules *cfi.Cache      // nil: none
}

// expect tells p which dump will be walked, so that it makes ready only what that takes.
func (p *fileProvider) expect(d *minidump.Dump) { p.asked = askedIn(d) }

// newFileProvider opens paths: folders, or files.
func newFileProvider(ctx context.Context, paths []string) *fileProvider {
	p := &fileProvider{ctx: ctx, files: map[debugid.ID][]debugFile{}, paths: map[*object.Object]string{}, modules: map[*minidump.Module]*moduleSymbols{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("%s: no such file or folder", path)
		case err != nil:
		case !info.IsDir():
			err = p.addFile(path)
		default:
			var found bool
			if found, err = p.addBundle(path); !found {
				p.folders = append(p.folders, path)
			}
		}
		if err != nil {
			p.problems = append(p.problems, err)
		}
	}
	return p
}

// addBundle adds the debug files in a dSYM bundle, if path is one.
func (p *fileProvider) addBundle(path string) (found bool, err error) {
	inside := filepath.Join(path, filepath.FromSlash(macho.DSYMFolder))
	entries, err := os.ReadDir(inside)
	if err != nil {
		return false, nil
	}
	for _, e := range entries {
		if err := p.addFile(filepath.Join(inside, e.Name())); err != nil && !errors.Is(err, debug.ErrUnsupported) {
			return true, err
		}
	}
	return true, nil
}

func (p *fileProvider) addFile(path string) error {
	all, err := p.openAll(path)
	for _, f := range all {
		p.files[f.Module.ID] = append(p.files[f.Module.ID], f)
	}
	return err
}

// open opens a debug file that must have an id, of a universal one the architecture that has it.
func (p *fileProvider) open(path string, id debugid.ID) (debugFile, error) {
	all, err := p.openAll(path)
	if err != nil {
		return debugFile{}, err
	}
	is := "nothing"
	for _, f := range all {
		if f.Module.ID == id {
			return f, nil
		}
		is = f.Module.ID.Breakpad()
	}
	return debugFile{}, fmt.Errorf("%s: it is for %s", path, is)
}

// openAll opens a debug file, of a universal one all architectures.
func (p *fileProvider) openAll(path string) (files []debugFile, err error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	all, err := object.OpenAll(f.Data)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closers = append(p.closers, f.Close)
	for _, o := range all {
		p.paths[o] = path
		files = append(files, debugFile{o, f})
	}
	return files, nil
}

// complete adds to files the other files that hold their debug information. Two modules may be one file.
func (p *fileProvider) complete(files []debugFile) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range files {
		if path, ok := p.paths[f.Object]; ok {
			delete(p.paths, f.Object)
			p.closers = append(p.closers, companions(path, f.Object).Close)
		}
	}
}

// Close unmaps all files. Nothing that came from the provider may be used afterwards.
func (p *fileProvider) Close() error {
	var failed []error
	for _, c := range p.closers {
		failed = append(failed, c())
	}
	return errors.Join(failed...)
}

func (p *fileProvider) module(m *minidump.Module) *moduleSymbols {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.modules[m]
	if s == nil {
		s = new(moduleSymbols)
		p.modules[m] = s
	}
	return s
}

// at returns what answers questions about an address of a module.
func (p *fileProvider) at(m *minidump.Module, addr uint64) moduleTables {
	s := p.module(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded {
		s.loaded = true
		if asked := p.asked[m]; asked != nil && asked.has(addr) {
			s.part = *asked
		}
		p.find(m, s)
		p.load(s)
	} else if s.part != nil && !s.part.has(addr) {
		s.part = nil
		p.load(s)
	}
	return s.moduleTables
}

// load makes of the best of the files what answers questions: names from debug information before symbol
// tables, rules from whatever has them.
func (p *fileProvider) load(s *moduleSymbols) {
	s.moduleTables = moduleTables{}
	if s.cached != "" {
		err := p.loadKept(s)
		if err == nil {
			return
		}
		p.servers.log.say("debug", "%s: no lookup files: %v", s.cached, err)
		s.cached = ""
	}
	builders := make([]*cfi.Builder, len(s.found)) // with the rules that came with names
	best := -1
	for i, f := range s.found {
		if f.HasSymbols && (best < 0 || f.HasDebugInfo && !s.found[best].HasDebugInfo) {
			best = i
		}
	}
	if best >= 0 {
		f := s.found[best]
		if cpu := cfi.CPUByName(f.Module.Arch); cpu != nil && breakpad.Probe(f.file.Data) {
			builders[best] = cfi.NewBuilder(cpu, f.BigEndian())
		}
		var rep object.Report
		names, err := f.names(p.ctx, s.part, builders[best], &rep)
		if err != nil {
			s.state.Corrupt, s.state.Reason = true, err.Error()
		} else {
			s.names, s.state.Loaded, s.state.URL = names, true, infoURL(f.file.Data)
		}
		if rep.Lost > 0 {
			s.state.Corrupt = true
			s.state.Reason = fmt.Sprintf("%d records of the symbols cannot be used", rep.Lost)
		}
	}
	for i, f := range s.found {
		cpu, b := cfi.CPUByName(f.Module.Arch), builders[i]
		if !f.HasRules || cpu == nil {
			continue
		}
		if b == nil {
			b = cfi.NewBuilder(cpu, f.BigEndian())
			var rep object.Report
			if err := f.Rules(b, &rep); err != nil {
				continue
			}
		}
		var out bytes.Buffer
		if st, err := b.Write(&out, f.Module.ID); err == nil && st.Ranges > 0 {
			s.rules, _ = cfi.Parse(out.Bytes())
			break
		}
	}
}

// loadKept opens the lookup files of a .sym in the download cache, which stand beside it, and makes them first if they are
// not there or of no use: the file is asked for again, so it will be once more.
func (p *fileProvider) loadKept(s *moduleSymbols) error {
	f := s.found[0]
	if err := p.openKept(s, f); err == nil {
		return nil
	}
	cpu := cfi.CPUByName(f.Module.Arch)
	if cpu == nil {
		return fmt.Errorf("no rules are known for %s", f.Module.Arch)
	}
	p.making.Lock() // each uses all cores, and memory
	defer p.making.Unlock()
	b := cfi.NewBuilder(cpu, f.BigEndian())
	err := writeFile(s.cached+symcacheSuffix, func(w io.Writer) error {
		var rep object.Report
		_, err := symcache.Build(p.ctx, w, &f.Module, f.symbols(p.ctx, nil, b, &rep), symcache.Options{})
		if err == nil && rep.Lost > 0 {
			return fmt.Errorf("%d records cannot be used", rep.Lost)
		}
		return err
	})
	if err != nil {
		return err
	}
	err = writeFile(s.cached+cficacheSuffix, func(w io.Writer) error {
		_, err := b.Write(w, f.Module.ID)
		return err
	})
	if err != nil {
		return err
	}
	return p.openKept(s, f)
}

const symcacheSuffix, cficacheSuffix = ".symcache", ".cficache"

// openKept opens the lookup files of f, unless they are older than it.
func (p *fileProvider) openKept(s *moduleSymbols, f debugFile) error {
	original, err := os.Stat(s.cached)
	if err != nil {
		return err
	}
	open := func(suffix string) ([]byte, error) {
		info, err := os.Stat(s.cached + suffix)
		if err != nil {
			return nil, err
		}
		if info.ModTime().Before(original.ModTime()) {
			return nil, fmt.Errorf("%s is older", suffix)
		}
		m, err := openFile(s.cached + suffix)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.closers = append(p.closers, m.Close)
		p.mu.Unlock()
		return m.Data, nil
	}
	names, err := open(symcacheSuffix)
	if err != nil {
		return err
	}
	rules, err := open(cficacheSuffix)
	if err != nil {
		return err
	}
	c, err := symcache.Parse(names)
	if err != nil {
		return err
	}
	r, err := cfi.Parse(rules)
	if err != nil {
		return err
	}
	if c.Module().ID != f.Module.ID || r.ID() != f.Module.ID {
		return errors.New("lookup files of another module")
	}
	s.moduleTables = moduleTables{c, r}
	s.part, s.state.Loaded, s.state.URL = nil, true, infoURL(f.file.Data)
	return nil
}

// find looks for the files of a module: those given, those of this system, those in folders, those of servers.
func (p *fileProvider) find(m *minidump.Module, s *moduleSymbols) {
	name, id := debugFileName(m), m.DebugID
	if id.IsZero() && p.servers != nil {
		name, id = p.servers.identify(p.ctx, m)
		s.state.DebugFile, s.state.DebugID = name, id
	}
	if id.IsZero() {
		s.state.Missing, s.state.Reason = true, "the dump has no debug id for the module"
		return
	}
	s.found = slices.Clone(p.files[id])
	if p.local {
		p.findLocally(m, s)
	}
	var problems []error
	if nameOfFile(name) {
		problems = p.findInFolders(m, name, id, s)
	}
	p.complete(s.found) // what comes from a server says nothing of files here
	if nameOfFile(name) {
		if len(s.found) == 0 && p.servers != nil {
			f, cached, err := p.servers.get(p, m, name, id)
			if err == nil {
				s.found, s.cached, problems = append(s.found, f), cached, nil
			} else if problems = append(problems, err); errors.Is(err, errs.NotFound) {
				problems = problems[:len(problems)-1]
			}
		}
	}
	switch {
	case len(s.found) > 0:
	case len(problems) > 0:
		s.state.Corrupt, s.state.Reason = true, errors.Join(problems...).Error()
	default:
		s.state.Missing, s.state.Reason = true, "no symbols for the module were found"
	}
}

// leafName returns the part of a path behind its last separator, of whichever system.
func leafName(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }

// debugFileName returns what symbol servers have a module's debug file under.
func debugFileName(m *minidump.Module) string { return leafName(cmp.Or(m.DebugFile, m.Name)) }

// nameOfFile reports whether a name, which a dump may tell, names a file in the folder it is put behind.
func nameOfFile(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, `/\`) && strings.IndexFunc(name, unicode.IsControl) < 0
}

// symName returns the name of the Breakpad symbol file of a debug file.
func symName(name string) string {
	if n := len(name) - len(".pdb"); n > 0 && strings.EqualFold(name[n:], ".pdb") {
		name = name[:n]
	}
	return name + ".sym"
}

func (p *fileProvider) findInFolders(m *minidump.Module, name string, id debugid.ID, s *moduleSymbols) (problems []error) {
	sym := symName(name)
	names := []string{name + ".dbg", name, sym}
	if image := leafName(m.Name); sym != name+".sym" && nameOfFile(image) {
		names = append(names, image) // beside its PDB
	}
	for _, folder := range p.folders {
		dir := filepath.Join(folder, name, id.Breakpad())
		for _, name := range names {
			f, err := p.open(filepath.Join(dir, name), id)
			if errors.Is(err, errs.NotFound) {
				continue
			}
			if err != nil {
				problems = append(problems, err)
				continue
			}
			s.found = append(s.found, f)
		}
	}
	return problems
}

// findLocally looks for the binary where it was when the dump was written, and for its debug file where Debian and
// gdb have them.
func (p *fileProvider) findLocally(m *minidump.Module, s *moduleSymbols) {
	paths := []string{m.Name}
	if id := string(m.CodeID); len(id) > 2 && nameOfFile(id) {
		paths = append(paths, filepath.Join(debugRoot, ".build-id", id[:2], id[2:]+".debug"))
	}
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if f, err := p.open(path, m.DebugID); err == nil {
			s.found = append(s.found, f)
		}
	}
}

// Rules implements stackwalk.Provider.
func (p *fileProvider) Rules(m *minidump.Module, addr uint64) (cfi.Rules, bool) {
	if c := p.at(m, addr).rules; c != nil {
		return c.Lookup(addr)
	}
	return cfi.Rules{}, false
}

// Covered implements stackwalk.Provider.
func (p *fileProvider) Covered(m *minidump.Module, addr uint64) (covered, known bool) {
	c := p.at(m, addr).names
	if c == nil {
		return false, false
	}
	return c.Covers(addr), true
}

// Names implements stackwalk.Provider.
func (p *fileProvider) Names(m *minidump.Module, addr uint64) []stackwalk.Name {
	c := p.at(m, addr).names
	if c == nil {
		return nil
	}
	return stackwalk.NamesOf(c, addr)
}

// Symbols implements stackwalk.Provider. A module that no frame touched was not looked for.
func (p *fileProvider) Symbols(m *minidump.Module) stackwalk.Symbols {
	s := p.module(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
