package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// CopyTo copies the database, as seen by one transaction, to the file to, which must be
// missing or empty. A server may use the database meanwhile. Nothing waits for the copy,
// but the log cannot restart from its beginning until the copy ends.
func CopyTo(ctx context.Context, path, to string) error {
	db, err := openPool(path, "rw", busyTimeout, "wal_autocheckpoint(0)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	// The copy of a file from an earlier release can give its free pages back. Only then is
	// the mode set: on a file that has it already, setting it takes the lock of writers.
	var mode int
	if err := db.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mode); err != nil {
		return Opening("read auto_vacuum", err)
	}
	if mode != incremental {
		if _, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA auto_vacuum = %d", incremental)); err != nil {
			return Opening("set auto_vacuum", err)
		}
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return Opening("copy the database", err)
	}
	return nil
}

// SetMeta stores an integer under a key in the table meta of a database that nobody else
// uses. The value 0 removes the key.
func SetMeta(ctx context.Context, path, key string, value int64) error {
	db, err := openPool(path, "rw", busyTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if value == 0 {
		_, err = db.ExecContext(ctx, "DELETE FROM meta WHERE key = ?", key)
	} else {
		_, err = db.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	}
	if err != nil {
		return Opening("write meta", err)
	}
	return nil
}

// CheckIntegrity reads the whole file. It returns an error that wraps ErrCorrupt if the
// file is inconsistent.
func CheckIntegrity(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "PRAGMA integrity_check(1)")
	if err != nil {
		return Opening("check integrity", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var found string
		if err := rows.Scan(&found); err != nil {
			return Opening("check integrity", err)
		}
		if found != "ok" {
			return errors.Join(sqltext.ErrCorrupt, fmt.Errorf("integrity check: %s", found))
		}
	}
	if err := rows.Err(); err != nil {
		return Opening("check integrity", err)
	}
	return nil
}

// MoveLog checkpoints the whole log into the database and truncates the log. Nobody else
// may use the database.
func MoveLog(ctx context.Context, path string) error {
	db, err := openPool(path, "rw", busyTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return Opening("move the log", err)
	}
	return nil
}
