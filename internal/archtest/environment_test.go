package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
)

// readsEnvironment are the functions that do, by import path.
var readsEnvironment = map[string][]string{
	"os":      {"Getenv", "LookupEnv", "Environ", "ExpandEnv"},
	"syscall": {"Getenv", "Environ"},
}

// mayReadEnvironment are the packages that may, each with the reason. All others have options of package config.
var mayReadEnvironment = map[string]string{
	"config":             "does it for the others",
	"internal/debugtest": "tests: where fixtures are, and which tools must be there",
}

// environmentReads returns the reads of the environment in f.
func environmentReads(f *ast.File) (found []*ast.SelectorExpr) {
	names := map[string][]string{} // functions by the name that the file has for their package
	for _, spec := range f.Imports {
		imp, _ := strconv.Unquote(spec.Path.Value)
		if functions := readsEnvironment[imp]; functions != nil {
			name := imp
			if spec.Name != nil {
				name = spec.Name.Name
			}
			names[name] = functions
		}
	}
	ast.Inspect(f, func(node ast.Node) bool {
		if sel, ok := node.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok {
				for _, function := range names[x.Name] {
					if sel.Sel.Name == function {
						found = append(found, sel)
					}
				}
			}
		}
		return true
	})
	return found
}

func TestEnvironmentReads(t *testing.T) {
	for source, want := range map[string]int{
		`import "os"; var x = os.Getenv("X")`:                                 1,
		`import e "os"; var x, y = e.Environ(), e.Getenv("X")`:                2,
		`import ("os"; "syscall"); var x, y = os.LookupEnv, syscall.Getenv`:   2,
		`import "os"; var x = os.Args`:                                        0,
		`import "example.org/os"; var x = os.Getenv("X")`:                     0,
		`import "os"; func f() { g(os.ExpandEnv("$X")) }; type s struct{ e }`: 1,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(environmentReads(f)); got != want {
			t.Errorf("%s: %d reads, want %d", source, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	used := map[string]bool{}
	files(t, func(pkg, _ string, f *ast.File, fset *token.FileSet) {
		for _, sel := range environmentReads(f) {
			used[pkg] = true
			if mayReadEnvironment[pkg] == "" {
				t.Errorf("%s reads the environment, which only package config may", fset.Position(sel.Pos()))
			}
		}
		for _, spec := range f.Imports {
			if imp, _ := strconv.Unquote(spec.Path.Value); readsEnvironment[imp] != nil && spec.Name != nil && spec.Name.Name == "." {
				t.Errorf("%s imports %s into its own names", fset.Position(spec.Pos()), imp)
			}
		}
	})
	for pkg := range mayReadEnvironment {
		if !used[pkg] {
			t.Errorf("%s may read the environment and does not", pkg)
		}
	}
}
