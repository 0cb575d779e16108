package web

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"salvage/internal/crash"
)

// crumb is a row of the breadcrumbs, the latest first.
type crumb struct {
	When     string // how long before the crash, or its time
	Title    string // its time, as it was sent
	Level    string // lower case
	Type     string
	Category string
	Message  string
	Data     []fact
}

const (
	maxCrumbs     = 1000
	maxCrumbData  = 50
	maxCrumbText  = 1000
	crumbsAtOnce  = 20
	longestBefore = 24 * time.Hour // else a date says more
)

// breadcrumbs returns what happened before the crash, at what seconds since 1970 (0: unknown) that was.
func breadcrumbs(list json.RawMessage, crashed int64, b *budget) (rows []crumb) {
	all := crash.ReadBreadcrumbs(list)
	slices.Reverse(all)
	for _, c := range all[:min(len(all), maxCrumbs)] {
		row := crumb{
			When: b.text(c.Timestamp, 40), Title: b.text(c.Timestamp, 40), Level: strings.ToLower(b.text(c.Level, 20)), Type: strings.ToLower(b.text(c.Type, 40)),
			Category: b.text(c.Category, 200), Message: b.lines(c.Message, maxCrumbText),
		}
		if before := time.Unix(crashed, 0).Sub(c.Time); !c.Time.IsZero() {
			row.When = stampOf(c.Time).Text
			if crashed > 0 && before >= 0 && before < longestBefore {
				row.When = span(int64(before/time.Second)) + " before"
			}
		}
		names := slices.Sorted(maps.Keys(c.Data))
		for _, name := range names[:min(len(names), maxCrumbData)] {
			row.Data = append(row.Data, fact{b.text(name, 200), b.lines(annotationText(c.Data[name]), maxCrumbText)})
		}
		rows = append(rows, row)
	}
	return rows
}
