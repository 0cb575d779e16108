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
	if w.r.alt == nil {
		for _, s := range [...]slot{slotLinkageName, slotName, slotAbstractOrigin, slotSpecification} {
			w.missingAlt = w.missingAlt || isAlt(e.values[s].form)
		}
	}
	n.linkage, n.plain = w.intern(w.r.str(u, e.values[slotLinkageName])), 0
	if n.linkage != 0 {
		return n
	}
	n.plain = w.intern(w.r.str(u, e.values[slotName]))
	for _, s := range [...]slot{slotAbstractOrigin, slotSpecification} {
		if !e.has(s) {
			continue
		}
		f, off := w.r.ref(u, e.values[s])
		if f == nil || depth == maxOrigins {
			return n
		}
		o := w.referred(u, f, off, depth+1)
		n.linkage = o.linkage
		if o.language != symbols.LanguageUnknown { // the units that dwz makes have none
			n.language = o.language
		}
		if n.plain == 0 {
			n.plain = o.plain
		}
		return n
	}
	return n
}

// referred returns the names of the entry at an offset of a file's .debug_info, remembering them.
func (w *walker) referred(u *unit, f *file, off uint64, depth int) nameOf {
	key := f.base + off
	if n, ok := w.names[key]; ok {
		return n
	}
	if f != u.f || off < u.off || off >= u.end {
		u = f.unitAt(off)
	}
	if u == nil || u.abbrevs == nil {
		return nameOf{}
	}
	c := f.cursor(u.info, ".debug_info")
	c.Skip(off)
	var e entry
	if readEntry(&c, u, &e) == nil || c.Err() != nil {
		return nameOf{}
	}
	n := w.resolve(u, &e, depth)
	if depth < maxOrigins {
		w.names[key] = n
	}
	return n
}

// isAlt reports whether a form leads into the supplementary file.
func isAlt(form uint16) bool {
	switch form {
	case formGNURefAlt, formRefSup4, formRefSup8, formGNUStrpAlt, formStrpSup:
		return true
	}
	return false
}

// intern interns a name within a budget: entries may name overlapping pieces of one long string, which
// would make the work quadratic.
func (w *walker) intern(b []byte) symbols.StringID {
	w.nameWork += uint64(len(b))
	if w.nameWork > 64*w.r.infoSize+1<<20 {
		w.fail("names overlap without end")
		return 0
	}
	return w.strings.Intern(b)
}
