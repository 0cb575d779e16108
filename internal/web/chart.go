package web

import (
	"fmt"
	"time"

	"salvage/internal/crashindex"
)

// days are the last n days of UTC, today included.
type days struct {
	n        int
	from, to time.Time
}

func lastDays(now time.Time, n int) days {
	y, m, d := now.UTC().Date()
	to := time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
	return days{n, to.AddDate(0, 0, -n), to}
}

// counts spreads bins over the days.
func (d days) counts(bins []crashindex.Bin) []int {
	out := make([]int, d.n)
	for _, b := range bins {
		if i := int(b.Start.Sub(d.from) / crashindex.Day); !b.Start.Before(d.from) && i < d.n {
			out[i] += b.Count
		}
	}
	return out
}

// chart is bars, one a day, for an SVG of Width by Height.
type chart struct {
	Width, Height int
	Label         string // what one would see
	First, Last   string // days
	Most          string
	Bars          []bar
}

type bar struct {
	X, Y, W, H int
	Day, Count string
	Some       bool
}

// chartOf makes a chart with bars of the given pitch, of which gap is empty.
func chartOf(d days, bins []crashindex.Bin, pitch, gap, height int) chart {
	counts := d.counts(bins)
	c := chart{Width: d.n * pitch, Height: height}
	total, most := 0, 0
	for i, n := range counts {
		total += n
		if n > counts[most] {
			most = i
		}
	}
	name := func(i int) string { return d.from.AddDate(0, 0, i).Format("2 Jan") }
	for i, n := range counts {
		h := 0
		if n > 0 {
			h = max(1, int(int64(n)*int64(height)/int64(counts[most])))
		}
		c.Bars = append(c.Bars, bar{i * pitch, height - h, pitch - gap, h, name(i), number(n), n > 0})
	}
	c.First, c.Last, c.Most = name(0), name(d.n-1), number(counts[most])
	c.Label = fmt.Sprintf("Crashes a day from %s to %s: none.", c.First, c.Last)
	if total > 0 {
		c.Label = fmt.Sprintf("Crashes a day from %s to %s: %s in all, most on %s with %s.", c.First, c.Last, number(total), name(most), c.Most)
	}
	return c
}

// share is a value and what part of all has it.
type share struct {
	Name    string
	Count   string
	Percent int
}

func shares(terms []crashindex.Term, total int) (out []share) {
	for _, t := range terms {
		out = append(out, share{show(t.Value.String(), 300), number(t.Count), int(int64(t.Count) * 100 / int64(max(1, total)))})
	}
	return out
}
