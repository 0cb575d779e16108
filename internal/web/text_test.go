package web_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"salvage/internal/crashindex"
	"salvage/internal/web"
)

func TestVisible(t *testing.T) {
	for _, tt := range []struct {
		in    string
		max   int
		lines bool
		want  string
	}{
		{"plain", 10, false, "plain"}, {"plain", 3, false, "pla… (2 more)"}, {"a\nb\tc", 10, false, "a␊b␉c"}, {"a\nb\tc", 10, true, "a\nb\tc"}, {"a\r\nb", 10, true, "a\nb"}, {"a\rb", 10, true, "a␍b"},
		{"\x00\x1b\x7f", 10, false, "␀␛␡"}, {"a\u202eb", 20, false, "a⟨U+202E⟩b"}, {"\u200b\ufeff\u2028", 50, false, "⟨U+200B⟩⟨U+FEFF⟩⟨U+2028⟩"}, {"\u0085", 10, false, "⟨U+0085⟩"},
		{"é 日本 👍", 10, false, "é 日本 👍"}, {"\xff", 10, false, "\ufffd"}, {strings.Repeat("x", 2000), 5, false, "xxxxx… (1,995 more)"}, {"\ue000", 10, false, "⟨U+E000⟩"},
	} {
		if got := web.Visible(tt.in, tt.max, tt.lines); got != tt.want {
			t.Errorf("visible(%q, %d, %v) = %q, want %q", tt.in, tt.max, tt.lines, got, tt.want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	f.Add("a\u202e\x00b", 3)
	f.Fuzz(func(t *testing.T, s string, max int) {
		max = int(uint(max) % 1000)
		got := web.Visible(s, max, false)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) }) {
			t.Errorf("visible(%q) = %q", s, got)
		}
		if n := utf8.RuneCountInString(got); n > max+40 {
			t.Errorf("visible(%q, %d) has %d characters", s, max, n)
		}
	})
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567", -1: "-1", -999: "-999", -1000: "-1,000", -123456: "-123,456"} {
		if got := web.Number(n); got != want {
			t.Errorf("number(%d) = %q, want %q", n, got, want)
		}
	}
	for range 1000 {
		n := rand.Int64() >> rand.IntN(63)
		if got := strings.ReplaceAll(web.Number(n), ",", ""); got != fmt.Sprint(n) {
			t.Errorf("number(%d) = %q", n, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1,023 B", 1024: "1.0 KiB", 3 << 20: "3.0 MiB", 1 << 40: "1024.0 GiB"} {
		if got := web.Size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{-1: "", 0: "0 s", 59: "59 s", 60: "1 min 0 s", 3661: "1 h 1 min", 90000: "1 d 1 h", 1e8: "1,157 d 9 h"} {
		if got := web.Span(n); got != want {
			t.Errorf("span(%d) = %q, want %q", n, got, want)
		}
	}
	if got := web.Link("/x", "a", "1 &", "b", "", "c", "é"); got != "/x?a=1+%26&c=%C3%A9" {
		t.Errorf("link = %q", got)
	}
	for want, counts := range map[string][]int{
		"10 crashes in 7 days": {1, 1, 1, 1, 1, 1, 4}, "14 crashes in 7 days, +100 %": {1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2}, "0 crashes in 7 days, −100 %": {0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"7 crashes in 7 days, as many as in the 7 before": {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, "7 crashes in 7 days": {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1},
	} {
		if got := web.WeekCard(counts); got != want {
			t.Errorf("weekCard(%v) = %q, want %q", counts, got, want)
		}
	}
}

// TestChart compares with counting crashes day by day.
func TestChart(t *testing.T) {
	for range 200 {
		at := now.Add(time.Duration(rand.Int64N(int64(400 * 24 * time.Hour)))).UTC()
		n := 1 + rand.IntN(40)
		byDay := map[string]int{}
		var bins []crashindex.Bin
		for range rand.IntN(50) {
			start := at.Truncate(24*time.Hour).AddDate(0, 0, 3-rand.IntN(60))
			bin := crashindex.Bin{Start: start, Count: rand.IntN(100)}
			bins = append(bins, bin)
			byDay[start.Format(time.DateOnly)] += bin.Count
		}
		var want []int
		most := 0
		for i := range n {
			c := byDay[at.AddDate(0, 0, i-n+1).Format(time.DateOnly)]
			want = append(want, c)
			most = max(most, c)
		}
		if got := web.Counts(at, n, bins); !slices.Equal(got, want) {
			t.Fatalf("counts(%v, %d) = %v, want %v", at, n, got, want)
		}
		heights, _ := web.Chart(at, n, 140, bins)
		for i, h := range heights {
			if (h > 0) != (want[i] > 0) || h > 140 || want[i] == most && most > 0 && h != 140 {
				t.Fatalf("heights %v of %v", heights, want)
			}
		}
	}
	if _, label := web.Chart(now, 7, 10, nil); label != "Crashes a day from 18 Nov to 24 Nov: none." {
		t.Error(label)
	}
}

// TestCapped compares what is kept of a list with slicing it.
func TestCapped(t *testing.T) {
	for _, n := range []int{0, 1, 249, 250, 251, 299, 300, 301, 349, 350, 351, 777} {
		list := make([]map[string]any, n)
		var want []int
		for i := range list {
			list[i] = map[string]any{"frame": i, "function": i} // of a wrong type, and decoded all the same
			if i < 250 || i >= n-50 {
				want = append(want, i)
			}
		}
		data, _ := json.Marshal(list)
		got, total, omitted, err := web.CapFrames(data)
		if err != nil || total != n || omitted != n-len(want) || !slices.Equal(got, want) {
			t.Errorf("of %d: %v, total %d, omitted %d, error %v", n, got, total, omitted, err)
		}
	}
	for _, s := range []string{"null", "{}", "5", `"x"`, "true"} {
		if got, total, _, err := web.CapFrames([]byte(s)); len(got) != 0 || total != 0 || err != nil {
			t.Errorf("%s: %v %d %v", s, got, total, err)
		}
	}
}

// TestNew: all of Config is needed but what says that it is not.
func TestNew(t *testing.T) {
	good := newRig(t, nil).config
	for _, name := range []string{"Index", "Store", "DB", "Queue", "Gate", "Log", "Now"} {
		c := good
		reflect.ValueOf(&c).Elem().FieldByName(name).SetZero()
		if _, err := web.New(c); err == nil {
			t.Errorf("New without %s", name)
		}
	}
}
