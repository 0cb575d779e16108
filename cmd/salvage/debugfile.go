package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"salvage/debug/object"
	"salvage/debug/object/macho"
	"salvage/internal/errs"
	"salvage/internal/mmap"
)

// debugRoot is where distributions put debug files, in the layout of GDB's "Debugging Information in Separate
// Files".
var debugRoot = "/usr/lib/debug"

// files are mapped files that something else aliases.
type files []*mmap.File

func (f files) Close() error {
	var all []error
	for _, m := range f {
		all = append(all, m.Close())
	}
	return errors.Join(all...)
}

// openDebugFile maps and opens the file at path, which may be a dSYM bundle, and what it needs.
func openDebugFile(path, arch string) (f debugFile, open files, err error) {
	path, err = insideBundle(path)
	if err != nil {
		return f, nil, err
	}
	m, err := openFile(path)
	if err != nil {
		return f, nil, err
	}
	return openMapped(m, path, arch)
}

// openMapped opens the mapped file at path and what it needs. An error closes it.
func openMapped(m *mmap.File, path, arch string) (f debugFile, open files, err error) {
	defer errs.Wrap(&err, "%s", path)
	data, err := object.Unpack(m.Data)
	if err != nil {
		return f, nil, errors.Join(err, m.Close())
	}
	obj, err := object.OpenArch(data, arch)
	if err != nil {
		return f, nil, errors.Join(err, m.Close())
	}
	return debugFile{obj, m}, append(companions(path, obj), m), nil
}

// insideBundle returns the debug file in the dSYM bundle at path, or path if it is none.
func insideBundle(path string) (string, error) {
	folder := filepath.Join(path, filepath.FromSlash(macho.DSYMFolder))
	entries, err := os.ReadDir(folder)
	if err != nil {
		return path, nil
	}
	var inside []string
	for _, e := range entries {
		m, err := openFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return "", err
		}
		if macho.Probe(m.Data) || macho.ProbeFat(m.Data) {
			inside = append(inside, filepath.Join(folder, e.Name()))
		}
		m.Close()
	}
	if len(inside) != 1 {
		return "", errs.Public(errs.Invalid, "%s: the bundle has %s: name one of them.", path, plural(len(inside), "debug file"))
	}
	return inside[0], nil
}

// companions adds to obj, the file at path, the other files that hold its debug information, where GDB and
// LLVM's tools look for them. What is not found is left to the report. Close unmaps them.
func companions(path string, obj *object.Object) files {
	var found files
	tried := map[string]bool{}
	from := realPath(path) // the file that says what it needs
	packages := []string{path + ".dwp", from + ".dwp"}
	for more := true; more; {
		more = false
		for _, n := range obj.Needs() {
			key := fmt.Sprintf("%d %s %x %x", n.Kind, n, n.ID, n.BuildID)
			if tried[key] {
				continue
			}
			tried[key] = true
			candidates := companionPaths(from, n)
			if n.Kind == object.SplitUnit {
				candidates = append(packages, candidates...)
				packages = nil // the other units of a package came with the first
			}
			for _, c := range candidates {
				f, err := mmap.Open(c)
				if err != nil {
					continue
				}
				data, err := object.Unpack(f.Data)
				if err != nil || obj.Add(n, data) != nil { // another file of that name
					f.Close()
					continue
				}
				found, more = append(found, f), true
				if n.Kind == object.DebugFile {
					from = realPath(c)
					packages = append(packages, c+".dwp", from+".dwp")
				}
				break
			}
		}
	}
	return found
}

// companionPaths returns the places of a file that the file at from needs, the likeliest first.
func companionPaths(from string, n object.Need) (paths []string) {
	dir := filepath.Dir(from)
	add := func(elem ...string) { paths = append(paths, filepath.Join(elem...)) }
	if id := hex.EncodeToString(n.BuildID); len(id) > 2 {
		add(debugRoot, ".build-id", id[:2], id[2:]+".debug")
	}
	switch {
	case n.Name == "":
	case n.Kind == object.DebugFile:
		leaf := filepath.Base(n.Name)
		add(dir, leaf)
		add(dir, ".debug", leaf)
		add(debugRoot, dir, leaf)
	case n.Kind == object.Database:
		leaf := leafName(n.Name)
		add(strings.ReplaceAll(n.Name, `\`, "/"))
		add(dir, leaf)
		add(dir, compressedName(leaf))
		add(leaf)
	case n.Kind == object.Supplement:
		if filepath.IsAbs(n.Name) {
			add(n.Name)
		} else {
			add(dir, n.Name)
		}
		add(debugRoot, ".dwz", filepath.Base(n.Name))
	case filepath.IsAbs(n.Name):
		add(n.Name)
		add(dir, filepath.Base(n.Name))
	default:
		add(n.Dir, n.Name)
		add(dir, n.Name)
		add(dir, filepath.Base(n.Name))
	}
	return paths
}

// compressedName is what symbol servers call a file that is in a cabinet.
func compressedName(name string) string { return name[:max(0, len(name)-1)] + "_" }

// wholeName is what a file in a cabinet is called.
func wholeName(name string) string {
	for _, ext := range []string{".pdb", ".exe", ".dll", ".sys"} {
		if n := len(name) - len(ext); n > 0 && strings.EqualFold(name[n:], compressedName(ext)) {
			return name[:n] + ext
		}
	}
	return name
}

// realPath returns an absolute path without links, as files that name each other relative to themselves mean it.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return path
}
