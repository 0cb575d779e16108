package symcache

import (
	"bytes"

	"salvage/debug/internal/tables"
)

// TestRange is a range; Scope NoScope: nothing is known.
type TestRange struct {
	Start       uint64
	Scope, Line uint32
}

const NoScope = noScope

// RangeTable writes tables of ranges, joined, and returns what finds a range in them. Ranges of nothing come
// back with line 0.
func RangeTable(parts [][]TestRange) (find func(addr uint64) TestRange, all []uint64, bytesOfDirectory int, err error) {
	var made []rangeTable
	for _, p := range parts {
		var t rangeTable
		for _, r := range p {
			t.put(r.Start, r.Scope, r.Line)
		}
		made = append(made, t)
	}
	var out bytes.Buffer
	w := tables.NewWriter(&out, format)
	writeRanges(w, made)
	for _, tag := range []uint32{tableMeta, tableScopes, tableFunctions, tableExtents, tableStrings} {
		w.Table(tag)
		if tag == tableMeta {
			w.Bytes(make([]byte, metaSize))
		}
	}
	if _, err := w.Close(); err != nil {
		return nil, nil, 0, err
	}
	c, err := Parse(out.Bytes())
	if err != nil {
		return nil, nil, 0, err
	}
	for r := range c.Ranges() {
		all = append(all, r.Start)
	}
	return func(addr uint64) TestRange {
		r := c.ranges.find(addr)
		if r.none {
			r.scope, r.line = noScope, 0
		}
		return TestRange{r.start, r.scope, r.line}
	}, all, len(c.ranges.directory), nil
}
