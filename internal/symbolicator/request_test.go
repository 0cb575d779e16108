package symbolicator

import (
	"encoding/json"
	"testing"
)

// Members of an object are those that encoding/json finds, byte for byte.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , {"b" : "]}" } ] , "b":"\"," , "a" : null }`, `{"\u0061":"\\","b":{"a":[[]]}}`,
		`{"b":-1.5e+3,"a":true}`, `"a"`, `{"":"","a":""}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		var want map[string]json.RawMessage
		isObject := json.Unmarshal([]byte(text), &want) == nil && want != nil
		got, ok := members([]byte(text), "a", "b")
		if ok != isObject {
			t.Fatalf("%s: object %v", text, ok)
		}
		if !ok {
			return
		}
		for i, name := range []string{"a", "b"} {
			if string(got[i]) != string(want[name]) {
				t.Errorf("%s: %s is %q, want %q", text, name, got[i], want[name])
			}
		}
	})
}
