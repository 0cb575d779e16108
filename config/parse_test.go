package config_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"salvage/config"
)

type parseCase[T comparable] struct {
	in   string
	want T
}

func testParser[T comparable](t *testing.T, p config.Parser[T], good []parseCase[T], bad ...string) {
	t.Helper()
	for _, tt := range good {
		if got, err := p.Parse(tt.in); err != nil || got != tt.want {
			t.Errorf("%s.Parse(%q) = %v, %v, want %v", p.Name, tt.in, got, err, tt.want)
		}
	}
	for _, in := range bad {
		if got, err := p.Parse(in); err == nil {
			t.Errorf("%s.Parse(%q) = %v, want an error", p.Name, in, got)
		} else if in != "" && len(in) > 3 && strings.Contains(err.Error(), in) {
			t.Errorf("%s.Parse(%q) repeats the text: %v", p.Name, in, err)
		}
	}
}

func TestBool(t *testing.T) {
	var good []parseCase[bool]
	for words, want := range map[string]bool{"t true yes y 1 on": true, "f false no n 0 off": false} {
		for _, w := range strings.Fields(words) {
			for _, in := range []string{w, strings.ToUpper(w), strings.ToUpper(w[:1]) + w[1:], " " + w + "\n"} {
				good = append(good, parseCase[bool]{in, want})
			}
		}
	}
	testParser(t, config.Bool, good, "", " ", "monkey", "2", "-1", "truee", "yes no", "tru", "enabled")
}

func TestNumbers(t *testing.T) {
	testParser(t, config.Int, []parseCase[int]{
		{"0", 0}, {"8000", 8000}, {"-5", -5}, {"+5", 5}, {" 7 ", 7}, {"1_000", 1000}, {"007", 7},
	}, "", "80a", "1.5", "0x10", "1__0", "_1", "1_", "--1", "-", "- 1", "١", "99999999999999999999", "1e3")
	testParser(t, config.Int64, []parseCase[int64]{
		{"9223372036854775807", math.MaxInt64}, {"-9223372036854775808", math.MinInt64},
	}, "9223372036854775808", "-9223372036854775809")
	testParser(t, config.Float, []parseCase[float64]{{"1", 1}, {" -1.5e3 ", -1500}, {".5", .5}}, "", "x", "1,5", "NaN", "inf", "-Inf", "1e999")
}

func TestNumberErrors(t *testing.T) {
	for in, want := range map[string]string{
		"--1": "is not a whole number", "x": "is not a whole number", "99999999999999999999": "is out of range", "-99999999999999999999": "is out of range",
	} {
		if _, err := config.Int.Parse(in); err == nil || err.Error() != want {
			t.Errorf("Int.Parse(%q): %v, want %s", in, err, want)
		}
	}
}

func TestDuration(t *testing.T) {
	testParser(t, config.Duration, []parseCase[time.Duration]{
		{"0", 0}, {"30", 30 * time.Second}, {"1_000", 1000 * time.Second}, {" 5m ", 5 * time.Minute},
		{"1d4h", 28 * time.Hour}, {"1w2d", 9 * 24 * time.Hour}, {"4h1d", 28 * time.Hour}, {"1h30m", 90 * time.Minute},
		{"1.5h", 90 * time.Minute}, // Everett: 5 h
		{"1ms", time.Millisecond},  // Everett: a minute
		{"0.5d", 12 * time.Hour},   // Everett: 5 d
		{"100us", 100 * time.Microsecond}, {"100µs", 100 * time.Microsecond}, {"5ns", 5}, {".5s", 500 * time.Millisecond},
		{"106751d", 106751 * 24 * time.Hour},
	},
		"", " ", "x", "d", "h", "-5m", "+5m", "-5", // Everett: −5m is 5 m
		"10j5m", "foo5mbar", "5mbar", "1h30", "1h 30m", "1d-4h", "1.h5.", ".", "1..5h", "1M", "1H", "1y", "10 bananas",
		"1_0s", "1_d", "106752d", "9999999999w", "100000d100000d", "9223372037", "1d\x00")
}

