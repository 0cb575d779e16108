package config

import (
	"slices"
	"strings"
)

// stray is a setting that no option reads.
type stray struct {
	Warning
	option   *declaration // that Instead belongs to; nil: none is near
	variable bool
}

// strays returns the settings that belong to no option; of variables only those nearly named as one.
func strays(all []*declaration, sources []Source) []stray {
	var out []stray
	for _, src := range sources {
		lister, ok := src.(Lister)
		if !ok {
			continue
		}
		known := make(map[string]bool, len(all))
		names := make([]string, len(all)) // of the options; empty where src cannot set it
		for i, d := range all {
			if d.FlagOnly {
				continue
			}
			for nth, k := range d.keys {
				name := spell(src, k)
				known[name] = true
				if nth == 0 {
					names[i] = name
				}
				if d.Secret {
					known[spell(src, k.file())] = true
				}
			}
		}
		for _, v := range lister.List() {
			if known[v.Name] || inMap(v.Name, all) {
				continue
			}
			s := stray{Warning: Warning{Name: v.Name, Source: src.Name(), Pos: v.Pos, Err: ErrUnknown}, variable: isEnv(src)}
			if i := nearest(v.Name, names, s.variable); i >= 0 {
				s.Instead, s.option = names[i], all[i]
			}
			if s.option != nil || !s.variable {
				out = append(out, s)
			}
		}
	}
	return out
}

func inMap(name string, all []*declaration) bool {
	for _, d := range all {
		under := func(k Key) bool { _, ok := cutNamespace(name, k.String()); return ok }
		if d.isMap && slices.ContainsFunc(d.keys, under) {
			return true
		}
	}
	return false
}

// nearest returns the index of the name that was probably meant, or -1. A variable may have a typing
// error in each six letters, two at most, as there are many others; a key of a file one in each three, three
// at most, or the wrong namespace.
func nearest(name string, names []string, variable bool) int {
	best, limit := -1, min(len(name)/3, 3)
	if variable {
		limit = min(len(name)/6, 2)
	}
	name = fold(name)
	for i, n := range names {
		if n == "" || len(n) > len(name)+limit || len(name) > len(n)+limit {
			continue
		}
		if d := distance(name, fold(n)); d <= limit {
			best, limit = i, d-1
		}
	}
	for i, n := range names {
		if last := name[strings.LastIndexByte(name, '_')+1:]; best < 0 && !variable && strings.HasSuffix(fold(n), "_"+last) {
			best = i
		}
	}
	return best
}

// distance counts the letters to insert, drop, change or swap with the next to get from a to b.
func distance(a, b string) int {
	var before, last []int // rows of the table of distances of prefixes
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
