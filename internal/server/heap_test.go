package server

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestHeapGrowth(t *testing.T) {
	for live, want := range map[int64]int{0: 400, 4 * mib: 400, 8 * mib: 400, 10 * mib: 300, 16 * mib: 200, 32 * mib: 100, 100 * mib: 50, 10_000 * mib: 50} {
		if got := heapGrowth(live, 32*mib); got != want {
			t.Errorf("with %d MiB alive the heap grows by %d %%, want %d", live/mib, got, want)
		}
	}
}

func TestHeapLimit(t *testing.T) {
	for container, want := range map[int64]int64{0: 0, 64 * mib: 32 * mib, 192 * mib: 96 * mib, 512 * mib: 416 * mib} {
		if got := heapLimit(container); got != want {
			t.Errorf("in %d MiB the limit is %d MiB, want %d", container/mib, got/mib, want/mib)
		}
	}
}

func TestContainerMemory(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no control groups":          {nil, 0},
		"version 2":                  {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "536870912\n"}, 512 * mib},
		"version 2, no limit":        {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		"a group above has less":     {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "536870912\n", "sys/fs/cgroup/a/memory.max": "268435456\n"}, 256 * mib},
		"a group above has more":     {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "268435456\n", "sys/fs/cgroup/a/memory.max": "536870912\n"}, 256 * mib},
		"version 1":                  {map[string]string{"proc/self/cgroup": "5:cpu:/x\n4:memory:/x\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "268435456\n"}, 256 * mib},
		"version 1, no limit":        {map[string]string{"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"version 1, path not mapped": {map[string]string{"proc/self/cgroup": "4:memory:/docker/x\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"}, 256 * mib},
		"nonsense":                   {map[string]string{"proc/self/cgroup": "x\n0::..\n::\n", "sys/fs/cgroup/memory.max": "-5\n"}, 0},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := containerMemory(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// The operator's variables win, and 0 leaves Go's default alone.
func TestTuneHeapRespectsTheEnvironment(t *testing.T) {
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(-1)
	t.Cleanup(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	for _, c := range []struct {
		gogc     string
		headroom int
		want     int
	}{{"", 32, mostGrowth}, {"77", 32, 100}, {"off", 32, 100}, {"", 0, 100}} {
		t.Setenv("GOGC", c.gogc)
		t.Setenv("GOMEMLIMIT", "1GiB") // read by the runtime at its start only
		debug.SetGCPercent(100)
		stop := TuneHeap(&Config{HeapHeadroomMiB: c.headroom}, slog.New(slog.DiscardHandler))
		stop()
		if got := debug.SetGCPercent(100); got != c.want {
			t.Errorf("GOGC=%q and a headroom of %d MiB: %d %%, want %d", c.gogc, c.headroom, got, c.want)
		}
		if got := debug.SetMemoryLimit(-1); got != limit {
			t.Errorf("with GOMEMLIMIT set the limit became %d", got)
		}
	}
}

// What is to be done after each collection is done after each, until it returns false.
func TestAfterCollections(t *testing.T) {
	done := make(chan int)
	n := 0
	afterCollections(func() bool {
		n++
		done <- n
		return n < 3
	})
	for want := 1; want <= 3; want++ {
		for got := 0; got == 0; {
			runtime.GC()
			select {
			case got = <-done:
				if got != want {
					t.Fatalf("call %d is number %d", want, got)
				}
			default:
				runtime.Gosched()
			}
		}
	}
	if liveHeap() <= 0 || liveHeap() > math.MaxInt64/2 {
		t.Errorf("%d bytes are alive", liveHeap())
	}
}
