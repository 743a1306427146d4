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
	"os"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

var background = context.Background()

// DB is an open file.
type DB struct {
	// RestartFrom is the length in bytes from which on the log is written from its start
	// again. Only tests set another one.
	RestartFrom int64
	// Full reports that the disk was full and the reserve was given up: the log is left to
	// MakeRoom then, because what a checkpoint adds to the database would take the reserve.
	// It is set before the first write, and may be nil.
	Full func() bool

	conn        *Conn
	read        *sqltext.Reader
	pool        *sql.DB
	lock        *os.File
	epoch       int64
	checkpoints checkpoints
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
func (db *DB) Begin() (sqltext.Conn, error) {
	db.checkpoints.writing <- struct{}{}
	err := db.conn.begin()
	if err != nil {
		<-db.checkpoints.writing
	}
	return db.conn, err
}

// Commit makes the transaction last and keeps the log short. It has been committed, or
// not, when it returns.
func (db *DB) Commit(_ sqltext.Conn, with sqltext.Ending, _ func(func() error)) (sent bool, err error) {
	if _, err := db.conn.Exec("COMMIT"); err != nil {
		return false, err
	}
	<-db.checkpoints.writing
	db.checkpoints.committed(with.Bytes)
	return false, nil
}

// Rollback ends the transaction if SQLite has not done so by itself; what it says about
// that is of no use to anybody.
func (db *DB) Rollback(sqltext.Conn) {
	_, _ = db.conn.Exec("ROLLBACK")
	<-db.checkpoints.writing
}

// Mend does nothing: nobody else writes.
func (db *DB) Mend(error, batch.Pause) bool { return false }

// Find is never asked: there is no connection to lose.
func (db *DB) Find(_ sqltext.Conn, lost error, _ batch.Pause) (bool, error) { return false, lost }

// MakeRoom empties the log into the database as far as that fits, so that the log can
// be written from its start again, and reports whether all of it fitted.
func (db *DB) MakeRoom() bool { return db.checkpoints.move() }

// LogLength returns how many bytes the log's file has.
func (db *DB) LogLength() int64 { return db.checkpoints.length() }

// Close releases whatever Open got to. The lock goes last.
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
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED,
		codes.SQLITE_NOMEM, codes.SQLITE_INTERRUPT: // which may have ended the whole transaction
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
