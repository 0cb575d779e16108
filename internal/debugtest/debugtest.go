// Package debugtest finds the files and programs that tests share: real files of other
// projects, which are not in this repository, and the facts known about them.
//
// SALVAGE_FIXTURES names their folder. Without it tests skip, or fail where REQUIRE_FIXTURES=1.
package debugtest

import (
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Require skips the test because thing is missing, or fails it where REQUIRE_<THING>=1.
func Require(t testing.TB, thing, why string) {
	t.Helper()
	if os.Getenv("REQUIRE_"+strings.ToUpper(thing)) == "1" {
		t.Fatalf("%s is required: %s", thing, why)
	}
	t.Skipf("no %s: %s", thing, why)
}

// Program returns the path of a program that the test needs, as part of thing.
func Program(t testing.TB, thing, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Require(t, thing, err.Error())
	}
	return path
}

// Crashapp compiles examples/crashapp with debug information and returns the program's path.
func Crashapp(t testing.TB, compiler string, flags ...string) string {
	t.Helper()
	sources, err := filepath.Glob(Example("crashapp/*.cpp"))
	if err != nil || len(sources) == 0 {
		t.Fatal("no sources of crashapp", err)
	}
	out := filepath.Join(t.TempDir(), "crashapp")
	args := append([]string{"-g", "-pthread", "-Wall", "-Wextra", "-o", out}, flags...)
	if text, err := exec.Command(Program(t, "llvm", compiler), append(args, sources...)...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", compiler, err, text)
	}
	return out
}

// Example returns the path of a file in the examples folder.
func Example(name string) string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../examples", name)
}

// Path returns the path of a file in the fixtures folder.
func Path(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("SALVAGE_FIXTURES")
	if dir == "" {
		Require(t, "fixtures", "SALVAGE_FIXTURES is not set")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		Require(t, "fixtures", err.Error())
	}
	return path
}

// File returns the bytes of a file in the fixtures folder.
func File(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// upstream maps the start of a path in a facts file to the fixtures folder.
var upstream = strings.NewReplacer(
	"symbolic:symbolic-testutils/fixtures/", "symbolic/",
)

// Fact is one row of symbolic-facts.csv.
type Fact struct{ Path, Format, DebugID, Arch, Kind, Query, Expected, AssertedBy string }

// Facts returns the rows of symbolic-facts.csv about the file with the given path in the fixtures
// folder. It fails if there are none.
func Facts(t testing.TB, path string) []Fact {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(string(File(t, "symbolic-facts.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var facts []Fact
	for _, r := range rows[1:] {
		if upstream.Replace(r[0]) == path {
			facts = append(facts, Fact{path, r[2], r[3], r[4], r[5], r[6], r[7], r[8]})
		}
	}
	if len(facts) == 0 {
		t.Fatalf("no facts about %s", path)
	}
	return facts
}
