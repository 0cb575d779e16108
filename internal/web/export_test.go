package web

import (
	"context"
	"encoding/json"
	"time"

	"salvage/internal/access"
	"salvage/internal/crash"
	"salvage/internal/crashindex"
)

var (
	SafeNext = safeNext
	Visible  = visible
	Number   = number[int64]
	Size     = size
	Span     = span
	Link     = link
	WeekCard = func(counts []int) string { c := weekCard(counts); return c.Number + " " + c.Text }
)

// Counts spreads bins over the n days until now.
func Counts(now time.Time, n int, bins []crashindex.Bin) []int {
	return lastDays(now, n).counts(bins)
}

// Chart is the heights and the label of a chart.
func Chart(now time.Time, n, height int, bins []crashindex.Bin) (heights []int, label string) {
	c := chartOf(lastDays(now, n), bins, 10, 1, height)
	for _, b := range c.Bars {
		heights = append(heights, b.H)
	}
	return heights, c.Label
}

// CapFrames decodes a list of frames and returns the numbers of those that are kept.
func CapFrames(data []byte) (numbers []int, total, omitted int, err error) {
	var c capped[frameDoc]
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, 0, 0, err
	}
	for _, f := range append(append([]frameDoc{}, c.Head...), c.Tail...) {
		numbers = append(numbers, f.Number)
	}
	return numbers, c.Total, c.omitted(), nil
}

// WalkRows decodes a walk as pages do and returns how many rows and characters its view has.
func WalkRows(data []byte) (rows, characters int, err error) {
	d, err := decodeWalk(data)
	if err != nil {
		return 0, 0, err
	}
	b := newBudget()
	start := b.characters
	v := stackOf(d, b)
	d.system(b)
	d.crashpad(b)
	if v.Crashing != nil {
		rows += len(v.Crashing.Rows)
	}
	for _, t := range v.Threads {
		rows += len(t.Rows)
	}
	return rows, start - b.characters, nil
}

// ReportModel is all that a report's template gets.
func (s *Web) ReportModel(ctx context.Context, id crash.ID, who access.Principal) (string, error) {
	var doc crash.Processed
	if err := s.readJSON(ctx, id.ProcessedKey(), &doc); err != nil {
		return "", err
	}
	p, err := s.reportPage(ctx, id, &doc, who)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(p)
	return string(text), err
}
