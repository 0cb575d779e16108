package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"salvage/internal/access"
	"salvage/internal/crash"
	"salvage/internal/metadb"
	"salvage/internal/sqldb"
)

// demoFiles are crashes of examples/crashapp as Crashpad wrote them, its image and its debug file;
// examples/crashapp/record.sh makes them.
//
//go:embed demo/*.gz
var demoFiles embed.FS

// demoCrashes are what is submitted, in this order: the mode of crashapp, and what the client says.
var demoCrashes = []struct{ mode, version, channel string }{
	{"inline", "1.0", "release"}, {"abort", "1.0", "release"}, {"inline", "1.0", "release"}, {"thread", "1.0", "release"},
	{"overflow", "1.1", "beta"}, {"inline", "1.1", "beta"}, {"pure", "1.1", "beta"}, {"handler", "1.1", "beta"}, {"thread", "1.1", "beta"},
}

// demo submits recorded crashes and their symbols to the server at url as clients do: some crashes, then the
// symbols, then the others. It does so once in the life of a database.
func demo(ctx context.Context, url string, db *sqldb.DB, tokens *access.Store) error {
	const mark = "demo"
	var done string
	if err := db.View(ctx, func(tx *sql.Tx) (err error) { done, err = metadb.Mark(ctx, tx, mark); return err }); err != nil || done != "" {
		return err
	}
	_, token, err := tokens.Create(ctx, "demo", access.UploadSymbols, time.Now().Add(time.Hour))
	if err != nil {
		return err
	}
	for i, c := range demoCrashes {
		if i == len(demoCrashes)/2 {
			for _, name := range []string{"crashapp", "crashapp.debug"} {
				if err := demoRequest(ctx, "PUT", url+"/symbols/"+name, "application/octet-stream", token, demoFile(name)); err != nil {
					return err
				}
			}
		}
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		for _, field := range [][2]string{{"prod", "crashapp"}, {"ver", c.version}, {"channel", c.channel}} {
			if err := form.WriteField(field[0], field[1]); err != nil {
				return err
			}
		}
		part, err := form.CreateFormFile(crash.MinidumpName, c.mode+".dmp")
		if err != nil {
			return err
		}
		if _, err := part.Write(demoFile(c.mode + ".dmp")); err != nil {
			return err
		}
		if err := form.Close(); err != nil {
			return err
		}
		if err := demoRequest(ctx, "POST", url+"/submit", form.FormDataContentType(), "", body.Bytes()); err != nil {
			return err
		}
	}
	return db.Tx(ctx, func(tx *sql.Tx) error { return metadb.SetMark(ctx, tx, mark, "done") })
}

// demoFile returns a recorded file.
func demoFile(name string) []byte {
	packed, err := fs.ReadFile(demoFiles, "demo/"+name+".gz")
	if err != nil {
		panic(err) // it is compiled in
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		panic(err)
	}
	return data
}

func demoRequest(ctx context.Context, method, url, contentType, token string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", contentType)
	if token != "" {
		r.Header.Set("Auth-Token", token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, url, res.Status, strings.TrimSpace(string(text)))
	}
	return nil
}
