package breakpad

import "salvage/debug/symbols"

// idTable maps the numbers of FILE or INLINE_ORIGIN records to strings. Numbers are usually dense from
// zero; a use may come before the definition, and the first of several definitions counts.
type idTable struct {
	strings *symbols.Strings
	dense   []slot
	sparse  map[uint32]slot
}

type slot struct {
	id      symbols.StringID // 0: number not seen
	defined bool
}

// maxDense bounds the memory that one large number can ask for.
const maxDense = 1 << 20

func (t *idTable) get(n uint32) slot {
	if n < uint32(len(t.dense)) {
		return t.dense[n]
	}
	return t.sparse[n]
}

func (t *idTable) set(n uint32, s slot) {
	// The dense part grows only while it is at least a quarter full.
	if n < maxDense && n < uint32(4*len(t.dense)+1024) {
		for uint32(len(t.dense)) <= n {
			t.dense = append(t.dense, t.sparse[uint32(len(t.dense))])
		}
	}
	if n < uint32(len(t.dense)) {
		t.dense[n] = s
		return
	}
	if t.sparse == nil {
		t.sparse = map[uint32]slot{}
	}
	t.sparse[n] = s
}

// use returns the string id of number n, defined or not.
func (t *idTable) use(n uint32) symbols.StringID {
	if n < uint32(len(t.dense)) && t.dense[n].id != 0 {
		return t.dense[n].id
	}
	s := t.get(n)
	if s.id == 0 {
		s.id = t.strings.Reserve()
		t.set(n, s)
	}
	return s.id
}

// define gives number n the name with the given id, which is used for nothing else.
func (t *idTable) define(n uint32, name symbols.StringID) {
	switch s := t.get(n); {
	case s.id == 0:
		t.set(n, slot{name, true})
	case !s.defined:
		t.strings.Alias(s.id, name)
		t.set(n, slot{s.id, true})
	}
}
