//go:build !race

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqlite"
)

// logLimit is how long SQLite's log may get while it is being read: 64 MiB, plus a margin
// for a busy machine. The race detector changes the rates too much.
const logLimit = 96 << 20

// The log restarts from its beginning even while someone reads all the time, or for a
// second now and then. The control moves pages into the database but never restarts the
// log. It then grows, which shows that the load needs the restart.
func TestLogStaysShortBesideReaders(t *testing.T) {
	t.Run("control", func(t *testing.T) {
		s := openSmall(t, nil)
		s.core.Engine.(*sqlite.DB).RestartFrom = math.MaxInt64
		if longest := publishBeside(t, s, 200_000, math.MaxInt, readInLoops); longest <= logLimit {
			t.Errorf("the log has %d MiB at most without restarts: the load proves nothing", longest>>20)
		}
	})
	t.Run("lists in a loop", func(t *testing.T) {
		if longest := publishBeside(t, openSmall(t, nil), 30_000, math.MaxInt, readInLoops); longest > logLimit {
			t.Errorf("the log has %d MiB", longest>>20)
		}
	})
	t.Run("a second now and then", func(t *testing.T) {
		// The rate is bounded, because the log holds everything written in that second.
		if longest := publishBeside(t, openSmall(t, nil), 8_000, 2000, readForASecond); longest > logLimit {
			t.Errorf("the log has %d MiB", longest>>20)
		}
	})
}

// publishBeside publishes events of a kilobyte while a reader reads. It publishes at most
// the given number of events, at the given rate per second, and returns the greatest
// length of the log file. It stops when the log exceeds its limit.
func publishBeside(t *testing.T, s *Store, events, rate int, read func(context.Context, *testing.T, *Store)) (longest int64) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	readers.Go(func() { read(ctx, t, s) })
	began := time.Now()
	var taken atomic.Int64
	for i := range 32 {
		writers.Go(func() {
			e := hook.NewEvent{Scope: readScope(i), CreateTenant: true, Type: "a", Data: make([]byte, 1000)}
			for n := taken.Add(1); n <= int64(events) && ctx.Err() == nil; n = taken.Add(1) {
				if ahead := time.Duration(float64(n)/float64(rate)*float64(time.Second)) - time.Since(began); ahead > 0 {
					<-time.After(ahead)
				}
				if _, _, err := s.Publish(context.WithoutCancel(ctx), []hook.NewEvent{e}, nil, nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		writers.Wait()
		close(done)
	}()
	for looks := time.NewTicker(10 * time.Millisecond); longest <= logLimit; {
		if info, err := os.Stat(s.opts.Path + "-wal"); err == nil {
			longest = max(longest, info.Size())
		}
		select {
		case <-looks.C:
			continue
		case <-done:
		}
		break
	}
	stop()
	<-done
	readers.Wait()
	t.Logf("%d events in %v, the log had %d MiB at most", min(taken.Load(), int64(events)), time.Since(began).Round(time.Millisecond), longest>>20)
	return longest
}

// readScope returns one of four scopes. There are as many as connections that read,
// because a tenant runs one search at a time.
func readScope(i int) hook.Scope {
	return hook.Scope{Tenant: fmt.Sprintf("tenant%d", i%4), Mode: hook.Live}
}

// readInLoops pages through lists with a filter that matches nothing, on all connections
// that read.
func readInLoops(ctx context.Context, t *testing.T, s *Store) {
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			page := hook.Page{}
			for ctx.Err() == nil {
				_, next, err := s.Events(ctx, hook.EventQuery{Scope: readScope(i), Type: "none", Page: page})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				page.Cursor = next
			}
		})
	}
	all.Wait()
}

// readForASecond reads as another process would, in transactions of a second with pauses
// of half a second.
func readForASecond(ctx context.Context, t *testing.T, s *Store) {
	db, err := sql.Open("sqlite", "file:"+s.opts.Path+"?mode=ro")
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = db.Close() }()
	for ctx.Err() == nil {
		view, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
		if err != nil {
			t.Error(err)
			return
		}
		var n int
		if err := view.QueryRow("SELECT count(*) FROM meta").Scan(&n); err != nil {
			t.Error(err)
		}
		for _, wait := range []time.Duration{time.Second, time.Second / 2} {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			_ = view.Rollback() // the second time there is nothing to end
		}
	}
}

// Operations that hold the writer for long and the writes queued behind them are counted,
// and so is the log.
func TestStatsShowWhatHoldsTheWriter(t *testing.T) {
	p := openPeer(t, Options{Dir: t.TempDir(), Reserve: -1})
	p.endpoint()
	if s := p.Stats(); s.Long["held"] != 0 || s.Queued != 0 || s.LogLength == 0 { // control
		t.Fatalf("before: %+v", s)
	}
	held, behind := make(chan error, 1), make(chan error, 1)
	began := make(chan struct{})
	queued := 0
	go func() {
		held <- p.do(t.Context(), "held", batch.MaxRows, func(*tx) error {
			close(began)
			for queued == 0 {
				queued = p.Stats().Queued
			}
			<-time.After(batch.Hold)
			return nil
		})
	}()
	<-began
	go func() { behind <- p.do(t.Context(), "behind", 1, func(*tx) error { return nil }) }()
	if err := errors.Join(<-held, <-behind); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); queued != 1 || s.Long["held"] != 1 || s.Queued != 0 {
		t.Errorf("%d waited; after: %+v", queued, s)
	}
}
