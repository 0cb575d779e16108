package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"salvage/debug/unwind"
	"salvage/internal/debugtest"
)

// withRules writes the symbol files of programs and libraries into a folder. In that of one, or in all if that is empty,
// the rules of each function become others, none if they are empty.
func withRules(t *testing.T, rules, of string, paths ...string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, path := range paths {
		var out, stderr bytes.Buffer
		if code := run([]string{"dump-syms", "-s", folder, path}, nil, &out, &stderr); code != 0 {
			t.Fatalf("%s: exit %d: %s", path, code, &stderr)
		}
	}
	files, err := filepath.Glob(filepath.Join(folder, "*", "*", "*.sym"))
	if err != nil || len(files) != len(paths) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if of != "" && filepath.Base(file) != of {
			continue
		}
		data, err := os.ReadFile(file)
		if err == nil {
			data = regexp.MustCompile(`(?m)^STACK CFI [^I].*\n`).ReplaceAll(data, nil)
			data = regexp.MustCompile(`(?m)^(STACK CFI INIT \w+ \w+) .*\n`).ReplaceAll(data, []byte(rules))
			err = os.WriteFile(file, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// Where there are no rules, or they fail, what a walk makes up is told from what it knows: a frame that gdb does not
// show was scanned for, or is the caller of one that was, and its callee says why. There are no more of them than
// minidump-stackwalk 0.27 has, on stacks full of return addresses of no use.
func TestScans(t *testing.T) {
	tool, _ := exec.LookPath("minidump-stackwalk")
	objects := reporting(t)
	total := [2]int{}
	for _, build := range []struct {
		compiler, flags string
		rules, of       string // the rules of a symbol file, or of all; see withRules
		// Frames of minidump-stackwalk that gdb has, and others, for where it is missing: the most seen. Paths on the
		// stack move it, by which one or two more or fewer are made up.
		found, madeUp int
	}{
		{"g++", "-O2 -fno-omit-frame-pointer", "", "stacks.sym", 20, 5},
		{"g++", "-O2", "", "", 8, 19},
		{"g++", "-O2", "", "stacks.sym", 6, 13},
		{"clang++", "-O0", "${1} .cfa: $$rsp 8 + .ra: 0 ^\n", "stacks.sym", 20, 3},
	} {
		if testing.Short() && build.of == "" {
			continue
		}
		t.Run(build.compiler+" "+build.flags+" "+build.of, func(t *testing.T) {
			app := filepath.Join(t.TempDir(), "stacks")
			mustRun(t, build.compiler, append(append(strings.Fields(build.flags), "-g", "-o", app, debugtest.Example("stacks/main.cpp")), objects...)...)
			dump, want := crashUnderGDB(t, app, "crash")
			libraries := slices.DeleteFunc(systemLibraries(t, app), func(path string) bool { return strings.HasSuffix(path, ".debug") })
			folder := withRules(t, build.rules, build.of, append(libraries, app)...)
			real := map[uint64]bool{}
			for _, f := range want {
				real[f.pc] = true
			}
			frames := walkCrash(t, dump, []string{folder}).Frames
			found := map[uint64]bool{frames[0].PC: true}
			madeUp := 0
			for i, f := range frames[1:] {
				callee := frames[i]
				if ruled := !callee.NoRules && callee.Failed == nil && callee.Module != nil; ruled != (f.Trust == unwind.TrustCFI) {
					t.Errorf("frame %d, %s, is of trust %v; of its callee rules are missing: %v, fail: %v", i+1, f.Function, f.Trust, callee.NoRules, callee.Failed)
				}
				if real[f.PC] && !found[f.PC] { // no function calls itself
					found[f.PC] = true
					continue
				}
				madeUp++
				if f.Trust != unwind.TrustScan && real[callee.PC] {
					t.Errorf("frame %d, %s at %#x, is of trust %v, and gdb has no such frame", i+1, f.Function, f.PC, f.Trust)
				}
			}
			limit, least := build.madeUp+2, build.found
			if tool != "" {
				theirs := map[uint64]bool{}
				limit = 0
				file := filepath.Join(t.TempDir(), "dump")
				if err := os.WriteFile(file, dump, 0o644); err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(tool, "--json", file, folder).Output()
				var report struct {
					Thread struct {
						Frames []struct{ Offset, Trust string }
					} `json:"crashing_thread"`
				}
				if err == nil {
					err = json.Unmarshal(out, &report)
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range report.Thread.Frames {
					at, _ := strconv.ParseUint(f.Offset, 0, 64)
					if !real[at] {
						at++ // it was one before a return address
					}
					if !real[at] || theirs[at] {
						limit++
					}
					theirs[at] = true
				}
				least = len(report.Thread.Frames) - limit
			}
			t.Logf("%d frames are found and %d made up, theirs %d and %d", len(found), madeUp, least, limit)
			if madeUp > limit || len(found) < least {
				for i, f := range frames {
					t.Logf("%2d %#x %v %s %v", i, f.PC, f.Trust, f.Function, real[f.PC])
				}
				t.Errorf("%d frames are found and %d made up, theirs %d and %d", len(found), madeUp, least, limit)
			}
			total[0] += madeUp
			total[1] += limit
		})
	}
	if total[1] == 0 {
		t.Error("the stacks mislead nobody")
	}
	t.Log("made up in all:", total)
}
