package batch

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// logEvery is the least time between two log lines about one operation name.
const logEvery = 10 * time.Second

// longOps counts operations that held the writer for longer than Hold.
type longOps struct {
	mu     sync.Mutex
	counts map[string]int64
	logged map[string]time.Time
}

// note counts an operation if it took long. Names are constants, so the maps stay small.
func (l *longOps) note(log *slog.Logger, name string, took time.Duration, rows int) {
	if took < Hold {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts, l.logged = map[string]int64{}, map[string]time.Time{}
	}
	l.counts[name]++
	if now := time.Now(); now.Sub(l.logged[name]) >= logEvery {
		l.logged[name] = now
		log.Warn("an operation held the writer for long: everybody else waited", "operation", name,
			"took", took.Round(time.Millisecond).String(), "rows", rows, "times", l.counts[name])
	}
}

// Long returns how many operations of each name held the writer for at least Hold. The
// name "batch" counts whole transactions that took that long from begin to commit.
func (w *Writer[T]) Long() map[string]int64 {
	w.long.mu.Lock()
	defer w.long.mu.Unlock()
	return maps.Clone(w.long.counts)
}
