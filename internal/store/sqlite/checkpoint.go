package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/store/batch"
)

const (
	// The log is looked at after so many commits, or bytes written.
	lookCommits = 64
	lookBytes   = 4 << 20
	// moveFrom is how much of the log waits to be moved into the database before a
	// checkpoint begins.
	moveFrom = 8 << 20
	// restartFrom is how long the log may grow before it is written from its start again.
	restartFrom = 16 << 20
	// readersWait bounds how long our own readers pause for a restart, and restartWait how
	// long the writer then waits for readers of other processes. A restart in vain is
	// followed by a pause, from restartPause to restartPauses.
	readersWait   = 400 * time.Millisecond
	restartWait   = 50 * time.Millisecond
	restartPause  = 100 * time.Millisecond
	restartPauses = time.Second
	// journalLimit is how long the log's file stays after it was long.
	journalLimit = 32 << 20
)

// checkpoints keep the log (WAL) short, in a goroutine and on a connection of their own.
// SQLite's own checkpoints would hide a failed sync, so they are off.
//
// Two things happen to the log. Its pages move into the database: a PASSIVE checkpoint
// does that beside the writer and the readers. And it is written from its start again,
// which needs a moment in which everything has moved and nobody reads the log. SQLite
// only takes such a moment if it comes by itself, and beside a busy writer or reader it
// never does. So a RESTART checkpoint makes one: the readers of our own pause first, so
// that the writer need not wait for them.
type checkpoints struct {
	db    *DB
	log   *slog.Logger
	fatal func(error)
	path  string
	pool  *sql.DB

	writing chan struct{} // holds one while a transaction is open
	working sync.Mutex    // held during a checkpoint
	crowded atomic.Bool   // the disk was full at the last write
	due     chan struct{}
	ended   sync.WaitGroup
	stop    context.CancelFunc

	// The writer's own.
	commits, bytes int

	// The goroutine's own.
	pageSize int64
	// After a restart in vain: how long the log was, in pages, when the next one may be
	// tried, and the pause until then.
	blockedAt    int64
	restartAt    time.Time
	restartAfter time.Duration
}

// open opens the connection. It syncs as the writer does.
func (p *checkpoints) open(ctx context.Context, db *DB, o *Options) (err error) {
	p.db, p.log, p.fatal, p.path = db, o.Log, o.Fatal, o.Path
	if p.pool, err = openPool(o.Path, "rw", restartWait, "synchronous("+syncModes[o.Synchronous]+")", "wal_autocheckpoint(0)"); err != nil {
		return err
	}
	p.pool.SetMaxOpenConns(1)
	if err := p.pool.QueryRowContext(ctx, "PRAGMA page_size").Scan(&p.pageSize); err != nil {
		return err
	}
	life, stop := context.WithCancel(background)
	p.stop, p.due, p.writing = stop, make(chan struct{}, 1), make(chan struct{}, 1)
	p.ended.Go(func() {
		for {
			select {
			case <-life.Done():
				return
			case <-p.due:
				p.look(life)
			}
		}
	})
	return nil
}

// close ends the goroutine. The writer must have ended.
func (p *checkpoints) close() error {
	if p.stop != nil {
		p.stop()
	}
	p.ended.Wait()
	if p.pool == nil {
		return nil
	}
	return p.pool.Close()
}

// length returns how long the log's file is.
func (p *checkpoints) length() int64 {
	info, err := os.Stat(p.path + "-wal")
	if err != nil {
		return 0 // nothing was written yet
	}
	return info.Size()
}

// committed counts a commit and has the log looked at now and then. Only the writer calls
// it.
func (p *checkpoints) committed(bytes int) {
	p.crowded.Store(false)
	p.commits++
	p.bytes += bytes
	if p.commits < lookCommits && p.bytes < lookBytes {
		return
	}
	p.commits, p.bytes = 0, 0
	select {
	case p.due <- struct{}{}:
	default: // it has been asked for
	}
}

