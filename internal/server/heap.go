package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
)

// The heap grows by a fixed amount between two collections, the headroom, and not by a part
// of what is alive as with Go's default. So the few MiB of a busy server without a backlog
// are collected seldom, and the heap of a server with a backlog does not double.
const (
	mib = 1 << 20
	// leastGrowth and mostGrowth bound how much the heap grows, in percent of what is alive:
	// a larger heap costs more to collect, so it is collected less often.
	leastGrowth, mostGrowth = 50, 400
	// besideHeap is what the process uses besides the heap, at most: the caches of SQLite.
	besideHeap = 96 * mib
)

// TuneHeap sets when the runtime collects garbage, for the whole process. The variables GOGC
// and GOMEMLIMIT have priority, each for its own part. stop ends the adjustments.
func TuneHeap(c *Config, log *slog.Logger) (stop func()) {
	if limit := heapLimit(containerMemory("/")); limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
		log.Debug("the heap is limited by the memory of the container", "mib", limit/mib)
	}
	if c.HeapHeadroomMiB == 0 || os.Getenv("GOGC") != "" {
		return func() {}
	}
	ended := new(atomic.Bool)
	now := mostGrowth
	debug.SetGCPercent(now)
	afterCollections(func() (more bool) {
		if ended.Load() {
			return false
		}
		if next := heapGrowth(liveHeap(), int64(c.HeapHeadroomMiB)*mib); next != now {
			now = next
			debug.SetGCPercent(now)
		}
		return true
	})
	return func() { ended.Store(true) }
}

// heapGrowth returns how much a heap with so many bytes alive may grow until the next
// collection, in percent. Setting it stops all goroutines for a moment, so it has few values.
func heapGrowth(live, headroom int64) int {
	return int(min(max(headroom*100/max(live, 1)/25*25, leastGrowth), mostGrowth))
}

// liveHeap returns the bytes that the last collection found alive.
func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// afterCollections calls do after each collection, one at a time, while it returns true.
func afterCollections(do func() (more bool)) {
	type garbage struct{ self *garbage } // with a pointer, so that nothing shares its memory
	g := new(garbage)
	runtime.AddCleanup(g, func(do func() bool) {
		if do() {
			afterCollections(do)
		}
	}, do)
}

// heapLimit returns the limit of the heap in a container, 0 for none. The rest is for what
// the runtime does not count.
func heapLimit(container int64) int64 {
	return max(container-besideHeap, container/2)
}

// containerMemory returns the memory limit of this process's control group or of one above
// it, 0 if there is none. root is where the system's files are.
func containerMemory(root string) int64 {
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return 0
	}
	least := int64(0)
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		top, file := "", ""
		switch {
		case fields[0] == "0": // version 2
			top, file = filepath.Join(root, "sys/fs/cgroup"), "memory.max"
		case fields[1] == "memory":
			top, file = filepath.Join(root, "sys/fs/cgroup/memory"), "memory.limit_in_bytes"
		default:
			continue
		}
		for path := filepath.Clean("/" + fields[2]); ; path = filepath.Dir(path) {
			text, _ := os.ReadFile(filepath.Join(top, path, file)) // inside a container, the paths above it are missing
			// "max", or in version 1 a number near the greatest, means no limit.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < 1<<50 && (least == 0 || n < least) {
				least = n
			}
			if path == "/" {
				break
			}
		}
	}
	return least
}
