// Command fill makes many crashes of the few in a data folder that no server has open: hard links to their
// files under new ids, spread over half a year, and their rows in the crash index: fill FOLDER N
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"salvage/internal/crash"
	"salvage/internal/crashindex"
	"salvage/internal/crashindex/sqlindex"
	"salvage/internal/sqldb"
)

func main() {
	folder := os.Args[1]
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(folder, "salvage.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	index := sqlindex.New(db)
	var columns []string
	for _, f := range crashindex.Fields {
		columns = append(columns, f.Name)
	}
	have, err := index.Search(ctx, crashindex.Query{Limit: 100, Columns: columns})
	if err != nil || len(have.Hits) == 0 {
		log.Fatal("no crashes to copy: ", err)
	}
	root := filepath.Join(folder, "blobs", "objects", "crash")
	now := time.Now()
	var batch []crashindex.Doc
	for i := range n {
		from := have.Hits[i%len(have.Hits)]
		at := now.Add(-time.Duration(i%(180*24)) * time.Hour)
		id := crash.NewID(at, crash.Accept)
		src, dst := filepath.Join(root, from.ID.Day(), string(from.ID)), filepath.Join(root, id.Day(), string(id))
		if err := os.MkdirAll(filepath.Join(dst, "dump"), 0o755); err != nil {
			log.Fatal(err)
		}
		for _, name := range []string{"raw_crash=", "processed_crash=", "dump/upload_file_minidump="} {
			from := filepath.Join(src, name)
			if err := os.Link(from, filepath.Join(dst, name)); err != nil {
				data, err := os.ReadFile(from) // too many links: go on with a fresh file
				if err != nil {
					log.Fatal(err)
				}
				if err := os.Remove(from); err != nil {
					log.Fatal(err)
				}
				if err := os.WriteFile(from, data, 0o600); err != nil {
					log.Fatal(err)
				}
				if err := os.Link(from, filepath.Join(dst, name)); err != nil {
					log.Fatal(err)
				}
			}
		}
		values := map[string]crashindex.Value{}
		for c, v := range from.Values {
			if !v.IsNull() {
				values[columns[c]] = v
			}
		}
		batch = append(batch, crashindex.Doc{ID: id, Submitted: at, Values: values})
		if len(batch) == crashindex.MaxBatch || i == n-1 {
			if err := index.Put(ctx, batch); err != nil {
				log.Fatal(err)
			}
			batch = batch[:0]
		}
	}
	fmt.Println(n, "crashes")
}
