package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/debug/minidump"
	"salvage/debug/stackwalk"
	"salvage/internal/errs"
)

type stackwalkOptions struct {
	json, human, dump, pretty, brief bool
	cyborg, output, logFile, evil    string
	features, verbose                string
	arguments, local, markdown       bool
	noColor, noInteractive           bool
	urls, paths                      []string
	cache, tmp                       string
	timeout                          int
}

func (o *stackwalkOptions) Options(s *config.Spec) {
	flag := func(dst *bool, name, doc string) {
		config.Var(s, dst, name, config.Bool, config.FlagOnly(), config.Default("false"), config.Doc(doc))
	}
	text := func(dst *string, name, doc string, p config.Parser[string], preset string) {
		config.Var(s, dst, name, p, config.FlagOnly(), config.Default(preset), config.Doc(doc))
	}
	list := func(dst *[]string, name, doc string) {
		config.Var(s, dst, name, config.List(config.String), config.FlagOnly(), config.Default(""), config.Doc(doc))
	}
	flag(&o.human, "human", "Print a report for people. This is the default.")
	flag(&o.json, "json", "Print a report for programs.")
	text(&o.cyborg, "cyborg", "Print the report for people, and write that for programs to this file.", config.String, "")
	flag(&o.dump, "dump", "Print what the file has, without making a report of it.")
	text(&o.features, "features", "How much to find out. All are alike, as with minidump-stackwalk: flags of their own ask for more.", config.Choice(config.String, "stable-basic", "stable-all", "unstable-all"), "stable-basic")
	text(&o.verbose, "verbose", "How much to log.", config.Choice(config.String, logLevels...), "error")
	text(&o.output, "output_file", "File to write the report to, in place of standard output.", config.String, "")
	text(&o.logFile, "log_file", "File to log to, in place of standard error.", config.String, "")
	flag(&o.noColor, "no_color", "For compatibility: nothing is coloured.")
	flag(&o.pretty, "pretty", "Indent the JSON.")
	flag(&o.brief, "brief", "Print only the crash and its thread; with --dump, no memory.")
	flag(&o.markdown, "help_markdown", "Print what --help prints as Markdown.")
	flag(&o.noInteractive, "no_interactive", "Show no progress.")
	text(&o.evil, "evil_json", "File with Mozilla's annotations of the crash, of which those about certificates and microcode are used.", config.String, "")
	flag(&o.arguments, "recover_function_args", "Guess the arguments of functions, on x86, by their names and the stack.")
	flag(&o.local, "use_local_debuginfo", "Use this machine's binaries and debug files, if they are those of the dump.")
	list(&o.urls, "symbols_url", "Address of a symbol server, as Tecken is one. The first of several that has a file gives it.")
	text(&o.cache, "symbols_cache", "Folder to keep downloaded symbols in, and beside those that are used again lookup files of them. Default rust-minidump-cache in the folder for temporary files.", config.String, "")
	text(&o.tmp, "symbols_tmp", "Folder for downloads under way, on the file system of the cache. Default the folder for temporary files.", config.String, "")
	config.Var(s, &o.timeout, "symbols_download_timeout_secs", config.Int, config.FlagOnly(), config.Default("1000"), config.Doc("Seconds a download may take."))
	list(&o.paths, "symbols_path", "Folder or file to find symbols in, as those behind the minidump.")
}

func (p *program) stackwalkCommand() *cobra.Command {
	o := new(stackwalkOptions)
	var c *cobra.Command
	c = command(&cobra.Command{
		Use: "stackwalk MINIDUMP [SYMBOLS...]", Short: "Say where a crash happened",
		Args: func(c *cobra.Command, args []string) error {
			if c.Flags().Lookup("help-markdown").Value.String() == "true" {
				return nil
			}
			return cobra.MinimumNArgs(1)(c, args)
		},
		Version: revision() + ", as minidump-stackwalk 0.27.0",
		Long: "Say where a crash happened: reason, stacks of all threads, modules.\n\n" +
			"SYMBOLS are debug files, binaries and .sym files, which are matched by their ids, or folders laid out as symbol\n" +
			"servers are: <debug file>/<DEBUGID>/<name>. Flags, text and JSON are those of minidump-stackwalk 0.27.",
	}, o, func(ctx context.Context, args []string) error {
		if o.markdown {
			return p.writeFile(o.output, func(w io.Writer) error { return helpMarkdown(w, c) })
		}
		log := &walkLog{level: slices.Index(logLevels, o.verbose), w: p.err}
		if o.logFile == "" {
			return p.stackwalk(ctx, args[0], args[1:], o, log)
		}
		file, err := os.Create(o.logFile)
		if err != nil {
			return err
		}
		log.w = file
		err = p.stackwalk(ctx, args[0], args[1:], o, log)
		if err != nil {
			log.say("error", "%s", errs.Message(err))
		}
		return errors.Join(err, file.Close())
	})
	return c
}

