package dwarf

import "salvage/debug/symbols"

// nameOf is what is known of an entry that others refer to.
type nameOf struct {
	linkage, plain symbols.StringID
	language       symbols.Language
}

// maxOrigins bounds a chain of abstract origins and specifications: out-of-line instance → abstract
// instance → declaration is three; link-time optimisation adds one or two.
const maxOrigins = 16

// name returns the linkage name of e, or of what it is an instance or the definition of; failing that
// the plain name. Its language is that of the unit that the name comes from, since link-time
// optimisation inlines across languages.
func (w *walker) name(u *unit, e *entry) (symbols.StringID, symbols.Language) {
	n := w.resolve(u, e, 0)
	if n.linkage != 0 {
		return n.linkage, n.language
	}
	return n.plain, n.language
}

func (w *walker) resolve(u *unit, e *entry, depth int) nameOf {
	n := nameOf{language: u.language}
	n.linkage, n.plain = w.intern(w.r.str(u, e.values[slotLinkageName])), 0
	if n.linkage != 0 {
		return n
	}
	n.plain = w.intern(w.r.str(u, e.values[slotName]))
	for _, s := range [...]slot{slotAbstractOrigin, slotSpecification} {
		if !e.has(s) {
			continue
		}
		off, ok := w.r.ref(u, e.values[s])
		if !ok || depth == maxOrigins {
			return n
		}
		o := w.referred(u, off, depth+1)
		n.linkage, n.language = o.linkage, o.language
		if n.plain == 0 {
			n.plain = o.plain
		}
		return n
	}
	return n
}

// referred returns the names of the entry at an offset of .debug_info, remembering them.
func (w *walker) referred(u *unit, off uint64, depth int) nameOf {
	if n, ok := w.names[off]; ok {
		return n
	}
	if off < u.off || off >= u.end {
		u = w.r.unitAt(off)
	}
	if u == nil || u.abbrevs == nil {
		return nameOf{}
	}
	c := w.r.cursor(w.r.s.Info[:u.end], ".debug_info")
	c.Skip(off)
	var e entry
	if w.r.readEntry(&c, u, &e) == nil || c.Err() != nil {
		return nameOf{}
	}
	n := w.resolve(u, &e, depth)
	if depth < maxOrigins {
		w.names[off] = n
	}
	return n
}

// intern interns a name within a budget: entries may name overlapping pieces of one long string, which
// would make the work quadratic.
func (w *walker) intern(b []byte) symbols.StringID {
	w.nameWork += uint64(len(b))
	s := w.r.s
	if w.nameWork > 64*uint64(len(s.Info)+len(s.Str)+len(s.LineStr)+len(s.Line))+1<<20 {
		w.fail("names overlap without end")
		return 0
	}
	return w.strings.Intern(b)
}
