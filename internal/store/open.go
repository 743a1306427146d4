package store

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"

	"github.com/posthorn/posthorn/internal/hook"
)

//go:embed migrations/*.sql migrations/postgres/*.sql
var migrations embed.FS

const (
	pageSize      = 8192 // with 1 KB payloads 14 % less file than 4096
	readers       = 4
	reserveSuffix = ".reserve"
	busyTimeout   = 5 * time.Second // tools that open the file beside us
)

var checkPlace = []byte("posthorn master key check")

func (s *Store) open(ctx context.Context) error {
	if s.opts.Postgres != "" {
		return s.openPostgres(ctx)
	}
	return s.openLite(ctx)
}

// openLite takes the lock before it looks at anything, so that two starts at once
// cannot both migrate.
func (s *Store) openLite(ctx context.Context) error {
	path := s.opts.Path
	words := newDialect(false)
	s.lite = &lite{store: s}
	s.read = &reader{dialect: words, oneView: sql.TxOptions{ReadOnly: true}}
	s.engine = s.lite
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	var err error
	if s.lite.lock, err = flock(path + ".lock"); err != nil {
		return err
	}
	if err := refuseNewer(ctx, path); err != nil {
		return err
	}
	if err := keepPrivate(path); err != nil {
		return err
	}
	if s.opts.Synchronous != "full" {
		s.log.Warn("the store may lose acknowledged events at a power cut", "synchronous", s.opts.Synchronous)
	}
	if s.lite.db, err = openDB(path, "rwc",
		fmt.Sprintf("page_size(%d)", pageSize), "journal_mode(WAL)",
		"synchronous("+syncModes[s.opts.Synchronous]+")",
		"wal_autocheckpoint(0)", "cache_size(-32768)", "temp_store(MEMORY)"); err != nil {
		return err
	}
	s.lite.db.SetMaxOpenConns(1)
	if err := migrate(ctx, s.lite.db); err != nil {
		return classed("migrate", err)
	}
	if s.lite.conn, err = newConn(ctx, s.lite.db, words); err != nil {
		return classed("open writer", err)
	}
	if s.read.db, err = openDB(path, "ro", "query_only(1)", "cache_size(-8192)", "temp_store(MEMORY)"); err != nil {
		return err
	}
	s.read.db.SetMaxOpenConns(readers)
	s.read.db.SetMaxIdleConns(readers)
	err = s.begin(ctx)
	if liteTrouble(err) == diskFull { // a start on a full disk must succeed: what is there has to go out
		_ = os.Remove(path + reserveSuffix)
		err = s.begin(ctx)
	}
	if err != nil {
		return classed("read state", err)
	}
	// The writer's texts name this opening, so they are made once it has its number.
	words.words = strings.NewReplacer("{anybody}", fmt.Sprintf("d.owner IN (0, %d)", s.Epoch()), "{bytes}", "x''", "{lock}", "", "{then}", "CROSS JOIN",
		"{stopped}", " INDEXED BY deliveries_stopped")
	s.reserve = newReserve(path+reserveSuffix, s.opts.Reserve)
	return syncDir(filepath.Dir(path))
}

// keepPrivate makes a new database readable by its owner only; SQLite gives its
// other files the same mode.
func keepPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	return f.Close()
}

// begin checks the master key, counts this opening and reads where ids left off.
func (s *Store) begin(ctx context.Context) error {
	if err := s.checkKey(ctx); err != nil {
		return err
	}
	var epoch int64
	err := s.lite.conn.sql.QueryRowContext(ctx, `INSERT INTO meta (key, value) VALUES ('epoch', 1)
		ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value`).Scan(&epoch)
	if err != nil {
		return fmt.Errorf("count opening: %w", err)
	}
	s.epoch.Store(epoch)
	// The order of ids is the order of acceptance, and sweeps rely on it: a clock
	// that was set back while we were down must not break it.
	var last []byte
	err = s.lite.conn.sql.QueryRowContext(ctx, "SELECT id FROM events ORDER BY id DESC LIMIT 1").Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read last event: %w", err)
	}
	var floor time.Time
	if len(last) == 16 {
		floor = hook.ID(last).Time().Add(time.Millisecond)
	}
	s.ids = hook.NewIDs(func() time.Time {
		if now := s.opts.Now(); now.After(floor) {
			return now
		}
		return floor
	})
	return nil
}

func (s *Store) checkKey(ctx context.Context) error {
	var sealed []byte
	err := s.lite.conn.sql.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'master_key_check'").Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		if sealed, err = s.keys.Seal(checkPlace, []byte("ok")); err != nil {
			return err
		}
		_, err = s.engine.exec("INSERT INTO meta (key, value) VALUES ('master_key_check', ?)", sealed)
		return err
	}
	if err != nil {
		return fmt.Errorf("read master key check: %w", err)
	}
	if got, err := s.keys.Open(checkPlace, sealed); err != nil || !bytes.Equal(got, []byte("ok")) {
		return ErrMasterKeyMismatch
	}
	return nil
}

// flock takes the lock of a file for this process. A lock that another one has gives
// ErrLocked.
func flock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// release closes whatever open got to.
func (s *Store) release() error {
	var errs []error
	if s.read != nil && s.read.db != nil {
		errs = append(errs, s.read.db.Close())
	}
	if s.lite != nil {
		errs = append(errs, s.lite.close())
	}
	if s.cluster != nil {
		errs = append(errs, s.cluster.close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

func openDB(path, mode string, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	query := url.Values{"mode": {mode}}
	query.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()))
	for _, p := range pragmas {
		query.Add("_pragma", p)
	}
	connector, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: abs, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func newestMigration() (int64, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, err
	}
	return newestOf(files)
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
