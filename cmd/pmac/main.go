// Command pmac combines pull requests into one branch: it is the counterpart of paul-mclendahand, with its
// commands, options and texts. Exit codes: 0 done, 1 failed or waiting for a person, 2 wrong usage.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"salvage/internal/combine"
	"salvage/internal/errs"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, ".", os.Args[1:], os.Stdout, os.Stderr))
}

// program is what the commands share.
type program struct {
	dir      string // working tree
	out, err io.Writer
	apiURL   string // of the flag
}

func run(ctx context.Context, dir string, args []string, out, stderr io.Writer) int {
	p := &program{dir: dir, out: out, err: stderr}
	root := &cobra.Command{
		Use: "pmac", Short: "Combine pull requests into one branch", SilenceErrors: true, SilenceUsage: true, Args: usage(cobra.NoArgs),
		Long: "Combine pull requests into one branch: make a branch, see what there is with listprs, add some, push, and take the text\n" +
			"of prmsg for the new pull request. It never pushes, opens, comments on or closes anything.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetOut(out)
	root.SetErr(stderr)
	root.SetArgs(args)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return errs.Public(errs.Invalid, "%v\nSee '%s --help'.", err, c.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&p.apiURL, "api-url", "", "Address of GitHub's API, for GitHub Enterprise. (default https://api.github.com)")
	root.AddCommand(p.listprs(), p.add(), p.prmsg(), p.listconfigs())
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "pmac: %s\n", errs.Message(err))
	if errors.Is(err, errs.Invalid) {
		return 2
	}
	return 1
}

func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return errs.Public(errs.Invalid, "%v\nSee '%s --help'.", err, c.CommandPath())
		}
		return nil
	}
}

// combiner is made of the configuration.
func (p *program) combiner() (*combine.Combiner, error) {
	o, _, err := p.load()
	if err != nil {
		return nil, err
	}
	return &combine.Combiner{
		GitHub: &combine.GitHub{API: o.apiURL, User: o.user, Project: o.project, Token: o.token, Client: &http.Client{Timeout: time.Minute}},
		Git:    &combine.Git{Dir: p.dir}, Main: o.main, Out: p.out,
	}, nil
}

func (p *program) listprs() *cobra.Command {
	var labels, asJSON, noLabels bool
	var format string
	c := &cobra.Command{Use: "listprs", Short: "List the open pull requests for the main branch", Args: usage(cobra.NoArgs)}
	c.Flags().BoolVar(&labels, "labels", false, "Show labels.")
	c.Flags().BoolVar(&noLabels, "no-labels", false, "Show no labels.")
	c.Flags().BoolVar(&asJSON, "json", false, "Print JSON.")
	c.Flags().StringVar(&format, "format", "table", "table or tab; where nobody looks it is tab.")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if format != "table" && format != "tab" {
			return errs.Public(errs.Invalid, "The format is table or tab, not %q.", format)
		}
		combiner, err := p.combiner()
		if err != nil {
			return err
		}
		all, err := combiner.GitHub.Open(c.Context(), combiner.Main)
		if err != nil {
			return err
		}
		if asJSON {
			if all == nil {
				all = []combine.PullRequest{}
			}
			e := json.NewEncoder(p.out)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			return e.Encode(all)
		}
		if f, ok := p.out.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
			format = "tab"
		}
		return list(p.out, all, labels && !noLabels, format)
	}
	return c
}

func list(w io.Writer, all []combine.PullRequest, labels bool, format string) error {
	separator, begin, end := "\t", "", ""
	out := w
	var table *tabwriter.Writer
	if format == "table" {
		table = tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
		separator, begin, end, out = "\t| ", "| ", "\t|", table
		head := []string{"pr", "title", "labels"}
		rule := []string{"--", "-----", "------"}
		n := 2
		if labels {
			n = 3
		}
		fmt.Fprintf(out, "%s%s%s\n%s%s%s\n", begin, strings.Join(head[:n], separator), end, begin, strings.Join(rule[:n], separator), end)
	}
	for _, pr := range all {
		row := []string{strconv.Itoa(pr.Number), pr.Title}
		if labels {
			row = append(row, strings.Join(pr.Labels, " "))
		}
		fmt.Fprintf(out, "%s%s%s\n", begin, strings.Join(row, separator), end)
	}
	if table != nil {
		return table.Flush()
	}
	return nil
}

func (p *program) add() *cobra.Command {
	var goOn, skip, abort bool
	c := &cobra.Command{
		Use: "add PR...", Short: "Pick the commits of pull requests onto this branch",
		Long: "Pick the commits of pull requests onto this branch, and say behind their subjects which pull request they are from.\n" +
			"Where a commit does not fit, resolve the conflict and say --continue, or --skip, or --abort.",
	}
	c.Flags().BoolVar(&goOn, "continue", false, "Go on after a conflict or an interruption.")
	c.Flags().BoolVar(&skip, "skip", false, "Go on without the commit that does not fit.")
	c.Flags().BoolVar(&abort, "abort", false, "Make the branch what it was.")
	c.Args = usage(func(_ *cobra.Command, args []string) error {
		if goOn && skip || goOn && abort || skip && abort || (goOn || skip || abort) != (len(args) == 0) {
			return errors.New("either pull requests, or one of --continue, --skip and --abort")
		}
		return nil
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		var numbers []int
		for _, arg := range args {
			n, err := strconv.Atoi(strings.TrimPrefix(arg, "#"))
			if err != nil || n <= 0 {
				return errs.Public(errs.Invalid, "%q is not the number of a pull request.", arg)
			}
			numbers = append(numbers, n)
		}
		combiner, err := p.combiner()
		if err != nil {
			return err
		}
		switch {
		case goOn:
			return combiner.Continue(c.Context())
		case skip:
			return combiner.Skip(c.Context())
		case abort:
			return combiner.Abort(c.Context())
		}
		return combiner.Add(c.Context(), numbers)
	}
	return c
}

func (p *program) prmsg() *cobra.Command {
	var markdown bool
	c := &cobra.Command{Use: "prmsg", Short: "Print a text for the new pull request", Args: usage(cobra.NoArgs)}
	c.Flags().BoolVar(&markdown, "markdown", false, "With links, and what was left out and why.")
	c.RunE = func(c *cobra.Command, _ []string) error {
		combiner, err := p.combiner()
		if err != nil {
			return err
		}
		return combiner.Message(c.Context(), markdown)
	}
	return c
}

func (p *program) listconfigs() *cobra.Command {
	return &cobra.Command{
		Use: "listconfigs", Short: "Print the configuration and where it comes from", Args: usage(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, report, err := p.load()
			if report != nil {
				err = errors.Join(err, report.Runtime(p.out))
			}
			return err
		},
	}
}
