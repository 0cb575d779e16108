package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parser turns text into a value. The error of Parse completes a sentence that begins with the text:
// "is not a whole number". White space around the text is ignored by all parsers here but String.
type Parser[T any] struct {
	Name   string // "int"
	Syntax string // what is accepted, in a few words; may be empty
	Parse  func(text string) (T, error)
	Values []string // texts to offer when the shell completes; may be empty
}

// String accepts any text and leaves it as it is.
var String = Parser[string]{Name: "string", Parse: func(s string) (string, error) { return s, nil }}

// Bool accepts Everett's twelve words in any case.
var Bool = Parser[bool]{Name: "bool", Syntax: "true/false, yes/no, on/off, t/f, y/n or 1/0", Values: []string{"true", "false"}, Parse: parseBool}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "t", "true", "yes", "y", "1", "on":
		return true, nil
	case "f", "false", "no", "n", "0", "off":
		return false, nil
	}
	return false, errors.New("is not a yes or no")
}

// Int and Int64 accept decimal numbers, with underscores between digits if wanted.
var (
	Int   = Parser[int]{Name: "int", Parse: parseInt[int]}
	Int64 = Parser[int64]{Name: "int", Parse: parseInt[int64]}
)

func parseInt[T int | int64](s string) (T, error) {
	s = strings.TrimSpace(s)
	sign := s[:len(s)-len(strings.TrimLeft(s, "+-"))]
	digits, ok := plainDigits(s[len(sign):])
	if !ok || len(sign) > 1 {
		return 0, errors.New("is not a whole number")
	}
	v, err := strconv.ParseInt(sign+digits, 10, 64)
	if err != nil || int64(T(v)) != v {
		return 0, errOutOfRange
	}
	return T(v), nil
}

var errOutOfRange = errors.New("is out of range")

// plainDigits returns s without the underscores between its digits, and whether it is nothing else.
func plainDigits(s string) (string, bool) {
	for i := range len(s) {
		if isDigit(s[i]) || s[i] == '_' && i > 0 && i+1 < len(s) && isDigit(s[i+1]) {
			continue
		}
		return "", false
	}
	return strings.ReplaceAll(s, "_", ""), s != ""
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// Float accepts finite numbers in Go's syntax.
var Float = Parser[float64]{Name: "float", Parse: parseFloat}

func parseFloat(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || math.IsInf(v, 0) || math.IsNaN(v):
		return 0, errors.New("is not a finite number")
	case err != nil:
		return 0, errors.New("is not a number")
	}
	return v, nil
}

// Duration accepts numbers with units in a row, Go's units and Everett's days and weeks: "1d4h",
// "1.5h", "100ms"; a plain whole number is seconds. It is never negative. Unlike Everett's, the parser
// takes the whole text or none of it: "1h30" and "foo5m" are errors, and "1ms" is no minute.
var Duration = Parser[time.Duration]{Name: "duration", Syntax: "numbers with a unit of w d h m s ms us ns; a plain number is seconds", Parse: parseDuration}

func parseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if digits, ok := plainDigits(s); ok {
		s = digits + "s"
	}
	total := time.Duration(0)
	for first := true; first || s != ""; first = false {
		part := durationPart.FindStringSubmatch(s)
		if part == nil {
			return 0, errors.New("is not a duration")
		}
		s = s[len(part[0]):]
		unit, times := part[2], time.Duration(1)
		switch unit {
		case "d":
			unit, times = "h", 24
		case "w":
			unit, times = "h", 7*24
		}
		d, err := time.ParseDuration(part[1] + unit)
		if err != nil {
			return 0, errors.New("is not a duration")
		}
		if d > (math.MaxInt64-total)/times {
			return 0, errOutOfRange
		}
		total += d * times
	}
	return total, nil
}

var durationPart = regexp.MustCompile(`^([0-9.]+)([^0-9.]+)`)

// Bytes accepts a number of bytes, plain or with a unit in any case: kB, MB, GB, TB, PB are powers of
// 1000, KiB, MiB, GiB, TiB, PiB powers of 1024. There is no sign, no fraction and no space before the
// unit.
var Bytes = Parser[int64]{Name: "size", Syntax: "bytes, or a number with a unit of kB MB GB TB PB KiB MiB GiB TiB PiB", Parse: parseBytes}

func parseBytes(s string) (int64, error) {
	s = strings.ToLower(strings.TrimSpace(s))
	n := len(s) - len(strings.TrimLeft(s, "0123456789_"))
	digits, ok := plainDigits(s[:n])
	scale, known := byteUnits[s[n:]]
	if !ok || !known {
		return 0, errors.New("is not a size")
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v > math.MaxInt64/scale {
		return 0, errOutOfRange
	}
	return v * scale, nil
}

var byteUnits = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "pib": 1 << 50,
}

// URL accepts URLs with a scheme, such as "https://host/path", "file:///path" and "log:?interval=10s".
// It rejects "host:8080", which reads as scheme and opaque part.
var URL = Parser[*url.URL]{Name: "URL", Syntax: "with its scheme, as https://…", Parse: parseURL}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil || u.Scheme == "" || u.Opaque != "": // err would repeat the text
		return nil, errors.New("is not a URL with a scheme")
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host == "":
		return nil, errors.New("is a URL without a host")
	}
	return u, nil
}

