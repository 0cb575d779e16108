package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"salvage/config"
	"salvage/debug"
	"salvage/debug/debugid"
	"salvage/debug/object"
	"salvage/debug/proguard"
	"salvage/internal/errs"
)

func (p *program) symbolsCommand() *cobra.Command {
	return group("symbols", "Give symbol files to a server, list them, get them",
		p.symbolsPutCommand(), p.symbolsGetCommand(), p.symbolsListCommand())
}

// serverOptions name a server and who asks it.
type serverOptions struct {
	server, token string
	json          bool
}

func (o *serverOptions) Options(s *config.Spec) {
	config.Var(s, &o.server, "server", config.String, config.Default("http://127.0.0.1:8080"), config.Doc("Address of the server."))
	config.Var(s, &o.token, tokenOption, config.String, config.Secret(), config.Default(""),
		config.Doc("Token for the server. In the environment it is safer: others can read command lines."))
	config.Var(s, &o.json, "json", config.Bool, config.FlagOnly(), config.Default("false"), config.Doc("Print JSON, an object for each file."))
}

// do sends a request and decodes the answer, if it is the one that is expected. An io.Writer gets the body
// as it is.
func (o *serverOptions) do(ctx context.Context, method, path string, body io.Reader, size int64, answer any) error {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(o.server, "/")+path, body)
	if err != nil {
		return errs.Public(errs.Invalid, "The server's address %q cannot be used: %v.", o.server, err)
	}
	r.ContentLength = size
	if o.token != "" {
		r.Header.Set("Auth-Token", o.token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errs.Public(errs.Unavailable, "The server %s does not answer: %v", o.server, errors.Unwrap(err))
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16))
		var refusal struct{ Error string }
		if json.Unmarshal(text, &refusal) == nil && refusal.Error != "" {
			text = []byte(refusal.Error)
		}
		kind := errs.Internal
		if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
			kind = errs.Denied
		}
		return errs.Public(kind, "%s (%s)", strings.TrimSpace(string(text)), res.Status)
	}
	if w, ok := answer.(io.Writer); ok {
		_, err := io.Copy(w, res.Body)
		return err
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return errs.Public(errs.Internal, "The answer of %s is not Salvage's: %v.", o.server, err)
	}
	return nil
}

