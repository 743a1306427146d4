package store

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/posthorn/posthorn/internal/hook"
)

// trouble is what an error of the database means for the store.
type trouble int

const (
	noTrouble   trouble = iota
	ownFault            // the statement's own: a constraint, a bad value
	diskFull            // nothing was stored; heals by itself
	unavailable         // somebody else keeps the file locked
	fatal               // the disk or the file cannot be trusted any more
	again               // another node was in the way: the same again may succeed
	broken              // the connection is gone, and with it the transaction or its answer
)

// ioerrShmSize is how SQLite reports that the index of its log could not grow,
// which a full disk causes.
const ioerrShmSize = codes.SQLITE_IOERR | 19<<8

// liteTrouble classes an error of SQLite.
func liteTrouble(err error) trouble {
	if err == nil {
		return noTrouble
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return ownFault
	}
	if e.Code() == ioerrShmSize {
		return diskFull
	}
	switch e.Code() & 0xff {
	case codes.SQLITE_FULL:
		return diskFull
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return unavailable
	case codes.SQLITE_IOERR, codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB, codes.SQLITE_CANTOPEN,
		codes.SQLITE_READONLY, codes.SQLITE_PROTOCOL:
		return fatal
	}
	return ownFault
}

func isUnique(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == codes.SQLITE_CONSTRAINT || pgState(err) == "23505"
}

// classed wraps an error of opening with ErrCorrupt where that is what it means.
func classed(act string, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
			return fmt.Errorf("%s: %w: %w", act, ErrCorrupt, err)
		}
	}
	return fmt.Errorf("%s: %w", act, err)
}

func errStorageFull(err error) *hook.Error {
	return &hook.Error{Code: hook.CodeStorageFull, Message: "The disk is full. Nothing was stored; try again later.", Err: err}
}

func errStorageDown(err error) *hook.Error {
	return &hook.Error{Code: hook.CodeStorageDown, Message: "The store is not available. Try again later.", Err: err}
}

func errShuttingDown() *hook.Error {
	return &hook.Error{Code: hook.CodeShuttingDown, Message: "The server is shutting down. Try again."}
}

func errInternal(err error) *hook.Error {
	return &hook.Error{Code: hook.CodeInternal, Message: "Something went wrong on our side.", Err: err}
}

// readError turns a failed read into an answer. A caller that went away gets its
// own error back.
func (s *Store) readError(act string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	s.gate.RLock()
	closed := s.closed
	s.gate.RUnlock()
	if closed {
		return errShuttingDown()
	}
	err = fmt.Errorf("%s: %w", act, err)
	if s.engine.trouble(err) == ownFault {
		return errInternal(err)
	}
	return errStorageDown(err)
}
