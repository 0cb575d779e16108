// Command floor is the least that a durable collector must do: it inflates the body of a POST into a file,
// syncs the file and its folder, and answers.
package main

import (
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8091", "loopback address")
	dir := flag.String("data", "", "folder for the bodies")
	flag.Parse()
	folder, err := os.Open(*dir)
	if err != nil {
		log.Fatal(err)
	}
	var count atomic.Int64
	store := func(body io.Reader) error {
		in, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		path := filepath.Join(*dir, fmt.Sprint(count.Add(1)))
		f, err := os.Create(path + ".tmp")
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.Copy(f, in); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		if err := os.Rename(path+".tmp", path); err != nil {
			return err
		}
		return folder.Sync()
	}
	http.HandleFunc("GET /__lbheartbeat__", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("POST /submit", func(w http.ResponseWriter, r *http.Request) {
		if err := store(r.Body); err != nil {
			http.Error(w, err.Error(), 500)
			return
		}
		fmt.Fprintln(w, "CrashID=floor")
	})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
