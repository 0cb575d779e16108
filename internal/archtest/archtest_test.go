// Package archtest keeps the architecture true: who may import whom, and which modules the program
// depends on. The tables are doc/architecture.md as data; a change of either is a reviewed line.
package archtest

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// rule says what the packages that match pkg may import besides the standard library. The first rule
// that matches a package decides. Patterns are package paths without the module's name; a trailing
// "/..." includes what is below, and the package itself.
type rule struct {
	pkg  string
	may  []string
	pure bool // no os, net, log and no clock
}

var rules = []rule{
	// Layer 0.
	{pkg: "config/configtest", may: []string{"config"}},
	{pkg: "config/inifile", may: []string{"config"}},
	{pkg: "config/yamlfile", may: []string{"config", "go.yaml.in/yaml/v3"}},
	{pkg: "metrics/metricstest", may: []string{"metrics"}},
	{pkg: "metrics/statsd", may: []string{"metrics"}},
	{pkg: "metrics/prometheus", may: []string{"metrics", "github.com/prometheus/client_golang/..."}},
	{pkg: "config"},
	{pkg: "metrics"},
	{pkg: "internal/errs", may: []string{"debug"}},
	{pkg: "internal/mmap", may: []string{"golang.org/x/sys/..."}},
	{pkg: "debug", pure: true},
	{pkg: "internal/debugtest"},
	{pkg: "debug/internal/inflate", may: []string{"debug", "debug/internal/cursor", "github.com/klauspost/compress/...", "github.com/ulikunitz/xz/..."}, pure: true},
	{pkg: "debug/internal/...", may: []string{"debug"}, pure: true},
	{pkg: "debug/debugid", may: []string{"debug"}, pure: true},
	// Layer 1.
	{pkg: "debug/demangle", may: []string{"debug/...", "github.com/ianlancetaylor/demangle"}, pure: true},
	{pkg: "debug/triage", may: []string{"debug/...", "golang.org/x/arch/..."}, pure: true},
	{pkg: "debug/...", may: []string{"debug/..."}, pure: true},
	// Layer 2.
	{pkg: "signature"},
	{pkg: "internal/crash", may: []string{"internal/errs", "debug/debugid"}},
	// Layer 3. Engines import their parent, never a sibling; drivers are theirs and sqldb's alone.
	{pkg: "internal/httpserver", may: []string{"config", "metrics", "internal/errs"}},
	{pkg: "internal/blob", may: []string{"internal/errs"}},
	{pkg: "internal/blob/...", may: []string{"internal/errs", "internal/blob"}},
	{pkg: "internal/datafolder", may: []string{"internal/errs", "golang.org/x/sys/..."}},
	{pkg: "internal/sqldb", may: []string{"internal/errs", "modernc.org/sqlite/...", "github.com/pressly/goose/v3/..."}},
	{pkg: "internal/queue", may: []string{"metrics", "internal/errs", "internal/sqldb"}},
	{pkg: "internal/diskcache", may: []string{"config", "metrics", "internal/errs", "internal/mmap"}},
	{pkg: "internal/metadb", may: []string{"internal/sqldb"}},
	{pkg: "internal/crashindex", may: []string{"internal/errs", "internal/crash"}},
	{pkg: "internal/crashindex/sqlindex", may: []string{"internal/errs", "internal/crash", "internal/crashindex", "internal/sqldb"}},
	{pkg: "internal/crashindex/indextest", may: []string{"internal/errs", "internal/crash", "internal/crashindex", "internal/crashindex/memindex"}},
	{pkg: "internal/crashindex/...", may: []string{"internal/errs", "internal/crash", "internal/crashindex"}},
	{pkg: "internal/combine", may: []string{"internal/errs"}},
	{pkg: "internal/access", may: []string{"internal/errs", "internal/sqldb"}},
	// Layer 4: no engine.
	{pkg: "internal/collector", may: []string{"config", "metrics", "internal/errs", "internal/crash", "internal/httpserver", "internal/blob"}},
	{pkg: "internal/symstore", may: []string{"config", "metrics", "debug/...", "internal/errs", "internal/mmap", "internal/crash", "internal/httpserver", "internal/access", "internal/blob", "internal/sqldb", "internal/metadb", "internal/queue"}},
	{pkg: "internal/symbolicator", may: []string{"config", "metrics", "debug/...", "internal/errs", "internal/httpserver", "internal/blob", "internal/sqldb", "internal/metadb", "internal/queue", "internal/diskcache", "internal/symstore"}},
	{pkg: "internal/processor", may: []string{"config", "metrics", "signature", "debug/...", "internal/errs", "internal/mmap", "internal/crash", "internal/httpserver", "internal/access", "internal/blob", "internal/sqldb", "internal/metadb", "internal/queue", "internal/crashindex", "internal/symstore", "internal/symbolicator"}},
	// Layer 5.
	{pkg: "internal/web", may: []string{"metrics", "signature", "internal/errs", "internal/crash", "internal/httpserver", "internal/access", "internal/blob", "internal/sqldb", "internal/metadb", "internal/queue", "internal/crashindex", "internal/processor"}},
	// Layer 6: nobody imports it.
	{pkg: "cmd/pmac", may: []string{"config", "config/inifile", "internal/combine", "internal/errs", "github.com/spf13/cobra", "github.com/pelletier/go-toml/v2", "golang.org/x/term"}},
	{pkg: "cmd/salvage", may: []string{"config/...", "metrics/...", "signature", "debug/...", "internal/...", "github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/schollz/progressbar/v3", "golang.org/x/term"}},
}

