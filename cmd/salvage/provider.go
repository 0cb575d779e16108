package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"salvage/debug/cfi"
	"salvage/debug/debugid"
	"salvage/debug/minidump"
	"salvage/debug/object"
	"salvage/debug/stackwalk"
	"salvage/debug/symcache"
)

// fileProvider finds the symbols of modules in folders laid out as symbol servers are,
// <debug file>/<DEBUGID>/<name>, and in single files of any format, whose identity is told by their
// contents.
type fileProvider struct {
	ctx     context.Context
	folders []string
	files   map[debugid.ID][]*object.Object
	closers []func() error

	mu      sync.Mutex
	modules map[*minidump.Module]*moduleSymbols
}

// moduleSymbols is what was found for a module; done once, by whoever asks first.
type moduleSymbols struct {
	once  sync.Once
	names *symcache.Cache // nil: none
	rules *cfi.Cache      // nil: none
	state stackwalk.Symbols
}

// newFileProvider opens paths: folders, or files.
func newFileProvider(ctx context.Context, paths []string) (*fileProvider, error) {
	p := &fileProvider{ctx: ctx, files: map[debugid.ID][]*object.Object{}, modules: map[*minidump.Module]*moduleSymbols{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s: no such file or folder", path)
		}
		if err == nil && !info.IsDir() {
			err = p.addFile(path)
		} else if err == nil {
			p.folders = append(p.folders, path)
		}
		if err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

func (p *fileProvider) addFile(path string) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.closers = append(p.closers, f.Close)
	p.mu.Unlock()
	o, err := object.Open(f.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.files[o.Module.ID] = append(p.files[o.Module.ID], o)
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
	s := p.modules[m]
	if s == nil {
		s = new(moduleSymbols)
		p.modules[m] = s
	}
	p.mu.Unlock()
	s.once.Do(func() { p.load(m, s) })
	return s
}

// load looks for the files of a module and makes of the best ones what answers questions: names from
// debug information before symbol tables, rules from whatever has them.
func (p *fileProvider) load(m *minidump.Module, s *moduleSymbols) {
	if m.DebugID.IsZero() {
		s.state = stackwalk.Symbols{Missing: true, Reason: "the dump has no debug id for the module"}
		return
	}
	found, err := p.find(m)
	if err != nil {
		s.state.Corrupt, s.state.Reason = true, err.Error()
	}
	var names *object.Object
	for _, o := range found {
		if o.HasSymbols && (names == nil || o.HasDebugInfo && !names.HasDebugInfo) {
			names = o
		}
	}
	if names != nil {
		var out bytes.Buffer
		var rep object.Report
		if _, err := symcache.Build(p.ctx, &out, &names.Module, names.Symbols(p.ctx, &rep), symcache.Options{}); err != nil {
			s.state.Corrupt, s.state.Reason = true, err.Error()
		} else if s.names, err = symcache.Parse(out.Bytes()); err == nil {
			s.state.Loaded = true
		}
		if rep.Lost > 0 {
			s.state.Corrupt = true
			s.state.Reason = fmt.Sprintf("%d records of the symbols cannot be used", rep.Lost)
		}
	}
	for _, o := range found {
		cpu := cfi.CPUByName(o.Module.Arch)
		if s.rules != nil || !o.HasRules || cpu == nil {
			continue
		}
		var out bytes.Buffer
		var rep object.Report
		b := cfi.NewBuilder(cpu, o.BigEndian())
		if err := o.Rules(b, &rep); err != nil {
			continue
		}
		if st, err := b.Write(&out, o.Module.ID); err == nil && st.Ranges > 0 {
			s.rules, _ = cfi.Parse(out.Bytes())
		}
	}
	if len(found) == 0 && !s.state.Corrupt {
		s.state.Missing, s.state.Reason = true, "no symbols for the module were found"
	}
}

// find returns the files for a module: those given, then those in folders.
func (p *fileProvider) find(m *minidump.Module) ([]*object.Object, error) {
	found := p.files[m.DebugID]
	// What a dump says becomes part of a path.
	leaf := m.DebugFile[strings.LastIndexAny(m.DebugFile, `/\`)+1:]
	if leaf == "" || leaf == "." || leaf == ".." || strings.ContainsRune(leaf, 0) {
		return found, nil
	}
	base := leaf
	if n := len(leaf) - len(".pdb"); n > 0 && strings.EqualFold(leaf[n:], ".pdb") {
		base = leaf[:n]
	}
	var problems []error
	for _, folder := range p.folders {
		dir := filepath.Join(folder, leaf, m.DebugID.Breakpad())
		for _, name := range []string{leaf + ".dbg", leaf, base + ".sym"} {
			path := filepath.Join(dir, name)
			f, err := openFile(path)
			if err != nil {
				continue
			}
			p.mu.Lock()
			p.closers = append(p.closers, f.Close)
			p.mu.Unlock()
			o, err := object.Open(f.Data)
			if err == nil && o.Module.ID != m.DebugID {
				err = fmt.Errorf("it is for %s", o.Module.ID.Breakpad())
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", path, err))
				continue
			}
			found = append(found, o)
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, errors.Join(problems...)
}

// Rules implements stackwalk.Provider.
func (p *fileProvider) Rules(m *minidump.Module, addr uint64) (cfi.Rules, bool) {
	if c := p.module(m).rules; c != nil {
		return c.Lookup(addr)
	}
	return cfi.Rules{}, false
}

// Covered implements stackwalk.Provider.
func (p *fileProvider) Covered(m *minidump.Module, addr uint64) (covered, known bool) {
	c := p.module(m).names
	if c == nil {
		return false, false
	}
	return c.Covers(addr), true
}

// Names implements stackwalk.Provider.
func (p *fileProvider) Names(m *minidump.Module, addr uint64) []stackwalk.Name {
	c := p.module(m).names
	if c == nil {
		return nil
	}
	return stackwalk.NamesOf(c, addr)
}

// Symbols implements stackwalk.Provider. A module that no frame touched was not looked for.
func (p *fileProvider) Symbols(m *minidump.Module) stackwalk.Symbols {
	p.mu.Lock()
	s := p.modules[m]
	p.mu.Unlock()
	if s == nil {
		return stackwalk.Symbols{}
	}
	s.once.Do(func() { p.load(m, s) })
	return s.state
}
