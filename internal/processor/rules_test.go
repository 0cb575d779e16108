package processor_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"salvage/debug/minidump/minidumptest"
	"salvage/internal/crash"
	"salvage/internal/debugtest"
	"salvage/internal/processor"
)

func TestPrettyVersion(t *testing.T) {
	for _, tt := range []struct{ name, version, distribution, want string }{
		{"Windows NT", "10.0.19045", "", "Windows 10"}, {"Windows NT", "10.0.21996", "", "Windows 11"}, {"Windows NT", "10.0.9999", "", "Windows 10"},
		{"Windows NT", "10.0.100000", "", "Windows 11"}, {"Windows NT", "6.1.7601 Service Pack 1", "", "Windows 7"}, {"Windows NT", "6.3.1", "", "Windows 8.1"},
		{"Windows NT", "7.7.1", "", "Windows Unknown"}, {"Windows NT", "odd", "", "Windows NT"}, {"Windows NT", "", "", "Windows NT"},
		{"Mac OS X", "10.15.7 19H2", "", "OS X 10.15"}, {"Mac OS X", "11.0.1", "", "macOS 11"}, {"Mac OS X", "9.2.2", "", "OS X Unknown"},
		{"Linux", "6.1.0", "Debian GNU/Linux 12", "Debian GNU/Linux 12"}, {"Linux", "6.1.0", "", "Linux"}, {"Android", "31", "", "Android 31"}, {"", "", "", ""},
	} {
		if got := processor.PrettyVersion(tt.name, tt.version, tt.distribution); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.name, tt.version, got, tt.want)
		}
	}
}

func TestConvert(t *testing.T) {
	for _, tt := range []struct {
		value any
		typ   string
		want  any // nil: refused
	}{
		{" x \n", "string", " x"}, {json.Number("5"), "string", "5"}, {true, "string", "true"}, {[]any{}, "string", nil}, {map[string]any{}, "string", nil},
		{"TRUE", "boolean", true}, {" 0", "boolean", false}, {"yes", "boolean", nil}, {true, "boolean", true}, {json.Number("1"), "boolean", true},
		{" -7 ", "integer", int64(-7)}, {"12.0", "integer", nil}, {"", "integer", nil}, {"9223372036854775808", "integer", nil}, {json.Number("8"), "integer", int64(8)},
		{"1.5", "number", 1.5}, {"inf", "number", nil}, {"nan", "number", nil},
		{`{"a":1}`, "object", map[string]any{"a": json.Number("1")}}, {"[]", "object", nil}, {"null", "object", nil}, {"x", "object", nil},
		{map[string]any{"a": true}, "object", map[string]any{"a": true}}, {nil, "string", nil},
	} {
		got, ok := processor.Convert(tt.value, tt.typ)
		if ok != (tt.want != nil) || ok && fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%v as %s: %v, %v", tt.value, tt.typ, got, ok)
		}
	}
}

// TestWalked reads what a real dump of a crash in a program named crashy says.
func TestWalked(t *testing.T) {
	r := newRig(t)
	r.accept(id, nil, map[string][]byte{crash.MinidumpName: debugtest.File(t, "rust-minidump/simple-crashpad.dmp")})
	doc := r.process(id, true)
	for field, want := range map[string]any{
		"os_name": "Mac OS X", "os_pretty_version": "OS X 10.15", "cpu_arch": "amd64", "cpu_count": 12.0, "thread_count": 1.0, "crashing_thread": 0.0,
		"uptime": 0.0, "crash_time": 1608319181.0, "reason": doc["json_dump"].(map[string]any)["crash_info"].(map[string]any)["type"],
	} {
		if got := doc[field]; got != want || got == nil {
			t.Errorf("%s = %v, want %v", field, got, want)
		}
	}
	if s := doc["modules_in_stack"].(string); !strings.Contains(s, "crashy/EF1091E381DA369B9039EA1591D07E0B0") || strings.Contains(s, "libsystem_m") {
		t.Errorf("modules in the stack: %s", s)
	}
	if s := doc["missing_symbols"].(string); !strings.HasPrefix(s, "crashy/0.0.0.0/EF1091E381DA369B9039EA1591D07E0B0/ef1091e381da369b9039ea1591d07e0b;libdyld.dylib/") {
		t.Errorf("missing: %s", s)
	}
	if steps := doc["signature_steps"].([]any); len(steps) == 0 {
		t.Error("the signature is not explained")
	}
}

