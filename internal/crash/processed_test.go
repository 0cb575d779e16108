package crash_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"salvage/internal/crash"
)

func TestFields(t *testing.T) {
	annotations := map[string]bool{}
	types := []string{"string", "integer", "number", "boolean", "object", "array"}
	never := []string{"Email", "TelemetryClientId", "TelemetryServerURL", "TelemetrySessionId"}
	for _, f := range crash.Fields() {
		lower := strings.ToLower(f.Annotation)
		if f.Name == "" && f.Annotation == "" || !slices.Contains(types, f.Type) || annotations[lower] || f.Category == "" || f.Source == "" ||
			!strings.HasSuffix(f.Description, ".") || strings.Contains(lower, "email") != f.Never && !slices.Contains(never, f.Annotation) ||
			f.Never && (f.Name != "" || !f.Protected) {
			t.Errorf("%+v", f)
		}
		annotations[lower] = lower != ""
		never = slices.DeleteFunc(never, func(n string) bool { return f.Never && n == f.Annotation })
	}
	if len(never) > 0 {
		t.Errorf("kept: %v", never)
	}
	for name, want := range map[string]bool{"ProductName": true, "prod": true, "URL": false, "Comments": false, "user_id": false, "": false} {
		if crash.PublicAnnotation(name) != want {
			t.Errorf("%s public: %v", name, !want)
		}
	}
}

// TestSplit: what needs permission is in no public part, however deep it lies, and the protected reader gets
// every value as it was.
func TestSplit(t *testing.T) {
	const text = `{"signature":"<a>","url":"SECRET1","surprise":"SECRET2","processor_notes":null,"json_dump":{"pid":7,"big":12345678901234567890,` +
		`"crash_info":{"type":"SIGSEGV","memory_accesses":[{"address":"0x0","is_likely_guard_page":"SECRET3"},5]},"soft_errors":"SECRET4","crashpad":{"x":"SECRET5"},` +
		`"threads":[{"frames":[{"frame":0,"registers":{"rip":"SECRET6"}},{"frame":1}]},{"frames":null},{},null],"crashing_thread":{"frames":[{"registers":"SECRET7"}]}}}`
	doc := func() (doc map[string]any) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		return doc
	}
	in := doc()
	p, err := crash.Split(in)
	if err != nil {
		t.Fatal(err)
	}
	before, _ := crash.Marshal(doc())
	if after, _ := crash.Marshal(in); string(after) != string(before) {
		t.Errorf("Split changed what it was given: %s", after)
	}
	stored, err := crash.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back crash.Processed
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	public, _ := crash.Marshal(back.Fields(false))
	want := `{"json_dump":{"big":12345678901234567890,"crash_info":{"memory_accesses":[{"address":"0x0"},5],"type":"SIGSEGV"},"crashing_thread":{"frames":[{}]},"pid":7,` +
		`"threads":[{"frames":[{"frame":0},{"frame":1}]},{"frames":null},{},null]},"processor_notes":null,"signature":"<a>"}`
	if string(public) != want {
		t.Errorf("public: %s", public)
	}
	if all, _ := crash.Marshal(back.Fields(true)); string(all) != string(before) {
		t.Errorf("protected: %s", all)
	}
}

func TestVisible(t *testing.T) {
	r := crash.Raw{ID: "6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818", Submitted: day, Annotations: map[string]any{"ProductName": "<x>", "Comments": "SECRET", "custom": "SECRET"}}
	r.Note("SECRET")
	public, err := r.Visible(false)
	if want := `{"ProductName":"<x>","submitted_timestamp":"2026-08-19T00:59:59.123456+00:00","uuid":"6d8f0c1e-5b7a-4c2d-9e3f-0a1b20260818","version":2}`; err != nil || string(public) != want {
		t.Errorf("%s, %v", public, err)
	}
	if all, err := r.Visible(true); err != nil || strings.Count(string(all), "SECRET") != 3 {
		t.Errorf("%s, %v", all, err)
	}
}