// storedSymbol is a file that a server has.
type storedSymbol struct {
	Key       string `json:"key"`
	DebugFile string `json:"debug_file"`
	DebugID   string `json:"debug_id"`
	CodeID    string `json:"code_id"`
	Format    string `json:"format"`
	Arch      string `json:"arch"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Uploaded  string `json:"uploaded"`
}

// list returns the files of a server whose names or ids contain a text, the latest first.
func (o *serverOptions) list(ctx context.Context, text string) ([]storedSymbol, error) {
	var answer struct{ Symbols []storedSymbol }
	err := o.do(ctx, "GET", "/api/symbols/?limit=1000&q="+url.QueryEscape(text), nil, 0, &answer)
	return answer.Symbols, err
}

func (p *program) symbolsListCommand() *cobra.Command {
	o := new(serverOptions)
	return command(&cobra.Command{
		Use: "ls [TEXT]", Short: "List a server's symbol files", Args: cobra.MaximumNArgs(1),
		Long: "List a server's symbol files, the latest first, up to 1000: all, or those whose names or ids contain TEXT.",
	}, o, func(ctx context.Context, args []string) error {
		all, err := o.list(ctx, strings.Join(args, ""))
		if err != nil {
			return err
		}
		if o.json {
			e := json.NewEncoder(p.out)
			for _, s := range all {
				if err := e.Encode(s); err != nil {
					return err
				}
			}
			return nil
		}
		w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
		for _, s := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", strings.TrimPrefix(s.Key, "v1/"), s.Format, s.Arch, bytesText(s.Size), s.Uploaded)
		}
		return w.Flush()
	})
}

type symbolsGetOptions struct {
	serverOptions
	output string
}

func (o *symbolsGetOptions) Options(s *config.Spec) {
	o.serverOptions.Options(s)
	config.Var(s, &o.output, "output", config.String, config.Short("o"), config.FlagOnly(), config.Default("."), config.Doc("Folder for the files."))
}

func (p *program) symbolsGetCommand() *cobra.Command {
	o := new(symbolsGetOptions)
	return command(&cobra.Command{
		Use: "get TEXT", Short: "Get symbol files of a server", Args: cobra.ExactArgs(1),
		Long: "Get the symbol files of a server whose names or ids contain TEXT, into a folder laid out as symbol servers are:\n<debug file>/<DEBUGID>/<name>. stackwalk takes such a folder.",
	}, o, func(ctx context.Context, args []string) error { return p.symbolsGet(ctx, args[0], o) })
}

func (p *program) symbolsGet(ctx context.Context, text string, o *symbolsGetOptions) error {
	all, err := o.list(ctx, text)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errs.Public(errs.NotFound, "%s has no symbol file with %q in its name or id.", o.server, text)
	}
	for _, s := range all {
		path := strings.TrimPrefix(s.Key, "v1/")
		if !filepath.IsLocal(path) {
			return errs.Public(errs.Internal, "The server names a file %q, which leads out of the folder.", path)
		}
		escaped := (&url.URL{Path: "/symbols/" + path}).EscapedPath()
		if err := p.download(ctx, &o.serverOptions, escaped, filepath.Join(o.output, path), s.SHA256); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintln(p.out, filepath.Join(o.output, path))
	}
	return nil
}

// download writes a file that a server has, whole or not at all.
func (p *program) download(ctx context.Context, o *serverOptions, from, to, sum string) (err error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(to), ".salvage-*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	hash := sha256.New()
	if err := o.do(ctx, "GET", from, nil, 0, io.MultiWriter(f, hash)); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return errs.Public(errs.Corrupt, "What arrived is not what the server lists; try again.")
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), to)
}

type symbolsPutOptions struct {
	serverOptions
	jobs int
}

func (o *symbolsPutOptions) Options(s *config.Spec) {
	o.serverOptions.Options(s)
	config.Var(s, &o.jobs, "jobs", config.Int, config.Short("j"), config.FlagOnly(), config.Default("4"), config.Doc("Files that are sent at once."))
}

func (p *program) symbolsPutCommand() *cobra.Command {
	o := new(symbolsPutOptions)
	return command(&cobra.Command{
		Use: "put PATH...", Short: "Give symbol files to a server", Args: cobra.MinimumNArgs(1),
		Long: "Give symbol files to a server: programs and libraries (ELF, PE, Mach-O), with their debug information or without, separate debug\n" +
			"files, dSYM bundles, PDBs, Breakpad's .sym, and mappings of R8 and ProGuard. Folders are searched with all below them; files in them that are of no use are passed over.\n" +
			"What the server has already is not sent. Each file gets a line with what became of it; the exit code is 3 if only\n" +
			"some could be stored.",
	}, o, func(ctx context.Context, args []string) error { return p.symbolsPut(ctx, args, o) })
}

// candidate is a file that may be sent.
type candidate struct {
	path  string
	named bool // on the command line: then it must be of use
	size  int64
}

// candidates lists the regular files of paths.
func candidates(paths []string) (all []candidate, err error) {
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Stat(path) // what a link leads to, if it is a file
			if err != nil || !info.Mode().IsRegular() {
				return nil
			}
			all = append(all, candidate{path, path == root, info.Size()})
			return nil
		})
		if err != nil {
			return nil, errs.Public(errs.NotFound, "%v", err)
		}
	}
	return all, nil
}

// verdict is what became of a file.
type verdict struct {
	Path    string `json:"path"`
	Status  string `json:"status"` // stored, exists, superseded or kept, as the server says; failed; skipped: of no use
	Key     string `json:"key,omitempty"`
	Message string `json:"message,omitempty"`
}

func (p *program) symbolsPut(ctx context.Context, paths []string, o *symbolsPutOptions) error {
	all, err := candidates(paths)
	if err != nil {
		return err
	}
	var total int64
	for _, c := range all {
		total += c.size
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.err), progressbar.OptionShowBytes(true), progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetVisibility(isTerminal(p.err) && total > 0))
	var mu sync.Mutex
	sent := func(bytes int64) { // the bar is not safe for concurrent use
		mu.Lock()
		defer mu.Unlock()
		_ = bar.Add64(bytes)
	}
	counts := map[string]int{}
	say := func(v verdict) {
		mu.Lock()
		defer mu.Unlock()
		counts[v.Status]++
		if v.Status == "skipped" && !o.json {
			return
		}
		_ = bar.Clear()
		if o.json {
			_ = json.NewEncoder(p.out).Encode(v)
			return
		}
		fmt.Fprintf(p.out, "%-10s %s", v.Status, v.Path)
		if v.Key != "" {
			fmt.Fprintf(p.out, " as %s", strings.TrimPrefix(v.Key, "v1/"))
		}
		if v.Message != "" {
			fmt.Fprintf(p.out, ": %s", v.Message)
		}
		fmt.Fprintln(p.out)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan candidate)
	var workers sync.WaitGroup
	for range max(1, o.jobs) {
		workers.Go(func() {
			for c := range work {
				v, err := o.put(ctx, c, sent)
				if errors.Is(err, errs.Denied) {
					cancel(err) // as all the others would be
				}
				if ctx.Err() == nil {
					say(v)
				}
			}
		})
	}
	for _, c := range all {
		if ctx.Err() == nil {
			work <- c
		}
	}
	close(work)
	workers.Wait()
	_ = bar.Finish()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done := len(all) - counts["failed"] - counts["skipped"]
	if !o.json {
		fmt.Fprintf(p.out, "%s, %d of them new; %d failed, %d passed over\n", plural(done, "file")+" on the server", counts["stored"]+counts["superseded"], counts["failed"], counts["skipped"])
	}
	switch {
	case counts["failed"] > 0 && done > 0:
		return errs.Public(errs.Partial, "%s could not be stored.", plural(counts["failed"], "file"))
	case counts["failed"] > 0:
		return errs.Public(errs.Internal, "Nothing could be stored.")
	case done == 0:
		return errs.Public(errs.NotFound, "There is no symbol file in %s.", strings.Join(paths, ", "))
	}
	return nil
}

// put sends a file, unless it is of no use or the server has it.
func (o *symbolsPutOptions) put(ctx context.Context, c candidate, moved func(bytes int64)) (v verdict, err error) {
	v.Path = c.path
	fail := func(err error) (verdict, error) {
		v.Status, v.Message = "failed", errs.Message(err)
		return v, err
	}
	sent := int64(0)
	defer func() { moved(c.size - sent) }()
	f, err := openFile(c.path)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	all, err := object.OpenAll(f.Data)
	all = slices.DeleteFunc(all, func(o *object.Object) bool {
		return err != nil || !o.HasSymbols && !o.HasRules || o.Module.ID.IsZero()
	})
	var id debugid.ID
	switch {
	case errors.Is(err, debug.ErrUnsupported) && proguard.Probe(f.Data):
		id = proguard.Identify(f.Data).ID
	case err != nil && c.named:
		return fail(err)
	case len(all) == 0:
		v.Status = "skipped"
		if c.named {
			return fail(errs.Public(errs.Invalid, "it has no symbols, no unwind rules, or no id"))
		}
		return v, nil
	default:
		id = all[0].Module.ID
	}
	sum := sha256.Sum256(f.Data)
	known, err := o.list(ctx, id.Breakpad())
	if err != nil {
		return fail(err)
	}
	hash := hex.EncodeToString(sum[:])
	if i := slices.IndexFunc(known, func(s storedSymbol) bool { return s.SHA256 == hash }); i >= 0 {
		v.Status, v.Key = "exists", known[i].Key
		return v, nil
	}
	var answer struct{ Status, Key, Warning string }
	body := readerFunc(func(b []byte) (int, error) {
		if sent == int64(len(f.Data)) {
			return 0, io.EOF
		}
		n := copy(b, f.Data[sent:])
		sent += int64(n)
		moved(int64(n))
		return n, nil
	})
	if err := o.do(ctx, "PUT", "/symbols/"+url.PathEscape(filepath.Base(c.path)), body, int64(len(f.Data)), &answer); err != nil {
		return fail(err)
	}
	v.Status, v.Key, v.Message = answer.Status, answer.Key, answer.Warning
	return v, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// isTerminal reports whether somebody looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// bytesText spells a size for people.
func bytesText(n int64) string {
	for i, unit := range []string{"GB", "MB", "kB"} {
		if size := int64(1e9) / []int64{1, 1e3, 1e6}[i]; n >= size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(size), unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}