func TestBytes(t *testing.T) {
	testParser(t, config.Bytes, []parseCase[int64]{
		{"0", 0}, {"5", 5}, {"1_024", 1024}, {"10b", 10}, {" 10MB ", 10e6}, {"1kb", 1000}, {"1KB", 1000}, {"1kB", 1000}, {"1KiB", 1024},
		{"2mb", 2e6}, {"2MiB", 2 << 20}, {"3gb", 3e9}, {"3GiB", 3 << 30}, {"4tb", 4e12}, {"4TiB", 4 << 40},
		{"1pb", 1e15}, {"1PiB", 1 << 50}, // Everett documents both, implements neither
		{"9223372036854775807", math.MaxInt64}, {"9223PB", 9223e15},
	},
		"", " ", "b", "KiB", "-5", "+5", "-5MB", "1.5GiB", "10 MB", "10k", "10m", "10kbb", "10 apples", "5_", "_5kb", "5__0",
		"9223372036854775808", "9224PB", "8192PiB", "99999999999999999999kb", "٣kb")
}

func TestURL(t *testing.T) {
	for _, in := range []string{
		"https://example.org/a?b=c", "statsd://localhost:8125?prefix=p", "log:", "log-rollup:?interval=10s", "file:///srv/x", "s3://bucket/",
	} {
		if u, err := config.URL.Parse(" " + in); err != nil || u.String() != in {
			t.Errorf("URL.Parse(%q) = %v, %v", in, u, err)
		}
	}
	for _, in := range []string{"", "example.org", "localhost:8080", "/path", "//host/x", "http://", "https:///x", "http://[::1", "http://a b/", "mailto:me@example.org"} {
		if u, err := config.URL.Parse(in); err == nil {
			t.Errorf("URL.Parse(%q) = %v, want an error", in, u)
		}
	}
}

func TestAddr(t *testing.T) {
	var good []parseCase[string]
	for _, in := range []string{":80", ":0", "localhost:8080", "127.0.0.1:65535", "[::1]:8080", "[fe80::1%eth0]:1", "a-b.example_x.org:1"} {
		good = append(good, parseCase[string]{in, in})
	}
	testParser(t, config.Addr, append(good, parseCase[string]{" :80 ", ":80"}),
		"", "localhost", "8080", "::1:80", "[::1]", "host:", "host:http", "host:65536", "host:-1", "host:+1", "host:1_0", "a b:1", "http://x:1", "é:1", "a/b:1")
}

