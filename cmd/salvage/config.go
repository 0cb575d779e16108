package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/config/inifile"
	"salvage/config/yamlfile"
	"salvage/internal/errs"
)

// fileOption, where a command has it, names a file with the other options.
const fileOption = "config"

type fileOptions struct{ path string }

func (o *fileOptions) Options(s *config.Spec) {
	config.Var(s, &o.path, fileOption, config.String, config.Default(""), config.Example("salvage.yaml"),
		config.Doc("File of options, in INI if its name ends in `.ini` or `.conf`, else in YAML. What flags, environment and `.env` set goes before."))
}

// optionsFile returns the file that the sources name, or nil.
func optionsFile(sources []config.Source) (config.Source, error) {
	var o fileOptions
	if _, err := config.Load(&o, config.LoadOptions{Sources: sources}); err != nil || o.path == "" {
		return nil, nil // Load of all options says so, too
	}
	switch strings.ToLower(filepath.Ext(o.path)) {
	case ".ini", ".conf":
		return inifile.Read(o.path)
	}
	return yamlfile.Read(o.path)
}

func (p *program) configCommand() *cobra.Command {
	return group("config", "The options of the server: reference, values in effect, problems", p.configDocCommand(), p.configShowCommand(), p.configCheckCommand())
}

type configDocOptions struct{ json, env bool }

func (o *configDocOptions) Options(s *config.Spec) {
	config.Var(s, &o.json, "json", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Print JSON."))
	config.Var(s, &o.env, "env", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Print a sample .env file."))
}

func (p *program) configDocCommand() *cobra.Command {
	o := new(configDocOptions)
	return command(&cobra.Command{
		Use: "doc", Short: "Print the reference of all options", Args: cobra.NoArgs,
	}, o, func(context.Context, []string) error {
		switch {
		case o.json && o.env:
			return errs.Public(errs.Invalid, "Either --json or --env.")
		case o.json:
			return config.WriteJSON(p.out, new(serveOptions), envPrefix)
		case o.env:
			return config.WriteEnv(p.out, new(serveOptions), envPrefix)
		}
		return config.WriteMarkdown(p.out, new(serveOptions), envPrefix)
	})
}

func (p *program) configShowCommand() *cobra.Command {
	o := new(serveOptions)
	c := &cobra.Command{Use: "show", Short: "Print the values that serve would use, and where they come from", Args: cobra.NoArgs}
	declareFlags(c, o)
	c.RunE = func(c *cobra.Command, _ []string) error {
		report, err := load(c, o)
		if writeErr := report.Runtime(p.out); writeErr != nil {
			return writeErr
		}
		return err
	}
	return c
}

func (p *program) configCheckCommand() *cobra.Command {
	return command(&cobra.Command{
		Use: "check", Short: "Say what is wrong with the options that serve would use", Args: cobra.NoArgs,
	}, new(serveOptions), func(context.Context, []string) error {
		_, err := fmt.Fprintln(p.out, "No problems.")
		return err
	})
}
