package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	return command(&cobra.Command{
		Use: "version", Short: "Print what this program was built from", Args: cobra.NoArgs,
	}, noOptions{}, func(context.Context, []string) error {
		_, err := fmt.Fprintf(p.out, "salvage, revision %s, %s %s/%s\n", revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	})
}

// revision says what this program was built from, for people.
func revision() string {
	revision, modified := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = ", changed since"
			}
		}
	}
	return revision + modified
}
