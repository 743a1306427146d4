package server

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// How many lines about refused requests are logged: a burst, then one per interval. Bad
// requests must not fill the disk.
const (
	refusalsAtOnce = 50
	refusalsEvery  = 200 * time.Millisecond
)

// refusals is the log handler of the APIs. It limits the lines at level info, which are
// about refused requests, and reports in the next line how many it left out.
type refusals struct {
	slog.Handler
	bucket *bucket
}

// bucket counts lines. It is safe for concurrent use.
type bucket struct {
	mu      sync.Mutex
	full    time.Time // when the bucket is full again
	leftOut int
}

func boundedLog(log *slog.Logger) *slog.Logger {
	return slog.New(&refusals{Handler: log.Handler(), bucket: &bucket{}})
}

// Handle writes the line, or counts it as left out.
func (l *refusals) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelInfo {
		leftOut, ok := l.bucket.take(time.Now())
		if !ok {
			return nil
		}
		if leftOut > 0 {
			r.AddAttrs(slog.Int("left_out", leftOut))
		}
	}
	return l.Handler.Handle(ctx, r)
}

// take reports whether a line may be written, and how many were left out before it.
func (b *bucket) take(now time.Time) (leftOut int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full.Before(now) {
		b.full = now
	}
	next := b.full.Add(refusalsEvery)
	if next.Sub(now) > refusalsAtOnce*refusalsEvery {
		b.leftOut++
		return 0, false
	}
	leftOut, b.leftOut = b.leftOut, 0
	b.full = next
	return leftOut, true
}

// WithAttrs returns a log with attributes that shares the bound.
func (l *refusals) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &refusals{Handler: l.Handler.WithAttrs(attrs), bucket: l.bucket}
}

// WithGroup returns a log with a group that shares the bound.
func (l *refusals) WithGroup(name string) slog.Handler {
	return &refusals{Handler: l.Handler.WithGroup(name), bucket: l.bucket}
}
