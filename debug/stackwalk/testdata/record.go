//go:build ignore

// Records what minidump-stackwalk says of the dumps in the fixtures folder, for TestReference: a file for each
// dump with its JSON without symbols, what of that changes with the symbol files of the fixtures and, for some,
// its text with them.
//
//	SALVAGE_FIXTURES=folder go run testdata/record.go path/of/minidump-stackwalk
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// texts are the dumps whose text is recorded: small ones, of several systems.
var texts = []string{"linux_null_read_av", "linux_overflow", "tiny-exe-fastfail", "tiny-exe-with-cet-xsave"}

// longest is how many elements of a list are kept.
const longest = 32

// home is replaced in paths: who built a program is nobody's business.
var home = regexp.MustCompile(`/home/[^/"]+/`)

func main() {
	log.SetFlags(0)
	fixtures := os.Getenv("SALVAGE_FIXTURES")
	if len(os.Args) != 2 || fixtures == "" {
		log.Fatal("usage: SALVAGE_FIXTURES=folder go run testdata/record.go path/of/minidump-stackwalk")
	}
	for _, folder := range []string{"breakpad/dumps", "rust-minidump"} {
		dumps, err := filepath.Glob(filepath.Join(fixtures, folder, "*.dmp"))
		if err != nil {
			log.Fatal(err)
		}
		for _, dump := range dumps {
			name := strings.TrimSuffix(filepath.Base(dump), ".dmp")
			if strings.HasPrefix(name, "microdump") || name == "test" { // text; the same file as minidump2
				continue
			}
			folders := []string{filepath.Join(fixtures, "breakpad/symbols"), filepath.Join(fixtures, "rust-minidump/symbols")}
			plain := report(os.Args[1], dump)
			changed := changes(plain, report(os.Args[1], dump, folders...))
			facts := map[string]any{"dump": folder + "/" + name + ".dmp", "plain": tables(plain), "symbols": changed}
			if slices.Contains(texts, name) {
				facts["text"] = string(run(os.Args[1], append([]string{"--human", dump}, folders...)...))
			}
			write("testdata/reference/"+name+".json", facts)
		}
	}
}

func run(tool string, args ...string) []byte {
	out, err := exec.Command(tool, args...).Output()
	if err != nil {
		log.Fatalf("%v: %v", args, err)
	}
	return home.ReplaceAll(out, []byte("/home/user/"))
}

func report(tool, dump string, folders ...string) (report map[string]any) {
	if err := json.Unmarshal(run(tool, append([]string{"--json", dump}, folders...)...), &report); err != nil {
		log.Fatalf("%s: %v", dump, err)
	}
	if t, ok := report["crashing_thread"].(map[string]any); ok { // a copy, but for the registers
		t["frames"] = t["frames"].([]any)[:1]
	}
	cut(report)
	return report
}

// cut shortens the lists in v.
func cut(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if l, ok := x.([]any); ok && len(l) > longest {
				v[k] = l[:longest]
			}
			cut(v[k])
		}
	case []any:
		for _, x := range v {
			cut(x)
		}
	}
}

// tables makes each list of objects a list of lists, the first of which has the keys.
func tables(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = tables(x)
		}
	case []any:
		rows := []any{}
		for _, x := range v {
			m, ok := x.(map[string]any)
			if !ok {
				return v
			}
			keys := slices.Sorted(maps.Keys(m))
			if len(rows) == 0 {
				rows = append(rows, keys)
			}
			row := []any{}
			for _, k := range keys {
				row = append(row, tables(m[k]))
			}
			if len(rows[0].([]string)) != len(keys) {
				log.Fatalf("different objects in a list: %v", keys)
			}
			rows = append(rows, row)
		}
		return rows
	}
	return v
}

// changes returns the leaves by which b differs from a, by path.
func changes(a, b any) map[string]any {
	before, after := map[string]any{}, map[string]any{}
	leaves(before, "", a)
	leaves(after, "", b)
	for path, old := range before {
		if v, ok := after[path]; !ok {
			after[path] = "(gone)"
		} else if v == old {
			delete(after, path)
		}
	}
	return after
}

func leaves(into map[string]any, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			leaves(into, path+"."+k, x)
		}
	case []any:
		for i, x := range v {
			leaves(into, fmt.Sprintf("%s[%d]", path, i), x)
		}
	default:
		into[path] = v
	}
	if l, ok := v.([]any); ok && len(l) == 0 {
		into[path] = "[]"
	}
}

func write(name string, facts map[string]any) {
	data, err := json.Marshal(facts)
	if err == nil {
		err = os.WriteFile(name, append(data, '\n'), 0o644)
	}
	if err != nil {
		log.Fatal(err)
	}
}