// TestSources: the catalogue says of each field which rule makes it.
func TestSources(t *testing.T) {
	made := map[string]string{}
	processor.WatchRules(t, func(rule, field string) {
		f, ok := crash.LookupField(field)
		made[field] = rule
		if !ok || f.Annotation == "" && f.Source != rule && f.Source != "processor" && !strings.HasPrefix(f.Source, "collector: ") {
			t.Errorf("%s sets %s; the catalogue says %q", rule, field, f.Source)
		}
	})
	r := newRig(t)
	annotations := map[string]any{
		"CrashTime": "1755499100", "StartupTime": "1755499000", "InstallTime": "1755490000", "SecondsSinceLastCrash": "7", "MozCrashReason": "x",
		"CPUMicrocodeVersion": "0x1", "Hang": "ui", "Breadcrumbs": `{"values":[{"message":"m"}]}`,
		"JavaStackTrace": "a.B: m\n\tat c.D.e(D.java:1)\n",
	}
	for i, name := range []string{"rust-minidump/simple-crashpad.dmp", "rust-minidump/test.dmp", "rust-minidump/invalid-parameter.dmp"} {
		id := id[:len(id)-8] + crash.ID(fmt.Sprint(i)) + id[len(id)-7:]
		r.accept(id, annotations, map[string][]byte{crash.MinidumpName: debugtest.File(t, name), "other": dump()})
		r.process(id, true)
	}
	rare := []string{"cpu_microcode_version", "last_error_value", "topmost_filenames"} // none of these dumps has them
	for _, f := range crash.Fields() {
		if !slices.Contains(rare, f.Name) && f.Annotation == "" && made[f.Name] == "" && f.Source != "processor" {
			t.Errorf("no rule sets %s", f.Name)
		}
	}
}

func TestMalformedBreadcrumbs(t *testing.T) {
	r := newRig(t)
	r.accept(id, map[string]any{"Breadcrumbs": `[{"message":"SECRET","level":["SECRET"]}]`}, nil)
	doc := r.process(id, true)
	text, _ := json.Marshal(doc)
	if notes := doc["processor_notes"].(string); !strings.Contains(notes, "Breadcrumbs: malformed: item 0 has a level of the wrong type") || strings.Contains(string(text), "SECRET") {
		t.Errorf("%s", text)
	}
}

// TestForbiddenInDump: addresses among Crashpad's own annotations are dropped from what the walk says.
func TestForbiddenInDump(t *testing.T) {
	r := newRig(t)
	b := minidumptest.New(false)
	b.System(minidumptest.System{Architecture: minidumptest.AMD64, Platform: minidumptest.Linux})
	b.Module(minidumptest.Module{Name: "app", Addr: 0x10000, Size: 0x1000})
	b.Crashpad(minidumptest.Crashpad{
		Version:     1,
		Annotations: [][2]string{{"Email", "SECRET1"}, {"prod", "kept1"}},
		Modules: []minidumptest.CrashpadModule{{
			Annotations: [][2]string{{"user_email", "SECRET2"}, {"x", "kept2"}},
			Objects:     []minidumptest.Annotation{{Name: "EMAIL", Type: 1, Value: []byte("SECRET3")}, {Name: "y", Type: 1, Value: []byte("kept3")}},
		}},
	})
	r.accept(id, nil, map[string][]byte{crash.MinidumpName: b.Bytes()})
	text, err := json.Marshal(r.process(id, true))
	if err != nil || strings.Contains(string(text), "SECRET") || strings.Count(string(text), "kept") != 3 {
		t.Errorf("%v %s", err, text)
	}
}
