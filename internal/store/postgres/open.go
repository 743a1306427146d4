package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Oldest is the oldest supported server version, as in server_version_num. Older versions
// are not tested.
const Oldest = 150000

// ErrUnusable means that a PostgreSQL database cannot be used in its current state. The
// text of the error says why and what to do. It contains no secret.
var ErrUnusable = errors.New("the PostgreSQL database cannot be used")

// ErrURL means that the URL of a PostgreSQL database cannot be parsed.
var ErrURL = errors.New("the address of the PostgreSQL database is not understood")

// Refused wraps err with ErrUnusable.
func Refused(err error) error { return fmt.Errorf("%w: %w", ErrUnusable, err) }

// ParseURL parses the URL of a database. Its error never contains the password.
func ParseURL(url string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, ErrURL // the parser's error may contain the password
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectFor
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "posthorn"
	}
	// Without this cache pgx describes every statement anew, which works with every pooler.
	if config.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		config.StatementCacheCapacity = 0
	}
	return config, nil
}

// CheckServer refuses a server that is read-only, that is older than Oldest, or, if durable
// is set, that could lose acknowledged commits.
func CheckServer(ctx context.Context, conn interface {
	QueryRow(ctx context.Context, text string, args ...any) pgx.Row
}, durable bool) error {
	var version int
	var text, synchronous, fsync, readOnly string
	var standby bool
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'), current_setting('synchronous_commit'),
		current_setting('fsync'), current_setting('transaction_read_only'), pg_is_in_recovery()`).
		Scan(&version, &text, &synchronous, &fsync, &readOnly, &standby)
	if err != nil {
		return Refused(StartError(err))
	}
	switch {
	case version < Oldest:
		return Refused(fmt.Errorf("the server is PostgreSQL %s; Posthorn needs 15 or later", text))
	case standby || readOnly == "on":
		return Refused(errReadOnly)
	case durable && fsync != "on":
		return Refused(errors.New("fsync is off: a power cut would lose acknowledged events or the whole database; set fsync = on, or start with --synchronous off if nothing in it matters"))
	case durable && synchronous != "on" && synchronous != "remote_apply":
		return Refused(fmt.Errorf("synchronous_commit is %s: acknowledged events could be lost; set it to on for this role and database, or start with --synchronous off if nothing in it matters", synchronous))
	}
	return nil
}

// OurSchema returns the version of the schema that this release writes.
func OurSchema() (int64, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, err
	}
	return sqltext.NewestMigration(files)
}

// SchemaVersion returns the version of the schema, 0 if there is none.
func SchemaVersion(ctx context.Context, db interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (version int64, err error) {
	var there bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL").Scan(&there); err != nil || !there {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&version)
	return version, err
}
