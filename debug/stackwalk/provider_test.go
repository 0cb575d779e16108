package stackwalk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"salvage/debug/cfi"
	"salvage/debug/minidump"
	"salvage/debug/object"
	"salvage/debug/stackwalk"
	"salvage/debug/symcache"
)

// symFolders is a Provider of the symbol files in folders: file/ID/name.sym.
type symFolders struct {
	t       *testing.T
	folders []string
	mu      sync.Mutex
	modules map[*minidump.Module]*symFile
}

type symFile struct {
	names *symcache.Cache
	rules *cfi.Cache
}

func newSymFolders(t *testing.T, folders ...string) *symFolders {
	return &symFolders{t: t, folders: folders, modules: map[*minidump.Module]*symFile{}}
}

func (p *symFolders) file(m *minidump.Module) *symFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.modules[m]
	if f == nil {
		f = p.load(m)
		p.modules[m] = f
	}
	return f
}

func (p *symFolders) load(m *minidump.Module) *symFile {
	leaf := m.DebugFile[strings.LastIndexAny(m.DebugFile, `/\`)+1:]
	for _, folder := range p.folders {
		data, err := os.ReadFile(filepath.Join(folder, leaf, m.DebugID.Breakpad(), strings.TrimSuffix(leaf, ".pdb")+".sym"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return openSym(p.t, leaf, data)
	}
	return new(symFile)
}

// openSym makes caches of a symbol file; empty ones of one that cannot be read.
func openSym(t *testing.T, name string, data []byte) *symFile {
	f := new(symFile)
	o, err := object.Open(data)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return f
	}
	var names, rules bytes.Buffer
	_, err1 := symcache.Build(t.Context(), &names, &o.Module, o.Symbols(t.Context(), new(object.Report)), symcache.Options{})
	var err2, err3, err4 error
	f.names, err2 = symcache.Parse(names.Bytes())
	if cpu := cfi.CPUByName(o.Module.Arch); cpu != nil {
		b := cfi.NewBuilder(cpu, false)
		err3 = o.Rules(b, new(object.Report))
		b.Write(&rules, o.Module.ID)
		f.rules, err4 = cfi.Parse(rules.Bytes())
	}
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return f
}

func (p *symFolders) Names(m *minidump.Module, addr uint64) []stackwalk.Name {
	if f := p.file(m); f.names != nil {
		return stackwalk.NamesOf(f.names, addr)
	}
	return nil
}

func (p *symFolders) Rules(m *minidump.Module, addr uint64) (cfi.Rules, bool) {
	if f := p.file(m); f.rules != nil {
		return f.rules.Lookup(addr)
	}
	return cfi.Rules{}, false
}

func (p *symFolders) Covered(m *minidump.Module, addr uint64) (covered, known bool) {
	f := p.file(m)
	return f.names != nil && f.names.Covers(addr), f.names != nil
}

func (p *symFolders) Symbols(m *minidump.Module) stackwalk.Symbols {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.modules[m]; len(p.folders) > 0 && f != nil {
		return stackwalk.Symbols{Loaded: f.names != nil, Missing: f.names == nil}
	}
	return stackwalk.Symbols{}
}
