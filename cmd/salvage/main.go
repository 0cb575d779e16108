// Command salvage takes a native crash from the client that sends it to the line of code that caused it.
//
// Each subcommand has a file of its own; what they share is here and in command.go. Exit codes: 0 done,
// 1 failed, 2 wrong usage or configuration.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"salvage/internal/errs"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// program is what the subcommands share.
type program struct {
	in       io.Reader
	out, err io.Writer
}

func run(args []string, in io.Reader, out, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return runContext(ctx, args, in, out, stderr)
}

func runContext(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) int {
	p := &program{in, out, stderr}
	root := &cobra.Command{
		Use:           "salvage",
		Short:         "From a native crash to the line of code that caused it",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return errs.Public(errs.Invalid, "%v\nSee '%s --help'.", err, c.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(p.addr2lineCommand(), p.configCommand(), p.dumpSymsCommand(), p.metricsCommand(), p.serveCommand(), p.signatureCommand(), p.stackwalkCommand(), p.symbolsCommand(), p.symcacheCommand(), p.versionCommand())
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(stderr, "salvage: %s\n", errs.Message(err))
	}
	return errs.ExitCode(err)
}