// stackwalk runs the command. As minidump-stackwalk's, its exit code is 2 where flags exclude each other and 1 where
// they make no sense together.
func (p *program) stackwalk(ctx context.Context, path string, symbols []string, o *stackwalkOptions, log *walkLog) error {
	modes := 0
	for _, mode := range []bool{o.json, o.human, o.dump, o.cyborg != ""} {
		if mode {
			modes++
		}
	}
	switch {
	case modes > 1:
		return errs.Public(errs.Invalid, "--json, --human, --cyborg and --dump exclude each other.")
	case o.pretty && !o.json && o.cyborg == "":
		return errs.Public(errs.Conflict, "--pretty needs --json or --cyborg.")
	case o.brief && o.json:
		return errs.Public(errs.Conflict, "--brief and --json exclude each other.")
	}
	// The heap of a walk is small, for what is mapped is not in it: with the usual limit the collector took nearly
	// half of the processor time.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	f, err := openFile(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := minidump.Limits{Inflated: 8 << 30}.Open(f.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, pr := range d.Problems {
		log.say("warn", "%s: %s: %s: %s", path, pr.Where, pr.Kind, pr.Detail)
	}
	if o.dump {
		return p.writeFile(o.output, func(w io.Writer) error { return stackwalk.WriteDump(w, d, o.brief) })
	}
	provider := newFileProvider(ctx, append(symbols, o.paths...))
	defer provider.Close()
	for _, err := range provider.problems {
		log.say("error", "%v", err) // and go on: what other paths have is wanted
	}
	provider.local = o.local
	provider.servers = o.servers(log)
	provider.expect(d)
	options := stackwalk.Options{Arguments: o.arguments}
	if provider.servers != nil {
		options.Workers = maxFetches // that mostly wait
	}
	finish := func() {}
	if !o.json && o.output == "" && !o.noInteractive && isTerminal(p.err) {
		options.Progress, finish = p.progress(len(d.Threads))
	}
	report := stackwalk.Walk(ctx, d, provider, options)
	finish()
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.evil != "" {
		data, err := os.ReadFile(o.evil)
		if err == nil {
			err = report.Annotate(data)
		}
		if err != nil {
			log.say("error", "annotations of %s: %v", o.evil, err)
		}
	}
	for i := range report.Modules {
		if m := &report.Modules[i]; m.Symbols.Corrupt {
			log.say("warn", "symbols of %s: %s", m.Name, m.Symbols.Reason)
		}
	}
	if o.cyborg != "" {
		if err := p.writeFile(o.cyborg, func(w io.Writer) error { return report.WriteJSON(w, o.pretty) }); err != nil {
			return err
		}
	}
	return p.writeFile(o.output, func(w io.Writer) error {
		if o.json {
			return report.WriteJSON(w, o.pretty)
		}
		return report.WriteHuman(w, stackwalk.HumanOptions{Brief: o.brief, Reasons: true})
	})
}

// servers returns the servers to ask for symbols; nil if there are none.
func (o *stackwalkOptions) servers(log *walkLog) *symbolServers {
	s := &symbolServers{
		cache: cmp.Or(o.cache, filepath.Join(os.TempDir(), "rust-minidump-cache")), tmp: cmp.Or(o.tmp, os.TempDir()),
		timeout: time.Duration(o.timeout) * time.Second, limit: maxFetched, log: log, files: map[string]*fetched{},
	}
	for _, text := range o.urls {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			log.say("error", "%q is not the address of a server", text)
			continue
		}
		s.urls = append(s.urls, u)
	}
	if s.urls == nil {
		return nil
	}
	return s
}

// progress shows how many threads are walked, on a terminal.
func (p *program) progress(threads int) (step func(done, total int), finish func()) {
	bar := progressbar.NewOptions(threads, progressbar.OptionSetWriter(p.err), progressbar.OptionSetDescription("threads"), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	var mu sync.Mutex // the bar is not safe for concurrent use
	return func(done, _ int) {
			mu.Lock()
			defer mu.Unlock()
			_ = bar.Set(done)
		}, func() {
			_ = bar.Finish()
		}
}

// writeFile writes to the file at path, or to standard output if that is empty.
func (p *program) writeFile(path string, write func(io.Writer) error) error {
	if path == "" {
		signal.Ignore(syscall.SIGPIPE)
		if err := write(p.out); !errors.Is(err, syscall.EPIPE) { // who reads has seen enough
			return err
		}
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
