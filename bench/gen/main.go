// Command gen makes the inputs of the comparisons, the same ones every time:
//
//	gen sym -bytes N [-module LINE]       a .sym of a large C++ program, to standard output
//	gen addresses -n N FILE               addresses spread evenly over the code that the symcache FILE knows
//	gen body -bytes N DUMP                the gzip body of a submission of about N bytes, with DUMP in it
//	gen threads -n N DUMP                 DUMP with N threads: more of its last one, with the stack of that
//	gen v5 -n N FILE…                     a request to /symbolicate/v5: ten jobs of N frames in the modules of the symcaches
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
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
		return errors.New("gen sym, gen addresses, gen body, gen threads or gen v5")
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
	case "threads":
		err = threads(w, *n, flags.Arg(0))
	case "v5":
		err = v5(w, *n, flags.Args())
	default:
		err = fmt.Errorf("no %s", os.Args[1])
	}
	return errors.Join(err, w.Flush())
}

// threads writes a dump whose list of threads (stream 3: a count and 48 bytes for each) is a longer one behind its end.
func threads(w *bufio.Writer, n int, path string) error {
	dump, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for i, at := 0, le.Uint32(dump[12:]); i < int(le.Uint32(dump[8:])); i, at = i+1, at+12 {
		entry := dump[at : at+12]
		if le.Uint32(entry) != 3 {
			continue
		}
		list := dump[le.Uint32(entry[8:]):][:le.Uint32(entry[4:])]
		last := slices.Clone(list[len(list)-48:])
		count := int(le.Uint32(list))
		list = slices.Clone(list)
		for ; count < n; count++ {
			le.PutUint32(last, 1<<20+uint32(count)) // its id
			list = append(list, last...)
		}
		le.PutUint32(list, uint32(count))
		le.PutUint32(entry[4:], uint32(len(list)))
		le.PutUint32(entry[8:], uint32(len(dump)))
		_, _ = w.Write(append(dump, list...))
		return nil
	}
	return errors.New("no list of threads")
}

// addresses draws n addresses, each byte of code that has an answer as likely as another.
func addresses(w *bufio.Writer, n int, base bool, path string) error {
	cache, draw, err := open(path)
	if err != nil {
		return err
	}
	offset := uint64(0)
	if base {
		offset = cache.Module().ImageBase
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		fmt.Fprintf(w, "%x\n", offset+draw(rng))
	}
	return nil
}

// open returns a symcache, and what draws an address of its code.
func open(path string) (*symcache.Cache, func(*rand.Rand) uint64, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	cache, err := symcache.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	var starts, before []uint64 // the known ranges, and how many bytes of code lie before each
	total := uint64(0)
	var start *uint64
	for r := range cache.Ranges() {
		if start != nil {
			starts, before = append(starts, *start), append(before, total)
			total += r.Start - *start
			start = nil
		}
		if !r.Empty {
			start = &r.Start
		}
	}
	if total == 0 {
		return nil, nil, errors.New("no code is known")
	}
	return cache, func(rng *rand.Rand) uint64 {
		at := rng.Uint64N(total)
		i := sort.Search(len(before), func(i int) bool { return before[i] > at }) - 1
		return starts[i] + at - before[i]
	}, nil
}

// v5 draws n frames of one stack for each of ten jobs, each module as likely as another.
func v5(w *bufio.Writer, n int, paths []string) error {
	type job struct {
		MemoryMap [][2]string   `json:"memoryMap"`
		Stacks    [][][2]uint64 `json:"stacks"`
	}
	var modules [][2]string
	var draws []func(*rand.Rand) uint64
	for _, path := range paths {
		cache, draw, err := open(path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		m := cache.Module()
		modules, draws = append(modules, [2]string{m.Name, m.ID.Breakpad()}), append(draws, draw)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var jobs [10]job
	for i := range jobs {
		stack := make([][2]uint64, n)
		for j := range stack {
			m := rng.IntN(len(draws))
			stack[j] = [2]uint64{uint64(m), draws[m](rng)}
		}
		jobs[i] = job{modules, [][][2]uint64{stack}}
	}
	return json.NewEncoder(w).Encode(map[string]any{"jobs": jobs})
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
