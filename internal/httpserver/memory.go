package httpserver

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// SetMemoryLimit sets Go's memory limit to a fraction of the memory this process may use: the smallest
// limit of its control groups (v2 or v1), or the machine's memory. It returns the limit in bytes.
//
// It returns 0 and does nothing where there is a limit, as GOMEMLIMIT sets one, where the system does not say (all but Linux),
// or if fraction is not above 0. The limit is soft: the collector works harder near it.
func SetMemoryLimit(fraction float64) int64 {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 || !(fraction > 0) {
		return 0
	}
	memory := availableMemory(os.DirFS("/"))
	if memory == 0 {
		return 0
	}
	limit := int64(min(float64(memory)*fraction, math.MaxInt64/2))
	debug.SetMemoryLimit(limit)
	return limit
}

// availableMemory returns the memory a process may use on the system whose root is fsys; 0: unknown.
func availableMemory(fsys fs.FS) int64 {
	memory := int64(math.MaxInt64)
	consider := func(text string, unit int64) {
		// "max" and v1's 2⁶³ less a page are no limits.
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && n > 0 && n < math.MaxInt64/unit/2 {
			memory = min(memory, n*unit)
		}
	}
	read := func(name string) string {
		b, _ := fs.ReadFile(fsys, name)
		return string(b)
	}
	for line := range strings.Lines(read("proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			consider(strings.TrimSuffix(strings.TrimSpace(rest), "kB"), 1<<10)
		}
	}
	// Lines are "id:controllers:path" (cgroups(7)); v2 has no controllers. Parents limit, too, and a
	// container sees its own group as the root even where the path is the host's.
	for line := range strings.Lines(read("proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		mount, file := "sys/fs/cgroup", "memory.max"
		switch parts[1] {
		case "":
		case "memory":
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) {
			consider(read(path.Join(mount, dir, file)), 1)
			if dir == "/" {
				break
			}
		}
	}
	if memory == math.MaxInt64 {
		return 0
	}
	return memory
}
