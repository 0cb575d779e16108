package crash

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Breadcrumb is something that happened before a crash, in the shape of Sentry's clients (crash-pipeline.md
// §10.2). All may be empty.
type Breadcrumb struct {
	Time      time.Time // zero where Timestamp is none
	Timestamp string    // as it was sent
	Level     string    // debug, info, warning, error, fatal or critical, in whatever case
	Type      string    // default, http, navigation, user, …
	Category  string
	Message   string
	Data      map[string]any
}

const maxBreadcrumbs = 1000 // the latest are kept

// ParseBreadcrumbs reads an annotation: JSON, or a text that is JSON, of a list of objects or of an object
// that has the list as "values". It returns the list as it came, oldest first, for ReadBreadcrumbs. Members
// that are not known may hold anything; those that are must have their type. Timestamps may be numbers, which
// Sentry allows and Crash Stats does not. Errors quote nothing that was sent.
func ParseBreadcrumbs(annotation any) ([]any, error) {
	v := annotation
	if text, ok := annotation.(string); ok {
		if strings.TrimSpace(text) == "" {
			return nil, nil
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil || d.More() {
			return nil, fmt.Errorf("not valid JSON")
		}
	}
	if m, ok := v.(map[string]any); ok {
		values, ok := m["values"]
		if !ok {
			return nil, fmt.Errorf("an object without values")
		}
		v = values
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("not a list")
	}
	for i, item := range list {
		crumb, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("item %d is not an object", i)
		}
		for _, name := range []string{"timestamp", "message", "category", "level", "type", "data"} {
			value, ok := crumb[name]
			if !ok {
				continue
			}
			switch value.(type) {
			case string:
				ok = name != "data"
			case json.Number:
				ok = name == "timestamp"
			case map[string]any:
				ok = name == "data"
			default:
				ok = false
			}
			if !ok {
				return nil, fmt.Errorf("item %d has a %s of the wrong type", i, name)
			}
		}
	}
	return list[max(0, len(list)-maxBreadcrumbs):], nil
}

// ReadBreadcrumbs reads what ParseBreadcrumbs returned, decoded from JSON again. They are in the order of
// their times, if all have one, else in the order they came.
func ReadBreadcrumbs(list json.RawMessage) (all []Breadcrumb) {
	var items []struct {
		Timestamp                      any
		Level, Type, Category, Message string
		Data                           map[string]any
	}
	d := json.NewDecoder(strings.NewReader(string(list)))
	d.UseNumber()
	if d.Decode(&items) != nil {
		return nil
	}
	timed := true
	for _, c := range items {
		b := Breadcrumb{Level: c.Level, Type: c.Type, Category: c.Category, Message: c.Message, Data: c.Data}
		if c.Timestamp != nil {
			b.Timestamp = fmt.Sprint(c.Timestamp)
		}
		b.Time = breadcrumbTime(b.Timestamp)
		timed = timed && !b.Time.IsZero()
		all = append(all, b)
	}
	if timed {
		slices.SortStableFunc(all, func(a, b Breadcrumb) int { return a.Time.Compare(b.Time) })
	}
	return all
}

// breadcrumbTime reads ISO 8601, without a zone as UTC, or seconds since 1970.
func breadcrumbTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t.UTC()
		}
	}
	if n, err := strconv.ParseFloat(s, 64); err == nil && n > 0 && n < 1e11 {
		whole, part := math.Modf(n)
		return time.Unix(int64(whole), int64(part*1e9)).UTC()
	}
	return time.Time{}
}
