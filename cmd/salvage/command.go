package main

import (
	"context"
	"errors"
	"fmt"
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

// command makes c a command whose flags are the options of root, but for secrets. Before run, the options are filled
// from flags, environment, .env and defaults, in that order.
func command(c *cobra.Command, root config.Component, run func(ctx context.Context, args []string) error) *cobra.Command {
	for _, o := range config.Options(root) {
		if o.Secret && o.Key.Flag() != tokenOption {
			continue // a command line is there for all to read
		}
		// pflag takes a word in backquotes for the name of the value.
		f := c.Flags().VarPF(&flagValue{o.Default, o.Type}, o.Key.Flag(), o.Short, strings.ReplaceAll(o.Doc, "`", ""))
		if o.IsBool {
			f.NoOptDefVal = "true"
		}
	}
	if c.Args != nil {
		c.Args = usageArgs(c.Args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		set := map[string]string{}
		c.Flags().Visit(func(f *pflag.Flag) { set[f.Name] = f.Value.String() })
		dotenv, err := config.EnvFile(envPrefix, ".env")
		if err != nil {
			return errs.Public(errs.Invalid, "%v", err)
		}
		_, err = config.Load(root, config.LoadOptions{Sources: []config.Source{config.Flags(set), config.Environ(envPrefix), dotenv}})
		if problems, ok := errors.AsType[config.Errors](err); ok {
			return errs.Public(errs.Invalid, "%v", problems)
		}
		return run(c.Context(), args)
	}
	return c
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
type flagValue struct{ text, kind string }

func (v *flagValue) String() string     { return v.text }
func (v *flagValue) Set(s string) error { v.text = s; return nil }
func (v *flagValue) Type() string       { return v.kind }

// group makes a command that only holds others.
func group(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: usageArgs(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		return errs.Public(errs.Invalid, "%s needs a subcommand; see '%s --help'.", c.Name(), c.CommandPath())
	}}
	c.AddCommand(subcommands...)
	return c
}

// noOptions is for commands without any.
type noOptions struct{}

func (noOptions) Options(*config.Spec) {}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
