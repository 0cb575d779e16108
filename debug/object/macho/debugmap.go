package macho

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"

	"salvage/debug"
	"salvage/debug/internal/cursor"
	"salvage/debug/symbols"
)

// DebugObject is an object file that a linked image was made of. Its debug information stayed in it.
type DebugObject struct {
	Path      string // of the file, or of the archive it is a member of
	Member    string // "": the file itself
	Modified  uint64 // seconds since 1970; 0 where the linker was told to leave it out
	Functions []DebugFunction
}

// DebugFunction says where the linker put a function of an object file.
type DebugFunction struct {
	Name []byte // as in the symbol tables; aliases the file
	Addr uint64 // in the image; not relative to ImageBase
	Size uint64
}

// DebugMap returns the object files of a linked image whose debug information is in none of its own
// sections: what the linker's debugging entries (stabs) say.
func (f *File) DebugMap() []DebugObject {
	var objects []DebugObject
	var open *DebugFunction // waits for its size
	for s := range f.Symbols() {
		switch s.Type {
		case stabObject:
			o := DebugObject{Path: string(s.Name), Modified: s.Addr}
			if at := bytes.LastIndexByte(s.Name, '('); at > 0 && s.Name[len(s.Name)-1] == ')' {
				o.Path, o.Member = string(s.Name[:at]), string(s.Name[at+1:len(s.Name)-1])
			}
			objects, open = append(objects, o), nil
		case stabSource:
			if len(s.Name) == 0 { // end of the unit
				open = nil
			}
		case stabFunction:
			if len(objects) == 0 {
				continue
			}
			o := &objects[len(objects)-1]
			if len(s.Name) > 0 {
				o.Functions = append(o.Functions, DebugFunction{Name: s.Name, Addr: s.Addr})
				open = &o.Functions[len(o.Functions)-1]
			} else if open != nil {
				open.Size, open = s.Addr, nil
			}
		}
	}
	return objects
}

// Placement says where the linker put the code of an object file.
type Placement struct{ pieces []placed }

type placed struct{ from, size, to uint64 }

// Place returns where the code of the object file f is in the image that o is of. Functions are found by name;
// those that the linker threw away are nowhere.
func (f *File) Place(o *DebugObject) *Placement {
	in := map[string]uint64{}
	for s := range f.functions() {
		if _, twice := in[string(s.Name)]; !twice {
			in[string(s.Name)] = s.Addr
		}
	}
	p := new(Placement)
	for _, fn := range o.Functions {
		if from, ok := in[string(fn.Name)]; ok && fn.Size > 0 {
			p.pieces = append(p.pieces, placed{from, fn.Size, fn.Addr})
		}
	}
	slices.SortFunc(p.pieces, func(a, b placed) int { return cmp.Compare(a.from, b.from) })
	return p
}

// Extents returns the code of the object file that is in the image, ascending and apart.
func (p *Placement) Extents() []symbols.Extent {
	extents := []symbols.Extent{}
	for _, x := range p.pieces {
		extents = append(extents, symbols.Extent{Addr: x.from, Size: x.size})
	}
	return merge(extents)
}

// Find returns where in the image the function is that starts at an address of the object file.
func (p *Placement) Find(addr uint64) (uint64, bool) {
	i, ok := slices.BinarySearchFunc(p.pieces, addr, func(x placed, addr uint64) int { return cmp.Compare(x.from, addr) })
	if !ok {
		return 0, false
	}
	return p.pieces[i].to, true
}

// Member returns the contents of a member of a static library (ar archive) whose name and, unless that is
// 0, time are those of a DebugObject. It knows BSD's and GNU's long names.
func Member(archive []byte, name string, modified uint64) ([]byte, error) {
	c := cursor.New(archive, "ar", "")
	if string(c.Bytes(8)) != "!<arch>\n" {
		return nil, &debug.FormatError{Format: "ar", Reason: "wrong magic", Err: debug.ErrUnsupported}
	}
	var long []byte // GNU's table of long names
	for c.Len() > 0 {
		header := c.Bytes(60)
		if header == nil {
			break
		}
		number := func(from, to int) uint64 {
			n, err := strconv.ParseUint(string(bytes.TrimRight(header[from:to], " ")), 10, 63)
			if err != nil {
				c.Fail("number that is none", nil)
			}
			return n
		}
		size := number(48, 58)
		body := c.Sub(size)
		c.Skip(min(size&1, c.Len()))
		label := bytes.TrimRight(header[:16], " ")
		switch {
		case bytes.HasPrefix(label, []byte("#1/")):
			label = cut(body.Bytes(number(3, 16)))
		case string(label) == "//":
			long = body.Rest()
			continue
		case len(label) > 1 && label[0] == '/':
			at := number(1, 16)
			label = nil
			if at < uint64(len(long)) {
				label, _, _ = bytes.Cut(long[at:], []byte("/\n"))
			}
		default:
			label = bytes.TrimSuffix(label, []byte("/"))
		}
		if body.Err() == nil && c.Err() == nil && string(label) == name && (modified == 0 || number(16, 28) == modified) {
			return body.Rest(), nil
		}
	}
	if c.Err() != nil {
		return nil, c.Err()
	}
	return nil, &debug.FormatError{Format: "ar", Reason: "no such member", Err: ErrNotInFile}
}
