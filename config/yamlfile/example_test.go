package yamlfile_test

import (
	"fmt"

	"salvage/config"
	"salvage/config/yamlfile"
)

type limits struct {
	Hosts []string
	Rates map[string]int
}

func (l *limits) Options(s *config.Spec) {
	config.Var(s, &l.Hosts, "hosts", config.List(config.String))
	config.Var(s, &l.Rates, "rates", config.MapOf(config.String, config.Int))
}

// Lists and maps are YAML's, or text; the line is named where something is wrong.
func Example() {
	file, err := yamlfile.Parse("file limits.yaml", []byte(`
hosts: [a.example.org, b.example.org]
rates:
  a: 10
  b: 20
`)) // or yamlfile.Read("limits.yaml")
	if err != nil {
		fmt.Println(err)
		return
	}
	var l limits
	_, err = config.Load(&l, config.LoadOptions{Sources: []config.Source{config.Environ("LIMITS_"), file}})
	fmt.Println(l.Hosts, l.Rates, err)

	_, err = yamlfile.Parse("file limits.yaml", []byte("hosts: a\nrates: a=1\nhosts: b\n"))
	fmt.Println(err)
	// Output:
	// [a.example.org b.example.org] map[a:10 b:20] <nil>
	// file limits.yaml, line 3: hosts was set before: line 1
}
