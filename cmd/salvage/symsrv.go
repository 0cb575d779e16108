package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"salvage/internal/errs"
)

// symbolStore is a store of whole files, laid out as name/ID/name, as the symbol path of Windows' debuggers
// (srv*cache*store) names it.
type symbolStore struct{ cache, store string }

const (
	microsoftStore = "https://msdl.microsoft.com/download/symbols"
	// storeAgent is how dump_syms calls itself, after Microsoft's own client.
	storeAgent = "Microsoft-Symbol-Server/6.3.0.0"
	// storeTimeout is for one file.
	storeTimeout = 1000 * time.Second
)

// parseSymbolPath reads entries srv, srv*store and srv*cache*store between semicolons or line ends. Others are
// left out, as dump_syms does.
func parseSymbolPath(text string) (all []symbolStore) {
	for entry := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ';' || r == '\n' }) {
		parts := strings.Split(entry, "*")
		for i, p := range parts {
			parts[i] = homePath(strings.TrimSpace(p))
		}
		if !strings.EqualFold(parts[0], "srv") {
			continue
		}
		switch len(parts) {
		case 1:
			all = append(all, symbolStore{"", microsoftStore})
		case 2:
			all = append(all, symbolStore{"", parts[1]})
		case 3:
			all = append(all, symbolStore{parts[1], parts[2]})
		}
	}
	return all
}

func homePath(path string) string {
	if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(path, "~") {
		return home + path[1:]
	}
	return path
}

// symbolStores returns the stores that a flag names, or without one dump_syms' own file.
func symbolStores(flag string) ([]symbolStore, error) {
	if flag != "" {
		all := parseSymbolPath(flag)
		if len(all) == 0 {
			return nil, errs.Public(errs.Invalid, "--symbol-server %q names no server: write SRV*folder for downloads*https://server.", flag)
		}
		return all, nil
	}
	text, err := os.ReadFile(homePath("~/.dump_syms/config"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return parseSymbolPath(string(text)), nil
}

// findInStores returns where the file of a name and id is: in a cache or in a store that is a folder, or, fetched now, in
// the cache of the store that has it or else below tmp. What it finds may be a cabinet.
func findInStores(ctx context.Context, stores []symbolStore, name, id, tmp string) (path string, err error) {
	if !nameOfFile(name) || !nameOfFile(id) {
		return "", errs.Public(errs.Invalid, "%q and %q are no name and id of a file.", name, id)
	}
	base := wholeName(name)
	names := []string{base, compressedName(base)}
	for _, s := range stores {
		folders := []string{s.cache}
		if !strings.Contains(s.store, "://") {
			folders = append(folders, s.store)
		}
		for _, folder := range folders {
			for _, n := range names {
				path := filepath.Join(folder, base, id, n)
				if info, err := os.Stat(path); folder != "" && err == nil && info.Mode().IsRegular() {
					return path, nil
				}
			}
		}
	}
	var failed error
	for _, s := range stores {
		if !strings.Contains(s.store, "://") {
			continue
		}
		server, err := url.Parse(s.store)
		if err != nil || server.Scheme != "http" && server.Scheme != "https" {
			failed = errs.Public(errs.Invalid, "%s: not the address of a symbol server.", s.store)
			continue
		}
		to := tmp
		if s.cache != "" {
			to = s.cache
		}
		for _, n := range names {
			path := filepath.Join(to, base, id, n)
			from := server.JoinPath(url.PathEscape(base), id, url.PathEscape(n)).String()
			err := fetchFromStore(ctx, from, path)
			if err == nil {
				return path, nil
			}
			if !errors.Is(err, errs.NotFound) {
				failed = err
			}
		}
	}
	if failed != nil {
		return "", failed
	}
	return "", errs.Public(errs.NotFound, "%s: no symbol server has it with the id %s.", name, id)
}

func fetchFromStore(ctx context.Context, from, to string) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	res, err := ask(ctx, http.DefaultClient, from, storeAgent)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errs.Public(errs.NotFound, "%s: %s", from, res.Status)
	}
	// Some servers say so with status 200.
	nothing := []byte("Symbol Not Found")
	head, err := io.ReadAll(io.LimitReader(res.Body, int64(len(nothing))))
	switch {
	case err != nil:
		return errs.Public(errs.Unavailable, "%s: %v", from, err)
	case len(head) == 0 || bytes.Equal(head, nothing):
		return errs.Public(errs.NotFound, "%s: not there", from)
	}
	return writeFile(to, func(w io.Writer) error {
		return receive(w, io.MultiReader(bytes.NewReader(head), res.Body), from, maxFetched)
	})
}
