package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// SchemaVersion returns the version of a database's schema and the version that this
// release writes. A missing or empty file has version 0. SchemaVersion takes no lock and
// changes nothing. A server may use the file meanwhile.
func SchemaVersion(ctx context.Context, path string) (version, ours int64, err error) {
	if ours, err = newestMigration(); err != nil {
		return 0, 0, err
	}
	version, err = readSchema(ctx, path)
	return version, ours, err
}

func readSchema(ctx context.Context, path string) (version int64, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	db, err := openToLook(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = db.Close() }()
	var tables int64
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version'").Scan(&tables)
	if err != nil {
		return 0, Opening("read schema", err)
	}
	if tables == 0 {
		return 0, nil
	}
	err = db.QueryRowContext(ctx, "SELECT max(version_id) FROM goose_db_version WHERE is_applied").Scan(&version)
	if err != nil {
		return 0, Opening("read schema version", err)
	}
	return version, nil
}

// openToLook opens the file for reading. If there is no WAL beside it, it opens the file as
// immutable, which leaves no trace.
func openToLook(path string, pragmas ...string) (*sql.DB, error) {
	mode := "ro"
	if wal, err := os.Stat(path + "-wal"); err != nil || wal.Size() == 0 {
		mode = "ro&immutable=1"
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	for _, p := range pragmas {
		mode += "&_pragma=" + p
	}
	return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: abs, RawQuery: "mode=" + mode}).String())
}

// NewestEvent returns the time in the newest event's id, zero if there is no event. It is
// in the future if the clock was ahead once (see sqltext.ClockWasAhead). Like SchemaVersion
// it takes no lock and changes nothing. The file must have a schema.
func NewestEvent(ctx context.Context, path string) (time.Time, error) {
	db, err := openToLook(path)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = db.Close() }()
	var id hook.ID
	err = db.QueryRowContext(ctx, sqltext.NewestEvent).Scan(sqltext.Blob(id[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, Opening("read newest event", err)
	}
	return id.Time(), nil
}

// refuseNewer checks the schema's version before anything is written.
func refuseNewer(ctx context.Context, path string) error {
	version, ours, err := SchemaVersion(ctx, path)
	if err != nil {
		return err
	}
	if version > ours {
		return fmt.Errorf("schema %d, this release knows %d: %w", version, ours, sqltext.ErrNewerSchema)
	}
	return nil
}

func newestMigration() (int64, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, err
	}
	return sqltext.NewestMigration(files)
}

// OpenUnchanged opens a file that nobody writes to, for reading. It opens the file as
// immutable if there is no log beside it, otherwise together with the log.
func OpenUnchanged(path string) (*sql.DB, error) { return openToLook(path, "cache_size(-32768)") }
