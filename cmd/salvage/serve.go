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
	"sync"
	"time"

	"github.com/spf13/cobra"

	"salvage/config"
	"salvage/internal/access"
	"salvage/internal/blob/fsblob"
	"salvage/internal/collector"
	"salvage/internal/datafolder"
	"salvage/internal/httpserver"
	"salvage/internal/processor"
	"salvage/internal/queue"
	"salvage/internal/sqldb"
	"salvage/metrics"
	"salvage/metrics/prometheus"
)

type serveOptions struct {
	data, adminToken string
	publicRead       bool
	http             httpserver.Config
	collector        collector.Options
	processor        processor.Options
}

func (o *serveOptions) Options(s *config.Spec) {
	config.Var(s, &o.data, "data", config.String, config.Default("./salvage-data"), config.Doc("Folder that holds everything. It is made if it is missing."))
	config.Var(s, &o.adminToken, "admin_token", config.String, config.Secret(), config.Default(""),
		config.Doc("Token that may do everything. Without it the first start makes one and prints it."))
	s.Group("", &o.http)
	config.Var(s, &o.publicRead, "public_read", config.Bool, config.Default("false"),
		config.Doc("Show public data to everybody who can reach the server. Otherwise it takes a token, but for requests of this machine to a loopback address."))
	s.Group("collector", &o.collector)
	s.Group("processor", &o.processor)
}

// memoryShare of the machine's or control group's memory is Go's soft limit: the rest is for the page cache
// and for what is not Go's.
const memoryShare = 0.8

// failpoint, in tests, is called between durable steps.
var failpoint func(step string)

func (p *program) serveCommand() *cobra.Command {
	o := new(serveOptions)
	return command(&cobra.Command{
		Use: "serve", Short: "Collect crashes", Args: cobra.NoArgs,
		Long: "Collect crashes: POST /submit takes them in the forms that Breakpad, Crashpad and Mozilla clients send.\n\n" +
			"Everything is kept in one folder; no other service is needed.",
	}, o, func(ctx context.Context, _ []string) error { return p.serve(ctx, o) })
}

func (p *program) serve(ctx context.Context, o *serveOptions) (err error) {
	httpserver.SetMemoryLimit(memoryShare)
	log := slog.New(slog.NewJSONHandler(p.err, nil))
	registry := metrics.New("salvage")

	folder, err := datafolder.Open(o.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(folder.Dir, "salvage.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	store, err := fsblob.Open(filepath.Join(folder.Dir, "blobs"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	tokens := access.New(db, time.Now, log)
	defer tokens.Close()
	secret, created, err := tokens.EnsureAdmin(ctx, o.adminToken)
	if err != nil {
		return err
	}

	jobs, err := queue.New(ctx, queue.Config{DB: db, Now: time.Now, Log: log, Metrics: registry}, true)
	if err != nil {
		return err
	}
	gate := &access.Gate{Store: tokens, Loopback: isLoopback(o.http.Addr), PublicRead: o.publicRead}
	scratch, err := folder.Scratch()
	if err != nil {
		return err
	}

	o.http.Log, o.http.Metrics, o.http.MetricsHandler = log, registry, prometheus.Handler(registry)
	server, err := httpserver.New(o.http)
	if err != nil {
		return err
	}
	crashes := processor.New(processor.Config{
		Options: o.processor, Store: store, DB: db, Queue: jobs, Gate: gate, Scratch: scratch,
		Metrics: registry, Log: log, Now: time.Now, Version: revision(), Failpoint: failpoint,
	})
	crashes.Install(server.Handle)
	c := collector.New(collector.Config{
		Options: o.collector, Store: store, Accepted: crashes.Enqueue, Metrics: registry, Now: time.Now, Free: folder.Free, Failpoint: failpoint,
	})
	c.Install(server.Handle)
	server.AddCheck("storage", c.Check)
	server.AddCheck("database", func(ctx context.Context) error {
		return db.View(ctx, func(tx *sql.Tx) error { return tx.QueryRowContext(ctx, "SELECT 1").Scan(new(int)) })
	})
	server.Handle("GET /{$}", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Salvage collects crashes at /submit. There are no pages yet.")
	}))

	go func() {
		addr := server.Addr()
		if addr == "" {
			return
		}
		fmt.Fprintf(p.out, "Salvage collects crashes at http://%s/submit and keeps them in %s.\n", addr, folder.Dir)
		if created && secret != "" {
			fmt.Fprintf(p.out, "The admin token, shown this once: %s\n", secret)
		}
		fmt.Fprintf(p.out, "Health is at http://%s/__heartbeat__, metrics are at /metrics. Ctrl-C stops.\n", addr)
	}()
	// Work goes on until the last request has ended.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { crashes.Run(working) })
	defer work.Wait()
	defer stop()
	return server.Run(ctx)
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
