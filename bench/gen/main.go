// Command gen makes the inputs of the comparisons, the same ones every time:
//
//	gen sym -bytes N [-module LINE]       a .sym of a large C++ program, to standard output
//	gen addresses -n N FILE               addresses spread evenly over the code that the symcache FILE knows
//	gen body -bytes N DUMP                the gzip body of a submission of about N bytes, with DUMP in it
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"os"
	"slices"
	"sort"

	"salvage/debug/symcache"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return errors.New("gen sym, gen addresses or gen body")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	size := flags.Int64("bytes", 600e6, "about how much to write")
	n := flags.Int("n", 1e6, "how many addresses")
	base := flags.Bool("base", false, "addresses with the image base, as addr2line takes them")
	module := flags.String("module", "MODULE Linux x86_64 0123456789ABCDEF0123456789ABCDEF0 libgenerated.so", "first line of the .sym")
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	var err error
	switch os.Args[1] {
	case "sym":
		err = sym(w, *size, *module)
	case "addresses":
		err = addresses(w, *n, *base, flags.Arg(0))
	case "body":
		err = body(w, int(*size), flags.Arg(0))
	default:
		err = fmt.Errorf("no %s", os.Args[1])
	}
	return errors.Join(err, w.Flush())
}

// addresses draws n addresses, each byte of code that has an answer as likely as another.
func addresses(w *bufio.Writer, n int, base bool, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	cache, err := symcache.Parse(data)
	if err != nil {
		return err
	}
	var starts, before []uint64 // the known ranges, and how many bytes of code lie before each
	total := uint64(0)
	var open *uint64
	for r := range cache.Ranges() {
		if open != nil {
			starts, before = append(starts, *open), append(before, total)
			total += r.Start - *open
			open = nil
		}
		if !r.Empty {
			open = &r.Start
		}
	}
	if total == 0 {
		return errors.New("no code is known")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	offset := uint64(0)
	if base {
		offset = cache.Module().ImageBase
	}
	for range n {
		at := rng.Uint64N(total)
		i := sort.Search(len(before), func(i int) bool { return before[i] > at }) - 1
		fmt.Fprintf(w, "%x\n", offset+starts[i]+at-before[i])
	}
	return nil
}

// body packs a submission: some annotations and a dump, behind which random bytes between zeros fill it up,
// 2.1 times smaller when packed.
func body(w *bufio.Writer, size int, path string) error {
	dump, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	form := multipart.NewWriter(z)
	if err := form.SetBoundary("bench"); err != nil {
		return err
	}
	for _, field := range [][2]string{{"ProductName", "bench"}, {"Version", "1.0"}, {"ReleaseChannel", "release"}, {"BuildID", "20260101000000"}} {
		if err := form.WriteField(field[0], field[1]); err != nil {
			return err
		}
	}
	part, err := form.CreateFormFile("upload_file_minidump", "crash.dmp")
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var fill []byte
	for range size / 64 {
		for range 64 {
			fill = append(fill, byte(rng.Uint32()))
		}
		fill = append(fill, make([]byte, 72)...)
	}
	if _, err := part.Write(slices.Concat(dump, fill)); err != nil {
		return err
	}
	if err := errors.Join(form.Close(), z.Close()); err != nil {
		return err
	}
	_, err = w.Write(packed.Bytes())
	return err
}
