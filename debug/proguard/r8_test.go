package proguard_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"salvage/internal/debugtest"
)

var (
	mappedClass   = regexp.MustCompile(`^\S.* -> (\S+):$`)
	mappedMethod  = regexp.MustCompile(`^\s+(?:(\d+):(\d+):)?\S+ [^:]*\)(?::\d+)*(?::\d+)? -> (\S+)$`)
	mappedOutline = regexp.MustCompile(`outlineCallsite".*"positions":\{([^}]*)\}.*"outline":"L([^;]*);([^(]*)\(`)
)

// queries returns short traces that reach every class, method and line range of a mapping: the first and
// the last line of each, the ones beside, one between, none at all, below two exceptions; and every way
// into an outline and out of it.
func queries(mapping string) []string {
	var all []string
	seen := map[string]bool{}
	ask := func(frames ...string) {
		for _, exception := range []string{"java.lang.NullPointerException: x", "java.lang.IllegalStateException"} {
			q := exception + "\n\tat " + strings.Join(frames, "\n\tat ") + "\n"
			if !seen[q] {
				seen[q] = true
				all = append(all, q)
			}
		}
	}
	class, method, last := "", "", 0
	for line := range strings.Lines(mapping) {
		line = strings.TrimRight(line, "\n")
		if p := mappedClass.FindStringSubmatch(line); p != nil && line[0] != '#' {
			class, method = p[1], ""
			ask(class + ".noSuchMethod(SourceFile:1)")
		} else if p := mappedMethod.FindStringSubmatch(line); p != nil {
			method = p[3]
			at := class + "." + method
			ask(at + "(SourceFile)")
			ask(at + "(Unknown Source:1)")
			ask(at + "(Some.kt)")
			ask(at + "(Some.java)")
			if p[1] != "" {
				from, _ := strconv.Atoi(p[1])
				to, _ := strconv.Atoi(p[2])
				last = from
				for _, n := range []int{from - 1, from, (from + to) / 2, to, to + 1} {
					if n > 0 {
						ask(at + "(SourceFile:" + strconv.Itoa(n) + ")")
					}
				}
				ask(at+"(SourceFile:"+p[1]+")", at+"(SourceFile:"+p[1]+")")
			}
		} else if p := mappedOutline.FindStringSubmatch(line); p != nil && method != "" {
			for position := range strings.SplitSeq(p[1], ",") {
				n, _, _ := strings.Cut(strings.Trim(position, `"`), `"`)
				ask(strings.ReplaceAll(p[2], "/", ".")+"."+p[3]+"(SourceFile:"+n+")", fmt.Sprintf("%s.%s(SourceFile:%d)", class, method, last))
				// Not below a frame that is no outline.
				ask(class+"."+method+"(SourceFile:"+n+")", fmt.Sprintf("%s.%s(SourceFile:%d)", class, method, last))
			}
		}
	}
	return all
}

// special is a mapping written for the tests, javacrash that of a program which R8 shrunk.
const (
	special   = "testdata/special"
	javacrash = "../../examples/javacrash/testdata"
)

var update = flag.Bool("update", false, "write what retrace makes of the special mapping")

// TestR8 compares with R8's own tool over all that mappings say. R8_JAR is R8, R8_MAPPINGS a list of
// mappings besides ours; examples/javacrash/record.sh sets both.
func TestR8(t *testing.T) {
	jar := os.Getenv("R8_JAR")
	if jar == "" {
		debugtest.Require(t, "R8", "R8_JAR is not set")
	}
	for _, file := range append([]string{special + "/mapping.txt", javacrash + "/mapping.txt"}, filepath.SplitList(os.Getenv("R8_MAPPINGS"))...) {
		all, text := traces(t, file)
		in := filepath.Join(t.TempDir(), "traces.txt")
		if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("java", "-cp", jar, "com.android.tools.r8.retrace.Retrace", "--quiet", file, in)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		want, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr.Bytes())
		}
		if *update && file == special+"/mapping.txt" {
			if err := os.WriteFile(special+"/retraced.txt", want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		compare(t, file, all, text, string(want))
	}
}

// TestRecorded compares with what the tool made of the special mapping, and of the traces of
// examples/javacrash.
func TestRecorded(t *testing.T) {
	all, text := traces(t, special+"/mapping.txt")
	compare(t, special+"/mapping.txt", all, text, read(t, special+"/retraced.txt"))

	mapping := parse(t, []byte(read(t, javacrash+"/mapping.txt")))
	want := archive(t, "retraced")
	for name, trace := range archive(t, "shrunk") {
		if !strings.HasSuffix(name, ".txt") {
			continue
		}
		if got := retrace(mapping, trace); got != want[name] {
			t.Errorf("%s: we make\n%s\nretrace\n%s", name, got, want[name])
		}
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// archive returns the files of an archive of examples/javacrash.
func archive(t testing.TB, name string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, f := range txtar.Parse([]byte(read(t, javacrash+"/"+name+".txtar"))).Files {
		files[f.Name] = string(f.Data)
	}
	if len(files) == 0 {
		t.Fatal("nothing is recorded")
	}
	return files
}

// traces returns the queries of a mapping, and all of them as one text.
func traces(t testing.TB, mapping string) (all []string, text string) {
	all = queries(read(t, mapping))
	var b strings.Builder
	for i, q := range all {
		fmt.Fprintf(&b, "#### %d\n%s", i, q)
	}
	return all, b.String()
}

func compare(t *testing.T, file string, all []string, text, want string) {
	t.Helper()
	a := strings.Split(retrace(parse(t, []byte(read(t, file))), text), "#### ")
	b := strings.Split(want, "#### ")
	if len(a) != len(all)+1 || len(b) != len(a) {
		t.Fatalf("%d traces, %d results of ours, %d of retrace", len(all), len(a)-1, len(b)-1)
	}
	differ := 0
	for i := range all {
		if a[i+1] == b[i+1] {
			continue
		}
		if differ++; differ <= 20 {
			t.Errorf("%s: of\n%s\nwe make\n%s\nretrace\n%s", file, all[i], a[i+1], b[i+1])
		}
	}
	t.Logf("%s: %d traces, %d differ", file, len(all), differ)
}
