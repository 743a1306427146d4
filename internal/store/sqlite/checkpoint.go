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
	// The log is checked after this many commits or bytes written.
	lookCommits = 64
	lookBytes   = 4 << 20
	// moveFrom is how much of the log, in bytes, may wait to be moved into the database
	// before a checkpoint starts.
	moveFrom = 8 << 20
	// restartFrom is the length of the log, in bytes, from which it is restarted from its
	// beginning.
	restartFrom = 16 << 20
	// readersWait bounds how long our own readers pause for a restart. restartWait is how
	// long the writer then waits for readers of other processes. A failed restart is
	// followed by a pause, which grows from restartPause to restartPauses.
	readersWait   = 400 * time.Millisecond
	restartWait   = 50 * time.Millisecond
	restartPause  = 100 * time.Millisecond
	restartPauses = time.Second
	// journalLimit is the size, in bytes, to which the log's file is truncated when the log
	// restarts.
	journalLimit = 32 << 20
)

// checkpoints keep the log (WAL) short, in a goroutine and on a connection of their own.
// SQLite's automatic checkpoints would hide a failed sync, so they are off.
//
// Keeping the log short takes two steps. First, its pages move into the database; a PASSIVE
// checkpoint does that beside the writer and the readers. Second, the log restarts from its
// beginning. That requires a moment in which all pages have moved and nobody reads the log.
// SQLite only uses such a moment if it occurs by chance, and beside a busy writer or reader
// it never does. A RESTART checkpoint creates one. Our own readers pause first, so that the
// writer need not wait for them.
type checkpoints struct {
	db    *DB
	log   *slog.Logger
	fatal func(error)
	path  string
	pool  *sql.DB

	writing chan struct{} // contains a value while a transaction is open
	working sync.Mutex    // held during a checkpoint
	crowded atomic.Bool   // the disk was full at the last write
	due     chan struct{}
	ended   sync.WaitGroup
	stop    context.CancelFunc

	// Used only by the writer.
	commits, bytes int

	// Used only by the goroutine.
	pageSize int64
	// After a failed restart: the length of the log in pages, when the next restart may be
	// tried, and the pause until then.
	blockedAt    int64
	restartAt    time.Time
	restartAfter time.Duration
}

// open opens the connection, with the writer's sync mode, and starts the goroutine.
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

// close stops the goroutine and closes the connection. The writer must have ended.
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

// length returns the size of the log's file in bytes.
func (p *checkpoints) length() int64 {
	info, err := os.Stat(p.path + "-wal")
	if err != nil {
		return 0 // nothing was written yet
	}
	return info.Size()
}

// committed counts a commit and regularly causes a check of the log. Only the writer calls
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
	default: // a check is already due
	}
}

// look checks the log. It moves waiting pages into the database and restarts the log if it
// is long.
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
		return // fatal, or a full disk, which the writer detects itself
	}
	if !long {
		p.blockedAt, p.restartAfter = 0, 0
		return
	}
	// Pages move only as far as the oldest reader of the log has read. While they do not
	// move beyond blockedAt, whoever blocked the last restart still does.
	if r.moved > p.blockedAt && !time.Now().Before(p.restartAt) {
		p.restart(ctx)
	}
}

// move moves as much of the log into the database as it can and reports whether that was
// all of it. It waits only for a checkpoint in progress. Afterwards the goroutine starts no
// checkpoint until something is written.
func (p *checkpoints) move() bool {
	p.crowded.Store(true)
	p.working.Lock()
	defer p.working.Unlock()
	r, err := p.run("PASSIVE")
	return err == nil && r.pages == r.moved
}

// errFull means that a checkpoint was skipped because it would use up the reserve.
var errFull = errors.New("the disk is full")

// truncate moves the whole log into the database and cuts its file to nothing. It reports
// whether it did; a reader of another process may be in the way.
func (p *checkpoints) truncate(ctx context.Context) bool {
	if _, err := p.checkpoint("PASSIVE"); err != nil { // most of it, while others write
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, readersWait)
	defer cancel()
	defer p.pauseReaders(ctx)()
	select {
	case p.writing <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-p.writing }()
	r, err := p.checkpoint("TRUNCATE")
	return err == nil && r.busy == 0
}

// restart restarts the log from its beginning. A reader that takes longer only delays that.
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

// restarted runs the checkpoint between two transactions. If it was blocked, it returns the
// length of the log in pages.
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

// pauseReaders takes the connections of our readers, as far as they become free in time. It
// returns a function that gives them back.
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
			_ = c.Close() // returns it to the pool
		}
	}
}

// checkpointed is the result of a checkpoint: whether it was blocked, the number of pages
// in the log, and how many of them are in the database.
type checkpointed struct{ busy, pages, moved int64 }

// checkpoint runs a checkpoint for the goroutine, unless the disk is full.
func (p *checkpoints) checkpoint(mode string) (checkpointed, error) {
	p.working.Lock()
	defer p.working.Unlock()
	if p.crowded.Load() || p.db.Full != nil && p.db.Full() {
		return checkpointed{busy: 1}, errFull
	}
	return p.run(mode)
}

// run runs a checkpoint. The caller holds working. A failed sync is fatal, because the
// content of the database is then unknown.
func (p *checkpoints) run(mode string) (r checkpointed, err error) {
	err = p.pool.QueryRowContext(background, "PRAGMA wal_checkpoint("+mode+")").Scan(&r.busy, &r.pages, &r.moved)
	if Class(err) == batch.Fatal {
		p.fatal(fmt.Errorf("checkpoint: %w", err))
	}
	return r, err
}
