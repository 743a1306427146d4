package store

import (
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
