package stackwalk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/internal/debugtest"
)

// difference explains why values of a report differ from minidump-stackwalk's.
type difference struct {
	path, dumps string // regular expressions; of dump, CPU and run: "breakpad/dumps/minidump2.dmp x86 symbols"
	why         string
	holds       func(theirs, ours any) bool // nil: always
}

// differences are all there are. An entry that explains nothing any more fails the test.
var differences = []difference{
	{
		path: `^\.crash_info\.assertion$`, dumps: `invalid-parameter`,
		why:   "they do not tell of assertions",
		holds: func(theirs, _ any) bool { return theirs == nil },
	},
	{
		path: `^\.crash_info\.type$`, dumps: `crashpad`,
		why:   "triage has texts for Crashpad's marks",
		holds: func(theirs, ours any) bool { return strings.HasPrefix(theirs.(string), "unknown ") },
	},
	{
		path: `thread_name$`, dumps: `minidump_crashpad_annotation`,
		why:   "an empty name is none",
		holds: func(theirs, ours any) bool { return theirs == "" && ours == nil },
	},
	{
		// main was called from __libc_start_main, where rbp is 0. That tells the end of the chain of frame pointers, and the
		// return address beside it is good: libc-2.19.so+0x21ec4. They refuse to go up to a frame pointer of 0 and scan.
		path:  `^\.(threads\[0\]\.(frames\[([2-9]|10)\]\.|frame_count)|crashing_thread\.frame_count|modules\[[56]\]\.missing_symbols)`,
		dumps: `linux_(executable_heap|inside_module|jmp_to_module|stack_pointer|write_to)`,
		why:   "the frame pointer leads to the caller of main, where a scan finds leftovers first",
	},
}

// additions are the keys that only we have.
var additions = regexp.MustCompile(`\.(no_name_reason|no_rules|rules_failed_reason|symbols_reason|total_frames|frames_truncated|possible_bit_flips_version|likely_\w+|is_likely_null_pointer_dereference)$|^\.crashpad\.|^\.crash_info\.exception\.`)

const (
	longest = 32 // of recorded lists
	none    = "(none)"
)

var home = regexp.MustCompile(`/home/[^/"]+/`)

// leaves collects the plain values in v by path, of lists those of the first elements.
func leaves(into map[string]any, path string, v any, first int) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			leaves(into, path+"."+k, x, first)
		}
	case []any:
		for i, x := range v[:min(first, len(v))] {
			leaves(into, fmt.Sprintf("%s[%d]", path, i), x, first)
		}
		if len(v) == 0 {
			into[path] = "[]"
		}
	default:
		into[path] = v
	}
}

// objects undoes the tables of testdata/record.go.
func objects(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = objects(x)
		}
	case []any:
		for i, x := range v {
			row, ok := x.([]any)
			if !ok {
				return v
			}
			m := map[string]any{}
			for k, x := range row {
				m[v[0].([]any)[k].(string)] = objects(x)
			}
			if i > 0 {
				v[i] = m
			}
		}
		return v[min(1, len(v)):]
	}
	return v
}

// Every value of minidump-stackwalk's JSON, without and with symbols.
func TestReference(t *testing.T) {
	files, err := filepath.Glob("testdata/reference/*.json")
	if err != nil || len(files) < 26 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	folders := []string{debugtest.Path(t, "breakpad/symbols"), debugtest.Path(t, "rust-minidump/symbols")}
	explained, equal, texts := map[string]int{}, 0, 0
	for _, file := range files {
		var facts struct {
			Dump, Text     string
			Plain, Symbols map[string]any
		}
		data, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(data, &facts)
		}
		if err != nil {
			t.Fatal(err)
		}
		d, err := minidump.Parse(debugtest.File(t, facts.Dump))
		if err != nil {
			t.Fatal(err)
		}
		theirs := map[string]any{}
		leaves(theirs, "", objects(facts.Plain), longest)
		for _, run := range []string{"plain", "symbols"} {
			p := newSymFolders(t)
			if run == "symbols" {
				p.folders = folders
				for path, v := range facts.Symbols {
					theirs[path] = v
					if v == "(gone)" {
						delete(theirs, path)
					}
				}
			}
			name := fmt.Sprint(facts.Dump, " ", d.System.CPU, " ", run)
			r := stackwalk.Walk(t.Context(), d, p, stackwalk.Options{})
			if run == "symbols" && facts.Text != "" {
				texts++
				same(t, facts.Dump, textOf(t, r, false), facts.Text)
			}
			ours := leavesOf(t, r)
			paths := slices.Sorted(maps.Keys(theirs))
			for path := range ours {
				if _, ok := theirs[path]; !ok {
					paths = append(paths, path)
				}
			}
			for _, path := range paths {
				a, b := lookup(theirs, path), lookup(ours, path)
				if a == b {
					equal++
					continue
				}
				if a == none && additions.MatchString(path) {
					continue
				}
				if why := explain(name, path, a, b); why != "" {
					explained[why]++
					continue
				}
				t.Errorf("%s %s: %v, theirs %v", name, path, b, a)
			}
		}
	}
	for _, d := range differences {
		if explained[d.why] == 0 {
			t.Errorf("nothing differs any more: %s", d.why)
		}
		t.Logf("%5d %s", explained[d.why], d.why)
	}
	t.Logf("%d dumps, %d values and %d texts are equal", len(files), equal, texts)
}

func explain(name, path string, theirs, ours any) string {
	for _, d := range differences {
		if regexp.MustCompile(d.path).MatchString(path) && regexp.MustCompile(d.dumps).MatchString(name) && (d.holds == nil || d.holds(theirs, ours)) {
			return d.why
		}
	}
	return ""
}

func lookup(m map[string]any, path string) any {
	if v, ok := m[path]; ok {
		return v
	}
	return none
}

// leavesOf returns the leaves of a report's JSON.
func leavesOf(t *testing.T, r *stackwalk.Report) map[string]any {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteJSON(&out, false); err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(home.ReplaceAll(out.Bytes(), []byte("/home/user/")), &v); err != nil {
		t.Fatal(err)
	}
	if c, ok := v["crashing_thread"].(map[string]any); ok {
		c["frames"] = c["frames"].([]any)[:1] // as recorded: the others are those of threads
	}
	ours := map[string]any{}
	leaves(ours, "", v, longest)
	return ours
}
