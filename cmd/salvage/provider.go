package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"salvage/debug"
	"salvage/debug/breakpad"
	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/debug/object"
	"salvage/debug/object/macho"
	"salvage/debug/stackwalk"
	"salvage/debug/symcache"
)

// fileProvider finds the symbols of modules in folders laid out as symbol servers are,
// <debug file>/<DEBUGID>/<name>, and in dSYM bundles and single files of any format, whose identity is told
// by their contents.
type fileProvider struct {
	ctx     context.Context
	folders []string
	files   map[debugid.ID][]debugFile
	closers []func() error

	asked map[*minidump.Module]*pages // nil: not known

	mu      sync.Mutex
	modules map[*minidump.Module]*moduleSymbols
}

// moduleSymbols is what was found for a module, by whoever asked first.
type moduleSymbols struct {
	mu     sync.Mutex
	loaded bool
	part   pages // that names and rules are known of; nil: all
	found  []debugFile
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
func newFileProvider(ctx context.Context, paths []string) (*fileProvider, error) {
	p := &fileProvider{ctx: ctx, files: map[debugid.ID][]debugFile{}, modules: map[*minidump.Module]*moduleSymbols{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: no such file or folder", path)
		}
		switch {
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
			p.Close()
			return nil, err
		}
	}
	return p, nil
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
	f, err := openFile(path)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.closers = append(p.closers, f.Close)
	p.mu.Unlock()
	all, err := object.OpenAll(f.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, o := range all {
		p.files[o.Module.ID] = append(p.files[o.Module.ID], debugFile{o, f})
	}
	return nil
}

// Close unmaps all files. Nothing that came from the provider may be used afterwards.
func (p *fileProvider) Close() error {
	var errs []error
	for _, c := range p.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
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
			s.names, s.state.Loaded = names, true
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

// find looks for the files of a module: those given, then those in folders.
func (p *fileProvider) find(m *minidump.Module, s *moduleSymbols) {
	if m.DebugID.IsZero() {
		s.state = stackwalk.Symbols{Missing: true, Reason: "the dump has no debug id for the module"}
		return
	}
	s.found = slices.Clone(p.files[m.DebugID])
	problems := p.findInFolders(m, s)
	switch {
	case len(s.found) > 0:
	case len(problems) > 0:
		s.state.Corrupt, s.state.Reason = true, errors.Join(problems...).Error()
	default:
		s.state.Missing, s.state.Reason = true, "no symbols for the module were found"
	}
}

func (p *fileProvider) findInFolders(m *minidump.Module, s *moduleSymbols) (problems []error) {
	// What a dump says becomes part of a path.
	leaf := m.DebugFile[strings.LastIndexAny(m.DebugFile, `/\`)+1:]
	if leaf == "" || leaf == "." || leaf == ".." || strings.ContainsRune(leaf, 0) {
		return nil
	}
	base := leaf
	if n := len(leaf) - len(".pdb"); n > 0 && strings.EqualFold(leaf[n:], ".pdb") {
		base = leaf[:n]
	}
	for _, folder := range p.folders {
		dir := filepath.Join(folder, leaf, m.DebugID.Breakpad())
		names := []string{leaf + ".dbg", leaf, base + ".sym"}
		if image := m.Name[strings.LastIndexAny(m.Name, `/\`)+1:]; base != leaf && image != "" && image != "." && image != ".." && !strings.ContainsRune(image, 0) {
			names = append(names, image) // beside its PDB
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			f, err := openFile(path)
			if err != nil {
				continue
			}
			p.mu.Lock()
			p.closers = append(p.closers, f.Close)
			p.mu.Unlock()
			all, err := object.OpenAll(f.Data)
			i := slices.IndexFunc(all, func(o *object.Object) bool { return err == nil && o.Module.ID == m.DebugID })
			if err == nil && i < 0 {
				err = fmt.Errorf("it is for %s", all[0].Module.ID.Breakpad())
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", path, err))
				continue
			}
			s.found = append(s.found, debugFile{all[i], f})
		}
	}
	return problems
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
