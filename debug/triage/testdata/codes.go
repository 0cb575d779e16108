//go:build ignore

// Writes windows.txt from a list of the codes of Windows, a CSV with the columns table, value and name.
// Its path is the argument or SALVAGE_REFERENCE; without either windows.txt stays as it is.
//
//	go run testdata/codes.go path/of/codes.csv
package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
)

// tables are the ones to keep.
var tables = map[string]byte{"access_type": 'a', "exception": 'e', "fastfail": 'f', "ntstatus": 'n', "winerror": 'w'}

const header = `# Codes of Windows: table, value, name. Written by testdata/codes.go.
# a: accesses; e, f, n, w: exceptions, fast fails, NTSTATUS, Windows errors of SDK 10.0.26100.0; t: exceptions whose
# text is not their name.
`

// texts are in no list.
var texts = []string{"t 0517a7ed Simulated Exception\n", "t e0000008 Out of Memory\n", "t e06d7363 Unhandled C++ Exception\n"}

func main() {
	log.SetFlags(0)
	path := os.Getenv("SALVAGE_REFERENCE")
	if len(os.Args) > 1 {
		path = os.Args[1]
	}
	if path == "" {
		log.Print("windows.txt stays as it is: no list of codes is given")
		return
	}
	f, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	lines := texts
	for _, row := range rows {
		if tables[row[0]] == 0 {
			continue
		}
		value, err := strconv.ParseUint(row[1], 0, 32)
		if err != nil {
			log.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%c %08x %s\n", tables[row[0]], value, row[2]))
	}
	slices.Sort(lines)
	out := bytes.NewBufferString(header)
	for _, line := range lines {
		out.WriteString(line)
	}
	if err := os.WriteFile("windows.txt", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