func TestList(t *testing.T) {
	p := config.List(config.Int)
	for in, want := range map[string]string{"": "[]", " ": "[]", "1": "[1]", "1,2": "[1 2]", " 1 , 2 ": "[1 2]"} {
		if got, err := p.Parse(in); err != nil || fmt.Sprint(got) != want {
			t.Errorf("List.Parse(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		",":     "has an item (number 1) that is empty",
		"1,2,":  "has an item (number 3) that is empty",
		"1,,2":  "has an item (number 2) that is empty",
		"1,x,y": "has an item (number 2) that is not a whole number",
	} {
		if got, err := p.Parse(in); err == nil || err.Error() != want {
			t.Errorf("List.Parse(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	if s := config.List(config.Bytes); s.Name != "list of size" || !strings.HasPrefix(s.Syntax, "separated by commas; bytes, or") {
		t.Errorf("List(Bytes): %q, %q", s.Name, s.Syntax)
	}
}

func TestChoice(t *testing.T) {
	testParser(t, config.Choice(config.Int, "1", "10"), []parseCase[int]{{"1", 1}, {" 10 ", 10}}, "", "2", "01", "+1", "100")
	p := config.Choice(config.String, "s3", "gcs")
	if _, err := p.Parse("S3"); err == nil || err.Error() != "is not one of s3, gcs" {
		t.Errorf("Choice.Parse(S3): %v", err)
	}
	mustPanic(t, "without choices", func() { config.Choice(config.String) })
	mustPanic(t, "no int", func() { config.Choice(config.Int, "1", "x") })
}

func TestOptional(t *testing.T) {
	p := config.Optional(config.Int)
	for _, in := range []string{"", "  "} {
		if got, err := p.Parse(in); err != nil || got != nil {
			t.Errorf("Optional.Parse(%q) = %v, %v, want nil", in, got, err)
		}
	}
	if got, err := p.Parse("0"); err != nil || got == nil || *got != 0 {
		t.Errorf("Optional.Parse(0) = %v, %v", got, err)
	}
	if _, err := p.Parse("x"); err == nil {
		t.Error("Optional.Parse(x) succeeded")
	}
}

// What the parser accepts is what Everett accepts plus what time.ParseDuration does, without sign.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"1d4h", "1.5h", "1h30", "30", "9223372036s", "w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := config.Duration.Parse(s)
		if err == nil && got < 0 {
			t.Errorf("Parse(%q) = %v", s, got)
		}
		if want, goErr := time.ParseDuration(s); goErr == nil && s != "" && s[0] != '-' && s[0] != '+' && s != "0" {
			if err != nil || got != want {
				t.Errorf("Parse(%q) = %v, %v, want %v", s, got, err, want)
			}
		}
		if n, numErr := strconv.ParseUint(s, 10, 32); numErr == nil && got != time.Duration(n)*time.Second {
			t.Errorf("Parse(%q) = %v, want seconds", s, got)
		}
	})
}

func TestRegexp(t *testing.T) {
	if r, err := config.Regexp.Parse(" ^a+$ "); err != nil || !r.MatchString("aa") || r.MatchString(" aa") {
		t.Errorf("Regexp.Parse: %v, %v", r, err)
	}
	if _, err := config.Regexp.Parse("hunter(2"); err == nil || err.Error() != "is not a regular expression: missing closing )" {
		t.Errorf("Regexp.Parse: %v", err)
	}
}

func TestListBy(t *testing.T) {
	p := config.ListBy(";", config.List(config.Int))
	for in, want := range map[string]string{"1,2;3": "[[1 2] [3]]", "": "[]", "1,2\n3;4\n": "error", "1,2\n3\n": "[[1 2] [3]]", "1;": "error", "\n1\n": "[[1]]"} {
		got, err := p.Parse(in)
		if text := fmt.Sprint(got); err == nil && text != want || err != nil && want != "error" {
			t.Errorf("ListBy.Parse(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	if p.Syntax != "separated by ;; separated by commas" {
		t.Errorf("Syntax %q", p.Syntax)
	}
}

func TestMapOf(t *testing.T) {
	p := config.MapOf(config.Choice(config.String, "a", "b", "c"), config.ListBy("+", config.Bytes))
	for in, want := range map[string]string{
		"": "map[]", "a=1": "map[a:[1]]", " b = 1kB+2 , a= ": "map[a:[] b:[1000 2]]", "a=1\nb=2\n": "map[a:[1] b:[2]]",
		"a":       "has an item (number 1) that has no =",
		"a=1,d=1": "has an item (number 2) that has a name that is not one of a, b, c",
		"a=x":     "has an item (number 1) that has a value that has an item (number 1) that is not a size",
		"a=1,a=2": "has an item (number 2) whose name was there before",
		"a=1,":    "has an item (number 2) that is empty",
	} {
		got, err := p.Parse(in)
		if text := fmt.Sprint(got); err == nil && text != want || err != nil && err.Error() != want {
			t.Errorf("MapOf.Parse(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	if p.Name != "map of list of size" || !strings.HasPrefix(p.Syntax, "separated by commas; name=value; separated by +; bytes, or") {
		t.Errorf("MapOf: %q, %q", p.Name, p.Syntax)
	}
	if got, err := config.MapOf(config.String, config.String).Parse(" a = b=c "); err != nil || got["a"] != "b=c" {
		t.Errorf("a value with = and spaces: %v, %v", got, err)
	}
}

func TestParserValues(t *testing.T) {
	for name, got := range map[string][]string{
		"a b": config.Choice(config.String, "a", "b").Values, "true false": config.Bool.Values,
		"1 2": config.Optional(config.Choice(config.Int, "1", "2")).Values, "": config.List(config.Bool).Values,
	} {
		if strings.Join(got, " ") != name {
			t.Errorf("Values = %q, want %s", got, name)
		}
	}
}
