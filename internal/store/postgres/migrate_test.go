package postgres

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// locked is a database with our schema and an open transaction that has read a table that
// the next migration changes.
type locked struct {
	config *pgx.ConnConfig
	db     *sql.DB
	reader *sql.Tx
	pid    int
	next   migration
}

func newLocked(t *testing.T) *locked {
	t.Helper()
	config, err := ParseURL(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if err := Migrate(t.Context(), config, log); err != nil {
		t.Fatal(err)
	}
	l := &locked{config: config, db: Pool(config, 3)}
	t.Cleanup(func() { _ = l.db.Close() })
	if l.reader, err = l.db.BeginTx(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.reader.Rollback() })
	if err := l.reader.QueryRow("SELECT pg_backend_pid() + 0 * count(*) FROM deliveries").Scan(&l.pid); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"00099_wider.sql": {Data: []byte("-- +goose Up\nALTER TABLE deliveries ADD COLUMN wider bigint;\n")}}
	ours, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range ours {
		text, err := fs.ReadFile(migrations, path)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(path, "migrations/")] = &fstest.MapFile{Data: text}
	}
	l.next = migration{files: files, lockWait: 100 * time.Millisecond, log: log}
	return l
}

// A migration that waits for a reader lets later readers pass, and finishes once the reader
// has ended.
func TestMigrationLetsOthersPassWhileATableIsRead(t *testing.T) {
	l := newLocked(t)
	for range 400 {
		l.next.pauses = append(l.next.pauses, 50*time.Millisecond)
	}
	done := make(chan error, 1)
	go func() { done <- l.next.run(context.WithoutCancel(t.Context()), l.config) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		var waits bool
		if err := l.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'deliveries'::regclass)").Scan(&waits); err != nil {
			t.Fatal(err)
		}
		if waits {
			break
		}
	}
	var n int
	if err := l.db.QueryRowContext(ctx, "SELECT count(*) FROM deliveries").Scan(&n); err != nil {
		t.Errorf("a reader beside the migration: %v", err)
	}
	if err := l.reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if version, err := SchemaVersion(t.Context(), l.db); version != 99 || err != nil {
		t.Errorf("schema %d, %v", version, err)
	}
}

// A migration that never gets its lock fails, and its error names the session that holds
// it.
func TestMigrationNamesWhoHasTheTable(t *testing.T) {
	l := newLocked(t)
	l.next.pauses = []time.Duration{time.Millisecond}
	err := l.next.run(t.Context(), l.config)
	if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "process "+strconv.Itoa(l.pid)+" of posthorn (role posthorn, idle in transaction)") ||
		!strings.Contains(err.Error(), "2 times") {
		t.Errorf("%v", err)
	}
	if version, err := SchemaVersion(t.Context(), l.db); version == 99 || version == 0 || err != nil {
		t.Errorf("schema %d, %v", version, err)
	}
}

// A migration that loses its lock stops and leaves nothing behind, so that no two nodes
// migrate at once.
func TestMigrationStopsWithoutItsLock(t *testing.T) {
	config, err := ParseURL(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	m := migration{lockWait: time.Second, turnLook: 10 * time.Millisecond, log: slog.New(slog.DiscardHandler), files: fstest.MapFS{"00001_slow.sql": {
		Data: []byte("-- +goose Up\nCREATE TABLE half AS SELECT 1;\nSELECT pg_sleep(30);\n")}}}
	done := make(chan error, 1)
	go func() { done <- m.run(context.WithoutCancel(t.Context()), config) }()
	db := Pool(config, 1)
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ended := false; !ended; { // the session with the lock, once the migration has begun
		if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND wait_event = 'PgSleep')
			AND coalesce((SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 7596481 AND objid = 2
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())), false)`).Scan(&ended); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, ErrUnusable) || !errors.Is(err, errTurnLost) {
		t.Errorf("%v", err)
	}
	var there bool
	if err := db.QueryRowContext(ctx, "SELECT to_regclass('half') IS NOT NULL").Scan(&there); err != nil || there {
		t.Errorf("a table of the migration is there: %v %v", there, err)
	}
}

// A timeout for idle transactions, which a role may have or another client of a pooler may
// leave behind, does not end the lock of a migration.
func TestMigrationKeepsItsLockWhileIdle(t *testing.T) {
	config, err := ParseURL(pgtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "1s"
	const holders = `SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = 7596481 AND objid = 2
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	m := migration{lockWait: time.Second, log: slog.New(slog.DiscardHandler), files: fstest.MapFS{"00001_slow.sql": {
		Data: []byte("-- +goose Up\nSELECT pg_sleep(1.3);\nCREATE TABLE held AS " + holders + ";\n")}}}
	if err := m.run(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	db := Pool(config, 2)
	defer func() { _ = db.Close() }()
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT n FROM held").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d sessions held the lock at the end of the migration, want 1 (%v)", n, err)
	}

	// The timeout ends a transaction that only takes the lock.
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), LockTurn); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n = 1; n > 0; {
		if err := db.QueryRowContext(ctx, holders).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}
