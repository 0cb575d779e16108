package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/internal/access"
	"salvage/internal/blob/fsblob"
	"salvage/internal/collector"
	"salvage/internal/crashindex/sqlindex"
	"salvage/internal/datafolder"
	"salvage/internal/diskcache"
	"salvage/internal/errs"
	"salvage/internal/httpserver"
	"salvage/internal/processor"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/internal/symbolicator"
	"salvage/internal/symstore"
	"salvage/internal/web"
	"salvage/metrics"
	"salvage/metrics/prometheus"
)

type serveOptions struct {
	file             fileOptions
	data, adminToken string
	publicRead, demo bool
	http             httpserver.Config
	collector        collector.Options
	processor        processor.Options
	symbols          symstore.Options
	symbolicator     symbolicator.Options
	cache            diskcache.Options
	builders         int
	metrics          backends
}

func (o *serveOptions) Options(s *config.Spec) {
	s.Group("", &o.file)
	config.Var(s, &o.data, "data", config.String, config.Default("./salvage-data"), config.Doc("Folder that holds everything. It is made if it is missing."))
	config.Var(s, &o.adminToken, "admin_token", config.String, config.Secret(), config.Default(""),
		config.Doc("Token that may do everything. Without it the first start makes one and prints it."))
	config.Var(s, &o.demo, "demo", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Submit recorded crashes of a small C++ program, and its symbols, once."))
	s.Group("", &o.http)
	config.Var(s, &o.publicRead, "public_read", config.Bool, config.Default("false"),
		config.Doc("Show public data to everybody who can reach the server. Otherwise it takes a token, but for requests of this machine to a loopback address."))
	s.Group("collector", &o.collector)
	s.Group("processor", &o.processor)
	s.Group("symbols", &o.symbols)
	config.Var(s, &o.builders, "symbol_builders", config.Int, config.Default("1"), config.Doc("Symbol files that are made into lookup files at once."))
	s.Group("symbolicate", &o.symbolicator)
	s.Group("cache", &o.cache)
	s.Group("metrics", &o.metrics)
}

// memoryShare of the machine's or control group's memory is Go's soft limit: the rest is for the page cache
// and for what is not Go's.
const memoryShare = 0.8

// failpoint, in tests, is called between durable steps.
var failpoint func(step string)

func (p *program) serveCommand() *cobra.Command {
	o := new(serveOptions)
	return command(&cobra.Command{
		Use: "serve", Short: "Collect crashes, keep symbols, show what happened", Args: cobra.NoArgs,
		Long: "Collect crashes, keep symbols, show what happened: POST /submit takes crashes in the forms that Breakpad, Crashpad and\n" +
			"Mozilla clients send, PUT /symbols/NAME and POST /upload/ take symbol files, and / shows the crashes.\n\n" +
			"Everything is kept in one folder; no other service is needed.",
	}, o, func(ctx context.Context, _ []string) error { return p.serve(ctx, o) })
}

func (p *program) serve(ctx context.Context, o *serveOptions) (err error) {
	httpserver.SetMemoryLimit(memoryShare)
	s, err := newService(ctx, o, slog.New(slog.NewJSONHandler(p.err, nil)))
	defer func() { err = errors.Join(err, s.close(), s.registry.Configure()) }()
	if err != nil {
		return err
	}
	if err := o.metrics.open(s.registry, s.log, p.out); err != nil {
		return err
	}
	go p.greet(ctx, s)
	return s.run(ctx)
}

// greet says on standard output what the server does and where to look, once it listens.
func (p *program) greet(ctx context.Context, s *service) {
	addr := s.server.Addr()
	if addr == "" {
		return
	}
	fmt.Fprintf(p.out, "Salvage is at http://%s. It collects crashes at http://%s/submit and keeps everything in %s.\n", addr, addr, s.folder.Dir)
	if s.newToken != "" {
		fmt.Fprintf(p.out, "The admin token, shown this once: %s\nLog in with it at http://%s/login\n", s.newToken, addr)
	}
	if s.options.demo {
		if err := demo(ctx, "http://"+addr, s.db, s.tokens); err != nil {
			s.log.Error("the demo failed", "error", err)
		}
	}
	fmt.Fprintf(p.out, "Health is at http://%s/__heartbeat__, metrics are at /metrics. Ctrl-C stops.\n", addr)
}

// service is a server over the embedded engines, all roles in one process.
type service struct {
	options  *serveOptions
	log      *slog.Logger
	registry *metrics.Registry
	folder   *datafolder.Folder
	db       *sqldb.DB
	tokens   *access.Store
	newToken string // the admin token, if it was made now
	jobs     *queue.Queue
	symbols  *symstore.Store
	names    *symbolicator.Symbolicator
	crashes  *processor.Processor
	server   *httpserver.Server
	closers  []func() error // in the order of opening
}

func (s *service) close() error {
	var errs []error
	for _, c := range slices.Backward(s.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// newService opens the data folder and puts the parts together. What it returns is to be closed even if
// there is an error.
func newService(ctx context.Context, o *serveOptions, log *slog.Logger) (s *service, err error) {
	s = &service{options: o, log: log, registry: metrics.New("salvage")}
	if s.folder, err = datafolder.Open(o.data); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.folder.Close)
	if s.db, err = sqldb.Open(ctx, "sqlite:"+filepath.Join(s.folder.Dir, "salvage.db")); err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.db.Close)
	store, err := fsblob.Open(filepath.Join(s.folder.Dir, "blobs"))
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, store.Close)
	s.tokens = access.New(s.db, time.Now, log)
	s.closers = append(s.closers, func() error { s.tokens.Close(); return nil })
	secret, created, err := s.tokens.EnsureAdmin(ctx, o.adminToken)
	if err != nil {
		return s, err
	}
	if created {
		s.newToken = secret
	}
	if s.jobs, err = queue.New(ctx, queue.Config{DB: s.db, Now: time.Now, Log: log, Metrics: s.registry}, true); err != nil {
		return s, err
	}
	uploads, err := s.folder.Scratch("uploads")
	if err != nil {
		return s, err
	}
	walks, err := s.folder.Scratch("walks")
	if err != nil {
		return s, err
	}
	o.http.Log, o.http.Metrics, o.http.MetricsHandler = log, s.registry, prometheus.Handler(s.registry)
	if s.server, err = httpserver.New(o.http); err != nil {
		return s, err
	}
	gate := &access.Gate{Store: s.tokens, Loopback: isLoopback(o.http.Addr), PublicRead: o.publicRead}
	s.symbols, err = symstore.New(symstore.Config{
		Options: o.symbols, Blobs: store, DB: s.db, Queue: s.jobs, Gate: gate, Scratch: uploads,
		Ready:   func(debugID string) { s.names.Ready(debugID) },
		Metrics: s.registry, Log: log, Now: time.Now, Failpoint: failpoint,
	})
	if err != nil {
		return s, err
	}
	s.names, err = symbolicator.New(symbolicator.Config{
		Options: o.symbolicator, Store: s.symbols, Cache: o.cache, Dir: filepath.Join(s.folder.Dir, "cache"), Metrics: s.registry, Now: time.Now,
	})
	if err != nil {
		return s, err
	}
	s.closers = append(s.closers, s.names.Close)
	index := sqlindex.New(s.db)
	s.crashes = processor.New(processor.Config{
		Options: o.processor, Store: store, DB: s.db, Queue: s.jobs, Gate: gate, Symbols: s.names, Index: index, Scratch: walks,
		Metrics: s.registry, Log: log, Now: time.Now, Version: revision(), Failpoint: failpoint,
	})
	c := collector.New(collector.Config{
		Options: o.collector, Store: store, Accepted: s.crashes.Enqueue, Metrics: s.registry, Now: time.Now, Free: s.folder.Free, Failpoint: failpoint,
	})
	pages, err := web.New(web.Config{
		Index: index, Store: store, DB: s.db, Queue: s.jobs, Gate: gate, Metrics: s.registry, Log: log, Now: time.Now,
		Walk: s.crashes.Walk, Symbolicate: s.names.Text,
	})
	if err != nil {
		return s, err
	}
	for _, part := range []interface {
		Install(handle func(pattern string, h http.Handler))
	}{c, s.crashes, s.symbols, s.names, pages} {
		part.Install(s.server.Handle)
	}
	s.server.Handle("GET /", httpserver.HTML(func(w http.ResponseWriter, r *http.Request) error {
		if handled, err := s.symbols.Download(w, r); handled || err != nil {
			return err
		}
		return errs.NotFound
	}))
	s.server.AddCheck("storage", c.Check)
	s.server.AddCheck("database", func(ctx context.Context) error {
		return s.db.View(ctx, func(tx *sql.Tx) error { return tx.QueryRowContext(ctx, "SELECT 1").Scan(new(int)) })
	})
	return s, nil
}

// run answers requests and works on jobs until ctx ends. Work goes on until the last request has ended.
func (s *service) run(ctx context.Context) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	work.Go(func() { s.crashes.Run(working) })
	for range s.options.builders {
		work.Go(func() { s.jobs.Run(working, symstore.Job, s.symbols.Build) })
	}
	return s.server.Run(ctx)
}

// isLoopback reports whether a listener at addr is reached from this machine only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
