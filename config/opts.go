package config

import "strings"

// Opt is a property of an option.
type Opt func(*declaration)

// Default is the text that stands in for a value nobody set. It goes through the parser and the
// checks, at declaration already, so it doubles as an example.
func Default(text string) Opt {
	return func(d *declaration) { d.Default, d.Required = text, false }
}

// Doc says what the option is for: whole sentences, Markdown allowed.
func Doc(text string) Opt { return func(d *declaration) { d.Doc = text } }

// Alt adds keys to look up, in order, when the option's own key is set nowhere: names in the option's
// namespace, or "root:name" and "root:namespace.name".
func Alt(keys ...string) Opt {
	return func(d *declaration) { d.Alt = append(d.Alt, d.resolve(keys)...) }
}

// Deprecated adds keys, written as for Alt, that work as alternates do but make a warning that names the
// option's own key.
func Deprecated(keys ...string) Opt {
	return func(d *declaration) { d.Deprecated = append(d.Deprecated, d.resolve(keys)...) }
}

func (d *declaration) resolve(keys []string) []Key {
	var out []Key
	for _, text := range keys {
		k := Key{d.Key.Namespace, text}
		if rest, ok := strings.CutPrefix(text, "root:"); ok {
			parts := strings.Split(rest, ".")
			k = Key{parts[:len(parts)-1], parts[len(parts)-1]}
		}
		out = append(out, k)
	}
	return out
}

// Secret keeps the value out of everything printed. A secret may also be given as the path of a file that
// holds it, under its name with _FILE or _file added; white space around the content is dropped. The plain
// name wins over that in the same source.
func Secret() Opt { return func(d *declaration) { d.Secret = true } }

// Example is a value to show in messages where the default is no good example.
func Example(text string) Opt { return func(d *declaration) { d.Example = text } }

// Check adds a condition. As with parsers, the error completes a sentence that begins with the
// value: "must be a power of two". T is the type of the option's destination.
func Check[T any](f func(T) error) Opt {
	return func(d *declaration) { d.checks = append(d.checks, f) }
}

// Short gives the option's flag a one-letter form, written without dash.
func Short(letter string) Opt { return func(d *declaration) { d.Short = letter } }

// FlagOnly makes an option that exists on the command line only: it is looked up in Flags sources and
// in no other.
func FlagOnly() Opt { return func(d *declaration) { d.FlagOnly = true } }
