// Package sqlite implements the engine for one SQLite file, of which this process is the
// only writer: opening and locking the file, the schema, transactions, the log (WAL) and
// the meaning of SQLite's errors.
//
// The package guarantees that a commit is on disk when it returns (with Options.Synchronous
// "full"), that a failed sync is reported as fatal, and that the log stays short even while
// others read all the time. It does not depend on events and runs no operations.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

var background = context.Background()

// DB is an open file.
type DB struct {
	// RestartFrom is the length of the log, in bytes, from which it is restarted from its
	// beginning. Only tests change it.
	RestartFrom int64
	// Full reports whether the disk was full and the reserve has been given up. The log is
	// then left to MakeRoom, because the pages that a checkpoint adds to the database would
	// use up the space of the reserve. Full must be set before the first write. It may be
	// nil.
	Full func() bool

	conn        *Conn
	read        *sqltext.Reader
	pool        *sql.DB
	lock        *os.File
	epoch       int64
	checkpoints checkpoints
	scrubbing   atomic.Bool
}

// Conn returns the connection that writes.
func (db *DB) Conn() *Conn { return db.conn }

// Reader returns the pool of connections that read.
func (db *DB) Reader() *sqltext.Reader { return db.read }

// Epoch returns the number of this opening of the file.
func (db *DB) Epoch() int64 { return db.epoch }

// Connections returns 1, because a file has one writer.
func (db *DB) Connections() int { return 1 }

// Begin opens a transaction.
func (db *DB) Begin() (sqltext.Conn, error) {
	db.checkpoints.writing <- struct{}{}
	err := db.conn.begin()
	if err != nil {
		<-db.checkpoints.writing
	}
	return db.conn, err
}

// Commit commits the transaction and keeps the log short. The outcome is final when it
// returns, so sent is always false.
func (db *DB) Commit(_ sqltext.Conn, with sqltext.Ending, _ func(func() error)) (sent bool, err error) {
	if _, err := db.conn.Exec("COMMIT"); err != nil {
		return false, err
	}
	<-db.checkpoints.writing
	db.checkpoints.committed(with.Bytes)
	return false, nil
}

// Rollback rolls the transaction back unless SQLite has already done so.
func (db *DB) Rollback(sqltext.Conn) {
	db.conn.rollback()
	<-db.checkpoints.writing
}

// Mend does nothing, because nobody else writes.
func (db *DB) Mend(error, batch.Pause) bool { return false }

// Find is never called, because there is no connection to lose.
func (db *DB) Find(_ sqltext.Conn, lost error, _ batch.Pause) (bool, error) { return false, lost }

// MakeRoom moves as much of the log into the database as fits, so that the log can restart
// from its beginning. It reports whether all of it fitted.
func (db *DB) MakeRoom() bool { return db.checkpoints.move() }

// shrinkPages is how many pages one step of Shrink frees.
const shrinkPages = 128

// Shrink gives free pages at the end of the file back to the file system, after moving used
// ones into free ones before them. The file gets shorter when the log is moved.
func (db *DB) Shrink(c sqltext.Conn) (out hook.Reclaimed, err error) {
	size := db.checkpoints.pageSize
	number := func(pragma string) (n int64, err error) {
		_, err = sqltext.ReadRow(background, c, "PRAGMA "+pragma, nil, &n)
		return n, err
	}
	mode, err := number("auto_vacuum")
	if err != nil {
		return out, err
	}
	before, err := number("page_count")
	if err != nil {
		return out, err
	}
	if mode == incremental && !db.scrubbing.Load() {
		_, err = sqltext.Collect(background, c, func(sqltext.Scanner) (none struct{}, err error) { return none, nil }, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", shrinkPages))
		if err != nil {
			return out, err
		}
	}
	after, err := number("page_count")
	if err != nil {
		return out, err
	}
	left, err := number("freelist_count")
	out = hook.Reclaimed{Freed: (before - after) * size, Left: left * size, Size: after * size}
	if mode != incremental {
		out.Left = 0
		out.Kept = "The file was made by an earlier release and cannot shrink in place. New rows use its free space. To shrink it, back it up and restore the backup."
	}
	return out, err
}

// LogLength returns the size of the log's file in bytes.
func (db *DB) LogLength() int64 { return db.checkpoints.length() }

// Close releases everything that Open acquired. The lock is released last.
func (db *DB) Close() error {
	var errs []error
	if db.read != nil && db.read.DB != nil {
		errs = append(errs, db.read.DB.Close())
	}
	errs = append(errs, db.checkpoints.close())
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

// ioerrShmSize means that the index of the log could not grow, which a full disk causes.
const ioerrShmSize = codes.SQLITE_IOERR | 19<<8

// Class classifies an error for the batch.
func (db *DB) Class(err error) batch.Class { return Class(err) }

// Class classifies an error of SQLite for the batch.
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
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED,
		codes.SQLITE_NOMEM, codes.SQLITE_INTERRUPT: // may have rolled back the transaction
		return batch.Unavailable
	case codes.SQLITE_IOERR, codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB, codes.SQLITE_CANTOPEN,
		codes.SQLITE_READONLY, codes.SQLITE_PROTOCOL:
		return batch.Fatal
	}
	return batch.OwnFault
}

// IsUnique reports whether err is a violated constraint, such as a key that exists already.
func (db *DB) IsUnique(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == codes.SQLITE_CONSTRAINT
}

// Opening adds act to an error of opening, and ErrCorrupt if the file is damaged or not a
// database.
func Opening(act string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
			return fmt.Errorf("%s: %w: %w", act, sqltext.ErrCorrupt, err)
		}
	}
	return fmt.Errorf("%s: %w", act, err)
}
