//go:build unix

package main

import (
	"flag"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what the commands print into the scripts")

// The commands run in this process, so the race detector and coverage see them. A server that is to be
// killed runs in a process of its own, which is this program again.
func TestMain(m *testing.M) {
	if step := os.Getenv("SALVAGE_TEST_SERVE"); step != "" {
		failpoint = func(at string) {
			if at == step {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){"salvage": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Condition: func(c string) (bool, error) { return c == "fixtures" && os.Getenv("SALVAGE_FIXTURES") != "", nil },
		Dir:       "testdata/script", UpdateScripts: *update, RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("FIXTURES", os.Getenv("SALVAGE_FIXTURES"))
			data, err := filepath.Abs("../../debug/testdata")
			e.Setenv("TESTDATA", data)
			return err
		},
	})
}
