package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Errors of Open that callers test for.
var (
	// ErrLocked means that another process has the database open.
	ErrLocked = sqltext.ErrLocked
	// ErrNewerSchema means that a newer release wrote the database. Nothing was changed; start
	// that release, or restore a backup.
	ErrNewerSchema = sqltext.ErrNewerSchema
	// ErrMasterKeyMismatch means that the secrets in the database were sealed under another
	// master key.
	ErrMasterKeyMismatch = sqltext.ErrMasterKeyMismatch
	// ErrCorrupt means that the file is not a database or is damaged.
	ErrCorrupt = sqltext.ErrCorrupt
	// ErrPostgres means that a PostgreSQL database cannot be used as it is. The text says why
	// and what to do. It contains no secret.
	ErrPostgres = postgres.ErrUnusable
	// ErrPostgresURL means that the URL of a PostgreSQL database is not valid.
	ErrPostgresURL = postgres.ErrURL
)

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

// readError maps the error of a read to a hook.Error. It returns a context's error
// unchanged.
func (s *Store) readError(act string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if s.writer.Closed() {
		return errShuttingDown()
	}
	err = fmt.Errorf("%s: %w", act, err)
	if s.engine.Class(err) == batch.OwnFault {
		return errInternal(err)
	}
	return errStorageDown(err)
}
