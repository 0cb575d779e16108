package crash_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"salvage/internal/crash"
)

func TestBreadcrumbs(t *testing.T) {
	const one = `{"timestamp":"2026-08-18T12:00:01","message":"m","category":"c","level":"Info","type":"Default","data":{"b":"2","a":1},"more":[null]}`
	number := map[string]any{"timestamp": json.Number("1786968001.5"), "data": map[string]any{}}
	for _, tt := range []struct {
		in   any
		n    int
		want string // the mistake
	}{
		{"", 0, ""}, {" \n", 0, ""}, {"[]", 0, ""}, {"[" + one + "]", 1, ""}, {`{"values":[` + one + "," + one + `]}`, 2, ""}, {"[{}]", 1, ""},
		{[]any{number}, 1, ""}, {map[string]any{"values": []any{number}}, 1, ""},
		{"[SECRET", 0, "not valid JSON"}, {"[] []", 0, "not valid JSON"}, {"{}", 0, "an object without values"}, {`{"values":{}}`, 0, "not a list"}, {"null", 0, "not a list"},
		{nil, 0, "not a list"}, {`"SECRET"`, 0, "not a list"}, {`[{},"SECRET"]`, 0, "item 1 is not an object"}, {"[null]", 0, "item 0 is not an object"},
		{`[{"message":null}]`, 0, "item 0 has a message of the wrong type"}, {`[{"data":"SECRET"}]`, 0, "item 0 has a data of the wrong type"},
		{`[{"level":{"SECRET":1}}]`, 0, "item 0 has a level of the wrong type"}, {`[{"type":5}]`, 0, "item 0 has a type of the wrong type"},
		{`[{"timestamp":true}]`, 0, "item 0 has a timestamp of the wrong type"}, {`[{"category":[]}]`, 0, "item 0 has a category of the wrong type"},
		{"[" + strings.Repeat("{},", 1000) + one + "]", 1000, ""},
	} {
		got, err := crash.ParseBreadcrumbs(tt.in)
		if len(got) != tt.n || fmt.Sprint(err) != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%.80v: %d, %v; want %d, %s", tt.in, len(got), err, tt.n, tt.want)
		}
		if len(got) == 1000 && len(got[999].(map[string]any)) == 0 {
			t.Error("the latest is not kept")
		}
		if text, err := json.Marshal(got); err != nil || len(crash.ReadBreadcrumbs(text)) != tt.n {
			t.Errorf("%.80v: read again: %s, %v", tt.in, text, err)
		}
	}
	read := func(list string) (messages string) {
		for _, b := range crash.ReadBreadcrumbs(json.RawMessage(list)) {
			messages += b.Message + b.Time.Format("@15:04:05.0 ")
		}
		return messages
	}
	for list, want := range map[string]string{
		`[{"message":"b","timestamp":"2026-08-18T12:00:02+01:00"},{"message":"c","timestamp":1787054402.5},{"message":"a","timestamp":"2026-08-17 23:59:59.5"}]`: "a@23:59:59.5 b@11:00:02.0 c@12:00:02.5 ",
		`[{"message":"b","timestamp":"2026-08-18T12:00:02Z"},{"message":"x","timestamp":"soon"},{"message":"a","timestamp":1}]`:                                  "b@12:00:02.0 x@00:00:00.0 a@00:00:01.0 ",
		`{}`: "",
	} {
		if got := read(list); got != want {
			t.Errorf("%s: %q, want %q", list, got, want)
		}
	}
}

func FuzzBreadcrumbs(f *testing.F) {
	f.Add(`{"values":[{"timestamp":1,"data":{"a":{"b":[]}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		list, err := crash.ParseBreadcrumbs(text)
		if err != nil {
			return
		}
		stored, err := crash.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		if got := crash.ReadBreadcrumbs(stored); len(got) != len(list) {
			t.Errorf("%s: %d read of %d", text, len(got), len(list))
		}
	})
}