// notPure are the standard packages that formats and algorithms must not need.
var notPure = []string{"os/...", "net/...", "log/...", "syscall", "io/ioutil", "database/...", "plugin"}

func matches(pattern, pkg string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}
	return pattern == pkg
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// verdict returns what is wrong with pkg importing imp, or "".
func verdict(rules []rule, pkg, imp string) string {
	i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.pkg, pkg) })
	if i < 0 {
		return "no rule for this package"
	}
	first, _, _ := strings.Cut(imp, "/")
	if own, ok := strings.CutPrefix(imp, "salvage/"); ok {
		if !matchesAny(rules[i].may, own) {
			return "may not import it"
		}
		return ""
	}
	if strings.Contains(first, ".") {
		if !matchesAny(rules[i].may, imp) {
			return "may not depend on this module"
		}
		return ""
	}
	if rules[i].pure && matchesAny(notPure, imp) {
		return "is pure"
	}
	if imp == "testing" && !strings.HasSuffix(path.Base(pkg), "test") {
		return "is not a test package"
	}
	return ""
}

func TestMatcher(t *testing.T) {
	table := []rule{
		{pkg: "a/special", may: []string{"b", "example.org/m/..."}},
		{pkg: "a/...", may: []string{"a/..."}, pure: true},
		{pkg: "btest"},
	}
	for _, tt := range []struct {
		pkg, imp string
		ok       bool
	}{
		{"a/special", "salvage/b", true}, {"a/special", "salvage/a", false}, {"a/special", "example.org/m/x", true},
		{"a/special", "example.org/n", false}, {"a/special", "os", true}, {"a/x", "salvage/a/special", true}, {"a/x", "salvage/b", false},
		{"a/x", "os", false}, {"a/x", "net/http", false}, {"a/x", "strings", true}, {"ab", "strings", false}, {"a", "salvage/a/y", true},
		{"a/x", "testing", false}, {"btest", "testing", true}, {"a/x", "example.org/m", false},
	} {
		if got := verdict(table, tt.pkg, tt.imp); (got == "") != tt.ok {
			t.Errorf("%s imports %s: %q, want ok %v", tt.pkg, tt.imp, got, tt.ok)
		}
	}
}

// files yields the Go files of the module that are not tests.
func files(t *testing.T, yield func(pkg, name string, f *ast.File, fset *token.FileSet)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		if d.IsDir() {
			base := d.Name()
			if rel != "." && (strings.HasPrefix(base, ".") || base == "testdata" || rel == "examples" || rel == "bench") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		yield(filepath.ToSlash(filepath.Dir(rel)), rel, f, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImports(t *testing.T) {
	documented := map[string]bool{}
	n := 0
	files(t, func(pkg, name string, f *ast.File, fset *token.FileSet) {
		n++
		documented[pkg] = documented[pkg] || f.Doc != nil
		for _, spec := range f.Imports {
			imp, _ := strconv.Unquote(spec.Path.Value)
			if why := verdict(rules, pkg, imp); why != "" {
				t.Errorf("%s imports %s: %s %s", name, imp, pkg, why)
			}
		}
		pure := false
		if i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.pkg, pkg) }); i >= 0 {
			pure = rules[i].pure
		}
		ast.Inspect(f, func(node ast.Node) bool {
			if sel, ok := node.(*ast.SelectorExpr); ok && pure {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && (sel.Sel.Name == "Now" || sel.Sel.Name == "Since" || sel.Sel.Name == "Sleep") {
					t.Errorf("%s reads the clock; %s is pure", fset.Position(sel.Pos()), pkg)
				}
			}
			return true
		})
	})
	if n < 10 {
		t.Errorf("only %d files found", n)
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment", pkg)
		}
	}
}

// Every module that go.mod names stands in dependencies.txt with the reason it is there.
func TestDependencies(t *testing.T) {
	read := func(name string) (lines []string) {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			lines = append(lines, s.Text())
		}
		return lines
	}
	var have, want []string
	block := ""
	for _, line := range read(filepath.Join(root, "go.mod")) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[1] == "(":
			block = fields[0]
		case len(fields) > 0 && fields[0] == ")":
			block = ""
		case block == "require" && len(fields) >= 2:
			have = append(have, fields[0])
		case len(fields) >= 3 && fields[0] == "require":
			have = append(have, fields[1])
		}
	}
	for _, line := range read("dependencies.txt") {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" {
			want = append(want, fields[0])
			if len(fields) < 2 {
				t.Errorf("dependencies.txt: no reason for %s", fields[0])
			}
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("go.mod has\n\t%s\ndependencies.txt has\n\t%s", strings.Join(have, "\n\t"), strings.Join(want, "\n\t"))
	}
}
