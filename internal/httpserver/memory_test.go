package httpserver_test

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"

	"salvage/internal/httpserver"
)

func TestAvailableMemory(t *testing.T) {
	const meminfo = "MemTotal:        8000000 kB\nMemFree: 1 kB\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing known", nil, 0},
		{"machine", map[string]string{"proc/meminfo": meminfo}, 8000000 << 10},
		{"v2, a parent limits", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "1000000\n"}, 1000000},
		{"v2, larger than the machine", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "99999999999999\n"}, 8000000 << 10},
		{"v2 in a container that sees the host's path", map[string]string{"proc/self/cgroup": "0::/docker/123\n", "sys/fs/cgroup/memory.max": "2000000"}, 2000000},
		{"v1", map[string]string{"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/y\n", "sys/fs/cgroup/memory/y/memory.limit_in_bytes": "3000000",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}, 3000000},
		{"broken", map[string]string{"proc/meminfo": "MemTotal: lots", "proc/self/cgroup": "x\n0::/../../etc\n", "sys/fs/cgroup/etc/memory.max": "-5"}, 0},
	} {
		fsys := fstest.MapFS{}
		for name, text := range tt.files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := httpserver.AvailableMemory(fsys); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestSetMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(1 << 30) // as Go does with GOMEMLIMIT=1GiB
	if got := httpserver.SetMemoryLimit(0.5); got != 0 || debug.SetMemoryLimit(-1) != 1<<30 {
		t.Errorf("with a limit: %d", got)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if got := httpserver.SetMemoryLimit(0); got != 0 {
		t.Errorf("fraction 0: %d", got)
	}
	if got := httpserver.SetMemoryLimit(0.5); got != 0 && debug.SetMemoryLimit(-1) != got {
		t.Errorf("returned %d, set %d", got, debug.SetMemoryLimit(-1))
	}
}
