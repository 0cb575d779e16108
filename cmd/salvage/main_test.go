package main

import (
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// The commands run in this process, so the race detector and coverage see them.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"salvage": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Condition: func(c string) (bool, error) { return c == "fixtures" && os.Getenv("SALVAGE_FIXTURES") != "", nil },
		Dir:       "testdata/script", UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FIXTURES", os.Getenv("SALVAGE_FIXTURES"))
			return nil
		},
	})
}
