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
