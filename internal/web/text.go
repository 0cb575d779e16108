package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// show returns s for one line of a page: what cannot be seen, or turns the direction of what can, is made
// visible, and what exceeds max characters is cut off.
func show(s string, max int) string { return visible(s, max, false) }

func visible(s string, max int, lines bool) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n >= max {
			return b.String() + "… (" + number(utf8.RuneCountInString(s[i:])) + " more)"
		}
		switch {
		case lines && r == '\r' && strings.HasPrefix(s[i+1:], "\n"):
			continue
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case r < ' ':
			b.WriteRune('\u2400' + r) // the pictures of control characters
		case r == 0x7f:
			b.WriteRune('\u2421')
		case !unicode.IsGraphic(r):
			m, _ := fmt.Fprintf(&b, "⟨U+%04X⟩", r)
			n += m - 5 // both brackets are three bytes
		default:
			b.WriteRune(r)
		}
		n++
	}
	return b.String()
}

// budget is how many characters and rows a page may still take.
type budget struct{ characters, rows int }

// minText is what is shown of a text when the page is full.
const minText = 40

func newBudget() *budget { return &budget{characters: 2_000_000, rows: 3000} }

// text is show within the budget.
func (b *budget) text(s string, max int) string { return b.take(s, max, false) }

// lines is text that keeps its lines.
func (b *budget) lines(s string, max int) string { return b.take(s, max, true) }

func (b *budget) take(s string, limit int, lines bool) string {
	s = visible(s, max(minText, min(limit, b.characters)), lines)
	b.characters -= utf8.RuneCountInString(s)
	return s
}

// number spells n with commas.
func number[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := len(s) - len(strings.TrimPrefix(s, "-"))
	for at := len(s) - 3; at > sign; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// count spells n of something.
func count[T int | int64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

func size(bytes int64) string {
	for i, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if limit := int64(1) << (10 * (i + 1)); bytes < limit || unit == "GiB" {
			if i == 0 {
				return number(bytes) + " B"
			}
			return strconv.FormatFloat(float64(bytes)/float64(limit>>10), 'f', 1, 64) + " " + unit
		}
	}
	return ""
}

// span spells seconds in one or two units.
func span(seconds int64) string {
	d, h, m := seconds/86400, seconds/3600%24, seconds/60%60
	switch {
	case seconds < 0:
		return ""
	case d > 0:
		return fmt.Sprintf("%s d %d h", number(d), h)
	case h > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case m > 0:
		return fmt.Sprintf("%d min %d s", m, seconds%60)
	}
	return fmt.Sprintf("%d s", seconds)
}

// stamp is a time in UTC, for programs and for people.
type stamp struct{ ISO, Text string }

func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	t = t.UTC()
	return stamp{t.Format(time.RFC3339), t.Format("2006-01-02 15:04")}
}
