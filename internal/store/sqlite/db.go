// Package sqlite keeps the store in one SQLite file, of which this process is the only
// writer: opening and locking it, the schema, transactions, the log (WAL) and what an
// error of SQLite means.
//
// It promises that a commit is on disk when it returns (with Options.Synchronous
// "full"), that a failed sync is reported as fatal, and that the log stays short, also
// beside somebody who reads all the time. It knows no event and runs no operation.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const (
	checkpointPages = 4000
	// How often the length of the log is looked at.
	checkpointCommits = 64
	checkpointBytes   = 8 << 20
	// From restartPages on the log waits for its readers, restartWait at a time: while one
	// of them reads what the log has, it cannot be written from its start again. A wait in
	// vain is followed by a pause, which grows from restartPause to restartPauses.
	restartPages  = 5000
	restartWait   = 50 * time.Millisecond
	restartPause  = 100 * time.Millisecond
	restartPauses = 5 * time.Second
	// journalLimit is how long the log's file stays after it was long.
	journalLimit = 32 << 20
)

var background = context.Background()

// DB is an open file.
type DB struct {
	conn  *Conn
	read  *sqltext.Reader
	log   *slog.Logger
	fatal func(error)
	pool  *sql.DB
	lock  *os.File
	epoch int64
	// unchecked is what was written since the log was looked at.
	unchecked struct{ commits, bytes int }
	// When the log may wait for readers again, and the pause that led there.
	restartAt    time.Time
	restartAfter time.Duration
}

// Conn returns the connection that writes.
func (db *DB) Conn() *Conn { return db.conn }

// Reader returns the connections that read.
func (db *DB) Reader() *sqltext.Reader { return db.read }

// Epoch returns the number of this opening.
func (db *DB) Epoch() int64 { return db.epoch }

// Connections is 1: there is one writer of a file.
func (db *DB) Connections() int { return 1 }

// Begin opens a transaction.
func (db *DB) Begin() (sqltext.Conn, error) { return db.conn, db.conn.begin() }

// Commit makes the transaction last and keeps the log short. It has been committed, or
// not, when it returns.
func (db *DB) Commit(_ sqltext.Conn, with sqltext.Ending, _ func(func() error)) (sent bool, err error) {
	if _, err := db.conn.Exec("COMMIT"); err != nil {
		return false, err
	}
	db.unchecked.commits++
	db.unchecked.bytes += with.Bytes
	if db.unchecked.commits >= checkpointCommits || db.unchecked.bytes >= checkpointBytes {
		db.unchecked.commits, db.unchecked.bytes = 0, 0
		db.checkpoint()
	}
	return false, nil
}

// Rollback ends the transaction if SQLite has not done so by itself; what it says about
// that is of no use to anybody.
func (db *DB) Rollback(sqltext.Conn) { _, _ = db.conn.Exec("ROLLBACK") }

// Mend does nothing: nobody else writes.
func (db *DB) Mend(error, batch.Pause) bool { return false }

// Find is never asked: there is no connection to lose.
func (db *DB) Find(_ sqltext.Conn, lost error, _ batch.Pause) (bool, error) { return false, lost }

// MakeRoom empties the log into the database as far as that fits, so that the log can
// be written from its start again, and reports whether all of it fitted.
func (db *DB) MakeRoom() bool {
	pages, moved, err := db.passive()
	return err == nil && pages == moved
}

// passive moves what it can of the log into the database and waits for nobody.
func (db *DB) passive() (pages, moved int64, err error) {
	_, pages, moved, err = db.checkpointAs("PASSIVE")
	if Class(err) == batch.Fatal {
		db.fatal(fmt.Errorf("checkpoint: %w", err))
	}
	return pages, moved, err
}

func (db *DB) checkpointAs(mode string) (busy, pages, moved int64, err error) {
	err = db.conn.sql.QueryRowContext(background, "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &pages, &moved)
	return busy, pages, moved, err
}

// checkpoint moves the log into the database once it is long. SQLite's own
// checkpoints would hide a failed sync, so they are off.
func (db *DB) checkpoint() {
	_, pages, moved, err := db.checkpointAs("NOOP")
	if err != nil {
		db.log.Error("the length of the database's log is not known", "error", err)
	}
	if err == nil && pages-moved < checkpointPages && pages < restartPages {
		return
	}
	if pages, _, err = db.passive(); err == nil && pages >= restartPages {
		db.restart()
	}
}

// restart waits a little for readers of the log, so that it is written from its start
// again. A reader that goes on for longer only delays that.
func (db *DB) restart() {
	if time.Now().Before(db.restartAt) {
		return
	}
	if err := db.busyTimeout(restartWait); err != nil {
		db.log.Error("set the time to wait for readers", "error", err)
		return
	}
	busy, _, _, err := db.checkpointAs("RESTART")
	if Class(err) == batch.Fatal {
		db.fatal(fmt.Errorf("checkpoint: %w", err))
	}
	if err := db.busyTimeout(busyTimeout); err != nil {
		db.log.Error("set the time to wait for other processes", "error", err)
	}
	if busy == 0 && err == nil {
		db.restartAfter, db.restartAt = 0, time.Time{}
		return
	}
	db.restartAfter = min(max(2*db.restartAfter, restartPause), restartPauses)
	db.restartAt = time.Now().Add(db.restartAfter)
}

func (db *DB) busyTimeout(d time.Duration) error {
	var ms int64
	return db.conn.sql.QueryRowContext(background, fmt.Sprintf("PRAGMA busy_timeout(%d)", d.Milliseconds())).Scan(&ms)
}

// Close releases whatever Open got to. The lock goes last.
func (db *DB) Close() error {
	var errs []error
	if db.read != nil && db.read.DB != nil {
		errs = append(errs, db.read.DB.Close())
	}
	if db.conn != nil {
		errs = append(errs, db.conn.close())
	}
	if db.pool != nil {
		errs = append(errs, db.pool.Close())
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	return errors.Join(errs...)
}

// ioerrShmSize is how SQLite reports that the index of its log could not grow,
// which a full disk causes.
const ioerrShmSize = codes.SQLITE_IOERR | 19<<8

// Class says what an error means for a batch.
func (db *DB) Class(err error) batch.Class { return Class(err) }

// Class says what an error of SQLite means for a batch.
func Class(err error) batch.Class {
	if err == nil {
		return batch.NoError
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return batch.OwnFault
	}
	if e.Code() == ioerrShmSize {
		return batch.Full
	}
	switch e.Code() & 0xff {
	case codes.SQLITE_FULL:
		return batch.Full
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return batch.Unavailable
	case codes.SQLITE_IOERR, codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB, codes.SQLITE_CANTOPEN,
		codes.SQLITE_READONLY, codes.SQLITE_PROTOCOL:
		return batch.Fatal
	}
	return batch.OwnFault
}

// IsUnique reports whether an error says that a row with that key is there.
func (db *DB) IsUnique(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == codes.SQLITE_CONSTRAINT
}

// Opening wraps an error of opening with ErrCorrupt where that is what it means.
func Opening(act string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
			return fmt.Errorf("%s: %w: %w", act, sqltext.ErrCorrupt, err)
		}
	}
	return fmt.Errorf("%s: %w", act, err)
}
