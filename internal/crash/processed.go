package crash

import (
	"bytes"
	"encoding/json"
)

// ProcessedKey is the key of the processed crash.
func (id ID) ProcessedKey() string { return id.prefix() + "processed_crash" }

// Processed is a processed crash as it is stored: its fields, split by who may read them.
type Processed struct {
	Public map[string]json.RawMessage `json:"public"`
	// Protected has the fields that need permission. One that is in both has parts that do: here it is
	// whole, there without them.
	Protected map[string]json.RawMessage `json:"protected"`
}

// Split makes a processed crash of its fields. A field that the catalogue does not know is protected.
// Values are those of encoding/json.
func Split(doc map[string]any) (*Processed, error) {
	p := &Processed{Public: map[string]json.RawMessage{}, Protected: map[string]json.RawMessage{}}
	put := func(m map[string]json.RawMessage, name string, value any) (err error) {
		m[name], err = Marshal(value)
		return err
	}
	for name, value := range doc {
		part, all := publicPart(name, value)
		if part != nil || all {
			if err := put(p.Public, name, part); err != nil {
				return nil, err
			}
		}
		if !all {
			if err := put(p.Protected, name, value); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// Fields returns what a reader may see.
func (p *Processed) Fields(protected bool) map[string]json.RawMessage {
	if !protected {
		return p.Public
	}
	all := make(map[string]json.RawMessage, len(p.Public)+len(p.Protected))
	for name, value := range p.Public {
		all[name] = value
	}
	for name, value := range p.Protected {
		all[name] = value
	}
	return all
}

// Marshal writes JSON as all documents here are written: keys sorted, and no escaping for HTML.
func Marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
