package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// CopyTo writes the database as one transaction sees it to the file at to, which must be
// missing or empty. A server may work on the database meanwhile: nobody waits for the copy,
// but the log cannot start again from its beginning until it ends.
func CopyTo(ctx context.Context, path, to string) error {
	db, err := openPool(path, "rw", busyTimeout, "wal_autocheckpoint(0)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return Opening("copy the database", err)
	}
	return nil
}

// SetMeta keeps an integer under a name in a database that nobody else uses; 0 removes it.
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

// CheckIntegrity reads the whole file and returns an error that wraps ErrCorrupt if
// anything in it does not fit together.
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

// MoveLog moves what the log beside a database holds into it and ends the log. Nobody
// else may use the database.
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