// look moves what waits in the log, and restarts it once it is long.
func (p *checkpoints) look(ctx context.Context) {
	r, err := p.checkpoint("NOOP")
	if errors.Is(err, errFull) {
		return
	}
	if err != nil {
		p.log.Error("the length of the database's log is not known", "error", err)
		return
	}
	long := r.pages*p.pageSize >= p.db.RestartFrom
	if !long && (r.pages-r.moved)*p.pageSize < moveFrom {
		return
	}
	r, err = p.checkpoint("PASSIVE")
	if err != nil {
		return // fatal, or a full disk, of which the writer finds out by itself
	}
	if !long {
		p.blockedAt, p.restartAfter = 0, 0
		return
	}
	// Pages move no further than the oldest reader of the log has come. While they do not
	// move beyond blockedAt, who was in the way of the last restart still is.
	if r.moved > p.blockedAt && !time.Now().Before(p.restartAt) {
		p.restart(ctx)
	}
}

// move moves what it can of the log into the database, waits for nobody but a checkpoint
// under way, and reports whether that was all. The goroutine begins none after it, until
// something was written.
func (p *checkpoints) move() bool {
	p.crowded.Store(true)
	p.working.Lock()
	defer p.working.Unlock()
	r, err := p.run("PASSIVE")
	return err == nil && r.pages == r.moved
}

// errFull says that a checkpoint was left out because it would take the reserve.
var errFull = errors.New("the disk is full")

// restart has the log written from its start again. Somebody who reads on for longer only
// delays that.
func (p *checkpoints) restart(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readersWait)
	defer cancel()
	defer p.pauseReaders(ctx)()
	if blockedAt, blocked := p.restarted(ctx); blocked {
		p.blockedAt = blockedAt
		p.restartAfter = min(max(2*p.restartAfter, restartPause), restartPauses)
		p.restartAt = time.Now().Add(p.restartAfter)
		return
	}
	p.blockedAt, p.restartAfter = 0, 0
}

// restarted makes the checkpoint between two transactions. If somebody was in the way, it
// says how long the log was.
func (p *checkpoints) restarted(ctx context.Context) (pages int64, blocked bool) {
	select {
	case p.writing <- struct{}{}:
	case <-ctx.Done():
		return 0, true
	}
	defer func() { <-p.writing }()
	r, err := p.checkpoint("RESTART")
	return r.pages, err != nil || r.busy != 0
}

// pauseReaders takes the connections of our readers, as far as they are given back in
// time, and returns how they can go on.
func (p *checkpoints) pauseReaders(ctx context.Context) (goOn func()) {
	ctx, cancel := context.WithTimeout(ctx, readersWait/2)
	defer cancel()
	var mu sync.Mutex
	var held []*sql.Conn
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			if c, err := p.db.read.DB.Conn(ctx); err == nil {
				mu.Lock()
				defer mu.Unlock()
				held = append(held, c)
			}
		})
	}
	all.Wait()
	return func() {
		for _, c := range held {
			_ = c.Close() // gives it back
		}
	}
}

// checkpointed is what SQLite says of a checkpoint: whether somebody was in the way, the
// pages in the log, and how many of them are in the database.
type checkpointed struct{ busy, pages, moved int64 }

// checkpoint makes one for the goroutine, unless the disk is full.
func (p *checkpoints) checkpoint(mode string) (checkpointed, error) {
	p.working.Lock()
	defer p.working.Unlock()
	if p.crowded.Load() || p.db.Full != nil && p.db.Full() {
		return checkpointed{busy: 1}, errFull
	}
	return p.run(mode)
}

// run makes a checkpoint. The caller holds working. After a failed sync nobody knows what
// the database holds.
func (p *checkpoints) run(mode string) (r checkpointed, err error) {
	err = p.pool.QueryRowContext(background, "PRAGMA wal_checkpoint("+mode+")").Scan(&r.busy, &r.pages, &r.moved)
	if Class(err) == batch.Fatal {
		p.fatal(fmt.Errorf("checkpoint: %w", err))
	}
	return r, err
}
