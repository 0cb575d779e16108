package tables

import "strconv"

// Names is a text that names numbers: lines "table number name", the number in eight hexadecimal digits, in the
// order of their bytes, behind lines of comment that begin with #. It is searched as it is, so that it costs nothing
// until a name is asked for and no memory then.
type Names string

// maxKey is more than the name of any table and a number take.
const maxKey = 64

// Name returns the name that number has in a table, or "".
func (n Names) Name(table string, number uint32) string {
	var space [maxKey]byte
	key := append(append(space[:0], table...), ' ')
	for shift := 28; shift >= 0; shift -= 4 {
		key = strconv.AppendUint(key, uint64(number>>shift&15), 16)
	}
	key = append(key, ' ')
	for lo, hi := 0, len(n); lo < hi; { // both at the start of a line
		start := lo + (hi-lo)/2
		for start > lo && n[start-1] != '\n' {
			start--
		}
		end := start
		for end < len(n) && n[end] != '\n' {
			end++
		}
		line := n[start:end]
		switch got := line[:min(len(line), len(key))]; {
		case string(key) == string(got):
			return string(line[len(key):])
		case string(key) > string(got):
			lo = end + 1
		default:
			hi = start
		}
	}
	return ""
}
