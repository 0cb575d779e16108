package stackwalk_test

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/internal/debugtest"
)

// rawFields returns the fields in a text of --dump by record and number of the record: "MINIDUMP_MODULE 3 checksum".
func rawFields(text string) map[string]string {
	fields, seen, title := map[string]string{}, map[string]int{}, ""
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		switch {
		case ok && strings.HasPrefix(name, "  ") && title != "":
			fields[fmt.Sprintf("%s %d %s", title, seen[title], strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
		case rawTitle.MatchString(line):
			title = strings.ToUpper(strings.TrimSpace(line))
			seen[title]++
		}
	}
	return fields
}

var rawTitle = regexp.MustCompile(`^(MD|MINIDUMP_|Minidump|CONTEXT_)\w+\n$`)

// leftOut are the fields of minidump-stackwalk's --dump that ours has not, by reason.
var leftOut = map[string]*regexp.Regexp{
	"where in the file something is":           regexp.MustCompile(`rva$|^MINIDUMP_MODULE \S+\.data_size|thread_context\.data_size`),
	"how the file begins":                      regexp.MustCompile(`^MDRAWHEADER (signature|version|checksum)$`),
	"how many records follow":                  regexp.MustCompile(`_count$`),
	"what the identifiers are made of":         regexp.MustCompile(`^MINIDUMP_MODULE \((cv|misc)_record\)`),
	"what the version is made of":              regexp.MustCompile(`^MINIDUMP_MODULE version_info`),
	"a version of a list":                      regexp.MustCompile(`module_list \.version$`),
	"registers that no frame needs":            regexp.MustCompile(`^CONTEXT_\w+ ([c-gs]s|dr\d|mx_csr|p\d_home|float_save.*|extended_registers.*)$`),
	"names of threads stand with the threads":  regexp.MustCompile(`^MINIDUMP_THREAD_NAME `),
	"days of the year on which clocks are set": regexp.MustCompile(`(standard|daylight)_date$`),
	"a heading of fields":                      regexp.MustCompile(` (time_zone|xstate_data|\(object_info\))$`),
}

// Every field that --dump and minidump-stackwalk's --dump both have says the same, of all dumps of the fixtures. What
// they have and we have not is told.
func TestLiveDump(t *testing.T) {
	tool := debugtest.Program(t, "stackwalk", "minidump-stackwalk")
	dumps, err := filepath.Glob(filepath.Join(debugtest.Path(t, ""), "*", "dumps", "*.dmp"))
	if err != nil || len(dumps) < 20 {
		t.Fatal(len(dumps), err)
	}
	why, equal, extra := map[string]int{}, 0, map[string]bool{}
	index := regexp.MustCompile(` \d+ |\[ ?\d+\]`)
	for _, file := range dumps {
		out, err := exec.Command(tool, "--dump", "--brief", file).Output()
		if err != nil {
			t.Logf("%s: they cannot read it", filepath.Base(file))
			continue
		}
		d, err := minidump.Parse(debugtest.File(t, strings.TrimPrefix(file, debugtest.Path(t, ""))))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := stackwalk.WriteDump(&text, d, true); err != nil {
			t.Fatal(err)
		}
		theirs, ours := rawFields(string(out)), rawFields(text.String())
		for _, path := range slices.Sorted(maps.Keys(theirs)) {
			switch value, ok := ours[path]; {
			case ok && value == theirs[path]:
				equal++
			case ok:
				t.Errorf("%s: %s: %s, theirs %s", filepath.Base(file), path, value, theirs[path])
			default:
				reason := ""
				for r, re := range leftOut {
					if re.MatchString(index.ReplaceAllString(path, " ")) {
						reason = r
					}
				}
				if why[reason]++; reason == "" {
					t.Errorf("%s: we have no %s", filepath.Base(file), path)
				}
			}
		}
		for path := range ours {
			if _, ok := theirs[path]; !ok {
				extra[index.ReplaceAllString(path, " ")] = true
			}
		}
	}
	// They leave out second streams of a type.
	want := []string{"MDRAWDIRECTORY location.data_size", "MDRAWDIRECTORY location.rva", "MDRAWDIRECTORY stream_type", "MINIDUMP_THREAD (name)"}
	if got := slices.Sorted(maps.Keys(extra)); !slices.Equal(got, want) {
		t.Errorf("only we have %q", got)
	}
	for r := range leftOut {
		if why[r] == 0 {
			t.Errorf("nothing is left out any more as %s", r)
		}
	}
	t.Log(equal, "are equal,", why)
}
