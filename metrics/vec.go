package metrics

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	maxTags   = 8
	maxTagLen = 200
	other     = "other"
)

// vec holds the handles of a metric by their tag values. Finding one takes no lock.
type vec[H any] struct {
	desc     *Desc
	taps     *atomic.Pointer[taps]
	overflow *Counter // nil for the overflow counter itself
	base     *H
	create   creator[H]

	table atomic.Pointer[table[H]]
	mu    sync.Mutex // guards adding
	count int
}

type creator[H any] func(v *vec[H], o origin) *H

// origin is what the handles of a metric and their events share.
type origin struct {
	taps   *atomic.Pointer[taps]
	desc   *Desc
	values []string // nil in the base handle
	tags   []string // "name:value", as backends show them
}

// newHandle makes the base handle of v if values is nil, else the one bound to values.
func (v *vec[H]) newHandle(values []string) *H {
	o := origin{taps: v.taps, desc: v.desc, values: values}
	for i, t := range v.desc.Tags {
		if values == nil {
			o.tags = append(o.tags, cleanTag(t.Name, other))
		} else {
			o.tags = append(o.tags, cleanTag(t.Name, values[i]))
		}
	}
	return v.create(v, o)
}

// table is an open-addressing hash table that only ever gains entries, and is replaced by one twice
// the size when it is half full.
type table[H any] struct{ slots []atomic.Pointer[entry[H]] }

type entry[H any] struct {
	hash   uint64
	values []string
	handle *H
}

func newTable[H any](size int) *table[H] { return &table[H]{make([]atomic.Pointer[entry[H]], size)} }

var seed = maphash.MakeSeed()

func hashOf(values []string) uint64 {
	h := uint64(0)
	for _, v := range values {
		h = h*0x9e3779b97f4a7c15 + maphash.String(seed, v)
	}
	return h
}

// slot returns the entry of values, or the slot where it belongs.
func (t *table[H]) slot(hash uint64, values []string) (*entry[H], *atomic.Pointer[entry[H]]) {
	for i := hash; ; i++ {
		p := &t.slots[i&uint64(len(t.slots)-1)]
		if e := p.Load(); e == nil || e.hash == hash && slices.Equal(e.values, values) {
			return e, p
		}
	}
}

// with is find for a handle with the given origin, which must be the base handle's.
func (v *vec[H]) with(o *origin, values []string) *H {
	if o.values != nil {
		v.desc.panic("With on a handle that has its tag values")
	}
	if len(values) != len(v.desc.Tags) {
		v.desc.panic("wrong number of tag values")
	}
	return v.find(values)
}

// find returns the handle for values, which it does not retain.
func (v *vec[H]) find(values []string) *H {
	if e, _ := v.table.Load().slot(hashOf(values), values); e != nil {
		return e.handle
	}
	return v.add(values)
}

// add is with for values that are not in the table as they are: unusual spellings, and new ones.
func (v *vec[H]) add(values []string) *H {
	clean, others := make([]string, len(values)), 0
	for i, t := range v.desc.Tags {
		clean[i] = cleanValue(t.Name, values[i])
		if t.Allowed != nil && !slices.Contains(t.Allowed, clean[i]) {
			clean[i] = other
		}
		if clean[i] == other {
			others++
		}
	}
	if others == len(clean) {
		return v.base
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	t, hash := v.table.Load(), hashOf(clean)
	e, free := t.slot(hash, clean)
	switch {
	case e != nil:
		return e.handle
	case v.count >= v.desc.maxSeries:
		if v.overflow != nil {
			v.overflow.With(v.desc.Key).Inc()
		}
		return v.base
	}
	e = &entry[H]{hash, clean, v.newHandle(clean)}
	v.count++
	if 2*v.count > len(t.slots) {
		grown := newTable[H](2 * len(t.slots))
		for i := range t.slots {
			if old := t.slots[i].Load(); old != nil {
				_, p := grown.slot(old.hash, old.values)
				p.Store(old)
			}
		}
		_, free = grown.slot(hash, clean)
		free.Store(e)
		v.table.Store(grown)
		return e.handle
	}
	free.Store(e)
	return e.handle
}

// read returns the series of all handles by their tag values.
func (v *vec[H]) read(read func(*H) Series) []Series {
	var out []Series
	use := func(values []string, h *H) {
		s := read(h)
		s.Tags = values
		if s.Value != 0 || s.Count > 0 || !slices.Contains(values, other) {
			out = append(out, s)
		}
	}
	if len(v.desc.Tags) == 0 {
		use(nil, v.base)
		return out
	}
	others := slices.Repeat([]string{other}, len(v.desc.Tags))
	use(others, v.base)
	t := v.table.Load()
	for i := range t.slots {
		if e := t.slots[i].Load(); e != nil {
			use(e.values, e.handle)
		}
	}
	slices.SortFunc(out, func(a, b Series) int { return slices.Compare(a.Tags, b.Tags) })
	return out
}

// cleanTag returns a tag as backends show it, by the rules of Markus's generate_tag: the name alone if the
// value is empty, a letter first, lower case, at most 200 characters, and none of the names that Datadog sets.
func cleanTag(name, value string) string {
	tag := cleanChars(name)
	if value = cleanChars(value); value != "" {
		tag += ":" + value
	}
	if tag != "" && (tag[0] < 'a' || tag[0] > 'z') {
		tag = "a" + tag
	}
	switch tag {
	case "device", "host", "source":
		tag += "_"
	}
	return tag[:min(len(tag), maxTagLen)]
}

// cleanValue makes a tag value safe for every exporter, by the same rules, and cuts the tag "name:value" at
// 200 characters.
func cleanValue(name, value string) string {
	value = cleanChars(value)
	return value[:min(len(value), max(0, maxTagLen-len(name)-1))]
}

// cleanChars makes characters outside letters, digits, dot, underscore, slash and hyphen underscores, and
// letters lower case. White space alone is nothing.
func cleanChars(s string) string {
	if strings.TrimSpace(s) == "" {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._/-", r):
			return r
		}
		return '_'
	}, s)
}
