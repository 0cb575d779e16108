package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/internal/errs"
)

type stackwalkOptions struct {
	json, human, pretty, brief bool
	output                     string
	symbols                    []string
}

func (o *stackwalkOptions) Options(s *config.Spec) {
	flag := func(dst *bool, name, doc string) {
		config.Var(s, dst, name, config.Bool, config.FlagOnly(), config.Default("false"), config.Doc(doc))
	}
	flag(&o.human, "human", "Print a report for people. This is the default.")
	flag(&o.json, "json", "Print a report for programs.")
	flag(&o.pretty, "pretty", "Indent the JSON.")
	flag(&o.brief, "brief", "Print only the crash and its thread.")
	config.Var(s, &o.output, "output_file", config.String, config.FlagOnly(), config.Default(""), config.Doc("File to write the report to, in place of standard output."))
	config.Var(s, &o.symbols, "symbols_path", config.List(config.String), config.FlagOnly(), config.Default(""),
		config.Doc("Folders or files to find symbols in, as those behind the minidump."))
}

func (p *program) stackwalkCommand() *cobra.Command {
	o := new(stackwalkOptions)
	return command(&cobra.Command{
		Use: "stackwalk MINIDUMP [SYMBOLS...]", Short: "Say where a crash happened", Args: cobra.MinimumNArgs(1),
		Long: "Say where a crash happened: reason, stacks of all threads, modules.\n\n" +
			"SYMBOLS are debug files, binaries and .sym files, which are matched by their ids, or folders laid out as symbol\n" +
			"servers are: <debug file>/<DEBUGID>/<name>. Text and JSON are those of minidump-stackwalk 0.27.",
	}, o, func(ctx context.Context, args []string) error { return p.stackwalk(ctx, args[0], args[1:], o) })
}

func (p *program) stackwalk(ctx context.Context, path string, symbols []string, o *stackwalkOptions) (err error) {
	switch {
	case o.json && o.human:
		return errs.Public(errs.Invalid, "--json and --human exclude each other.")
	case o.pretty && !o.json:
		return errs.Public(errs.Invalid, "--pretty needs --json.")
	case o.brief && o.json:
		return errs.Public(errs.Invalid, "--brief and --json exclude each other.")
	}
	f, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := minidump.Limits{Inflated: 8 << 30}.Open(f.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	provider, err := newFileProvider(ctx, append(symbols, o.symbols...))
	if err != nil {
		return err
	}
	defer provider.Close()
	provider.expect(d)
	report := stackwalk.Walk(ctx, d, provider, stackwalk.Options{})
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, pr := range d.Problems {
		fmt.Fprintf(p.err, "salvage: %s: %s: %s: %s\n", path, pr.Where, pr.Kind, pr.Detail)
	}
	for i := range report.Modules {
		if m := &report.Modules[i]; m.Symbols.Corrupt {
			fmt.Fprintf(p.err, "salvage: symbols of %s: %s\n", m.Name, m.Symbols.Reason)
		}
	}
	out := p.out
	if o.output != "" {
		file, err := os.Create(o.output)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		out = io.Writer(file)
	}
	if o.json {
		return report.WriteJSON(out, o.pretty)
	}
	return report.WriteHuman(out, stackwalk.HumanOptions{Brief: o.brief})
}
