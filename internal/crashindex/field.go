package crashindex

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"salvage/internal/errs"
)

// Type is the type of a field.
type Type byte

// The types.
const (
	Keyword Type = iota + 1 // text of at most MaxText characters, compared as a whole
	Integer                 // 64 bits, signed
)

// Permission says who may see a field.
type Permission byte

// Public fields are for whoever may read public data. There is no other kind yet: Search does not ask who
// searches, so a protected field must not come in before it does.
const Public Permission = 1

// Field is something that the index keeps of each crash.
type Field struct {
	Name       string // as in Socorro's SuperSearch (crash-pipeline.md §4.4); also the name of its column
	Type       Type
	Permission Permission
}

// Fields are all there are. A new one needs a line here and, for each engine with columns, a migration.
var Fields = []Field{
	{"signature", Keyword, Public},
	{"product", Keyword, Public},
	{"version", Keyword, Public},
	{"release_channel", Keyword, Public},
	{"build_id", Integer, Public}, // YYYYMMDDHHMMSS; null where a client's is no number
	{"process_type", Keyword, Public},
	{"platform", Keyword, Public},
	{"platform_version", Keyword, Public},
	{"platform_pretty_version", Keyword, Public},
	{"cpu_arch", Keyword, Public},
	{"android_manufacturer", Keyword, Public},
	{"android_model", Keyword, Public},
	{"reason", Keyword, Public},
	{"address", Keyword, Public},
	{"crashing_thread_name", Keyword, Public},
	{"moz_crash_reason", Keyword, Public},
	{"proto_signature", Keyword, Public},
	{"topmost_filenames", Keyword, Public}, // separated by ;
	{"modules_in_stack", Keyword, Public},  // module/debugid, separated by ;
	{"uptime", Integer, Public},            // seconds
}

// Lookup returns the field of that name, Invalid if there is none.
func Lookup(name string) (Field, error) {
	i := slices.IndexFunc(Fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		return Field{}, errs.Public(errs.Invalid, "There is no field %.60q.", name)
	}
	return Fields[i], nil
}

// MaxText is how many characters (Unicode code points) of a Keyword are kept. What follows is cut off.
const MaxText = 1000

// Value is a value of a field, or null, which is the zero Value. Values are equal if == says so.
type Value struct {
	Type Type
	Text string // of a Keyword
	Int  int64  // of an Integer
}

// Text returns a Keyword's value. An empty text is null.
func Text(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{Type: Keyword, Text: s}
}

// Int returns an Integer's value.
func Int(n int64) Value { return Value{Type: Integer, Int: n} }

// IsNull reports whether v is no value at all.
func (v Value) IsNull() bool { return v.Type == 0 }

// String returns v for people; it is empty for null.
func (v Value) String() string {
	if v.Type == Integer {
		return strconv.FormatInt(v.Int, 10)
	}
	return v.Text
}

// Compare orders values of one field: numbers by size, texts by their bytes.
func (v Value) Compare(w Value) int {
	return cmp.Or(cmp.Compare(v.Int, w.Int), cmp.Compare(v.Text, w.Text))
}

// value returns v as an index keeps it in f.
func (f Field) value(v Value) (Value, error) {
	switch {
	case v.IsNull():
		return Value{}, nil
	case v.Type != f.Type:
		return Value{}, errs.Public(errs.Invalid, "The field %s does not take the value %.60q: its type is another.", f.Name, v.String())
	case v.Type == Integer:
		return Int(v.Int), nil
	}
	return Text(clean(v.Text)), nil
}

// clean returns s with U+FFFD for each byte that is not UTF-8, without NUL characters, cut to MaxText.
func clean(s string) string {
	if len(s) <= MaxText && utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if r == 0 {
			continue
		}
		if n++; n > MaxText {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
