package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"salvage/config"
	"salvage/internal/errs"
)

const (
	envPrefix = "SALVAGE_"
	// tokenOption is the one secret that may be a flag, since people try things out.
	tokenOption = "token"
)

// command makes c a command whose flags are the options of root, but for secrets. Before run, the options are filled.
func command(c *cobra.Command, root config.Component, run func(ctx context.Context, args []string) error) *cobra.Command {
	declareFlags(c, root)
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := load(c, root); err != nil {
			return err
		}
		return run(c.Context(), args)
	}
	return c
}

func declareFlags(c *cobra.Command, root config.Component) {
	if c.Args != nil {
		c.Args = usageArgs(c.Args)
	}
	for _, o := range config.Options(root) {
		if o.Secret && o.Key.Flag() != tokenOption {
			continue // a command line is there for all to read
		}
		// pflag takes a word in backquotes for the name of the value.
		f := c.Flags().VarPF(&flagValue{text: o.Default, kind: o.Type}, o.Key.Flag(), o.Short, strings.ReplaceAll(o.Doc, "`", ""))
		if o.IsBool {
			f.NoOptDefVal = "true"
		}
		values := o.Values
		switch {
		case o.Key.String() == fileOption:
			_ = c.MarkFlagFilename(fileOption, "yaml", "yml", "ini", "conf")
			continue
		case len(values) > 0:
		case strings.HasSuffix(o.Type, config.String.Name):
			continue // may be a file, which the shell completes by itself
		case o.Default != "":
			values = []string{o.Default}
		}
		_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
}

// load fills the options of root from flags, environment, .env, the file of options if root has that option, and
// defaults, in that order. It prints warnings; the report is complete even if there is an error.
func load(c *cobra.Command, root config.Component) (*config.Report, error) {
	set := map[string]string{}
	c.Flags().Visit(func(f *pflag.Flag) { set[f.Name] = f.Value.String() })
	dotenv, dotenvErr := config.EnvFile(envPrefix, ".env")
	o := config.LoadOptions{Sources: []config.Source{config.Flags(set), config.Environ(envPrefix), dotenv}}
	var fileErr error
	if slices.ContainsFunc(config.Options(root), func(o config.Option) bool { return o.Key.String() == fileOption }) {
		o.Reference = "salvage config doc"
		var file config.Source
		if file, fileErr = optionsFile(o.Sources); file != nil {
			o.Sources = append(o.Sources, file)
		}
	}
	report, err := config.Load(root, o)
	for _, w := range report.Warnings {
		fmt.Fprintf(c.ErrOrStderr(), "salvage: warning: %s\n", w)
	}
	if err := errors.Join(dotenvErr, fileErr, err); err != nil {
		return report, errs.Public(errs.Invalid, "%v", err)
	}
	return report, nil
}

// helpMarkdown writes the help of a command as a page, with a heading for each flag.
func helpMarkdown(w io.Writer, c *cobra.Command) error {
	b := bufio.NewWriter(w)
	plain := strings.NewReplacer("<", "\\<", "*", "\\*", "_", "\\_")
	fmt.Fprintf(b, "# %s manual\n\n> `%[1]s --help-markdown` writes this page.\n\n%s\n\n### Usage:\n\n```\n%s\n```\n\n### Options\n", c.CommandPath(), plain.Replace(c.Long), c.UseLine())
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	c.Flags().VisitAll(func(f *pflag.Flag) { // by name
		heading := "--" + f.Name
		if f.Shorthand != "" {
			heading = "-" + f.Shorthand + ", " + heading
		}
		if f.NoOptDefVal == "" {
			heading += " <" + strings.ToUpper(strings.TrimPrefix(f.Value.Type(), "list of ")) + ">"
			if strings.HasPrefix(f.Value.Type(), "list of ") {
				heading += "..."
			}
		}
		fmt.Fprintf(b, "#### `%s`\n%s\n\n", heading, plain.Replace(f.Usage))
		if f.NoOptDefVal == "" && f.DefValue != "" {
			fmt.Fprintf(b, "[default: %s]\n\n", f.DefValue)
		}
	})
	return b.Flush()
}

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return errs.Public(errs.Invalid, "%v\nUsage: %s", err, c.UseLine())
		}
		return nil
	}
}

// flagValue holds the text of a flag; package config parses it together with the other sources.
type flagValue struct {
	text, kind string
	set        bool
}

func (v *flagValue) String() string { return v.text }

// Set takes a value. A list may be given item by item.
func (v *flagValue) Set(s string) error {
	if v.set && strings.HasPrefix(v.kind, "list of ") {
		s = v.text + "\n" + s
	}
	v.text, v.set = s, true
	return nil
}
func (v *flagValue) Type() string { return v.kind }

// group makes a command that only holds others.
func group(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: usageArgs(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		return errs.Public(errs.Invalid, "%s needs a subcommand; see '%s --help'.", c.Name(), c.CommandPath())
	}}
	c.AddCommand(subcommands...)
	return c
}

// frugal is the share of garbage, in percent, at which the collector runs in a command that reads one large file and
// ends: what it has is mostly bytes, so that it costs little.
const frugal = 10

// noOptions is for commands without any.
type noOptions struct{}

func (noOptions) Options(*config.Spec) {}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
