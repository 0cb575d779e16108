package fsblob

import (
	"fmt"
	"math/big"
	"net/url"
	"path"
	"regexp"
	"strings"

	"salvage/internal/blob"
)

// Names of files and folders: a segment of a key, in lower case, with what some file system does not
// take as %xx. For an object "=" follows: the object a and the folder of a/b are "a=" and "a". Where
// the segment has capitals, a number follows, for a folder after "~": bit i is set if byte i is a
// capital; base 36. So no two keys meet where case or Unicode forms do not matter, and every name can
// be read: XUL.sym is "xul.sym=7".
const (
	objectMark = "="
	folderMark = "~"
	base       = 36
)

// device matches the names that Windows keeps for devices.
var device = regexp.MustCompile(`(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])( |\.|$)`)

func encode(segment string, object bool) string {
	var b strings.Builder
	var capitals big.Int
	reserved := device.MatchString(segment)
	for i := range len(segment) {
		c := segment[i]
		if 'A' <= c && c <= 'Z' {
			capitals.SetBit(&capitals, i, 1)
			c += 'a' - 'A'
		}
		if last := i == len(segment)-1; !blob.Plain(c) || i == 0 && reserved || last && (c == '.' || c == ' ') {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	number := ""
	if capitals.Sign() > 0 {
		number = capitals.Text(base)
	}
	if object {
		b.WriteString(objectMark + number)
	} else if number != "" {
		b.WriteString(folderMark + number)
	}
	return b.String()
}

// decode is the inverse of encode; not ok for a name that encode does not make.
func decode(name string) (segment string, object, ok bool) {
	text, number, object := strings.Cut(name, objectMark)
	if !object {
		text, number, _ = strings.Cut(name, folderMark)
	}
	text, err := url.PathUnescape(text)
	if err != nil {
		return "", false, false
	}
	b := []byte(text)
	if number != "" {
		capitals, ok := new(big.Int).SetString(number, base)
		if !ok || capitals.BitLen() > len(b) {
			return "", false, false
		}
		for i := range b {
			if capitals.Bit(i) == 1 {
				b[i] -= 'a' - 'A'
			}
		}
	}
	segment = string(b)
	return segment, object, blob.CheckKey(segment) == nil && encode(segment, object) == name
}

func objectPath(key string) string {
	i := strings.LastIndexByte(key, '/') + 1
	return path.Join(folderPath(key[:i]), encode(key[i:], true))
}

// folderPath returns the folder of the keys that start with lead, which is empty or ends in "/".
func folderPath(lead string) string {
	dir := objects
	for segment := range strings.SplitSeq(strings.TrimSuffix(lead, "/"), "/") {
		if segment != "" {
			dir += "/" + encode(segment, false)
		}
	}
	return dir
}