// Addr accepts an address to listen on: "host:port", ":port", "[::1]:port" with a numeric port.
var Addr = Parser[string]{Name: "address", Syntax: "host:port", Parse: parseAddr}

func parseAddr(s string) (string, error) {
	s = strings.TrimSpace(s)
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("is not host:port")
	}
	if digits, ok := plainDigits(port); !ok || digits != port {
		return "", errors.New("has no numeric port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errors.New("has a port above 65535")
	}
	notInName := func(r rune) bool {
		return r >= 0x80 || !isLetter(byte(r)) && !isDigit(byte(r)) && r != '-' && r != '.' && r != '_'
	}
	if _, err := netip.ParseAddr(host); err != nil && strings.ContainsFunc(host, notInName) {
		return "", errors.New("has an invalid host")
	}
	return s, nil
}

// Regexp accepts Go's regular expressions.
var Regexp = Parser[*regexp.Regexp]{Name: "regular expression", Syntax: "Go's syntax", Parse: parseRegexp}

func parseRegexp(s string) (*regexp.Regexp, error) {
	r, err := regexp.Compile(strings.TrimSpace(s))
	if se, ok := errors.AsType[*syntax.Error](err); ok {
		return nil, fmt.Errorf("is not a regular expression: %s", se.Code)
	}
	return r, err
}

// List accepts values of p separated by commas, or one on each line. Empty text is the empty list. Unlike
// Everett's, an empty item, as after a trailing comma, is an error.
func List[T any](p Parser[T]) Parser[[]T] { return ListBy(",", p) }

// ListBy is List with another separator: for lists in lists or maps, and for values with commas.
func ListBy[T any](separator string, p Parser[T]) Parser[[]T] {
	how := "separated by " + separator
	if separator == "," {
		how = "separated by commas"
	}
	return Parser[[]T]{Name: "list of " + p.Name, Syntax: joinNonEmpty(how, "; ", p.Syntax), Parse: func(s string) ([]T, error) {
		var out []T
		if s = strings.TrimSpace(s); s == "" {
			return out, nil
		}
		separator := separator
		if strings.Contains(s, "\n") {
			separator = "\n"
		}
		for i, item := range strings.Split(s, separator) {
			item = strings.TrimSpace(item)
			if item == "" {
				return nil, fmt.Errorf("has an item (number %d) that is empty", i+1)
			}
			v, err := p.Parse(item)
			if err != nil {
				return nil, fmt.Errorf("has an item (number %d) that %w", i+1, err)
			}
			out = append(out, v)
		}
		return out, nil
	}}
}

// MapOf accepts pairs name=value, separated as in List, each name once. In YAML and INI files they may also
// stand under the option's name, as if it were a namespace.
func MapOf[K comparable, V any](key Parser[K], value Parser[V]) Parser[map[K]V] {
	type pair struct {
		k K
		v V
	}
	pairs := List(Parser[pair]{Syntax: joinNonEmpty("name=value", "; ", value.Syntax), Parse: func(s string) (p pair, err error) {
		name, text, ok := strings.Cut(s, "=")
		if !ok {
			return p, errors.New("has no =")
		}
		if p.k, err = key.Parse(strings.TrimSpace(name)); err != nil {
			return p, fmt.Errorf("has a name that %w", err)
		}
		if p.v, err = value.Parse(strings.TrimSpace(text)); err != nil {
			return p, fmt.Errorf("has a value that %w", err)
		}
		return p, nil
	}})
	return Parser[map[K]V]{Name: "map of " + value.Name, Syntax: pairs.Syntax, Parse: func(s string) (map[K]V, error) {
		items, err := pairs.Parse(s)
		if err != nil {
			return nil, err
		}
		out := map[K]V{}
		for i, p := range items {
			if _, twice := out[p.k]; twice {
				return nil, fmt.Errorf("has an item (number %d) whose name was there before", i+1)
			}
			out[p.k] = p.v
		}
		return out, nil
	}}
}

// Choice accepts the given texts only, exactly as written, and hands them to p.
func Choice[T any](p Parser[T], choices ...string) Parser[T] {
	if len(choices) == 0 {
		panic("config: Choice without choices")
	}
	for _, c := range choices {
		if _, err := p.Parse(c); err != nil || c != strings.TrimSpace(c) {
			panic(fmt.Sprintf("config: choice %q is no %s", c, p.Name))
		}
	}
	all := "one of " + strings.Join(choices, ", ")
	return Parser[T]{Name: p.Name, Syntax: all, Values: choices, Parse: func(s string) (T, error) {
		s = strings.TrimSpace(s)
		if !slices.Contains(choices, s) {
			var none T
			return none, errors.New("is not " + all)
		}
		return p.Parse(s)
	}}
}

// Optional makes a pointer of a value; empty text is nil. Since an empty value counts as not set, such
// an option usually has Default("").
func Optional[T any](p Parser[T]) Parser[*T] {
	return Parser[*T]{Name: p.Name, Syntax: joinNonEmpty(p.Syntax, "; ", "may be empty"), Values: p.Values, Parse: func(s string) (*T, error) {
		if strings.TrimSpace(s) == "" {
			return nil, nil
		}
		v, err := p.Parse(s)
		if err != nil {
			return nil, err
		}
		return &v, nil
	}}
}
