package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/batch"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	pageSize      = 8192 // with 1 KB payloads the file is 14 % smaller than with 4096
	incremental   = 2    // auto_vacuum: free pages stay in the file until they are reclaimed
	readers       = 4
	reserveSuffix = ".reserve"
	busyTimeout   = 5 * time.Second // for tools that open the file beside us
)

// Options are the options of Open. All but Fatal are required.
type Options struct {
	Path        string
	Synchronous string // full, normal or off
	Keys        *seal.Keyring
	Log         *slog.Logger
	Fatal       func(error) // called from any goroutine when the disk cannot be trusted
}

var syncModes = map[string]string{"full": "FULL", "normal": "NORMAL", "off": "OFF"}

// Open opens the file, creates or migrates it as needed, checks the master key and counts
// the opening. It takes the lock first, so that of two concurrent starts only one migrates.
func Open(ctx context.Context, o Options) (*DB, error) {
	words := sqltext.NewDialect(false)
	db := &DB{RestartFrom: restartFrom, read: &sqltext.Reader{Dialect: words, OneView: sql.TxOptions{ReadOnly: true}}}
	if err := db.open(ctx, &o, words); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, o *Options, words *sqltext.Dialect) error {
	path := o.Path
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	var err error
	if db.lock, err = sqltext.Lock(path + ".lock"); err != nil {
		return err
	}
	if err := refuseNewer(ctx, path); err != nil {
		return err
	}
	if err := keepPrivate(path); err != nil {
		return err
	}
	pragmas := []string{"secure_delete(1)", "journal_mode(WAL)", fmt.Sprintf("journal_size_limit(%d)", journalLimit),
		"synchronous(" + syncModes[o.Synchronous] + ")", "wal_autocheckpoint(0)", "cache_size(-32768)", "temp_store(MEMORY)"}
	if file, err := os.Stat(path); err != nil || file.Size() == 0 {
		// Only for a new file: on another one, auto_vacuum writes each time that it is set.
		pragmas = append([]string{fmt.Sprintf("page_size(%d)", pageSize), fmt.Sprintf("auto_vacuum(%d)", incremental)}, pragmas...)
	}
	if db.pool, err = openPool(path, "rwc", busyTimeout, pragmas...); err != nil {
		return err
	}
	db.pool.SetMaxOpenConns(1)
	if err := migrate(ctx, db.pool); err != nil {
		return Opening("migrate", err)
	}
	if db.conn, err = newConn(ctx, db.pool, words); err != nil {
		return Opening("open writer", err)
	}
	if db.read.DB, err = openPool(path, "ro", busyTimeout, "query_only(1)", "cache_size(-8192)", "temp_store(MEMORY)"); err != nil {
		return err
	}
	db.read.DB.SetMaxOpenConns(readers)
	db.read.DB.SetMaxIdleConns(readers)
	if err := db.checkpoints.open(ctx, db, o); err != nil {
		return Opening("open checkpoints", err)
	}
	err = db.begin(ctx, o.Keys)
	if Class(err) == batch.Full { // so that stored deliveries are sent
		_ = os.Remove(ReservePath(path))
		err = db.begin(ctx, o.Keys)
	}
	if err != nil {
		return Opening("read state", err)
	}
	// The statements contain the number of this opening, so the words are set once it is
	// known.
	words.SetWords("{anybody}", fmt.Sprintf("d.owner IN (0, %d)", db.epoch), "{bytes}", "x''", "{lock}", "", "{free}", "", "{then}", "CROSS JOIN", "{deliveries}", "CROSS JOIN deliveries d ON d.event = e.id", "{each}", "",
		"{stopped}", " INDEXED BY deliveries_stopped", "{away}", "", "{turn}", "1", "{oldest}", "min(w.event)",
		"{idkey}", "(mode, public_id, tenant)", "{idcols}", "mode, substr(public_id, 1, 16), tenant", "{tags}", "(SELECT nullif(json_group_object(t.name, t.value), '{}') FROM event_tags t WHERE t.event = e.id)")
	return syncDir(filepath.Dir(path))
}

// ReservePath returns the path of the file that reserves disk space for a database.
func ReservePath(path string) string { return path + reserveSuffix }

// keepPrivate creates the file of a new database, readable only by its owner. SQLite gives
// its other files the same mode.
func keepPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return f.Close()
}

// begin checks the master key and counts this opening.
func (db *DB) begin(ctx context.Context, keys *seal.Keyring) error {
	if err := db.checkKey(ctx, keys); err != nil {
		return err
	}
	err := db.conn.sql.QueryRowContext(ctx, `INSERT INTO meta (key, value) VALUES ('epoch', 1)
		ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value`).Scan(&db.epoch)
	if err != nil {
		return fmt.Errorf("count opening: %w", err)
	}
	return nil
}

// LastEvent returns the id of the newest event, zero if there is none.
func (db *DB) LastEvent(ctx context.Context) (hook.ID, error) {
	var last hook.ID
	err := db.conn.sql.QueryRowContext(ctx, "SELECT id FROM events ORDER BY id DESC LIMIT 1").Scan(sqltext.Blob(last[:]))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return hook.ID{}, fmt.Errorf("read last event: %w", err)
	}
	return last, nil
}

func (db *DB) checkKey(ctx context.Context, keys *seal.Keyring) error {
	var check, rotation []byte
	if err := db.conn.sql.QueryRowContext(ctx, sqltext.KeyRecords).Scan(&check, &rotation); err != nil {
		return fmt.Errorf("read master key check: %w", err)
	}
	if check == nil {
		check, err := keys.SealCheck(keys.Current())
		if err != nil {
			return err
		}
		_, err = db.conn.Exec("INSERT INTO meta (key, value) VALUES ('master_key_check', ?)", check)
		return err
	}
	if err := keys.Fit(check, rotation); err != nil {
		return fmt.Errorf("%w: %w", sqltext.ErrMasterKeyMismatch, err)
	}
	return nil
}

func openPool(path, mode string, wait time.Duration, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	query := url.Values{"mode": {mode}}
	query.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", wait.Milliseconds()))
	for _, p := range pragmas {
		query.Add("_pragma", p)
	}
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: abs, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync data directory: %w", err)
	}
	return nil
}
