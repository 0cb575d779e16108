package demangle

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/ianlancetaylor/demangle"
)

const (
	// maxRepair is the longest name that repair looks into, and maxProbes how often it asks.
	maxRepair = 8 << 10
	maxProbes = 300
)

// repair writes a C++ name so that the library numbers its substitutions as compilers do. After sr, a template's
// name without its arguments is none, but the library counts it: all later references to what comes behind it
// must say one more. What stands where is asked of the library, by what it finds wrong with the start of a name.
func repair(name string) string {
	if len(name) > maxRepair {
		return name
	}
	probes := 0
	for from := 0; ; {
		at, end := unresolved(name, from)
		if at < 0 {
			return name
		}
		from = at
		if probes++; probes > maxProbes {
			return name
		}
		if !strings.Contains(complaint(name[:at]+"$"), "missing number at "+strconv.Itoa(at)) {
			continue
		}
		extra := substitutions(name[:end]+"I") - 1
		if extra < 0 {
			continue
		}
		var b strings.Builder
		b.WriteString(name[:end])
		rest := name[end:]
		for {
			i := strings.IndexByte(rest, 'S')
			if i < 0 {
				break
			}
			b.WriteString(rest[:i])
			rest = rest[i:]
			digits, _, ok := strings.Cut(rest[1:], "_")
			n, isRef := reference(digits)
			if probes++; !ok || !isRef || n < extra || probes > maxProbes || substitutions(b.String()) < 0 {
				b.WriteByte('S')
				rest = rest[1:]
				continue
			}
			b.WriteString("S" + strings.ToUpper(strconv.FormatInt(int64(n), 36)) + "_") // S0_ is the second
			rest = rest[len(digits)+2:]
		}
		if probes > maxProbes {
			return name
		}
		b.WriteString(rest)
		name = b.String()
	}
}

// unresolved finds the next sr and the names that follow, up to a template's arguments: where the names start and
// end; -1 if there is none.
func unresolved(name string, from int) (at, end int) {
	for {
		i := strings.Index(name[from:], "sr")
		if i < 0 {
			return -1, 0
		}
		from += i + 2
		for end = from; end < len(name) && digit(name[end]); {
			n := 0
			for end < len(name) && digit(name[end]) && n < len(name) {
				n = 10*n + int(name[end]-'0')
				end++
			}
			end += n
		}
		if end > from && end < len(name) && name[end] == 'I' {
			return from, end
		}
	}
}

// reference is the index that the middle of S_, S0_ and so on means.
func reference(digits string) (int, bool) {
	if digits == "" {
		return 0, true
	}
	if len(digits) > 4 || strings.ToUpper(digits) != digits {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 36, 32)
	return int(n) + 1, err == nil
}

// complaint is what the library finds wrong with a name.
func complaint(name string) string {
	if _, err := demangle.ToAST(name); err != nil {
		return err.Error()
	}
	return ""
}

// substitutions is how many there are after the start of a name; -1 if there can be no reference to one.
func substitutions(start string) int {
	_, count, ok := strings.Cut(complaint(start+"SZZZZ_"), "substitution index out of range ("+strconv.Itoa(36*36*36*36)+" >= ")
	if !ok {
		return -1
	}
	n, err := strconv.Atoi(count[:max(0, strings.IndexByte(count, ')'))])
	if err != nil {
		return -1
	}
	return n
}

// isRust is whether a name is of either of Rust's schemes: the older one looks like C++ and ends in a hash.
func isRust(name string) bool {
	if strings.HasPrefix(name, "_R") {
		return true
	}
	if i := strings.LastIndex(name, "E."); i >= 0 {
		name = name[:i+1]
	}
	return len(name) > 23 && strings.HasPrefix(name, "_ZN") && strings.HasPrefix(name[len(name)-20:], "17h") && strings.HasSuffix(name, "E")
}

// underlined writes the elements of a legacy name of Rust that begin with an underscore with one more: the library
// takes one off, as the newer scheme's mark behind a length.
func underlined(name string) string {
	var b strings.Builder
	rest, ok := strings.CutPrefix(name, "_ZN")
	for b.WriteString("_ZN"); ok; {
		tail := strings.TrimLeft(rest, "0123456789")
		n, err := strconv.Atoi(rest[:len(rest)-len(tail)])
		if err != nil || n > len(tail) || n == 0 {
			return b.String() + rest
		}
		element := tail[:n]
		if element[0] == '_' {
			element = "_" + element
		}
		fmt.Fprintf(&b, "%d%s", len(element), element)
		rest = tail[n:]
	}
	return name
}

// rust makes a name of Rust readable, without its hash. The library writes :: before names that are empty, and
// escapes in place of characters.
func rust(name string) (string, error) {
	name = underlined(name)
	s, err := demangle.ToString(name, demangle.MaxLength(maxOutput), demangle.NoClones)
	for end, tries := len(name), 0; err != nil && tries < 8 && strings.HasPrefix(name, "_R"); tries++ {
		// The library takes the 0 of an empty name and the length of the next name for one number. A mark between
		// them moves what follows, which back references must not be to.
		zero := emptyName.FindAllStringIndex(name[:end], -1)
		if zero == nil {
			break
		}
		end = zero[len(zero)-1][0] + 1
		if strings.Contains(name[end:], "B") {
			break
		}
		digits := len(name[end:]) - len(strings.TrimLeft(name[end:], "0"))
		name = name[:end] + strings.Repeat("0_", digits) + name[end+digits:]
		s, err = demangle.ToString(name, demangle.MaxLength(maxOutput), demangle.NoClones)
	}
	if err != nil {
		return "", err
	}
	escape := legacyEscape
	if strings.HasPrefix(name, "_R") {
		escape = charEscape
		for _, after := range []string{">", ",", ")", "]", " "} {
			s = strings.ReplaceAll(s, "::"+after, after)
		}
		s = strings.TrimSuffix(s, "::")
	}
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		n, err := strconv.ParseUint(strings.Trim(e, `\u{}$`), 16, 32)
		if err != nil || !unicode.IsPrint(rune(n)) {
			return e
		}
		return string(rune(n))
	}), nil
}

// emptyName is where a number has a zero before it.
var emptyName = regexp.MustCompile(`[^0-9]0+[1-9]`)

// What the library leaves of characters beyond ASCII.
var (
	legacyEscape = regexp.MustCompile(`\$u[0-9a-f]{1,6}\$`)
	charEscape   = regexp.MustCompile(`\\u\{[0-9a-f]{1,6}\}`)
)
