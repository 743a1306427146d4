package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	checkpointPages = 4000
	// How often the length of the log is looked at.
	checkpointCommits = 64
	checkpointBytes   = 8 << 20
)

// lite is the engine over SQLite: one connection of the one process that has the
// file open.
type lite struct {
	*conn
	store *Store
	db    *sql.DB
	lock  *os.File
	// unchecked is what was written since the log was looked at.
	unchecked struct{ commits, bytes int }
}

func (l *lite) begin() error {
	_, err := l.conn.exec("BEGIN IMMEDIATE")
	return err
}

func (l *lite) commit(*tx) error {
	_, err := l.conn.exec("COMMIT")
	return err
}

// rollback ends the transaction if SQLite has not done so by itself; what it says
// about that is of no use to anybody.
func (l *lite) rollback() { _, _ = l.conn.exec("ROLLBACK") }

func (l *lite) insert(into *table, args ...any) error {
	_, err := l.conn.exec(into.sqlite, args...)
	return err
}

func (l *lite) move(before, after *hook.Delivery) (bool, error) {
	n, err := l.conn.exec(settleFast, int64(after.State), string(after.Reason), int64(after.Attempts), int64(after.Scheduled),
		micros(after.Due), int64(after.LastStatus), string(after.LastError), micros(after.SettledAt), after.Owner,
		before.Event[:], before.Endpoint[:], before.Fence, int64(before.Attempts), before.Owner)
	return n == 1, err
}

func (l *lite) trouble(err error) trouble { return liteTrouble(err) }

func (l *lite) lost(err error) error { return err }

// QueryContext reads inside the transaction.
func (l *lite) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return l.conn.sql.QueryContext(ctx, l.dialect.text(query), args...)
}

// wrote notes a commit and looks at the length of the log now and then.
func (l *lite) wrote(bytes int) {
	l.unchecked.commits++
	l.unchecked.bytes += bytes
	if l.unchecked.commits >= checkpointCommits || l.unchecked.bytes >= checkpointBytes {
		l.unchecked.commits, l.unchecked.bytes = 0, 0
		l.checkpoint()
	}
}

// makeRoom empties the log into the database as far as that fits, so that the log
// can be written from its start again, and reports whether all of it fitted.
func (l *lite) makeRoom() bool {
	var busy, pages, moved int64
	err := l.conn.sql.QueryRowContext(background, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &pages, &moved)
	if liteTrouble(err) == fatal {
		l.store.fail(fmt.Errorf("checkpoint: %w", err))
	}
	return err == nil && pages == moved
}

// checkpoint moves the log into the database once it is long. SQLite's own
// checkpoints would hide a failed sync, so they are off.
func (l *lite) checkpoint() {
	var busy, pages, moved int64
	err := l.conn.sql.QueryRowContext(background, "PRAGMA wal_checkpoint(NOOP)").Scan(&busy, &pages, &moved)
	if err != nil {
		l.store.log.Error("the length of the database's log is not known", "error", err)
	}
	if err != nil || pages-moved >= checkpointPages {
		l.makeRoom()
	}
}

// close releases whatever open got to. The lock goes last.
func (l *lite) close() error {
	var errs []error
	if l.conn != nil {
		errs = append(errs, l.conn.close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}
