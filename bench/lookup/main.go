// Command lookup times lookups in a symcache: lookup FILE ADDRESSES, hexadecimal addresses relative to the
// image base, one a line.
package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"salvage/debug/symcache"
)

const passes = 3

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "lookup:", err)
		os.Exit(1)
	}
}

func run(path, addresses string) error {
	data, err := mapFile(path)
	if err != nil {
		return err
	}
	cache, err := symcache.Parse(data)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(addresses)
	if err != nil {
		return err
	}
	var addrs []uint64
	for line := range strings.Lines(string(text)) {
		a, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64)
		if err != nil {
			return err
		}
		addrs = append(addrs, a)
	}

	// Handles: the frames and their lines. The first pass makes the file resident.
	var frames, lines, nameBytes, fileBytes, mallocs uint64
	buf := make([]symcache.Frame, 0, 256)
	handles := median(func() {
		frames, lines = 0, 0
		before := allocations()
		for _, a := range addrs {
			buf = cache.Lookup(a, buf[:0])
			frames += uint64(len(buf))
			for i := range buf {
				lines += uint64(buf[i].Line)
			}
		}
		mallocs = allocations() - before
	})
	// Text: the name of the function and of the file of each frame, not copied.
	names := median(func() {
		nameBytes, fileBytes = 0, 0
		for _, a := range addrs {
			buf = cache.Lookup(a, buf[:0])
			for _, f := range buf {
				nameBytes += uint64(len(cache.Name(f)))
				fileBytes += uint64(len(cache.File(f)))
			}
		}
	})
	n := float64(len(addrs))
	fmt.Printf("ns_per_lookup=%.1f ns_with_names=%.1f frames=%d lines=%d name_bytes=%d allocations=%d\n",
		float64(handles)/n, float64(names)/n, frames, lines, nameBytes, mallocs)
	_ = fileBytes
	return nil
}

func mapFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
}

// median runs f once, then times it.
func median(f func()) time.Duration {
	f()
	var times []time.Duration
	for range passes {
		start := time.Now()
		f()
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times[passes/2]
}

func allocations() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
